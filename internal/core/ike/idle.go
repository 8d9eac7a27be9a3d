package ike

import (
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/ikev1"
)

// What depends on whether a pair is used at all: "set security-association
// idle-time" ends one that is not, and one that never was is not renewed (IOS:
// if no traffic went through the SA when it expires, no new one is made until
// the next interesting packet).

// traffic is what is known of a pair's use.
type traffic struct {
	in, out  time.Time // the last packets, as the data path told
	surveyed bool      // the data path is asked for the sake of the peer's liveness
	asking   int       // and for the sake of the pair itself
	idle     time.Duration
	idleAt   time.Time // when to see whether the pair is idle; zero for never
}

// unsurveyed takes a pair out of the survey of its peer.
func (e *Engine) unsurveyed(k *child) {
	if k.surveyed {
		k.surveyed = false
		k.peer.pending--
	}
}

// lastUse is when the pair last carried a packet, as far as the data path has told.
func (k *child) lastUse() time.Time { return later(k.in, k.out) }

// idleFrom sets when a new pair is looked at for the first time.
func (e *Engine) idleFrom(k *child) {
	if f, ok := e.flow(k.Flow); ok && f.Entry.IdleTime > 0 {
		k.idle = f.Entry.IdleTime
		k.idleAt = k.Established.Add(k.idle)
	}
}

// used goes on with what waited for the data path's answer.
func (e *Engine) used(c *ikev1.Context, k *child) {
	if k.asking&askIdle != 0 {
		last := later(k.lastUse(), k.Established)
		if c.Now.Sub(last) >= k.idle {
			e.remove(c, k, "idle", true)
			return
		}
		k.idleAt = last.Add(k.idle)
	}
	renew := k.asking&askRenew != 0
	k.asking = 0
	switch left := k.hard.Sub(c.Now); {
	case !renew || k.superseded:
	case !k.lastUse().IsZero():
		e.renew(c, k)
		return
	case left > 2*time.Second:
		k.soft = c.Now.Add(left / 2) // traffic may come yet
	}
	e.schedule(k)
}

// Why the data path is asked about one pair.
const (
	askIdle = 1 << iota
	askRenew
)

// tickUse asks what has to be known before the pair is ended or renewed.
func (e *Engine) tickUse(c *ikev1.Context, k *child) {
	due := 0
	if !k.idleAt.IsZero() && !c.Now.Before(k.idleAt) {
		due, k.idleAt = due|askIdle, time.Time{}
	}
	if !k.soft.IsZero() && !k.renewing && !c.Now.Before(k.soft) {
		due, k.soft = due|askRenew, time.Time{}
	}
	if due == 0 {
		e.schedule(k)
		return
	}
	k.asking |= due
	c.Out = append(c.Out, door.Observe{Child: k.ID})
	e.schedule(k)
}
