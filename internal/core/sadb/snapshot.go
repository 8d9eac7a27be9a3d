package sadb

import (
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// Snapshot is the SPD and the SAD at one moment. It never changes, so a
// goroutine may look up a whole batch of packets in one, without a lock; the
// SAs it leads to count on. Take a new one for the next batch.
type Snapshot struct {
	spd   *spd
	flows pages
	in    shards
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
	// is to be protected but never gets an SA, so it is dropped.
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
	n := s.spd.match(t, true)
	if n < 0 {
		return nil, nil
	}
	f = s.flows.at(s.spd.rules[n].flow)
	return f, f.Pick(t)
}

// Match is Outbound for whoever only asks: it counts nothing and says which
// line decided. Both are nil for bypass.
func (s *Snapshot) Match(t flow.Tuple) (*Flow, *flow.Line) {
	n := s.spd.match(t, false)
	if n < 0 {
		return nil, nil
	}
	return s.flows.at(s.spd.rules[n].flow), s.spd.rules[n].line
}

// Inbound finds the SA of an ESP packet by its SPI alone, as RFC 4301 section
// 4.1 does for unicast. nil: unknown, the packet is to be dropped and audited.
func (s *Snapshot) Inbound(spi uint32) *In { return s.in.find(spi) }

// Flow finds a flow by its name; nil when the policy has none of that name.
func (s *Snapshot) Flow(id policy.FlowID) *Flow {
	n, ok := s.spd.flowIDs[id]
	if !ok {
		return nil
	}
	return s.flows.at(n)
}

// NumFlows is the number of flows of the policy.
func (s *Snapshot) NumFlows() int { return len(s.spd.flowIDs) }

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
