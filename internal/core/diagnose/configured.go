package diagnose

import (
	"fmt"
	"strings"

	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// wanted is what step 1 has to let in.
type wanted struct {
	what  string // for people
	words string // an access list line's end: "eq isakmp"
	tuple flow.Tuple
}

// ipsec is what a peer sends us, as an interface ACL sees it.
func (c *explainer) ipsec() []wanted {
	t := flow.Tuple{Src: c.report.Peer, Dst: c.entry.Local}
	udp := func(port uint16) flow.Tuple {
		u := t
		u.Proto, u.SrcPort, u.DstPort = flow.UDP, port, port
		return u
	}
	esp := t
	esp.Proto = flow.ESP
	return []wanted{{"UDP 500", "eq isakmp", udp(500)}, {"UDP 4500", "eq non500-isakmp", udp(4500)}, {"ESP", "", esp}}
}

// configured judges what the configuration alone tells. It blames a step only
// for what no negotiation can get around.
func (c *explainer) configured() {
	c.mapStep()
	c.aclStep()
	c.setStep()
	c.policyStep()
	c.interfaceStep()
	c.report.Both = c.report.Culprit != 0
}

func (c *explainer) mapStep() {
	e := c.entry
	if len(e.Peers) == 0 {
		c.blame(5, true, "no peer", fmt.Sprintf("crypto map %s %d names no peer.", e.Map, e.Seq), c.add(e.Origin, "set peer A.B.C.D"))
		return
	}
	c.set(5, OK, "%s %d on %s, peer %s", e.Map, e.Seq, e.Interface, c.report.Peer)
}

func (c *explainer) aclStep() {
	e := c.entry
	n := len(e.Flows())
	if n == 0 {
		c.blame(4, true, "no usable permit line", fmt.Sprintf("Access list %s has no permit line that can be negotiated, so nothing is ever protected.", e.ACL.Name),
			c.add(e.ACLOrigin, "access-list "+e.ACL.Name+" permit ip HERE WILDCARD THERE WILDCARD"))
		return
	}
	c.set(4, NotReached, "access list %s: %s of interesting traffic", e.ACL.Name, count(n, "line"))
}

func (c *explainer) setStep() {
	e := c.entry
	usable := c.Settings.UsableSets(e)
	if len(usable) == 0 {
		c.blame(3, true, "no transform set that may be offered",
			fmt.Sprintf("None of the transform sets of crypto map %s %d may be offered: they use legacy algorithms or a mode that is not built.", e.Map, e.Seq),
			c.add(e.SetOrigin, "crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac", "set transform-set STRONG"))
		return
	}
	c.set(3, NotReached, "%s", setWords(usable))
}

func (c *explainer) policyStep() {
	if c.report.Culprit == 5 {
		return
	}
	usable := c.Settings.Usable()
	if len(usable) == 0 {
		c.blame(2, true, "no ISAKMP policy that may be offered",
			"There is no ISAKMP policy that may be offered: none is configured with pre-share, or they use legacy algorithms behind the compliance shield.",
			Fix{Side: c.side(), Write: []string{"crypto isakmp policy 10", " encryption aes 256", " hash sha256", " authentication pre-share", " group 14"}, Add: true})
		return
	}
	if _, ok := c.Settings.KeyFor(c.report.Peer); !ok {
		c.blame(2, true, "no key", fmt.Sprintf("There is no pre-shared key for the peer %s.", c.report.Peer),
			Fix{Side: c.side(), Write: []string{"crypto isakmp key KEY address " + c.report.Peer.String()}, Add: true})
		return
	}
	c.set(2, NotReached, "%s to offer, a key for %s", policies(len(usable)), c.report.Peer)
}

// interfaceStep asks the interface's inbound access list.
func (c *explainer) interfaceStep() {
	if c.report.Culprit == 5 {
		return
	}
	e := c.entry
	if e.In == nil {
		c.set(1, OK, "no inbound access list on %s", e.Interface)
		return
	}
	var blocked []string
	var lines []string
	for _, w := range c.ipsec() {
		if e.LetsIn(w.tuple) {
			continue
		}
		blocked = append(blocked, w.what)
		lines = append(lines, c.permitLine(w))
	}
	if len(blocked) == 0 {
		c.set(1, OK, "access list %s lets UDP 500, UDP 4500 and ESP of the peer in", e.In.Name)
		return
	}
	// ESP and UDP 4500 are alternatives: behind a NAT one, without it the other.
	if len(blocked) == 1 && blocked[0] == "UDP 4500" {
		c.set(1, OK, "access list %s lets UDP 500 and ESP of the peer in, but not UDP 4500 (needed behind a NAT)", e.In.Name)
		return
	}
	c.blame(1, true, fmt.Sprintf("access list %s drops %s", e.In.Name, strings.Join(blocked, " and ")),
		fmt.Sprintf("Access list %s, inbound on %s, drops %s from %s, so the peer's packets never arrive.",
			e.In.Name, e.Interface, strings.Join(blocked, " and "), c.report.Peer),
		c.add(c.listLine(e), lines...))
}

// listLine is the line of the access list to write before: its first deny, or its last.
func (c *explainer) listLine(e *policy.Entry) (o origin.Line) {
	o = e.InOrigin
	for i := range e.In.Lines {
		l := &e.In.Lines[i]
		if !l.Origin.IsZero() {
			o = l.Origin
		}
		if !l.IsRemark() && l.Action == flow.Deny {
			break
		}
	}
	return o
}

func (c *explainer) permitLine(w wanted) string {
	s := fmt.Sprintf("access-list %s permit %s host %s host %s %s", c.entry.In.Name, flow.ProtoName(w.tuple.Proto), w.tuple.Src, w.tuple.Dst, w.words)
	return strings.TrimSpace(s)
}

func policies(n int) string {
	if n == 1 {
		return "1 ISAKMP policy"
	}
	return fmt.Sprintf("%d ISAKMP policies", n)
}

func setWords(sets []policy.TransformSet) string {
	w := make([]string, len(sets))
	for i, t := range sets {
		w[i] = fmt.Sprintf("%s (%s)", t.Name, t.Words())
	}
	return strings.Join(w, ", ")
}
