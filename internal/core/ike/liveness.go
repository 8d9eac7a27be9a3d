package ike

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/policy"
)

// Dead peer detection, RFC 3706, as IOS does it ("crypto isakmp keepalive").
//
//	nothing heard for the interval ──▶ on-demand: was something sent since?  no ──▶ look again later
//	                                └▶ periodic, or yes ──▶ R-U-THERE, wait for Retry
//	no answer ──▶ five times more, each for Retry ──▶ dead: all SAs with the peer go
//
// Any authentic IKE message and any authentic packet is an answer. Each of the
// five repetitions is three questions, evenly spread over its time: a link that
// loses a third of everything must not look like a dead peer.
const (
	dpdRetries = 5 // as IOS
	dpdCopies  = 3 // questions in each
	// surveyed: the data path answers at once; an answer that got lost is asked for again.
	surveyed = time.Second
)

// liveness is what the engine knows of a peer's life.
type liveness struct {
	slot    *deadline        // when to look again
	heard   time.Time        // last over SAs that have ended
	began   time.Time        // of the questions under way; zero when there are none
	asked   int              // questions of these
	pending int              // answers of the data path that are to come
	last    policy.Keepalive // of the last ISAKMP SA
}

// keepalive is dead peer detection as it is configured for a peer.
func (e *Engine) keepalive(p *peer) policy.Keepalive {
	for _, sa := range p.sas {
		if sa.Up() {
			p.last = sa.Keepalive(e.settings)
			return p.last
		}
	}
	if p.last.Every > 0 {
		return p.last
	}
	return e.settings.Keepalive
}

// watch sees to it that a peer is looked after.
func (e *Engine) watch(c *ikev1.Context, p *peer) {
	if p.slot == nil {
		p.slot = &deadline{peer: p}
	}
	if k := e.keepalive(p); k.Every > 0 && p.slot.at.IsZero() {
		e.deadlines.set(p.slot, c.Now.Add(k.Every))
	}
}

// survey asks the data path what it has seen of a peer's SAs.
func (e *Engine) survey(c *ikev1.Context, p *peer) {
	if e.keepalive(p).Every == 0 || len(p.sas)+len(p.children) == 0 {
		p.began, p.asked = time.Time{}, 0
		return // watch begins again when there is something to watch
	}
	p.pending = len(p.children)
	for _, k := range p.children {
		k.surveyed = true
		c.Out = append(c.Out, door.Observe{Child: k.ID})
	}
	e.deadlines.set(p.slot, c.Now.Add(surveyed))
	if p.pending == 0 {
		e.judge(c, p)
	}
}

// observed takes the data path's answer.
func (e *Engine) observed(c *ikev1.Context, o door.Observed) {
	k := e.children[o.Child]
	if k == nil {
		return
	}
	k.in, k.out = o.In, o.Out
	if k.surveyed {
		k.surveyed = false
		if k.peer.pending--; k.peer.pending == 0 {
			e.judge(c, k.peer)
		}
	}
	e.used(c, k)
}

// heardAt and sentAt are when the peer was last heard, and last sent to.
func (p *peer) heardAt() time.Time {
	at := p.heard
	for _, sa := range p.sas {
		at = later(at, sa.Heard())
	}
	for _, k := range p.children {
		at = later(at, k.in)
	}
	return at
}

func (p *peer) sentAt() (at time.Time) {
	for _, k := range p.children {
		at = later(at, k.out)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// judge decides whether to ask the peer, or that it is dead.
func (e *Engine) judge(c *ikev1.Context, p *peer) {
	k, heard := e.keepalive(p), p.heardAt()
	if p.began.Before(heard) {
		p.began, p.asked = time.Time{}, 0
	}
	if p.began.IsZero() {
		if due := heard.Add(k.Every); c.Now.Before(due) {
			e.deadlines.set(p.slot, due)
			return
		}
		if !k.Periodic && !p.sentAt().After(heard) {
			e.deadlines.set(p.slot, c.Now.Add(k.Every))
			return
		}
	}
	e.question(c, p, k)
}

// question asks once more; behind the last question the peer is dead.
func (e *Engine) question(c *ikev1.Context, p *peer, k policy.Keepalive) {
	retry := max(k.Retry, time.Second)
	sa := p.carrier(c.Now)
	if p.asked > dpdRetries*dpdCopies {
		e.gone(c, p)
		return
	}
	switch {
	case sa == nil && p.identity == "" && len(p.children) > 0:
		// Phase 1 is the question then; what becomes of it, dead tells.
		p.began = c.Now
		e.deadlines.set(p.slot, c.Now.Add(k.Every))
		if f, ok := e.flow(p.children[0].Flow); ok {
			e.initiate(c, p.pair, f.Entry)
		}
		return
	case sa == nil || !sa.Ask(c):
		e.deadlines.set(p.slot, c.Now.Add(k.Every))
		return
	}
	wait := retry / dpdCopies
	if p.asked == 0 {
		p.began, wait = c.Now, retry
	} else if p.asked%dpdCopies == 1 {
		e.told(c, p, event.Liveness{Attempt: p.asked/dpdCopies + 1, Of: dpdRetries})
	}
	p.asked++
	e.deadlines.set(p.slot, c.Now.Add(wait))
	e.after(c, sa)
}

// told emits an event about a peer.
func (e *Engine) told(c *ikev1.Context, p *peer, w event.What) {
	ev := event.Event{At: c.Now, Local: netip.AddrPortFrom(p.local, portIKE), Peer: netip.AddrPortFrom(p.remote, portIKE), What: w}
	if sa := p.carrier(c.Now); sa != nil {
		ev.Local, ev.Peer, ev.Conn, ev.Role, ev.State = sa.Local, sa.Remote, sa.Conn, sa.Role, sa.State()
	}
	c.Out = append(c.Out, door.Emit{Event: ev})
}

// gone ends all there is with a peer that does not answer. Its flows go on with
// the next peer of their entry, when traffic asks.
func (e *Engine) gone(c *ikev1.Context, p *peer) {
	e.told(c, p, event.Liveness{Attempt: dpdRetries, Of: dpdRetries, Dead: true})
	e.told(c, p, event.Failed{Phase: 1, Code: event.PeerGone, LastSent: "INFO",
		Reason: fmt.Sprintf("dead peer detection: %s answered none of the questions since %s", p.remote, p.began.UTC().Format(time.TimeOnly))})
	p.began, p.asked = time.Time{}, 0
	for _, k := range slices.Clone(p.children) {
		if f, ok := e.flow(k.Flow); ok {
			e.pass(f.Entry, p.remote)
		}
		e.remove(c, k, "dead peer detection: no answer", true)
	}
	for _, sa := range slices.Clone(p.sas) {
		if sa.Up() {
			sa.Delete(c, "dead peer detection: no answer")
			e.after(c, sa)
		}
	}
}

// unanswered ends what is left with a peer that was asked by phase 1 and said nothing.
func (e *Engine) unanswered(c *ikev1.Context, o ikev1.Dead) {
	if o.Failed == nil || o.Failed.Code != event.NoAnswer || o.Failed.LastReceived != "" || o.SA.Role != event.Initiator {
		return
	}
	p := e.peers.known[party{pair: pair{o.SA.Local.Addr(), o.SA.Remote.Addr()}}]
	if p != nil && !p.began.IsZero() && p.carrier(c.Now) == nil && p.heardAt().Before(p.began) {
		e.gone(c, p)
	}
}
