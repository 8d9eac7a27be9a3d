package config

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"culvert/internal/core/crypt"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// buildTrustpoints makes the trustpoints as the engine uses them: files,
// certificates and keys of the configuration together.
func (x *index) buildTrustpoints() {
	chains := map[string]*CertificateChain{}
	for i := range x.c.Chains {
		chains[x.c.Chains[i].Name] = &x.c.Chains[i]
	}
	for i := range x.c.CertificateMaps {
		x.certMaps[x.c.CertificateMaps[i].Name] = &x.c.CertificateMaps[i]
	}
	for i := range x.c.KeyImports {
		k := &x.c.KeyImports[i]
		x.imports[importID{k.EC, k.Label}] = k.Key
	}
	for i := range x.c.Trustpoints {
		t := &x.c.Trustpoints[i]
		out := policy.Trustpoint{
			Name: t.Name, CAs: t.loaded.cas, Chain: t.loaded.chain, Key: x.keyOf(t), CRLs: t.loaded.crls,
			Revocation: t.Revocation, RevocationOrigin: t.RevocationOrigin, OCSP: t.OCSP, Origin: t.Origin,
		}
		for _, m := range t.Match {
			out.Match = append(out.Match, x.certificateMap(m.Map))
		}
		if c := chains[t.Name]; c != nil {
			inline(&out, c)
		}
		out.CAs = slices.DeleteFunc(slices.Clone(out.CAs), func(der []byte) bool { return !fingerprinted(t.Fingerprint, der) })
		x.trustpoints = append(x.trustpoints, out)
	}
}

// inline adds the certificates that stand in the configuration.
func inline(to *policy.Trustpoint, c *CertificateChain) {
	for _, cert := range c.Certificates {
		switch {
		case cert.NVRAM != "":
		case cert.Kind == "ca":
			to.CAs = append(to.CAs, cert.DER)
		case cert.Kind == "" || cert.Kind == "self-signed":
			if len(to.Chain) == 0 || !belongs(to.Key, to.Chain[0]) && belongs(to.Key, cert.DER) {
				to.Chain = [][]byte{cert.DER}
			}
		}
	}
}

// fingerprinted reports whether a certificate has the fingerprint, in upper
// case hexadecimal; any has the empty one.
func fingerprinted(want string, der []byte) bool {
	m, s1, s256 := md5.Sum(der), sha1.Sum(der), sha256.Sum256(der)
	for _, sum := range [][]byte{m[:], s1[:], s256[:]} {
		if strings.ToUpper(hex.EncodeToString(sum)) == want {
			return true
		}
	}
	return want == ""
}

// keyOf is the trustpoint's private key: of its file, else of the key pair it
// names, else of the one that has the router's full name, as IOS takes it.
func (x *index) keyOf(t *Trustpoint) crypt.Signer {
	switch {
	case t.loaded.key.Held():
		return t.loaded.key
	case t.RSAKey != "":
		return x.imports[importID{false, t.RSAKey}]
	case t.ECKey != "":
		return x.imports[importID{true, t.ECKey}]
	}
	return x.imports[importID{false, strings.TrimSuffix(x.c.Hostname+"."+x.c.Domain, ".")}]
}

// belongs reports whether a private key is the one of a certificate.
func belongs(key crypt.Signer, der []byte) bool {
	cert, err := x509.ParseCertificate(der)
	return err == nil && key.Matches(cert.PublicKey)
}

// certificateMap finds a certificate map by its name. One that is not defined
// has no entries: no certificate satisfies it.
func (x *index) certificateMap(name string) *policy.CertificateMap {
	if m := x.certMaps[name]; m != nil {
		return m
	}
	return &policy.CertificateMap{Name: name}
}

// proofs lists the authentication methods that a trustpoint can prove us by, in
// the order of the trustpoints.
func (x *index) proofs() []suite.Auth {
	var out []suite.Auth
	seen := map[suite.Auth]bool{}
	for i := range x.trustpoints {
		t := &x.trustpoints[i]
		if a := t.Key.Auth(); a != suite.NoAuth && !seen[a] && pki.CheckOwn(t.Chain, t.Key, x.c.Legacy) == nil {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

// policies are the ISAKMP policies as the engine offers them. "ecdsa-sig" is
// one for each curve that there is a key on, since its number on the wire names
// the curve (RFC 4754 section 3); without any key it stays what it is.
func (x *index) policies() []policy.ISAKMP {
	var curves []suite.Auth
	for _, a := range x.proofs() {
		if a != suite.RSASig {
			curves = append(curves, a)
		}
	}
	var out []policy.ISAKMP
	for _, p := range x.c.ISAKMPPolicies {
		if p.Auth != suite.ECDSA256 || len(curves) == 0 {
			out = append(out, p)
			continue
		}
		for _, a := range curves {
			p.Auth = a
			out = append(out, p)
		}
	}
	return out
}
