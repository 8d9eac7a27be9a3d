package ikev1

import (
	"time"

	"culvert/internal/core/event"
)

// retransmitAfter is how long a message waits for its answer, time by time.
// After the last one the exchange has failed: 39 seconds after the first send.
var retransmitAfter = [...]time.Duration{
	1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second,
}

// maxAnswers bounds how often one request is answered from memory.
const maxAnswers = 16

// flight is the last message of one exchange: it is sent again when no answer
// comes in time, or when the peer's message that it answers comes again.
type flight struct {
	sent     event.Message // as it was reported
	raw      []byte
	next     time.Time // of the next retransmission; zero when none is due
	attempt  int
	answered int
	received []byte // the peer's message that raw answers
}

// arm starts the retransmission timer.
func (f *flight) arm(now time.Time) { f.next, f.attempt = now.Add(retransmitAfter[0]), 0 }

// disarm stops it; the message stays at hand for a duplicate.
func (f *flight) disarm() { f.next = time.Time{} }

// due reports whether a retransmission or the end is due.
func (f *flight) due(now time.Time) bool { return !f.next.IsZero() && !now.Before(f.next) }

// again sends the message once more; false when it was the last time.
func (f *flight) again(c *Context, s *SA) bool {
	f.attempt++
	if f.attempt >= len(retransmitAfter) {
		f.disarm()
		return false
	}
	f.next = c.Now.Add(retransmitAfter[f.attempt])
	s.emit(c, event.Retransmit{Attempt: f.attempt, Of: len(retransmitAfter) - 1, Name: f.sent.Name})
	f.put(c, s, f.attempt)
	return true
}

// repeat answers a duplicate of the message that raw answered.
func (f *flight) repeat(c *Context, s *SA) {
	if f.raw == nil || f.answered >= maxAnswers {
		return
	}
	f.answered++
	f.put(c, s, f.answered)
}

func (f *flight) put(c *Context, s *SA, attempt int) {
	m := f.sent
	m.Attempt = attempt
	s.transmit(c, f.raw, attempt)
	s.emit(c, m)
}
