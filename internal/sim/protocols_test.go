package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// protocols is a transform set of each kind.
func protocols() []policy.TransformSet {
	return []policy.TransformSet{
		{Name: "AH", AH: suite.SHA256},
		{Name: "AHSHA1ESN", AH: suite.SHA1, ESN: true},
		{Name: "BUNDLE", AH: suite.SHA384, Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256},
		{Name: "AHENCR", AH: suite.SHA512, Cipher: suite.AESCBC, KeyBits: 128},
		{Name: "AHGCM", AH: suite.SHA256, Cipher: suite.AESGCM, KeyBits: 256, ESN: true},
		{Name: "NULL", Cipher: suite.NullCipher, Integ: suite.SHA512},
		{Name: "GCMESN", Cipher: suite.AESGCM, KeyBits: 256, ESN: true},
		{Name: "CBCESN", Cipher: suite.AESCBC, KeyBits: 192, Integ: suite.SHA1, ESN: true},
	}
}

func transport(ts ...policy.TransformSet) []policy.TransformSet {
	var out []policy.TransformSet
	for _, t := range ts {
		t.Mode = suite.Transport
		out = append(out, t)
	}
	return out
}

// gateways makes the tunnel's own two ends the interesting traffic.
func gateways(options ...option) (a, b *policy.Settings) {
	hostA, hostB := netip.PrefixFrom(addrA, 32), netip.PrefixFrom(addrB, 32)
	return site(addrA, addrB, hostA, hostB, options...), site(addrB, addrA, hostB, hostA, options...)
}

// agreed demands one pair, the same at both ends, of that set in that mode.
func agreed(t *testing.T, set policy.TransformSet, mode suite.Mode, hosts ...*Host) {
	t.Helper()
	for _, h := range hosts {
		k := only(t, h)
		if k.Set.Name != set.Name || k.Set.Mode != mode || k.ESN != set.ESN {
			t.Errorf("%s has %s in %s mode, ESN %t; want %s in %s mode, ESN %t", h.Name, k.Set.Name, k.Set.Mode, k.ESN, set.Name, mode, set.ESN)
		}
	}
	a, b := only(t, hosts[0]).Child, only(t, hosts[1]).Child
	if a.In.SPI != b.Out.SPI || a.In.AHSPI != b.Out.AHSPI || a.Out.SPI != b.In.SPI || a.Out.AHSPI != b.In.AHSPI || a.In.Name() == 0 {
		t.Errorf("the SPIs of the two ends do not fit: %+v %+v", a, b)
	}
}

// Scenarios 44 to 46 and 49: every protocol in both modes carries packets both
// ways, and its deletes are understood.
func TestProtocolsAndModes(t *testing.T) {
	for _, set := range protocols() {
		for _, mode := range []suite.Mode{suite.Tunnel, suite.Transport} {
			t.Run(fmt.Sprint(set.Name, "/", mode), func(t *testing.T) {
				a, b := sites(sets(set), pfs(19))
				if mode == suite.Transport {
					a, b = gateways(sets(transport(set)...))
				}
				x, r1, r2 := up(t, a, b)
				agreed(t, set, mode, r1, r2)
				first := only(t, r1).ID
				r1.Input(door.Expire{Child: first})
				x.Run(time.Minute, nil)
				agreed(t, set, mode, r1, r2)
				if only(t, r1).ID == first {
					t.Error("the pair was not renewed")
				}
				probes(t, x, r1, r2)
				r2.Input(door.Clear{IPsec: true})
				x.Run(time.Second, nil)
				for _, h := range []*Host{r1, r2} {
					if l := h.Engine.Load(); l.Children+l.SPIs+len(h.Children) != 0 {
						t.Errorf("%s is left with %+v", h.Name, l)
					}
				}
			})
		}
	}
}

// Every protocol survives every weather.
func TestProtocolsInBadWeather(t *testing.T) {
	for i, w := range matrix() {
		t.Run(w.name, func(t *testing.T) {
			for j, set := range protocols() {
				a, b := sites(sets(set))
				if (i+j)%2 == 0 {
					a, b = gateways(sets(transport(set)...))
				}
				x, r1, r2 := world(t, uint64(17*i+j), a, b)
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
			}
		})
	}
}

// A set in transport mode falls back to tunnel mode between networks; with
// "require" it does not, and the sentence says why.
func TestTransportFallsBack(t *testing.T) {
	set := cbc(128, suite.SHA256)
	a, b := sites(sets(transport(set)...))
	_, r1, r2 := up(t, a, b)
	agreed(t, set, suite.Tunnel, r1, r2)

	strict := transport(set)
	strict[0].Require = true
	a, b = sites(sets(strict...))
	x, r1, _ := world(t, 1, a, b)
	trigger(r1)
	x.Run(5*time.Second, nil)
	f := happened[event.Failed](r1)
	if len(f) != 1 || f[0].Code != event.ModeMismatch || !strings.Contains(f[0].Reason, "requires transport mode") || r1.Unreachable != 1 {
		t.Errorf("failed with %+v", f)
	}
}

// Scenario 50: one side transport, the other tunnel. IOS: who has transport mode
// asks for it and takes either, who has tunnel mode takes tunnel mode only.
func TestModesThatDiffer(t *testing.T) {
	set := cbc(128, suite.SHA256)
	strict := transport(set)
	strict[0].Require = true
	for _, tt := range []struct {
		name     string
		from, to []policy.TransformSet
		up       bool
	}{
		{"tunnel to transport", []policy.TransformSet{set}, transport(set), true},
		{"transport to tunnel", transport(set), []policy.TransformSet{set}, false},
		{"tunnel to transport require", []policy.TransformSet{set}, strict, false},
		{"transport require to transport", strict, transport(set), true},
		{"transport, then tunnel, to tunnel", append(transport(set), set), []policy.TransformSet{set}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := gateways(sets(tt.from...))
			_, b := gateways(sets(tt.to...))
			x, r1, r2 := world(t, 1, a, b)
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			if r1.Up(id) != tt.up || r2.Up(id) != tt.up {
				t.Fatalf("up: %t and %t, want %t", r1.Up(id), r2.Up(id), tt.up)
			}
			if tt.up {
				probes(t, x, r1, r2)
				return
			}
			if f := happened[event.Failed](r2); len(f) != 1 || f[0].Code != event.ModeMismatch {
				t.Errorf("the responder failed with %+v", f)
			}
		})
	}
}

// Scenario 47: extended sequence numbers need a window; a set with them is not
// used where there is none.
func TestESNNeedsAWindow(t *testing.T) {
	esn, plain := gcm(256), gcm(128)
	esn.ESN = true
	window := func(n int) option { return func(s *policy.Settings) { s.Entries[0].ReplayWindow = n } }
	for _, tt := range []struct {
		window int
		want   policy.TransformSet
	}{{0, plain}, {64, esn}, {256, esn}, {1024, esn}} {
		a, b := sites(sets(esn, plain), window(tt.window))
		_, r1, r2 := up(t, a, b)
		agreed(t, tt.want, suite.Tunnel, r1, r2)
		if n := only(t, r1).ReplayWindow; n != tt.window {
			t.Errorf("window of %d packets, want %d", n, tt.window)
		}
	}
}

// AH cannot pass a NAT: it is not offered there, not taken, and the sentence
// says why; a set without AH is used instead.
func TestAHBehindNAT(t *testing.T) {
	ah := policy.TransformSet{Name: "AH", AH: suite.SHA256}
	x, r1, r2, _ := behind(t, sets(ah))
	trigger(r1)
	x.Run(5*time.Second, nil)
	f := happened[event.Failed](r1)
	if len(f) != 1 || f[0].Code != event.NoTransformSet || !strings.Contains(f[0].Reason, "cannot pass the NAT") {
		t.Errorf("failed with %+v", f)
	}
	if len(r2.Children) != 0 {
		t.Error("R2 has a pair")
	}
	x, r1, r2, _ = behind(t, sets(ah, gcm(128)))
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	agreed(t, gcm(128), suite.Tunnel, r1, r2)
	probes(t, x, r1, r2)
}

// Scenario 51: transport mode through a NAT. Each side knows the other by the
// address it sees; the identities on the wire are the initiator's own.
func TestTransportBehindNAT(t *testing.T) {
	host := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 32) }
	for _, set := range []policy.TransformSet{gcm(128), cbc(256, suite.SHA256)} {
		a := site(private, addrB, host(private), host(addrB), sets(transport(set)...))
		b := site(addrB, public, host(addrB), host(public), sets(transport(set)...))
		x := NewWorld(5)
		r1, r2 := x.Add("R1", private, a), x.Add("R2", addrB, b)
		x.Behind(r1, public)
		var oa []string
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
		agreed(t, set, suite.Transport, r1, r2)
		for _, h := range []*Host{r1, r2} {
			for _, m := range happened[event.Message](h) {
				for _, p := range m.Payloads {
					if p.Name == "NAT-OA" && m.Dir == event.Sent {
						oa = append(oa, h.Name+" "+m.Name)
					}
				}
			}
		}
		if got := fmt.Sprint(oa); got != "[R1 QM1 R1 QM1 R2 QM2 R2 QM2]" {
			t.Errorf("NAT-OA in %s", got)
		}
		if k := only(t, r2); !k.Encap || k.Selectors.Remote != host(public) || k.Selectors.Local != host(addrB) {
			t.Errorf("R2 carries %s, in UDP %t", k.Selectors, k.Encap)
		}
	}
}

// Scenario 56: lines for protocols and ports have pairs of their own.
func TestProtocolsAndPorts(t *testing.T) {
	a, b := sites()
	for i, s := range []*policy.Settings{a, b} {
		from, to := flow.PrefixMatch(netA), flow.PrefixMatch(netB)
		if i == 1 {
			from, to = to, from
		}
		eq := func(n uint16) flow.PortMatch { return flow.PortMatch{Op: flow.Eq, Ports: []uint16{n}} }
		ssh := flow.Line{Seq: 10, Action: flow.Permit, Proto: flow.TCP, Src: from, Dst: to, ICMPType: -1, ICMPCode: -1}
		if i == 0 {
			ssh.DstPort = eq(22)
		} else {
			ssh.SrcPort = eq(22)
		}
		s.Entries[0].ACL.Lines = []flow.Line{ssh,
			{Seq: 20, Action: flow.Permit, Proto: flow.ICMP, Src: from, Dst: to, ICMPType: -1, ICMPCode: -1},
			{Seq: 30, Action: flow.Permit, Proto: flow.UDP, Src: from, SrcPort: eq(53), Dst: to, DstPort: eq(53), ICMPType: -1, ICMPCode: -1}}
	}
	x, r1, r2 := world(t, 1, a, b)
	for _, f := range a.Flows() {
		r1.Input(door.Trigger{Flow: f.ID, Packet: r1.sample(f)})
	}
	x.Run(5*time.Second, nil)
	if len(r1.Children) != 3 || len(r2.Children) != 3 {
		t.Errorf("%d and %d pairs, want 3", len(r1.Children), len(r2.Children))
	}
	probes(t, x, r1, r2)
}
