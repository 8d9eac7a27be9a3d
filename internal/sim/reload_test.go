package sim

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

var (
	addrC = netip.MustParseAddr("198.51.100.3")
	netC  = netip.MustParsePrefix("10.30.30.0/24")
)

// center is the configuration of R2 with a tunnel to R1 and one to R3.
func center(options ...option) *policy.Settings {
	s, other := site(addrB, addrA, netB, netA), site(addrB, addrC, netB, netC)
	other.Entries[0].Seq = 20
	s.Entries = append(s.Entries, other.Entries...)
	s.Keys = append(s.Keys, other.Keys...)
	for _, o := range options {
		o(s)
	}
	return s
}

// spokes brings both tunnels of the hub up.
func spokes(t *testing.T, options ...option) (x *World, r1, r2, r3 *Host) {
	t.Helper()
	x = NewWorld(8)
	r1, r2, r3 = x.Add("R1", addrA, site(addrA, addrB, netA, netB, options...)), x.Add("R2", addrB, center(options...)), x.Add("R3", addrC, site(addrC, addrB, netC, netB, options...))
	trigger(r1)
	trigger(r3)
	x.Run(5*time.Second, nil)
	both(t, x, r1, r2, r3)
	return x, r1, r2, r3
}

func both(t *testing.T, x *World, r1, r2, r3 *Host) {
	t.Helper()
	probeFlow(t, x, r1, r2, 0)
	probeFlow(t, x, r3, r2, 0)
	probeFlow(t, x, r2, r1, 0)
	probeFlow(t, x, r2, r3, 1)
}

// What of a tunnel's settings may change without touching it, and what ends it.
func TestReloadTouchesWhatChanged(t *testing.T) {
	second := func(change func(*policy.Entry)) option { return func(s *policy.Settings) { change(&s.Entries[1]) } }
	for _, tt := range []struct {
		name   string
		change option
		gone   bool // the tunnel with R3 ends
	}{
		{"nothing", func(*policy.Settings) {}, false},
		{"lines moved", second(func(e *policy.Entry) { e.Origin = origin.Line{Line: 99}; e.Sets[0].Origin.Line = 98 }), false},
		{"a set's name", second(func(e *policy.Entry) { e.Sets[0].Name = "OTHER" }), false},
		{"lifetime", second(func(e *policy.Entry) { e.Lifetime.Time = 2 * time.Hour }), false},
		{"idle time", second(func(e *policy.Entry) { e.IdleTime = time.Hour }), false},
		{"a second peer", second(func(e *policy.Entry) { e.Peers = append(e.Peers, netip.MustParseAddr("198.51.100.9")) }), false},
		{"another tunnel", func(s *policy.Settings) {
			e := site(addrB, netip.MustParseAddr("198.51.100.9"), netB, netip.MustParsePrefix("10.40.40.0/24")).Entries[0]
			e.Seq = 30
			s.Entries = append(s.Entries, e)
		}, false},
		{"a policy more", func(s *policy.Settings) {
			p := s.Policies[1]
			p.Priority, p.Group = 30, 15
			s.Policies = append(s.Policies, p)
		}, false},
		{"keepalive", keepalive(10*time.Second, 2*time.Second, true), false},
		{"a set", second(func(e *policy.Entry) { e.Sets = e.Sets[1:] }), true},
		{"PFS", second(func(e *policy.Entry) { e.PFS = 19 }), true},
		{"the peer", second(func(e *policy.Entry) { e.Peers = []netip.Addr{netip.MustParseAddr("198.51.100.9")} }), true},
		{"the entry", func(s *policy.Settings) { s.Entries = s.Entries[:1] }, true},
		{"its number", second(func(e *policy.Entry) { e.Seq = 25 }), true},
		{"the access list", second(func(e *policy.Entry) {
			e.ACL = &flow.List{Name: "102", Extended: true, Lines: []flow.Line{{Seq: 10, Action: flow.Permit,
				Src: flow.PrefixMatch(netB), Dst: flow.PrefixMatch(netip.MustParsePrefix("10.30.0.0/16")), ICMPType: -1, ICMPCode: -1}}}
		}), true},
		{"the key", func(s *policy.Settings) { s.Keys[1].Secret = crypt.NewSecret([]byte("another one")) }, true},
		{"the key is gone", func(s *policy.Settings) { s.Keys = s.Keys[:1] }, true},
		{"a profile", second(func(e *policy.Entry) { e.Profile = &policy.Profile{Name: "P"} }), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, r1, r2, r3 := spokes(t)
			k := only(t, r1)
			before := r2.Engine.Load()
			now := center()
			tt.change(now)
			r2.Reconfigure(now)
			x.Run(time.Second, nil)
			probeFlow(t, x, r1, r2, 0)
			probeFlow(t, x, r2, r1, 0)
			if only(t, r1).ID != k.ID {
				t.Error("the tunnel with R1 was made again")
			}
			if (len(r3.Children) == 0) != tt.gone {
				t.Errorf("R3 has %d pairs, ended %t", len(r3.Children), tt.gone)
			}
			l := r2.Engine.Load()
			if !tt.gone && (l != before || len(happened[event.Deleted](r2)) != 0) {
				t.Errorf("R2 held %+v, holds %+v", before, l)
			}
			told := happened[event.Reconfigured](r2)
			if len(told) != 1 || (told[0].Ended > 0) != tt.gone || told[0].Kept < 2 {
				t.Errorf("told: %+v", told)
			}
		})
	}
}

// What ended comes back with the new settings when traffic asks; what was being
// negotiated for it meanwhile does not bring the old ones back.
func TestReloadComesBackOnTraffic(t *testing.T) {
	x, r1, r2, r3 := spokes(t)
	now := center(func(s *policy.Settings) { s.Entries[1].Sets = s.Entries[1].Sets[1:] })
	r2.Input(door.Clear{IPsec: true, Peer: addrC})
	f := r2.Engine.Settings().Flows()[1]
	r2.Input(door.Trigger{Flow: f.ID, Packet: r2.sample(f)})
	r2.Reconfigure(now) // QM1 with the old sets has left
	x.Run(10*time.Second, nil)
	if len(r2.Children) != 1 {
		t.Errorf("R2 has %d pairs, want the one with R1", len(r2.Children))
	}
	trigger(r3)
	x.Run(5*time.Second, nil)
	both(t, x, r1, r2, r3)
	for _, k := range r2.Children {
		if k.Remote.Addr() == addrC && k.Set.KeyBits != 128 {
			t.Errorf("the new pair has %s", k.Set)
		}
	}
}

// A policy that is gone takes the ISAKMP SAs that were agreed on it along, and
// the pairs made over them.
func TestReloadWithoutThePolicy(t *testing.T) {
	x, r1, r2, r3 := spokes(t)
	r2.Reconfigure(center(func(s *policy.Settings) { s.Policies = s.Policies[1:] }))
	x.Run(time.Second, nil)
	if l := r2.Engine.Load(); l.ISAKMP+l.Children != 0 || len(r1.Children)+len(r3.Children) != 0 {
		t.Errorf("R2 holds %+v", l)
	}
	trigger(r1)
	trigger(r3)
	x.Run(5*time.Second, nil)
	both(t, x, r1, r2, r3)
}

// Traffic through the unchanged tunnel loses no packet, while the other one is
// changed to and fro under it, and renewals go on.
func TestReloadUnderTraffic(t *testing.T) {
	x, r1, r2, r3 := spokes(t, short(10*time.Minute, 2*time.Minute))
	for n := range 600 {
		if n%20 == 10 {
			now := center(short(10*time.Minute, 2*time.Minute))
			now.Entries[1].Lifetime = policy.Lifetime{Time: 2 * time.Minute}
			if n%40 == 10 {
				now.Entries[1].Sets = now.Entries[1].Sets[1:]
			}
			r2.Reconfigure(now)
			trigger(r3)
		}
		x.Run(time.Second, nil)
		probeFlow(t, x, r1, r2, 0)
		probeFlow(t, x, r2, r1, 0)
	}
	trigger(r3)
	x.Run(5*time.Second, nil)
	both(t, x, r1, r2, r3)
}
