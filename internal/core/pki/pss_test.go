package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"culvert/internal/core/authority"
	"culvert/internal/core/event"
)

// pssCertificate is the outermost layer of a certificate.
type pssCertificate struct {
	TBS       asn1.RawValue
	Algorithm asn1.RawValue
	Signature asn1.BitString
}

// resigned is a certificate whose signature parameters are changed in both
// places, and which its CA has truly signed like that, with a salt of salt octets.
func resigned(t *testing.T, der []byte, key *rsa.PrivateKey, from, to []byte, salt int) []byte {
	t.Helper()
	var c pssCertificate
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	if len(from) != len(to) || bytes.Count(c.TBS.FullBytes, from) != 1 || bytes.Count(c.Algorithm.FullBytes, from) != 1 {
		t.Fatalf("%x is not once in the certificate's parameters", from)
	}
	c.TBS.FullBytes = bytes.Replace(c.TBS.FullBytes, from, to, 1)
	c.Algorithm.FullBytes = bytes.Replace(c.Algorithm.FullBytes, from, to, 1)
	digest := sha256.Sum256(c.TBS.FullBytes)
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	out, err := asn1.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// CVE-2018-6459, CVE-2021-41990: parameters of RSASSA-PSS that lack the hash of
// the mask, name another one, or tell a giant salt. Such a certificate is
// refused, though its CA did sign it; with the parameters as they should be it
// is taken.
func TestSignatureParameters(t *testing.T) {
	w := newWorld(t)
	w.root = must(authority.New(rand.Reader, noon, "lab CA", authority.RSA2048, nil))(t)
	leaf := w.issue(w.root, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS })
	key := w.root.Key.(*rsa.PrivateKey)
	salt := []byte{0xa2, 0x03, 0x02, 0x01, 32}
	maskHash := []byte{0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00}
	sha512, null := bytes.Clone(maskHash), bytes.Clone(maskHash)
	sha512[27] = 3
	null[15], null[16] = 0x05, 0x0d // where the hash should be, a NULL of 13 octets
	good := w.claim(leaf)
	good.Certificates = [][]byte{resigned(t, leaf.Raw, key, salt, salt, 32)}
	if _, err := run(good); err != nil {
		t.Fatalf("as it should be: %v", err)
	}
	for story, v := range map[string]struct {
		from, to []byte
		salt     int
	}{
		"a salt of 127 octets, used":      {salt, []byte{0xa2, 0x03, 0x02, 0x01, 127}, 127},
		"a negative salt":                 {salt, []byte{0xa2, 0x03, 0x02, 0x01, 0xff}, 32},
		"the mask made with another hash": {maskHash, sha512, 32},
		"no hash of the mask":             {maskHash, null, 32},
	} {
		bad := w.claim(leaf)
		bad.Certificates = [][]byte{resigned(t, leaf.Raw, key, v.from, v.to, v.salt)}
		refused(t, story, bad, event.CertUntrusted)
	}
}
