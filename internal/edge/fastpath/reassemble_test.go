package fastpath

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/flow"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// cutAt cuts a packet's data into fragments of step octets, a multiple of 8.
func cutAt(p []byte, step int) (out [][]byte) {
	for at := 0; at < len(p)-20; at += step {
		f := append(bytes.Clone(p[:20]), p[20+at:min(20+at+step, len(p))]...)
		word := uint16(at / 8)
		if 20+at+step < len(p) {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[6:], word)
		out = append(out, f)
	}
	return out
}

func large(n int) []byte {
	p := udpPacket("198.51.100.1", "198.51.100.2", 7, n)
	for i := range n - 4 {
		p[32+i] = byte(i * 3)
	}
	return withID(p)
}

// In whatever order they come, fragments become what they were.
func TestFragmentsBecomeWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{100, 3000, 65000} {
		want := large(size)
		parts := cutAt(want, 1400/8*8)
		a := assembly{}
		for i, n := range r.Perm(len(parts)) {
			buf, length, dropped := a.add(parts[n], 1)
			if last := i == len(parts)-1; (buf != nil) != last || dropped != 0 {
				t.Fatalf("%d octets: fragment %d of %d: whole %v, %d dropped", size, i, len(parts), buf != nil, dropped)
			}
			if buf != nil && !bytes.Equal(buf[sadb.Headroom:sadb.Headroom+length], want) {
				t.Errorf("%d octets: another packet came out", size)
			}
		}
		if len(a) != 0 {
			t.Error("it waits still")
		}
	}
}

// Fragments that overlap, contradict each other, or never end.
//
// Threat: hostile fragments.
func TestHostileFragments(t *testing.T) {
	parts := cutAt(large(3000), 1000)
	with := func(p []byte, word uint16) []byte {
		p = bytes.Clone(p)
		binary.BigEndian.PutUint16(p[6:], word)
		return p
	}
	for _, c := range []struct {
		story string
		parts [][]byte
	}{
		{"the same twice", [][]byte{parts[0], parts[0]}},
		{"an overlap", [][]byte{parts[0], with(parts[1], 0x2000|100)}},
		{"data behind the last", [][]byte{parts[3], with(parts[1], 0x2000|1000)}},
		{"two that are the last", [][]byte{parts[3], with(parts[1], 250)}},
		{"an odd length in the middle", [][]byte{parts[0], with(parts[0][:1015], 0x2000|125)}},
		{"beyond the largest packet", [][]byte{parts[0], with(parts[1], 0x1fff)}},
		{"no data", [][]byte{parts[0], with(parts[1][:20], 0x2000|125)}},
	} {
		a := assembly{}
		dropped := 0
		for _, p := range c.parts {
			_, _, n := a.add(p, 1)
			dropped += n
		}
		if dropped != 2 || len(a) != 0 {
			t.Errorf("%s: %d fragments dropped, %d datagrams wait", c.story, dropped, len(a))
		}
	}
	a := assembly{}
	dropped := 0
	for n := range 1000 {
		p := bytes.Clone(parts[0])
		binary.BigEndian.PutUint16(p[4:], uint16(n))
		_, _, d := a.add(p, int64(n))
		dropped += d
	}
	if len(a) != maxPartial || dropped != 1000-maxPartial {
		t.Errorf("%d datagrams wait, %d dropped", len(a), dropped)
	}
	if _, _, d := a.add(parts[0], int64(time.Minute)); d != maxPartial || len(a) != 1 {
		t.Errorf("a minute later %d were given up and %d wait", d, len(a))
	}
}

// What the kernel cut for the TUN device goes out whole in transport mode.
func TestTransportModePutsFragmentsTogether(t *testing.T) {
	for _, set := range protections(suite.Transport) {
		a, b, _ := between(t, set, false, false)
		want := large(1900)
		a.tun.in <- cutAt(want, 1000)
		if got := receive(t, "the whole packet", b.tun.out); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", set, got[:40], want[:40])
		}
		if n := len(a.ah.packets()); n != 1 || a.dropped(Unfit) != 0 {
			t.Errorf("%s: %d packets left, %d dropped", set, n, a.dropped(Unfit))
		}
	}
}

func FuzzFragments(f *testing.F) {
	for _, p := range cutAt(large(300), 104) {
		f.Add(p, p)
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a := assembly{}
		for _, p := range [][]byte{x, y, x} {
			tuple, total, ok := parseIPv4(p)
			if !ok || binary.BigEndian.Uint16(p[6:])&0x3fff == 0 || tuple.Proto == flow.AH {
				continue
			}
			if buf, n, _ := a.add(p[:total], 1); buf != nil {
				if _, total, ok := parseIPv4(buf[sadb.Headroom : sadb.Headroom+n]); ok && total != n {
					t.Fatalf("a packet of %d octets says %d", n, total)
				}
				ah.PutChecksum(buf[sadb.Headroom : sadb.Headroom+20])
			}
		}
	})
}
