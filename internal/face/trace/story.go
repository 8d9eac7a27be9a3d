package trace

import (
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/event"
)

// side is one of the two gateways.
type side int

const (
	left side = iota
	right
)

func (s side) other() side { return 1 - s }

// fate is what became of a message.
type fate int

const (
	delivered fate = iota // or nobody watched the receiver
	underway              // the events end before it can have come
	lost                  // sent, never received
	ignored               // received, and dropped with a reason
)

// entry is one event at one gateway. A message is an entry of its sender; the
// receiver's entry is joined to it and draws no arrow of its own.
type entry struct {
	event.Event
	side   side
	fate   fate
	joined bool   // the sender's entry tells it: a message that arrived, a drop that has its arrow
	again  int    // sent messages: how many retransmissions there will be at most
	why    *entry // ignored messages: the receiver's drop
}

func (e *entry) message() (event.Message, bool) {
	m, ok := e.What.(event.Message)
	return m, ok
}

func (e *entry) sent() bool {
	m, ok := e.message()
	return ok && m.Dir == event.Sent
}

func (e *entry) received() bool {
	m, ok := e.message()
	return ok && m.Dir == event.Received
}

// story is the events of two gateways in order, messages matched.
type story struct {
	options Options
	parties [2]Party
	watched [2]bool
	entries []*entry
	start   time.Time
}

func newStory(o Options, events []event.Event) *story {
	s := &story{options: o, parties: [2]Party{o.Initiator, o.Responder}}
	ordered := slices.Clone(events)
	slices.SortStableFunc(ordered, func(a, b event.Event) int { return a.At.Compare(b.At) })
	if !o.Initiator.Addr.IsValid() || !o.Responder.Addr.IsValid() {
		s.findParties(ordered)
	}
	of := [2]int{}
	for _, e := range ordered {
		at, ok := s.sideOf(e.Local.Addr())
		if !ok {
			continue
		}
		s.watched[at] = true
		n := &entry{Event: e, side: at}
		if r, ok := e.What.(event.Retransmit); ok {
			of[at] = r.Of
		}
		n.again = of[at]
		s.entries = append(s.entries, n)
	}
	s.start = s.began()
	s.match()
	return s
}

// findParties takes the first message that begins an exchange, else the first
// message: who sent it is the initiator.
func (s *story) findParties(events []event.Event) {
	var from, to netip.Addr
	for _, e := range events {
		m, ok := e.What.(event.Message)
		if !ok {
			continue
		}
		begins := m.Name == "MM1" || m.Name == "AM1" || m.Name == "QM1"
		if from.IsValid() && !begins {
			continue
		}
		from, to = e.Local.Addr(), e.Peer.Addr()
		if m.Dir == event.Received {
			from, to = to, from
		}
		if begins {
			break
		}
	}
	if !from.IsValid() && len(events) > 0 {
		from, to = events[0].Local.Addr(), events[0].Peer.Addr()
	}
	if s.parties[right].Addr == from && from.IsValid() || s.parties[left].Addr == to && to.IsValid() {
		from, to = to, from
	}
	for i, a := range []netip.Addr{from, to} {
		if !s.parties[i].Addr.IsValid() {
			s.parties[i].Addr = a
		}
	}
}

func (s *story) sideOf(a netip.Addr) (side, bool) {
	switch {
	case !a.IsValid():
	case a == s.parties[left].Addr:
		return left, true
	case a == s.parties[right].Addr:
		return right, true
	}
	return left, false
}

// began is the time of the first message, else of the first event.
func (s *story) began() time.Time {
	for _, e := range s.entries {
		if _, ok := e.message(); ok {
			return e.At
		}
	}
	if len(s.entries) > 0 {
		return s.entries[0].At
	}
	return time.Time{}
}

// match joins what was received to what was sent. Going backwards, each
// reception takes the latest copy that left before it: with one copy received
// of two sent, the first is the one that was lost.
func (s *story) match() {
	done := map[*entry]bool{}
	for i, e := range slices.Backward(s.entries) {
		if e.received() {
			m, _ := e.message()
			if from := s.origin(i, longest, done, func(o event.Message) bool { return o.Name == m.Name && o.ID == m.ID }); from != nil {
				done[from], e.joined = true, true
			}
		}
	}
	for i, e := range slices.Backward(s.entries) {
		if _, ok := e.What.(event.Dropped); ok {
			if from := s.origin(i, patience, done, func(event.Message) bool { return true }); from != nil {
				done[from], from.fate, from.why, e.joined = true, ignored, e, true
			}
		}
	}
	for i, e := range s.entries {
		if e.sent() && !done[e] && s.watched[e.side.other()] {
			e.fate = s.missing(i)
		}
	}
}

const (
	// patience is how long after a message a drop, or an answer, can be about it.
	patience = 5 * time.Second
	// longest is how long a message can be on its way.
	longest = time.Minute
)

// origin finds the latest message of the other side, sent within that time
// before entry i, that nobody took yet.
func (s *story) origin(i int, within time.Duration, done map[*entry]bool, fits func(event.Message) bool) *entry {
	e := s.entries[i]
	if !s.watched[e.side.other()] {
		return nil
	}
	for _, o := range slices.Backward(s.entries[:i]) {
		if e.At.Sub(o.At) > within {
			return nil
		}
		if o.side != e.side && o.sent() && !done[o] {
			if m, _ := o.message(); fits(m) {
				return o
			}
		}
	}
	return nil
}

// missing tells a lost message from one that is still under way when the
// events end: it was sent again, the negotiation failed, or time went by.
func (s *story) missing(i int) fate {
	e := s.entries[i]
	m, _ := e.message()
	for _, o := range s.entries[i+1:] {
		if n, ok := o.message(); ok && o.side == e.side && o.sent() && n.Name == m.Name && n.ID == m.ID && n.Attempt > 0 {
			return lost
		}
		if f, ok := o.What.(event.Failed); ok && !f.Pending {
			return lost
		}
		if o.At.Sub(e.At) >= patience {
			return lost
		}
	}
	return underway
}
