package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

// aggressive speaks aggressive mode with the peer at its address: "crypto isakmp
// peer address A" with "set aggressive-mode …".
func aggressive(s *policy.Settings) {
	s.Aggressive = []policy.AggressivePeer{{Addr: s.Entries[0].Peers[0]}}
}

// Aggressive mode takes three messages; then quick mode follows as ever. Both
// ends tell it in IOS's words.
func TestAggressiveMode(t *testing.T) {
	a, b := sites(aggressive)
	x, r1, r2 := world(t, 1, a, b)
	var wire []string
	x.Sniff = func(from *Host, d door.Send) { wire = append(wire, from.Name) }
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	if got, want := fmt.Sprint(wire), "[R1 R2 R1 R1 R2 R1 R1 R2]"; got != want {
		t.Errorf("on the wire: %s, want %s", got, want)
	}
	for h, want := range map[*Host]string{
		r1: "[IKE_I_AM1 AG_INIT_EXCH IKE_P1_COMPLETE QM_IDLE]",
		r2: "[IKE_R_AM1 AG_NO_STATE IKE_R_AM2 AG_INIT_EXCH IKE_P1_COMPLETE QM_IDLE]",
	} {
		var got []string
		for _, e := range h.Events {
			if s, ok := e.What.(event.State); ok {
				got = append(got, s.New, e.State)
			}
			if _, ok := e.What.(event.Phase1Up); ok {
				break
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", h.Name, got, want)
		}
		up := happened[event.Phase1Up](h)
		if len(up) != 1 || !up[0].Aggressive {
			t.Errorf("%s: %+v", h.Name, up)
		}
		if sa := h.Engine.ISAKMP(x.Now); len(sa) != 1 || !sa[0].Aggressive || sa[0].State != "QM_IDLE" {
			t.Errorf("%s shows %+v", h.Name, sa)
		}
	}
}

// All offers in AM1 have the group of the first policy: another group cannot be
// agreed.
func TestAggressiveModeHasOneGroup(t *testing.T) {
	a, b := sites(aggressive)
	b.Policies = b.Policies[1:] // group 14 only
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(time.Minute, nil)
	if r1.Up(id) || r2.Up(id) {
		t.Error("a policy of another group was agreed")
	}
	if got := finals(r2); len(got) == 0 || got[0] != event.NoPolicy {
		t.Errorf("R2 says %v", got)
	}
	a.Policies = a.Policies[1:]
	x, r1, r2 = world(t, 1, a, b)
	id = trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
}

// Threat: aggressive mode with a key. Without the lines that switch it on for a peer, AM1 is refused before any
// arithmetic; "crypto isakmp aggressive-mode disable" wins over them.
func TestAggressiveOff(t *testing.T) {
	for name, off := range map[string]option{
		"not configured": func(s *policy.Settings) { s.Aggressive = nil },
		"disabled":       func(s *policy.Settings) { s.AggressiveDisabled = true },
		"of another peer": func(s *policy.Settings) {
			s.Aggressive[0].Addr = netip.MustParseAddr("203.0.113.77")
		},
		"of another profile": func(s *policy.Settings) {
			s.Aggressive = nil
			s.Profiles = []policy.Profile{{Name: "P", Aggressive: true, Match: []policy.IdentityMatch{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}}}}
		},
	} {
		a, b := sites(aggressive)
		off(b)
		x, r1, r2 := world(t, 1, a, b)
		trigger(r1)
		x.Run(500*time.Millisecond, nil)
		if l := r2.Engine.Load(); l.ISAKMP != 0 || l.Jobs != 0 {
			t.Errorf("%s: R2 holds %+v", name, l)
		}
		x.Run(time.Minute, nil)
		got := happened[event.Failed](r2)
		if len(got) == 0 || got[0].Code != event.AggressiveOff || got[0].LastReceived != "AM1" || got[0].Kind != "ID_IPV4_ADDR" || got[0].Identity != addrA.String() {
			t.Errorf("%s: R2 says %+v", name, got)
		}
		if f := r1.Engine.Failures(); len(f) != 1 || f[0].What.(event.Failed).Notified != "UNSUPPORTED-EXCHANGE-TYPE" {
			t.Errorf("%s: R1 says %+v", name, f)
		}
		nothingLeft(t, x, r1)
		nothingLeft(t, x, r2)
	}
	a, b := sites(aggressive, func(s *policy.Settings) { s.AggressiveDisabled = true })
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if happened[event.Phase1Up](r1)[0].Aggressive {
		t.Error("disabled, and R1 begins in aggressive mode")
	}
}

// CVE-2002-1623: the key is chosen by the name in AM1: of a peer at an address that nobody
// knows, whose entry is dynamic. Another name and another key look the same to it.
func TestAggressiveByName(t *testing.T) {
	for _, tt := range []struct {
		name, host, key string
		code            event.Code
	}{
		{"known", "branch1.example.org", "battery staple", ""},
		{"in other letters", "BRANCH1.example.org", "battery staple", ""},
		{"unknown", "branch9.example.org", "battery staple", event.NoKey},
		{"another key", "branch1.example.org", "correct horse", event.WrongKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := sites(aggressive)
			a.Keys[0].Secret = crypt.NewSecret([]byte(tt.key))
			a.Identity = policy.SelfIdentity{Kind: policy.IdentityFQDN, Value: tt.host}
			b.Entries[0].Peers, b.Entries[0].Dynamic = nil, true
			b.Aggressive = []policy.AggressivePeer{{Host: "branch1.example.org"}}
			b.Keys = []policy.Key{{Host: "branch1.example.org", Secret: crypt.NewSecret([]byte("battery staple"))}}
			x, r1, r2 := world(t, 1, a, b)
			trigger(r1)
			x.Run(2*time.Minute, nil)
			up := happened[event.Phase1Up](r2)
			if tt.code == "" {
				if len(up) != 1 || up[0].Identity != tt.host {
					t.Errorf("R2: %+v", up)
				}
				return
			}
			if len(up) != 0 {
				t.Fatalf("R2 is up: %+v", up)
			}
			if got := finals(r2); len(got) == 0 || got[0] != tt.code {
				t.Errorf("R2 says %v, want %s", got, tt.code)
			}
			if got := finals(r1); len(got) == 0 || got[0] != event.WrongKey {
				t.Errorf("R1 can tell the difference: %v", got)
			}
			nothingLeft(t, x, r2)
		})
	}
}

// Behind a NAT aggressive mode moves to port 4500 with AM3.
func TestAggressiveBehindNAT(t *testing.T) {
	x, r1, r2, _ := behind(t, aggressive)
	log := tap(x)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	for h, want := range map[*Host]event.NATCheck{r1: {LocalBehind: true}, r2: {PeerBehind: true}} {
		if n := happened[event.NATCheck](h); len(n) != 1 || n[0] != want {
			t.Errorf("%s sees %+v", h.Name, n)
		}
	}
	for i, m := range *log {
		if want := map[bool]uint16{true: 500, false: 4500}[i < 2]; m.from == r1 && m.Local.Port() != want {
			t.Errorf("message %d of R1 leaves from port %d, want %d", i+1, m.Local.Port(), want)
		}
	}
	if k := only(t, r2).Child; !k.Encap || k.Remote.Addr() != public {
		t.Errorf("R2 sends ESP to %s, encapsulated %t", k.Remote, k.Encap)
	}
}

// Either end loses its memory, and aggressive mode brings the tunnel back.
func TestAggressiveRestart(t *testing.T) {
	for _, which := range []int{0, 1} {
		a, b := sites(aggressive)
		x, r1, r2 := world(t, 3, a, b)
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
		fresh := []*Host{r1, r2}[which]
		fresh.Restart()
		trigger(fresh)
		x.Run(10*time.Second, nil)
		bothUp(t, id, r1, r2)
		probes(t, x, r1, r2)
	}
}

// Who answered AM1 and is never heard of behind AM3 has no SA: it is not taken
// for one.
func TestAM3NeverArrives(t *testing.T) {
	a, b := sites(aggressive)
	x, r1, r2 := world(t, 1, a, b)
	x.Link = func(n int, d door.Send) []time.Duration {
		if n >= 2 {
			return nil
		}
		return Perfect(n, d)
	}
	trigger(r1)
	x.Run(2*time.Minute, nil)
	if got := finals(r1); len(got) == 0 || got[0] != event.NoAnswer {
		t.Errorf("R1 says %v", got)
	}
	nothingLeft(t, x, r1)
	nothingLeft(t, x, r2)
	if l := r1.Engine.Load(); l.ISAKMP != 0 {
		t.Errorf("R1 still has %d ISAKMP SAs", l.ISAKMP)
	}
}

// CVE-2016-5361 in aggressive mode, where an offer costs arithmetic at once:
// floods of AM1 from one source, from many, under names that nobody knows. What
// is computed at a time is bounded, each request brings at most one answer and
// never a retransmission, and a peer still comes up.
func TestFloodOfAM1(t *testing.T) {
	a, b := sites(aggressive)
	dynamic := b.Entries[0]
	dynamic.Seq, dynamic.Peers, dynamic.Dynamic = 20, nil, true
	b.Entries = append(b.Entries, dynamic)
	b.Aggressive = append(b.Aggressive, policy.AggressivePeer{Host: "branch1.example.org"})
	b.Keys = append(b.Keys, policy.Key{Host: "branch1.example.org", Secret: b.Keys[0].Secret})
	x, r1, r2 := world(t, 5, a, b)
	log := tap(x)
	trigger(r1)
	x.Run(100*time.Millisecond, nil)
	am1 := (*log)[0].Payload
	r1.Input(door.Clear{IPsec: true, ISAKMP: true})
	x.Run(2*time.Minute, nil)
	for name, source := range map[string]func(i int) netip.Addr{
		"from the peer's address": func(int) netip.Addr { return addrA },
		"from one stranger":       func(int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, 1}) },
		"from many":               func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}) },
	} {
		*log = nil
		jobs := 0
		for i := range 3000 {
			m := slices.Clone(am1)
			binary.BigEndian.PutUint64(m, uint64(i+1))
			d := door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(source(i), 500), Payload: m}
			for _, o := range r2.Engine.Step(x.Now, d, nil) { // arithmetic that nobody gets round to
				if _, ok := o.(door.Compute); ok {
					jobs++
				}
			}
		}
		if l := r2.Engine.Load(); jobs > 32 || l.Jobs > 32 || l.HalfOpen > 32 || len(*log) != 0 {
			t.Errorf("%s: %d computations, %+v, %d answers", name, jobs, l, len(*log))
		}
		r2.Input(nil)
		x.Run(2*time.Minute, nil)
		nothingLeft(t, x, r2)
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
		r1.Input(door.Clear{IPsec: true, ISAKMP: true})
		x.Run(2*time.Minute, nil)
	}
}

// CVE-2023-30570: an AM1 without an acceptable policy, and then again with the
// responder cookie of a refusal, or any other.
func TestRefusedAM1LeavesNothing(t *testing.T) {
	a, b := sites(aggressive)
	b.Policies[0].Hash, b.Policies[1].Hash = 0, 0
	x, r1, r2 := world(t, 1, a, b)
	log := tap(x)
	trigger(r1)
	x.Run(100*time.Millisecond, nil)
	am1 := (*log)[0].Payload
	for _, cookie := range []byte{0, 1, 255} {
		m := slices.Clone(am1)
		copy(m[8:], (*log)[1].Payload[8:16])
		m[15] += cookie
		r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
		if l := r2.Engine.Load(); l.ISAKMP != 0 || l.Jobs != 0 {
			t.Errorf("%+v", l)
		}
	}
	x.Run(time.Minute, nil)
	nothingLeft(t, x, r2)
}

// Aggressive mode is for the names it is configured for, also where another name
// could prove itself: with a certificate, or with a key under its own name.
func TestAggressiveIsForTheNamed(t *testing.T) {
	certified, certifiedB := p256Lab().signed(t)
	keyed, keyedB := sites()
	keyedB.Keys = []policy.Key{{Host: "branch9.example.org", Secret: keyed.Keys[0].Secret}}
	for name, ends := range map[string][2]*policy.Settings{"a certificate": {certified, certifiedB}, "a key": {keyed, keyedB}} {
		a, b := ends[0], ends[1]
		aggressive(a)
		a.Identity = policy.SelfIdentity{Kind: policy.IdentityFQDN, Value: "branch9.example.org"}
		if name == "a certificate" {
			a.Identity.Value = "" // r1.lab, which the certificate has
		}
		b.Entries[0].Peers, b.Entries[0].Dynamic = nil, true
		b.Aggressive = []policy.AggressivePeer{{Host: "branch1.example.org"}}
		x, r1, r2 := world(t, 1, a, b)
		trigger(r1)
		x.Run(time.Minute, nil)
		if up := happened[event.Phase1Up](r2); len(up) != 0 {
			t.Errorf("%s: %+v", name, up)
		}
		want := map[string]event.Code{"a certificate": event.AggressiveOff, "a key": event.NoKey}[name]
		if got := finals(r2); len(got) == 0 || got[0] != want {
			t.Errorf("%s: R2 says %v, want %s", name, got, want)
		}
		b.Aggressive[0].Host = a.Identity.Value
		if name == "a certificate" {
			b.Aggressive[0].Host = "r1.lab"
		}
		x, r1, r2 = world(t, 1, a, b)
		trigger(r1)
		x.Run(5*time.Second, nil)
		if up := happened[event.Phase1Up](r2); len(up) != 1 || !up[0].Aggressive {
			t.Errorf("%s, and named: %+v", name, up)
		}
	}
}

// Whom we call we know by the name that the entry's profile expects: its key may
// stand under that name.
func TestKeyUnderTheProfilesName(t *testing.T) {
	for _, mode := range []option{func(*policy.Settings) {}, aggressive} {
		a, b := sites(mode)
		named(policy.IdentityFQDN, "r2.example.org")(b)
		profiled(matchName(policy.IdentityFQDN, "r2.example.org"))(a)
		a.Keyrings[0].Keys = []policy.Key{{Host: "R2.example.org", Secret: b.Keys[0].Secret}}
		x, r1, r2 := world(t, 1, a, b)
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
	}
}
