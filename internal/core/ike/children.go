package ike

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// maxPairs bounds the pairs of one flow: a line with a range of ports has one for each port.
const maxPairs = 256

// When IPsec SAs are renewed: as IOS does it, 30 seconds before the end.
const (
	rekeyMargin = 30 * time.Second // before the end of a lifetime, at most a tenth of it
	rekeyRetry  = 5 * time.Second  // after a renewal failed
	overlap     = 30 * time.Second // how long the old pair lives beside the new one
	qm3Due      = 2 * time.Second  // behind QM2: until then interesting traffic waits for the peer's pair
)

// child is a pair of IPsec SAs in the engine's books.
type child struct {
	*sadb.Child
	peer       *peer
	deadline   *deadline
	soft, hard time.Time
	outbound   bool // we may send with it
	outAt      time.Time
	asked      bool // the peer was asked whether it is ready for that
	superseded bool // a newer pair carries its traffic; it is not renewed
	renewing   bool
	replaces   sadb.ChildID // the pair that it renews
	traffic
}

func (k *child) pair() pair { return pair{k.Local.Addr(), k.Remote.Addr()} }

// flowState is one line of interesting traffic.
type flowState struct {
	children []*child // oldest first
	peer     int      // index into the entry's peers of the one to try
}

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

func (e *Engine) flowState(id policy.FlowID) *flowState {
	f := e.flows[id]
	if f == nil {
		f = &flowState{}
		e.flows[id] = f
	}
	return f
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

// childUp enters a pair into the books, or its second direction.
func (e *Engine) childUp(c *ikev1.Context, u ikev1.ChildUp) {
	k := e.children[u.Child.ID]
	if k == nil {
		k = &child{Child: u.Child}
		k.deadline = &deadline{child: k}
		e.children[k.ID] = k
		if k.Lifetime.Time > 0 {
			k.hard = k.Established.Add(k.Lifetime.Time)
			k.soft = e.renewal(k)
		}
		e.idleFrom(k)
		state := e.flowState(k.Flow)
		state.children = append(state.children, k)
		k.peer = e.peerOf(u.SA)
		k.peer.children = append(k.peer.children, k)
		e.watch(c, k.peer)
	}
	k.replaces, k.outAt = u.Rekey, u.OutAt
	if u.Out {
		e.send(c, k)
	}
	e.schedule(k)
}

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

// remove takes a pair out of the books and out of the data path.
func (e *Engine) remove(c *ikev1.Context, k *child, reason string, tell bool) {
	e.deadlines.set(k.deadline, time.Time{})
	delete(e.children, k.ID)
	e.unsurveyed(k)
	delete(e.spis, k.In.SPI)
	delete(e.spis, k.In.AHSPI)
	for _, sa := range k.peer.sas {
		sa.Drop(c, k.ID)
	}
	state := e.flowState(k.Flow)
	state.children = slices.DeleteFunc(state.children, func(o *child) bool { return o == k })
	k.peer.children = slices.DeleteFunc(k.peer.children, func(o *child) bool { return o == k })
	c.Out = append(c.Out, door.Remove{Child: k.ID}, door.Emit{Event: event.Event{
		At: c.Now, Local: k.Local, Peer: k.Remote, What: event.Deleted{
			Protocol: protocolOf(k.Child), SPI: k.In.Name(), Reason: reason, ByPeer: !tell, Last: len(state.children) == 0,
		},
	}})
	if sa := k.peer.carrier(c.Now); tell && sa != nil {
		sa.DeleteChild(c, k.In)
		e.after(c, sa)
	}
	e.leave(k.peer)
}

// childFailed gives the flow up, unless the peer was the one who asked.
func (e *Engine) childFailed(c *ikev1.Context, o ikev1.ChildFailed) {
	if k := e.children[o.Child]; k != nil {
		e.remove(c, k, o.Failed.Reason, true)
	}
	if o.Role == event.Initiator {
		e.unreachable(c, o.Flow, o.Rekey)
	}
}

// protocolOf is a pair's protocol in one word; a bundle goes by ESP.
func protocolOf(k *sadb.Child) string {
	if k.In.SPI == 0 {
		return "AH"
	}
	return "ESP"
}

// peerDeleted removes the pairs we would send with under these SPIs, a bundle
// whole when one of its SAs is gone.
func (e *Engine) peerDeleted(c *ikev1.Context, o ikev1.PeerDeleted) {
	for _, k := range slices.Clone(e.peerOf(o.SA).children) {
		out := k.Out.SPI
		if o.Protocol == isakmp.ProtocolAH {
			out = k.Out.AHSPI
		}
		if out != 0 && slices.Contains(o.SPIs, out) {
			e.remove(c, k, "the peer deleted it", false)
		}
	}
}

// initialContact ends all that the peer no longer knows (RFC 2407 4.6.3.3):
// what was there before it began the negotiation that says so. When both sides
// begin at once, what the other direction has just built is not stale.
func (e *Engine) initialContact(c *ikev1.Context, sa *ikev1.SA) {
	e.settle(sa)
	p := e.peerOf(sa)
	for _, k := range slices.Clone(p.children) {
		if k.Established.Before(sa.Started()) {
			e.remove(c, k, "the peer has started anew", false)
		}
	}
	for _, o := range slices.Clone(p.sas) {
		if o != sa && o.Up() && o.Established.Before(sa.Started()) {
			o.Abandon(c, "the peer has started anew")
			e.forget(c, o)
		}
	}
}

// clear is the operator's clear command.
func (e *Engine) clear(c *ikev1.Context, x door.Clear) {
	hit := func(a netip.Addr) bool { return !x.Peer.IsValid() || a == x.Peer }
	if x.IPsec {
		for _, id := range e.sortedChildren() {
			if k := e.children[id]; k != nil && hit(k.Remote.Addr()) {
				e.remove(c, k, "cleared by the operator", true)
			}
		}
	}
	if x.ISAKMP {
		for _, sa := range e.sortedSAs() {
			if hit(sa.Remote.Addr()) && (x.Conn == 0 || x.Conn == sa.Conn) {
				sa.Delete(c, "cleared by the operator")
				e.after(c, sa)
			}
		}
	}
}

// configure changes the settings. What is up stays up.
func (e *Engine) configure(c *ikev1.Context, s *policy.Settings) {
	s.Index()
	e.settings, c.Settings = s, s
	for id, f := range e.flows {
		if _, ok := s.Flow(id); !ok && len(f.children) == 0 {
			delete(e.flows, id)
		}
	}
}

func emit(c *ikev1.Context, entry *policy.Entry, w event.What) {
	e := event.Event{At: c.Now, Local: netip.AddrPortFrom(entry.Local, portIKE), What: w}
	if len(entry.Peers) > 0 {
		e.Peer = netip.AddrPortFrom(entry.Peers[0], portIKE)
	}
	c.Out = append(c.Out, door.Emit{Event: e})
}
