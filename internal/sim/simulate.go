package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"time"

	"culvert/internal/core/diagnose"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// Site is one of two configurations tried against each other.
type Site struct {
	Name     string // hostname
	Settings *policy.Settings
}

// Outcome is what became of one line of interesting traffic.
type Outcome struct {
	Site      string // whose line
	Flow      policy.FlowID
	Line      string // the line as IOS prints it
	Selectors string
	Up        bool
	Reason    string // why not
}

// Round is one try: one side begins, with every line it has for the other.
type Round struct {
	Initiator, Responder         string
	InitiatorAddr, ResponderAddr netip.Addr
	Outcomes                     []Outcome
	// Waits says why the side never begins, "" when it does: it only answers, and
	// the other round tries the same lines.
	Waits   string
	Events  []event.Event     // of both sides, in order of time
	Reports []diagnose.Report // of both sides; first the one that knows what both want
}

// Up reports whether every line came up and carried a packet both ways, or
// waits to be asked for.
func (r *Round) Up() bool {
	return (len(r.Outcomes) > 0 || r.Waits != "") && !slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return !o.Up })
}

// Result is two rounds: either side begins once, in a world of its own.
type Result struct{ Rounds [2]Round }

// Up reports whether every line of both sides came up, whoever began. A side
// that only answers is tried by the other.
func (r *Result) Up() bool {
	tried := len(r.Rounds[0].Outcomes) + len(r.Rounds[1].Outcomes)
	return r.Rounds[0].Up() && r.Rounds[1].Up() && tried > 0
}

// Simulate tries two configurations against each other. The simulation begins
// at begin, which matters to certificates; at the zero Time it begins at a day
// of its own.
func Simulate(a, b Site, seed uint64, begin time.Time) *Result {
	return &Result{[2]Round{round(a, b, seed, begin), round(b, a, seed+1, begin)}}
}

// patience is how long a round may take: longer than any negotiation.
const patience = 3 * time.Minute

func round(from, to Site, seed uint64, begin time.Time) Round {
	w := NewWorld(seed)
	if !begin.IsZero() {
		w.Now = begin
	}
	hosts := [2]*Host{w.addSite(from), w.addSite(to)}
	r := Round{Initiator: from.Name, Responder: to.Name, InitiatorAddr: hosts[0].Addr, ResponderAddr: hosts[1].Addr}
	flows := between(from.Settings, hosts[1])
	if all := len(flows); all > 0 || answers(from.Settings) {
		flows = slices.DeleteFunc(flows, func(f policy.Flow) bool { return f.Entry.ResponderOnly && begun(to.Settings, hosts[0], f) })
		if len(flows) == 0 {
			r.Waits = fmt.Sprintf("no entry of %s for %s begins: they are responder-only or stand for a dynamic map", from.Name, to.Name)
			r.Reports = []diagnose.Report{} // nothing was tried: the other round tells
			return r
		}
	}
	for _, f := range flows {
		hosts[0].Input(door.Trigger{Flow: f.ID, Packet: hosts[0].sample(f)})
	}
	w.Run(patience, func() bool { return settled(hosts, flows) })
	// Late messages and the second side's SA still have to arrive; where nothing
	// comes up, the second side has yet to give up.
	late := time.Second
	if hosts[0].Unreachable > 0 {
		late = time.Minute
	}
	w.Run(late, nil)
	for _, f := range flows {
		r.Outcomes = append(r.Outcomes, w.outcome(hosts, f))
	}
	if len(flows) == 0 {
		r.Outcomes = append(r.Outcomes, Outcome{Site: from.Name, Reason: fmt.Sprintf("no crypto map entry of %s names an address of %s", from.Name, to.Name)})
	}
	for i, h := range hosts {
		r.Events = append(r.Events, h.Events...)
		r.Reports = append(r.Reports, h.reports(w.Now, hosts[1-i])...)
	}
	// First the side that knows what both want.
	sort.SliceStable(r.Reports, func(i, j int) bool { return r.Reports[i].Both && !r.Reports[j].Both })
	sort.SliceStable(r.Events, func(i, j int) bool { return r.Events[i].At.Before(r.Events[j].At) })
	return r
}

// addSite puts a configuration at all addresses that its tunnels end at, or
// would if its crypto maps were applied.
func (w *World) addSite(s Site) *Host {
	var addrs []netip.Addr
	for _, entries := range [][]policy.Entry{s.Settings.Entries, s.Settings.Unapplied} {
		for i := range entries {
			if a := entries[i].Local; a.IsValid() && !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	if len(addrs) == 0 {
		addrs = []netip.Addr{{}}
	}
	h := w.Add(s.Name, addrs[0], s.Settings, addrs[1:]...)
	h.LetsIn = func(t flow.Tuple) bool {
		for i := range s.Settings.Entries {
			if e := &s.Settings.Entries[i]; e.Local == t.Dst && !e.LetsIn(t) {
				return false
			}
		}
		return true
	}
	return h
}

// between are the flows whose peer is the other host. A line that lies inside
// one before it never sees a packet, so nobody can ask for it.
func between(s *policy.Settings, other *Host) []policy.Flow {
	var out []policy.Flow
	all := s.Flows()
	for i, f := range all {
		if slices.ContainsFunc(all[:i], func(before policy.Flow) bool { return before.Selectors.Covers(f.Selectors) }) {
			continue
		}
		if slices.ContainsFunc(f.Entry.Peers, func(p netip.Addr) bool { return slices.Contains(other.Addrs, p) }) {
			out = append(out, f)
		}
	}
	return out
}

// answers reports whether an entry takes peers that no line names.
func answers(s *policy.Settings) bool {
	return slices.ContainsFunc(s.Entries, func(e policy.Entry) bool { return e.Dynamic })
}

// begun reports whether the other side begins a flow that one only answers.
func begun(s *policy.Settings, from *Host, f policy.Flow) bool {
	return slices.ContainsFunc(between(s, from), func(o policy.Flow) bool {
		return !o.Entry.ResponderOnly && f.Selectors.Mirror().Covers(o.Selectors)
	})
}

// settled reports whether nothing more will happen to the flows.
func settled(hosts [2]*Host, flows []policy.Flow) bool {
	open := 0
	for _, f := range flows {
		if !hosts[0].Up(f.ID) {
			open++
		}
	}
	return open == 0 || hosts[0].Unreachable >= open
}

func (w *World) outcome(hosts [2]*Host, f policy.Flow) Outcome {
	o := Outcome{Site: hosts[0].Name, Flow: f.ID, Line: f.Line.Condition(), Selectors: f.Selectors.String()}
	if !hosts[0].Up(f.ID) {
		o.Reason = hosts[0].why(f.ID)
		return o
	}
	f.Selectors = hosts[0].selectors(f) // of one pair of hosts, with an SA for each
	if err := w.Probe(hosts[0], hosts[1], f); err != nil {
		o.Reason = fmt.Sprintf("the SAs are up, but a packet from %s to %s is lost: %v", hosts[0].Name, hosts[1].Name, err)
		return o
	}
	back, ok := hosts[1].flowOf(f.Selectors.Mirror())
	if !ok {
		o.Reason = fmt.Sprintf("%s has no line for the way back", hosts[1].Name)
		return o
	}
	if err := w.Probe(hosts[1], hosts[0], back); err != nil {
		o.Reason = fmt.Sprintf("the SAs are up, but a packet from %s back to %s is lost: %v", hosts[1].Name, hosts[0].Name, err)
		return o
	}
	o.Up = true
	return o
}

// selectors are those of an SA pair of the flow.
func (h *Host) selectors(f policy.Flow) flow.Selectors {
	for _, k := range h.Children {
		if k.Flow == f.ID && k.In && k.Out {
			return k.Selectors
		}
	}
	return f.Selectors
}

// flowOf finds the flow under which a host holds an SA for the selectors.
func (h *Host) flowOf(s flow.Selectors) (policy.Flow, bool) {
	for _, k := range h.Children {
		if k.Selectors == s {
			return policy.Flow{ID: k.Flow, Selectors: s}, true
		}
	}
	return policy.Flow{}, false
}

// why is the last failure that concerns a flow.
func (h *Host) why(id policy.FlowID) string {
	why := "it was never negotiated"
	for _, e := range h.Engine.Failures() {
		if f, ok := e.What.(event.Failed); ok && (f.Flow == id || f.Flow == policy.FlowID{}) {
			why = f.Reason
		}
	}
	return why
}

// dynamic are the flows that peers asked of dynamic entries, as explain takes them.
func (h *Host) dynamic() map[policy.FlowID]diagnose.DynamicFlow {
	out := map[policy.FlowID]diagnose.DynamicFlow{}
	for _, d := range h.Engine.Defined() {
		out[d.ID] = diagnose.DynamicFlow{Peer: d.Peer, From: fmt.Sprintf("%s/%d", d.Entry.DynamicMap, d.Entry.DynamicSeq), Selectors: d.Selectors}
	}
	return out
}

// reports explains the host's tunnels with the other from its own evidence; and
// why there is none when the host's configuration does not name the other.
func (h *Host) reports(now time.Time, other *Host) []diagnose.Report {
	up := map[policy.FlowID]bool{}
	for _, k := range h.Children {
		up[k.Flow] = up[k.Flow] || k.In && k.Out
	}
	var out []diagnose.Report
	for _, r := range diagnose.Explain(diagnose.Evidence{
		Settings: h.Engine.Settings(), Now: now, ISAKMP: h.Engine.ISAKMP(now), Up: up, Failures: h.Engine.Failures(), Flows: h.dynamic(),
	}) {
		if slices.Contains(other.Addrs, r.Peer) {
			out = append(out, r)
		}
	}
	if len(out) == 0 && (other.Addr.IsValid() || !h.Addr.IsValid()) {
		out = append(out, diagnose.Unnamed(h.Engine.Settings(), other.Addr, h.Addr))
	}
	return out
}
