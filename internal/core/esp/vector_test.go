package esp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixedIV stands in for the cipher that makes IVs, so that a packet of an RFC
// can be made again with the RFC's IV.
type fixedIV []byte

func (f fixedIV) BlockSize() int          { return len(f) }
func (f fixedIV) Encrypt(dst, src []byte) { copy(dst, f) }
func (f fixedIV) Decrypt(dst, src []byte) { panic("IVs are not decrypted") }

// The ESP packets of RFC 3602 section 4, cases 5 to 8. They are without
// authentication, which we refuse; the ICV here is HMAC-SHA1-96 (RFC 2404) over
// the RFC's octets, so everything before it must be as in the RFC.
func TestRFC3602Packets(t *testing.T) {
	cases := []struct {
		name         string
		key, iv      string
		seq          uint64
		next         uint8
		payload, esp string
	}{
		{
			name: "case 5: transport mode, ping of 64 octets",
			key:  "90d382b410eeba7ad938c46cec1a82bf", iv: "e96e8c08ab465763fd098d45dd3ff893", seq: 1, next: 1,
			payload: "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
			esp:     "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a6",
		},
		{
			name: "case 6: transport mode, ping of 28 octets",
			key:  "90d382b410eeba7ad938c46cec1a82bf", iv: "69d08df7d203329db093fc4924e5bd80", seq: 8, next: 1,
			payload: "0800b5e8a80a0500a69c083d0b660e00777777777777777777777777",
			esp:     "000043210000000869d08df7d203329db093fc4924e5bd80f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
		},
		{
			name: "case 7: tunnel mode, ping of 84 octets",
			key:  "0123456789abcdef0123456789abcdef", iv: "f4e765244f6407adf13dc1380f673f37", seq: 2, next: 4,
			payload: "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
			esp:     "0000876500000002f4e765244f6407adf13dc1380f673f37773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
		},
		{
			name: "case 8: tunnel mode, ping of 68 octets",
			key:  "0123456789abcdef0123456789abcdef", iv: "85d47224b5f3dd5d2101d4ea8dffab22", seq: 5, next: 4,
			payload: "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083da3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			esp:     "000087650000000585d47224b5f3dd5d2101d4ea8dffab2215b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb50f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3d2726d9b5ef6affc6d17a0decbb13892",
		},
	}
	set := policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}
	integ := bytes.Repeat([]byte{0x0b}, 20)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want, payload := unhex(t, c.esp), unhex(t, c.payload)
			mac := hmac.New(sha1.New, integ)
			mac.Write(want)
			want = mac.Sum(want)[:len(want)+12]
			spi, _, _ := Header(want)

			s := sealer(t, set, spi, unhex(t, c.key), integ)
			s.ivs, s.seq = fixedIV(unhex(t, c.iv)), c.seq-1
			got := seal(t, s, payload, c.next)
			if !bytes.Equal(got, want) {
				t.Errorf("sealed\n%x\nwant\n%x", got, want)
			}

			o := opener(t, set, spi, unhex(t, c.key), integ)
			inner, next, seq, err := o.Open(want)
			if err != nil || next != c.next || uint64(seq) != c.seq || !bytes.Equal(inner, payload) {
				t.Errorf("opened next %d, seq %d, %v:\n%x\nwant\n%x", next, seq, err, inner, payload)
			}
		})
	}
}

// The packets without extended sequence numbers of draft-mcgrew-gcm-test-01
// "Test Cases for the use of GCM and GMAC in IPsec ESP", for RFC 4106.
func TestGCMPackets(t *testing.T) {
	cases := []struct {
		name          string
		bits          int
		key, salt     string
		trailed, wire string // payload with ESP trailer; packet
		payload, next int
	}{
		{
			name: "AES-128, UDP", bits: 128, key: "feffe9928665731c6d6a8f9467308308", salt: "cafebabe", payload: 62, next: 1,
			trailed: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000037369700963796265726369747902646b00000100010001",
			wire:    "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
		},
		{
			name: "AES-256, TCP", bits: 256, key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab", salt: "11223344", payload: 48, next: 1,
			trailed: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b40101040201020201",
			wire:    "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
		},
		{
			name: "AES-128, key of zeros", bits: 128, key: "00000000000000000000000000000000", salt: "00000000", payload: 60, next: 1,
			trailed: "4500003c99c500008001cb7a40679318010101010800075c020044006162636465666768696a6b6c6d6e6f707172737475767761626364656667686901020201",
			wire:    "000000000000000100000000000000004688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af3f821d496eeb096e98ad2b69e4799c71d",
		},
		{
			name: "AES-192, TCP without padding", bits: 192, key: "feffe9928665731c6d6a8f9467308308feffe9928665731c", salt: "cafebabe", payload: 38, next: 1,
			trailed: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
			wire:    "0000a5f80000000afacedbaddecaf888a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc7795457b9652037f5318027b5b4cd7a636",
		},
		{
			name: "AES-128, empty payload, last sequence number", bits: 128, key: "7d773d00c144c525ac619d18c84a3f47", salt: "d9664267", payload: 0, next: 1,
			trailed: "01020201",
			wire:    "335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set := policy.TransformSet{Cipher: suite.AESGCM, KeyBits: c.bits}
			key := append(unhex(t, c.key), unhex(t, c.salt)...)
			want, trailed := unhex(t, c.wire), unhex(t, c.trailed)

			// The draft's IV is no sequence number: start behind it.
			s := sealer(t, set, MinSPI, key, nil)
			got := append(bytes.Clone(want[:16]), trailed...)
			got = append(got, make([]byte, 16)...)
			s.protect(got)
			if !bytes.Equal(got, want) {
				t.Errorf("sealed\n%x\nwant\n%x", got, want)
			}

			o := opener(t, set, MinSPI, key, nil)
			inner, next, _, err := o.Open(bytes.Clone(want))
			if err != nil || int(next) != c.next || !bytes.Equal(inner, trailed[:c.payload]) {
				t.Errorf("opened next %d, %v:\n%x\nwant\n%x", next, err, inner, trailed[:c.payload])
			}
		})
	}
}

func sealer(t testing.TB, set policy.TransformSet, spi uint32, encr, integ []byte) *Sealer {
	t.Helper()
	s, err := NewSealer(set, spi, crypt.NewSecret(encr), crypt.NewSecret(integ), crypt.NewSecret(make([]byte, IVKeyLen)))
	if err != nil {
		t.Fatalf("NewSealer(%s): %v", set, err)
	}
	return s
}

func opener(t testing.TB, set policy.TransformSet, spi uint32, encr, integ []byte) *Opener {
	t.Helper()
	o, err := NewOpener(set, spi, crypt.NewSecret(encr), crypt.NewSecret(integ))
	if err != nil {
		t.Fatalf("NewOpener(%s): %v", set, err)
	}
	return o
}

// seal puts payload into a fresh buffer and seals it there.
func seal(t testing.TB, s *Sealer, payload []byte, next uint8) []byte {
	t.Helper()
	buf := make([]byte, Headroom+len(payload)+Tailroom)
	copy(buf[Headroom:], payload)
	out, err := s.Seal(buf, Headroom, len(payload), next)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return out
}
