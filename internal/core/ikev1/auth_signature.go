package ikev1

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Authentication by signature, RFC 2409 5.1 and RFC 4754, with certificates as
// RFC 4945 uses them:
//
//	MM3, MM4, AM1, AM2    CERTREQ …          the names of our CAs
//	MM5, MM6, AM2, AM3    CERT …, SIG        our certificate and those up to the CA
//
// A peer that proves itself so is believed in this order: one of its
// certificates made the signature, leads to a CA of a trustpoint, may be used
// for IKE and holds the identity (pki.CheckJob); the trustpoint is one that the
// isakmp profile allows; and no certificate was taken back (revocation.go).
//
// A refusal is final when signature and chain hold: then it is the peer itself
// whose certificate is of another name, too old or revoked. Any other may be
// somebody's work who changed the message on its way, since the encryption of
// phase 1 lets one do that: the negotiation waits on for the real one, and only
// when none came by its end the peer is told why.

// errNothingFound is arithmetic that came back with nothing.
var errNothingFound = errors.New("the peer's certificate was not looked at")

// maxRequested bounds how many names of CAs are remembered.
const maxRequested = 16

// serving lists the trustpoints that may be used with the peer: those of the
// profile, when it names any.
func (s *SA) serving(c *Context, p *policy.Profile) []policy.Trustpoint {
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

// signs reports whether a trustpoint has what proves us by a method.
func signs(c *Context, t *policy.Trustpoint, a suite.Auth) bool {
	return len(t.Chain) > 0 && t.Key.Held() && t.Key.Auth() == a && crypt.CheckPublic(t.Key.Public(), c.Settings.Legacy) == nil
}

// canSign reports whether a trustpoint that serves this negotiation has a
// certificate and a key for the method, so that a policy with it may be offered
// or chosen, and whether there is a CA to prove the peer with.
func (s *SA) canSign(c *Context, a suite.Auth) bool {
	own, ca := false, false
	for _, t := range s.serving(c, s.Profile) {
		own, ca = own || signs(c, &t, a), ca || len(t.CAs) > 0
	}
	return own && ca
}

// method is the one agreed on; before that the first signature we offer.
func (s *SA) method() suite.Auth {
	if s.Policy.Auth != suite.NoAuth {
		return s.Policy.Auth
	}
	for _, o := range s.phase1.offers {
		if o.Auth.Signature() {
			return o.Auth
		}
	}
	return suite.NoAuth
}

// own is the trustpoint that proves us: of those with a key for the method one
// whose chain the peer has asked for, else the first. It stays the same once it
// is chosen, so that the identity and the certificate are of one.
func (s *SA) ownTrustpoint(c *Context) *policy.Trustpoint {
	x, a := s.phase1, s.method()
	if x.trustpoint != nil && x.trustpoint.Key.Auth() == a {
		return x.trustpoint
	}
	serving := s.serving(c, s.Profile)
	for i := range serving {
		t := &serving[i]
		if signs(c, t, a) && (x.trustpoint == nil || x.trustpoint.Key.Auth() != a) {
			x.trustpoint = t
		}
		if signs(c, t, a) && s.requested(t) {
			x.trustpoint = t
			break
		}
	}
	if x.trustpoint == nil || x.trustpoint.Key.Auth() != a {
		return nil
	}
	return x.trustpoint
}

// requested reports whether the peer has asked for a CA above our certificate.
func (s *SA) requested(t *policy.Trustpoint) bool {
	for _, der := range pki.Complete(t) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		for _, name := range s.phase1.requested {
			if bytes.Equal(name, cert.RawIssuer) || isakmp.SameName(name, cert.RawIssuer) {
				return true
			}
		}
	}
	return false
}

// ownSubject is the subject of the certificate that proves us, DER, for the
// identity "dn"; nil without one.
func (s *SA) ownSubject(c *Context) []byte {
	t := s.ownTrustpoint(c)
	if t == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(t.Chain[0])
	if err != nil {
		return nil
	}
	return cert.RawSubject
}

// sign makes the signature of our hash; then is called with it when the
// arithmetic is done, or with why there is none.
func (s *SA) sign(c *Context, hash []byte, then func(*Context, []byte, *Refusal)) {
	t := s.ownTrustpoint(c)
	if t == nil {
		then(c, nil, &Refusal{Code: event.NoCertificate, Reason: "no trustpoint has a certificate and a key for " + s.Policy.Auth.String()})
		return
	}
	c.compute(s, crypt.SignJob(t.Key, hash), func(c *Context, r crypt.Result) {
		if r.Err != nil {
			then(c, nil, &Refusal{Code: event.NoCertificate, Reason: "trustpoint " + t.Name + " does not sign: " + r.Err.Error()})
			return
		}
		then(c, r.Signature, nil)
	})
}

// certPayloads are our certificate and those between it and the CA. The root is
// left out: the peer has it, or does not trust it.
func (s *SA) certPayloads(c *Context) []isakmp.Payload {
	t := s.ownTrustpoint(c)
	if t == nil {
		return nil
	}
	var out []isakmp.Payload
	for i, der := range pki.Complete(t) {
		cert, err := x509.ParseCertificate(der)
		if err != nil || i > 0 && bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			continue
		}
		out = append(out, isakmp.Payload{Type: isakmp.PayloadCert, Body: isakmp.Cert{Encoding: isakmp.CertX509, Data: der}.Append(nil)})
		told := pki.Describe(cert)
		told.Dir, told.Trustpoint = event.Sent, t.Name
		s.emit(c, told)
	}
	return out
}

// certRequests are the CERTREQ payloads that name our CAs; none when no
// signature is agreed or offered.
func (s *SA) certRequests(c *Context) []isakmp.Payload {
	if !s.method().Signature() {
		return nil
	}
	var out []isakmp.Payload
	var named [][]byte
	for _, t := range s.serving(c, s.Profile) {
		for _, der := range t.CAs {
			ca, err := x509.ParseCertificate(der)
			if err != nil || len(named) == maxRequested || slices.ContainsFunc(named, func(n []byte) bool { return bytes.Equal(n, ca.RawSubject) }) {
				continue
			}
			named = append(named, ca.RawSubject)
			out = append(out, isakmp.Payload{Type: isakmp.PayloadCertReq, Body: isakmp.Cert{Encoding: isakmp.CertX509, Data: ca.RawSubject}.Append(nil)})
		}
	}
	return out
}

// learnRequests notes the CAs that a message asks for. It decides nothing but
// which of our certificates is sent.
func (s *SA) learnRequests(m *message) {
	for _, body := range m.all(isakmp.PayloadCertReq) {
		r, err := isakmp.ParseCert(body)
		if err == nil && len(r.Data) > 0 && len(s.phase1.requested) < maxRequested {
			s.phase1.requested = append(s.phase1.requested, r.Data)
		}
	}
}

// certificates are those of the CERT payloads of a message. What is neither a
// certificate nor a bundle of them is passed over.
func certificates(m *message) [][]byte {
	const most = 16 // package pki refuses more than it reads
	var out [][]byte
	for _, body := range m.all(isakmp.PayloadCert) {
		p, err := isakmp.ParseCert(body)
		if err != nil || len(out) > most {
			continue
		}
		switch p.Encoding {
		case isakmp.CertX509:
			out = append(out, p.Data)
		case isakmp.CertPKCS7:
			wrapped, _ := p.Wrapped(most)
			out = append(out, wrapped...)
		}
	}
	return out
}

// checkSignature verifies the signature of m, which carries the peer's SIG and
// CERT payloads, over its hash, and that the certificate is good and says who
// the peer is. then is called with nil or a Refusal when all is known.
func (s *SA) checkSignature(c *Context, m *message, id isakmp.Identification, hash []byte, then func(*Context, *Refusal)) {
	signature, _ := m.first(isakmp.PayloadSig)
	claim := pki.Claim{
		Now: c.Now, Certificates: certificates(m), Trustpoints: s.provers(c), Legacy: c.Settings.Legacy,
		Identity: id, Method: s.Policy.Auth, Hash: hash, Signature: signature,
	}
	c.compute(s, pki.CheckJob(claim), func(c *Context, r crypt.Result) {
		peer, ok := r.Value.(*pki.Peer)
		if !ok {
			then(c, s.refuseCertificate(c, m, id, r.Err))
			return
		}
		s.leaf = peer.Leaf()
		if r := s.allowed(c, m, id, peer); r != nil {
			then(c, r)
			return
		}
		s.inquire(c, peer, func(c *Context, err error) {
			if err != nil {
				then(c, s.refuseCertificate(c, m, id, err))
				return
			}
			told := pki.Describe(peer.Leaf())
			told.Trustpoint = peer.Trustpoint.Name
			s.emit(c, told)
			then(c, nil)
		})
	})
}

// provers are the trustpoints that the peer may be proved with. The profile of
// an initiator is known; a responder learns it with the identity, see allowed.
func (s *SA) provers(c *Context) []policy.Trustpoint { return s.serving(c, s.Profile) }

// allowed demands that the trustpoint which proves the peer is one of the
// profile's that recognises it.
func (s *SA) allowed(c *Context, m *message, id isakmp.Identification, peer *pki.Peer) *Refusal {
	profile, r := s.recognise(c, identityOf(id))
	if r != nil || profile == nil || len(profile.Trustpoints) == 0 || slices.Contains(profile.Trustpoints, peer.Trustpoint.Name) {
		return nil // what recognise refuses is told by identify
	}
	told := pki.Describe(peer.Leaf())
	told.Trustpoint = peer.Trustpoint.Name
	return s.refuseCertificate(c, m, id, &pki.Error{Code: event.CertUntrusted, Certificate: told, Proven: true,
		Reason: "the peer's certificate " + told.Subject + " is proved by trustpoint " + peer.Trustpoint.Name + ", which isakmp profile " + profile.Name + " does not use"})
}

// refuseCertificate makes a Refusal of an error of package pki.
func (s *SA) refuseCertificate(c *Context, m *message, id isakmp.Identification, err error) *Refusal {
	if err == nil {
		err = errNothingFound
	}
	r := &Refusal{Code: event.CertUntrusted, Notify: isakmp.NotifyInvalidCertificate, Reason: m.name + ": " + err.Error(),
		Identity: id.String(), Kind: id.Type.String()}
	if e := pki.AsError(err); e != nil {
		r.Code, r.Certificate, r.Revocations = e.Code, e.Certificate, e.Revocations
		r.Authentic = m.sealed && e.Proven
		r.Certificate.Refused = e.Reason
	}
	switch r.Code {
	case event.BadSignature:
		r.Notify = isakmp.NotifyInvalidSignature
	case event.CertIdentity:
		r.Notify = isakmp.NotifyInvalidIDInformation
	case event.CertUntrusted:
		r.Notify = isakmp.NotifyInvalidCertAuthority
	}
	if r.Certificate.Serial != "" {
		s.emit(c, r.Certificate)
	}
	return r
}

// certificateFits reports whether the certificate by which the peer has proved
// itself satisfies a certificate map; false before it has.
func (s *SA) certificateFits(m *policy.CertificateMap) bool {
	return s.leaf != nil && pki.MapFits(m, s.leaf)
}
