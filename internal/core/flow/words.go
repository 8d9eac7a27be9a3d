package flow

import (
	"strconv"
	"strings"
)

// String is the condition as IOS writes it, with numbers: "eq 500", "range 1 9";
// empty for any port. Words gives the names.
func (p PortMatch) String() string { return p.Words(AnyProto) }

// Words is the condition as IOS prints it for proto: well-known ports by name.
func (p PortMatch) Words(proto uint8) string {
	op := [...]string{Any: "", Eq: "eq", Neq: "neq", Gt: "gt", Lt: "lt", Range: "range"}[p.Op]
	if op == "" {
		return ""
	}
	w := []string{op}
	for _, n := range p.Ports {
		w = append(w, PortName(proto, n))
	}
	return strings.Join(w, " ")
}

// PortName is IOS's name of a TCP or UDP port, or the number.
func PortName(proto uint8, n uint16) string {
	var names map[string]uint16
	switch proto {
	case TCP:
		names = tcpPorts
	case UDP:
		names = udpPorts
	}
	for s, q := range names {
		if q == n {
			return s
		}
	}
	return strconv.Itoa(int(n))
}

// PortOf is the number of an IOS port name of that protocol.
func PortOf(proto uint8, word string) (uint16, bool) {
	names := tcpPorts
	if proto == UDP {
		names = udpPorts
	}
	n, ok := names[word]
	return n, ok
}

// PortNames lists the IOS port names of a protocol: name to number.
func PortNames(proto uint8) map[string]uint16 {
	out := map[string]uint16{}
	names := tcpPorts
	if proto == UDP {
		names = udpPorts
	}
	for s, n := range names {
		out[s] = n
	}
	return out
}

var udpPorts = map[string]uint16{
	"biff": 512, "bootpc": 68, "bootps": 67, "discard": 9, "dnsix": 195, "domain": 53, "echo": 7, "isakmp": 500,
	"mobile-ip": 434, "nameserver": 42, "netbios-dgm": 138, "netbios-ns": 137, "netbios-ss": 139, "non500-isakmp": 4500,
	"ntp": 123, "pim-auto-rp": 496, "rip": 520, "ripv6": 521, "snmp": 161, "snmptrap": 162, "sunrpc": 111, "syslog": 514,
	"tacacs": 49, "talk": 517, "tftp": 69, "time": 37, "who": 513, "xdmcp": 177,
}

var tcpPorts = map[string]uint16{
	"bgp": 179, "chargen": 19, "cmd": 514, "daytime": 13, "discard": 9, "domain": 53, "echo": 7, "exec": 512, "finger": 79,
	"ftp": 21, "ftp-data": 20, "gopher": 70, "hostname": 101, "ident": 113, "irc": 194, "klogin": 543, "kshell": 544,
	"login": 513, "lpd": 515, "msrpc": 135, "nntp": 119, "onep-plain": 15001, "onep-tls": 15002, "pop2": 109, "pop3": 110,
	"smtp": 25, "sunrpc": 111, "tacacs": 49, "talk": 517, "telnet": 23, "time": 37, "uucp": 540, "whois": 43, "www": 80,
}
