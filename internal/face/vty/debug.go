package vty

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"culvert/internal/core/event"
	"culvert/internal/face/show"
)

// maxQueued is how many events wait for one slow listener before further ones
// are lost. A negotiation has about fifty.
const maxQueued = 1024

// allOff is what a router says to "undebug all".
const allOff = "All possible debugging has been turned off"

// queue is between the gateway, which must not wait, and one listener.
type queue struct {
	mu    sync.Mutex
	items []event.Event
	lost  int           // behind the last of items
	wake  chan struct{} // holds one token when there is something to take
	stop  chan struct{} // closed by undebug
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// put never blocks. Once the queue is full everything is lost until it is
// taken, so a loss is always behind what is queued.
func (q *queue) put(e event.Event) {
	q.mu.Lock()
	if len(q.items) < maxQueued {
		q.items = append(q.items, e)
	} else {
		q.lost++
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take empties the queue; lost are the events lost behind the last one of items.
func (q *queue) take() (items []event.Event, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, lost = q.items, q.lost
	q.items, q.lost = nil, 0
	return items, lost
}

// debug streams a topic to w.
func (b *Backend) debug(ctx context.Context, t Topic, asJSON bool, w io.Writer) error {
	if b.Subscribe == nil || b.Trace == nil {
		return cannot("debug")
	}
	q := newQueue()
	b.mu.Lock()
	if b.debugs == nil {
		b.debugs = map[*queue]struct{}{}
	}
	b.debugs[q] = struct{}{}
	b.mu.Unlock()
	cancel := b.Subscribe(q.put)
	defer func() {
		cancel()
		b.mu.Lock()
		delete(b.debugs, q)
		b.mu.Unlock()
	}()
	l := listener{w: w, topic: t, json: asJSON, trace: b.Trace}
	if err := l.note("%s debugging is on", t.title()); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.stop:
			return l.note(allOff)
		case <-q.wake:
		}
		items, lost := q.take()
		for _, e := range items {
			if !b.concerns(e) {
				continue
			}
			if err := l.event(e); err != nil {
				return err
			}
		}
		if err := l.missed(lost); err != nil {
			return err
		}
	}
}

// listener writes events in the form one listener wants.
type listener struct {
	w     io.Writer
	topic Topic
	json  bool
	trace func(Topic, event.Event) []string
}

// debugJSON is one line of debugging as JSON: an event, a note, or a loss.
type debugJSON struct {
	At    *time.Time `json:"at,omitempty"`
	Local string     `json:"local,omitempty"`
	Peer  string     `json:"peer,omitempty"`
	Conn  int        `json:"conn_id,omitempty"`
	State string     `json:"state,omitempty"`
	Lines []string   `json:"lines,omitempty"`
	Note  string     `json:"note,omitempty"`
	Lost  int        `json:"lost,omitempty"`
}

func (l *listener) event(e event.Event) error {
	lines := l.trace(l.topic, e)
	if len(lines) == 0 {
		return nil
	}
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	if l.json {
		j := debugJSON{Conn: e.Conn, State: e.State, Lines: lines}
		if !e.At.IsZero() {
			at := e.At.UTC()
			j.At = &at
		}
		if e.Local.IsValid() {
			j.Local = e.Local.String()
		}
		if e.Peer.IsValid() {
			j.Peer = e.Peer.String()
		}
		return l.object(j)
	}
	for _, s := range lines {
		if _, err := io.WriteString(l.w, s+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// harmless is a line without what a terminal would act on: peers choose some
// of what debugging prints.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || (unicode.IsPrint(r) && r != unicode.ReplacementChar) {
			return r
		}
		return '?'
	}, s)
}

// missed tells the listener how many events it was too slow for.
func (l *listener) missed(n int) error {
	if n == 0 {
		return nil
	}
	if l.json {
		return l.object(debugJSON{Lost: n})
	}
	_, err := fmt.Fprintf(l.w, "%% %d events lost here: this terminal is too slow\n", n)
	return err
}

func (l *listener) note(format string, a ...any) error {
	s := fmt.Sprintf(format, a...)
	if l.json {
		return l.object(debugJSON{Note: s})
	}
	_, err := io.WriteString(l.w, s+"\n")
	return err
}

func (l *listener) object(j debugJSON) error {
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = l.w.Write(append(b, '\n'))
	return err
}

// maxConditions is how many peers debugging may be limited to.
const maxConditions = 64

// concerns reports whether the conditions let an event be debugged.
func (b *Backend) concerns(e event.Event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.peers) == 0 || slices.Contains(b.peers, e.Peer.Addr())
}

// condition limits debugging to peers, takes the limits away, or lists them.
func (b *Backend) condition(c Command, w io.Writer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.name == debugReset:
		b.peers = nil
	case c.name == debugCondition && len(b.peers) == maxConditions:
		return fmt.Errorf("debugging is limited to %d peers already, which is the most", maxConditions)
	case c.name == debugCondition && !slices.Contains(b.peers, c.Peer):
		b.peers = append(slices.Clip(b.peers), c.Peer)
	}
	if c.JSON {
		return show.JSON(w, conditionsJSON{append([]netip.Addr{}, b.peers...)})
	}
	if len(b.peers) == 0 {
		_, err := io.WriteString(w, "Crypto conditional debug currently is turned OFF\n")
		return err
	}
	text := "Crypto conditional debug currently is turned ON\n"
	for _, a := range b.peers {
		text += "IKE peer IP address filters: " + a.String() + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// conditionsJSON is "show crypto debug-condition" as JSON.
type conditionsJSON struct {
	Peers []netip.Addr `json:"peers"`
}

// undebug ends everybody's debugging.
func (b *Backend) undebug(c Command, w io.Writer) error {
	b.mu.Lock()
	for q := range b.debugs {
		close(q.stop)
		delete(b.debugs, q)
	}
	b.mu.Unlock()
	l := listener{w: w, json: c.JSON}
	return l.note(allOff)
}
