// Package tundev opens the TUN device through which interesting traffic enters
// the gateway in clear and leaves it after decryption. The offloads are on, both
// ways: one read may return a whole TCP super-packet cut into segments, one write
// puts segments together again. Measured, that is worth a factor of three.
//
// The device needs no address of its own; under the host's reverse path filter it
// gets the dummy address of RFC 7600, which is never used. It is not persistent: it disappears with
// the process, however that ends, and the guard's unreachable route takes over.
package tundev

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// Headroom is the least offset at which Write takes its packets: the octets in
// front of each are overwritten with the virtio-net header (struct
// virtio_net_hdr) that carries the offloads to the kernel. Read needs no headroom;
// to read and write the same buffers use one offset of at least Headroom.
const Headroom = 10

// MaxPacket is the largest packet a read can return, in octets. The capacity
// that the first of several written segments has behind its end, up to this, is
// where Write joins them: buffers of Headroom+MaxPacket make the fewest writes.
const MaxPacket = 65535

const (
	deviceFile = "/dev/net/tun"
	maxName    = unix.IFNAMSIZ - 1
	// A process that was killed may still be on its way out and hold the device.
	leaving    = time.Second
	leavingTry = 20 * time.Millisecond
)

// Options is how the device is made.
type Options struct {
	Name string // at most 15 characters: "culvert0"
	MTU  int    // of inner packets, in octets, 68 to 65535
}

// TUN is an open TUN device. Read and Write may be called at the same time.
type TUN struct {
	device tun.Device
	name   string
	index  int
	mtu    int
	filter ReversePath
}

// Open creates the device, sets it up and brings it up. The error says what to
// do when the name is taken, /dev/net/tun is missing or the privilege is.
func Open(o Options) (*TUN, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	fd, err := attach(o.Name)
	if err != nil {
		return nil, fmt.Errorf("open TUN device %s: %w", o.Name, err)
	}
	device, name, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open TUN device %s: set up its offloads: %w", o.Name, err)
	}
	t := &TUN{device: device, name: name, mtu: o.MTU}
	if err := t.setUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("set up TUN device %s: %w", name, err), device.Close())
	}
	return t, nil
}

func (o Options) check() error {
	if o.Name == "" || len(o.Name) > maxName || strings.ContainsAny(o.Name, "/: \t\n%") || o.Name == "." || o.Name == ".." {
		return fmt.Errorf("open TUN device %q: expected a device name of 1 to %d characters without blank, slash, colon or percent", o.Name, maxName)
	}
	if o.MTU < 68 || o.MTU > MaxPacket {
		return fmt.Errorf("open TUN device %s: MTU %d: expected 68 to %d (RFC 791)", o.Name, o.MTU, MaxPacket)
	}
	return nil
}

// attach opens the device file and makes the device. Busy is tried again for a
// moment: a gateway that was killed and started again meets its own shadow.
func attach(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	for deadline := time.Now().Add(leaving); ; time.Sleep(leavingTry) {
		fd, err := unix.Open(deviceFile, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return -1, explain(name, err)
		}
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err == nil {
			return fd, nil
		}
		_ = unix.Close(fd)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return -1, explain(name, err)
		}
	}
}

func explain(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s is missing: the kernel's TUN driver is not there; \"modprobe tun\" loads it, a container needs the device passed in (%w)", deviceFile, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another process holds it, probably a culvert that still runs (%w)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("a device of that name is there and is no TUN device like ours; \"ip -d link show %s\" tells what it is (%w)", name, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s may not be opened by this user: run as root, or let users open it with \"chmod 666 %s\" (%w)", deviceFile, deviceFile, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("not permitted: run as root or with the capability CAP_NET_ADMIN (%w)", err)
	}
	return err
}

// setUp gives the device its MTU and its system settings, then brings it up:
// what IPv6 does by itself it does at that moment.
func (t *TUN) setUp() error {
	link, err := netlink.LinkByName(t.name)
	if err != nil {
		return err
	}
	t.index = link.Attrs().Index
	if err := netlink.LinkSetMTU(link, t.mtu); err != nil {
		return fmt.Errorf("set MTU %d: %w", t.mtu, err)
	}
	if err := quietIPv6(t.name); err != nil {
		return err
	}
	if t.filter, err = looseReversePath(t.name); err != nil {
		return err
	}
	if t.filter != ReversePathOff {
		if err := netlink.AddrAdd(link, dummyAddress()); err != nil {
			return fmt.Errorf("set the address %s: %w", dummyAddress().IPNet, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return nil
}

// dummyAddress is the IPv4 dummy address, 192.0.0.8 (RFC 7600, in the IANA IPv4 special-purpose registry), of
// scope host. Nothing is sent from it or to it: on a device without any address
// the kernel's loose reverse path filter is as strict as the strict one
// (fib_validate_source).
func dummyAddress() *netlink.Addr {
	return &netlink.Addr{
		IPNet: &net.IPNet{IP: net.IP{192, 0, 0, 8}, Mask: net.CIDRMask(32, 32)},
		Scope: int(netlink.SCOPE_HOST), Flags: unix.IFA_F_NOPREFIXROUTE,
	}
}

// Name is the Linux name of the device.
func (t *TUN) Name() string { return t.name }

// Index is the Linux index of the device.
func (t *TUN) Index() int { return t.index }

// MTU is the device's MTU in octets.
func (t *TUN) MTU() int { return t.mtu }

// ReversePath is the effective reverse path filter of the device.
func (t *TUN) ReversePath() ReversePath { return t.filter }

// BatchSize is how many buffers Read should be given: as many segments as one
// super-packet can have.
func (t *TUN) BatchSize() int { return t.device.BatchSize() }

// Read waits for a packet and puts it, or the segments of a super-packet, into
// bufs, each from octet offset on; sizes[i] is its length. It returns the number
// of packets. tun.ErrTooManySegments says that bufs was too short; what it
// returned is good. After Close the error wraps os.ErrClosed.
func (t *TUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	return t.device.Read(bufs, sizes, offset)
}

// Write gives the kernel the packets bufs[i][offset:], offset at least Headroom,
// and joins what belongs together. The octets in front of offset are overwritten,
// and headers of joined packets too. It returns the octets written.
func (t *TUN) Write(bufs [][]byte, offset int) (int, error) {
	if offset < Headroom {
		return 0, fmt.Errorf("write to TUN device %s: offset %d: expected %d octets of headroom at least", t.name, offset, Headroom)
	}
	return t.device.Write(bufs, offset)
}

// Close takes the device away and wakes a reader that waits.
func (t *TUN) Close() error {
	if err := t.device.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close TUN device %s: %w", t.name, err)
	}
	return nil
}
