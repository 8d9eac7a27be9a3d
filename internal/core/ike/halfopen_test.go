package ike

import (
	"bytes"
	"net/netip"
	"testing"

	"culvert/internal/core/door"
)

// A flood of first messages from made-up addresses: the books stay within their
// limits, and are empty again when the flood has passed. Cisco sr-20060726.
func TestHalfOpenBooks(t *testing.T) {
	w := newTwo()
	e := w.end[1].engine
	mm1 := recordedMM1()
	from := netip.AddrPortFrom(w.end[0].addr, 500)
	for i := range 3 * maxHalfOpenSource {
		mm1[0], mm1[1] = byte(i)|1, byte(i>>4)|2
		mm1[2] = byte(i)
		w.step(1, door.Datagram{Local: netip.AddrPortFrom(w.end[1].addr, 500), Remote: from, Payload: bytes.Clone(mm1)})
		if n := len(e.half.of); n > maxHalfOpenSource || e.half.silent.Len() > n {
			t.Fatalf("%d half open from one address, %d in the queue", n, e.half.silent.Len())
		}
	}
	if n := e.Load().HalfOpen; n != maxHalfOpenSource {
		t.Errorf("%d half open, want %d", n, maxHalfOpenSource)
	}
	w.wait(100e9)
	if len(e.half.of)+len(e.half.sources)+e.half.silent.Len() != 0 {
		t.Errorf("left: %d negotiations, %d sources, %d in the queue", len(e.half.of), len(e.half.sources), e.half.silent.Len())
	}
}
