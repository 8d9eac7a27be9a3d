package guard_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
	"culvert/internal/edge/guard"
)

// "nftables and a policy route divert interesting traffic into a TUN device";
// step 4: "everything else leaves in cleartext".
func TestInterestingTrafficGoesToTheTUNDevice(t *testing.T) {
	s := build(t)
	s.connect()
	g := s.apply(s.config())
	s.a.send(0, udp(hostA, hostB, 7, 7, "one"), tcp(hostA, hostB, 80, 80, 2), icmp(hostA, hostB, 8, 0))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 7", "tcp 10.10.10.10 -> 10.20.20.20 port 80",
		"icmp 10.10.10.10 -> 10.20.20.20 type 8 code 0")
	s.quiet()
	if got, want := s.counters(g), (guard.Counters{Diverted: 3}); !cmp.Equal(got, want) {
		t.Errorf("counters: %s", cmp.Diff(want, got))
	}
}

// "Outbound … entries in SPD order": deny goes on to the next entry, and what
// none permits leaves in clear.
func TestDenyGoesOnToTheNextEntry(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config(deny("10.10.10.0/24", "10.20.20.20/32"), deny("10.10.10.0/24", "10.20.20.1/32"), permit("10.10.10.0/24", "10.20.20.0/24"))
	c.Flows = append(c.Flows, guard.Protect{Name: "CMAP 20", Interface: outside, ACL: list("103", permit("10.10.10.0/24", "10.20.20.20/32"))})
	s.apply(c)
	s.a.send(0, udp(hostA, r2Inside, 7, 1, ""), udp(hostA, hostB, 7, 2, ""), udp(hostA, netip.MustParseAddr("10.20.20.9"), 7, 3, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 2", "udp 10.10.10.10 -> 10.20.20.9 port 3")
	if before := s.wire.until("udp 10.10.10.10 -> 10.20.20.1 port 1"); len(before) > 0 {
		t.Errorf("on the wire before the denied packet: %q", before)
	}
	s.quiet()
}

// A wildcard with holes, ports, and the fragments of a line with ports, whose
// ports cannot be seen: they count as interesting, never as clear.
func TestCryptoACLWithHolesPortsAndFragments(t *testing.T) {
	s := build(t)
	s.connect()
	holes := permit("10.10.10.0/24", "any")
	holes.Dst = flow.Match{Addr: netip.MustParseAddr("10.20.0.20"), Wildcard: netip.MustParseAddr("0.0.255.0")}
	web := line(flow.Permit, flow.TCP, "10.10.10.0/24", "203.0.113.0/24")
	web.DstPort = eq(80, 443)
	s.apply(s.config(holes, web))
	fragment := packet(hostA, elsewhere, flow.TCP, 1480, []byte("behind the ports"))
	s.a.send(0,
		udp(hostA, hostB, 7, 1, ""), udp(hostA, netip.MustParseAddr("10.20.99.20"), 7, 2, ""), udp(hostA, r2Inside, 7, 3, ""),
		tcp(hostA, elsewhere, 1, 443, 2), tcp(hostA, elsewhere, 1, 444, 2), tcp(hostA, elsewhere, 80, 1, 2), fragment)
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 1", "udp 10.10.10.10 -> 10.20.99.20 port 2",
		"tcp 10.10.10.10 -> 203.0.113.7 port 443", "tcp 10.10.10.10 -> 203.0.113.7 at 1480")
	want := []string{"udp 10.10.10.10 -> 10.20.20.1 port 3", "tcp 10.10.10.10 -> 203.0.113.7 port 444", "tcp 10.10.10.10 -> 203.0.113.7 port 1"}
	s.a.send(0, udp(hostA, elsewhere, 9, 9, ""))
	if got := s.wire.until("udp 10.10.10.10 -> 203.0.113.7 port 9"); !cmp.Equal(got, want) {
		t.Errorf("in clear: %s", cmp.Diff(want, got))
	}
}

// Only what would leave by the crypto map's interface is diverted; what has no
// route at all is, so that a missing route is not a way around the tunnel.
func TestRoutingDecidesWhatIsInteresting(t *testing.T) {
	s := build(t)
	s.connect()
	s.r1.in(func() error {
		return errors.Join(
			netlink.RouteDel(&netlink.Route{Gw: r2Outside.AsSlice()}),
			via("10.20.20.20/32", "10.10.10.10"), via("203.0.113.0/24", "198.51.100.2"))
	})
	g := s.apply(s.config(permit("any", "10.20.20.0/24"), permit("any", "10.10.10.0/24")))
	// b's address is routed back inside, R1's own is local, R2's inside has no route.
	s.a.send(0, udp(hostA, hostB, 7, 1, ""), udp(hostA, r1Inside, 7, 2, ""), udp(hostA, r2Inside, 7, 3, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.1 port 3")
	s.quiet()
	if c := s.counters(g); c.Diverted != 1 {
		t.Errorf("%d packets diverted, not 1", c.Diverted)
	}
}

// Local packets from R1's inside address are diverted; its own address on the
// outside is not in the crypto ACL.
func TestLocalPacketsAreDivertedToo(t *testing.T) {
	s := build(t)
	s.connect()
	s.apply(s.config())
	s.r1.send(0, udp(r1Inside, hostB, 7, 1, ""), udp(r1Outside, hostB, 7, 2, ""))
	s.diverted("udp 10.10.10.1 -> 10.20.20.20 port 1")
	if before := s.wire.until("udp 198.51.100.1 -> 10.20.20.20 port 2"); len(before) > 0 {
		t.Errorf("in clear: %q", before)
	}
	s.quiet()
}

// The gateway's own IKE and ESP leave even under "permit ip any any"; the same
// without our mark does not.
func TestOurOwnPacketsPass(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config(permit("any", "any"))
	g := s.apply(c)
	esp := packet(r1Outside, r2Outside, flow.ESP, 0, make([]byte, 40))
	s.r1.send(c.OwnMark, udp(r1Outside, r2Outside, 500, 500, "IKE"), esp)
	s.r1.send(0, udp(r1Outside, r2Outside, 123, 123, "NTP"))
	s.diverted("udp 198.51.100.1 -> 198.51.100.2 port 123")
	if before := s.wire.until("esp 198.51.100.1 -> 198.51.100.2"); !cmp.Equal(before, []string{"udp 198.51.100.1 -> 198.51.100.2 port 500"}) {
		t.Errorf("on the wire before the ESP packet: %q", before)
	}
	if n := s.counters(g); n.Leaks != 0 || n.Diverted != 1 {
		t.Errorf("counters %+v: expected one diverted and no leak", n)
	}
}

// Step 4: "Inbound, the same ACL mirrored says what should have arrived
// protected: a packet that matches but came unprotected is discarded." It is
// counted and recorded, and the interface list is not asked about it.
//
// Threat: FreeS/WAN 1.98.
func TestCleartextFromOutsideIsDroppedCountedAndRecorded(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	c.Interfaces[1].In = list("101", permit("any", "any"))
	g := s.apply(c)
	atA := watch(s.a, "eth0")
	s.b.send(0, icmp(hostB, hostA, 8, 0), icmp(hostB, hostA, 8, 0), udp(hostB, hostA, 5, 5, ""), udp(hostB, r1Inside, 5, 5, ""))
	s.waitFor(g, func(n guard.Counters) bool { return n.NotIPsec >= 4 })
	s.r2.send(0, udp(elsewhere, hostA, 5, 6, "not in the ACL"))
	if before := atA.until("udp 203.0.113.7 -> 10.10.10.10 port 6"); len(before) > 0 {
		t.Errorf("host a received in clear: %q", before)
	}
	n := s.counters(g)
	if n.NotIPsec != 4 {
		t.Errorf("%d packets counted as not IPsec, not 4", n.NotIPsec)
	}
	if hits := n.Lines[0].Packets; hits != 1 {
		t.Errorf("list 101 line 10 was hit %d times, not once", hits)
	}
	want := []guard.Cleartext{{hostB, r1Inside, flow.UDP}, {hostB, hostA, flow.ICMP}, {hostB, hostA, flow.UDP}}
	s.recorded(g, want...)
	s.recorded(g) // each once a minute
	s.b.send(0, packet(hostB, hostA, 132, 0, []byte("SCTP")), icmp(hostB, hostA, 8, 0))
	s.waitFor(g, func(n guard.Counters) bool { return n.NotIPsec >= 6 })
	s.r2.send(0, udp(elsewhere, hostA, 5, 7, ""))
	atA.until("udp 203.0.113.7 -> 10.10.10.10 port 7")
	s.recorded(g, guard.Cleartext{Src: hostB, Dst: hostA, Proto: 132})
}

// Under "permit ip any any" IKE and ESP to our own address are the protection
// and no cleartext; to another address, or another port, they are.
func TestIKEAndESPAreNotCleartext(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config(permit("any", "any"))
	c.Interfaces[1].In = list("101", permit("any", "any"))
	g := s.apply(c)
	ike := func(port uint16) []byte { return udp(r2Outside, r1Outside, 500, port, "IKE") }
	s.r2.send(0, ike(500), ike(4500), packet(r2Outside, r1Outside, flow.ESP, 0, make([]byte, 16)),
		packet(r2Outside, r1Outside, flow.AH, 0, make([]byte, 16)), packet(r2Outside, r1Outside, flow.UDP, 1480, []byte("rest of IKE")))
	s.waitFor(g, func(n guard.Counters) bool { return n.Lines[0].Packets >= 5 })
	if n := s.counters(g); n.NotIPsec != 0 || n.Lines[0].Packets != 5 {
		t.Errorf("%+v: expected five packets at list 101 and none called cleartext", n)
	}
	s.r2.send(0, ike(501), udp(r2Outside, hostA, 500, 500, "IKE of another"), packet(r2Outside, hostA, flow.ESP, 0, make([]byte, 16)))
	s.waitFor(g, func(n guard.Counters) bool { return n.NotIPsec >= 3 })
	if n := s.counters(g); n.NotIPsec != 3 {
		t.Errorf("%d called cleartext, not 3", n.NotIPsec)
	}
}

// What comes out of the TUN device has been decrypted: it is neither cleartext
// nor a matter for the inbound list, and goes on by the main routing table.
func TestDecryptedPacketsGoOn(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	c.Interfaces[1].In = list("101", deny("any", "any"))
	g := s.apply(c)
	atA, atR1 := watch(s.a, "eth0"), watch(s.r1, tunName)
	s.decrypted(icmp(hostB, hostA, 0, 0)) // a late echo reply, which nobody answers
	if before := atA.until("icmp 10.20.20.20 -> 10.10.10.10 type 0 code 0"); len(before) > 0 {
		t.Errorf("before it host a received %q", before)
	}
	s.decrypted(icmp(hostB, r1Inside, 8, 0)) // R1 answers a ping, into the tunnel
	s.diverted("icmp 10.10.10.1 -> 10.20.20.20 type 0 code 0")
	atR1.until("icmp 10.20.20.20 -> 10.10.10.1 type 8 code 0")
	if n := s.counters(g); n.NotIPsec != 0 || n.Lines[0].Packets != 0 {
		t.Errorf("%+v: a decrypted packet was taken for one from outside", n)
	}
	// One that is interesting itself and would go back out, as after a forged
	// inner address: neither into the tunnel again, nor onto the wire.
	s.decrypted(udp(hostA, hostB, 5, 5, ""))
	s.quiet()
	if n := s.counters(g); n.Leaks != 1 || n.Diverted != 1 {
		t.Errorf("%+v: expected the forged one to be a leak, and only R1's answer diverted", n)
	}
}

// The belt: an interesting packet that is routed around the diversion, here
// because somebody removed the rule, is dropped at the last moment and counted.
func TestTheBeltHoldsWhenTheRuleIsGone(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	g := s.apply(c)
	s.r1.in(func() error {
		r := netlink.NewRule()
		r.Mark, r.Table, r.Priority = c.Mark, c.Table, guard.RulePriority
		return netlink.RuleDel(r)
	})
	s.a.send(0, udp(hostA, hostB, 7, 7, ""), udp(hostA, hostB, 7, 8, ""))
	s.quiet()
	if n := s.counters(g); n.Leaks != 2 {
		t.Errorf("%d leaks counted, not 2", n.Leaks)
	}
}

// bend makes R1's main table send b's network back inside, while somebody
// else's rule for what arrives inside sends it outside: the diversion asks the
// routing without saying where the packet came from.
func (s *sites) bend() {
	s.r1.in(func() error {
		rule := netlink.NewRule()
		rule.IifName, rule.Table, rule.Priority = "in0", 77, 70
		return errors.Join(netlink.RuleAdd(rule), via("10.20.20.0/24", "10.10.10.10"),
			netlink.RouteAdd(&netlink.Route{Table: 77, Dst: ipNet("10.20.20.0/24"), Gw: r2Outside.AsSlice()}))
	})
}

// The belt before source NAT: policy routing goes around the diversion and a
// masquerade rule would hide the source.
func TestTheBeltHoldsAgainstPolicyRouting(t *testing.T) {
	s := build(t)
	s.connect()
	g := s.apply(s.config())
	s.bend()
	s.r1.in(masquerade)
	s.a.send(0, udp(hostA, hostB, 7, 7, ""), udp(hostA, elsewhere, 7, 8, ""))
	if before := s.wire.until("udp 198.51.100.1 -> 203.0.113.7 port 8"); len(before) > 0 {
		t.Errorf("on the wire: %q", before)
	}
	if n := s.counters(g); n.Leaks != 1 || n.Diverted != 0 {
		t.Errorf("%+v: expected one leak stopped", n)
	}
}

// The belt after source NAT: on IOS the crypto ACL sees the translated address,
// so a packet that becomes interesting by translation must not leave in clear.
func TestTheBeltHoldsAfterSourceNAT(t *testing.T) {
	s := build(t)
	s.connect()
	g := s.apply(s.config(permit("198.51.100.1/32", "10.20.20.0/24")))
	s.r1.in(masquerade)
	s.a.send(0, udp(hostA, hostB, 7, 7, ""), udp(hostA, elsewhere, 7, 8, ""))
	if before := s.wire.until("udp 198.51.100.1 -> 203.0.113.7 port 8"); len(before) > 0 {
		t.Errorf("on the wire: %q", before)
	}
	if n := s.counters(g); n.Leaks != 1 || n.Diverted != 0 {
		t.Errorf("%+v: expected one leak stopped", n)
	}
}

// "ip access-group … out" is for what is forwarded; IOS does not filter what
// the router itself sends.
func TestOutboundListIsForTransit(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	allowed := line(flow.Permit, flow.UDP, "any", "any")
	allowed.DstPort = flow.PortMatch{Op: flow.Gt, Ports: []uint16{500}}
	c.Interfaces[1].Out = list("EDGE-OUT", deny("10.10.10.9/32", "any"), allowed)
	g := s.apply(c)
	s.a.send(0, udp(hostA, elsewhere, 7, 500, ""), udp(hostA, elsewhere, 7, 501, ""), icmp(hostA, elsewhere, 8, 0))
	s.waitFor(g, func(n guard.Counters) bool { return hitsOf(n, 0) == 2 })
	if before := s.wire.until("udp 10.10.10.10 -> 203.0.113.7 port 501"); len(before) > 0 {
		t.Errorf("on the wire before the one allowed: %q", before)
	}
	s.r1.send(0, icmp(r1Inside, elsewhere, 8, 0))
	if before := s.wire.until("icmp 10.10.10.1 -> 203.0.113.7 type 8 code 0"); len(before) > 0 {
		t.Errorf("on the wire before the router's own: %q", before)
	}
	want := []guard.LineHits{
		{outside, "out", "EDGE-OUT", 10, 0}, {outside, "out", "EDGE-OUT", 20, 1}, {outside, "out", "EDGE-OUT", 0, 2},
	}
	if got := s.counters(g).Lines; !cmp.Equal(got, want) {
		t.Errorf("hits: %s", cmp.Diff(want, got))
	}
}

// What cannot be put in force is refused in words, and nothing is changed.
func TestApplyRefuses(t *testing.T) {
	s := build(t)
	s.connect()
	other := s.config()
	other.Hostname, other.Mark, other.Table = "R9", 0x99, 99
	s.apply(other)
	s.r1.in(func() error {
		return netlink.RouteAdd(&netlink.Route{Table: 220, Dst: ipNet("192.0.2.0/24"), Type: unix.RTN_BLACKHOLE})
	})
	for _, test := range []struct {
		want   string
		change func(c *guard.Config)
	}{
		{"expected a word", func(c *guard.Config) { c.Hostname = "" }},
		{"which every packet carries", func(c *guard.Config) { c.Mark = 0 }},
		{"have the same mark", func(c *guard.Config) { c.OwnMark = c.Mark }},
		{"not the system's", func(c *guard.Config) { c.Table = 254 }},
		{"is somebody else's", func(c *guard.Config) { c.Table = 220 }},
		{"the guard of R9 stands here already", func(c *guard.Config) { c.Table = 99 }},
		{"find the TUN device culvert7", func(c *guard.Config) { c.TUN = "culvert7" }},
		{"at most 15 characters", func(c *guard.Config) { c.TUN = strings.Repeat("x", 16) }},
		{"it was made anew", func(c *guard.Config) { c.Interfaces[0].Index += 100 }},
		{"find its device gone0", func(c *guard.Config) { c.Interfaces[0].Device = "gone0" }},
		{"is there twice", func(c *guard.Config) { c.Interfaces[0].Name = outside }},
		{"no such interface", func(c *guard.Config) { c.Flows[0].Interface = "Serial0" }},
		{"no access list", func(c *guard.Config) { c.Flows[0].ACL = nil }},
	} {
		c := s.config()
		test.change(&c)
		s.r1.in(func() error {
			_, err := guard.Apply(c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Apply said %v; expected %q", err, test.want)
			}
			standing, err := guard.List()
			if !cmp.Equal(standing, []string{"R9"}) {
				t.Errorf("%s: %q stand after it", test.want, standing)
			}
			return err
		})
	}
}

func TestFindDevice(t *testing.T) {
	s := build(t)
	s.r1.in(func() error {
		name, index, err := guard.FindDevice(r1Outside)
		if err != nil || name != "out0" || index == 0 {
			t.Errorf("FindDevice(%s) = %q, %d, %v", r1Outside, name, index, err)
		}
		_, _, err = guard.FindDevice(hostB)
		if err == nil || !strings.Contains(err.Error(), "10.10.10.1 on in0, 198.51.100.1 on out0") {
			t.Errorf("FindDevice(%s): %v; expected the addresses there are", hostB, err)
		}
		devices, err := guard.Devices()
		if len(devices) != 3 || !devices[1].Up || devices[1].MTU != 1500 {
			t.Errorf("devices %+v", devices)
		}
		return err
	})
}
