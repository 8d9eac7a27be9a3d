package swan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"culvert/internal/lab"
)

const (
	charonPath  = "/usr/sbin/charon-systemd"
	swanctlPath = "/usr/sbin/swanctl"
)

// Available tells whether strongSwan and its user-space plugin are installed.
func Available() error {
	for path, pkg := range map[string]string{
		charonPath:  "charon-systemd",
		swanctlPath: "strongswan-swanctl",
		filepath.Join(pluginDir, "libstrongswan-kernel-libipsec.so"): "libcharon-extra-plugins",
		filepath.Join(pluginDir, "libstrongswan-openssl.so"):         "libstrongswan-standard-plugins",
	} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("swan: strongSwan is not installed (%s is missing): apt-get install %s", path, pkg)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("swan: strongSwan's user-space ESP needs /dev/net/tun: %w", err)
	}
	return nil
}

// Peer is a strongSwan that runs in a router's namespace.
type Peer struct {
	daemon *lab.Daemon
	dir    string
}

const daemonName = "strongswan"

// charonScript gives the daemon its directory ($1) as /run, and runs a copy of
// the program: see the package comment. The process ID stays the same throughout.
const charonScript = `mount --bind "$1" /run && mount -t tmpfs none /mnt && cp ` + charonPath + ` /mnt/charon && exec /mnt/charon`

// swanctlScript runs a copy of swanctl likewise.
const swanctlScript = `mount -t tmpfs none /mnt && cp ` + swanctlPath + ` /mnt/swanctl && exec /mnt/swanctl "$@"`

// Start runs strongSwan in r1 or r2 and loads one connection, "lab", with one
// child, "net". It waits as responder unless the configuration says otherwise.
func Start(n *lab.Net, router string, c Config) (*Peer, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	host, err := lab.HostOf(router)
	if err != nil {
		return nil, err
	}
	if host != lab.R1 && host != lab.R2 {
		return nil, fmt.Errorf("swan: strongSwan runs in r1 or r2, not in %s", host)
	}
	c.fill(host)
	p := &Peer{dir: filepath.Join(n.Dir(), host+"."+daemonName)}
	if err := p.furnish(host, c); err != nil {
		return nil, err
	}
	p.daemon, err = n.StartDaemon(host, daemonName, []string{"STRONGSWAN_CONF=/run/strongswan.conf"},
		"unshare", "--mount", "--propagation", "private", "sh", "-c", charonScript, "charon", p.dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ready := func() error {
		_, err := p.Swanctl(ctx, "--stats")
		return err
	}
	if err := p.daemon.AwaitReady(ctx, 20*time.Second, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, p.Log()), p.daemon.Kill())
	}
	if out, err := p.Swanctl(ctx, "--load-all"); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, out), p.daemon.Kill())
	}
	return p, nil
}

// Open finds a strongSwan that another process started; ok is false when none runs.
func Open(n *lab.Net, router string) (*Peer, bool) {
	host, err := lab.HostOf(router)
	if err != nil {
		return nil, false
	}
	d, err := n.Daemon(host, daemonName)
	if err != nil {
		return nil, false
	}
	return &Peer{daemon: d, dir: filepath.Join(n.Dir(), host+"."+daemonName)}, d.Running()
}

// furnish makes the peer's directory.
func (p *Peer) furnish(host string, c Config) error {
	plugins, err := plugins()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("swan: %w", err)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("swan: %w", err)
	}
	for _, f := range [][2]string{
		{"strongswan.conf", c.daemon(plugins)},
		// swanctl reads its own: the daemon's paths are not those it sees.
		{"client.conf", "swanctl { load = random openssl pem pkcs1 pkcs8 x509 }\n"},
		{"swanctl.conf", c.swanctl(host)},
	} {
		if err := os.WriteFile(filepath.Join(p.dir, f[0]), []byte(f[1]), 0o600); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
	}
	if c.Certs == nil {
		return nil
	}
	for name, content := range map[string][]byte{caFile: c.Certs.CA, certFile: c.Certs.Cert, keyFile: c.Certs.Key} {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
	}
	return nil
}

// Swanctl runs a command of swanctl(8) against this peer and returns what it
// printed. The error of a command that failed holds that, too.
func (p *Peer) Swanctl(ctx context.Context, args ...string) (string, error) {
	argv := append([]string{"--mount", "--propagation", "private", "sh", "-c", swanctlScript, "swanctl"}, args...)
	c := exec.CommandContext(ctx, "unshare", append(argv, "--uri", "unix://"+filepath.Join(p.dir, "charon.vici"))...)
	c.Env = append(os.Environ(), "SWANCTL_DIR="+p.dir, "STRONGSWAN_CONF="+filepath.Join(p.dir, "client.conf"))
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("swan: swanctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Which SA is meant.
const (
	IKE   = "ike"   // the IKE SA, phase 1
	Child = "child" // the IPsec SA, phase 2
)

// Initiate brings both SAs up and waits until they are; a refusal is an error
// that holds strongSwan's account.
func (p *Peer) Initiate(ctx context.Context) (string, error) {
	return p.Swanctl(ctx, "--initiate", "--child", "net", "--timeout", "20")
}

// Terminate deletes the IKE SA (with its children) or the child only, and tells the peer.
func (p *Peer) Terminate(ctx context.Context, which string) error {
	_, err := p.Swanctl(ctx, "--terminate", "--"+which, connection(which), "--timeout", "10")
	return err
}

// Rekey begins to renew the IKE SA or the child; it does not wait for the end.
func (p *Peer) Rekey(ctx context.Context, which string) error {
	_, err := p.Swanctl(ctx, "--rekey", "--"+which, connection(which))
	return err
}

func connection(which string) string {
	if which == IKE {
		return "lab"
	}
	return "net"
}

// SAs are the SAs the peer has now.
func (p *Peer) SAs(ctx context.Context) ([]SA, error) {
	out, err := p.Swanctl(ctx, "--list-sas", "--raw")
	if err != nil {
		return nil, err
	}
	return parseSAs(out)
}

// Await waits until the peer's SAs are as wanted, and returns them.
func (p *Peer) Await(ctx context.Context, what string, ok func([]SA) bool) ([]SA, error) {
	for {
		sas, err := p.SAs(ctx)
		if err == nil && ok(sas) {
			return sas, nil
		}
		select {
		case <-ctx.Done():
			return sas, fmt.Errorf("swan: %s: %w: %v\n%s", what, ctx.Err(), sas, p.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Log is strongSwan's own account, and what it printed before it could write one.
func (p *Peer) Log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "charon.log"))
	if err != nil {
		return fmt.Sprintf("(no log of charon: %v)\n%s", err, p.daemon.Log())
	}
	return string(b)
}

// Running tells whether strongSwan runs.
func (p *Peer) Running() bool { return p.daemon.Running() }

// Stop ends strongSwan in good order: it deletes its SAs and tells the peer.
func (p *Peer) Stop() error { return p.daemon.Stop() }

// Kill ends strongSwan as a crash would.
func (p *Peer) Kill() error { return p.daemon.Kill() }
