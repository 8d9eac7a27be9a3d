package sim

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

// manySets make a QM1 of more than 2000 octets.
func manySets(s *policy.Settings) {
	sets := s.Entries[0].Sets
	for len(s.Entries[0].Sets) < 40 {
		s.Entries[0].Sets = append(s.Entries[0].Sets, sets[len(s.Entries[0].Sets)%2])
	}
}

func cuts(on bool) option { return func(s *policy.Settings) { s.Fragmentation = on } }

// noFragmentsOfIP loses what would be fragmented on the way, as many a firewall does.
func noFragmentsOfIP(n int, d door.Send) []time.Duration {
	if len(d.Payload)+32 > 1280 {
		return nil
	}
	return Perfect(n, d)
}

// Scenario 85: large messages get through a firewall that drops fragments of IP,
// at once with "crypto isakmp fragmentation", else with the first repetition.
func TestLargeMessagesInFragments(t *testing.T) {
	for _, on := range []bool{true, false} {
		a, b := sites(manySets, cuts(on))
		x, r1, r2 := world(t, 1, a, b)
		x.Link = noFragmentsOfIP
		id := trigger(r1)
		x.Run(4*time.Second, nil)
		bothUp(t, id, r1, r2)
		probes(t, x, r1, r2)
		for _, h := range []*Host{r1, r2} {
			f := happened[event.Fragments](h)
			if len(f) != 1 || f[0].Number < 2 || f[0].Octets < 1500 {
				t.Errorf("fragmentation %t: %s tells %+v", on, h.Name, f)
			}
		}
		if again := len(happened[event.Retransmit](r1)); (again == 0) != on {
			t.Errorf("fragmentation %t: %d repetitions", on, again)
		}
	}
}

// Fragments survive every weather.
func TestFragmentsInAllWeathers(t *testing.T) {
	for _, w := range matrix() {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(w.name, " ", seed), func(t *testing.T) {
				a, b := sites(manySets, cuts(true))
				x, r1, r2 := world(t, seed, a, b)
				x.Link = w.link(x.Rand())
				id := trigger(r1)
				for range 20 {
					x.Run(20*time.Second, func() bool { return r1.Up(id) && r2.Up(id) })
					trigger(r1)
				}
				x.Link = Perfect
				x.Run(2*time.Minute, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
			})
		}
	}
}
