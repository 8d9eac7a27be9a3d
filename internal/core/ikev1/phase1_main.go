package ikev1

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// mainMode is the state of one main mode exchange. It stays with the SA to
// answer duplicates of its last message.
type mainMode struct {
	flight  flight
	awaits  string // the message that comes next; "" when complete
	busy    bool   // arithmetic is under way; nothing is taken
	early   *message
	key     policy.Key
	offers  []policy.ISAKMP // ours as initiator, the peer's as responder
	answer  isakmp.SA       // of the responder: the transform it chose
	saBody  []byte          // SAi_b: the body of the initiator's SA payload, as it was on the wire
	ni, nr  []byte
	gxi     []byte
	gxr     []byte
	private crypt.Private
	natt    bool // the peer speaks RFC 3947
	// garbled counts messages that did not decrypt or whose hash was wrong:
	// evidence for a wrong pre-shared key.
	garbled  int
	notified isakmp.NotifyType // an unauthenticated notification: a hint, no more
	took     string            // last message taken
}

// mainStep is one row of the state table: who awaits which message, what it
// must carry, and what takes it.
type mainStep struct {
	awaits   string
	role     event.Role
	sealed   bool
	required []isakmp.PayloadType
	run      func(*SA, *Context, *message) error
}

// mainSteps is main mode, RFC 2409 5.1 and 5.4. MM1 makes the SA: Respond.
func mainSteps() []mainStep {
	ke := []isakmp.PayloadType{isakmp.PayloadKE, isakmp.PayloadNonce}
	auth := []isakmp.PayloadType{isakmp.PayloadID, isakmp.PayloadHash}
	return []mainStep{
		{"MM2", event.Initiator, false, []isakmp.PayloadType{isakmp.PayloadSA}, (*SA).initPolicyAgreed},
		{"MM3", event.Responder, false, ke, (*SA).respKeyExchange},
		{"MM4", event.Initiator, false, ke, (*SA).initKeyExchange},
		{"MM5", event.Responder, true, auth, (*SA).respAuthenticate},
		{"MM6", event.Initiator, true, auth, (*SA).initAuthenticate},
	}
}

// Initiate starts main mode with a peer: MM1 leaves. It returns nil when there
// is nothing to offer or no key; why is in the Dead outcome.
func Initiate(c *Context, conn int, local, remote netip.AddrPort) *SA {
	s := newSA(c, conn, event.Initiator, local, remote)
	s.Initiator = c.Cookie()
	s.main = &mainMode{awaits: "MM2"}
	key, found := c.Settings.KeyFor(remote.Addr())
	s.emit(c, event.KeyLookup{Found: found, Origin: key.Origin})
	if !found {
		s.end(c, &event.Failed{Phase: 1, Code: event.NoKey, Reason: "no pre-shared key for " + remote.Addr().String()})
		return s
	}
	s.main.key, s.main.offers = key, c.Settings.Usable()
	s.main.offers = s.main.offers[:min(len(s.main.offers), maxOffers)]
	if len(s.main.offers) == 0 {
		code := event.NoPolicy
		if len(c.Settings.Policies) > 0 {
			code = event.LegacyOnly
		}
		s.end(c, &event.Failed{Phase: 1, Code: code, Reason: "no ISAKMP policy that may be offered"})
		return s
	}
	sa := offerPolicies(s.main.offers)
	s.main.saBody = sa.Append(nil)
	s.move(c, "IKE_I_MM1", "MM_NO_STATE")
	s.main.flight.arm(c.Now)
	s.sendMain(c, "MM1", append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: s.main.saBody}}, vendorIDs()...), nil)
	return s
}

// sendMain sends a message of main mode.
func (s *SA) sendMain(c *Context, name string, payloads []isakmp.Payload, iv []byte) (last []byte) {
	last, err := s.post(c, &s.main.flight, name, isakmp.Header{Exchange: isakmp.ExchangeMain}, payloads, iv)
	if err != nil {
		s.end(c, &event.Failed{Phase: 1, Code: event.Malformed, Reason: err.Error()})
	}
	return last
}

// handleMain finds the row for a message of main mode and runs it.
func (s *SA) handleMain(c *Context, m *message) error {
	x := s.main
	if m.header.MessageID != 0 {
		return malformed("main mode with message ID %08x, expected 0", m.header.MessageID)
	}
	if s.duplicate(c, &x.flight, m, x.took) {
		return nil
	}
	if x.awaits == "" {
		return malformed("main mode is complete")
	}
	if x.busy {
		// The answer to what we sent may be here before our own arithmetic is done.
		if x.early == nil {
			x.early = m
			return nil
		}
		return malformed("main mode is computing")
	}
	for _, row := range mainSteps() {
		if row.role == s.Role && row.awaits == x.awaits {
			return s.runMain(c, m, row)
		}
	}
	return malformed("main mode awaits %s", x.awaits)
}

func (s *SA) runMain(c *Context, m *message, row mainStep) error {
	m.name = row.awaits
	if m.sealed != row.sealed {
		return malformed("%s: encryption flag %t, expected %t", m.name, m.sealed, row.sealed)
	}
	err := s.readMain(m, row)
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
		s.refuseMain(c, m, row, err)
	}
	return err
}

// readMain splits a message into payloads, decrypting it first if it must be.
func (s *SA) readMain(m *message, row mainStep) (err error) {
	if row.sealed {
		return s.open(m, s.keys.iv)
	}
	m.payloads, _, err = isakmp.ParsePayloads(m.header.Next, m.raw[isakmp.HeaderSize:])
	return err
}

// refuseMain keeps what a refused message tells. The negotiation waits on,
// since anybody may have sent it.
func (s *SA) refuseMain(c *Context, m *message, row mainStep, err error) {
	if !row.sealed {
		return
	}
	if r := refusal(err); r.Authentic {
		// The peer has the key: it can read why, and its word ends the negotiation.
		f := event.Failed{Phase: 1, Code: r.Code, Reason: r.Reason, LastSent: s.main.flight.sent.Name, LastReceived: m.name}
		s.keys.iv = m.nextIV
		s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: r.Notify})
		if s.Role == event.Initiator {
			s.informDelete(c)
		}
		s.end(c, &f)
		return
	}
	s.main.garbled++
	if s.main.garbled > 1 {
		return
	}
	s.emit(c, s.mainFailure(true))
	if s.Role == event.Responder {
		// As other implementations do: the initiator cannot read it, but sees that something came back.
		s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, Type: isakmp.NotifyPayloadMalformed})
	}
}

// take accepts a message: the state moves from here on. What was sent before is
// answered, so a duplicate brings nothing until the next message is made.
func (s *SA) take(c *Context, m *message) {
	s.main.took, s.main.notified = m.name, 0
	s.main.flight = flight{sent: s.main.flight.sent, received: m.raw}
	s.received(c, m)
}

// untake goes back to before a message was taken: its public value was found to
// be no value of the group, and anybody may have sent it.
func (s *SA) untake(c *Context, m *message, before mainMode, r crypt.Result) {
	if s.Role == event.Responder {
		s.main.private.Wipe()
	}
	*s.main = before
	s.state = "MM_SA_SETUP"
	s.emit(c, event.Dropped{Reason: m.name + ": " + r.Err.Error(), Cause: event.BadMessage})
}

// initPolicyAgreed takes MM2: the responder chose one of our policies.
func (s *SA) initPolicyAgreed(c *Context, m *message) error {
	body, _ := m.first(isakmp.PayloadSA)
	chosen, err := chosenPolicy(body, s.main.offers)
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
	s.main.ni = c.octets(nonceOctets)
	s.makeKeys(c, func(c *Context, public []byte) {
		s.main.gxi = public
		s.move(c, "IKE_I_MM3", "MM_SA_SETUP")
		s.main.awaits = "MM4"
		s.main.flight.arm(c.Now)
		s.sendMain(c, "MM3", s.keyExchange(c, public, s.main.ni), nil)
	})
	return nil
}

// makeKeys draws a private value and computes the public one.
func (s *SA) makeKeys(c *Context, then func(*Context, []byte)) {
	x := s.main
	private, err := newPrivate(c, s.Policy.Group)
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
	m := s.main.early
	if m == nil || s.main.busy || s.dead {
		return
	}
	s.main.early = nil
	if err := s.handleMain(c, m); err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
	}
}

// keyExchange is the body of MM3 and MM4.
func (s *SA) keyExchange(c *Context, public, nonce []byte) []isakmp.Payload {
	p := []isakmp.Payload{{Type: isakmp.PayloadKE, Body: public}, {Type: isakmp.PayloadNonce, Body: nonce}}
	if s.main.natt {
		p = append(p, s.natPayloads()...)
	}
	return p
}

// readKeyExchange checks KE and nonce of MM3 and MM4.
func (s *SA) readKeyExchange(m *message) (ke, nonce []byte, err error) {
	ke, _ = m.first(isakmp.PayloadKE)
	nonce, _ = m.first(isakmp.PayloadNonce)
	if want := s.Policy.Group.Row().Public; len(ke) != want {
		return nil, nil, malformed("%s: key exchange value of %d octets, expected %d for %s", m.name, len(ke), want, s.Policy.Group)
	}
	return ke, nonce, isakmp.CheckNonce(nonce)
}

// initKeyExchange takes MM4; the shared secret makes the keys, then MM5 leaves.
func (s *SA) initKeyExchange(c *Context, m *message) error {
	ke, nonce, err := s.readKeyExchange(m)
	if err != nil {
		return err
	}
	if bytes.Equal(ke, s.main.gxi) || bytes.Equal(nonce, s.main.ni) {
		return malformed("MM4 is our own MM3, come back")
	}
	if err := s.detectNAT(c, m); err != nil {
		return err
	}
	x, before := s.main, *s.main
	x.gxr, x.nr = ke, nonce
	s.take(c, m)
	s.emitNAT(c)
	s.move(c, "IKE_I_MM4", "MM_KEY_EXCH")
	s.share(c, m, before, ke, func(c *Context) {
		s.float()
		s.initSendAuth(c)
		s.replay(c)
	})
	return nil
}

// share computes the shared secret with the public value of m and derives the
// keys; then goes on. A value that is none of the group's is as good as never come.
func (s *SA) share(c *Context, m *message, before mainMode, ke []byte, then func(*Context)) {
	s.main.busy = true
	c.compute(s, crypt.SharedJob(s.main.private, ke), func(c *Context, r crypt.Result) {
		s.main.busy = false
		if r.Err != nil {
			s.untake(c, m, before, r)
			return
		}
		s.makeSKEYID(r.Shared)
		then(c)
	})
}

// makeSKEYID derives the keys and the first IV.
func (s *SA) makeSKEYID(shared crypt.Secret) {
	x := s.main
	s.keys = derivePSK(s.Policy, x.key.Secret, shared, x.ni, x.nr, s.Initiator, s.Responder)
	s.keys.iv = phase1IV(s.Policy, x.gxi, x.gxr)
	shared.Wipe()
}

// initSendAuth sends MM5: who we are, and the proof that we have the key.
func (s *SA) initSendAuth(c *Context) {
	id := isakmp.IDAddress(s.Local.Addr()).Append(nil)
	hash := authHash(s.Policy, s.keys.skeyid, s.main.gxi, s.main.gxr, s.Initiator, s.Responder, s.main.saBody, id)
	p := []isakmp.Payload{{Type: isakmp.PayloadID, Body: id}, {Type: isakmp.PayloadHash, Body: hash}}
	if !c.Others(s) {
		n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(), Type: isakmp.NotifyInitialContact}
		p = append(p, isakmp.Payload{Type: isakmp.PayloadNotify, Body: n.Append(nil)})
	}
	s.move(c, "IKE_I_MM5", "MM_KEY_EXCH")
	s.main.awaits = "MM6"
	s.main.flight.arm(c.Now)
	if last := s.sendMain(c, "MM5", p, s.keys.iv); last != nil {
		s.keys.iv = last
	}
}

// spi is the SPI of an ISAKMP SA: both cookies (RFC 2408 2.4).
func (s *SA) spi() []byte { return append(s.Initiator[:], s.Responder[:]...) }

// initAuthenticate takes MM6: the peer has the key too. Phase 1 is complete.
func (s *SA) initAuthenticate(c *Context, m *message) error {
	if err := s.verifyAuth(m, s.main.gxr, s.main.gxi, s.Responder, s.Initiator); err != nil {
		return err
	}
	s.keys.iv = m.nextIV
	s.moveTo(m)
	s.take(c, m)
	s.main.awaits = ""
	s.establish(c, "IKE_I_MM6")
	s.notices(c, m)
	return nil
}

// verifyAuth checks the peer's identity and hash. It compares in constant time.
func (s *SA) verifyAuth(m *message, peerPublic, ownPublic []byte, peerCookie, ownCookie isakmp.Cookie) error {
	idBody, _ := m.first(isakmp.PayloadID)
	hash, _ := m.first(isakmp.PayloadHash)
	id, err := isakmp.ParseID(idBody)
	if err != nil {
		return err
	}
	if err := id.CheckPhase1(); err != nil {
		return err
	}
	want := authHash(s.Policy, s.keys.skeyid, peerPublic, ownPublic, peerCookie, ownCookie, s.main.saBody, idBody)
	if subtle.ConstantTimeCompare(hash, want) != 1 {
		return &Refusal{Code: event.WrongKey, Reason: m.name + ": the hash does not prove the pre-shared key"}
	}
	if a, ok := id.Address(); ok && a != s.Remote.Addr() && !s.NAT.PeerBehind {
		return &Refusal{Code: event.BadIdentity, Notify: isakmp.NotifyInvalidIDInformation, Authentic: true,
			Reason: fmt.Sprintf("%s: the peer %s calls itself %s", m.name, s.Remote.Addr(), a)}
	}
	s.Identity = id.String()
	return nil
}

// establish completes phase 1.
func (s *SA) establish(c *Context, step string) {
	s.move(c, step, "MM_KEY_AUTH")
	s.Established = c.Now
	s.Expires = c.Now.Add(s.Policy.Lifetime)
	s.main.private.Wipe()
	if s.NAT.LocalBehind {
		s.keepalive = c.Now.Add(c.keepalive())
	}
	s.move(c, "IKE_P1_COMPLETE", "QM_IDLE")
	s.emit(c, event.Phase1Up{Policy: s.Policy, Identity: s.Identity, NAT: s.NAT})
	c.done(Established{SA: s})
}

// tickMain retransmits, or gives main mode up.
func (s *SA) tickMain(c *Context) {
	x := s.main
	if x.flight.due(c.Now) && !x.flight.again(c, s) {
		f := s.mainFailure(false)
		s.end(c, &f)
		return
	}
	if s.Established.IsZero() && x.flight.attempt == 2 && !x.flight.next.IsZero() && x.garbled == 0 {
		s.emit(c, s.mainFailure(true))
	}
	if s.Established.IsZero() && !c.Now.Before(s.started.Add(negotiationTime)) {
		f := s.mainFailure(false)
		s.end(c, &f)
	}
}

// mainFailure tells from the evidence why main mode does not go on.
func (s *SA) mainFailure(pending bool) event.Failed {
	x := s.main
	f := event.Failed{Pending: pending, Phase: 1, LastSent: x.flight.sent.Name, LastReceived: x.took, PolicyOffers: x.offers}
	if x.notified != 0 {
		f.Notified = x.notified.String()
	}
	switch {
	case x.garbled > 0:
		f.Code, f.Reason = event.WrongKey, "the peer's message after the key exchange does not decrypt or its hash is wrong"
	case x.notified == isakmp.NotifyNoProposalChosen && x.awaits == "MM2":
		f.Code, f.Reason = event.NoPolicy, "the peer refused all ISAKMP policies"
	case x.notified != 0:
		f.Code, f.Reason = event.PeerRefused, "the peer answered "+x.notified.String()
	case x.awaits == "MM6" && s.Remote.Port() != portNATT:
		f.Code, f.Reason = event.WrongKey, "the peer answered the key exchange but not the authentication"
	default:
		f.Code, f.Reason = event.NoAnswer, "no "+x.awaits+" from the peer"
	}
	return f
}

// Respond takes MM1 from a peer and makes the SA; nil when it is refused, with
// the notification to answer with.
func Respond(c *Context, conn int, h isakmp.Header, d door.Datagram) (*SA, error) {
	m := &message{name: "MM1", raw: append([]byte(nil), d.Payload...), header: h, local: d.Local, remote: d.Remote}
	var err error
	if h.MessageID != 0 || h.Encrypted() {
		return nil, malformed("MM1 with message ID %08x, flags %s, expected 0 and none", h.MessageID, h.Flags)
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
	s.main = &mainMode{awaits: "MM3", saBody: body}
	s.take(c, m)
	if err := s.respChoose(c, m, body); err != nil {
		return s, err
	}
	s.Responder = c.Cookie()
	s.learnVendors(m)
	return s, nil
}

// Accept sends MM2 on an SA that Respond made and the engine has room for.
func (s *SA) Accept(c *Context) {
	s.move(c, "IKE_R_MM1", "MM_SA_SETUP")
	s.sendMain(c, "MM2", append([]isakmp.Payload{{Type: isakmp.PayloadSA, Body: s.main.answer.Append(nil)}}, vendorIDs()...), nil)
	s.move(c, "IKE_R_MM2", "MM_SA_SETUP")
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
	x, before := s.main, *s.main
	x.gxi, x.ni, x.nr = ke, nonce, c.octets(nonceOctets)
	s.moveTo(m)
	s.take(c, m)
	s.emitNAT(c)
	s.move(c, "IKE_R_MM3", "MM_SA_SETUP")
	s.makeKeys(c, func(c *Context, public []byte) {
		x.gxr = public
		s.share(c, m, before, ke, func(c *Context) {
			x.awaits = "MM5"
			s.sendMain(c, "MM4", s.keyExchange(c, public, x.nr), nil)
			s.move(c, "IKE_R_MM4", "MM_KEY_EXCH")
		})
	})
	return nil
}

// respAuthenticate takes MM5: the initiator has the key. MM6 proves ours.
func (s *SA) respAuthenticate(c *Context, m *message) error {
	if err := s.verifyAuth(m, s.main.gxi, s.main.gxr, s.Initiator, s.Responder); err != nil {
		return err
	}
	s.keys.iv = m.nextIV
	s.moveTo(m)
	s.take(c, m)
	s.move(c, "IKE_R_MM5", "MM_KEY_AUTH")
	id := isakmp.IDAddress(s.Local.Addr()).Append(nil)
	hash := authHash(s.Policy, s.keys.skeyid, s.main.gxr, s.main.gxi, s.Responder, s.Initiator, s.main.saBody, id)
	s.main.awaits = ""
	last := s.sendMain(c, "MM6", []isakmp.Payload{{Type: isakmp.PayloadID, Body: id}, {Type: isakmp.PayloadHash, Body: hash}}, s.keys.iv)
	if last == nil {
		return nil
	}
	s.keys.iv = last
	s.establish(c, "IKE_R_MM6")
	s.notices(c, m)
	s.tellLifetime(c)
	return nil
}

// notices takes the notifications inside MM5 and MM6, once the hash is verified.
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
