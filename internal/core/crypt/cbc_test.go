package crypt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"culvert/internal/core/suite"
)

var cbcs = []struct {
	source                   string
	cipher                   suite.Cipher
	key, iv, plain, secreted string
}{
	{"RFC 3602 section 4 case 1", suite.AESCBC, "06a9214036b8a15b512e03d534120006", "3dafba429d9eb430b422da802c9fac41",
		hex.EncodeToString([]byte("Single block msg")), "e353779c1079aeb82708942dbe77181a"},
	{"RFC 3602 section 4 case 2", suite.AESCBC, "c286696d887c9aa0611bbb3e2025a45a", "562e17996d093d28ddb3ba695a2e6f58",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"},
	{"RFC 3602 section 4 case 3", suite.AESCBC, "6c3ea0477630ce21a2ce334aa746c2cd", "c782dc4c098c66cbd9cd27d825682c81",
		hex.EncodeToString([]byte("This is a 48-byte message (exactly 3 AES blocks)")),
		"d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684"},
	{"SP 800-38A section F.2.3", suite.AESCBC, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "000102030405060708090a0b0c0d0e0f",
		"6bc1bee22e409f96e93d7e117393172a", "4f021db243bc633d7178183a9fa071e8"},
	{"SP 800-38A section F.2.5", suite.AESCBC, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
		"000102030405060708090a0b0c0d0e0f", "6bc1bee22e409f96e93d7e117393172a", "f58c4c04d6e5f1ba779eabfb5f7bfbd6"},
	{"NIST 3DES multi-block example 1", suite.TripleDES, "627f460e08104a1043cd265d5840eaf1313edf97df2a8a8c",
		"8e29f75ea77e5475", "326a494cd33fe756", "b22b8d66de970692"},
	{"NIST 3DES multi-block example 2", suite.TripleDES, "37ae5ebf46dff2dc0754b94f31cbb3855e7fd36dc870bfae",
		"3d1de3cc132e3b65", "84401f78fe6c10876d8ea23094ea5309", "7b1f7c7e3b1c948ebd04a75ffba7d2f5"},
	{"FIPS 81 appendix C", suite.DES, "0123456789abcdef", "1234567890abcdef",
		hex.EncodeToString([]byte("Now is the time for all ")), "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6"},
}

func TestPublishedCBC(t *testing.T) {
	for _, v := range cbcs {
		key, iv, plain, secreted := NewSecret(unhex(t, v.key)), unhex(t, v.iv), unhex(t, v.plain), unhex(t, v.secreted)
		got, err := CBCEncrypt(v.cipher, key, iv, plain)
		if err != nil || !bytes.Equal(got, secreted) {
			t.Errorf("%s: encrypted %x, %v; want %x", v.source, got, err, secreted)
		}
		back, err := CBCDecrypt(v.cipher, key, iv, secreted)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%s: decrypted %x, %v; want %x", v.source, back, err, plain)
		}
		// A received message is kept for retransmission and for hashes.
		if !bytes.Equal(iv, unhex(t, v.iv)) || !bytes.Equal(plain, unhex(t, v.plain)) || !bytes.Equal(secreted, unhex(t, v.secreted)) {
			t.Errorf("%s: wrote into what it was given", v.source)
		}
	}
}

// RFC 2409 appendix B: "Subsequent messages MUST use the last CBC encryption
// block from the previous message as their initialization vector."
func TestCBCGoesOnFromTheLastBlock(t *testing.T) {
	v := cbcs[2]
	key, iv, plain := NewSecret(unhex(t, v.key)), unhex(t, v.iv), unhex(t, v.plain)
	first, err := CBCEncrypt(v.cipher, key, iv, plain[:16])
	if err != nil {
		t.Fatal(err)
	}
	second, err := CBCEncrypt(v.cipher, key, first[len(first)-16:], plain[16:])
	if err != nil {
		t.Fatal(err)
	}
	if got := append(first, second...); !bytes.Equal(got, unhex(t, v.secreted)) {
		t.Errorf("two messages give %x, want %s", got, v.secreted)
	}
}

func TestCBCRefuses(t *testing.T) {
	for _, c := range []struct {
		story         string
		cipher        suite.Cipher
		key, iv, text int
		want          error
	}{
		{"no cipher", suite.NoCipher, 16, 16, 16, ErrCipher},
		{"an unknown cipher", 200, 16, 16, 16, ErrCipher},
		{"GCM, which IKEv1 does not have", suite.AESGCM, 16, 8, 16, ErrCipher},
		{"NULL", suite.NullCipher, 0, 0, 16, ErrCipher},
		{"an empty AES key", suite.AESCBC, 0, 16, 16, ErrKeySize},
		{"an AES key of 20 octets", suite.AESCBC, 20, 16, 16, ErrKeySize},
		{"a DES key of 7 octets, without parity", suite.DES, 7, 8, 8, ErrKeySize},
		{"a 3DES key of two keys", suite.TripleDES, 16, 8, 8, ErrKeySize},
		{"no IV", suite.AESCBC, 16, 0, 16, ErrIVSize},
		{"an IV of a DES block for AES", suite.AESCBC, 16, 8, 16, ErrIVSize},
		{"a hash for an IV, not cut", suite.TripleDES, 24, 20, 8, ErrIVSize},
		{"an empty body", suite.AESCBC, 16, 16, 0, ErrBlocks},
		{"a body one octet short", suite.AESCBC, 32, 16, 31, ErrBlocks},
		{"a body one octet long", suite.DES, 8, 8, 9, ErrBlocks},
	} {
		key, iv, text := NewSecret(make([]byte, c.key)), make([]byte, c.iv), make([]byte, c.text)
		if out, err := CBCEncrypt(c.cipher, key, iv, text); !errors.Is(err, c.want) || out != nil {
			t.Errorf("%s: encrypt says %v, want %v", c.story, err, c.want)
		}
		if out, err := CBCDecrypt(c.cipher, key, iv, text); !errors.Is(err, c.want) || out != nil {
			t.Errorf("%s: decrypt says %v, want %v", c.story, err, c.want)
		}
	}
	_, err := CBCDecrypt(suite.AESCBC, NewSecret(make([]byte, 16)), make([]byte, 16), make([]byte, 31))
	if want := "decrypt: AES-CBC: text of 31 octets, want a multiple of 16: " + string(ErrBlocks); err.Error() != want {
		t.Errorf("says %q, want %q", err, want)
	}
}

// RFC 2409 section 4: "DES in CBC mode with a weak, and semi-weak, key check";
// the keys as appendix A prints them.
func TestWeakDES(t *testing.T) {
	for _, k := range []string{
		"0101010101010101", "1f1f1f1fe0e0e0e0", "e0e0e0e01f1f1f1f", "fefefefefefefefe",
		"01fe01fe01fe01fe", "1fe01fe00ef10ef1", "01e001e001f101f1", "1ffe1ffe0efe0efe", "011f011f010e010e", "e0fee0fef1fef1fe",
		"fe01fe01fe01fe01", "e01fe01ff10ef10e", "e001e001f101f101", "fe1ffe1ffe0efe0e", "1f011f010e010e01", "fee0fee0fef1fef1",
		"1f1f1f1f0e0e0e0e", "e0e0e0e0f1f1f1f1", // as FIPS 74 prints two of them
	} {
		key := unhex(t, k)
		for range 2 {
			if !WeakDES(NewSecret(key)) {
				t.Errorf("%x passes for strong", key)
			}
			for i := range key { // the other parity is the same key
				key[i] ^= 1
			}
		}
		key[3] ^= 0x40
		if WeakDES(NewSecret(key)) {
			t.Errorf("%x passes for weak", key)
		}
	}
	for _, n := range []int{0, 7, 9, 24} {
		if WeakDES(NewSecret(bytes.Repeat([]byte{1}, n))) {
			t.Errorf("%d octets are no DES key", n)
		}
	}
}

func FuzzCBC(f *testing.F) {
	for _, v := range cbcs {
		f.Add(uint8(v.cipher), unhex(f, v.key), unhex(f, v.iv), unhex(f, v.plain))
	}
	f.Add(uint8(suite.AESGCM), []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, c uint8, key, iv, text []byte) {
		k := NewSecret(key)
		out, err := CBCEncrypt(suite.Cipher(c), k, iv, text)
		if _, derr := CBCDecrypt(suite.Cipher(c), k, iv, text); (err == nil) != (derr == nil) {
			t.Fatalf("encrypt says %v, decrypt %v", err, derr)
		}
		if err != nil {
			return
		}
		if back, err := CBCDecrypt(suite.Cipher(c), k, iv, out); err != nil || !bytes.Equal(back, text) {
			t.Fatalf("%x does not come back: %x, %v", text, back, err)
		}
	})
}
