package config

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/origin"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

const (
	// soon is how long before its end a certificate is worth a warning.
	soon = 30 * 24 * time.Hour
	// strong is the shortest RSA key that is not called weak, in bits.
	strong = 2048
)

// trustpointLines is how a router gets a certificate.
const trustpointLines = "crypto pki trustpoint NAME\n ca-certificate file CA.pem\n certificate file ROUTER.pem\n private-key file ROUTER.key"

// canProve reports whether we can authenticate by that method.
func (k *checker) canProve(a suite.Auth) bool {
	switch {
	case a == suite.PSK:
		return true
	case a == suite.RSASig:
		return slices.Contains(k.proofs(), suite.RSASig)
	case a.Signature():
		return slices.ContainsFunc(k.proofs(), func(p suite.Auth) bool { return p != suite.RSASig })
	}
	return false
}

// signs reports whether a policy authenticates with a certificate that we have.
func (k *checker) signs() bool {
	return slices.ContainsFunc(k.c.ISAKMPPolicies, func(p policy.ISAKMP) bool { return p.Auth.Signature() && k.canProve(p.Auth) })
}

// proof looks at the authentication method of a policy.
func (k *checker) proof(p *policy.ISAKMP, name string, severity Severity) {
	if k.canProve(p.Auth) {
		return
	}
	at, block := wrote(p.AuthOrigin, p.Origin), fmt.Sprintf("crypto isakmp policy %d\n authentication ", p.Priority)
	switch {
	case p.Auth == suite.RSAEncr:
		k.add(severity, at, name+" authenticates with rsa-encr, which Culvert never does: whether a nonce decrypts can be seen from outside, and that gives the key away",
			"the policy is neither offered nor accepted", block+"rsa-sig")
	case p.AuthOrigin.IsZero():
		k.add(severity, at, name+" authenticates with rsa-sig, the default when authentication is not written, and no trustpoint has an RSA key with its certificate",
			"the policy is neither offered nor accepted", block+"pre-share")
	default:
		kind := "an RSA key"
		if p.Auth != suite.RSASig {
			kind = "a key on P-256, P-384 or P-521"
		}
		k.add(severity, at, fmt.Sprintf("%s authenticates with %s, and no trustpoint has %s with its certificate", name, p.Auth, kind),
			"the policy is neither offered nor accepted", trustpointLines)
	}
}

// trustpointsExist finds what names trustpoints and certificate maps that are not there.
func (k *checker) trustpointsExist() {
	known := map[string]bool{}
	for i := range k.c.Trustpoints {
		t := &k.c.Trustpoints[i]
		known[t.Name] = true
		for _, m := range t.Match {
			k.certMapExists(m.Map, m.Origin, "trustpoint "+t.Name)
		}
	}
	for i := range k.c.Profiles {
		p := &k.c.Profiles[i]
		for _, t := range p.Trustpoints {
			if !known[t.Name] {
				k.add(Error, t.Origin, fmt.Sprintf("profile %s trusts trustpoint %s, which is not defined", p.Name, t.Name),
					"no certificate can be proved with it: signatures fail for the profile's peers", "crypto pki trustpoint "+t.Name+"\n ca-certificate file CA.pem")
			}
		}
		for _, m := range p.Match {
			if m.Map != "" {
				k.certMapExists(m.Map, m.Origin, "profile "+p.Name)
			}
		}
	}
	for i := range k.c.Chains {
		if c := &k.c.Chains[i]; !known[c.Name] {
			k.add(Warning, c.Origin, fmt.Sprintf("the certificates of chain %s belong to no trustpoint", c.Name), "they are not used", "crypto pki trustpoint "+c.Name)
		}
	}
}

func (k *checker) certMapExists(name string, at origin.Line, whose string) {
	if k.certMaps[name] == nil {
		k.add(Error, at, fmt.Sprintf("certificate map %s of %s is not defined", name, whose), "no certificate satisfies it: its peers are refused",
			"crypto pki certificate map "+name+" 10\n subject-name co TEXT")
	}
}

// trustpointsWork looks at what every trustpoint holds.
func (k *checker) trustpointsWork() {
	asked := slices.ContainsFunc(k.c.ISAKMPPolicies, func(p policy.ISAKMP) bool { return p.Auth.Signature() })
	for i := range k.c.Trustpoints {
		t, p := &k.c.Trustpoints[i], &k.trustpoints[i]
		if !asked { // routers have trustpoints for other things
			k.add(Note, t.Origin, fmt.Sprintf("no ISAKMP policy authenticates with certificates, so trustpoint %s has no use", t.Name), "its certificates and keys are not looked at", "")
			continue
		}
		k.ownKey(t, p)
		k.authorities(t, p)
		if len(p.CAs) > 0 {
			k.revocation(t)
		}
		if len(p.Chain) > 0 {
			cert, err := x509.ParseCertificate(p.Chain[0])
			if err == nil {
				k.own509(t, p, cert)
			}
		}
	}
}

// at is the line that gave a trustpoint its certificate.
func (t *Trustpoint) at() origin.Line { return wrote(t.CertificateFile.Origin, t.Origin) }

// ownKey looks at whether certificate and private key are there and belong together.
func (k *checker) ownKey(t *Trustpoint, p *policy.Trustpoint) {
	header := "crypto pki trustpoint " + t.Name
	label, missing := t.RSAKey+t.ECKey, !p.Key.Held()
	unproved := "we cannot prove who we are with this trustpoint; it still proves peers"
	switch {
	case missing && label != "":
		k.add(Warning, t.KeyOrigin, fmt.Sprintf("the key pair %s of trustpoint %s is not in the configuration: a router keeps it elsewhere", label, t.Name), unproved,
			header+"\n private-key file ROUTER.key")
	case missing && len(p.Chain) > 0:
		k.add(Warning, t.at(), fmt.Sprintf("trustpoint %s has our certificate and no private key", t.Name), unproved, header+"\n private-key file ROUTER.key")
	case p.Key.Held() && len(p.Chain) == 0:
		k.add(Warning, wrote(t.KeyFile.Origin, wrote(t.KeyOrigin, t.Origin)), fmt.Sprintf("trustpoint %s has a private key and no certificate of ours", t.Name), unproved, header+"\n certificate file ROUTER.pem")
	case p.Key.Held():
		if err := pki.CheckOwn(p.Chain, p.Key, k.c.Legacy); err != nil {
			k.add(Error, t.at(), fmt.Sprintf("trustpoint %s cannot prove who we are: %s", t.Name, plainX509(err)),
				"phase 1 by its signatures is not begun, or the peer refuses it", header+"\n certificate file ROUTER.pem\n private-key file ROUTER.key")
		}
	}
	if key, ok := p.Key.Public().(*rsa.PublicKey); ok && k.c.Legacy && key.N.BitLen() < strong {
		k.add(Note, wrote(t.KeyFile.Origin, wrote(t.KeyOrigin, t.Origin)), fmt.Sprintf("the RSA key of trustpoint %s has %d bits", t.Name, key.N.BitLen()),
			"it is used because of \""+shieldLine+"\"; it can be broken, and many peers refuse it", "")
	}
}

// authorities looks at the CA certificates.
func (k *checker) authorities(t *Trustpoint, p *policy.Trustpoint) {
	header := "crypto pki trustpoint " + t.Name
	if len(p.CAs) == 0 {
		why := "has no CA certificate"
		if t.Fingerprint != "" {
			why = "has no CA certificate with the fingerprint " + t.Fingerprint
		}
		k.add(Warning, wrote(t.FingerprintOrigin, t.Origin), fmt.Sprintf("trustpoint %s %s", t.Name, why), "no peer's certificate can be proved with it", header+"\n ca-certificate file CA.pem")
	}
	for _, der := range p.CAs {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		at := t.Origin
		if len(t.CAFiles) > 0 {
			at = t.CAFiles[0].Origin
		}
		if ca.BasicConstraintsValid && !ca.IsCA || !ca.BasicConstraintsValid && ca.Version >= 3 {
			k.add(Error, at, fmt.Sprintf("the certificate %s of trustpoint %s is not one of a CA (basicConstraints)", subject(ca), t.Name),
				"no certificate can be proved with it: RFC 5280 section 6.1.4 refuses the chain", header+"\n ca-certificate file CA.pem")
		}
		k.dates(at, "the CA certificate "+subject(ca)+" of trustpoint "+t.Name, ca, "no peer's certificate can be proved with it")
		k.weak509(at, "the CA certificate "+subject(ca), ca)
	}
}

// own509 looks at our own certificate.
func (k *checker) own509(t *Trustpoint, p *policy.Trustpoint, cert *x509.Certificate) {
	k.dates(t.at(), "our certificate "+subject(cert)+" of trustpoint "+t.Name, cert, "the peer refuses it: phase 1 fails")
	k.weak509(t.at(), "our certificate "+subject(cert), cert)
	if !p.Key.Held() {
		return
	}
	var missing string
	switch name := strings.TrimSuffix(k.c.Hostname+"."+k.c.Domain, "."); {
	case k.c.ISAKMP.Identity == IdentityHostname && !named509(cert, name):
		missing = "the name " + name
	case k.c.ISAKMP.Identity == IdentityAddress:
		for i := range k.settings.Entries {
			if local := k.settings.Entries[i].Local.String(); !named509(cert, local) {
				missing = "the address " + local
			}
		}
	}
	if missing != "" {
		k.add(Warning, wrote(k.c.ISAKMP.IdentityOrigin, t.at()), fmt.Sprintf("we name ourselves by %s, which our certificate %s does not hold (subjectAltName)", missing, subject(cert)),
			"a peer that compares both, as RFC 4945 section 3.1 wants it, refuses phase 1", "crypto isakmp identity dn")
	}
}

// named509 reports whether a certificate holds an alternative name: an address
// or an FQDN.
func named509(cert *x509.Certificate, name string) bool {
	rule := policy.CertificateRule{Field: "alt-subject-name", Op: "eq", Value: name}
	return pki.MapFits(&policy.CertificateMap{Entries: []policy.CertificateRules{{Rules: []policy.CertificateRule{rule}}}}, cert)
}

// dates looks at whether a certificate is valid now.
func (k *checker) dates(at origin.Line, what string, c *x509.Certificate, then string) {
	now, day := k.c.now, func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case now.IsZero():
	case now.Before(c.NotBefore):
		k.add(Error, at, what+" is not valid before "+day(c.NotBefore), then, "")
	case now.After(c.NotAfter):
		k.add(Error, at, what+" is valid no more since "+day(c.NotAfter), then, "")
	case now.Add(soon).After(c.NotAfter):
		k.add(Warning, at, what+" is valid only until "+day(c.NotAfter), "from then on: "+then, "")
	}
}

// weak509 finds certificates signed or keyed with what can be broken.
func (k *checker) weak509(at origin.Line, what string, c *x509.Certificate) {
	selfSigned := string(c.RawIssuer) == string(c.RawSubject)
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		if !selfSigned { // a root's signature proves nothing
			k.add(Warning, at, fmt.Sprintf("%s is signed with %s", what, c.SignatureAlgorithm), "such signatures can be forged: peers refuse it", "")
		}
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && c.IsCA && key.N.BitLen() < strong {
		k.add(Warning, at, fmt.Sprintf("%s has an RSA key of %d bits", what, key.N.BitLen()), "it can be broken, and many peers refuse it", "")
	}
}

// revocation tells what looking at revocation means.
func (k *checker) revocation(t *Trustpoint) {
	header := "crypto pki trustpoint " + t.Name
	fetched := len(t.CRLFiles) == 0 && (len(t.Revocation) == 0 || slices.Contains(t.Revocation, "crl")) || slices.Contains(t.Revocation, "ocsp")
	switch {
	case len(t.Revocation) > 0 && t.Revocation[0] == "none":
		k.add(Warning, t.RevocationOrigin, fmt.Sprintf("trustpoint %s does not look at revocation", t.Name), "a certificate that its CA has revoked is accepted", header+"\n revocation-check crl")
	case slices.Contains(t.Revocation, "none"):
		k.add(Note, t.RevocationOrigin, fmt.Sprintf("trustpoint %s falls back to no look at revocation", t.Name), "who can keep us from its CRL or OCSP server makes us accept a revoked certificate", header+"\n revocation-check crl")
	case fetched:
		k.add(Note, wrote(t.RevocationOrigin, t.Origin), fmt.Sprintf("revocation lists or answers for trustpoint %s are fetched over HTTP from where the peer's certificate says", t.Name),
			"when nothing can be fetched, the peer is refused", header+"\n crl file CA.crl")
	}
}

// subject is a certificate's subject as people read it.
func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return "\"" + s + "\""
	}
	return "number " + c.SerialNumber.String()
}
