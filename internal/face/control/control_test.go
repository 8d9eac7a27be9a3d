package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/status"
	"culvert/internal/face/vty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for; nothing should come near it.
const patience = 20 * time.Second

// serve runs a server with h until the test ends and returns its socket.
func serve(t *testing.T, h Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "R1.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there after Serve: %v", err)
		}
	})
	return path
}

func do(t *testing.T, path string, words ...string) (exit int, out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var b bytes.Buffer
	exit, err = Do(ctx, path, Request{Words: words}, &b)
	return exit, b.String(), err
}

func backend() *vty.Backend {
	return &vty.Backend{
		Snapshot: func() *status.Gateway { return &status.Gateway{Hostname: "R1", Version: "7"} },
		Clear:    func(door.Clear) error { return nil },
	}
}

// TestExec: the words of a command line, answered by a gateway.
func TestExec(t *testing.T) {
	path := serve(t, Exec(backend()))
	for _, c := range []struct {
		words string
		exit  int
		out   string
		err   string
	}{
		{"sh cry isa sa", 0, "IPv4 Crypto ISAKMP SA\n", ""},
		{"show version", 0, "Culvert, Version 7\n", ""},
		{"show crypto foo", 2, "", "^\n% Invalid input detected at '^' marker."},
		{"clear crypto isakmp 1001", 1, "", "% no ISAKMP SA with conn-id 1001"},
		{"show cry?", 0, "crypto\n", ""},
	} {
		exit, out, err := do(t, path, strings.Fields(c.words)...)
		if exit != c.exit || !strings.HasPrefix(out, c.out) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: exit %d, %q, %v; want exit %d, %q…, %q", c.words, exit, out, err, c.exit, c.out, c.err)
		}
	}
	var b bytes.Buffer
	exit, err := Do(context.Background(), path, Request{Words: []string{"show", "version"}, JSON: true}, &b)
	var v map[string]any
	if exit != 0 || err != nil || json.Unmarshal(b.Bytes(), &v) != nil || v["version"] != "7" {
		t.Errorf("as JSON: exit %d, %v, %s", exit, err, b.String())
	}
}

// TestWire pins the lines down: other programs may speak them.
func TestWire(t *testing.T) {
	path := serve(t, func(_ context.Context, r Request, out io.Writer) (int, string) {
		fmt.Fprintf(out, "<%s> %v\n", strings.Join(r.Words, "|"), r.JSON)
		return 1, "% no"
	})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"words":["show","crypto map"],"json":true}`+"\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	want := `{"out":"<show|crypto map> true\n"}` + "\n" + `{"exit":1,"error":"% no"}` + "\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// TestLongAnswer: much output arrives whole, in lines of bounded length, with
// no character cut in two.
func TestLongAnswer(t *testing.T) {
	text := strings.Repeat("häß€😀", 40000)
	path := serve(t, func(_ context.Context, _ Request, out io.Writer) (int, string) {
		n, err := io.WriteString(out, text)
		return 0, map[bool]string{false: "short write"}[n == len(text) && err == nil]
	})
	exit, out, err := do(t, path, "show")
	if exit != 0 || err != nil || out != text {
		t.Errorf("exit %d, %v, %d octets of %d, same: %v", exit, err, len(out), len(text), out == text)
	}
}

// TestBadRequests: whatever comes first, the answer is an error and exit 2,
// and the handler never sees it.
func TestBadRequests(t *testing.T) {
	path := serve(t, func(context.Context, Request, io.Writer) (int, string) {
		t.Error("the handler was called")
		return 0, ""
	})
	many, err := json.Marshal(Request{Words: make([]string, maxWords+1)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ send, want string }{
		"no JSON":            {"show crypto map\n", "the request is not"},
		"another type":       {`{"words":"show"}` + "\n", "the request is not"},
		"an array":           {"[]\n", "the request is not"},
		"too long":           {strings.Repeat("x", maxRequest+1) + "\n", "longer than"},
		"endless":            {strings.Repeat("x", 4*maxRequest), "longer than"},
		"too many words":     {string(many) + "\n", "words, at most"},
		"two requests":       {"{\"words\":[\"show\"]}\n{\"words\":[\"show\"]}\n", "more after the request"},
		"nothing":            {"", "no request came"},
		"a blank line":       {"\n", "the request is not"},
		"nested without end": {strings.Repeat(`{"words":[`, 1500) + "\n", "the request is not"},
	} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		// The server may hang up on an endless request before it was sent.
		_, _ = io.WriteString(conn, c.send)
		_ = conn.CloseWrite()
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(got), c.want) || !strings.Contains(string(got), `"exit":2`) {
			t.Errorf("%s: %s\nwant %q and exit 2", name, got, c.want)
		}
	}
}

// TestHalfClosedRequest: a client that closes its side behind the request, as
// "echo … | nc -U" does, still gets its answer.
func TestHalfClosedRequest(t *testing.T) {
	path := serve(t, Exec(backend()))
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"words":["show","version"]}`); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), `{"exit":0}`+"\n") {
		t.Errorf("%v: %s", err, got)
	}
}

func TestAPanicEndsOneAnswer(t *testing.T) {
	path := serve(t, func(_ context.Context, r Request, out io.Writer) (int, string) {
		if r.Words[0] == "bad" {
			var none *status.Gateway
			_ = none.Hostname
		}
		return 0, ""
	})
	exit, _, err := do(t, path, "bad", "idea")
	if exit != 1 || err == nil || !strings.Contains(err.Error(), `a defect in "bad idea"`) || !strings.Contains(err.Error(), "control_test.go") {
		t.Errorf("exit %d, %v", exit, err)
	}
	if exit, _, err := do(t, path, "good"); exit != 0 || err != nil {
		t.Errorf("after the panic: exit %d, %v", exit, err)
	}
}

// feed is a gateway's events, as a vty.Backend subscribes to them.
type feed struct {
	mu     sync.Mutex
	to     map[int]func(event.Event)
	next   int
	joined chan struct{}
	left   chan struct{}
}

func newFeed() (*feed, *vty.Backend) {
	f := &feed{to: map[int]func(event.Event){}, joined: make(chan struct{}, 1000), left: make(chan struct{}, 1000)}
	b := backend()
	b.Subscribe = func(deliver func(event.Event)) func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := f.next
		f.next++
		f.to[n] = deliver
		f.joined <- struct{}{}
		return func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.to, n)
			f.left <- struct{}{}
		}
	}
	b.Trace = func(_ vty.Topic, e event.Event) []string { return []string{e.What.(event.Dropped).Reason} }
	return f, b
}

func (f *feed) emit(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.to {
		d(event.Event{What: event.Dropped{Reason: reason}})
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// lines gives what is written to it line by line.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	for _, s := range strings.SplitAfter(string(p), "\n") {
		if s != "" {
			l <- s
		}
	}
	return len(p), nil
}

func (l lines) want(t *testing.T, s string) {
	t.Helper()
	select {
	case got := <-l:
		if got != s+"\n" {
			t.Errorf("line %q, want %q", got, s)
		}
	case <-time.After(patience):
		t.Fatalf("waited in vain for %q", s)
	}
}

// TestDebugIsLive: lines arrive while the command runs, and interrupting it is
// its normal end, for the gateway too.
func TestDebugIsLive(t *testing.T) {
	f, b := newFeed()
	path := serve(t, Exec(b))
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	out := make(lines, 100)
	type result struct {
		exit int
		err  error
	}
	done := make(chan result, 1)
	go func() {
		exit, err := Do(ctx, path, Request{Words: []string{"deb", "cry", "isa"}}, out)
		done <- result{exit, err}
	}()
	out.want(t, "Crypto ISAKMP debugging is on")
	await(t, f.joined, "the subscription")
	f.emit("beginning Main Mode exchange")
	out.want(t, "beginning Main Mode exchange")
	f.emit("SA has been authenticated")
	out.want(t, "SA has been authenticated")
	interrupt()
	if r := <-done; r.exit != 0 || r.err != nil {
		t.Errorf("interrupted: exit %d, %v", r.exit, r.err)
	}
	await(t, f.left, "the end of the subscription")
}

// TestAStoppedTerminalDoesNotStopTheGateway: a client that reads nothing loses
// events, while the gateway goes on and answers others; when it reads again it
// is told how many.
func TestAStoppedTerminalDoesNotStopTheGateway(t *testing.T) {
	f, b := newFeed()
	path := serve(t, Exec(b))
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"words":["debug","crypto","isakmp"]}`+"\n"); err != nil {
		t.Fatal(err)
	}
	await(t, f.joined, "the subscription")
	const events = 20000 // several times what socket buffers and queue hold
	line := strings.Repeat("x", 100)
	for range events {
		f.emit(line)
	}
	if exit, _, err := do(t, path, "show", "version"); exit != 0 || err != nil {
		t.Errorf("another client: exit %d, %v", exit, err)
	}
	got, lost := 0, 0
	d := json.NewDecoder(conn)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for got+lost < events {
		var r reply
		if err := d.Decode(&r); err != nil {
			t.Fatalf("after %d lines and %d lost: %v", got, lost, err)
		}
		n := 0
		if _, err := fmt.Sscanf(r.Out, "%% %d events lost here", &n); err == nil {
			lost += n
		} else if strings.HasPrefix(r.Out, line) {
			got++
		}
	}
	if lost == 0 || got+lost != events {
		t.Errorf("%d lines came and %d were told lost, of %d", got, lost, events)
	}
}

// TestTooManyClients: the one over the limit is told so; a place that becomes
// free is given away again.
func TestTooManyClients(t *testing.T) {
	f, b := newFeed()
	path := serve(t, Exec(b))
	var clients []net.Conn
	for range maxClients {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, `{"words":["debug","crypto","isakmp"]}`+"\n"); err != nil {
			t.Fatal(err)
		}
		await(t, f.joined, "a subscription")
		clients = append(clients, c)
	}
	exit, _, err := do(t, path, "show", "version")
	if exit != 1 || err == nil || !strings.Contains(err.Error(), "64 control clients") {
		t.Errorf("client %d: exit %d, %v", maxClients+1, exit, err)
	}
	clients[0].Close()
	await(t, f.left, "the end of a subscription")
	limit := time.Now().Add(patience)
	for exit != 0 && time.Now().Before(limit) {
		exit, _, err = do(t, path, "show", "version")
	}
	if exit != 0 {
		t.Errorf("with a free place: exit %d, %v", exit, err)
	}
}

// TestStopping: a gateway that stops ends its clients, those too that do not read.
func TestStopping(t *testing.T) {
	f, b := newFeed()
	path := filepath.Join(t.TempDir(), "R1.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, Exec(b)) }()

	silent, err := net.Dial("unix", path) // sends no request
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	deaf, err := net.Dial("unix", path) // reads no answer
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	if _, err := io.WriteString(deaf, `{"words":["debug","crypto","isakmp"]}`+"\n"); err != nil {
		t.Fatal(err)
	}
	await(t, f.joined, "the subscription")
	for range 5000 {
		f.emit(strings.Repeat("x", 200))
	}
	answered := make(chan int, 1)
	go func() {
		exit, _ := Do(context.Background(), path, Request{Words: []string{"debug", "crypto", "ipsec"}}, io.Discard)
		answered <- exit
	}()
	await(t, f.joined, "the second subscription")
	stop()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Serve does not end while a client does not read")
	}
	if exit := <-answered; exit != 0 {
		t.Errorf("a debug that the gateway ended: exit %d", exit)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close after Serve: %v", err)
	}
}
