package show

import (
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// defaultMTU is that of an Ethernet, shown while the path's is not known.
const defaultMTU = 1500

// PlaintextMTU is the largest inner packet, in octets, that fits a packet of
// path octets once protected with set: as IOS computes it for ESP (RFC 4303
// section 2), two octets of trailer being the pad length and the next header.
// In transport mode the IP header counts as plaintext. six is for IPv6 between
// the gateways. The result is never negative.
func PlaintextMTU(path int, set policy.TransformSet, encap, six bool) int {
	outer := 20
	if six {
		outer = 40
	}
	n := path - outer
	if encap {
		n -= 8 // RFC 3948 2.1
	}
	if set.AH != suite.NoHash {
		n -= ahSize(set.AH, six)
	}
	if set.Cipher != suite.NoCipher {
		n -= 8 + set.Cipher.Row().IV + icv(set)
		n -= n % align(set.Cipher)
		n -= 2
	}
	if set.Mode == suite.Transport {
		n += outer
	}
	return max(n, 0)
}

// align is the granularity of an ESP ciphertext: the cipher's block, and at
// least four octets (RFC 4303 2.4).
func align(c suite.Cipher) int { return max(c.Row().Block, 4) }

// icv is the length of ESP's integrity check value in octets.
func icv(set policy.TransformSet) int {
	if set.Cipher.Combined() {
		return set.Cipher.Row().ICV
	}
	return set.Integ.Row().ICV
}

// ahSize is the length of an AH header: twelve octets and the check value,
// padded to four octets in IPv4 and to eight in IPv6 (RFC 4302 2.6).
func ahSize(h suite.Hash, six bool) int {
	unit := 4
	if six {
		unit = 8
	}
	n := 12 + h.Row().ICV
	return (n + unit - 1) / unit * unit
}
