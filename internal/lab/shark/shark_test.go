package shark

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/suite"
	"culvert/internal/lab/pcap"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outer is an IPv4 header from 198.51.100.1 to 198.51.100.2 in front of body.
func outer(proto byte, body []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
	return append(h, body...)
}

// captureOf is a capture file with one packet.
func captureOf(t *testing.T, packet []byte) string {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "one.pcap")
	w, err := pcap.Create(path, pcap.RawIP)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(time.Unix(1, 0), packet); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// RFC 3602 section 4, case 7: an echo request in tunnel mode, no integrity.
const (
	rfc3602Case7Key    = "0123456789abcdef0123456789abcdef"
	rfc3602Case7Packet = "0000876500000002f4e765244f6407adf13dc1380f673f37773b5241a4c449225e4f3ce5ed611b0c" +
		"237ca96cf74a93013c1b0ea1a0cf70f8e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5" +
		"c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d"
)

func TestReadsTheESPPacketOfRFC3602(t *testing.T) {
	capture := captureOf(t, outer(50, unhex(t, rfc3602Case7Packet)))
	sa := ESP{Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("198.51.100.2"),
		SPI: 0x8765, Cipher: suite.AESCBC, Key: unhex(t, rfc3602Case7Key)}
	want := Packet{
		"ip.src": {"198.51.100.1", "192.168.123.3"}, "ip.dst": {"198.51.100.2", "192.168.123.200"},
		"esp.spi": {"0x00008765"}, "esp.sequence": {"2"}, "icmp.type": {"8"}, "esp.pad_len": {"10"},
	}
	fields := []string{"ip.src", "ip.dst", "esp.spi", "esp.sequence", "icmp.type", "esp.pad_len"}
	got, err := Fields(t.Context(), capture, Keys{ESP: []ESP{sa}}, "esp", fields...)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("one packet, but: %v", got)
	}
	for f, w := range want {
		if !slices.Equal(got[0][f], w) {
			t.Errorf("%s is %q, expected %q", f, got[0][f], w)
		}
	}
	// Without its key nothing is readable.
	sealed, err := Fields(t.Context(), capture, Keys{}, "", fields...)
	if err != nil || len(sealed) != 1 || len(sealed[0]["icmp.type"]) != 0 || len(sealed[0]["ip.src"]) != 1 {
		t.Errorf("without a key: %v, %v", sealed, err)
	}
}

// draft-mcgrew-gcm-test-01, the case with key feffe992…; its Next Header says ICMP.
func TestReadsTheGCMPacketOfMcGrew(t *testing.T) {
	capture := captureOf(t, outer(50, unhex(t, "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f"+
		"1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a")))
	sa := ESP{SPI: 0xa5f8, Cipher: suite.AESGCM, Key: unhex(t, "feffe9928665731c6d6a8f9467308308 cafebabe")}
	got, err := Fields(t.Context(), capture, Keys{ESP: []ESP{sa}}, "", "esp.protocol", "esp.pad_len", "esp.icv", "esp.icv_good", "icmp.type")
	if err != nil {
		t.Fatal(err)
	}
	// The inner packet begins with 45 00, read as ICMP type 69.
	if len(got) != 1 || !slices.Equal(got[0]["esp.protocol"], []string{"0x01"}) || !slices.Equal(got[0]["esp.pad_len"], []string{"0"}) ||
		!slices.Equal(got[0]["icmp.type"], []string{"69"}) || !slices.Equal(got[0]["esp.icv_good"], []string{"1"}) {
		t.Errorf("%v", got)
	}
}

// Every transform Culvert offers, sealed here with the standard library only.
func TestReadsEveryTransform(t *testing.T) {
	echo := unhex(t, "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d02a2040008090a0b0c0d0e0f"+
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637")
	newHash := map[suite.Hash]func() hash.Hash{suite.SHA1: sha1.New, suite.SHA256: sha256.New, suite.SHA384: sha512.New384, suite.SHA512: sha512.New}
	key := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	integ := slices.Concat(key, key)
	for _, bits := range []int{128, 192, 256} {
		for h, f := range newHash {
			sa := ESP{SPI: 0x1234, Cipher: suite.AESCBC, Key: key[:bits/8], Hash: h, IntegKey: integ[:h.Row().Size]}
			checkEcho(t, sa, sealCBC(t, sa, f, h.Row().ICV, echo), true)
		}
		sa := ESP{SPI: 0x1234, Cipher: suite.AESGCM, Key: append(slices.Clone(key[:bits/8]), 1, 2, 3, 4)}
		checkEcho(t, sa, sealGCM(t, sa, echo), true)
	}
	// A changed octet of the ICV is seen.
	sa := ESP{SPI: 0x1234, Cipher: suite.AESCBC, Key: key[:16], Hash: suite.SHA256, IntegKey: integ[:32]}
	sealed := sealCBC(t, sa, sha256.New, 16, echo)
	sealed[len(sealed)-1] ^= 1
	checkEcho(t, sa, sealed, false)
}

func checkEcho(t *testing.T, sa ESP, sealed []byte, good bool) {
	t.Helper()
	capture := captureOf(t, outer(50, sealed))
	got, err := Fields(t.Context(), capture, Keys{ESP: []ESP{sa}}, "", "icmp.type", "esp.icv_good", "esp.icv_bad")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || (good && !slices.Equal(got[0]["icmp.type"], []string{"8"})) {
		t.Errorf("%s-%d %s: %v", sa.Cipher, 8*len(sa.Key), sa.Hash, got)
	}
	if isGood := slices.Equal(got[0]["esp.icv_good"], []string{"1"}); isGood != good {
		t.Errorf("%s-%d %s: ICV good %v: %v", sa.Cipher, 8*len(sa.Key), sa.Hash, isGood, got)
	}
}

// padded appends the ESP trailer (RFC 4303 2.4) for an inner IPv4 packet.
func padded(inner []byte, block int) []byte {
	p := slices.Clone(inner)
	n := (block - (len(p)+2)%block) % block
	for i := range n {
		p = append(p, byte(i+1))
	}
	return append(p, byte(n), 4)
}

func sealCBC(t *testing.T, sa ESP, newHash func() hash.Hash, icv int, inner []byte) []byte {
	t.Helper()
	b, err := aes.NewCipher(sa.Key)
	if err != nil {
		t.Fatal(err)
	}
	iv := []byte("0123456789abcdef")
	plain := padded(inner, 16)
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(plain, plain)
	packet := slices.Concat(binary.BigEndian.AppendUint32(nil, sa.SPI), []byte{0, 0, 0, 7}, iv, plain)
	m := hmac.New(newHash, sa.IntegKey)
	m.Write(packet)
	return append(packet, m.Sum(nil)[:icv]...)
}

func sealGCM(t *testing.T, sa ESP, inner []byte) []byte {
	t.Helper()
	k := len(sa.Key) - 4
	b, err := aes.NewCipher(sa.Key[:k])
	if err != nil {
		t.Fatal(err)
	}
	g, err := cipher.NewGCM(b)
	if err != nil {
		t.Fatal(err)
	}
	head := append(binary.BigEndian.AppendUint32(nil, sa.SPI), 0, 0, 0, 7)
	iv := []byte("abcdefgh")
	return append(slices.Concat(head, iv), g.Seal(nil, append(slices.Clone(sa.Key[k:]), iv...), padded(inner, 4), head)...)
}

func TestSaysWhatItCannotDo(t *testing.T) {
	capture := captureOf(t, outer(50, unhex(t, rfc3602Case7Packet)))
	if _, err := Fields(t.Context(), capture, Keys{ESP: []ESP{{Cipher: 99}}}, "", "ip.src"); err == nil {
		t.Error("an unknown cipher was taken")
	}
	if _, err := Fields(t.Context(), capture, Keys{}, "no such filter", "ip.src"); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("a wrong filter: %v", err)
	}
	if _, err := Details(t.Context(), capture+".none", Keys{}, ""); err == nil {
		t.Error("a missing file was read")
	}
	text, err := Details(t.Context(), capture, Keys{}, "")
	if err != nil || !strings.Contains(text, "Encapsulating Security Payload") {
		t.Errorf("details: %v\n%s", err, text)
	}
}
