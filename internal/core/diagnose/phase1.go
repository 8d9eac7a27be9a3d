package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func (c *explainer) wrongKey(e event.Event, w event.Failed) {
	said := "both agreed on a policy and exchanged keys, then the authentication (MM5) was sent but no valid MM6 came back"
	switch aggressive := strings.HasPrefix(w.LastSent, "AM") || strings.HasPrefix(w.LastReceived, "AM"); {
	case aggressive && e.Role == event.Responder:
		said = "the hash in its AM3 does not prove it"
	case aggressive:
		said = "the hash in its AM2 does not prove it"
	case e.Role == event.Responder:
		said = "both agreed on a policy and exchanged keys, then its MM5 does not decrypt or its hash is wrong"
	}
	who := c.report.Peer.String()
	if keys := c.keys(w.Identity); len(keys) > 0 && keys[0].ring != "default" {
		who += " (in keyring " + keys[0].ring + ")"
	}
	c.blame(2, false, "the pre-shared keys differ, it seems",
		fmt.Sprintf("The pre-shared key for %s is almost certainly not the one it has: %s.", who, said),
		c.keyHere(w.Identity), c.there("crypto isakmp key THE-SAME-KEY address "+c.entry.Local.String()))
}

// noPolicy explains a refusal of all policies: as responder both sides are
// known, as initiator only our own.
func (c *explainer) noPolicy(e event.Event, w event.Failed) {
	own := c.Settings.Usable()
	switch {
	case e.Role == event.Initiator && len(own) == 0:
		c.noUsablePolicy()
		return
	case e.Role == event.Initiator:
		c.blame(2, false, "the peer refused every policy offered",
			fmt.Sprintf("%s refused all that was offered (%s): it has no ISAKMP policy equal to one of them, or no %s or crypto map entry for %s.",
				c.report.Peer, offered(own), credential(own), c.entry.Local),
			c.there(policyLines(own[0])...),
			c.here(own[0].Origin, fmt.Sprintf("crypto isakmp policy %d", own[0].Priority), " ! encryption, hash, authentication and group of one of the peer's policies"))
		return
	}
	c.report.Both = true
	if len(own) == 0 {
		own = c.Settings.Policies // none of them usable: the nearest becomes so
	}
	o, p, found := closest(w.PolicyOffers, own)
	switch {
	case !found && len(own) == 0 && len(w.PolicyOffers) > 0 && w.PolicyOffers[0].Priority >= 0:
		o = w.PolicyOffers[0]
		o.Priority, o.Lifetime = 10, 0
		here := c.add(origin.Line{}, policyLines(o)...)
		if !c.Settings.Negotiable(o.Verdict()) {
			here = together(here, c.shieldOff())
		}
		c.blame(2, true, "no ISAKMP policy", fmt.Sprintf("%s offered %s; there is no ISAKMP policy here.", c.report.Peer, offered(w.PolicyOffers)), here)
		return
	case !found:
		c.blame(2, true, "nothing readable was offered", fmt.Sprintf("%s offered no ISAKMP policy that can be read.", c.report.Peer))
		return
	}
	if c.otherCurve(p, o) {
		return
	}
	diff := differences(p, o)
	here := c.changes(p, diff)
	if o.Auth.Signature() && !c.canSign(o.Auth) {
		here = together(here, c.trustpointHere("ours, for "+o.Auth.String()))
	}
	if !c.Settings.Negotiable(o.Verdict()) {
		here = together(here, c.shieldOff())
	}
	names := make([]string, len(diff))
	for i, d := range diff {
		names[i] = d.name
	}
	c.blame(2, true, "no policy in common: "+strings.Join(names, ", "),
		fmt.Sprintf("%s offered %s; %s here has %s: they differ in %s.", c.report.Peer, offered(w.PolicyOffers), policyName(p), p, strings.Join(names, " and ")),
		here, c.there(policyLines(p)...))
}

// credential is what a peer needs for the policies: a key, a trustpoint.
func credential(own []policy.ISAKMP) string {
	keys := slices.ContainsFunc(own, func(p policy.ISAKMP) bool { return !p.Auth.Signature() })
	if slices.ContainsFunc(own, func(p policy.ISAKMP) bool { return p.Auth.Signature() }) {
		if keys {
			return "key, certificate"
		}
		return "certificate"
	}
	return "key"
}

func (c *explainer) speaksIKEv2(event.Event, event.Failed) {
	c.blame(2, true, "the peer speaks IKEv2",
		fmt.Sprintf("%s begins the negotiation in IKEv2; this gateway speaks IKEv1.", c.report.Peer),
		c.there("IKEv1 for this tunnel: on IOS a crypto map entry without \"set ikev2-profile\", on strongSwan \"version = 1\", on libreswan \"ikev2=no\""))
}

func (c *explainer) legacyOnly(e event.Event, w event.Failed) {
	step, theirs := 2, offered(w.PolicyOffers)
	if w.Phase == 2 {
		step, theirs = 3, offeredSets(w.ProposalOffers)
	}
	said := "All that could be agreed"
	if e.Role == event.Responder && theirs != "" {
		c.report.Both = true
		said = fmt.Sprintf("%s offered %s; all of it that is configured here, too,", c.report.Peer, theirs)
	}
	c.blame(step, true, "only legacy algorithms",
		said+" uses legacy algorithms (DES, 3DES, MD5, groups 1, 2, 5), which the compliance shield keeps from being negotiated.", c.shieldOff())
}

// otherCurve explains two policies that differ in the curve of ECDSA alone,
// which no policy line names: the key of the certificate does (RFC 4754).
func (c *explainer) otherCurve(own, offer policy.ISAKMP) bool {
	same := own
	same.Auth = offer.Auth
	if own.Auth.String() != offer.Auth.String() || own.Auth == offer.Auth || same.Mismatch(offer) != "" {
		return false
	}
	c.blame(2, true, "the certificates' keys are on different curves",
		fmt.Sprintf("%s signs with %s, the certificate here with %s: in IKEv1 both have to be on one curve.", c.report.Peer, curve(offer.Auth), curve(own.Auth)),
		c.trustpointHere("with a key on "+curve(offer.Auth)), c.there("crypto pki trustpoint NAME", " certificate file PEM ! with a key on "+curve(own.Auth)))
	return true
}

// curve is ECDSA's curve for people; the numbers are those of RFC 4754.
func curve(a suite.Auth) string {
	switch a {
	case suite.ECDSA256:
		return "P-256"
	case suite.ECDSA384:
		return "P-384"
	case suite.ECDSA521:
		return "P-521"
	}
	return a.String()
}

// noXAUTH explains a peer that wants more than a site-to-site tunnel has.
func (c *explainer) noXAUTH(e event.Event, w event.Failed) {
	said := "wants extended authentication (XAUTH) or mode config behind phase 1"
	if e.Role == event.Responder && len(w.PolicyOffers) > 0 {
		said = "offers authentication with XAUTH only (" + offered(w.PolicyOffers) + ")"
	}
	c.blame(2, true, "the peer wants XAUTH or mode config",
		fmt.Sprintf("%s %s, as a remote-access client or its server does; between two sites there is neither.", c.report.Peer, said),
		c.there("crypto isakmp key THE-SAME-KEY address "+c.entry.Local.String()+" no-xauth ! on strongSwan no round with auth = xauth, on libreswan no leftxauthclient"))
}

// rsaEncrypted explains what is in common and yet never negotiated.
func (c *explainer) rsaEncrypted(e event.Event, w event.Failed) {
	const why = "authentication by RSA encryption is not spoken here: who may ask often enough can decrypt with it, and IKEv1 cannot be mended"
	line, other := "authentication pre-share", "authentication rsa-sig"
	if e.Role == event.Initiator {
		for _, p := range c.Settings.Policies {
			if p.Auth == suite.RSAEncr {
				c.blame(2, true, "authentication by RSA encryption", fmt.Sprintf("%s says authentication rsa-encr; %s.", upper(policyName(p)), why),
					c.changes(p, []difference{{"authentication", line, p.AuthOrigin}}), c.changes(p, []difference{{"authentication", other, p.AuthOrigin}}))
				return
			}
		}
	}
	own := c.Settings.Usable()
	if len(own) > 0 {
		line = "authentication " + own[0].Auth.String()
	}
	c.blame(2, true, "the peer authenticates by RSA encryption",
		fmt.Sprintf("%s offered %s; %s.", c.report.Peer, offered(w.PolicyOffers), why), c.there(line))
}

// aggressiveOff explains a peer that begins in aggressive mode.
func (c *explainer) aggressiveOff(event.Event, event.Failed) {
	main := c.there("main mode for this tunnel: on IOS \"no crypto isakmp peer address " + c.entry.Local.String() + "\", on strongSwan \"aggressive = no\", on libreswan \"aggressive=no\"")
	allow := choice{{Side: c.side(), Add: true, Write: []string{"crypto isakmp peer address " + c.report.Peer.String(), " set aggressive-mode client-endpoint ipv4-address " + c.entry.Local.String()}}}
	because := "it is spoken only with peers that \"crypto isakmp peer … / set aggressive-mode\" or a profile with \"initiate mode aggressive\" names"
	if c.Settings.AggressiveDisabled {
		because = "\"crypto isakmp aggressive-mode disable\" forbids it"
		off := c.here(c.Settings.AggressiveDisabledOrigin, "no crypto isakmp aggressive-mode disable")
		if c.aggressivePeer() {
			allow = off
		} else {
			allow = together(off, allow)
		}
	}
	c.report.Both = true
	c.blame(2, true, "the peer begins in aggressive mode",
		fmt.Sprintf("%s begins in aggressive mode; here %s. It tells the identities in clear, and a hash of the pre-shared key that anybody can guess at offline: main mode is better.", c.report.Peer, because),
		main, allow)
}

// aggressivePeer reports whether the configuration names the peer for aggressive mode.
func (c *explainer) aggressivePeer() bool {
	return slices.ContainsFunc(c.Settings.Aggressive, func(a policy.AggressivePeer) bool { return a.Addr == c.report.Peer })
}

// mainModeHere takes aggressive mode away from the peer.
func (c *explainer) mainModeHere() choice {
	if c.aggressivePeer() {
		return c.add(origin.Line{}, "no crypto isakmp peer address "+c.report.Peer.String())
	}
	if p := c.entry.Profile; p != nil && p.Aggressive {
		return c.add(origin.Line{}, "crypto isakmp profile "+p.Name, " no initiate mode aggressive")
	}
	return c.add(origin.Line{}, "crypto isakmp aggressive-mode disable")
}
