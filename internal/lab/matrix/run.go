package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/diagnose"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/lab"
	"culvert/internal/lab/scenario"
)

// patience is how long anything may take that should happen at once.
const patience = 20 * time.Second

// Run tries one scenario in one role. The outcome is "up", or the reason code
// that explain gives; an error says what is not as the scenario wants it, and
// what both ends have to say about it.
func (b *Bench) Run(ctx context.Context, s *scenario.Scenario, role scenario.Role) (outcome string, err error) {
	if err := b.peer.load(ctx, s); err != nil {
		return "", fmt.Errorf("%s: %w", b.kind, err)
	}
	g, err := b.gateway(ctx, s.IOS())
	if err != nil {
		return "", fmt.Errorf("culvert: %w", err)
	}
	defer func() {
		if err != nil {
			report, _ := explained(ctx, g) // what it says helps, and no more
			err = fmt.Errorf("%w\nexplain: %s\nculvert says:\n%s\n%s says:\n%s", err, report.Sentence, tail(g.Log(), 60), b.kind, tail(b.peer.log(), 80))
		}
		err = errors.Join(err, g.Stop())
	}()
	capture, err := b.net.Capture(lab.R1, lab.Outside)
	if err != nil {
		return "", err
	}
	if s.Up() {
		err = b.comesUp(ctx, s, role, g, capture)
		outcome = s.Want(role)
	} else {
		outcome, err = b.isRefused(ctx, s, role, g, capture)
	}
	return outcome, err
}

// comesUp brings the tunnel up and compares what both ends and the wire tell.
func (b *Bench) comesUp(ctx context.Context, s *scenario.Scenario, role scenario.Role, g *lab.Gateway, capture *lab.Capture) error {
	var errs []error
	if role == scenario.PeerBegins {
		errs = append(errs, b.peer.initiate(ctx, s))
	}
	packets := 0
	for _, f := range s.Flows() {
		n, err := b.traffic(ctx, f, role)
		packets += n
		errs = append(errs, err)
	}
	if packets == 0 {
		settle(capture)
	}
	wire, err := capture.Stop()
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("%w\n%s", err, wire)
	}
	return b.agree(ctx, s, role, g, wire, packets)
}

// settle waits until the wire has been quiet for a while, as the last segments
// of a TCP connection follow its close.
func settle(c *lab.Capture) {
	last, quiet := -1, 0
	for i := 0; i < 40 && quiet < 5; i++ {
		n := c.Seen().Sealed()
		if quiet++; n != last {
			last, quiet = n, 0
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// pings of one direction.
const pings = 3

// traffic sends along a flow, from R2's side first where R2 began. It returns
// how many packets went each way, 0 where that cannot be known.
func (b *Bench) traffic(ctx context.Context, f scenario.Flow, role scenario.Role) (int, error) {
	from, far := ends(f)
	if f.Proto == flow.TCP {
		return 0, b.talk(ctx, from, lab.HostB, netip.AddrPortFrom(far, f.RemotePort))
	}
	ways := [][2]string{{from, far.String()}}
	if far == lab.Addr(lab.HostB, lab.Eth) {
		ways = append(ways, [2]string{lab.HostB, lab.Addr(lab.HostA, lab.Eth).String()})
	}
	if role == scenario.PeerBegins && len(ways) == 2 {
		ways[0], ways[1] = ways[1], ways[0]
	}
	for _, w := range ways {
		r, err := b.net.PingWith(ctx, w[0], w[1], lab.PingOptions{Count: pings, Interval: 20 * time.Millisecond})
		if err != nil {
			return 0, err
		}
		if r.Received != pings {
			return 0, fmt.Errorf("ping from %s to %s: %d of %d answered\n%s", w[0], w[1], r.Received, pings, r.Output)
		}
	}
	return len(ways) * pings, nil
}

// ends are the host that sends along a flow from R1's side, and the address it sends to.
func ends(f scenario.Flow) (from string, far netip.Addr) {
	switch {
	case f.Remote.Contains(third.Addr()):
		return lab.HostA, third.Addr()
	case f.Remote.Contains(lab.Addr(lab.R2, lab.Outside)):
		return lab.R1, lab.Addr(lab.R2, lab.Outside)
	}
	return lab.HostA, lab.Addr(lab.HostB, lab.Eth)
}

// talk sends a line over TCP and wants it back.
func (b *Bench) talk(ctx context.Context, from, to string, at netip.AddrPort) error {
	var l net.Listener
	err := b.net.In(to, func() (err error) {
		l, err = net.Listen("tcp4", at.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("matrix: listen at %s: %w", at, err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c) // what goes wrong the other end sees
			_ = c.Close()
		}
	}()
	return b.net.In(from, func() error {
		d := net.Dialer{Timeout: patience}
		c, err := d.DialContext(ctx, "tcp4", at.String())
		if err != nil {
			return fmt.Errorf("matrix: %w", err)
		}
		defer c.Close()
		const line = "there and back\n"
		back := make([]byte, len(line))
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte(line)); err != nil {
			return fmt.Errorf("matrix: %w", err)
		}
		if _, err := io.ReadFull(c, back); err != nil || string(back) != line {
			return fmt.Errorf("matrix: over TCP came %q: %w", back, err)
		}
		return nil
	})
}

// isRefused waits until explain names the reason, and wants nothing in clear.
func (b *Bench) isRefused(ctx context.Context, s *scenario.Scenario, role scenario.Role, g *lab.Gateway, capture *lab.Capture) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if role == scenario.PeerBegins {
			_ = b.peer.initiate(ctx, s) // it must fail
			return
		}
		// Interesting traffic, until explain knows.
		from, far := ends(s.Flows()[0])
		_, _ = b.net.PingWith(ctx, from, far.String(), lab.PingOptions{Count: 200, Interval: 100 * time.Millisecond})
	}()
	defer func() {
		cancel()
		<-done
	}()
	want := event.Code(s.Want(role))
	var r diagnose.Report
	for end := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		var err error
		if r, err = explained(ctx, g); err != nil {
			return "", err
		}
		if r.Reason == want {
			break
		}
		if time.Now().After(end) {
			return string(r.Reason), fmt.Errorf("explain says %q, expected %q: %s", r.Reason, want, r.Sentence)
		}
	}
	wire, err := capture.Stop()
	if err == nil && (wire.Cleartext.Total() != 0 || wire.Sealed() != 0) {
		err = fmt.Errorf("a refused tunnel carries nothing, but: %s", wire)
	}
	return string(want), err
}

// explained is the report of explain that tells most: one with a reason, else
// one of a tunnel that is up. A dynamic entry has one for itself and one for
// each peer that came.
func explained(ctx context.Context, g *lab.Gateway) (diagnose.Report, error) {
	out, err := g.Ask(ctx, "explain", "--json")
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return diagnose.Report{}, err
	}
	var v struct {
		Tunnels []diagnose.Report `json:"tunnels"`
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Tunnels) == 0 {
		return diagnose.Report{}, fmt.Errorf("explain --json: %w\n%s", err, out)
	}
	for _, tells := range []func(diagnose.Report) bool{
		func(r diagnose.Report) bool { return r.Reason != "" },
		func(r diagnose.Report) bool { return r.Status == "up" },
	} {
		if i := slices.IndexFunc(v.Tunnels, tells); i >= 0 {
			return v.Tunnels[i], nil
		}
	}
	return v.Tunnels[0], nil
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
