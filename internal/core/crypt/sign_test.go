package crypt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"encoding/json"

	"culvert/internal/core/suite"
)

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func signer(t testing.TB, key any) Signer {
	t.Helper()
	s, err := NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, s Signer, digest []byte) []byte {
	t.Helper()
	r := SignJob(s, digest).Run()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Signature
}

// RFC 6979 appendices A.2.5, A.2.6 and A.2.7: the message "sample" under the
// hash that RFC 4754 ties to the curve.
func TestPublishedECDSASignatures(t *testing.T) {
	d256, d384, d512 := sha256.Sum256([]byte("sample")), sha512.Sum384([]byte("sample")), sha512.Sum512([]byte("sample"))
	for _, v := range []struct {
		curve   elliptic.Curve
		method  suite.Auth
		digest  []byte
		x, r, s string
	}{
		{elliptic.P256(), suite.ECDSA256, d256[:], "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
			"efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
			"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
		{elliptic.P384(), suite.ECDSA384, d384[:], "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5",
			"94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
			"99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"},
		{elliptic.P521(), suite.ECDSA521, d512[:], "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
			"00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa",
			"00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a"},
	} {
		k, err := ecdsa.ParseRawPrivateKey(v.curve, unhex(t, v.x))
		if err != nil {
			t.Fatal(err)
		}
		s := signer(t, k)
		want := unhex(t, v.r+v.s)
		if got := sign(t, s, v.digest); !bytes.Equal(got, want) {
			t.Errorf("%s: signature\n%x, want\n%x", v.method, got, want)
		}
		if err := Verify(s.Public(), v.method, v.digest, want); err != nil || s.Auth() != v.method {
			t.Errorf("%s (%s): %v", v.method, s.Auth(), err)
		}
	}
}

// RFC 2409 section 5.1: "RSA signatures MUST be encoded as a private key
// encryption in PKCS #1 format and not as a signature in PKCS #1 format (which
// includes the OID of the hash algorithm)."
func TestRSASignatureIsOverTheBareHash(t *testing.T) {
	k := rsaKey()
	for _, size := range []int{16, 20, 32, 48, 64} {
		digest := bytes.Repeat([]byte{0xa5}, size)
		sig := sign(t, signer(t, k), digest)
		em := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(k.E)), k.N).FillBytes(make([]byte, k.Size()))
		want := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, k.Size()-size-3), []byte{0}, digest)
		if !bytes.Equal(em, want) {
			t.Errorf("%d octets: the signature opens to\n%x, want\n%x", size, em, want)
		}
		if err := Verify(&k.PublicKey, suite.RSASig, digest, sig); err != nil {
			t.Error(err)
		}
	}
}

func TestSignaturesAreDeterministic(t *testing.T) {
	for _, s := range signers(t) {
		d := bytes.Repeat([]byte{7}, SignatureHash(s.Auth(), suite.SHA1).Row().Size)
		if !bytes.Equal(sign(t, s, d), sign(t, s, d)) {
			t.Errorf("%s: two signatures over one HASH differ", s.Auth())
		}
	}
}

func signers(t testing.TB) []Signer {
	list := []Signer{signer(t, rsaKey())}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, signer(t, k))
	}
	return list
}

// Threat rows CVE-2012-2388 (empty and all-zero signatures), CVE-2017-11185
// (a value beyond the modulus), CVE-2018-16151 (garbage, truncated hashes).
func TestHostileSignatures(t *testing.T) {
	for _, s := range signers(t) {
		digest := bytes.Repeat([]byte{0x31}, SignatureHash(s.Auth(), suite.SHA256).Row().Size)
		good := sign(t, s, digest)
		flip := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 1; return b }
		for story, sig := range map[string][]byte{
			"none": nil, "empty": {}, "all zeros": make([]byte, len(good)), "all ones": bytes.Repeat([]byte{0xff}, len(good)),
			"first bit": flip(0), "last bit": flip(len(good) - 1), "middle": flip(len(good) / 2),
			"short": good[1:], "cut": good[:len(good)-1], "a zero before": slices.Concat([]byte{0}, good),
			"a zero behind": slices.Concat(good, []byte{0}), "twice": slices.Concat(good, good),
			"halves changed": slices.Concat(good[len(good)/2:], good[:len(good)/2]),
		} {
			if err := Verify(s.Public(), s.Auth(), digest, sig); !errors.Is(err, ErrSignature) {
				t.Errorf("%s, %s: %v, want %v", s.Auth(), story, err, ErrSignature)
			}
		}
		for story, d := range map[string][]byte{
			"another HASH": bytes.Repeat([]byte{0x32}, len(digest)), "a cut HASH": digest[:len(digest)-1], "no HASH": nil,
			"a longer HASH": append(bytes.Clone(digest), 0),
		} {
			if err := Verify(s.Public(), s.Auth(), d, good); !errors.Is(err, ErrSignature) {
				t.Errorf("%s, %s: %v, want %v", s.Auth(), story, err, ErrSignature)
			}
		}
		if err := Verify(s.Public(), s.Auth(), digest, good); err != nil {
			t.Errorf("%s: an honest signature: %v", s.Auth(), err)
		}
		for _, other := range []suite.Auth{suite.NoAuth, suite.PSK, suite.RSASig, suite.ECDSA256, suite.ECDSA384, suite.ECDSA521} {
			if other != s.Auth() && !errors.Is(Verify(s.Public(), other, digest, good), ErrSigner) {
				t.Errorf("a %s key passes for %s", s.Auth(), other)
			}
		}
	}
}

// A value s and s+n have the same cube: the second is not a signature.
func TestSignatureBeyondTheModulus(t *testing.T) {
	k := rsaKey()
	for fill := byte(0); ; fill++ {
		digest := bytes.Repeat([]byte{fill}, 32)
		v := new(big.Int).SetBytes(sign(t, signer(t, k), digest))
		if v.Add(v, k.N); v.BitLen() > k.Size()*8 {
			continue
		}
		if err := Verify(&k.PublicKey, suite.RSASig, digest, v.FillBytes(make([]byte, k.Size()))); !errors.Is(err, ErrSignature) {
			t.Errorf("s+n: %v", err)
		}
		return
	}
}

// With e = 3 and a verifier that does not look behind the HASH, a cube root
// forges signatures (Bleichenbacher 2006). Here the encoding has to be whole.
func TestCubeRootForgery(t *testing.T) {
	k := &rsa.PublicKey{N: rsaKey().N, E: 3}
	digest := bytes.Repeat([]byte{0x5c}, 32)
	forged := slices.Concat([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, digest)
	forged = append(forged, make([]byte, k.Size()-len(forged))...)
	// The next cube above has the same first octets, and garbage behind.
	root := cubeRoot(new(big.Int).SetBytes(forged))
	root.Add(root, big.NewInt(1))
	cube := new(big.Int).Exp(root, big.NewInt(3), nil).FillBytes(make([]byte, k.Size()))
	if !bytes.HasPrefix(cube, forged[:11+len(digest)]) {
		t.Fatal("the forgery does not have the HASH in its place")
	}
	if err := Verify(k, suite.RSASig, digest, root.FillBytes(make([]byte, k.Size()))); !errors.Is(err, ErrSignature) {
		t.Errorf("the forgery: %v, want %v", err, ErrSignature)
	}
}

func cubeRoot(n *big.Int) *big.Int {
	lo, hi := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/3+1))
	for new(big.Int).Sub(hi, lo).Cmp(big.NewInt(1)) > 0 {
		mid := new(big.Int).Rsh(new(big.Int).Add(lo, hi), 1)
		if new(big.Int).Exp(mid, big.NewInt(3), nil).Cmp(n) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// CVE-2017-9022: keys that break the arithmetic, or that anybody can break.
func TestWeakKeys(t *testing.T) {
	odd := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.Add(n, big.NewInt(1))
	}
	for _, v := range []struct {
		story  string
		key    crypto.PublicKey
		legacy bool
		want   error
	}{
		{"2048 bits", &rsa.PublicKey{N: odd(2048), E: 65537}, false, nil},
		{"8192 bits, e 3", &rsa.PublicKey{N: odd(8192), E: 3}, false, nil},
		{"2047 bits", &rsa.PublicKey{N: odd(2047), E: 65537}, false, ErrWeakKey},
		{"1024 bits", &rsa.PublicKey{N: odd(1024), E: 65537}, false, ErrWeakKey},
		{"1024 bits, legacy", &rsa.PublicKey{N: odd(1024), E: 65537}, true, nil},
		{"1023 bits, legacy", &rsa.PublicKey{N: odd(1023), E: 65537}, true, ErrWeakKey},
		{"tiny", &rsa.PublicKey{N: big.NewInt(15), E: 3}, true, ErrWeakKey},
		{"no modulus", &rsa.PublicKey{N: new(big.Int), E: 65537}, true, ErrWeakKey},
		{"8193 bits", &rsa.PublicKey{N: odd(8193), E: 65537}, true, ErrWeakKey},
		{"even modulus", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}, false, ErrWeakKey},
		{"e 0", &rsa.PublicKey{N: odd(2048)}, false, ErrWeakKey},
		{"e 1", &rsa.PublicKey{N: odd(2048), E: 1}, false, ErrWeakKey},
		{"e 2", &rsa.PublicKey{N: odd(2048), E: 2}, false, ErrWeakKey},
		{"P-224", &ecdsa.PublicKey{Curve: elliptic.P224()}, true, ErrSigner},
		{"P-256", &ecdsa.PublicKey{Curve: elliptic.P256()}, false, nil},
		{"nothing", nil, true, ErrSigner},
	} {
		if err := CheckPublic(v.key, v.legacy); !errors.Is(err, v.want) || v.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", v.story, err, v.want)
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{nil, p224, "key", []byte{1}, rsaKey().Public()} {
		if s, err := NewSigner(key); !errors.Is(err, ErrSigner) || s.Held() {
			t.Errorf("%T: %v", key, err)
		}
	}
	var none Signer
	if none.Held() || none.Auth() != suite.NoAuth || none.Public() != nil || !none.Equal(Signer{}) || none.Matches(nil) {
		t.Error("the zero Signer holds something")
	}
	if r := SignJob(none, []byte{1}).Run(); !errors.Is(r.Err, ErrSigner) || r.Signature != nil {
		t.Errorf("the zero Signer signs: %v", r.Err)
	}
	a, b := signers(t)[0], signers(t)[1]
	if a.Equal(b) || a.Equal(none) || none.Equal(a) || !a.Equal(a) || !a.Matches(a.Public()) || a.Matches(b.Public()) {
		t.Error("Equal or Matches is wrong")
	}
}

// hidden holds a key where fmt cannot call the methods of Signer.
type hidden struct{ key Signer }

// No verb shows a part of a private key, wherever the Signer stands.
func TestSignerNeverPrints(t *testing.T) {
	for _, s := range signers(t) {
		secret := privateNumber(*s.key)
		var out bytes.Buffer
		for _, h := range []any{s, &s, []Signer{s}, hidden{s}, &hidden{s}, []hidden{{s}}, map[string]*hidden{"k": {s}}, SignJob(s, []byte{1}),
			struct{ S Signer }{s}} {
			for _, v := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%e"} {
				fmt.Fprintf(&out, v+"\n", h)
			}
			j, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(j)
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", h)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", h)
		}
		text := strings.ToLower(out.String())
		for _, l := range []string{secret.String(), fmt.Sprintf("%x", secret), fmt.Sprint(secret.Bits()[:1]), fmt.Sprintf("%o", secret)} {
			if strings.Contains(text, strings.Trim(l, "[]")) {
				t.Errorf("%s prints its private number", s.Auth())
			}
		}
		// The test must be able to see a leak.
		if !strings.Contains(fmt.Sprintf("%v", *s.key), secret.String()) {
			t.Errorf("%s: printed openly, the private number goes unseen", s.Auth())
		}
	}
}

func privateNumber(k crypto.Signer) *big.Int {
	switch k := k.(type) {
	case *rsa.PrivateKey:
		return k.D
	case *ecdsa.PrivateKey:
		if b, err := k.Bytes(); err == nil {
			return new(big.Int).SetBytes(b)
		}
	}
	return nil
}

// What a stranger sends as a signature ends in a rule, never in a panic.
func FuzzVerify(f *testing.F) {
	list := signers(f)
	for i, s := range list {
		d := bytes.Repeat([]byte{9}, SignatureHash(s.Auth(), suite.SHA256).Row().Size)
		f.Add(byte(i), d, sign(f, s, d))
	}
	f.Add(byte(1), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, i byte, digest, signature []byte) {
		s := list[int(i)%len(list)]
		if err := Verify(s.Public(), s.Auth(), digest, signature); err != nil && !errors.Is(err, ErrSignature) {
			t.Fatalf("no rule: %v", err)
		}
	})
}
