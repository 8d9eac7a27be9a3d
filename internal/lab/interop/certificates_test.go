package interop

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"culvert/internal/core/authority"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// issued are a CA and what it has issued for the two routers.
type issued struct {
	ca   *authority.Authority
	key  map[string]crypto.Signer
	cert map[string]*x509.Certificate
}

// issue makes keys of a kind and certificates for both routers; change may
// spoil that of one.
func (b *bench) issue(kind string, change func(host string, c *x509.Certificate)) issued {
	b.t.Helper()
	ca, err := authority.New(rand.Reader, time.Now(), "lab CA", kind, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	i := issued{ca, map[string]crypto.Signer{}, map[string]*x509.Certificate{}}
	for _, host := range []string{lab.R1, lab.R2} {
		if i.key[host], err = authority.NewKey(rand.Reader, kind); err != nil {
			b.t.Fatal(err)
		}
		i.cert[host], err = ca.Issue(host+".lab", i.key[host].Public(), []netip.Addr{lab.Addr(host, lab.Outside)}, func(c *x509.Certificate) {
			if change != nil {
				change(host, c)
			}
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return i
}

// swan are a router's files for strongSwan.
func (i issued) swan(b *bench, host string) *swan.Certs {
	b.t.Helper()
	key, err := authority.KeyPEM(i.key[host])
	if err != nil {
		b.t.Fatal(err)
	}
	return &swan.Certs{CA: authority.PEM(i.ca.Cert), Cert: authority.PEM(i.cert[host]), Key: key}
}

// trustpoint writes a router's files beside its configuration and gives the
// lines that name them.
func (i issued) trustpoint(b *bench, host, revocation string) string {
	b.t.Helper()
	f := i.swan(b, host)
	for name, content := range map[string][]byte{"ca.pem": f.CA, "cert.pem": f.Cert, "key.pem": f.Key} {
		if err := os.WriteFile(filepath.Join(b.net.Dir(), host+"-"+name), content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	return fmt.Sprintf("crypto pki trustpoint LAB\n ca-certificate file %[1]s-ca.pem\n certificate file %[1]s-cert.pem\n private-key file %[1]s-key.pem\n revocation-check %[2]s\n", host, revocation)
}

// signedPolicy is an ISAKMP policy with a signature method.
func signedPolicy(method, encryption, hash string, group int) string {
	return strings.Replace(policyLines(10, encryption, hash, group), "pre-share", method, 1)
}

// kinds are the keys that are proved with strongSwan.
func kinds() []struct{ name, key, method string } {
	return []struct{ name, key, method string }{
		{"RSA", authority.RSA2048, "rsa-sig"}, {"RSA 3072", authority.RSA3072, "rsa-sig"},
		{"ECDSA P-256", authority.P256, "ecdsa-sig"}, {"ECDSA P-384", authority.P384, "ecdsa-sig"}, {"ECDSA P-521", authority.P521, "ecdsa-sig"},
	}
}

// Certificates of each kind, with either side beginning.
func TestCertificatesWithStrongSwan(t *testing.T) {
	for _, k := range kinds() {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(k.name+"/"+begins+" begins", func(t *testing.T) {
				b := newBench(t, time.Minute)
				i := b.issue(k.key, nil)
				s := scenario{
					r1:  router{Policies: signedPolicy(k.method, "aes 256", "sha256", 19), Sets: set("T1", "esp-aes 256 esp-sha256-hmac"), Global: i.trustpoint(b, lab.R1, "none")},
					r2:  swan.Config{IKE: "aes256-sha256-ecp256", ESP: "aes256-sha256", Certs: i.swan(b, lab.R2)},
					ike: "AES_CBC-256 HMAC_SHA2_256_128 ECP_256", esp: "AES_CBC-256 HMAC_SHA2_256_128",
				}
				s.on(b, begins)
			})
		}
	}
}

// Groups with a subgroup, and Curve25519.
func TestGroupsWithStrongSwan(t *testing.T) {
	for group, word := range map[int][2]string{22: {"modp1024s160", "MODP_1024_160"}, 23: {"modp2048s224", "MODP_2048_224"}, 24: {"modp2048s256", "MODP_2048_256"}, 31: {"x25519", "CURVE_25519"}} {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(fmt.Sprintf("group %d/%s begins", group, begins), func(t *testing.T) {
				b := newBench(t, time.Minute)
				s := scenario{
					r1: router{Policies: policyLines(10, "aes 256", "sha256", group), Sets: set("T1", "esp-aes 256 esp-sha256-hmac"),
						Entry: fmt.Sprintf(" set transform-set T1\n set pfs group%d", group)},
					r2:  swan.Config{IKE: "aes256-sha256-" + word[0], ESP: "aes256-sha256-" + word[0]},
					ike: "AES_CBC-256 HMAC_SHA2_256_128 " + word[1], esp: "AES_CBC-256 HMAC_SHA2_256_128 " + word[1],
				}
				if suite.Group(group).Row().Verdict == suite.Legacy {
					s.r1.Global = "crypto engine compliance shield disable"
				}
				s.on(b, begins)
			})
		}
	}
}

// Aggressive mode with certificates, and distinguished names for identities.
func TestCertificateVariantsWithStrongSwan(t *testing.T) {
	const dn = "C=XX, O=lab, CN=r%d.lab"
	for _, v := range []struct {
		name   string
		global string
		swan   func(*swan.Config)
		ident  string
	}{
		{"aggressive mode", "crypto isakmp peer address 198.51.100.2\n set aggressive-mode client-endpoint ipv4-address 198.51.100.1\n", func(c *swan.Config) { c.Aggressive = true }, "198.51.100.2"},
		{"distinguished names", "crypto isakmp identity dn\n", func(c *swan.Config) { c.LocalID, c.RemoteID = fmt.Sprintf(`"`+dn+`"`, 2), fmt.Sprintf(`"`+dn+`"`, 1) }, "CN=r2.lab,O=lab,C=XX"},
		{"host names", "crypto isakmp identity hostname\nip domain name lab\n", func(c *swan.Config) { c.LocalID, c.RemoteID = "r2.lab", "r1.lab" }, "r2.lab"},
	} {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(v.name+"/"+begins+" begins", func(t *testing.T) {
				b := newBench(t, time.Minute)
				i := b.issue(authority.P256, nil)
				c := swan.Config{IKE: "aes256-sha256-ecp256", ESP: "aes256-sha256", Certs: i.swan(b, lab.R2)}
				v.swan(&c)
				r1 := b.culvert(lab.R1, router{Policies: signedPolicy("ecdsa-sig", "aes 256", "sha256", 19), Sets: set("T1", "esp-aes 256 esp-sha256-hmac"),
					Global: i.trustpoint(b, lab.R1, "none") + v.global})
				r2 := b.strongSwan(c)
				if begins == lab.R2 {
					if out, err := r2.Initiate(b.ctx); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
				b.ping(lab.HostA, lab.HostB)
				b.ping(lab.HostB, lab.HostA)
				if sas := b.isakmp(r1); len(sas) != 1 || sas[0].PeerIdentity != v.ident {
					t.Errorf("one ISAKMP SA with %s: %+v", v.ident, sas)
				}
				b.up(r1)
			})
		}
	}
}

// website serves documents in a router's namespace.
func (b *bench) website(host string, pages map[string][]byte) {
	b.t.Helper()
	var l net.Listener
	err := b.net.In(host, func() (err error) {
		l, err = net.Listen("tcp", lab.Addr(host, lab.Outside).String()+":8080")
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[r.URL.Path]; ok {
			_, _ = w.Write(page) // who asked may have gone
			return
		}
		http.NotFound(w, r)
	})}
	go func() { _ = s.Serve(l) }() // ends with the test
	b.t.Cleanup(func() { _ = s.Close() })
}

// Whether strongSwan's certificate was revoked is asked at the place that it
// names, and what is found out decides; explain says it.
func TestRevocationWithStrongSwan(t *testing.T) {
	const at = "http://198.51.100.2:8080/"
	for _, v := range []struct {
		name, check string
		revoked, up bool
		code        string
	}{
		{"on the list", "crl", true, false, "cert-revoked"}, {"not on the list", "crl", false, true, ""},
		{"the responder knows", "ocsp", true, false, "cert-revoked"}, {"the responder is content", "ocsp", false, true, ""},
	} {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(v.name+"/"+begins+" begins", func(t *testing.T) {
				b := newBench(t, time.Minute)
				i := b.issue(authority.P256, func(host string, c *x509.Certificate) {
					if host == lab.R2 {
						c.CRLDistributionPoints, c.OCSPServer = []string{at + "crl"}, []string{at + "ocsp"}
					}
				})
				b.website(lab.R2, i.pages(b, v.revoked))
				r1 := b.culvert(lab.R1, router{Policies: signedPolicy("ecdsa-sig", "aes 256", "sha256", 19), Global: i.trustpoint(b, lab.R1, v.check)})
				r2 := b.strongSwan(swan.Config{IKE: "aes256-sha256-ecp256", Certs: i.swan(b, lab.R2)})
				b.meets(r1, r2, begins, v.up, v.code)
			})
		}
	}
}

// pages are a list and an answer about R2's certificate.
func (i issued) pages(b *bench, revoked bool) map[string][]byte {
	b.t.Helper()
	now, status := time.Now(), ocsp.Good
	var on []*x509.Certificate
	if revoked {
		on, status = append(on, i.cert[lab.R2]), ocsp.Revoked
	}
	list, err := i.ca.CRL(now, now.Add(time.Hour), on, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := i.ca.OCSP(i.cert[lab.R2], status, now, now.Add(time.Hour), nil, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return map[string][]byte{"/crl": list, "/ocsp": answer}
}

// meets lets one side begin; the tunnel comes up, or does not and explain says why.
func (b *bench) meets(r1 *lab.Gateway, r2 *swan.Peer, begins string, up bool, code string) {
	b.t.Helper()
	if begins == lab.R2 {
		out, err := r2.Initiate(b.ctx)
		if up == (err != nil) {
			b.t.Fatalf("strongSwan: %v\n%s", err, out)
		}
	}
	if up {
		b.ping(lab.HostA, lab.HostB)
		b.up(r1)
		return
	}
	if begins == lab.R1 {
		if r, err := b.net.PingWith(b.ctx, lab.HostA, addressOf(lab.HostB), lab.PingOptions{Count: 1}); err == nil && r.Received > 0 {
			b.t.Fatal("a ping is answered")
		}
	}
	b.until("explain says "+code, func() error {
		reports, status := b.explained(r1)
		if status != 1 || len(reports) != 1 || string(reports[0].Reason) != code {
			return fmt.Errorf("exit status %d, %+v", status, reports)
		}
		return nil
	})
}

// A certificate that is wrong at either end: nothing comes up, and explain says
// what Culvert knows of it.
func TestWrongCertificatesWithStrongSwan(t *testing.T) {
	past := func(host string) func(string, *x509.Certificate) {
		return func(h string, c *x509.Certificate) {
			if h == host {
				c.NotAfter = time.Now().Add(-time.Hour)
			}
		}
	}
	for _, v := range []struct {
		name    string
		change  func(string, *x509.Certificate)
		strange string // whose certificate is of another CA
		code    string
	}{
		{"strongSwan's is expired", past(lab.R2), "", "cert-expired"},
		{"strongSwan's is of another CA", nil, lab.R2, "cert-untrusted"},
		{"ours is expired", past(lab.R1), "", "peer-refused"},
		{"ours is of another CA", nil, lab.R1, "peer-refused"},
	} {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(v.name+"/"+begins+" begins", func(t *testing.T) {
				b := newBench(t, time.Minute)
				i, other := b.issue(authority.P256, v.change), b.issue(authority.P256, nil)
				if v.strange != "" {
					i.key[v.strange], i.cert[v.strange] = other.key[v.strange], other.cert[v.strange]
				}
				c := swan.Config{IKE: "aes256-sha256-ecp256", Certs: i.swan(b, lab.R2)}
				r1 := b.culvert(lab.R1, router{Policies: signedPolicy("ecdsa-sig", "aes 256", "sha256", 19), Global: i.trustpoint(b, lab.R1, "none")})
				b.meets(r1, b.strongSwan(c), begins, false, v.code)
			})
		}
	}
}
