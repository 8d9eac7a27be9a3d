package isakmp

import "encoding/binary"

// The fragments of Cisco's IKE fragmentation, which strongSwan, libreswan and
// Windows speak too. There is no RFC: what follows is what they all send.
//
//	header: cookies, exchange and message ID of the message that was cut,
//	        next payload 132, encryption flag clear, length of this datagram
//	0         1         2         3         4         5         6         7
//	+---------+---------+---------+---------+---------+---------+---------+---------+
//	! next: 0 !    0    !      length       !    fragment ID    ! number  !  flags  !
//	+---------+---------+---------+---------+---------+---------+---------+---------+
//	! a part of the message, which is cut with its own header                       ~
//
// Numbers count from 1; bit 0 of the flags marks the last one.

// fragmentLast is the flag of the last fragment.
const fragmentLast = 1

const fragmentSize = 4 // fragment ID, number, flags

// FragmentOverhead is what a fragment adds to its part of the message, in
// octets: ISAKMP header, generic header and its own.
const FragmentOverhead = HeaderSize + genericSize + fragmentSize

// Fragment is one part of a message (payload type 132).
type Fragment struct {
	ID     uint16 // of the message; never 0
	Number uint8  // from 1
	Last   bool
	Data   []byte // slices into the message it was parsed from; at least one octet
}

// ParseFragment reads the body of a fragment payload. The error is
// ErrPayloadMalformed: too short, fragment ID 0 (CVE-2013-6076), number 0.
func ParseFragment(body []byte) (Fragment, error) {
	const where = "FRAG payload"
	if len(body) <= fragmentSize {
		return Fragment{}, malformed(where, 0, "%d octets, expected more than %d", len(body), fragmentSize)
	}
	f := Fragment{ID: binary.BigEndian.Uint16(body), Number: body[2], Last: body[3]&fragmentLast != 0, Data: body[fragmentSize:]}
	if f.ID == 0 {
		return Fragment{}, malformed(where, 0, "fragment ID 0")
	}
	if f.Number == 0 {
		return Fragment{}, malformed(where, 2, "fragment number 0, they count from 1")
	}
	return f, nil
}

// Append writes the body of the fragment payload behind b.
func (f Fragment) Append(b []byte) []byte {
	flags := byte(0)
	if f.Last {
		flags = fragmentLast
	}
	b = binary.BigEndian.AppendUint16(b, f.ID)
	return append(append(b, f.Number, flags), f.Data...)
}

// Cut makes fragments of a message, each a datagram with size octets of it.
// The last but one number is 255; a message that needs more is not cut: nil.
func Cut(message []byte, id uint16, size int) [][]byte {
	h, err := ParseHeader(message)
	if err != nil || size < 1 || len(message) > 255*size {
		return nil
	}
	h.Next, h.Flags = PayloadFragment, h.Flags&^FlagEncryption
	var out [][]byte
	for number := uint8(1); len(message) > 0; number++ {
		n := min(size, len(message))
		f := Fragment{ID: id, Number: number, Last: n == len(message), Data: message[:n]}
		message = message[n:]
		_, body := AppendPayloads(nil, []Payload{{PayloadFragment, f.Append(nil)}})
		h.Length = uint32(HeaderSize + len(body))
		out = append(out, append(h.Append(nil), body...))
	}
	return out
}

// Fragments reports whether the body of a VID payload says that its sender can
// put fragments of main mode and what follows together: the ID alone, as Windows
// sends it, or with capabilities whose top bit is set.
func Fragments(vid []byte) bool {
	if VendorOf(vid) != VendorFragmentation {
		return false
	}
	capabilities := vid[md5Octets:]
	return len(capabilities) == 0 || len(capabilities) == 4 && capabilities[0]&0x80 != 0
}

// md5Octets is the length of the vendor ID in front of its capabilities.
const md5Octets = 16
