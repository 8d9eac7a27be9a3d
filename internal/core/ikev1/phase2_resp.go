package ikev1

import (
	"errors"
	"fmt"
	"slices"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// respQM1 takes QM1 of a new exchange.
func (s *SA) respQM1(c *Context, m *message) error {
	m.name = "QM1"
	id := m.header.MessageID
	if _, taken := s.used[id]; taken {
		return malformed("quick mode %08x was seen before", id)
	}
	if s.full() {
		return malformed("%d quick modes are under way already", len(s.quick))
	}
	if err := s.readQuick(m, s.keys.phase2IV(s.Policy, id), be32(id)); err != nil {
		return err
	}
	if s.crosses(c, m) {
		return errors.New("a quick mode of the peer crosses our own for the same traffic, which goes first")
	}
	if !s.claim(id) {
		return malformed("message ID %08x cannot be used", id)
	}
	s.moveTo(m)
	s.received(c, m)
	q := &quickMode{id: id, role: event.Responder, iv: m.nextIV, ends: c.Now.Add(negotiationTime)}
	q.child = &sadb.Child{ID: c.NewChild()}
	q.flight.received = m.raw
	s.quick[id] = q
	s.move(c, "IKE_QM_R_QM1", "QM_IDLE")
	chosen, ke, err := s.chooseChild(c, m, q)
	if err != nil {
		s.refuseQM1(c, m, q, err)
		return nil
	}
	if ke == nil {
		s.sendQM2(c, q, chosen, crypt.Secret{})
		return nil
	}
	s.quickKeys(c, q, func(c *Context) {
		s.quickShared(c, q, ke, func(c *Context, shared crypt.Secret) { s.sendQM2(c, q, chosen, shared) })
	})
	return nil
}

// crosses reports whether QM1 has to wait for a quick mode of our own. Nothing is
// kept of it: the peer repeats it when it does not give it up.
func (s *SA) crosses(c *Context, m *message) bool {
	var q quickMode
	nonce, err := m.one(isakmp.PayloadNonce)
	return err == nil && s.readSelectors(m, &q) == nil && c.Crossing(s, q.selects, nonce)
}

// refuseQM1 tells the peer why, with the SPI it proposed.
func (s *SA) refuseQM1(c *Context, m *message, q *quickMode, err error) {
	r := refusal(err)
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolESP, Type: r.Notify}
	if n.Type == 0 {
		n.Type = isakmp.NotifyPayloadMalformed
	}
	f := event.Failed{Code: r.Code, Reason: r.Reason, LastReceived: "QM1", Offered: q.selects}
	if body, ok := m.first(isakmp.PayloadSA); ok {
		if sa, err := isakmp.ParseSA(body); err == nil {
			n.Protocol, n.SPI = sa.Proposals[0].Protocol, sa.Proposals[0].SPI
			f.ProposalOffers = proposals(readSets(sa, s.Encap()))
		}
	}
	s.informIn(c, &q.flight, n)
	s.failQuick(c, q, f)
}

// chooseChild decides on QM1: which flow, which transform set.
func (s *SA) chooseChild(c *Context, m *message, q *quickMode) (chosen offer, ke []byte, err error) {
	body, err := m.one(isakmp.PayloadSA)
	if err != nil {
		return chosen, nil, err
	}
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		return chosen, nil, err
	}
	if q.ni, err = m.one(isakmp.PayloadNonce); err != nil {
		return chosen, nil, err
	}
	if err := isakmp.CheckNonce(q.ni); err != nil {
		return chosen, nil, err
	}
	if err := s.readSelectors(m, q); err != nil {
		return chosen, nil, err
	}
	offers := readSets(sa, s.Encap() && s.floated())
	if outer, ok := s.outer(q.selects); ok && hasTransport(offers) {
		chosen, err = s.chooseOuter(c, q, outer, offers)
	} else {
		chosen, err = s.chooseFor(c, q, offers)
	}
	if err != nil {
		return chosen, nil, err
	}
	q.pfs = chosen.Group
	ke, err = s.readKE(m, q.pfs)
	return chosen, ke, err
}

// chooseFor chooses flow and transform set for the selectors of q.
func (s *SA) chooseFor(c *Context, q *quickMode, offers []offer) (offer, error) {
	if err := s.chooseFlow(c, q); err != nil {
		return offer{}, err
	}
	return s.chooseSet(c, q, offers)
}

// chooseOuter is chooseFor where transport mode through a NAT is among the
// offers: the crypto ACL names the peer by the address seen from here. When that
// leads to nothing, the identities are taken as they are.
func (s *SA) chooseOuter(c *Context, q *quickMode, outer flow.Selectors, offers []offer) (offer, error) {
	inner := q.selects
	q.selects = outer
	if _, err := c.Admit(s, outer); err == nil {
		var transport []offer
		for _, o := range offers {
			if o.Unknown == "" && o.Set.Mode == suite.Transport {
				transport = append(transport, o)
			}
		}
		if chosen, err := s.chooseFor(c, q, transport); err == nil {
			return chosen, nil
		}
	}
	q.selects = inner
	return s.chooseFor(c, q, offers)
}

func hasTransport(offers []offer) bool {
	return slices.ContainsFunc(offers, func(o offer) bool { return o.Unknown == "" && o.Encap == wordsOf(isakmp.EncapUDPTransport) })
}

// readSelectors reads the proxy identities.
func (s *SA) readSelectors(m *message, q *quickMode) (err error) {
	ids := m.all(isakmp.PayloadID)
	switch len(ids) {
	case 0:
		// RFC 2409 5.5: without identities, the peers themselves are meant.
		q.selects, err = hosts(s)
	case 2:
		q.selects, err = readProxies(ids)
		q.ids = []isakmp.Payload{{Type: isakmp.PayloadID, Body: ids[0]}, {Type: isakmp.PayloadID, Body: ids[1]}}
	default:
		err = malformed("QM1 has %d proxy identities, expected two", len(ids))
	}
	if err != nil {
		return &Refusal{Code: event.NoProxy, Notify: isakmp.NotifyInvalidIDInformation, Authentic: true, Reason: err.Error()}
	}
	return nil
}

// chooseFlow finds the line of a crypto ACL that permits the selectors, or what
// a dynamic crypto map makes of them.
func (s *SA) chooseFlow(c *Context, q *quickMode) error {
	f, err := c.Admit(s, q.selects)
	s.emit(c, event.ProxyCheck{Offered: q.selects, Flow: f.ID, Found: err == nil})
	if err != nil {
		r := refusal(err)
		r.Authentic = true
		if r.Notify == 0 {
			r.Code, r.Notify = event.NoProxy, isakmp.NotifyInvalidIDInformation
		}
		return r
	}
	q.flow = f
	return nil
}

// chooseSet compares the offers with our first transform set, then the second,
// and so on.
func (s *SA) chooseSet(c *Context, q *quickMode, offers []offer) (offer, error) {
	sets, pfs := c.Settings.UsableSets(q.flow.Entry), q.flow.Entry.PFS
	r := &Refusal{Code: event.NoTransformSet, Notify: isakmp.NotifyNoProposalChosen, Authentic: true, Reason: "no transform set in common"}
	for _, set := range sets {
		for i := range offers {
			why := offers[i].mismatch(c, set, pfs, s.respFitsSet(set, q.selects))
			s.emit(c, event.ProposalCheck{Offer: offers[i].Proposal, Against: set, Mismatch: why})
			switch {
			case why == "" && set.AH != suite.NoHash && s.Encap():
				r.Reason = ahBehindNAT(set)
			case why == "":
				s.settle(q, set, &offers[i])
				return offers[i], nil
			case why == "pfs group":
				r.Code, r.Reason = event.PFSMismatch, "the transform sets agree, the PFS groups do not"
			case why == "mode" && r.Code == event.NoTransformSet && s.respFits(offers[i].Set.Mode, offers[i].Encap):
				r.Code, r.Reason = event.ModeMismatch, modeMismatch(set, offers[i], q.selects)
			}
		}
	}
	s.emit(c, event.ProposalRefused{Flow: q.flow.ID, Offers: proposals(offers), Sets: sets, PFS: pfs})
	return offer{}, r
}

func modeMismatch(set policy.TransformSet, o offer, selects flow.Selectors) string {
	want := set.Mode.String()
	if set.Require {
		want += " require"
	}
	return fmt.Sprintf("the peer offers %s mode for %s, and transform set %s is equal but for mode %s", o.Encap, selects, set.Name, want)
}

// settle notes what was chosen.
func (s *SA) settle(q *quickMode, set policy.TransformSet, o *offer) {
	set.Mode = o.Set.Mode
	k := q.child
	k.Set, k.Encap = set, o.Encap == wordsOf(encapsulation(set.Mode, true))
	k.Lifetime = q.flow.Entry.Lifetime.Shorter(o.assumed())
	k.Out.SPI, k.Out.AHSPI = o.spi(isakmp.ProtocolESP), o.spi(isakmp.ProtocolAH)
}

// respFitsSet says in which modes a responder takes an offer for a transform
// set: one in tunnel mode takes tunnel mode only. One in transport mode takes
// transport mode for traffic between the tunnel's own two ends, and tunnel mode
// unless it requires the other.
func (s *SA) respFitsSet(set policy.TransformSet, selects flow.Selectors) func(suite.Mode, string) bool {
	return func(offered suite.Mode, encap string) bool {
		switch {
		case !s.respFits(offered, encap):
			return false
		case offered == suite.Transport:
			return set.Mode == suite.Transport && s.between(selects)
		}
		return set.Mode == suite.Tunnel || !set.Require
	}
}

// sendQM2 sends HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr. The inbound SA stands
// before the peer can use it.
func (s *SA) sendQM2(c *Context, q *quickMode, chosen offer, shared crypt.Secret) {
	q.nr, q.spis = c.octets(nonceOctets), drawSPIs(c, q.child.Set)
	if err := s.makeChild(c, q, shared); err != nil {
		r := refusal(err)
		n := isakmp.Notification{DOI: isakmp.DOIIPsec, Type: r.Notify}
		n.Protocol, n.SPI = spis{q.child.Out.SPI, q.child.Out.AHSPI}.name()
		s.informIn(c, &q.flight, n)
		s.failQuick(c, q, event.Failed{Code: r.Code, Reason: r.Reason, LastReceived: "QM1", Offered: q.selects})
		return
	}
	c.childUp(ChildUp{SA: s, Child: q.child, In: true})
	c.Yield(c, s, q.selects, q.ni)
	ps := make([]isakmp.Proposal, 0, len(chosen.parts))
	for _, x := range chosen.parts {
		p := x.proposal
		p.SPI, p.Transforms = be32(q.spis.of(p.Protocol)), []isakmp.Transform{x.transform}
		ps = append(ps, p)
	}
	body := s.quickBody(q, isakmp.NewSA(ps...), q.nr, q.ids)
	if q.child.Encap && q.child.Set.Mode == suite.Transport {
		body = append(body, s.natOA(s.Remote.Addr(), s.Local.Addr())...)
	}
	if own := q.flow.Entry.Lifetime; shorter(own, chosen.Lifetime) {
		n := isakmp.Notification{DOI: isakmp.DOIIPsec, Type: isakmp.NotifyResponderLifetime, Data: lifetimeData(q.child.Lifetime)}
		n.Protocol, n.SPI = q.spis.name()
		body = append(body, isakmp.Payload{Type: isakmp.PayloadNotify, Body: n.Append(nil)})
	}
	q.awaits = "QM3"
	q.flight.arm(c.Now)
	s.sendQuick(c, q, "QM2", body, be32(q.id), q.ni)
	s.move(c, "IKE_QM_R_QM2", "QM_IDLE")
}

// shorter reports whether own has a limit that the offer lacks or exceeds.
func shorter(own, offered policy.Lifetime) bool { return offered.Shorter(own) != offered }

// respQM3 takes QM3: the initiator is alive, we may send.
func (s *SA) respQM3(c *Context, m *message, q *quickMode) error {
	if err := s.readQM3(m, q); err != nil {
		return err
	}
	s.moveTo(m)
	s.received(c, m)
	q.flight = flight{received: m.raw} // a duplicate needs no answer
	q.awaits, q.done, q.ends = "", true, c.Now.Add(quickMemory)
	c.childUp(ChildUp{SA: s, Child: q.child, Out: true})
	s.childUp(c, q)
	s.move(c, "IKE_QM_PHASE2_COMPLETE", "QM_IDLE")
	return nil
}

func (s *SA) readQM3(m *message, q *quickMode) error {
	m.name = "QM3"
	if err := s.open(m, q.iv); err != nil {
		return err
	}
	return s.verifyHash(m, []byte{0}, be32(q.id), q.ni, q.nr)
}

// respLateQM3 takes QM3 of an exchange that was given up. The initiator holds a
// pair that we took away: the delete that told it so was lost, so it is told
// again, once.
func (s *SA) respLateQM3(c *Context, m *message, q *quickMode) error {
	if err := s.readQM3(m, q); err != nil {
		return err
	}
	s.moveTo(m)
	s.received(c, m)
	q.late = false
	s.DeleteChild(c, q.child.In)
	return nil
}
