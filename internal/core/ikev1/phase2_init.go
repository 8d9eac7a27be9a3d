package ikev1

import (
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

// StartQuick begins quick mode for a flow: QM1 leaves, after its key pair is
// made when PFS is wanted. rekey names the pair it will replace.
func (s *SA) StartQuick(c *Context, f policy.Flow, selects flow.Selectors, rekey sadb.ChildID) {
	q := &quickMode{
		id: s.freshID(c), role: event.Initiator, flow: f, selects: selects, rekey: rekey, pfs: f.Entry.PFS,
		ni: c.octets(nonceOctets), ends: c.Now.Add(negotiationTime),
	}
	q.child = &sadb.Child{ID: c.NewChild()}
	var why event.Failed
	if q.sets, why = s.setsFor(c, f.Entry, selects); len(q.sets) == 0 {
		s.failQuick(c, q, why)
		return
	}
	q.spis = drawSPIs(c, q.sets...)
	if s.full() {
		s.failQuick(c, q, event.Failed{Code: event.Expired, Reason: "too many quick modes at once"})
		return
	}
	s.quick[q.id] = q
	q.iv = s.keys.phase2IV(s.Policy, q.id)
	if q.pfs == suite.NoGroup {
		s.sendQM1(c, q)
		return
	}
	s.quickKeys(c, q, func(c *Context) { s.sendQM1(c, q) })
}

// setsFor are the transform sets that can be asked for, each in the mode it
// will have. Transport mode is for traffic between the two ends of the tunnel;
// for other traffic a set falls back to tunnel mode, unless it forbids that. AH
// covers the addresses, so it cannot pass a NAT. Without any, why says so.
func (s *SA) setsFor(c *Context, e *policy.Entry, selects flow.Selectors) (sets []policy.TransformSet, why event.Failed) {
	why = event.Failed{Code: event.LegacyOnly, Reason: "no transform set that may be offered"}
	for _, t := range c.Settings.UsableSets(e) {
		if t.AH != suite.NoHash && s.Encap() {
			why = event.Failed{Code: event.NoTransformSet, Reason: ahBehindNAT(t)}
			continue
		}
		if t.Mode == suite.Transport && !s.between(selects) {
			if t.Require {
				why = event.Failed{Code: event.ModeMismatch, Reason: fmt.Sprintf(
					"transform set %s requires transport mode, and %s is not traffic between the tunnel's own two ends", t.Name, selects)}
				continue
			}
			t.Mode = suite.Tunnel
		}
		sets = append(sets, t)
	}
	return sets, why
}

func ahBehindNAT(t policy.TransformSet) string {
	return fmt.Sprintf("transform set %s has AH, which cannot pass the NAT between us and the peer", t.Name)
}

// sendQM1 sends HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr.
func (s *SA) sendQM1(c *Context, q *quickMode) {
	sa := offerSets(q.sets, q.pfs, q.flow.Entry.Lifetime, numbers{s.Encap(), s.draftNATT()}, q.spis)
	p := s.quickBody(q, sa, q.ni, proxies(q.selects))
	if s.Encap() && slices.ContainsFunc(q.sets, func(t policy.TransformSet) bool { return t.Mode == suite.Transport }) {
		p = append(p, s.natOA(s.Local.Addr(), s.Remote.Addr())...)
	}
	q.awaits, q.sent = "QM2", c.Now
	q.flight.arm(c.Now)
	s.move(c, "IKE_QM_I_QM1", "QM_IDLE")
	s.sendQuick(c, q, "QM1", p, be32(q.id))
}

// initQM2 takes QM2: the responder chose. Keys are made, QM3 leaves.
func (s *SA) initQM2(c *Context, m *message, q *quickMode) error {
	m.name = "QM2"
	if err := s.readQuick(m, q.iv, be32(q.id), q.ni); err != nil {
		return err
	}
	// From here on the message is the peer's own: what is wrong in it ends the exchange.
	s.moveTo(m)
	s.received(c, m)
	q.flight = flight{sent: q.flight.sent, received: m.raw}
	q.iv, q.awaits, q.commit = m.nextIV, "", m.header.Flags&isakmp.FlagCommit != 0
	ke, err := s.readQM2(c, m, q)
	if err != nil {
		s.giveUpQM2(c, q, err)
		return nil
	}
	s.quickShared(c, q, ke, func(c *Context, shared crypt.Secret) {
		if err := s.makeChild(c, q, shared); err != nil {
			s.giveUpQM2(c, q, err)
			return
		}
		q.done, q.ends = true, c.Now.Add(quickMemory)
		// The inbound SA must stand before the peer hears QM3.
		c.childUp(ChildUp{SA: s, Child: q.child, In: true, OutAt: s.settles(c, q), Rekey: q.rekey})
		s.sendQM3(c, q)
		s.childUp(c, q)
		s.move(c, "IKE_QM_PHASE2_COMPLETE", "QM_IDLE")
	})
	return nil
}

// giveUpQM2 ends the exchange for what the peer's answer says.
func (s *SA) giveUpQM2(c *Context, q *quickMode, err error) {
	r := refusal(err)
	s.refuseQM2(c, q)
	s.failQuick(c, q, event.Failed{Code: r.Code, Reason: r.Reason, LastSent: "QM1", LastReceived: "QM2"})
}

// refuseQM2 tells the peer that its answer makes no SA: it has its half of the
// pair installed, and would wait for QM3.
func (s *SA) refuseQM2(c *Context, q *quickMode) {
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Type: isakmp.NotifyPayloadMalformed}
	n.Protocol, n.SPI = q.spis.name()
	s.informIn(c, &q.flight, n)
}

// sendQM3 sends HDR*, HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
func (s *SA) sendQM3(c *Context, q *quickMode) {
	hash := s.hashOver([]byte{0}, be32(q.id), q.ni, q.nr)
	h := isakmp.Header{Exchange: isakmp.ExchangeQuick, MessageID: q.id}
	last, err := s.post(c, &q.flight, "QM3", h, []isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, q.iv)
	if err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
		return
	}
	q.iv = last
}

// initConnected takes the fourth message of quick mode, with which a responder
// that had set the commit bit says that its SAs are in place (RFC 2408 3.1):
//
//	HDR*, HASH(4), N(CONNECTED)    HASH(4) = prf(SKEYID_a, M-ID | N)
//
// RFC 2409 has no such message; its hash is that of racoon and Windows. Who never
// sends it is not waited for long, see settles. A peer that sets the bit as the
// initiator says no more with it than QM3 does.
func (s *SA) initConnected(c *Context, m *message, q *quickMode) error {
	m.name = "QM4"
	if err := s.readQuick(m, q.iv, be32(q.id)); err != nil {
		return err
	}
	s.moveTo(m)
	s.received(c, m)
	for _, body := range m.all(isakmp.PayloadNotify) {
		if n, err := isakmp.ParseNotification(body); err == nil && n.Type == isakmp.NotifyConnected {
			s.emit(c, event.Notify{Dir: event.Received, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol, Protected: true})
			q.commit = false
			c.done(Ready{SA: s, Child: q.child.ID})
		}
	}
	return nil
}

// connected takes CONNECTED in an informational exchange.
func (s *SA) connected(c *Context, n isakmp.Notification) {
	for _, id := range sortedIDs(s.quick) {
		q := s.quick[id]
		if out := q.child.Out; q.done && q.commit && (spis{out.SPI, out.AHSPI}.has(n.SPI) || q.spis.has(n.SPI)) {
			q.commit = false
			c.done(Ready{SA: s, Child: q.child.ID})
		}
	}
}

// readQM2 checks what the responder chose against what was offered.
func (s *SA) readQM2(c *Context, m *message, q *quickMode) (ke []byte, err error) {
	body, err := m.one(isakmp.PayloadSA)
	if err != nil {
		return nil, err
	}
	if q.nr, err = m.one(isakmp.PayloadNonce); err != nil {
		return nil, err
	}
	if err := isakmp.CheckNonce(q.nr); err != nil {
		return nil, err
	}
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		return nil, err
	}
	offers := readSets(sa, s.Encap())
	if len(offers) != 1 {
		return nil, malformed("QM2 chooses %d transforms, expected one", len(offers))
	}
	o := offers[0]
	i := slices.IndexFunc(q.sets, func(t policy.TransformSet) bool {
		return t.Mode == o.Set.Mode && o.mismatch(c, t, q.pfs, s.initFits) == "" && o.Group == q.pfs
	})
	if i < 0 {
		return nil, malformed("QM2 chooses what was not offered: %s %s %s", o.Set, o.Group, o.Unknown)
	}
	if err := sameProxies(m, q); err != nil {
		return nil, err
	}
	q.child.Set, q.child.Encap = q.sets[i], s.Encap()
	q.spis = q.spis.keep(c, q.child.Set)
	q.child.Lifetime = q.flow.Entry.Lifetime.Shorter(o.Lifetime)
	q.child.Out.SPI, q.child.Out.AHSPI = o.spi(isakmp.ProtocolESP), o.spi(isakmp.ProtocolAH)
	s.takeResponderLifetime(m, q)
	return s.readKE(m, q.pfs)
}

// sameProxies demands the identities that we sent (RFC 2409 5.5: the responder
// returns them unchanged). None means the ends of the tunnel themselves.
func sameProxies(m *message, q *quickMode) error {
	ids := m.all(isakmp.PayloadID)
	if len(ids) != 2 {
		return malformed("QM2 has %d proxy identities, expected two", len(ids))
	}
	got, err := readProxies(ids)
	if err != nil {
		return err
	}
	if got.Mirror() != wireSelectors(q.selects) {
		return &Refusal{Code: event.NoProxy, Reason: "the peer answered with other proxy identities: " + got.Mirror().String()}
	}
	return nil
}

// takeResponderLifetime applies RESPONDER-LIFETIME in QM2: the message's hash covers it.
func (s *SA) takeResponderLifetime(m *message, q *quickMode) {
	for _, body := range m.all(isakmp.PayloadNotify) {
		n, err := isakmp.ParseNotification(body)
		if err != nil || n.Type != isakmp.NotifyResponderLifetime {
			continue
		}
		if l, err := lifetimeOf(n.Data); err == nil {
			q.child.Lifetime = q.child.Lifetime.Shorter(l)
		}
	}
}
