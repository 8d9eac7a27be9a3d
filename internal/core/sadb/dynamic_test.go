package sadb

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

func prefixOf(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// definedFlow is a flow of a peer of a dynamic map, with an entry and a line of its own.
func definedFlow(n int, remote string) policy.Flow {
	l := permit(flow.AnyProto, "10.10.10.0/24", remote)
	s, _ := l.Selectors()
	return policy.Flow{ID: policy.FlowID{Map: "DYN", Seq: 65000, Line: n}, Selectors: s, Line: &l, Entry: &policy.Entry{Map: "DYN", Seq: 65000, Dynamic: true}}
}

func TestDefinedFlows(t *testing.T) {
	deny := entry(10, acl("SITE-B", deny(flow.ICMP, "10.10.10.0/24", "10.20.20.0/24"), permit(flow.AnyProto, "10.10.10.0/24", "10.20.20.0/24")))
	dynamic := entry(65535, acl("ROAD", permit(flow.AnyProto, "10.10.10.0/24", "10.0.0.0/8")))
	dynamic.Dynamic, dynamic.Peers = true, nil
	nobody := policy.Entry{Map: "CMAP", Seq: 65534, Dynamic: true}
	d := newDB(deny, nobody, dynamic)
	who := func(dst string) policy.FlowID {
		f, _ := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", dst))
		if f == nil {
			return policy.FlowID{}
		}
		return f.ID
	}
	if f, _ := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", "10.30.30.1")); f == nil || f.Negotiable {
		t.Fatalf("traffic of a dynamic map's ACL is protected or not at all, and asks for nothing: %+v", f)
	}
	c, e := definedFlow(1, "10.30.30.0/24"), definedFlow(2, "10.0.0.0/8")
	for _, f := range []policy.Flow{c, e} {
		if err := d.Define(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Define(c); !errors.Is(err, ErrDefined) {
		t.Errorf("defined twice: %v", err)
	}
	for dst, want := range map[string]policy.FlowID{"10.20.20.1": id(10, 20), "10.30.30.1": c.ID, "10.40.40.1": e.ID, "192.0.2.1": {}} {
		if got := who(dst); got != want {
			t.Errorf("to %s: %v, want %v", dst, got, want)
		}
	}
	pair := childOf(1)
	pair.Flow, pair.Selectors = c.ID, c.Selectors
	install(t, d, pair, true, true)
	if f, sa := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", "10.30.30.1")); sa == nil || !f.Negotiable {
		t.Error("the SA of a defined flow is not found")
	}
	// A new configuration leaves them, and their SAs, alone.
	if gone := d.SetPolicy([]policy.Entry{dynamic, entry(5, acl("NEW", permit(flow.TCP, "10.10.99.0/24", "10.20.20.0/24"))), deny}); len(gone) != 0 {
		t.Errorf("gone with a new policy: %v", gone)
	}
	if _, sa := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", "10.30.30.1")); sa == nil {
		t.Error("the SA of a defined flow is gone with a new policy")
	}
	if n := d.Snapshot().NumFlows(); n != 5 || len(d.Stats().Flows) != n {
		t.Errorf("%d flows, %d in the statistics", n, len(d.Stats().Flows))
	}
	gone, err := d.Undefine(c.ID)
	if err != nil || !slices.Equal(gone, []ChildID{1}) {
		t.Errorf("taken back: %v, %v", gone, err)
	}
	if got := who("10.30.30.1"); got != e.ID {
		t.Errorf("then the next one has its traffic, not %v", got)
	}
	if _, err := d.Undefine(c.ID); !errors.Is(err, ErrNoFlow) {
		t.Errorf("taken back twice: %v", err)
	}
	if _, err := d.Undefine(id(10, 20)); !errors.Is(err, ErrNoFlow) {
		t.Errorf("a flow of the configuration cannot be taken back: %v", err)
	}
}

// Flows that stay keep their counters and SAs when others come and go.
func TestDefineMovesNothingElse(t *testing.T) {
	d := newDB(twoSites())
	install(t, d, childOf(1), true, true)
	_, sa := d.Snapshot().Outbound(interesting)
	sealed(t, sa, 100)
	for n := range 600 { // more than a page of flows
		if err := d.Define(definedFlow(n, "10.30.30.0/24")); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 599 {
		if _, err := d.Undefine(definedFlow(n, "10.30.30.0/24").ID); err != nil {
			t.Fatal(err)
		}
	}
	f, again := d.Snapshot().Outbound(interesting)
	if again != sa || f.Stats().Counters.Encaps != 1 {
		t.Errorf("the SA is %v, was %v; %+v", again, sa, f.Stats().Counters)
	}
	if err := d.Remove(1); err != nil {
		t.Error(err)
	}
	if n := d.Snapshot().NumFlows(); n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
}
