package guest

import (
	"bufio"
	"context"
	_ "embed" // init.sh
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"culvert/internal/lab"
)

//go:embed uml/init.sh
var initScript string

// memory of a guest; two daemons with their libraries take about half.
const memory = "256M"

// How long a guest may take to come up and to go.
const (
	startPatience = 60 * time.Second
	stopPatience  = 5 * time.Second
)

// Guest is a running guest in the place of a router.
type Guest struct {
	net  *lab.Net
	host string
	dir  string
	tree string
	cmd  *exec.Cmd
	line *os.File // our end of its serial line, for writing
	life *os.File // its end is the guest's end
	said *os.File // our end of its serial line, for reading

	ended chan struct{} // closed when its processes are gone
	ready chan struct{} // closed when it takes jobs

	mu   sync.Mutex
	next int
	jobs map[string]chan struct{} // closed when the job of that number is done
}

// keeper is the first process of the guest's PID namespace, so that its end is
// the end of all: it ends with the guest, and ends the guest when nobody holds
// the other end of the pipe ($1 is its descriptor) any more or when it is told to.
const keeper = `trap 'exit 143' TERM
life=$1
shift
"$@" </dev/null &
guest=$!
{ cat <&"$life" >/dev/null; kill -KILL $guest; } 2>/dev/null &
wait $guest`

// Start puts a guest into the place of r2, with r2's addresses and a route to
// the other site, and returns when it takes jobs. Its kernel has loaded what
// IPsec needs; no daemon runs.
func Start(ctx context.Context, n *lab.Net) (*Guest, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	place, err := cache()
	if err != nil {
		return nil, err
	}
	g := &Guest{net: n, host: lab.R2, dir: filepath.Join(n.Dir(), lab.R2+".guest"), tree: filepath.Join(place, treeName),
		ended: make(chan struct{}), ready: make(chan struct{}), jobs: make(map[string]chan struct{})}
	if err := g.furnish(); err != nil {
		return nil, err
	}
	if err := wire(n, g.host); err != nil {
		return nil, err
	}
	if err := g.boot(filepath.Join(place, shimName)); err != nil {
		return nil, err
	}
	if err := g.settle(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, g.Console()), g.Stop())
	}
	return g, nil
}

// furnish makes the guest's directory.
func (g *Guest) furnish() error {
	if err := os.RemoveAll(g.dir); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	for _, d := range []string{"share/jobs", "uml"} {
		if err := os.MkdirAll(filepath.Join(g.dir, d), 0o755); err != nil {
			return fmt.Errorf("guest: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(g.dir, "init"), []byte(initScript), 0o755); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	if err := os.Symlink(g.tree, filepath.Join(g.dir, "tree")); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	return nil
}

// boot starts the guest's processes.
func (g *Guest) boot(shim string) (err error) {
	console, err := os.Create(g.consoleFile())
	if err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	defer console.Close()
	var theirs [3]*os.File // life, line in, line out
	for i, ours := range []**os.File{&g.life, &g.line, &g.said} {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("guest: %w", err)
		}
		theirs[i], *ours = r, w
		if i == 2 {
			theirs[i], *ours = w, r
		}
		defer theirs[i].Close()
	}
	// ExtraFiles begin at descriptor 3: life 3, line in 4, line out 5.
	argv := []string{"setsid", "unshare", "--pid", "--fork", "--kill-child=KILL", "bash", "-c", keeper, "keeper", "3",
		filepath.Join(g.tree, kernel), "mem=" + memory, "umid=guest", "uml_dir=" + filepath.Join(g.dir, "uml") + "/",
		"root=none", "rootfstype=hostfs", "ro", "init=" + filepath.Join(g.dir, "init"),
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:4,fd:5", "quiet", "random.trust_cpu=on"}
	for _, p := range ports() {
		argv = append(argv, p.kernelWord())
	}
	g.cmd = g.net.Command(context.Background(), g.host, argv...)
	g.cmd.Stdout, g.cmd.Stderr = console, console
	g.cmd.Env = append(os.Environ(), "LD_PRELOAD="+shim)
	if memoryDir := "/dev/shm"; roomFor(memoryDir, 2*256<<20) {
		g.cmd.Env = append(g.cmd.Env, "TMPDIR="+memoryDir)
	}
	g.cmd.ExtraFiles = theirs[:]
	if err := g.cmd.Start(); err != nil {
		return fmt.Errorf("guest: cannot start: %w", err)
	}
	go g.listen()
	go func() {
		_ = g.cmd.Wait() // how it ended the console tells
		close(g.ended)
	}()
	return nil
}

// roomFor tells whether a directory has that many octets left.
func roomFor(dir string, octets uint64) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) > octets
}

// listen reads the guest's serial line: "ready", and the numbers of jobs that are done.
func (g *Guest) listen() {
	ready := false
	for s := bufio.NewScanner(g.said); s.Scan(); {
		word := strings.TrimSpace(s.Text())
		if word == "ready" && !ready {
			ready = true
			close(g.ready)
			continue
		}
		g.mu.Lock()
		done := g.jobs[word]
		delete(g.jobs, word)
		g.mu.Unlock()
		if done != nil {
			close(done)
		}
	}
}

// settle waits for the guest and gives it modules, addresses and routes.
func (g *Guest) settle(ctx context.Context) error {
	select {
	case <-g.ready:
	case <-g.ended:
		return errors.New("guest: it ended while it started")
	case <-ctx.Done():
		return fmt.Errorf("guest: while it started: %w", ctx.Err())
	case <-time.After(startPatience):
		return fmt.Errorf("guest: it does not answer within %v", startPatience)
	}
	if err := packetsAsOnAWire(ctx, g.net, g.host, g.tree); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(modules)
	for i, p := range ports() {
		device := []string{lab.Outside, lab.Inside}[i]
		fmt.Fprintf(&b, "ethtool -K %s sg off tso off gso off gro off >/dev/null 2>&1\n", p.inside)
		fmt.Fprintf(&b, "ip link set %s up && ip address add %s/24 dev %s || exit 1\n", p.inside, lab.Addr(g.host, device), p.inside)
	}
	b.WriteString(settings)
	fmt.Fprintf(&b, "ip route add default via %s\n", lab.Addr(lab.Other(g.host), lab.Outside))
	_, err := g.Exec(ctx, b.String())
	return err
}

// modules are all of the kernel's that have to do with IPsec. Some kernels have
// one or the other built in. After them the kernel asks for no module any more:
// it would, in vain and for seconds, for every combination of algorithms that
// is used for the first time, while packets wait. ansi_cprng is its generator of
// IVs: drbg in its place measures jitter for seconds before it begins.
const modules = `modprobe -a af_key xfrm_user ah4 esp4 tunnel4 xfrm4_tunnel authenc authencesn seqiv echainiv \
  cbc ctr gcm ghash-generic ccm hmac xcbc cmac chacha20poly1305 crypto_null sha512_generic des_generic ecb rmd160 ansi_cprng 2>/dev/null
echo >/proc/sys/kernel/modprobe
`

// settings are those of a router, as in the lab's namespaces.
const settings = `sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
  net.ipv4.conf.vec0.rp_filter=0 net.ipv4.conf.vec1.rp_filter=0 \
  net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.vec0.send_redirects=0 net.ipv4.conf.vec1.send_redirects=0
`

func (g *Guest) consoleFile() string { return filepath.Join(g.dir, "console.log") }

// Console is what the guest's kernel and its first process printed.
func (g *Guest) Console() string {
	b, err := os.ReadFile(g.consoleFile())
	if err != nil {
		return fmt.Sprintf("(no console: %v)\n", err)
	}
	return string(b)
}

// Running tells whether the guest runs.
func (g *Guest) Running() bool {
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// Stop switches the guest off, and ends its processes when that takes too long.
// A guest that has ended is no error.
func (g *Guest) Stop() error {
	_, err := io.WriteString(g.line, "off\n")
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if !g.awaitEnd(stopPatience) {
		err = errors.Join(err, g.life.Close())
		if !g.awaitEnd(stopPatience) {
			err = errors.Join(err, errors.New("guest: its processes do not end"))
		}
	}
	for _, f := range []*os.File{g.line, g.life, g.said} {
		if closing := f.Close(); closing != nil && !errors.Is(closing, os.ErrClosed) {
			err = errors.Join(err, closing)
		}
	}
	return err
}

func (g *Guest) awaitEnd(patience time.Duration) bool {
	select {
	case <-g.ended:
		return true
	case <-time.After(patience):
		return false
	}
}
