package ikev1

import (
	"net/netip"
	"testing"

	"culvert/internal/core/event"
	"culvert/internal/core/suite"
)

// misnamed makes an end that calls itself by an address it does not have.
// Without NAT-T nothing explains that.
func misnamed(t *testing.T, natt bool) (a, b *end) {
	a, b = mm1(t)
	a.take(b.drain()[0])
	a.sa.phase1.natt, b.sa.phase1.natt = natt, natt
	b.take(a.drain()[0])
	return a, b
}

// RFC 2409 5.4: with pre-shared keys main mode knows the peer by its address; an
// initiator with another one in its ID is refused and reads why.
//
// Threat: Ninet 2019.
func TestInitiatorWithAnotherAddress(t *testing.T) {
	a, b := misnamed(t, false)
	was := a.sa.Local
	a.sa.Local = netip.MustParseAddrPort("198.51.100.9:500")
	a.take(b.drain()[0]) // MM4; MM5 leaves with the wrong address in it
	a.sa.Local = was
	pump(a, b)
	f := became[Dead](b)
	if len(f) != 1 || f[0].Failed.Code != event.BadIdentity || b.sa.Up() {
		t.Errorf("the responder says %+v", b.outcomes)
	}
	g := became[Dead](a)
	if len(g) != 1 || g[0].Failed == nil || g[0].Failed.Code != event.PeerRefused || g[0].Failed.Notified != "INVALID-ID-INFORMATION" || g[0].Failed.LastSent != "MM5" {
		t.Errorf("the initiator says %+v", a.outcomes)
	}
}

// The same of a responder: the initiator does not believe it, and takes back
// the SA that the responder has already.
func TestResponderWithAnotherAddress(t *testing.T) {
	a, b := misnamed(t, false)
	a.take(b.drain()[0])
	was := b.sa.Local
	m := a.drain()[0]
	b.sa.Local = netip.MustParseAddrPort("198.51.100.9:500")
	b.settings.Entries[0].Local = b.sa.Local.Addr()
	b.take(m)
	b.sa.Local = was
	pump(a, b)
	if f := became[Dead](a); len(f) != 1 || f[0].Failed.Code != event.BadIdentity || a.sa.Up() {
		t.Errorf("the initiator says %+v", a.outcomes)
	}
	if b.sa.Up() {
		t.Error("the responder still believes that it is up")
	}
}

// RFC 2409 appendix B: the cipher key is stretched when SKEYID_e is too short for it.
func TestKeyLengths(t *testing.T) {
	for _, g := range []suite.Group{19} {
		for _, h := range []suite.Hash{suite.SHA1, suite.SHA512} {
			for _, bits := range []int{128, 192, 256} {
				p := settingsOf(left.Addr(), right.Addr(), leftN, rightN).Policies[0]
				p.Hash, p.KeyBits, p.Group = h, bits, g
				a := newEnd(t, "a", 1, settingsOf(left.Addr(), right.Addr(), leftN, rightN))
				b := newEnd(t, "b", 2, settingsOf(right.Addr(), left.Addr(), rightN, leftN))
				a.settings.Policies[0], b.settings.Policies[0] = p, p
				mm1Of(t, a, b)
				pump(a, b)
				if !a.sa.Up() || a.sa.keys.cipher.Len() != bits/8 || !a.sa.keys.cipher.Equal(b.sa.keys.cipher) {
					t.Errorf("%s: up %t, a key of %d octets", p, a.sa.Up(), a.sa.keys.cipher.Len())
				}
			}
		}
	}
}
