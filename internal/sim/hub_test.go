package sim

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// star is a hub and its spokes.
type star struct {
	*World
	hub    *Host
	spokes []*Host
}

func spokeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) }

func spokeNet(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + byte(i>>8), byte(i), 0}), 24)
}

// newStar makes a world of a hub and n spokes, each with a key of its own.
func newStar(seed uint64, n int, options ...option) *star {
	s := &star{World: NewWorld(seed)}
	s.Keeps = func(e event.Event) bool {
		switch e.What.(type) {
		case event.Failed, event.Phase1Up, event.Phase2Up:
			return true
		}
		return false
	}
	all := site(addrA, addrB, netA, netB, options...)
	all.Keys, all.Entries = nil, nil
	var sites []*policy.Settings
	for i := range n {
		key := crypt.NewSecret(fmt.Appendf(nil, "the key of spoke %d", i))
		here := site(addrA, spokeAddr(i), netA, spokeNet(i), options...)
		here.Entries[0].Seq = i + 1
		here.Entries[0].ACL.Name = fmt.Sprint("SPOKE", i)
		all.Entries = append(all.Entries, here.Entries[0])
		all.Keys = append(all.Keys, policy.Key{Peers: netip.PrefixFrom(spokeAddr(i), 32), Secret: key})
		there := site(spokeAddr(i), addrA, spokeNet(i), netA, options...)
		there.Keys[0].Secret = key
		sites = append(sites, there)
	}
	s.hub = s.Add("HUB", addrA, all)
	for i, there := range sites {
		s.spokes = append(s.spokes, s.Add(fmt.Sprint("S", i), spokeAddr(i), there))
	}
	return s
}

// up brings every tunnel up; every other one is begun by the hub.
func (s *star) up(t testing.TB) {
	t.Helper()
	for i, h := range s.spokes {
		if i%2 == 0 {
			trigger(h)
		} else {
			triggerFlow(s.hub, s.flow(i))
		}
	}
	s.Run(20*time.Second, nil)
	for i, h := range s.spokes {
		if !h.Up(h.Engine.Settings().Flows()[0].ID) || !s.hub.Up(s.flow(i).ID) {
			t.Fatalf("spoke %d is not up", i)
		}
	}
}

// flow is the hub's flow to a spoke.
func (s *star) flow(i int) policy.Flow { return s.hub.Engine.Settings().Entries[i].Flows()[0] }

// A thousand peers in one process come up, renew their SAs of both phases for a
// simulated day, and no packet finds its tunnel closed. The books of the hub
// hold what a thousand tunnels need and no more.
func TestThousandPeers(t *testing.T) {
	const every = 5 * time.Minute
	peers := 1000
	if testing.Short() {
		peers = 50
	}
	s := newStar(3, peers, short(8*time.Hour, time.Hour))
	s.up(t)
	probes := 0
	for at := every; at <= 24*time.Hour; at += every {
		s.Run(every, nil)
		for i, h := range s.spokes {
			from, to, f := h, s.hub, h.Engine.Settings().Flows()[0]
			if (i+probes/peers)%2 == 0 {
				from, to, f = s.hub, h, s.flow(i)
			}
			probes++
			if err := s.Probe(from, to, f); err != nil {
				t.Fatalf("after %s: %s to %s: %v", at, from.Name, to.Name, err)
			}
		}
		if l := s.hub.Engine.Load(); l.ISAKMP > 2*peers || l.Children > 3*peers || l.SPIs > l.Children+peers || l.Peers != peers || l.HalfOpen > peers {
			t.Fatalf("after %s the hub holds %+v", at, l)
		}
	}
	if failed := happened[event.Failed](s.hub); len(failed) > 0 {
		t.Errorf("%d negotiations failed, the first: %+v", len(failed), failed[0])
	}
	pairs, sas := len(happened[event.Phase2Up](s.hub)), len(happened[event.Phase1Up](s.hub))
	if pairs < 23*peers || sas < 3*peers {
		t.Errorf("%d pairs and %d ISAKMP SAs in a day", pairs, sas)
	}
	t.Logf("%d peers: %d ISAKMP SAs, %d SA pairs, %d probes, none lost", peers, sas, pairs, probes)
}

// One slow or dead peer costs nobody else anything: with half of the spokes gone
// without a word, the tunnels of the others are renewed all the same.
func TestDeadPeersHarmNobody(t *testing.T) {
	const peers = 60
	s := newStar(5, peers, short(time.Hour, 10*time.Minute))
	s.up(t)
	for i, h := range s.spokes {
		if i%2 == 0 {
			h.LetsIn = func(flow.Tuple) bool { return false }
		}
	}
	for range 120 {
		s.Run(time.Minute, nil)
		for i := 1; i < peers; i += 2 {
			if err := s.Probe(s.spokes[i], s.hub, s.spokes[i].Engine.Settings().Flows()[0]); err != nil {
				t.Fatalf("spoke %d: %v", i, err)
			}
		}
	}
	if l := s.hub.Engine.Load(); l.Children > 3*peers/2 || l.ISAKMP > 2*peers {
		t.Errorf("the hub holds %+v", l)
	}
}

// BenchmarkPeer is what one peer costs a hub: its handshake (main mode, quick
// mode, both roles mixed) in time and allocations of both ends together, and the
// memory that stays, of both ends.
func BenchmarkPeer(b *testing.B) {
	const peers = 200
	b.ReportAllocs()
	var held uint64
	for b.Loop() {
		s := newStar(9, peers)
		before := heldNow()
		s.up(b)
		held = heldNow() - before
		runtime.KeepAlive(s)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*peers), "µs/peer")
	b.ReportMetric(float64(held)/peers, "octets/peer")
}

func heldNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
