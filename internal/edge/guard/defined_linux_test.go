package guard_test

import (
	"errors"
	"strings"
	"testing"

	"culvert/internal/core/flow"
	"culvert/internal/edge/guard"
)

// Flows of a dynamic crypto map come and go while the rest of the rules stays,
// counters included: what one has is interesting, and in clear it is dropped.
func TestDefinedFlowsComeAndGo(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	c.Flows, c.Dynamic = nil, []string{outside}
	g := s.apply(c)
	defined := []guard.Protect{{Name: "DYN 65536", Interface: outside, ACL: list("", permit("10.10.10.0/24", "10.20.20.0/24"))}}
	s.a.send(0, udp(hostA, hostB, 7, 1, ""))
	if before := s.wire.until("udp 10.10.10.10 -> 10.20.20.20 port 1"); len(before) > 0 {
		t.Errorf("before there is a flow: %q", before)
	}
	s.r1.in(func() error { return g.Redefine(defined) })
	s.a.send(0, udp(hostA, hostB, 7, 2, ""))
	s.r1.send(0, udp(r1Inside, hostB, 7, 3, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 2", "udp 10.10.10.1 -> 10.20.20.20 port 3")
	s.b.send(0, udp(hostB, hostA, 7, 4, ""))
	s.waitFor(g, func(c guard.Counters) bool { return c.NotIPsec == 1 })
	s.r1.in(func() error { return g.Redefine(nil) })
	s.a.send(0, udp(hostA, hostB, 7, 5, ""))
	s.wire.until("udp 10.10.10.10 -> 10.20.20.20 port 5")
	if got := s.counters(g); got.Diverted != 2 || got.NotIPsec != 1 {
		t.Errorf("counters did not go on: %+v", got)
	}
	// Rules that are put back after a flush hold them too.
	c.Defined = defined
	g = s.apply(c)
	s.a.send(0, udp(hostA, hostB, 7, 6, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 6")
	s.quiet()
	if err := g.Redefine([]guard.Protect{{Name: "DYN 1", Interface: "nowhere", ACL: &flow.List{}}}); err == nil || !strings.Contains(err.Error(), "no such interface") {
		t.Errorf("on an interface that is not there: %v", err)
	}
	c.Dynamic = []string{"nowhere"}
	s.r1.in(func() error {
		if _, err := guard.Apply(c); err == nil || !strings.Contains(err.Error(), "no such interface") {
			return errors.New("a dynamic crypto map on no interface was taken")
		}
		return nil
	})
}

// A gateway's traffic with its peer itself, as transport mode carries it: all of
// it is interesting but IKE and what is protected already.
func TestHostToHostIsDivertedButIKEIsNot(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config(permit("198.51.100.1/32", "198.51.100.2/32"))
	s.apply(c)
	gre := packet(r1Outside, r2Outside, flow.GRE, 0, []byte("a routed packet"))
	s.r1.send(0, udp(r1Outside, r2Outside, 7, 1, ""), gre, icmp(r1Outside, r2Outside, 8, 0))
	s.diverted("udp 198.51.100.1 -> 198.51.100.2 port 1", "gre 198.51.100.1 -> 198.51.100.2", "icmp 198.51.100.1 -> 198.51.100.2 type 8 code 0")
	s.r1.send(c.OwnMark, udp(r1Outside, r2Outside, 500, 500, "IKE"))
	if before := s.wire.until("udp 198.51.100.1 -> 198.51.100.2 port 500"); len(before) > 0 {
		t.Errorf("in clear before IKE: %q", before)
	}
	s.quiet()
}
