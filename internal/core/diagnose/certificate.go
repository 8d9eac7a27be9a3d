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

// trustpoints are those that may serve the peer: the ones its profile names, or all.
func (c *explainer) trustpoints() []policy.Trustpoint {
	p := c.entry.Profile
	if p == nil || len(p.Trustpoints) == 0 {
		return c.Settings.Trustpoints
	}
	var out []policy.Trustpoint
	for _, t := range c.Settings.Trustpoints {
		if slices.Contains(p.Trustpoints, t.Name) {
			out = append(out, t)
		}
	}
	return out
}

// canSign reports whether a trustpoint can prove us with that method.
func (c *explainer) canSign(a suite.Auth) bool {
	return slices.ContainsFunc(c.trustpoints(), func(t policy.Trustpoint) bool { return len(t.Chain) > 0 && t.Key.Auth() == a })
}

// trustpoint is the one of that name, else the first, else none.
func (c *explainer) trustpoint(name string) (policy.Trustpoint, bool) {
	all := c.trustpoints()
	for _, t := range all {
		if t.Name == name {
			return t, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return policy.Trustpoint{}, false
}

// trustpointHere is a certificate of ours in a trustpoint, and its private key.
func (c *explainer) trustpointHere(what string) choice {
	lines := []string{"certificate file PEM ! " + what, "private-key file PEM"}
	if t, ok := c.trustpoint(""); ok {
		return c.add(t.Origin, lines...)
	}
	return c.add(origin.Line{}, "crypto pki trustpoint NAME", " ca-certificate file PEM", " "+lines[0], " "+lines[1])
}

// trustThere makes the peer trust our CA.
func (c *explainer) trustThere() choice {
	return c.there("crypto pki trustpoint NAME", " ca-certificate file PEM ! the CA of our certificate")
}

func (c *explainer) trustpointNames() string {
	var w []string
	for _, t := range c.trustpoints() {
		w = append(w, t.Name)
	}
	switch len(w) {
	case 0:
		return "there is no trustpoint here"
	case 1:
		return "the trustpoint here is " + w[0]
	}
	return "the trustpoints here are " + strings.Join(w, ", ")
}

// ourCertificate names the trustpoint that proves us, for a sentence: " (trustpoint CORP)".
func (c *explainer) ourCertificate() string {
	for _, t := range c.trustpoints() {
		if len(t.Chain) > 0 {
			return " (trustpoint " + t.Name + ")"
		}
	}
	return ""
}

// theirs names the peer's certificate: "CN=r2 (serial 0A), issued by CN=ca".
func theirs(x event.Certificate) string {
	s := "that it did not send"
	if x.Subject != "" {
		s = x.Subject
	}
	if x.Serial != "" {
		s += " (serial " + x.Serial + ")"
	}
	if x.Issuer != "" {
		s += ", issued by " + x.Issuer
	}
	return s
}

// noCertificateHere says that no policy can be proved: we have neither a
// certificate for those that want one, nor is there one that does not.
func (c *explainer) noCertificateHere(p policy.ISAKMP) {
	sentence := fmt.Sprintf("%s authenticates with %s, and %s: none has a certificate and its private key for that.", upper(policyName(p)), p.Auth, c.trustpointNames())
	if len(c.trustpoints()) == 0 {
		sentence = fmt.Sprintf("%s authenticates with %s, and there is no trustpoint with a certificate here.", upper(policyName(p)), p.Auth)
	}
	pki := c.trustpointHere("ours, for " + p.Auth.String())
	if !c.hasKey() {
		c.blame(2, true, "no certificate to prove ourselves with", sentence, pki)
		return
	}
	if p.AuthOrigin.IsZero() {
		sentence = strings.TrimSuffix(sentence, ".") + fmt.Sprintf(". %s is the default when nothing is written.", p.Auth)
	}
	c.report.Both = true
	c.blame(2, true, "no certificate to prove ourselves with", sentence, c.changes(p, []difference{{"authentication", "authentication pre-share", p.AuthOrigin}}), pki)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// noCertificate explains that we cannot prove ourselves with the method agreed.
func (c *explainer) noCertificate(e event.Event, w event.Failed) {
	for _, p := range c.Settings.Usable() {
		if p.Auth.Signature() && !c.canSign(p.Auth) {
			c.noCertificateHere(p)
			return
		}
	}
	c.blame(2, true, "no certificate that the peer asks for",
		fmt.Sprintf("No certificate here can be shown to %s (%s): %s.", c.report.Peer, c.trustpointNames(), w.Reason),
		c.trustpointHere("of a CA that the peer asks for"))
}

func (c *explainer) certUntrusted(_ event.Event, w event.Failed) {
	issuer := "its CA"
	if w.Certificate.Issuer != "" {
		issuer = "the CA " + w.Certificate.Issuer
	}
	c.report.Both = w.Certificate.Issuer != ""
	c.blame(2, true, "the peer's certificate leads to no CA of ours",
		fmt.Sprintf("%s shows a certificate, %s; it leads to no CA that is trusted here (%s).", c.report.Peer, theirs(w.Certificate), c.trustpointNames()),
		c.add(origin.Line{}, "crypto pki trustpoint NAME", " ca-certificate file PEM ! of "+issuer), c.there("crypto pki trustpoint NAME", " certificate file PEM ! of a CA that "+c.side()+" trusts"))
}

func (c *explainer) certExpired(e event.Event, w event.Failed) {
	now, x := c.Now, w.Certificate
	if !e.At.IsZero() {
		now = e.At
	}
	said := "is not valid yet, or the clock here is slow"
	if x.NotAfter.IsZero() {
		said = "is not valid now (" + w.Reason + ")"
	} else if now.After(x.NotAfter) {
		said = "ended on " + x.NotAfter.UTC().Format("2 January 2006 at 15:04 UTC")
	}
	c.blame(2, true, "the peer's certificate is not valid now",
		fmt.Sprintf("The certificate of %s, %s, %s; here it is %s.", c.report.Peer, theirs(x), said, now.UTC().Format("2 January 2006, 15:04 UTC")),
		c.there("crypto pki enroll NAME ! a new certificate"))
}

func (c *explainer) certRevoked(_ event.Event, w event.Failed) {
	c.blame(2, true, "the peer's certificate was revoked",
		fmt.Sprintf("The certificate of %s, %s, was taken back by its CA%s.", c.report.Peer, theirs(w.Certificate), looks(w, "revoked")),
		c.there("crypto pki enroll NAME ! a new certificate"))
}

// revocationUnknown explains a certificate of which nobody says whether it was
// taken back.
func (c *explainer) revocationUnknown(_ event.Event, w event.Failed) {
	methods := "crl"
	t, ok := c.trustpoint(w.Certificate.Trustpoint)
	if ok && len(t.Revocation) > 0 {
		methods = strings.Join(t.Revocation, " ")
	}
	name := "NAME"
	if ok {
		name = t.Name
	}
	write, way := "revocation-check "+methods+" none", c.add(origin.Line{}, "crypto pki trustpoint "+name, " revocation-check "+methods+" none")
	switch {
	case !t.RevocationOrigin.IsZero():
		way = c.here(t.RevocationOrigin, write)
	case !t.Origin.IsZero():
		way = c.add(t.Origin, write)
	}
	c.report.Both = true
	c.blame(2, true, "whether the certificate was revoked cannot be found out",
		fmt.Sprintf("Nobody says whether the certificate of %s, %s, was revoked%s, and trustpoint %s wants to know (revocation-check %s).", c.report.Peer, theirs(w.Certificate), looks(w, ""), name, methods),
		way)
}

// looks tells where was looked, and what for: " (crl http://ca/crl: no answer)".
func looks(w event.Failed, result string) string {
	var out []string
	for _, r := range w.Revocations {
		if result == "" || r.Result == result {
			out = append(out, strings.TrimSpace(r.Method+" "+r.URL)+": "+r.Result)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, "; ") + ")"
}

// certIdentity explains a certificate that proves another name than the peer's,
// or fits no certificate map.
func (c *explainer) certIdentity(_ event.Event, w event.Failed) {
	c.report.Both = true
	for _, m := range c.maps() {
		if w.Profile != "" || w.Identity == "" {
			c.blame(2, true, "the certificate fits no map", fmt.Sprintf("The certificate of %s, %s, does not fit certificate map %s.", c.report.Peer, theirs(w.Certificate), m.Name), c.fitMap(m, w))
			return
		}
	}
	c.blame(2, true, "the certificate does not name the peer",
		fmt.Sprintf("%s calls itself %s, but its certificate, %s, is not for that name.", c.report.Peer, named(w), theirs(w.Certificate)),
		c.there("crypto isakmp identity dn"), c.there("crypto pki trustpoint NAME", " certificate file PEM ! with "+w.Identity+" in its subjectAltName"))
}

// maps are the certificate maps that a certificate of the peer may have to fit.
func (c *explainer) maps() []*policy.CertificateMap {
	var out []*policy.CertificateMap
	if p := c.entry.Profile; p != nil {
		for _, m := range p.Match {
			if m.Certificate != nil {
				out = append(out, m.Certificate)
			}
		}
	}
	for _, t := range c.trustpoints() {
		out = append(out, t.Match...)
	}
	return out
}

// fitMap is an entry of the map for the peer's certificate.
func (c *explainer) fitMap(m *policy.CertificateMap, w event.Failed) choice {
	seq := 10
	for _, r := range m.Entries {
		seq = max(seq, r.Seq+10)
	}
	return c.add(origin.Line{}, fmt.Sprintf("crypto pki certificate map %s %d", m.Name, seq), " subject-name co "+strings.ToLower(w.Certificate.Subject))
}

func (c *explainer) badSignature(e event.Event, w event.Failed) {
	c.blame(2, false, "the signature does not prove the certificate",
		fmt.Sprintf("The signature of %s does not prove the key of its certificate, %s: the certificate and the private key there do not belong together, or a message was changed on its way.", c.report.Peer, theirs(w.Certificate)),
		c.there("crypto pki trustpoint NAME", " private-key file PEM ! of the certificate"))
}
