package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"culvert/internal/core/flow"
)

// hub is n entries of one map, each with a peer and a line of its own; every
// tenth shares its peer with the one before.
func hub(n int) *Settings {
	s := &Settings{}
	local := netip.MustParseAddr("203.0.113.1")
	for i := range n {
		p := i
		if i%10 == 9 {
			p = i - 1
		}
		peer := netip.AddrFrom4([4]byte{198, 18, byte(p >> 8), byte(p)})
		dst := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		s.Entries = append(s.Entries, Entry{
			Map: "HUB", Seq: i + 1, Local: local, Peers: []netip.Addr{peer, peer},
			ACL: &flow.List{Name: fmt.Sprint(i), Lines: []flow.Line{{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(netip.MustParsePrefix("172.16.0.0/16")), Dst: flow.PrefixMatch(dst), ICMPType: -1, ICMPCode: -1}}},
		})
	}
	return s
}

// What the index finds is what going through all entries finds.
func TestIndexFindsTheSame(t *testing.T) {
	slow, quick := hub(300), hub(300)
	quick.Index()
	local := quick.Entries[0].Local
	for i := range quick.Entries {
		e := &slow.Entries[i]
		f := e.Flows()[0]
		if a, ok := quick.Flow(f.ID); !ok || a.Selectors != f.Selectors || a.Entry != &quick.Entries[i] {
			t.Errorf("flow %s: %v %t", f.ID, a.Selectors, ok)
		}
		a, ok1 := slow.FlowFor(local, e.Peers[0], f.Selectors, anybody)
		b, ok2 := quick.FlowFor(local, e.Peers[0], f.Selectors, anybody)
		if a.ID != b.ID || ok1 != ok2 || !ok2 {
			t.Errorf("flow for %s: %s and %s", f.Selectors, a.ID, b.ID)
		}
		if !quick.HasPeer(local, e.Peers[0]) || quick.HasPeer(e.Peers[0], local) {
			t.Errorf("peer %s", e.Peers[0])
		}
	}
}

// Entries that were replaced behind the index's back are found all the same.
func TestStaleIndex(t *testing.T) {
	s := hub(20)
	s.Index()
	s.Entries = hub(30).Entries[20:]
	if f := s.Entries[0].Flows()[0]; !s.HasPeer(s.Entries[0].Local, s.Entries[0].Peers[0]) {
		t.Errorf("flow %s is not found", f.ID)
	}
	if _, ok := s.Flow(FlowID{"HUB", 1, 10}); ok {
		t.Error("an entry that is gone is found")
	}
}

func BenchmarkFlowFor(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := hub(n)
			s.Index()
			e := &s.Entries[n-1]
			sel := e.Flows()[0].Selectors
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.FlowFor(e.Local, e.Peers[0], sel, anybody); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
