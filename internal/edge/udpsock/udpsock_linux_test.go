package udpsock

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/edge/mmsg"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func listen(t *testing.T, o Options) *Conn {
	t.Helper()
	c, err := Listen(netip.AddrPortFrom(loopback, 0), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// reader is the buffers of a batch.
type reader struct {
	bufs  [][]byte
	sizes []int
	from  []netip.AddrPort
}

func newReader(n, size int) *reader {
	r := &reader{make([][]byte, n), make([]int, n), make([]netip.AddrPort, n)}
	for i := range r.bufs {
		r.bufs[i] = make([]byte, size)
	}
	return r
}

func (r *reader) read(t *testing.T, c *Conn, want int) (out []string) {
	t.Helper()
	for len(out) < want {
		n, err := c.ReadBatch(r.bufs, r.sizes, r.from)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			out = append(out, fmt.Sprintf("%s from %s", r.bufs[i][:r.sizes[i]], r.from[i]))
		}
	}
	return out
}

// More packets than one system call carries arrive whole, in order, each with
// its own length and sender.
func TestBatchesGoThrough(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	const count = 2*mmsg.MaxBatch + 22
	var pkts [][]byte
	var want []string
	for i := range count {
		p := []byte(strings.Repeat("x", i) + fmt.Sprint(i))
		pkts = append(pkts, p)
		want = append(want, fmt.Sprintf("%s from %s", p, x.LocalAddr()))
	}
	if err := x.WriteBatch(pkts, y.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	got := newReader(mmsg.MaxBatch+5, 1500).read(t, y, count)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("packet %d: %q, not %q", i, got[i], want[i])
		}
	}
}

func TestWriteToIsOneDatagram(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	if err := x.WriteTo([]byte("IKE"), y.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got := newReader(4, 1500).read(t, y, 1); got[0] != "IKE from "+x.LocalAddr().String() {
		t.Errorf("got %q", got)
	}
}

// A datagram that does not fit is dropped, never handed out cut short; what
// comes behind it keeps its buffer.
func TestTooLargeIsDropped(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	big := bytes.Repeat([]byte("b"), 101)
	if err := x.WriteBatch([][]byte{[]byte("one"), big, []byte("two"), big[:100], []byte("three")}, y.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	r := newReader(8, 100)
	got := r.read(t, y, 4)
	for i, want := range []string{"one", "two", string(big[:100]), "three"} {
		if !strings.HasPrefix(got[i], want+" from") {
			t.Errorf("packet %d: %q, not %q", i, got[i], want)
		}
	}
	seen := map[*byte]bool{}
	for _, b := range r.bufs {
		if seen[&b[0]] {
			t.Error("a buffer is there twice")
		}
		seen[&b[0]] = true
	}
}

// A packet that the kernel refuses does not hold up those behind it.
func TestRefusedPacketsAreCounted(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	huge := make([]byte, 65508) // RFC 768: more than fits an IPv4 packet
	err := x.WriteBatch([][]byte{[]byte("one"), huge, huge, []byte("two")}, y.LocalAddr())
	var refused *mmsg.SendError
	if !errors.As(err, &refused) || refused.Lost != 2 || refused.Of != 4 || !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("WriteBatch: %v; expected 2 of 4 refused as too large", err)
	}
	if got := newReader(4, 100).read(t, y, 2); !strings.HasPrefix(got[1], "two") {
		t.Errorf("got %q", got)
	}
	if err := x.WriteTo([]byte("x"), netip.MustParseAddrPort("[2001:db8::1]:500")); err == nil {
		t.Error("send to an IPv6 address: no error")
	}
	if err := x.WriteTo(nil, y.LocalAddr()); err == nil {
		t.Error("send an empty packet: no error")
	}
}

// "Close unblocks readers", and writing to a closed socket says so.
func TestCloseUnblocks(t *testing.T) {
	c, err := Listen(netip.AddrPortFrom(loopback, 0), Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		r := newReader(1, 100)
		_, err := c.ReadBatch(r.bufs, r.sizes, r.from)
		done <- err
	}()
	time.Sleep(10 * time.Millisecond) // most often the reader waits by now; it must not matter
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadBatch after Close: %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("ReadBatch still waits after Close")
	}
	if err := c.WriteTo([]byte("x"), netip.AddrPortFrom(loopback, 9)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo after Close: %v", err)
	}
}

// Errors for people say what to look for.
func TestListenErrors(t *testing.T) {
	taken := listen(t, Options{})
	for _, test := range []struct {
		local netip.AddrPort
		want  string
		is    error
	}{
		{taken.LocalAddr(), "look for another IKE daemon (charon, pluto, iked, racoon)", unix.EADDRINUSE},
		{netip.MustParseAddrPort("203.0.113.77:500"), "no device of this machine has the address 203.0.113.77", unix.EADDRNOTAVAIL},
		{netip.MustParseAddrPort("[2001:db8::1]:500"), "expected an IPv4 address", nil},
	} {
		c, err := Listen(test.local, Options{})
		if err == nil {
			c.Close()
			t.Errorf("%s: no error", test.local)
			continue
		}
		if !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v; expected %q", test.local, err, test.want)
		}
	}
	if err := explain(taken.LocalAddr(), unix.EACCES); !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") {
		t.Errorf("without the privilege: %v", err)
	}
}

// The options are on the socket: mark, buffers beyond the system's limit, and
// fragmentation allowed unless told otherwise.
func TestOptions(t *testing.T) {
	get := func(c *Conn, level, option int) (v int) {
		raw, err := c.udp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if e := raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, option) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		return v
	}
	if v := get(listen(t, Options{}), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); v != unix.IP_PMTUDISC_DONT {
		t.Errorf("IP_MTU_DISCOVER is %d: a large IKE message could not be fragmented", v)
	}
	if v := get(listen(t, Options{DontFragment: true}), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); v != unix.IP_PMTUDISC_DO {
		t.Errorf("IP_MTU_DISCOVER is %d with DontFragment", v)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: a mark and large buffers take CAP_NET_ADMIN")
	}
	c := listen(t, Options{Mark: 0xc1de})
	if v := get(c, unix.SOL_SOCKET, unix.SO_MARK); v != 0xc1de {
		t.Errorf("SO_MARK is %#x", v)
	}
	for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		if v := get(c, unix.SOL_SOCKET, option); v < mmsg.DefaultBuffer {
			t.Errorf("socket buffer is %d octets, less than %d", v, mmsg.DefaultBuffer)
		}
	}
}

// Nothing is allocated for a packet: the collector would pay for it 200,000
// times a second.
func TestNothingIsAllocated(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	pkts := [][]byte{make([]byte, 100), make([]byte, 1400), make([]byte, 64)}
	r := newReader(8, 1500)
	to := y.LocalAddr()
	if n := testing.AllocsPerRun(100, func() {
		if err := x.WriteBatch(pkts, to); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(pkts); {
			n, err := y.ReadBatch(r.bufs, r.sizes, r.from)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// IKE and ESP share port 4500: two writers at once mix packets, not octets.
func TestWritersTakeTurns(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	var wait sync.WaitGroup
	for _, word := range []string{"ike", "esp"} {
		wait.Go(func() {
			p := [][]byte{[]byte(word), []byte(word + word)}
			for range 50 {
				if err := x.WriteBatch(p, y.LocalAddr()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]int{}
	for _, s := range newReader(16, 100).read(t, y, 200) {
		seen[strings.Fields(s)[0]]++
	}
	wait.Wait()
	for _, w := range []string{"ike", "esp", "ikeike", "espesp"} {
		if seen[w] != 50 {
			t.Errorf("%q arrived %d times, not 50: %v", w, seen[w], seen)
		}
	}
}

// A port nobody listens at answers with an ICMP error; the reader lives on.
//
// Threat: spoofed ICMP errors.
func TestReaderOutlivesICMPErrors(t *testing.T) {
	x, y := listen(t, Options{}), listen(t, Options{})
	gone := listen(t, Options{})
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = x.WriteTo([]byte("anyone?"), gone.LocalAddr())
	}
	if err := y.WriteTo([]byte("still there"), x.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got := newReader(4, 100).read(t, x, 1); !strings.HasPrefix(got[0], "still there") {
		t.Errorf("got %q", got)
	}
}

func TestReadBatchWantsRoomForEveryBuffer(t *testing.T) {
	c := listen(t, Options{})
	r := newReader(4, 100)
	if _, err := c.ReadBatch(r.bufs, r.sizes[:3], r.from); err == nil {
		t.Error("4 buffers and 3 sizes: no error")
	}
	if _, err := c.ReadBatch(nil, nil, nil); err == nil {
		t.Error("no buffers: no error")
	}
	if _, err := c.ReadBatch([][]byte{nil}, r.sizes, r.from); err == nil {
		t.Error("an empty buffer: no error")
	}
}
