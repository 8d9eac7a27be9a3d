package tour

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/lab"
)

// issue makes a CA, an empty revocation list, and a certificate with its private
// key for each router: ca.pem, ca.crl, r1.pem, r1.key, r2.pem, r2.key.
func issue(dir string) error {
	now := time.Now()
	ca, err := authority.New(rand.Reader, now, "Lab CA", authority.RSA2048, nil)
	if err != nil {
		return err
	}
	crl, err := ca.CRL(now, now.AddDate(0, 0, 30), nil, nil)
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.pem": authority.PEM(ca.Cert), "ca.crl": crl}
	for _, router := range []string{lab.R1, lab.R2} {
		key, err := authority.NewKey(rand.Reader, authority.RSA2048)
		if err != nil {
			return err
		}
		cert, err := ca.Issue(router+".example.net", key.Public(), []netip.Addr{lab.Addr(router, lab.Outside)}, nil)
		if err != nil {
			return err
		}
		files[router+".pem"] = authority.PEM(cert)
		if files[router+".key"], err = authority.KeyPEM(key); err != nil {
			return err
		}
	}
	for name, octets := range files {
		if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return nil
}
