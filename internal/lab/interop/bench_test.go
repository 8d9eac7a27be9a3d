package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/diagnose"
	"culvert/internal/face/show"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// patience is how long anything may take that should happen at once. The
// machine may be slow; a test that needs all of it has failed.
const patience = 20 * time.Second

// bench is one lab with what runs in it.
type bench struct {
	t   *testing.T
	ctx context.Context
	net *lab.Net
}

// newBench makes a lab for one test, beside those of others, or skips.
func newBench(t *testing.T, limit time.Duration) *bench {
	t.Helper()
	return newBenchOf(t, limit, lab.Options{})
}

// newBenchOf is newBench with a lab of another shape; its name is chosen here.
func newBenchOf(t *testing.T, limit time.Duration, o lab.Options) *bench {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	name := fnv.New32a()
	_, _ = name.Write([]byte(t.Name())) // a hash takes everything
	o.Name = fmt.Sprintf("io%d-%x", os.Getpid(), name.Sum32())
	n, err := lab.Up(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	return &bench{t: t, ctx: ctx, net: n}
}

// router is one end's configuration; empty fields take the value named behind them.
type router struct {
	Policies    string // AES-128, SHA-1, group 14
	Key         string // labsecret
	Sets        string // transform set T1: esp-aes esp-sha-hmac
	Entry       string // lines of the crypto map entry behind "set peer"; set transform-set T1
	Interesting string // lines of access list 102; the two sites
	Filter      string // lines of access list 101, inbound on the outside; not applied
	Global      string // more lines; none
}

const ikeAES128SHA1Group14 = `crypto isakmp policy 10
 encryption aes 128
 hash sha
 authentication pre-share
 group 14`

// letIn is the access list of step 1 for what the peer sends.
func letIn(host string) string {
	peer, own := lab.Addr(lab.Other(host), lab.Outside), lab.Addr(host, lab.Outside)
	var b strings.Builder
	for _, l := range []string{"permit esp host %s host %s", "permit ahp host %s host %s",
		"permit udp host %s host %s eq isakmp", "permit udp host %s host %s eq non500-isakmp"} {
		fmt.Fprintf(&b, "access-list 101 "+l+"\n", peer, own)
	}
	return b.String()
}

// text is the configuration of r1 or r2.
func (c router) text(host string) string {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	wild := func(h string) string { return lab.Site(h).Addr().String() + " 0.0.0.255" }
	other, applied := lab.Other(host), ""
	if c.Filter != "" {
		applied = " ip access-group 101 in\n"
	}
	return fmt.Sprintf(`hostname %s
%s
crypto isakmp key %s address %s
%s
crypto map CMAP 10 ipsec-isakmp
 set peer %s
%s
 match address 102
interface GigabitEthernet0/0
 ip address %s 255.255.255.0
interface GigabitEthernet0/1
 ip address %s 255.255.255.0
%s crypto map CMAP
%s
%s
%s
`, strings.ToUpper(host), or(c.Policies, ikeAES128SHA1Group14), or(c.Key, "labsecret"), lab.Addr(other, lab.Outside),
		or(c.Sets, "crypto ipsec transform-set T1 esp-aes esp-sha-hmac"), lab.Addr(other, lab.Outside),
		or(c.Entry, " set transform-set T1"), lab.Addr(host, lab.Inside), lab.Addr(host, lab.Outside), applied,
		or(c.Interesting, "access-list 102 permit ip "+wild(host)+" "+wild(other)), c.Filter, c.Global)
}

// culvert runs a gateway in r1 or r2.
func (b *bench) culvert(host string, c router, args ...string) *lab.Gateway {
	b.t.Helper()
	return b.culvertText(host, c.text(host), args...)
}

// culvertText is culvert with a configuration as it is written.
func (b *bench) culvertText(host, text string, args ...string) *lab.Gateway {
	b.t.Helper()
	path := b.configFile(host)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	g, err := b.net.StartGateway(b.ctx, host, lab.GatewayOptions{Binary: os.Getenv(binaryEnv), Config: path, Args: args})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("culvert in %s says:\n%s", host, g.Log())
		}
	})
	return g
}

func (b *bench) configFile(host string) string { return filepath.Join(b.net.Dir(), host+".cfg") }

// strongSwan runs one in r2.
func (b *bench) strongSwan(c swan.Config) *swan.Peer {
	b.t.Helper()
	return b.strongSwanAt(lab.R2, c)
}

// strongSwanAt runs one at either end.
func (b *bench) strongSwanAt(host string, c swan.Config) *swan.Peer {
	b.t.Helper()
	if err := swan.Available(); err != nil {
		b.t.Skip(err)
	}
	p, err := swan.Start(b.net, host, c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("strongSwan says:\n%s", tail(p.Log(), 120))
		}
	})
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// capture watches a device; the function it returns ends it.
func (b *bench) capture(host, device string) func() lab.Summary {
	b.t.Helper()
	return b.captureTo(host, device, "")
}

func (b *bench) captureTo(host, device, path string) func() lab.Summary {
	b.t.Helper()
	c, err := b.net.CaptureTo(host, device, path)
	if err != nil {
		b.t.Fatal(err)
	}
	return func() lab.Summary {
		b.t.Helper()
		s, err := c.Stop()
		if err != nil {
			b.t.Fatal(err)
		}
		if s.Lost != 0 {
			b.t.Errorf("the capture in %s missed %d packets, so it proves nothing", host, s.Lost)
		}
		return s
	}
}

// addressOf is the site's host that a person pings.
func addressOf(host string) string { return lab.Addr(host, lab.Eth).String() }

// ping sends five echo requests and wants every one answered, the first included.
func (b *bench) ping(from, to string) {
	b.t.Helper()
	r, err := b.net.PingWith(b.ctx, from, addressOf(to), lab.PingOptions{Count: 5, Interval: 20 * time.Millisecond})
	if err != nil || r.Received != 5 {
		b.t.Fatalf("ping from %s to %s: five of five, the first included: %v\n%s", from, to, err, r.Output)
	}
}

// ask puts a command to a gateway and wants an answer.
func (b *bench) ask(g *lab.Gateway, words ...string) string {
	b.t.Helper()
	out, err := g.Ask(b.ctx, words...)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// asked is the answer as JSON.
func asked[V any](b *bench, g *lab.Gateway, words ...string) (v V) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.ask(g, append(words, "--json")...)), &v); err != nil {
		b.t.Fatalf("culvert %s --json: %v", strings.Join(words, " "), err)
	}
	return v
}

func (b *bench) isakmp(g *lab.Gateway) []show.ISAKMPSAItem {
	b.t.Helper()
	var alive []show.ISAKMPSAItem
	for _, s := range asked[show.ISAKMPSAs](b, g, "show", "crypto", "isakmp", "sa").SAs {
		if !s.Deleted {
			alive = append(alive, s)
		}
	}
	return alive
}

func (b *bench) flows(g *lab.Gateway) []show.FlowItem {
	b.t.Helper()
	return asked[show.IPsecSAs](b, g, "show", "crypto", "ipsec", "sa").Flows
}

// explained is what explain says as JSON, and its exit status.
func (b *bench) explained(g *lab.Gateway) (reports []diagnose.Report, status int) {
	b.t.Helper()
	out, err := g.Ask(b.ctx, "explain", "--json")
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		status = ended.ExitCode()
	} else if err != nil {
		b.t.Fatal(err)
	}
	var v struct {
		Tunnels []diagnose.Report `json:"tunnels"`
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		b.t.Fatalf("explain --json: %v\n%s", err, out)
	}
	return v.Tunnels, status
}

// until waits for something to become so.
func (b *bench) until(what string, ok func() error) {
	b.t.Helper()
	b.untilWithin(patience, what, ok)
}

func (b *bench) untilWithin(limit time.Duration, what string, ok func() error) {
	b.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("%s: %v: %v", what, b.ctx.Err(), err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// run runs a program in a host and returns what it said and its exit status.
func (b *bench) run(host string, argv ...string) (string, int) {
	b.t.Helper()
	out, err := b.net.Command(b.ctx, host, argv...).CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		b.t.Fatalf("%s in %s: %v", strings.Join(argv, " "), host, err)
	}
	if ended != nil {
		return string(out), ended.ExitCode()
	}
	return string(out), 0
}

// mustRun runs a program that must succeed.
func (b *bench) mustRun(host string, argv ...string) string {
	b.t.Helper()
	out, status := b.run(host, argv...)
	if status != 0 {
		b.t.Fatalf("%s in %s: exit status %d\n%s", strings.Join(argv, " "), host, status, out)
	}
	return out
}
