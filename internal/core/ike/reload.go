package ike

import (
	"slices"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/policy"
)

const reconfigured = "the configuration changed"

// configure puts other settings in force. A tunnel whose settings are the same
// keeps its SAs: nothing is negotiated, no packet is lost. What has changed ends,
// the peer is told, and the next packet of interesting traffic begins anew.
func (e *Engine) configure(c *ikev1.Context, s *policy.Settings) {
	s.Index()
	old := e.settings
	stale := map[*peer]bool{}
	for _, sa := range e.sortedSAs() {
		if !sa.Configured(old, s) {
			stale[e.peerOf(sa)] = true
		}
	}
	for _, id := range e.sortedChildren() {
		if k := e.children[id]; e.profileChanged(old, s, k) {
			stale[k.peer] = true
		}
	}
	e.settings, c.Settings, e.lines = s, s, nil
	same := map[policy.FlowID]bool{}
	kept, ended := 0, 0
	for _, id := range e.sortedChildren() {
		k := e.children[id]
		if stale[k.peer] || !e.keeps(old, s, k, same) {
			e.remove(c, k, reconfigured, true)
			ended++
			continue
		}
		kept++
		e.idleFrom(k)
		e.schedule(k)
	}
	k, n := e.reconfigureSAs(c, old, stale)
	e.reconfigureWaiting(c, old)
	for id, f := range e.flows {
		if _, ok := e.flow(id); !ok && len(f.children) == 0 {
			delete(e.flows, id)
		}
	}
	c.Out = append(c.Out, door.Emit{Event: event.Event{At: c.Now, What: event.Reconfigured{Kept: kept + k, Ended: ended + n}}})
	e.outcomes(c)
}

// keeps reports whether a pair stays. same remembers what is known of its flow.
func (e *Engine) keeps(old, now *policy.Settings, k *child, same map[policy.FlowID]bool) bool {
	ok, known := same[k.Flow]
	if !known {
		ok = e.sameFlow(old, now, k.Flow)
		same[k.Flow] = ok
	}
	if !ok {
		return false
	}
	f, found := e.flow(k.Flow)
	return found && f.Entry.Serves(k.Local.Addr(), k.Remote.Addr()) && f.Selectors.Covers(k.Selectors)
}

// sameFlow reports whether a flow means the same under other settings, whoever
// of its entry's peers it is carried to.
func (e *Engine) sameFlow(old, now *policy.Settings, id policy.FlowID) bool {
	if d := e.defined[id]; d != nil {
		return e.sameDefined(old, now, d)
	}
	was, ok := old.Flow(id)
	is, still := now.Flow(id)
	if !ok || !still || was.Selectors != is.Selectors {
		return false
	}
	if len(is.Entry.Peers) == 0 {
		return policy.SameEntry(was.Entry, is.Entry, is.Entry.Local)
	}
	return policy.SameEntry(was.Entry, is.Entry, is.Entry.Peers[0])
}

// sameDefined is sameFlow for a flow that a peer of a dynamic entry asked for.
func (e *Engine) sameDefined(old, now *policy.Settings, d *defined) bool {
	was, is := old.EntryNamed(d.from.Map, d.from.Seq, d.Entry.Interface), now.EntryNamed(d.from.Map, d.from.Seq, d.Entry.Interface)
	if was == nil || is == nil || !policy.SameEntry(was, is, d.who.remote) || (was.ACL == nil) != (is.ACL == nil) {
		return false
	}
	for _, line := range e.written() {
		if shares(line, d.Selectors) {
			return false // a line of the configuration has its traffic now
		}
	}
	if is.ACL == nil {
		return true
	}
	before, ok := old.Flow(d.from)
	after, still := now.Flow(d.from)
	return ok && still && before.Selectors == after.Selectors
}

// profileChanged reports whether the pair's entry has another isakmp profile now:
// then phase 1 has to be made again as well.
func (e *Engine) profileChanged(old, now *policy.Settings, k *child) bool {
	if e.defined[k.Flow] != nil {
		return false // the peer's identity chose the profile
	}
	was, ok := old.Flow(k.Flow)
	is, still := now.Flow(k.Flow)
	return ok && still && !policy.SameProfile(was.Entry.Profile, is.Entry.Profile)
}

// reconfigureSAs ends the ISAKMP SAs with peers whose settings have changed, and
// what the others negotiate for flows that have.
func (e *Engine) reconfigureSAs(c *ikev1.Context, old *policy.Settings, stale map[*peer]bool) (kept, ended int) {
	for _, sa := range e.sortedSAs() {
		p := e.peerOf(sa)
		if stale[p] {
			sa.Delete(c, reconfigured)
			e.after(c, sa)
			ended++
			continue
		}
		kept++
		sa.Adopt(e.settings)
		sa.Forsake(c, func(id policy.FlowID) bool { return !e.sameFlow(old, e.settings, id) })
		e.after(c, sa)
		e.watch(c, p)
	}
	return kept, ended
}

// reconfigureWaiting gives up what waits for phase 1 on behalf of flows that have changed.
func (e *Engine) reconfigureWaiting(c *ikev1.Context, old *policy.Settings) {
	for p, queue := range e.waiting {
		queue = slices.DeleteFunc(queue, func(r request) bool {
			gone := !e.sameFlow(old, e.settings, r.flow)
			if gone {
				c.Out = append(c.Out, door.Unreachable{Flow: r.flow})
			}
			return gone
		})
		if e.waiting[p] = queue; len(queue) == 0 {
			delete(e.waiting, p)
		}
	}
}
