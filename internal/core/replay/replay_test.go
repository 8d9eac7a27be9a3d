package replay

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// accept runs a packet through both halves, as a receiver does with an
// authentic one.
func accept(w *Window, seq uint64) error {
	if err := w.Check(seq); err != nil {
		return err
	}
	return w.Update(seq)
}

func window(t testing.TB, size int) *Window {
	t.Helper()
	w, err := New(size, false)
	if err != nil {
		t.Fatalf("New(%d): %v", size, err)
	}
	return w
}

func TestSizes(t *testing.T) {
	for _, size := range []int{0, 64, 128, 256, 512, 1024} {
		if w := window(t, size); w.Size() != size {
			t.Errorf("window of %d packets says %d", size, w.Size())
		}
	}
	for _, size := range []int{-64, 1, 32, 63, 65, 192, 1000, 2048} {
		if _, err := New(size, false); !errors.Is(err, ErrSize) {
			t.Errorf("window of %d packets: %v, want ErrSize", size, err)
		}
	}
}

// What is left of the window, or a duplicate within it, is rejected: the edges
// of every size, RFC 4303 3.4.3.
//
// Threat: replayed.
func TestEdges(t *testing.T) {
	for _, size := range []uint64{64, 128, 256, 512, 1024} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := window(t, int(size))
			steps := []struct {
				story string
				seq   uint64
				want  error
			}{
				{"sequence number 0 is never sent", 0, ErrZero},
				{"the first packet", 1, nil},
				{"the first packet again", 1, ErrSeen},
				{"a jump to the right", 10 * size, nil},
				{"the right edge again", 10 * size, ErrSeen},
				{"the left edge, late", 9*size + 1, nil},
				{"the left edge again", 9*size + 1, ErrSeen},
				{"one left of the window", 9 * size, ErrTooOld},
				{"the window moves by one", 10*size + 1, nil},
				{"what was the left edge is out now", 9*size + 1, ErrTooOld},
				{"the new left edge was not seen", 9*size + 2, nil},
				{"sequence number 0 later on", 0, ErrZero},
				{"far to the right", 1 << 20, nil},
				{"nothing of before is remembered as seen", 1<<20 - size + 1, nil},
				{"the last 32-bit number", math.MaxUint32, nil},
				{"an extended number", math.MaxUint32 + 1, nil},
				{"the last 64-bit number", math.MaxUint64, nil},
				{"and it again", math.MaxUint64, ErrSeen},
			}
			for _, s := range steps {
				if err := accept(w, s.seq); !errors.Is(err, s.want) {
					t.Fatalf("%s (%d): %v, want %v", s.story, s.seq, err, s.want)
				}
			}
		})
	}
}

// "The receive window is updated only if the integrity verification succeeds."
func TestCheckChangesNothing(t *testing.T) {
	w := window(t, 64)
	for range 3 {
		if err := w.Check(1000); err != nil {
			t.Fatalf("a forged packet moved the window: %v", err)
		}
	}
	if err := accept(w, 1); err != nil || w.Top() != 1 {
		t.Fatalf("packet 1 behind forged ones: %v, top %d", err, w.Top())
	}
}

func TestUpdateRefusesWhatWasCheckedTwice(t *testing.T) {
	w := window(t, 64)
	first, second := w.Check(7), w.Check(7)
	if first != nil || second != nil {
		t.Fatal("both copies are new before the first is authentic")
	}
	if err := w.Update(7); err != nil {
		t.Fatalf("first copy: %v", err)
	}
	if err := w.Update(7); !errors.Is(err, ErrSeen) {
		t.Fatalf("second copy: %v, want ErrSeen", err)
	}
}

func TestOff(t *testing.T) {
	w := window(t, 0)
	for _, seq := range []uint64{5, 5, 0, 1} {
		if err := accept(w, seq); err != nil {
			t.Fatalf("replay disabled, number %d: %v", seq, err)
		}
	}
	if w.Top() != 5 {
		t.Errorf("the highest number was 5, the window says %d", w.Top())
	}
}

// RFC 4303 appendix A2.2, its two cases and their edges: W is the window, T its
// right edge.
//
// Threat: sequence numbers at 2³².
func TestExtendedNumbers(t *testing.T) {
	cases := []struct {
		story string
		size  int
		top   uint64
		low   uint32
		want  uint64
		err   error
	}{
		{"the first packet", 64, 0, 1, 1, nil},
		{"before the first packet", 64, 0, 0xffffffff, 0, ErrTooOld},
		{"just not before it", 64, 0, 0xffffffc0, 0xffffffc0, nil},
		{"case A: within the window", 64, 0x5_00001000, 0xfff, 0x5_00000fff, nil},
		{"case A: the left edge", 64, 0x5_00001000, 0xfc1, 0x5_00000fc1, nil},
		{"case A: one left of it is the next subspace", 64, 0x5_00001000, 0xfc0, 0x6_00000fc0, nil},
		{"case A: T = W-1, the left edge is 0", 64, 0x5_0000003f, 0, 0x5_00000000, nil},
		{"case A: to the right", 64, 0x5_00001000, 0xffffffff, 0x5_ffffffff, nil},
		{"case A: over the border", 64, 0x5_ffffffff, 0, 0x6_00000000, nil},
		{"case B: the window reaches back over the border", 64, 0x6_00000000, 0xffffffff, 0x5_ffffffff, nil},
		{"case B: its left edge", 64, 0x6_00000000, 0xffffffc1, 0x5_ffffffc1, nil},
		{"case B: one left of it is far to the right", 64, 0x6_00000000, 0xffffffc0, 0x6_ffffffc0, nil},
		{"case B: T = W-2", 64, 0x6_0000003e, 0xffffffff, 0x5_ffffffff, nil},
		{"case B: at the right", 64, 0x6_00000000, 1, 0x6_00000001, nil},
		{"a wide window, case A", 1024, 0x5_000003ff, 0, 0x5_00000000, nil},
		{"a wide window, case B", 1024, 0x5_000003fe, 0xffffffff, 0x4_ffffffff, nil},
		{"replay disabled: the upper half is kept all the same", 0, 0x5_ffffffff, 0, 0x6_00000000, nil},
	}
	for _, c := range cases {
		w, err := New(c.size, true)
		if err != nil {
			t.Fatal(err)
		}
		w.top = c.top
		if got, err := w.Number(c.low); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %#x, %v; want %#x, %v", c.story, got, err, c.want, c.err)
		}
	}
	if got, err := window(t, 64).Number(0xffffffff); got != 0xffffffff || err != nil {
		t.Errorf("without extended numbers: %#x, %v", got, err)
	}
}

// Whatever a sender may send next is guessed right, as long as less than 2³²
// packets were lost in a row.
func TestExtendedNumbersAreGuessedRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 64, 128, 1024}).Draw(t, "size")
		w, err := New(size, true)
		if err != nil {
			t.Fatal(err)
		}
		w.top = rapid.Uint64Range(0, 1<<40).Draw(t, "top")
		least, span := uint64(1), uint64(max(size, 64))
		if w.top >= span {
			least = w.top - span + 1
		}
		seq := rapid.Uint64Range(least, w.top+1<<32-span).Draw(t, "seq")
		if got, err := w.Number(uint32(seq)); got != seq || err != nil {
			t.Fatalf("top %#x: %#x was guessed to be %#x, %v", w.top, seq, got, err)
		}
	})
}

// Against the definition: a set of all numbers seen.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{64, 128, 256, 512, 1024}).Draw(t, "size")
		w, err := New(size, false)
		if err != nil {
			t.Fatal(err)
		}
		seen, top := map[uint64]bool{}, uint64(0)
		for range rapid.IntRange(1, 300).Draw(t, "packets") {
			step := rapid.Int64Range(-1100, 1100).Draw(t, "step")
			if rapid.IntRange(0, 20).Draw(t, "leap") == 0 {
				step *= 1000
			}
			seq := uint64(max(int64(top)+step, 0))
			var want error
			switch {
			case seq == 0:
				want = ErrZero
			case seq+uint64(size) <= top:
				want = ErrTooOld
			case seen[seq]:
				want = ErrSeen
			}
			if got := accept(w, seq); !errors.Is(got, want) {
				t.Fatalf("top %d, number %d: %v, want %v", top, seq, got, want)
			}
			if want == nil {
				seen[seq], top = true, max(top, seq)
			}
		}
	})
}

func BenchmarkInOrder(b *testing.B) {
	w, _ := New(64, false)
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		if w.Check(seq) != nil || w.Update(seq) != nil {
			b.Fatal(seq)
		}
	}
}
