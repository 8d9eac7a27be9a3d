package rawsock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
	"culvert/internal/edge/mmsg"
)

// alone puts the test on a thread with a network namespace of its own, lo up.
func alone(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a network namespace and raw sockets")
	}
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Set(before); err != nil {
			t.Fatal(err) // the thread stays locked and ends with the goroutine
		}
		own.Close()
		before.Close()
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var (
	r1 = netip.MustParseAddr("127.0.0.1")
	r2 = netip.MustParseAddr("127.0.0.2")
)

func listen(t *testing.T, local netip.Addr, proto uint8, o Options) *Conn {
	t.Helper()
	c, err := Listen(local, proto, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func read(t *testing.T, c *Conn, want int) (out []string, from []netip.AddrPort) {
	t.Helper()
	const n, size = 16, 200
	bufs, sizes, senders := make([][]byte, n), make([]int, n), make([]netip.AddrPort, n)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	for len(out) < want {
		got, err := c.ReadBatch(bufs, sizes, senders)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			out = append(out, string(bufs[i][:sizes[i]]))
			from = append(from, senders[i])
		}
	}
	return out, from
}

// "ReadBatch returns ESP without the IPv4 header", from the sender's address
// with port 0; the other protocol has a socket of its own.
func TestESPAndAHGoThrough(t *testing.T) {
	alone(t)
	for _, proto := range []uint8{flow.ESP, flow.AH} {
		x, y := listen(t, r1, proto, Options{Mark: 1}), listen(t, r2, proto, Options{})
		if err := x.WriteBatch([][]byte{[]byte("spi sequence one"), []byte("two"), []byte("x")}, netip.AddrPortFrom(r2, 4500)); err != nil {
			t.Fatal(err)
		}
		got, from := read(t, y, 3)
		if got[0] != "spi sequence one" || got[1] != "two" || got[2] != "x" {
			t.Errorf("protocol %d: got %q", proto, got)
		}
		if want := netip.AddrPortFrom(r1, 0); from[0] != want || from[2] != want {
			t.Errorf("protocol %d: from %s, not %s", proto, from[0], want)
		}
	}
}

// IPv4 options lie between the header and the packet and are stripped too.
func TestOptionsAreStripped(t *testing.T) {
	alone(t)
	c := listen(t, r2, flow.ESP, Options{})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const noop = "\x01\x01\x01\x00" // RFC 791: three no-operations and the end of the list
	header := "\x46\x00\x00\x00\x00\x01\x00\x00\x40\x32\x00\x00\x7f\x00\x00\x01\x7f\x00\x00\x02"
	if err := unix.Sendto(fd, []byte(header+noop+"behind options"), 0, &unix.SockaddrInet4{Addr: r2.As4()}); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, c, 1); got[0] != "behind options" {
		t.Errorf("got %q", got)
	}
}

// What is larger than its buffer is dropped, and what comes behind it is not.
func TestTooLargeIsDropped(t *testing.T) {
	alone(t)
	x, y := listen(t, r1, flow.ESP, Options{}), listen(t, r2, flow.ESP, Options{})
	err := x.WriteBatch([][]byte{make([]byte, 201), []byte(strings.Repeat("f", 200)), []byte("last")}, netip.AddrPortFrom(r2, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, y, 2); len(got[0]) != 200 || got[1] != "last" {
		t.Errorf("got %q", got)
	}
}

// A packet of more than the MTU travels in fragments and arrives whole.
func TestFragmentsArriveWhole(t *testing.T) {
	alone(t)
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetMTU(lo, 1280)
	}
	if err != nil {
		t.Fatal(err)
	}
	x, y := listen(t, r1, flow.ESP, Options{}), listen(t, r2, flow.ESP, Options{})
	if err := x.WriteBatch([][]byte{make([]byte, 3000)}, netip.AddrPortFrom(r2, 0)); err != nil {
		t.Fatal(err)
	}
	sizes, from := make([]int, 1), make([]netip.AddrPort, 1)
	n, err := y.ReadBatch([][]byte{make([]byte, 4000)}, sizes, from)
	if n != 1 || sizes[0] != 3000 || err != nil {
		t.Errorf("%d packets of %d octets, %v", n, sizes[0], err)
	}
	d := listen(t, r1, flow.AH, Options{DontFragment: true})
	if err := d.WriteBatch([][]byte{make([]byte, 3000)}, netip.AddrPortFrom(r2, 0)); !errors.Is(err, unix.EMSGSIZE) || !strings.Contains(err.Error(), "fragmentation is off") {
		t.Errorf("with DontFragment: %v", err)
	}
}

// "strip strictly": a header that contradicts what the kernel delivered.
func TestStripBelievesNoHeader(t *testing.T) {
	c := &Conn{proto: flow.ESP}
	good := []byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	change := func(at int, v byte) []byte {
		h := append([]byte(nil), good...)
		h[at] = v
		return h
	}
	for _, test := range []struct {
		name string
		p    mmsg.Packet
		size int
		ok   bool
	}{
		{"good", mmsg.Packet{Head: good, Size: 8}, 8, true},
		{"options", mmsg.Packet{Head: change(0, 0x46), Size: 8}, 4, true},
		{"nothing behind the options", mmsg.Packet{Head: change(0, 0x47), Size: 8}, 0, false},
		{"options longer than the packet", mmsg.Packet{Head: change(0, 0x4f), Size: 8}, 0, false},
		{"header length below 20", mmsg.Packet{Head: change(0, 0x44), Size: 8}, 0, false},
		{"version 6", mmsg.Packet{Head: change(0, 0x65), Size: 8}, 0, false},
		{"AH at the ESP socket", mmsg.Packet{Head: change(9, 51), Size: 8}, 0, false},
		{"total length too large", mmsg.Packet{Head: change(3, 29), Size: 8}, 0, false},
		{"total length too small", mmsg.Packet{Head: change(3, 27), Size: 8}, 0, false},
		{"half a header", mmsg.Packet{Head: good[:19]}, 0, false},
		{"nothing", mmsg.Packet{}, 0, false},
		{"empty", mmsg.Packet{Head: change(3, 20)}, 0, false},
		{"cut short", mmsg.Packet{Head: good, Size: 8, Truncated: true}, 0, false},
	} {
		body := []byte("0123ABCD")
		size, ok := c.strip(test.p, body)
		if ok != test.ok || ok && size != test.size {
			t.Errorf("%s: %d, %v; expected %d, %v", test.name, size, ok, test.size, test.ok)
		}
		if test.name == "options" && string(body[:size]) != "ABCD" {
			t.Errorf("behind the options: %q", body[:size])
		}
	}
}

// FuzzStrip: no header makes it panic or point outside the buffer.
func FuzzStrip(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 8)
	f.Add([]byte{0x4f, 0, 0, 28, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 8)
	f.Fuzz(func(t *testing.T, head []byte, size int) {
		body := make([]byte, 64)
		size = max(0, min(size, len(body)))
		c := &Conn{proto: flow.ESP}
		if n, ok := c.strip(mmsg.Packet{Head: head, Size: size}, body); ok && (n <= 0 || n > size) {
			t.Errorf("%d octets of %d", n, size)
		}
	})
}

func TestCloseUnblocks(t *testing.T) {
	alone(t)
	c := listen(t, r1, flow.ESP, Options{})
	done := make(chan error)
	go func() {
		_, err := c.ReadBatch([][]byte{make([]byte, 100)}, make([]int, 1), make([]netip.AddrPort, 1))
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
}

func TestListenErrors(t *testing.T) {
	alone(t)
	_, err := Listen(netip.MustParseAddr("198.51.100.1"), flow.ESP, Options{})
	if !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no device of this machine has the address 198.51.100.1") {
		t.Errorf("an address of another machine: %v", err)
	}
	if _, err := Listen(netip.MustParseAddr("::1"), flow.ESP, Options{}); err == nil || !strings.Contains(err.Error(), "expected an IPv4 address") {
		t.Errorf("an IPv6 address: %v", err)
	}
	if err := explain(r1, unix.EPERM); !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("without the privilege: %v", err)
	}
}
