package vty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var r2 = netip.MustParseAddr("198.51.100.2")

func snapshot() *status.Gateway {
	return &status.Gateway{
		Hostname: "R1", Version: "1",
		ISAKMP: []status.ISAKMP{
			{Conn: 1001, Remote: netip.AddrPortFrom(r2, 500), Local: netip.MustParseAddrPort("198.51.100.1:500"), State: "QM_IDLE"},
			{Conn: 1002, Remote: netip.AddrPortFrom(r2, 500), Local: netip.MustParseAddrPort("198.51.100.1:500"), Deleted: true},
		},
		Flows:    []status.Flow{{ID: policy.FlowID{Map: "CMAP", Seq: 10, Line: 10}, Interface: "Gi0/1", Peer: netip.AddrPortFrom(r2, 500)}},
		Settings: &policy.Settings{Entries: []policy.Entry{{Peers: []netip.Addr{netip.MustParseAddr("203.0.113.3")}}}},
		Lists:    []status.List{{List: &flow.List{Name: "101", Extended: true}}},
	}
}

// gateway is a backend that remembers what it was told.
type gateway struct {
	Backend
	mu      sync.Mutex
	told    []string
	deliver map[int]func(event.Event)
	joined  chan struct{} // one token for each subscription
	next    int
}

func newGateway() *gateway {
	g := &gateway{deliver: map[int]func(event.Event){}, joined: make(chan struct{}, 16)}
	say := func(format string, a ...any) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.told = append(g.told, fmt.Sprintf(format, a...))
		return nil
	}
	g.Snapshot = snapshot
	g.RunningConfig = func() string { return "hostname R1\nend" }
	g.Clear = func(c door.Clear) error {
		if c.Map != "" || c.SPI != 0 {
			return say("map %q dest %v ah %v spi 0x%x", c.Map, c.Dest, c.AH, c.SPI)
		}
		return say("ipsec %v isakmp %v peer %v conn %d", c.IPsec, c.ISAKMP, c.Peer, c.Conn)
	}
	g.ClearCounters = func(p netip.Addr) error { return say("counters %v", p) }
	g.ClearLists = func(n string) error { return say("lists %q", n) }
	g.Explain = func(w io.Writer, p netip.Addr, json bool) (bool, error) {
		fmt.Fprintf(w, "step 2, peer %v, json %v\n", p, json)
		return p.IsValid(), nil
	}
	g.Subscribe = func(deliver func(event.Event)) func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		n := g.next
		g.next++
		g.deliver[n] = deliver
		g.joined <- struct{}{}
		return func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			delete(g.deliver, n)
		}
	}
	g.Trace = func(t Topic, e event.Event) []string {
		if d, ok := e.What.(event.Dropped); ok {
			return []string{string(t) + ": " + d.Reason}
		}
		return nil
	}
	return g
}

func (g *gateway) emit(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.deliver {
		d(event.Event{Conn: 1001, Peer: netip.AddrPortFrom(r2, 500), State: "MM_NO_STATE", What: event.Dropped{Reason: reason}})
	}
}

func (g *gateway) listeners() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.deliver)
}

// run executes a line and returns what it wrote.
func (g *gateway) run(t *testing.T, line string, asJSON bool) (string, error) {
	t.Helper()
	c, err := Parse([]string{line})
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	c.JSON = asJSON
	var b bytes.Buffer
	err = Execute(context.Background(), c, &g.Backend, &b)
	return b.String(), err
}

// TestShowCommandsAnswer runs every row in both forms.
func TestShowCommandsAnswer(t *testing.T) {
	g := newGateway()
	for _, r := range shows() {
		line := strings.NewReplacer("[ <name:WORD> ]", "101", "<peer:A.B.C.D>", "198.51.100.2").Replace(r.syntax)
		text, err := g.run(t, line, false)
		if err != nil || !strings.HasSuffix(text, "\n") && text != "" {
			t.Errorf("%q: %v\n%s", line, err, text)
		}
		object, err := g.run(t, line, true)
		var v map[string]any
		if err != nil || json.Unmarshal([]byte(object), &v) != nil || len(v) == 0 {
			t.Errorf("%q as JSON: %v\n%s", line, err, object)
		}
	}
	for line, want := range map[string]string{
		"show crypto isakmp sa":                  "QM_IDLE",
		"sh cry ips sa peer 203.0.113.3":         "No SAs found",
		"sh cry ips sa peer 198.51.100.2":        "interface: Gi0/1",
		"sh cry ips sa peer 198.51.100.2 detail": "##pkts replay failed",
		"sh acc 101":                             "Extended IP access list 101",
		"show running-config":                    "hostname R1\nend\n",
		"show version":                           "Culvert, Version 1",
		"show crypto isakmp p?":                  "policy  profile  peers\n",
	} {
		if got, err := g.run(t, line, false); err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: %v\n%s\nwant %q", line, err, got, want)
		}
	}
	if got, _ := g.run(t, "show run", true); !strings.Contains(got, `"running_config": "hostname R1\nend"`) {
		t.Errorf("running-config as JSON: %s", got)
	}
}

func TestClear(t *testing.T) {
	for line, want := range map[string]string{
		"clear crypto sa":                         "ipsec true isakmp false peer invalid IP conn 0",
		"clear crypto sa peer 198.51.100.2":       "ipsec true isakmp false peer 198.51.100.2 conn 0",
		"clear crypto sa counters":                "counters invalid IP",
		"clear crypto isakmp":                     "ipsec false isakmp true peer invalid IP conn 0",
		"clear crypto isakmp 1001":                "ipsec false isakmp true peer invalid IP conn 1001",
		"clear crypto session":                    "ipsec true isakmp true peer invalid IP conn 0",
		"clear crypto session remote 203.0.113.3": "ipsec true isakmp true peer 203.0.113.3 conn 0",
		"clear access-list counters":              `lists ""`,
		"clear access-list counters 101":          `lists "101"`,
	} {
		g := newGateway()
		out, err := g.run(t, line, false)
		if err != nil || out != "" || len(g.told) != 1 || g.told[0] != want {
			t.Errorf("%q: %v, wrote %q, told %q, want %q", line, err, out, g.told, want)
		}
	}
}

// TestClearOfNothing: a typing error must not look like success.
func TestClearOfNothing(t *testing.T) {
	for line, want := range map[string]string{
		"clear crypto sa peer 192.0.2.99":        "no peer 192.0.2.99",
		"clear crypto session remote 192.0.2.99": "no peer 192.0.2.99",
		"clear crypto isakmp 1002":               "no ISAKMP SA with conn-id 1002", // deleted already
		"clear crypto isakmp 7":                  "no ISAKMP SA with conn-id 7",
		"clear access-list counters EDGE":        `no access list "EDGE": there is 101`,
		"show access-lists EDGE":                 `no access list "EDGE": there is 101`,
	} {
		g := newGateway()
		_, err := g.run(t, line, false)
		if err == nil || ExitStatus(err) != 1 || !strings.Contains(Message(err), want) || len(g.told) != 0 {
			t.Errorf("%q: %v, told %q, want %q", line, err, g.told, want)
		}
	}
}

func TestExplain(t *testing.T) {
	g := newGateway()
	out, err := g.run(t, "explain 198.51.100.2", true)
	if err != nil || out != "step 2, peer 198.51.100.2, json true\n" {
		t.Errorf("explain of a tunnel that is up: %q, %v", out, err)
	}
	out, err = g.run(t, "explain", false)
	if ExitStatus(err) != 1 || Message(err) != "" || !strings.HasPrefix(out, "step 2") {
		t.Errorf("explain of a tunnel that is down: %q, exit %d, %q", out, ExitStatus(err), Message(err))
	}
}

func TestABackendThatCanNothing(t *testing.T) {
	lines := []string{"show run", "debug crypto isakmp", "explain", "clear crypto sa", "clear crypto sa counters", "clear access-list counters", "show version"}
	for _, backend := range []*Backend{{}, {Snapshot: func() *status.Gateway { return nil }}, {Snapshot: snapshot}} {
		for _, line := range lines {
			c, err := Parse([]string{line})
			if err != nil {
				t.Fatal(err)
			}
			if line == "show version" && backend.Snapshot != nil && backend.Snapshot() != nil {
				continue
			}
			if err := Execute(context.Background(), c, backend, io.Discard); ExitStatus(err) != 1 {
				t.Errorf("%q: %v, want an error", line, err)
			}
		}
	}
	if err := Execute(context.Background(), Command{}, &Backend{}, io.Discard); ExitStatus(err) != 1 {
		t.Errorf("the zero Command: %v", err)
	}
}

// terminal collects what is written and can be held up.
type terminal struct {
	mu    sync.Mutex
	b     bytes.Buffer
	wrote chan struct{}
	gate  chan struct{} // nil: never held up
}

func newTerminal() *terminal { return &terminal{wrote: make(chan struct{}, 1)} }

func (w *terminal) Write(p []byte) (int, error) {
	if w.gate != nil {
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p)
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// wait returns once the terminal shows s.
func (w *terminal) wait(t *testing.T, s string) string {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		w.mu.Lock()
		got := w.b.String()
		w.mu.Unlock()
		if strings.Contains(got, s) {
			return got
		}
		select {
		case <-w.wrote:
		case <-limit:
			t.Fatalf("the terminal never showed %q, only:\n%s", s, got)
		}
	}
}

// debugging starts a debug command and returns how to end it and its result.
func debugging(t *testing.T, g *gateway, line string, asJSON bool, w io.Writer) (cancel func(), done chan error) {
	t.Helper()
	c, err := Parse([]string{line})
	if err != nil || !c.Streams() {
		t.Fatalf("%q: %v, streams %v", line, err, c.Streams())
	}
	c.JSON = asJSON
	ctx, cancel := context.WithCancel(context.Background())
	done = make(chan error, 1)
	go func() { done <- Execute(ctx, c, &g.Backend, w) }()
	<-g.joined
	return cancel, done
}

func TestDebugStreamsUntilTheListenerLeaves(t *testing.T) {
	g, w := newGateway(), newTerminal()
	cancel, done := debugging(t, g, "debug crypto isakmp", false, w)
	w.wait(t, "Crypto ISAKMP debugging is on\n")
	g.emit("atts are acceptable")
	w.wait(t, "isakmp: atts are acceptable\n")
	g.emit("SA has been authenticated")
	w.wait(t, "isakmp: SA has been authenticated\n")
	g.emit("identity \x1b[2J\u009b31m")
	w.wait(t, "isakmp: identity ?[2J?31m\n") // a peer's words do not drive the terminal
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended by the listener: %v", err)
	}
	if n := g.listeners(); n != 0 {
		t.Errorf("%d listeners are left", n)
	}
}

func TestUndebugEndsEverybodysDebugging(t *testing.T) {
	g, w1, w2 := newGateway(), newTerminal(), newTerminal()
	cancel1, done1 := debugging(t, g, "debug crypto isakmp", false, w1)
	cancel2, done2 := debugging(t, g, "debug crypto ipsec", true, w2)
	defer cancel1()
	defer cancel2()
	out, err := g.run(t, "undebug all", false)
	if err != nil || out != "All possible debugging has been turned off\n" {
		t.Errorf("undebug: %q, %v", out, err)
	}
	if err1, err2 := <-done1, <-done2; err1 != nil || err2 != nil {
		t.Errorf("ended by undebug: %v, %v", err1, err2)
	}
	w1.wait(t, "Crypto ISAKMP debugging is on\nAll possible debugging has been turned off\n")
	w2.wait(t, `{"note":"All possible debugging has been turned off"}`)
	if out, err := g.run(t, "undebug all", true); err != nil || !strings.Contains(out, `"note"`) {
		t.Errorf("undebug with nothing on: %q, %v", out, err)
	}
}

// TestASlowListenerLosesLines: the gateway is never held up, and the listener
// is told how many events were lost, where they were lost.
func TestASlowListenerLosesLines(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		g, w := newGateway(), newTerminal()
		w.gate = make(chan struct{})
		cancel, done := debugging(t, g, "debug crypto isakmp", asJSON, w)
		const surplus = 7
		for i := range maxQueued + surplus {
			g.emit(fmt.Sprintf("event %d.", i)) // returns although nobody reads
		}
		close(w.gate)
		want := fmt.Sprintf("event %d.\n%% %d events lost here", maxQueued-1, surplus)
		if asJSON {
			want = fmt.Sprintf(`{"lost":%d}`, surplus)
		}
		w.wait(t, want)
		g.emit("after the loss")
		if got := w.wait(t, "after the loss"); strings.Count(got, "lost") != 1 {
			t.Errorf("the loss was told %d times", strings.Count(got, "lost"))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestALossIsToldOnce(t *testing.T) {
	q := newQueue()
	for range maxQueued + 3 {
		q.put(event.Event{})
	}
	if items, lost := q.take(); len(items) != maxQueued || lost != 3 {
		t.Errorf("%d events and %d lost, want %d and 3", len(items), lost, maxQueued)
	}
	q.put(event.Event{})
	if items, lost := q.take(); len(items) != 1 || lost != 0 {
		t.Errorf("a loss was told twice: %d events, %d lost", len(items), lost)
	}
}

func TestDebugAsJSON(t *testing.T) {
	g, w := newGateway(), newTerminal()
	cancel, done := debugging(t, g, "debug crypto isakmp", true, w)
	g.emit("x")
	w.wait(t, `{"peer":"198.51.100.2:500","conn_id":1001,"state":"MM_NO_STATE","lines":["isakmp: x"]}`)
	cancel()
	<-done
}

func TestDebugEndsWhenItsTerminalFails(t *testing.T) {
	g := newGateway()
	c, err := Parse([]string{"debug crypto isakmp"})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	r.CloseWithError(errors.New("gone"))
	if err := Execute(context.Background(), c, &g.Backend, w); err == nil || g.listeners() != 0 {
		t.Errorf("%v, %d listeners left", err, g.listeners())
	}
}
