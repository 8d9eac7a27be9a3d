package ike

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// gateway is one engine of a pair, with what it put out.
type gateway struct {
	addr    netip.Addr
	engine  *Engine
	queue   []door.Datagram // on the way to it
	jobs    []door.Compute
	fetches []door.Fetch
	events  []event.Event
	pairs   int // IPsec SA pairs in its data path
	lost    int // flows given up
}

// two are engines that can talk to each other; the test moves every message.
type two struct {
	now  time.Time
	end  [2]*gateway
	kind kind
}

func settings(local, peer netip.Addr, from, to netip.Prefix) *policy.Settings {
	list := &flow.List{Name: "102", Lines: []flow.Line{{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(from), Dst: flow.PrefixMatch(to), ICMPType: -1, ICMPCode: -1}}}
	return &policy.Settings{
		Policies: []policy.ISAKMP{{Priority: 10, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA256, Auth: suite.PSK, Group: 19, Lifetime: time.Hour}},
		Keys:     []policy.Key{{Peers: netip.PrefixFrom(peer, 32), Secret: crypt.NewSecret([]byte("correct horse"))}},
		Entries: []policy.Entry{{Map: "CMAP", Seq: 10, Local: local, Peers: []netip.Addr{peer}, ACL: list, ReplayWindow: 64, PFS: 19, Lifetime: policy.Lifetime{Time: 10 * time.Minute},
			Sets: []policy.TransformSet{{Name: "SET", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256}}}},
		ReplayWindow: 64,
	}
}

// kind is what kind of crypto map entries two gateways have.
type kind byte

const (
	plain kind = iota
	hostBundles
	dynamicEnd
	transportEnds
	kinds
)

func newTwo() *two { return newTwoOf(plain) }

func newTwoOf(k kind) *two {
	w := &two{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), kind: k}
	for i, a := range [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")} {
		w.end[i] = &gateway{addr: a, engine: New(w.fresh(i), rand.NewChaCha8([32]byte{byte(i + 1)}))}
	}
	return w
}

// fresh are the settings of an end, as they are in the beginning.
func (w *two) fresh(i int) *policy.Settings {
	addrs := [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
	nets := [2]netip.Prefix{netip.MustParsePrefix("10.10.10.0/24"), netip.MustParsePrefix("10.20.20.0/24")}
	if w.kind == transportEnds {
		nets = [2]netip.Prefix{netip.PrefixFrom(addrs[0], 32), netip.PrefixFrom(addrs[1], 32)}
	}
	s := settings(addrs[i], addrs[1-i], nets[i], nets[1-i])
	e := &s.Entries[0]
	switch {
	case w.kind == hostBundles:
		e.PerHost, e.Sets[0].AH = true, suite.SHA256
	case w.kind == dynamicEnd && i == 1:
		e.Dynamic, e.Peers, e.ACL = true, nil, nil
	case w.kind == transportEnds:
		e.Sets[0].Mode, e.Sets[0].ESN = suite.Transport, true
	}
	return s
}

// step gives an engine an input and keeps what comes out.
func (w *two) step(i int, in door.Input) {
	g := w.end[i]
	for _, o := range g.engine.Step(w.now, in, nil) {
		switch o := o.(type) {
		case door.Send:
			if to := w.end[1-i]; o.Remote.Addr() == to.addr && len(to.queue) < 64 && !o.Raw {
				to.queue = append(to.queue, door.Datagram{Local: o.Remote, Remote: o.Local, Payload: o.Payload})
			}
		case door.Compute:
			g.jobs = append(g.jobs, o)
		case door.Fetch:
			g.fetches = append(g.fetches, o)
		case door.Install:
			if o.In {
				g.pairs++
			}
		case door.Remove:
			g.pairs--
		case door.Unreachable:
			g.lost++
		case door.Emit:
			g.events = append(g.events, o.Event)
		}
	}
}

// deliver hands over the oldest datagram; false when there is none.
func (w *two) deliver(i int) bool {
	g := w.end[i]
	if len(g.queue) == 0 {
		return false
	}
	d := g.queue[0]
	g.queue = g.queue[1:]
	w.step(i, d)
	return true
}

// compute does the oldest computation; false when there is none.
func (w *two) compute(i int) bool {
	g := w.end[i]
	if len(g.jobs) == 0 {
		return false
	}
	j := g.jobs[0]
	g.jobs = g.jobs[1:]
	w.step(i, door.Computed{ID: j.ID, Result: j.Job.Run()})
	return true
}

// settle goes on until nothing is left to do at this moment.
func (w *two) settle() {
	for w.compute(0) || w.compute(1) || w.deliver(0) || w.deliver(1) {
	}
}

// wait lets time pass, second by second.
func (w *two) wait(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		w.step(0, nil)
		w.step(1, nil)
		w.settle()
	}
}

func (w *two) trigger(i int) {
	if flows := w.end[i].engine.Settings().Flows(); len(flows) > 0 {
		w.step(i, door.Trigger{Flow: flows[0].ID, Packet: packetOf(flows[0].Selectors)})
	}
}

// packetOf is a packet between the second hosts of both sides, or the only ones.
func packetOf(s flow.Selectors) flow.Tuple {
	host := func(p netip.Prefix) netip.Addr {
		if p.IsSingleIP() {
			return p.Addr()
		}
		return p.Addr().Next()
	}
	return flow.Tuple{Src: host(s.Local), Dst: host(s.Remote), Proto: flow.ICMP}
}

// An idle engine wants nothing and holds nothing.
func TestIdle(t *testing.T) {
	w := newTwo()
	w.step(0, nil)
	if e := w.end[0].engine; !e.Deadline().IsZero() || e.Load() != (Load{}) || len(e.ISAKMP(w.now)) != 0 || len(e.Failures()) != 0 {
		t.Errorf("deadline %s, %+v", e.Deadline(), e.Load())
	}
}

// What comes up goes away again, to the last table entry.
func TestNothingIsLeft(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	w.settle()
	w.wait(5 * time.Second)
	for i, g := range w.end {
		l := g.engine.Load()
		if l.Children != 1 || l.SPIs != 1 || l.ISAKMP != 1 || l.HalfOpen != 0 || l.Jobs != 0 || l.Waiting != 0 || l.Peers != 1 || g.pairs != 1 {
			t.Errorf("gateway %d holds %+v", i+1, l)
		}
		if d := g.engine.Deadline(); d.IsZero() || d.Before(w.now) {
			t.Errorf("gateway %d wants to be called at %s", i+1, d)
		}
		if n := len(g.engine.Children(policy.FlowID{Map: "CMAP", Seq: 10, Line: 10})); n != 1 {
			t.Errorf("gateway %d tells of %d pairs", i+1, n)
		}
	}
	w.step(0, door.Clear{IPsec: true, ISAKMP: true})
	w.settle()
	for i, g := range w.end {
		if g.engine.Load() != (Load{}) || !g.engine.Deadline().IsZero() || g.pairs != 0 {
			t.Errorf("gateway %d is left with %+v until %s", i+1, g.engine.Load(), g.engine.Deadline())
		}
		if s := g.engine.ISAKMP(w.now); len(s) != 1 || !s[0].Deleted || s[0].State != "MM_NO_STATE" {
			t.Errorf("gateway %d shows %+v", i+1, s)
		}
		if s := g.engine.ISAKMP(w.now.Add(graveTime)); len(s) != 0 {
			t.Errorf("gateway %d still shows %+v a minute later", i+1, s)
		}
	}
}

// While arithmetic is under way nothing else is: messages that come again are
// not answered twice, nor taken twice.
func TestSlowArithmetic(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	w.deliver(1) // MM1
	w.deliver(0) // MM2: the initiator makes its key pair
	w.compute(0)
	mm3 := w.end[1].queue[0]
	w.deliver(1)
	for range 5 {
		w.step(1, mm3) // while the responder computes
	}
	if n := len(w.end[0].queue); n != 0 {
		t.Fatalf("%d answers to MM3 before there is one", n)
	}
	if l := w.end[1].engine.Load(); l.Jobs != 1 {
		t.Errorf("%d computations, want one", l.Jobs)
	}
	w.settle()
	w.wait(time.Second)
	if w.end[0].pairs != 1 || w.end[1].pairs != 1 {
		t.Error("the tunnel did not come up")
	}
}

// A result that comes when its SA is gone, twice, or for nobody, is nothing.
func TestStrayResults(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	w.deliver(1)
	w.deliver(0)
	j := w.end[0].jobs[0]
	r := j.Job.Run()
	w.step(0, door.Clear{ISAKMP: true})
	for _, id := range []uint64{j.ID, j.ID, 0, 4711} {
		w.step(0, door.Computed{ID: id, Result: r})
	}
	if l := w.end[0].engine.Load(); l != (Load{}) || w.end[0].lost != 1 {
		t.Errorf("%+v, %d flows given up", l, w.end[0].lost)
	}
}

// Triggers while a negotiation runs start no second one.
func TestManyTriggers(t *testing.T) {
	w := newTwo()
	for range 100 {
		w.trigger(0)
	}
	if n := len(w.end[1].queue); n != 1 {
		t.Fatalf("%d messages for a hundred packets", n)
	}
	w.settle()
	for range 100 {
		w.trigger(0)
	}
	w.settle()
	w.wait(2 * time.Second)
	if w.end[0].pairs != 1 {
		t.Errorf("%d pairs", w.end[0].pairs)
	}
	w.step(0, door.Trigger{Flow: policy.FlowID{Map: "NOSUCH"}}) // of a flow that a new configuration took away
}

// Strangers who knock do not push out what explain has to say about a peer.
func TestStrangersAndFailures(t *testing.T) {
	w := newTwo()
	w.end[0].engine.settings.Keys = nil
	w.trigger(0)
	for i := range 1000 {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 500)
		w.step(0, door.Datagram{Local: netip.AddrPortFrom(w.end[0].addr, 500), Remote: src, Payload: recordedMM1()})
	}
	all := w.end[0].engine.Failures()
	if len(all) != maxFailures || all[0].What.(event.Failed).Code != event.NoKey {
		t.Errorf("%d failures, the first is %+v", len(all), all[0].What)
	}
}

// recordedMM1 is a first message of such a pair.
func recordedMM1() []byte {
	w := newTwo()
	w.trigger(0)
	return w.end[1].queue[0].Payload
}

// The initiator's first packet may overtake QM3. Its answer is no reason to
// ask for a second pair, unless QM3 does not come at all.
func TestTriggerBetweenQM2AndQM3(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	for w.end[1].pairs == 0 { // until the responder has its half
		_ = w.compute(0) || w.compute(1) || w.deliver(0) || w.deliver(1)
	}
	asked := func() int {
		w.trigger(1)
		for w.compute(1) {
		}
		return len(w.end[0].queue)
	}
	qm2 := len(w.end[0].queue)
	if n := asked(); n != qm2 {
		t.Errorf("%d messages for a packet that only has to wait", n-qm2)
	}
	w.end[0].queue = nil // QM2 is lost, so QM3 does not come
	w.now = w.now.Add(qm3Due)
	if asked() == 0 {
		t.Error("QM3 does not come, and yet nothing is asked for")
	}
}

// A pair that is cleared while its quick mode still waits for QM3 stays away.
func TestClearBetweenQM2AndQM3(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	for w.end[1].pairs == 0 { // until the responder has its half
		_ = w.compute(0) || w.compute(1) || w.deliver(0) || w.deliver(1)
	}
	w.step(1, door.Clear{IPsec: true})
	w.settle()
	w.wait(2 * time.Minute)
	for i, g := range w.end {
		if l := g.engine.Load(); l.Children != 0 || l.SPIs != 0 || g.pairs != 0 {
			t.Errorf("gateway %d holds %+v, %d in the data path", i+1, l, g.pairs)
		}
	}
}
