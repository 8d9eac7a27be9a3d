package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// failed explains the last failure of the entry's peer; false when there was none.
func (c *explainer) failed(down []policy.Flow) bool {
	e, w, ok := c.last(down)
	if !ok {
		return false
	}
	c.report.Status, c.report.Reason = "down", w.Code
	if w.Pending {
		c.report.Status = "negotiating"
	}
	blocked := c.report.Culprit == 1
	if c.configurationTells(e, w) {
		return true
	}
	if w.Phase == 2 {
		c.phase1OK()
	}
	if !blocked && (w.LastReceived != "" || w.Notified != "") {
		c.set(1, OK, "IKE of the peer comes in")
	}
	reasons := map[event.Code]func(event.Event, event.Failed){
		event.NoAnswer: c.noAnswer, event.NoPolicy: c.noPolicy, event.NoKey: c.noKey, event.WrongKey: c.wrongKey,
		event.NoTransformSet: c.noTransformSet, event.PFSMismatch: c.pfsMismatch, event.NoProxy: c.noProxy, event.LegacyOnly: c.legacyOnly, event.SpeaksIKEv2: c.speaksIKEv2,
	}
	if tell := reasons[w.Code]; tell != nil {
		tell(e, w)
	} else {
		c.other(w)
	}
	return true
}

// configurationTells reports whether our own configuration, judged already,
// says why the negotiation failed, and better than the failure does.
func (c *explainer) configurationTells(e event.Event, w event.Failed) bool {
	switch c.report.Culprit {
	case 1:
		return w.Code == event.NoAnswer || w.Code == event.WrongKey || w.Code == event.Expired
	case 2:
		return w.Code == event.NoKey || e.Role == event.Initiator && (w.Code == event.NoPolicy || w.Code == event.LegacyOnly)
	case 3:
		return w.Code == event.NoTransformSet || w.Code == event.LegacyOnly && e.Role == event.Initiator
	}
	return false
}

// last finds the newest failure that concerns the entry: a phase 2 failure of
// one of its flows, else one of the peer. A failure of the configuration itself
// is older news than the negotiation's.
func (c *explainer) last(down []policy.Flow) (e event.Event, w event.Failed, ok bool) {
	for _, f := range c.Failures {
		x, is := f.What.(event.Failed)
		if !is || f.Peer.Addr() != c.report.Peer || f.Local.Addr() != c.entry.Local || x.Code == event.Cleared {
			continue
		}
		if (x.Flow != policy.FlowID{}) && !mine(down, x.Flow) {
			continue
		}
		if x.Code == event.NoProxy && f.Role == event.Responder && !c.asks(x.Offered) {
			continue
		}
		e, w, ok = f, x, true
	}
	return e, w, ok
}

func mine(flows []policy.Flow, id policy.FlowID) bool {
	for _, f := range flows {
		if f.ID == id {
			return true
		}
	}
	return false
}

func (c *explainer) noAnswer(_ event.Event, w event.Failed) {
	peer := c.report.Peer
	if w.Phase == 2 {
		c.blame(3, false, "no answer to "+w.LastSent,
			fmt.Sprintf("%s proved its key in phase 1 but does not answer quick mode (%s): it may have no crypto map for %s, or drop what it refuses.", peer, w.LastSent, c.entry.Local),
			c.there("show crypto map", "debug crypto ipsec"))
		return
	}
	port, what := "UDP 500", "eq isakmp"
	if w.LastSent == "MM5" {
		port, what = "UDP 4500", "eq non500-isakmp"
	}
	said := fmt.Sprintf("nothing came back for %s", w.LastSent)
	if w.LastReceived != "" {
		said += " (after " + w.LastReceived + " had come)"
	}
	c.blame(1, false, fmt.Sprintf("no answer on %s: %s", port, said),
		fmt.Sprintf("%s does not answer on %s: %s. It is down, a filter on the way or its interface ACL drops %s, or it has no crypto map with peer %s.",
			peer, port, said, port, c.entry.Local),
		c.thereToo(fmt.Sprintf("access-list NUMBER permit udp host %s host %s %s", c.entry.Local, peer, what)))
}

func (c *explainer) noKey(event.Event, event.Failed) { c.noKeyHere() }

func (c *explainer) wrongKey(e event.Event, w event.Failed) {
	key, _ := c.Settings.KeyFor(c.report.Peer)
	line := "crypto isakmp key THE-SAME-KEY address " + c.report.Peer.String()
	said := "the authentication (MM5) was sent but no valid MM6 came back"
	if e.Role == event.Responder {
		said = "its MM5 does not decrypt or its hash is wrong"
	}
	c.blame(2, false, "the pre-shared keys differ, it seems",
		fmt.Sprintf("The pre-shared key for %s is almost certainly not the one it has: both agreed on a policy and exchanged keys, then %s.", c.report.Peer, said),
		c.here(key.Origin, line), c.there("crypto isakmp key THE-SAME-KEY address "+c.entry.Local.String()))
}

// noPolicy explains a refusal of all policies: as responder both sides are
// known, as initiator only our own.
func (c *explainer) noPolicy(e event.Event, w event.Failed) {
	own := c.Settings.Usable()
	switch {
	case e.Role == event.Initiator && len(own) == 0:
		c.noUsablePolicy()
		return
	case e.Role == event.Initiator:
		c.blame(2, false, "the peer refused every policy offered",
			fmt.Sprintf("%s refused all that was offered (%s): it has no ISAKMP policy equal to one of them, or no key or crypto map entry for %s.",
				c.report.Peer, offered(own), c.entry.Local),
			c.there(policyLines(own[0])...),
			c.here(own[0].Origin, fmt.Sprintf("crypto isakmp policy %d", own[0].Priority), " ! encryption, hash, authentication and group of one of the peer's policies"))
		return
	}
	c.report.Both = true
	if len(own) == 0 {
		own = c.Settings.Policies // none of them usable: the nearest becomes so
	}
	o, p, found := closest(w.PolicyOffers, own)
	switch {
	case !found && len(own) == 0 && len(w.PolicyOffers) > 0 && w.PolicyOffers[0].Priority >= 0:
		o = w.PolicyOffers[0]
		o.Priority, o.Lifetime = 10, 0
		here := c.add(origin.Line{}, policyLines(o)...)
		if !c.Settings.Negotiable(o.Verdict()) {
			here = together(here, c.shieldOff())
		}
		c.blame(2, true, "no ISAKMP policy", fmt.Sprintf("%s offered %s; there is no ISAKMP policy here.", c.report.Peer, offered(w.PolicyOffers)), here)
		return
	case !found:
		c.blame(2, true, "nothing readable was offered", fmt.Sprintf("%s offered no ISAKMP policy that can be read.", c.report.Peer))
		return
	}
	diff := differences(p, o)
	here := c.changes(p, diff)
	if !c.Settings.Negotiable(o.Verdict()) {
		here = together(here, c.shieldOff())
	}
	names := make([]string, len(diff))
	for i, d := range diff {
		names[i] = d.name
	}
	c.blame(2, true, "no policy in common: "+strings.Join(names, ", "),
		fmt.Sprintf("%s offered %s; %s here has %s: they differ in %s.", c.report.Peer, offered(w.PolicyOffers), policyName(p), p, strings.Join(names, " and ")),
		here, c.there(policyLines(p)...))
}

func (c *explainer) speaksIKEv2(event.Event, event.Failed) {
	c.blame(2, true, "the peer speaks IKEv2",
		fmt.Sprintf("%s begins the negotiation in IKEv2; this gateway speaks IKEv1.", c.report.Peer),
		c.there("IKEv1 for this tunnel: on IOS a crypto map entry without \"set ikev2-profile\", on strongSwan \"version = 1\", on libreswan \"ikev2=no\""))
}

func (c *explainer) legacyOnly(e event.Event, w event.Failed) {
	step, theirs := 2, offered(w.PolicyOffers)
	if w.Phase == 2 {
		step, theirs = 3, offeredSets(w.ProposalOffers)
	}
	said := "All that could be agreed"
	if e.Role == event.Responder && theirs != "" {
		c.report.Both = true
		said = fmt.Sprintf("%s offered %s; all of it that is configured here, too,", c.report.Peer, theirs)
	}
	c.blame(step, true, "only legacy algorithms",
		said+" uses legacy algorithms (DES, 3DES, MD5, groups 1, 2, 5), which the compliance shield keeps from being negotiated.", c.shieldOff())
}

func (c *explainer) noTransformSet(e event.Event, w event.Failed) {
	sets := c.Settings.UsableSets(c.entry)
	if len(sets) == 0 {
		c.setStep()
		return
	}
	if e.Role == event.Initiator {
		also := ", or it demands PFS (step 5)"
		fixes := []choice{c.there(setLine(sets[0])), c.here(sets[0].Origin, "crypto ipsec transform-set "+sets[0].Name+" THE TRANSFORMS OF THE PEER")}
		if c.entry.PFS != 0 {
			also = fmt.Sprintf(", or it does not take PFS with group %d (step 5)", uint16(c.entry.PFS))
			fixes = append(fixes, c.there(fmt.Sprintf("set pfs group%d", uint16(c.entry.PFS))))
		}
		c.blame(3, false, "the peer refused every transform set offered",
			fmt.Sprintf("%s refused all transform sets offered (%s): it has none equal to one of them%s.", c.report.Peer, setWords(sets), also),
			fixes...)
		return
	}
	c.report.Both = true
	o, t, found := closestSet(w.ProposalOffers, sets)
	if !found {
		c.blame(3, true, "nothing that can be used was offered",
			fmt.Sprintf("%s offered %s, none of which can be used; here is %s.", c.report.Peer, offeredSets(w.ProposalOffers), setWords(sets)),
			c.there(setLine(sets[0])))
		return
	}
	why := t.Mismatch(o.Set)
	if why == "" {
		why = "mode"
	}
	want := t
	want.Cipher, want.KeyBits, want.Integ = o.Set.Cipher, o.Set.KeyBits, o.Set.Integ
	here := c.here(t.Origin, setLine(want))
	if !c.Settings.Negotiable(want.Verdict()) {
		here = together(here, c.shieldOff())
	}
	c.blame(3, true, "no transform set in common: "+why,
		fmt.Sprintf("%s offered %s; transform set %s here is %s: they differ in %s.", c.report.Peer, offeredSets(w.ProposalOffers), t.Name, t.Words(), why),
		here, c.there(setLine(t)))
}

func (c *explainer) pfsMismatch(_ event.Event, w event.Failed) {
	theirs := "no PFS"
	var here choice
	for _, o := range w.ProposalOffers {
		if o.Unknown == "" && o.Group != 0 {
			theirs = fmt.Sprintf("PFS with group %d", uint16(o.Group))
			here = c.here(c.entry.PFSOrigin, fmt.Sprintf("set pfs group%d", uint16(o.Group)))
			break
		}
	}
	if here == nil {
		here = c.here(c.entry.PFSOrigin, "no set pfs")
	}
	c.blame(5, true, "the PFS groups differ",
		fmt.Sprintf("%s asks for %s; crypto map %s %d here says set pfs group%d.", c.report.Peer, theirs, c.entry.Map, c.entry.Seq, uint16(c.entry.PFS)),
		here, c.there(fmt.Sprintf("set pfs group%d", uint16(c.entry.PFS))))
	c.set(3, OK, "a transform set is in common")
	c.report.Both = true
}

func (c *explainer) noProxy(e event.Event, w event.Failed) {
	flows := c.entry.Flows()
	if len(flows) == 0 {
		c.aclStep()
		return
	}
	if e.Role == event.Initiator {
		f, ok := c.Settings.Flow(w.Flow)
		if !ok {
			f = flows[0]
		}
		mirror := f.Line.Mirror()
		c.blame(4, w.Notified != "", "the peer refused the proxy identities",
			fmt.Sprintf("%s refused to protect %s: its crypto ACL has no line that is the mirror image of %q.", c.report.Peer, w.Offered, f.Line.Condition()),
			c.there("access-list NUMBER "+mirror.Condition()),
			c.here(f.Line.Origin, listLine(c.entry.ACL, *f.Line, f.Line.Seq, "THE MIRROR IMAGE OF THE PEER'S LINE")))
		return
	}
	c.report.Both = true
	line, ok := lineFor(w.Offered)
	if !ok {
		c.blame(4, true, "the peer's proxy identities cannot be used",
			fmt.Sprintf("%s asked for proxy identities that no crypto ACL can permit: %s.", c.report.Peer, w.Reason))
		return
	}
	near, found := c.nearest(w.Offered)
	if !found {
		last := flows[len(flows)-1].Line
		c.blame(4, true, "no line for what the peer wants to protect",
			fmt.Sprintf("%s wants to protect %s; access list %s here has no line for it.", c.report.Peer, w.Offered.Mirror(), c.entry.ACL.Name),
			c.add(last.Origin, listLine(c.entry.ACL, *last, 0, line)))
		return
	}
	mirror := near.Line.Mirror()
	c.blame(4, true, "the crypto ACLs are no mirror images",
		fmt.Sprintf("%s wants to protect %s; access list %s here permits %s: its line is no mirror image, nor inside one.", c.report.Peer, w.Offered.Mirror(), c.entry.ACL.Name, near.Selectors),
		c.here(near.Line.Origin, listLine(c.entry.ACL, *near.Line, near.Line.Seq, line)), c.there("access-list NUMBER "+mirror.Condition()))
}

// nearest is the flow that the peer may have meant: one that overlaps with what
// it offered, else one that is not up.
func (c *explainer) nearest(offered flow.Selectors) (policy.Flow, bool) {
	_, down := c.flows()
	for _, f := range append(down, c.entry.Flows()...) {
		if overlap(f.Selectors, offered) {
			return f, true
		}
	}
	if len(down) > 0 {
		return down[0], true
	}
	return policy.Flow{}, false
}

func overlap(a, b flow.Selectors) bool {
	return a.Local.Overlaps(b.Local) && a.Remote.Overlaps(b.Remote)
}

// asks reports whether identities that the peer offered concern this entry: of
// all entries of the peer the first with a line near them, else the last.
func (c *explainer) asks(offered flow.Selectors) bool {
	var last *policy.Entry
	for i := range c.Settings.Entries {
		e := &c.Settings.Entries[i]
		if !e.Serves(c.entry.Local, c.report.Peer) {
			continue
		}
		last = e
		if slices.ContainsFunc(e.Flows(), func(f policy.Flow) bool { return overlap(f.Selectors, offered) }) {
			break
		}
	}
	return last == c.entry
}

// lineFor is the permit line for selectors seen from here.
func lineFor(s flow.Selectors) (string, bool) {
	if !s.Local.IsValid() || !s.Remote.IsValid() || !s.Local.Addr().Is4() {
		return "", false
	}
	l := flow.Line{Action: flow.Permit, Proto: s.Proto, Src: flow.PrefixMatch(s.Local), Dst: flow.PrefixMatch(s.Remote), ICMPType: -1, ICMPCode: -1}
	if !s.LocalPorts.IsAny() {
		l.SrcPort = flow.PortMatch{Op: flow.Eq, Ports: []uint16{s.LocalPorts.Lo}}
	}
	if !s.RemotePorts.IsAny() {
		l.DstPort = flow.PortMatch{Op: flow.Eq, Ports: []uint16{s.RemotePorts.Lo}}
	}
	return l.Condition(), true
}

func (c *explainer) other(w event.Failed) {
	step := 2
	if w.Phase == 2 {
		step = 3
	}
	said := w.Reason
	if w.Notified != "" {
		said = "it answered " + w.Notified
	}
	c.blame(step, false, said, fmt.Sprintf("The negotiation with %s failed in phase %d: %s.", c.report.Peer, w.Phase, said), c.there("debug crypto isakmp"))
}
