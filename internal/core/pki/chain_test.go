package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

var (
	noon  = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)
	outer = netip.MustParseAddr("198.51.100.1")
)

// world is one CA with one peer, and what a test may change of it.
type world struct {
	t    *testing.T
	root *authority.Authority
	key  crypto.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root, err := authority.New(rand.Reader, noon, "lab CA", authority.P256, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, root, must(authority.NewKey(rand.Reader, authority.P256))(t)}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) issue(by *authority.Authority, change func(*x509.Certificate)) *x509.Certificate {
	w.t.Helper()
	return must(by.Issue("r1.lab", w.key.Public(), []netip.Addr{outer}, change))(w.t)
}

func (w *world) sub(by *authority.Authority, name string, change func(*x509.Certificate)) *authority.Authority {
	w.t.Helper()
	return must(by.Sub(name, authority.P256, change))(w.t)
}

func (w *world) trust(cas ...*x509.Certificate) []policy.Trustpoint {
	t := policy.Trustpoint{Name: "LAB"}
	for _, c := range cas {
		t.CAs = append(t.CAs, c.Raw)
	}
	return []policy.Trustpoint{t}
}

// claim is an honest claim with those certificates.
func (w *world) claim(certs ...*x509.Certificate) Claim {
	w.t.Helper()
	hash := bytes.Repeat([]byte{7}, 32)
	c := Claim{Now: noon, Trustpoints: w.trust(w.root.Cert), Identity: isakmp.IDAddress(outer), Hash: hash}
	for _, k := range certs {
		c.Certificates = append(c.Certificates, k.Raw)
	}
	s := must(crypt.NewSigner(w.key))(w.t)
	r := crypt.SignJob(s, hash).Run()
	if r.Err != nil {
		w.t.Fatal(r.Err)
	}
	c.Method, c.Signature = s.Auth(), r.Signature
	return c
}

func run(c Claim) (*Peer, error) {
	r := CheckJob(c).Run()
	p, _ := r.Value.(*Peer)
	return p, r.Err
}

// refused wants an error with that code that says all of words.
func refused(t *testing.T, story string, c Claim, code event.Code, words ...string) {
	t.Helper()
	p, err := run(c)
	e := AsError(err)
	if e == nil || p != nil {
		t.Errorf("%s: %v, want %s", story, err, code)
		return
	}
	if e.Code != code {
		t.Errorf("%s: %s (%v), want %s", story, e.Code, e, code)
	}
	for _, w := range words {
		if !strings.Contains(e.Error(), w) {
			t.Errorf("%s: %q does not say %q", story, e, w)
		}
	}
}

func TestHonestChains(t *testing.T) {
	w := newWorld(t)
	one := w.sub(w.root, "one", nil)
	two := w.sub(one, "two", nil)
	flat, deep := w.issue(w.root, nil), w.issue(two, nil)
	for story, v := range map[string]struct {
		claim Claim
		chain int
	}{
		"the root's own":         {w.claim(flat), 2},
		"with the root sent":     {w.claim(flat, w.root.Cert), 2},
		"two between":            {w.claim(deep, one.Cert, two.Cert), 4},
		"two between, in a mess": {w.claim(one.Cert, two.Cert, deep), 4},
		"with another's as well": {w.claim(deep, two.Cert, one.Cert, w.issue(w.root, nil)), 4},
		"no purpose, no usage":   {w.claim(w.issue(w.root, func(c *x509.Certificate) { c.KeyUsage, c.UnknownExtKeyUsage = 0, nil })), 2},
		"any purpose": {w.claim(w.issue(w.root, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		})), 2},
		"nonRepudiation": {w.claim(w.issue(w.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment })), 2},
		"an old purpose of IPsec": {w.claim(w.issue(w.root, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageIPSECTunnel}
		})), 2},
	} {
		p, err := run(v.claim)
		if err != nil || len(p.Chain) != v.chain || p.Trustpoint.Name != "LAB" {
			t.Errorf("%s: %v", story, err)
			continue
		}
		if last := p.Chain[len(p.Chain)-1]; !bytes.Equal(last.Raw, w.root.Cert.Raw) {
			t.Errorf("%s: the chain ends with %s", story, label(last))
		}
	}
}

// The CA of a trustpoint need not be a root, and what we would send ourselves
// may stand between.
func TestAnchorsAndOurOwnChain(t *testing.T) {
	w := newWorld(t)
	one := w.sub(w.root, "one", nil)
	leaf := w.issue(one, nil)
	c := w.claim(leaf)
	c.Trustpoints = w.trust(one.Cert)
	if p, err := run(c); err != nil || len(p.Chain) != 2 {
		t.Errorf("a CA below a root as anchor: %v", err)
	}
	c.Trustpoints = w.trust(w.root.Cert)
	c.Trustpoints[0].Chain = [][]byte{leaf.Raw, one.Cert.Raw}
	if p, err := run(c); err != nil || len(p.Chain) != 3 {
		t.Errorf("our own intermediate: %v", err)
	}
	// The second trustpoint proves what the first does not.
	other := newWorld(t)
	c.Trustpoints = append(other.trust(other.root.Cert), c.Trustpoints...)
	c.Trustpoints[1].Name = "SECOND"
	if p, err := run(c); err != nil || p.Trustpoint.Name != "SECOND" {
		t.Errorf("the second trustpoint: %v", err)
	}
	// A trustpoint without a CA proves nobody, and the machine's CAs are not asked.
	c.Trustpoints = []policy.Trustpoint{{Name: "EMPTY"}}
	refused(t, "no CA", c, event.CertUntrusted, "no trustpoint has one")
}

// A chain that the peer made itself leads nowhere (CVE-2004-0590).
func TestRefusedChains(t *testing.T) {
	w := newWorld(t)
	stranger, twin := newWorld(t), newWorld(t)
	one := w.sub(w.root, "one", nil)
	noCA := w.sub(w.root, "no CA", func(c *x509.Certificate) { c.IsCA = false })
	short := w.sub(w.root, "short", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	below := w.sub(short, "below", nil)
	noSign := w.sub(w.root, "no sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	old := w.sub(w.root, "old", func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Hour) })
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}
	current := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.Add(-time.Hour), noon.Add(time.Hour) }
	gateway := w.issue(w.root, nil)
	stranger.root, _ = authority.New(rand.Reader, noon, "stranger CA", authority.P256, nil)
	for _, v := range []struct {
		story string
		claim Claim
		code  event.Code
		words []string
	}{
		{"no certificate", w.claim(), event.CertUntrusted, []string{"sent no certificate", "CN=lab CA,O=lab,C=XX", "trustpoint LAB"}},
		{"expired", w.claim(w.issue(w.root, func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Minute) })), event.CertExpired, []string{"CN=r1.lab", "was valid until 11:59:00 UTC Jun 1 2026", "now it is 12:00:00"}},
		{"not yet valid", w.claim(w.issue(w.root, func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Minute) })), event.CertExpired, []string{"is not valid before 12:01:00 UTC Jun 1 2026"}},
		{"an expired CA between", w.claim(w.issue(old, nil), old.Cert), event.CertExpired, []string{"CN=old", "was valid until"}},
		{"wrong CA", w.claim(w.issue(stranger.root, nil)), event.CertUntrusted, []string{"CN=stranger CA", "no CA of ours", "CN=lab CA"}},
		{"wrong CA, its root sent", w.claim(w.issue(stranger.root, nil), stranger.root.Cert), event.CertUntrusted, []string{"stranger CA"}},
		{"a CA of the same name with another key", w.claim(w.issue(twin.root, nil)), event.CertUntrusted, []string{"issued by \"CN=lab CA", "another key"}},
		{"the twin's root sent as well", w.claim(w.issue(twin.root, nil), twin.root.Cert), event.CertUntrusted, []string{"lab CA"}},
		{"intermediate missing", w.claim(w.issue(one, nil)), event.CertUntrusted, []string{"issued by \"CN=one,O=lab,C=XX\"", "no CA of ours"}},
		{"no CA flag", w.claim(w.issue(noCA, nil), noCA.Cert), event.CertUntrusted, []string{"CN=no CA", "is no CA"}},
		{"a gateway's certificate issues another", w.claim(w.issue(&authority.Authority{Cert: gateway, Key: w.key}, current), gateway), event.CertUntrusted, []string{"is no CA"}},
		{"path too long", w.claim(w.issue(below, nil), below.Cert, short.Cert), event.CertUntrusted, []string{"pathLenConstraint"}},
		{"a CA that may not sign", w.claim(w.issue(noSign, nil), noSign.Cert), event.CertUntrusted, nil},
		{"unknown critical extension", w.claim(w.issue(w.root, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{critical} })), event.CertUntrusted, []string{"critical extension 1.3.6.1.4.1.99999.1"}},
		{"may not sign", w.claim(w.issue(w.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), event.CertUntrusted, []string{"neither digitalSignature nor nonRepudiation"}},
		{"for web servers", w.claim(w.issue(w.root, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})), event.CertUntrusted, []string{"not for IKE"}},
	} {
		refused(t, v.story, v.claim, v.code, v.words...)
	}
}

// CVE-2026-35331: a name that differs in case from an excluded one is excluded.
func TestNameConstraints(t *testing.T) {
	w := newWorld(t)
	for story, v := range map[string]struct {
		ca, leaf func(*x509.Certificate)
		ok       bool
	}{
		"permitted":             {func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"lab"} }, nil, true},
		"not permitted":         {func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.org"} }, nil, false},
		"excluded":              {func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"lab"} }, nil, false},
		"excluded, other case":  {func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"lab"} }, func(c *x509.Certificate) { c.DNSNames = []string{"R1.LAB"} }, false},
		"excluded, CA shouts":   {func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"LAB"} }, nil, false},
		"excluded address":      {func(c *x509.Certificate) { c.ExcludedIPRanges = ipRange("198.51.100.0/24") }, nil, false},
		"address not permitted": {func(c *x509.Certificate) { c.PermittedIPRanges = ipRange("10.0.0.0/8") }, nil, false},
		"unknown kind, critical": {func(c *x509.Certificate) {
			// permittedSubtrees with a directoryName: what it permits is not understood.
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Critical: true, Value: []byte{0x30, 0x08, 0xa0, 0x06, 0x30, 0x04, 0xa4, 0x02, 0x30, 0x00}}}
		}, nil, false},
	} {
		ca := w.sub(w.root, "constrained", v.ca)
		c := w.claim(w.issue(ca, v.leaf), ca.Cert)
		if v.ok {
			if _, err := run(c); err != nil {
				t.Errorf("%s: %v", story, err)
			}
			continue
		}
		refused(t, story, c, event.CertUntrusted)
	}
}

func ipRange(p string) []*net.IPNet {
	_, n, err := net.ParseCIDR(p)
	if err != nil {
		panic(err)
	}
	return []*net.IPNet{n}
}

// Signature AND chain are mandatory (racoon CVE-2004-0155, CVE-2004-0607), and a
// key of another kind proves nothing (CVE-2020-16088).
func TestRefusedSignatures(t *testing.T) {
	w := newWorld(t)
	honest := w.issue(w.root, nil)
	other := newWorld(t)
	change := func(f func(*Claim)) Claim { c := w.claim(honest); f(&c); return c }
	for story, c := range map[string]Claim{
		"none":                change(func(c *Claim) { c.Signature = nil }),
		"all zeros":           change(func(c *Claim) { c.Signature = make([]byte, 64) }),
		"a flipped bit":       change(func(c *Claim) { c.Signature[5] ^= 1 }),
		"another HASH":        change(func(c *Claim) { c.Hash = bytes.Repeat([]byte{8}, 32) }),
		"a cut HASH":          change(func(c *Claim) { c.Hash = c.Hash[:20] }),
		"another's key":       change(func(c *Claim) { c.Signature = other.claim(honest).Signature }),
		"another method":      change(func(c *Claim) { c.Method = suite.RSASig }),
		"a larger curve":      change(func(c *Claim) { c.Method = suite.ECDSA384 }),
		"no method":           change(func(c *Claim) { c.Method = suite.NoAuth }),
		"a pre-shared key":    change(func(c *Claim) { c.Method = suite.PSK }),
		"the CA's cert alone": change(func(c *Claim) { c.Certificates = [][]byte{w.root.Cert.Raw} }),
	} {
		refused(t, story, c, event.BadSignature, "certificate")
	}
}

var bigKey = sync.OnceValue(func() crypto.Signer {
	k, err := authority.NewKey(rand.Reader, authority.RSA2048)
	if err != nil {
		panic(err)
	}
	return k
})

// CVE-2017-9022: tiny, even and giant keys are refused before any arithmetic with them.
func TestCertificatesWithWeirdKeys(t *testing.T) {
	w := newWorld(t)
	w.key = bigKey()
	honest := w.issue(w.root, nil)
	if _, err := run(w.claim(honest)); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(honest.Raw, w.key.Public().(*rsa.PublicKey).N.Bytes())
	if at < 0 {
		t.Fatal("the modulus is not in the certificate")
	}
	for story, change := range map[string]func([]byte){
		"even modulus": func(b []byte) { b[at+255] &^= 1 },
		"e = 1":        func(b []byte) { copy(b[at+256:], []byte{2, 3, 0, 0, 1}) },
	} {
		raw := bytes.Clone(honest.Raw)
		change(raw)
		c := w.claim(honest)
		c.Certificates = [][]byte{raw}
		refused(t, story, c, event.CertUntrusted)
	}
}

// CVE-2017-9023: certificates are bounded, strict DER.
func TestBoundsOfAClaim(t *testing.T) {
	w := newWorld(t)
	honest := w.issue(w.root, nil)
	many := slices.Repeat([]*x509.Certificate{honest}, maxCertificates+1)
	refused(t, "too many", w.claim(many...), event.CertUntrusted, "9 certificates, expected 8 at most")
	if _, err := run(w.claim(many[:maxCertificates]...)); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	c := w.claim(honest)
	c.Certificates = append(c.Certificates, make([]byte, maxCertificate+1))
	refused(t, "too large", c, event.CertUntrusted, "16385 octets")
	for story, raw := range map[string][]byte{
		"nothing": {}, "zeros": make([]byte, 100), "cut": honest.Raw[:len(honest.Raw)-1], "garbage behind": append(bytes.Clone(honest.Raw), 0),
	} {
		c := w.claim(honest)
		c.Certificates = [][]byte{raw}
		refused(t, story, c, event.CertUntrusted, "cannot be read")
	}
}

func TestIdentityInTheCertificate(t *testing.T) {
	w := newWorld(t)
	dn := func(c *x509.Certificate) isakmp.Identification {
		return isakmp.Identification{Type: isakmp.IDDN, Data: c.RawSubject}
	}
	named := w.issue(w.root, func(c *x509.Certificate) { c.EmailAddresses = []string{"r1@lab.example"} })
	router := w.issue(w.root, func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = nil, nil
		c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 2}, Value: "r1.example.org"},
			{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 8}, Value: "198.51.100.7"},
		}
	})
	shouting := w.issue(w.root, func(c *x509.Certificate) { c.Subject.Organization, c.Subject.CommonName = []string{"LAB"}, "R1.LAB  " })
	text := func(k isakmp.IDType, v string) isakmp.Identification {
		return isakmp.Identification{Type: k, Data: []byte(v)}
	}
	for _, v := range []struct {
		story string
		cert  *x509.Certificate
		id    isakmp.Identification
		ok    bool
	}{
		{"address", named, isakmp.IDAddress(outer), true},
		{"another address", named, isakmp.IDAddress(netip.MustParseAddr("198.51.100.2")), false},
		{"FQDN", named, text(isakmp.IDFQDN, "r1.lab"), true},
		{"FQDN, other case and a dot", named, text(isakmp.IDFQDN, "R1.Lab."), true},
		{"FQDN within", named, text(isakmp.IDFQDN, "lab"), false},
		{"FQDN with NUL", named, text(isakmp.IDFQDN, "r1.lab\x00"), false},
		{"FQDN with NUL and more", named, text(isakmp.IDFQDN, "r1.lab\x00.evil"), false},
		{"the address as FQDN", named, text(isakmp.IDFQDN, "198.51.100.1"), false},
		{"the CN is no FQDN", router, text(isakmp.IDFQDN, "r1.lab"), false},
		{"user FQDN", named, text(isakmp.IDUserFQDN, "R1@lab.example"), true},
		{"another user FQDN", named, text(isakmp.IDUserFQDN, "r2@lab.example"), false},
		{"unstructuredName", router, text(isakmp.IDFQDN, "r1.example.org"), true},
		{"unstructuredAddress", router, isakmp.IDAddress(netip.MustParseAddr("198.51.100.7")), true},
		{"DN", named, dn(named), true},
		{"DN, other case and blanks", named, dn(shouting), true},
		{"another DN", named, dn(w.root.Cert), false},
		{"a longer DN (CVE-2013-6075)", named, dn(router), false},
		{"key ID", named, text(isakmp.IDKeyID, "r1.lab"), false},
		{"general name", named, isakmp.Identification{Type: isakmp.IDGN, Data: named.RawSubject}, false},
		{"subnet", named, isakmp.IDSubnet(netip.MustParsePrefix("198.51.100.1/32")), false},
	} {
		c := w.claim(v.cert)
		c.Identity = v.id
		if v.ok {
			if _, err := run(c); err != nil {
				t.Errorf("%s: %v", v.story, err)
			}
			continue
		}
		refused(t, v.story, c, event.CertIdentity, "certificate")
	}
}

func TestTrustpointsCertificateMaps(t *testing.T) {
	w := newWorld(t)
	cert := w.issue(w.root, nil)
	rule := func(field, op, value string) *policy.CertificateMap {
		return &policy.CertificateMap{Name: "M", Entries: []policy.CertificateRules{{Seq: 10, Rules: []policy.CertificateRule{{Field: field, Op: op, Value: value}}}}}
	}
	c := w.claim(cert)
	c.Trustpoints[0].Match = []*policy.CertificateMap{rule("subject-name", "co", "cn=r2")}
	refused(t, "fits no map", c, event.CertIdentity, "no certificate map of the trustpoint LAB")
	c.Trustpoints[0].Match = append(c.Trustpoints[0].Match, rule("subject-name", "co", "cn=r1.lab"))
	if _, err := run(c); err != nil {
		t.Errorf("fits the second: %v", err)
	}
	serial := new(big.Int).Set(cert.SerialNumber).Text(16)
	for _, v := range []struct {
		field, op, value string
		want             bool
	}{
		{"subject-name", "co", "CN = R1.LAB", true}, {"subject-name", "co", "o=lab, c=xx", true}, {"subject-name", "co", "c=xx, o=lab", true},
		{"subject-name", "nc", "cn=r2", true}, {"subject-name", "nc", "r1", false},
		{"subject-name", "eq", "cn=r1.lab,o=lab,c=xx", true}, {"subject-name", "eq", "C=XX, O=lab, CN=r1.lab", true}, {"subject-name", "eq", "cn=r1.lab", false},
		{"subject-name", "ne", "cn=r1.lab", true}, {"issuer-name", "co", "lab ca", true}, {"issuer-name", "ne", "cn=lab ca,o=lab,c=xx", false},
		{"alt-subject-name", "eq", "r1.lab", true}, {"alt-subject-name", "co", "198.51.100.1", true}, {"alt-subject-name", "eq", "198.51.100", false},
		{"unstructured-subject-name", "co", "lab", true}, {"name", "co", "cn=r1", true}, {"name", "eq", "198.51.100.1", true},
		{"serial-number", "eq", serial, true}, {"serial-number", "eq", "00:" + serial, true}, {"serial-number", "ne", "1", true},
		{"valid-start", "lt", "Jun 1 2026", true}, {"valid-start", "ge", "Jun 1 2026 00:00:00", false}, {"expires-on", "ge", "2030-01-01", true},
		{"expires-on", "lt", "whenever", false}, {"expires-on", "co", "2030-01-01", false}, {"shoe-size", "eq", "44", false}, {"subject-name", "xx", "lab", false},
	} {
		if got := MapFits(rule(v.field, v.op, v.value), cert); got != v.want {
			t.Errorf("%s %s %q: %t", v.field, v.op, v.value, got)
		}
	}
	if MapFits(nil, cert) || MapFits(&policy.CertificateMap{Entries: []policy.CertificateRules{{}}}, cert) {
		t.Error("an empty map fits")
	}
	both := rule("subject-name", "co", "r1")
	both.Entries[0].Rules = append(both.Entries[0].Rules, policy.CertificateRule{Field: "issuer-name", Op: "co", Value: "other"})
	if MapFits(both, cert) {
		t.Error("one rule of two is enough")
	}
}
