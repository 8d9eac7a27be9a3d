package ike

import (
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/ikev1"
)

// pair is both ends of the tunnels with one peer.
type pair struct{ local, remote netip.Addr }

// party is who is at the other end. Behind one NAT address there may be several
// peers, told apart by the identities they have proved: what one of them says or
// suffers must not touch the others. Elsewhere, and before phase 1 is complete,
// the address is enough and the identity is empty.
type party struct {
	pair
	identity string
}

// peer is what there is with one peer.
type peer struct {
	party
	sas      []*ikev1.SA // oldest first
	children []*child    // oldest first
	liveness
}

// peers finds peers by who they are, and all at one pair of addresses.
type peers struct {
	known map[party]*peer
	at    map[pair][]*peer // oldest first; more than one only behind a NAT
}

func newPeers() peers { return peers{known: map[party]*peer{}, at: map[pair][]*peer{}} }

// enter finds a peer, or makes it.
func (t *peers) enter(who party) *peer {
	p := t.known[who]
	if p == nil {
		p = &peer{party: who}
		t.known[who] = p
		t.at[who.pair] = append(t.at[who.pair], p)
	}
	return p
}

// leave forgets a peer with whom there is nothing left.
func (e *Engine) leave(p *peer) {
	t := &e.peers
	if len(p.sas)+len(p.children) > 0 || t.known[p.party] != p {
		return
	}
	if p.slot != nil {
		e.deadlines.set(p.slot, time.Time{})
	}
	delete(t.known, p.party)
	rest := slices.DeleteFunc(t.at[p.pair], func(o *peer) bool { return o == p })
	if len(rest) == 0 {
		delete(t.at, p.pair)
		return
	}
	t.at[p.pair] = rest
}

// partyOf is who an ISAKMP SA is with, as far as that has been proved.
func partyOf(sa *ikev1.SA) party {
	who := party{pair: pair{sa.Local.Addr(), sa.Remote.Addr()}}
	if sa.Up() && sa.NAT.PeerBehind {
		who.identity = sa.Identity
	}
	return who
}

// peerOf is the peer of an ISAKMP SA that is in the books.
func (e *Engine) peerOf(sa *ikev1.SA) *peer {
	if d := e.all[sa]; d != nil && d.peer != nil {
		return d.peer
	}
	return &peer{party: partyOf(sa)}
}

// settle moves an ISAKMP SA to the peer that it turned out to be with.
func (e *Engine) settle(sa *ikev1.SA) {
	d, who := e.all[sa], partyOf(sa)
	if d == nil || d.peer.party == who {
		return
	}
	old := d.peer
	old.drop(sa)
	d.peer = e.peers.enter(who)
	d.peer.sas = append(d.peer.sas, sa)
	e.leave(old)
}

func (p *peer) drop(sa *ikev1.SA) {
	p.sas = slices.DeleteFunc(p.sas, func(o *ikev1.SA) bool { return o == sa })
}

// sasAt are the ISAKMP SAs with whoever is at the other end of a pair.
func (e *Engine) sasAt(p pair) []*ikev1.SA {
	at := e.peers.at[p]
	if len(at) == 1 {
		return at[0].sas
	}
	var out []*ikev1.SA
	for _, x := range at {
		out = append(out, x.sas...)
	}
	return out
}

// others reports whether there is anything else with the SA's peer.
func (e *Engine) others(s *ikev1.SA) bool {
	for _, p := range e.peers.at[pair{s.Local.Addr(), s.Remote.Addr()}] {
		if len(p.children) > 0 || slices.ContainsFunc(p.sas, func(o *ikev1.SA) bool { return o != s && o.Up() }) {
			return true
		}
	}
	return false
}

// carrier is the ISAKMP SA with a peer that lives longest.
func (p *peer) carrier(now time.Time) *ikev1.SA { return longest(now, p.sas) }

func longest(now time.Time, sas []*ikev1.SA) *ikev1.SA {
	var best *ikev1.SA
	for _, sa := range sas {
		if sa.Up() && sa.Expires.After(now) && (best == nil || sa.Expires.After(best.Expires)) {
			best = sa
		}
	}
	return best
}
