package fastpath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// flowOf is a flow, as a snapshot gives it.
func flowOf(t testing.TB) *sadb.Flow { return flowsOf(t, 1)[0] }

// flowsOf are n flows of one crypto map entry.
func flowsOf(t testing.TB, n int) []*sadb.Flow {
	t.Helper()
	list := &flow.List{Name: "MANY"}
	for i := range n {
		list.Lines = append(list.Lines, flow.Line{Seq: 10 * (i + 1), Action: flow.Permit,
			Dst: flow.HostMatch(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))})
	}
	db := sadb.New(&counting{})
	db.SetPolicy([]policy.Entry{{Map: "CMAP", Seq: 10, ACL: list}})
	var out []*sadb.Flow
	for i := range n {
		out = append(out, db.Snapshot().Flow(policy.FlowID{Map: "CMAP", Seq: 10, Line: 10 * (i + 1)}))
	}
	return out
}

func newWaiting(l Limits) *waiting {
	return &waiting{limits: l.withDefaults(), flows: map[policy.FlowID]*queue{}}
}

func numbers(ws []waiter) string {
	var out []int
	for _, w := range ws {
		out = append(out, numberOf(w.buf[sadb.Headroom:]))
	}
	return fmt.Sprint(out)
}

func TestQueueKeepsTheNewest(t *testing.T) {
	f := flowOf(t)
	cases := []struct {
		story  string
		limits Limits
		want   string
	}{
		{"room for all", Limits{}, "[0 1 2 3 4 5 6 7]"},
		{"three packets of a flow", Limits{FlowPackets: 3}, "[5 6 7]"},
		{"octets for two of a flow", Limits{FlowOctets: 300}, "[6 7]"},
		{"less than one packet: one all the same", Limits{FlowOctets: 1}, "[7]"},
		{"four packets of all flows", Limits{Packets: 4}, "[4 5 6 7]"},
		{"octets for five of all flows", Limits{Octets: 700}, "[3 4 5 6 7]"},
	}
	for _, c := range cases {
		w := newWaiting(c.limits)
		before := f.Stats().Counters.NoSA
		total := 0
		for n := range 8 {
			dropped, _ := w.add(f, flow.Tuple{}, fromA(n), 1, 1)
			total += dropped
		}
		kept := w.packets
		got := numbers(w.take(f.ID))
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.story, got, c.want)
		}
		if kept+total != 8 || f.Stats().Counters.NoSA-before != uint64(total) {
			t.Errorf("%s: %d kept, %d dropped, flow counted %d", c.story, kept, total, f.Stats().Counters.NoSA-before)
		}
		if w.packets != 0 || w.octets != 0 || w.order.Len() != 0 || w.take(f.ID) != nil {
			t.Errorf("%s: left behind %d packets, %d octets, %d flows", c.story, w.packets, w.octets, w.order.Len())
		}
	}
}

// A flow that floods does not push the others out: it is full first.
func TestOneFlowCannotTakeAllRoom(t *testing.T) {
	fs := flowsOf(t, 4)
	w := newWaiting(Limits{FlowPackets: 3, Packets: 10})
	w.add(fs[1], flow.Tuple{}, fromA(100), 1, 4)
	for n := range 50 {
		w.add(fs[0], flow.Tuple{}, fromA(n), 1, 4)
	}
	w.add(fs[2], flow.Tuple{}, fromA(200), 1, 4)
	for i, want := range []string{"[47 48 49]", "[100]", "[200]"} {
		if got := numbers(w.take(fs[i].ID)); got != want {
			t.Errorf("flow %d: %s, want %s", i, got, want)
		}
	}
}

func TestTheLongestWaitingGoesFirst(t *testing.T) {
	fs := flowsOf(t, 3)
	w := newWaiting(Limits{Packets: 3})
	for n := range 5 {
		w.add(fs[n%3], flow.Tuple{}, fromA(n), 1, 3)
	}
	for i, want := range []string{"[3]", "[4]", "[2]"} {
		if got := numbers(w.take(fs[i].ID)); got != want {
			t.Errorf("flow %d: %s, want %s", i, got, want)
		}
	}
}

func TestQueuesOfOldPoliciesAreForgotten(t *testing.T) {
	fs := flowsOf(t, 500)
	w := newWaiting(Limits{})
	for _, f := range fs {
		w.add(f, flow.Tuple{}, fromA(0), 1, 1)
		w.take(f.ID)
	}
	if n := len(w.flows); n > 67 {
		t.Errorf("%d empty queues kept for a policy of one flow", n)
	}
}

func TestParseIPv4(t *testing.T) {
	edit := func(f func(p []byte) []byte) []byte { return f(fromA(0)) }
	options := func(p []byte) []byte { // 4 octets of options before the ports
		q := append(append([]byte{}, p[:20]...), 1, 1, 1, 0)
		q = append(q, p[20:]...)
		q[0] = 0x46
		binary.BigEndian.PutUint16(q[2:], uint16(len(q)))
		return q
	}
	frag := func(word uint16) func([]byte) []byte {
		return func(p []byte) []byte { binary.BigEndian.PutUint16(p[6:], word); return p }
	}
	length := func(n uint16) func([]byte) []byte {
		return func(p []byte) []byte { binary.BigEndian.PutUint16(p[2:], n); return p }
	}
	cases := []struct {
		story    string
		packet   []byte
		ok       bool
		port     uint16
		fragment bool
		total    int
	}{
		{"UDP", fromA(0), true, 2000, false, 128},
		{"with options", edit(options), true, 2000, false, 132},
		{"DF set", edit(frag(0x4000)), true, 2000, false, 128},
		{"first fragment", edit(frag(0x2000)), true, 2000, false, 128},
		{"later fragment", edit(frag(0x2001)), true, 0, true, 128},
		{"last fragment", edit(frag(0x0001)), true, 0, true, 128},
		{"ICMP has no ports", edit(func(p []byte) []byte { p[9] = 1; return p }), true, 0, false, 128},
		{"octets behind the packet", append(fromA(0), 1, 2, 3), true, 2000, false, 128},
		{"just the ports", edit(length(24)), true, 2000, false, 24},
		{"ports cut off", edit(length(23)), false, 0, false, 0},
		{"UDP without a header", edit(length(20)), false, 0, false, 0},
		{"shorter than its header", edit(length(19)), false, 0, false, 0},
		{"longer than what is there", edit(length(129)), false, 0, false, 0},
		{"length 0", edit(length(0)), false, 0, false, 0},
		{"header of 16 octets", edit(func(p []byte) []byte { p[0] = 0x44; return p }), false, 0, false, 0},
		{"header beyond the packet", edit(func(p []byte) []byte { p[0] = 0x4f; return length(40)(p) }), false, 0, false, 0},
		{"IPv6", edit(func(p []byte) []byte { p[0] = 0x65; return p }), false, 0, false, 0},
		{"19 octets", fromA(0)[:19], false, 0, false, 0},
		{"nothing", nil, false, 0, false, 0},
	}
	for _, c := range cases {
		tuple, total, ok := parseIPv4(c.packet)
		if ok != c.ok || total != c.total && ok || tuple.DstPort != c.port || tuple.Fragment != c.fragment {
			t.Errorf("%s: %s (fragment %v), %d octets, %v", c.story, tuple, tuple.Fragment, total, ok)
		}
		if ok && (tuple.Src != netip.MustParseAddr("10.10.10.10") || tuple.Dst != netip.MustParseAddr("10.20.20.20")) {
			t.Errorf("%s: addresses of %s", c.story, tuple)
		}
	}
}

func FuzzParseIPv4(f *testing.F) {
	f.Add(fromA(0))
	f.Add([]byte{0x45})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, total, ok := parseIPv4(b); ok && (total > len(b) || total < ipv4Header) {
			t.Fatalf("%d octets out of %d", total, len(b))
		}
	})
}
