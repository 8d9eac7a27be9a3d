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
	"syscall"
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
	net    *Net
	host   string
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
	g := &Gateway{net: n, host: host, binary: o.Binary}
	if g.Running() {
		return nil, fmt.Errorf("lab: a gateway already runs in %s", host)
	}
	if err := os.Remove(g.Socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab: %w", err)
	}
	ended, err := g.launch(o)
	if err != nil {
		return nil, err
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Second
	}
	if err := g.waitReady(ctx, o.Ready, ended); err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	return g, nil
}

// launch starts the program; the channel tells when it has ended.
func (g *Gateway) launch(o GatewayOptions) (<-chan error, error) {
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	config, err := filepath.Abs(o.Config)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	// The log of an earlier run stays, what a restart left out can then be told.
	log, err := os.OpenFile(g.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	defer log.Close()
	argv := append([]string{binary, "run", "-c", config, "--socket", g.Socket()}, o.Args...)
	c := g.net.Command(context.Background(), g.host, argv...)
	c.Stdout, c.Stderr = log, log
	c.Env = append(os.Environ(), o.Env...)
	// A session of its own: the terminal's interrupt is not for the gateway.
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("lab: cannot run %s in %s: %w", o.Binary, g.host, err)
	}
	ended := make(chan error, 1)
	pidErr := writePID(g.file("pid"), c.Process.Pid)
	// Whoever starts a process must wait for it, or it stays as a zombie.
	go func() { ended <- c.Wait() }()
	return ended, pidErr
}

func (g *Gateway) waitReady(ctx context.Context, patience time.Duration, ended <-chan error) error {
	timeout := time.After(patience)
	for {
		if c, err := net.Dial("unix", g.Socket()); err == nil {
			return c.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("lab: the gateway in %s ended at once (%v):\n%s", g.host, err, g.tail())
		case <-timeout:
			return fmt.Errorf("lab: the gateway in %s does not answer on %s after %v:\n%s", g.host, g.Socket(), patience, g.tail())
		case <-ctx.Done():
			return fmt.Errorf("lab: the gateway in %s: %w", g.host, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Gateway is the gateway of a router that another process started, if one runs.
func (n *Net) Gateway(router, binary string) (*Gateway, bool) {
	host, err := HostOf(router)
	if err != nil {
		return nil, false
	}
	g := &Gateway{net: n, host: host, binary: binary}
	return g, g.Running()
}

func (g *Gateway) file(kind string) string {
	return filepath.Join(g.net.Dir(), g.host+"."+kind)
}

// Host is the router the gateway runs in.
func (g *Gateway) Host() string { return g.host }

// Socket is the path of the gateway's control socket.
func (g *Gateway) Socket() string { return g.file("sock") }

// LogFile is the path of what the gateway printed.
func (g *Gateway) LogFile() string { return g.file("log") }

// Log is what the gateway printed up to now, earlier runs in this lab included.
func (g *Gateway) Log() string {
	b, err := os.ReadFile(g.LogFile())
	if err != nil {
		return fmt.Sprintf("(no log: %v)\n", err)
	}
	return string(b)
}

// tail is the end of the log, for error messages.
func (g *Gateway) tail() string {
	lines := strings.Split(strings.TrimRight(g.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// PID is the gateway's process; ok is false when it does not run.
func (g *Gateway) PID() (pid int, ok bool) { return readPID(g.file("pid")) }

// Running tells whether the gateway runs.
func (g *Gateway) Running() bool {
	_, ok := g.PID()
	return ok
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

// Signal sends a signal to the gateway.
func (g *Gateway) Signal(s syscall.Signal) error {
	pid, ok := g.PID()
	if !ok {
		return fmt.Errorf("lab: no gateway runs in %s", g.host)
	}
	return syscall.Kill(pid, s)
}

// Stop asks the gateway to end (TERM) and waits for it; KILL follows after 10 s.
func (g *Gateway) Stop() error { return endProcess(g.file("pid"), syscall.SIGTERM, 10*time.Second) }

// Kill ends the gateway without a chance to clean up, as a crash would (KILL).
func (g *Gateway) Kill() error { return endProcess(g.file("pid"), syscall.SIGKILL, 10*time.Second) }
