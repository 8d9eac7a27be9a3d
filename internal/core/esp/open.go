package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
)

// Opener opens the packets of one inbound SA.
type Opener struct {
	layout
	spi  uint32
	aead cipher.AEAD
	salt [4]byte
	cbc  ivMode // nil for NULL and GCM
	mac  *crypt.MAC
	// Scratch memory, see Sealer.
	nonce [12]byte
	block [aes.BlockSize]byte
	aad   aad
	high  [4]byte
}

// NewOpener makes the opener of an inbound SA; keys and errors as NewSealer.
func NewOpener(set policy.TransformSet, spi uint32, encr, integ crypt.Secret) (*Opener, error) {
	l, err := layoutOf(set)
	if err != nil {
		return nil, err
	}
	if spi < MinSPI {
		return nil, fmt.Errorf("SPI %d: %w", spi, ErrSPI)
	}
	o := &Opener{layout: l, spi: spi}
	k, err := newCiphers(set, encr, integ)
	if err != nil {
		return nil, err
	}
	o.aead, o.salt, o.mac = k.aead, k.salt, k.mac
	if k.block != nil {
		o.cbc = cipher.NewCBCDecrypter(k.block, o.block[:k.block.BlockSize()]).(ivMode)
	}
	return o, nil
}

// SPI is our name of the SA.
func (o *Opener) SPI() uint32 { return o.spi }

// Check tells, without any cryptography, whether packet can be one of this SA:
// nil, ErrShort or ErrLength.
func (o *Opener) Check(packet []byte) error {
	body := len(packet) - o.header() - o.icv
	switch {
	case body < trailerLen:
		return ErrShort
	case body%o.align != 0:
		return ErrLength
	}
	return nil
}

// Authenticate verifies the ICV, decrypts in place and returns payload, padding
// and trailer, a part of packet. Nothing is decrypted before the ICV is known
// to be right (for GCM both are one step); without an ICV of its own the caller
// has checked the one of AH. seq is the whole sequence number,
// whose upper half an extended one does not carry. After nil the caller updates
// its replay window and goes on with Trim. Errors: ErrShort, ErrLength, ErrICV;
// packet's contents are then undefined.
func (o *Opener) Authenticate(packet []byte, seq uint64) ([]byte, error) {
	if err := o.Check(packet); err != nil {
		return nil, err
	}
	h, end := o.header(), len(packet)-o.icv
	if o.aead != nil {
		copy(o.nonce[:], o.salt[:])
		copy(o.nonce[4:], packet[HeaderLen:h])
		if _, err := o.aead.Open(packet[h:h], o.nonce[:], packet[h:], o.aad.of(packet, seq, o.esn)); err != nil {
			return nil, ErrICV
		}
		return packet[h:end], nil
	}
	if o.mac != nil && subtle.ConstantTimeCompare(o.mac.Sum(packet[:end], upper(&o.high, seq, o.esn)), packet[end:]) != 1 {
		return nil, ErrICV
	}
	if o.cbc != nil {
		o.cbc.SetIV(packet[HeaderLen:h])
		o.cbc.CryptBlocks(packet[h:end], packet[h:end])
	}
	return packet[h:end], nil
}

// Trim takes padding and trailer off what Authenticate returned. next is the
// payload's protocol; a payload of NextDummy means nothing. The padding's
// octets are checked as RFC 4303 section 2.4 recommends; this is safe from
// padding oracles since the packet is authentic. Error: ErrPadding.
func Trim(plain []byte) (payload []byte, next uint8, err error) {
	if len(plain) < trailerLen {
		return nil, 0, ErrPadding
	}
	n := len(plain) - trailerLen
	pad := int(plain[n])
	if pad > n {
		return nil, 0, ErrPadding
	}
	for i, b := range plain[n-pad : n] {
		if b != byte(i+1) {
			return nil, 0, ErrPadding
		}
	}
	return plain[:n-pad], plain[n+1], nil
}

// Open is Authenticate and Trim in one, for a caller without a replay window
// and without extended sequence numbers beyond 2³²-1. seq is the packet's
// sequence number, authentic when err is nil.
func (o *Opener) Open(packet []byte) (payload []byte, next uint8, seq uint32, err error) {
	_, seq, _ = Header(packet)
	plain, err := o.Authenticate(packet, uint64(seq))
	if err != nil {
		return nil, 0, 0, err
	}
	payload, next, err = Trim(plain)
	return payload, next, seq, err
}
