package sim

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// payloadTypes are the payloads of a message in the clear.
func payloadTypes(m []byte) map[isakmp.PayloadType]int {
	n := map[isakmp.PayloadType]int{}
	if h, err := isakmp.ParseHeader(m); err == nil && !h.Encrypted() {
		payloads, _, _ := isakmp.ParsePayloads(h.Next, m[isakmp.HeaderSize:])
		for _, p := range payloads {
			n[p.Type]++
		}
	}
	return n
}

// A peer that speaks only a draft of RFC 3947: NAT-D payloads have the private
// number 130 then, and ESP in UDP the private mode 61443. Both ends agree, and
// the tunnel carries.
func TestNATTraversalDrafts(t *testing.T) {
	for name, hidden := range map[string][]isakmp.Vendor{
		"draft 03":         {isakmp.VendorNATT},
		"draft 02":         {isakmp.VendorNATT, isakmp.VendorNATTDraft03},
		"no NAT traversal": {isakmp.VendorNATT, isakmp.VendorNATTDraft03, isakmp.VendorNATTDraft02N},
	} {
		t.Run(name, func(t *testing.T) {
			x, r1, r2, _ := behind(t)
			seen := map[isakmp.PayloadType]int{}
			x.Sniff = func(_ *Host, d door.Send) {
				for _, v := range hidden {
					if i := bytes.Index(d.Payload, v.ID()); i > 0 {
						copy(d.Payload[i:], "not of the known")
					}
				}
				for p, n := range payloadTypes(d.Payload) {
					seen[p] += n
				}
			}
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			if len(hidden) == 3 {
				if seen[isakmp.PayloadNATD]+seen[isakmp.PayloadNATDDraft] != 0 || len(happened[event.NATCheck](r1)) != 0 {
					t.Errorf("NAT-D payloads to a peer that knows none: %v", seen)
				}
				return
			}
			bothUp(t, id, r1, r2)
			probes(t, x, r1, r2)
			if seen[isakmp.PayloadNATD] != 0 || seen[isakmp.PayloadNATDDraft] != 4 {
				t.Errorf("on the wire were %v, want four of type 130 and none of type 20", seen)
			}
			if k := only(t, r2).Child; !k.Encap || !k.PeerBehind {
				t.Errorf("R2 has %+v", k)
			}
		})
	}
}

// Scenario 53: both sides behind a NAT of their own, the responder's ports forwarded.
func TestBothBehindNAT(t *testing.T) {
	inside, outside := netip.MustParseAddr("172.16.0.2"), netip.MustParseAddr("203.0.113.2")
	x := NewWorld(4)
	r1, r2 := x.Add("R1", private, site(private, outside, netA, netB)), x.Add("R2", inside, site(inside, public, netB, netA))
	x.Behind(r1, public)
	x.Behind(r2, outside).Forward(500, 4500)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	for _, h := range []*Host{r1, r2} {
		if n := happened[event.NATCheck](h); len(n) != 1 || !n[0].LocalBehind || !n[0].PeerBehind {
			t.Errorf("%s sees %+v", h.Name, n)
		}
	}
}

// NAT mapping change: the NAT before the peer forgets its mappings: an authentic packet of ESP moves
// IKE as well, and an authentic IKE message moves ESP.
func TestOneMappingForIKEAndESP(t *testing.T) {
	x, r1, r2, nat := behind(t, keepalive(10*time.Second, 2*time.Second, true))
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	k := only(t, r2)
	from := netip.AddrPortFrom(public, 55555)
	r2.Input(door.Moved{Child: k.ID, Remote: from})
	if sa := r2.Engine.ISAKMP(x.Now)[0]; sa.Remote != from {
		t.Errorf("ESP came from %s, IKE goes to %s", from, sa.Remote)
	}
	nat.Rebind()
	x.Run(30*time.Second, nil) // R1 asks whether R2 is there, from its new port
	if got := r2.Engine.ISAKMP(x.Now)[0].Remote; got == from || got.Addr() != public {
		t.Errorf("R2 still talks to %s", got)
	}
	probes(t, x, r1, r2)
	r2.Input(door.Moved{Child: k.ID, Remote: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.99"), 4500)})
	if got := r2.Engine.ISAKMP(x.Now)[0].Remote; got.Addr() != public {
		t.Errorf("R2 follows to an address where it has no peer: %s", got)
	}
	r1.Input(door.Moved{Child: only(t, r1).ID, Remote: from})
	if got := r1.Engine.ISAKMP(x.Now)[0].Remote; got.Addr() != addrB {
		t.Errorf("R1 follows a peer that is behind no NAT to %s", got)
	}
}

// The NAT gets another address, where the configuration has the peer too: what is
// authentic moves everything there.
func TestAddressChangeBehindNAT(t *testing.T) {
	elsewhere := netip.MustParseAddr("203.0.113.7")
	x, r1, r2, nat := behind(t, keepalive(10*time.Second, 2*time.Second, true), func(s *policy.Settings) {
		if e := &s.Entries[0]; e.Local == addrB {
			e.Peers = append(e.Peers, elsewhere)
		}
	})
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	before := only(t, r2).ID
	log := tap(x)
	nat.Outside = elsewhere
	x.Run(30*time.Second, nil)
	probes(t, x, r1, r2)
	if sa := r2.Engine.ISAKMP(x.Now)[0]; sa.Remote.Addr() != elsewhere || only(t, r2).ID != before {
		t.Errorf("R2 talks to %s", sa.Remote)
	}
	if l := r2.Engine.Load(); l.Peers != 1 || l.ISAKMP != 1 {
		t.Errorf("R2 holds %+v", l)
	}
	for _, m := range *log { // nothing forged or replayed moves it back
		for _, payload := range [][]byte{m.Payload, append(bytes.Clone(m.Payload[:len(m.Payload)-1]), m.Payload[len(m.Payload)-1]^1)} {
			r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 4500), Remote: netip.AddrPortFrom(public, 666), Payload: payload})
		}
	}
	if sa := r2.Engine.ISAKMP(x.Now)[0]; sa.Remote.Addr() != elsewhere {
		t.Errorf("a replay or a forgery moved the SA to %s", sa.Remote)
	}
}

// A NAT mapping change to an address where the configuration has no peer moves
// nothing, however authentic: a crypto map entry names its peer by address.
func TestAddressOfNobodyBehindNAT(t *testing.T) {
	x, r1, r2, nat := behind(t, keepalive(10*time.Second, 2*time.Second, true))
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	nat.Outside = netip.MustParseAddr("203.0.113.8")
	x.Run(12*time.Second, nil) // R1 asks from there
	if sa := r2.Engine.ISAKMP(x.Now)[0]; sa.Remote.Addr() != public {
		t.Errorf("R2 follows to %s", sa.Remote)
	}
}

// two puts R1 and R3 behind one NAT, with a hub R2 that has an entry for each.
func two(t *testing.T, options ...option) (x *World, r1, r2, r3 *Host) {
	t.Helper()
	third, netC := netip.MustParseAddr("192.168.1.3"), netip.MustParsePrefix("10.30.30.0/24")
	hub := site(addrB, public, netB, netA, options...)
	other := hub.Entries[0]
	other.Seq, other.ACL = 20, &flow.List{Name: "103", Extended: true, Lines: []flow.Line{
		{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(netB), Dst: flow.PrefixMatch(netC), ICMPType: -1, ICMPCode: -1},
	}}
	hub.Entries = append(hub.Entries, other)
	hub.Keys = []policy.Key{{Peers: netip.PrefixFrom(public, 32), Secret: crypt.NewSecret([]byte("correct horse"))}}
	x = NewWorld(21)
	r1, r2, r3 = x.Add("R1", private, site(private, addrB, netA, netB)), x.Add("R2", addrB, hub), x.Add("R3", third, site(third, addrB, netC, netB))
	x.Behind(r1, public)
	x.Behind(r3, public)
	for _, h := range []*Host{r1, r3} {
		trigger(h)
		x.Run(5*time.Second, nil)
		probeFlow(t, x, h, r2, 0)
	}
	return x, r1, r2, r3
}

func probeFlow(t *testing.T, x *World, from, to *Host, n int) {
	t.Helper()
	if err := x.Probe(from, to, from.Engine.Settings().Flows()[n]); err != nil {
		t.Errorf("%s to %s: %v", from.Name, to.Name, err)
	}
}

// Scenario 52: two peers behind one NAT address. The INITIAL-CONTACT of one, its
// restart and its death are its own affair.
func TestTwoPeersBehindOneNAT(t *testing.T) {
	x, r1, r2, r3 := two(t, keepalive(10*time.Second, 2*time.Second, true))
	if l := r2.Engine.Load(); l.Peers != 2 || l.ISAKMP != 2 || l.Children != 2 {
		t.Fatalf("R2 holds %+v", l)
	}
	probeFlow(t, x, r2, r1, 0)
	probeFlow(t, x, r2, r3, 1)
	r1.Restart()
	trigger(r1)
	x.Run(5*time.Second, nil)
	if l := r2.Engine.Load(); l.Peers != 2 || l.ISAKMP != 2 || l.Children != 2 {
		t.Errorf("after the restart of R1, R2 holds %+v", l)
	}
	probeFlow(t, x, r1, r2, 0)
	probeFlow(t, x, r3, r2, 0)
	x.Link = func(n int, d door.Send) []time.Duration {
		if d.Local.Addr() == private {
			return nil
		}
		return Perfect(n, d)
	}
	for range 40 {
		x.Run(time.Second, nil)
		probeFlow(t, x, r3, r2, 0)
	}
	if died(r2).IsZero() {
		t.Error("R2 has not noticed that R1 is gone")
	}
	if l := r2.Engine.Load(); l.Peers != 1 || l.ISAKMP != 1 || l.Children != 1 {
		t.Errorf("after the death of R1, R2 holds %+v", l)
	}
	probeFlow(t, x, r2, r3, 1)
}
