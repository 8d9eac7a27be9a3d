// Package authority is a certification authority for labs and tests: it makes
// keys, issues certificates, revocation lists and OCSP answers, good ones and,
// where the caller changes the template, bad ones. No gateway uses it.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Authority is a CA: its certificate and its key.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer

	random io.Reader
	now    time.Time
	serial int64
}

// Kinds of keys.
const (
	RSA2048 = "rsa2048"
	RSA3072 = "rsa3072"
	P256    = "p256"
	P384    = "p384"
	P521    = "p521"
)

// NewKey makes a key of a kind.
func NewKey(random io.Reader, kind string) (crypto.Signer, error) {
	switch kind {
	case RSA2048:
		return rsa.GenerateKey(random, 2048)
	case RSA3072:
		return rsa.GenerateKey(random, 3072)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), random)
	}
	return nil, fmt.Errorf("authority: no kind of key is called %s", kind)
}

// New makes a root CA with a key of a kind: it is valid from a day before now
// for ten years. change may alter the template; nil leaves it.
func New(random io.Reader, now time.Time, name, kind string, change func(*x509.Certificate)) (*Authority, error) {
	key, err := NewKey(random, kind)
	if err != nil {
		return nil, err
	}
	return Of(random, now, name, key, change)
}

// Of makes a root CA of a key. With an ECDSA key and no randomness (nil) the same
// key gives the same certificates.
func Of(random io.Reader, now time.Time, name string, key crypto.Signer, change func(*x509.Certificate)) (*Authority, error) {
	a := &Authority{Key: key, random: random, now: now}
	t := a.template(name)
	caOf(t)
	if change != nil {
		change(t)
	}
	var err error
	a.Cert, err = a.sign(t, t, key.Public())
	return a, err
}

// Sub makes a CA below this one.
func (a *Authority) Sub(name, kind string, change func(*x509.Certificate)) (*Authority, error) {
	key, err := NewKey(a.random, kind)
	if err != nil {
		return nil, err
	}
	t := a.template(name)
	caOf(t)
	if change != nil {
		change(t)
	}
	b := &Authority{Key: key, random: a.random, now: a.now}
	b.Cert, err = a.sign(t, a.Cert, key.Public())
	return b, err
}

// Issue makes a certificate for a gateway: C=XX, O=lab, CN=name, the name as
// FQDN and the addresses as alternative names, for IKE.
func (a *Authority) Issue(name string, public crypto.PublicKey, addresses []netip.Addr, change func(*x509.Certificate)) (*x509.Certificate, error) {
	t := a.template(name)
	t.KeyUsage, t.DNSNames = x509.KeyUsageDigitalSignature, []string{name}
	t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 17}}
	for _, ip := range addresses {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	if change != nil {
		change(t)
	}
	return a.sign(t, a.Cert, public)
}

func (a *Authority) template(name string) *x509.Certificate {
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(0x1000 + a.serial), NotBefore: a.now.Add(-24 * time.Hour), NotAfter: a.now.AddDate(10, 0, 0),
		Subject: pkix.Name{Country: []string{"XX"}, Organization: []string{"lab"}, CommonName: name},
	}
}

func caOf(t *x509.Certificate) {
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
}

func (a *Authority) sign(t, parent *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(a.random, t, parent, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return x509.ParseCertificate(der)
}

// CRL is a revocation list in DER that is good from an hour before now until
// next. change may alter the template.
func (a *Authority) CRL(now, next time.Time, revoked []*x509.Certificate, change func(*x509.RevocationList)) ([]byte, error) {
	a.serial++
	t := &x509.RevocationList{Number: big.NewInt(a.serial), ThisUpdate: now.Add(-time.Hour), NextUpdate: next}
	for _, c := range revoked {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: t.ThisUpdate})
	}
	if change != nil {
		change(t)
	}
	return x509.CreateRevocationList(a.random, t, a.Cert, a.Key)
}

// OCSP answers about a certificate of this CA, signed by the holder of a
// responder's certificate, or by the CA itself when that is nil.
func (a *Authority) OCSP(c *x509.Certificate, status int, now, next time.Time, responder *x509.Certificate, key crypto.Signer) ([]byte, error) {
	t := ocsp.Response{Status: status, SerialNumber: c.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: next, RevokedAt: now.Add(-time.Hour)}
	if responder == nil {
		return ocsp.CreateResponse(a.Cert, a.Cert, t, a.Key)
	}
	t.Certificate = responder
	return ocsp.CreateResponse(a.Cert, responder, t, key)
}

// PEM writes certificates one after the other.
func PEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// KeyPEM writes a private key in PKCS #8.
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
