package ike

import (
	"encoding/binary"
	"io"
	"slices"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/flow"
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

// ready is for a pair that the peer is ready to receive with.
func (e *Engine) ready(c *ikev1.Context, id sadb.ChildID) {
	k := e.children[id]
	if k == nil || k.outAt.IsZero() {
		return
	}
	e.send(c, k)
	e.schedule(k)
}

// send puts the outbound SA of a pair in place, unless another one goes first.
func (e *Engine) send(c *ikev1.Context, k *child) {
	k.outAt = time.Time{}
	if e.supersede(c, k) {
		k.outbound = true
		c.Out = append(c.Out, door.Install{Child: k.Child, Out: true})
		return
	}
	k.standby = true
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

// siblingTime is how close together pairs for the same traffic come up that both
// sides began at once.
const siblingTime = 10 * time.Second

// supersede marks the pairs whose traffic k carries from now on. False when k is
// the one that another pair goes before.
//
// A newer pair goes before an older one. Of two that both sides began at once
// neither is the newer everywhere, so the one with the lowest of their four SPIs
// gives way, which both sides know (RFC 7296 2.8.1 decides so by nonces). Its
// initiator deletes it after the overlap.
func (e *Engine) supersede(c *ikev1.Context, k *child) bool {
	for _, o := range e.flowState(k.Flow).children {
		if o == k || o.superseded || !o.outbound {
			continue
		}
		second := o.Established.After(k.Established) && o.Selectors.Covers(k.Selectors)
		if siblings(k, o) {
			second = rank(k) < rank(o)
		}
		if second {
			e.retire(c, k, k.Initiator)
			return false
		}
		if k.Selectors.Covers(o.Selectors) {
			e.retire(c, o, o.ID == k.replaces || o.Initiator && o.Selectors == k.Selectors)
		}
	}
	return true
}

// siblings reports whether two pairs were begun for the same traffic at once.
func siblings(k, o *child) bool {
	return k.peer == o.peer && k.Selectors == o.Selectors && k.replaces != o.ID && o.replaces != k.ID &&
		k.Initiator != o.Initiator && k.Established.Sub(o.Established).Abs() < siblingTime
}

// rank is what both sides know of a pair and no other pair has.
func rank(k *child) uint32 { return min(k.In.Name(), k.Out.Name()) }

// retire lets a pair end without a successor, soon when we are to delete it.
func (e *Engine) retire(c *ikev1.Context, k *child, ours bool) {
	k.superseded, k.soft = true, time.Time{}
	if end := c.Now.Add(overlap); ours && (k.hard.IsZero() || end.Before(k.hard)) {
		k.hard = end
	}
	e.schedule(k)
}

// revive sees to it that traffic goes on when the pair that carried it is gone
// before those that it had superseded: the newest of them carries it again.
func (e *Engine) revive(c *ikev1.Context, gone *child) {
	if gone.superseded || !gone.outbound {
		return
	}
	var best *child
	for _, o := range e.flowState(gone.Flow).children {
		switch {
		case o.Selectors != gone.Selectors || !o.outbound && !o.standby:
		case !o.superseded:
			return
		default:
			best = o
		}
	}
	if best == nil {
		return
	}
	best.superseded = false
	if best.standby {
		best.standby, best.outbound = false, true
		c.Out = append(c.Out, door.Install{Child: best.Child, Out: true})
	}
	if best.Lifetime.Time > 0 {
		best.hard = best.Established.Add(best.Lifetime.Time)
		best.soft = later(e.renewal(best), c.Now.Add(rekeyRetry))
	}
	e.schedule(best)
}

// yield gives up our own quick modes for the same traffic as one that the peer
// began and we answered: both began at once, and one pair is enough.
func (e *Engine) yield(c *ikev1.Context, sa *ikev1.SA, selects flow.Selectors, nonce []byte) {
	for _, o := range e.peerOf(sa).sas {
		o.Yield(c, selects, nonce)
	}
}

// crossing reports whether a peer's quick mode has to wait, since our own for the
// same traffic goes first: the one with the higher nonce does. The peer, when it
// knows this rule, gives its own up once it has ours; when it does not, it repeats
// its message, which is answered later.
func (e *Engine) crossing(now time.Time, sa *ikev1.SA, selects flow.Selectors, nonce []byte) bool {
	return slices.ContainsFunc(e.peerOf(sa).sas, func(o *ikev1.SA) bool { return o.Outranks(now, selects, nonce) })
}

// postpone tries the renewal of a pair again in a moment.
func (e *Engine) postpone(c *ikev1.Context, k *child) {
	k.renewing = false
	if !k.superseded {
		k.soft = c.Now.Add(rekeyRetry)
	}
	e.schedule(k)
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

// renew asks for a successor: make before break. An entry that is responder-only
// leaves that to the peer; so does everybody while the peer is at it.
func (e *Engine) renew(c *ikev1.Context, k *child) {
	if k.superseded || k.renewing {
		return
	}
	f, ok := e.flow(k.Flow)
	if !ok || f.Entry.ResponderOnly || !f.Selectors.Covers(k.Selectors) || !f.Entry.Serves(k.Local.Addr(), k.Remote.Addr()) {
		k.soft = time.Time{}
		e.schedule(k)
		return // it ends with its lifetime
	}
	for _, sa := range k.peer.sas {
		if sa.Answers(k.Selectors) {
			e.postpone(c, k)
			return
		}
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
