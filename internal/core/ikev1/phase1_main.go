package ikev1

import (
	"bytes"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// mainSteps is main mode, RFC 2409 5.1 and 5.4. MM1 makes the SA: Respond.
func mainSteps() []step {
	ke := []isakmp.PayloadType{isakmp.PayloadKE, isakmp.PayloadNonce}
	id := []isakmp.PayloadType{isakmp.PayloadID}
	return []step{
		{"MM2", event.Initiator, inClear, []isakmp.PayloadType{isakmp.PayloadSA}, (*SA).initPolicyAgreed},
		{"MM3", event.Responder, inClear, ke, (*SA).respKeyExchange},
		{"MM4", event.Initiator, inClear, ke, (*SA).initKeyExchange},
		{"MM5", event.Responder, sealed, id, (*SA).respAuthenticate},
		{"MM6", event.Initiator, sealed, id, (*SA).initAuthenticate},
	}
}

// beginMain sends MM1.
func (s *SA) beginMain(c *Context) {
	x := s.phase1
	x.awaits = "MM2"
	sa := offerPolicies(x.offers)
	x.saBody = sa.Append(nil)
	s.move(c, "IKE_I_MM1", "MM_NO_STATE")
	x.flight.arm(c.Now)
	s.sendPhase1(c, "MM1", append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: x.saBody}}, s.vendorIDs(c)...), nil)
}

// acceptMain sends MM2.
func (s *SA) acceptMain(c *Context) {
	s.move(c, "IKE_R_MM1", "MM_SA_SETUP")
	s.sendPhase1(c, "MM2", append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: s.phase1.answer.Append(nil)}}, s.vendorIDs(c)...), nil)
	s.move(c, "IKE_R_MM2", "MM_SA_SETUP")
}

// initPolicyAgreed takes MM2: the responder chose one of our policies.
func (s *SA) initPolicyAgreed(c *Context, m *message) error {
	body, _ := m.first(isakmp.PayloadSA)
	chosen, err := chosenPolicy(m.name, body, s.phase1.offers)
	if err != nil {
		return err
	}
	if m.header.ResponderCookie == (isakmp.Cookie{}) {
		return malformed("MM2 has no responder cookie")
	}
	s.Responder = m.header.ResponderCookie
	s.Policy = chosen
	s.learnVendors(m)
	s.take(c, m)
	s.emit(c, event.PolicyCheck{Transform: 1, Offer: chosen, Against: chosen})
	s.move(c, "IKE_I_MM2", "MM_SA_SETUP")
	s.phase1.ni = c.octets(nonceOctets)
	s.makeKeys(c, s.Policy.Group, func(c *Context, public []byte) {
		s.phase1.gxi = public
		s.move(c, "IKE_I_MM3", "MM_SA_SETUP")
		s.phase1.awaits = "MM4"
		s.phase1.flight.arm(c.Now)
		s.sendPhase1(c, "MM3", s.keyExchange(c, public, s.phase1.ni), nil)
	})
	return nil
}

// keyExchange is the body of MM3 and MM4.
func (s *SA) keyExchange(c *Context, public, nonce []byte) []isakmp.Payload {
	p := []isakmp.Payload{{Type: isakmp.PayloadKE, Body: public}, {Type: isakmp.PayloadNonce, Body: nonce}}
	p = append(p, s.certRequests(c)...)
	if s.Role == event.Responder {
		p = append(p, s.lateVendors()...)
	}
	if s.phase1.natt {
		p = append(p, s.natPayloads()...)
	}
	return p
}

// initKeyExchange takes MM4; the shared secret makes the keys, then MM5 leaves.
func (s *SA) initKeyExchange(c *Context, m *message) error {
	ke, nonce, err := s.readKeyExchange(m)
	if err != nil {
		return err
	}
	if bytes.Equal(ke, s.phase1.gxi) || bytes.Equal(nonce, s.phase1.ni) {
		return malformed("MM4 is our own MM3, come back")
	}
	if err := s.detectNAT(c, m); err != nil {
		return err
	}
	x, before := s.phase1, *s.phase1
	x.gxr, x.nr = ke, nonce
	s.take(c, m)
	s.learnLate(m)
	s.emitNAT(c)
	s.move(c, "IKE_I_MM4", "MM_KEY_EXCH")
	s.share(c, m, before, ke, func(c *Context) {
		s.float()
		s.initSendAuth(c)
	})
	return nil
}

// share computes the shared secret with the public value of m and derives the
// keys; then goes on. A value that is none of the group's is as good as never come.
func (s *SA) share(c *Context, m *message, before phase1State, ke []byte, then func(*Context)) {
	s.phase1.busy = true
	c.compute(s, crypt.SharedJob(s.phase1.private, ke), func(c *Context, r crypt.Result) {
		s.phase1.busy = false
		if r.Err != nil {
			s.untake(c, m, before, r)
			return
		}
		s.makeSKEYID(r.Shared)
		then(c)
		s.replay(c)
	})
}

// initSendAuth sends MM5: who we are, and the proof of it.
func (s *SA) initSendAuth(c *Context) {
	s.prove(c, func(c *Context, proof []isakmp.Payload) {
		p := append([]isakmp.Payload{{Type: isakmp.PayloadID, Body: s.phase1.own}}, proof...)
		p = append(p, s.initialContact(c)...)
		s.move(c, "IKE_I_MM5", "MM_KEY_EXCH")
		s.phase1.awaits = "MM6"
		s.phase1.flight.arm(c.Now)
		if last := s.sendPhase1(c, "MM5", p, s.keys.iv); last != nil {
			s.keys.iv = last
		}
	})
}

// initialContact is the notification that we hold nothing else with the peer;
// none when we do (RFC 2407 4.6.3.3).
func (s *SA) initialContact(c *Context) []isakmp.Payload {
	if c.Others(s) {
		return nil
	}
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: isakmp.NotifyInitialContact}
	return []isakmp.Payload{{Type: isakmp.PayloadNotify, Body: n.Append(nil)}}
}

// initAuthenticate takes MM6: the peer has proved itself too. Phase 1 is complete.
func (s *SA) initAuthenticate(c *Context, m *message) error {
	id, _ := m.first(isakmp.PayloadID)
	s.checkProof(c, m, id, func(c *Context, err error) {
		if err != nil {
			s.turnDown(c, m, err)
			return
		}
		s.keys.iv = m.nextIV
		s.moveTo(m)
		s.take(c, m)
		s.move(c, "IKE_I_MM6", "MM_KEY_AUTH")
		s.establish(c)
		s.notices(c, m)
	})
	return nil
}

// respKeyExchange takes MM3; MM4 leaves when the shared secret is there, so that
// a public value which is none gets no answer and costs the initiator nothing.
func (s *SA) respKeyExchange(c *Context, m *message) error {
	ke, nonce, err := s.readKeyExchange(m)
	if err != nil {
		return err
	}
	if err := s.detectNAT(c, m); err != nil {
		return err
	}
	x, before := s.phase1, *s.phase1
	x.gxi, x.ni, x.nr = ke, nonce, c.octets(nonceOctets)
	s.moveTo(m)
	s.take(c, m)
	s.learnLate(m)
	s.emitNAT(c)
	s.move(c, "IKE_R_MM3", "MM_SA_SETUP")
	s.makeKeys(c, s.Policy.Group, func(c *Context, public []byte) {
		x.gxr = public
		s.share(c, m, before, ke, func(c *Context) {
			x.awaits = "MM5"
			s.sendPhase1(c, "MM4", s.keyExchange(c, public, x.nr), nil)
			s.move(c, "IKE_R_MM4", "MM_KEY_EXCH")
		})
	})
	return nil
}

// respAuthenticate takes MM5: the initiator has proved itself. MM6 proves us.
func (s *SA) respAuthenticate(c *Context, m *message) error {
	id, _ := m.first(isakmp.PayloadID)
	s.checkProof(c, m, id, func(c *Context, err error) {
		if err != nil {
			s.turnDown(c, m, err)
			return
		}
		s.keys.iv = m.nextIV
		s.moveTo(m)
		s.take(c, m)
		s.move(c, "IKE_R_MM5", "MM_KEY_AUTH")
		s.prove(c, func(c *Context, proof []isakmp.Payload) {
			p := append([]isakmp.Payload{{Type: isakmp.PayloadID, Body: s.phase1.own}}, proof...)
			last := s.sendPhase1(c, "MM6", p, s.keys.iv)
			if last == nil {
				return
			}
			s.keys.iv = last
			s.move(c, "IKE_R_MM6", "MM_KEY_AUTH")
			s.establish(c)
			s.notices(c, m)
			s.tellLifetime(c)
		})
	})
	return nil
}
