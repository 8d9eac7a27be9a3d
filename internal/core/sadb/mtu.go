package sadb

import (
	"culvert/internal/core/ah"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

const (
	ipv6Header = 40
	udpHeader  = 8
)

// PlaintextMTU is the largest inner packet, in octets, whose protected packet
// fits path octets: what "show crypto ipsec sa" calls plaintext mtu, and what
// the TUN device is set up with. encap is for ESP in UDP, six for IPv6 between
// the gateways, whose AH is a multiple of 8 octets long (RFC 4302 section
// 3.3.3.2.1). In transport mode the inner header is the outer one, so it counts
// as plaintext; a bundle has one outer header. Never less than 0.
func PlaintextMTU(path int, set policy.TransformSet, encap, six bool) int {
	outer, unit := ipv4Header, 4
	if six {
		outer, unit = ipv6Header, 8
	}
	n := path - outer
	if encap {
		n -= udpHeader
	}
	n -= (ah.Len(set.AH) + unit - 1) / unit * unit
	if c := set.Cipher.Row(); set.Cipher != suite.NoCipher {
		icv := set.Integ.Row().ICV
		if set.Cipher.Combined() {
			icv = c.ICV
		}
		n -= 8 + c.IV + icv
		n -= n % max(c.Block, 4) // RFC 4303 section 2.4
		n -= 2                   // pad length and next header
	}
	if set.Mode == suite.Transport {
		n += outer
	}
	return max(n, 0)
}
