package sim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"culvert/internal/core/authority"
	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// lab is a CA and the two gateways' keys of one kind: made once, since RSA takes
// its time.
type lab struct {
	root *authority.Authority
	key  [2]crypto.Signer
}

func newLab(kind string) *lab { return labOf("lab CA", kind) }

func labOf(name, kind string) *lab {
	root, err := authority.New(rand.Reader, epoch, name, authority.P256, nil)
	if err != nil {
		panic(err)
	}
	l := &lab{root: root}
	for i := range l.key {
		if l.key[i], err = authority.NewKey(rand.Reader, kind); err != nil {
			panic(err)
		}
	}
	return l
}

var (
	rsaLab  = sync.OnceValue(func() *lab { return newLab(authority.RSA2048) })
	p256Lab = sync.OnceValue(func() *lab { return newLab(authority.P256) })
	p384Lab = sync.OnceValue(func() *lab { return newLab(authority.P384) })
	p521Lab = sync.OnceValue(func() *lab { return newLab(authority.P521) })
)

// cert is the certificate of R1 (0) or R2 (1).
func (l *lab) cert(t testing.TB, n int, by *authority.Authority, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c, err := by.Issue(fmt.Sprintf("r%d.lab", n+1), l.key[n].Public(), []netip.Addr{[]netip.Addr{addrA, addrB}[n]}, change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signed makes both ends prove themselves with certificates of the lab; each
// trustpoint is content without revocation.
func (l *lab) signed(t testing.TB) (a, b *policy.Settings) {
	t.Helper()
	a, b = sites(l.method)
	for n, s := range []*policy.Settings{a, b} {
		key, err := crypt.NewSigner(l.key[n])
		if err != nil {
			t.Fatal(err)
		}
		s.Hostname, s.Domain = fmt.Sprintf("r%d", n+1), "lab"
		s.Trustpoints = []policy.Trustpoint{{Name: "LAB", CAs: [][]byte{l.root.Cert.Raw}, Chain: [][]byte{l.cert(t, n, l.root, nil).Raw}, Key: key, Revocation: []string{"none"}}}
	}
	return a, b
}

// method makes every policy one of the lab's kind of keys, and leaves no
// pre-shared key to fall back to.
func (l *lab) method(s *policy.Settings) {
	s.Keys = nil
	for i := range s.Policies {
		s.Policies[i].Auth = crypt.AuthOf(l.key[0].Public())
	}
}

func each(a, b *policy.Settings, o ...option) (*policy.Settings, *policy.Settings) {
	for _, o := range o {
		o(a)
		o(b)
	}
	return a, b
}

// Every method in both modes, both ends beginning, through every weather.
func TestSignaturesThroughTheLossMatrix(t *testing.T) {
	for name, l := range map[string]*lab{"rsa": rsaLab(), "p256": p256Lab(), "p384": p384Lab(), "p521": p521Lab()} {
		for mode, options := range map[string][]option{"main": nil, "aggressive": {aggressive}} {
			for i, w := range matrix() {
				// The curves differ in arithmetic only: the larger two see the first
				// and the worst weather.
				if (name == "p384" || name == "p521") && i != 0 && i != len(matrix())-1 {
					continue
				}
				t.Run(name+"/"+mode+"/"+w.name, func(t *testing.T) {
					seeds := uint64(2)
					if testing.Short() {
						seeds = 1 // either side begins in every other weather
					}
					for seed := range seeds {
						a, b := each(first(l.signed(t)), second(l.signed(t)), options...)
						runSettings(t, w, []string{"R1", "R2"}[(seed+uint64(i))%2], seed, a, b)
					}
				})
			}
		}
	}
}

func first[T any](a, _ T) T  { return a }
func second[T any](_, b T) T { return b }

// What each side tells of an exchange with certificates.
func TestSignatureExchange(t *testing.T) {
	a, b := p384Lab().signed(t)
	a.Identity, b.Identity = policy.SelfIdentity{Kind: policy.IdentityDN}, policy.SelfIdentity{Kind: policy.IdentityFQDN}
	x, r1, r2 := world(t, 3, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	up := happened[event.Phase1Up](r2)
	if len(up) != 1 || up[0].Policy.Auth != suite.ECDSA384 || up[0].Identity != "CN=r1.lab,O=lab,C=XX" {
		t.Errorf("phase 1 at R2: %+v", up)
	}
	if up := happened[event.Phase1Up](r1); len(up) != 1 || up[0].Identity != "r2.lab" {
		t.Errorf("phase 1 at R1: %+v", up)
	}
	certs := happened[event.Certificate](r1)
	if len(certs) != 2 || certs[0].Dir != event.Sent || certs[0].Subject != "CN=r1.lab,O=lab,C=XX" ||
		certs[1].Dir != event.Received || certs[1].Subject != "CN=r2.lab,O=lab,C=XX" || certs[1].Trustpoint != "LAB" || certs[1].Refused != "" {
		t.Errorf("certificates at R1: %+v", certs)
	}
	told := map[string]string{}
	for _, m := range happened[event.Message](r1) {
		for _, p := range m.Payloads {
			told[m.Name+" "+p.Name] = p.Detail
		}
	}
	for what, want := range map[string]string{"MM3 CERTREQ": "CN=lab CA,O=lab,C=XX", "MM4 CERTREQ": "CN=lab CA,O=lab,C=XX", "MM5 CERT": "CN=r1.lab,O=lab,C=XX", "MM5 SIG": "96 octets", "MM6 SIG": "96 octets"} {
		if told[what] != want {
			t.Errorf("%s is told as %q, want %q", what, told[what], want)
		}
	}
}

// An intermediate CA that only the sender has goes along with its certificate.
func TestChainIsSent(t *testing.T) {
	l := p256Lab()
	one, err := l.root.Sub("one", authority.P256, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := l.signed(t)
	a.Trustpoints[0].Chain = [][]byte{l.cert(t, 0, one, nil).Raw, one.Cert.Raw, l.root.Cert.Raw}
	x, r1, r2 := world(t, 4, a, b)
	id := trigger(r2)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	sent := 0
	for _, c := range happened[event.Certificate](r1) {
		if c.Dir == event.Sent {
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("%d certificates sent, want two: the root stays at home", sent)
	}
}

// Of two trustpoints the one is used whose CA the peer asks for.
func TestRequestChoosesTheTrustpoint(t *testing.T) {
	l, other := p256Lab(), labOf("other CA", authority.P256)
	a, b := l.signed(t)
	key, _ := crypt.NewSigner(other.key[0])
	wrong := policy.Trustpoint{Name: "OTHER", CAs: [][]byte{other.root.Cert.Raw}, Chain: [][]byte{other.cert(t, 0, other.root, nil).Raw}, Key: key}
	a.Trustpoints = append([]policy.Trustpoint{wrong}, a.Trustpoints...)
	for seed, begins := range []int{0, 1} {
		x, r1, r2 := world(t, uint64(seed), a, b)
		id := trigger([]*Host{r1, r2}[begins])
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
	}
}

// refusal is one way in which a peer does not prove itself.
type refusal struct {
	name   string
	change func(t *testing.T, l *lab, bad, good *policy.Settings)
	code   event.Code
	notify string
	words  string
}

func refusals() []refusal {
	leaf := func(change func(*x509.Certificate)) func(*testing.T, *lab, *policy.Settings, *policy.Settings) {
		return func(t *testing.T, l *lab, bad, good *policy.Settings) {
			bad.Trustpoints[0].Chain = [][]byte{l.cert(t, 0, l.root, change).Raw}
		}
	}
	return []refusal{
		{"expired", leaf(func(c *x509.Certificate) { c.NotAfter = epoch.Add(-time.Hour) }), event.CertExpired, "INVALID-CERTIFICATE", "was valid until"},
		{"not yet valid", leaf(func(c *x509.Certificate) { c.NotBefore = epoch.Add(24 * time.Hour) }), event.CertExpired, "INVALID-CERTIFICATE", "is not valid before"},
		{"of another CA", func(t *testing.T, l *lab, bad, good *policy.Settings) {
			other := newLab(authority.P256)
			bad.Trustpoints[0].Chain = [][]byte{l.cert(t, 0, other.root, nil).Raw}
			good.Trustpoints[0].CAs = append(good.Trustpoints[0].CAs, l.root.Cert.Raw)
		}, event.CertUntrusted, "INVALID-CERT-AUTHORITY", "lab CA"},
		{"of nobody's purpose", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), event.CertUntrusted, "INVALID-CERT-AUTHORITY", "may not sign"},
		{"of another gateway", leaf(func(c *x509.Certificate) { c.IPAddresses = nil }), event.CertIdentity, "INVALID-ID-INFORMATION", "198.51.100.1"},
		{"fits no map", func(t *testing.T, l *lab, bad, good *policy.Settings) {
			good.Trustpoints[0].Match = []*policy.CertificateMap{{Name: "M", Entries: []policy.CertificateRules{{Rules: []policy.CertificateRule{{Field: "subject-name", Op: "co", Value: "o=corp"}}}}}}
		}, event.CertIdentity, "INVALID-ID-INFORMATION", "no certificate map"},
		{"another's certificate", func(t *testing.T, l *lab, bad, good *policy.Settings) {
			// The certificate is honest, the key is not that of the certificate.
			mallory := newLab(authority.P256)
			bad.Trustpoints[0].Key, _ = crypt.NewSigner(mallory.key[0])
		}, event.BadSignature, "INVALID-SIGNATURE", "not made with the key"},
		{"proved by a trustpoint the profile does not use", func(t *testing.T, l *lab, bad, good *policy.Settings) {
			p := &policy.Profile{Name: "PARTNERS", Trustpoints: []string{"CORP"}, Match: []policy.IdentityMatch{{Kind: policy.IdentityAddress, Prefix: netip.PrefixFrom(addrA, 32)}}}
			good.Profiles = []policy.Profile{*p}
			good.Trustpoints = append(good.Trustpoints, policy.Trustpoint{Name: "CORP", CAs: [][]byte{newLab(authority.P256).root.Cert.Raw}})
		}, event.CertUntrusted, "INVALID-CERT-AUTHORITY", "isakmp profile PARTNERS does not use"},
	}
}

// CVE-2004-0155: each refusal, in both roles of the one that refuses: it has its code and its
// words, the peer reads the notification, and no SA is left.
func TestRefusedCertificates(t *testing.T) {
	for _, r := range refusals() {
		for _, begins := range []string{"R1", "R2"} {
			t.Run(r.name+"/"+begins+" begins", func(t *testing.T) {
				l := p256Lab()
				bad, good := l.signed(t)
				r.change(t, l, bad, good)
				x, r1, r2 := world(t, 5, bad, good)
				h := r1
				if begins == "R2" {
					h = r2
				}
				id := trigger(h)
				x.Run(60*time.Second, nil)
				if r1.Up(id) || r2.Up(id) || len(happened[event.Phase1Up](r2)) != 0 {
					t.Fatal("an SA came up")
				}
				refusedWith(t, r2, r.code, r.words)
				heard := false
				for _, n := range happened[event.Notify](r1) {
					heard = heard || n.Dir == event.Received && n.Type == r.notify && n.Protected
				}
				// What may be a stranger's work is told at the end only, when an
				// initiator has given up: it has seen that something came back.
				if unproven := r.code == event.BadSignature || r.name == "of another CA"; unproven && begins == "R1" {
					if got := finals(r1); len(got) == 0 || got[0] != event.PeerRefused {
						t.Errorf("R1 says %v: %+v", got, happened[event.Failed](r1))
					}
				} else if !heard {
					t.Errorf("R1 did not hear %s: %+v", r.notify, happened[event.Notify](r1))
				}
			})
		}
	}
}

func refusedWith(t *testing.T, h *Host, code event.Code, words string) {
	t.Helper()
	for _, f := range happened[event.Failed](h) {
		if f.Code == code && strings.Contains(f.Reason, words) {
			if f.Certificate.Serial == "" {
				t.Errorf("%s is told without the certificate: %+v", code, f)
			}
			return
		}
	}
	t.Errorf("%s: no %s that says %q: %+v", h.Name, code, words, happened[event.Failed](h))
}

// In aggressive mode AM2 is in the clear, and anybody may have sent it: a bad
// certificate in it is evidence and ends nothing by itself.
func TestRefusedCertificateInAggressiveMode(t *testing.T) {
	l := p256Lab()
	bad, good := l.signed(t)
	each(bad, good, aggressive)
	bad.Trustpoints[0].Chain = [][]byte{l.cert(t, 0, l.root, func(c *x509.Certificate) { c.NotAfter = epoch.Add(-time.Hour) }).Raw}
	for _, begins := range []int{0, 1} {
		x, r1, r2 := world(t, 6, bad, good)
		id := trigger([]*Host{r1, r2}[begins])
		x.Run(90*time.Second, nil)
		if r1.Up(id) || r2.Up(id) || len(happened[event.Phase1Up](r2)) != 0 {
			t.Fatal("an SA came up")
		}
		refusedWith(t, r2, event.CertExpired, "was valid until")
	}
}

// Nothing to prove ourselves with, or nobody to trust: the policy is not offered.
func TestNoCertificateNoOffer(t *testing.T) {
	for name, change := range map[string]func(*policy.Trustpoint){
		"no key": func(t *policy.Trustpoint) { t.Key = crypt.Signer{} }, "no certificate": func(t *policy.Trustpoint) { t.Chain = nil }, "no CA": func(t *policy.Trustpoint) { t.CAs = nil },
	} {
		a, b := p256Lab().signed(t)
		change(&a.Trustpoints[0])
		x, r1, r2 := world(t, 7, a, b)
		x.Sniff = func(from *Host, d door.Send) {
			if from == r1 && d.Payload[18] != 5 {
				t.Errorf("%s: R1 sent something", name)
			}
		}
		trigger(r1)
		x.Run(time.Second, nil)
		trigger(r2)
		x.Run(60*time.Second, nil)
		failed := happened[event.Failed](r1)
		if len(failed) < 2 || failed[0].Code != event.NoCertificate || failed[1].Code != event.NoCertificate {
			t.Errorf("%s: %+v", name, failed)
		}
	}
}

// Copies of the messages that carry certificates and signatures, changed on
// their way in every octet of them or cut, before the real ones: nothing that a
// stranger can do to them ends the negotiation, and nothing is left of it. (What
// stands behind the signature, INITIAL-CONTACT and padding, IKEv1 does not prove.)
func TestForgedProofs(t *testing.T) {
	for mode, numbers := range map[string][]int{"main": {5, 6}, "aggressive": {2, 3}} {
		for _, n := range numbers {
			t.Run(fmt.Sprintf("%s mode, message %d", mode, n), func(t *testing.T) {
				a, b := p256Lab().signed(t)
				if mode == "aggressive" {
					each(a, b, aggressive)
				}
				x, r1, r2 := world(t, 9, a, b)
				hosts, count := []*Host{r1, r2}, 0
				x.Sniff = func(from *Host, d door.Send) {
					if count++; count != n {
						return
					}
					proved := len(d.Payload) - map[bool]int{true: 48, false: 16}[from == r1]
					for i := isakmp.HeaderSize; i < proved; i++ {
						forged := bytes.Clone(d.Payload)
						forged[i] ^= 1 << (i % 8)
						x.push(x.Now.Add(time.Microsecond*time.Duration(i)), hosts[n%2], door.Datagram{Local: d.Remote, Remote: d.Local, Payload: forged})
						if i%16 == 0 {
							cut := bytes.Clone(d.Payload[:i])
							isakmp.SetLength(cut)
							x.push(x.Now.Add(time.Microsecond*time.Duration(i)), hosts[n%2], door.Datagram{Local: d.Remote, Remote: d.Local, Payload: cut})
						}
					}
				}
				id := trigger(r1)
				x.Run(30*time.Second, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
				for _, h := range hosts {
					if l := h.Engine.Load(); l.Jobs != 0 || len(h.Children) != 1 || len(h.Engine.ISAKMP(x.Now)) != 1 {
						t.Errorf("%s holds %+v", h.Name, l)
					}
				}
			})
		}
	}
}

const listURL, answerURL = "http://ca.lab/lab.crl", "http://ca.lab/ocsp"

// revocable is a world where R1's certificate names a list and a responder,
// and R2 wants to know.
func revocable(t *testing.T, methods ...string) (x *World, r1, r2 *Host, cert *x509.Certificate) {
	t.Helper()
	l := p256Lab()
	a, b := l.signed(t)
	cert = l.cert(t, 0, l.root, func(c *x509.Certificate) {
		c.CRLDistributionPoints, c.OCSPServer = []string{listURL}, []string{answerURL}
	})
	a.Trustpoints[0].Chain, b.Trustpoints[0].Revocation = [][]byte{cert.Raw}, methods
	x, r1, r2 = world(t, 8, a, b)
	return x, r1, r2, cert
}

func TestRevocationIsAsked(t *testing.T) {
	l := p256Lab()
	list := func(revoked ...*x509.Certificate) []byte {
		b, err := l.root.CRL(epoch, epoch.Add(24*time.Hour), revoked, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, v := range []struct {
		name    string
		methods string
		web     func(*x509.Certificate) map[string][]byte
		code    event.Code // "" when it comes up
		results string     // of the looks
	}{
		{"on the list", "crl", func(c *x509.Certificate) map[string][]byte { return map[string][]byte{listURL: list(c)} }, event.CertRevoked, "crl revoked"},
		{"not on the list", "crl", func(*x509.Certificate) map[string][]byte { return map[string][]byte{listURL: list()} }, "", "crl good"},
		{"no answer", "crl", nil, event.RevocationNone, "crl did not answer in time"},
		{"no answer, content", "crl none", nil, "", "crl did not answer in time"},
		{"a web page", "crl", func(*x509.Certificate) map[string][]byte { return map[string][]byte{listURL: []byte("404")} }, event.RevocationNone, "crl not a revocation list"},
		{"the responder knows", "crl ocsp", func(c *x509.Certificate) map[string][]byte {
			b, err := l.root.OCSP(c, ocsp.Revoked, epoch, epoch.Add(time.Hour), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return map[string][]byte{answerURL: b}
		}, event.CertRevoked, "crl did not answer in time, ocsp revoked"},
		{"the responder is content", "ocsp", func(c *x509.Certificate) map[string][]byte {
			b, err := l.root.OCSP(c, ocsp.Good, epoch, epoch.Add(time.Hour), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return map[string][]byte{answerURL: b}
		}, "", "ocsp good"},
	} {
		for _, begins := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s/R%d begins", v.name, begins+1), func(t *testing.T) {
				x, r1, r2, cert := revocable(t, strings.Fields(v.methods)...)
				pages := map[string][]byte{}
				if v.web != nil {
					pages = v.web(cert)
				}
				x.Web = func(f door.Fetch) (door.Fetched, time.Duration, bool) {
					body, ok := pages[f.URL]
					return door.Fetched{Body: body}, 100 * time.Millisecond, ok
				}
				id := trigger([]*Host{r1, r2}[begins])
				x.Run(30*time.Second, nil)
				if v.code == "" {
					bothUp(t, id, r1, r2)
				} else if refusedWith(t, r2, v.code, "CN=r1.lab"); r2.Up(id) || r1.Up(id) {
					t.Error("it came up")
				}
				var looks []string
				for _, r := range happened[event.Revocation](r2) {
					looks = append(looks, r.Method+" "+r.Result)
				}
				if got := strings.Join(looks, ", "); !strings.HasPrefix(got, v.results) {
					t.Errorf("the looks are %q, want %q", got, v.results)
				}
			})
		}
	}
}

// CVE-2022-40617: a certificate of a stranger's CA makes us fetch nothing; nor
// does one whose holder does not sign.
func TestNothingIsFetchedForStrangers(t *testing.T) {
	for name, change := range map[string]func(*policy.Trustpoint){
		"another CA": func(p *policy.Trustpoint) {
			l := newLab(authority.P256)
			l.key = p256Lab().key
			p.Chain = [][]byte{l.cert(t, 0, l.root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{listURL} }).Raw}
		},
		"another key": func(p *policy.Trustpoint) { p.Key, _ = crypt.NewSigner(newLab(authority.P256).key[0]) },
	} {
		x, r1, r2, _ := revocable(t, "crl")
		change(&r1.Engine.Settings().Trustpoints[0])
		x.Web = func(f door.Fetch) (door.Fetched, time.Duration, bool) {
			t.Errorf("%s: %s is fetched", name, f.URL)
			return door.Fetched{}, 0, false
		}
		trigger(r1)
		x.Run(60*time.Second, nil)
		if len(happened[event.Failed](r2)) == 0 {
			t.Errorf("%s: nothing was refused", name)
		}
	}
}

// A web that answers late, wrongly or twice does nothing to a negotiation that
// has gone on.
func TestLateAnswersOfTheWeb(t *testing.T) {
	x, r1, r2, _ := revocable(t, "crl", "none")
	var asked []uint64
	x.Web = func(f door.Fetch) (door.Fetched, time.Duration, bool) {
		asked = append(asked, f.ID)
		return door.Fetched{Err: "too late"}, 20 * time.Second, true
	}
	id := trigger(r1)
	x.Run(15*time.Second, nil)
	bothUp(t, id, r1, r2)
	for _, n := range append(asked, 0, 1, 99999) {
		r2.Input(door.Fetched{ID: n, Body: []byte("x")})
		r1.Input(door.Fetched{ID: n, Err: "x"})
	}
	x.Run(60*time.Second, nil)
	bothUp(t, id, r1, r2)
}

// The evidence is kept: the second negotiation asks nobody.
func TestEvidenceServesTheNextNegotiation(t *testing.T) {
	x, r1, r2, _ := revocable(t, "crl")
	b, err := p256Lab().root.CRL(epoch, epoch.Add(24*time.Hour), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	x.Web = func(door.Fetch) (door.Fetched, time.Duration, bool) {
		asked++
		return door.Fetched{Body: b}, time.Second, true
	}
	for range 3 {
		id := trigger(r1)
		x.Run(10*time.Second, nil)
		bothUp(t, id, r1, r2)
		r1.Input(door.Clear{IPsec: true, ISAKMP: true})
		x.Run(time.Second, nil)
	}
	if asked != 1 {
		t.Errorf("the list was fetched %d times", asked)
	}
}

// A hub whose peers all come at once asks for their CA's list once, and all of
// them come up.
func TestOneListForManyPeers(t *testing.T) {
	l := p256Lab()
	const n = 24
	signed := func(s *policy.Settings, name string, at netip.Addr) {
		s.Keys = nil
		for i := range s.Policies {
			s.Policies[i].Auth = suite.ECDSA256
		}
		c, err := l.root.Issue(name, l.key[0].Public(), []netip.Addr{at}, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{listURL} })
		if err != nil {
			t.Fatal(err)
		}
		key, _ := crypt.NewSigner(l.key[0])
		s.Trustpoints = []policy.Trustpoint{{Name: "LAB", CAs: [][]byte{l.root.Cert.Raw}, Chain: [][]byte{c.Raw}, Key: key, Revocation: []string{"none"}}}
	}
	x := newStar(11, n)
	signed(x.hub.Engine.Settings(), "hub.lab", addrA)
	x.hub.Engine.Settings().Trustpoints[0].Revocation = []string{"crl"}
	for i, s := range x.spokes {
		signed(s.Engine.Settings(), fmt.Sprintf("s%d.lab", i), spokeAddr(i))
	}
	body, err := l.root.CRL(epoch, epoch.Add(time.Hour), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	x.Web = func(door.Fetch) (door.Fetched, time.Duration, bool) {
		asked++
		return door.Fetched{Body: body}, 3 * time.Second, true
	}
	for _, s := range x.spokes {
		trigger(s)
	}
	x.Run(15*time.Second, nil)
	for i, s := range x.spokes {
		if !s.Up(s.Engine.Settings().Flows()[0].ID) {
			t.Errorf("spoke %d is not up: %+v", i, happened[event.Failed](s))
		}
	}
	if asked != 1 {
		t.Errorf("the list was fetched %d times", asked)
	}
}

// A CA below the root may stand with the trustpoint's CAs instead of in our own
// chain: the peer, which knows the root alone, gets it all the same.
func TestIntermediateAmongTheCAs(t *testing.T) {
	l := p256Lab()
	one, err := l.root.Sub("one", authority.P256, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := l.signed(t)
	a.Trustpoints[0].Chain = [][]byte{l.cert(t, 0, one, nil).Raw}
	a.Trustpoints[0].CAs = append(a.Trustpoints[0].CAs, one.Cert.Raw)
	x, r1, r2 := world(t, 12, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
}
