package guard

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
)

// Offsets in the IPv4 header (RFC 791 section 3.1) and behind it.
const (
	offFragment = 6
	offProtocol = 9
	offSource   = 12
	offDest     = 16

	offSourcePort = 0
	offDestPort   = 2
	offICMPType   = 0
	offICMPCode   = 1
	offTCPFlags   = 13
)

const (
	fragmentOffsetMask = 0x1fff
	tcpACKorRST        = 0x10 | 0x04
	reg                = uint32(unix.NFT_REG_1)
)

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func port(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// deviceName is a device name as the kernel compares it: padded with zeros.
func deviceName(s string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, s)
	return b
}

func equal(data []byte) expr.Any { return compare(expr.CmpOpEq, data) }

func compare(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: reg, Data: data}
}

func cameBy(device string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, equal(deviceName(device))}
}

func leavesBy(device string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, equal(deviceName(device))}
}

// routedBy holds when the main routing would send the packet out by device.
func routedBy(device string) []expr.Any {
	return []expr.Any{&expr.Fib{Register: reg, ResultOIFNAME: true, FlagDADDR: true}, equal(deviceName(device))}
}

// routedNowhere holds for a packet that is not for ourselves, not a broadcast
// and not a multicast, and has no route.
func routedNowhere() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg, ResultOIF: true, FlagDADDR: true}, equal(native(0)),
		&expr.Fib{Register: reg, ResultADDRTYPE: true, FlagDADDR: true}, equal(native(unix.RTN_UNICAST)),
	}
}

func hasMark(mark uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: reg}, equal(native(mark))}
}

func setMark(mark uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: reg, Data: native(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
	}
}

func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

// transport loads octets behind the IPv4 header. The kernel ends the rule
// without a match when there are none and for a non-initial fragment.
func transport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func masked(mask []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

func hasProtocol(p uint8) []expr.Any {
	return []expr.Any{network(offProtocol, 1), equal([]byte{p})}
}

func isLaterFragment() []expr.Any {
	return []expr.Any{network(offFragment, 2), masked(port(fragmentOffsetMask)), compare(expr.CmpOpNeq, port(0))}
}

func isTo(a netip.Addr) []expr.Any { return hasAddress(offDest, flow.HostMatch(a)) }

// hasAddress compares an address under an IOS wildcard: the bits that are one
// in the wildcard, in whatever place, are not compared.
func hasAddress(offset uint32, m flow.Match) []expr.Any {
	if m.IsAny() {
		return nil
	}
	want, mask := m.Addr.As4(), m.Wildcard.As4()
	all := true
	for i := range mask {
		mask[i] = ^mask[i]
		want[i] &= mask[i]
		all = all && mask[i] == 0xff
	}
	if all {
		return []expr.Any{network(offset, 4), equal(want[:])}
	}
	return []expr.Any{network(offset, 4), masked(mask[:]), equal(want[:])}
}

func count() expr.Any { return &expr.Counter{} }

func countIn(object string) expr.Any {
	return &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: object}
}

func verdict(k expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: k} }

func jump(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictJump, Chain: chain} }

func goOn(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }

// join makes one rule of several conditions and actions.
func join(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
