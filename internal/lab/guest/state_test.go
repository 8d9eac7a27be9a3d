package guest

import "testing"

// What ip -s xfrm state of a guest's kernel prints: ESP with its own cipher and
// HMAC in UDP, AES-GCM with ESN, AH in transport mode, and no encryption.
const printed = `src 198.51.100.2 dst 198.51.100.1
	proto esp spi 0x8c3e6845(2352900165) reqid 16389(0x00004005) mode tunnel
	replay-window 32 seq 0x00000000 flag af-unspec (0x00100000)
	auth-trunc hmac(sha1) 0x00112233445566778899aabbccddeeff00112233 (160 bits) 96
	enc cbc(aes) 0x00112233445566778899aabbccddeeff (128 bits)
	encap type espinudp sport 4500 dport 4500 addr 0.0.0.0
	anti-replay context: seq 0x0, oseq 0x3, bitmap 0x00000000
	lifetime config:
	  limit: soft (INF)(bytes), hard (INF)(bytes)
	lifetime current:
	  252(bytes), 3(packets)
	  add 2026-11-23 15:00:00 use 2026-11-23 15:00:01
src 198.51.100.1 dst 198.51.100.2
	proto esp spi 0x00001001(4097) reqid 1(0x00000001) mode tunnel
	replay-window 0 seq 0x00000000 flag af-unspec esn (0x10100000)
	aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f10111213 (288 bits) 128
	anti-replay esn context:
	lifetime current:
	  0(bytes), 0(packets)
src 198.51.100.1 dst 198.51.100.2
	proto ah spi 0x00000102(258) reqid 1(0x00000001) mode transport
	replay-window 0 seq 0x00000000 flag af-unspec (0x00100000)
	auth-trunc hmac(sha256) 0x00 (256 bits) 128
	anti-replay esn context:
	lifetime current:
	  10(bytes), 1(packets)
src 198.51.100.1 dst 198.51.100.2
	proto esp spi 0x00000103(259) reqid 1(0x00000001) mode tunnel
	auth-trunc hmac(sha256) 0x00 (256 bits) 128
	enc ecb(cipher_null) 
	lifetime current:
	  10(bytes), 7(packets)
`

func TestStates(t *testing.T) {
	got, err := parseStates(printed)
	if err != nil {
		t.Fatal(err)
	}
	const r1, r2 = "198.51.100.1", "198.51.100.2"
	want := []State{
		{Src: r2, Dst: r1, Proto: "esp", Mode: "tunnel", SPI: 0x8c3e6845, Cipher: "cbc(aes)", KeyBits: 128, Integrity: "hmac(sha1)", ICVBits: 96, Encap: true, Packets: 3},
		{Src: r1, Dst: r2, Proto: "esp", Mode: "tunnel", SPI: 0x1001, Cipher: "rfc4106(gcm(aes))", KeyBits: 256, ICVBits: 128, ESN: true},
		{Src: r1, Dst: r2, Proto: "ah", Mode: "transport", SPI: 0x102, Integrity: "hmac(sha256)", ICVBits: 128, Packets: 1},
		{Src: r1, Dst: r2, Proto: "esp", Mode: "tunnel", SPI: 0x103, Cipher: "ecb(cipher_null)", Integrity: "hmac(sha256)", ICVBits: 128, Packets: 7},
	}
	if len(got) != len(want) {
		t.Fatalf("%d SAs, expected %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("SA %d: %+v, expected %+v", i, got[i], want[i])
		}
	}
	if _, err := parseStates("src 198.51.100.1 dst 198.51.100.2\n\tnothing\n"); err == nil {
		t.Error("an SA without a protocol was read")
	}
}
