package diagnose

import (
	"fmt"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// difference is one attribute in which a policy and an offer differ, and the
// line that makes them equal.
type difference struct {
	name   string
	line   string
	origin origin.Line
}

// differences lists every attribute in which own differs from the offer.
func differences(own, offer policy.ISAKMP) []difference {
	var out []difference
	if own.Cipher != offer.Cipher || own.KeyBits != offer.KeyBits {
		out = append(out, difference{"encryption", "encryption " + policy.CipherWords(offer.Cipher, offer.KeyBits), own.CipherOrigin})
	}
	if own.Hash != offer.Hash {
		out = append(out, difference{"hash", "hash " + offer.Hash.Row().IKE, own.HashOrigin})
	}
	if own.Auth.String() != offer.Auth.String() {
		out = append(out, difference{"authentication", "authentication " + offer.Auth.String(), own.AuthOrigin})
	}
	if own.Group != offer.Group {
		out = append(out, difference{"Diffie-Hellman group", fmt.Sprintf("group %d", uint16(offer.Group)), own.GroupOrigin})
	}
	return out
}

// closest finds the offer and the policy that differ in the fewest attributes.
// Offers that cannot be read (Priority -1) are passed over.
func closest(offers, own []policy.ISAKMP) (o, p policy.ISAKMP, found bool) {
	best := 99
	for _, x := range offers {
		for _, y := range own {
			if n := len(differences(y, x)); x.Priority >= 0 && n < best {
				o, p, best, found = x, y, n, true
			}
		}
	}
	return o, p, found
}

// closestSet finds the offer and the transform set that differ least.
func closestSet(offers []event.Proposal, sets []policy.TransformSet) (o event.Proposal, t policy.TransformSet, found bool) {
	best := 99
	for _, x := range offers {
		if x.Unknown != "" {
			continue
		}
		for _, y := range sets {
			n := distance(x.Set, y)
			if n < best {
				o, t, best, found = x, y, n, true
			}
		}
	}
	return o, t, found
}

// distance counts the things in which two transform sets differ; another
// protocol weighs most.
func distance(a, b policy.TransformSet) int {
	n := 0
	for _, d := range []struct {
		differs bool
		weight  int
	}{
		{(a.AH == suite.NoHash) != (b.AH == suite.NoHash), 4}, {(a.Cipher == suite.NoCipher) != (b.Cipher == suite.NoCipher), 4},
		{a.AH != b.AH, 1}, {a.Cipher != b.Cipher, 1}, {a.KeyBits != b.KeyBits, 1}, {a.Integ != b.Integ, 1}, {a.Mode != b.Mode, 1}, {a.ESN != b.ESN, 1},
	} {
		if d.differs {
			n += d.weight
		}
	}
	return n
}

// offered lists policies for a sentence: "(aes 256, sha256, pre-share, group 14)".
func offered(offers []policy.ISAKMP) string {
	w := make([]string, 0, len(offers))
	for i, o := range offers {
		if i == 4 {
			w = append(w, fmt.Sprintf("and %d more", len(offers)-i))
			break
		}
		if o.Priority < 0 {
			w = append(w, "something unreadable")
			continue
		}
		w = append(w, o.String())
	}
	return strings.Join(w, "; ")
}

func offeredSets(offers []event.Proposal) string {
	w := make([]string, 0, len(offers))
	for i, o := range offers {
		if i == 4 {
			w = append(w, fmt.Sprintf("and %d more", len(offers)-i))
			break
		}
		if o.Unknown != "" {
			w = append(w, o.Unknown)
			continue
		}
		how := o.Encap
		if o.Set.ESN {
			how += ", esn"
		}
		w = append(w, o.Set.Words()+" ("+how+")")
	}
	return strings.Join(w, "; ")
}

func policyName(p policy.ISAKMP) string {
	if p.Origin.IsZero() {
		return fmt.Sprintf("policy %d", p.Priority)
	}
	return fmt.Sprintf("policy %d (%s)", p.Priority, p.Origin)
}

// policyLines write a policy.
func policyLines(p policy.ISAKMP) []string {
	head := fmt.Sprintf("crypto isakmp policy %d", p.Priority)
	lines := []string{head, " encryption " + policy.CipherWords(p.Cipher, p.KeyBits), " hash " + p.Hash.Row().IKE,
		" authentication " + p.Auth.String(), fmt.Sprintf(" group %d", uint16(p.Group))}
	if p.Lifetime != 0 && p.Lifetime != policy.DefaultISAKMPLifetime {
		lines = append(lines, fmt.Sprintf(" lifetime %d", p.Lifetime/time.Second))
	}
	return lines
}

func setLine(t policy.TransformSet) string {
	return fmt.Sprintf("crypto ipsec transform-set %s %s", t.Name, t.ConfigWords())
}

// setLines write a transform set with what stands under it.
func setLines(t policy.TransformSet) []string {
	out := []string{setLine(t)}
	if t.Mode == suite.Transport {
		out = append(out, " mode transport")
	}
	if t.ESN {
		out = append(out, " esn")
	}
	return out
}

// setWord is a set for a sentence: "esp-256-aes esp-sha256-hmac, esn".
func setWord(t policy.TransformSet) string {
	if t.ESN {
		return t.Words() + ", esn"
	}
	return t.Words()
}
