package fastpath

import (
	"container/list"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// waiting is the packets that wait for an SA. The newest are the ones worth
// keeping, so where a limit is reached the oldest goes: of the flow, or, when
// all flows together wait for too much, of the flow that waits longest.
type waiting struct {
	limits  Limits
	flows   map[policy.FlowID]*queue
	order   list.List // of *queue that hold packets, the one that waits longest first
	packets int
	octets  int
}

// queue is the packets of one flow, oldest first. It stays when it is empty, to
// remember when the flow was asked for last.
type queue struct {
	flow      *sadb.Flow
	packets   []waiter
	octets    int
	place     *list.Element // in waiting.order; nil when empty
	triggered int64         // Unix nanoseconds; 0 never
}

// waiter is one packet, in a buffer with room for ESP and AH around it.
type waiter struct {
	buf   []byte // sadb.Headroom, the packet, sadb.Tailroom
	tuple flow.Tuple
}

func (w waiter) size() int { return len(w.buf) - sadb.Headroom - sadb.Tailroom }

// add lets a copy of packet wait for an SA of f and returns how many others had
// to go for it, each counted with its flow. trigger says that it is time to ask
// for an SA (again). flows is the number of flows of the policy.
func (w *waiting) add(f *sadb.Flow, t flow.Tuple, packet []byte, now int64, flows int) (dropped int, trigger bool) {
	q := w.flows[f.ID]
	if q == nil {
		w.sweep(flows)
		q = &queue{}
		w.flows[f.ID] = q
	}
	q.flow = f
	for len(q.packets) >= w.limits.FlowPackets || (len(q.packets) > 0 && q.octets+len(packet) > w.limits.FlowOctets) {
		w.dropOldest(q)
		dropped++
	}
	for w.packets > 0 && (w.packets >= w.limits.Packets || w.octets+len(packet) > w.limits.Octets) {
		w.dropOldest(w.order.Front().Value.(*queue))
		dropped++
	}
	buf := make([]byte, sadb.Headroom+len(packet)+sadb.Tailroom)
	copy(buf[sadb.Headroom:], packet)
	w.keep(q, waiter{buf, t})
	if q.triggered == 0 || now-q.triggered >= int64(w.limits.TriggerEvery) || now < q.triggered {
		q.triggered = now
		trigger = true
	}
	return dropped, trigger
}

// keep puts x behind the packets of q.
func (w *waiting) keep(q *queue, x waiter) {
	if q.place == nil {
		q.place = w.order.PushBack(q)
	}
	q.packets = append(q.packets, x)
	q.octets += x.size()
	w.packets++
	w.octets += x.size()
}

func (w *waiting) dropOldest(q *queue) {
	x := q.packets[0]
	q.packets[0] = waiter{}
	q.packets = q.packets[1:]
	q.octets -= x.size()
	w.packets--
	w.octets -= x.size()
	q.flow.CountNoSA(1)
	if len(q.packets) == 0 {
		w.empty(q)
	}
}

func (w *waiting) empty(q *queue) {
	q.packets = nil
	w.order.Remove(q.place)
	q.place = nil
}

// take returns the packets that wait for a flow, oldest first, which then wait
// no longer.
func (w *waiting) take(id policy.FlowID) []waiter {
	q := w.flows[id]
	if q == nil || len(q.packets) == 0 {
		return nil
	}
	out := q.packets
	w.packets -= len(out)
	w.octets -= q.octets
	q.octets = 0
	w.empty(q)
	return out
}

// sweep forgets empty queues once there are many more than the policy has
// flows: those of policies long gone.
func (w *waiting) sweep(flows int) {
	if len(w.flows) <= 2*flows+64 {
		return
	}
	for id, q := range w.flows {
		if len(q.packets) == 0 {
			delete(w.flows, id)
		}
	}
}
