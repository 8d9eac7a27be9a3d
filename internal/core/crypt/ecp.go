package crypt

import (
	"crypto/ecdh"
	"fmt"
	"slices"

	"filippo.io/bigmod"

	"culvert/internal/core/suite"
)

// ecp is what the arithmetic of an ECP group (RFC 5903) needs.
type ecp struct {
	curve ecdh.Curve
	order string // hexadecimal
	size  int    // octets of a private key and of a coordinate
	top   byte   // bits of the first octet that a private key may have
}

func ecpOf(g suite.Group) (ecp, bool) {
	switch g {
	case 19:
		return ecp{ecdh.P256(), order19, 32, 0xff}, true
	case 20:
		return ecp{ecdh.P384(), order20, 48, 0xff}, true
	case 21:
		return ecp{ecdh.P521(), order21, 66, 0x01}, true
	}
	return ecp{}, false
}

func (c ecp) octets() int { return c.size }

// private takes random octets for the key itself. 521 bits are no whole octets:
// without the mask, 127 draws of 128 would be out of range.
func (c ecp) private(random []byte) ([]byte, error) {
	x := slices.Clone(random)
	x[0] &= c.top
	// crypto/ecdh makes the same check, but may compute the public value too,
	// which is to happen in a job.
	if _, err := bigmod.NewNat().SetBytes(x, modulus(c.order)); err != nil || zero(x) {
		return nil, ErrBadRandom
	}
	return x, nil
}

func (c ecp) public(x []byte) ([]byte, error) {
	k, err := c.curve.NewPrivateKey(x)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRandom, err)
	}
	return k.PublicKey().Bytes()[1:], nil
}

// shared is the x coordinate of the common point. crypto/ecdh refuses
// coordinates out of range and points off the curve. The point at infinity has
// no coordinates to send, and on a curve of prime order none can lead to it.
func (c ecp) shared(x, peer []byte) ([]byte, error) {
	k, err := c.curve.NewPrivateKey(x)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRandom, err)
	}
	y, err := c.curve.NewPublicKey(slices.Concat([]byte{4}, peer))
	if err != nil {
		return nil, ErrPublicCurve
	}
	z, err := k.ECDH(y)
	if err != nil {
		return nil, ErrPublicCurve
	}
	return z, nil
}
