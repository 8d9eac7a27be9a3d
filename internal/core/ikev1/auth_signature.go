package ikev1

import (
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Authentication by signature, RFC 2409 5.1 and RFC 4754: what auth.go needs of
// trustpoints and certificates.

// canSign reports whether a trustpoint that serves this negotiation has a
// certificate and a key for the method, so that a policy with it may be offered
// or chosen.
func (s *SA) canSign(c *Context, a suite.Auth) bool { return false }

// ownSubject is the subject of the certificate that proves us, DER, for the
// identity "dn"; nil without one.
func (s *SA) ownSubject(c *Context) []byte { return nil }

// sign makes the signature of our hash; then is called with it, at once or when
// the arithmetic is done, or with why there is none.
func (s *SA) sign(c *Context, hash []byte, then func(*Context, []byte, *Refusal)) {
	then(c, nil, &Refusal{Code: event.NoCertificate, Reason: "no certificate to prove ourselves with"})
}

// certPayloads are our certificate and those between it and the CA.
func (s *SA) certPayloads(c *Context) []isakmp.Payload { return nil }

// certRequests are the CERTREQ payloads that ask the peer for its certificate;
// none when the method needs none.
func (s *SA) certRequests(c *Context) []isakmp.Payload { return nil }

// checkSignature verifies the signature of m, which carries the peer's SIG and
// CERT payloads, over its hash, and that the certificate is good and says who
// the peer is. then is called with nil or a Refusal, at once or when all is known.
func (s *SA) checkSignature(c *Context, m *message, id isakmp.Identification, hash []byte, then func(*Context, *Refusal)) {
	then(c, &Refusal{Code: event.NoCertificate, Reason: m.name + ": signatures are not checked"})
}

// certificateFits reports whether the certificate by which the peer has proved
// itself satisfies a certificate map; false before it has.
func (s *SA) certificateFits(m *policy.CertificateMap) bool { return false }
