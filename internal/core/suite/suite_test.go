package suite

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"testing"
)

// Numbers and words are looked up both ways, and no two rows share one.
func TestRowsAreFoundByTheirNumbers(t *testing.T) {
	words := map[string]string{}
	once := func(name, word string) {
		t.Helper()
		if word == "" {
			return
		}
		if other, taken := words[word]; taken {
			t.Errorf("%s and %s are both %q", name, other, word)
		}
		words[word] = name
	}
	for _, c := range Ciphers() {
		r := c.Row()
		once(r.RFC, "isakmp "+r.IKE)
		once(r.RFC, r.ESP)
		if got, ok := CipherOfIKEv1(r.IKEv1); ok != (r.IKEv1 != 0) || ok && got != c {
			t.Errorf("phase 1 number %d gives %s, want %s", r.IKEv1, got, c)
		}
		if got, ok := CipherOfESP(r.IPsec); !ok || got != c {
			t.Errorf("ESP transform %d gives %s, want %s", r.IPsec, got, c)
		}
		if r.Wireshark == "" || len(r.KeyBits) == 0 || r.Block == 0 || !c.Known() {
			t.Errorf("the row of %s has holes: %+v", c, r)
		}
		delete(words, "isakmp ")
	}
	for _, h := range Hashes() {
		r := h.Row()
		once(r.RFC, "isakmp "+r.IKE)
		once(r.RFC, r.ESP)
		once(r.RFC, r.AH)
		if got, ok := HashOfIKEv1(r.IKEv1); !ok || got != h {
			t.Errorf("hash number %d gives %s, want %s", r.IKEv1, got, h)
		}
		if got, ok := HashOfAuth(r.Auth); !ok || got != h {
			t.Errorf("authentication algorithm %d gives %s, want %s", r.Auth, got, h)
		}
	}
}

// Digest, block and truncation: RFC 2403, RFC 2404 and RFC 4868 section 2.6.
func TestHashSizes(t *testing.T) {
	for h, want := range map[Hash][3]int{
		MD5: {md5.Size, md5.BlockSize, 12}, SHA1: {sha1.Size, sha1.BlockSize, 12}, SHA256: {sha256.Size, sha256.BlockSize, 16},
		SHA384: {sha512.Size384, sha512.BlockSize, 24}, SHA512: {sha512.Size, sha512.BlockSize, 32},
	} {
		if r := h.Row(); r.Size != want[0] || r.Block != want[1] || r.ICV != want[2] {
			t.Errorf("%s: %d, %d, %d octets, want %v", h, r.Size, r.Block, r.ICV, want)
		}
	}
}

// KE payloads: RFC 2409 section 5 for MODP, RFC 5903 section 7 for ECP, RFC 8031
// section 3 for Curve25519.
func TestGroupSizes(t *testing.T) {
	for _, g := range Groups() {
		r := g.Row()
		switch r.Kind {
		case "ECP":
			if n := (r.Bits + 7) / 8; r.Public != 2*n || r.Shared != n {
				t.Errorf("%s: KE of %d octets, shared secret of %d, want %d and %d", g, r.Public, r.Shared, 2*n, n)
			}
		case "Curve25519":
			if r.Public != 32 || r.Shared != 32 || r.Bits != 255 {
				t.Errorf("%s: KE of %d octets, shared secret of %d, want 32 of each", g, r.Public, r.Shared)
			}
		default:
			if n := r.Bits / 8; r.Public != n || r.Shared != n {
				t.Errorf("%s: KE of %d octets, shared secret of %d, want %d", g, r.Public, r.Shared, n)
			}
		}
	}
}

// Nothing that RFC 8247 section 2 and RFC 8221 section 5 forbid is negotiated by default.
func TestVerdicts(t *testing.T) {
	for _, c := range []Cipher{DES, TripleDES} {
		if c.Row().Verdict != Legacy {
			t.Errorf("%s is %s", c, c.Row().Verdict)
		}
	}
	for _, g := range []Group{14, 15, 16, 19, 20, 21, 23, 24, 31} {
		if g.Row().Verdict != OK {
			t.Errorf("%s is %s", g, g.Row().Verdict)
		}
	}
	for _, g := range []Group{1, 2, 5, 22} {
		if g.Row().Verdict != Legacy {
			t.Errorf("%s is %s", g, g.Row().Verdict)
		}
	}
	if MD5.Row().Verdict != Legacy || RSAEncr.Row().Verdict != Never {
		t.Error("MD5 or RSA encryption may be negotiated")
	}
	if Group(99).Known() || Group(99).Row().Verdict != Never {
		t.Error("an unknown group may be negotiated")
	}
	if Cipher(200).Known() || Cipher(200).String() != "none" || Hash(200).Known() || Hash(200).String() != "none" {
		t.Error("an unknown algorithm has a row")
	}
}
