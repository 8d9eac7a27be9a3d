package sim

import "container/heap"

// timers is the hosts whose engines have a deadline, the earliest first, so that
// a world of a thousand gateways costs no more a step than one of two.
type timers []*Host

func (q timers) Len() int { return len(q) }
func (q timers) Less(i, j int) bool {
	if !q[i].deadline.Equal(q[j].deadline) {
		return q[i].deadline.Before(q[j].deadline)
	}
	return q[i].Addr.Less(q[j].Addr)
}
func (q timers) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i+1, j+1
}

// Push is container/heap's.
func (q *timers) Push(x any) {
	h := x.(*Host)
	*q = append(*q, h)
	h.place = len(*q)
}

// Pop is container/heap's.
func (q *timers) Pop() any {
	h := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	h.place = 0
	return h
}

// set reads a host's deadline anew.
func (q *timers) set(h *Host) {
	h.deadline = h.Engine.Deadline()
	switch {
	case h.deadline.IsZero() && h.place > 0:
		heap.Remove(q, h.place-1)
	case h.deadline.IsZero():
	case h.place > 0:
		heap.Fix(q, h.place-1)
	default:
		heap.Push(q, h)
	}
}

func (q timers) first() *Host {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}
