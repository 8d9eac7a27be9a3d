package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// check looks at one concern of one step.
type check struct {
	step    int
	concern string
	run     func(*checker)
	// refuses: an Error of this check stops a run, since without what is
	// missing the traffic would leave in the clear.
	refuses bool
}

// checks is every concern, in the order of the steps.
func checks() []check {
	return []check{
		{1, "interface access lists let IPsec in", (*checker).admitted, false},
		{1, "interface access lists exist", (*checker).interfaceLists, false},
		{2, "ISAKMP is on and has a policy", (*checker).isakmpOn, false},
		{2, "ISAKMP policies can be negotiated", (*checker).policies, false},
		{2, "every peer has a key", (*checker).peerKeys, false},
		{2, "every key has a use", (*checker).keyUse, false},
		{2, "no key is easily guessed", (*checker).shortKeys, false},
		{2, "aggressive mode is spoken knowingly", (*checker).aggressive, false},
		{2, "the router's identity can be recognised", (*checker).identity, false},
		{2, "certificates and keys can prove and be proved", (*checker).trustpointsWork, false},
		{2, "trustpoints and certificate maps exist", (*checker).trustpointsExist, false},
		{2, "keyrings exist and are used", (*checker).keyrings, false},
		{2, "ISAKMP profiles match somebody", (*checker).profilesWork, false},
		{3, "transform sets exist", (*checker).setsExist, true},
		{3, "transform sets can be negotiated", (*checker).setsWork, false},
		{3, "transport mode is for the routers' own traffic", (*checker).transport, false},
		{3, "extended sequence numbers have a window", (*checker).extended, false},
		{3, "AH is not translated", (*checker).translated, false},
		{3, "transform sets are used", (*checker).setsUsed, false},
		{4, "crypto access lists exist", (*checker).listsExist, true},
		{4, "crypto access lists say what can be negotiated", (*checker).listsWork, true},
		{4, "access lists are used", (*checker).listsUsed, false},
		{5, "applied crypto maps exist and have peers", (*checker).mapsExist, true},
		{5, "the ISAKMP profiles of crypto maps exist", (*checker).profilesExist, true},
		{5, "the identities of crypto maps exist", (*checker).identitiesExist, true},
		{5, "dynamic maps exist and stand last", (*checker).dynamicMaps, false},
		{5, "crypto maps are applied", (*checker).mapsIdle, false},
		{5, "crypto maps are applied where they can work", (*checker).mapsApplied, true},
		{5, "peers and PFS can work", (*checker).entriesWork, false},
		{5, "peer and far site are reached through the crypto map", (*checker).routes, false},
		{5, "lifetimes fit each other", (*checker).lifetimes, false},
	}
}

// Check verifies the five steps of one configuration and tells what will be
// seen on the wire. The findings are in the order of the steps, and within a
// step in the order of the lines. The work is linear in the configuration.
func Check(c *Config) []Finding { return verify(c, func(check) bool { return true }) }

// references is the part of Check whose errors stop a run.
func references(c *Config) []Finding { return verify(c, func(k check) bool { return k.refuses }) }

func verify(c *Config, wanted func(check) bool) []Finding {
	k := &checker{index: indexOf(c), settings: c.Settings()}
	for i := range c.Interfaces {
		if a := c.Interfaces[i].Address; a.IsValid() {
			k.own = append(k.own, a.Addr())
		}
	}
	slices.SortFunc(k.own, netip.Addr.Compare)
	for _, row := range checks() {
		if wanted(row) {
			k.step = row.step
			row.run(k)
		}
	}
	slices.SortStableFunc(k.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Origin.Line, b.Origin.Line))
	})
	return k.findings
}

// checker is the state of one Check.
type checker struct {
	*index
	settings policy.Settings
	own      []netip.Addr // our addresses, ascending
	step     int
	findings []Finding
}

// add reports a finding of the step that is being checked.
func (k *checker) add(s Severity, at origin.Line, message, consequence, fix string) {
	k.findings = append(k.findings, Finding{k.step, s, at, message, consequence, fix})
}

// entries calls do for every entry of every crypto map and dynamic map that has
// settings of its own.
func (k *checker) entries(do func(m *CryptoMap, e *MapEntry)) {
	for _, maps := range [][]CryptoMap{k.c.CryptoMaps, k.c.DynamicMaps} {
		for i := range maps {
			m := &maps[i]
			for j := range m.Entries {
				if m.Entries[j].Dynamic == "" {
					do(m, &m.Entries[j])
				}
			}
		}
	}
}

// severity is Error for what is applied to an interface, else Warning.
func (k *checker) severity(m *CryptoMap) Severity {
	if !m.Dynamic && len(k.applied[m.Name]) > 0 || m.Dynamic && k.stoodFor[m.Name] {
		return Error
	}
	return Warning
}

// entryLine is the header of an entry.
func entryLine(m *CryptoMap, e *MapEntry) string {
	switch {
	case m.Dynamic:
		return fmt.Sprintf("crypto dynamic-map %s %d", m.Name, e.Seq)
	case e.Dynamic != "":
		return fmt.Sprintf("crypto map %s %d ipsec-isakmp dynamic %s", m.Name, e.Seq, e.Dynamic)
	}
	return fmt.Sprintf("crypto map %s %d ipsec-isakmp", m.Name, e.Seq)
}

// nameOf is how a finding names an entry.
func nameOf(m *CryptoMap, e *MapEntry) string {
	if m.Dynamic {
		return fmt.Sprintf("crypto dynamic-map %s %d", m.Name, e.Seq)
	}
	return fmt.Sprintf("crypto map %s %d", m.Name, e.Seq)
}

// weak lists which of the algorithms may only be negotiated with the shield
// off, in IOS words.
func weak(rows ...named) []string {
	var out []string
	for _, r := range rows {
		if r.verdict == suite.Legacy {
			out = append(out, r.words)
		}
	}
	return out
}

// named is an algorithm as a configuration names it, and its verdict.
type named struct {
	words   string
	verdict suite.Verdict
}

// shieldLine lets the legacy algorithms be negotiated.
const shieldLine = "crypto engine compliance shield disable"

// join lists words: "des, md5 and group 1".
func join(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// are is "is" or "are".
func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
