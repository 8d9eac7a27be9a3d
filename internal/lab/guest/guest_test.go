package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
)

// start makes a lab with a guest, or skips.
func start(ctx context.Context, t *testing.T, name string) (*lab.Net, *Guest) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	n, err := lab.Up(lab.Options{Name: fmt.Sprintf("%s-%d", name, os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	begin := time.Now()
	g, err := Start(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up in %v", time.Since(begin))
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if g.Running() {
			t.Error("stopped, and runs")
		}
	})
	return n, g
}

// A guest stands in the place of r2: both sites reach each other through it, it
// runs what it is told, and its kernel seals with ESP and AH.
func TestGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n, g := start(ctx, t, "guest")
	r, err := n.PingWith(ctx, lab.HostA, lab.HostB, lab.PingOptions{Count: 5, Interval: 20 * time.Millisecond})
	if err != nil || r.Received != 5 {
		t.Errorf("ping through the guest: %v\n%s", err, r.Output)
	}
	if out, err := g.Exec(ctx, "echo to stdout; uname -s"); err != nil || out != "to stdout\nLinux\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	var status *ExitError
	if out, err := g.Exec(ctx, "echo half; echo why >&2; exit 7"); !errors.As(err, &status) || status.Status != 7 || out != "half\n" || !strings.Contains(err.Error(), "why") {
		t.Errorf("a script that fails: %q, %v", out, err)
	}
	if err := g.WriteFile("deep/file", "from outside\n"); err != nil {
		t.Fatal(err)
	}
	if out, err := g.Exec(ctx, "cat /share/deep/file; echo back >/share/answer"); err != nil || out != "from outside\n" {
		t.Errorf("a file from outside: %q, %v", out, err)
	}
	if text, err := g.ReadFile("answer"); err != nil || text != "back\n" {
		t.Errorf("a file from inside: %q, %v", text, err)
	}
	late, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	if _, err := g.Exec(late, "sleep 20"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a script that takes too long: %v", err)
	}
	t.Run("ESP and AH by hand", func(t *testing.T) { sealsByHand(ctx, t, n, g) })
}

// Static SAs, without any daemon: what the guest sends to r1 is sealed.
func sealsByHand(ctx context.Context, t *testing.T, n *lab.Net, g *Guest) {
	c, err := n.Capture(lab.R1, lab.Outside)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Exec(ctx, `set -e
key=0x000102030405060708090a0b0c0d0e0f10111213
ip xfrm state add src 198.51.100.2 dst 198.51.100.1 proto esp spi 0x1001 mode transport reqid 1 aead 'rfc4106(gcm(aes))' $key 128
ip xfrm state add src 198.51.100.2 dst 198.51.100.1 proto ah spi 0x1002 mode transport reqid 1 auth-trunc 'hmac(sha1)' $key 96
ip xfrm policy add src 198.51.100.2 dst 198.51.100.1 proto udp dport 7001 dir out tmpl proto esp reqid 1 mode transport
ip xfrm policy add src 198.51.100.2 dst 198.51.100.1 proto udp dport 7002 dir out tmpl proto ah reqid 1 mode transport
for port in 7001 7002 7002; do echo hello >/dev/udp/198.51.100.1/$port; done
ip xfrm state flush; ip xfrm policy flush`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Stop()
	if err != nil || s.ESP.B != 1 || s.AH.B != 2 || s.SPIs[0x1001] != 1 || s.SPIs[0x1002] != 2 {
		t.Errorf("one packet in ESP and two in AH: %v, %v\n%s", err, s.SPIs, s)
	}
}

// Whoever starts a guest and dies leaves nothing behind: closing the pipe of
// life is all that the end of a process does.
func TestGuestEndsWithItsStarter(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, g := start(ctx, t, "orphan")
	if err := g.life.Close(); err != nil {
		t.Fatal(err)
	}
	if !g.awaitEnd(5 * time.Second) {
		t.Error("the guest goes on without its starter")
	}
	if _, err := g.Exec(ctx, "true"); err == nil {
		t.Error("a script ran in a guest that has ended")
	}
}
