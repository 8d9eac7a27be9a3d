package ikev1

import (
	"bytes"
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// phase1State is the state of the exchange that makes the ISAKMP SA, be it main or
// aggressive mode. It stays with the SA to answer duplicates of its last message.
type phase1State struct {
	mode     isakmp.Exchange
	flight   flight
	awaits   string // the message that comes next; "" when complete
	busy     bool   // arithmetic, a signature or a check is under way; nothing is taken
	early    *message
	entry    *policy.Entry          // on whose behalf we begin; nil when the peer began
	entries  []*policy.Entry        // the ones it may be for; of the initiator that one
	with     *policy.AggressivePeer // how aggressive mode with the peer is configured; nil without
	decoy    bool                   // a name nobody knows began in aggressive mode: it must not learn that
	name     policy.Identity        // by which the peer has named itself in AM1
	key      policy.FoundKey        // the zero FoundKey when none serves
	offers   []policy.ISAKMP
	answer   isakmp.SA // of the responder: the transform it chose
	saBody   []byte    // SAi_b: the body of the initiator's SA payload, as it was on the wire
	ni, nr   []byte
	gxi, gxr []byte
	own      []byte // body of our ID payload
	peer     []byte // body of the peer's, as it was in AM1
	// trustpoint proves us, once it is chosen; requested are the names of the CAs
	// that the peer has asked for.
	trustpoint *policy.Trustpoint
	requested  [][]byte
	private    crypt.Private
	natt       bool   // the peer speaks RFC 3947, or a draft of it
	nattID     []byte // the vendor ID of that
	saidDPD    bool   // the peer has heard that we speak RFC 3706
	// trying: Responder and the keys are those of an AM2 whose proof is being
	// checked. Anybody may have sent it.
	trying bool
	// proved: our proof has left, so the peer may hold a complete SA.
	proved bool
	spare  bool // another SA with the peer has come up
	// garbled counts messages that did not decrypt or whose hash was wrong:
	// evidence for a wrong pre-shared key.
	garbled   int
	refused   *Refusal          // the first of them that says more than that
	refusedIV []byte            // with which the peer would read why; nil when it was in the clear
	notified  isakmp.NotifyType // an unauthenticated notification: a hint, no more
	took      string            // last message taken
}

// step is one row of the table of an exchange: who awaits which message, what it
// must carry, and what takes it.
type step struct {
	awaits   string
	role     event.Role
	sealed   sealing
	required []isakmp.PayloadType
	run      func(*SA, *Context, *message) error
}

// sealing says whether a message has to be encrypted.
type sealing uint8

const (
	inClear sealing = iota
	sealed
	either
)

func (r step) allows(encrypted bool) bool {
	return r.sealed == either || encrypted == (r.sealed == sealed)
}

// steps is the table of the exchange under way.
func (x *phase1State) steps() []step {
	if x.mode == isakmp.ExchangeAggressive {
		return aggressiveSteps()
	}
	return mainSteps()
}

// Initiate starts phase 1 with a peer on behalf of a crypto map entry. When
// there is nothing to offer or no key, the SA is dead and why is in its Dead outcome.
func Initiate(c *Context, conn int, local, remote netip.AddrPort, e *policy.Entry) *SA {
	s := newSA(c, conn, event.Initiator, local, remote)
	s.Initiator, s.Profile = c.Cookie(), e.Profile
	s.phase1 = &phase1State{mode: isakmp.ExchangeMain, entry: e, entries: []*policy.Entry{e}}
	if s.beginsAggressive(c) {
		s.phase1.mode, s.state = isakmp.ExchangeAggressive, "AG_NO_STATE"
	}
	if r := s.prepareOffers(c); r != nil {
		s.end(c, &event.Failed{Phase: 1, Code: r.Code, Reason: r.Reason})
		return s
	}
	if s.Aggressive() {
		s.beginAggressive(c)
	} else {
		s.beginMain(c)
	}
	return s
}

// Respond takes the first message of a peer and makes the SA; nil when it is
// refused, with the notification to answer with.
func Respond(c *Context, conn int, h isakmp.Header, d door.Datagram) (*SA, error) {
	m := &message{name: Opening(h.Exchange), raw: append([]byte(nil), d.Payload...), header: h, local: d.Local, remote: d.Remote}
	var err error
	if h.MessageID != 0 || h.Encrypted() {
		return nil, malformed("%s with message ID %08x, flags %s, expected 0 and none", m.name, h.MessageID, h.Flags)
	}
	if m.payloads, _, err = isakmp.ParsePayloads(h.Next, m.raw[isakmp.HeaderSize:]); err != nil {
		return nil, err
	}
	body, err := m.one(isakmp.PayloadSA)
	if err != nil {
		return nil, err
	}
	s := newSA(c, conn, event.Responder, d.Local, d.Remote)
	s.Initiator = h.InitiatorCookie
	s.phase1 = &phase1State{mode: h.Exchange, saBody: body, awaits: "MM3", entries: c.Settings.EntriesFor(d.Local.Addr(), d.Remote.Addr())}
	if s.Aggressive() {
		s.state, s.phase1.awaits = "AG_NO_STATE", "AM3"
		if err := s.admit(c, m); err != nil {
			return nil, err
		}
	}
	s.take(c, m)
	if err := s.respChoose(c, body); err != nil {
		return nil, err
	}
	if s.Aggressive() {
		if err := s.readAM1(m); err != nil {
			return nil, err
		}
	}
	s.Responder = c.Cookie()
	s.learnVendors(m)
	return s, nil
}

// Opening names the message that begins an exchange of phase 1.
func Opening(e isakmp.Exchange) string {
	if e == isakmp.ExchangeAggressive {
		return "AM1"
	}
	return "MM1"
}

// Aggressive reports whether phase 1 is aggressive mode.
func (s *SA) Aggressive() bool { return s.phase1.mode == isakmp.ExchangeAggressive }

// Paired reports whether the SA has both its cookies for good. While the proof
// in an AM2 is being checked the responder's is only a claim.
func (s *SA) Paired() bool { return !s.Responder.IsZero() && !s.phase1.trying }

// Computing reports whether arithmetic of phase 1 is under way.
func (s *SA) Computing() bool { return s.phase1.busy }

// Accept answers on an SA that Respond made and the engine has room for.
func (s *SA) Accept(c *Context) {
	if s.Aggressive() {
		s.acceptAggressive(c)
	} else {
		s.acceptMain(c)
	}
}

// sendPhase1 sends a message of phase 1.
func (s *SA) sendPhase1(c *Context, name string, payloads []isakmp.Payload, iv []byte) (last []byte) {
	last, err := s.post(c, &s.phase1.flight, name, isakmp.Header{Exchange: s.phase1.mode}, payloads, iv)
	if err != nil {
		s.end(c, &event.Failed{Phase: 1, Code: event.Malformed, Reason: err.Error()})
	}
	return last
}

// handlePhase1 finds the row for a message of main or aggressive mode and runs it.
func (s *SA) handlePhase1(c *Context, m *message) error {
	x := s.phase1
	if m.header.Exchange != x.mode {
		return malformed("%s in an SA of %s", m.header.Exchange, x.mode)
	}
	if m.header.MessageID != 0 {
		return malformed("%s with message ID %08x, expected 0", x.mode, m.header.MessageID)
	}
	if s.duplicate(c, &x.flight, m, x.took) {
		return nil
	}
	if s.Paired() && m.header.ResponderCookie != s.Responder {
		return malformed("%s with responder cookie %s, expected %s", x.mode, m.header.ResponderCookie, s.Responder)
	}
	if x.awaits == "" {
		return malformed("%s is complete", x.mode)
	}
	if x.busy {
		// The answer to what we sent may be here before our own arithmetic is done.
		if x.early == nil {
			x.early = m
			return nil
		}
		return malformed("%s is computing", x.mode)
	}
	for _, row := range x.steps() {
		if row.role == s.Role && row.awaits == x.awaits {
			return s.runStep(c, m, row)
		}
	}
	return malformed("%s awaits %s", x.mode, x.awaits)
}

func (s *SA) runStep(c *Context, m *message, row step) error {
	m.name = row.awaits
	if !row.allows(m.sealed) {
		return malformed("%s: encryption flag %t, expected %t", m.name, m.sealed, row.sealed == sealed)
	}
	err := s.readPhase1(m)
	if err == nil {
		for _, t := range row.required {
			if _, err = m.one(t); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = row.run(s, c, m)
	}
	if err != nil {
		s.turnDown(c, m, err)
	}
	return nil
}

// turnDown drops a message of phase 1 and keeps what it tells.
func (s *SA) turnDown(c *Context, m *message, err error) {
	s.refuseMessage(c, m, err)
	s.emit(c, event.Dropped{Reason: err.Error(), Cause: causeOf(err)})
}

// readPhase1 splits a message into payloads, decrypting it first if it must be.
func (s *SA) readPhase1(m *message) (err error) {
	if m.sealed {
		return s.open(m, s.keys.iv)
	}
	m.payloads, _, err = isakmp.ParsePayloads(m.header.Next, m.raw[isakmp.HeaderSize:])
	return err
}

// refuseMessage keeps what a refused message tells. The negotiation waits on,
// since anybody may have sent it, unless the peer has proved itself in it.
func (s *SA) refuseMessage(c *Context, m *message, err error) {
	r := refusal(err)
	if r.Authentic {
		// The peer has the key: it can read why, and its word ends the negotiation.
		f := event.Failed{Phase: 1, Code: r.Code, Reason: r.Reason, LastSent: s.phase1.flight.sent.Name, LastReceived: m.name,
			Identity: r.Identity, Kind: r.Kind, Profile: r.Profile, Certificate: r.Certificate, Revocations: r.Revocations}
		if m.sealed {
			s.keys.iv = m.nextIV
		}
		s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: r.Notify})
		if s.Role == event.Initiator {
			s.informDelete(c)
		}
		s.end(c, &f)
		return
	}
	if !m.sealed && r.Code == event.Malformed {
		return
	}
	s.phase1.garbled++
	if s.phase1.garbled > 1 {
		return
	}
	if r.Code != event.Malformed {
		s.phase1.refused = r
		if m.sealed {
			s.phase1.refusedIV = m.nextIV
		}
	}
	s.emit(c, s.phase1Failure(true))
	s.tellRefusal(c, m, r)
}

// tellRefusal lets the peer see that something came back, as other
// implementations do. With another key it cannot read what; what refuses AM2
// leaves in the clear.
func (s *SA) tellRefusal(c *Context, m *message, r *Refusal) {
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, Type: isakmp.NotifyPayloadMalformed}
	if r.Notify != 0 {
		n.Type = r.Notify
	}
	switch {
	case s.Role == event.Responder:
		s.Inform(c, n)
	case s.Aggressive():
		if r.Notify == 0 {
			n.Type = isakmp.NotifyInvalidHashInformation
		}
		s.emit(c, event.Notify{Dir: event.Sent, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol})
		c.Out = append(c.Out, Refuse(c, m.header, door.Datagram{Local: m.local, Remote: m.remote}, n.Type))
	}
}

// take accepts a message: the state moves from here on. What was sent before is
// answered, so a duplicate brings nothing until the next message is made.
func (s *SA) take(c *Context, m *message) {
	s.phase1.took, s.phase1.notified = m.name, 0
	s.phase1.flight = flight{sent: s.phase1.flight.sent, received: m.raw}
	s.learnRequests(m)
	s.received(c, m)
}

// untake goes back to before a message was taken: its public value was found to
// be no value of the group, and anybody may have sent it.
func (s *SA) untake(c *Context, m *message, before phase1State, r crypt.Result) {
	if s.Role == event.Responder {
		s.phase1.private.Wipe()
	}
	*s.phase1 = before
	s.state = "MM_SA_SETUP"
	s.emit(c, event.Dropped{Reason: m.name + ": " + r.Err.Error(), Cause: event.BadMessage})
}

// makeKeys draws a private value and computes the public one.
func (s *SA) makeKeys(c *Context, g suite.Group, then func(*Context, []byte)) {
	x := s.phase1
	private, err := newPrivate(c, g)
	if err != nil {
		s.end(c, &event.Failed{Phase: 1, Code: event.Malformed, Reason: err.Error()})
		return
	}
	x.private, x.busy = private, true
	c.compute(s, crypt.KeyPairJob(private), func(c *Context, r crypt.Result) {
		x.busy = false
		if r.Err != nil {
			s.end(c, &event.Failed{Phase: 1, Code: event.Malformed, Reason: r.Err.Error()})
			return
		}
		then(c, r.Public)
		s.replay(c)
	})
}

// replay handles the message that came too early.
func (s *SA) replay(c *Context) {
	m := s.phase1.early
	if m == nil || s.phase1.busy || s.dead {
		return
	}
	s.phase1.early = nil
	if err := s.handlePhase1(c, m); err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
	}
}

// readKeyExchange checks the KE and NONCE payloads of a message.
func (s *SA) readKeyExchange(m *message) (ke, nonce []byte, err error) {
	ke, _ = m.first(isakmp.PayloadKE)
	nonce, _ = m.first(isakmp.PayloadNonce)
	if want := s.Policy.Group.Row().Public; len(ke) != want {
		return nil, nil, malformed("%s: key exchange value of %d octets, expected %d for %s", m.name, len(ke), want, s.Policy.Group)
	}
	return ke, nonce, isakmp.CheckNonce(nonce)
}

// makeSKEYID derives the keys and the first IV.
func (s *SA) makeSKEYID(shared crypt.Secret) {
	x := s.phase1
	if s.Policy.Auth.Signature() {
		s.keys = keys{skeyid: skeyidSignature(s.Policy, shared, x.ni, x.nr)}
	} else {
		s.keys = keys{skeyid: skeyidPSK(s.Policy, x.key.Secret, x.ni, x.nr)}
	}
	s.keys.derive(s.Policy, shared, s.Initiator, s.Responder)
	s.keys.iv = phase1IV(s.Policy, x.gxi, x.gxr)
	shared.Wipe()
}

// spi is the SPI of an ISAKMP SA: both cookies (RFC 2408 2.4).
func (s *SA) spi() []byte { return append(s.Initiator[:], s.Responder[:]...) }

// establish completes phase 1.
func (s *SA) establish(c *Context) {
	s.Established = c.Now
	s.Expires = c.Now.Add(s.Policy.Lifetime)
	s.phase1.awaits = ""
	s.phase1.private.Wipe()
	if s.NAT.LocalBehind {
		s.keepalive = c.Now.Add(c.keepalive())
	}
	s.move(c, "IKE_P1_COMPLETE", "QM_IDLE")
	s.emit(c, event.Phase1Up{Policy: s.Policy, Identity: s.Identity, Profile: s.ProfileName(), NAT: s.NAT, Aggressive: s.Aggressive()})
	c.done(Established{SA: s})
}

// tickPhase1 retransmits, or gives the exchange up.
func (s *SA) tickPhase1(c *Context) {
	x := s.phase1
	if !s.Established.IsZero() {
		s.tickAM3(c)
		return
	}
	if x.flight.due(c.Now) && !x.flight.again(c, s) || !c.Now.Before(s.started.Add(negotiationTime)) {
		s.giveUp(c)
		return
	}
	if x.flight.attempt == 2 && !x.flight.next.IsZero() && x.garbled == 0 && s.fetching == nil {
		s.emit(c, s.phase1Failure(true))
	}
}

// giveUp ends phase 1 for want of an answer. Where another SA with the peer has
// come up meanwhile nothing has failed.
func (s *SA) giveUp(c *Context) {
	if s.phase1.spare {
		s.yield(c)
		return
	}
	f := s.phase1Failure(false)
	s.tellAtLast(c)
	s.end(c, &f)
}

// tellAtLast lets a peer read why its proof was not taken, now that nothing
// depends on it any more.
func (s *SA) tellAtLast(c *Context) {
	x := s.phase1
	if x.refused == nil || x.refusedIV == nil || x.refused.Notify == 0 {
		return
	}
	s.keys.iv = x.refusedIV
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: x.refused.Notify})
	if s.Role == event.Initiator {
		s.informDelete(c)
	}
}

// Spare tells the SA that another one with the peer has come up. A negotiation
// that we began ends, unless our proof has left: from then on the peer may hold
// a complete SA, and two ends must not each keep another one. What goes on may
// fail without a word.
func (s *SA) Spare(c *Context) {
	if s.dead || s.Up() {
		return
	}
	s.phase1.spare = true
	if s.Role == event.Initiator && !s.phase1.proved {
		s.yield(c)
	}
}

// yield ends a negotiation that is not needed any more.
func (s *SA) yield(c *Context) {
	s.emit(c, event.Deleted{Protocol: "ISAKMP", Reason: "another negotiation with the peer has come up"})
	s.end(c, nil)
}

// phase1Failure tells from the evidence why phase 1 does not go on.
func (s *SA) phase1Failure(pending bool) event.Failed {
	x := s.phase1
	f := event.Failed{Pending: pending, Phase: 1, LastSent: x.flight.sent.Name, LastReceived: x.took, PolicyOffers: x.offers}
	if x.notified != 0 {
		f.Notified = x.notified.String()
	}
	unproved := x.awaits == "MM6" || x.awaits == "AM3"
	switch {
	case x.decoy:
		f.Code, f.Reason = event.NoKey, "no pre-shared key for a peer that calls itself "+x.name.Value
	case x.refused != nil && x.refused.Code != event.WrongKey:
		f.Code, f.Reason = x.refused.Code, x.refused.Reason
		f.Identity, f.Kind, f.Profile = x.refused.Identity, x.refused.Kind, x.refused.Profile
		f.Certificate, f.Revocations = x.refused.Certificate, x.refused.Revocations
	case x.garbled > 0 && s.Policy.Auth.Signature():
		f.Code, f.Reason = event.PeerRefused, "something came back that does not decrypt: the peer does not take our proof, or a message was changed on its way"
	case x.garbled > 0:
		f.Code, f.Reason = event.WrongKey, "the peer's message after the key exchange does not decrypt or its hash is wrong"
	case x.notified == isakmp.NotifyNoProposalChosen && (x.awaits == "MM2" || x.awaits == "AM2"):
		f.Code, f.Reason = event.NoPolicy, "the peer refused all ISAKMP policies"
	case unproved && !s.Policy.Auth.Signature() && (x.notified == isakmp.NotifyInvalidHashInformation || x.notified == isakmp.NotifyAuthenticationFailed):
		f.Code, f.Reason = event.WrongKey, "the peer answered "+x.notified.String()+": the pre-shared keys differ"
	case x.notified != 0:
		f.Code, f.Reason = event.PeerRefused, "the peer answered "+x.notified.String()
	case s.fragmented():
		f.Code, f.Reason = event.Fragmented, "the fragments of "+x.awaits+" never became a whole message"
	case x.awaits == "MM6" && s.Remote.Port() != portNATT && !s.Policy.Auth.Signature():
		f.Code, f.Reason = event.WrongKey, "the peer answered the key exchange but not the authentication"
	default:
		f.Code, f.Reason = event.NoAnswer, "no "+x.awaits+" from the peer"
	}
	if x.peer != nil {
		f.Identity, f.Kind = said(x.peer)
	}
	return f
}

// notices takes the notifications inside the last messages of phase 1, once the
// proof is verified.
func (s *SA) notices(c *Context, m *message) {
	for _, body := range m.all(isakmp.PayloadNotify) {
		n, err := isakmp.ParseNotification(body)
		if err != nil {
			continue
		}
		s.emit(c, event.Notify{Dir: event.Received, Type: n.Type.String(), Number: uint16(n.Type), Protected: true})
		switch n.Type {
		case isakmp.NotifyInitialContact:
			if len(n.SPI) == 0 || bytes.Equal(n.SPI, s.spi()) {
				c.done(InitialContact{SA: s})
			}
		case isakmp.NotifyResponderLifetime:
			s.shorten(c, n)
		}
	}
}

// shorten applies the responder's shorter lifetime to the ISAKMP SA.
func (s *SA) shorten(c *Context, n isakmp.Notification) {
	l, err := lifetimeOf(n.Data)
	if err != nil || l.Time < time.Minute || l.Time >= s.Policy.Lifetime {
		return
	}
	s.Policy.Lifetime = l.Time
	s.Expires = s.Established.Add(l.Time)
}
