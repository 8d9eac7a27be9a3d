// Package esp seals and opens one ESP packet, in place and without allocating:
// RFC 4303, with the ciphers and authenticators a transform set can name.
//
//	 0                   1                   2                   3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|               Security Parameters Index (SPI)                 | ^
//	+---------------------------------------------------------------+ |
//	|                      Sequence Number                          | | HMAC
//	+---------------------------------------------------------------+ | covers
//	|                    IV (16, 8 or no octets)                    | | this;
//	+---------------------------------------------------------------+ | GCM: SPI
//	|                    Payload (variable)                         | | and seq
//	+               +-----------------------------------------------+ | are the
//	|               |     Padding 1, 2, 3 … (0-255)                 | | AAD
//	+-+-+-+-+-+-+-+-+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ |
//	|                               |  Pad Length   | Next Header   | v
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|            Integrity Check Value-ICV (12 to 32 octets)        |
//	+---------------------------------------------------------------+
//
// Extended sequence numbers (section 2.2.1) have 64 bits. The packet carries the
// lower half; the HMAC covers the upper half as if it stood behind the Next
// Header field, GCM as part of the AAD (RFC 4106 section 5).
//
// Algorithms: AES-CBC (RFC 3602), DES (RFC 2405) and 3DES (RFC 2451) and NULL
// (RFC 2410), always with HMAC-MD5-96 (RFC 2403), HMAC-SHA1-96 (RFC 2404) or
// HMAC-SHA2 (RFC 4868); AES-GCM with a 16-octet ICV (RFC 4106). Encryption
// without integrity is refused: it can be broken by flipping bits (Paterson and
// Yau 2006, Degabriele and Paterson 2007).
//
// Initialisation vectors. With GCM the IV is the sequence number: it never
// repeats under one key, since a Sealer stops before its counter wraps and is
// the only one with the key. With CBC the IV "MUST be chosen at random" and be
// unpredictable (RFC 3602 section 3): it is the AES-128 encryption of the
// sequence number under an IV key of its own, drawn at random for each SA and
// used for nothing else; a permutation of a counter never repeats and cannot be
// told from random without that key (NIST SP 800-38A appendix C, first method).
//
// A Sealer and an Opener each belong to one goroutine.
package esp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Octets of the parts of a packet.
const (
	Proto      = 50 // the protocol number of ESP
	HeaderLen  = 8  // SPI and sequence number
	trailerLen = 2  // pad length and next header
	maxIV      = 16
	maxPad     = 15
	maxICV     = 32

	// Headroom is what must be free before a payload that is sealed in place,
	// whatever the transform set; Tailroom what must be free behind it.
	Headroom = HeaderLen + maxIV
	Tailroom = maxPad + trailerLen + maxICV

	// IVKeyLen is the length of the key that CBC IVs are made with.
	IVKeyLen = 16

	// MinSPI is the smallest SPI an SA may have: 0 is for local use and 1 to
	// 255 are reserved (RFC 4303 section 2.1).
	MinSPI = 256
)

// Values of the Next Header field.
const (
	NextIPv4  uint8 = 4
	NextIPv6  uint8 = 41
	NextDummy uint8 = 59 // RFC 4303 section 2.6: "MUST be prepared to discard" it silently
)

// What can go wrong. ErrShort, ErrLength and ErrICV say that nobody vouches for
// the packet; ErrPadding that its sender, who holds the key, made it wrongly.
var (
	ErrShort     = errors.New("ESP packet is shorter than header, IV, trailer and ICV")
	ErrLength    = errors.New("ESP ciphertext is no whole number of cipher blocks")
	ErrICV       = errors.New("ESP integrity check value is wrong")
	ErrPadding   = errors.New("ESP padding is not 1, 2, 3 … or is longer than the payload")
	ErrExhausted = errors.New("ESP sequence numbers of this SA are used up; it must be renewed")
	ErrNoRoom    = errors.New("buffer has too little room around the payload for ESP header and trailer")

	ErrUnsupported = errors.New("transform set is not one this ESP can carry")
	ErrNoIntegrity = errors.New("ESP without integrity is refused: the peer could not tell a forged packet")
	ErrKeyLength   = errors.New("key has the wrong length for the transform set")
	ErrSPI         = errors.New("SPI 0 to 255 is reserved")
)

// layout is where things are in every packet of one transform set, in octets.
type layout struct {
	iv    int
	icv   int
	align int  // payload, padding and trailer together are a multiple of it
	esn   bool // extended sequence numbers
}

// layoutOf is the layout of set, or an error for a set that cannot be carried.
// Its AH is the caller's to do, around ESP.
func layoutOf(set policy.TransformSet) (layout, error) {
	c, h := set.Cipher.Row(), set.Integ.Row()
	switch {
	case c == suite.NoCipher.Row():
		return layout{}, fmt.Errorf("%q names no ESP cipher: %w", set.Words(), ErrUnsupported)
	case set.Cipher.Combined() && set.Integ != suite.NoHash:
		return layout{}, fmt.Errorf("%s: a combined mode takes no separate integrity: %w", set.Words(), ErrUnsupported)
	case !set.Cipher.Combined() && h.ICV == 0 && !around(set):
		return layout{}, fmt.Errorf("%s: %w", set.Words(), ErrNoIntegrity)
	}
	// RFC 4303 section 2.4: the trailer ends on a 4-octet boundary, whatever
	// the cipher's block.
	l := layout{iv: c.IV, icv: h.ICV, align: max(c.Block, 4), esn: set.ESN}
	if set.Cipher.Combined() {
		l.icv = c.ICV
	}
	return l, nil
}

// around reports whether AH around ESP gives a set the integrity that ESP's own
// part lacks (RFC 4303 section 1: integrity may be provided by a separate
// service). It covers the ciphertext, and is checked before anything is decrypted.
func around(set policy.TransformSet) bool {
	return set.AH.Row().ICV > 0 && set.Integ == suite.NoHash && set.Cipher != suite.NullCipher
}

// header is the number of octets before the payload.
func (l layout) header() int { return HeaderLen + l.iv }

// pad is the number of padding octets behind a payload of n octets.
func (l layout) pad(n int) int { return (l.align - (n+trailerLen)%l.align) % l.align }

// keyLen is the octets of keying material of a set's cipher, salt included.
func keyLen(set policy.TransformSet) int {
	c := set.Cipher.Row()
	bits := set.KeyBits
	if !c.Sized {
		bits = c.KeyBits[0]
	}
	return bits/8 + c.Salt
}

// Header reads the SPI and the sequence number of a packet, which nobody has
// vouched for yet. ok is false for less than 8 octets.
func Header(packet []byte) (spi, seq uint32, ok bool) {
	if len(packet) < HeaderLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(packet), binary.BigEndian.Uint32(packet[4:]), true
}
