package crypt

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"culvert/internal/core/suite"
)

// NewHash returns the constructor of h.
//
// NoHash and unknown values yield SHA-512: with no digest at all an empty HASH
// payload would compare equal, with this one nothing agrees by accident.
func NewHash(h suite.Hash) func() hash.Hash {
	switch h {
	case suite.MD5:
		return md5.New
	case suite.SHA1:
		return sha1.New
	case suite.SHA256:
		return sha256.New
	case suite.SHA384:
		return sha512.New384
	}
	return sha512.New
}

// Sum is hash(parts[0] | parts[1] | …) of RFC 2409 section 3.2.
func Sum(h suite.Hash, parts ...[]byte) []byte {
	d := NewHash(h)()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// PRF is prf(key, parts[0] | parts[1] | …) of RFC 2409 section 4: the HMAC
// version of the negotiated hash (RFC 2104), whole, not truncated. The key may
// have any length: RFC 2104 section 2 hashes one longer than a block.
func PRF(h suite.Hash, key Secret, parts ...[]byte) []byte {
	m := hmac.New(NewHash(h), key.Bytes())
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// Expand yields n octets of keying material as RFC 2409 section 5.5 draws them:
//
//	KEYMAT = K1 | K2 | K3 | …
//	K1 = prf(key, seed)
//	K2 = prf(key, K1 | seed)
//	K3 = prf(key, K2 | seed)
//
// The key of an ISAKMP SA is not made this way: appendix B feeds back K1 alone,
// without a seed. An n of zero or less yields an empty Secret.
func Expand(h suite.Hash, key Secret, seed []byte, n int) Secret {
	if n <= 0 {
		return NewSecret([]byte{})
	}
	m := hmac.New(NewHash(h), key.Bytes())
	// One allocation: growing would leave copies of the key behind.
	out := make([]byte, 0, n+m.Size())
	var last []byte
	for len(out) < n {
		m.Reset()
		m.Write(last)
		m.Write(seed)
		start := len(out)
		out = m.Sum(out)
		last = out[start:]
	}
	clear(out[n:])
	return NewSecret(out[:n:n])
}
