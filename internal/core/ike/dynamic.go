package ike

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/core/door"
	"culvert/internal/core/flow"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/policy"
)

// Crypto maps that peers choose the traffic of ("crypto dynamic-map"). Such an
// entry has no peers and need not have an access list: whoever phase 1 proves
// may ask for a pair, and the proxy identities it names become a flow of its own
// while it has a pair. The flow's crypto map entry is a copy of the dynamic one
// under a number from 65536 on, as IOS shows it.
//
// What a peer may ask for: what a permit of the entry's access list holds. Without
// a list, anything but
//
//   - a remote side that is the whole address space, or holds our own end of the
//     tunnel: all traffic of the local side would go to that peer;
//   - traffic of a line of the configuration;
//   - traffic of another peer of a dynamic entry. One that comes from a new
//     address under the identity that it had before replaces itself.
//
// The last two hold with a list as well.
const (
	maxDefined     = 4096 // flows of dynamic entries
	maxDefinedPeer = 64   // of these, with one peer
	firstDefined   = 1 << 16
)

// defined is a flow that a peer of a dynamic entry asked for.
type defined struct {
	policy.Flow
	who      party
	identity string        // of the peer in phase 1
	from     policy.FlowID // the dynamic entry and its line
}

// Defined is a flow that a peer asked of a dynamic crypto map entry.
type Defined struct {
	policy.Flow
	Peer netip.Addr
	From policy.FlowID // the dynamic entry; its line, or 0 without an access list
}

// Defined lists the flows of dynamic entries by their numbers.
func (e *Engine) Defined() []Defined {
	out := make([]Defined, 0, len(e.defined))
	for _, d := range e.defined {
		out = append(out, Defined{d.Flow, d.who.remote, d.from})
	}
	slices.SortFunc(out, func(a, b Defined) int { return a.ID.Seq - b.ID.Seq })
	return out
}

// admit finds the flow that a peer may have for the selectors it asks for: a
// line of the configuration, else what a dynamic entry lets it have.
func (e *Engine) admit(sa *ikev1.SA, selects flow.Selectors) (policy.Flow, error) {
	local, remote := sa.Local.Addr(), sa.Remote.Addr()
	f, found := e.settings.FlowFor(local, remote, selects, sa.Fits)
	if found {
		if state := e.flows[f.ID]; state != nil && len(state.children) >= maxPairs {
			return f, fmt.Errorf("%s has %d SA pairs already", f.ID, maxPairs)
		}
		return f, nil
	}
	f, found = e.settings.DynamicFor(local, selects, sa.Fits)
	if !found {
		return f, errors.New("no line of a crypto ACL permits " + selects.String())
	}
	if d := e.known(f, partyOf(sa)); d != nil {
		return d.Flow, nil
	}
	return f, e.sane(sa, f)
}

// known is the flow that a peer has already for the same traffic.
func (e *Engine) known(f policy.Flow, who party) *defined {
	for _, d := range e.defined {
		if d.who == who && d.Selectors == f.Selectors && d.ID.Map == f.ID.Map {
			return d
		}
	}
	return nil
}

// sane says why a dynamic entry does not let a peer have a flow.
func (e *Engine) sane(sa *ikev1.SA, f policy.Flow) error {
	s := f.Selectors
	if f.Entry.ACL == nil && (s.Remote.Bits() == 0 || s.Remote.Contains(sa.Local.Addr())) {
		return fmt.Errorf("crypto map %s %d is dynamic without an access list: a peer may not ask for %s", f.ID.Map, f.ID.Seq, s)
	}
	for _, other := range e.written() {
		if shares(other, s) {
			return fmt.Errorf("%s is traffic of a crypto ACL, %s", s, other)
		}
	}
	who, mine := partyOf(sa), 0
	for _, d := range e.defined {
		switch {
		case d.who == who:
			mine++
		case shares(d.Selectors, s) && !moved(d, sa):
			return fmt.Errorf("%s is traffic of another peer, %s", s, d.who.remote)
		}
	}
	if mine >= maxDefinedPeer || len(e.defined) >= maxDefined {
		return fmt.Errorf("dynamic crypto map %s %d has too many flows: %d, %d with this peer", f.ID.Map, f.ID.Seq, len(e.defined), mine)
	}
	return nil
}

// moved reports whether a flow's peer is the one of sa, at an address of before.
func moved(d *defined, sa *ikev1.SA) bool { return d.identity != "" && d.identity == sa.Identity }

// written are the selectors of the configuration's own lines.
func (e *Engine) written() []flow.Selectors {
	if e.lines == nil {
		e.lines = []flow.Selectors{}
		for _, f := range e.settings.Flows() {
			if !f.Entry.Dynamic {
				e.lines = append(e.lines, f.Selectors)
			}
		}
	}
	return e.lines
}

// shares reports whether a packet could be traffic of both.
func shares(a, b flow.Selectors) bool {
	ports := func(p, q flow.Ports) bool { return p.IsAny() || q.IsAny() || p.Lo <= q.Hi && q.Lo <= p.Hi }
	return a.Local.Overlaps(b.Local) && a.Remote.Overlaps(b.Remote) &&
		(a.Proto == b.Proto || a.Proto == flow.AnyProto || b.Proto == flow.AnyProto) &&
		ports(a.LocalPorts, b.LocalPorts) && ports(a.RemotePorts, b.RemotePorts)
}

// define makes an agreed flow of a dynamic entry known to the data path, before
// the SAs that carry it; any other flow stays as it is.
func (e *Engine) define(c *ikev1.Context, sa *ikev1.SA, f policy.Flow) (policy.Flow, error) {
	if !f.Entry.Dynamic {
		return f, nil
	}
	who := partyOf(sa)
	if d := e.known(f, who); d != nil {
		return d.Flow, nil
	}
	if err := e.sane(sa, f); err != nil {
		return f, err // somebody else was quicker
	}
	for _, d := range e.sortedDefined() {
		if d.who != who && shares(d.Selectors, f.Selectors) {
			e.removeFlow(c, d.ID, "the peer has moved to "+sa.Remote.Addr().String())
		}
	}
	d := &defined{Flow: copyFor(f, sa.Remote.Addr(), e.freeNumber(f.ID.Map)), who: who, identity: sa.Identity, from: f.ID}
	e.defined[d.ID] = d
	c.Out = append(c.Out, door.Define{Flow: d.Flow})
	return d.Flow, nil
}

func (e *Engine) sortedDefined() []*defined {
	out := make([]*defined, 0, len(e.defined))
	for _, d := range e.defined {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *defined) int { return a.ID.Seq - b.ID.Seq })
	return out
}

// freeNumber is the lowest number that no flow of a crypto map has, nor an entry
// of the configuration: of a dynamic map's entries only the first has the number
// that was written.
func (e *Engine) freeNumber(crypto string) int {
	for n := firstDefined; ; n++ {
		if e.defined[definedID(crypto, n)] == nil && !e.settings.HasEntry(crypto, n) {
			return n
		}
	}
}

// definedLine is the number of the only line of such a flow.
const definedLine = 10

func definedID(crypto string, n int) policy.FlowID {
	return policy.FlowID{Map: crypto, Seq: n, Line: definedLine}
}

// copyFor makes a flow of a dynamic entry one of a peer's own.
func copyFor(f policy.Flow, peer netip.Addr, n int) policy.Flow {
	s := f.Selectors
	line := flow.Line{
		Seq: definedLine, Action: flow.Permit, Proto: s.Proto, ICMPType: -1, ICMPCode: -1,
		Src: flow.PrefixMatch(s.Local), SrcPort: portsOf(s.LocalPorts), Dst: flow.PrefixMatch(s.Remote), DstPort: portsOf(s.RemotePorts),
	}
	line.Text = line.Condition()
	entry := *f.Entry
	entry.Seq, entry.Peers = n, []netip.Addr{peer}
	entry.ACL = &flow.List{Extended: true, Lines: []flow.Line{line}}
	return policy.Flow{ID: definedID(f.ID.Map, n), Selectors: s, Line: &entry.ACL.Lines[0], Entry: &entry}
}

func portsOf(p flow.Ports) flow.PortMatch {
	switch {
	case p.IsAny():
		return flow.PortMatch{}
	case p.Lo == p.Hi:
		return flow.PortMatch{Op: flow.Eq, Ports: []uint16{p.Lo}}
	}
	return flow.PortMatch{Op: flow.Range, Ports: []uint16{p.Lo, p.Hi}}
}

// removeFlow ends all pairs of a flow.
func (e *Engine) removeFlow(c *ikev1.Context, id policy.FlowID, reason string) {
	for _, k := range slices.Clone(e.flowState(id).children) {
		e.remove(c, k, reason, true)
	}
	e.release(c, id)
}

// release forgets a flow of a dynamic entry that has no pair any more.
func (e *Engine) release(c *ikev1.Context, id policy.FlowID) {
	if e.defined[id] == nil || len(e.flowState(id).children) > 0 {
		return
	}
	delete(e.defined, id)
	delete(e.flows, id)
	c.Out = append(c.Out, door.Undefine{Flow: id})
}
