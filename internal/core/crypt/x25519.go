package crypt

import (
	"crypto/ecdh"
	"fmt"
	"slices"
)

// montgomery is Curve25519, group 31 (RFC 8031): the function X25519 of RFC
// 7748 section 5. A scalar, a public value and the secret have 32 octets each.
type montgomery struct{}

func (montgomery) octets() int { return 32 }

// private takes random octets for the scalar: which of its bits are fixed is
// part of the function (RFC 7748 section 5), so any 32 octets will do. All
// zeros would be taken for a wiped key.
func (montgomery) private(random []byte) ([]byte, error) {
	if zero(random) {
		return nil, ErrBadRandom
	}
	return slices.Clone(random), nil
}

func (montgomery) public(x []byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPrivateKey(x)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRandom, err)
	}
	return k.PublicKey().Bytes(), nil
}

// shared is X25519(x, peer). Every string of 32 octets is a public value;
// crypto/ecdh refuses the all-zero result that points of small order give.
func (montgomery) shared(x, peer []byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPrivateKey(x)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRandom, err)
	}
	y, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return nil, ErrPublicSize
	}
	z, err := k.ECDH(y)
	if err != nil || zero(z) {
		return nil, ErrPublicOrder
	}
	return z, nil
}
