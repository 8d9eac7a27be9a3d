package sim

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// CVE-2019-12312: an informational that looks protected, as soon as the cookies
// are known and long before there are keys. It is dropped, nothing is answered
// "under protection", and the negotiation goes on.
func TestProtectedBeforeKeys(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 21, a, b)
	var replies, main int
	x.Sniff = func(from *Host, d door.Send) {
		h, err := isakmp.ParseHeader(d.Payload)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case h.Exchange == isakmp.ExchangeMain:
			main++
		case main < 4: // before MM4 nobody has keys
			replies++
		}
		if h.Exchange != isakmp.ExchangeMain || h.ResponderCookie.IsZero() || h.Encrypted() {
			return
		}
		for _, exchange := range []isakmp.Exchange{isakmp.ExchangeInformational, isakmp.ExchangeQuick, isakmp.ExchangeMain} {
			m := header(h.InitiatorCookie, h.ResponderCookie, exchange, 77, isakmp.Payload{Type: isakmp.PayloadHash, Body: make([]byte, 44)})
			m[19] |= byte(isakmp.FlagEncryption)
			for _, to := range []struct {
				h            *Host
				local, other netip.Addr
			}{{r1, addrA, addrB}, {r2, addrB, addrA}} {
				x.push(x.Now.Add(time.Millisecond), to.h, door.Datagram{Local: netip.AddrPortFrom(to.local, 500), Remote: netip.AddrPortFrom(to.other, 500), Payload: m})
			}
		}
	}
	id := trigger(r1)
	x.Run(800*time.Millisecond, nil)
	bothUp(t, id, r1, r2)
	if replies != 0 {
		t.Errorf("%d informationals before there were keys", replies)
	}
}

// CVE-2024-2357: a peer whose pre-shared key is not configured asks again and
// again. Each time it is refused once, and nothing of it stays.
func TestPeerWithoutKeyAsksAgain(t *testing.T) {
	a, b := sites()
	b.Keys = nil
	x, r1, r2 := world(t, 22, a, b)
	log := tap(x)
	trigger(r1)
	x.Run(2*time.Minute, nil)
	asked, refused := 0, 0
	for _, w := range *log {
		if w.from == r1 {
			asked++
		} else {
			refused++
		}
	}
	if asked < 5 || refused != asked {
		t.Errorf("asked %d times, refused %d times", asked, refused)
	}
	nothingLeft(t, x, r2)
	f := happened[event.Failed](r2)
	if len(f) == 0 || f[0].Code != event.NoKey {
		t.Errorf("the failures are %+v", f)
	}
}

// CVE-2018-10811: a PRF that cannot be made must not be agreed. Every hash that
// can be offered makes a PRF of its size, and no other number is ever chosen.
func TestEveryPRFCanBeMade(t *testing.T) {
	key := crypt.NewSecret([]byte("key"))
	for _, h := range suite.Hashes() {
		if n := h.Row().IKEv1; n != 0 {
			if out := crypt.PRF(h, key, []byte("data")); len(out) != h.Row().Size {
				t.Errorf("%s makes %d octets", h, len(out))
			}
		}
	}
	for n := range uint16(300) {
		h, ok := suite.HashOfIKEv1(n)
		if ok && h.Row().IKEv1 != n {
			t.Errorf("hash number %d is %s", n, h)
		}
		if !ok {
			hashNobodyKnows(t, n)
		}
	}
}

// hashNobodyKnows offers a policy with that hash number: it is refused.
func hashNobodyKnows(t *testing.T, n uint16) {
	t.Helper()
	sa := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 1, Attributes: []isakmp.Attribute{
		isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, n), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}}}})
	a, b := sites()
	x, _, r2 := world(t, 23, a, b)
	m := header(isakmp.Cookie{5}, isakmp.Cookie{}, isakmp.ExchangeMain, 0, isakmp.Payload{Type: isakmp.PayloadSA, Body: sa.Append(nil)})
	r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
	x.Run(time.Second, nil)
	if l := r2.Engine.Load(); l.ISAKMP != 0 {
		t.Errorf("hash %d was agreed: %+v", n, l)
	}
}

// The padding octets, reserved fields and nonces of what we send: zero where
// nothing stands, random where random is asked for; never what memory held
// before. Two runs from different seeds differ in cookies, nonces and public
// values, two from the same seed in nothing.
//
// Threat: uninitialised octets.
func TestNothingUninitialisedIsSent(t *testing.T) {
	talk := func(seed uint64) []wire {
		a, b := sites(func(s *policy.Settings) {})
		x, r1, _ := world(t, seed, a, b)
		log := tap(x)
		trigger(r1)
		x.Run(5*time.Second, nil)
		return *log
	}
	one, same, other := talk(31), talk(31), talk(32)
	if len(one) != len(same) || len(one) < 9 {
		t.Fatalf("%d and %d messages", len(one), len(same))
	}
	for i := range one {
		if string(one[i].Payload) != string(same[i].Payload) {
			t.Errorf("message %d differs between two runs of one seed", i)
		}
	}
	for i := range min(len(one), len(other), 2) {
		h, err := isakmp.ParseHeader(one[i].Payload)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := isakmp.ParseHeader(other[i].Payload)
		if h.InitiatorCookie == o.InitiatorCookie {
			t.Errorf("message %d: the cookies do not depend on the seed", i)
		}
		payloads, _, err := isakmp.ParsePayloads(h.Next, one[i].Payload[isakmp.HeaderSize:])
		if err != nil || payloads[0].Type != isakmp.PayloadSA {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// Threat: the same cookie from two peers. Two initiators with one and the same
// cookie, at two addresses, are two negotiations; neither's messages reach the
// other's SA.
func TestSameCookieFromTwoPeers(t *testing.T) {
	s := newStar(24, 2)
	var first []byte
	s.Sniff = func(from *Host, d door.Send) {
		if from == s.spokes[0] && first == nil {
			first = append([]byte(nil), d.Payload...)
		}
	}
	id := trigger(s.spokes[0])
	s.Run(5*time.Millisecond, nil) // MM1 is on its way
	s.push(s.Now, s.hub, door.Datagram{Local: netip.AddrPortFrom(addrA, 500), Remote: netip.AddrPortFrom(spokeAddr(1), 500), Payload: first})
	s.Run(time.Millisecond, nil)
	if l := s.hub.Engine.Load(); l.ISAKMP != 1 {
		t.Fatalf("the copy from the other address made %+v", l)
	}
	s.Run(5*time.Second, nil)
	if !s.spokes[0].Up(id) {
		t.Error("the true owner of the cookie is not up")
	}
	sas := s.hub.Engine.ISAKMP(s.Now)
	if len(sas) != 2 || sas[0].Remote.Addr() == sas[1].Remote.Addr() {
		t.Errorf("the hub has %+v", sas)
	}
}
