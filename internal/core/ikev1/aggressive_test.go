package ikev1

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// aggressiveEnds are two ends that speak aggressive mode with each other.
func aggressiveEnds(t *testing.T) (a, b *end) {
	a = newEnd(t, "initiator", 1, settingsOf(left.Addr(), right.Addr(), leftN, rightN))
	b = newEnd(t, "responder", 2, settingsOf(right.Addr(), left.Addr(), rightN, leftN))
	a.settings.Aggressive = []policy.AggressivePeer{{Addr: right.Addr()}}
	b.settings.Aggressive = []policy.AggressivePeer{{Addr: left.Addr()}}
	return a, b
}

// begin starts phase 1 at an end and returns its first message.
func (e *end) begin() []byte {
	c := e.context()
	e.sa = Initiate(c, 1001, left, right, &e.settings.Entries[0])
	e.step(func(n *Context) { n.Out, n.Outcomes = c.Out, c.Outcomes })
	all := e.drain()
	if len(all) != 1 {
		e.t.Fatalf("%d messages at the beginning, want one", len(all))
	}
	return all[0]
}

// respond takes a first message; the error is why there is no SA.
func (e *end) respond(m []byte) error {
	h, err := isakmp.ParseHeader(m)
	if err != nil {
		return err
	}
	e.step(func(c *Context) {
		var sa *SA
		if sa, err = Respond(c, 1001, h, door.Datagram{Local: right, Remote: left, Payload: m}); err == nil {
			e.sa = sa
			sa.Accept(c)
		}
	})
	return err
}

// am1 makes both SAs: a has sent AM1, b has answered with the AM2 returned.
func am1(t *testing.T) (a, b *end, am2 []byte) {
	a, b = aggressiveEnds(t)
	if err := b.respond(a.begin()); err != nil {
		t.Fatal(err)
	}
	return a, b, b.drain()[0]
}

// Aggressive mode comes up in three messages, and quick mode over it.
func TestAggressiveEnds(t *testing.T) {
	a, b, am2 := am1(t)
	if a.sa.State() != "AG_INIT_EXCH" || b.sa.State() != "AG_INIT_EXCH" || b.sa.Up() {
		t.Errorf("%s and %s", a.sa.State(), b.sa.State())
	}
	a.take(am2)
	if !a.sa.Up() || len(a.sent) != 1 {
		t.Fatal("the initiator is not up behind AM2")
	}
	h, _ := isakmp.ParseHeader(a.sent[0].Payload)
	if !h.Encrypted() {
		t.Error("AM3 is in the clear")
	}
	pump(a, b)
	if !b.sa.Up() || !a.sa.keys.a.Equal(b.sa.keys.a) || !bytes.Equal(a.sa.keys.iv, b.sa.keys.iv) {
		t.Error("the ends do not have the same keys and IV")
	}
	b.take(a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(1)})))
	if len(b.sent) != 1 {
		t.Error("what is said over the SA is not understood")
	}
}

// RFC 2409 section 5 leaves it to the initiator whether AM3 is encrypted; what
// is in the clear beside the hash is not listened to.
func TestAM3InTheClear(t *testing.T) {
	a, b, am2 := am1(t)
	a.take(am2)
	a.drain()
	a.sa.keys.iv = phase1IV(a.sa.Policy, a.sa.phase1.gxi, a.sa.phase1.gxr)
	hash := isakmp.Payload{Type: isakmp.PayloadHash, Body: a.sa.ownHash()}
	contact := notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyInitialContact})
	raw, _, err := a.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeAggressive}, []isakmp.Payload{hash, contact}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.take(raw)
	if !b.sa.Up() || len(became[InitialContact](b)) != 0 {
		t.Errorf("up %t, %+v", b.sa.Up(), b.outcomes)
	}
	b.take(a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(1)})))
	if len(b.sent) != 1 {
		t.Error("the IV behind AM3 in the clear is not that of phase 1")
	}
}

// forgeries of AM2, each put before the real one: none changes anything, and the
// real one is taken.
func amForgeries(am1, am2 []byte) map[string][]byte {
	cookie := func(m []byte, change func([]byte)) []byte {
		m = bytes.Clone(m)
		change(m[8:16])
		return m
	}
	id := func(i isakmp.Identification) []byte { return i.Append(nil) }
	ke := body(am2, isakmp.PayloadKE)
	out := map[string][]byte{
		"another hash":              swap(am2, isakmp.PayloadHash, make([]byte, 32)),
		"an empty hash":             swap(am2, isakmp.PayloadHash, nil),
		"another identity":          swap(am2, isakmp.PayloadID, id(isakmp.IDAddress(left.Addr()))),
		"an identity with port 80":  swap(am2, isakmp.PayloadID, id(isakmp.Identification{Type: isakmp.IDIPv4, Protocol: 6, Port: 80, Data: right.Addr().AsSlice()})),
		"an identity of no octets":  swap(am2, isakmp.PayloadID, []byte{2, 0, 0, 0}),
		"another nonce":             swap(am2, isakmp.PayloadNonce, make([]byte, 32)),
		"a nonce too short":         swap(am2, isakmp.PayloadNonce, make([]byte, 7)),
		"our own public value":      swap(am2, isakmp.PayloadKE, body(am1, isakmp.PayloadKE)),
		"our own nonce":             swap(am2, isakmp.PayloadNonce, body(am1, isakmp.PayloadNonce)),
		"no responder cookie":       cookie(am2, func(c []byte) { clear(c) }),
		"another responder cookie":  cookie(am2, func(c []byte) { c[0]++ }),
		"all of our offers":         swap(am2, isakmp.PayloadSA, append(body(am1, isakmp.PayloadSA), 0)),
		"our own message, answered": cookie(am1, func(c []byte) { c[0]++ }),
	}
	for name, bad := range badPublics(suite.Group(19), ke) {
		out[name] = swap(am2, isakmp.PayloadKE, bad)
	}
	for _, n := range []int{28, 40, len(am2) / 2, len(am2) - 1} {
		cut := bytes.Clone(am2[:n])
		isakmp.SetLength(cut)
		out[fmt.Sprint("cut at ", n)] = cut
	}
	return out
}

func TestForgedAM2(t *testing.T) {
	first, second := func() ([]byte, []byte) {
		a, b := aggressiveEnds(t)
		m := a.begin()
		if err := b.respond(m); err != nil {
			t.Fatal(err)
		}
		return m, b.drain()[0]
	}()
	for name := range amForgeries(first, second) {
		t.Run(name, func(t *testing.T) {
			a, b, am2 := am1(t) // seeded: the same messages again
			before := fmt.Sprint(a.sa.Responder, a.sa.Policy, a.sa.NAT, a.sa.PeerDPD, a.sa.Identity, a.sa.state, a.sa.keys.iv, a.sa.phase1.nr, a.sa.phase1.awaits)
			a.take(amForgeries(first, am2)[name])
			after := fmt.Sprint(a.sa.Responder, a.sa.Policy, a.sa.NAT, a.sa.PeerDPD, a.sa.Identity, a.sa.state, a.sa.keys.iv, a.sa.phase1.nr, a.sa.phase1.awaits)
			if before != after || a.sa.Up() || a.sa.Dead() || a.sa.Paired() {
				t.Errorf("%s became %s", before, after)
			}
			if len(a.sent) > 1 {
				t.Errorf("%d answers", len(a.sent))
			}
			a.drain()
			a.take(am2)
			pump(a, b)
			if !a.sa.Up() || !b.sa.Up() {
				t.Error("the real AM2 did not complete phase 1")
			}
		})
	}
}

// Forgeries of AM3 change nothing at the responder, and the real one is taken.
func TestForgedAM3(t *testing.T) {
	for name, spoil := range map[string]func(a, b *end, am3 []byte) []byte{
		"a bit of the ciphertext":  func(_, _ *end, m []byte) []byte { m[40] ^= 1; return m },
		"zeros":                    func(_, _ *end, m []byte) []byte { clear(m[28:]); return m },
		"in the clear, no hash":    func(a, _ *end, m []byte) []byte { return clearAM3(a, nil) },
		"in the clear, wrong hash": func(a, _ *end, m []byte) []byte { return clearAM3(a, make([]byte, 32)) },
		"HASH_R reflected":         func(a, b *end, m []byte) []byte { return clearAM3(a, b.sa.ownHash()) },
		"AM2 reflected":            func(_, b *end, m []byte) []byte { return b.sa.phase1.flight.raw },
		"cut": func(_, _ *end, m []byte) []byte {
			m = m[:len(m)-16]
			isakmp.SetLength(m)
			return m
		},
		"without our cookie": func(_, _ *end, m []byte) []byte { clear(m[8:16]); return m },
	} {
		t.Run(name, func(t *testing.T) {
			a, b, am2 := am1(t)
			a.take(am2)
			am3 := a.drain()[0]
			b.take(spoil(a, b, bytes.Clone(am3)))
			if b.sa.Up() || b.sa.Dead() || b.sa.NAT != (event.NATCheck{}) {
				t.Errorf("up %t, dead %t", b.sa.Up(), b.sa.Dead())
			}
			b.drain()
			b.take(am3)
			if !b.sa.Up() {
				t.Error("the real AM3 did not complete phase 1")
			}
		})
	}
}

func clearAM3(a *end, hash []byte) []byte {
	raw, _, err := a.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeAggressive}, []isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// AM1 that comes again brings the same AM2 again, a bounded number of times;
// another message in its place brings nothing. No timer sends AM2 again.
func TestAM1Again(t *testing.T) {
	a, b := aggressiveEnds(t)
	m := a.begin()
	if err := b.respond(m); err != nil {
		t.Fatal(err)
	}
	am2 := b.drain()[0]
	for range 100 {
		b.take(m)
	}
	again := b.drain()
	if len(again) != maxAnswers || !bytes.Equal(again[0], am2) {
		t.Errorf("AM1 was answered %d times more", len(again))
	}
	b.take(swap(m, isakmp.PayloadNonce, make([]byte, 32)))
	for range 60 {
		b.now = b.now.Add(time.Second)
		b.step(func(c *Context) { b.sa.Tick(c) })
	}
	if len(b.sent) != 0 || !b.sa.Dead() {
		t.Errorf("%d messages by a timer, dead %t", len(b.sent), b.sa.Dead())
	}
}

// CVE-2023-30570: what is refused leaves nothing behind that a second message
// with the cookie of the refusal could use.
func TestRefusedAM1(t *testing.T) {
	a, _ := aggressiveEnds(t)
	good := a.begin()
	id := func(i isakmp.Identification) []byte { return swap(good, isakmp.PayloadID, i.Append(nil)) }
	for name, tt := range map[string]struct {
		raw    []byte
		change func(*policy.Settings)
		code   event.Code
	}{
		"no common policy":   {good, func(s *policy.Settings) { s.Policies[0].Hash = suite.SHA512 }, event.NoPolicy},
		"no key":             {good, func(s *policy.Settings) { s.Keys = nil }, event.NoKey},
		"not configured":     {good, func(s *policy.Settings) { s.Aggressive = nil }, event.AggressiveOff},
		"no identity":        {swap(good, isakmp.PayloadID, nil), nil, event.Malformed},
		"identity of port 1": {id(isakmp.Identification{Type: isakmp.IDIPv4, Protocol: 17, Port: 1, Data: left.Addr().AsSlice()}), nil, event.Malformed},
		"no public value":    {swap(good, isakmp.PayloadKE, nil), nil, event.Malformed},
		"a long one":         {swap(good, isakmp.PayloadKE, make([]byte, 65)), nil, event.Malformed},
		"no nonce":           {swap(good, isakmp.PayloadNonce, nil), nil, event.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := aggressiveEnds(t)
			if tt.change != nil {
				tt.change(b.settings)
			}
			err := b.respond(tt.raw)
			if err == nil || refusal(err).Code != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
			if b.sa != nil || len(b.sent) != 0 || b.names != 0 {
				t.Errorf("an SA, %d messages, %d names drawn", len(b.sent), b.names)
			}
		})
	}
}

// A public value that is none gets no answer.
func TestAM1BadPublicValue(t *testing.T) {
	a, _ := aggressiveEnds(t)
	good := a.begin()
	for name, bad := range badPublics(19, body(good, isakmp.PayloadKE)) {
		_, b := aggressiveEnds(t)
		if err := b.respond(swap(good, isakmp.PayloadKE, bad)); err == nil && !b.sa.Dead() {
			t.Errorf("%s: the negotiation lives", name)
		}
		if len(b.sent) != 0 {
			t.Errorf("%s: %d answers", name, len(b.sent))
		}
	}
}

// AM3 that got lost is sent again until the responder is heard of, and brought
// again by AM2.
func TestLostAM3(t *testing.T) {
	a, b, am2 := am1(t)
	a.take(am2)
	a.drain()
	a.take(am2)
	if n := len(a.drain()); n != 1 {
		t.Errorf("AM2 again brought %d messages, want AM3", n)
	}
	a.now = a.now.Add(retransmitAfter[0])
	a.step(func(c *Context) { a.sa.Tick(c) })
	again := a.drain()
	if len(again) != 2 {
		t.Fatalf("%d messages after a second, want AM3 and the question whether the peer is there", len(again))
	}
	for _, m := range again {
		b.take(m)
	}
	if !b.sa.Up() || len(b.sent) != 1 {
		t.Fatal("AM3 again was not taken, or the question not answered")
	}
	a.take(b.drain()[0])
	for range 60 {
		a.now = a.now.Add(time.Second)
		a.step(func(c *Context) { a.sa.Tick(c) })
	}
	if len(a.sent) != 0 || !a.sa.Up() {
		t.Errorf("%d messages to a responder that is there, up %t", len(a.sent), a.sa.Up())
	}
}

// A wrong key shows at the initiator first, which says so in the clear; for the
// responder that is a hint.
func TestAggressiveWrongKey(t *testing.T) {
	a, b := aggressiveEnds(t)
	a.settings.Keys[0].Secret = crypt.NewSecret([]byte("battery staple"))
	if err := b.respond(a.begin()); err != nil {
		t.Fatal(err)
	}
	a.take(b.drain()[0])
	if f := saw[event.Failed](a); len(f) != 1 || f[0].Code != event.WrongKey || !f[0].Pending || a.sa.Dead() {
		t.Errorf("the initiator says %+v", f)
	}
	b.take(a.drain()[0])
	if f := saw[event.Failed](b); len(f) != 1 || f[0].Code != event.WrongKey || !f[0].Pending || f[0].Notified != "INVALID-HASH-INFORMATION" || b.sa.Dead() {
		t.Errorf("the responder says %+v", f)
	}
}

// RFC 2409 5.4: HASH_I and HASH_R cover the identities as they were on the wire,
// reserved port and protocol included; and a group cannot be negotiated.
func TestAM1OfSeveralGroups(t *testing.T) {
	a, b := aggressiveEnds(t)
	for _, s := range []*policy.Settings{a.settings, b.settings} {
		p := s.Policies[0]
		p.Group, p.Priority = 14, 20
		s.Policies = append(s.Policies, p)
	}
	b.settings.Policies = b.settings.Policies[1:] // 14 only
	m := a.begin()
	both := offerPolicies(a.settings.Policies).Append(nil)
	if err := b.respond(swap(m, isakmp.PayloadSA, both)); err == nil || refusal(err).Code != event.NoPolicy {
		t.Errorf("an offer of the second group was taken: %v", err)
	}
}
