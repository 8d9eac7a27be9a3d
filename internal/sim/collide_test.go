package sim

import (
	"slices"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
)

// newest is the pair of a host's only flow that came up last.
func newest(h *Host) *Installed {
	var best *Installed
	for _, k := range h.Children {
		if best == nil || k.ID > best.ID {
			best = k
		}
	}
	return best
}

// For a simulated week, or a day, both sides renew at the same moment, every few minutes, on
// links of every kind of delay: one pair carries on, no packet is lost, and pairs
// do not add up.
func TestBothRenewAtOnce(t *testing.T) {
	const (
		day  = 24 * time.Hour
		week = 7 * day
		long = week + time.Hour // no end of phase 1 in between
	)
	ms := time.Millisecond
	for _, tt := range []struct {
		name    string
		lasts   time.Duration
		isakmp  time.Duration
		delay   func(n int) []time.Duration // of the link
		most    int                         // pairs at a time
		renewed int                         // at most, for each time both asked
	}{
		{"equal delay", week, long, func(int) []time.Duration { return []time.Duration{10 * ms} }, 2, 1},
		{"no delay", day, long, func(int) []time.Duration { return []time.Duration{0} }, 2, 1},
		{"a slow link", day, long, func(int) []time.Duration { return []time.Duration{800 * ms} }, 2, 1},
		// Without an ISAKMP SA a side cannot tell that it deletes a pair; the other keeps it to its end.
		{"phase 1 ends in between", day, 7 * time.Minute, func(int) []time.Duration { return []time.Duration{10 * ms} }, 3, 1},
		{"reordered and doubled", day, long, func(n int) []time.Duration {
			return []time.Duration{time.Duration(n*7919%400) * ms, time.Duration(n*104729%700) * ms}
		}, 3, 2},
		{"slower than the timer", day, long, func(n int) []time.Duration { return []time.Duration{1400 * ms} }, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := sites(short(tt.isakmp, 20*time.Minute))
			x, r1, r2 := world(t, 11, a, b)
			x.Link = func(n int, _ door.Send) []time.Duration { return tt.delay(n) }
			id := trigger(r1)
			trigger(r2)
			x.Run(30*time.Second, func() bool { return r1.Up(id) && r2.Up(id) })
			bothUp(t, id, r1, r2)
			x.Run(2*time.Minute, nil)
			most, times := renewTogether(t, x, r1, r2, tt.lasts)
			if most > tt.most {
				t.Errorf("up to %d pairs at a time, want %d at most", most, tt.most)
			}
			if n := len(happened[event.Phase2Up](r1)); n > times*tt.renewed+2 || n < times {
				t.Errorf("%d pairs for %d renewals", n, times)
			}
			x.Run(2*time.Minute, nil)
			for _, h := range x.Hosts {
				if l := h.Engine.Load(); l.Children != 1 || l.SPIs != 1 || l.Jobs != 0 || l.Waiting != 0 {
					t.Errorf("%s ends with %+v", h.Name, l)
				}
			}
		})
	}
}

// renewTogether lets both sides renew at once every four minutes, and probes all
// the time.
func renewTogether(t *testing.T, x *World, r1, r2 *Host, d time.Duration) (most, times int) {
	t.Helper()
	for n, end := 0, x.Now.Add(d); x.Now.Before(end); n++ {
		if n%24 == 0 {
			times++
			for _, h := range []*Host{r1, r2} {
				h.Input(door.Expire{Child: newest(h).ID})
			}
		}
		step := 10 * time.Second
		if n%24 == 0 {
			step = time.Duration(n%13) * 100 * time.Millisecond
		}
		for _, p := range [][2]*Host{{r1, r2}, {r2, r1}} {
			if err := x.Probe(p[0], p[1], p[0].Engine.Settings().Flows()[0]); err != nil {
				t.Fatalf("%s: %s to %s: %v", x.Now, p[0].Name, p[1].Name, err)
			}
			most = max(most, len(p[0].Children))
			p[0].Events = slices.DeleteFunc(p[0].Events, func(e event.Event) bool { _, up := e.What.(event.Phase2Up); return !up })
		}
		x.Run(step, nil)
	}
	return most, times
}
