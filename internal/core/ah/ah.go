// Package ah puts the Authentication Header into one IPv4 packet and checks it,
// in place and without allocating: RFC 4302, with HMAC-MD5-96 (RFC 2403),
// HMAC-SHA1-96 (RFC 2404) and HMAC-SHA2 (RFC 4868).
//
//	 0                   1                   2                   3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Next Header   |  Payload Len  |          RESERVED             |
//	+---------------------------------------------------------------+
//	|                 Security Parameters Index (SPI)               |
//	+---------------------------------------------------------------+
//	|                    Sequence Number Field                      |
//	+---------------------------------------------------------------+
//	|                Integrity Check Value-ICV (12 to 32 octets)    |
//	+---------------------------------------------------------------+
//
// What the ICV covers (section 3.3.3), in this order: the IPv4 header with its
// mutable parts as zeros (see headerOf), AH with its ICV as zeros, all that
// follows, and with extended sequence numbers their upper half. The header that
// counts is the one the packet leaves with, identification included, so whoever
// seals a packet has to send that very header.
//
// The two modes look the same from here: in transport mode what follows AH is
// the packet's own payload, in tunnel mode a whole packet behind a header made
// for it. AH stands before fragmentation and after reassembly (section 3.3.4).
//
// A Sealer and an Opener each belong to one goroutine.
package ah

import (
	"encoding/binary"
	"errors"
	"fmt"

	"culvert/internal/core/crypt"
	"culvert/internal/core/suite"
)

// Octets.
const (
	FixedLen = 12 // of AH without its ICV
	// MaxLen is the longest AH that a Sealer makes: HMAC-SHA-512-256.
	MaxLen = FixedLen + maxICV

	ipv4Header    = 20
	maxIPv4Header = 60
	maxICV        = 32
	// A length is a multiple of 4 octets over IPv4; what fills it up to one of 8
	// is needless there, but Linux does so unless it is told otherwise.
	align     = 4
	wideAlign = 8
)

// MinSPI is the smallest SPI an SA may have: 0 is for local use and 1 to 255
// are reserved (RFC 4302 section 2.4).
const MinSPI = 256

// What can go wrong.
var (
	ErrShort     = errors.New("AH packet is shorter than its headers and ICV")
	ErrLength    = errors.New("AH has another length than its algorithm's ICV makes it")
	ErrFragment  = errors.New("packet is a fragment, which AH cannot cover")
	ErrOptions   = errors.New("IPv4 options are malformed")
	ErrICV       = errors.New("AH integrity check value is wrong")
	ErrExhausted = errors.New("AH sequence numbers of this SA are used up; it must be renewed")

	ErrUnsupported = errors.New("no AH transform of that hash")
	ErrKeyLength   = errors.New("key has the wrong length for the AH transform")
	ErrSPI         = errors.New("SPI 0 to 255 is reserved")
)

// Len is the octets of AH in each packet that is sealed with h: 24 to 44. Over
// IPv4 every one is a multiple of 32 bits as it is. 0 for no hash.
func Len(h suite.Hash) int {
	if h.Row().ICV == 0 {
		return 0
	}
	return FixedLen + h.Row().ICV
}

// Header reads the SPI and the sequence number of an AH, b being what follows
// the IPv4 header. Nobody has vouched for them yet. ok is false for less than
// 12 octets.
func Header(b []byte) (spi, seq uint32, ok bool) {
	if len(b) < FixedLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), true
}

// sum computes ICVs.
type sum struct {
	mac *crypt.MAC
	icv int
	esn bool
	// Scratch memory: what is handed to an interface would otherwise be
	// allocated for each packet.
	header [maxIPv4Header]byte
	high   [4]byte
	zeros  [maxICV]byte
}

func newSum(h suite.Hash, spi uint32, key crypt.Secret, esn bool) (sum, error) {
	switch {
	case h == suite.NoHash || h.Row().ICV == 0:
		return sum{}, fmt.Errorf("%s: %w", h, ErrUnsupported)
	case key.Len() != h.Row().Size:
		return sum{}, fmt.Errorf("%s: key of %d octets, expected %d: %w", h.Row().AH, key.Len(), h.Row().Size, ErrKeyLength)
	case spi < MinSPI:
		return sum{}, fmt.Errorf("SPI %d: %w", spi, ErrSPI)
	}
	return sum{mac: crypt.NewMAC(h, key), icv: h.Row().ICV, esn: esn}, nil
}

// of is the ICV of a packet whose IPv4 header is ihl octets and whose AH is
// length octets long; high is the upper half of the sequence number. Error:
// ErrOptions.
func (s *sum) of(packet []byte, ihl, length int, high uint32) ([]byte, error) {
	header, err := headerOf(&s.header, packet[:ihl])
	if err != nil {
		return nil, err
	}
	upper := s.high[:0]
	if s.esn {
		// RFC 4302 section 3.3.3.2.2: as if it stood behind the payload.
		upper = s.high[:]
		binary.BigEndian.PutUint32(upper, high)
	}
	fixed, behind := packet[ihl:ihl+FixedLen], packet[ihl+FixedLen+s.icv:]
	// behind begins with the padding of the ICV, if there is any: it is covered.
	return s.mac.Sum(header, fixed, s.zeros[:s.icv], behind, upper), nil
}
