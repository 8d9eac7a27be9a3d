package ike

import (
	"errors"
	"slices"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// request is a flow that waits for phase 1.
type request struct {
	flow    policy.FlowID
	selects flow.Selectors
	rekey   sadb.ChildID
	tried   int // peers of the entry that did not come up for it
}

func (r request) same(o request) bool {
	return r.flow == o.flow && r.selects == o.selects && r.rekey == o.rekey
}

// trigger starts what interesting traffic needs.
func (e *Engine) trigger(c *ikev1.Context, t door.Trigger) {
	f, ok := e.settings.Flow(t.Flow)
	if !ok || len(f.Entry.Peers) == 0 {
		return
	}
	state := e.flowState(t.Flow)
	for _, k := range state.children {
		coming := !k.outAt.IsZero() || c.Now.Sub(k.Established) < qm3Due
		if (k.outbound || coming) && k.Selectors.MatchOut(t.Packet) {
			return // it came up meanwhile, or does as soon as the peer's QM3 is here
		}
	}
	if len(state.children) >= maxPairs {
		c.Out = append(c.Out, door.Unreachable{Flow: f.ID})
		return
	}
	e.want(c, f, request{flow: f.ID, selects: narrowed(f.Selectors, t.Packet)}, func() {
		w := event.Triggered{Flow: f.ID, Packet: t.Packet, Selectors: f.Selectors, Lifetime: f.Entry.Lifetime}
		if sets := e.settings.UsableSets(f.Entry); len(sets) > 0 {
			w.Set = sets[0]
		}
		emit(c, f.Entry, w)
	})
}

// narrowed is what is asked for when a packet of the flow comes: all of the
// line, but of a range of ports the packet's own, since a proxy identity has one
// port or all (RFC 2407 4.6.2).
func narrowed(s flow.Selectors, t flow.Tuple) flow.Selectors {
	if s.LocalPorts.Lo != s.LocalPorts.Hi && !s.LocalPorts.IsAny() {
		s.LocalPorts = flow.Ports{Lo: t.SrcPort, Hi: t.SrcPort}
	}
	if s.RemotePorts.Lo != s.RemotePorts.Hi && !s.RemotePorts.IsAny() {
		s.RemotePorts = flow.Ports{Lo: t.DstPort, Hi: t.DstPort}
	}
	return s
}

// admit finds the flow that a peer may have for the selectors it asks for.
func (e *Engine) admit(sa *ikev1.SA, selects flow.Selectors) (policy.Flow, error) {
	f, found := e.settings.FlowFor(sa.Local.Addr(), sa.Remote.Addr(), selects)
	if !found {
		return f, errors.New("no line of a crypto ACL permits " + selects.String())
	}
	return f, nil
}

// want asks for a pair of SAs, over an ISAKMP SA that is up or a new one.
// begin is called when that starts something new.
func (e *Engine) want(c *ikev1.Context, f policy.Flow, r request, begin func()) {
	p := e.whom(f, r)
	for _, sa := range e.sasAt(p) {
		if sa.HasChildNegotiation(r.flow, r.selects, r.rekey) {
			return
		}
	}
	if slices.ContainsFunc(e.waiting[p], r.same) {
		return
	}
	begin()
	if sa := e.carrier(c.Now, p); sa != nil {
		sa.StartQuick(c, f, r.selects, r.rekey)
		e.after(c, sa)
		return
	}
	e.waiting[p] = append(e.waiting[p], r)
	e.initiate(c, p, f.Entry)
}

// whom to ask: a pair is renewed with its own peer, else the entry's peers are
// tried in turn.
func (e *Engine) whom(f policy.Flow, r request) pair {
	if k := e.children[r.rekey]; k != nil {
		return k.pair()
	}
	return pair{f.Entry.Local, f.Entry.Peers[e.flowState(f.ID).peer%len(f.Entry.Peers)]}
}

// carrier is the ISAKMP SA with whoever is there that lives longest.
func (e *Engine) carrier(now time.Time, p pair) *ikev1.SA { return longest(now, e.sasAt(p)) }

// established serves the flows that wait for phase 1 with this peer.
func (e *Engine) established(c *ikev1.Context, sa *ikev1.SA) {
	e.settle(sa)
	e.watch(c, e.peerOf(sa))
	p := pair{sa.Local.Addr(), sa.Remote.Addr()}
	queue := e.waiting[p]
	delete(e.waiting, p)
	for _, r := range queue {
		if f, ok := e.settings.Flow(r.flow); ok {
			sa.StartQuick(c, f, r.selects, r.rekey)
		}
	}
}

// dead goes on without an SA: the flows that waited for one that never came up
// try the next peer. Behind a NAT a successor is made at once for the pairs that
// are left, since it sends the keepalives (RFC 3948 section 4).
func (e *Engine) dead(c *ikev1.Context, o ikev1.Dead) {
	e.unanswered(c, o)
	p := pair{o.SA.Local.Addr(), o.SA.Remote.Addr()}
	switch {
	case e.carrier(c.Now, p) != nil:
		return
	case !o.SA.Established.IsZero():
		if left := e.peerOf(o.SA).children; o.SA.NAT.LocalBehind && o.Expired && len(left) > 0 {
			if f, ok := e.settings.Flow(left[0].Flow); ok {
				e.initiate(c, p, f.Entry)
			}
		}
		return
	case o.SA.Role != event.Initiator:
		return
	}
	queue := e.waiting[p]
	delete(e.waiting, p)
	for _, r := range queue {
		e.next(c, r)
	}
}

// next tries the entry's next peer for a flow, or gives it up.
func (e *Engine) next(c *ikev1.Context, r request) {
	f, ok := e.settings.Flow(r.flow)
	r.tried++
	if r.rekey == 0 {
		e.flowState(r.flow).peer++
		if ok && r.tried < len(f.Entry.Peers) {
			e.want(c, f, r, func() {})
			return
		}
	}
	e.unreachable(c, r.flow, r.rekey)
}

// unreachable gives up a flow, or the renewal of one.
func (e *Engine) unreachable(c *ikev1.Context, id policy.FlowID, rekey sadb.ChildID) {
	if k := e.children[rekey]; k != nil {
		k.renewing = false
		k.soft = c.Now.Add(rekeyRetry)
		e.schedule(k)
		return
	}
	c.Out = append(c.Out, door.Unreachable{Flow: id})
}
