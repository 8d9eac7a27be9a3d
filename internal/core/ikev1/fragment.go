package ikev1

import (
	"bytes"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// IKE fragmentation, as Cisco began it (see isakmp.Fragment). We always say that
// we can put fragments together, since many a firewall drops fragments of IP. We
// send them when the peer says so too: with "crypto isakmp fragmentation" at
// once, else when a message got no answer.
//
// Fragments prove nothing. What they make is handled as if it had come in one
// datagram, so all they can do is to spoil each other: until the peer sends the
// message again. Work for each is a copy of its octets.
const (
	fragmentedAbove = 1280 - 20 - 8 - 4 // octets of a message that fits an IP datagram of 1280 behind a non-ESP marker
	fragmentID      = 1                 // everybody sends 1; a message is known by its message ID
	maxWhole        = 32 << 10          // octets of a message in fragments
	maxFragments    = 64                // of one message
	maxAssemblies   = 4                 // messages that are put together at a time, over one SA
	assemblyTime    = 30 * time.Second  // for all fragments of a message
	fragmentOctets  = fragmentedAbove - isakmp.FragmentOverhead
)

// assembly is a message of which fragments have come.
type assembly struct {
	exchange isakmp.Exchange
	message  uint32
	id       uint16
	parts    [maxFragments][]byte // by number, from 1
	last     int                  // number of the last one; 0 until it came
	top      int                  // the highest number seen
	count    int
	octets   int
	ends     time.Time
}

// transmit sends a message, in fragments when that is called for.
func (s *SA) transmit(c *Context, raw []byte, attempt int) {
	var cut [][]byte
	if len(raw) > fragmentedAbove && s.PeerFragments && (c.Settings.Fragmentation || attempt > 0) {
		cut = isakmp.Cut(raw, fragmentID, fragmentOctets)
	}
	if cut == nil {
		c.Out = append(c.Out, door.Send{Local: s.Local, Remote: s.Remote, Payload: raw})
		return
	}
	s.emit(c, event.Fragments{Dir: event.Sent, Number: len(cut), Octets: len(raw)})
	for _, d := range cut {
		c.Out = append(c.Out, door.Send{Local: s.Local, Remote: s.Remote, Payload: d})
	}
}

// handleFragment takes a fragment; with the last one that was missing it
// returns the whole message.
func (s *SA) handleFragment(c *Context, m *message) ([]byte, isakmp.Header, error) {
	var none isakmp.Header
	payloads, rest, err := isakmp.ParsePayloads(m.header.Next, m.raw[isakmp.HeaderSize:])
	if err != nil {
		return nil, none, err
	}
	if len(payloads) != 1 || len(rest) != 0 {
		return nil, none, malformed("a fragment with %d payloads and %d octets behind them, expected one and none", len(payloads), len(rest))
	}
	f, err := isakmp.ParseFragment(payloads[0].Body)
	if err != nil {
		return nil, none, err
	}
	a, err := s.assembly(c, m, f)
	if err != nil {
		return nil, none, err
	}
	if a.last == 0 || a.count < a.last {
		return nil, none, nil
	}
	s.dropAssembly(a)
	whole := bytes.Join(a.parts[:a.last], nil)
	h, err := isakmp.ParseHeader(whole)
	switch {
	case err != nil:
		return nil, none, err
	case h.Next == isakmp.PayloadFragment, h.InitiatorCookie != m.header.InitiatorCookie, h.ResponderCookie != m.header.ResponderCookie,
		h.Exchange != m.header.Exchange, h.MessageID != m.header.MessageID:
		return nil, none, malformed("fragments of a message with another header than theirs")
	}
	s.emit(c, event.Fragments{Dir: event.Received, Number: a.last, Octets: len(whole)})
	return whole, h, nil
}

// assembly puts a fragment to the others of its message. One that contradicts
// them begins the message anew, alone: who is right shows when it is whole.
func (s *SA) assembly(c *Context, m *message, f isakmp.Fragment) (*assembly, error) {
	n := int(f.Number)
	if n > maxFragments {
		return nil, malformed("fragment %d of a message, at most %d are put together", n, maxFragments)
	}
	a := s.assemblyFor(c, m.header, f.ID)
	if part := a.parts[n-1]; part != nil && bytes.Equal(part, f.Data) && (a.last == n) == f.Last {
		return a, nil // once more
	}
	if a.parts[n-1] != nil || a.last != 0 && (f.Last || n > a.last) || f.Last && n < a.top {
		*a = assembly{exchange: a.exchange, message: a.message, id: a.id, ends: a.ends}
	}
	if a.octets+len(f.Data) > maxWhole {
		s.dropAssembly(a)
		return nil, malformed("fragments of more than %d octets", maxWhole)
	}
	a.parts[n-1] = bytes.Clone(f.Data)
	a.count++
	a.octets += len(f.Data)
	a.top = max(a.top, n)
	if f.Last {
		a.last = n
	}
	return a, nil
}

// assemblyFor finds the message that a fragment is of, or begins it. Who has not
// proved anything gets room for one.
func (s *SA) assemblyFor(c *Context, h isakmp.Header, id uint16) *assembly {
	for _, a := range s.assemblies {
		if a.exchange == h.Exchange && a.message == h.MessageID && a.id == id {
			return a
		}
	}
	room := maxAssemblies
	if s.Established.IsZero() {
		room = 1
	}
	if len(s.assemblies) >= room {
		s.dropAssembly(s.assemblies[0])
	}
	a := &assembly{exchange: h.Exchange, message: h.MessageID, id: id, ends: c.Now.Add(assemblyTime)}
	s.assemblies = append(s.assemblies, a)
	return a
}

func (s *SA) dropAssembly(a *assembly) {
	for i, o := range s.assemblies {
		if o == a {
			s.assemblies = append(s.assemblies[:i:i], s.assemblies[i+1:]...)
			return
		}
	}
}

// tickFragments gives up what did not become whole in time.
func (s *SA) tickFragments(c *Context) {
	for len(s.assemblies) > 0 && !c.Now.Before(s.assemblies[0].ends) {
		a := s.assemblies[0]
		s.dropAssembly(a)
		s.incomplete = true
		s.emit(c, event.Dropped{Reason: a.missing(), Cause: event.BadMessage})
	}
}

func (a *assembly) missing() string {
	if a.last == 0 {
		return "fragments of a message never became whole: the last one is missing"
	}
	return "fragments of a message never became whole: some are missing"
}

// fragmented reports whether the negotiation waits for fragments that do not come.
func (s *SA) fragmented() bool { return s.incomplete || len(s.assemblies) > 0 }
