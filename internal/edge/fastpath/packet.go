package fastpath

import (
	"encoding/binary"
	"net/netip"

	"culvert/internal/core/flow"
)

const ipv4Header = 20

// parseIPv4 reads what selectors compare from an IPv4 packet, and its total
// length, which may be less than len(b) (RFC 4303 2.7 pads so) but not more. ok
// is false for whatever is no whole IPv4 packet: another version, lengths that
// contradict each other, a TCP or UDP packet or first fragment too short to show
// its ports (RFC 3128). The header checksum is the kernel's to verify.
func parseIPv4(b []byte) (t flow.Tuple, total int, ok bool) {
	if len(b) < ipv4Header || b[0]>>4 != 4 {
		return t, 0, false
	}
	header := int(b[0]&15) * 4
	total = int(binary.BigEndian.Uint16(b[2:]))
	if header < ipv4Header || total < header || total > len(b) {
		return t, 0, false
	}
	t.Src = netip.AddrFrom4([4]byte(b[12:16]))
	t.Dst = netip.AddrFrom4([4]byte(b[16:20]))
	t.Proto = b[9]
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		t.Fragment = true
		return t, total, true
	}
	switch t.Proto {
	case flow.TCP, flow.UDP:
		if total-header < 4 {
			return t, 0, false
		}
		t.SrcPort = binary.BigEndian.Uint16(b[header:])
		t.DstPort = binary.BigEndian.Uint16(b[header+2:])
	}
	return t, total, true
}
