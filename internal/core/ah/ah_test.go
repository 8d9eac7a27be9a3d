package ah

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/suite"
)

const testSPI = 0x1234

func key(h suite.Hash) crypt.Secret {
	k := make([]byte, h.Row().Size)
	for i := range k {
		k[i] = byte(i * 3)
	}
	return crypt.NewSecret(k)
}

func pair(t testing.TB, h suite.Hash, esn bool) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(h, testSPI, key(h), esn)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(h, testSPI, key(h), esn)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// plain is a packet with room for AH behind its header, options included.
func plain(s *Sealer, options []byte, n int) []byte {
	ihl := 20 + len(options)
	p := make([]byte, ihl+s.Len()+n)
	p[0], p[1], p[8], p[9] = 0x40|byte(ihl/4), 0xb9, 64, 17
	p[4], p[5], p[6] = 0xab, 0xcd, 0x40
	copy(p[12:], []byte{198, 51, 100, 1, 198, 51, 100, 2})
	copy(p[20:], options)
	for i := range n {
		p[ihl+s.Len()+i] = byte(i)
	}
	return p
}

func sealed(t testing.TB, s *Sealer, options []byte, n int) []byte {
	t.Helper()
	p := plain(s, options, n)
	if err := s.Seal(p, 17); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, h := range suite.Hashes() {
		for _, esn := range []bool{false, true} {
			s, o := pair(t, h, esn)
			for n := range 70 {
				p := sealed(t, s, nil, n)
				payload, next, err := o.Authenticate(p, uint64(n+1))
				if err != nil || next != 17 || len(payload) != n {
					t.Fatalf("%s, %d octets: %v, next %d, %d octets", h, n, err, next, len(payload))
				}
				if p[9] != ProtoAH || int(binary.BigEndian.Uint16(p[2:])) != len(p) {
					t.Fatalf("%s: header %x", h, p[:20])
				}
			}
		}
	}
}

// Which bits of the IPv4 header a router may change, and which it may not:
// RFC 4302 section 3.3.3.1.1.1.
//
// Threat: AH, altered on the way.
func TestMutableFields(t *testing.T) {
	mutable := func(bit int) bool {
		switch bit / 8 {
		case 1, 6, 7, 8, 10, 11:
			return true
		}
		return false
	}
	s, o := pair(t, suite.SHA256, false)
	packet := sealed(t, s, nil, 20)
	for bit := range len(packet) * 8 {
		p := bytes.Clone(packet)
		p[bit/8] ^= 0x80 >> (bit % 8)
		_, _, err := o.Authenticate(p, 1)
		switch at := bit / 8; {
		case (at == 6 && bit%8 > 1) || at == 7:
			// An offset, or more fragments, is no whole packet.
			if !errors.Is(err, ErrFragment) {
				t.Errorf("fragment bit %d of octet %d: %v", bit%8, at, err)
			}
		case mutable(bit):
			if err != nil {
				t.Errorf("bit %d of octet %d is mutable: %v", bit%8, at, err)
			}
		case err == nil:
			t.Errorf("bit %d of octet %d was changed unnoticed", bit%8, at)
		}
	}
}

// RFC 4302 appendix A1, row for row; and options it does not list.
func TestMutableOptions(t *testing.T) {
	cases := []struct {
		story   string
		option  []byte
		covered bool
	}{
		{"End of Options List and its padding", []byte{0, 1, 2, 3}, true},
		{"No Operation", []byte{1, 1, 1, 1}, true},
		{"Security", []byte{130, 4, 1, 2}, true},
		{"Extended Security", []byte{133, 4, 1, 2}, true},
		{"Commercial Security", []byte{134, 4, 1, 2}, true},
		{"Router Alert", []byte{148, 4, 0, 0}, true},
		{"Sender Directed Multi-Destination Delivery", []byte{149, 4, 1, 2}, true},
		{"Loose Source Route", []byte{131, 7, 4, 10, 0, 0, 1, 0}, false},
		{"Time Stamp", []byte{68, 8, 5, 0, 0, 0, 0, 0}, false},
		{"Record Route", []byte{7, 7, 4, 0, 0, 0, 0, 0}, false},
		{"Strict Source Route", []byte{137, 7, 4, 10, 0, 0, 1, 0}, false},
		{"Traceroute", []byte{82, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"Stream ID", []byte{136, 4, 0, 1}, false},
		{"MTU Probe", []byte{11, 4, 0, 1}, false},
		{"MTU Reply", []byte{12, 4, 0, 1}, false},
		{"Extended Internet Protocol", []byte{145, 4, 0, 1}, false},
		{"Experimental Measurement", []byte{10, 4, 0, 1}, false},
		{"Experimental Flow Control", []byte{205, 4, 0, 1}, false},
		{"Experimental Access Control", []byte{142, 4, 0, 1}, false},
		{"number 15", []byte{15, 4, 0, 1}, false},
		{"IMI Traffic Descriptor", []byte{144, 4, 0, 1}, false},
		{"Address Extension", []byte{147, 4, 0, 1}, false},
		{"not in the list", []byte{222, 4, 0, 1}, false},
	}
	for _, c := range cases {
		var scratch [maxIPv4Header]byte
		header := append(make([]byte, 20), c.option...)
		header[0] = 0x40 | byte(len(header)/4)
		got, err := headerOf(&scratch, header)
		if err != nil {
			t.Errorf("%s: %v", c.story, err)
			continue
		}
		body := got[20:]
		if c.option[0] == 131 || c.option[0] == 137 {
			body = body[:7] // what follows is the end of the list
		}
		if covered := !bytes.Equal(body, make([]byte, len(body))); covered != c.covered {
			t.Errorf("%s: covered %v, want %v: %x", c.story, covered, c.covered, body)
		}
	}
}

// "Destination Address (with loose or strict source routing)" is mutable but
// predictable: the receiver finds itself there, the sender its first stop.
func TestSourceRoute(t *testing.T) {
	s, o := pair(t, suite.SHA1, false)
	p := sealed(t, s, []byte{131, 11, 4, 192, 0, 2, 1, 203, 0, 113, 9, 0}, 16)
	copy(p[16:20], []byte{203, 0, 113, 9})                            // where it ends
	copy(p[20:], []byte{131, 11, 12, 198, 51, 100, 77, 192, 0, 2, 1}) // where it was
	if _, _, err := o.Authenticate(p, 1); err != nil {
		t.Errorf("at the end of the route: %v", err)
	}
	copy(p[16:20], []byte{203, 0, 113, 8})
	if _, _, err := o.Authenticate(p, 1); !errors.Is(err, ErrICV) {
		t.Errorf("at another end: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	s, o := pair(t, suite.SHA256, false)
	good := sealed(t, s, nil, 8)
	change := func(f func(p []byte)) []byte {
		p := bytes.Clone(good)
		f(p)
		return p
	}
	options := func(b ...byte) []byte {
		p := make([]byte, 24+s.Len())
		p[0], p[3] = 0x46, byte(len(p))
		p[25] = byte(s.Len()/4 - 2)
		copy(p[20:], b)
		return p
	}
	cases := []struct {
		story  string
		packet []byte
		want   error
	}{
		{"nothing", nil, ErrShort},
		{"an IPv4 header and no more", good[:20], ErrShort},
		{"cut within the ICV", good[:40], ErrShort},
		{"cut behind it", good[:len(good)-1], ErrShort},
		{"IPv6", change(func(p []byte) { p[0] = 0x65 }), ErrShort},
		{"a header of 16 octets", change(func(p []byte) { p[0] = 0x44 }), ErrShort},
		{"a header longer than the packet", change(func(p []byte) { p[0] = 0x4f }), ErrShort},
		{"total length too large", change(func(p []byte) { p[3]++ }), ErrShort},
		{"total length too small", change(func(p []byte) { p[3]-- }), ErrShort},
		{"AH of 8 octets", change(func(p []byte) { p[21] = 0 }), ErrLength},
		{"AH shorter than its ICV", change(func(p []byte) { p[21] = 4 }), ErrLength},
		{"AH longer than any padding", change(func(p []byte) { p[21] = 7 }), ErrLength},
		{"AH of 1028 octets", change(func(p []byte) { p[21] = 255 }), ErrLength},
		{"AH longer than the packet", change(func(p []byte) { p[21] = 6 })[:48], ErrShort},
		{"more fragments", change(func(p []byte) { p[6] |= 0x20 }), ErrFragment},
		{"an option of length 0", options(7, 0), ErrOptions},
		{"an option of length 1", options(7, 1), ErrOptions},
		{"an option longer than the header", options(7, 5), ErrOptions},
		{"an option without a length", options(1, 1, 1, 7), ErrOptions},
	}
	for _, c := range cases {
		if _, _, err := o.Authenticate(c.packet, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.story, err, c.want)
		}
	}
	if _, _, err := o.Authenticate(good, 1); err != nil {
		t.Errorf("the packet itself: %v", err)
	}
}

// "The transmitted sequence number must never be allowed to cycle" (RFC 4302 section 2.5).
//
// Threat: sequence numbers at 2³².
func TestSequenceNumbersEnd(t *testing.T) {
	for _, esn := range []bool{false, true} {
		s, o := pair(t, suite.SHA1, esn)
		last := uint64(math.MaxUint32)
		if esn {
			s.seq = last - 1
			for seq := last; seq <= last+1; seq++ {
				if _, _, err := o.Authenticate(sealed(t, s, nil, 8), seq); err != nil {
					t.Fatalf("extended number %#x: %v", seq, err)
				}
			}
			last = math.MaxUint64
		}
		s.seq = last - 1
		if _, _, err := o.Authenticate(sealed(t, s, nil, 8), last); err != nil {
			t.Errorf("the last packet: %v", err)
		}
		if err := s.Seal(plain(s, nil, 8), 17); !errors.Is(err, ErrExhausted) || s.Seq() != last {
			t.Errorf("after the last packet: %v, number %#x", err, s.Seq())
		}
	}
}

func TestWhatCannotBeSealed(t *testing.T) {
	s, _ := pair(t, suite.SHA1, false)
	fragment := plain(s, nil, 8)
	fragment[7] = 1
	cases := []struct {
		story  string
		packet []byte
		want   error
	}{
		{"no room for AH", plain(s, nil, 0)[:43], ErrShort},
		{"larger than IPv4 allows", plain(s, nil, 65536-44), ErrShort},
		{"a fragment", fragment, ErrFragment},
		{"broken options", plain(s, []byte{7, 9, 0, 0}, 8), ErrOptions},
	}
	for _, c := range cases {
		if err := s.Seal(c.packet, 17); !errors.Is(err, c.want) || s.Seq() != 0 {
			t.Errorf("%s: %v, want %v; number %d", c.story, err, c.want, s.Seq())
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	cases := []struct {
		story string
		h     suite.Hash
		spi   uint32
		key   int
		want  error
	}{
		{"no hash", suite.NoHash, testSPI, 0, ErrUnsupported},
		{"an unknown hash", 77, testSPI, 20, ErrUnsupported},
		{"a short key", suite.SHA256, testSPI, 20, ErrKeyLength},
		{"a reserved SPI", suite.SHA1, 255, 20, ErrSPI},
	}
	for _, c := range cases {
		k := crypt.NewSecret(make([]byte, c.key))
		if _, err := NewSealer(c.h, c.spi, k, false); !errors.Is(err, c.want) {
			t.Errorf("sealer, %s: %v, want %v", c.story, err, c.want)
		}
		if _, err := NewOpener(c.h, c.spi, k, false); !errors.Is(err, c.want) {
			t.Errorf("opener, %s: %v, want %v", c.story, err, c.want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, h := range suite.Hashes() {
		s, o := pair(t, h, true)
		p := plain(s, []byte{148, 4, 0, 0}, 1400)
		if n := testing.AllocsPerRun(20, func() {
			if err := s.Seal(p, 17); err != nil {
				t.Fatal(err)
			}
			if _, _, err := o.Authenticate(p, s.Seq()); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a packet", h, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, r := range recordings(f)[:8] {
		f.Add(unhex(f, r.Packets[0]), uint64(1), false)
		f.Add(unhex(f, r.Packets[5]), uint64(1<<40), true)
	}
	f.Add([]byte{}, uint64(0), false)
	f.Fuzz(func(t *testing.T, packet []byte, seq uint64, esn bool) {
		s, o := pair(t, suite.SHA256, esn)
		before := bytes.Clone(packet)
		if payload, _, err := o.Authenticate(packet, seq); err == nil {
			t.Fatalf("opened a packet nobody sealed: %d octets", len(payload))
		}
		if !bytes.Equal(packet, before) {
			t.Fatal("a packet was changed")
		}
		// A hostile peer has the key: whatever it seals must open to what it was.
		// The fuzzer's own octets stay as they are: it makes its next inputs of them,
		// and would soon come with packets that this very key has sealed.
		packet = bytes.Clone(packet)
		if err := s.Seal(packet, 17); err == nil {
			ihl := int(packet[0]&15) * 4
			payload, _, err := o.Authenticate(packet, s.Seq())
			if err != nil || len(payload) != len(packet)-ihl-s.Len() {
				t.Fatalf("sealed, then: %v, %d octets", err, len(payload))
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, h := range []suite.Hash{suite.SHA1, suite.SHA256, suite.SHA512} {
		b.Run(h.String(), func(b *testing.B) {
			s, _ := pair(b, h, false)
			p := plain(s, nil, 1400)
			b.SetBytes(1400)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Seal(p, 4); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
