package policy

import (
	"net/netip"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/suite"
)

// Mismatch names the first attribute in which an offered ISAKMP policy
// differs from p, in the order a router compares them: "encryption",
// "key length", "hash", "authentication", "group". Empty means it matches. The
// lifetime never refuses: the shorter one wins.
func (p ISAKMP) Mismatch(offer ISAKMP) string {
	switch {
	case offer.Cipher != p.Cipher:
		return "encryption"
	case p.Cipher.Row().Sized && offer.KeyBits != p.KeyBits:
		return "key length"
	case offer.Hash != p.Hash:
		return "hash"
	case offer.Auth != p.Auth:
		return "authentication"
	case offer.Group != p.Group:
		return "group"
	}
	return ""
}

// Verdict is the worst verdict of the policy's algorithms.
func (p ISAKMP) Verdict() suite.Verdict {
	return max(p.Cipher.Row().Verdict, p.Hash.Row().Verdict, p.Group.Row().Verdict, p.Auth.Row().Verdict)
}

// Usable lists the ISAKMP policies that may be negotiated, in priority order:
// not those behind the compliance shield, and not those with an
// authentication method that is not built.
func (s *Settings) Usable() []ISAKMP {
	var out []ISAKMP
	for _, p := range s.Policies {
		if s.Negotiable(p.Verdict()) {
			out = append(out, p)
		}
	}
	return out
}

// Negotiable reports whether an algorithm with that verdict may be negotiated.
func (s *Settings) Negotiable(v suite.Verdict) bool {
	return v == suite.OK || (v == suite.Legacy && s.Legacy)
}

// ChooseISAKMP takes the peer's offers in their order and compares each with
// our policies, lowest number first, until one is the same on both sides. It
// returns the indexes of the offer and of our policy, or ok false. check sees
// every comparison.
func ChooseISAKMP(offers, own []ISAKMP, check func(offer, own int, mismatch string)) (offer, mine int, ok bool) {
	for i := range offers {
		for j := range own {
			m := own[j].Mismatch(offers[i])
			check(i, j, m)
			if m == "" {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

// Verdict is the worst verdict of the set's algorithms; Never for a set that
// lacks integrity, be it ESP's own or that of AH around it, and for a combined
// mode with an HMAC beside it.
func (t TransformSet) Verdict() suite.Verdict {
	cipher, integ := t.Cipher != suite.NoCipher, t.Integ != suite.NoHash
	switch {
	case !cipher && (integ || t.AH == suite.NoHash):
		return suite.Never
	case t.Cipher.Combined() && integ:
		return suite.Never
	case t.Cipher == suite.NullCipher && !integ:
		return suite.Never // RFC 4303 section 5: not both of them
	case cipher && !t.Cipher.Combined() && !integ && t.AH == suite.NoHash:
		return suite.Never
	}
	return max(t.Cipher.Row().Verdict, t.Integ.Row().Verdict, t.AH.Row().Verdict)
}

// UsableSets lists the entry's transform sets that may be negotiated, in order.
// One with extended sequence numbers needs the anti-replay window, by which the
// receiver finds their upper half (RFC 4303 appendix A2.1).
func (s *Settings) UsableSets(e *Entry) []TransformSet {
	var out []TransformSet
	for _, t := range e.Sets {
		if s.Negotiable(t.Verdict()) && !(t.ESN && e.ReplayWindow == 0) {
			out = append(out, t)
		}
	}
	return out
}

// Mismatch names the first thing in which an offered transform set differs
// from t: "protocol", "encryption", "key length", "integrity", "mode",
// "extended sequence numbers". Empty means it matches.
func (t TransformSet) Mismatch(offer TransformSet) string {
	switch {
	case (offer.AH != suite.NoHash) != (t.AH != suite.NoHash), (offer.Cipher != suite.NoCipher) != (t.Cipher != suite.NoCipher):
		return "protocol"
	case offer.Cipher != t.Cipher:
		return "encryption"
	case t.Cipher.Row().Sized && offer.KeyBits != t.KeyBits:
		return "key length"
	case offer.Integ != t.Integ, offer.AH != t.AH:
		return "integrity"
	case offer.Mode != t.Mode:
		return "mode"
	case offer.ESN != t.ESN:
		return "extended sequence numbers"
	}
	return ""
}

// PFSAllows reports whether a responder whose crypto map entry says own (set
// pfs) takes an offer with that group: without set pfs it takes any group it
// knows, or none; with it, only the same group.
func (s *Settings) PFSAllows(own, offered suite.Group) bool {
	if own != suite.NoGroup {
		return own == offered
	}
	return offered == suite.NoGroup || s.Negotiable(offered.Row().Verdict)
}

// Shorter is the shorter of two lifetimes; zero means no limit.
func Shorter(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// Shorter takes the smaller limit of each kind; zero means no limit.
func (l Lifetime) Shorter(o Lifetime) Lifetime {
	out := Lifetime{Shorter(l.Time, o.Time), l.Kilobytes}
	if l.Kilobytes == 0 || (o.Kilobytes != 0 && o.Kilobytes < l.Kilobytes) {
		out.Kilobytes = o.Kilobytes
	}
	return out
}

// Serves reports whether the entry is for that peer and ends at that local address.
func (e *Entry) Serves(local, peer netip.Addr) bool {
	if e.Local != local {
		return false
	}
	for _, p := range e.Peers {
		if p == peer {
			return true
		}
	}
	return false
}

// HasPeer reports whether any entry at that local address names the peer, or is
// a dynamic one, which takes any peer that phase 1 proves.
func (s *Settings) HasPeer(local, peer netip.Addr) bool {
	return len(s.serving(local, peer)) > 0 || len(s.dynamic(local)) > 0
}

// NamesPeer reports whether an entry at that local address lists the peer by its
// address.
func (s *Settings) NamesPeer(local, peer netip.Addr) bool { return len(s.serving(local, peer)) > 0 }

// FlowFor finds the line of interesting traffic for the proxy identities that
// a peer offered, seen from us: an equal one first, else the first that holds
// them (a responder may be asked for a subset of what it permits, never for
// more). Only the entries that name the peer and that may accepts are looked at;
// what is dynamic, DynamicFor finds.
func (s *Settings) FlowFor(local, peer netip.Addr, offered flow.Selectors, may func(*Entry) bool) (Flow, bool) {
	var inside *Flow
	for _, i := range s.serving(local, peer) {
		if s.Entries[i].Dynamic || !may(&s.Entries[i]) {
			continue
		}
		for _, f := range s.Entries[i].Flows() {
			if f.Selectors == offered {
				return f, true
			}
			if inside == nil && f.Selectors.Covers(offered) {
				inside = &f
			}
		}
	}
	if inside != nil {
		return *inside, true
	}
	return Flow{}, false
}

// DynamicFor finds the dynamic entry at that local address that takes a peer's
// proxy identities, seen from us, the first that may accepts: one with an access
// list that permits them, or one without any. The flow's ID is the entry's own,
// with the number of the line or 0.
func (s *Settings) DynamicFor(local netip.Addr, offered flow.Selectors, may func(*Entry) bool) (Flow, bool) {
	for _, i := range s.dynamic(local) {
		e := &s.Entries[i]
		if !may(e) {
			continue
		}
		if e.ACL == nil {
			return Flow{ID: FlowID{Map: e.Map, Seq: e.Seq}, Selectors: offered, Entry: e}, true
		}
		for _, f := range e.Flows() {
			if f.Selectors.Covers(offered) {
				return Flow{ID: f.ID, Selectors: offered, Entry: e}, true
			}
		}
	}
	return Flow{}, false
}

// Flow finds a flow by its name.
func (s *Settings) Flow(id FlowID) (Flow, bool) {
	for _, i := range s.named(id.Map, id.Seq) {
		for _, f := range s.Entries[i].Flows() {
			if f.ID == id {
				return f, true
			}
		}
	}
	return Flow{}, false
}

// Flows lists every flow of every entry, in order.
func (s *Settings) Flows() []Flow {
	var out []Flow
	for i := range s.Entries {
		out = append(out, s.Entries[i].Flows()...)
	}
	return out
}
