package ike

import (
	"encoding/binary"
	"io"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/sadb"
)

// settled asks the peer, once, whether the outbound SA may be put in place.
func (e *Engine) settled(c *ikev1.Context, k *child) {
	sa := k.peer.carrier(c.Now)
	if sa == nil || k.asked {
		e.ready(c, k.ID)
		return
	}
	k.asked, k.outAt = true, sa.Confirm(c, k.ID)
	if k.outAt == c.Now {
		e.ready(c, k.ID)
		return
	}
	e.schedule(k)
	e.after(c, sa)
}

// ready puts the outbound SA of a pair in place.
func (e *Engine) ready(c *ikev1.Context, id sadb.ChildID) {
	k := e.children[id]
	if k == nil || k.outAt.IsZero() {
		return
	}
	c.Out = append(c.Out, door.Install{Child: k.Child, Out: true})
	e.send(c, k)
	e.schedule(k)
}

// send marks a pair as the one to send with.
func (e *Engine) send(c *ikev1.Context, k *child) {
	k.outbound, k.outAt = true, time.Time{}
	e.supersede(c, k, k.replaces)
}

// renewal is when a pair is to be renewed. Its initiator comes first, at a
// random moment so that many pairs do not all come at once; its responder only
// when the initiator did not.
func (e *Engine) renewal(k *child) time.Time {
	margin := min(rekeyMargin, k.Lifetime.Time/10)
	if !k.Initiator {
		return k.hard.Add(-margin / 2)
	}
	var b [2]byte
	if _, err := io.ReadFull(e.random, b[:]); err != nil {
		return k.hard.Add(-margin)
	}
	jitter := margin / 2 * time.Duration(binary.BigEndian.Uint16(b[:])) / (1 << 16)
	return k.hard.Add(-margin - jitter)
}

// supersede marks the pairs whose traffic k carries now.
func (e *Engine) supersede(c *ikev1.Context, k *child, rekey sadb.ChildID) {
	if k.superseded {
		return // by a pair that came up at the same time: one of the two is renewed
	}
	for _, o := range e.flowState(k.Flow).children {
		if o == k || o.superseded || o.Established.After(k.Established) || !k.Selectors.Covers(o.Selectors) {
			continue
		}
		o.superseded, o.soft = true, time.Time{}
		if end := c.Now.Add(overlap); o.ID == rekey && (o.hard.IsZero() || end.Before(o.hard)) {
			o.hard = end
		}
		e.schedule(o)
	}
}

func (e *Engine) schedule(k *child) {
	at := k.hard
	if !k.soft.IsZero() && !k.renewing && (at.IsZero() || k.soft.Before(at)) {
		at = k.soft
	}
	for _, t := range []time.Time{k.outAt, k.idleAt} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	e.deadlines.set(k.deadline, at)
}

// tickChild puts the outbound SA of a pair in place, renews the pair or ends it.
func (e *Engine) tickChild(c *ikev1.Context, k *child) {
	if !k.outAt.IsZero() && !c.Now.Before(k.outAt) {
		e.settled(c, k)
		return
	}
	if !k.hard.IsZero() && !c.Now.Before(k.hard) {
		e.remove(c, k, "lifetime expired", true)
		return
	}
	e.tickUse(c, k)
}

// renew asks for a successor: make before break.
func (e *Engine) renew(c *ikev1.Context, k *child) {
	if k.superseded || k.renewing {
		return
	}
	f, ok := e.settings.Flow(k.Flow)
	if !ok || !f.Selectors.Covers(k.Selectors) || !f.Entry.Serves(k.Local.Addr(), k.Remote.Addr()) {
		k.soft = time.Time{}
		e.schedule(k)
		return // the configuration no longer has it: it ends with its lifetime
	}
	k.renewing = true
	e.schedule(k)
	e.want(c, f, request{flow: f.ID, selects: k.Selectors, rekey: k.ID}, func() {})
}

// expire acts on the volume limits that the data path watches.
func (e *Engine) expire(c *ikev1.Context, x door.Expire) {
	k := e.children[x.Child]
	switch {
	case k == nil:
	case x.Hard:
		e.remove(c, k, "volume expired", true)
	default:
		e.renew(c, k)
		e.outcomes(c)
	}
}
