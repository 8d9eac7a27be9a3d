package rawsock

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"culvert/internal/edge/mmsg"
)

// Parts of the IPv4 header's flags and fragment offset (RFC 791 section 3.1).
const (
	dontFragment  = 0x4000
	moreFragments = 0x2000
	offsetMask    = 0x1fff
	optCopied     = 0x80 // in the kind of an option: it is in every fragment
)

// cutTo are the sizes of fragments that are tried, in octets: what an Ethernet
// carries, then with less and less left after somebody's tunnels, then the least
// that every host takes.
func cutTo() []int { return []int{1500, 1400, 1280, 1000, 576} }

// cut sends in fragments the packets that were refused for their size, as RFC
// 4302 section 3.3.4 has it: after AH. The kernel does that for packets it makes the header
// of, not for whole ones. One whose header forbids it stays refused.
func (c *Conn) cut(pkts [][]byte, to netip.AddrPort, refused *mmsg.SendError) error {
	left := *refused
	left.TooLarge = nil
	for _, n := range refused.TooLarge {
		if c.cutOne(pkts[n], to) {
			left.Lost--
		} else {
			left.TooLarge = append(left.TooLarge, n)
		}
	}
	if left.Lost == 0 {
		return nil
	}
	return &left
}

// cutOne sends one packet in fragments of the first size that the kernel takes.
func (c *Conn) cutOne(packet []byte, to netip.AddrPort) bool {
	for _, size := range cutTo() {
		if size >= len(packet) {
			continue
		}
		parts := fragments(packet, size)
		if parts == nil {
			return false
		}
		// The first fragment is as large as any. It goes alone: a last one that
		// got through without the others would spoil the next try.
		err := c.batch.WriteBatch(parts[:1], to)
		if errors.Is(err, unix.EMSGSIZE) {
			continue
		}
		return err == nil && c.batch.WriteBatch(parts[1:], to) == nil
	}
	return false
}

// fragments cuts an IPv4 packet into fragments of at most size octets: RFC 791
// section 3.2. nil when its header forbids that or is none.
func fragments(packet []byte, size int) [][]byte {
	if len(packet) < headerLen {
		return nil
	}
	ihl := int(packet[0]&0x0f) * 4
	flags := binary.BigEndian.Uint16(packet[6:])
	if ihl < headerLen || ihl > len(packet) || flags&(dontFragment|moreFragments|offsetMask) != 0 {
		return nil
	}
	step := (size - ihl) / 8 * 8
	if step <= 0 {
		return nil
	}
	var out [][]byte
	header := packet[:ihl]
	for at := 0; at < len(packet)-ihl; at += step {
		if at > 0 {
			header = later(packet[:ihl])
		}
		body := packet[ihl+at : min(ihl+at+step, len(packet))]
		part := slices.Concat(header, body)
		offset := uint16(at / 8)
		if ihl+at+len(body) < len(packet) {
			offset |= moreFragments
		}
		binary.BigEndian.PutUint16(part[2:], uint16(len(part)))
		binary.BigEndian.PutUint16(part[6:], offset)
		out = append(out, part)
	}
	return out
}

// later is the header of all fragments but the first: of the options only those
// that are to be copied.
func later(first []byte) []byte {
	h := slices.Clone(first[:headerLen])
	for at := headerLen; at < len(first); {
		kind := first[at]
		if kind == 0 {
			break
		}
		length := 1
		if kind != 1 {
			if at+1 >= len(first) || first[at+1] < 2 || at+int(first[at+1]) > len(first) {
				break
			}
			length = int(first[at+1])
		}
		if kind&optCopied != 0 {
			h = append(h, first[at:at+length]...)
		}
		at += length
	}
	for len(h)%4 != 0 {
		h = append(h, 0)
	}
	h[0] = 0x40 | byte(len(h)/4)
	return h
}
