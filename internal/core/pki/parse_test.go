package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"culvert/internal/core/authority"
	"culvert/internal/core/crypt"
)

func TestParseCertificates(t *testing.T) {
	w := newWorld(t)
	leaf := w.issue(w.root, nil)
	both := authority.PEM(leaf, w.root.Cert)
	for story, data := range map[string][]byte{
		"PEM": both, "DER": leaf.Raw, "with words around": slices.Concat([]byte("# of the lab\n"), both, []byte("\nend\n")),
		"with a key before": slices.Concat(must(authority.KeyPEM(w.key))(t), both),
	} {
		got, err := ParseCertificates(data)
		if err != nil || !slices.Equal(got[0], leaf.Raw) {
			t.Errorf("%s: %v", story, err)
		}
	}
	for story, v := range map[string]struct {
		data []byte
		want string
	}{
		"empty": {[]byte(" \n"), "empty"}, "words": {[]byte("hello"), "certificate 1"}, "a key": {must(authority.KeyPEM(w.key))(t), "no certificate"},
		"damaged": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw[:100]}), "certificate 1"},
		"many":    {slices.Repeat(both, maxFile), "more than 64"},
	} {
		if _, err := ParseCertificates(v.data); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %v, want %s", story, err, v.want)
		}
	}
	list := must(w.root.CRL(noon, noon.Add(time.Hour), nil, nil))(t)
	for _, data := range [][]byte{list, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})} {
		if got, err := ParseCRLs(data); err != nil || len(got) != 1 {
			t.Errorf("list: %v", err)
		}
	}
	if _, err := ParseCRLs(both); err == nil {
		t.Error("a certificate is taken for a list")
	}
}

func TestParseKey(t *testing.T) {
	k := bigKey().(*rsa.PrivateKey)
	sec1 := must(authority.NewKey(rand.Reader, authority.P384))(t)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	ec := must(x509.MarshalPKCS8PrivateKey(sec1))(t)
	for story, data := range map[string][]byte{
		"PKCS #8": must(authority.KeyPEM(k))(t), "PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)), "DER": x509.MarshalPKCS1PrivateKey(k),
		"behind a certificate": slices.Concat(authority.PEM(newWorld(t).root.Cert), must(authority.KeyPEM(k))(t)), "EC": block("PRIVATE KEY", ec),
	} {
		s, err := ParseKey(data)
		if err != nil || !s.Matches(k.Public()) && !s.Matches(sec1.Public()) {
			t.Errorf("%s: %v", story, err)
		}
	}
	for story, v := range map[string]struct {
		data []byte
		want string
	}{
		"empty": {nil, "damaged"}, "a certificate": {authority.PEM(newWorld(t).root.Cert), "no private key"},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY", []byte{1}), "openssl pkey"},
		"encrypted, old":    {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "DES"}, Bytes: []byte{1}}), "openssl pkey"},
		"damaged":           {block("PRIVATE KEY", ec[:20]), "damaged"},
		"an EC public key":  {block("PUBLIC KEY", []byte{1}), "no private key"},
		"Ed25519 of a peer": {block("PRIVATE KEY", append([]byte{0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20}, make([]byte, 32)...)), "another kind"},
	} {
		if s, err := ParseKey(v.data); err == nil || !strings.Contains(err.Error(), v.want) || s.Held() {
			t.Errorf("%s: %v, want %s", story, err, v.want)
		}
	}
}

func TestCheckOwn(t *testing.T) {
	w := newWorld(t)
	one := w.sub(w.root, "one", nil)
	leaf := w.issue(one, nil)
	key := must(crypt.NewSigner(w.key))(t)
	other := must(crypt.NewSigner(bigKey()))(t)
	chain := func(certs ...*x509.Certificate) (out [][]byte) {
		for _, c := range certs {
			out = append(out, c.Raw)
		}
		return out
	}
	for _, v := range []struct {
		story string
		chain [][]byte
		key   crypt.Signer
		want  string
	}{
		{"good", chain(leaf, one.Cert), key, ""}, {"with the root", chain(leaf, one.Cert, w.root.Cert), key, ""},
		{"nothing", nil, key, "no certificate"}, {"no key", chain(leaf), crypt.Signer{}, "no private key"},
		{"another key", chain(leaf), other, "is not that of the certificate"}, {"out of order", chain(leaf, w.root.Cert), key, "not in order"},
		{"not for IKE", chain(w.issue(w.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })), key, "may not sign"},
		{"garbage", [][]byte{{1}}, key, "certificate 1"},
	} {
		if err := CheckOwn(v.chain, v.key, false); (err == nil) != (v.want == "") || err != nil && !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %v, want %q", v.story, err, v.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	w := newWorld(t)
	s, err := Summarize(w.issue(w.root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{listURL} }).Raw)
	if err != nil || s.Subject != "CN=r1.lab,O=lab,C=XX" || s.Issuer != "CN=lab CA,O=lab,C=XX" || s.Key != "ECDSA P-256" || s.CA || s.SelfIssued ||
		strings.Join(s.Names, " ") != "ip:198.51.100.1 dns:r1.lab" || len(s.CRLs) != 1 || s.Serial == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if r, err := Summarize(w.root.Cert.Raw); err != nil || !r.CA || !r.SelfIssued {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Summarize([]byte{0x30}); err == nil {
		t.Error("garbage is a certificate")
	}
}

// CVE-2017-9023: what a stranger's CERT payloads hold ends in an Error, never in a panic, and
// never in a Peer: no mutation keeps both the signature and the chain.
func FuzzClaim(f *testing.F) {
	w := newWorld(&testing.T{})
	leaf := w.issue(w.root, nil)
	f.Add(leaf.Raw)
	f.Add(w.root.Cert.Raw)
	f.Add([]byte{0x30, 0x80})
	honest := w.claim(leaf)
	f.Fuzz(func(t *testing.T, der []byte) {
		c := honest
		c.Certificates = [][]byte{der}
		p, err := run(c)
		if err == nil && !slices.Equal(p.Leaf().Raw, leaf.Raw) {
			t.Fatalf("%x proves the peer", der)
		}
		if err != nil && AsError(err) == nil {
			t.Fatalf("no Error: %v", err)
		}
	})
}

func FuzzRevocationList(f *testing.F) {
	w := newWorld(&testing.T{})
	leaf := w.issue(w.root, nil)
	revoked := must(w.root.CRL(noon, noon.Add(time.Hour), []*x509.Certificate{leaf}, nil))(f)
	f.Add(revoked)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: revoked}))
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := readList(der, w.root.Cert, noon)
		if err == nil && len(l.revoked) != 1 {
			t.Fatalf("a forged list is believed: %x", der)
		}
	})
}

func FuzzOCSPAnswer(f *testing.F) {
	w := newWorld(&testing.T{})
	leaf := w.issue(w.root, nil)
	f.Add(must(w.root.OCSP(leaf, ocsp.Revoked, noon, noon.Add(time.Hour), nil, nil))(f))
	f.Add([]byte{0x30, 3, 0x0a, 1, 3})
	f.Fuzz(func(t *testing.T, der []byte) {
		a, err := readAnswer(der, leaf, w.root.Cert, noon)
		if err == nil && !a.revoked {
			t.Fatalf("a forged answer is believed: %x", der)
		}
	})
}
