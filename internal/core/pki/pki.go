// Package pki is certificates: reading them, proving a peer's chain, and
// finding out whether a certificate was taken back. It asks nobody: what has to
// be fetched leaves as a value and comes back as octets, and what is slow is a
// crypt.Job. RFC 5280 (certificates and revocation lists), RFC 4945 (how IKE
// uses them), RFC 6960 (OCSP).
//
//	CERT, ID, SIG ──▶ CheckJob ──▶ Peer: signature right, chain proved, identity in it
//	Peer ──▶ Inquiry ──▶ Look ──▶ fetch ──▶ JudgeJob ──▶ good, revoked, or not known
//
// Nothing is fetched before the chain is proved (CVE-2022-40617), and nobody is
// trusted but the CAs of the trustpoints: never the machine's own.
//
//	parse.go       files: PEM and DER, keys, lists
//	chain.go       a peer's claim: signature, chain, what RFC 4945 wants of it
//	why.go         why a chain does not hold, for people
//	identity.go    whether a certificate says who the peer says it is
//	match.go       certificate maps
//	inquiry.go     the methods of revocation-check, one after the other
//	crl.go         revocation lists
//	ocsp.go        OCSP
//	cache.go       evidence that is kept
package pki

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// Error is why a peer's certificate does not prove it.
type Error struct {
	// Code is CertUntrusted, CertExpired, CertRevoked, RevocationNone,
	// CertIdentity or BadSignature.
	Code   event.Code
	Reason string // which certificate, what is wrong, what was expected
	// Certificate is the peer's; zero when none came.
	Certificate event.Certificate
	// Proven: signature and chain hold, so it is the peer itself that is at fault,
	// and nobody who changed its message on the way. (The signature covers the
	// identity, the chain the certificate.)
	Proven bool
	// Revocations are the looks that were taken.
	Revocations []event.Revocation
}

func (e *Error) Error() string { return e.Reason }

func refuse(code event.Code, c *x509.Certificate, format string, args ...any) *Error {
	e := &Error{Code: code, Reason: fmt.Sprintf(format, args...)}
	if c != nil {
		e.Certificate = Describe(c)
	}
	return e
}

// Describe tells of a certificate what events carry.
func Describe(c *x509.Certificate) event.Certificate {
	return event.Certificate{
		Dir: event.Received, Subject: isakmp.NameText(c.RawSubject), Issuer: isakmp.NameText(c.RawIssuer),
		Serial: Serial(c), NotAfter: c.NotAfter,
	}
}

// Serial is a certificate's serial number as IOS prints it: upper-case
// hexadecimal, whole octets.
func Serial(c *x509.Certificate) string { return serial(c.SerialNumber.Bytes()) }

func serial(b []byte) string {
	if len(b) == 0 {
		return "00"
	}
	return fmt.Sprintf("%X", b)
}

// label names a certificate in a sentence.
func label(c *x509.Certificate) string {
	return fmt.Sprintf("%q (serial number %s)", isakmp.NameText(c.RawSubject), Serial(c))
}

// Summary is a certificate for show commands and configuration checks.
type Summary struct {
	Subject, Issuer     string // as isakmp.NameText writes them
	Serial              string // upper-case hexadecimal
	NotBefore, NotAfter time.Time
	Key                 string // "RSA 2048", "ECDSA P-256"
	CA                  bool
	SelfIssued          bool     // subject and issuer are the same
	Names               []string // subject alternative names, "dns:r1.lab", "ip:198.51.100.1", "email:a@b"
	CRLs, OCSP          []string // where revocation is told
}

// Summarize reads a certificate in DER.
func Summarize(der []byte) (Summary, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Summary{}, fmt.Errorf("not a certificate: %w", err)
	}
	s := Summary{
		Subject: isakmp.NameText(c.RawSubject), Issuer: isakmp.NameText(c.RawIssuer), Serial: Serial(c), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Key: KeyWords(c.PublicKey), CA: c.IsCA, SelfIssued: isakmp.SameName(c.RawSubject, c.RawIssuer),
		CRLs: c.CRLDistributionPoints, OCSP: c.OCSPServer,
	}
	for _, n := range alternatives(c) {
		s.Names = append(s.Names, n.kind+":"+n.value)
	}
	return s, nil
}

// since says how a validity relates to now: "was valid until …", "is valid from …".
func since(c *x509.Certificate, now time.Time) string {
	const layout = "15:04:05 MST Jan 2 2006"
	if now.Before(c.NotBefore) {
		return "is not valid before " + c.NotBefore.UTC().Format(layout)
	}
	return "was valid until " + c.NotAfter.UTC().Format(layout)
}

// job makes a crypt.Job of a function.
type job func() (any, error)

// Run does the work.
func (j job) Run() crypt.Result {
	v, err := j()
	return crypt.Result{Value: v, Err: err}
}

func join(words []string) string { return strings.Join(words, ", ") }
