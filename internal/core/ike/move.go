package ike

import (
	"net/netip"

	"culvert/internal/core/door"
	"culvert/internal/core/ikev1"
)

// A NAT may give a peer another port, or another address, at any time. Whatever
// proves where the peer is now, an IKE message or a packet of ESP, moves all there
// is with it: IKE and ESP share one mapping (RFC 3948). A peer that is not behind
// a NAT stays where it is, and another address has to be one that the
// configuration has a peer at.

// movedChild takes what the data path has seen.
func (e *Engine) movedChild(c *ikev1.Context, m door.Moved) {
	k := e.children[m.Child]
	if k == nil || !k.PeerBehind || !k.Encap {
		return
	}
	if m.Remote.Addr() == k.peer.remote || e.settings.HasPeer(k.peer.local, m.Remote.Addr()) {
		e.follow(c, k.peer, m.Remote)
	}
}

// movedSA takes what an IKE message has shown.
func (e *Engine) movedSA(c *ikev1.Context, d *deadline) {
	was := d.remote
	d.remote = d.sa.Remote
	if was.IsValid() && was != d.remote && d.sa.NAT.PeerBehind {
		e.follow(c, d.peer, d.remote)
	}
}

// follow moves all there is with a peer behind a NAT.
func (e *Engine) follow(c *ikev1.Context, p *peer, remote netip.AddrPort) {
	for _, sa := range p.sas {
		sa.Follow(remote)
	}
	for _, k := range p.children {
		if k.Encap && k.PeerBehind && k.Remote != remote {
			k.Remote = remote
			c.Out = append(c.Out, door.Move{Child: k.ID, Remote: remote})
		}
	}
	if who := (party{pair{p.local, remote.Addr()}, p.identity}); who != p.party {
		e.rename(c, p, who)
	}
}

// rename enters a peer under another address; what there is with it already
// joins it.
func (e *Engine) rename(c *ikev1.Context, p *peer, who party) {
	other := e.peers.known[who]
	sas, children := p.sas, p.children
	p.sas, p.children = nil, nil
	heard := p.heardAt()
	e.leave(p)
	if other == nil {
		other = e.peers.enter(who)
	}
	for _, sa := range sas {
		e.all[sa].peer = other
	}
	for _, k := range children {
		e.unsurveyed(k)
		k.peer = other
	}
	for _, d := range e.defined {
		if d.who == p.party {
			entry := *d.Entry
			entry.Peers = []netip.Addr{who.remote}
			d.who, d.Entry = who, &entry
		}
	}
	other.sas = append(sas, other.sas...)
	other.children = append(children, other.children...)
	other.heard = later(other.heard, heard)
	e.watch(c, other)
}
