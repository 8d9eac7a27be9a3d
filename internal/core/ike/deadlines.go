package ike

import (
	"container/heap"
	"net/netip"
	"time"

	"culvert/internal/core/ikev1"
)

// deadline is the slot of one SA in the heap: of an ISAKMP SA or of a pair of
// IPsec SAs.
type deadline struct {
	at    time.Time
	index int // in the heap plus one; 0 when it is not there
	sa    *ikev1.SA
	child *child
	peer  *peer    // of an ISAKMP SA
	offer offerKey // of an ISAKMP SA that a peer began
	// remote is where the peer of an ISAKMP SA was when the engine last looked.
	remote netip.AddrPort
}

// deadlines is a heap, the earliest first. An idle SA costs a slot here, not a timer.
type deadlines struct{ heap slots }

type slots []*deadline

func (s slots) Len() int           { return len(s) }
func (s slots) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s slots) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i+1, j+1
}

// Push is container/heap's.
func (s *slots) Push(x any) {
	d := x.(*deadline)
	*s = append(*s, d)
	d.index = len(*s)
}

// Pop is container/heap's.
func (s *slots) Pop() any {
	d := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	d.index = 0
	return d
}

func (d *deadlines) first() time.Time {
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].at
}

// set moves a slot to another time; the zero time takes it out.
func (d *deadlines) set(s *deadline, at time.Time) {
	s.at = at
	switch {
	case at.IsZero() && s.index > 0:
		heap.Remove(&d.heap, s.index-1)
	case at.IsZero():
	case s.index > 0:
		heap.Fix(&d.heap, s.index-1)
	default:
		heap.Push(&d.heap, s)
	}
}

// due takes out the earliest slot that is due; nil when none is.
func (d *deadlines) due(now time.Time) *deadline {
	if len(d.heap) == 0 || d.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&d.heap).(*deadline)
}
