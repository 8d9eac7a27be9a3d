package diagnose

import (
	"fmt"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
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
	if own.Auth != offer.Auth {
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
			n := 0
			for _, differs := range []bool{x.Set.Cipher != y.Cipher, x.Set.KeyBits != y.KeyBits, x.Set.Integ != y.Integ, x.Set.Mode != y.Mode} {
				if differs {
					n++
				}
			}
			if n < best {
				o, t, best, found = x, y, n, true
			}
		}
	}
	return o, t, found
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
		w = append(w, o.Set.Words()+" ("+o.Encap+")")
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
