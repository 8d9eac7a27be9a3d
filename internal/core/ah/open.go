package ah

import (
	"crypto/subtle"
	"encoding/binary"

	"culvert/internal/core/crypt"
	"culvert/internal/core/suite"
)

// Opener checks the packets of one inbound SA.
type Opener struct {
	sum
	spi uint32
}

// NewOpener makes the opener of an inbound SA; arguments and errors as NewSealer.
func NewOpener(h suite.Hash, spi uint32, key crypt.Secret, esn bool) (*Opener, error) {
	c, err := newSum(h, spi, key, esn)
	if err != nil {
		return nil, err
	}
	return &Opener{c, spi}, nil
}

// SPI is our name of the SA.
func (o *Opener) SPI() uint32 { return o.spi }

// Check tells, without any cryptography, whether packet, from its IPv4 header
// on, can be one of this SA, and where AH begins and how long it is. The length
// is what the algorithm makes it, or that filled up to a multiple of 8 octets
// as Linux does over IPv4 unless told to follow RFC 4302 section 3.3.3.2.1.
// Errors: ErrShort, ErrLength, ErrFragment.
func (o *Opener) Check(packet []byte) (at, length int, err error) {
	at, ok := headerLen(packet)
	if !ok || len(packet) < at+FixedLen+o.icv || int(binary.BigEndian.Uint16(packet[2:])) != len(packet) {
		return 0, 0, ErrShort
	}
	if fragment(packet) {
		return 0, 0, ErrFragment
	}
	length = (int(packet[at+1]) + 2) * 4
	least := FixedLen + o.icv
	if length != (least+align-1)/align*align && length != (least+wideAlign-1)/wideAlign*wideAlign {
		return 0, 0, ErrLength
	}
	if len(packet) < at+length {
		return 0, 0, ErrShort
	}
	return at, length, nil
}

// Authenticate verifies the ICV of a packet, from its IPv4 header on, whose
// whole sequence number is seq: its upper half is not in the packet. It returns
// what follows AH, a part of packet, and its protocol. After nil the caller
// updates its replay window. packet is not changed. Errors: those of Check,
// ErrOptions, ErrICV.
func (o *Opener) Authenticate(packet []byte, seq uint64) (payload []byte, next uint8, err error) {
	at, length, err := o.Check(packet)
	if err != nil {
		return nil, 0, err
	}
	icv, err := o.of(packet, at, length, uint32(seq>>32))
	if err != nil {
		return nil, 0, err
	}
	if subtle.ConstantTimeCompare(icv, packet[at+FixedLen:at+FixedLen+o.icv]) != 1 {
		return nil, 0, ErrICV
	}
	return packet[at+length:], packet[at], nil
}
