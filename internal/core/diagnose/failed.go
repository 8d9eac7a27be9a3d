package diagnose

import (
	"fmt"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
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
	c.report.Both = false // what the configuration alone told is no longer the matter
	if tell := c.tellers()[w.Code]; tell != nil {
		tell(e, w)
	} else {
		c.other(e, w)
	}
	return true
}

// tellers are what explains each code; other explains the rest.
func (c *explainer) tellers() map[event.Code]func(event.Event, event.Failed) {
	return map[event.Code]func(event.Event, event.Failed){
		event.NoAnswer: c.noAnswer, event.NoPolicy: c.noPolicy, event.NoKey: c.noKey, event.WrongKey: c.wrongKey,
		event.BadIdentity: c.badIdentity, event.LegacyOnly: c.legacyOnly, event.SpeaksIKEv2: c.speaksIKEv2,
		event.NoXAUTH: c.noXAUTH, event.AggressiveOff: c.aggressiveOff, event.RSAEncrypted: c.rsaEncrypted, event.NoProfile: c.noProfile,
		event.NoCertificate: c.noCertificate, event.CertUntrusted: c.certUntrusted, event.CertExpired: c.certExpired, event.CertRevoked: c.certRevoked,
		event.RevocationNone: c.revocationUnknown, event.CertIdentity: c.certIdentity, event.BadSignature: c.badSignature,
		event.NoTransformSet: c.noTransformSet, event.ModeMismatch: c.modeMismatch, event.PFSMismatch: c.pfsMismatch, event.NoProxy: c.noProxy,
		event.IsResponderOnly: c.responderOnly, event.PeerGone: c.peerGone, event.Fragmented: c.fragmented,
	}
}

// configurationTells reports whether our own configuration, judged already,
// says why the negotiation failed, and better than the failure does.
func (c *explainer) configurationTells(e event.Event, w event.Failed) bool {
	switch c.report.Culprit {
	case 1:
		return w.Code == event.NoAnswer || w.Code == event.WrongKey || w.Code == event.Expired
	case 2:
		return w.Code == event.NoKey || w.Code == event.NoCertificate && e.Role == event.Initiator || e.Role == event.Initiator && (w.Code == event.NoPolicy || w.Code == event.LegacyOnly)
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
		if c.throughNAT() {
			return
		}
		c.blame(3, false, "no answer to "+w.LastSent,
			fmt.Sprintf("%s proved its key in phase 1 but does not answer quick mode (%s): it may have no crypto map for %s, or drop what it refuses.", peer, w.LastSent, c.entry.Local),
			c.there("show crypto map", "debug crypto ipsec"))
		return
	}
	port, what := "UDP 500", "eq isakmp"
	if w.LastSent == "MM5" || w.LastSent == "AM3" {
		port, what = "UDP 4500", "eq non500-isakmp"
	}
	said := fmt.Sprintf("nothing came back for %s", w.LastSent)
	if w.LastReceived != "" {
		said += " (after " + w.LastReceived + " had come)"
	}
	also := fmt.Sprintf("or it has no crypto map with peer %s", c.entry.Local)
	ways := []choice{c.thereToo(fmt.Sprintf("access-list NUMBER permit udp host %s host %s %s", c.entry.Local, peer, what))}
	switch {
	case w.LastSent == "AM1":
		also += ", or it does not speak aggressive mode with us"
		ways = append(ways, c.there("crypto isakmp peer address "+c.entry.Local.String(), " set aggressive-mode client-endpoint ipv4-address "+peer.String()))
	case c.signs() && (w.LastSent == "MM5" || w.LastSent == "MM6"):
		also += "; or a filter drops the IP fragments of " + w.LastSent + ", which is large with a certificate in it"
		ways = append(ways, c.cutting(c.Settings.Fragmentation))
	case c.signs() && w.LastSent == "MM4":
		also += "; or a filter drops the IP fragments of MM5, which is large with the peer's certificate in it"
		ways = append(ways, c.cutting(true))
	}
	c.blame(1, false, fmt.Sprintf("no answer on %s: %s", port, said),
		fmt.Sprintf("%s does not answer on %s: %s. It is down, a filter on the way or its interface ACL drops %s, %s.", peer, port, said, port, also), ways...)
}

// signs reports whether the ISAKMP SA under way authenticates by certificate.
func (c *explainer) signs() bool {
	s := c.sa()
	if s == nil || s.Policy.Auth == suite.NoAuth {
		return len(c.Settings.Policies) > 0 && c.Settings.Policies[0].Auth.Signature()
	}
	return s.Policy.Auth.Signature()
}

// cutting lets IKE cut large messages. Here that helps only when the peer says
// that it can, so who has it here already needs it there.
func (c *explainer) cutting(there bool) choice {
	const line = "crypto isakmp fragmentation"
	if there {
		return c.thereToo(line)
	}
	return choice{{Side: c.side(), Write: []string{line}, Add: true}}
}

// other explains what no other function does: with the peer's own words, where
// it said any.
func (c *explainer) other(_ event.Event, w event.Failed) {
	if tell := c.notified(w); tell != nil {
		tell()
		return
	}
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

// notified is what explains a notification of the peer that names its reason
// (RFC 2408 3.14.1); nil for the others.
func (c *explainer) notified(w event.Failed) func() {
	tell := func(step int, detail, sentence string, ways ...choice) func() {
		return func() {
			c.blame(step, false, detail, fmt.Sprintf("%s answered %s: %s", c.report.Peer, w.Notified, sentence), ways...)
		}
	}
	switch w.Notified {
	case "INVALID-EXCHANGE-TYPE", "UNSUPPORTED-EXCHANGE-TYPE":
		if strings.HasPrefix(w.LastSent, "AM") {
			return tell(2, "the peer does not speak aggressive mode", "it does not speak aggressive mode with us.",
				c.mainModeHere(), c.there("crypto isakmp peer address "+c.entry.Local.String(), " set aggressive-mode client-endpoint ipv4-address "+c.report.Peer.String()))
		}
	case "INVALID-CERT-AUTHORITY", "INVALID-CERTIFICATE", "INVALID-CERT-ENCODING", "CERT-TYPE-UNSUPPORTED":
		return tell(2, "the peer refused our certificate", "it refused our certificate"+c.ourCertificate()+". It does not trust the CA, or the certificate is not valid, revoked or of a kind it does not take.",
			c.trustThere(), c.trustpointHere("of a CA that the peer trusts"))
	case "CERTIFICATE-UNAVAILABLE":
		return tell(2, "the peer has no certificate of ours", "it has or got no certificate to prove us with.", c.trustThere())
	case "INVALID-SIGNATURE", "INVALID-HASH-INFORMATION", "AUTHENTICATION-FAILED":
		if !c.signs() {
			return tell(2, "the peer did not take our authentication", "it did not take our authentication. The pre-shared keys differ, or it expects us under another identity.",
				c.keyHere(w.Identity), c.there("crypto isakmp key THE-SAME-KEY address "+c.entry.Local.String()))
		}
		return tell(2, "the peer did not take our signature", "it did not take our signature. It does not trust our certificate"+c.ourCertificate()+", or it expects us under another identity.",
			c.trustThere(), c.identityHere())
	case "INVALID-ID-INFORMATION":
		if w.Phase == 1 {
			return tell(2, "the peer does not know our identity", "it does not know us under the identity we gave it.",
				c.there("crypto isakmp profile NAME", " match identity address "+c.entry.Local.String()), c.identityHere())
		}
	}
	return nil
}
