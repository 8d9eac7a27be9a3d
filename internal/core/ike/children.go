package ike

import (
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
	superseded bool // another pair carries its traffic; it is not renewed
	standby    bool // both sides are ready, but another pair carries the traffic
	renewing   bool
	replaces   sadb.ChildID // the pair that it renews
	traffic
}

func (k *child) pair() pair { return pair{k.Local.Addr(), k.Remote.Addr()} }

// flowState is one line of interesting traffic.
type flowState struct {
	children []*child // oldest first
	// Of these, the ones of two hosts by their addresses, and the others: an
	// entry with an SA for each pair of hosts has many.
	hosts map[pair][]*child
	wide  []*child
}

// hostsOf are the two hosts that selectors are about; false when they are wider.
func hostsOf(s flow.Selectors) (pair, bool) {
	return pair{s.Local.Addr(), s.Remote.Addr()}, s.Local.IsSingleIP() && s.Remote.IsSingleIP()
}

// carrying are the pairs that may carry a packet, as far as its addresses tell.
func (f *flowState) carrying(t flow.Tuple) []*child {
	mine := f.hosts[pair{t.Src, t.Dst}]
	return append(mine[:len(mine):len(mine)], f.wide...)
}

func (f *flowState) add(k *child) {
	f.children = append(f.children, k)
	if p, ok := hostsOf(k.Selectors); ok {
		f.hosts[p] = append(f.hosts[p], k)
		return
	}
	f.wide = append(f.wide, k)
}

func (f *flowState) drop(k *child) {
	mine := func(o *child) bool { return o == k }
	f.children = slices.DeleteFunc(f.children, mine)
	f.wide = slices.DeleteFunc(f.wide, mine)
	p, _ := hostsOf(k.Selectors)
	if f.hosts[p] = slices.DeleteFunc(f.hosts[p], mine); len(f.hosts[p]) == 0 {
		delete(f.hosts, p)
	}
}

func (e *Engine) flowState(id policy.FlowID) *flowState {
	f := e.flows[id]
	if f == nil {
		f = &flowState{hosts: map[pair][]*child{}}
		e.flows[id] = f
	}
	return f
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
		e.flowState(k.Flow).add(k)
		k.peer = e.peerOf(u.SA)
		k.peer.children = append(k.peer.children, k)
		e.watch(c, k.peer)
		e.found(k)
	}
	k.replaces, k.outAt = u.Rekey, u.OutAt
	if u.Out {
		e.send(c, k)
	}
	e.schedule(k)
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
	state.drop(k)
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
	e.revive(c, k)
	e.release(c, k.Flow)
}

// childFailed gives the flow up, unless the peer was the one who asked. A quick
// mode that gave way to the peer's own for the same traffic is no failure.
func (e *Engine) childFailed(c *ikev1.Context, o ikev1.ChildFailed) {
	if k := e.children[o.Child]; k != nil {
		e.remove(c, k, o.Failed.Reason, true)
	}
	switch k := e.children[o.Rekey]; {
	case o.Yielded && k != nil:
		e.postpone(c, k)
	case o.Yielded:
	case o.Role == event.Initiator:
		if o.Silent {
			// A peer that answers nothing does not know this ISAKMP SA any more.
			o.SA.Delete(c, "the peer does not answer on it")
			e.after(c, o.SA)
		}
		if f, ok := e.flow(o.Flow); ok && o.Rekey == 0 {
			e.pass(f.Entry, o.SA.Remote.Addr())
		}
		e.unreachable(c, o.Flow, o.Rekey)
	}
	e.release(c, o.Flow)
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
			if k := e.children[id]; k != nil && x.Names(k.Child) {
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

func emit(c *ikev1.Context, entry *policy.Entry, w event.What) {
	e := event.Event{At: c.Now, Local: netip.AddrPortFrom(entry.Local, portIKE), What: w}
	if len(entry.Peers) > 0 {
		e.Peer = netip.AddrPortFrom(entry.Peers[0], portIKE)
	}
	c.Out = append(c.Out, door.Emit{Event: e})
}
