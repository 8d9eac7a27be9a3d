package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// Parse reads a configuration. It never fails as a whole: the Config holds
// whatever was understood and the problems, in the order of the lines, tell
// the rest. Every Problem of severity Error means that the configuration must
// not be run. Parse keeps nothing of text.
func Parse(name string, text []byte) (*Config, []Problem) {
	return parse(name, text, grammar())
}

// parse is Parse with the grammar made before: a test makes it once.
func parse(name string, text []byte, tree *ios.Tree) (*Config, []Problem) {
	r := newReader(name, tree)
	for l := range ios.Lines(string(text)) {
		switch l.Kind {
		case ios.Blank:
		case ios.Text:
			r.keeps, r.capture = nil, nil
			r.command(l)
		case ios.Exec:
			r.ignore(l, "")
		case ios.Verbatim:
			r.verbatim(l)
		case ios.PEM:
			r.pem(l)
		case ios.Unclosed:
			r.report(Error, l, l.Column, "", "this block is not closed: the file ends before its delimiter or \"quit\"", "")
		}
	}
	r.finish()
	return r.c, r.problems
}

// reader is the state of one Parse.
type reader struct {
	c        *Config
	tree     *ios.Tree
	handlers map[string]map[string]handler
	problems []Problem

	mode string
	// indent is how far the line that opened the mode, or the foreign block, is indented.
	indent int
	// foreign: the last global line is not ours, or was faulty, and the
	// lines indented deeper belong to it.
	foreign bool
	owner   string // interface of the last ignored line
	// keeps is where the last line was kept, nil when it was not kept in a block.
	keeps *[]IgnoredLine

	// What the lines of the current mode are about.
	iface  *Interface
	policy *policy.ISAKMP
	set    *TransformSet
	// dynamic tells that entry is one of a dynamic map.
	dynamic    bool
	idList     *IdentityList
	entry      *MapEntry
	list       *listBuilder
	ring       *ringBuilder
	profile    *Profile
	peerBlock  *AggressivePeer
	trustpoint *Trustpoint
	chain      *chainBuilder
	rules      *policy.CertificateRules
	// capture takes the lines of a certificate or key, nil outside one.
	capture func(ios.Line)

	interfaces  register[string, Interface]
	policies    register[int, policy.ISAKMP]
	keys        register[keyID, Key]
	lists       register[string, listBuilder]
	sets        register[string, TransformSet]
	dynamics    register[string, mapBuilder]
	idLists     register[string, IdentityList]
	maps        register[string, mapBuilder]
	routes      register[routeID, Route]
	routesTo    map[netip.Prefix][]routeID // may hold removed ones
	rings       register[string, ringBuilder]
	profiles    register[string, Profile]
	peers       register[peerID, AggressivePeer]
	trustpoints register[string, Trustpoint]
	chains      register[string, chainBuilder]
	certMaps    register[string, certMapBuilder]
	imports     register[importID, KeyImport]
}

// keyID tells two keys apart: one address or name has one key.
type keyID struct {
	peers netip.Prefix
	host  string
}

// handler applies one matched line.
type handler func(*reader, *ios.Match, ios.Line)

func newReader(name string, tree *ios.Tree) *reader {
	return &reader{
		c: &Config{
			File: name, ISAKMPEnabled: true, ReplayWindow: policy.DefaultReplayWindow,
			DefaultLifetime: policy.Lifetime{Time: policy.DefaultIPsecLifetime, Kilobytes: policy.DefaultIPsecKilobytes},
			ISAKMP:          ISAKMPOptions{Retry: defaultRetry},
		},
		routesTo: map[netip.Prefix][]routeID{},
		tree:     tree,
		mode:     modeGlobal,
		handlers: map[string]map[string]handler{
			modeGlobal: globalHandlers(), modeInterface: interfaceHandlers(), modePolicy: policyHandlers(),
			modeTransform: transformHandlers(), modeMap: mapHandlers(), modeExtended: listHandlers(), modeStandard: listHandlers(),
			modeKeyring: keyringHandlers(), modeProfile: profileHandlers(), modePeer: peerHandlers(), modeIdentity: identityHandlers(),
			modeTrustpoint: trustpointHandlers(),
			modeChain:      {"certificate": (*reader).certificate}, modeCertMap: {"rule": (*reader).certificateRule, "time-rule": (*reader).certificateRule},
		},
	}
}

// command reads one command. A line is tried in the current mode, then as a
// global command, which ends the mode, as IOS does.
func (r *reader) command(l ios.Line) {
	if l.Prompt == modeGlobal {
		r.leave()
	}
	if r.foreign && l.Indent > r.indent && l.Prompt == "" && !breaksOut(l.Body) {
		r.ignore(l, "")
		return
	}
	var inMode error
	if r.mode != modeGlobal && !r.foreign {
		m, err := r.tree.Match(r.mode, l.Body)
		if err == nil {
			r.apply(r.mode, m, l)
			return
		}
		inMode = err
	}
	m, err := r.tree.Match(modeGlobal, l.Body)
	if err == nil {
		r.global(m, l)
		return
	}
	r.misfit(l, inMode, err)
}

// breaksOut reports whether a line indented under something foreign is ours
// all the same: a file may be indented at random, and a crypto line must
// never be lost. Abbreviations do not count there.
func breaksOut(body string) bool {
	w := strings.Fields(strings.ToLower(body))
	if len(w) > 1 && (w[0] == "no" || w[0] == "default") {
		w = w[1:]
	}
	switch w[0] {
	case "crypto", "interface", "access-list":
		return true
	case "ip":
		return len(w) > 1 && (w[1] == "route" || w[1] == "access-list")
	}
	return false
}

// leave goes back to the global mode.
func (r *reader) leave() {
	r.mode, r.foreign, r.indent = modeGlobal, false, 0
}

// global applies a global command, which ends the mode before it.
func (r *reader) global(m *ios.Match, l ios.Line) {
	if m.Command.Name == "do" {
		r.ignore(l, "")
		return
	}
	r.leave()
	r.indent = l.Indent
	r.apply(modeGlobal, m, l)
}

// apply hands a matched line to its handler and enters the mode it opens.
func (r *reader) apply(mode string, m *ios.Match, l ios.Line) {
	switch m.Command.Name {
	case unsupported, inert, enrolment:
		r.notDone(mode, m, l)
	case "exit", "end":
		r.leave()
	default:
		r.handlers[mode][m.Command.Name](r, m, l)
	}
}

// open enters a mode after its header.
func (r *reader) open(m *ios.Match, l ios.Line) {
	r.mode, r.indent, r.foreign = m.Command.Opens, l.Indent, false
}

// strange makes the lines indented under l its own, whatever they say.
func (r *reader) strange(l ios.Line) {
	r.mode, r.indent, r.foreign = modeGlobal, l.Indent, true
}

// notDone reports a command that IOS knows and Culvert does not do.
func (r *reader) notDone(mode string, m *ios.Match, l ios.Line) {
	negated := m.No || m.Default
	severity, what := Error, "valid IOS that Culvert does not support yet: "+m.Command.Help
	if negated || m.Command.Name == inert {
		severity, what = Warning, "kept without effect, Culvert does not support it yet: "+m.Command.Help
	}
	if m.Command.Name == enrolment {
		severity, what = Note, "kept without effect: it is about "+m.Command.Help
	}
	w := m.Words[0]
	for _, o := range m.Words {
		if o.Arg == "" && !o.Secret {
			w = o // the last keyword is what makes the command another one
		}
	}
	if host, ok := m.Arg("host"); ok && strings.Trim(host.Text, "0123456789.") == "" {
		w, what = host, "expected an IPv4 address"
	}
	r.report(severity, l, l.Column+w.Column-1, w.Text, "word "+ios.Quote(w.Text)+": "+what, "")
	if kept := r.kept(mode); kept != nil {
		r.keep(kept, l, " "+l.Body)
		return
	}
	owner := ""
	if mode == modeInterface {
		owner = r.iface.Name
	}
	r.ignore(l, owner)
	if mode == modeGlobal {
		r.strange(l)
	}
}

// kept is where the current block keeps its lines without effect; nil for a
// mode that keeps none of its own.
func (r *reader) kept(mode string) *[]IgnoredLine {
	switch mode {
	case modeMap:
		return &r.entry.Kept
	case modeKeyring:
		return &r.ring.k.Kept
	case modeProfile:
		return &r.profile.Kept
	case modePeer:
		return &r.peerBlock.Kept
	case modeTrustpoint:
		return &r.trustpoint.Kept
	}
	return nil
}

func (r *reader) keep(to *[]IgnoredLine, l ios.Line, text string) {
	r.keeps = to
	*to = append(*to, IgnoredLine{Text: text, Origin: r.at(l, "")})
}

// verbatim keeps a line of a banner, a certificate or a key with the line
// that began it.
func (r *reader) verbatim(l ios.Line) {
	switch {
	case r.capture != nil:
		r.capture(l)
	case r.keeps != nil:
		r.keep(r.keeps, l, l.Raw)
	default:
		r.ignore(l, r.owner)
	}
}

// misfit decides what a line that fits nothing is: ours and wrong, or not ours.
func (r *reader) misfit(l ios.Line, inMode, inGlobal error) {
	var sub, global *ios.SyntaxError
	errors.As(inMode, &sub)
	errors.As(inGlobal, &global)
	deeper := l.Indent > r.indent && l.Prompt == "" || l.Prompt != "" && l.Prompt != modeGlobal
	switch {
	case ours(modeGlobal, global.Path) && (sub == nil || len(global.Path) > len(sub.Path)):
		r.syntax(l, global)
		r.strange(l)
	case sub != nil && ours(r.mode, sub.Path):
		r.syntax(l, sub)
	case sub == nil:
		r.unknownGlobal(l)
	case r.mode == modeInterface && (deeper || !endsInterface(l.Body)):
		r.ignore(l, r.iface.Name)
	case r.mode == modeInterface || !deeper && isGlobalWord(l.Body):
		r.ignore(l, "")
		r.strange(l)
	default:
		r.syntax(l, sub)
	}
}

// ours reports whether keywords begin a command whose faults stop a run.
func ours(mode string, path []string) bool {
	if len(path) == 0 {
		return false
	}
	second := ""
	if len(path) > 1 {
		second = path[1]
	}
	switch mode {
	case modeGlobal:
		return path[0] == "crypto" || path[0] == "access-list" || path[0] == "interface" || path[0] == "hostname" ||
			path[0] == "ip" && (second == "route" || second == "access-list" || second == "domain" && len(path) > 2 && path[2] == "name")
	case modeInterface:
		return path[0] == "crypto" || path[0] == "tunnel" && second == "protection" ||
			path[0] == "ip" && (second == "address" || second == "access-group")
	}
	return true
}

// unknownGlobal keeps a global line that is none of our commands. One of our
// submodes' commands without its header, and one of our words misspelt, are told.
func (r *reader) unknownGlobal(l ios.Line) {
	if !r.foreign {
		for mode, header := range headers() {
			if m, err := r.tree.Match(mode, l.Body); err == nil && m.Command.Name != "description" {
				r.report(Error, l, l.Column, m.Words[0].Text, "this line belongs under \""+header+"\", and no such line stands before it", header)
				r.strange(l)
				return
			}
		}
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(l.Body), "no "), " ")
	if guess := ios.Nearest(first, []string{"crypto", "access-list", "interface", "hostname"}); guess != "" && !isGlobalWord(l.Body) {
		r.report(Warning, l, l.Column, first, fmt.Sprintf("word %s: this line is ignored (did you mean %q?)", ios.Quote(first), guess), "")
	}
	r.ignore(l, "")
	r.strange(l)
}

// headers are the lines that open the modes whose commands have a sense only there.
func headers() map[string]string {
	return map[string]string{
		modePolicy: "crypto isakmp policy PRIORITY", modeTransform: "crypto ipsec transform-set NAME …",
		modeMap: "crypto map NAME SEQ ipsec-isakmp", modeKeyring: "crypto keyring NAME", modeProfile: "crypto isakmp profile NAME",
		modePeer: "crypto isakmp peer address PEER", modeTrustpoint: "crypto pki trustpoint NAME", modeChain: "crypto pki certificate chain NAME",
		modeIdentity: "crypto identity NAME",
		modeCertMap:  "crypto pki certificate map NAME SEQ", modeExtended: "ip access-list extended NAME", modeStandard: "ip access-list standard NAME",
	}
}

// ignore keeps a line as it is.
func (r *reader) ignore(l ios.Line, owner string) {
	r.owner = owner
	r.c.Ignored = append(r.c.Ignored, IgnoredLine{Text: l.Raw, Interface: owner, Origin: r.at(l, "")})
}

// at is the origin of a line; its text is given apart, since it may hold a key.
func (r *reader) at(l ios.Line, text string) origin.Line {
	return origin.Line{File: r.c.File, Line: l.Number, Column: l.Column, Text: text}
}

// origin is the origin of a line that holds no key.
func (r *reader) origin(l ios.Line) origin.Line { return r.at(l, l.Body) }

func (r *reader) report(s Severity, l ios.Line, column int, word, message, fix string) {
	r.problems = append(r.problems, Problem{
		Severity: s, File: r.c.File, Line: l.Number, Column: column, Word: word, Message: message, Fix: fix,
	})
}

// fault reports an error at one word of a matched line.
func (r *reader) fault(l ios.Line, w ios.Word, format string, args ...any) {
	r.report(Error, l, l.Column+w.Column-1, w.Text, fmt.Sprintf(format, args...), "")
}

// syntax reports a line that leaves the grammar.
func (r *reader) syntax(l ios.Line, e *ios.SyntaxError) {
	if announcesKey(e.Path) && e.Word != "" && strings.Trim(e.Word, "0123456789.") != "" {
		hidden := *e
		hidden.Word, e = "", &hidden
	}
	r.problems = append(r.problems, Problem{
		Severity: Error, File: r.c.File, Line: l.Number, Column: l.Column + e.Column - 1,
		Word: e.Word, Expected: ios.Join(e.Expected), Message: e.Error(),
	})
}

// announcesKey reports whether keywords begin a line with a key: somebody may
// have left out the word before it.
func announcesKey(path []string) bool {
	return slices.Contains(path, "pre-shared-key") || slices.Contains(path, "password") || slices.Contains(path, "isakmp") && slices.Contains(path, "key")
}

// finish puts the model together and checks what lines say about each other.
func (r *reader) finish() {
	c := r.c
	c.Interfaces = r.interfaces.all()
	c.ISAKMPPolicies = r.policies.all()
	slices.SortFunc(c.ISAKMPPolicies, func(a, b policy.ISAKMP) int { return a.Priority - b.Priority })
	c.Keys = r.keys.all()
	for _, b := range r.rings.all() {
		c.Keyrings = append(c.Keyrings, b.build())
	}
	c.Profiles, c.Peers = r.profiles.all(), r.peers.all()
	r.finishPKI()
	c.TransformSets = r.sets.all()
	c.Routes = r.routes.all()
	for _, b := range r.maps.all() {
		c.CryptoMaps = append(c.CryptoMaps, b.build())
	}
	for _, b := range r.dynamics.all() {
		c.DynamicMaps = append(c.DynamicMaps, b.build())
	}
	c.Identities = r.idLists.all()
	r.finishLists()
	r.orderIgnored()
	for _, f := range references(c) {
		if f.Severity == Error {
			r.problems = append(r.problems, Problem{
				Severity: Error, File: c.File, Line: f.Origin.Line, Column: f.Origin.Column, Message: f.Message, Fix: f.Fix, Step: f.Step,
			})
		}
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
}

// orderIgnored puts the ignored lines in the order Running prints them:
// global ones, then interface by interface, then list by list.
func (r *reader) orderIgnored() {
	at := map[string]int{}
	for i := range r.c.Interfaces {
		at[r.c.Interfaces[i].Name] = i + 1
	}
	rank := func(l IgnoredLine) int {
		if l.AccessList != "" {
			return len(at) + 1
		}
		return at[l.Interface]
	}
	slices.SortStableFunc(r.c.Ignored, func(a, b IgnoredLine) int { return rank(a) - rank(b) })
}

// number is the value of a number argument; 0 when it is not there.
func number(m *ios.Match, name string) int {
	n, _ := m.Number(name)
	return n
}

// address is the value of an address argument, which the grammar has checked.
func address(m *ios.Match, name string) netip.Addr {
	a, _ := netip.ParseAddr(m.Value(name))
	return a
}

// maskBits is the length of a netmask, which the grammar has checked.
func maskBits(mask netip.Addr) int {
	bits := 0
	for _, b := range mask.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return bits
}

// undo reports whether the line takes a setting back.
func undo(m *ios.Match) bool { return m.No || m.Default }

// ordinal is a sequence number as a word.
func ordinal(n int) string { return strconv.Itoa(n) }
