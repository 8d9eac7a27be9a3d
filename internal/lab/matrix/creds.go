package matrix

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
	"culvert/internal/lab/scenario"
)

// credentials are the files of a CA and of both ends, by the names that
// scenarios give them.
type credentials map[string][]byte

// issue makes a CA, and for each method of signature a certificate with its key
// for each end.
func issue() (credentials, error) {
	ca, err := authority.New(rand.Reader, time.Now(), "Lab CA", authority.RSA2048, nil)
	if err != nil {
		return nil, err
	}
	files := credentials{scenario.CAFile: authority.PEM(ca.Cert)}
	kinds := map[suite.Auth]string{suite.RSASig: authority.RSA2048, suite.ECDSA256: authority.P256, suite.ECDSA384: authority.P384}
	for a, kind := range kinds {
		for router, name := range map[string]string{lab.R1: scenario.RouterName, lab.R2: "r2.example.net"} {
			key, err := authority.NewKey(rand.Reader, kind)
			if err != nil {
				return nil, err
			}
			cert, err := ca.Issue(name, key.Public(), []netip.Addr{lab.Addr(router, lab.Outside)}, nil)
			if err != nil {
				return nil, err
			}
			files[scenario.CertFile(router, a)] = authority.PEM(cert)
			if files[scenario.KeyFile(router, a)], err = authority.KeyPEM(key); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// write puts all files into a directory.
func (c credentials) write(dir string) error {
	for name, octets := range c {
		if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
			return fmt.Errorf("matrix: %w", err)
		}
	}
	return nil
}

// swan are R2's files where swanctl looks for them; none for a pre-shared key.
func (c credentials) swan(a suite.Auth) map[string]string {
	if !a.Signature() {
		return nil
	}
	cert, key := scenario.CertFile(lab.R2, a), scenario.KeyFile(lab.R2, a)
	return map[string]string{"x509ca/" + scenario.CAFile: string(c[scenario.CAFile]), "x509/" + cert: string(c[cert]), "private/" + key: string(c[key])}
}
