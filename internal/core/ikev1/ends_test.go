package ikev1

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// end is one SA with what its engine would do, small enough that a test can
// play a peer who has the keys and breaks the rules.
type end struct {
	t        *testing.T
	name     string
	sa       *SA
	settings *policy.Settings
	now      time.Time
	random   *rand.ChaCha8
	names    uint64
	base     uint32 // of SPIs
	sent     []door.Send
	freed    []uint32 // SPIs that were given back
	events   []event.What
	outcomes []Outcome
}

var (
	left   = netip.MustParseAddrPort("198.51.100.1:500")
	right  = netip.MustParseAddrPort("198.51.100.2:500")
	leftN  = netip.MustParsePrefix("10.10.10.0/24")
	rightN = netip.MustParsePrefix("10.20.20.0/24")
)

func settingsOf(local, peer netip.Addr, from, to netip.Prefix) *policy.Settings {
	list := &flow.List{Name: "102", Lines: []flow.Line{{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(from), Dst: flow.PrefixMatch(to), ICMPType: -1, ICMPCode: -1}}}
	return &policy.Settings{
		Policies: []policy.ISAKMP{{Priority: 10, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA256, Auth: suite.PSK, Group: 19, Lifetime: time.Hour}},
		Keys:     []policy.Key{{Peers: netip.PrefixFrom(peer, 32), Secret: crypt.NewSecret([]byte("correct horse"))}},
		Entries: []policy.Entry{{Map: "CMAP", Seq: 10, Local: local, Peers: []netip.Addr{peer}, ACL: list, ReplayWindow: 64, Lifetime: policy.Lifetime{Time: time.Hour},
			Sets: []policy.TransformSet{{Name: "SET", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256}}}},
		ReplayWindow: 64,
	}
}

func newEnd(t *testing.T, name string, seed byte, s *policy.Settings) *end {
	return &end{t: t, name: name, settings: s, base: uint32(seed) << 12, random: rand.NewChaCha8([32]byte{seed}), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// context is a step of this end; done takes what came out of it.
func (e *end) context() *Context {
	return &Context{
		Now: e.now, Random: e.random, Settings: e.settings,
		NewSPI:   func() uint32 { e.names++; return e.base + uint32(e.names) },
		FreeSPI:  func(spi uint32) { e.freed = append(e.freed, spi) },
		Admit:    e.admit,
		Adopt:    func(_ *Context, _ *SA, f policy.Flow) (policy.Flow, error) { return f, nil },
		Yield:    func(c *Context, s *SA, selects flow.Selectors, nonce []byte) { s.Yield(c, selects, nonce) },
		Crossing: func(s *SA, selects flow.Selectors, nonce []byte) bool { return s.Outranks(e.now, selects, nonce) },
		NewChild: func() sadb.ChildID { e.names++; return sadb.ChildID(e.names) },
		NewJob:   func(*SA) uint64 { e.names++; return e.names },
		Others:   func(*SA) bool { return false },
	}
}

func (e *end) admit(sa *SA, selects flow.Selectors) (policy.Flow, error) {
	f, ok := e.settings.FlowFor(sa.Local.Addr(), sa.Remote.Addr(), selects, func(*policy.Entry) bool { return true })
	if !ok {
		return f, errors.New("no line permits " + selects.String())
	}
	return f, nil
}

func (e *end) step(do func(*Context)) {
	c := e.context()
	do(c)
	for len(c.Out) > 0 {
		o := c.Out[0]
		c.Out = c.Out[1:]
		switch o := o.(type) {
		case door.Send:
			e.sent = append(e.sent, o)
		case door.Compute:
			e.sa.Computed(c, o.ID, o.Job.Run())
		case door.Emit:
			e.events = append(e.events, o.Event.What)
		}
	}
	e.outcomes = append(e.outcomes, c.Outcomes...)
}

// take hands a datagram to the SA as if it came from the other end.
func (e *end) take(payload []byte) {
	h, err := isakmp.ParseHeader(payload)
	if err != nil {
		e.t.Fatal(err)
	}
	e.step(func(c *Context) {
		e.sa.Handle(c, h, door.Datagram{Local: e.sa.Local, Remote: e.sa.Remote, Payload: payload})
	})
}

// drain takes what was sent since the last time.
func (e *end) drain() [][]byte {
	var out [][]byte
	for _, s := range e.sent {
		out = append(out, s.Payload)
	}
	e.sent = nil
	return out
}

// pump exchanges messages until nobody has anything to say.
func pump(a, b *end) {
	for len(a.sent)+len(b.sent) > 0 {
		for _, m := range a.drain() {
			b.take(m)
		}
		for _, m := range b.drain() {
			a.take(m)
		}
	}
}

// mm1 makes both SAs: a has sent MM1, b has taken it.
func mm1(t *testing.T) (a, b *end) { return mm1Policy(t, 19) }

func mm1Of(t *testing.T, a, b *end) (*end, *end) {
	c := a.context()
	a.sa = Initiate(c, 1001, left, right, &a.settings.Entries[0])
	out := c.Out
	a.step(func(c *Context) { c.Out = out })
	m := a.drain()[0]
	h, _ := isakmp.ParseHeader(m)
	b.step(func(c *Context) {
		sa, err := Respond(c, 1001, h, door.Datagram{Local: right, Remote: left, Payload: m})
		if err != nil {
			t.Fatal(err)
		}
		b.sa = sa
		sa.Accept(c)
	})
	return a, b
}

// phase1 makes a pair of SAs that are up.
func phase1(t *testing.T) (a, b *end) {
	t.Helper()
	a, b = mm1(t)
	pump(a, b)
	if !a.sa.Up() || !b.sa.Up() {
		t.Fatal("phase 1 is not up")
	}
	a.events, b.events, a.outcomes, b.outcomes = nil, nil, nil, nil
	return a, b
}

// start begins quick mode at the initiator and returns its state.
func (e *end) start() *quickMode {
	f := e.settings.Flows()[0]
	e.step(func(c *Context) { e.sa.StartQuick(c, f, f.Selectors, 0) })
	for _, q := range e.sa.quick {
		if !q.done {
			return q
		}
	}
	return nil
}

// say sends payloads under the protection of the SA, with a good hash or a bad one.
func (e *end) say(spoil func(hash []byte) []byte, payloads ...isakmp.Payload) []byte {
	var raw []byte
	e.step(func(c *Context) {
		id := e.sa.freshID(c)
		_, body := isakmp.AppendPayloads(nil, payloads)
		hash := e.sa.hashOver(be32(id), body)
		if spoil != nil {
			hash = spoil(hash)
		}
		p := append([]isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, payloads...)
		if hash == nil {
			p = payloads
		}
		var err error
		raw, _, err = e.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeInformational, MessageID: id}, p, e.sa.keys.phase2IV(e.sa.Policy, id))
		if err != nil {
			e.t.Fatal(err)
		}
	})
	return raw
}

// saw finds the events of one type.
func saw[T event.What](e *end) []T {
	var out []T
	for _, w := range e.events {
		if w, ok := w.(T); ok {
			out = append(out, w)
		}
	}
	return out
}

// became finds the outcomes of one type.
func became[T Outcome](e *end) []T {
	var out []T
	for _, o := range e.outcomes {
		if o, ok := o.(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// mm1Policy is mm1 with another group.
func mm1Policy(t *testing.T, g suite.Group) (a, b *end) {
	a = newEnd(t, "initiator", 1, settingsOf(left.Addr(), right.Addr(), leftN, rightN))
	b = newEnd(t, "responder", 2, settingsOf(right.Addr(), left.Addr(), rightN, leftN))
	a.settings.Policies[0].Group, b.settings.Policies[0].Group = g, g
	return mm1Of(t, a, b)
}
