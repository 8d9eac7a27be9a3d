package config

import (
	"fmt"
	"slices"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// setsExist finds entries whose transform sets are not there.
func (k *checker) setsExist() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		header := entryLine(m, e)
		if len(e.Sets) == 0 {
			k.add(k.severity(m), e.Origin, nameOf(m, e)+" has no transform set",
				"the entry is incomplete: its traffic would leave in the clear", header+"\n set transform-set NAME")
		}
		for _, name := range e.Sets {
			if k.sets[name] == nil {
				k.add(k.severity(m), e.SetOrigin, fmt.Sprintf("transform set %s is not defined", name),
					"it is not offered; without any set the entry's traffic would leave in the clear",
					"crypto ipsec transform-set "+name+" esp-aes 256 esp-sha256-hmac")
			}
		}
	})
}

// setsWork looks at every transform set that an entry offers.
func (k *checker) setsWork() {
	seen := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		usable := 0
		for _, name := range e.Sets {
			if t := k.sets[name]; t != nil && k.negotiable(t) {
				usable++
			}
		}
		severity := Warning
		if usable == 0 {
			severity = Error
		}
		for _, name := range e.Sets {
			if t := k.sets[name]; t != nil && !seen[name] {
				seen[name] = true
				k.set(t, severity)
			}
		}
	})
}

func (k *checker) negotiable(t *TransformSet) bool { return k.settings.Negotiable(t.Verdict()) }

func weakTransforms(t *TransformSet) []string {
	return weak(named{t.AH.Row().AH, t.AH.Row().Verdict}, named{t.Cipher.Row().ESP, t.Cipher.Row().Verdict}, named{t.Integ.Row().ESP, t.Integ.Row().Verdict})
}

func (k *checker) set(t *TransformSet, severity Severity) {
	good := "crypto ipsec transform-set " + t.Name + " esp-aes 256 esp-sha256-hmac"
	if t.Verdict() == suite.Never {
		k.add(Error, t.Origin, fmt.Sprintf("transform set %s (%s) has no integrity algorithm: who alters its packets is not noticed", t.Name, t.Words()),
			"it is neither offered nor accepted in phase 2", good)
	}
	k.sense(t)
	parts := weakTransforms(t)
	switch {
	case len(parts) == 0:
	case k.c.Legacy:
		k.add(Note, t.Origin, fmt.Sprintf("transform set %s has %s", t.Name, join(parts)), "it is offered because of \""+shieldLine+"\"; these algorithms can be broken", good)
	default:
		k.add(severity, t.Origin, fmt.Sprintf("transform set %s has %s, which %s negotiated only with \"%s\"", t.Name, join(parts), are(len(parts)), shieldLine),
			"it is neither offered nor accepted in phase 2", good)
	}
}

// sense names what is odd about a set that can be negotiated.
func (k *checker) sense(t *TransformSet) {
	good := "crypto ipsec transform-set " + t.Name + " esp-aes 256 esp-sha256-hmac"
	ah, encrypted := t.AH != suite.NoHash, t.Cipher != suite.NoCipher && t.Cipher != suite.NullCipher
	switch {
	case t.Verdict() == suite.Never:
	case !encrypted:
		k.add(Note, t.Origin, fmt.Sprintf("transform set %s (%s) encrypts nothing", t.Name, t.Words()), "everybody on the way reads the traffic, and nobody can alter it", good)
	case ah && (t.Integ != suite.NoHash || t.Cipher.Combined()):
		k.add(Note, t.Origin, fmt.Sprintf("transform set %s (%s) protects integrity twice", t.Name, t.Words()), "every packet is 24 octets or more longer, and no NAT may stand between the routers", good)
	}
}

// transport finds transport mode where the packets' ends are not the routers.
func (k *checker) transport() {
	seen := map[string]bool{}
	for i := range k.settings.Entries {
		e := &k.settings.Entries[i]
		for _, t := range e.Sets {
			if t.Mode != suite.Transport || seen[t.Name] {
				continue
			}
			flows := e.Flows()
			if i := slices.IndexFunc(flows, func(f policy.Flow) bool { return !endsAtRouters(e, f) }); i >= 0 {
				seen[t.Name] = true
				k.elsewhere(e, &t, flows[i])
			}
		}
	}
}

// elsewhere is the finding about transport mode for a flow of somebody else.
func (k *checker) elsewhere(e *policy.Entry, t *policy.TransformSet, f policy.Flow) {
	at := wrote(t.ModeOrigin, t.Origin)
	what := fmt.Sprintf("transform set %s is in transport mode, and %s of %s %d is not between the two routers themselves", t.Name, f.Selectors, e.Map, e.Seq)
	tunnel := "crypto ipsec transform-set " + t.Name + " " + t.ConfigWords() + "\n mode tunnel"
	switch {
	case !t.Require:
		k.add(Note, at, what, "tunnel mode is negotiated for it instead", tunnel)
	case slices.ContainsFunc(e.Sets, func(o policy.TransformSet) bool { return !o.Require }):
		k.add(Warning, at, what, "with \"require\" the set is never offered for it", tunnel)
	default:
		k.add(Error, at, what, "with \"require\" the set is never offered for it", tunnel)
	}
}

// endsAtRouters reports whether a flow is between our address and the peer's,
// which transport mode needs (RFC 4301 section 4.1).
func endsAtRouters(e *policy.Entry, f policy.Flow) bool {
	if !f.Selectors.Local.IsSingleIP() || f.Selectors.Local.Addr() != e.Local || !f.Selectors.Remote.IsSingleIP() {
		return false
	}
	return e.Dynamic || slices.Contains(e.Peers, f.Selectors.Remote.Addr())
}

// extended finds extended sequence numbers without an anti-replay window.
func (k *checker) extended() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		off := k.c.ReplayWindow == 0 && !e.HasReplay || e.HasReplay && e.ReplayWindow == 0
		for _, name := range e.Sets {
			if t := k.sets[name]; t != nil && t.ESN && off {
				severity := Warning
				if !slices.ContainsFunc(e.Sets, func(o string) bool { return k.sets[o] != nil && !k.sets[o].ESN }) {
					severity = k.severity(m)
				}
				k.add(severity, wrote(e.ReplayOrigin, wrote(k.c.ReplayWindowOrigin, t.ESNOrigin)),
					fmt.Sprintf("transform set %s has extended sequence numbers, and %s no anti-replay window, by which the upper half of a number is found (RFC 4303 appendix A)", name, nameOf(m, e)),
					"the set is neither offered nor accepted", entryLine(m, e)+"\n set security-association replay window-size 64")
			}
		}
	})
}

// translated finds AH where a NAT must stand between: one end has a private
// address and the other a public one.
func (k *checker) translated() {
	seen := map[string]bool{}
	for i := range k.settings.Entries {
		e := &k.settings.Entries[i]
		for _, t := range e.Sets {
			for _, peer := range e.Peers {
				if t.AH == suite.NoHash || seen[t.Name] || e.Local.IsPrivate() == peer.IsPrivate() {
					continue
				}
				seen[t.Name] = true
				k.add(Warning, t.Origin, fmt.Sprintf("transform set %s has AH, and between %s and %s stands a NAT: one of them is a private address (RFC 1918)", t.Name, e.Local, peer),
					"AH protects the addresses that the NAT changes: every packet is dropped by who receives it", "crypto ipsec transform-set "+t.Name+" esp-aes 256 esp-sha256-hmac")
			}
		}
	}
}

func (k *checker) setsUsed() {
	used := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		for _, name := range e.Sets {
			used[name] = true
		}
	})
	for i := range k.c.TransformSets {
		if t := &k.c.TransformSets[i]; !used[t.Name] {
			k.add(Note, t.Origin, fmt.Sprintf("transform set %s is in no crypto map", t.Name), "it is never offered", "")
		}
	}
}
