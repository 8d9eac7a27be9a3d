package ikev1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/suite"
)

// portNATT is where IKE and ESP meet behind a NAT (RFC 3947 section 4).
const portNATT = 4500

// natHash is the body of a NAT-D payload: HASH(CKY-I | CKY-R | IP | Port), RFC 3947 3.2.
func (s *SA) natHash(a netip.AddrPort) []byte {
	port := binary.BigEndian.AppendUint16(nil, a.Port())
	return crypt.Sum(s.Policy.Hash, s.Initiator[:], s.Responder[:], a.Addr().AsSlice(), port)
}

// natPayloads are ours: the peer's address first, then our own.
func (s *SA) natPayloads() []isakmp.Payload {
	return []isakmp.Payload{
		{Type: s.natd(), Body: s.natHash(s.Remote)},
		{Type: s.natd(), Body: s.natHash(s.Local)},
	}
}

// natd is the number of the NAT-D payload.
func (s *SA) natd() isakmp.PayloadType {
	if s.draftNATT() {
		return isakmp.PayloadNATDDraft
	}
	return isakmp.PayloadNATD
}

// detectNAT compares the peer's NAT-D payloads with the addresses seen: the
// first is about us, the others are about the peer.
func (s *SA) detectNAT(c *Context, m *message) error {
	natd := m.all(s.natd())
	if !s.phase1.natt || len(natd) == 0 {
		return nil
	}
	if len(natd) < 2 || len(natd) > 16 {
		return malformed("%s: %d NAT-D payloads, expected two or a few", m.name, len(natd))
	}
	s.NAT.LocalBehind = !bytes.Equal(natd[0], s.natHash(m.local))
	s.NAT.PeerBehind = true
	want := s.natHash(m.remote)
	for _, d := range natd[1:] {
		if bytes.Equal(d, want) {
			s.NAT.PeerBehind = false
		}
	}
	return nil
}

func (s *SA) emitNAT(c *Context) {
	if s.phase1.natt {
		s.emit(c, s.NAT)
	}
}

// Encap reports whether ESP has to travel in UDP.
func (s *SA) Encap() bool { return s.NAT.LocalBehind || s.NAT.PeerBehind }

// float moves the initiator to port 4500 (RFC 3947 section 4). The responder
// follows with the first authentic message.
func (s *SA) float() {
	if s.Encap() {
		s.Local = netip.AddrPortFrom(s.Local.Addr(), portNATT)
		s.Remote = netip.AddrPortFrom(s.Remote.Addr(), portNATT)
	}
}

// keepalive is how often a NAT's mapping is kept alive.
func (c *Context) keepalive() time.Duration {
	if c.Settings.NATKeepalive > 0 {
		return c.Settings.NATKeepalive
	}
	return keepaliveEvery
}

// moveTo follows the peer to where an accepted message came from and went to,
// when there is a NAT to change that, or the peer believes so and came to port
// 4500. Handle has seen to it that another address is one the peer may have.
func (s *SA) moveTo(m *message) {
	if s.Encap() || m.local.Port() == portNATT {
		s.Local, s.Remote = m.local, m.remote
	}
}

// Follow moves the SA to where an authentic packet of one of its IPsec SAs came
// from: a NAT gave the peer another mapping.
func (s *SA) Follow(remote netip.AddrPort) {
	if s.Up() && s.NAT.PeerBehind && s.floated() {
		s.Remote = remote
	}
}

// mayCome reports whether a message from an address that is not the peer's may
// be its own: the NAT before the peer has got another address, and the
// configuration has a peer there too. What the message says is proved later, and
// only then the SA moves.
func (s *SA) mayCome(c *Context, from netip.Addr) bool {
	return s.Up() && s.NAT.PeerBehind && c.Settings.HasPeer(s.Local.Addr(), from)
}

// initFits and respFits say which encapsulation an SA may have. The initiator demands what it
// offered. The responder takes the initiator's word, which is authentic, while the
// NAT-D payloads of MM3 and MM4 are not: who spoils them on the path must not set
// the two ends at odds for a day. UDP fits only where the initiator has moved to
// port 4500 (RFC 3947 section 4). AH is never in UDP.
func (s *SA) initFits(mode suite.Mode, encap string) bool {
	return encap == wordsOf(encapsulation(mode, s.Encap()))
}

func (s *SA) respFits(mode suite.Mode, encap string) bool {
	return encap == wordsOf(encapsulation(mode, false)) || s.floated() && encap == wordsOf(encapsulation(mode, true))
}

func (s *SA) floated() bool { return s.Local.Port() == portNATT }

// draftNATT reports whether NAT traversal was agreed as one of the drafts before
// RFC 3947 has it, with its numbers. The drafts are not offered.
func (s *SA) draftNATT() bool { return !s.nattRFC }
