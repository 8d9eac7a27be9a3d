package config

import (
	"encoding/hex"
	"strings"
)

// pki prints trustpoints, certificates and certificate maps. Of a private key
// there is only a note: what is printed ends up in tickets and mails.
func (p *printer) pki(c *Config) {
	if len(c.KeyImports)+len(c.Trustpoints)+len(c.CertificateMaps)+len(c.Chains) > 0 {
		p.raw("!")
	}
	for i := range c.KeyImports {
		k := &c.KeyImports[i]
		kind := "rsa"
		if k.EC {
			kind = "ec"
		}
		p.line("! crypto key import %s %s pem: the private key is not shown", kind, k.Label)
	}
	for i := range c.Trustpoints {
		p.trustpoint(&c.Trustpoints[i])
	}
	for _, m := range c.CertificateMaps {
		for _, e := range m.Entries {
			p.line("crypto pki certificate map %s %d", m.Name, e.Seq)
			for _, r := range e.Rules {
				p.line(" %s %s %s", r.Field, r.Op, r.Value)
			}
		}
	}
	for i := range c.Chains {
		p.chain(&c.Chains[i])
	}
}

func (p *printer) trustpoint(t *Trustpoint) {
	p.line("crypto pki trustpoint %s", t.Name)
	for _, f := range t.CAFiles {
		p.line(" ca-certificate file %s", f.Name)
	}
	if t.CertificateFile.Name != "" {
		p.line(" certificate file %s", t.CertificateFile.Name)
	}
	if t.KeyFile.Name != "" {
		p.line(" private-key file %s", t.KeyFile.Name)
	}
	for _, f := range t.CRLFiles {
		p.line(" crl file %s", f.Name)
	}
	if t.Fingerprint != "" {
		p.line(" fingerprint %s", t.Fingerprint)
	}
	if len(t.Revocation) > 0 {
		p.line(" revocation-check %s", strings.Join(t.Revocation, " "))
	}
	if t.OCSP != "" {
		p.line(" ocsp url %s", t.OCSP)
	}
	if t.RSAKey != "" {
		p.line(" rsakeypair %s", t.RSAKey)
	}
	if t.ECKey != "" {
		p.line(" eckeypair %s", t.ECKey)
	}
	for _, m := range t.Match {
		p.raw(" " + strings.TrimSuffix("match certificate "+m.Map+" "+m.Exception, " "))
	}
	p.kept(t.Kept)
}

// chain prints certificates as IOS does: eight groups of four octets a line.
func (p *printer) chain(c *CertificateChain) {
	p.line("crypto pki certificate chain %s", c.Name)
	for _, cert := range c.Certificates {
		words := []string{" certificate"}
		for _, w := range []string{cert.Kind, cert.Serial, cert.NVRAM} {
			if w != "" {
				words = append(words, w)
			}
		}
		p.raw(strings.Join(words, " "))
		if cert.NVRAM != "" {
			continue
		}
		for at := 0; at < len(cert.DER); at += 32 {
			var groups []string
			for g := at; g < min(at+32, len(cert.DER)); g += 4 {
				groups = append(groups, strings.ToUpper(hex.EncodeToString(cert.DER[g:min(g+4, len(cert.DER))])))
			}
			p.line("  %s", strings.Join(groups, " "))
		}
		p.raw("  quit")
	}
}
