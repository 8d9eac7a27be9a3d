package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// weather is one row of the loss matrix.
type weather struct {
	name string
	link func(*rand.Rand) Link
}

func always(d ...time.Duration) Link { return func(int, door.Send) []time.Duration { return d } }

// perMessage drops the first n copies of every single message: the first send
// of MM1, of MM2 and so on, whatever the order they come in.
func perMessage(n int) Link {
	seen := map[string]int{}
	return func(_ int, d door.Send) []time.Duration {
		key := fmt.Sprint(d.Local, string(d.Payload))
		seen[key]++
		if seen[key] <= n {
			return nil
		}
		return []time.Duration{10 * time.Millisecond}
	}
}

func matrix() []weather {
	ms := time.Millisecond
	return []weather{
		{"fair", func(*rand.Rand) Link { return Perfect }},
		{"drop the first datagram", func(*rand.Rand) Link {
			return func(n int, d door.Send) []time.Duration {
				if n == 0 {
					return nil
				}
				return Perfect(n, d)
			}
		}},
		{"drop the first three", func(*rand.Rand) Link {
			return func(n int, d door.Send) []time.Duration {
				if n < 3 {
					return nil
				}
				return Perfect(n, d)
			}
		}},
		{"drop the first copy of every message", func(*rand.Rand) Link { return perMessage(1) }},
		{"drop a third", func(r *rand.Rand) Link {
			return func(n int, d door.Send) []time.Duration {
				if r.IntN(3) == 0 {
					return nil
				}
				return Perfect(n, d)
			}
		}},
		{"duplicate", func(*rand.Rand) Link { return always(10*ms, 15*ms, 40*ms) }},
		{"reorder", func(r *rand.Rand) Link {
			return func(int, door.Send) []time.Duration { return []time.Duration{time.Duration(r.IntN(900)) * ms} }
		}},
		{"delay past the timer", func(*rand.Rand) Link { return always(1700 * ms) }},
		{"drop a third, duplicate and reorder", func(r *rand.Rand) Link {
			return func(int, door.Send) []time.Duration {
				switch r.IntN(3) {
				case 0:
					return nil
				case 1:
					return []time.Duration{time.Duration(r.IntN(1500)) * ms}
				}
				return []time.Duration{time.Duration(r.IntN(500)) * ms, time.Duration(r.IntN(2500)) * ms}
			}
		}},
	}
}

// Every exchange survives every weather, whoever begins. The data path works
// both ways afterwards, and nothing is left half open.
func TestLossMatrix(t *testing.T) {
	for _, w := range matrix() {
		for _, group := range []suite.Group{suite.NoGroup, 19} {
			for _, side := range []string{"R1", "R2"} {
				t.Run(fmt.Sprintf("%s/%s/%s begins", w.name, group, side), func(t *testing.T) {
					for seed := range uint64(8) {
						runWeather(t, w, side, seed, pfs(group))
					}
				})
			}
		}
		t.Run(w.name+"/aggressive mode", func(t *testing.T) {
			for seed := range uint64(16) {
				runWeather(t, w, []string{"R1", "R2"}[seed%2], seed, aggressive)
			}
		})
	}
}

func runWeather(t *testing.T, w weather, side string, seed uint64, options ...option) {
	t.Helper()
	a, b := sites(options...)
	runSettings(t, w, side, seed, a, b)
}

func runSettings(t *testing.T, w weather, side string, seed uint64, a, b *policy.Settings) {
	t.Helper()
	x, r1, r2 := world(t, seed, a, b)
	x.Link = w.link(x.Rand())
	initiator, responder := r1, r2
	if side == "R2" {
		initiator, responder = r2, r1
	}
	id := trigger(initiator)
	// Traffic goes on: a flow that was given up is asked for again.
	for range 20 {
		x.Run(20*time.Second, func() bool { return initiator.Up(id) && responder.Up(id) })
		if initiator.Up(id) && responder.Up(id) {
			break
		}
		trigger(initiator)
	}
	bothUp(t, id, initiator, responder)
	x.Link = Perfect
	x.Run(90*time.Second, nil)
	bothUp(t, id, initiator, responder)
	for _, p := range [][2]*Host{{r1, r2}, {r2, r1}} {
		if err := x.Probe(p[0], p[1], p[0].Engine.Settings().Flows()[0]); err != nil {
			t.Fatalf("seed %d: %s to %s: %v", seed, p[0].Name, p[1].Name, err)
		}
	}
	for _, h := range x.Hosts {
		for _, sa := range h.Engine.ISAKMP(x.Now) {
			if !sa.Deleted && sa.State != "QM_IDLE" {
				t.Errorf("seed %d: %s is left with an SA in %s", seed, h.Name, sa.State)
			}
		}
		for _, k := range h.Children {
			if !k.In || !k.Out {
				t.Errorf("seed %d: %s is left with half a pair", seed, h.Name)
			}
		}
	}
}

// In fair weather the exchange is the nine messages of the RFC, and the
// question behind QM3 whether it has been dealt with.
func TestFairExchange(t *testing.T) {
	a, b := sites(pfs(14))
	x, r1, r2 := world(t, 1, a, b)
	var wire []string
	x.Sniff = func(from *Host, d door.Send) { wire = append(wire, from.Name) }
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if got, want := fmt.Sprint(wire), "[R1 R2 R1 R2 R1 R2 R1 R2 R1 R1 R2]"; got != want {
		t.Errorf("on the wire: %s, want %s", got, want)
	}
	up := happened[event.Phase1Up](r2)
	if len(up) != 1 || up[0].Policy.Priority != 10 || up[0].Identity != "198.51.100.1" {
		t.Errorf("phase 1 at R2: %+v", up)
	}
	child := happened[event.Phase2Up](r1)
	if len(child) != 1 || child[0].Set.Name != "STRONG" || child[0].PFS != 14 {
		t.Errorf("phase 2 at R1: %+v", child)
	}
}
