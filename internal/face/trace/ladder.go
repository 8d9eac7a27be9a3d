package trace

import (
	"io"
	"net/netip"

	"culvert/internal/core/event"
)

// Party is one of the two gateways of a ladder.
type Party struct {
	Name string // "R1"; its address when empty
	Addr netip.Addr
}

// Options of a ladder. The zero value works: the gateways and who is the
// initiator are then taken from the events.
type Options struct {
	Color bool // ANSI colours
	Width int  // columns, 72 to 100; 0 means 100
	// Initiator is drawn on the left, Responder on the right. Events whose Local
	// is neither address are left out.
	Initiator, Responder Party
}

// Ladder draws the exchange between two gateways, oldest event first: a
// lifeline for each, an arrow for each message with its name and payloads, and
// at each lifeline what that gateway decided. A message that was sent and never
// received is marked lost; that can be told only when both gateways' events are
// there. One gateway's events alone make a ladder too. Events may come in any
// order of sides; those of one instant keep the order given.
func Ladder(w io.Writer, o Options, events []event.Event) error {
	s := newStory(o, events)
	_, err := io.WriteString(w, s.draw())
	return err
}
