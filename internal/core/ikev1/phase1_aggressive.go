package ikev1

import (
	"bytes"
	"fmt"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Aggressive mode, RFC 2409 5.1 and 5.4, with NAT-D as RFC 3947 3.2 has it:
//
//	HDR, SA, KE, Ni, IDii        -->                                            AM1
//	                             <--   HDR, SA, KE, Nr, IDir, NAT-D, HASH_R     AM2
//	HDR*, NAT-D, HASH_I          -->                                            AM3
//
// It tells both identities in the clear, and AM2 gives whoever asks something to
// guess the pre-shared key with. So it is spoken only with the peers for whom it
// is configured, and refused to others before any arithmetic. It is there for
// peers whose address is not known beforehand: the key is chosen by the name in AM1.
//
// AM2 is not sent again by a timer, since nobody vouches for who sent AM1: AM1
// that comes again brings it again. AM3 has no answer; it is sent again until
// the responder is heard of.

// aggressiveSteps is aggressive mode. AM1 makes the SA: Respond. RFC 2409 leaves
// it to the initiator whether AM3 is encrypted.
func aggressiveSteps() []step {
	first := []isakmp.PayloadType{isakmp.PayloadSA, isakmp.PayloadKE, isakmp.PayloadNonce, isakmp.PayloadID}
	return []step{
		{"AM2", event.Initiator, inClear, first, (*SA).initAM2},
		{"AM3", event.Responder, either, nil, (*SA).respAM3},
	}
}

// beginsAggressive reports whether we begin in aggressive mode, as the entry's
// profile or the peer's own lines say.
func (s *SA) beginsAggressive(c *Context) bool {
	if c.Settings.AggressiveDisabled {
		return false
	}
	for i := range c.Settings.Aggressive {
		if a := &c.Settings.Aggressive[i]; a.Addr.IsValid() && a.Addr == s.Remote.Addr() {
			s.phase1.with = a
			return true
		}
	}
	return s.Profile != nil && s.Profile.Aggressive
}

// beginAggressive makes our key pair and sends AM1. The group is that of the
// first policy: it cannot be negotiated (RFC 2409 section 5).
func (s *SA) beginAggressive(c *Context) {
	x := s.phase1
	x.awaits = "AM2"
	group := x.offers[0].Group
	var same []policy.ISAKMP
	for _, o := range x.offers {
		if o.Group == group {
			same = append(same, o)
		}
	}
	x.offers = same
	s.makeKeys(c, group, func(c *Context, public []byte) {
		x.gxi, x.ni = public, c.octets(nonceOctets)
		x.saBody, x.own = offerPolicies(x.offers).Append(nil), s.ownID(c).Append(nil)
		p := append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: x.saBody}}, s.aggressiveBody(c, public, x.ni)...)
		s.move(c, "IKE_I_AM1", "AG_INIT_EXCH")
		x.flight.arm(c.Now)
		s.sendPhase1(c, "AM1", p, nil)
	})
}

// aggressiveBody is what AM1 and AM2 have in common behind the SA payload.
func (s *SA) aggressiveBody(c *Context, public, nonce []byte) []isakmp.Payload {
	p := []isakmp.Payload{{Type: isakmp.PayloadKE, Body: public}, {Type: isakmp.PayloadNonce, Body: nonce}, {Type: isakmp.PayloadID, Body: s.phase1.own}}
	return append(append(p, s.certRequests(c)...), s.vendorIDs(c)...)
}

// admit decides whether aggressive mode is spoken with who sent AM1, by its
// address and the name it gives. No arithmetic is done for others. Where peers
// are known by name alone, a name that nobody knows gets an answer like theirs,
// which proves nothing: or else names could be tried.
func (s *SA) admit(c *Context, m *message) error {
	x := s.phase1
	body, err := m.one(isakmp.PayloadID)
	if err != nil {
		return err
	}
	id, err := readID(body)
	if err != nil {
		return err
	}
	local, remote := s.Local.Addr(), s.Remote.Addr()
	x.peer, x.name = body, identityOf(id)
	with, profile, ok := c.Settings.AggressiveWith(local, remote, x.name)
	switch {
	case ok:
		x.with, s.Profile = with, profile
	case c.Settings.AggressiveByName(local) && !c.Settings.NamesPeer(local, remote):
		x.decoy = true
	default:
		return &Refusal{Code: event.AggressiveOff, Notify: isakmp.NotifyUnsupportedExchangeType, Identity: id.String(), Kind: id.Type.String(),
			Reason: fmt.Sprintf("the peer %s, which calls itself %s, begins in aggressive mode, and that is not configured for it", remote, id)}
	}
	return nil
}

// oneGroup makes offers of another group than the first one's match nothing: AM1
// has a public value of one group only.
func oneGroup(offers []policy.ISAKMP) {
	group := suite.NoGroup
	for i := range offers {
		if group == suite.NoGroup {
			group = offers[i].Group
		}
		if offers[i].Group != group {
			offers[i] = policy.ISAKMP{Priority: -1}
		}
	}
}

// readAM1 takes the initiator's public value and nonce.
func (s *SA) readAM1(m *message) (err error) {
	for _, t := range []isakmp.PayloadType{isakmp.PayloadKE, isakmp.PayloadNonce} {
		if _, err := m.one(t); err != nil {
			return err
		}
	}
	s.phase1.gxi, s.phase1.ni, err = s.readKeyExchange(m)
	return err
}

// acceptAggressive does the arithmetic, proves us and sends AM2. A public value
// that is none gets no answer.
func (s *SA) acceptAggressive(c *Context) {
	x := s.phase1
	s.move(c, "IKE_R_AM1", "AG_NO_STATE")
	x.nr = c.octets(nonceOctets)
	s.makeKeys(c, s.Policy.Group, func(c *Context, public []byte) {
		x.gxr, x.busy = public, true
		c.compute(s, crypt.SharedJob(x.private, x.gxi), func(c *Context, r crypt.Result) {
			x.busy = false
			if r.Err != nil {
				s.emit(c, event.Dropped{Reason: "AM1: " + r.Err.Error(), Cause: event.BadMessage})
				s.end(c, nil)
				return
			}
			s.makeSKEYID(r.Shared)
			s.sendAM2(c)
		})
	})
}

func (s *SA) sendAM2(c *Context) {
	x := s.phase1
	s.prove(c, func(c *Context, proof []isakmp.Payload) {
		p := append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: x.answer.Append(nil)}}, s.aggressiveBody(c, x.gxr, x.nr)...)
		if x.natt {
			p = append(p, s.natPayloads()...)
		}
		s.move(c, "IKE_R_AM2", "AG_INIT_EXCH")
		s.sendPhase1(c, "AM2", append(p, proof...), nil)
	})
}

// initAM2 takes AM2: the responder chose, and proves itself. Anybody may have
// sent it, so what it changes is taken back when the proof is wrong, and the
// real one is taken when it comes.
func (s *SA) initAM2(c *Context, m *message) error {
	x := s.phase1
	body, _ := m.first(isakmp.PayloadSA)
	chosen, err := chosenPolicy(m.name, body, x.offers)
	if err != nil {
		return err
	}
	if m.header.ResponderCookie.IsZero() {
		return malformed("AM2 has no responder cookie")
	}
	before, was := *s, *x
	s.Policy = chosen
	ke, nonce, err := s.readKeyExchange(m)
	if err == nil && (bytes.Equal(ke, x.gxi) || bytes.Equal(nonce, x.ni)) {
		err = malformed("AM2 is our own AM1, come back")
	}
	if err != nil {
		s.untry(before, was)
		return err
	}
	s.Responder, x.trying, x.busy = m.header.ResponderCookie, true, true
	x.gxr, x.nr = ke, nonce
	s.learnVendors(m)
	c.compute(s, crypt.SharedJob(x.private, ke), func(c *Context, r crypt.Result) {
		x.busy = false
		if r.Err != nil {
			s.untry(before, was)
			s.emit(c, event.Dropped{Reason: m.name + ": " + r.Err.Error(), Cause: event.BadMessage})
		} else {
			s.makeSKEYID(r.Shared)
			s.checkAM2(c, m, before, was)
		}
		s.replay(c)
	})
	return nil
}

// checkAM2 verifies the proof in AM2; then the SA is up at our end.
func (s *SA) checkAM2(c *Context, m *message, before SA, was phase1State) {
	id, _ := m.first(isakmp.PayloadID)
	if err := s.detectNAT(c, m); err != nil {
		s.untry(before, was)
		s.turnDown(c, m, err)
		return
	}
	s.checkProof(c, m, id, func(c *Context, err error) {
		if err != nil {
			if r := refusal(err); !r.Authentic {
				s.untry(before, was)
			}
			s.turnDown(c, m, err)
			return
		}
		s.phase1.trying = false
		s.take(c, m)
		s.emit(c, event.PolicyCheck{Transform: 1, Offer: s.Policy, Against: s.Policy})
		s.emitNAT(c)
		s.float()
		s.sendAM3(c)
	})
}

// untry goes back to before an AM2 was looked at. What happened meanwhile to the
// flight of AM1 and to messages that came early stays.
func (s *SA) untry(before SA, was phase1State) {
	x := s.phase1
	s.keys.wipe()
	was.flight, was.early, was.garbled, was.refused, was.notified, was.spare = x.flight, x.early, x.garbled, x.refused, x.notified, x.spare
	*s, *x = before, was
}

// sendAM3 proves us and completes phase 1.
func (s *SA) sendAM3(c *Context) {
	x := s.phase1
	s.prove(c, func(c *Context, proof []isakmp.Payload) {
		var p []isakmp.Payload
		if x.natt {
			p = s.natPayloads()
		}
		p = append(append(p, proof...), s.initialContact(c)...)
		last := s.sendPhase1(c, "AM3", p, s.keys.iv)
		if last == nil {
			return
		}
		s.keys.iv = last
		s.state = "AG_AUTH"
		x.flight.arm(c.Now)
		s.establish(c)
	})
}

// tickAM3 sends AM3 again until the responder is heard of. With the first repeat
// it is asked whether it is there, so that there is something to hear; a
// responder that could answer and never does has no SA.
func (s *SA) tickAM3(c *Context) {
	x := s.phase1
	if !x.flight.due(c.Now) {
		return
	}
	if x.flight.again(c, s) {
		if x.flight.attempt == 1 && s.PeerDPD {
			s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(),
				Type: isakmp.NotifyRUThere, Data: c.octets(4)})
		}
		return
	}
	if s.PeerDPD {
		s.end(c, &event.Failed{Phase: 1, Code: event.NoAnswer, Reason: "the peer never answered behind AM3", LastSent: "AM3", LastReceived: x.took})
	}
}

// settled notes that the responder speaks on the SA, so it has AM3.
func (s *SA) settled(m *message) {
	if m.header.Exchange != s.phase1.mode && s.phase1.flight.sent.Name == "AM3" {
		s.phase1.flight.disarm()
	}
}

// respAM3 takes AM3: the initiator has proved itself. Phase 1 is complete.
func (s *SA) respAM3(c *Context, m *message) error {
	was := s.NAT
	if err := s.detectNAT(c, m); err != nil {
		s.NAT = was
		return err
	}
	s.checkProof(c, m, s.phase1.peer, func(c *Context, err error) {
		if err == nil && s.phase1.decoy {
			// It has a certificate of ours, and yet nobody wants it to begin so.
			identity, kind := said(s.phase1.peer)
			err = &Refusal{Code: event.AggressiveOff, Notify: isakmp.NotifyAuthenticationFailed, Authentic: true, Identity: identity, Kind: kind,
				Reason: "AM3: aggressive mode is not configured for a peer that calls itself " + identity}
		}
		if err != nil {
			if !refusal(err).Authentic {
				s.NAT = was
			}
			s.turnDown(c, m, err)
			return
		}
		if m.sealed {
			s.keys.iv = m.nextIV
		}
		s.moveTo(m)
		s.take(c, m)
		s.emitNAT(c)
		s.state = "AG_AUTH"
		s.establish(c)
		if m.sealed {
			s.notices(c, m)
		}
		s.tellLifetime(c)
	})
	return nil
}
