package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
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
	out := []wanted{{"UDP 500", "eq isakmp", udp(500)}, {"UDP 4500", "eq non500-isakmp", udp(4500)}}
	for _, proto := range c.carriers() {
		x := t
		x.Proto = proto
		out = append(out, wanted{carrierName(proto), "", x})
	}
	return out
}

// carriers are the IP protocols that the entry's transform sets travel in: in
// a bundle AH is the outer one (RFC 2401 section 4.5).
func (c *explainer) carriers() []uint8 {
	var out []uint8
	for _, t := range c.entry.Sets {
		proto := flow.ESP
		if t.AH != suite.NoHash {
			proto = flow.AH
		}
		if !slices.Contains(out, proto) {
			out = append(out, proto)
		}
	}
	if len(out) == 0 {
		return []uint8{flow.ESP}
	}
	return out
}

func carrierName(proto uint8) string {
	if proto == flow.AH {
		return "AH"
	}
	return "ESP"
}

// configured judges what the configuration alone tells. It blames a step only
// for what no negotiation can get around. Both is set where the line to write
// depends on nothing that the peer has.
func (c *explainer) configured() {
	c.mapStep()
	c.aclStep()
	c.setStep()
	c.policyStep()
	c.interfaceStep()
}

func (c *explainer) mapStep() {
	e := c.entry
	if e.Dynamic {
		c.set(5, OK, "%s %d on %s, dynamic: for any peer that asks", e.Map, e.Seq, e.Interface)
		return
	}
	if len(e.Peers) == 0 {
		c.blame(5, true, "no peer", fmt.Sprintf("crypto map %s %d names no peer.", e.Map, e.Seq), c.add(e.Origin, "set peer A.B.C.D"))
		return
	}
	c.set(5, OK, "%s %d on %s, peer %s", e.Map, e.Seq, e.Interface, c.report.Peer)
}

func (c *explainer) aclStep() {
	e := c.entry
	if e.ACL == nil {
		c.set(4, NotReached, "no access list: the peer chooses the traffic")
		return
	}
	n := len(e.Flows())
	if n == 0 {
		c.blame(4, true, "no usable permit line", fmt.Sprintf("Access list %s has no permit line that can be negotiated, so nothing is ever protected.", e.ACL.Name),
			c.add(e.ACL.Origin, listLine(e.ACL, flow.Line{Origin: e.ACL.Origin}, 0, "permit ip HERE WILDCARD THERE WILDCARD")))
		return
	}
	c.set(4, NotReached, "access list %s: %s of interesting traffic", e.ACL.Name, count(n, "line"))
}

func (c *explainer) setStep() {
	e := c.entry
	usable := c.Settings.UsableSets(e)
	if len(usable) > 0 {
		c.set(3, NotReached, "%s", setWords(usable))
		return
	}
	t := e.Sets[0]
	if e.ReplayWindow == 0 && t.ESN && c.Settings.Negotiable(t.Verdict()) {
		c.blame(3, true, "sequence numbers need the anti-replay window",
			fmt.Sprintf("Transform set %s of crypto map %s %d has extended sequence numbers, whose upper half a receiver finds by the anti-replay window, and that is disabled for the entry.", t.Name, e.Map, e.Seq),
			c.esnHere(t, false), c.add(e.Origin, "set security-association replay window-size 64"))
		return
	}
	strong := t
	strong.AH, strong.Cipher, strong.KeyBits, strong.Integ = suite.NoHash, suite.AESCBC, 256, suite.SHA256
	ways := []choice{c.here(t.Origin, setLine(strong))}
	if !c.Settings.Legacy && t.Verdict() == suite.Legacy {
		ways = append(ways, c.shieldOff())
	}
	c.blame(3, true, "no transform set that may be offered",
		fmt.Sprintf("None of the transform sets of crypto map %s %d may be offered (%s): they use legacy algorithms, which the compliance shield keeps from being negotiated, or transforms that are not spoken here.", e.Map, e.Seq, setWords(e.Sets)),
		ways...)
}

// shieldOff lets legacy algorithms be negotiated.
func (c *explainer) shieldOff() choice {
	return choice{{Side: c.side(), Write: []string{"crypto engine compliance shield disable"}, Add: true}}
}

func (c *explainer) policyStep() {
	if c.report.Culprit == 5 {
		return
	}
	usable := c.Settings.Usable()
	if len(usable) == 0 {
		c.noUsablePolicy()
		return
	}
	signs := slices.IndexFunc(usable, func(p policy.ISAKMP) bool { return p.Auth.Signature() })
	shared := slices.IndexFunc(usable, func(p policy.ISAKMP) bool { return !p.Auth.Signature() })
	switch {
	case shared >= 0 && c.hasKey():
		c.set(2, NotReached, "%s to offer, a key for %s", policies(len(usable)), c.peerWords())
	case slices.ContainsFunc(usable, func(p policy.ISAKMP) bool { return c.canSign(p.Auth) }):
		c.set(2, NotReached, "%s to offer, a certificate%s", policies(len(usable)), c.ourCertificate())
	case shared < 0:
		c.noCertificateHere(usable[signs])
	case !c.entry.Dynamic:
		c.noKeyHere()
	default:
		c.set(2, NotReached, "%s to offer", policies(len(usable)))
	}
}

// noUsablePolicy tells why no ISAKMP policy may be offered: there is none, or
// they authenticate with what is not spoken, or all are legacy.
func (c *explainer) noUsablePolicy() {
	own := c.Settings.Policies
	const said = "There is no ISAKMP policy that may be offered: "
	if len(own) == 0 {
		c.blame(2, true, "no ISAKMP policy", said+"none is configured.",
			choice{{Side: c.side(), Write: []string{"crypto isakmp policy 10", " encryption aes 256", " hash sha256", " authentication pre-share", " group 14"}, Add: true}})
		return
	}
	if i := slices.IndexFunc(own, func(p policy.ISAKMP) bool { p.Auth = suite.PSK; return c.Settings.Negotiable(p.Verdict()) }); i >= 0 {
		p, line := own[i], "authentication pre-share"
		fix := c.here(p.AuthOrigin, line)
		if p.AuthOrigin.IsZero() {
			fix = c.add(p.Origin, line)
		}
		c.report.Both = true
		why := "which is not spoken here"
		if p.AuthOrigin.IsZero() {
			why = "which is the default when nothing is written"
		}
		c.blame(2, true, "no ISAKMP policy with pre-share",
			fmt.Sprintf(said+"policy %d (%s) authenticates with %s, %s.", p.Priority, p.Origin, p.Auth, why), fix)
		return
	}
	p := own[0]
	c.blame(2, true, "only legacy ISAKMP policies",
		fmt.Sprintf(said+"policy %d (%s) is %s, and the compliance shield keeps legacy algorithms from being negotiated.", p.Priority, p.Origin, p),
		c.shieldOff(), c.strengthened(p))
}

// strengthened replaces what is legacy in a policy.
func (c *explainer) strengthened(p policy.ISAKMP) choice {
	q := p
	q.Auth = suite.PSK
	if p.Cipher.Row().Verdict != suite.OK {
		q.Cipher, q.KeyBits = suite.AESCBC, 256
	}
	if p.Hash.Row().Verdict != suite.OK {
		q.Hash = suite.SHA256
	}
	if p.Group.Row().Verdict != suite.OK {
		q.Group = 14
	}
	return c.changes(p, differences(p, q))
}

// changes writes the differences into a policy: each over the line that has
// the old value, or behind the policy's first line when a default held.
func (c *explainer) changes(p policy.ISAKMP, diff []difference) (out choice) {
	for _, d := range diff {
		if d.origin.IsZero() {
			out = append(out, c.add(p.Origin, d.line)...)
		} else {
			out = append(out, c.here(d.origin, d.line)...)
		}
	}
	return out
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
	var names, lines []string
	c.blocked = nil
	for _, w := range c.ipsec() {
		if !e.LetsIn(w.tuple) {
			c.blocked = append(c.blocked, w)
			names = append(names, w.what)
		}
	}
	if len(names) == 0 {
		c.set(1, OK, "access list %s lets UDP 500, UDP 4500 and %s of the peer in", e.In.Name, c.carrierNames())
		return
	}
	// ESP and UDP 4500 are alternatives: behind a NAT one, without it the other.
	if len(names) == 1 && names[0] == "UDP 4500" && !c.behindNAT() {
		c.set(1, OK, "access list %s lets UDP 500 and %s of the peer in, but not UDP 4500 (needed behind a NAT)", e.In.Name, c.carrierNames())
		return
	}
	at, before := c.listPlace()
	numbers := freeNumbers(e.In, at, before, len(c.blocked))
	for i, w := range c.blocked {
		lines = append(lines, listLine(e.In, at, numbers[i], permit(e.In, w)))
	}
	fix := c.add(at.Origin, lines...)
	fix[0].Before = before
	c.report.Both = true
	c.blame(1, true, fmt.Sprintf("access list %s drops %s", e.In.Name, strings.Join(names, " and ")),
		fmt.Sprintf("Access list %s, inbound on %s, drops %s from %s, so the peer's packets never arrive.",
			e.In.Name, e.Interface, strings.Join(names, " and "), c.report.Peer),
		fix)
}

func (c *explainer) carrierNames() string {
	var w []string
	for _, p := range c.carriers() {
		w = append(w, carrierName(p))
	}
	return strings.Join(w, " and ")
}

// listPlace is the line of the interface ACL to write beside: before the first
// that denies what is blocked, else behind the last.
func (c *explainer) listPlace() (at flow.Line, before bool) {
	l := c.entry.In
	at = flow.Line{Origin: l.Origin}
	if n := len(l.Lines); n > 0 {
		at = l.Lines[n-1]
	}
	for _, w := range c.blocked {
		if denies := l.Match(w.tuple); denies != nil && (!before || denies.Seq < at.Seq) {
			at, before = *denies, true
		}
	}
	return at, before
}

// freeNumbers are sequence numbers for n new lines: where the line beside them
// has a written number, the highest free ones below it; else 0, none.
func freeNumbers(l *flow.List, at flow.Line, before bool, n int) []int {
	out := make([]int, n)
	if !before || writtenNumber(at) == "" {
		return out
	}
	last := 0
	for i := range l.Lines {
		if l.Lines[i].Seq < at.Seq {
			last = l.Lines[i].Seq
		}
	}
	if at.Seq-last <= n {
		return out // no room: the list has to be numbered anew
	}
	for i := range out {
		out[i] = at.Seq - n + i
	}
	return out
}

// writtenNumber is the sequence number that stands before a line in the file, or "".
func writtenNumber(l flow.Line) string {
	w, _, _ := strings.Cut(l.Origin.Text, " ")
	if _, err := strconv.Atoi(w); err != nil {
		return ""
	}
	return w
}

// listLine writes a condition as a line of the list beside or instead of at: in
// the words of "access-list NUMBER" or of "ip access-list extended NAME".
func listLine(l *flow.List, at flow.Line, number int, condition string) string {
	switch {
	case strings.HasPrefix(at.Origin.Text, "access-list") || at.Origin.IsZero() && numbered(l.Name):
		return "access-list " + l.Name + " " + condition
	case number > 0:
		return strconv.Itoa(number) + " " + condition
	}
	return condition
}

func numbered(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil
}

// permit is the condition that lets something in.
func permit(l *flow.List, w wanted) string {
	if !l.Extended {
		return "permit " + w.tuple.Src.String()
	}
	return strings.TrimSpace(fmt.Sprintf("permit %s host %s host %s %s", flow.ProtoName(w.tuple.Proto), w.tuple.Src, w.tuple.Dst, w.words))
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
