package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// hub makes a side one that does not know its peers: a dynamic entry, with an
// access list when lines are given, and one key for everybody.
func hub(lines ...flow.Line) option {
	return func(s *policy.Settings) {
		e := &s.Entries[0]
		e.Dynamic, e.Peers, e.ACL = true, nil, nil
		if len(lines) > 0 {
			e.ACL = &flow.List{Name: "DYN", Lines: lines}
		}
		s.Keys = []policy.Key{{Peers: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Secret: crypt.NewSecret([]byte("correct horse"))}}
	}
}

func permits(seq int, from, to string) flow.Line {
	return flow.Line{Seq: seq, Action: flow.Permit, Src: flow.PrefixMatch(netip.MustParsePrefix(from)), Dst: flow.PrefixMatch(netip.MustParsePrefix(to)), ICMPType: -1, ICMPCode: -1}
}

// spoke is a gateway that asks the hub at addrB for the traffic between two networks.
func spoke(addr netip.Addr, from, to string, options ...option) *policy.Settings {
	return site(addr, addrB, netip.MustParsePrefix(from), netip.MustParsePrefix(to), options...)
}

// defined demands so many flows at a hub, in its books and in its data path, and
// traffic both ways on each.
func defined(t *testing.T, x *World, h *Host, spokes ...*Host) []policy.FlowID {
	t.Helper()
	var ids []policy.FlowID
	all := h.Engine.Defined()
	if len(all) != len(spokes) {
		t.Fatalf("the hub has %d flows of peers, want %d", len(all), len(spokes))
	}
	for i, d := range all {
		ids = append(ids, d.ID)
		if h.DB.Snapshot().Flow(d.ID) == nil {
			t.Errorf("%s is not known to the data path", d.ID)
		}
		if err := x.Probe(h, spokes[i], d.Flow); err != nil {
			t.Errorf("hub to %s: %v", spokes[i].Name, err)
		}
		if err := x.Probe(spokes[i], h, spokes[i].Engine.Settings().Flows()[0]); err != nil {
			t.Errorf("%s to hub: %v", spokes[i].Name, err)
		}
	}
	return ids
}

// Peers at addresses that nobody wrote down come up through a dynamic entry, with
// a NAT before them or without. Their flows have numbers from 65536 on, live as
// long as they have a pair, and are renewed by either side.
func TestDynamicPeers(t *testing.T) {
	x := NewWorld(1)
	quick := short(time.Hour, 4*time.Minute)
	h := x.Add("HUB", addrB, site(addrB, addrA, netB, netA, hub(), quick))
	r1 := x.Add("R1", addrA, spoke(addrA, "10.1.0.0/24", "10.20.20.0/24", quick))
	r2 := x.Add("R2", private, spoke(private, "10.2.0.0/24", "10.20.20.0/24", quick))
	x.Behind(r2, public)
	trigger(r1)
	x.Run(5*time.Second, nil)
	trigger(r2)
	x.Run(5*time.Second, nil)
	if got := fmt.Sprint(defined(t, x, h, r1, r2)); got != "[CMAP 65536, line 10 CMAP 65537, line 10]" {
		t.Errorf("the flows are %s", got)
	}
	for _, d := range h.Engine.Defined() {
		if d.Entry.Seq != d.ID.Seq || len(d.Entry.Peers) != 1 || d.Entry.Peers[0] != d.Peer || d.From.Seq != 10 || !strings.HasPrefix(d.Line.Text, "permit ip 10.20.20.0") {
			t.Errorf("%+v", d)
		}
	}
	for range 240 { // renewals, also by the hub, which comes second
		x.Run(5*time.Second, nil)
		defined(t, x, h, r1, r2)
	}
	first := h.Engine.Children(h.Engine.Defined()[0].ID)
	h.Input(door.Expire{Child: first[len(first)-1].ID})
	x.Run(5*time.Second, nil)
	defined(t, x, h, r1, r2)
	now := h.Engine.Children(h.Engine.Defined()[0].ID)
	if k := now[len(now)-1]; k.ID == first[len(first)-1].ID || !k.Initiator {
		t.Error("the hub did not renew")
	}
	// Without a pair there is no flow; the numbers are used again.
	r1.Input(door.Clear{IPsec: true})
	x.Run(time.Second, nil)
	if got := fmt.Sprint(defined(t, x, h, r2)); got != "[CMAP 65537, line 10]" {
		t.Errorf("the flows are %s", got)
	}
	trigger(r1)
	x.Run(5*time.Second, nil)
	defined(t, x, h, r1, r2)
}

// The second entry of a dynamic map has a number above 65535 itself: the flow of
// a peer gets another.
func TestDynamicNumbersDoNotMeet(t *testing.T) {
	x := NewWorld(4)
	s := site(addrB, addrA, netB, netA, hub(permits(10, "10.20.20.0/24", "10.9.0.0/24")))
	second := s.Entries[0]
	second.Seq, second.ACL = 65536, &flow.List{Name: "DYN2", Lines: []flow.Line{permits(10, "10.20.20.0/24", "10.1.0.0/16")}}
	s.Entries = append(s.Entries, second)
	h := x.Add("HUB", addrB, s)
	r1 := x.Add("R1", addrA, spoke(addrA, "10.1.0.0/24", "10.20.20.0/24"))
	trigger(r1)
	x.Run(5*time.Second, nil)
	if got := fmt.Sprint(defined(t, x, h, r1)); got != "[CMAP 65537, line 10]" {
		t.Errorf("the flow is %s", got)
	}
}

// A dynamic entry survives every weather.
func TestDynamicInBadWeather(t *testing.T) {
	for _, w := range matrix() {
		t.Run(w.name, func(t *testing.T) {
			x := NewWorld(9)
			h := x.Add("HUB", addrB, site(addrB, addrA, netB, netA, hub(), pfs(19)))
			r1 := x.Add("R1", addrA, site(addrA, addrB, netA, netB, pfs(19)))
			x.Link = w.link(x.Rand())
			for range 20 {
				trigger(r1)
				x.Run(20*time.Second, nil)
			}
			x.Link = Perfect
			x.Run(2*time.Minute, nil)
			defined(t, x, h, r1)
			if l := h.Engine.Load(); l.SPIs != l.Children || l.Children > 2 || l.Jobs != 0 {
				t.Errorf("the hub holds %+v", l)
			}
		})
	}
}

// What a peer may ask of a dynamic entry, and what not.
func TestWhatDynamicEntriesAllow(t *testing.T) {
	list := []flow.Line{permits(10, "10.20.0.0/16", "10.0.0.0/8"), permits(20, "172.16.0.0/12", "0.0.0.0/0")}
	const ours = "10.20.20.0/24"
	for _, tt := range []struct {
		name      string
		lines     []flow.Line
		from, far string
		refused   string // words of the reason; "" when it is allowed
	}{
		{"a network", nil, "10.1.0.0/24", ours, ""},
		{"a network, for all that is here", nil, "10.1.0.0/24", "0.0.0.0/0", ""},
		{"everything for everything", nil, "0.0.0.0/0", "0.0.0.0/0", "dynamic without an access list"},
		{"everything for a network of ours", nil, "0.0.0.0/0", ours, "dynamic without an access list"},
		{"a network that holds our own end", nil, "198.51.0.0/16", ours, "dynamic without an access list"},
		{"traffic of a static entry", nil, "10.77.1.0/24", ours, "traffic of a crypto ACL"},
		{"more than that", nil, "10.0.0.0/8", ours, "traffic of a crypto ACL"},
		{"what the list permits", list, "10.1.0.0/24", ours, ""},
		{"everything, where the list permits that", list, "0.0.0.0/0", "172.16.1.0/24", ""},
		{"what it does not", list, "10.1.0.0/24", "192.168.0.0/24", "no line of a crypto ACL permits"},
		{"what it permits, but a static entry has", list, "10.77.0.0/24", ours, "traffic of a crypto ACL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := NewWorld(1)
			s := site(addrB, addrA, netB, netA, hub(tt.lines...))
			s.Entries = append([]policy.Entry{{Map: "CMAP", Seq: 5, Local: addrB, Peers: []netip.Addr{netip.MustParseAddr("203.0.113.200")},
				ACL: &flow.List{Lines: []flow.Line{permits(10, "10.20.20.0/24", "10.77.0.0/16")}}, Sets: s.Entries[0].Sets}}, s.Entries...)
			h := x.Add("HUB", addrB, s)
			r1 := x.Add("R1", addrA, spoke(addrA, tt.from, tt.far))
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			if tt.refused == "" {
				if !r1.Up(id) || len(h.Engine.Defined()) != 1 {
					t.Fatalf("it is refused: %+v", happened[event.Failed](h))
				}
				return
			}
			f := happened[event.Failed](h)
			if len(f) != 1 || f[0].Code != event.NoProxy || !strings.Contains(f[0].Reason, tt.refused) || len(h.Engine.Defined()) != 0 || len(h.Children) != 0 {
				t.Errorf("R1 up %t, the hub tells %+v, has %d flows", r1.Up(id), f, len(h.Engine.Defined()))
			}
		})
	}
}

// A peer of a dynamic entry cannot take another one's traffic; one that comes
// back from a new address, under the name that it had, takes its own.
func TestDynamicPeersApart(t *testing.T) {
	named := func(name string) option {
		return func(s *policy.Settings) { s.Identity = policy.SelfIdentity{Kind: policy.IdentityFQDN, Value: name} }
	}
	for _, tt := range []struct {
		name  string
		taken bool
	}{{"other.example", false}, {"spoke.example", true}} {
		t.Run(tt.name, func(t *testing.T) {
			x := NewWorld(1)
			h := x.Add("HUB", addrB, site(addrB, addrA, netB, netA, hub()))
			r1 := x.Add("R1", addrA, spoke(addrA, "10.1.0.0/16", "10.20.20.0/24", named("spoke.example")))
			r2 := x.Add("R2", addrB2, spoke(addrB2, "10.1.1.0/24", "10.20.20.0/24", named(tt.name)))
			trigger(r1)
			x.Run(5*time.Second, nil)
			defined(t, x, h, r1)
			id := trigger(r2)
			x.Run(5*time.Second, nil)
			if r2.Up(id) != tt.taken {
				t.Fatalf("R2 up %t, want %t: %+v", r2.Up(id), tt.taken, happened[event.Failed](h))
			}
			if tt.taken {
				defined(t, x, h, r2)
			} else {
				defined(t, x, h, r1)
			}
		})
	}
}

// One peer gets so many flows and no more, and the hub forgets them all.
func TestDynamicFlowsAreBounded(t *testing.T) {
	x := NewWorld(1)
	h := x.Add("HUB", addrB, site(addrB, addrA, netB, netA, hub()))
	s := spoke(addrA, "10.1.0.0/16", "10.20.20.0/24", entry(func(e *policy.Entry) { e.PerHost = true }))
	r1 := x.Add("R1", addrA, s)
	for i := range byte(100) {
		r1.Input(door.Trigger{Flow: s.Flows()[0].ID, Packet: packetOf(s.Flows()[0], i, 1)})
		x.Run(time.Second, nil)
	}
	if n := len(h.Engine.Defined()); n != 64 || len(h.Children) != n {
		t.Errorf("%d flows and %d pairs for one peer, want 64", n, len(h.Children))
	}
	r1.Input(door.Clear{IPsec: true, ISAKMP: true})
	x.Run(5*time.Second, nil)
	if l := h.Engine.Load(); len(h.Engine.Defined()) != 0 || l.Children != 0 || l.SPIs != 0 {
		t.Errorf("%d flows left, %+v", len(h.Engine.Defined()), l)
	}
}

// Traffic of a dynamic entry without a peer waits for nobody: it is given up, and
// told why.
func TestDynamicNeverBegins(t *testing.T) {
	x := NewWorld(1)
	s := site(addrB, addrA, netB, netA, hub(permits(10, "10.20.20.0/24", "10.1.0.0/16")))
	h := x.Add("HUB", addrB, s)
	h.Input(door.Trigger{Flow: policy.FlowID{Map: "CMAP", Seq: 10, Line: 10}, Packet: flow.Tuple{Src: inside(netB), Dst: netip.MustParseAddr("10.1.0.1"), Proto: flow.ICMP}})
	x.Run(time.Minute, nil)
	f := happened[event.Failed](h)
	if h.Unreachable != 1 || len(f) != 1 || f[0].Code != event.IsResponderOnly || len(happened[event.Message](h)) != 0 {
		t.Errorf("%d given up, %+v", h.Unreachable, f)
	}
}
