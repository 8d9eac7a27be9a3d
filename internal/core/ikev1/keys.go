package ikev1

import (
	"encoding/binary"

	"culvert/internal/core/crypt"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// keys are the keys of an ISAKMP SA, RFC 2409 section 5.
type keys struct {
	skeyid, d, a crypt.Secret
	cipher       crypt.Secret // made of SKEYID_e, appendix B
	iv           []byte       // phase 1: the next message's; later: the last block of phase 1
}

// skeyidPSK is SKEYID of an SA that is authenticated by a pre-shared key:
//
//	SKEYID = prf(pre-shared-key, Ni_b | Nr_b)
func skeyidPSK(p policy.ISAKMP, psk crypt.Secret, ni, nr []byte) crypt.Secret {
	return crypt.NewSecret(crypt.PRF(p.Hash, psk, ni, nr))
}

// skeyidSignature is SKEYID of an SA that is authenticated by signatures:
//
//	SKEYID = prf(Ni_b | Nr_b, g^xy)
func skeyidSignature(p policy.ISAKMP, shared crypt.Secret, ni, nr []byte) crypt.Secret {
	nonces := crypt.NewSecret(append(append([]byte(nil), ni...), nr...))
	return crypt.NewSecret(crypt.PRF(p.Hash, nonces, shared.Bytes()))
}

// derive makes the other keys of SKEYID:
//
//	SKEYID_d = prf(SKEYID, g^xy | CKY-I | CKY-R | 0)
//	SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1)
//	SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2)
func (k *keys) derive(p policy.ISAKMP, shared crypt.Secret, ci, cr isakmp.Cookie) {
	g := shared.Bytes()
	k.d = crypt.NewSecret(crypt.PRF(p.Hash, k.skeyid, g, ci[:], cr[:], []byte{0}))
	k.a = crypt.NewSecret(crypt.PRF(p.Hash, k.skeyid, k.d.Bytes(), g, ci[:], cr[:], []byte{1}))
	e := crypt.NewSecret(crypt.PRF(p.Hash, k.skeyid, k.a.Bytes(), g, ci[:], cr[:], []byte{2}))
	k.cipher = stretch(p, e)
}

// stretch makes the cipher's key of SKEYID_e: its first octets, or, when it is
// too short, K1 | K2 | … with K1 = prf(SKEYID_e, 0), Kn = prf(SKEYID_e, Kn-1)
// (RFC 2409 appendix B).
func stretch(p policy.ISAKMP, e crypt.Secret) crypt.Secret {
	defer e.Wipe()
	n := p.KeyBits / 8
	if e.Len() >= n {
		return crypt.NewSecret(append([]byte(nil), strong(p, e.Bytes(), n)...))
	}
	last := []byte{0}
	out := make([]byte, 0, n+e.Len())
	for len(out) < n {
		last = crypt.PRF(p.Hash, e, last)
		out = append(out, last...)
	}
	return crypt.NewSecret(out[:n])
}

// strong is the first key of n octets in b; of DES the first that is neither weak
// nor semi-weak: "The key for DES-CBC is derived from the first eight (8) non-weak
// and non-semi-weak (see Appendix A) bytes of SKEYID_e" (RFC 2409 appendix B).
func strong(p policy.ISAKMP, b []byte, n int) []byte {
	for p.Cipher == suite.DES && len(b) >= 2*n && crypt.WeakDES(crypt.NewSecret(b[:n])) {
		b = b[n:]
	}
	return b[:n]
}

// phase1IV is the IV of the first encrypted message: hash(g^xi | g^xr).
func phase1IV(p policy.ISAKMP, gxi, gxr []byte) []byte {
	return crypt.Sum(p.Hash, gxi, gxr)[:p.Cipher.Row().Block]
}

// phase2IV is the IV of the first message of another exchange:
// hash(last block of phase 1 | M-ID).
func (k *keys) phase2IV(p policy.ISAKMP, id uint32) []byte {
	return crypt.Sum(p.Hash, k.iv, be32(id))[:p.Cipher.Row().Block]
}

// authHash is HASH_I and HASH_R:
//
//	prf(SKEYID, g^x own | g^x peer | CKY own | CKY peer | SAi_b | ID own)
//
// A signature that is tied to a hash has the HMAC of that one for its prf.
func authHash(p policy.ISAKMP, skeyid crypt.Secret, own, peer []byte, ownCookie, peerCookie isakmp.Cookie, sa, id []byte) []byte {
	return crypt.PRF(crypt.SignatureHash(p.Auth, p.Hash), skeyid, own, peer, ownCookie[:], peerCookie[:], sa, id)
}

// keymat is the keying material of one IPsec SA (RFC 2409 5.5):
//
//	KEYMAT = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b), stretched
func keymat(p policy.ISAKMP, d, shared crypt.Secret, protocol uint8, spi uint32, ni, nr []byte, n int) []byte {
	seed := append([]byte(nil), shared.Bytes()...)
	seed = append(seed, protocol)
	seed = append(seed, be32(spi)...)
	seed = append(append(seed, ni...), nr...)
	out := crypt.Expand(p.Hash, d, seed, n)
	clear(seed)
	return out.Bytes()
}

// encrKeyOctets is how much keying material a cipher takes, salt included.
func encrKeyOctets(t policy.TransformSet) int { return t.KeyBits/8 + t.Cipher.Row().Salt }

// integKeyOctets is the length of an HMAC's key: the hash's size (RFC 4868 2.1.1).
func integKeyOctets(h suite.Hash) int {
	if h == suite.NoHash {
		return 0
	}
	return h.Row().Size
}

func (k *keys) wipe() {
	for _, s := range []crypt.Secret{k.skeyid, k.d, k.a, k.cipher} {
		s.Wipe()
	}
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
