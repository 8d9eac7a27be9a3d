package ike

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// script is the fuzzer's bytes, read as a story of two gateways and somebody
// between them.
type script struct {
	b   []byte
	w   *two
	log []door.Datagram // all that was ever on the wire
}

func (s *script) next() byte {
	if len(s.b) == 0 {
		return 0
	}
	n := s.b[0]
	s.b = s.b[1:]
	return n
}

// The acts of a script.
const (
	actDeliver = iota
	actCompute
	actTrigger
	actTime
	actMutate
	actReplay
	actReflect
	actDrop
	actCut
	actLie
	actClear
	actExpire
	actConfigure
	actRaw
	actElsewhere
	actFetched
	acts
)

func (s *script) act() {
	n := s.next()
	i := int(n>>7) & 1
	g := s.w.end[i]
	if len(g.queue) > 0 && len(s.log) < 64 {
		s.log = append(s.log, g.queue[0])
	}
	switch n & 0x7f % acts {
	case actDeliver:
		s.w.deliver(i)
	case actCompute:
		s.w.compute(i)
	case actTrigger:
		s.w.trigger(i)
	case actTime:
		s.w.now = s.w.now.Add(time.Duration(s.next()) * time.Duration(s.next()+1) * 100 * time.Millisecond)
		s.w.step(i, nil)
	case actLie:
		s.lie(i)
	case actClear:
		n := s.next()
		s.w.step(i, door.Clear{IPsec: n&1 != 0, ISAKMP: n&2 != 0, Conn: int(n >> 4)})
	case actExpire:
		n := s.next()
		s.w.step(i, door.Expire{Child: sadb.ChildID(n >> 1), Hard: n&1 != 0})
	case actConfigure:
		s.configure(i)
	case actFetched:
		s.fetched(i)
	default:
		s.forge(i, int(n&0x7f)%acts)
	}
}

// forge is what somebody on the path can do.
func (s *script) forge(i, act int) {
	g := s.w.end[i]
	var d door.Datagram
	if len(s.log) > 0 {
		d = s.log[int(s.next())%len(s.log)]
	}
	d.Payload = bytes.Clone(d.Payload)
	switch act {
	case actMutate:
		for range 1 + s.next()%4 {
			if at := int(s.next())<<8 | int(s.next()); len(d.Payload) > 0 {
				d.Payload[at%len(d.Payload)] ^= s.next()
			}
		}
	case actCut:
		d.Payload = d.Payload[:min(len(d.Payload), int(s.next()))]
		if len(d.Payload) >= isakmp.HeaderSize {
			isakmp.SetLength(d.Payload)
		}
	case actReflect:
		d.Local, d.Remote = d.Remote, d.Local
	case actDrop:
		if len(g.queue) > 0 {
			g.queue = g.queue[1:]
		}
		return
	case actRaw:
		n := min(int(s.next()), len(s.b))
		d = door.Datagram{Local: netip.AddrPortFrom(g.addr, 500), Remote: netip.AddrPortFrom(s.w.end[1-i].addr, 500), Payload: bytes.Clone(s.b[:n])}
		s.b = s.b[n:]
	case actElsewhere:
		d.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, s.next()}), 4500)
	}
	s.w.step(i, d)
}

// lie brings results that are wrong.
func (s *script) lie(i int) {
	g := s.w.end[i]
	id := uint64(s.next())
	if len(g.jobs) > 0 && id&1 == 0 {
		id, g.jobs = g.jobs[0].ID, g.jobs[1:]
	}
	r := crypt.Result{Err: crypt.ErrPublicRange}
	if s.next()&1 == 0 {
		r = crypt.Result{Public: make([]byte, 64), Shared: crypt.NewSecret(make([]byte, 32))}
	}
	s.w.step(i, door.Computed{ID: id, Result: r})
}

func (s *script) configure(i int) {
	was := *s.w.end[i].engine.Settings()
	switch s.next() % 6 {
	case 0:
		was.Entries = nil
	case 1:
		was.Keys = nil
	case 2:
		was.Policies = nil
	case 3:
		was = *s.w.fresh(i)
	case 4:
		was.Aggressive = []policy.AggressivePeer{{Addr: s.w.end[1-i].addr}}
	case 5:
		certified(&was, i)
	}
	if len(was.Entries) == 0 {
		s.w.step(i, door.Configure{Settings: &was})
		was = *s.w.fresh(i) // and back, so that the story goes on
	}
	s.w.step(i, door.Configure{Settings: &was})
}

// fetched answers what was asked of the web, or something that was not, with
// the right list, a damaged one, or nothing.
func (s *script) fetched(i int) {
	g := s.w.end[i]
	n := s.next()
	f := door.Fetched{ID: uint64(n)}
	if len(g.fetches) > 0 && n&1 == 0 {
		f.ID, g.fetches = g.fetches[0].ID, g.fetches[1:]
	}
	switch list := bytes.Clone(papers().list); n >> 1 % 3 {
	case 0:
		f.Body = list
	case 1:
		list[int(s.next())%len(list)] ^= s.next()
		f.Body = list
	default:
		f.Err = "did not answer"
	}
	s.w.step(i, f)
}

// check demands what must hold whatever happens.
func (s *script) check(t *testing.T) {
	for i, g := range s.w.end {
		l := g.engine.Load()
		if l.HalfOpen > maxHalfOpen || l.ISAKMP > 1000 || l.Children > 600 || l.SPIs > l.Children+300 || l.Jobs > 1000 || l.Waiting > 4 || l.Offers > l.ISAKMP || l.Peers > l.ISAKMP+l.Children {
			t.Fatalf("gateway %d holds %+v", i+1, l)
		}
		if g.pairs != l.Children {
			t.Fatalf("gateway %d has %d pairs in its data path and %d in its books", i+1, g.pairs, l.Children)
		}
		g.events = nil
	}
}

// story is the script of a recorded exchange: every message is delivered, every
// computation done, in turn.
func story(extra ...byte) []byte {
	b := []byte{actTrigger}
	for range 12 {
		b = append(b, actCompute, actCompute|0x80, actDeliver, actDeliver|0x80, actCompute, actCompute|0x80)
		b = append(b, extra...)
	}
	return b
}

// FuzzStep lets the fuzzer deliver, drop, double, change and make up messages,
// move time, configure and lie about arithmetic. The engines never panic, hold a
// bounded number of things, and what their books say is what the data path was
// told. In the end, with honest help, the tunnel comes up.
func FuzzStep(f *testing.F) {
	f.Add(story())
	f.Add(story(actMutate|0x80, 0, 1, 0, 40, 7, 0, 90, 255))
	f.Add(story(actReplay, 3, actReplay|0x80, 2))
	f.Add(story(actReflect, 1, actReflect|0x80, 1))
	f.Add(story(actCut|0x80, 0, 60, actCut, 1, 100))
	f.Add(story(actLie, 0, 1, actLie|0x80, 0, 0))
	f.Add(story(actTime, 200, 200, actTime|0x80, 200, 200))
	f.Add(story(actDrop, actTime, 11, 0, actTime|0x80, 11, 0))
	f.Add(story(actClear, 1, actClear|0x80, 2, actExpire, 3, actExpire|0x80, 2))
	f.Add(story(actConfigure, 0, actConfigure|0x80, 1, actConfigure, 2))
	f.Add(story(actElsewhere, 2, 9, actElsewhere|0x80, 3, 1))
	both := []byte{actConfigure, 4, actConfigure | 0x80, 4} // aggressive mode
	f.Add(append(both, story()...))
	f.Add(append(both, story(actMutate|0x80, 0, 1, 0, 40, 7, 0, 90, 255)...))
	f.Add(append(both, story(actReplay, 3, actReplay|0x80, 2, actReflect, 1)...))
	f.Add(append(both, story(actDrop, actTime, 11, 0, actTime|0x80, 11, 0)...))
	for _, mode := range [][]byte{{}, both} {
		signed := append([]byte{actConfigure, 5, actConfigure | 0x80, 5}, mode...)
		web := []byte{actFetched, 0, actFetched | 0x80, 0}
		f.Add(append(signed, story(web...)...))
		f.Add(append(signed, story(append(web, actMutate|0x80, 0, 1, 0, 140, 7, 1, 90, 255)...)...))
		f.Add(append(signed, story(actFetched, 2, 40, 9, actFetched|0x80, 4, actLie, 0, 1)...))
		f.Add(append(signed, story(actReplay, 3, actReplay|0x80, 2, actTime, 120, 1, actTime|0x80, 120, 1)...))
	}
	mm1 := recordedMM1()
	f.Add(append(append(story(), actRaw|0x80, 0, byte(len(mm1))), mm1...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &script{b: b[:min(len(b), 2000)], w: newTwo()}
		for len(s.b) > 0 {
			s.act()
		}
		s.check(t)
		s.recover(t)
	})
}

// FuzzEntries is FuzzStep with other kinds of crypto map entries: a bundle for
// each pair of hosts, a dynamic one at one end, transport mode and extended
// sequence numbers between the two ends themselves.
func FuzzEntries(f *testing.F) {
	for kind := range byte(kinds) {
		for _, extra := range [][]byte{nil, {actMutate | 0x80, 0, 1, 0, 40, 7, 0, 90, 255}, {actReplay, 3, actReplay | 0x80, 2, actReflect, 1},
			{actDrop, actTime, 11, 0, actTime | 0x80, 11, 0}, {actTrigger | 0x80, actTrigger}, {actClear, 1, actClear | 0x80, 2, actExpire, 3, actExpire | 0x80, 2}} {
			f.Add(append([]byte{kind}, story(extra...)...))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		s := &script{b: b[1:min(len(b), 2000)], w: newTwoOf(kind(b[0] % byte(kinds)))}
		for len(s.b) > 0 {
			s.act()
		}
		s.check(t)
		s.recover(t)
		for i, g := range s.w.end {
			if n := len(g.engine.Defined()); n > 1 || n > g.engine.Load().Children {
				t.Fatalf("gateway %d has %d flows of a dynamic entry for %+v", i+1, n, g.engine.Load())
			}
		}
	})
}

// recover lets both be honest for a while: afterwards traffic flows.
func (s *script) recover(t *testing.T) {
	for range 5 {
		s.w.settle()
		s.w.wait(50 * time.Second) // whatever hangs is given up
		s.w.trigger(0)
		s.w.settle()
		s.w.wait(2 * time.Second)
	}
	s.check(t)
	f := s.w.end[0].engine.Settings().Flows()[0]
	packet := packetOf(f.Selectors)
	for i, g := range s.w.end {
		if i == 1 {
			packet = packet.Reverse()
		}
		ok := false
		for _, k := range g.engine.children { // also of a flow that a dynamic entry made
			ok = ok || k.Selectors.MatchOut(packet)
		}
		alike := len(s.w.end[0].engine.Settings().Aggressive) == len(s.w.end[1].engine.Settings().Aggressive)
		if !ok && alike && len(s.w.end[0].engine.Settings().Keys) > 0 && len(s.w.end[1].engine.Settings().Keys) > 0 &&
			len(s.w.end[0].engine.Settings().Policies) > 0 && len(s.w.end[1].engine.Settings().Policies) > 0 {
			t.Fatalf("gateway %d has no pair in the end", i+1)
		}
	}
}

// The seeds of aggressive mode are what they say.
func TestAggressiveStory(t *testing.T) {
	s := &script{b: append([]byte{actConfigure, 4, actConfigure | 0x80, 4}, story()...), w: newTwo()}
	for len(s.b) > 0 {
		s.act()
	}
	for i, g := range s.w.end {
		if all := g.engine.ISAKMP(s.w.now); len(all) != 1 || !all[0].Aggressive || all[0].State != "QM_IDLE" {
			t.Errorf("gateway %d: %+v", i+1, all)
		}
	}
}
