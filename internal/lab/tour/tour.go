// Package tour is what `make lab` shows: the two sites of the five steps come
// up for real, and everything that happens is told and checked.
package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"culvert/examples"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// Peers that may stand at R2.
const (
	Culvert    = "culvert"
	StrongSwan = "strongswan"
)

// Options of a lab.
type Options struct {
	Name   string // of the lab
	Binary string // path of culvert
	Peer   string // at R2: Culvert or StrongSwan
}

// Sites is a lab whose gateways run.
type Sites struct {
	Net  *lab.Net
	R1   *lab.Gateway
	Peer string
}

// Up makes the network and starts both gateways.
func Up(ctx context.Context, o Options) (*Sites, error) {
	if o.Peer != Culvert && o.Peer != StrongSwan {
		return nil, fmt.Errorf("lab: peer %q: expected %s or %s", o.Peer, Culvert, StrongSwan)
	}
	n, err := lab.Up(lab.Options{Name: o.Name})
	if err != nil {
		return nil, err
	}
	s := &Sites{Net: n, Peer: o.Peer}
	if s.R1, err = start(ctx, n, lab.R1, o.Binary, "r1.cfg", examples.R1); err == nil {
		if o.Peer == StrongSwan {
			_, err = swan.Start(n, lab.R2, strongSwan())
		} else {
			_, err = start(ctx, n, lab.R2, o.Binary, "r2.cfg", examples.R2)
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.Down())
	}
	return s, nil
}

func start(ctx context.Context, n *lab.Net, router, binary, file, text string) (*lab.Gateway, error) {
	path := filepath.Join(n.Dir(), file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return n.StartGateway(ctx, router, lab.GatewayOptions{Binary: binary, Config: path})
}

// strongSwan is examples/r2.cfg in strongSwan's words.
func strongSwan() swan.Config {
	return swan.Config{
		IKE: "aes256-sha256-modp2048", ESP: "aes256-sha256-modp2048", PSK: "Tunnel-of-two-sites",
		ChildLife: time.Hour, IKELife: 24 * time.Hour,
	}
}

// ErrNotAsItShouldBe is returned by Run when something was not as it should be;
// what, has been printed.
var ErrNotAsItShouldBe = errors.New("the lab is not as it should be")

// story prints the tour and keeps what is wrong.
type story struct {
	w     io.Writer
	color bool
	wrong []string
}

// Run shows the tour: it makes the lab, tells what happens and takes it down.
func Run(ctx context.Context, o Options, w io.Writer, color bool) (err error) {
	t := &story{w: w, color: color}
	t.topology(o.Peer)
	s, err := Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Net.Down()) }()
	if err := t.tell(ctx, s); err != nil {
		return err
	}
	t.verdict()
	if len(t.wrong) > 0 {
		return ErrNotAsItShouldBe
	}
	return nil
}

const pings = 5

// tell sends the pings and shows what came of them.
func (t *story) tell(ctx context.Context, s *Sites) error {
	c, err := s.Net.Capture(lab.R1, lab.Outside)
	if err != nil {
		return err
	}
	ping, err := s.Net.Ping(ctx, lab.HostA, "10.20.20.20", pings)
	if err != nil {
		return err
	}
	wire, err := c.Stop()
	if err != nil {
		return err
	}
	t.steps(ctx, s)
	t.title("The exchange, as R1 saw it", "culvert show crypto exchange")
	t.ask(ctx, s, "show", "crypto", "exchange")
	t.title("A ping from host to host, through the tunnel", "ping 10.20.20.20, from 10.10.10.10")
	t.text(ping.Output)
	t.check(ping.Received == pings, "%d of %d pings were answered", ping.Received, pings)
	t.title("Phase 1 at R1", "culvert show crypto isakmp sa")
	t.check(strings.Contains(t.ask(ctx, s, "show", "crypto", "isakmp", "sa"), "QM_IDLE"), "the ISAKMP SA at R1 is QM_IDLE")
	t.title("Phase 2 at R1", "culvert show crypto ipsec sa")
	sa := t.ask(ctx, s, "show", "crypto", "ipsec", "sa")
	t.check(strings.Contains(sa, fmt.Sprintf("#pkts encaps: %d,", pings)) && strings.Contains(sa, fmt.Sprintf("#pkts decaps: %d,", pings)),
		"R1 sealed %d packets and opened %d", pings, pings)
	t.title("On the outside wire, captured between R1 and R2", "")
	t.text(wire.String())
	t.check(wire.Sealed() == 2*pings, "%d ESP packets for %d pings and their answers", wire.Sealed(), pings)
	t.check(wire.Cleartext.Total() == 0 && wire.Lost == 0, "%d packets of the sites in clear", wire.Cleartext.Total())
	return nil
}

// steps shows the five steps as explain tells them.
func (t *story) steps(ctx context.Context, s *Sites) {
	t.title("The five steps at R1", "culvert explain")
	out, err := s.R1.Ask(ctx, "explain", "--json")
	var got struct {
		Tunnels []struct {
			Status string `json:"status"`
			Steps  []struct {
				State string `json:"state"`
			} `json:"steps"`
		} `json:"tunnels"`
	}
	ok := err == nil && json.Unmarshal([]byte(out), &got) == nil && len(got.Tunnels) == 1 && got.Tunnels[0].Status == "up"
	if ok {
		for _, step := range got.Tunnels[0].Steps {
			ok = ok && step.State == "ok"
		}
	}
	t.ask(ctx, s, "explain")
	t.check(ok, "all five steps are ok and the tunnel is up")
}

// ask runs a command against R1 and prints its answer.
func (t *story) ask(ctx context.Context, s *Sites, words ...string) string {
	out, err := s.R1.Ask(ctx, words...)
	t.text(out)
	if err != nil {
		t.check(false, "culvert %s: %v", strings.Join(words, " "), err)
	}
	return out
}
