package rawsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
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

func listenOn(t *testing.T, local netip.Addr, proto uint8, o Options) *Conn {
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
	const n, size = 16, headerLen + 200
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
			p := bufs[i][:sizes[i]]
			if p[9] != c.proto || netip.AddrFrom4([4]byte(p[16:20])) != c.local {
				t.Errorf("header %x of a packet to %s", p[:headerLen], c.local)
			}
			out = append(out, string(p[int(p[0]&15)*4:]))
			from = append(from, senders[i])
		}
	}
	return out, from
}

// Packets come with their IPv4 header, from the sender's address with port 0;
// the other protocol has a socket of its own.
func TestESPAndAHGoThrough(t *testing.T) {
	alone(t)
	for _, proto := range []uint8{flow.ESP, flow.AH} {
		x, y := listenOn(t, r1, proto, Options{Mark: 1}), listenOn(t, r2, proto, Options{})
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

// IPv4 options come with the header.
func TestOptionsCome(t *testing.T) {
	alone(t)
	c := listenOn(t, r2, flow.ESP, Options{})
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
	x, y := listenOn(t, r1, flow.ESP, Options{}), listenOn(t, r2, flow.ESP, Options{})
	err := x.WriteBatch([][]byte{make([]byte, 201), []byte(strings.Repeat("f", 200)), []byte("last")}, netip.AddrPortFrom(r2, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, y, 2); len(got[0]) != 200 || got[1] != "last" {
		t.Errorf("got %q", got)
	}
}

// A packet of more than the MTU travels in fragments and arrives whole.
//
// Threat: ESP in IP fragments.
func TestFragmentsArriveWhole(t *testing.T) {
	alone(t)
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetMTU(lo, 1280)
	}
	if err != nil {
		t.Fatal(err)
	}
	x, y := listenOn(t, r1, flow.ESP, Options{}), listenOn(t, r2, flow.ESP, Options{})
	if err := x.WriteBatch([][]byte{make([]byte, 3000)}, netip.AddrPortFrom(r2, 0)); err != nil {
		t.Fatal(err)
	}
	sizes, from := make([]int, 1), make([]netip.AddrPort, 1)
	n, err := y.ReadBatch([][]byte{make([]byte, 4000)}, sizes, from)
	if n != 1 || sizes[0] != headerLen+3000 || err != nil {
		t.Errorf("%d packets of %d octets, %v", n, sizes[0], err)
	}
	d := listenOn(t, r1, flow.AH, Options{DontFragment: true})
	if err := d.WriteBatch([][]byte{make([]byte, 3000)}, netip.AddrPortFrom(r2, 0)); !errors.Is(err, unix.EMSGSIZE) || !strings.Contains(err.Error(), "fragmentation is off") {
		t.Errorf("with DontFragment: %v", err)
	}
}

// A header that contradicts what the kernel delivered drops the packet.
func TestNoHeaderIsBelieved(t *testing.T) {
	c := &Conn{proto: flow.ESP}
	good := append([]byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, "0123ABCD"...)
	change := func(at int, v byte) []byte {
		p := bytes.Clone(good)
		p[at] = v
		return p
	}
	for _, test := range []struct {
		name string
		p    []byte
		ok   bool
	}{
		{"good", good, true},
		{"options", change(0, 0x46), true},
		{"nothing behind the options", change(0, 0x47), false},
		{"options longer than the packet", change(0, 0x4f), false},
		{"header length below 20", change(0, 0x44), false},
		{"version 6", change(0, 0x65), false},
		{"AH at the ESP socket", change(9, 51), false},
		{"total length too large", change(3, 29), false},
		{"total length too small", change(3, 27), false},
		{"half a header", good[:19], false},
		{"nothing", nil, false},
		{"a header alone", change(3, 20)[:20], false},
	} {
		if got := c.sound(test.p); got != test.ok {
			t.Errorf("%s: %v, expected %v", test.name, got, test.ok)
		}
	}
}

// FuzzSound: no header makes it panic, and what it takes has something behind it.
func FuzzSound(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 21, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 9})
	f.Add([]byte{0x4f, 0, 0, 28, 0, 1, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2})
	f.Fuzz(func(t *testing.T, p []byte) {
		c := &Conn{proto: flow.ESP}
		if c.sound(p) && int(p[0]&15)*4 >= len(p) {
			t.Errorf("nothing behind the header of %x", p)
		}
	})
}

// header is an IPv4 header to r2 before n octets.
func header(proto uint8, n int) []byte {
	p := make([]byte, headerLen+n)
	p[0], p[2], p[3], p[4], p[5], p[8], p[9] = 0x45, byte(len(p)>>8), byte(len(p)), 0x12, 0x34, 64, proto
	a, b := r1.As4(), r2.As4()
	copy(p[12:], a[:])
	copy(p[16:], b[:])
	return p
}

// What is written whole arrives with the very header, whatever AH covers of it.
func TestWholePacketsKeepTheirHeader(t *testing.T) {
	alone(t)
	x, err := ListenWhole(r1, flow.AH, Options{Mark: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, proto := range []uint8{flow.AH, flow.ESP} {
		y := listenOn(t, r2, proto, Options{})
		p := header(proto, 40)
		p[1], p[6] = 0xb8, 0x40
		if err := x.WriteBatch([][]byte{p}, netip.AddrPortFrom(r2, 0)); err != nil {
			t.Fatal(err)
		}
		got, sizes := make([]byte, 100), make([]int, 1)
		if _, err := y.ReadBatch([][]byte{got}, sizes, make([]netip.AddrPort, 1)); err != nil {
			t.Fatal(err)
		}
		clear(got[10:12]) // the checksum is the kernel's
		if !bytes.Equal(got[:sizes[0]], p) {
			t.Errorf("protocol %d:\n got %x\nwant %x", proto, got[:sizes[0]], p)
		}
	}
}

// A whole packet of more than the MTU is cut here, and the kernel puts it
// together again, under the header it had.
func TestLargeWholePacketsAreCut(t *testing.T) {
	for _, mtu := range []int{1290, 1450, 1500, 600} {
		t.Run(strconv.Itoa(mtu), func(t *testing.T) { largeWholePackets(t, mtu) })
	}
}

func largeWholePackets(t *testing.T, mtu int) {
	alone(t)
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetMTU(lo, mtu)
	}
	if err != nil {
		t.Fatal(err)
	}
	x, err := ListenWhole(r1, flow.AH, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	y := listenOn(t, r2, flow.AH, Options{})
	large, refused := header(flow.AH, 4000), header(flow.AH, 2000)
	for i := range 4000 {
		large[headerLen+i] = byte(i * 7)
	}
	refused[6] = 0x40 // DF
	err = x.WriteBatch([][]byte{header(flow.AH, 30), large, refused, header(flow.AH, 31)}, netip.AddrPortFrom(r2, 0))
	var lost *mmsg.SendError
	if !errors.As(err, &lost) || lost.Lost != 1 || !slices.Equal(lost.TooLarge, []int{2}) {
		t.Errorf("a packet that may not be cut: %v", err)
	}
	bufs, sizes := [][]byte{make([]byte, 5000), make([]byte, 5000), make([]byte, 5000)}, make([]int, 3)
	total := 0
	for total < 3 {
		n, err := y.ReadBatch(bufs[total:], sizes[total:], make([]netip.AddrPort, 3))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	for i := range sizes {
		if sizes[i] == len(large) {
			clear(bufs[i][10:12])
			if !bytes.Equal(bufs[i][:sizes[i]], large) {
				t.Errorf("the large packet came with the header %x, or damaged", bufs[i][:headerLen])
			}
			return
		}
	}
	t.Errorf("sizes %v: the large packet did not come", sizes)
}

// Fragments are what RFC 791 section 3.2 makes of a packet with options: only
// the copied ones go on.
func TestFragments(t *testing.T) {
	p := make([]byte, 32+100)
	p[0], p[3] = 0x48, byte(len(p))
	copy(p[20:], []byte{7, 3, 4, 148, 4, 0, 0, 1, 0, 0, 0, 0}) // Record Route, Router Alert
	for i := range 100 {
		p[32+i] = byte(i)
	}
	parts := fragments(p, 76)
	if len(parts) != 3 {
		t.Fatalf("%d fragments", len(parts))
	}
	var data []byte
	for i, f := range parts {
		ihl := int(f[0]&15) * 4
		offset := binary.BigEndian.Uint16(f[6:])
		if more := offset&moreFragments != 0; more != (i < 2) || int(offset&offsetMask)*8 != len(data) || len(f) > 76 || int(binary.BigEndian.Uint16(f[2:])) != len(f) {
			t.Errorf("fragment %d: %x", i, f[:ihl])
		}
		if i > 0 && !bytes.Equal(f[20:ihl], []byte{148, 4, 0, 0}) {
			t.Errorf("fragment %d has the options %x", i, f[20:ihl])
		}
		data = append(data, f[ihl:]...)
	}
	if !bytes.Equal(data, p[32:]) {
		t.Errorf("together: %x", data)
	}
	p[6] = 0x40
	if fragments(p, 76) != nil || fragments(p[:19], 76) != nil || fragments(header(51, 100), 20) != nil {
		t.Error("what may not or cannot be cut was")
	}
}

func TestCloseUnblocks(t *testing.T) {
	alone(t)
	c := listenOn(t, r1, flow.ESP, Options{})
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
