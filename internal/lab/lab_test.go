package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testNet makes a lab for one test, or skips where that is impossible.
func testNet(t *testing.T, name string) *Net {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	n, err := Up(Options{Name: fmt.Sprintf("%s-%d", name, os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func capture(t *testing.T, n *Net, host, device string) func() Summary {
	t.Helper()
	c, err := n.Capture(host, device)
	if err != nil {
		t.Fatal(err)
	}
	return func() Summary {
		t.Helper()
		s, err := c.Stop()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// Without a guard the routers forward: the capture must see it, or no test
// that finds the outside closed means anything.
func TestWithoutGuardTheSitesTalkInClear(t *testing.T) {
	n := testNet(t, "clear")
	stop := capture(t, n, R1, Outside)
	r, err := n.PingWith(t.Context(), "10.10.10.10", "10.20.20.20", PingOptions{Count: 3, Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 3 || r.Received != 3 || len(r.RTTs) != 3 || !strings.Contains(r.Output, "3 packets transmitted, 3 received, 0% packet loss") {
		t.Errorf("ping: %+v", r)
	}
	// 64, less the two routers.
	if !strings.Contains(r.Output, "64 bytes from 10.20.20.20: icmp_seq=1 ttl=62") {
		t.Errorf("output:\n%s", r.Output)
	}
	s := stop()
	if s.Cleartext.A != 3 || s.Cleartext.B != 3 || s.Sealed() != 0 || s.Lost != 0 {
		t.Errorf("capture: %s", s)
	}
	if len(s.Clear) != 6 || s.Clear[0] != "icmp 10.10.10.10 -> 10.20.20.20, 64 octets of data" {
		t.Errorf("described: %q", s.Clear)
	}
}

func TestPingTellsSilenceAndRefusal(t *testing.T) {
	n := testNet(t, "silence")
	if err := n.Loss(1000); err != nil {
		t.Fatal(err)
	}
	quick := PingOptions{Count: 2, Interval: time.Millisecond, Timeout: 50 * time.Millisecond}
	r, err := n.PingWith(t.Context(), HostA, HostB, quick)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 2 || r.Received != 0 || !strings.Contains(r.Output, "100% packet loss") {
		t.Errorf("all is lost, but: %+v", r)
	}
	// R1 has no route there and says so.
	r, err = n.PingWith(t.Context(), HostA, "203.0.113.9", quick)
	if err != nil {
		t.Fatal(err)
	}
	if r.Received != 0 || len(r.Refusals) == 0 || !strings.Contains(r.Refusals[0], "from 10.10.10.1: destination unreachable") {
		t.Errorf("no route, but: %+v", r)
	}
}

func TestPingEndsWithItsContext(t *testing.T) {
	n := testNet(t, "cancel")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.Block(R2, All); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := n.Ping(ctx, HostA, HostB, 100); err == nil || time.Since(begin) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

func TestPingTooBigForTheMTU(t *testing.T) {
	n := testNet(t, "big")
	r, err := n.PingWith(t.Context(), HostA, HostB, PingOptions{Count: 1, Size: 1472, DontFrag: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Received != 1 {
		t.Errorf("1500 octets fit, but: %s", r.Output)
	}
	r, err = n.PingWith(t.Context(), HostA, HostB, PingOptions{Count: 1, Size: 1473, DontFrag: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Received != 0 || len(r.Refusals) != 1 {
		t.Errorf("1501 octets do not fit, but: %s", r.Output)
	}
}

func TestFaults(t *testing.T) {
	n := testNet(t, "faults")
	ping := func(count int) int {
		t.Helper()
		r, err := n.PingWith(t.Context(), HostA, HostB, PingOptions{Count: count, Interval: time.Millisecond, Timeout: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return r.Received
	}
	if err := n.DropFirst(R2, All, 3); err != nil {
		t.Fatal(err)
	}
	if got := ping(5); got != 2 {
		t.Errorf("the first three of five dropped: %d received", got)
	}
	if got := ping(5); got != 5 {
		t.Errorf("and then none: %d received", got)
	}
	if err := n.Loss(500); err != nil {
		t.Fatal(err)
	}
	// Lost in either direction: a quarter survives, 50 of 200.
	if got := ping(200); got < 10 || got > 110 {
		t.Errorf("half lost each way: %d of 200 received", got)
	}
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	if got := ping(5); got != 5 {
		t.Errorf("healed: %d of 5 received", got)
	}
	// IKE and ESP are blocked; a ping is neither.
	for _, kind := range []Traffic{IKE, NATT, ESP} {
		if err := n.Block(R2, kind); err != nil {
			t.Fatal(err)
		}
		if got := ping(2); got != 2 {
			t.Errorf("traffic %d blocked: %d of 2 pings received", kind, got)
		}
	}
}

func TestCommandRunsInTheHost(t *testing.T) {
	n := testNet(t, "command")
	for host, want := range map[string]string{"R1": "198.51.100.1", "10.20.20.20": "10.20.20.20"} {
		// fib_trie lists the addresses of the namespace it is read in.
		out, err := n.Command(t.Context(), host, "cat", "/proc/net/fib_trie").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "-- "+want+"\n") {
			t.Errorf("%s: %v\n%s", host, err, out)
		}
	}
	if err := n.Command(t.Context(), "r3", "true").Run(); err == nil || !strings.Contains(err.Error(), `no host "r3"`) {
		t.Errorf("unknown host: %v", err)
	}
}

func TestAnotherProcessFindsTheLabAndTakesItDown(t *testing.T) {
	n := testNet(t, "open")
	o, err := Open(n.Name())
	if err != nil {
		t.Fatal(err)
	}
	c := o.Command(t.Context(), R2, "sleep", "100")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	waitFor(t, "sleep is in r2", func() bool {
		pids, err := n.processes(R2)
		return err == nil && len(pids) == 1 && pids[0] == c.Process.Pid
	})
	if err := o.Down(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("what ran in the lab ended by itself")
	}
	if _, err := Open(n.Name()); err == nil || !strings.Contains(err.Error(), "no lab") {
		t.Errorf("after down: %v", err)
	}
	if _, err := os.Stat(n.Dir()); !os.IsNotExist(err) {
		t.Errorf("files are left: %v", err)
	}
}

func TestUpTakesLeftoversOfItsOwnNameOnly(t *testing.T) {
	n, other := testNet(t, "again"), testNet(t, "bystander")
	if err := n.Link(R1, Outside, false); err != nil {
		t.Fatal(err)
	}
	again, err := Up(Options{Name: n.Name(), MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Net{again, other} {
		r, err := l.PingWith(t.Context(), HostA, HostB, PingOptions{Count: 1})
		if err != nil || r.Received != 1 {
			t.Errorf("%s: %v %s", l.Name(), err, r.Output)
		}
	}
	r, err := again.PingWith(t.Context(), HostA, HostB, PingOptions{Count: 1, Size: 1400, DontFrag: true})
	if err != nil || r.Received != 0 {
		t.Errorf("the MTU of the new lab is 1400, but %v %s", err, r.Output)
	}
}

func TestNamesOfLabs(t *testing.T) {
	for _, bad := range []string{"../x", "Lab", "a b", "-x", strings.Repeat("x", 21)} {
		if _, err := Up(Options{Name: bad}); err == nil {
			t.Errorf("name %q was taken", bad)
		}
	}
	if _, err := Up(Options{MTU: 10}); err == nil || !strings.Contains(err.Error(), "MTU 10") {
		t.Errorf("MTU: %v", err)
	}
}

func TestCaptureFileHoldsThePackets(t *testing.T) {
	n := testNet(t, "pcap")
	path := filepath.Join(t.TempDir(), "x.pcap")
	c, err := n.CaptureTo(R2, Inside, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.PingWith(t.Context(), HostA, HostB, PingOptions{Count: 2, Interval: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Stop()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// 24 octets of file header; 16 before each frame; an echo is 98 octets with Ethernet.
	if want := 24 + 4*(16+98); s.Cleartext.Total() != 4 || len(b) < want {
		t.Errorf("%d octets for %s; expected at least %d", len(b), s, want)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// Each fault drops its own traffic and nothing else.
func TestFaultsChooseTheirTraffic(t *testing.T) {
	n := testNet(t, "kinds")
	arrived := listen(t, n)
	for _, c := range []struct {
		fault func() error
		want  string
	}{
		{n.Heal, "500 4500-ike 4500-esp esp"},
		{func() error { return n.Block(R2, IKE) }, "4500-esp esp"},
		{func() error { return n.Block(R2, NATT) }, "500 esp"},
		{func() error { return n.Block(R2, ESP) }, "500 4500-ike 4500-esp"},
		{func() error { return n.Block(R1, All) }, "500 4500-ike 4500-esp esp"},
		// Of IKE, the first packet is the one to port 500, the second not dropped.
		{func() error { return n.DropFirst(R2, IKE, 1) }, "4500-ike 4500-esp esp"},
		{func() error { return n.DropFirst(R2, IKE, 2) }, "4500-esp esp"},
		{func() error { return n.Block(R2, All) }, ""},
	} {
		if err := errors.Join(n.Heal(), c.fault()); err != nil {
			t.Fatal(err)
		}
		if got := arrived(); got != c.want {
			t.Errorf("arrived %q, expected %q", got, c.want)
		}
	}
	if err := n.Block(HostA, ESP); err == nil || !strings.Contains(err.Error(), "r1 or r2, not at a") {
		t.Errorf("a fault in a host: %v", err)
	}
}

// listen opens sockets in both routers; the function it returns sends one packet
// of each kind from r1 and tells which arrived in r2.
func listen(t *testing.T, n *Net) func() string {
	t.Helper()
	kinds := []struct{ name, network, port, data string }{
		{"500", "udp4", ":500", "ike"}, {"4500-ike", "udp4", ":4500", "\x00\x00\x00\x00ike"},
		{"4500-esp", "udp4", ":4500", "\x00\x00\x12\x34esp"}, {"esp", "ip4:50", "", "\x00\x00\x12\x34esp"},
	}
	in, out := make(map[string]net.PacketConn), make(map[string]net.PacketConn)
	for _, side := range []struct {
		host  string
		conns map[string]net.PacketConn
	}{{R1, out}, {R2, in}} {
		err := n.In(side.host, func() error {
			for _, k := range kinds {
				if side.conns[k.network+k.port] != nil {
					continue
				}
				c, err := net.ListenPacket(k.network, "0.0.0.0"+k.port)
				if err != nil {
					return err
				}
				t.Cleanup(func() { c.Close() })
				side.conns[k.network+k.port] = c
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() string {
		t.Helper()
		for _, k := range kinds {
			var to net.Addr
			var err error
			if k.port == "" {
				to, err = net.ResolveIPAddr("ip4", "198.51.100.2")
			} else {
				to, err = net.ResolveUDPAddr("udp4", "198.51.100.2"+k.port)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out[k.network+k.port].WriteTo([]byte(k.data), to); err != nil {
				t.Fatal(err)
			}
		}
		return received(t, in, func(socket, data string) string {
			for _, k := range kinds {
				if k.network+k.port == socket && k.data == data {
					return k.name
				}
			}
			return fmt.Sprintf("unknown %q", data)
		})
	}
}

// received is what waits in the sockets, named, in order of the kinds.
func received(t *testing.T, in map[string]net.PacketConn, name func(socket, data string) string) string {
	t.Helper()
	var got []string
	for _, socket := range []string{"udp4:500", "udp4:4500", "ip4:50"} {
		buf := make([]byte, 100)
		for {
			if err := in[socket].SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			k, _, err := in[socket].ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, name(socket, string(buf[:k])))
		}
	}
	return strings.Join(got, " ")
}
