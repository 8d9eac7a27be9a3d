package ikev1

import (
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// The attributes of extended authentication, draft-ietf-ipsec-isakmp-xauth-06
// section 6: XAUTH-TYPE to XAUTH-ANSWER.
const (
	xauthFirst = 16520
	xauthLast  = 16529
)

// handleTransaction refuses mode config and extended authentication, which are
// for remote access. A peer that wants a user's name and password will never go
// on without, so phase 1 ends; one that wants to give or get an address can.
func (s *SA) handleTransaction(c *Context, m *message) error {
	m.name = "TRANS"
	if !m.sealed || !s.Up() {
		return malformed("a transaction exchange without an authenticated ISAKMP SA, or not encrypted")
	}
	if _, replayed := s.used[m.header.MessageID]; replayed {
		return malformed("transaction %08x was seen before", m.header.MessageID)
	}
	if err := s.open(m, s.keys.phase2IV(s.Policy, m.header.MessageID)); err != nil {
		return err
	}
	if err := s.verifyHash(m, be32(m.header.MessageID), m.signed); err != nil {
		return err
	}
	if !s.claim(m.header.MessageID) {
		return malformed("message ID %08x cannot be used", m.header.MessageID)
	}
	s.moveTo(m)
	s.received(c, m)
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: isakmp.NotifyUnsupportedExchangeType})
	f := event.Failed{Phase: 1, Code: event.NoXAUTH, LastReceived: m.name, Identity: s.Identity, Profile: s.ProfileName()}
	if !asksXAUTH(m) {
		f.Pending, f.Reason = true, "the peer asks for mode config, which is for remote access"
		s.emit(c, f)
		return nil
	}
	f.Reason = "the peer asks for extended authentication (XAUTH), which is for remote access"
	s.informDelete(c)
	s.end(c, &f)
	return nil
}

// asksXAUTH reports whether an ATTR payload asks for a user's name or password.
func asksXAUTH(m *message) bool {
	for _, body := range m.all(isakmp.PayloadAttributes) {
		if len(body) < 4 {
			continue
		}
		attrs, err := isakmp.ParseAttributes(body[4:])
		if err != nil {
			continue
		}
		for _, a := range attrs {
			if a.Type >= xauthFirst && a.Type <= xauthLast {
				return true
			}
		}
	}
	return false
}
