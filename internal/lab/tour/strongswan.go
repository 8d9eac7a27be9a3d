package tour

import (
	"os"
	"path/filepath"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// strongSwan runs strongSwan at R2: its configuration of the scenario in
// strongSwan's words.
func (s *Sites) strongSwan() error {
	c := s.scenario.swan()
	if s.scenario.credentials != nil {
		certs, err := s.certificates()
		if err != nil {
			return err
		}
		c.Certs = certs
	}
	_, err := swan.Start(s.Net, lab.R2, c)
	return err
}

// certificates are R2's files of the lab.
func (s *Sites) certificates() (*swan.Certs, error) {
	var c swan.Certs
	for name, to := range map[string]*[]byte{"ca.pem": &c.CA, "r2.pem": &c.Cert, "r2.key": &c.Key} {
		b, err := os.ReadFile(filepath.Join(s.Net.Dir(), name))
		if err != nil {
			return nil, err
		}
		*to = b
	}
	return &c, nil
}

// swan is R2's configuration for strongSwan.
func (s *scenario) swan() swan.Config {
	c := swan.Config{
		IKE: "aes256-sha256-modp2048", ESP: "aes256-sha256-modp2048", PSK: "Tunnel-of-two-sites",
		ChildLife: time.Hour, IKELife: 24 * time.Hour,
	}
	switch s.name {
	case Certificate:
		c.LocalID, c.RemoteID = `"C=XX, O=lab, CN=r2.example.net"`, `"C=XX, O=lab, CN=r1.example.net"`
	case Aggressive:
		c.Aggressive, c.RemoteID = true, "r1.example.net"
	case NATT:
		c.ConnLines = "remote_addrs = " + lab.NATAddr().String()
	}
	return c
}
