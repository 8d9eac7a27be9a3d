package isakmp

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// CertEncoding is how a certificate, or the request for one, is encoded (RFC
// 2408 3.9).
type CertEncoding uint8

// The encodings that are of use here.
const (
	CertPKCS7 CertEncoding = 1 // certificates wrapped in PKCS #7
	CertX509  CertEncoding = 4 // an X.509 certificate for signatures
	CertCRL   CertEncoding = 7 // a revocation list
)

func (e CertEncoding) String() string {
	names := [...]string{"none", "PKCS #7 wrapped X.509 certificate", "PGP certificate", "DNS signed key", "X.509 certificate, signature",
		"X.509 certificate, key exchange", "Kerberos tokens", "CRL", "ARL", "SPKI certificate", "X.509 certificate, attribute"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("encoding(%d)", uint8(e))
}

// Cert is a CERT payload, or a CERTREQ payload: there Data is the distinguished
// name of the CA that is asked for, DER, or nothing for any (RFC 2408 3.9, 3.10).
type Cert struct {
	Encoding CertEncoding
	Data     []byte
}

// ParseCert reads the body of a CERT or CERTREQ payload. The error is
// ErrPayloadMalformed when it is empty.
func ParseCert(body []byte) (Cert, error) {
	if len(body) == 0 {
		return Cert{}, malformed("CERT payload", 0, "no octet, expected at least the encoding")
	}
	return Cert{CertEncoding(body[0]), body[1:]}, nil
}

// Append writes the body of the payload behind b.
func (c Cert) Append(b []byte) []byte { return append(append(b, byte(c.Encoding)), c.Data...) }

// Wrapped lists the certificates of a CERT payload with CertPKCS7: those of a
// SignedData without a content (RFC 2315 section 9), in DER. At most most are
// read; false when it is something else.
func (c Cert) Wrapped(most int) (certs [][]byte, ok bool) {
	const signedData = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	input := cryptobyte.String(c.Data)
	var info, kind, content, data, set cryptobyte.String
	context0 := asn1.Tag(0).Constructed().ContextSpecific()
	var version int
	if !input.ReadASN1(&info, asn1.SEQUENCE) || !input.Empty() || !info.ReadASN1(&kind, asn1.OBJECT_IDENTIFIER) || string(kind) != signedData ||
		!info.ReadASN1(&content, context0) || !content.ReadASN1(&data, asn1.SEQUENCE) ||
		!data.ReadASN1Integer(&version) || !data.SkipASN1(asn1.SET) || !data.SkipASN1(asn1.SEQUENCE) || !data.ReadASN1(&set, context0) {
		return nil, false
	}
	for !set.Empty() && len(certs) < most {
		var one cryptobyte.String
		if !set.ReadASN1Element(&one, asn1.SEQUENCE) {
			return nil, false
		}
		certs = append(certs, one)
	}
	return certs, len(certs) > 0
}
