package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/lab"
)

// lines collects what a command prints while it runs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// debug crypto isakmp streams while the tunnel comes up, not afterwards.
func TestDebugStreams(t *testing.T) {
	b := newBench(t, time.Minute)
	r1 := b.culvert(lab.R1, router{})
	var out lines
	b.meanwhile(func(ctx context.Context) {
		c := b.net.Command(ctx, lab.R1, os.Getenv(binaryEnv), "debug", "crypto", "isakmp", "--socket", r1.Socket())
		c.Stdout, c.Stderr = &out, &out
		_ = c.Run() // the end of the test ends it
	})
	b.says(&out, "Crypto ISAKMP debugging is on")
	b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Interval: 100 * time.Millisecond})
	// There is no peer yet: what is said now is said while the tunnel comes up.
	b.says(&out, "beginning Main Mode exchange")
	if strings.Contains(out.String(), "QM_IDLE") {
		t.Errorf("without a peer nothing comes up:\n%s", out.String())
	}
	b.culvert(lab.R2, router{})
	b.says(&out, "beginning Quick Mode exchange")
	b.says(&out, "QM_IDLE")
	if s := b.ask(r1, "undebug", "all"); !strings.Contains(s, "All possible debugging has been turned off") {
		t.Errorf("undebug all: %s", s)
	}
	b.says(&out, "All possible debugging has been turned off")
}

func (b *bench) says(l *lines, what string) {
	b.t.Helper()
	b.until("debugging says "+what, func() error {
		if !strings.Contains(l.String(), what) {
			return &missing{l.String()}
		}
		return nil
	})
}

// missing is what was said instead.
type missing struct{ said string }

func (m *missing) Error() string { return "so far:\n" + m.said }

// Every show command answers in words and as JSON, and its words may be
// abbreviated.
func TestShowCommands(t *testing.T) {
	b := newBench(t, time.Minute)
	r1 := b.culvert(lab.R1, router{Filter: letIn(lab.R1)})
	b.culvert(lab.R2, router{})
	b.ping(lab.HostA, lab.HostB)
	for _, c := range []struct{ short, long, holds string }{
		{"show cry isa sa", "show crypto isakmp sa", "QM_IDLE"},
		{"show cr is sa det", "show crypto isakmp sa detail", "198.51.100.2"},
		{"show cry ips sa", "show crypto ipsec sa", "#pkts encaps: 5, #pkts encrypt: 5, #pkts digest: 5"},
		{"show cry sess", "show crypto session", "UP-ACTIVE"},
		{"show cry map", "show crypto map", "Crypto Map"},
		{"show cry isa pol", "show crypto isakmp policy", "Protection suite of priority 10"},
		{"show cry ips tr", "show crypto ipsec transform-set", "{ esp-aes esp-sha-hmac"},
		{"show acc", "show access-lists", "Extended IP access list 101"},
		{"show run", "show running-config", "crypto isakmp policy 10"},
		{"show cry exch", "show crypto exchange", "MM1"},
		{"show ver", "show version", "R1"},
	} {
		long := b.ask(r1, strings.Fields(c.long)...)
		if !strings.Contains(long, c.holds) {
			t.Errorf("%s does not say %q:\n%s", c.long, c.holds, long)
		}
		if short := b.ask(r1, strings.Fields(c.short)...); digits(short) != digits(long) {
			t.Errorf("%s is not %s:\n%s\n%s", c.short, c.long, short, long)
		}
		if j := b.ask(r1, append(strings.Fields(c.long), "--json")...); !json.Valid([]byte(j)) || len(j) < 10 {
			t.Errorf("%s --json:\n%s", c.long, j)
		}
	}
	if s := b.ask(r1, "show", "running-config"); strings.Contains(s, "labsecret") {
		t.Errorf("the key is shown:\n%s", s)
	}
	for _, wrong := range []string{"show crypto isakmp sb", "show crypto", "clear crypto everything"} {
		out, status := b.run(lab.R1, append(append([]string{os.Getenv(binaryEnv)}, strings.Fields(wrong)...), "--socket", r1.Socket())...)
		if status != 2 {
			t.Errorf("%s: exit status %d, expected 2\n%s", wrong, status, out)
		}
	}
}

// digits takes times and counters out, which change between two commands.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
