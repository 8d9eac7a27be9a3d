package gateway

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"culvert/internal/core/event"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/guard"
	"culvert/internal/face/trace"
)

const (
	remembered = 2048             // events, for show crypto exchange
	logBurst   = 60               // lines in a row
	logEvery   = time.Second / 10 // and then one each
	auditEvery = 30 * time.Second // one line of a kind about one SA or peer, as IOS limits them
	maxAudits  = 1024
)

// journal is where events go: the log, whoever debugs, and memory. What
// strangers can cause is limited; what was left out is counted and said.
type journal struct {
	mu        sync.Mutex
	w         io.Writer
	events    []event.Event // the last ones, oldest first
	listeners map[int]func(event.Event)
	next      int
	tokens    int
	refilled  time.Time
	left      int // lines left out
	audits    map[string]time.Time
	unheard   int // inputs that found no room
}

func newJournal(w io.Writer) *journal {
	if w == nil {
		w = io.Discard
	}
	return &journal{w: w, listeners: map[int]func(event.Event){}, audits: map[string]time.Time{}, tokens: logBurst, refilled: time.Now()}
}

// say logs a line about the gateway itself.
func (j *journal) say(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line(time.Now(), fmt.Sprintf(format, args...))
}

// line writes a line within the limit. The caller holds the lock.
func (j *journal) line(now time.Time, text string) {
	if n := int(now.Sub(j.refilled) / logEvery); n > 0 {
		j.tokens, j.refilled = min(logBurst, j.tokens+n), now
	}
	if j.tokens == 0 {
		j.left++
		return
	}
	j.tokens--
	if j.left > 0 {
		text = fmt.Sprintf("(%d lines left out) %s", j.left, text)
		j.left = 0
	}
	// A log that cannot be written must not stop the tunnels.
	_, _ = fmt.Fprintf(j.w, "%s: %s\n", now.Format("Jan _2 15:04:05.000"), strings.Map(oneLine, text))
}

// oneLine keeps what an error says on its line and off the terminal's commands.
func oneLine(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// event keeps an event, logs it when IOS would, and tells the listeners.
func (j *journal) event(e event.Event) {
	j.mu.Lock()
	if len(j.events) >= remembered {
		j.events = append(j.events[:0], j.events[remembered/4:]...)
	}
	j.events = append(j.events, e)
	if text, ok := trace.Syslog(e); ok {
		j.line(e.At, text)
	}
	listeners := make([]func(event.Event), 0, len(j.listeners))
	for _, f := range j.listeners {
		listeners = append(listeners, f)
	}
	j.mu.Unlock()
	for _, f := range listeners {
		f(e)
	}
}

// past is a copy of the events remembered.
func (j *journal) past() []event.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]event.Event(nil), j.events...)
}

// subscribe calls deliver with every event until cancel.
func (j *journal) subscribe(deliver func(event.Event)) (cancel func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	id := j.next
	j.next++
	j.listeners[id] = deliver
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.listeners, id)
	}
}

// lost counts an input that found no room.
func (j *journal) lost() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unheard++
	j.limited("input queue", fmt.Sprintf("the engine is overloaded: %d messages found no room so far", j.unheard))
}

// limited logs a line at most once in auditEvery for each key.
func (j *journal) limited(key, text string) {
	now := time.Now()
	if now.Sub(j.audits[key]) < auditEvery {
		return
	}
	if len(j.audits) >= maxAudits {
		clear(j.audits)
	}
	j.audits[key] = now
	j.line(now, text)
}

// audit logs a packet that the data path dropped: in IOS's words where they are
// known to be IOS's, under our own facility otherwise.
func (j *journal) audit(a fastpath.Audit) {
	var text string
	local, remote := a.Local.Addr(), a.Remote.Addr()
	switch a.Why {
	case fastpath.BadSPI:
		text = fmt.Sprintf("%%CRYPTO-4-RECVD_PKT_INV_SPI: decaps: rec'd IPSEC packet has invalid spi for destaddr=%s, prot=%d, spi=0x%08X(%d), srcaddr=%s",
			local, a.Proto, a.SPI, a.SPI, remote)
	case fastpath.BadICV:
		text = fmt.Sprintf("%%CRYPTO-4-RECVD_PKT_MAC_ERR: decrypt: mac verify failed for connection id=%d local=%s remote=%s spi=%08X seqno=%08X",
			a.Child, local, remote, a.SPI, a.Seq)
	case fastpath.Replayed:
		text = fmt.Sprintf("%%CRYPTO-4-PKT_REPLAY_ERR: decrypt: replay check failed connection id=%d, sequence number=%d, srcaddr=%s", a.Child, a.Seq, remote)
	case fastpath.Outside:
		text = fmt.Sprintf("%%CULVERT-4-INVALID_IDENTITY: identity doesn't match negotiated identity: %s, dest_addr=%s, src_addr=%s", a.Inner, local, remote)
	default:
		text = fmt.Sprintf("%%CULVERT-4-PACKET_DROPPED: %s: srcaddr=%s, destaddr=%s, spi=0x%08X", a.Why, remote, local, a.SPI)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.limited(fmt.Sprint(a.Why, remote, a.SPI), text)
}

// cleartext logs a packet that should have come protected.
func (j *journal) cleartext(c guard.Cleartext) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.limited(fmt.Sprint("cleartext", c.Dst, c.Src, c.Proto),
		fmt.Sprintf("%%CRYPTO-4-RECVD_PKT_NOT_IPSEC: Rec'd packet not an IPSEC packet. (ip) vrf/dest_addr= /%s, src_addr= %s, prot= %d", c.Dst, c.Src, c.Proto))
}
