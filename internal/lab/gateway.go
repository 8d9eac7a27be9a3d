package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GatewayOptions say how to run a gateway in a router's namespace.
type GatewayOptions struct {
	Binary string   // path of culvert
	Config string   // path of the configuration
	Args   []string // further arguments of `culvert run`
	Env    []string // further environment, "NAME=value"
	// Ready is how long its socket may take to answer; 0 means 10 s.
	Ready time.Duration
}

// Gateway is a `culvert run` in the namespace of a router. It outlives the
// process that started it; end it with Stop, Kill or the lab's Down.
type Gateway struct {
	*Daemon
	binary string
}

// StartGateway runs a gateway in the namespace of r1 or r2 and returns once its
// socket answers. A gateway that ends or stays silent is an error that holds
// the end of its log.
func (n *Net) StartGateway(ctx context.Context, router string, o GatewayOptions) (*Gateway, error) {
	host, err := HostOf(router)
	if err != nil {
		return nil, err
	}
	if host != R1 && host != R2 {
		return nil, fmt.Errorf("lab: a gateway runs in r1 or r2, not in %s", host)
	}
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	config, err := filepath.Abs(o.Config)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	g := &Gateway{Daemon: n.daemon(host, gatewayName), binary: binary}
	if g.Running() {
		return nil, fmt.Errorf("lab: a gateway already runs in %s", host)
	}
	// A socket left by a killed gateway must not be taken for an answer.
	if err := os.Remove(g.Socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab: %w", err)
	}
	argv := append([]string{binary, "run", "-c", config, "--socket", g.Socket()}, o.Args...)
	if g.Daemon, err = n.StartDaemon(host, gatewayName, o.Env, argv...); err != nil {
		return nil, err
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Second
	}
	if err := g.AwaitReady(ctx, o.Ready, g.answers); err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	return g, nil
}

const gatewayName = "gateway"

// Gateway is the gateway of a router that another process started, if one runs;
// binary is the path of culvert.
func (n *Net) Gateway(router, binary string) (*Gateway, bool) {
	host, err := HostOf(router)
	if err != nil {
		return nil, false
	}
	g := &Gateway{Daemon: n.daemon(host, gatewayName), binary: binary}
	return g, g.Running()
}

// Socket is the path of the gateway's control socket.
func (g *Gateway) Socket() string { return g.file("sock") }

func (g *Gateway) answers() error {
	c, err := net.Dial("unix", g.Socket())
	if err != nil {
		return err
	}
	return c.Close()
}

// Ask runs a command of culvert against this gateway ("show", "crypto", "isakmp",
// "sa") and returns what it printed. An exit status other than 0 is an
// *exec.ExitError, wrapped with what it said.
func (g *Gateway) Ask(ctx context.Context, words ...string) (string, error) {
	c := exec.CommandContext(ctx, g.binary, append(words, "--socket", g.Socket())...)
	var out, complaint strings.Builder
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("culvert %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
