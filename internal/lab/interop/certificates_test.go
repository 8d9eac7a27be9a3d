package interop

import (
	"crypto"
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
				s.on(b, begins)
			})
		}
	}
}
