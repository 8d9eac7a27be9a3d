package sim

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

// keepalive is "crypto isakmp keepalive".
func keepalive(every, retry time.Duration, periodic bool) option {
	return func(s *policy.Settings) {
		s.Keepalive = policy.Keepalive{Every: every, Retry: retry, Periodic: periodic}
	}
}

// silence loses everything.
func silence(int, door.Send) []time.Duration { return nil }

// questions counts the R-U-THERE that a host has sent.
func questions(h *Host) (n int) {
	for _, e := range happened[event.Notify](h) {
		if e.Dir == event.Sent && e.Type == "R-U-THERE" {
			n++
		}
	}
	return n
}

func died(h *Host) (at time.Time) {
	for _, e := range h.Events {
		if l, ok := e.What.(event.Liveness); ok && l.Dead {
			at = e.At
		}
	}
	return at
}

// oneWay sends a packet that is never answered.
func oneWay(x *World, from, to *Host) { _ = x.Probe(from, to, from.Engine.Settings().Flows()[0]) }

// RFC 3706: a peer that vanishes is noticed, in the time that the settings give:
// the interval, and six times the time between questions. All SAs with it go, and
// explain remembers why.
func TestDeadPeerIsNoticed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		periodic bool
	}{{"periodic", true}, {"on-demand", false}} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := sites(keepalive(10*time.Second, 2*time.Second, tt.periodic))
			x, r1, r2 := up(t, a, b)
			probes(t, x, r1, r2)
			x.Link = silence
			cut := x.Now
			for range 60 {
				x.Run(time.Second, nil)
				oneWay(x, r1, r2)
			}
			at := died(r1)
			if took := at.Sub(cut); at.IsZero() || took < 12*time.Second || took > 23*time.Second {
				t.Fatalf("R1 noticed after %s, want 10 s and 6 times 2 s", took)
			}
			if len(r1.Children) != 0 || r1.Engine.Load().ISAKMP != 0 || r1.Engine.Load().Peers != 0 {
				t.Errorf("R1 still has %d pairs, %+v", len(r1.Children), r1.Engine.Load())
			}
			failures := r1.Engine.Failures()
			if len(failures) != 1 || failures[0].What.(event.Failed).Code != event.PeerGone {
				t.Errorf("explain is left with %+v", failures)
			}
			x.Link = Perfect
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			bothUp(t, id, r1, r2)
			probes(t, x, r1, r2)
		})
	}
}

// Scenario 79: while traffic comes, nobody asks.
func TestTrafficSuppressesQuestions(t *testing.T) {
	for _, periodic := range []bool{true, false} {
		a, b := sites(keepalive(10*time.Second, 2*time.Second, periodic))
		x, r1, r2 := up(t, a, b)
		before := questions(r1) + questions(r2) // the one behind QM3
		for range 600 {
			x.Run(time.Second, nil)
			probes(t, x, r1, r2)
		}
		if n := questions(r1) + questions(r2) - before; n != 0 {
			t.Errorf("periodic %t: %d questions while traffic came", periodic, n)
		}
	}
}

// On-demand asks when something was sent and nothing came, and never on an idle
// tunnel; periodic asks the idle one too, but not both sides.
func TestOnDemandAsksOnDemand(t *testing.T) {
	a, b := sites(keepalive(10*time.Second, 2*time.Second, false))
	x, r1, r2 := up(t, a, b)
	before := questions(r1)
	x.Run(10*time.Minute, nil)
	if n := questions(r1) - before; n != 0 {
		t.Errorf("%d questions on an idle tunnel", n)
	}
	for range 60 {
		oneWay(x, r1, r2)
		x.Run(time.Second, nil)
	}
	if n := questions(r1) - before; n < 4 || n > 7 {
		t.Errorf("%d questions in a minute of traffic one way, want one every 10 seconds", n)
	}
	if n := questions(r2); n != 0 {
		t.Errorf("R2, which only receives, asked %d times", n)
	}
	a, b = sites(keepalive(10*time.Second, 2*time.Second, true))
	x, r1, r2 = up(t, a, b)
	x.Run(10*time.Minute, nil)
	if n := questions(r1) + questions(r2); n < 50 || n > 125 {
		t.Errorf("periodic: %d questions in ten minutes", n)
	}
}

// A link that loses 30 per cent of everything, for an hour, does not make a
// living peer look dead, whoever asks.
func TestLossKillsNobody(t *testing.T) {
	for seed := range uint64(6) {
		a, b := sites(keepalive(10*time.Second, 2*time.Second, true))
		if seed%2 == 0 {
			b.Keepalive = policy.Keepalive{}
		}
		x, r1, r2 := world(t, seed, a, b)
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
		r := x.Rand()
		x.Link = func(n int, d door.Send) []time.Duration {
			if r.IntN(100) < 30 {
				return nil
			}
			return Perfect(n, d)
		}
		x.Run(50*time.Minute, nil)
		if at, other := died(r1), died(r2); !at.IsZero() || !other.IsZero() {
			t.Errorf("seed %d: R1 gave R2 up at %s, R2 R1 at %s", seed, at, other)
		}
		bothUp(t, id, r1, r2)
	}
}

// When the peer is dead, waiting traffic goes to the entry's next peer.
func TestDeadPeerFailsOver(t *testing.T) {
	second := netip.MustParseAddr("198.51.100.3")
	a, b := sites(keepalive(10*time.Second, 2*time.Second, false))
	a.Entries[0].Peers = append(a.Entries[0].Peers, second)
	a.Keys = append(a.Keys, policy.Key{Peers: netip.PrefixFrom(second, 32), Secret: a.Keys[0].Secret})
	x, r1, r2 := world(t, 3, a, b)
	r3 := x.Add("R3", second, site(second, addrA, netB, netA))
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	x.Link = func(n int, d door.Send) []time.Duration {
		if d.Remote.Addr() == addrB || d.Local.Addr() == addrB {
			return nil
		}
		return Perfect(n, d)
	}
	for range 40 {
		if _, sa := r1.DB.Snapshot().Outbound(r1.sample(r1.Engine.Settings().Flows()[0])); sa != nil && sa.Remote().Addr() == addrB {
			oneWay(x, r1, r2)
		} else {
			trigger(r1)
		}
		x.Run(time.Second, nil)
	}
	bothUp(t, id, r1, r3)
	probes(t, x, r1, r3)
	if died(r1).IsZero() {
		t.Error("R1 has not told that R2 is dead")
	}
}

// The ISAKMP SA has ended and only IPsec SAs are left: phase 1 is the question
// then. A peer that answers it keeps its SAs; one that does not loses them.
func TestPhase1IsTheQuestion(t *testing.T) {
	for _, alive := range []bool{true, false} {
		a, b := sites(short(2*time.Minute, time.Hour), keepalive(10*time.Second, 2*time.Second, false))
		x, r1, r2 := up(t, a, b)
		probes(t, x, r1, r2)
		x.Run(3*time.Minute, nil)
		if l := r1.Engine.Load(); l.ISAKMP != 0 || l.Children != 1 {
			t.Fatalf("before: %+v", l)
		}
		if !alive {
			x.Link = silence
		}
		for range 80 {
			oneWay(x, r1, r2)
			x.Run(time.Second, nil)
		}
		if dead := !died(r1).IsZero(); dead == alive {
			t.Errorf("alive %t: R1 says dead %t", alive, dead)
		}
		if n := len(r1.Children); (n > 0) != alive {
			t.Errorf("alive %t: R1 has %d pairs", alive, n)
		}
	}
}

// "set security-association idle-time": a pair without traffic for so long goes,
// and the peer is told; one with traffic stays.
func TestIdleTime(t *testing.T) {
	a, b := sites(func(s *policy.Settings) { s.Entries[0].IdleTime = 2 * time.Minute })
	b.Entries[0].IdleTime = 0
	x, r1, r2 := up(t, a, b)
	for range 10 {
		x.Run(time.Minute, nil)
		probes(t, x, r1, r2)
	}
	x.Run(119*time.Second, nil)
	if len(r1.Children) != 1 {
		t.Fatalf("R1 has %d pairs before its time", len(r1.Children))
	}
	x.Run(2*time.Second, nil)
	if len(r1.Children)+len(r2.Children) != 0 {
		t.Errorf("R1 has %d pairs, R2 %d after two minutes without traffic", len(r1.Children), len(r2.Children))
	}
	if gone := happened[event.Deleted](r1); len(gone) != 1 || gone[0].Reason != "idle" {
		t.Errorf("R1 tells %+v", gone)
	}
}

// A pair that carried no packet is not renewed, and the next packet makes a new
// one; one packet shortly before the end is enough to have it renewed.
func TestUnusedPairsEnd(t *testing.T) {
	a, b := sites(short(time.Hour, 5*time.Minute))
	x, r1, r2 := world(t, 5, a, b)
	trigger(r1)
	x.Run(6*time.Minute, nil)
	if len(r1.Children)+len(r2.Children) != 0 {
		t.Errorf("an unused pair was renewed: R1 has %d, R2 %d", len(r1.Children), len(r2.Children))
	}
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	x.Run(4*time.Minute+40*time.Second, nil)
	oneWay(x, r1, r2)
	first := only(t, r1).ID
	x.Run(40*time.Second, nil)
	if second := only(t, r1).ID; second == first {
		t.Error("a pair that was used shortly before its end was not renewed")
	}
}
