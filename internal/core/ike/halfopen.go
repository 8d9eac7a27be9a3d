package ike

import (
	"container/list"
	"net/netip"

	"culvert/internal/core/event"
	"culvert/internal/core/ikev1"
)

// What strangers can make the engine remember (RFC 2408 2.5.3 asks for limits
// against clogging). When the room is full the oldest offer makes room whose
// sender has not yet named our cookie: who floods with forged source addresses
// never can, and a peer needs but one round trip. Every step costs the same,
// however many there are.
const (
	maxHalfOpen       = 512 // SAs that a peer began and has not authenticated
	maxHalfOpenSource = 16  // of one source address
	// Aggressive mode costs arithmetic before anybody has named our cookie.
	maxHasty = 32 // AM1 whose AM2 is being made
)

// halfOpen are the negotiations that peers began and have not authenticated.
type halfOpen struct {
	of      map[*ikev1.SA]*half
	sources map[netip.Addr]*source
	silent  list.List // of *half: who has not named our cookie yet, oldest first
	hasty   map[*ikev1.SA]struct{}
}

// source is what one address has half open.
type source struct {
	count  int
	silent list.List
}

// half is one of them, and its places in the two queues; nil once it has left them.
type half struct {
	sa              *ikev1.SA
	from            netip.Addr
	inAll, inSource *list.Element
}

func newHalfOpen() halfOpen {
	return halfOpen{of: map[*ikev1.SA]*half{}, sources: map[netip.Addr]*source{}, hasty: map[*ikev1.SA]struct{}{}}
}

func (h *halfOpen) add(sa *ikev1.SA) {
	x := &half{sa: sa, from: sa.Remote.Addr()}
	s := h.sources[x.from]
	if s == nil {
		s = &source{}
		h.sources[x.from] = s
	}
	s.count++
	h.of[sa] = x
	if sa.Aggressive() {
		h.hasty[sa] = struct{}{}
	}
	if !sa.Reached() {
		x.inAll, x.inSource = h.silent.PushBack(x), s.silent.PushBack(x)
	}
}

// computed notes that the arithmetic for an AM1 is done.
func (h *halfOpen) computed(sa *ikev1.SA) {
	if !sa.Computing() {
		delete(h.hasty, sa)
	}
}

// reached takes out of the queues who has named our cookie.
func (h *halfOpen) reached(sa *ikev1.SA) {
	x := h.of[sa]
	if x == nil || x.inAll == nil {
		return
	}
	h.silent.Remove(x.inAll)
	h.sources[x.from].silent.Remove(x.inSource)
	x.inAll, x.inSource = nil, nil
}

func (h *halfOpen) remove(sa *ikev1.SA) {
	x := h.of[sa]
	if x == nil {
		return
	}
	h.reached(sa)
	delete(h.of, sa)
	delete(h.hasty, sa)
	s := h.sources[x.from]
	if s.count--; s.count == 0 {
		delete(h.sources, x.from)
	}
}

// victim is who has to go before source may begin another negotiation; nil
// with ok when there is room, nil without when nobody may be given up.
func (h *halfOpen) victim(from netip.Addr) (sa *ikev1.SA, ok bool) {
	queue := &h.silent
	if s := h.sources[from]; s != nil && s.count >= maxHalfOpenSource {
		queue = &s.silent
	} else if len(h.of) < maxHalfOpen {
		return nil, true
	}
	// What is being computed cannot be taken back, so it must stay counted.
	for x := queue.Front(); x != nil; x = x.Next() {
		if sa := x.Value.(*half).sa; !sa.Computing() {
			return sa, true
		}
	}
	return nil, false
}

// makeRoom keeps the half-open SAs within their limits, of one source first;
// false when none of them may be given up.
func (e *Engine) makeRoom(c *ikev1.Context, from netip.Addr, aggressive bool) bool {
	if aggressive && len(e.half.hasty) >= maxHasty {
		return false
	}
	sa, ok := e.half.victim(from)
	if sa != nil {
		sa.Displace(c)
		e.after(c, sa)
	}
	return ok
}

// book enters a negotiation that a peer began.
func (e *Engine) book(d *deadline) {
	if d.sa.Role != event.Responder {
		return
	}
	d.offer = offerKey{d.sa.Initiator, d.sa.Remote.Addr()}
	e.offers[d.offer] = d.sa
	e.half.add(d.sa)
}
