package ike

import (
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/status"
)

const (
	maxFailures = 256              // remembered for explain
	graveTime   = 60 * time.Second // how long a deleted ISAKMP SA is shown
	maxGraves   = 64
)

// memory is what explain and show tell of the past: the last failure of each
// peer and flow, and the ISAKMP SAs that ended a moment ago.
type memory struct {
	failures map[failureKey]event.Event
	order    []failureKey // oldest first
	graves   []grave
}

type failureKey struct {
	peer  netip.Addr
	phase int
	flow  policy.FlowID
}

type grave struct {
	at time.Time
	sa status.ISAKMP
}

func newMemory() memory { return memory{failures: map[failureKey]event.Event{}} }

// learn keeps failures and forgets those that a success has overtaken.
func (m *memory) learn(out []door.Output) {
	for _, o := range out {
		e, ok := o.(door.Emit)
		if !ok {
			continue
		}
		peer := e.Event.Peer.Addr()
		switch w := e.Event.What.(type) {
		case event.Failed:
			m.keep(failureKey{peer, w.Phase, w.Flow}, e.Event)
		case event.Phase1Up:
			m.drop(func(k failureKey) bool { return k.peer == peer && k.phase == 1 })
		case event.Phase2Up:
			m.drop(func(k failureKey) bool { return k.peer == peer && (k.flow == w.Flow || m.overtaken(k, w)) })
		}
	}
}

// overtaken reports whether a failure of no flow in particular is over now that
// some flow came up. A peer that asked for what no line permits lacks that still.
func (m *memory) overtaken(k failureKey, up event.Phase2Up) bool {
	if (k.flow != policy.FlowID{}) {
		return false
	}
	f, ok := m.failures[k].What.(event.Failed)
	return !ok || f.Code != event.NoProxy || up.Selectors.Covers(f.Offered)
}

func (m *memory) keep(k failureKey, e event.Event) {
	if _, known := m.failures[k]; known {
		m.order = slices.DeleteFunc(m.order, func(o failureKey) bool { return o == k })
	} else if len(m.order) >= maxFailures {
		m.forgetOne()
	}
	m.failures[k] = e
	m.order = append(m.order, k)
}

// forgetOne makes room: strangers, who may be made up, go before peers.
func (m *memory) forgetOne() {
	i := slices.IndexFunc(m.order, func(k failureKey) bool {
		f, ok := m.failures[k].What.(event.Failed)
		return ok && f.Code == event.NoEntry
	})
	i = max(i, 0)
	delete(m.failures, m.order[i])
	m.order = slices.Delete(m.order, i, i+1)
}

func (m *memory) drop(gone func(failureKey) bool) {
	m.order = slices.DeleteFunc(m.order, func(k failureKey) bool {
		if gone(k) {
			delete(m.failures, k)
			return true
		}
		return false
	})
}

func (m *memory) buried(now time.Time, sa *ikev1.SA) {
	if sa.Role == event.Responder && !sa.Reached() {
		return // one of a flood, maybe
	}
	s := statusOf(now, sa)
	s.Deleted, s.State = true, "MM_NO_STATE"
	m.graves = append(m.graves, grave{now, s})
	if len(m.graves) > maxGraves {
		m.graves = m.graves[1:]
	}
}

// Failures lists the last failure of each peer and flow, oldest first.
func (e *Engine) Failures() []event.Event {
	out := make([]event.Event, 0, len(e.memory.order))
	for _, k := range e.memory.order {
		out = append(out, e.memory.failures[k])
	}
	return out
}

// Load is what an engine holds, in numbers. Idle and without SAs all are zero.
type Load struct {
	ISAKMP   int // ISAKMP SAs, in whatever state
	HalfOpen int // of these, begun by peers who have not authenticated
	Children int // IPsec SA pairs
	SPIs     int // inbound SPIs in use or promised
	Jobs     int // computations under way
	Waiting  int // flows that wait for phase 1
	Offers   int // first messages that would be known again
	Peers    int // peers with any SA
}

// Load counts what the engine holds.
func (e *Engine) Load() Load {
	l := Load{
		ISAKMP: len(e.all), HalfOpen: len(e.half.of), Children: len(e.children), SPIs: len(e.spis), Jobs: len(e.jobs),
		Offers: len(e.offers), Peers: len(e.peers.known),
	}
	for _, q := range e.waiting {
		l.Waiting += len(q)
	}
	return l
}

// ISAKMP lists the ISAKMP SAs by conn-id, and those that ended a moment ago.
func (e *Engine) ISAKMP(now time.Time) []status.ISAKMP {
	var out []status.ISAKMP
	for _, sa := range e.sortedSAs() {
		out = append(out, statusOf(now, sa))
	}
	for _, g := range e.memory.graves {
		if now.Sub(g.at) < graveTime {
			out = append(out, g.sa)
		}
	}
	return out
}

func statusOf(now time.Time, sa *ikev1.SA) status.ISAKMP {
	s := status.ISAKMP{
		Conn: sa.Conn, Local: sa.Local, Remote: sa.Remote, Role: sa.Role, State: sa.State(), Policy: sa.Policy,
		Established: sa.Established, NAT: sa.NAT, DPD: sa.PeerDPD, Fragmentation: sa.PeerFragments, Identity: sa.Identity,
		Profile: sa.ProfileName(), Aggressive: sa.Aggressive(),
	}
	if !sa.Expires.IsZero() {
		s.Remaining = sa.Expires.Sub(now)
	}
	return s
}

// Children lists the IPsec SA pairs of a flow, oldest first.
func (e *Engine) Children(id policy.FlowID) []*sadb.Child {
	f := e.flows[id]
	if f == nil {
		return nil
	}
	out := make([]*sadb.Child, 0, len(f.children))
	for _, k := range f.children {
		out = append(out, k.Child)
	}
	return out
}

// Ends is when a pair's time is up; zero when only its volume ends it.
func (e *Engine) Ends(id sadb.ChildID) time.Time {
	if k := e.children[id]; k != nil {
		return k.hard
	}
	return time.Time{}
}

func (e *Engine) sortedSAs() []*ikev1.SA {
	out := make([]*ikev1.SA, 0, len(e.all))
	for sa := range e.all {
		out = append(out, sa)
	}
	slices.SortFunc(out, func(a, b *ikev1.SA) int { return a.Conn - b.Conn })
	return out
}

func (e *Engine) sortedChildren() []sadb.ChildID {
	out := make([]sadb.ChildID, 0, len(e.children))
	for id := range e.children {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
