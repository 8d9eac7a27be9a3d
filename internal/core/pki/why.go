package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// why tells in words why a chain does not hold. An Error without a reason means
// that nothing better is known than that the chain leads nowhere.
func why(leaf *x509.Certificate, anchors, between []*x509.Certificate, now time.Time, err error) *Error {
	if e := walk(leaf, anchors, between, now); e != nil {
		e.Certificate = Describe(leaf)
		return e
	}
	var invalid x509.CertificateInvalidError
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &critical):
		return refuse(event.CertUntrusted, leaf, "a certificate of the chain of %s has a critical extension that is not known here", label(leaf))
	case errors.As(err, &invalid):
		return refuse(event.CertUntrusted, leaf, "the chain of the certificate %s does not hold: %s", label(leaf), invalidWords(invalid))
	}
	return &Error{Code: event.CertUntrusted, Certificate: Describe(leaf)}
}

func invalidWords(e x509.CertificateInvalidError) string {
	switch e.Reason {
	case x509.TooManyIntermediates:
		return "the CA " + label(e.Cert) + " allows fewer certificates below it (pathLenConstraint)"
	case x509.CANotAuthorizedForThisName, x509.NameConstraintsWithoutSANs, x509.UnconstrainedName:
		return "a CA may not vouch for the names in it (name constraints): " + e.Detail
	case x509.NotAuthorizedToSign:
		return label(e.Cert) + " is no CA"
	}
	return e.Error()
}

// walk follows the chain by names, from the peer's certificate upwards, and
// tells the first thing that is wrong; nil when it finds nothing by itself.
func walk(leaf *x509.Certificate, anchors, between []*x509.Certificate, now time.Time) *Error {
	at := leaf
	for range maxCertificates + 1 {
		if now.Before(at.NotBefore) || now.After(at.NotAfter) {
			return refuse(event.CertExpired, at, "the certificate %s %s; now it is %s", label(at), since(at, now), now.UTC().Format("15:04:05 MST Jan 2 2006"))
		}
		if len(at.UnhandledCriticalExtensions) > 0 {
			return refuse(event.CertUntrusted, at, "the certificate %s has the critical extension %s, which is not known here", label(at), at.UnhandledCriticalExtensions[0])
		}
		if holds(anchors, at) {
			return nil
		}
		above, anchored := issuer(at, anchors), true
		if above == nil {
			above, anchored = issuer(at, between), false
		}
		if above == nil {
			if e := impostor(at, anchors, between); e != nil {
				return e
			}
			if at != leaf {
				return refuse(event.CertUntrusted, leaf, "the chain of the certificate %s ends with %s, whose issuer %q is missing: the peer has to send it, or a trustpoint has to hold it",
					label(leaf), label(at), isakmp.NameText(at.RawIssuer))
			}
			return nil
		}
		if !above.IsCA || !above.BasicConstraintsValid {
			if !anchored || above.Version == 3 {
				return refuse(event.CertUntrusted, above, "%s is no CA (its basic constraints do not say so) and may not issue %s", label(above), label(at))
			}
		}
		at = above
	}
	return nil
}

func holds(certs []*x509.Certificate, c *x509.Certificate) bool {
	for _, o := range certs {
		if bytes.Equal(o.Raw, c.Raw) {
			return true
		}
	}
	return false
}

// issuer finds who signed a certificate, by name and signature.
func issuer(c *x509.Certificate, among []*x509.Certificate) *x509.Certificate {
	for _, o := range among {
		if bytes.Equal(o.RawSubject, c.RawIssuer) && !bytes.Equal(o.Raw, c.Raw) && o.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
			return o
		}
	}
	return nil
}

// impostor tells of a certificate that names an issuer we know, but was not
// signed with that one's key.
func impostor(c *x509.Certificate, anchors, between []*x509.Certificate) *Error {
	for _, list := range [][]*x509.Certificate{anchors, between} {
		for _, o := range list {
			if bytes.Equal(o.RawSubject, c.RawIssuer) && !bytes.Equal(o.Raw, c.Raw) {
				reason := "the CA has another key"
				var insecure x509.InsecureAlgorithmError
				if err := o.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); errors.As(err, &insecure) {
					reason = "it is signed with " + c.SignatureAlgorithm.String() + ", which can be forged"
				}
				return refuse(event.CertUntrusted, c, "the certificate %s says it was issued by %q, but the signature is not that of %s: %s",
					label(c), isakmp.NameText(c.RawIssuer), label(o), reason)
			}
		}
	}
	return nil
}
