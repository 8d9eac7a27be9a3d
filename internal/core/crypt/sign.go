package crypt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"

	"culvert/internal/core/suite"
)

// Signer is a private key that signs: RSA, or ECDSA on P-256, P-384 or P-521.
// Like a Secret it never prints. The zero Signer holds no key.
type Signer struct{ key crypto.Signer }

// NewSigner takes a parsed private key; ErrSigner for one of another kind.
func NewSigner(key any) (Signer, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return Signer{k}, nil
	case *ecdsa.PrivateKey:
		if authOf(k.Curve) != suite.NoAuth {
			return Signer{k}, nil
		}
	}
	return Signer{}, ErrSigner
}

// ErrSigner is a key that cannot sign in IKEv1.
const ErrSigner Rule = "a signing key is RSA, or ECDSA on P-256, P-384 or P-521 (RFC 2409 section 5.1, RFC 4754 section 3)"

// Held reports whether there is a key.
func (s Signer) Held() bool { return s.key != nil }

// Auth is the authentication method the key proves; NoAuth without a key.
func (s Signer) Auth() suite.Auth {
	switch k := s.key.(type) {
	case *rsa.PrivateKey:
		return suite.RSASig
	case *ecdsa.PrivateKey:
		return authOf(k.Curve)
	}
	return suite.NoAuth
}

// Public is the key's public half, as package crypto/x509 has it; nil without a key.
func (s Signer) Public() crypto.PublicKey {
	if s.key == nil {
		return nil
	}
	return s.key.Public()
}

func (s Signer) String() string {
	if s.key == nil {
		return "Signer(none)"
	}
	return "Signer(" + s.Auth().String() + ")"
}

// GoString is String: no verb prints a key.
func (s Signer) GoString() string { return s.String() }

// MarshalText is String: no key gets into JSON.
func (s Signer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func authOf(c elliptic.Curve) suite.Auth {
	switch c {
	case elliptic.P256():
		return suite.ECDSA256
	case elliptic.P384():
		return suite.ECDSA384
	case elliptic.P521():
		return suite.ECDSA521
	}
	return suite.NoAuth
}
