package pki

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// maxOCSP is how many octets of an OCSP answer are read.
const maxOCSP = 1 << 16

// errUnknown is a responder that does not know the certificate.
var errUnknown = errors.New("the OCSP responder does not know the certificate")

// ocspRequest asks about one certificate, its CA named by SHA-1 as every
// responder takes it (RFC 5019 section 2.1.1). There is no nonce: most
// responders sign their answers in advance and leave it out; an answer is as
// fresh as its times say.
func ocspRequest(c, ca *x509.Certificate) ([]byte, error) {
	return ocsp.CreateRequest(c, ca, &ocsp.RequestOptions{Hash: crypto.SHA1})
}

// readAnswer verifies a responder's answer: that it is about this certificate of
// this CA, signed by the CA or by whom the CA has given that to do, and of now.
func readAnswer(der []byte, c, ca *x509.Certificate, now time.Time) (*answer, error) {
	if len(der) > maxOCSP {
		return nil, fmt.Errorf("the OCSP answer has %d octets, expected %d at most", len(der), maxOCSP)
	}
	r, err := ocsp.ParseResponseForCert(der, c, nil)
	if err != nil {
		return nil, fmt.Errorf("no OCSP answer: %w", err)
	}
	if err := checkResponder(r, ca, now); err != nil {
		return nil, err
	}
	if !namesIssuer(r.TBSResponseData, c, ca) {
		return nil, errors.New("the OCSP answer is about a certificate of another CA")
	}
	if r.SerialNumber == nil || r.SerialNumber.Cmp(c.SerialNumber) != 0 {
		return nil, errors.New("the OCSP answer is about another certificate")
	}
	if r.ThisUpdate.After(now.Add(skew)) {
		return nil, fmt.Errorf("the OCSP answer is of %s, which is still to come", clock(r.ThisUpdate))
	}
	until := r.NextUpdate
	if until.IsZero() {
		until = r.ThisUpdate.Add(undated)
	}
	if now.After(until) {
		return nil, fmt.Errorf("the OCSP answer was good until %s", clock(until))
	}
	for _, x := range r.Extensions {
		if x.Critical {
			return nil, fmt.Errorf("the OCSP answer has the critical extension %s, which is not known here", x.Id)
		}
	}
	switch r.Status {
	case ocsp.Good:
		return &answer{this: r.ThisUpdate, until: until}, nil
	case ocsp.Revoked:
		return &answer{revoked: true, this: r.ThisUpdate, until: until}, nil
	}
	return nil, errUnknown
}

// checkResponder verifies who signed an answer (RFC 6960 section 4.2.2.2): the
// CA itself, or the holder of a certificate that the CA has issued for this
// purpose.
func checkResponder(r *ocsp.Response, ca *x509.Certificate, now time.Time) error {
	by := r.Certificate
	if by == nil || bytes.Equal(by.Raw, ca.Raw) || bytes.Equal(by.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo) {
		if err := r.CheckSignatureFrom(ca); err != nil {
			return fmt.Errorf("the OCSP answer was not signed by %s: %w", label(ca), err)
		}
		return nil
	}
	if err := by.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("the OCSP answer was signed by %s, whose certificate is not of %s: %w", label(by), label(ca), err)
	}
	switch {
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("the OCSP answer was signed by %s, which may not do that: its extended key usage has no OCSPSigning", label(by))
	case now.Before(by.NotBefore) || now.After(by.NotAfter):
		return fmt.Errorf("the OCSP answer was signed by %s, which %s", label(by), since(by, now))
	case len(by.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("the OCSP answer was signed by %s, whose certificate has the critical extension %s, which is not known here", label(by), by.UnhandledCriticalExtensions[0])
	}
	if err := r.CheckSignatureFrom(by); err != nil {
		return fmt.Errorf("the OCSP answer was not signed by %s: %w", label(by), err)
	}
	return nil
}

// namesIssuer looks into the answer for the certID of the certificate: hashes of
// the CA's name and key, and the serial number (RFC 6960 section 4.1.1).
func namesIssuer(tbs []byte, c, ca *x509.Certificate) bool {
	data := cryptobyte.String(tbs)
	var responses, single, certID, algorithm, oid, name, key cryptobyte.String
	version := asn1.Tag(0).Constructed().ContextSpecific()
	var responder cryptobyte.String
	var tag asn1.Tag
	if !data.ReadASN1(&data, asn1.SEQUENCE) || !data.SkipOptionalASN1(version) || !data.ReadAnyASN1(&responder, &tag) ||
		!data.SkipASN1(asn1.GeneralizedTime) || !data.ReadASN1(&responses, asn1.SEQUENCE) {
		return false
	}
	for responses.ReadASN1(&single, asn1.SEQUENCE) {
		var number []byte
		if !single.ReadASN1(&certID, asn1.SEQUENCE) || !certID.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			!certID.ReadASN1(&name, asn1.OCTET_STRING) || !certID.ReadASN1(&key, asn1.OCTET_STRING) || !certID.ReadASN1Integer(&number) {
			return false
		}
		if bytes.Equal(number, c.SerialNumber.Bytes()) {
			return sameHash(oid, name, ca.RawSubject) && sameHash(oid, key, publicKeyBits(ca))
		}
	}
	return false
}

// sameHash compares a hash, by the identifier of its function: SHA-1 or SHA-256.
func sameHash(oid, got, of []byte) bool {
	switch hex.EncodeToString(oid) {
	case "2b0e03021a":
		sum := sha1.Sum(of)
		return bytes.Equal(got, sum[:])
	case "608648016503040201":
		sum := sha256.Sum256(of)
		return bytes.Equal(got, sum[:])
	}
	return false
}

// publicKeyBits is the subjectPublicKey of a certificate without its wrapping,
// which is what a certID hashes.
func publicKeyBits(c *x509.Certificate) []byte {
	info := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var algorithm cryptobyte.String
	var bits []byte
	if !info.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1(&algorithm, asn1.SEQUENCE) || !info.ReadASN1BitStringAsBytes(&bits) {
		return nil
	}
	return bits
}
