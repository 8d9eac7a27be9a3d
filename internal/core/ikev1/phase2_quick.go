package ikev1

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// quickMemory is how long a finished quick mode answers duplicates.
const quickMemory = 60 * time.Second

// quickMode is the state of one quick mode exchange, RFC 2409 5.5.
type quickMode struct {
	id      uint32 // message ID
	role    event.Role
	awaits  string // "QM2", "QM3"; "" while computing and when done
	done    bool
	ends    time.Time // when it is given up, or forgotten
	sent    time.Time // when QM1 left
	flight  flight
	flow    policy.Flow
	selects flow.Selectors
	child   *sadb.Child
	rekey   sadb.ChildID
	sets    []policy.TransformSet
	pfs     suite.Group
	spi     uint32 // our inbound SPI
	ni, nr  []byte
	iv      []byte // of the next message
	private crypt.Private
	public  []byte
	ids     []isakmp.Payload // IDci and IDcr of the peer, which QM2 returns as they came
}

// StartQuick begins quick mode for a flow: QM1 leaves, after its key pair is
// made when PFS is wanted. rekey names the pair it will replace.
func (s *SA) StartQuick(c *Context, f policy.Flow, selects flow.Selectors, rekey sadb.ChildID) {
	q := &quickMode{
		id: s.freshID(c), role: event.Initiator, flow: f, selects: selects, rekey: rekey, pfs: f.Entry.PFS,
		sets: c.Settings.UsableSets(f.Entry), ni: c.octets(nonceOctets), spi: c.NewSPI(), ends: c.Now.Add(negotiationTime),
	}
	q.child = &sadb.Child{ID: c.NewChild()}
	if len(q.sets) == 0 {
		s.failQuick(c, q, event.Failed{Code: event.LegacyOnly, Reason: "no transform set that may be offered"})
		return
	}
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

// quickKeys makes the key pair of PFS.
func (s *SA) quickKeys(c *Context, q *quickMode, then func(*Context)) {
	private, err := newPrivate(c, q.pfs)
	if err != nil {
		s.failQuick(c, q, event.Failed{Code: event.Malformed, Reason: err.Error()})
		return
	}
	q.private = private
	c.compute(s, crypt.KeyPairJob(private), func(c *Context, r crypt.Result) {
		if q.done {
			return
		}
		if r.Err != nil {
			s.failQuick(c, q, event.Failed{Code: event.Malformed, Reason: r.Err.Error()})
			return
		}
		q.public = r.Public
		then(c)
	})
}

// sendQM1 sends HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr.
func (s *SA) sendQM1(c *Context, q *quickMode) {
	sa := offerSets(q.sets, q.pfs, q.flow.Entry.Lifetime, s.Encap(), q.spi)
	p := s.quickBody(q, sa, q.ni, proxies(q.selects))
	q.awaits, q.sent = "QM2", c.Now
	q.flight.arm(c.Now)
	s.move(c, "IKE_QM_I_QM1", "QM_IDLE")
	s.sendQuick(c, q, "QM1", p, be32(q.id))
}

func (s *SA) quickBody(q *quickMode, sa isakmp.SA, nonce []byte, ids []isakmp.Payload) []isakmp.Payload {
	p := []isakmp.Payload{{Type: isakmp.PayloadSA, Body: sa.Append(nil)}, {Type: isakmp.PayloadNonce, Body: nonce}}
	if q.public != nil {
		p = append(p, isakmp.Payload{Type: isakmp.PayloadKE, Body: q.public})
	}
	return append(p, ids...)
}

// sendQuick puts the hash in front and sends. HASH(1) covers M-ID | rest,
// HASH(2) covers M-ID | Ni_b | rest: prefix is what stands before the rest.
func (s *SA) sendQuick(c *Context, q *quickMode, name string, rest []isakmp.Payload, prefix ...[]byte) {
	_, body := isakmp.AppendPayloads(nil, rest)
	hash := s.hashOver(append(prefix, body)...)
	p := append([]isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, rest...)
	h := isakmp.Header{Exchange: isakmp.ExchangeQuick, MessageID: q.id}
	last, err := s.post(c, &q.flight, name, h, p, q.iv)
	if err != nil {
		s.failQuick(c, q, event.Failed{Code: event.Malformed, Reason: err.Error()})
		return
	}
	q.iv = last
}

// handleQuick finds the exchange of a quick mode message.
func (s *SA) handleQuick(c *Context, m *message) error {
	if !m.sealed || !s.Up() {
		return malformed("quick mode without an authenticated ISAKMP SA, or not encrypted")
	}
	q := s.quick[m.header.MessageID]
	switch {
	case q == nil:
		return s.respQM1(c, m)
	case s.duplicate(c, &q.flight, m, lastTaken(q)):
		return nil
	case q.done || q.awaits == "":
		return malformed("quick mode %08x awaits no message", q.id)
	case q.role == event.Initiator:
		return s.initQM2(c, m, q)
	}
	return s.respQM3(c, m, q)
}

// lastTaken is the message that the flight's last one answers.
func lastTaken(q *quickMode) string {
	if q.role == event.Initiator {
		return "QM2"
	}
	if q.done {
		return "QM3"
	}
	return "QM1"
}

// readQuick opens a message of an exchange and checks its hash.
func (s *SA) readQuick(m *message, iv []byte, prefix ...[]byte) error {
	if err := s.open(m, iv); err != nil {
		return err
	}
	return s.verifyHash(m, append(prefix, m.signed)...)
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
	q.iv, q.awaits = m.nextIV, ""
	ke, err := s.readQM2(c, m, q)
	if err != nil {
		r := refusal(err)
		s.refuseQM2(c, q)
		s.failQuick(c, q, event.Failed{Code: r.Code, Reason: r.Reason, LastSent: "QM1", LastReceived: "QM2"})
		return nil
	}
	s.quickShared(c, q, ke, func(c *Context, shared crypt.Secret) {
		s.makeChild(c, q, shared)
		q.done, q.ends = true, c.Now.Add(quickMemory)
		// The inbound SA must stand before the peer hears QM3.
		c.childUp(ChildUp{SA: s, Child: q.child, In: true, OutAt: s.settles(c, q), Rekey: q.rekey})
		s.sendQM3(c, q)
		s.childUp(c, q)
		s.move(c, "IKE_QM_PHASE2_COMPLETE", "QM_IDLE")
	})
	return nil
}

// refuseQM2 tells the peer that its answer makes no SA: it has its half of the
// pair installed, and would wait for QM3.
func (s *SA) refuseQM2(c *Context, q *quickMode) {
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolESP, SPI: be32(q.spi), Type: isakmp.NotifyPayloadMalformed}
	s.informIn(c, &q.flight, n)
}

// sendQM3 sends HDR*, HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b).
func (s *SA) sendQM3(c *Context, q *quickMode) {
	hash := s.hashOver([]byte{0}, be32(q.id), q.ni, q.nr)
	h := isakmp.Header{Exchange: isakmp.ExchangeQuick, MessageID: q.id}
	if _, err := s.post(c, &q.flight, "QM3", h, []isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, q.iv); err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
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
	i := slices.IndexFunc(q.sets, func(t policy.TransformSet) bool { return o.mismatch(c, t, q.pfs, s.initFits) == "" && o.Group == q.pfs })
	if i < 0 {
		return nil, malformed("QM2 chooses what was not offered: %s %s %s", o.Set, o.Group, o.Unknown)
	}
	if err := sameProxies(m, q); err != nil {
		return nil, err
	}
	q.child.Set, q.child.Encap = q.sets[i], s.Encap()
	q.child.Lifetime = q.flow.Entry.Lifetime.Shorter(o.Lifetime)
	q.child.Out.SPI = binary.BigEndian.Uint32(o.proposal.SPI)
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

// wireSelectors is what proxy identities can say of selectors.
func wireSelectors(s flow.Selectors) flow.Selectors {
	s.LocalPorts, s.RemotePorts = onePortOf(s.LocalPorts), onePortOf(s.RemotePorts)
	return s
}

func onePortOf(p flow.Ports) flow.Ports {
	if p.IsAny() {
		return flow.AnyPort
	}
	return flow.Ports{Lo: p.Lo, Hi: p.Lo}
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

// readKE returns the KE payload that PFS demands, nil without PFS.
func (s *SA) readKE(m *message, g suite.Group) ([]byte, error) {
	all := m.all(isakmp.PayloadKE)
	if g == suite.NoGroup {
		if len(all) != 0 {
			return nil, malformed("%s has a KE payload, but no PFS group was agreed", m.name)
		}
		return nil, nil
	}
	if len(all) != 1 || len(all[0]) != g.Row().Public {
		return nil, malformed("%s: PFS with %s needs one KE payload of %d octets", m.name, g, g.Row().Public)
	}
	return all[0], nil
}

// quickShared computes the shared secret of PFS; without PFS it goes on at once.
func (s *SA) quickShared(c *Context, q *quickMode, ke []byte, then func(*Context, crypt.Secret)) {
	if ke == nil {
		then(c, crypt.Secret{})
		return
	}
	c.compute(s, crypt.SharedJob(q.private, ke), func(c *Context, r crypt.Result) {
		q.private.Wipe()
		if q.done {
			return
		}
		if r.Err != nil {
			s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolESP, Type: isakmp.NotifyInvalidKeyInformation})
			s.failQuick(c, q, event.Failed{Code: event.Malformed, Reason: r.Err.Error()})
			return
		}
		then(c, r.Shared)
	})
}

// makeChild derives the keys and completes the SA pair.
func (s *SA) makeChild(c *Context, q *quickMode, shared crypt.Secret) {
	k := q.child
	k.Flow, k.Selectors, k.PFS = q.flow.ID, q.selects, q.pfs
	k.Local, k.Remote, k.PeerBehind = s.Local, s.Remote, s.NAT.PeerBehind
	k.In.SPI, k.Established, k.ReplayWindow = q.spi, c.Now, c.Settings.ReplayWindow
	k.Initiator = q.role == event.Initiator
	for _, d := range []*sadb.Keys{&k.In, &k.Out} {
		n := encrKeyOctets(k.Set)
		b := keymat(s.Policy, s.keys.d, shared, isakmp.ProtocolESP, d.SPI, q.ni, q.nr, n+integKeyOctets(k.Set))
		d.Encr, d.Integ = crypt.NewSecret(b[:n:n]), crypt.NewSecret(b[n:])
	}
	shared.Wipe()
}

func (s *SA) childUp(c *Context, q *quickMode) {
	k := q.child
	s.emit(c, event.Phase2Up{
		Flow: k.Flow, Selectors: k.Selectors, Set: k.Set, PFS: k.PFS, In: k.In.SPI, Out: k.Out.SPI,
		Encap: k.Encap, Lifetime: k.Lifetime, Rekey: q.rekey != 0,
	})
}

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

// quickRefused ends the exchange that an authentic error notification is about.
func (s *SA) quickRefused(c *Context, n isakmp.Notification) {
	q := s.meant(n.SPI)
	if q == nil {
		return
	}
	f := event.Failed{Code: event.PeerRefused, Notified: n.Type.String(), Reason: "the peer answered " + n.Type.String(),
		LastSent: q.flight.sent.Name, Offered: q.selects}
	if q.role == event.Responder {
		f.LastReceived = "QM1"
	}
	switch n.Type {
	case isakmp.NotifyNoProposalChosen:
		f.Code = event.NoTransformSet
	case isakmp.NotifyInvalidIDInformation:
		f.Code = event.NoProxy
	}
	s.failQuick(c, q, f)
}

// meant finds the exchange under way that a notification names by an SPI: ours,
// as we offered it, or the peer's own when it is the initiator. Implementations
// that name none mean the only exchange we began.
func (s *SA) meant(spi []byte) *quickMode {
	var began []*quickMode
	for _, id := range sortedIDs(s.quick) {
		q := s.quick[id]
		switch {
		case q.done:
		case q.role == event.Responder:
			if bytes.Equal(spi, be32(q.child.Out.SPI)) {
				return q
			}
		case bytes.Equal(spi, be32(q.spi)):
			return q
		default:
			began = append(began, q)
		}
	}
	if len(began) == 1 {
		return began[0]
	}
	return nil
}

// failQuick ends an exchange without an SA.
func (s *SA) failQuick(c *Context, q *quickMode, f event.Failed) {
	f.Phase, f.Flow = 2, q.flow.ID
	q.done, q.awaits, q.ends = true, "", c.Now.Add(quickMemory)
	q.flight.disarm()
	q.private.Wipe()
	s.emit(c, f)
	c.done(ChildFailed{SA: s, Flow: q.flow.ID, Child: q.child.ID, SPI: q.spi, Rekey: q.rekey, Role: q.role, Failed: f})
}

// Drop gives up the exchange that is making a pair which was taken away
// meanwhile: what still comes of it must not bring the pair back.
func (s *SA) Drop(c *Context, id sadb.ChildID) {
	for _, q := range s.quick {
		if q.child.ID == id && !q.done {
			q.done, q.awaits, q.ends = true, "", c.Now.Add(quickMemory)
			q.flight = flight{}
			q.private.Wipe()
		}
	}
}

// tickQuick retransmits, gives up, or forgets.
func (s *SA) tickQuick(c *Context, q *quickMode) {
	if q.flight.due(c.Now) && !q.flight.again(c, s) {
		s.expireQuick(c, q)
	}
	if c.Now.Before(q.ends) {
		return
	}
	if !q.done {
		s.expireQuick(c, q)
	}
	delete(s.quick, q.id)
}

func (s *SA) expireQuick(c *Context, q *quickMode) {
	f := event.Failed{Code: event.NoAnswer, Reason: "no " + q.awaits + " from the peer", LastSent: q.flight.sent.Name}
	if q.role == event.Responder {
		f.LastReceived = "QM1"
	}
	s.failQuick(c, q, f)
}

func sortedIDs(m map[uint32]*quickMode) []uint32 {
	ids := make([]uint32, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
