package trace

import (
	"fmt"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// maxComparisons is how many comparisons that did not fit are drawn at one
// gateway between two messages.
const maxComparisons = 6

// notes writes what an event that is no message means to people.
func (d *drawing) notes(e *entry) {
	switch w := e.What.(type) {
	case event.PolicyCheck:
		if w.Mismatch != "" {
			d.comparison(e, policyMismatch(w))
			return
		}
		d.flush(e.side)
		d.note(e, note{style: green, mark: "✓", text: policyAccepted(e.Role, w)})
	case event.ProposalCheck:
		if w.Mismatch != "" {
			d.comparison(e, proposalMismatch(w))
			return
		}
		d.flush(e.side)
		d.note(e, note{style: green, mark: "✓", text: "transform set " + setName(w.Against) + ": " + w.Against.Words()})
	default:
		if n, ok := noteOf(e); ok {
			d.flush(e.side)
			d.note(e, n)
		}
	}
}

// comparison draws a comparison that did not fit, unless there were many.
func (d *drawing) comparison(e *entry, text string) {
	if d.shown[e.side] == maxComparisons {
		d.spare[e.side]++
		return
	}
	d.shown[e.side]++
	d.note(e, note{style: faint, text: text})
}

// flush says how many comparisons were left out, and counts anew.
func (d *drawing) flush(at side) {
	if n := d.spare[at]; n > 0 {
		d.note(&entry{side: at}, note{style: faint, text: fmt.Sprintf("and %d more comparisons", n)})
	}
	d.shown[at], d.spare[at] = 0, 0
}

func policyAccepted(r event.Role, c event.PolicyCheck) string {
	if r == event.Initiator {
		return fmt.Sprintf("policy %d agreed: %s", c.Against.Priority, c.Against)
	}
	return fmt.Sprintf("offer %d is policy %d: %s", c.Transform, c.Against.Priority, c.Against)
}

func policyMismatch(c event.PolicyCheck) string {
	s := fmt.Sprintf("offer %d, policy %d: %s differs", c.Transform, c.Against.Priority, c.Mismatch)
	if o, own := policyValue(c.Offer, c.Mismatch), policyValue(c.Against, c.Mismatch); o != "" && own != "" && o != own {
		s += fmt.Sprintf(" (offered %s, ours %s)", o, own)
	}
	return s
}

// policyValue is the part of a policy that a mismatch names.
func policyValue(p policy.ISAKMP, mismatch string) string {
	switch mismatch {
	case "encryption", "key length":
		if p.Cipher == suite.NoCipher {
			return "unknown"
		}
		return policy.CipherWords(p.Cipher, p.KeyBits)
	case "hash":
		return p.Hash.Row().IKE
	case "group":
		return fmt.Sprintf("group %d", uint16(p.Group))
	case "authentication":
		return p.Auth.String()
	}
	return ""
}

func setName(t policy.TransformSet) string {
	if t.Name == "" {
		return "without a name"
	}
	return t.Name
}

func proposalMismatch(c event.ProposalCheck) string {
	s := fmt.Sprintf("proposal %d, transform set %s: %s differs", c.Offer.Number, setName(c.Against), c.Mismatch)
	switch {
	case c.Offer.Unknown != "":
		return s + " (offered " + c.Offer.Unknown + ")"
	case c.Mismatch == "pfs group":
		return s + fmt.Sprintf(" (offered %s)", pfsWords(c.Offer.Group))
	}
	offered, own := c.Offer.Set.Words(), c.Against.Words()
	if c.Mismatch == "mode" {
		offered, own = c.Offer.Encap, c.Against.Mode.String()
	}
	if offered == own {
		return s
	}
	return s + fmt.Sprintf(" (offered %s, ours %s)", offered, own)
}

func pfsWords(g suite.Group) string {
	if g == suite.NoGroup {
		return "no PFS"
	}
	return fmt.Sprintf("PFS group %d", uint16(g))
}

func seconds(t time.Duration) string { return fmt.Sprintf("%d s", int(t/time.Second)) }

// noteOf words the other events; false for those that the arrows tell.
func noteOf(e *entry) (note, bool) {
	switch w := e.What.(type) {
	case event.Triggered:
		return note{style: plain, text: fmt.Sprintf("interesting traffic: %s (%s)", w.Packet, w.Flow)}, true
	case event.KeyLookup:
		return note{style: red, mark: "✗", text: "no pre-shared key for " + host(e.Peer)}, !w.Found
	case event.PolicyRefused:
		return note{style: red, mark: "✗", text: noneOf(len(w.Offers), "offer", "policies")}, true
	case event.NATCheck:
		return note{style: plain, text: natWords(w)}, true
	case event.Identified, event.Certificate, event.Revocation, event.Liveness, event.Fragments, event.Reconfigured:
		return proofNote(w)
	case event.Phase1Up:
		return phase1Note(w), true
	case event.ProxyCheck:
		return proxyNote(w), true
	case event.ProposalRefused:
		return note{style: red, mark: "✗", text: noneOf(len(w.Offers), "proposal", "transform sets")}, true
	case event.Phase2Up:
		return phase2Note(w), true
	case event.Notify:
		return notifyNote(w)
	case event.Deleted:
		return note{style: plain, text: deletedWords(w)}, true
	case event.Failed:
		return failedNote(w), true
	case event.Dropped:
		return note{style: faint, text: "a datagram dropped: " + w.Reason}, !e.joined
	}
	return note{}, false
}

// noneOf words a refusal of all offers.
func noneOf(n int, what, ours string) string {
	if n == 1 {
		return fmt.Sprintf("the one %s is none of our %s", what, ours)
	}
	return fmt.Sprintf("none of %d %ss is one of our %s", n, what, ours)
}

func natWords(n event.NATCheck) string {
	switch {
	case n.LocalBehind && n.PeerBehind:
		return "NAT: both of us are behind one; port 4500 from here on"
	case n.LocalBehind:
		return "NAT: this gateway is behind one; port 4500 from here on"
	case n.PeerBehind:
		return "NAT: the peer is behind one; port 4500 from here on"
	}
	return "NAT: none"
}

func proxyNote(c event.ProxyCheck) note {
	if c.Found {
		return note{style: green, mark: "✓", text: fmt.Sprintf("crypto ACL of %s: %s", c.Flow, c.Offered)}
	}
	return note{style: red, mark: "✗", text: fmt.Sprintf("no crypto ACL line permits %s", c.Offered)}
}

func phase2Note(up event.Phase2Up) note {
	what := "phase 2 up"
	if up.Rekey {
		what = "phase 2 renewed"
	}
	how := up.Set.Words() + ", " + pfsWords(up.PFS)
	if up.Set.Mode == suite.Transport {
		how += ", transport mode"
	}
	if up.ESN {
		how += ", extended sequence numbers"
	}
	if up.Encap {
		how += ", in UDP 4500"
	}
	life := seconds(up.Lifetime.Time)
	if up.Lifetime.Kilobytes > 0 {
		life += fmt.Sprintf(" or %d kB", up.Lifetime.Kilobytes)
	}
	n := note{style: green, mark: "✓", text: fmt.Sprintf("%s: %s", what, up.Selectors), more: []string{how}}
	switch {
	case up.AHIn == 0:
		n.more = append(n.more, fmt.Sprintf("SPI in 0x%08X, out 0x%08X, for %s", up.In, up.Out, life))
	case up.In == 0:
		n.more = append(n.more, fmt.Sprintf("AH: SPI in 0x%08X, out 0x%08X, for %s", up.AHIn, up.AHOut, life))
	default:
		n.more = append(n.more, fmt.Sprintf("AH: SPI in 0x%08X, out 0x%08X, around", up.AHIn, up.AHOut), fmt.Sprintf("ESP: SPI in 0x%08X, out 0x%08X, for %s", up.In, up.Out, life))
	}
	return n
}

func phase1Note(up event.Phase1Up) note {
	text := fmt.Sprintf("phase 1 up: the peer is %s, lifetime %s", up.Identity, seconds(up.Policy.Lifetime))
	n := note{style: green, mark: "✓", text: text}
	if up.Profile != "" {
		n.more = append(n.more, "isakmp profile "+up.Profile)
	}
	if up.Aggressive && !up.Policy.Auth.Signature() {
		n.more = append(n.more, "aggressive mode: the hash of the key went in clear")
	}
	return n
}

// proofNote words who the peer is, how it proves that and whether it is there.
func proofNote(w event.What) (note, bool) {
	switch w := w.(type) {
	case event.Identified:
		text := "the peer calls itself " + w.Identity
		if w.Profile != "" {
			text += ": isakmp profile " + w.Profile
		}
		if w.Keyring != "" && w.Keyring != "default" {
			text += ", keyring " + w.Keyring
		}
		return note{style: plain, text: text}, true
	case event.Certificate:
		return certificateNote(w), true
	case event.Revocation:
		style, mark := yellow, "!"
		switch w.Result {
		case "good":
			style, mark = green, "✓"
		case "revoked":
			style, mark = red, "✗"
		}
		return note{style: style, mark: mark, text: fmt.Sprintf("revocation of %s by %s: %s", w.Serial, w.Method, w.Result)}, true
	case event.Liveness:
		if w.Dead {
			return note{style: red, mark: "✗", text: fmt.Sprintf("the peer is gone: %d questions without an answer", w.Of)}, true
		}
		return note{style: yellow, mark: "!", text: fmt.Sprintf("is the peer there? question %d of %d", w.Attempt, w.Of)}, true
	case event.Fragments:
		return note{style: faint, text: fragmentWords(w)}, true
	case event.Reconfigured:
		return note{style: plain, text: fmt.Sprintf("new settings: %d SAs stay, %d end", w.Kept, w.Ended)}, true
	}
	return note{}, false
}

func certificateNote(w event.Certificate) note {
	switch {
	case w.Dir == event.Sent:
		return note{style: plain, text: fmt.Sprintf("shows the certificate of trustpoint %s: %s", w.Trustpoint, w.Subject)}
	case w.Refused != "":
		return note{style: red, mark: "✗", text: fmt.Sprintf("certificate of %s refused: %s", w.Subject, w.Refused)}
	}
	return note{style: green, mark: "✓", text: fmt.Sprintf("certificate of %s, proved by trustpoint %s", w.Subject, w.Trustpoint)}
}

// notifyNote tells errors that the peer said; what a message carries besides
// is told by its arrow.
func notifyNote(n event.Notify) (note, bool) {
	if n.Dir != event.Received || n.Number == 0 || n.Number >= 16384 {
		return note{}, false
	}
	if !n.Protected {
		return note{style: yellow, mark: "!", text: n.Type + ", not protected: a hint, no proof"}, true
	}
	return note{style: red, mark: "✗", text: "the peer says " + n.Type}, true
}

func deletedWords(d event.Deleted) string {
	what := "ISAKMP SA"
	if d.Protocol != "ISAKMP" {
		what = fmt.Sprintf("IPsec SA 0x%08X", d.SPI)
	}
	s := what + " deleted"
	if d.ByPeer {
		s += " by the peer"
	}
	if d.Reason != "" {
		s += ": " + d.Reason
	}
	return s
}

func failedNote(f event.Failed) note {
	if f.Pending {
		return note{style: yellow, mark: "!", text: "so far: " + f.Reason}
	}
	return note{style: red, mark: "✗", text: fmt.Sprintf("phase %d failed: %s", f.Phase, f.Reason)}
}
