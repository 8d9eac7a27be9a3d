// Package flow is about packets as an access list sees them: 5-tuples,
// selectors (the proxy identities of phase 2), access lists and their mirror
// image. Steps 1 and 4 of the five steps live here. RFC 4301 section 4.4.1.
package flow

import (
	"fmt"
	"net/netip"
	"strconv"
)

// IP protocol numbers this product names.
const (
	AnyProto uint8 = 0
	ICMP     uint8 = 1
	IPIP     uint8 = 4
	TCP      uint8 = 6
	UDP      uint8 = 17
	GRE      uint8 = 47
	ESP      uint8 = 50
	AH       uint8 = 51
	ICMPv6   uint8 = 58
)

// Ports is an inclusive range of ports. The zero value means any port.
type Ports struct{ Lo, Hi uint16 }

// AnyPort is every port.
var AnyPort = Ports{}

// IsAny reports whether every port is meant.
func (p Ports) IsAny() bool { return p.Lo == 0 && (p.Hi == 0 || p.Hi == 65535) }

// Contains reports whether port n is in the range.
func (p Ports) Contains(n uint16) bool { return p.IsAny() || (p.Lo <= n && n <= p.Hi) }

// Covers reports whether every port of q is in p.
func (p Ports) Covers(q Ports) bool {
	return p.IsAny() || (!q.IsAny() && p.Lo <= q.Lo && q.Hi <= p.Hi)
}

func (p Ports) String() string {
	switch {
	case p.IsAny():
		return "any"
	case p.Lo == p.Hi:
		return strconv.Itoa(int(p.Lo))
	}
	return fmt.Sprintf("%d-%d", p.Lo, p.Hi)
}

// Tuple is what an access list can see of one packet.
type Tuple struct {
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort uint16 // zero when the protocol has none or they cannot be seen
	// Fragment is set for a non-initial fragment: its ports cannot be seen.
	Fragment bool
}

// Reverse is the tuple of the answer.
func (t Tuple) Reverse() Tuple {
	t.Src, t.Dst = t.Dst, t.Src
	t.SrcPort, t.DstPort = t.DstPort, t.SrcPort
	return t
}

func (t Tuple) String() string {
	if t.SrcPort != 0 || t.DstPort != 0 {
		return fmt.Sprintf("%s %s:%d -> %s:%d", ProtoName(t.Proto), t.Src, t.SrcPort, t.Dst, t.DstPort)
	}
	return fmt.Sprintf("%s %s -> %s", ProtoName(t.Proto), t.Src, t.Dst)
}

// Selectors is a pair of proxy identities: what one IPsec SA pair carries,
// seen from this gateway. RFC 2407 4.6.2, RFC 4301 4.4.1.1.
type Selectors struct {
	Local, Remote           netip.Prefix
	Proto                   uint8 // AnyProto for every protocol
	LocalPorts, RemotePorts Ports
}

// Mirror is the same traffic seen from the other gateway.
func (s Selectors) Mirror() Selectors {
	s.Local, s.Remote = s.Remote, s.Local
	s.LocalPorts, s.RemotePorts = s.RemotePorts, s.LocalPorts
	return s
}

// Covers reports whether all traffic of o is traffic of s.
func (s Selectors) Covers(o Selectors) bool {
	return coversPrefix(s.Local, o.Local) && coversPrefix(s.Remote, o.Remote) &&
		(s.Proto == AnyProto || s.Proto == o.Proto) &&
		s.LocalPorts.Covers(o.LocalPorts) && s.RemotePorts.Covers(o.RemotePorts)
}

// MatchOut reports whether an outbound packet (Src is ours) is traffic of s.
func (s Selectors) MatchOut(t Tuple) bool {
	if !s.Local.Contains(t.Src) || !s.Remote.Contains(t.Dst) {
		return false
	}
	if s.Proto != AnyProto && s.Proto != t.Proto {
		return false
	}
	if s.LocalPorts.IsAny() && s.RemotePorts.IsAny() {
		return true
	}
	return !t.Fragment && s.LocalPorts.Contains(t.SrcPort) && s.RemotePorts.Contains(t.DstPort)
}

// MatchIn reports whether an inbound packet (Dst is ours) is traffic of s.
func (s Selectors) MatchIn(t Tuple) bool { return s.MatchOut(t.Reverse()) }

func (s Selectors) String() string {
	return fmt.Sprintf("%s <-> %s", side(s.Local, s.Proto, s.LocalPorts), side(s.Remote, s.Proto, s.RemotePorts))
}

func side(p netip.Prefix, proto uint8, ports Ports) string {
	if proto == AnyProto && ports.IsAny() {
		return p.String()
	}
	if ports.IsAny() {
		return p.String() + "/" + ProtoName(proto)
	}
	return p.String() + "/" + ProtoName(proto) + "/" + ports.String()
}

func coversPrefix(p, q netip.Prefix) bool {
	return p.Addr().BitLen() == q.Addr().BitLen() && p.Bits() <= q.Bits() && p.Contains(q.Addr())
}

// Netmask is the dotted mask of an IPv4 prefix length.
func Netmask(bits int) netip.Addr {
	v := ^uint32(0) << (32 - uint(bits))
	if bits == 0 {
		v = 0
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

var protoNames = map[uint8]string{
	0: "ip", 1: "icmp", 2: "igmp", 4: "ipinip", 6: "tcp", 9: "igrp", 17: "udp", 47: "gre", 50: "esp", 51: "ahp",
	88: "eigrp", 89: "ospf", 94: "nos", 103: "pim", 108: "pcp",
}

// ProtoName is the IOS word for an IP protocol number, or the number.
func ProtoName(n uint8) string {
	if s, ok := protoNames[n]; ok {
		return s
	}
	return strconv.Itoa(int(n))
}

// ProtoOf is the protocol number of an IOS word. "ip" is AnyProto.
func ProtoOf(word string) (uint8, bool) {
	for n, s := range protoNames {
		if s == word {
			return n, true
		}
	}
	return 0, false
}
