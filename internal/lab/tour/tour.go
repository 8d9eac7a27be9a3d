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
	"slices"
	"strings"

	"culvert/internal/lab"
	"culvert/internal/lab/guest"
)

// Peers that may stand at R2.
const (
	Culvert    = "culvert"
	StrongSwan = "strongswan" // in the namespace of R2, with its own user-space ESP
	Kernel     = "kernel"     // strongSwan on a Linux kernel of its own, which has AH and ESP
)

// Options of a lab.
type Options struct {
	Name   string // of the lab
	Binary string // path of culvert
	Peer   string // at R2: Culvert, StrongSwan or Kernel
	// Scenario is one of Scenarios, "" for the tunnel of the examples.
	Scenario string
}

// Sites is a lab whose gateways run.
type Sites struct {
	Net  *lab.Net
	R1   *lab.Gateway
	Peer string

	scenario scenario
	guest    *guest.Guest // at R2, nil without one
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	s, err := scenarioOf(o.Scenario)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{Culvert, StrongSwan, Kernel}, o.Peer) {
		return fmt.Errorf("lab: peer %q: expected %s, %s or %s", o.Peer, Culvert, StrongSwan, Kernel)
	}
	if !slices.Contains(s.peers, o.Peer) {
		what := "the tunnel of the examples"
		if s.name != "" {
			what = "scenario " + s.name
		}
		return fmt.Errorf("lab: peer %q: %s can have %s", o.Peer, what, strings.Join(s.peers, " or "))
	}
	return nil
}

// Up makes the network and starts both gateways.
func Up(ctx context.Context, o Options) (*Sites, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	scene, err := scenarioOf(o.Scenario)
	if err != nil {
		return nil, err
	}
	n, err := lab.Up(lab.Options{Name: o.Name, NAT: scene.nat})
	if err != nil {
		return nil, err
	}
	s := &Sites{Net: n, Peer: o.Peer, scenario: scene}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Down())
	}
	return s, nil
}

// start writes the files and runs the gateways.
func (s *Sites) start(ctx context.Context, o Options) (err error) {
	if s.scenario.credentials != nil {
		if err := s.scenario.credentials(s.Net.Dir()); err != nil {
			return err
		}
	}
	if s.R1, err = s.gateway(ctx, 0, o.Binary); err != nil {
		return err
	}
	if o.Peer == Culvert {
		_, err = s.gateway(ctx, 1, o.Binary)
		return err
	}
	if o.Peer == Kernel {
		return s.kernel(ctx)
	}
	return s.strongSwan()
}

// gateway runs Culvert at R1 (0) or R2 (1).
func (s *Sites) gateway(ctx context.Context, router int, binary string) (*lab.Gateway, error) {
	text, err := s.scenario.configuration(router)
	if err != nil {
		return nil, err
	}
	host := []string{lab.R1, lab.R2}[router]
	path := file(s.Net, host)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return s.Net.StartGateway(ctx, host, lab.GatewayOptions{Binary: binary, Config: path})
}

// Down takes the lab away.
func (s *Sites) Down() error {
	if s.guest == nil {
		return s.Net.Down()
	}
	return errors.Join(s.guest.Stop(), s.Net.Down())
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
	scene, err := scenarioOf(o.Scenario)
	if err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return err
	}
	t.topology(o.Peer, scene)
	s, err := Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
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
	far, err := s.Net.Capture(lab.R2, lab.Outside)
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
	beyond, err := far.Stop()
	if err != nil {
		return err
	}
	t.steps(ctx, s)
	t.title("The exchange, as R1 saw it", "culvert show crypto exchange")
	t.seen(t.ask(ctx, s, "show", "crypto", "exchange"), "the exchange", s.scenario.exchange)
	t.title("A ping from host to host, through the tunnel", "ping 10.20.20.20, from 10.10.10.10")
	t.text(ping.Output)
	t.check(ping.Received == pings, "%d of %d pings were answered", ping.Received, pings)
	t.title("Phase 1 at R1", "culvert show crypto isakmp sa")
	t.check(strings.Contains(t.ask(ctx, s, "show", "crypto", "isakmp", "sa"), "QM_IDLE"), "the ISAKMP SA at R1 is QM_IDLE")
	if s.scenario.name != "" {
		t.title("The same, with what was agreed", "culvert show crypto isakmp sa detail")
		t.seen(t.ask(ctx, s, "show", "crypto", "isakmp", "sa", "detail"), "the ISAKMP SA", s.scenario.isakmp)
	}
	t.title("Phase 2 at R1", "culvert show crypto ipsec sa")
	sa := t.ask(ctx, s, "show", "crypto", "ipsec", "sa")
	t.check(strings.Contains(sa, fmt.Sprintf("#pkts encaps: %d,", pings)) && strings.Contains(sa, fmt.Sprintf("#pkts decaps: %d,", pings)),
		"R1 sealed %d packets and opened %d", pings, pings)
	t.seen(sa, "the IPsec SAs", s.scenario.ipsec)
	t.title("On the outside wire, captured between R1 and R2", "")
	t.text(wire.String())
	sealed := s.scenario.sealed(wire)
	t.check(sealed == 2*pings && wire.Sealed() == sealed, "%d %s for %d pings and their answers", sealed, s.scenario.carrier, pings)
	t.check(wire.Cleartext.Total() == 0 && wire.Lost == 0, "%d packets of the sites in clear", wire.Cleartext.Total())
	if s.scenario.nat {
		t.title("Beyond the NAT, captured at R2", "")
		t.text(beyond.String())
		t.check(beyond.Sealed() == 2*pings && beyond.Cleartext.Total() == 0, "%d %s and %d packets of the sites in clear", beyond.Sealed(), s.scenario.carrier, beyond.Cleartext.Total())
	}
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

// seen checks that every word stands in an answer.
func (t *story) seen(text, where string, words []string) {
	var missing []string
	for _, w := range words {
		if !strings.Contains(text, w) {
			missing = append(missing, fmt.Sprintf("%q", strings.TrimSpace(w)))
		}
	}
	if len(missing) > 0 {
		t.check(false, "%s lacks %s", where, strings.Join(missing, ", "))
	}
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
