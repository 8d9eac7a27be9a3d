package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"culvert/internal/core/authority"
	"culvert/internal/core/event"
)

const (
	listURL   = "http://ca.lab/lab.crl"
	answerURL = "http://ca.lab/ocsp"
)

// settled is a peer whose certificate names both places, with what they hold.
type settled struct {
	*world
	leaf  *x509.Certificate
	peer  *Peer
	cache *Cache
	web   map[string][]byte
	asked []string
}

func settle(t *testing.T, methods ...string) *settled {
	t.Helper()
	w := newWorld(t)
	leaf := w.issue(w.root, func(c *x509.Certificate) {
		c.CRLDistributionPoints, c.OCSPServer = []string{listURL}, []string{answerURL}
	})
	tp := w.trust(w.root.Cert)[0]
	tp.Revocation = methods
	return &settled{world: w, leaf: leaf, peer: &Peer{Chain: []*x509.Certificate{leaf, w.root.Cert}, Trustpoint: &tp}, cache: NewCache(), web: map[string][]byte{}}
}

// inquire runs an inquiry to its end.
func (s *settled) inquire(now time.Time) (*Inquiry, error) {
	s.t.Helper()
	q := NewInquiry(s.peer, s.cache)
	for range 50 {
		l, err := q.Next(now)
		if l == nil {
			return q, err
		}
		if l.URL == "" {
			q.Learn(now, l, q.JudgeJob(now, l, nil).Run())
			continue
		}
		s.asked = append(s.asked, l.URL)
		body, ok := s.web[l.URL]
		if !ok {
			q.Fail(now, l, "did not answer")
			continue
		}
		q.Learn(now, l, q.JudgeJob(now, l, body).Run())
	}
	s.t.Fatal("the inquiry does not end")
	return nil, nil
}

func (s *settled) wants(story string, err error, code event.Code, words ...string) {
	s.t.Helper()
	e := AsError(err)
	if code == "" {
		if err != nil {
			s.t.Errorf("%s: %v", story, err)
		}
		return
	}
	if e == nil || e.Code != code {
		s.t.Errorf("%s: %v, want %s", story, err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Error(), w) {
			s.t.Errorf("%s: %q does not say %q", story, e, w)
		}
	}
	if e.Certificate.Serial == "" || len(e.Revocations) == 0 {
		s.t.Errorf("%s: no evidence: %+v", story, e)
	}
}

func (s *settled) crl(by *authority.Authority, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	s.t.Helper()
	return must(by.CRL(noon, noon.Add(time.Hour), revoked, change))(s.t)
}

func TestRevocationLists(t *testing.T) {
	twin := newWorld(t)
	twin.root, _ = authority.New(rand.Reader, noon, "lab CA", authority.P256, nil)
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	point := func(der ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: append([]byte{0x30, byte(len(der))}, der...)}}
		}
	}
	for _, v := range []struct {
		story string
		list  func(*settled) []byte
		code  event.Code
		words []string
	}{
		{"not on it", func(s *settled) []byte { return s.crl(s.root, nil, s.issue(s.root, nil)) }, "", nil},
		{"empty", func(s *settled) []byte { return s.crl(s.root, nil) }, "", nil},
		{"in PEM", func(s *settled) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: s.crl(s.root, nil)})
		}, "", nil},
		{"revoked", func(s *settled) []byte { return s.crl(s.root, nil, s.leaf) }, event.CertRevoked, []string{"CN=r1.lab", "was revoked by \"CN=lab CA"}},
		{"revoked among others", func(s *settled) []byte {
			return s.crl(s.root, nil, s.issue(s.root, nil), s.leaf, s.issue(s.root, nil))
		}, event.CertRevoked, nil},
		{"stale", func(s *settled) []byte {
			return s.crl(s.root, func(l *x509.RevocationList) { l.NextUpdate = noon.Add(-time.Minute) })
		}, event.RevocationNone, []string{listURL, "good until 11:59:00 UTC Jun 1 2026"}},
		{"still to come", func(s *settled) []byte {
			return s.crl(s.root, func(l *x509.RevocationList) { l.ThisUpdate = noon.Add(10 * time.Minute) })
		}, event.RevocationNone, []string{"still to come"}},
		{"of another CA", func(s *settled) []byte { return s.crl(mustAuthority(s.t, "other CA"), nil) }, event.RevocationNone, []string{"of another CA", "other CA"}},
		{"signed by a CA of the same name", func(s *settled) []byte { return s.crl(twin.root, nil) }, event.RevocationNone, []string{"was not signed by"}},
		{"a flipped bit", func(s *settled) []byte { b := s.crl(s.root, nil); b[len(b)-3] ^= 1; return b }, event.RevocationNone, nil},
		{"cut", func(s *settled) []byte { b := s.crl(s.root, nil); return b[:len(b)-1] }, event.RevocationNone, []string{"not a revocation list"}},
		{"a web page", func(*settled) []byte { return []byte("<html>404</html>") }, event.RevocationNone, []string{"not a revocation list"}},
		{"too large", func(*settled) []byte { return make([]byte, maxCRL+1) }, event.RevocationNone, []string{"at most"}},
		{"a delta", func(s *settled) []byte {
			return s.crl(s.root, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{delta} })
		}, event.RevocationNone, []string{"delta"}},
		{"unknown critical extension", func(s *settled) []byte {
			return s.crl(s.root, func(l *x509.RevocationList) {
				l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
			})
		}, event.RevocationNone, []string{"1.2.3"}},
		{"of users only", func(s *settled) []byte { return s.crl(s.root, point(0x81, 1, 0xff)) }, "", nil},
		{"of users only, revoked", func(s *settled) []byte { return s.crl(s.root, point(0x81, 1, 0xff), s.leaf) }, event.CertRevoked, nil},
		{"of CAs only", func(s *settled) []byte { return s.crl(s.root, point(0x82, 1, 0xff)) }, event.RevocationNone, []string{"does not speak of this kind"}},
		{"of some reasons", func(s *settled) []byte { return s.crl(s.root, point(0x83, 2, 1, 2)) }, event.RevocationNone, []string{"some reasons"}},
		{"indirect", func(s *settled) []byte { return s.crl(s.root, point(0x84, 1, 0xff)) }, event.RevocationNone, []string{"other CAs"}},
		{"a point that is no DER", func(s *settled) []byte { return s.crl(s.root, point(0x84, 7)) }, event.RevocationNone, []string{"not DER"}},
	} {
		t.Run(v.story, func(t *testing.T) {
			s := settle(t)
			s.web[listURL] = v.list(s)
			_, err := s.inquire(noon)
			s.wants(v.story, err, v.code, v.words...)
			// What a file holds is judged the same way.
			s.peer.Trustpoint.CRLs, s.web, s.cache = [][]byte{s.web[listURL]}, nil, NewCache()
			_, err = s.inquire(noon)
			s.wants(v.story+", from a file", err, v.code)
		})
	}
}

func mustAuthority(t *testing.T, name string) *authority.Authority {
	t.Helper()
	return must(authority.New(rand.Reader, noon, name, authority.P256, nil))(t)
}

// responder is a certificate for signing OCSP answers, and its key.
func (s *settled) responder(by *authority.Authority, change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	s.t.Helper()
	key := must(authority.NewKey(rand.Reader, authority.P256))(s.t)
	return must(by.Issue("ocsp.lab", key.Public(), nil, func(c *x509.Certificate) {
		c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		if change != nil {
			change(c)
		}
	}))(s.t), key
}

func (s *settled) answer(by *authority.Authority, c *x509.Certificate, status int, next time.Time, delegate func(*x509.Certificate)) []byte {
	s.t.Helper()
	if delegate == nil {
		return must(by.OCSP(c, status, noon, next, nil, nil))(s.t)
	}
	cert, key := s.responder(by, delegate)
	return must(by.OCSP(c, status, noon, next, cert, key))(s.t)
}

func TestOCSP(t *testing.T) {
	hour, same := noon.Add(time.Hour), func(*x509.Certificate) {}
	for _, v := range []struct {
		story string
		body  func(*settled) []byte
		code  event.Code
		words []string
	}{
		{"good, by the CA", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Good, hour, nil) }, "", nil},
		{"good, by a delegate", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Good, hour, same) }, "", nil},
		{"good, undated", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Good, time.Time{}, nil) }, "", nil},
		{"revoked, by the CA", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Revoked, hour, nil) }, event.CertRevoked, []string{"CN=r1.lab"}},
		{"revoked, by a delegate", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Revoked, hour, same) }, event.CertRevoked, nil},
		{"unknown", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Unknown, hour, nil) }, event.RevocationNone, []string{"does not know"}},
		{"stale", func(s *settled) []byte { return s.answer(s.root, s.leaf, ocsp.Good, noon.Add(-time.Second), nil) }, event.RevocationNone, []string{"good until"}},
		{"about another certificate", func(s *settled) []byte { return s.answer(s.root, s.issue(s.root, nil), ocsp.Good, hour, nil) }, event.RevocationNone, nil},
		{"by another CA", func(s *settled) []byte { return s.answer(mustAuthority(s.t, "other CA"), s.leaf, ocsp.Good, hour, nil) }, event.RevocationNone, []string{"not signed by"}},
		{"by another CA's delegate", func(s *settled) []byte { return s.answer(mustAuthority(s.t, "lab CA"), s.leaf, ocsp.Good, hour, same) }, event.RevocationNone, []string{"whose certificate is not of"}},
		{"by a gateway", func(s *settled) []byte {
			return s.answer(s.root, s.leaf, ocsp.Good, hour, func(c *x509.Certificate) { c.ExtKeyUsage = nil })
		}, event.RevocationNone, []string{"no OCSPSigning"}},
		{"by the peer itself", func(s *settled) []byte { return must(s.root.OCSP(s.leaf, ocsp.Good, noon, hour, s.leaf, s.key))(s.t) }, event.RevocationNone, []string{"no OCSPSigning"}},
		{"by an expired delegate", func(s *settled) []byte {
			return s.answer(s.root, s.leaf, ocsp.Good, hour, func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Hour) })
		}, event.RevocationNone, []string{"was valid until"}},
		{"of another CA with the same key", func(s *settled) []byte {
			other := *s.root
			other.Cert = must(authority.New(rand.Reader, noon, "other CA", authority.P256, nil))(s.t).Cert
			return must(other.OCSP(s.leaf, ocsp.Good, noon, hour, nil, nil))(s.t)
		}, event.RevocationNone, []string{"another CA"}},
		{"a flipped bit", func(s *settled) []byte {
			b := s.answer(s.root, s.leaf, ocsp.Good, hour, nil)
			b[len(b)-3] ^= 1
			return b
		}, event.RevocationNone, nil},
		{"try later", func(*settled) []byte { return []byte{0x30, 3, 0x0a, 1, 3} }, event.RevocationNone, []string{"no OCSP answer"}},
		{"nothing", func(*settled) []byte { return nil }, event.RevocationNone, nil},
		{"too large", func(*settled) []byte { return make([]byte, maxOCSP+1) }, event.RevocationNone, []string{"at most"}},
	} {
		t.Run(v.story, func(t *testing.T) {
			s := settle(t, MethodOCSP)
			s.web[answerURL] = v.body(s)
			_, err := s.inquire(noon)
			s.wants(v.story, err, v.code, v.words...)
		})
	}
}

// The order of revocation-check: the first method that knows decides, and none
// is content.
func TestOrderOfMethods(t *testing.T) {
	for _, v := range []struct {
		methods     string
		list, reply string // "good", "revoked", "" for no answer
		code        event.Code
		asked       string
	}{
		{"", "good", "", "", "list"},
		{"", "", "", event.RevocationNone, "list"},
		{"crl", "revoked", "good", event.CertRevoked, "list"},
		{"crl ocsp", "good", "revoked", "", "list"},
		{"crl ocsp", "", "revoked", event.CertRevoked, "list reply"},
		{"crl ocsp", "", "good", "", "list reply"},
		{"ocsp crl", "revoked", "good", "", "reply"},
		{"ocsp crl", "revoked", "", event.CertRevoked, "reply list"},
		{"ocsp crl", "", "", event.RevocationNone, "reply list"},
		{"crl none", "", "", "", "list"},
		{"crl none", "revoked", "", event.CertRevoked, "list"},
		{"none", "revoked", "revoked", "", ""},
		{"ocsp none", "", "revoked", event.CertRevoked, "reply"},
		{"ocsp crl none", "", "", "", "reply list"},
		{"pigeon", "good", "good", event.RevocationNone, ""},
	} {
		s := settle(t, strings.Fields(v.methods)...)
		switch v.list {
		case "good":
			s.web[listURL] = s.crl(s.root, nil)
		case "revoked":
			s.web[listURL] = s.crl(s.root, nil, s.leaf)
		}
		switch v.reply {
		case "good":
			s.web[answerURL] = s.answer(s.root, s.leaf, ocsp.Good, noon.Add(time.Hour), nil)
		case "revoked":
			s.web[answerURL] = s.answer(s.root, s.leaf, ocsp.Revoked, noon.Add(time.Hour), nil)
		}
		_, err := s.inquire(noon)
		e := AsError(err)
		if v.code == "" && err != nil || v.code != "" && (e == nil || e.Code != v.code) {
			t.Errorf("%+v: %v", v, err)
		}
		asked := strings.NewReplacer(listURL, "list", answerURL, "reply").Replace(strings.Join(s.asked, " "))
		if asked != v.asked {
			t.Errorf("%+v: asked %q", v, asked)
		}
	}
}

// Each certificate below the CA is looked at, not the peer's alone.
func TestRevokedIntermediate(t *testing.T) {
	s := settle(t)
	one := s.sub(s.root, "one", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://ca.lab/root.crl"} })
	leaf := s.issue(one, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://ca.lab/one.crl"} })
	s.peer.Chain = []*x509.Certificate{leaf, one.Cert, s.root.Cert}
	s.web["http://ca.lab/one.crl"] = s.crl(one, nil)
	s.web["http://ca.lab/root.crl"] = s.crl(s.root, nil)
	if q, err := s.inquire(noon); err != nil || len(q.Seen()) != 2 {
		t.Errorf("good: %v, %v", err, q.Seen())
	}
	s.cache.Flush()
	s.web["http://ca.lab/root.crl"] = s.crl(s.root, nil, one.Cert)
	_, err := s.inquire(noon)
	s.wants("revoked CA", err, event.CertRevoked, "CN=one")
	// The anchor is trusted because the operator says so.
	s.peer.Chain = []*x509.Certificate{s.root.Cert}
	if _, err := s.inquire(noon); err != nil || len(s.asked) != 4 {
		t.Errorf("the anchor alone: %v, asked %v", err, s.asked)
	}
}

// What was found out is not asked again before it ends; and then it is.
func TestEvidenceIsKept(t *testing.T) {
	for method, url := range map[string]string{MethodCRL: listURL, MethodOCSP: answerURL} {
		s := settle(t, method)
		s.web[listURL] = s.crl(s.root, nil)
		s.web[answerURL] = s.answer(s.root, s.leaf, ocsp.Good, noon.Add(time.Hour), nil)
		for _, now := range []time.Time{noon, noon.Add(time.Minute), noon.Add(59 * time.Minute)} {
			if _, err := s.inquire(now); err != nil {
				t.Errorf("%s at %s: %v", method, now, err)
			}
		}
		if !slices.Equal(s.asked, []string{url}) {
			t.Errorf("%s: asked %v", method, s.asked)
		}
		_, err := s.inquire(noon.Add(2 * time.Hour))
		s.wants(method+" afterwards", err, event.RevocationNone)
		if len(s.asked) != 2 {
			t.Errorf("%s: asked %v", method, s.asked)
		}
	}
}

// An older list, which a replayed answer may be, does not displace a newer one.
func TestOlderListDoesNotCount(t *testing.T) {
	s := settle(t)
	before := s.crl(s.root, func(l *x509.RevocationList) { l.ThisUpdate = noon.Add(-3 * time.Hour) })
	s.peer.Trustpoint.CRLs = [][]byte{before, s.crl(s.root, nil, s.leaf), before}
	_, err := s.inquire(noon)
	s.wants("the newest of the files", err, event.CertRevoked)
	old := must(readList(before, s.root.Cert, noon))(t)
	s.cache.keepList(keyOfIssuer(s.root.Cert), old)
	_, err = s.inquire(noon)
	s.wants("after an older one came", err, event.CertRevoked)
}

// A URL that does not answer is left alone for a while.
func TestSilentURL(t *testing.T) {
	s := settle(t)
	_, err := s.inquire(noon)
	s.wants("first", err, event.RevocationNone, "did not answer")
	_, err = s.inquire(noon.Add(silence / 2))
	s.wants("soon after", err, event.RevocationNone, "a moment ago")
	_, err = s.inquire(noon.Add(2 * silence))
	s.wants("later", err, event.RevocationNone)
	if len(s.asked) != 2 {
		t.Errorf("asked %v", s.asked)
	}
}

func TestFetchableURLs(t *testing.T) {
	for u, want := range map[string]bool{
		"http://ca.lab/x.crl": true, "HTTP://ca.lab": true, "http://[2001:db8::1]:8080/x?y=z": true, "http://192.0.2.1/": true,
		"https://ca.lab/x.crl": false, "ldap://ca.lab/cn=x": false, "file:///etc/passwd": false, "http://": false, "http:///x": false, "": false, "http": false,
		"http://ca.lab/a b": false, "http://ca.lab/\r\nHost: x": false, "http://user@ca.lab/": false, "http://ca.lab/\x00": false, "http://cä.lab/": false,
		"http://ca.lab/" + strings.Repeat("x", maxURL): false,
	} {
		if got := fetchable(u); got != want {
			t.Errorf("%.40q: %t", u, got)
		}
	}
	s := settle(t)
	var urls []string
	for i := range 2 * maxURLs {
		urls = append(urls, fmt.Sprintf("http://ca%d.lab/", i))
	}
	s.leaf.CRLDistributionPoints = urls
	if _, err := s.inquire(noon); err == nil || !slices.Equal(s.asked, urls[:maxURLs]) {
		t.Errorf("asked %v, %v", s.asked, err)
	}
	s = settle(t)
	s.leaf.CRLDistributionPoints = []string{"ldap://ca.lab/"}
	_, err := s.inquire(noon)
	s.wants("nowhere to ask", err, event.RevocationNone, "no place to ask over http")
}

// A trustpoint's own responder stands for the one in the certificate.
func TestTrustpointsResponder(t *testing.T) {
	s := settle(t, MethodOCSP)
	s.peer.Trustpoint.OCSP = "http://own.lab/"
	s.web["http://own.lab/"] = s.answer(s.root, s.leaf, ocsp.Revoked, noon.Add(time.Hour), nil)
	_, err := s.inquire(noon)
	s.wants("own responder", err, event.CertRevoked)
}

// CVE-2021-41991: whatever certificates come, what is kept has a bound.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache()
	for i := range 3 * maxAnswers {
		c.keepAnswer(answerKey{serial: fmt.Sprint(i)}, &answer{})
	}
	for i := range 2 * maxLists {
		c.keepList(issuerKey{byte(i), byte(i >> 8)}, &list{})
	}
	for i := range 3 * maxSilent {
		c.hush(fmt.Sprint(i), noon)
	}
	if l, a := c.Len(); l != maxLists || a != maxAnswers || len(c.silent) > maxSilent {
		t.Errorf("%d lists, %d answers, %d URLs", l, a, len(c.silent))
	}
	if c.answers[answerKey{serial: fmt.Sprint(3*maxAnswers - 1)}] == nil || c.answers[answerKey{serial: "0"}] != nil {
		t.Error("the newest went, not the oldest")
	}
	many := map[string]struct{}{}
	for i := range maxRevoked/2 + 1 {
		many[fmt.Sprint(i)] = struct{}{}
	}
	c.Flush()
	for i := range 3 {
		c.keepList(issuerKey{byte(i)}, &list{revoked: many})
	}
	if l, _ := c.Len(); l != 1 || c.serials != len(many) {
		t.Errorf("%d lists with %d serial numbers", l, c.serials)
	}
}
