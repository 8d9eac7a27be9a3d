package pki

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// What a peer can make us look at before it is known.
const (
	maxCertificates = 8       // CERT payloads with a certificate that are read
	maxCertificate  = 1 << 14 // octets of one certificate
)

// Claim is what a peer's message claims, and what it is to be proved with.
type Claim struct {
	Now time.Time
	// Certificates are those of the CERT payloads, DER, in their order.
	Certificates [][]byte
	// Trustpoints are the ones that may prove the peer, in the order tried.
	Trustpoints []policy.Trustpoint
	Legacy      bool // RSA keys of 1024 bits are taken
	Identity    isakmp.Identification
	Method      suite.Auth
	// Hash is HASH_I or HASH_R, Signature what the SIG payload holds.
	Hash, Signature []byte
}

// Peer is a peer that has proved itself, but for revocation.
type Peer struct {
	// Chain is the peer's certificate, those between, and the CA's.
	Chain      []*x509.Certificate
	Trustpoint *policy.Trustpoint
}

// Leaf is the peer's own certificate.
func (p *Peer) Leaf() *x509.Certificate { return p.Chain[0] }

// CheckJob verifies a claim: that the signature is one of a certificate's key,
// that the certificate leads to a CA of a trustpoint, that IKE may use it, that
// the identity is in it. Result.Value is a *Peer; Result.Err is an *Error.
func CheckJob(c Claim) crypt.Job {
	return job(func() (any, error) {
		p, err := check(c)
		if err != nil {
			return nil, err
		}
		return p, nil
	})
}

func check(c Claim) (*Peer, error) {
	certs, err := c.parse()
	if err != nil {
		return nil, err
	}
	leaf, err := c.signer(certs)
	if err != nil {
		return nil, err
	}
	p, err := c.trust(leaf, certs)
	if err != nil {
		return nil, err
	}
	err = ikeUsage(leaf)
	if err == nil {
		err = CheckIdentity(leaf, c.Identity)
	}
	if maps := p.Trustpoint.Match; err == nil && len(maps) > 0 && !slices.ContainsFunc(maps, func(m *policy.CertificateMap) bool { return MapFits(m, leaf) }) {
		err = refuse(event.CertIdentity, leaf, "the peer's certificate %s fits no certificate map of the trustpoint %s", label(leaf), p.Trustpoint.Name)
	}
	if e := AsError(err); e != nil {
		e.Proven, e.Certificate.Trustpoint = true, p.Trustpoint.Name
		return nil, e
	}
	return p, nil
}

// parse reads the certificates, within their bounds. One that cannot be read
// is as bad as a wrong one: the peer chose to send it.
func (c Claim) parse() ([]*x509.Certificate, error) {
	if len(c.Certificates) == 0 {
		return nil, refuse(event.CertUntrusted, nil, "the peer sent no certificate with its signature: expected one that leads to %s", caNames(c.Trustpoints))
	}
	if len(c.Certificates) > maxCertificates {
		return nil, refuse(event.CertUntrusted, nil, "the peer sent %d certificates, expected %d at most", len(c.Certificates), maxCertificates)
	}
	var out []*x509.Certificate
	for i, der := range c.Certificates {
		if len(der) > maxCertificate {
			return nil, refuse(event.CertUntrusted, nil, "certificate %d of the peer has %d octets, expected %d at most", i+1, len(der), maxCertificate)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(event.CertUntrusted, nil, "certificate %d of the peer cannot be read: %v", i+1, err)
		}
		// A key of 100,000 bits would keep the arithmetic busy.
		if k, ok := cert.PublicKey.(*rsa.PublicKey); ok {
			if err := crypt.CheckPublic(k, c.Legacy); err != nil {
				return nil, refuse(event.CertUntrusted, cert, "the certificate %s has a key that nobody should trust: %v", label(cert), err)
			}
		}
		out = append(out, cert)
	}
	return out, nil
}

// signer finds the certificate whose key made the signature.
func (c Claim) signer(certs []*x509.Certificate) (*x509.Certificate, error) {
	able := false
	for _, cert := range certs {
		if crypt.AuthOf(cert.PublicKey) != c.Method {
			continue
		}
		able = true
		if crypt.Verify(cert.PublicKey, c.Method, c.Hash, c.Signature) == nil {
			return cert, nil
		}
	}
	if !able {
		return nil, refuse(event.BadSignature, certs[0], "the key of the peer's certificate %s is %s, which does not sign for %s", label(certs[0]), KeyWords(certs[0].PublicKey), c.Method)
	}
	return nil, refuse(event.BadSignature, certs[0], "the signature was not made with the key of the peer's certificate %s", label(certs[0]))
}

// The purposes of a certificate that IKE takes (RFC 4945 section 5.1.3.12):
// id-kp-ipsecIKE; and beside what the RFC says those that CAs wrote before it,
// iKEIntermediate and the three of 1999.
func ikePurposes() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{
		{1, 3, 6, 1, 5, 5, 7, 3, 17}, {1, 3, 6, 1, 5, 5, 8, 2, 2},
		{1, 3, 6, 1, 5, 5, 7, 3, 5}, {1, 3, 6, 1, 5, 5, 7, 3, 6}, {1, 3, 6, 1, 5, 5, 7, 3, 7},
	}
}

// ikeUsage checks what the certificate may be used for: if it has a key usage,
// digitalSignature or nonRepudiation (RFC 4945 section 5.1.3.2); if it has
// extended ones, IKE or any.
func ikeUsage(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return refuse(event.CertUntrusted, c, "the certificate %s may not sign: its key usage has neither digitalSignature nor nonRepudiation", label(c))
	}
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageIPSECEndSystem || u == x509.ExtKeyUsageIPSECTunnel || u == x509.ExtKeyUsageIPSECUser {
			return nil
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		if slices.ContainsFunc(ikePurposes(), u.Equal) {
			return nil
		}
	}
	return refuse(event.CertUntrusted, c, "the certificate %s is not for IKE: its extended key usage has neither ipsecIKE nor anyExtendedKeyUsage", label(c))
}

// trust finds a chain to a CA of a trustpoint. Of several trustpoints the first
// that proves the peer counts; of several reasons the one that tells most.
func (c Claim) trust(leaf *x509.Certificate, certs []*x509.Certificate) (*Peer, error) {
	var best *Error
	for i := range c.Trustpoints {
		t := &c.Trustpoints[i]
		anchors, between := c.pools(t, certs)
		if len(anchors) == 0 {
			continue
		}
		chain, err := verify(leaf, anchors, between, c.Now)
		if err == nil {
			return &Peer{Chain: chain, Trustpoint: t}, nil
		}
		e := why(leaf, anchors, between, c.Now, err)
		if e.Code == event.CertExpired {
			// All but the date holds: it is the CA that says so.
			_, err := verify(leaf, anchors, between, within(leaf, c.Now))
			e.Proven = err == nil
		}
		if best == nil || best.Reason == "" {
			best = e
		}
	}
	if best == nil || best.Reason == "" {
		best = refuse(event.CertUntrusted, leaf, "the peer's certificate %s was issued by %q, which leads to no CA of ours: expected %s",
			label(leaf), isakmp.NameText(leaf.RawIssuer), caNames(c.Trustpoints))
	}
	return nil, best
}

// within is the time nearest to now at which a certificate is valid.
func within(c *x509.Certificate, now time.Time) time.Time {
	switch {
	case now.Before(c.NotBefore):
		return c.NotBefore
	case now.After(c.NotAfter):
		return c.NotAfter
	}
	return now
}

// pools are the CAs of a trustpoint, and what may stand between: what the peer
// sent, and what we would send ourselves.
func (c Claim) pools(t *policy.Trustpoint, certs []*x509.Certificate) (anchors, between []*x509.Certificate) {
	for _, der := range t.CAs {
		if ca, err := x509.ParseCertificate(der); err == nil {
			anchors = append(anchors, ca)
		}
	}
	between = append(between, certs...)
	for i, der := range t.Chain {
		if cert, err := x509.ParseCertificate(der); err == nil && i > 0 {
			between = append(between, cert)
		}
	}
	return anchors, between
}

// verify finds a chain with package x509: signatures, validity, basic
// constraints, path lengths, name constraints, and no critical extension that
// nobody understands.
func verify(leaf *x509.Certificate, anchors, between []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, a := range anchors {
		o.Roots.AddCert(a)
	}
	for _, b := range between {
		o.Intermediates.AddCert(b)
	}
	chains, err := leaf.Verify(o)
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// Complete is our own chain with the CAs of the trustpoint that stand above it,
// up to the root: a CA below the root may be written as the trustpoint's, and the
// peer need not know it.
func Complete(t *policy.Trustpoint) [][]byte {
	chain := slices.Clone(t.Chain)
	if len(chain) == 0 {
		return nil
	}
	at, err := x509.ParseCertificate(chain[len(chain)-1])
	var cas []*x509.Certificate
	for _, der := range t.CAs {
		if ca, err := x509.ParseCertificate(der); err == nil {
			cas = append(cas, ca)
		}
	}
	for err == nil && len(chain) < maxCertificates {
		above := issuer(at, cas)
		if above == nil || bytes.Equal(above.RawSubject, above.RawIssuer) {
			break
		}
		chain, at = append(chain, above.Raw), above
	}
	return chain
}

// caNames lists the CAs of trustpoints for a sentence.
func caNames(ts []policy.Trustpoint) string {
	var w []string
	for i := range ts {
		for _, der := range ts[i].CAs {
			if ca, err := x509.ParseCertificate(der); err == nil && len(w) < 8 {
				w = append(w, "\""+isakmp.NameText(ca.RawSubject)+"\" of trustpoint "+ts[i].Name)
			}
		}
	}
	if len(w) == 0 {
		return "a CA, but no trustpoint has one"
	}
	return join(w)
}

// AsError finds the Error in err, nil when there is none.
func AsError(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}
