package tour

import (
	"context"
	"errors"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// strongSwan runs strongSwan at R2: its configuration of the scenario in
// strongSwan's words.
func (s *Sites) strongSwan(_ context.Context, peer string) error {
	if peer == Kernel || s.scenario.name == Certificate {
		return errors.New("lab: not built yet")
	}
	_, err := swan.Start(s.Net, lab.R2, s.scenario.swan())
	return err
}

// swan is R2's configuration for strongSwan.
func (s *scenario) swan() swan.Config {
	c := swan.Config{
		IKE: "aes256-sha256-modp2048", ESP: "aes256-sha256-modp2048", PSK: "Tunnel-of-two-sites",
		ChildLife: time.Hour, IKELife: 24 * time.Hour,
	}
	switch s.name {
	case Aggressive:
		c.Aggressive, c.RemoteID = true, "r1.example.net"
	case NATT:
		c.ConnLines = "remote_addrs = " + lab.NATAddr().String()
	}
	return c
}
