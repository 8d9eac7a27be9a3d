package ah

import (
	"encoding/binary"
	"math"

	"culvert/internal/core/crypt"
	"culvert/internal/core/suite"
)

// ProtoAH is the protocol number of AH.
const ProtoAH = 51

// Sealer makes the packets of one outbound SA.
type Sealer struct {
	sum
	spi  uint32
	seq  uint64 // of the last packet sealed
	last uint64 // the highest sequence number
}

// NewSealer makes the sealer of an outbound SA. key is as long as the digest
// of h (RFC 4868 section 2.1.1) and may be wiped afterwards; esn is for extended sequence
// numbers. Errors: ErrUnsupported, ErrKeyLength, ErrSPI.
func NewSealer(h suite.Hash, spi uint32, key crypt.Secret, esn bool) (*Sealer, error) {
	c, err := newSum(h, spi, key, esn)
	if err != nil {
		return nil, err
	}
	s := &Sealer{sum: c, spi: spi, last: math.MaxUint32}
	if esn {
		s.last = math.MaxUint64
	}
	return s, nil
}

// SPI is the peer's name of the SA.
func (s *Sealer) SPI() uint32 { return s.spi }

// Seq is the sequence number of the last packet sealed; 0 before the first.
func (s *Sealer) Seq() uint64 { return s.seq }

// Exhausted reports that every sequence number has been given out.
func (s *Sealer) Exhausted() bool { return s.seq >= s.last }

// Len is the octets of AH in each packet.
func (s *Sealer) Len() int { return FixedLen + s.icv }

// Seal completes a packet as the SA's next one. packet is an IPv4 header as it
// will be sent, then Len octets of room, then what AH stands before, whose
// protocol is next. Seal writes AH, and the protocol, total length and checksum
// of the IPv4 header.
//
// Errors, with no number used: ErrShort for what is no IPv4 header with that
// room behind, or longer than IPv4 allows; ErrFragment; ErrOptions;
// ErrExhausted for ever once the sequence numbers are used up.
func (s *Sealer) Seal(packet []byte, next uint8) error {
	ihl, ok := headerLen(packet)
	if !ok || len(packet) < ihl+s.Len() || len(packet) > math.MaxUint16 {
		return ErrShort
	}
	if fragment(packet) {
		return ErrFragment
	}
	if s.Exhausted() {
		return ErrExhausted
	}
	seq := s.seq + 1
	packet[9] = ProtoAH
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	b := packet[ihl:]
	b[0], b[1] = next, byte(s.Len()/4-2)
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint32(b[4:], s.spi)
	binary.BigEndian.PutUint32(b[8:], uint32(seq))
	icv, err := s.of(packet, ihl, s.Len(), uint32(seq>>32))
	if err != nil {
		return err
	}
	s.seq = seq
	copy(b[FixedLen:], icv)
	PutChecksum(packet[:ihl])
	return nil
}

// headerLen is the length of a packet's IPv4 header; ok is false when it has none.
func headerLen(packet []byte) (ihl int, ok bool) {
	if len(packet) < ipv4Header || packet[0]>>4 != 4 {
		return 0, false
	}
	ihl = int(packet[0]&15) * 4
	return ihl, ihl >= ipv4Header && ihl <= len(packet)
}

// fragment reports whether a packet is a part of another: More Fragments or an offset.
func fragment(packet []byte) bool { return binary.BigEndian.Uint16(packet[6:])&0x3fff != 0 }

// PutChecksum writes the checksum of an IPv4 header, of 20 to 60 octets (RFC 791 section 3.1).
func PutChecksum(header []byte) {
	header[10], header[11] = 0, 0
	sum := uint32(0)
	for i := 0; i+1 < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum))
}
