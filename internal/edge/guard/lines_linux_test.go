package guard_test

import (
	"testing"

	"culvert/internal/core/flow"
	"culvert/internal/edge/guard"
)

// Which packets a line of an interface access list matches, as IOS does it:
// each line stands before "permit ip any any", and a packet must be counted at it or not.
func TestInterfaceListLines(t *testing.T) {
	type row struct {
		name string
		line func(*flow.Line)
		hit  [][]byte
		miss [][]byte
	}
	from := func(proto uint8, fragmentOffset uint16) []byte {
		return packet(r2Outside, r1Outside, proto, fragmentOffset, make([]byte, 24))
	}
	tcpFlags := func(flags byte) []byte { return tcp(r2Outside, r1Outside, 1000, 22, flags) }
	toPort := func(p uint16) []byte { return udp(r2Outside, r1Outside, 4000, p, "") }
	ping := func(kind, code byte) []byte { return icmp(r2Outside, r1Outside, kind, code) }
	udpTo := func(op flow.PortOp, ports ...uint16) func(*flow.Line) {
		return func(l *flow.Line) { l.Proto, l.DstPort = flow.UDP, flow.PortMatch{Op: op, Ports: ports} }
	}
	rows := []row{
		{"permit esp any any", func(l *flow.Line) { l.Proto = flow.ESP }, [][]byte{from(50, 0), from(50, 8)}, [][]byte{from(51, 0), toPort(50)}},
		{"permit ahp host R2 any", func(l *flow.Line) { l.Proto, l.Src = flow.AH, flow.HostMatch(r2Outside) }, [][]byte{from(51, 0)}, [][]byte{packet(r2Inside, r1Outside, 51, 0, make([]byte, 24))}},
		{"permit udp any any eq isakmp", udpTo(flow.Eq, 500), [][]byte{toPort(500), from(flow.UDP, 8)}, [][]byte{toPort(501), tcp(r2Outside, r1Outside, 1, 500, 2), from(flow.TCP, 8)}},
		{"eq of several, one twice", udpTo(flow.Eq, 500, 4500, 500), [][]byte{toPort(500), toPort(4500)}, [][]byte{toPort(4501)}},
		{"neq of several", udpTo(flow.Neq, 500, 4500), [][]byte{toPort(501)}, [][]byte{toPort(500), toPort(4500)}},
		{"gt", udpTo(flow.Gt, 1023), [][]byte{toPort(1024), toPort(65535)}, [][]byte{toPort(1023)}},
		{"lt", udpTo(flow.Lt, 256), [][]byte{toPort(255), toPort(0)}, [][]byte{toPort(256), toPort(512)}},
		{"range", udpTo(flow.Range, 255, 513), [][]byte{toPort(255), toPort(300), toPort(513)}, [][]byte{toPort(254), toPort(514)}},
		{"source port", func(l *flow.Line) { l.Proto, l.SrcPort = flow.UDP, eq(4000) }, [][]byte{toPort(1)}, [][]byte{udp(r2Outside, r1Outside, 1, 4000, "")}},
		{"established", func(l *flow.Line) { l.Proto, l.Established = flow.TCP, true }, [][]byte{tcpFlags(0x10), tcpFlags(0x12), tcpFlags(0x04), from(flow.TCP, 8)}, [][]byte{tcpFlags(0x02), tcpFlags(0x01), toPort(22)}},
		{"deny tcp eq 22: fragments go on", func(l *flow.Line) { l.Action, l.Proto, l.DstPort = flow.Deny, flow.TCP, eq(22) }, [][]byte{tcpFlags(2)}, [][]byte{from(flow.TCP, 8)}},
		{"fragments", func(l *flow.Line) { l.Fragments = true }, [][]byte{from(flow.UDP, 8), from(50, 1480)}, [][]byte{toPort(7)}},
		{"icmp any type", func(l *flow.Line) { l.Proto = flow.ICMP }, [][]byte{ping(8, 0), ping(3, 4)}, [][]byte{toPort(8)}},
		{"icmp echo", func(l *flow.Line) { l.Proto, l.ICMPType = flow.ICMP, 8 }, [][]byte{ping(8, 0), ping(8, 1)}, [][]byte{ping(0, 0)}},
		{"icmp packet-too-big", func(l *flow.Line) { l.Proto, l.ICMPType, l.ICMPCode = flow.ICMP, 3, 4 }, [][]byte{ping(3, 4)}, [][]byte{ping(3, 1)}},
		{"remark", func(l *flow.Line) { l.Remark = "permit everything" }, nil, [][]byte{toPort(7)}},
	}
	s := build(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			l, rest := line(flow.Permit, flow.AnyProto, "any", "any"), permit("any", "any")
			r.line(&l)
			c := s.config()
			c.Interfaces[1].In = list("101", l, rest)
			g := s.apply(c)
			s.r2.send(0, r.hit...)
			s.r2.send(0, r.miss...)
			all := uint64(len(r.hit) + len(r.miss))
			s.waitFor(g, func(n guard.Counters) bool { return hitsOf(n, 10)+hitsOf(n, 20) >= all })
			n := s.counters(g)
			if hits := hitsOf(n, 10); hits != uint64(len(r.hit)) {
				t.Errorf("the line was hit %d times, not %d", hits, len(r.hit))
			}
			if other := hitsOf(n, 20); other != uint64(len(r.miss)) {
				t.Errorf("the line behind was hit %d times, not %d", other, len(r.miss))
			}
		})
	}
}

func hitsOf(c guard.Counters, seq int) uint64 {
	for _, l := range c.Lines {
		if l.Seq == seq {
			return l.Packets
		}
	}
	return 0
}

// A standard list (1-99) has a source only; what no line permits is denied,
// and counted apart.
func TestStandardListWithImplicitDeny(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	c.Interfaces[0].In = list("10", flow.Line{Action: flow.Permit, Src: match("10.10.10.10/32")})
	g := s.apply(c)
	s.a.in(func() error { return address("lo", "10.10.10.11/32") })
	s.a.send(0, udp(hostA, elsewhere, 7, 7, ""), udp(hostA.Next(), elsewhere, 7, 8, ""), udp(hostA.Next(), hostB, 7, 8, ""), udp(hostA.Next(), r1Inside, 7, 8, ""))
	s.quiet("udp 10.10.10.10 -> 203.0.113.7 port 7")
	n := s.counters(g)
	if hitsOf(n, 10) != 2 || hitsOf(n, 0) != 3 || n.Diverted != 0 {
		t.Errorf("%+v: expected 2 permitted, 3 denied, none diverted", n)
	}
}
