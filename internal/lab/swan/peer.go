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

// Peer is a strongSwan that runs in the place of a router: in its namespace, or
// in a guest with a kernel of its own ([StartInGuest]).
type Peer struct {
	place place
	// dir is the peer's directory as this process sees it.
	dir string
}

// place is where a strongSwan runs.
type place interface {
	// swanctl runs a command of swanctl(8) against it.
	swanctl(ctx context.Context, args ...string) (string, error)
	log() string
	running() bool
	stop() error
	kill() error
}

// namespace is a strongSwan in the namespace of a router.
type namespace struct {
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
	daemon, err := n.StartDaemon(host, daemonName, []string{"STRONGSWAN_CONF=/run/strongswan.conf"},
		"unshare", "--mount", "--propagation", "private", "sh", "-c", charonScript, "charon", p.dir)
	if err != nil {
		return nil, err
	}
	p.place = &namespace{daemon, p.dir}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ready := func() error {
		_, err := p.Swanctl(ctx, "--stats")
		return err
	}
	if err := daemon.AwaitReady(ctx, 20*time.Second, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, p.Log()), daemon.Kill())
	}
	if out, err := p.Swanctl(ctx, "--load-all"); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, out), daemon.Kill())
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
	dir := filepath.Join(n.Dir(), host+"."+daemonName)
	return &Peer{place: &namespace{d, dir}, dir: dir}, d.Running()
}

// clientConf is the strongswan.conf of swanctl: what reads keys and certificates.
const clientConf = "swanctl { load = random openssl pem pkcs1 pkcs8 x509 pubkey }\n"

// furnish makes the peer's directory.
func (p *Peer) furnish(host string, c Config) error {
	plugins, err := plugins()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("swan: %w", err)
	}
	files := map[string]string{
		"strongswan.conf": c.daemon(plugins),
		// swanctl reads its own: the daemon's paths are not those it sees.
		"client.conf":  clientConf,
		"swanctl.conf": c.swanctl(host),
	}
	if c.Certs != nil {
		files[caFile], files[certFile], files[keyFile] = string(c.Certs.CA), string(c.Certs.Cert), string(c.Certs.Key)
	}
	return p.write(files)
}

// write puts files into the peer's directory, with directories as needed.
func (p *Peer) write(files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
	}
	return nil
}

// Load replaces what strongSwan is configured with: swanctl.conf, and files
// beside it such as "x509/r2.pem" or "private/r2.pem". SAs that are up stay up.
func (p *Peer) Load(ctx context.Context, swanctlConf string, files map[string]string) error {
	for _, d := range []string{"x509", "x509ca", "x509crl", "private"} {
		if err := os.RemoveAll(filepath.Join(p.dir, d)); err != nil {
			return fmt.Errorf("swan: %w", err)
		}
	}
	all := map[string]string{"swanctl.conf": swanctlConf}
	for name, text := range files {
		all[name] = text
	}
	if err := p.write(all); err != nil {
		return err
	}
	out, err := p.Swanctl(ctx, "--load-all", "--clear")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Swanctl runs a command of swanctl(8) against this peer and returns what it
// printed. The error of a command that failed holds that, too.
func (p *Peer) Swanctl(ctx context.Context, args ...string) (string, error) {
	return p.place.swanctl(ctx, args...)
}

func (p *namespace) swanctl(ctx context.Context, args ...string) (string, error) {
	argv := clientArgs("unix://"+filepath.Join(p.dir, "charon.vici"), args)
	return swanctl(exec.CommandContext(ctx, argv[0], argv[1:]...), p.dir, args)
}

// clientArgs are the command line of a swanctl that asks at uri.
func clientArgs(uri string, args []string) []string {
	argv := append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", swanctlScript, "swanctl"}, args...)
	return append(argv, "--uri", uri)
}

// swanctl runs one with a peer's directory.
func swanctl(c *exec.Cmd, dir string, args []string) (string, error) {
	c.Env = append(os.Environ(), "SWANCTL_DIR="+dir, "STRONGSWAN_CONF="+filepath.Join(dir, "client.conf"))
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
func (p *Peer) Log() string { return p.place.log() }

func (p *namespace) log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "charon.log"))
	if err != nil {
		return fmt.Sprintf("(no log of charon: %v)\n%s", err, p.daemon.Log())
	}
	return string(b)
}

// Running tells whether strongSwan runs.
func (p *Peer) Running() bool { return p.place.running() }

func (p *namespace) running() bool { return p.daemon.Running() }

// Stop ends strongSwan in good order: it deletes its SAs and tells the peer.
func (p *Peer) Stop() error { return p.place.stop() }

func (p *namespace) stop() error { return p.daemon.Stop() }

// Kill ends strongSwan as a crash would.
func (p *Peer) Kill() error { return p.place.kill() }

func (p *namespace) kill() error { return p.daemon.Kill() }
