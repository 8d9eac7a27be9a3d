// Package diagnose turns evidence into an explanation: which of the five steps
// keeps a tunnel from coming up, what each side said, and the line to change.
// It judges from one side's evidence alone, since the peer may be a foreign
// box whose configuration cannot be seen, and says how sure it is.
//
//	1 interface ACLs   2 ISAKMP policy and key   3 transform sets   4 crypto ACL   5 crypto map
package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// State is what is known of one step.
type State string

// The states.
const (
	OK         State = "ok"
	Wrong      State = "wrong"
	Suspect    State = "suspect"     // the evidence points here, but cannot prove it
	NotReached State = "not reached" // the negotiation has not come so far
)

// Titles are the five steps, in order.
func Titles() [5]string {
	return [5]string{"interface ACLs", "ISAKMP policy and key", "transform sets", "crypto ACL", "crypto map"}
}

// Step is one of the five steps.
type Step struct {
	Number int    `json:"step"`
	Title  string `json:"title"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
}

// Fix is a line to change.
type Fix struct {
	// Side is the gateway to change it on: the hostname here, or the peer's address.
	Side string `json:"side"`
	// File and Line name the line to change or to write beside; empty when it
	// is written nowhere or cannot be seen.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Old  string `json:"old,omitempty"` // what stands there
	// Write are the lines to write, in IOS words.
	Write []string `json:"write"`
	// Add: the lines come in addition to what stands there: behind that line,
	// or before it. Without a line they go to the end of the configuration.
	Add    bool `json:"add,omitempty"`
	Before bool `json:"before,omitempty"`
	// Choice numbers the ways out, from 1: fixes with the same number belong
	// together, and each number alone mends what the report tells.
	Choice int `json:"choice"`
}

// Where is "file:line", or "".
func (f Fix) Where() string {
	if f.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// Report is the explanation of one tunnel: one entry of a crypto map with one peer.
type Report struct {
	Hostname  string     `json:"hostname"`
	Map       string     `json:"crypto_map,omitempty"`
	Seq       int        `json:"sequence,omitempty"`
	Interface string     `json:"interface,omitempty"`
	Local     netip.Addr `json:"local"`
	Peer      netip.Addr `json:"peer"`
	// Status is "up", "down", "negotiating" or "idle".
	Status string  `json:"status"`
	Steps  [5]Step `json:"steps"`
	// Culprit is the number of the step to mend, 0 when none is wrong.
	Culprit  int    `json:"culprit,omitempty"`
	Sentence string `json:"sentence"`
	// Certain is false when other reasons cannot be excluded from here.
	Certain bool `json:"certain"`
	// Both: what both sides want is known here, so the fix names exact values.
	Both  bool  `json:"knows_both_sides"`
	Fixes []Fix `json:"fixes,omitempty"`
	// Reason is the code of the failure, for machines.
	Reason event.Code `json:"reason,omitempty"`
}

// Evidence is all that is known on one side.
type Evidence struct {
	Settings *policy.Settings
	Now      time.Time
	ISAKMP   []status.ISAKMP
	// Up tells the flows that have an IPsec SA pair.
	Up map[policy.FlowID]bool
	// Failures are the last failure of each peer and flow.
	Failures []event.Event
	// Flows are those that peers asked of dynamic crypto map entries.
	Flows map[policy.FlowID]DynamicFlow
}

// DynamicFlow is a flow that a peer asked of a dynamic crypto map entry.
type DynamicFlow struct {
	Peer      netip.Addr
	From      string // the dynamic map and its entry: "DYN/10"
	Selectors flow.Selectors
}

// Explain makes a report for every crypto map entry, in their order, and for
// every peer without an entry that tried to reach us.
func Explain(e Evidence) []Report {
	var out []Report
	for i := range e.Settings.Entries {
		entry := &e.Settings.Entries[i]
		if entry.Dynamic {
			out = append(out, e.dynamic(entry)...)
			continue
		}
		out = append(out, e.entry(entry))
	}
	out = append(out, e.unapplied()...)
	for _, f := range e.Failures {
		if w, ok := f.What.(event.Failed); ok && w.Code == event.NoEntry && !e.waits(f.Peer.Addr()) {
			out = append(out, e.stranger(f))
		}
	}
	if len(out) == 0 {
		out = append(out, e.nothing())
	}
	return out
}

// dynamic explains an entry made from a dynamic crypto map: once for each peer
// that came by it, or once in general.
func (e Evidence) dynamic(entry *policy.Entry) []Report {
	var peers []netip.Addr
	came := func(local, peer netip.AddrPort) {
		p := peer.Addr()
		if local.Addr() == entry.Local && !slices.Contains(peers, p) && !e.static(entry.Local, p) {
			peers = append(peers, p)
		}
	}
	for _, s := range e.ISAKMP {
		if !s.Deleted {
			came(s.Local, s.Remote)
		}
	}
	for _, f := range e.Failures {
		if w, ok := f.What.(event.Failed); ok && w.Code != event.NoEntry && w.Code != event.Cleared {
			came(f.Local, f.Peer)
		}
	}
	if len(peers) == 0 {
		return []Report{e.entry(entry)}
	}
	out := make([]Report, 0, len(peers))
	for _, p := range peers {
		one := *entry
		one.Peers = []netip.Addr{p}
		out = append(out, e.entry(&one))
	}
	return out
}

// static reports whether an entry names the peer.
func (e Evidence) static(local, peer netip.Addr) bool {
	return slices.ContainsFunc(e.Settings.Entries, func(x policy.Entry) bool { return x.Local == local && slices.Contains(x.Peers, peer) })
}

// entry explains one crypto map entry.
func (e Evidence) entry(entry *policy.Entry) Report {
	r := e.report(entry)
	c := explainer{Evidence: e, entry: entry, report: &r}
	c.currentPeer()
	c.configured()
	up, down := c.flows()
	switch {
	case len(down) == 0 && len(up) > 0:
		c.up(up)
	case c.failed(down):
	case r.Culprit != 0:
		r.Status = "down"
	case c.negotiating():
	default:
		c.idle(down)
	}
	return r
}

// report is an empty report of an entry.
func (e Evidence) report(entry *policy.Entry) Report {
	r := Report{
		Hostname: e.Settings.Hostname, Map: entry.Map, Seq: entry.Seq, Interface: entry.Interface, Local: entry.Local, Certain: true,
	}
	for i, t := range Titles() {
		r.Steps[i] = Step{Number: i + 1, Title: t, State: NotReached}
	}
	if len(entry.Peers) > 0 {
		r.Peer = entry.Peers[0]
	}
	return r
}

// explainer works on the report of one entry.
type explainer struct {
	Evidence
	entry  *policy.Entry
	report *Report
	// blocked is what the interface ACL keeps out of that a tunnel needs.
	blocked []wanted
}

// choice is one way out: fixes that belong together.
type choice []Fix

// together makes one way out of several fixes.
func together(parts ...choice) choice { return slices.Concat(parts...) }

func (c *explainer) set(step int, s State, format string, args ...any) {
	c.report.Steps[step-1].State = s
	c.report.Steps[step-1].Detail = fmt.Sprintf(format, args...)
}

// blame makes a step the culprit.
func (c *explainer) blame(step int, certain bool, detail, sentence string, ways ...choice) {
	s := Wrong
	if !certain {
		s = Suspect
	}
	c.set(step, s, "%s", detail)
	c.report.Culprit, c.report.Certain, c.report.Sentence, c.report.Fixes = step, certain, sentence, nil
	for i, w := range ways {
		for _, f := range w {
			f.Choice = i + 1
			c.report.Fixes = append(c.report.Fixes, f)
		}
	}
}

// here is a fix on this side: o is the line to change.
func (c *explainer) here(o origin.Line, write ...string) choice {
	return choice{{Side: c.side(), File: o.File, Line: o.Line, Old: o.Text, Write: write}}
}

// add is a fix on this side: lines to add behind o, or at the end when o is
// the zero Line.
func (c *explainer) add(o origin.Line, write ...string) choice {
	f := c.here(o, write...)
	f[0].Add = true
	return f
}

// there is a fix on the peer, whose files cannot be seen.
func (c *explainer) there(write ...string) choice {
	return choice{{Side: "peer " + c.report.Peer.String(), Write: write}}
}

// thereToo is lines to add on the peer.
func (c *explainer) thereToo(write ...string) choice {
	f := c.there(write...)
	f[0].Add = true
	return f
}

// currentPeer picks, of several peers of the entry, the one that this is about:
// the one with an ISAKMP SA, else the one that failed last.
func (c *explainer) currentPeer() {
	for _, p := range c.entry.Peers {
		if slices.ContainsFunc(c.ISAKMP, func(s status.ISAKMP) bool {
			return !s.Deleted && s.State == "QM_IDLE" && s.Remote.Addr() == p && s.Local.Addr() == c.entry.Local
		}) {
			c.report.Peer = p
			return
		}
	}
	for _, f := range c.Failures {
		if c.entry.Serves(f.Local.Addr(), f.Peer.Addr()) {
			c.report.Peer = f.Peer.Addr()
		}
	}
}

func (c *explainer) side() string {
	if c.Settings.Hostname == "" {
		return "here"
	}
	return c.Settings.Hostname
}

// flows splits the entry's flows into those with SAs and those without. Those
// of a dynamic entry are what its peers asked for, so all of them have SAs.
func (c *explainer) flows() (up, down []policy.Flow) {
	if c.entry.Dynamic {
		from := fmt.Sprintf("%s/%d", c.entry.DynamicMap, c.entry.DynamicSeq)
		for id := range c.Up {
			if f, ok := c.Flows[id]; ok && c.Up[id] && f.Peer == c.report.Peer && f.From == from && id.Map == c.entry.Map {
				up = append(up, policy.Flow{ID: id, Selectors: f.Selectors, Entry: c.entry})
			}
		}
		return up, nil
	}
	for _, f := range c.entry.Flows() {
		if c.Up[f.ID] {
			up = append(up, f)
		} else {
			down = append(down, f)
		}
	}
	return up, down
}

// sa is the ISAKMP SA with the peer that has come furthest.
func (c *explainer) sa() *status.ISAKMP {
	var best *status.ISAKMP
	for i := range c.ISAKMP {
		s := &c.ISAKMP[i]
		if s.Deleted || s.Remote.Addr() != c.report.Peer || s.Local.Addr() != c.entry.Local {
			continue
		}
		if best == nil || s.State == "QM_IDLE" {
			best = s
		}
	}
	return best
}

// up reports a tunnel that carries all its flows.
func (c *explainer) up(up []policy.Flow) {
	c.report.Status = "up"
	c.report.Culprit, c.report.Certain, c.report.Both, c.report.Fixes = 0, true, false, nil
	c.phase1OK()
	c.set(3, OK, "a transform set is in common")
	c.set(5, OK, "%s %d on %s", c.entry.Map, c.entry.Seq, c.entry.Interface)
	if c.entry.ACL == nil {
		c.set(4, OK, "%s that the peer asked for up", count(len(up), "flow"))
		c.report.Sentence = fmt.Sprintf("The tunnel to %s is up: %s that it asked for protected.", c.report.Peer, count(len(up), "flow"))
	} else {
		c.set(4, OK, "access list %s: %s up", c.entry.ACL.Name, count(len(up), "flow"))
		c.report.Sentence = fmt.Sprintf("The tunnel to %s is up: %s of access list %s protected.", c.report.Peer, count(len(up), "flow"), c.entry.ACL.Name)
	}
	if c.dataBlocked() {
		c.interfaceStep() // agreed, and yet nothing comes in
		c.report.Status, c.report.Both = "down", true
		c.report.Sentence = "The IPsec SAs are up, but nothing of the peer's traffic comes in. " + c.report.Sentence
		return
	}
	c.set(1, OK, "IPsec of the peer comes in")
	c.refusedMore()
}

// dataBlocked reports whether the interface ACL drops what carries the data:
// ESP or AH, or UDP 4500 behind a NAT.
func (c *explainer) dataBlocked() bool {
	carrier := carrierName(c.carriers()[0])
	if c.behindNAT() {
		carrier = "UDP 4500"
	}
	return slices.ContainsFunc(c.blocked, func(w wanted) bool { return w.what == carrier })
}

func (c *explainer) behindNAT() bool {
	s := c.sa()
	return s != nil && (s.NAT.LocalBehind || s.NAT.PeerBehind)
}

// refusedMore reports what the peer asked for beyond the flows that are up.
func (c *explainer) refusedMore() {
	for _, f := range c.Failures {
		w, ok := f.What.(event.Failed)
		if !ok || w.Code != event.NoProxy || f.Role != event.Responder || f.Peer.Addr() != c.report.Peer || f.Local.Addr() != c.entry.Local || !c.asks(w.Offered) {
			continue
		}
		up := c.report.Sentence
		c.noProxy(f, w)
		c.report.Reason, c.report.Sentence = w.Code, up+" But "+c.report.Sentence
	}
}

func (c *explainer) phase1OK() {
	if s := c.sa(); s != nil && s.State == "QM_IDLE" {
		c.set(2, OK, "policy agreed: %s", s.Policy)
		return
	}
	c.set(2, OK, "no ISAKMP SA now; one is made when it is needed")
}

// negotiating reports a tunnel on its way.
func (c *explainer) negotiating() bool {
	s := c.sa()
	if s == nil || s.State == "QM_IDLE" {
		return false
	}
	c.report.Status = "negotiating"
	c.set(2, NotReached, "phase 1 is under way: %s", s.State)
	c.report.Sentence = fmt.Sprintf("The tunnel to %s is being negotiated: phase 1 is in %s.", c.report.Peer, s.State)
	return true
}

// idle reports a tunnel that nobody has asked for.
func (c *explainer) idle(down []policy.Flow) {
	c.report.Status = "idle"
	if s := c.sa(); s != nil {
		c.set(1, OK, "IKE of the peer comes in")
		c.phase1OK()
	}
	if c.entry.Dynamic || c.entry.ResponderOnly {
		who := "the peer"
		if c.report.Peer.IsValid() {
			who = c.report.Peer.String()
		}
		c.report.Sentence = fmt.Sprintf("Nothing is wrong so far: crypto map %s %d waits for %s to begin.", c.entry.Map, c.entry.Seq, who)
		return
	}
	if len(down) == 0 {
		return
	}
	f := down[0]
	c.report.Sentence = fmt.Sprintf("Nothing is wrong so far: the tunnel to %s comes up when a packet matches access list %s (%s), and none has asked yet.",
		c.report.Peer, c.entry.ACL.Name, f.Line.Condition())
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
