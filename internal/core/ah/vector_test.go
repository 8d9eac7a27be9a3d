package ah

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/suite"
)

// linux is what a Linux kernel sent with known keys: every algorithm, both
// modes, its needless padding, extended sequence numbers, and IPv4 options of
// each kind (router alert, record route, time stamp, security, an unknown one).
//
//go:embed testdata/linux.json
var linux []byte

type recorded struct {
	Name    string
	Hash    string
	Key     string
	Mode    string
	SPI     uint32
	ESN     bool
	Packets []string
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	var file struct{ SAs []recorded }
	if err := json.Unmarshal(linux, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.SAs) < 16 {
		t.Fatalf("%d SAs were recorded, expected 16", len(file.SAs))
	}
	return file.SAs
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r recorded) hash(t testing.TB) suite.Hash {
	t.Helper()
	for _, h := range suite.Hashes() {
		if h.Row().IKE == r.Hash || (r.Hash == "sha1" && h == suite.SHA1) {
			return h
		}
	}
	t.Fatalf("%s: no such hash", r.Hash)
	return suite.NoHash
}

func (r recorded) secret(t testing.TB) crypt.Secret { return crypt.NewSecret(unhex(t, r.Key)) }

// seqs are the whole sequence numbers of a recording's packets: with extended
// ones it begins two before the lower half is full.
func (r recorded) seq(packet []byte) uint64 {
	_, low, _ := Header(packet[int(packet[0]&15)*4:])
	switch {
	case !r.ESN:
		return uint64(low)
	case low == 0xffffffff:
		return 0x7_ffffffff
	}
	return 0x8_00000000 + uint64(low)
}

func TestLinuxPacketsAreRight(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			o, err := NewOpener(r.hash(t), r.SPI, r.secret(t), r.ESN)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range r.Packets {
				p := unhex(t, text)
				payload, next, err := o.Authenticate(p, r.seq(p))
				if err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
				want := uint8(17)
				if r.Mode == "tunnel" {
					want = 4
				}
				if next != want || len(payload) < 8 {
					t.Errorf("packet %d: next header %d, %d octets", i, next, len(payload))
				}
				if r.ESN {
					if _, _, err := o.Authenticate(p, r.seq(p)+1<<32); !errors.Is(err, ErrICV) {
						t.Errorf("packet %d with a wrong upper half: %v", i, err)
					}
				}
				p[len(p)-1] ^= 1
				if _, _, err := o.Authenticate(p, r.seq(p)); !errors.Is(err, ErrICV) {
					t.Errorf("packet %d, damaged: %v", i, err)
				}
			}
		})
	}
}

// What we make of the same packet is octet for octet what Linux made, where it
// does without the padding that RFC 4302 section 3.3.3.2.1 does not want.
func TestWeSealAsLinuxDoes(t *testing.T) {
	for _, r := range recordings(t) {
		h := r.hash(t)
		for i, text := range r.Packets {
			want := unhex(t, text)
			at := int(want[0]&15) * 4
			if int(want[at+1]+2)*4 != Len(h) {
				continue
			}
			s, err := NewSealer(h, r.SPI, r.secret(t), r.ESN)
			if err != nil {
				t.Fatal(err)
			}
			s.seq = r.seq(want) - 1
			got, next := bytes.Clone(want), want[at]
			clear(got[at : at+Len(h)])
			got[9] = next
			binary.BigEndian.PutUint16(got[2:], 0)
			if err := s.Seal(got, next); err != nil {
				t.Fatalf("%s, packet %d: %v", r.Name, i, err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s, packet %d:\n got %x\nwant %x", r.Name, i, got, want)
			}
		}
	}
}
