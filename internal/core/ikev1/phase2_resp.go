package ikev1

import (
	"encoding/binary"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
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
			n.SPI = sa.Proposals[0].SPI
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
	if err := s.chooseFlow(c, m, q); err != nil {
		return chosen, nil, err
	}
	if chosen, err = s.chooseSet(c, q, readSets(sa, s.Encap() && s.floated())); err != nil {
		return chosen, nil, err
	}
	q.pfs = chosen.Group
	ke, err = s.readKE(m, q.pfs)
	return chosen, ke, err
}

// chooseFlow finds the line of the crypto ACL that permits the offered identities.
func (s *SA) chooseFlow(c *Context, m *message, q *quickMode) error {
	ids := m.all(isakmp.PayloadID)
	var err error
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
	f, found := c.Settings.FlowFor(s.Local.Addr(), s.Remote.Addr(), q.selects)
	s.emit(c, event.ProxyCheck{Offered: q.selects, Flow: f.ID, Found: found})
	if !found {
		return &Refusal{Code: event.NoProxy, Notify: isakmp.NotifyInvalidIDInformation, Authentic: true,
			Reason: "no line of a crypto ACL permits " + q.selects.String()}
	}
	q.flow = f
	return nil
}

func hosts(s *SA) (flow.Selectors, error) {
	local, err := s.Local.Addr().Prefix(s.Local.Addr().BitLen())
	if err != nil {
		return flow.Selectors{}, err
	}
	remote, err := s.Remote.Addr().Prefix(s.Remote.Addr().BitLen())
	return flow.Selectors{Local: local, Remote: remote}, err
}

// chooseSet compares the offers with our first transform set, then the second,
// and so on.
func (s *SA) chooseSet(c *Context, q *quickMode, offers []offer) (offer, error) {
	sets, pfs := c.Settings.UsableSets(q.flow.Entry), q.flow.Entry.PFS
	onlyPFS := false
	for _, set := range sets {
		for i := range offers {
			why := offers[i].mismatch(c, set, pfs, s.respFits)
			s.emit(c, event.ProposalCheck{Offer: offers[i].Proposal, Against: set, Mismatch: why})
			if why == "" {
				q.child.Set, q.child.Encap = set, offers[i].Encap == wordsOf(encapsulation(set.Mode, true))
				q.child.Lifetime = q.flow.Entry.Lifetime.Shorter(offers[i].assumed())
				q.child.Out.SPI = binary.BigEndian.Uint32(offers[i].proposal.SPI)
				return offers[i], nil
			}
			onlyPFS = onlyPFS || why == "pfs group"
		}
	}
	s.emit(c, event.ProposalRefused{Flow: q.flow.ID, Offers: proposals(offers), Sets: sets, PFS: pfs})
	r := &Refusal{Code: event.NoTransformSet, Notify: isakmp.NotifyNoProposalChosen, Authentic: true, Reason: "no transform set in common"}
	if onlyPFS {
		r.Code, r.Reason = event.PFSMismatch, "the transform sets agree, the PFS groups do not"
	}
	return offer{}, r
}

// sendQM2 sends HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr. The inbound SA stands
// before the peer can use it.
func (s *SA) sendQM2(c *Context, q *quickMode, chosen offer, shared crypt.Secret) {
	q.nr, q.spi = c.octets(nonceOctets), c.NewSPI()
	s.makeChild(c, q, shared)
	c.childUp(ChildUp{SA: s, Child: q.child, In: true})
	p := chosen.proposal
	p.SPI, p.Transforms = be32(q.spi), []isakmp.Transform{chosen.transform}
	body := s.quickBody(q, isakmp.NewSA(p), q.nr, q.ids)
	if own := q.flow.Entry.Lifetime; shorter(own, chosen.Lifetime) {
		n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolESP, SPI: be32(q.spi),
			Type: isakmp.NotifyResponderLifetime, Data: lifetimeData(q.child.Lifetime)}
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
	m.name = "QM3"
	if err := s.open(m, q.iv); err != nil {
		return err
	}
	if err := s.verifyHash(m, []byte{0}, be32(q.id), q.ni, q.nr); err != nil {
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
