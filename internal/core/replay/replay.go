// Package replay is the anti-replay window of one inbound SA: RFC 4303 section
// 3.4.3 and appendix A2, with the ring of blocks of RFC 6479, so that moving the
// window on clears whole words instead of shifting bits.
//
// The receiver asks twice for one packet, and the order matters:
//
//	Check   before the ICV is computed: a replay costs no cryptography
//	Update  after the ICV was found right: "the receive window is updated
//	        only if the integrity verification succeeds" (RFC 4303 3.4.3)
//
// A window belongs to one goroutine. It starts no clock and takes no lock.
package replay

import (
	"errors"
	"fmt"
)

// Why a sequence number is refused.
var (
	ErrZero   = errors.New("sequence number 0 is never sent (RFC 4303 section 2.2)")
	ErrSeen   = errors.New("sequence number was received before")
	ErrTooOld = errors.New("sequence number is left of the anti-replay window")
	ErrSize   = errors.New("anti-replay window must be 0 (off), 64, 128, 256, 512 or 1024 packets")
)

const (
	blockBits = 64
	// MaxSize is the largest window in packets, as IOS allows it.
	MaxSize = 1024
)

// Window remembers which sequence numbers were received. The zero Window
// refuses nothing, as with "replay disable", but keeps the highest number. All
// numbers are 64 bits wide; what a packet carries of them goes through Number.
type Window struct {
	size     uint64   // in packets; 0 when off
	top      uint64   // highest sequence number received
	ring     []uint64 // a power of two of blocks, at least one more than size needs
	extended bool
}

// New makes a window of size packets: 64, 128, 256, 512 or 1024, or 0 for no
// replay detection. Any other size is ErrSize. extended is for extended sequence
// numbers (RFC 4303 section 2.2.1).
func New(size int, extended bool) (*Window, error) {
	if size == 0 {
		return &Window{extended: extended}, nil
	}
	if size < blockBits || size > MaxSize || size&(size-1) != 0 {
		return nil, fmt.Errorf("window of %d packets: %w", size, ErrSize)
	}
	// One block more than the window holds: the newest block is only partly
	// used, and the oldest numbers of the window must not share its place
	// (RFC 6479 section 2). Twice the blocks keep the ring a power of two.
	return &Window{size: uint64(size), ring: make([]uint64, 2*size/blockBits), extended: extended}, nil
}

// Size is the window's width in packets; 0 when replays are not detected.
func (w *Window) Size() int { return int(w.size) }

// Top is the highest sequence number that Update took; 0 before the first.
func (w *Window) Top() uint64 { return w.top }

// Number is the whole sequence number of a packet that carries low. With
// extended ones the upper half is not sent: it is the one that puts the packet
// into the window or to its right, less than 2³² ahead (RFC 4303 appendix A2.2).
// A wrong guess fails at the ICV, which covers the upper half. Without a window
// the guess is made as with one of 64 packets. Error: ErrTooOld for what could
// only lie before the first packet of all.
func (w *Window) Number(low uint32) (uint64, error) {
	if !w.extended {
		return uint64(low), nil
	}
	span := uint32(max(w.size, blockBits))
	high, top := w.top>>32, uint32(w.top)
	left := top - span + 1 // of the window; below 0 it is in the subspace before
	switch {
	case top >= span-1 && low < left:
		high++
	case top < span-1 && low >= left:
		if high == 0 {
			return 0, ErrTooOld
		}
		high--
	}
	return high<<32 | uint64(low), nil
}

// Check tells whether seq may still be accepted: nil, ErrZero, ErrSeen or
// ErrTooOld. It changes nothing; call Update once the packet is authentic.
func (w *Window) Check(seq uint64) error {
	switch {
	case w.size == 0:
		return nil
	case seq == 0:
		return ErrZero
	case seq > w.top:
		return nil
	case w.top-seq >= w.size:
		return ErrTooOld
	case w.ring[w.block(seq)]&bit(seq) != 0:
		return ErrSeen
	}
	return nil
}

// Update notes that the packet with seq is authentic, and moves the window on
// when seq is its new right edge. It refuses what Check refuses, so that two
// copies of a packet that were both checked first still pass once only.
func (w *Window) Update(seq uint64) error {
	if w.size == 0 {
		w.top = max(w.top, seq)
		return nil
	}
	if err := w.Check(seq); err != nil {
		return err
	}
	if seq > w.top {
		w.advance(seq)
	}
	w.ring[w.block(seq)] |= bit(seq)
	return nil
}

// advance clears the blocks the window moves into. No more than the whole ring
// is cleared, however far a sequence number jumps.
func (w *Window) advance(seq uint64) {
	blocks := min(seq/blockBits-w.top/blockBits, uint64(len(w.ring)))
	for i := range blocks {
		w.ring[(w.top/blockBits+1+i)%uint64(len(w.ring))] = 0
	}
	w.top = seq
}

func (w *Window) block(seq uint64) uint64 { return seq / blockBits & uint64(len(w.ring)-1) }

func bit(seq uint64) uint64 { return 1 << (seq % blockBits) }
