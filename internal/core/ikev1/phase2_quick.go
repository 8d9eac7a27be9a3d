package ikev1

import (
	"bytes"
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
	spis    spis // our inbound SPIs
	ni, nr  []byte
	iv      []byte // of the next message
	commit  bool   // the peer will tell when it is ready: it set the commit bit in QM2
	late    bool   // given up for want of QM3, which may come all the same
	private crypt.Private
	public  []byte
	ids     []isakmp.Payload // IDci and IDcr of the peer, which QM2 returns as they came
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
	case q.done && q.commit:
		return s.initConnected(c, m, q)
	case q.late:
		return s.respLateQM3(c, m, q)
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

// makeChild derives the keys and completes the SA pair. An error means that its
// flow cannot have it after all.
func (s *SA) makeChild(c *Context, q *quickMode, shared crypt.Secret) error {
	defer shared.Wipe()
	var err error
	if q.flow, err = c.Adopt(c, s, q.flow); err != nil {
		return &Refusal{Code: event.NoProxy, Notify: isakmp.NotifyInvalidIDInformation, Authentic: true, Reason: err.Error()}
	}
	k := q.child
	k.Flow, k.Selectors, k.PFS = q.flow.ID, q.selects, q.pfs
	k.Local, k.Remote, k.PeerBehind = s.Local, s.Remote, s.NAT.PeerBehind
	k.In.SPI, k.In.AHSPI, k.Established = q.spis.esp, q.spis.ah, c.Now
	k.ReplayWindow, k.ESN = q.flow.Entry.ReplayWindow, k.Set.ESN
	k.Initiator = q.role == event.Initiator
	material := func(protocol uint8, spi uint32, n int) []byte {
		return keymat(s.Policy, s.keys.d, shared, protocol, spi, q.ni, q.nr, n)
	}
	for _, d := range []*sadb.Keys{&k.In, &k.Out} {
		if d.SPI != 0 {
			n := encrKeyOctets(k.Set)
			b := material(isakmp.ProtocolESP, d.SPI, n+integKeyOctets(k.Set.Integ))
			d.Encr, d.Integ = crypt.NewSecret(b[:n:n]), crypt.NewSecret(b[n:])
		}
		if d.AHSPI != 0 {
			d.AHInteg = crypt.NewSecret(material(isakmp.ProtocolAH, d.AHSPI, integKeyOctets(k.Set.AH)))
		}
	}
	return nil
}

func (s *SA) childUp(c *Context, q *quickMode) {
	k := q.child
	s.emit(c, event.Phase2Up{
		Flow: k.Flow, Selectors: k.Selectors, Set: k.Set, PFS: k.PFS, In: k.In.SPI, Out: k.Out.SPI, AHIn: k.In.AHSPI, AHOut: k.Out.AHSPI,
		Encap: k.Encap, ESN: k.ESN, Lifetime: k.Lifetime, Rekey: q.rekey != 0,
	})
}

// quickRefused ends the exchange that an authentic error notification is about.
func (s *SA) quickRefused(c *Context, n isakmp.Notification) {
	q := s.meant(n.Type, n.SPI)
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
// that name none, or one that we cannot know, mean the only exchange we began; but
// who complains about an SPI means the SPI it names.
func (s *SA) meant(t isakmp.NotifyType, spi []byte) *quickMode {
	var began []*quickMode
	for _, id := range sortedIDs(s.quick) {
		q := s.quick[id]
		switch {
		case q.done:
		case q.role == event.Responder:
			if out := q.child.Out; (spis{out.SPI, out.AHSPI}).has(spi) {
				return q
			}
		case q.spis.has(spi):
			return q
		default:
			began = append(began, q)
		}
	}
	if len(began) == 1 && t != isakmp.NotifyInvalidSPI {
		return began[0]
	}
	return nil
}

// failQuick ends an exchange without an SA.
func (s *SA) failQuick(c *Context, q *quickMode, f event.Failed) {
	f.Phase, f.Flow = 2, q.flow.ID
	q.finish(c)
	s.emit(c, f)
	c.done(ChildFailed{SA: s, Flow: q.flow.ID, Child: q.child.ID, Rekey: q.rekey, Role: q.role, Failed: f,
		Silent: f.Code == event.NoAnswer && !s.heard.After(q.sent)})
}

// postponed is how long a quick mode of the peer waits at most for our own.
const postponed = 5 * time.Second

// Outranks reports whether a quick mode for these selectors that we began lately
// and the peer has not answered goes before one of the peer's with that nonce.
func (s *SA) Outranks(now time.Time, selects flow.Selectors, nonce []byte) bool {
	for _, q := range s.quick {
		if q.asks(selects) && now.Sub(q.sent) < postponed && bytes.Compare(q.ni, nonce) > 0 {
			return true
		}
	}
	return false
}

// asks reports whether QM1 for these selectors has left and waits for its answer.
func (q *quickMode) asks(selects flow.Selectors) bool {
	return !q.done && q.role == event.Initiator && q.awaits == "QM2" && q.selects == selects
}

// Yield gives up our own quick modes for these selectors that the peer has not
// answered and that go behind one of the peer's with that nonce.
func (s *SA) Yield(c *Context, selects flow.Selectors, nonce []byte) {
	for _, id := range sortedIDs(s.quick) {
		q := s.quick[id]
		if !q.asks(selects) || bytes.Compare(q.ni, nonce) > 0 {
			continue
		}
		q.finish(c)
		q.flight = flight{}
		c.done(ChildFailed{SA: s, Flow: q.flow.ID, Child: q.child.ID, Rekey: q.rekey, Role: q.role, Yielded: true})
	}
}

// Answers reports whether a quick mode of the peer for these selectors is under way.
func (s *SA) Answers(selects flow.Selectors) bool {
	for _, q := range s.quick {
		if !q.done && q.role == event.Responder && q.selects == selects {
			return true
		}
	}
	return false
}

// finish ends an exchange that makes no SA.
func (q *quickMode) finish(c *Context) {
	q.done, q.awaits, q.ends = true, "", c.Now.Add(quickMemory)
	q.flight.disarm()
	q.private.Wipe()
	for _, spi := range q.spis.all() {
		c.FreeSPI(spi)
	}
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
		f.LastReceived, q.late = "QM1", q.awaits == "QM3"
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
