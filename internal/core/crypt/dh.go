package crypt

import (
	"fmt"
	"slices"

	"culvert/internal/core/suite"
)

// arithmetic is what a kind of group computes with. private makes a key of
// octets() random octets, public and shared are slow.
type arithmetic interface {
	octets() int
	private(random []byte) ([]byte, error)
	public(x []byte) ([]byte, error)
	shared(x, peer []byte) ([]byte, error)
}

func arithmeticOf(g suite.Group) (arithmetic, bool) {
	if m, ok := modpOf(g); ok {
		return m, true
	}
	if c, ok := ecpOf(g); ok {
		return c, true
	}
	return montgomery{}, g == 31
}

// Private is the private half of a Diffie-Hellman exchange: an exponent of a
// MODP group, or a scalar of an ECP group or of Curve25519. Like a Secret it never prints. The
// zero Private holds no key.
type Private struct {
	group suite.Group
	x     Secret
}

// PrivateSize is the number of random octets NewPrivate wants for g, zero for a
// group that is not known.
func PrivateSize(g suite.Group) int {
	if a, ok := arithmeticOf(g); ok {
		return a.octets()
	}
	return 0
}

// NewPrivate makes a private key from PrivateSize(g) random octets, and the
// same key from the same octets. It is fast; Public and Shared are not. The
// octets are copied: wiping them is left to the caller. ErrBadRandom asks for
// other octets.
func NewPrivate(g suite.Group, random []byte) (Private, error) {
	a, ok := arithmeticOf(g)
	if !ok {
		return Private{}, fmt.Errorf("%s: %w", g, ErrGroup)
	}
	if want := a.octets(); len(random) != want {
		return Private{}, fmt.Errorf("%s: %d octets, want %d: %w", g, len(random), want, ErrRandomSize)
	}
	x, err := a.private(random)
	if err != nil {
		return Private{}, fmt.Errorf("%s: %w", g, err)
	}
	return Private{g, NewSecret(x)}, nil
}

// Group is the group the key belongs to.
func (p Private) Group() suite.Group { return p.group }

// Wipe overwrites the key; Public and Shared then answer ErrNoPrivate.
func (p Private) Wipe() { p.x.Wipe() }

// Public is the value for the KE payload, exactly Group().Row().Public octets: a
// MODP value with zeros before it (RFC 2409 section 5), or the coordinates x|y
// without the octet 04 of other encodings (RFC 5903 section 7), or the 32 octets
// of Curve25519 (RFC 8031 section 3.1). Slow.
func (p Private) Public() ([]byte, error) {
	a, err := p.check()
	if err != nil {
		return nil, err
	}
	y, err := a.public(p.x.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: public value: %w", p.group, err)
	}
	return y, nil
}

// Shared is g^xy, exactly Group().Row().Shared octets with the zeros it begins
// with: a MODP value as long as the prime, or the x coordinate alone (RFC 5903
// section 7). The peer's value comes from the network and is checked first;
// errors.Is tells by the ErrPublic rules what is wrong with it. Slow.
func (p Private) Shared(peer []byte) (Secret, error) {
	a, err := p.check()
	if err != nil {
		return Secret{}, err
	}
	if want := p.group.Row().Public; len(peer) != want {
		return Secret{}, fmt.Errorf("%s: peer's public value of %d octets, want %d: %w", p.group, len(peer), want, ErrPublicSize)
	}
	z, err := a.shared(p.x.Bytes(), peer)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: peer's public value: %w", p.group, err)
	}
	return NewSecret(z), nil
}

// check finds a key that is not there: an exponent of zero would make 1 the
// public value and the shared secret, known to everyone.
func (p Private) check() (arithmetic, error) {
	a, ok := arithmeticOf(p.group)
	if zero(p.x.Bytes()) || !ok {
		return nil, fmt.Errorf("%s: %w", p.group, ErrNoPrivate)
	}
	return a, nil
}

func (p Private) clone() Private {
	return Private{p.group, NewSecret(slices.Clone(p.x.Bytes()))}
}
