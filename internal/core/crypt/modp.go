package crypt

import (
	"encoding/hex"
	"slices"

	"filippo.io/bigmod"

	"culvert/internal/core/suite"
)

// modp is what the arithmetic of a MODP group needs. The numbers are
// hexadecimal; the order is empty for a safe prime.
type modp struct {
	prime, generator, order string
	random                  int // octets of randomness for an exponent
}

// modpOf finds the numbers of a MODP group. How long an exponent is:
//
//	group            1, 2    5   14   15   16
//	RFC 3526 §8         -  180  220  260  300  bits for its lower estimate of the strength
//	RFC 7919 app. A     -    -  225  275  325  bits
//	here              256  256  256  320  384  bits, whole steps of 64
//
// Twice the strength of the group is enough where the prime is safe, and a
// power costs in proportion to it. Groups 22 to 24 instead want a number below q
// (RFC 5114 section 2): 64 bits more than q has, then reduced, leave a bias below
// 2^-64 and no draw to repeat (SP 800-56A section 5.6.1.1.3).
func modpOf(g suite.Group) (modp, bool) {
	switch g {
	case 1:
		return modp{prime1, "02", "", 32}, true
	case 2:
		return modp{prime2, "02", "", 32}, true
	case 5:
		return modp{prime5, "02", "", 32}, true
	case 14:
		return modp{prime14, "02", "", 32}, true
	case 15:
		return modp{prime15, "02", "", 40}, true
	case 16:
		return modp{prime16, "02", "", 48}, true
	case 22:
		return modp{prime22, generator22, order22, 28}, true
	case 23:
		return modp{prime23, generator23, order23, 36}, true
	case 24:
		return modp{prime24, generator24, order24, 40}, true
	}
	return modp{}, false
}

func (m modp) octets() int { return m.random }

// private makes an exponent of random octets: they are the exponent, but in a
// subgroup, where they are reduced below its order.
func (m modp) private(random []byte) ([]byte, error) {
	x := slices.Clone(random)
	if m.order != "" {
		q := modulus(m.order)
		// The prime is long enough to hold them before they are reduced.
		n, err := bigmod.NewNat().SetBytes(random, modulus(m.prime))
		if err != nil {
			return nil, ErrBadRandom
		}
		x = bigmod.NewNat().Mod(n, q).Bytes(q)
	}
	if zero(x) {
		return nil, ErrBadRandom
	}
	return x, nil
}

// public is g^x mod p.
func (m modp) public(x []byte) ([]byte, error) {
	p := modulus(m.prime)
	g, err := bigmod.NewNat().SetBytes(number(m.generator), p)
	if err != nil {
		return nil, err
	}
	return bigmod.NewNat().Exp(g, x, p).Bytes(p), nil
}

// shared is y^x mod p, after the checks of RFC 6989 sections 2.1 and 2.2.
func (m modp) shared(x, peer []byte) ([]byte, error) {
	p := modulus(m.prime)
	y, err := bigmod.NewNat().SetBytes(peer, p)
	if err != nil || y.IsZero()|y.IsOne()|y.IsMinusOne(p) == 1 {
		return nil, ErrPublicRange
	}
	if m.order != "" && bigmod.NewNat().Exp(y, number(m.order), p).IsOne() != 1 {
		return nil, ErrPublicSubgroup
	}
	return bigmod.NewNat().Exp(y, x, p).Bytes(p), nil
}

// number decodes a constant of groups.go; a test decodes each of them, so no
// error is left to meet here.
func number(hexadecimal string) []byte {
	b, _ := hex.DecodeString(hexadecimal)
	return b
}

// modulus prepares a constant of groups.go. That takes a hundredth of the time
// of the power which follows, so none is kept.
func modulus(hexadecimal string) *bigmod.Modulus {
	m, _ := bigmod.NewModulus(number(hexadecimal))
	return m
}

// zero reports in constant time whether b holds nothing but zeros.
func zero(b []byte) bool {
	var or byte
	for _, o := range b {
		or |= o
	}
	return or == 0
}
