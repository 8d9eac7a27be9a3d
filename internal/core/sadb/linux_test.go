package sadb

import (
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// linux is what a Linux kernel sent with known keys: ESP with GCM, CBC and NULL
// and AH around ESP, in both modes, with and without extended sequence numbers.
//
//go:embed testdata/linux.json
var linux []byte

type recorded struct {
	Name, Cipher, Encr, Integ, Mode string
	SPI                             uint32
	AHSPI                           uint32
	AHHash, AHKey                   string
	ESN                             bool
	Packets                         []string
}

func (r recorded) child(t *testing.T) Child {
	t.Helper()
	secret := func(s string) crypt.Secret {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return crypt.NewSecret(b)
	}
	set := map[string]policy.TransformSet{
		"gcm":  {Cipher: suite.AESGCM, KeyBits: 256},
		"cbc":  {Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256},
		"null": {Cipher: suite.NullCipher, Integ: suite.SHA1},
	}[r.Cipher]
	if r.Mode == "transport" {
		set.Mode = suite.Transport
	}
	c := childOf(1)
	c.In = Keys{SPI: r.SPI, Encr: secret(r.Encr), Integ: secret(r.Integ)}
	if r.AHSPI != 0 {
		set.AH, c.In.AHSPI, c.In.AHInteg = suite.SHA1, r.AHSPI, secret(r.AHKey)
	}
	c.Set, c.ESN = set, r.ESN
	c.Selectors.Local, c.Selectors.Remote = prefixOf("198.51.100.1/32"), prefixOf("198.51.100.2/32")
	return c
}

func TestLinuxPacketsOpen(t *testing.T) {
	var file struct{ SAs []recorded }
	if err := json.Unmarshal(linux, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.SAs) != 12 {
		t.Fatalf("%d SAs were recorded, expected 12", len(file.SAs))
	}
	for _, r := range file.SAs {
		t.Run(r.Name, func(t *testing.T) {
			c := r.child(t)
			d := newDB(twoSites())
			install(t, d, c, true, false)
			in := d.Snapshot().Inbound(50, r.SPI)
			if r.ESN {
				// The recording begins two numbers before the lower half is full.
				if err := in.espWindow.Update(0x7_fffffff0); err != nil {
					t.Fatal(err)
				}
			}
			for n, text := range r.Packets {
				packet, err := hex.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				got, err := in.Open(packet, 20, 1)
				if err != nil {
					t.Fatalf("packet %d: %v", n, err)
				}
				octets := []int{0, 37, 200, 20}[n]
				p := got.Payload
				if len(p) != 28+octets || p[9] != flow.UDP || int(binary.BigEndian.Uint16(p[2:])) != len(p) {
					t.Errorf("packet %d: %x", n, p)
				}
				if dscp := p[1]; (n == 3) != (dscp == 0xb8) {
					t.Errorf("packet %d: type of service %#x", n, dscp)
				}
				for i := range octets {
					if p[28+i] != byte(i) {
						t.Fatalf("packet %d: octet %d of its data is %#x", n, i, p[28+i])
					}
				}
			}
		})
	}
}
