package ikev1

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"hash"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// mac is prf(key, parts) from the standard library, nothing of ours.
func mac(h func() hash.Hash, key []byte, parts ...[]byte) []byte {
	m := hmac.New(h, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// The formulas of RFC 2409 sections 5, 5.5 and appendix B, written out once more.
func TestKeyFormulas(t *testing.T) {
	psk, g, ni, nr := []byte("correct horse"), bytes.Repeat([]byte{7}, 32), []byte("nonce i."), []byte("nonce r.")
	ci, cr := isakmp.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, isakmp.Cookie{8, 7, 6, 5, 4, 3, 2, 1}
	for _, tt := range []struct {
		hash suite.Hash
		h    func() hash.Hash
		bits int
	}{{suite.SHA1, sha1.New, 128}, {suite.SHA1, sha1.New, 256}, {suite.SHA512, sha512.New, 256}} {
		p := policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: tt.bits, Hash: tt.hash}
		k := keys{skeyid: skeyidPSK(p, crypt.NewSecret(psk), ni, nr)}
		k.derive(p, crypt.NewSecret(bytes.Clone(g)), ci, cr)
		skeyid := mac(tt.h, psk, ni, nr)
		d := mac(tt.h, skeyid, g, ci[:], cr[:], []byte{0})
		a := mac(tt.h, skeyid, d, g, ci[:], cr[:], []byte{1})
		e := mac(tt.h, skeyid, a, g, ci[:], cr[:], []byte{2})
		if len(e) < tt.bits/8 {
			k1 := mac(tt.h, e, []byte{0})
			e = append(k1, mac(tt.h, e, k1)...)
		}
		for name, pair := range map[string][2][]byte{
			"SKEYID": {k.skeyid.Bytes(), skeyid}, "SKEYID of signatures": {skeyidSignature(p, crypt.NewSecret(bytes.Clone(g)), ni, nr).Bytes(), mac(tt.h, []byte("nonce i.nonce r."), g)}, "SKEYID_d": {k.d.Bytes(), d}, "SKEYID_a": {k.a.Bytes(), a},
			"the cipher's key": {k.cipher.Bytes(), e[:tt.bits/8]},
			"HASH_I":           {authHash(p, k.skeyid, []byte("xi"), []byte("xr"), ci, cr, []byte("SA"), []byte("ID")), mac(tt.h, skeyid, []byte("xixr"), ci[:], cr[:], []byte("SAID"))},
			"KEYMAT":           {keymat(p, k.d, crypt.Secret{}, 3, 0x01020304, ni, nr, 20), mac(tt.h, d, []byte{3, 1, 2, 3, 4}, ni, nr)[:20]},
			"KEYMAT with PFS":  {keymat(p, k.d, crypt.NewSecret(bytes.Clone(g)), 3, 0x01020304, ni, nr, 20), mac(tt.h, d, g, []byte{3, 1, 2, 3, 4}, ni, nr)[:20]},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%s, %s: %x, want %x", p, name, pair[0], pair[1])
			}
		}
		k.iv = []byte("the last block..")
		sum := tt.h()
		sum.Write(append(bytes.Clone(k.iv), 0, 0, 0, 9))
		if got, want := k.phase2IV(p, 9), sum.Sum(nil)[:16]; !bytes.Equal(got, want) {
			t.Errorf("IV of phase 2: %x, want %x", got, want)
		}
		sum.Reset()
		sum.Write([]byte("xixr"))
		if got, want := phase1IV(p, []byte("xi"), []byte("xr")), sum.Sum(nil)[:16]; !bytes.Equal(got, want) {
			t.Errorf("IV of phase 1: %x, want %x", got, want)
		}
	}
}

// Wiping leaves nothing of the keys.
func TestKeysAreWiped(t *testing.T) {
	a, b := phase1(t)
	k := b.sa.keys
	a.step(func(c *Context) { a.sa.Delete(c, "test") })
	b.take(a.drain()[0])
	for i, s := range []crypt.Secret{k.skeyid, k.d, k.a, k.cipher} {
		if !bytes.Equal(s.Bytes(), make([]byte, s.Len())) {
			t.Errorf("key %d is left after the end", i)
		}
	}
}

// HASH_I and HASH_R prove the key: a message that decrypts well, with a hash that
// is wrong by a bit, does not authenticate, and the right one after it does.
//
// Threat: AUTH over RESERVED bits.
func TestAuthHashesAreVerified(t *testing.T) {
	for _, which := range []string{"MM5", "MM6"} {
		for _, spoil := range []func([]byte) []byte{
			func(h []byte) []byte { h[0] ^= 1; return h },
			func(h []byte) []byte { return h[:len(h)-1] },
			func([]byte) []byte { return nil },
			func(h []byte) []byte { clear(h); return h },
		} {
			a, b := mm1(t)
			a.take(b.drain()[0])
			b.take(a.drain()[0])
			a.take(b.drain()[0]) // MM4; a has sent MM5
			from, to, iv := a, b, b.sa.keys.iv
			good := a.drain()[0]
			if which == "MM6" {
				b.take(good)
				from, to, iv, good = b, a, a.sa.keys.iv, b.drain()[0]
			}
			to.take(spoiled(t, from, good, iv, spoil))
			if to.sa.Up() || to.sa.Dead() {
				t.Fatalf("%s with a wrong hash: up %t, dead %t", which, to.sa.Up(), to.sa.Dead())
			}
			if f := saw[event.Failed](to); len(f) != 1 || !f[0].Pending || f[0].Code != event.WrongKey {
				t.Errorf("%s: the evidence is %+v", which, f)
			}
			to.take(good)
			if !to.sa.Up() {
				t.Errorf("the real %s does not authenticate", which)
			}
		}
	}
}

// spoiled is a message of phase 1 with its HASH changed, sealed again.
func spoiled(t *testing.T, from *end, good, iv []byte, spoil func([]byte) []byte) []byte {
	h, _ := isakmp.ParseHeader(good)
	m := &message{raw: good, header: h}
	if err := from.sa.open(m, iv); err != nil {
		t.Fatal(err)
	}
	for i := range m.payloads {
		if m.payloads[i].Type == isakmp.PayloadHash {
			m.payloads[i].Body = spoil(bytes.Clone(m.payloads[i].Body))
		}
	}
	raw, _, err := from.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeMain}, m.payloads, iv)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// RFC 2409 appendices A and B: a weak or semi-weak DES key is passed over.
func TestWeakDESKeysArePassedOver(t *testing.T) {
	weak := []byte{1, 1, 1, 1, 1, 1, 1, 1}
	semi := []byte{0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe}
	good := []byte("goodkey!")
	for _, tt := range []struct {
		e    []byte
		want []byte
	}{
		{bytes.Join([][]byte{good, weak}, nil), good},
		{bytes.Join([][]byte{weak, good, {1, 2, 3, 4}}, nil), good},
		{bytes.Join([][]byte{weak, semi, good}, nil), good},
	} {
		p := policy.ISAKMP{Cipher: suite.DES, KeyBits: 64, Hash: suite.SHA1}
		if got := stretch(p, crypt.NewSecret(bytes.Clone(tt.e))); !bytes.Equal(got.Bytes(), tt.want) {
			t.Errorf("%x: the key is %x, want %x", tt.e, got.Bytes(), tt.want)
		}
	}
}
