package sim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ike"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// short makes both phases' lifetimes short.
func short(isakmp, ipsec time.Duration) option {
	return func(s *policy.Settings) {
		for i := range s.Policies {
			s.Policies[i].Lifetime = isakmp
		}
		s.Entries[0].Lifetime = policy.Lifetime{Time: ipsec}
	}
}

// For a simulated day a packet goes each way every second, while the IPsec SAs
// are renewed over ISAKMP SAs that end themselves: make before break, so no
// packet finds the tunnel closed, and the old pairs go away.
//
// Threat: simultaneous rekeys.
func TestRenewalLosesNothing(t *testing.T) {
	for _, tt := range []struct {
		name          string
		isakmp, ipsec time.Duration
		both          bool // both sides begin at once
		link          func(*World) Link
	}{
		{"short pairs", time.Hour, 2 * time.Minute, false, nil},
		{"both begin", time.Hour, 2 * time.Minute, true, nil},
		{"short phase 1 too", 10 * time.Minute, 3 * time.Minute, false, nil},
		{"phase 1 shorter than phase 2", 2 * time.Minute, 5 * time.Minute, true, nil},
		{"both end at the same moment", 4 * time.Minute, 4 * time.Minute, false, nil},
		{"a link that doubles and reorders", 10 * time.Minute, 5 * time.Minute, true, func(x *World) Link {
			r := x.Rand()
			return func(int, door.Send) []time.Duration {
				return []time.Duration{time.Duration(r.IntN(300)) * time.Millisecond, time.Duration(r.IntN(600)) * time.Millisecond}
			}
		}},
		{"a link that loses a tenth", 10 * time.Minute, 10 * time.Minute, false, func(x *World) Link {
			r := x.Rand()
			return func(n int, d door.Send) []time.Duration {
				if r.IntN(10) == 0 {
					return nil
				}
				return Perfect(n, d)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := sites(short(tt.isakmp, tt.ipsec), pfs(19))
			x, r1, r2 := world(t, 7, a, b)
			if tt.link != nil {
				x.Link = tt.link(x)
			}
			id := trigger(r1)
			if tt.both {
				trigger(r2)
			}
			x.Run(30*time.Second, func() bool { return r1.Up(id) && r2.Up(id) })
			bothUp(t, id, r1, r2)
			most := runDay(t, x, r1, r2)
			if most > 6 {
				t.Errorf("up to %d SA pairs of one flow at a time", most)
			}
			if n := len(happened[event.Phase2Up](r1)); n < int(24*time.Hour/tt.ipsec)/2 {
				t.Errorf("only %d pairs in a day of %s each", n, tt.ipsec)
			}
		})
	}
}

func runDay(t *testing.T, x *World, r1, r2 *Host) (most int) {
	t.Helper()
	for s := range 86400 {
		x.Run(time.Second, nil)
		for _, h := range []*Host{r1, r2} {
			most = max(most, len(h.Children))
			h.Events = keep(h.Events)
		}
		for _, p := range [][2]*Host{{r1, r2}, {r2, r1}} {
			if err := x.Probe(p[0], p[1], p[0].Engine.Settings().Flows()[0]); err != nil {
				t.Fatalf("after %d s: %s to %s: %v", s, p[0].Name, p[1].Name, err)
			}
		}
		if l := r1.Engine.Load(); l.ISAKMP > 6 || l.SPIs != l.Children && l.Jobs == 0 && l.SPIs > l.Children+4 {
			t.Fatalf("after %d s R1 holds %+v", s, l)
		}
	}
	return most
}

// keep forgets the events of a long run that no test asks for.
func keep(events []event.Event) []event.Event {
	out := events[:0]
	for _, e := range events {
		switch e.What.(type) {
		case event.Phase2Up, event.Failed:
			out = append(out, e)
		}
	}
	return out
}

// A renewal replaces one pair by one pair, and says so.
func TestRenewalReplaces(t *testing.T) {
	a, b := sites(short(time.Hour, 5*time.Minute))
	x, r1, r2 := up(t, a, b)
	first := only(t, r1)
	x.Run(5*time.Minute, nil)
	second := only(t, r1)
	if first.ID == second.ID {
		t.Fatal("the pair was not renewed before its end")
	}
	ups := happened[event.Phase2Up](r1)
	if len(ups) != 2 || !ups[1].Rekey || ups[0].Rekey {
		t.Errorf("R1 tells %+v", ups)
	}
	probes(t, x, r1, r2)
	if old := happened[event.Deleted](r2); len(old) != 1 || !old[0].ByPeer || old[0].Protocol != "ESP" {
		t.Errorf("R2 heard of %+v, want the delete of the old pair", old)
	}
}

func only(t *testing.T, h *Host) *Installed {
	t.Helper()
	if len(h.Children) != 1 {
		t.Fatalf("%s has %d SA pairs, want 1", h.Name, len(h.Children))
	}
	for _, k := range h.Children {
		return k
	}
	return nil
}

// The end of the ISAKMP SA leaves the IPsec SAs alone; the next renewal makes
// phase 1 again, without INITIAL-CONTACT.
func TestPhase1EndsPhase2Stays(t *testing.T) {
	a, b := sites(short(2*time.Minute, 10*time.Minute))
	x, r1, r2 := up(t, a, b)
	x.Run(3*time.Minute, nil)
	for _, r := range []*Host{r1, r2} {
		if l := r.Engine.Load(); l.ISAKMP != 0 || l.Children != 1 {
			t.Errorf("%s after the end of phase 1: %+v", r.Name, l)
		}
	}
	probes(t, x, r1, r2)
	x.Run(8*time.Minute, nil)
	if n := len(happened[event.Phase1Up](r1)); n != 2 {
		t.Errorf("phase 1 came up %d times, want 2", n)
	}
	for _, n := range happened[event.Notify](r2) {
		if n.Type == "INITIAL-CONTACT" && len(happened[event.Phase1Up](r2)) > 1 && n.Dir == event.Received {
			if count := countNotify(r2, "INITIAL-CONTACT"); count != 1 {
				t.Errorf("INITIAL-CONTACT came %d times, want only with the first phase 1", count)
			}
			break
		}
	}
	probes(t, x, r1, r2)
}

func countNotify(h *Host, word string) (n int) {
	for _, e := range happened[event.Notify](h) {
		if e.Type == word && e.Dir == event.Received {
			n++
		}
	}
	return n
}

// What one side clears the other side hears of, and the next packet brings it
// up again.
func TestClearReachesTheOtherSide(t *testing.T) {
	for _, tt := range []struct {
		name     string
		clear    door.Clear
		children int // left at the peer
		isakmp   int
	}{
		{"IPsec SAs", door.Clear{IPsec: true}, 0, 1},
		{"ISAKMP SAs", door.Clear{ISAKMP: true}, 1, 0},
		{"both", door.Clear{IPsec: true, ISAKMP: true}, 0, 0},
		{"of another peer", door.Clear{IPsec: true, ISAKMP: true, Peer: netip.MustParseAddr("203.0.113.9")}, 1, 1},
	} {
		for _, side := range []int{0, 1} {
			t.Run(fmt.Sprint(tt.name, "/R", side+1), func(t *testing.T) {
				a, b := sites()
				x, r1, r2 := up(t, a, b)
				hosts := []*Host{r1, r2}
				hosts[side].Input(tt.clear)
				x.Run(time.Second, nil)
				for _, h := range hosts {
					if l := h.Engine.Load(); l.Children != tt.children || l.ISAKMP != tt.isakmp || len(h.Children) != tt.children || l.SPIs != tt.children {
						t.Errorf("%s is left with %+v", h.Name, l)
					}
				}
				id := trigger(hosts[1-side])
				x.Run(5*time.Second, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
			})
		}
	}
}

// Clearing in the middle of phase 1 leaves nothing that would keep the flow from
// asking again.
func TestClearDuringPhase1(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 1, a, b)
	x.Link = func(n int, d door.Send) []time.Duration { return nil }
	trigger(r1)
	x.Run(2*time.Second, nil)
	r1.Input(door.Clear{ISAKMP: true})
	if l := r1.Engine.Load(); l != (ike.Load{}) || r1.Unreachable != 1 {
		t.Errorf("R1 is left with %+v, %d flows given up", l, r1.Unreachable)
	}
	x.Link = Perfect
	id := trigger(r1)
	x.Run(2*time.Second, nil)
	bothUp(t, id, r1, r2)
}

// RFC 2407 4.6.3.3: who was restarted says INITIAL-CONTACT, and what the other
// side still had of it vanishes.
func TestRestart(t *testing.T) {
	for _, side := range []int{0, 1} {
		t.Run(fmt.Sprint("R", side+1), func(t *testing.T) {
			a, b := sites()
			x, r1, r2 := up(t, a, b)
			hosts := []*Host{r1, r2}
			fresh, other := hosts[side], hosts[1-side]
			old := only(t, other)
			fresh.Restart()
			id := trigger(fresh)
			x.Run(5*time.Second, nil)
			bothUp(t, id, r1, r2)
			probes(t, x, r1, r2)
			if k := only(t, other); k.ID == old.ID || len(other.Engine.ISAKMP(x.Now.Add(time.Hour))) != 1 {
				t.Errorf("%s still has what the other side forgot", other.Name)
			}
		})
	}
}

// The volume limits, which the data path watches: soft renews, hard ends and
// tells.
func TestVolume(t *testing.T) {
	a, b := sites()
	x, r1, r2 := up(t, a, b)
	first := only(t, r1)
	r1.Input(door.Expire{Child: first.ID})
	x.Run(5*time.Second, nil)
	probes(t, x, r1, r2)
	if len(r1.Children) != 2 {
		t.Fatalf("%d pairs after the soft limit, want the old and the new", len(r1.Children))
	}
	x.Run(time.Minute, nil)
	second := only(t, r1)
	if second.ID == first.ID {
		t.Fatal("the old pair outlived the overlap")
	}
	r1.Input(door.Expire{Child: second.ID, Hard: true})
	x.Run(time.Second, nil)
	if len(r1.Children)+len(r2.Children) != 0 {
		t.Errorf("after the hard limit R1 has %d pairs, R2 %d", len(r1.Children), len(r2.Children))
	}
	r1.Input(door.Expire{Child: second.ID, Hard: true}) // late news of a pair that is gone
	r1.Input(door.Expire{Child: 4711})
	id := trigger(r2)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
}

// lines gives both sides n more lines of interesting traffic.
func lines(n int) (a, b *policy.Settings) {
	a, b = sites()
	for i := range n {
		far := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 30, byte(i), 0}), 24)
		for _, s := range []*policy.Settings{a, b} {
			from, to := netA, far
			if s == b {
				from, to = far, netA
			}
			l := s.Entries[0].ACL
			l.Lines = append(l.Lines, flow.Line{Seq: 20 + i, Action: flow.Permit, Src: flow.PrefixMatch(from), Dst: flow.PrefixMatch(to), ICMPType: -1, ICMPCode: -1})
		}
	}
	return a, b
}

// Many flows share one phase 1, also when they all want up at once.
func TestManyFlowsOnePeer(t *testing.T) {
	a, b := lines(120)
	x, r1, r2 := world(t, 1, a, b)
	for _, f := range a.Flows() {
		r1.Input(door.Trigger{Flow: f.ID, Packet: flow.Tuple{Src: inside(f.Selectors.Local), Dst: inside(f.Selectors.Remote), Proto: flow.ICMP}})
	}
	x.Run(10*time.Second, nil)
	probes(t, x, r1, r2)
	if n := len(happened[event.Phase1Up](r1)); n != 1 {
		t.Errorf("phase 1 came up %d times for 121 flows", n)
	}
	if len(r1.Children) != 121 || r1.Unreachable != 0 {
		t.Errorf("%d pairs, %d flows given up", len(r1.Children), r1.Unreachable)
	}
}

// The peers of an entry are tried in turn, for the very packet that asked.
func TestPeersInTurn(t *testing.T) {
	a, b := sites()
	silent, keyless := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	a.Entries[0].Peers = []netip.Addr{silent, keyless, addrB}
	a.Keys = append(a.Keys, policy.Key{Peers: netip.PrefixFrom(silent, 32), Secret: a.Keys[0].Secret})
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(time.Minute, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	if r1.Unreachable != 0 {
		t.Errorf("the flow was given up %d times", r1.Unreachable)
	}
	codes := fmt.Sprint(finals(r1))
	if codes != "[no-answer no-key]" {
		t.Errorf("on the way: %s", codes)
	}
	// Renewal stays with the peer that answered.
	for range 8 {
		x.Run(15*time.Minute, nil)
		probes(t, x, r1, r2)
	}
	if codes := fmt.Sprint(finals(r1)); codes != "[no-answer no-key]" {
		t.Errorf("renewal went elsewhere: %s", codes)
	}
}

func finals(h *Host) (codes []event.Code) {
	for _, f := range happened[event.Failed](h) {
		if !f.Pending {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// Both sides begin at once, in every weather: traffic flows in the end, and
// nothing stays half open.
func TestBothBegin(t *testing.T) {
	for _, w := range matrix() {
		t.Run(w.name, func(t *testing.T) {
			for seed := range uint64(6) {
				a, b := sites(pfs(19))
				x, r1, r2 := world(t, seed, a, b)
				x.Link = w.link(x.Rand())
				id := trigger(r1)
				trigger(r2)
				for range 20 {
					x.Run(20*time.Second, func() bool { return r1.Up(id) && r2.Up(id) })
					trigger(r1)
					trigger(r2)
				}
				x.Link = Perfect
				x.Run(2*time.Minute, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
				for _, h := range x.Hosts {
					if l := h.Engine.Load(); l.HalfOpen != 0 || l.Jobs != 0 || l.Waiting != 0 || l.SPIs != l.Children || l.Children > 4 {
						t.Errorf("seed %d: %s holds %+v", seed, h.Name, l)
					}
				}
			}
		})
	}
}

// A line with a range of ports has a pair for each port in use, since a proxy
// identity holds one port or all.
func TestPortRange(t *testing.T) {
	a, b := sites()
	tcp := func(s *policy.Settings, local bool) {
		l := &s.Entries[0].ACL.Lines[0]
		l.Proto = flow.TCP
		m := flow.PortMatch{Op: flow.Range, Ports: []uint16{5000, 5010}}
		if local {
			l.SrcPort = m
		} else {
			l.DstPort = m
		}
	}
	tcp(a, false)
	tcp(b, true)
	x, r1, r2 := world(t, 1, a, b)
	f := a.Flows()[0]
	for _, port := range []uint16{5000, 5007} {
		r1.Input(door.Trigger{Flow: f.ID, Packet: flow.Tuple{Src: inside(netA), Dst: inside(netB), Proto: flow.TCP, SrcPort: 1024, DstPort: port}})
	}
	x.Run(5*time.Second, nil)
	for _, h := range []*Host{r1, r2} {
		ports := map[flow.Ports]bool{}
		for _, k := range h.Children {
			ports[k.Selectors.LocalPorts] = true
			ports[k.Selectors.RemotePorts] = true
		}
		if len(h.Children) != 2 || !ports[flow.Ports{Lo: 5000, Hi: 5000}] || !ports[flow.Ports{Lo: 5007, Hi: 5007}] {
			t.Errorf("%s has pairs for %v", h.Name, ports)
		}
	}
	probes(t, x, r1, r2) // port 5000, the first of the range
}

// A pair whose crypto map entry is gone ends, and the peer hears of it.
func TestConfigurationGone(t *testing.T) {
	a, b := sites(short(time.Hour, 5*time.Minute))
	x, r1, r2 := up(t, a, b)
	gone := *a
	gone.Entries = nil
	r1.Input(door.Configure{Settings: &gone})
	x.Run(time.Second, nil)
	if len(r1.Children) != 0 || len(r2.Children) != 0 {
		t.Errorf("R1 still has %d pairs, R2 %d", len(r1.Children), len(r2.Children))
	}
}

// Legacy shows that the compliance shield is a switch, not a wall.
func TestLegacyBehindTheShield(t *testing.T) {
	old := policy.ISAKMP{Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.MD5, Group: 2}
	a, b := sites(policies(old), sets(policy.TransformSet{Name: "OLD", Cipher: suite.TripleDES, KeyBits: 192, Integ: suite.MD5}), pfs(5),
		func(s *policy.Settings) { s.Legacy = true })
	up(t, a, b)
}
