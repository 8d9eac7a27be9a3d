package ike

import (
	"net/netip"
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

// flow finds a flow by its name: one that a peer of a dynamic crypto map asked
// for, or a line of the configuration.
func (e *Engine) flow(id policy.FlowID) (policy.Flow, bool) {
	if d := e.defined[id]; d != nil {
		return d.Flow, true
	}
	return e.settings.Flow(id)
}

// trigger starts what interesting traffic needs.
func (e *Engine) trigger(c *ikev1.Context, t door.Trigger) {
	f, ok := e.flow(t.Flow)
	if !ok {
		return
	}
	state := e.flowState(t.Flow)
	for _, k := range state.carrying(t.Packet) {
		coming := !k.outAt.IsZero() || c.Now.Sub(k.Established) < qm3Due
		if (k.outbound || coming) && k.Selectors.MatchOut(t.Packet) {
			return // it came up meanwhile, or does as soon as the peer's QM3 is here
		}
	}
	if why := waits(f.Entry); why != "" {
		emit(c, f.Entry, event.Failed{Phase: 2, Flow: f.ID, Code: event.IsResponderOnly, Reason: why})
		c.Out = append(c.Out, door.Unreachable{Flow: f.ID})
		return
	}
	if len(f.Entry.Peers) == 0 || len(state.children) >= maxPairs {
		c.Out = append(c.Out, door.Unreachable{Flow: f.ID})
		return
	}
	e.homeward(c.Now, f.Entry)
	e.want(c, f, request{flow: f.ID, selects: narrowed(f, t.Packet)}, func() {
		w := event.Triggered{Flow: f.ID, Packet: t.Packet, Selectors: f.Selectors, Lifetime: f.Entry.Lifetime}
		if sets := e.settings.UsableSets(f.Entry); len(sets) > 0 {
			w.Set = sets[0]
		}
		emit(c, f.Entry, w)
	})
}

// waits tells why an entry never begins a negotiation; "" for one that does.
func waits(entry *policy.Entry) string {
	switch {
	case entry.ResponderOnly:
		return "the crypto map entry is responder-only: the peer has to begin"
	case entry.Dynamic:
		return "a dynamic crypto map never begins: the peer has to"
	}
	return ""
}

// narrowed is what is asked for when a packet of the flow comes: all of the
// line, or the packet's own two hosts where the entry wants an SA for each pair
// of hosts. Of a range of ports it is the packet's own, since a proxy identity
// has one port or all (RFC 2407 4.6.2).
func narrowed(f policy.Flow, t flow.Tuple) flow.Selectors {
	s := f.Selectors
	if f.Entry.PerHost {
		s.Local, s.Remote = netip.PrefixFrom(t.Src, t.Src.BitLen()), netip.PrefixFrom(t.Dst, t.Dst.BitLen())
	}
	if s.LocalPorts.Lo != s.LocalPorts.Hi && !s.LocalPorts.IsAny() {
		s.LocalPorts = flow.Ports{Lo: t.SrcPort, Hi: t.SrcPort}
	}
	if s.RemotePorts.Lo != s.RemotePorts.Hi && !s.RemotePorts.IsAny() {
		s.RemotePorts = flow.Ports{Lo: t.DstPort, Hi: t.DstPort}
	}
	return s
}

// want asks for a pair of SAs, over an ISAKMP SA that is up or a new one.
// begin is called when that starts something new.
func (e *Engine) want(c *ikev1.Context, f policy.Flow, r request, begin func()) {
	p, sas := e.whom(f, r)
	for _, sa := range sas {
		if sa.HasChildNegotiation(r.flow, r.selects, r.rekey) {
			return
		}
	}
	if slices.ContainsFunc(e.waiting[p], r.same) {
		return
	}
	sa := over(c.Now, sas, f.Entry)
	if sa == nil && (len(e.waiting[p]) >= maxPairs || e.hidden(r.rekey)) {
		e.unreachable(c, r.flow, r.rekey)
		return
	}
	begin()
	if sa != nil {
		sa.StartQuick(c, f, r.selects, r.rekey)
		e.after(c, sa)
		return
	}
	e.waiting[p] = append(e.waiting[p], r)
	e.initiate(c, p, f.Entry)
}

// hidden reports whether a pair's peer is one of several behind a NAT: it has to
// begin phase 1 itself.
func (e *Engine) hidden(id sadb.ChildID) bool {
	k := e.children[id]
	return k != nil && k.peer.identity != ""
}

// whom to ask, and over which ISAKMP SAs: a pair is renewed with its own peer,
// else the entry's peers are tried in turn.
func (e *Engine) whom(f policy.Flow, r request) (pair, []*ikev1.SA) {
	if k := e.children[r.rekey]; k != nil {
		return k.pair(), k.peer.sas
	}
	p := pair{f.Entry.Local, e.turn(f.Entry)}
	return p, e.sasAt(p)
}

// turnOf names a crypto map entry whose peers are tried in turn.
type turnOf struct {
	crypto string // name of the map
	seq    int
}

// turn is the peer of an entry that is to be asked.
func (e *Engine) turn(entry *policy.Entry) netip.Addr {
	n := e.turns[turnOf{entry.Map, entry.Seq}]
	if n >= len(entry.Peers) {
		n = 0 // there were more of them before a change of the configuration
	}
	return entry.Peers[n]
}

// pass goes on to an entry's next peer, if failed is the one whose turn it is:
// several flows of the entry notice the same failure.
func (e *Engine) pass(entry *policy.Entry, failed netip.Addr) {
	if len(entry.Peers) < 2 || e.turn(entry) != failed {
		return
	}
	n := slices.Index(entry.Peers, failed) + 1
	e.turns[turnOf{entry.Map, entry.Seq}] = n % len(entry.Peers)
}

// homeward goes back to an entry's default peer ("set peer … default") for a new
// negotiation, unless there are SAs with the one that took its place. Without a
// default peer the one that answered last is asked until it fails.
func (e *Engine) homeward(now time.Time, entry *policy.Entry) {
	id := turnOf{entry.Map, entry.Seq}
	if !entry.DefaultPeer || e.turns[id] == 0 {
		return
	}
	for _, p := range e.peers.at[pair{entry.Local, e.turn(entry)}] {
		if len(p.children) > 0 || len(p.sas) > 0 {
			return
		}
	}
	delete(e.turns, id)
}

// found makes the peer of a new pair the one to ask for the entry's other flows,
// when there is nothing with the one whose turn it is.
func (e *Engine) found(k *child) {
	f, ok := e.flow(k.Flow)
	if !ok || len(f.Entry.Peers) < 2 {
		return
	}
	n := slices.Index(f.Entry.Peers, k.Remote.Addr())
	if n < 0 || len(e.peers.at[pair{f.Entry.Local, e.turn(f.Entry)}]) > 0 {
		return
	}
	e.turns[turnOf{f.Entry.Map, f.Entry.Seq}] = n
}

// carrier is the ISAKMP SA with whoever is there that lives longest.
func (e *Engine) carrier(now time.Time, p pair) *ikev1.SA { return longest(now, e.sasAt(p)) }

// established serves the flows that wait for phase 1 with this peer.
func (e *Engine) established(c *ikev1.Context, sa *ikev1.SA) {
	e.settle(sa)
	e.watch(c, e.peerOf(sa))
	p := pair{sa.Local.Addr(), sa.Remote.Addr()}
	for _, o := range slices.Clone(e.sasAt(p)) {
		if o != sa && partyOf(sa).identity == "" { // else it may be with a neighbour behind the same NAT
			o.Spare(c)
			e.after(c, o)
		}
	}
	e.serve(c, p, true)
}

// serve begins what waits for phase 1 with a peer and has it now. Entries that
// are for somebody else at that address get a phase 1 of their own with again;
// otherwise theirs has failed, and they go on to their next peer.
func (e *Engine) serve(c *ikev1.Context, p pair, again bool) {
	queue := e.waiting[p]
	delete(e.waiting, p)
	for _, r := range queue {
		f, ok := e.flow(r.flow)
		if !ok {
			continue
		}
		_, sas := e.whom(f, r)
		switch sa := over(c.Now, sas, f.Entry); {
		case sa != nil:
			sa.StartQuick(c, f, r.selects, r.rekey)
		case again:
			e.waiting[p] = append(e.waiting[p], r)
			e.initiate(c, p, f.Entry)
		default:
			e.next(c, r, p.remote)
		}
	}
}

// over is the ISAKMP SA for a quick mode of an entry: of those that are with
// whom the entry is for, the one that lives longest.
func over(now time.Time, sas []*ikev1.SA, entry *policy.Entry) *ikev1.SA {
	return longest(now, slices.DeleteFunc(slices.Clone(sas), func(sa *ikev1.SA) bool { return !sa.Fits(entry) }))
}

// dead goes on without an SA: the flows that waited for one that never came up
// try the next peer. Behind a NAT a successor is made at once for the pairs that
// are left, since it sends the keepalives (RFC 3948 section 4).
func (e *Engine) dead(c *ikev1.Context, o ikev1.Dead) {
	e.unanswered(c, o)
	p := pair{o.SA.Local.Addr(), o.SA.Remote.Addr()}
	switch {
	case e.carrier(c.Now, p) != nil && len(e.waiting[p]) == 0:
	case !o.SA.Established.IsZero():
		if left := e.peerOf(o.SA).children; o.SA.NAT.LocalBehind && o.Expired && len(left) > 0 {
			if f, ok := e.flow(left[0].Flow); ok && waits(f.Entry) == "" {
				e.initiate(c, p, f.Entry)
			}
		}
	case o.SA.Role == event.Initiator:
		e.serve(c, p, o.Failed == nil && e.carrier(c.Now, p) != nil)
	}
}

// next tries the entry's next peer for a flow, or gives it up.
func (e *Engine) next(c *ikev1.Context, r request, failed netip.Addr) {
	f, ok := e.flow(r.flow)
	r.tried++
	if ok && r.rekey == 0 {
		e.pass(f.Entry, failed)
		if r.tried < len(f.Entry.Peers) {
			e.want(c, f, r, func() {})
			return
		}
	}
	e.unreachable(c, r.flow, r.rekey)
}

// unreachable gives up a flow, or the renewal of one.
func (e *Engine) unreachable(c *ikev1.Context, id policy.FlowID, rekey sadb.ChildID) {
	if k := e.children[rekey]; k != nil {
		e.postpone(c, k)
		return
	}
	c.Out = append(c.Out, door.Unreachable{Flow: id})
}
