package tundev

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// alone puts the test on a thread with a network namespace of its own.
func alone(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a network namespace and a TUN device")
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
}

func open(t *testing.T) *TUN {
	t.Helper()
	d, err := Open(Options{Name: "culvert0", MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func setAll(t *testing.T, value string) {
	t.Helper()
	if err := os.WriteFile(setting("ipv4", "all", "rp_filter"), []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The device is up with its MTU, and IPv6 keeps quiet on it.
func TestDeviceIsSetUp(t *testing.T) {
	alone(t)
	d := open(t)
	link, err := netlink.LinkByName("culvert0")
	if err != nil {
		t.Fatal(err)
	}
	a := link.Attrs()
	if d.Name() != "culvert0" || d.Index() != a.Index || d.MTU() != 1400 || a.MTU != 1400 || a.RawFlags&unix.IFF_UP == 0 {
		t.Errorf("%s index %d MTU %d; the kernel says %+v", d.Name(), d.Index(), d.MTU(), a)
	}
	for key, want := range map[string]string{"autoconf": "0", "accept_ra": "0", "disable_ipv6": "1"} {
		if got, err := read("ipv6", "culvert0", key); got != want && !os.IsNotExist(err) {
			t.Errorf("IPv6 %s is %q, %v", key, got, err)
		}
	}
}

// "effective value is max(all, dev): 0 when all is 0, else loose".
func TestReversePathFilter(t *testing.T) {
	alone(t)
	for _, test := range []struct {
		all, device string
		want        ReversePath
	}{{"0", "0", ReversePathOff}, {"1", "2", ReversePathLoose}, {"2", "2", ReversePathLoose}} {
		setAll(t, test.all)
		d := open(t)
		got, err := read("ipv4", "culvert0", "rp_filter")
		if err != nil || got != test.device || d.ReversePath() != test.want {
			t.Errorf("all %s: the device has %s (%v), which is called %s", test.all, got, err, d.ReversePath())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An inner packet whose way back is another device comes in, whatever the host's
// setting for all devices is: that is the strict filter's very case.
func TestInnerPacketsPassTheReversePathFilter(t *testing.T) {
	alone(t)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out0"}, PeerName: "peer0"}
	address, err := netlink.ParseAddr("198.51.100.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.LinkAdd(link), netlink.AddrAdd(link, address), netlink.LinkSetUp(link),
		netlink.LinkSetUp(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "peer0"}}),
		netlink.RouteAdd(&netlink.Route{Gw: []byte{198, 51, 100, 2}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	inner := []byte{0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 10, 20, 20, 20, 198, 51, 100, 1, 0, 7, 0, 7, 0, 9, 0, 0, 'x'}
	binary.BigEndian.PutUint16(inner[10:], checksum(inner[:20]))
	for _, all := range []string{"0", "1", "2"} {
		setAll(t, all)
		d := open(t)
		fd := udpSocket(t, 7)
		if _, err := d.Write([][]byte{append(make([]byte, Headroom), inner...)}, Headroom); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := unix.Read(fd, b); n != 1 || b[0] != 'x' {
			t.Errorf("rp_filter %s: received %d octets, %v", all, n, err)
		}
		unix.Close(fd)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func udpSocket(t *testing.T, port int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	wait := unix.NsecToTimeval(int64(2 * time.Second))
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait), unix.Bind(fd, &unix.SockaddrInet4{Port: port})); err != nil {
		t.Fatal(err)
	}
	return fd
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// The offloads are on: a super-packet of four UDP segments is one read. And
// nothing but it comes out of the device, no IPv6 chatter before it.
func TestSuperPacketIsOneRead(t *testing.T) {
	alone(t)
	d := open(t)
	link, err := netlink.LinkByName(d.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IP{10, 20, 20, 0}, Mask: net.CIDRMask(24, 32)}}); err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr("10.10.10.1/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		t.Fatal(err)
	}
	fd := udpSocket(t, 0)
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1000); err != nil {
		t.Skipf("this kernel has no UDP_SEGMENT: %v", err)
	}
	if err := unix.Sendto(fd, make([]byte, 3500), 0, &unix.SockaddrInet4{Port: 7, Addr: [4]byte{10, 20, 20, 20}}); err != nil {
		t.Fatal(err)
	}
	bufs, sizes := make([][]byte, d.BatchSize()), make([]int, d.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 1500)
	}
	n, err := d.Read(bufs, sizes, 4)
	if n != 4 || sizes[0] != 1028 || sizes[3] != 528 || bufs[0][4] != 0x45 || err != nil {
		t.Errorf("%d packets of %d octets, %v; expected 4", n, sizes[:max(n, 1)], err)
	}
}

// "Non-persistent: it disappears with the process"; a reader that waits wakes.
func TestCloseTakesTheDeviceAway(t *testing.T) {
	alone(t)
	d := open(t)
	done := make(chan error)
	go func() {
		_, err := d.Read([][]byte{make([]byte, 1500)}, make([]int, 1), 0)
		done <- err
	}()
	time.Sleep(10 * time.Millisecond) // most often the reader waits by now; it must not matter
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("Read still waits after Close")
	}
	if _, err := netlink.LinkByName("culvert0"); err == nil {
		t.Error("the device is still there")
	}
	open(t) // and may be made again
}

// A device that another process is just giving back, as after kill -9, is waited for.
func TestOpenWaitsForADeviceThatIsLeaving(t *testing.T) {
	alone(t)
	d := open(t)
	time.AfterFunc(100*time.Millisecond, func() { d.Close() })
	open(t)
}

func TestOpenErrors(t *testing.T) {
	alone(t)
	open(t)
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth7"}, PeerName: "peer7"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{"culvert0", 1400}, "another process holds it, probably a culvert that still runs"},
		{Options{"veth7", 1400}, "a device of that name is there and is no TUN device like ours"},
		{Options{"a-name-of-16-oct", 1400}, "expected a device name of 1 to 15 characters"},
		{Options{"", 1400}, "expected a device name"},
		{Options{"tun%d", 1400}, "expected a device name"},
		{Options{"tun1", 67}, "MTU 67: expected 68 to 65535"},
		{Options{"tun1", 65536}, "MTU 65536: expected 68 to 65535"},
	} {
		d, err := Open(test.o)
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v; expected %q", test.o, err, test.want)
		}
	}
	if err := explain("culvert0", unix.ENOENT); !strings.Contains(err.Error(), "modprobe tun") {
		t.Errorf("no TUN driver: %v", err)
	}
	if err := explain("culvert0", unix.EPERM); !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without the privilege: %v", err)
	}
}

func TestWriteWantsHeadroom(t *testing.T) {
	alone(t)
	d := open(t)
	if _, err := d.Write([][]byte{make([]byte, 100)}, Headroom-1); err == nil || !strings.Contains(err.Error(), "10 octets of headroom") {
		t.Errorf("Write without headroom: %v", err)
	}
}
