package sadb

import (
	"culvert/internal/core/ah"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// Snapshot is the SPD and the SAD at one moment. It never changes, so a
// goroutine may look up a whole batch of packets in one, without a lock; the
// SAs it leads to count on. Take a new one for the next batch.
type Snapshot struct {
	stages [numStages]*spd
	flows  pages
	esp    shards
	ah     shards
}

// The SPD has three stages, asked one after the other.
const (
	written   = iota // the entries of the crypto maps
	defined          // flows that DB.Define made known, of peers of a dynamic map
	catchAll         // the crypto ACLs of dynamic maps: protected with a peer's SA or not at all
	numStages        // of them
)

// match finds the permit that protects t and its stage; nil for bypass.
func (s *Snapshot) match(t flow.Tuple, count bool) *rule {
	for _, stage := range s.stages {
		if n := stage.match(t, count); n >= 0 {
			return &stage.rules[n]
		}
	}
	return nil
}

// number finds a flow's number by its name.
func (s *Snapshot) number(id policy.FlowID) (n int, ok bool) {
	for _, stage := range s.stages {
		if n, ok = stage.flowIDs[id]; ok {
			return n, true
		}
	}
	return 0, false
}

// The flows and the inbound SAs are kept in pieces, so that a change copies one
// piece and a list of pieces, not 10,000 SAs.
const (
	pageSize   = 256
	shardCount = 256
)

type (
	pages  [][]*Flow
	shards [shardCount]map[uint32]*In
)

func (p pages) at(n int) *Flow { return p[n/pageSize][n%pageSize] }

func (s *shards) find(spi uint32) *In { return s[spi%shardCount][spi] }

// Flow is one permit line of a crypto ACL and the SAs that carry its traffic.
// A Flow is part of a Snapshot and does not change; its counters go on.
type Flow struct {
	policy.Flow
	// Negotiable is false for a permit whose condition no pair of proxy
	// identities can express (a wildcard with holes, "established"): its traffic
	// is to be protected but never gets an SA, so it is dropped. False too for a
	// permit of a dynamic map's ACL: only a peer that begins can bring an SA.
	Negotiable bool
	counters   *counters
	children   []*child // in the order of their installation
	outs       []*Out   // the newest first
}

// child is an SA pair with the directions that are installed.
type child struct {
	facts  Child // without its keys
	in     *In
	out    *Out
	remote *endpoint
}

// Outbound decides about a packet that is about to leave, and counts the ACL
// lines it matched. f is nil for traffic that no crypto ACL permits: bypass. sa
// is the newest outbound SA of the flow whose selectors hold the packet; nil
// when there is none, so one must be negotiated (f.Negotiable) or the packet
// dropped. RFC 4301 section 5.1.
func (s *Snapshot) Outbound(t flow.Tuple) (f *Flow, sa *Out) {
	r := s.match(t, true)
	if r == nil {
		return nil, nil
	}
	f = s.flows.at(r.flow)
	return f, f.Pick(t)
}

// Match is Outbound for whoever only asks: it counts nothing and says which
// line decided. Both are nil for bypass.
func (s *Snapshot) Match(t flow.Tuple) (*Flow, *flow.Line) {
	r := s.match(t, false)
	if r == nil {
		return nil, nil
	}
	return s.flows.at(r.flow), r.line
}

// Inbound finds the SA of an ESP or AH packet by protocol and SPI, as RFC 4301
// section 4.1 does for unicast. nil: unknown, the packet is to be dropped and
// audited. A bundle is found by either of its SPIs; it comes in In.Proto only.
func (s *Snapshot) Inbound(proto uint8, spi uint32) *In {
	if proto == ah.ProtoAH {
		return s.ah.find(spi)
	}
	return s.esp.find(spi)
}

// Flow finds a flow by its name; nil when the policy has none of that name.
func (s *Snapshot) Flow(id policy.FlowID) *Flow {
	n, ok := s.number(id)
	if !ok {
		return nil
	}
	return s.flows.at(n)
}

// NumFlows is the number of flows of the policy.
func (s *Snapshot) NumFlows() int {
	n := 0
	for _, stage := range s.stages {
		n += len(stage.flowIDs)
	}
	return n
}

// Pick is the newest outbound SA of the flow that can still be used and whose
// selectors hold t, or nil.
func (f *Flow) Pick(t flow.Tuple) *Out {
	for _, o := range f.outs {
		if o.Usable() && o.Child.Selectors.MatchOut(t) {
			return o
		}
	}
	return nil
}

// CountNoSA counts n packets that were dropped because no SA came up in time.
func (f *Flow) CountNoSA(n int) {
	f.counters.noSA.Add(uint64(n))
	f.counters.sendErrors.Add(uint64(n))
}

// CountSendErrors counts n sealed packets that the network did not take.
func (f *Flow) CountSendErrors(n int) { f.counters.sendErrors.Add(uint64(n)) }

// with is the flow with other children.
func (f *Flow) with(children []*child, outs []*Out) *Flow {
	g := *f
	g.children, g.outs = children, outs
	return &g
}
