package crypt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"culvert/internal/core/suite"
)

// Signer is a private key that signs: RSA, or ECDSA on P-256, P-384 or P-521.
// Like a Secret it never prints. The zero Signer holds no key.
type Signer struct {
	_ [0]func() // == would compare addresses: use Equal
	// Behind a pointer to an interface fmt finds nothing but an address.
	key *crypto.Signer
}

// NewSigner takes a parsed private key; ErrSigner for one of another kind.
func NewSigner(key any) (Signer, error) {
	var k crypto.Signer
	switch key := key.(type) {
	case *rsa.PrivateKey:
		k = key
	case *ecdsa.PrivateKey:
		if authOf(key.Curve) == suite.NoAuth {
			return Signer{}, ErrSigner
		}
		k = key
	default:
		return Signer{}, ErrSigner
	}
	return Signer{key: &k}, nil
}

// Rules for keys and signatures.
const (
	// ErrSigner is a key that cannot sign in IKEv1.
	ErrSigner Rule = "a signing key is RSA, or ECDSA on P-256, P-384 or P-521 (RFC 2409 section 5.1, RFC 4754 section 3)"
	// ErrWeakKey is an RSA key that nobody can trust, or too long to compute with.
	ErrWeakKey Rule = "an RSA key has an odd modulus of 2048 to 8192 bits and an odd exponent of at least 3 (1024 bits with legacy algorithms)"
	// ErrSignature is a signature that does not prove the key.
	ErrSignature Rule = "the signature is that of the key over the HASH (RFC 2409 section 5.1, RFC 4754 section 7)"
)

// Sizes of RSA keys, in bits. A signature is checked before its sender is
// known, so the most keeps the arithmetic short.
const (
	minRSA       = 2048
	minRSALegacy = 1024
	maxRSA       = 8192
)

// Held reports whether there is a key.
func (s Signer) Held() bool { return s.key != nil }

// Auth is the authentication method the key proves; NoAuth without a key.
func (s Signer) Auth() suite.Auth { return AuthOf(s.Public()) }

// Public is the key's public half, as package crypto/x509 has it; nil without a key.
func (s Signer) Public() crypto.PublicKey {
	if s.key == nil {
		return nil
	}
	return (*s.key).Public()
}

// Equal reports whether both hold the same key, or none.
func (s Signer) Equal(o Signer) bool {
	return s.Matches(o.Public()) || !s.Held() && !o.Held()
}

// Matches reports whether the key is the private half of public: whether a
// certificate is for this key.
func (s Signer) Matches(public crypto.PublicKey) bool {
	switch k := s.Public().(type) {
	case *rsa.PublicKey:
		return k.Equal(public)
	case *ecdsa.PublicKey:
		return k.Equal(public)
	}
	return false
}

// AuthOf is the authentication method that a public key can be proved with:
// RSASig or, by its curve, ECDSA256, ECDSA384 or ECDSA521; NoAuth for another.
func AuthOf(public crypto.PublicKey) suite.Auth {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return suite.RSASig
	case *ecdsa.PublicKey:
		return authOf(k.Curve)
	}
	return suite.NoAuth
}

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

// CheckPublic says whether a public key may be used for signatures at all:
// ErrWeakKey, or ErrSigner for one of another kind. legacy lets RSA keys of 1024
// bits pass.
func CheckPublic(public crypto.PublicKey, legacy bool) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		least := minRSA
		if legacy {
			least = minRSALegacy
		}
		if n := k.N.BitLen(); n < least || n > maxRSA || k.N.Bit(0) == 0 || k.E < 3 || k.E%2 == 0 {
			return fmt.Errorf("modulus of %d bits, exponent %d: %w", n, k.E, ErrWeakKey)
		}
		return nil
	case *ecdsa.PublicKey:
		if authOf(k.Curve) != suite.NoAuth {
			return nil
		}
	}
	return ErrSigner
}

// SignatureHash is the hash whose HMAC makes the HASH that method signs: for
// ECDSA the one that the method is tied to (RFC 4754 section 3), else the
// negotiated one.
//
// RFC 2409 section 5.1: "In this case, the signature will be over HASH_I and
// HASH_R as above, except using the HMAC version of the hash algorithm
// associated with the signature method."
func SignatureHash(method suite.Auth, negotiated suite.Hash) suite.Hash {
	switch method {
	case suite.ECDSA256:
		return suite.SHA256
	case suite.ECDSA384:
		return suite.SHA384
	case suite.ECDSA521:
		return suite.SHA512
	}
	return negotiated
}

// SignJob signs a HASH; Result.Signature is the body of a SIG payload. The HASH
// is signed as it is, not hashed again:
//
//	RSA     PKCS #1 block type 1 around the bare HASH, without the identifier
//	        of a hash function (RFC 2409 section 5.1), as long as the modulus
//	ECDSA   r | s, each as long as the order of the curve (RFC 4754 section 7)
//
// The same key and HASH give the same signature: ECDSA takes its number k from
// RFC 6979, so no randomness can give the key away.
func SignJob(s Signer, digest []byte) Job { return signJob{s, slices.Clone(digest)} }

type signJob struct {
	signer Signer
	digest []byte
}

func (j signJob) Run() Result {
	if !j.signer.Held() {
		return Result{Err: ErrSigner}
	}
	switch k := (*j.signer.key).(type) {
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(nil, k, 0, j.digest)
		return Result{Signature: sig, Err: err}
	case *ecdsa.PrivateKey:
		sig, err := signECDSA(k, j.digest)
		return Result{Signature: sig, Err: err}
	}
	return Result{Err: ErrSigner}
}

func signECDSA(k *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	hash := curveHash(authOf(k.Curve))
	if len(digest) != hash.Size() {
		return nil, fmt.Errorf("a HASH of %d octets, want %d: %w", len(digest), hash.Size(), ErrSignature)
	}
	der, err := k.Sign(nil, digest, hash)
	if err != nil {
		return nil, err
	}
	input := cryptobyte.String(der)
	var inner cryptobyte.String
	r, s := make([]byte, 0), make([]byte, 0)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) {
		return nil, ErrSignature
	}
	n := coordinate(k.Curve)
	out := make([]byte, 2*n)
	copy(out[n-len(r):], r)
	copy(out[2*n-len(s):], s)
	return out, nil
}

// curveHash is the hash a method of RFC 4754 is tied to.
func curveHash(a suite.Auth) crypto.Hash {
	switch a {
	case suite.ECDSA256:
		return crypto.SHA256
	case suite.ECDSA384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

// coordinate is the length of r and of s.
func coordinate(c elliptic.Curve) int { return (c.Params().N.BitLen() + 7) / 8 }

// Verify checks a SIG payload's signature over a HASH with the sender's public
// key, which must be one for the method. The length is exact and nothing but
// the complete encoding counts: no room for garbage behind the HASH
// (CVE-2018-16151), nor for a number beyond the modulus. Slow. The errors are
// ErrSigner and ErrSignature.
func Verify(public crypto.PublicKey, method suite.Auth, digest, signature []byte) error {
	if method == suite.NoAuth || AuthOf(public) != method {
		return ErrSigner
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		if len(digest) == 0 || len(signature) != k.Size() || rsa.VerifyPKCS1v15(k, 0, digest, signature) != nil {
			return ErrSignature
		}
		return nil
	case *ecdsa.PublicKey:
		n := coordinate(k.Curve)
		if len(digest) != curveHash(method).Size() || len(signature) != 2*n {
			return ErrSignature
		}
		if !ecdsa.VerifyASN1(k, digest, derOf(signature[:n], signature[n:])) {
			return ErrSignature
		}
		return nil
	}
	return ErrSigner
}

// derOf writes r and s as DER has them.
func derOf(r, s []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, v := range [][]byte{r, s} {
			b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
				for len(v) > 1 && v[0] == 0 {
					v = v[1:]
				}
				if v[0]&0x80 != 0 {
					b.AddUint8(0)
				}
				b.AddBytes(v)
			})
		}
	})
	return b.BytesOrPanic()
}

// VerifyJob is Verify as a Job; the digest and the signature are copied.
func VerifyJob(public crypto.PublicKey, method suite.Auth, digest, signature []byte) Job {
	return verifyJob{public, method, slices.Clone(digest), slices.Clone(signature)}
}

type verifyJob struct {
	public            crypto.PublicKey
	method            suite.Auth
	digest, signature []byte
}

func (j verifyJob) Run() Result {
	return Result{Err: Verify(j.public, j.method, j.digest, j.signature)}
}
