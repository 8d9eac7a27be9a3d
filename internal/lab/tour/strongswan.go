package tour

import (
	"context"
	"errors"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// strongSwan runs strongSwan at R2: examples/r2.cfg in strongSwan's words.
func (s *Sites) strongSwan(context.Context, string) error {
	if s.scenario.name != "" {
		return errors.New("not yet")
	}
	_, err := swan.Start(s.Net, lab.R2, swan.Config{
		IKE: "aes256-sha256-modp2048", ESP: "aes256-sha256-modp2048", PSK: "Tunnel-of-two-sites",
		ChildLife: time.Hour, IKELife: 24 * time.Hour,
	})
	return err
}
