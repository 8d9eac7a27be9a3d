// Package isakmp is the wire codec of IKEv1: RFC 2408 (ISAKMP), RFC 2407 (IPsec
// DOI), RFC 2409 (IKE), RFC 3947 (NAT traversal), RFC 3706 (DPD).
//
//	datagram = header (28) | payload | payload | …            ParseHeader, ParsePayloads
//	payload  = next (1) | reserved (1) | length (2) | body    Payload
//	SA body  = DOI | situation | proposal | proposal | …      ParseSA
//	                             └ transform | transform | …  Transform, Attribute
//	ID, N, D = ParseID, ParseNotification, ParseDelete
//
// It only translates. It knows no session, no key and no policy; what it
// returns slices into what it was given and is never re-encoded for a hash.
//
// What it refuses, and why:
//
//   - A datagram shorter or longer than the header's Length (RFC 2408 5.1).
//   - A minor version above 0: "Implementations SHOULD never accept packets with
//     a minor version number larger than its own" (RFC 2408 3.1).
//   - RESERVED octets that are not zero: "the receiver SHOULD check the RESERVED
//     fields for a zero (0) value and discard the packet if other values are
//     found" (RFC 2408 3, 5.3). After a decryption with the wrong key this is one
//     of the checks that tells garbage from a message. Unused bits of the flags
//     octet are no RESERVED field: they are kept and left alone.
//   - Payload types without a meaning in IKEv1: "If the Next Payload field
//     validation fails, the message is discarded" (RFC 2408 5.3). Types of the
//     private range, 128 and above, are carried and can be ignored.
//   - Lengths that do not add up exactly, wrong "more" marks, a transform count
//     that is not the count. Work is linear in the octets received and bounded
//     by MaxPayloads, MaxProposals, MaxTransforms and MaxAttributes.
//
// Attributes are kept as they came, duplicates and odd lengths too: choosing
// among offers is not the codec's business.
package isakmp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Cookie is one half of the SPI of an ISAKMP SA.
type Cookie [8]byte

// String is the cookie as 16 hexadecimal digits.
func (c Cookie) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether c is the cookie nobody has: the responder's in the
// first message.
func (c Cookie) IsZero() bool { return c == Cookie{} }

// Exchange is an exchange type (RFC 2408 3.1, RFC 2409 appendix A).
type Exchange uint8

// The exchange types.
const (
	ExchangeBase          Exchange = 1
	ExchangeMain          Exchange = 2 // Identity Protection
	ExchangeAuthOnly      Exchange = 3
	ExchangeAggressive    Exchange = 4
	ExchangeInformational Exchange = 5
	ExchangeTransaction   Exchange = 6 // mode config and XAUTH
	ExchangeQuick         Exchange = 32
	ExchangeNewGroup      Exchange = 33
)

// String is the exchange as event.Message names it: "main", "quick", "exchange(34)".
func (e Exchange) String() string {
	switch e {
	case ExchangeBase:
		return "base"
	case ExchangeMain:
		return "main"
	case ExchangeAuthOnly:
		return "authentication only"
	case ExchangeAggressive:
		return "aggressive"
	case ExchangeInformational:
		return "informational"
	case ExchangeTransaction:
		return "transaction"
	case ExchangeQuick:
		return "quick"
	case ExchangeNewGroup:
		return "new group"
	}
	return fmt.Sprintf("exchange(%d)", uint8(e))
}

// Flags are the bits of the header's flags octet (RFC 2408 3.1).
type Flags uint8

// The flags.
const (
	FlagEncryption Flags = 1
	FlagCommit     Flags = 2
	FlagAuthOnly   Flags = 4
)

func (f Flags) String() string {
	var w []string
	for _, k := range []struct {
		bit  Flags
		name string
	}{{FlagEncryption, "encryption"}, {FlagCommit, "commit"}, {FlagAuthOnly, "auth-only"}} {
		if f&k.bit != 0 {
			w = append(w, k.name)
			f &^= k.bit
		}
	}
	if f != 0 {
		w = append(w, fmt.Sprintf("flags(0x%02x)", uint8(f)))
	}
	if len(w) == 0 {
		return "none"
	}
	return strings.Join(w, "+")
}

// Version1 is the version octet of IKEv1: major 1, minor 0.
const Version1 uint8 = 0x10

// HeaderSize is the length of an ISAKMP header in octets.
const HeaderSize = 28

// Header is the ISAKMP header (RFC 2408 3.1).
type Header struct {
	InitiatorCookie, ResponderCookie Cookie
	Next                             PayloadType // of the first payload
	Version                          uint8       // major in the high nibble
	Exchange                         Exchange
	Flags                            Flags
	MessageID                        uint32 // 0 in phase 1
	Length                           uint32 // octets of the message, header included
}

// Major is the major version.
func (h Header) Major() uint8 { return h.Version >> 4 }

// Minor is the minor version.
func (h Header) Minor() uint8 { return h.Version & 0x0f }

// Encrypted reports whether the payloads are encrypted.
func (h Header) Encrypted() bool { return h.Flags&FlagEncryption != 0 }

// ParseHeader reads the header of the datagram b and checks that b is the
// whole message: neither shorter nor longer than the header says. The errors
// are an Error: ErrPayloadMalformed (shorter than a header), ErrVersion,
// ErrMinorVersion, ErrLength. Except for the first, the header comes back as
// read, so that an IKEv2 message can be told by Header.Major.
func ParseHeader(b []byte) (Header, error) {
	const where = "ISAKMP header"
	if len(b) < HeaderSize {
		return Header{}, malformed(where, len(b), "%d octets, expected at least %d", len(b), HeaderSize)
	}
	h := Header{
		InitiatorCookie: Cookie(b[0:8]),
		ResponderCookie: Cookie(b[8:16]),
		Next:            PayloadType(b[16]),
		Version:         b[17],
		Exchange:        Exchange(b[18]),
		Flags:           Flags(b[19]),
		MessageID:       binary.BigEndian.Uint32(b[20:24]),
		Length:          binary.BigEndian.Uint32(b[24:28]),
	}
	if h.Major() != 1 {
		return h, fail(NotifyInvalidMajorVersion, where, 17, "version %d.%d, expected 1.0", h.Major(), h.Minor())
	}
	if h.Minor() != 0 {
		return h, fail(NotifyInvalidMinorVersion, where, 17, "version 1.%d, expected 1.0", h.Minor())
	}
	if uint64(h.Length) != uint64(len(b)) {
		return h, fail(NotifyUnequalPayloadLengths, where, 24, "Length says %d octets, the datagram has %d", h.Length, len(b))
	}
	return h, nil
}

// Append writes h behind b, with Length as it stands. See SetLength.
func (h Header) Append(b []byte) []byte {
	b = append(b, h.InitiatorCookie[:]...)
	b = append(b, h.ResponderCookie[:]...)
	b = append(b, byte(h.Next), h.Version, byte(h.Exchange), byte(h.Flags))
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, h.Length)
}

// SetLength writes the length of message into its header's Length field, once
// all of it is there. message starts with a header.
func SetLength(message []byte) {
	binary.BigEndian.PutUint32(message[24:28], uint32(len(message)))
}
