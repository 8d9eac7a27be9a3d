package main

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/core/diagnose"
	"culvert/internal/core/event"
)

// signedSites are the two sites with certificates instead of a key.
func signedSites(t *testing.T) [2]string {
	t.Helper()
	texts := sites()
	for i := range texts {
		texts[i] = edit(t, i, texts[i], "authentication pre-share", "authentication rsa-sig")
		texts[i] = edit(t, i, texts[i], "crypto isakmp key "+theKey+" address PEER\n", fmt.Sprintf(`crypto pki trustpoint LAB
 ca-certificate file ca.pem
 certificate file r%[1]d.pem
 private-key file r%[1]d.key
 crl file ca.crl
 revocation-check crl
crypto isakmp identity dn
`, i+1))
	}
	return texts
}

// issued are the files beside the configurations: a CA with its revocation
// list, which names revoked.pem, certificates of both routers, and R1's with
// one thing wrong each.
func issued(t *testing.T) map[string][]byte {
	t.Helper()
	now := time.Now()
	files := map[string][]byte{}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, err := authority.New(rand.Reader, now, "Lab CA", authority.P256, nil)
	check(err)
	other, err := authority.New(rand.Reader, now, "Other CA", authority.P256, nil)
	check(err)
	files["ca.pem"], files["other-ca.pem"] = authority.PEM(ca.Cert), authority.PEM(other.Cert)
	issue := func(name string, by *authority.Authority, router int, change func(*x509.Certificate)) *x509.Certificate {
		key, err := authority.NewKey(rand.Reader, authority.RSA2048)
		check(err)
		address := netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", router))
		cert, err := by.Issue(fmt.Sprintf("r%d.example.net", router), key.Public(), []netip.Addr{address}, change)
		check(err)
		files[name+".pem"] = authority.PEM(cert)
		files[name+".key"], err = authority.KeyPEM(key)
		check(err)
		return cert
	}
	issue("r1", ca, 1, nil)
	issue("r2", ca, 2, nil)
	issue("stranger", other, 1, nil)
	issue("expired", ca, 1, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })
	revoked := issue("revoked", ca, 1, nil)
	files["ca.crl"], err = ca.CRL(now, now.Add(time.Hour), []*x509.Certificate{revoked}, nil)
	check(err)
	return files
}

// wrongCertificate is one mistake with certificates, and how R2 or R1 tells it.
type wrongCertificate struct {
	name     string
	side     int // 0: R1, 1: R2
	old, new string
	teller   string // whose report is meant
	code     event.Code
	sentence string
	mends    bool // the first way out, on whichever side, makes it come up
}

func wrongCertificates() []wrongCertificate {
	cert := func(name string) string {
		return "certificate file " + name + ".pem\n private-key file " + name + ".key"
	}
	return []wrongCertificate{
		{"another CA", 0, cert("r1"), cert("stranger"), "R2", event.CertUntrusted, "CN=r1.example.net,O=lab,C=XX (serial 1002), issued by CN=Other CA,O=lab,C=XX; it leads to no CA that is trusted here (the trustpoint here is LAB)", true},
		{"expired", 0, cert("r1"), cert("expired"), "R2", event.CertExpired, "issued by CN=Lab CA,O=lab,C=XX, ended on", false},
		{"revoked", 0, cert("r1"), cert("revoked"), "R2", event.CertRevoked, "was taken back by its CA (crl: revoked)", false},
		{"another name", 0, "crypto isakmp identity dn", "ip domain name example.org\ncrypto isakmp identity hostname", "R2", event.CertIdentity, "calls itself R1.example.org (ID_FQDN), but its certificate", true},
		{"none here", 0, " certificate file r1.pem\n private-key file r1.key\n", "", "R1", event.NoCertificate, "authenticates with rsa-sig, and the trustpoint here is LAB: none has a certificate and its private key for that", true},
	}
}

// TestCertificatesAreExplained: each mistake with certificates is told by the
// side that sees it, with the certificate's own words, and the way out mends it.
func TestCertificatesAreExplained(t *testing.T) {
	files := issued(t)
	if r := simulate(t, beside(t, files), signedSites(t)); !r.Up {
		t.Fatalf("the sites do not come up: %s", said(r))
	}
	for _, w := range wrongCertificates() {
		t.Run(w.name, func(t *testing.T) {
			texts := signedSites(t)
			texts[w.side] = edit(t, w.side, texts[w.side], w.old, w.new)
			r := simulate(t, beside(t, files), texts)
			told, ok := report(r, w.teller, w.code)
			if !ok || told.Culprit != 2 || !strings.Contains(told.Sentence, w.sentence) || len(told.Fixes) == 0 {
				t.Fatalf("%s does not tell %q, %s: %s", w.teller, w.sentence, w.code, said(r))
			}
			if !w.mends {
				return
			}
			texts = apply(t, texts, firstWay(told))
			if r = simulate(t, beside(t, files), texts); r.Up {
				return
			}
			t.Errorf("after the ways out it does not come up: %s\n%s\n%s", said(r), texts[0], texts[1])
		})
	}
}

// beside is a directory with the files.
func beside(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// report is the first of a host with that code.
func report(r simulationJSON, host string, code event.Code) (diagnose.Report, bool) {
	for _, round := range r.Rounds {
		for _, x := range round.Explain {
			if x.Hostname == host && x.Reason == code {
				return x, true
			}
		}
	}
	return diagnose.Report{}, false
}

// firstWay is the first way out as somebody goes it who has the files at hand,
// on whichever side.
func firstWay(x diagnose.Report) []diagnose.Fix {
	own := map[string]string{"R1": "r1", "R2": "r2"}[x.Hostname]
	files := strings.NewReplacer("ca-certificate file PEM", "ca-certificate file other-ca.pem", "certificate file PEM", "certificate file "+own+".pem", "private-key file PEM", "private-key file "+own+".key")
	var way []diagnose.Fix
	for _, f := range x.Fixes {
		if f.Choice != 1 {
			continue
		}
		f.Side = strings.NewReplacer("peer 198.51.100.1", "R1", "peer 198.51.100.2", "R2").Replace(f.Side)
		for i := range f.Write {
			f.Write[i] = files.Replace(f.Write[i])
		}
		way = append(way, f)
	}
	return way
}
