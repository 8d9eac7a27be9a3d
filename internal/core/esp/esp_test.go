package esp

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// sets is every transform set that ESP can carry.
func sets() []policy.TransformSet {
	var out []policy.TransformSet
	for _, c := range suite.Ciphers() {
		for _, bits := range c.Row().KeyBits {
			if c.Combined() {
				out = append(out, policy.TransformSet{Cipher: c, KeyBits: bits})
				continue
			}
			for _, h := range suite.Hashes() {
				out = append(out, policy.TransformSet{Cipher: c, KeyBits: bits, Integ: h})
			}
		}
	}
	return out
}

// keys are keys of the right length for a set, different for each seed.
func keys(set policy.TransformSet, seed byte) (encr, integ []byte) {
	encr, integ = make([]byte, keyLen(set)), make([]byte, set.Integ.Row().Size)
	for i := range encr {
		encr[i] = seed + byte(i)*7
	}
	for i := range integ {
		integ[i] = seed ^ byte(i)*11
	}
	return encr, integ
}

func each(t *testing.T, f func(t *testing.T, set policy.TransformSet, s *Sealer, o *Opener)) {
	for _, set := range sets() {
		t.Run(set.Words(), func(t *testing.T) {
			encr, integ := keys(set, 1)
			f(t, set, sealer(t, set, 0x1000, encr, integ), opener(t, set, 0x1000, encr, integ))
		})
	}
}

func TestWhatIsSealedOpens(t *testing.T) {
	each(t, func(t *testing.T, set policy.TransformSet, s *Sealer, o *Opener) {
		for n := range 70 {
			payload := bytes.Repeat([]byte{0xa5}, n)
			packet := seal(t, s, payload, NextIPv4)
			// RFC 4303 2.4: ciphertext ends on a 4-octet boundary.
			if body := len(packet) - s.header() - s.icv; body%4 != 0 || body%set.Cipher.Row().Block != 0 || body != s.Body(n) {
				t.Fatalf("payload of %d octets: body of %d, announced %d", n, body, s.Body(n))
			}
			inner, next, seq, err := o.Open(packet)
			if err != nil || next != NextIPv4 || int(seq) != n+1 || !bytes.Equal(inner, payload) {
				t.Fatalf("payload of %d octets: next %d, seq %d, %v: %x", n, next, seq, err, inner)
			}
		}
	})
}

func TestHeadroomAndTailroomAreEnough(t *testing.T) {
	each(t, func(t *testing.T, _ policy.TransformSet, s *Sealer, _ *Opener) {
		for n := range 17 {
			buf := make([]byte, Headroom+n+Tailroom)
			if _, err := s.Seal(buf, Headroom, n, NextIPv4); err != nil {
				t.Errorf("%d octets with Headroom and Tailroom: %v", n, err)
			}
			used := s.Seq()
			tight := make([]byte, s.header()+s.Body(n)+s.icv)
			if _, err := s.Seal(tight[1:], s.header()-1, n, NextIPv4); !errors.Is(err, ErrNoRoom) {
				t.Errorf("no headroom: %v, want ErrNoRoom", err)
			}
			if _, err := s.Seal(tight[:len(tight)-1], s.header(), n, NextIPv4); !errors.Is(err, ErrNoRoom) {
				t.Errorf("no tailroom: %v, want ErrNoRoom", err)
			}
			if s.Seq() != used {
				t.Error("a packet that was not sealed used a sequence number")
			}
			if _, err := s.Seal(tight, s.header(), n, NextIPv4); err != nil {
				t.Errorf("%d octets with just enough room: %v", n, err)
			}
		}
		for _, bad := range [][2]int{{-1, 1}, {Headroom, -1}, {Headroom, 1 << 40}, {1 << 40, 1}} {
			if _, err := s.Seal(make([]byte, 200), bad[0], bad[1], NextIPv4); !errors.Is(err, ErrNoRoom) {
				t.Errorf("offset %d, length %d: %v, want ErrNoRoom", bad[0], bad[1], err)
			}
		}
	})
}

// Every flipped bit, in SPI, sequence number, IV, ciphertext and ICV, and every
// length but the right one is refused, and no panic on the way.
//
// Threat: BindView 2002.
func TestTamperedPacketsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, _ policy.TransformSet, s *Sealer, o *Opener) {
		packet := seal(t, s, []byte("the quick brown fox jumps over the lazy dog"), NextIPv4)
		for bit := range len(packet) * 8 {
			p := bytes.Clone(packet)
			p[bit/8] ^= 1 << (bit % 8)
			if _, _, _, err := o.Open(p); !errors.Is(err, ErrICV) {
				t.Fatalf("bit %d of octet %d flipped: %v, want ErrICV", bit%8, bit/8, err)
			}
		}
		for n := range packet {
			_, _, _, err := o.Open(bytes.Clone(packet[:n]))
			if !errors.Is(err, ErrICV) && !errors.Is(err, ErrShort) && !errors.Is(err, ErrLength) {
				t.Fatalf("cut to %d of %d octets: %v", n, len(packet), err)
			}
		}
		for n := 1; n < 40; n++ {
			_, _, _, err := o.Open(append(bytes.Clone(packet), make([]byte, n)...))
			if !errors.Is(err, ErrICV) && !errors.Is(err, ErrLength) {
				t.Fatalf("%d octets too long: %v", n, err)
			}
		}
	})
}

func TestAnotherKeyIsRefused(t *testing.T) {
	each(t, func(t *testing.T, set policy.TransformSet, s *Sealer, _ *Opener) {
		encr, integ := keys(set, 99)
		o := opener(t, set, 0x1000, encr, integ)
		if _, _, _, err := o.Open(seal(t, s, make([]byte, 40), NextIPv4)); !errors.Is(err, ErrICV) {
			t.Fatalf("opened with another key: %v", err)
		}
	})
}

// An authentic packet whose sender padded wrongly: RFC 4303 2.4.
func TestPaddingIsChecked(t *testing.T) {
	cases := []struct {
		story string
		plain []byte
		want  error
		inner int
	}{
		{"no padding", []byte{9, 9, 0, 4}, nil, 2},
		{"only padding", []byte{1, 2, 2, 59}, nil, 0},
		{"as long as the payload", []byte{1, 2, 3, 4, 5, 6, 6, 4}, nil, 0},
		{"longer than the payload", []byte{1, 2, 3, 4, 5, 6, 7, 4}, ErrPadding, 0},
		{"255 octets of four", []byte{1, 2, 255, 4}, ErrPadding, 0},
		{"zeros", []byte{9, 9, 9, 9, 0, 0, 2, 4}, ErrPadding, 0},
		{"counting from 0", []byte{9, 9, 9, 9, 0, 1, 2, 4}, ErrPadding, 0},
		{"last octet off", []byte{9, 9, 9, 1, 2, 4, 3, 4}, ErrPadding, 0},
		{"no trailer at all", []byte{1}, ErrPadding, 0},
	}
	for _, c := range cases {
		inner, _, err := Trim(c.plain)
		if !errors.Is(err, c.want) || len(inner) != c.inner {
			t.Errorf("%s: %d octets, %v; want %d, %v", c.story, len(inner), err, c.inner, c.want)
		}
	}
}

func TestWrongPaddingIsFoundBehindTheICV(t *testing.T) {
	each(t, func(t *testing.T, _ policy.TransformSet, s *Sealer, o *Opener) {
		packet := make([]byte, s.header()+16+s.icv)
		for i := range packet {
			packet[i] = 0xee // a pad length of 238 in 16 octets
		}
		s.protect(packet)
		if _, _, _, err := o.Open(packet); !errors.Is(err, ErrPadding) {
			t.Errorf("authentic packet with bad padding: %v, want ErrPadding", err)
		}
	})
}

func TestDummyPacket(t *testing.T) {
	each(t, func(t *testing.T, _ policy.TransformSet, s *Sealer, o *Opener) {
		_, next, _, err := o.Open(seal(t, s, nil, NextDummy))
		if err != nil || next != NextDummy {
			t.Errorf("dummy packet: next %d, %v", next, err)
		}
	})
}

// "The transmitted sequence number must never be allowed to cycle": RFC 4303 2.2.
func TestSequenceNumbersEnd(t *testing.T) {
	each(t, func(t *testing.T, _ policy.TransformSet, s *Sealer, o *Opener) {
		s.seq = s.lastSeq() - 1
		packet := seal(t, s, make([]byte, 20), NextIPv4)
		if _, _, seq, err := o.Open(packet); err != nil || seq != 0xffffffff {
			t.Fatalf("last packet: number %#x, %v", seq, err)
		}
		for range 2 {
			if _, err := s.Seal(make([]byte, 200), Headroom, 20, NextIPv4); !errors.Is(err, ErrExhausted) {
				t.Fatalf("after the last packet: %v, want ErrExhausted", err)
			}
		}
	})
}

// RFC 4106 section 3.1: the IV MUST never repeat under one key. RFC 3602
// section 3: "chosen at random", so no counter may be seen in it, and another
// SA's IV key gives other IVs.
//
// Threat: IV reuse.
func TestIVs(t *testing.T) {
	each(t, func(t *testing.T, set policy.TransformSet, s *Sealer, _ *Opener) {
		if set.Cipher == suite.NullCipher {
			// RFC 2410 section 2.2: NULL needs no IV, so the payload follows the header.
			p := make([]byte, 20)
			p[0] = 0x45
			if got := seal(t, s, p, NextIPv4)[HeaderLen:]; !bytes.Equal(got[:20], p) {
				t.Errorf("behind the header stands %x, want the payload itself", got[:20])
			}
			return
		}
		seen := map[string]bool{}
		for range 2000 {
			iv := seal(t, s, make([]byte, 20), NextIPv4)[HeaderLen:s.header()]
			if seen[string(iv)] {
				t.Fatalf("IV %x came twice", iv)
			}
			seen[string(iv)] = true
		}
		if set.Cipher.Combined() {
			return
		}
		encr, integ := keys(set, 1)
		ivKey := bytes.Repeat([]byte{7}, IVKeyLen)
		other, err := NewSealer(set, 0x1000, crypt.NewSecret(encr), crypt.NewSecret(integ), crypt.NewSecret(ivKey))
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			iv := seal(t, other, make([]byte, 20), NextIPv4)[HeaderLen:other.header()]
			if seen[string(iv)] {
				t.Fatalf("IV %x does not depend on the IV key", iv)
			}
		}
	})
}

// Threat: Paterson-Yau.
func TestSetsThatAreRefused(t *testing.T) {
	ivKey := crypt.NewSecret(make([]byte, IVKeyLen))
	gcm := policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128}
	cbc := policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}
	cases := []struct {
		story       string
		set         policy.TransformSet
		spi         uint32
		encr, integ int
		want        error
	}{
		{"no cipher", policy.TransformSet{Integ: suite.SHA1}, 4096, 0, 20, ErrUnsupported},
		{"unknown cipher", policy.TransformSet{Cipher: 200, Integ: suite.SHA1}, 4096, 16, 20, ErrUnsupported},
		{"AH", policy.TransformSet{AH: suite.SHA1}, 4096, 0, 20, ErrUnsupported},
		{"AES without integrity", policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128}, 4096, 16, 0, ErrNoIntegrity},
		{"NULL without integrity", policy.TransformSet{Cipher: suite.NullCipher}, 4096, 0, 0, ErrNoIntegrity},
		{"NULL without integrity in AH", policy.TransformSet{AH: suite.SHA1, Cipher: suite.NullCipher}, 4096, 0, 0, ErrNoIntegrity},
		{"AES without integrity in an unknown AH", policy.TransformSet{AH: 77, Cipher: suite.AESCBC, KeyBits: 128}, 4096, 16, 0, ErrNoIntegrity},
		{"unknown hash", policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: 77}, 4096, 16, 20, ErrNoIntegrity},
		{"GCM with an HMAC", policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128, Integ: suite.SHA1}, 4096, 20, 20, ErrUnsupported},
		{"GCM key without salt", gcm, 4096, 16, 0, ErrKeyLength},
		{"GCM with a stray HMAC key", gcm, 4096, 20, 20, ErrKeyLength},
		{"short AES key", cbc, 4096, 15, 20, ErrKeyLength},
		{"AES-256 key for AES-128", cbc, 4096, 32, 20, ErrKeyLength},
		{"short HMAC key", cbc, 4096, 16, 16, ErrKeyLength},
		{"reserved SPI", cbc, 255, 16, 20, ErrSPI},
		{"SPI 0", gcm, 0, 20, 0, ErrSPI},
	}
	for _, c := range cases {
		encr, integ := crypt.NewSecret(make([]byte, c.encr)), crypt.NewSecret(make([]byte, c.integ))
		if _, err := NewSealer(c.set, c.spi, encr, integ, ivKey); !errors.Is(err, c.want) {
			t.Errorf("sealer, %s: %v, want %v", c.story, err, c.want)
		}
		if _, err := NewOpener(c.set, c.spi, encr, integ); !errors.Is(err, c.want) {
			t.Errorf("opener, %s: %v, want %v", c.story, err, c.want)
		}
	}
	encr, integ := keys(cbc, 1)
	if _, err := NewSealer(cbc, 4096, crypt.NewSecret(encr), crypt.NewSecret(integ), crypt.Secret{}); !errors.Is(err, ErrKeyLength) {
		t.Errorf("no IV key: %v, want ErrKeyLength", err)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	each(t, func(t *testing.T, set policy.TransformSet, s *Sealer, o *Opener) {
		buf := make([]byte, Headroom+1400+Tailroom)
		n := testing.AllocsPerRun(20, func() {
			packet, err := s.Seal(buf, Headroom, 1400, NextIPv4)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := o.Open(packet); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations for a packet", set, n)
		}
	})
}

func FuzzOpen(f *testing.F) {
	all := sets()
	for i, set := range all {
		encr, integ := keys(set, 1)
		f.Add(byte(i), false, []byte(seal(f, sealer(f, set, 0x1000, encr, integ), make([]byte, 40), NextIPv4)))
		f.Add(byte(i), true, []byte{1, 2, 3, 255, 4})
	}
	f.Add(byte(0), false, []byte{})
	f.Fuzz(func(t *testing.T, which byte, authentic bool, packet []byte) {
		set := all[int(which)%len(all)]
		encr, integ := keys(set, 1)
		o := opener(t, set, 0x1000, encr, integ)
		if authentic { // the fuzzer cannot forge; a hostile peer need not
			s := sealer(t, set, 0x1000, encr, integ)
			body := packet
			packet = make([]byte, s.header()+len(body)/s.align*s.align+s.icv)
			copy(packet[s.header():], body)
			s.protect(packet)
		}
		inner, _, _, err := o.Open(packet)
		if err == nil && len(inner) > len(packet)-o.header()-o.icv-trailerLen {
			t.Fatalf("%d octets out of a packet of %d", len(inner), len(packet))
		}
	})
}

func benchmarks() []policy.TransformSet {
	return []policy.TransformSet{
		{Cipher: suite.AESGCM, KeyBits: 128},
		{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1},
		{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256},
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, set := range benchmarks() {
		b.Run(fmt.Sprint(set), func(b *testing.B) {
			encr, integ := keys(set, 1)
			s := sealer(b, set, 0x1000, encr, integ)
			buf := make([]byte, Headroom+1400+Tailroom)
			b.SetBytes(1400)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Seal(buf, Headroom, 1400, NextIPv4); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, set := range benchmarks() {
		b.Run(fmt.Sprint(set), func(b *testing.B) {
			encr, integ := keys(set, 1)
			o := opener(b, set, 0x1000, encr, integ)
			sealed := seal(b, sealer(b, set, 0x1000, encr, integ), make([]byte, 1400), NextIPv4)
			packet := make([]byte, len(sealed))
			b.SetBytes(1400)
			b.ReportAllocs()
			for b.Loop() {
				copy(packet, sealed)
				if _, _, _, err := o.Open(packet); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
