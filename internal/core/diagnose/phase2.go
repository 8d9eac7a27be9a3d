package diagnose

import (
	"fmt"
	"slices"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func (c *explainer) noTransformSet(e event.Event, w event.Failed) {
	sets := c.Settings.UsableSets(c.entry)
	if len(sets) == 0 {
		c.setStep()
		return
	}
	if c.throughNAT() {
		return
	}
	if e.Role == event.Initiator {
		c.setsRefused(sets)
		return
	}
	c.report.Both = true
	o, t, found := closestSet(w.ProposalOffers, sets)
	if !found {
		c.blame(3, true, "nothing that can be used was offered",
			fmt.Sprintf("%s offered %s, none of which can be used; here is %s.", c.report.Peer, offeredSets(w.ProposalOffers), setWords(sets)),
			c.there(setLines(sets[0])...))
		return
	}
	why := t.Mismatch(o.Set)
	if why == "" {
		why = "mode"
	}
	want := o.Set
	want.Name, want.Mode = t.Name, t.Mode
	here := c.here(t.Origin, setLine(want))
	switch {
	case why == "mode":
		c.modeMismatch(e, w)
		return
	case want.ConfigWords() == t.ConfigWords():
		here = nil
	}
	if o.Set.Mode != t.Mode {
		here = together(here, c.modeHere(t, o.Set.Mode))
	}
	if o.Set.ESN != t.ESN {
		here = together(here, c.esnHere(t, o.Set.ESN))
	}
	if !c.Settings.Negotiable(want.Verdict()) {
		here = together(here, c.shieldOff())
	}
	c.blame(3, true, "no transform set in common: "+why,
		fmt.Sprintf("%s offered %s; transform set %s here is %s: they differ in %s.", c.report.Peer, offeredSets(w.ProposalOffers), t.Name, setWord(t), whyWords(why, o.Set, t)),
		here, c.there(setLines(t)...))
}

// setsRefused explains, to the initiator, that the peer took none of its sets.
func (c *explainer) setsRefused(sets []policy.TransformSet) {
	also := ", or it demands PFS (step 5)"
	fixes := []choice{c.there(setLines(sets[0])...), c.here(sets[0].Origin, "crypto ipsec transform-set "+sets[0].Name+" THE TRANSFORMS OF THE PEER")}
	if c.entry.PFS != 0 {
		also = fmt.Sprintf(", or it does not take PFS with group %d (step 5)", uint16(c.entry.PFS))
		fixes = append(fixes, c.there(fmt.Sprintf("set pfs group%d", uint16(c.entry.PFS))))
	}
	c.blame(3, false, "the peer refused every transform set offered",
		fmt.Sprintf("%s refused all transform sets offered (%s): it has none equal to one of them%s.", c.report.Peer, setWords(sets), also),
		fixes...)
}

// whyWords is a difference for a sentence: with the protocols named, since
// nobody writes them in so many words.
func whyWords(why string, offer, own policy.TransformSet) string {
	if why != "protocol" {
		return why
	}
	return fmt.Sprintf("the protocol (%s against %s)", protocols(offer), protocols(own))
}

// protocols is what a set protects with: "ESP", "AH", "AH and ESP".
func protocols(t policy.TransformSet) string {
	switch {
	case t.AH == suite.NoHash:
		return "ESP"
	case t.Cipher == suite.NoCipher:
		return "AH"
	}
	return "AH and ESP"
}

// throughNAT explains transform sets of which none passes the NAT between the
// two gateways: AH covers the addresses that it changes (RFC 3715 2.1).
func (c *explainer) throughNAT() bool {
	usable := c.Settings.UsableSets(c.entry)
	if !c.behindNAT() || slices.ContainsFunc(usable, func(t policy.TransformSet) bool { return t.AH == suite.NoHash }) || len(usable) == 0 {
		return false
	}
	t := usable[0]
	esp := policy.TransformSet{Name: t.Name, Cipher: t.Cipher, KeyBits: t.KeyBits, Integ: t.Integ, Mode: t.Mode, ESN: t.ESN}
	if t.Cipher == suite.NoCipher {
		esp.Cipher, esp.KeyBits, esp.Integ = suite.AESCBC, 256, suite.SHA256
	}
	where := "in front of " + c.report.Peer.String()
	if c.sa().NAT.LocalBehind {
		where = "in front of this gateway"
	}
	// The peer has to say the same: one way out, on both sides.
	c.blame(3, true, "AH does not pass a NAT",
		fmt.Sprintf("Transform set %s uses AH, which covers the addresses in the packet; there is a NAT %s, which changes them, so no AH packet would ever verify.", t.Name, where),
		together(c.here(t.Origin, setLine(esp)), c.there(setLine(esp))))
	return true
}

// modeHere makes a transform set one of that mode.
func (c *explainer) modeHere(t policy.TransformSet, m suite.Mode) choice {
	if t.ModeOrigin.IsZero() {
		return c.add(t.Origin, "mode "+m.String())
	}
	return c.here(t.ModeOrigin, "mode "+m.String())
}

// esnHere switches extended sequence numbers of a transform set on or off.
func (c *explainer) esnHere(t policy.TransformSet, on bool) choice {
	switch {
	case on:
		return c.add(t.Origin, "esn")
	case t.ESNOrigin.IsZero():
		return c.add(t.Origin, "no esn")
	}
	return c.here(t.ESNOrigin, "no esn")
}

// modeMismatch explains transform sets that agree but for tunnel and transport.
func (c *explainer) modeMismatch(e event.Event, w event.Failed) {
	sets := c.Settings.UsableSets(c.entry)
	if len(sets) == 0 {
		c.setStep()
		return
	}
	if i := slices.IndexFunc(sets, func(t policy.TransformSet) bool { return t.Require }); e.Role == event.Initiator && w.LastSent == "" && i >= 0 {
		c.report.Both = true
		c.blame(3, true, "transport mode cannot carry this traffic",
			fmt.Sprintf("Transform set %s requires transport mode, which is for traffic between the two gateways themselves; access list %s protects other traffic.", sets[i].Name, c.listName()),
			c.modeHere(sets[i], suite.Tunnel))
		return
	}
	if e.Role == event.Initiator {
		c.blame(3, false, "the peer wants the other mode", fmt.Sprintf("%s refused the mode of what was offered (%s).", c.report.Peer, setWords(sets)),
			c.there(" mode "+sets[0].Mode.String()), c.modeHere(sets[0], 1-sets[0].Mode))
		return
	}
	c.report.Both = true
	o, t, found := closestSet(w.ProposalOffers, sets)
	if !found {
		o.Set.Mode, o.Encap, t = 1-sets[0].Mode, (1 - sets[0].Mode).String(), sets[0]
	}
	why := ""
	if t.Mode == suite.Transport && !t.Require {
		why = " Transport mode is for traffic between the two gateways themselves; for other traffic the set falls back to tunnel mode."
	}
	c.blame(3, true, "the modes differ",
		fmt.Sprintf("%s offered %s; transform set %s here is in %s mode: they differ in nothing but the mode.%s", c.report.Peer, offeredSets(w.ProposalOffers), t.Name, t.Mode, why),
		c.modeHere(t, o.Set.Mode), c.there("crypto ipsec transform-set "+"NAME "+t.ConfigWords(), " mode "+t.Mode.String()))
}

func (c *explainer) pfsMismatch(_ event.Event, w event.Failed) {
	theirs := "no PFS"
	here := c.pfsHere("no set pfs")
	for _, o := range w.ProposalOffers {
		if o.Unknown == "" && o.Group != 0 {
			theirs = fmt.Sprintf("PFS with group %d", uint16(o.Group))
			here = c.pfsHere(fmt.Sprintf("set pfs group%d", uint16(o.Group)))
			switch {
			case !o.Group.Known() || o.Group.Row().Verdict == suite.Never:
				theirs, here = theirs+", which is not spoken here", nil
			case !c.Settings.Negotiable(o.Group.Row().Verdict):
				theirs += ", a legacy group, which the compliance shield keeps from being negotiated"
				here = together(here, c.shieldOff())
			}
			break
		}
	}
	own, there := fmt.Sprintf("says set pfs group%d", uint16(c.entry.PFS)), fmt.Sprintf("set pfs group%d", uint16(c.entry.PFS))
	if c.entry.PFS == suite.NoGroup {
		own, there = "has no set pfs", "no set pfs"
	}
	ways := []choice{c.there(there)}
	if here != nil {
		ways = []choice{here, ways[0]}
	}
	c.blame(5, true, "the PFS groups differ",
		fmt.Sprintf("%s asks for %s; crypto map %s %d here %s.", c.report.Peer, theirs, c.entry.Map, c.entry.Seq, own), ways...)
	c.set(3, OK, "a transform set is in common")
	c.report.Both = true
}

// pfsHere is the line "set pfs" of the entry, or a new one.
func (c *explainer) pfsHere(line string) choice {
	if c.entry.PFSOrigin.IsZero() {
		return c.add(c.entry.Origin, line)
	}
	return c.here(c.entry.PFSOrigin, line)
}

func (c *explainer) noProxy(e event.Event, w event.Failed) {
	flows := c.entry.Flows()
	switch {
	case c.entry.ACL == nil:
		c.blame(4, true, "the peer's proxy identities cannot be used",
			fmt.Sprintf("%s asked for proxy identities that no crypto ACL can permit: %s.", c.report.Peer, w.Reason))
		return
	case len(flows) == 0:
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
		if e.Local != c.entry.Local || !e.Dynamic && !slices.Contains(e.Peers, c.report.Peer) {
			continue
		}
		last = e
		if slices.ContainsFunc(e.Flows(), func(f policy.Flow) bool { return overlap(f.Selectors, offered) }) {
			break
		}
	}
	return last != nil && last.Map == c.entry.Map && last.Seq == c.entry.Seq
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
