package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
)

// aad is what GCM authenticates beside the ciphertext: SPI and sequence number,
// the upper half of an extended one between them (RFC 4106 section 5).
type aad [12]byte

// of builds the AAD of a packet. seq is the whole sequence number.
func (a *aad) of(packet []byte, seq uint64, esn bool) []byte {
	if !esn {
		return packet[:HeaderLen]
	}
	copy(a[:4], packet)
	binary.BigEndian.PutUint64(a[4:], seq)
	return a[:]
}

// lastSeq is the last sequence number of an SA: "the transmitted sequence
// number must never be allowed to cycle" (RFC 4303 section 2.2).
func (l layout) lastSeq() uint64 {
	if l.esn {
		return math.MaxUint64
	}
	return math.MaxUint32
}

// Sealer makes the packets of one outbound SA.
type Sealer struct {
	layout
	spi  uint32
	seq  uint64 // of the last packet sealed
	aead cipher.AEAD
	salt [4]byte
	cbc  ivMode // nil for NULL and GCM
	ivs  cipher.Block
	mac  *crypt.MAC
	// Scratch memory: what is handed to an interface would otherwise be
	// allocated for each packet.
	nonce [12]byte
	block [aes.BlockSize]byte
	aad   aad
	high  [4]byte
}

// NewSealer makes the sealer of an outbound SA. encr is the cipher's key with
// the salt of a combined mode as its last octets (RFC 4106 section 8.1); integ
// the HMAC key, as long as the digest, or empty with a combined mode; ivKey
// IVKeyLen octets from a random source, used for CBC IVs only and required with
// every set, so that no caller has to know which sets use it. The keys are
// copied into key schedules; the caller may wipe them. Errors: ErrUnsupported,
// ErrNoIntegrity, ErrKeyLength, ErrSPI.
func NewSealer(set policy.TransformSet, spi uint32, encr, integ, ivKey crypt.Secret) (*Sealer, error) {
	l, err := layoutOf(set)
	if err != nil {
		return nil, err
	}
	if spi < MinSPI {
		return nil, fmt.Errorf("SPI %d: %w", spi, ErrSPI)
	}
	if ivKey.Len() != IVKeyLen {
		return nil, fmt.Errorf("IV key of %d octets, expected %d: %w", ivKey.Len(), IVKeyLen, ErrKeyLength)
	}
	s := &Sealer{layout: l, spi: spi}
	k, err := newCiphers(set, encr, integ)
	if err != nil {
		return nil, err
	}
	s.aead, s.salt, s.mac = k.aead, k.salt, k.mac
	if k.block != nil {
		s.cbc = cipher.NewCBCEncrypter(k.block, s.block[:k.block.BlockSize()]).(ivMode)
	}
	if s.ivs, err = aes.NewCipher(ivKey.Bytes()); err != nil {
		return nil, fmt.Errorf("IV key: %w", err)
	}
	return s, nil
}

// SPI is the peer's name of the SA.
func (s *Sealer) SPI() uint32 { return s.spi }

// Seq is the sequence number of the last packet sealed; 0 before the first.
func (s *Sealer) Seq() uint64 { return s.seq }

// Exhausted reports that every sequence number has been given out.
func (s *Sealer) Exhausted() bool { return s.seq >= s.lastSeq() }

// Header is the number of octets before a payload: SPI, sequence number and IV.
func (s *Sealer) Header() int { return s.header() }

// Body is the number of octets that are encrypted for a payload of n octets:
// with padding and trailer. A volume lifetime counts those (RFC 4301 4.4.2.1).
func (s *Sealer) Body(n int) int { return n + s.pad(n) + trailerLen }

// Seal makes the n octets at buf[off:] the payload of the SA's next packet, in
// place, and returns the packet, a part of buf: it begins HeaderLen and the IV
// before off. Headroom octets before off and Tailroom behind the payload are
// enough for every transform set. next is the payload's protocol (NextIPv4).
//
// Errors: ErrNoRoom, with buf untouched and no number used; ErrExhausted for
// ever after 2³²-1 packets, with extended sequence numbers 2⁶⁴-1.
func (s *Sealer) Seal(buf []byte, off, n int, next uint8) ([]byte, error) {
	pad := s.pad(max(n, 0))
	start := off - s.header()
	if start < 0 || n < 0 || n > len(buf) || off > len(buf)-n-pad-trailerLen-s.icv {
		return nil, ErrNoRoom
	}
	if s.Exhausted() {
		return nil, ErrExhausted
	}
	s.seq++
	end := off + n + pad + trailerLen
	packet := buf[start : end+s.icv]
	binary.BigEndian.PutUint32(packet, s.spi)
	binary.BigEndian.PutUint32(packet[4:], uint32(s.seq))
	s.putIV(packet[HeaderLen:s.header()])
	for i := range pad {
		buf[off+n+i] = byte(i + 1)
	}
	buf[end-2], buf[end-1] = byte(pad), next
	s.protect(packet)
	return packet, nil
}

// putIV writes the IV of the packet with the current sequence number.
func (s *Sealer) putIV(iv []byte) {
	if s.aead != nil {
		binary.BigEndian.PutUint64(iv, s.seq)
		return
	}
	clear(s.block[:])
	binary.BigEndian.PutUint64(s.block[8:], s.seq)
	s.ivs.Encrypt(s.block[:], s.block[:])
	copy(iv, s.block[:]) // DES takes the first half
}

// protect encrypts a packet that is complete but for cipher and ICV, and puts
// the ICV into its last octets.
func (s *Sealer) protect(packet []byte) {
	h, end := s.header(), len(packet)-s.icv
	if s.aead != nil {
		copy(s.nonce[:], s.salt[:])
		copy(s.nonce[4:], packet[HeaderLen:h])
		s.aead.Seal(packet[h:h], s.nonce[:], packet[h:end], s.aad.of(packet, s.seq, s.esn))
		return
	}
	if s.cbc != nil {
		s.cbc.SetIV(packet[HeaderLen:h])
		s.cbc.CryptBlocks(packet[h:end], packet[h:end])
	}
	if s.mac != nil {
		copy(packet[end:], s.mac.Sum(packet[:end], upper(&s.high, s.seq, s.esn)))
	}
}

// upper is the half of an extended sequence number that is covered by the HMAC
// but not sent: RFC 4303 section 2.2.1. Without one it is empty.
func upper(scratch *[4]byte, seq uint64, esn bool) []byte {
	if !esn {
		return nil
	}
	binary.BigEndian.PutUint32(scratch[:], uint32(seq>>32))
	return scratch[:]
}
