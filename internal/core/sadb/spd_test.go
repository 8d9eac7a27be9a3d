package sadb

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

func TestPolicyOrder(t *testing.T) {
	web := permit(flow.TCP, "10.1.0.0/16", "10.2.0.0/16")
	web.DstPort = flow.PortMatch{Op: flow.Eq, Ports: []uint16{80, 443}}
	www := permit(flow.TCP, "10.1.0.0/16", "10.2.0.0/16")
	www.DstPort = flow.PortMatch{Op: flow.Eq, Ports: []uint16{8080}}
	holes := permit(flow.AnyProto, "any", "any")
	holes.Src = flow.Match{Addr: netip.MustParseAddr("10.9.0.1"), Wildcard: netip.MustParseAddr("0.0.255.0")}
	d := newDB(
		entry(10, acl("FIRST",
			flow.Line{Remark: "not for the printer"},
			deny(flow.AnyProto, "10.1.0.9/32", "any"),
			permit(flow.UDP, "10.1.0.0/16", "10.2.0.0/16"),
			deny(flow.ICMP, "10.1.0.0/16", "10.2.0.0/16"),
			www)),
		policy.Entry{Map: "CMAP", Seq: 15}, // incomplete: no crypto ACL
		entry(20, acl("SECOND", permit(flow.AnyProto, "10.1.0.0/16", "10.2.0.0/16"))),
		entry(30, acl("THIRD", deny(flow.AnyProto, "10.1.0.0/16", "any"), permit(flow.AnyProto, "10.1.0.0/16", "any"), holes)),
		entry(40, acl("LAST", permit(flow.GRE, "any", "any"), web)),
	)
	none := policy.FlowID{}
	cases := []struct {
		story string
		t     flow.Tuple
		port  uint16
		want  policy.FlowID
	}{
		{"a permit protects", packet(flow.UDP, "10.1.0.1", "10.2.0.1"), 53, id(10, 30)},
		{"a port of the line", packet(flow.TCP, "10.1.0.1", "10.2.0.1"), 8080, id(10, 50)},
		{"a deny goes on with the next entry", packet(flow.ICMP, "10.1.0.1", "10.2.0.1"), 0, id(20, 10)},
		{"a deny before a permit of the entry", packet(flow.UDP, "10.1.0.9", "10.2.0.1"), 0, id(20, 10)},
		{"no line of the first entry: the second", packet(flow.TCP, "10.1.0.1", "10.2.0.1"), 80, id(20, 10)},
		{"a deny hides the rest of its own entry only", packet(flow.GRE, "10.1.0.1", "10.3.0.1"), 0, id(40, 10)},
		{"deny and no other entry: bypass", packet(flow.UDP, "10.1.0.1", "10.3.0.1"), 0, none},
		{"nothing matches: bypass", packet(flow.UDP, "192.0.2.1", "10.2.0.1"), 0, none},
		{"the wrong way round: bypass", packet(flow.UDP, "10.2.0.1", "10.1.0.1"), 0, none},
		{"a wildcard with holes", packet(flow.UDP, "10.9.77.1", "192.0.2.1"), 0, id(30, 30)},
		{"beside the holes: bypass", packet(flow.UDP, "10.9.77.2", "192.0.2.1"), 0, none},
		{"any any", packet(flow.GRE, "192.0.2.1", "192.0.2.2"), 0, id(40, 10)},
		{"IPv6 matches any any only", packet(flow.GRE, "2001:db8::1", "2001:db8::2"), 0, id(40, 10)},
		{"IPv6 else: bypass", packet(flow.TCP, "2001:db8::1", "2001:db8::2"), 443, none},
	}
	for _, c := range cases {
		c.t.DstPort = c.port
		f, sa := d.Snapshot().Outbound(c.t)
		got := none
		if f != nil {
			got = f.ID
		}
		if got != c.want || sa != nil {
			t.Errorf("%s: %s is %v, want %v", c.story, c.t, got, c.want)
		}
		again, line := d.Snapshot().Match(c.t)
		if again != f || (line == nil) != (f == nil) || (line != nil && line.Seq != got.Line) {
			t.Errorf("%s: Match says %v, line %v; Outbound %v", c.story, again, line, f)
		}
	}
	if f := d.Snapshot().Flow(id(30, 30)); f == nil || f.Negotiable {
		t.Error("a wildcard with holes is no pair of proxy identities, but its traffic is not for bypass either")
	}
}

// The table look-up finds what walking through all lines finds.
func TestIndexAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var entries []policy.Entry
		for e := range 1 + r.IntN(6) {
			var lines []flow.Line
			for range 1 + r.IntN(8) {
				lines = append(lines, randomLine(r))
			}
			entries = append(entries, entry(10*(e+1), acl(fmt.Sprint("L", e), lines...)))
		}
		s := newDB(entries...).Snapshot().stages[written]
		for range 200 {
			p := packet(pick(r, flow.TCP, flow.UDP, flow.ICMP), randomAddr(r), randomAddr(r))
			p.DstPort = uint16(r.IntN(4))
			for from := range s.rules {
				if got, want := s.first(p, from), s.scan(p, from); got != want {
					t.Fatalf("%s from rule %d: rule %d, scan says %d", p, from, got, want)
				}
			}
		}
	}
}

func randomAddr(r *rand.Rand) string {
	return fmt.Sprintf("10.%d.%d.%d", r.IntN(2), r.IntN(2), r.IntN(3))
}

func randomLine(r *rand.Rand) flow.Line {
	side := func() flow.Match {
		bits := pick(r, 0, 8, 15, 16, 23, 24, 30, 32)
		m := flow.PrefixMatch(netip.PrefixFrom(netip.MustParseAddr(randomAddr(r)), bits).Masked())
		if r.IntN(8) == 0 {
			m = flow.Match{Addr: netip.MustParseAddr(randomAddr(r)), Wildcard: netip.MustParseAddr("0.0.1.2")}
		}
		return m
	}
	l := flow.Line{Action: pick(r, flow.Permit, flow.Permit, flow.Deny), Src: side(), Dst: side()}
	l.Proto = pick(r, flow.AnyProto, flow.TCP, flow.UDP)
	if l.Proto != flow.AnyProto && r.IntN(2) == 0 {
		l.DstPort = flow.PortMatch{Op: flow.Eq, Ports: []uint16{uint16(r.IntN(4))}}
	}
	return l
}

func TestHitsCountOutboundPackets(t *testing.T) {
	list := acl("SITE-B", deny(flow.ICMP, "10.10.10.0/24", "10.20.20.0/24"), permit(flow.AnyProto, "10.10.10.0/24", "10.20.20.0/24"))
	d := newDB(entry(10, list), entry(20, list))
	look := func(proto uint8, n int) {
		for range n {
			d.Snapshot().Outbound(packet(proto, "10.10.10.1", "10.20.20.1"))
			d.Snapshot().Match(packet(proto, "10.10.10.1", "10.20.20.1"))
		}
	}
	want := func(story string, line10, line20 uint64) {
		t.Helper()
		if hits := d.Stats().Hits["SITE-B"]; hits[10] != line10 || hits[20] != line20 {
			t.Errorf("%s: hits %v, want line 10: %d, line 20: %d", story, hits, line10, line20)
		}
	}
	look(flow.TCP, 3)
	want("three packets permitted", 0, 3)
	look(flow.ICMP, 1)
	want("one denied, by both entries that use the list", 2, 3)
	d.SetPolicy([]policy.Entry{entry(10, list)})
	want("a new policy with the same lines", 2, 3)
	changed := acl("SITE-B", deny(flow.ICMP, "10.10.10.0/24", "10.20.20.0/24"), permit(flow.TCP, "10.10.10.0/24", "10.20.20.0/24"))
	d.SetPolicy([]policy.Entry{entry(10, changed)})
	want("line 20 reads otherwise", 2, 0)
	d.ClearHits("OTHER")
	want("another list cleared", 2, 0)
	d.ClearHits("SITE-B")
	want("cleared", 0, 0)
}

// manyFlows is n flows to n sites, one crypto map entry each.
func manyFlows(n int) []policy.Entry {
	out := make([]policy.Entry, n)
	for i := range out {
		remote := fmt.Sprintf("10.%d.%d.0/24", 128+i/256, i%256)
		out[i] = entry(i+1, acl(fmt.Sprint("SITE-", i), permit(flow.AnyProto, "10.10.10.0/24", remote)))
	}
	return out
}

func TestTenThousandFlowsAreFoundInOneLookUp(t *testing.T) {
	d := newDB(manyFlows(10_000)...)
	if n := len(d.Snapshot().stages[written].shapes); n != 1 {
		t.Errorf("%d look-ups for a packet, want 1: all lines have the same prefix lengths", n)
	}
	for _, i := range []int{0, 255, 256, 9_999} {
		f, _ := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", fmt.Sprintf("10.%d.%d.77", 128+i/256, i%256)))
		if f == nil || f.ID != id(i+1, 10) {
			t.Errorf("site %d: %v", i, f)
		}
	}
}

func BenchmarkOutbound(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := newDB(manyFlows(n)...)
			s := d.Snapshot()
			p := packet(flow.TCP, "10.10.10.1", "10.128.9.1")
			b.ReportAllocs()
			for b.Loop() {
				if f, _ := s.Outbound(p); f == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkInstall(b *testing.B) {
	d := newDB(manyFlows(10_000)...)
	n := uint32(0)
	for b.Loop() {
		n++
		c := childOf(n)
		c.Flow = id(int(n%10_000)+1, 10)
		if err := d.Install(c, true, true); err != nil {
			b.Fatal(err)
		}
	}
}
