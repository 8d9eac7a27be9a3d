package vty

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/status"
)

// TestClearOneSA: an SA is named by where it ends, its protocol and its SPI, as
// show prints it; one that does not exist is refused.
func TestClearOneSA(t *testing.T) {
	for line, want := range map[string]string{
		"clear crypto sa map CMAP":                    `map "CMAP" dest invalid IP ah false spi 0x0`,
		"clear crypto sa entry 198.51.100.1 esp 0xA1": `map "" dest 198.51.100.1 ah false spi 0xa1`,
		"clear crypto sa entry 198.51.100.2 esp 162":  `map "" dest 198.51.100.2 ah false spi 0xa2`,
		"clear crypto sa entry 198.51.100.1 ah 0xB1":  `map "" dest 198.51.100.1 ah true spi 0xb1`,
		"clear crypto sa map OTHER":                   `no crypto map "OTHER"`,
		"clear crypto sa entry 198.51.100.2 esp 0xA1": "no SA 0xA1 that ends at 198.51.100.2",
		"clear crypto sa entry 198.51.100.1 esp 0xB1": "no SA 0xB1",
	} {
		g := newGateway()
		g.Snapshot = func() *status.Gateway {
			s := snapshot()
			s.Settings.Entries[0].Map = "CMAP"
			s.Flows[0].Local = netip.MustParseAddr("198.51.100.1")
			s.Flows[0].Children = []status.Child{{In: 0xA1, Out: 0xA2, AHIn: 0xB1, AHOut: 0xB2}}
			return s
		}
		out, err := g.run(t, line, false)
		said := strings.Join(g.told, "\n")
		if err != nil {
			said = Message(err)
		}
		if out != "" || !strings.Contains(said, want) {
			t.Errorf("%q: wrote %q, told %q, want %q", line, out, said, want)
		}
	}
}

// What is no SPI is refused where it stands.
func TestNoSPI(t *testing.T) {
	for _, spi := range []string{"SPI", "0", "99999999999", "-1"} {
		if _, err := Parse([]string{"clear crypto sa entry 198.51.100.1 esp", spi}); err == nil || !strings.Contains(Message(err), "is no SPI") {
			t.Errorf("%s: %v", spi, err)
		}
	}
}

// TestDebugCondition: debugging tells of the peers that were named, and of all
// again after a reset.
func TestDebugCondition(t *testing.T) {
	g := newGateway()
	about := func(peer string) event.Event {
		return event.Event{Peer: netip.AddrPortFrom(netip.MustParseAddr(peer), 500), What: event.Dropped{Reason: "from " + peer}}
	}
	heard := func() string {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var b strings.Builder
		done := make(chan error, 1)
		c, err := Parse([]string{"debug crypto engine"})
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- Execute(ctx, c, &g.Backend, &b) }()
		<-g.joined
		g.mu.Lock()
		for _, d := range g.deliver {
			d(about("198.51.100.2"))
			d(about("203.0.113.9"))
		}
		g.mu.Unlock()
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if queued(&g.Backend) == 0 {
				break
			}
		}
		if out, err := g.run(t, "undebug all", false); err != nil || out == "" {
			t.Errorf("undebug: %q, %v", out, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		return b.String()
	}
	if all := heard(); !strings.Contains(all, "from 198.51.100.2") || !strings.Contains(all, "engine: from 203.0.113.9") {
		t.Errorf("without a condition: %q", all)
	}
	if out, err := g.run(t, "debug crypto condition peer ipv4 203.0.113.9", false); err != nil || !strings.Contains(out, "filters: 203.0.113.9") {
		t.Errorf("%q, %v", out, err)
	}
	if some := heard(); strings.Contains(some, "from 198.51.100.2") || !strings.Contains(some, "from 203.0.113.9") {
		t.Errorf("with a condition: %q", some)
	}
	if out, err := g.run(t, "show crypto debug-condition", true); err != nil || !strings.Contains(out, `"203.0.113.9"`) {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := g.run(t, "debug crypto condition reset", false); err != nil || !strings.Contains(out, "turned OFF") {
		t.Errorf("%q, %v", out, err)
	}
	if all := heard(); !strings.Contains(all, "from 198.51.100.2") {
		t.Errorf("after the reset: %q", all)
	}
}

// queued counts the events that no listener has taken.
func queued(b *Backend) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for q := range b.debugs {
		q.mu.Lock()
		n += len(q.items)
		q.mu.Unlock()
	}
	return n
}
