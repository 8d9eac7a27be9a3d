// Package rawsock carries ESP and AH straight over IP: protocols 50 (RFC 4303)
// and 51 (RFC 4302), through a raw socket bound to one local address, in batches.
//
// Packets come in with their IPv4 header, as a raw IPv4 socket gives it: AH
// covers it, and transport mode gives it back to the inner packet. Fragments
// have been put together by the kernel before. The header is not believed: one
// that contradicts what the kernel delivered drops the packet.
//
// Packets go out in one of two ways. A Conn of Listen takes what follows the
// header, and the kernel puts one before it and fragments where it must. A Conn
// of ListenWhole takes whole packets (IP_HDRINCL), for AH covers the header it
// leaves with, identification included, and the kernel tells nobody which one it
// would choose. Such a packet the kernel does not fragment; see cut.
package rawsock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"culvert/internal/edge/mmsg"
)

// Options is how the socket is set up; see mmsg.Options.
type Options = mmsg.Options

// headerLen is the length of an IPv4 header without options. RFC 791 section 3.1.
const headerLen = 20

// Conn is a raw socket of one IP protocol, bound to one local address. Its
// methods may be called at the same time; two readers take turns, and so do two writers.
type Conn struct {
	local netip.Addr
	proto uint8
	whole bool // packets are written with their IPv4 header
	batch *mmsg.Conn
}

// Listen opens a raw socket for an IP protocol (50 for ESP, 51 for AH) on
// local, an IPv4 address of this machine. The error says what to do.
func Listen(local netip.Addr, proto uint8, o Options) (*Conn, error) {
	return listen(local, proto, false, o.Control)
}

// ListenWhole is Listen for a Conn that takes whole IPv4 packets to send, of
// any protocol. The kernel fills in the checksum, and an identification that is
// zero; all else stays as it is.
func ListenWhole(local netip.Addr, proto uint8, o Options) (*Conn, error) {
	return listen(local, proto, true, func(network, address string, c syscall.RawConn) error {
		if err := o.Control(network, address, c); err != nil {
			return err
		}
		var set error
		err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_HDRINCL, 1) })
		if err = errors.Join(err, set); err != nil {
			return fmt.Errorf("let the socket take IPv4 headers: %w", err)
		}
		return nil
	})
}

func listen(local netip.Addr, proto uint8, whole bool, control func(network, address string, c syscall.RawConn) error) (*Conn, error) {
	if !local.Is4() {
		return nil, fmt.Errorf("open a raw socket on %s: expected an IPv4 address", local)
	}
	config := net.ListenConfig{Control: control}
	p, err := config.ListenPacket(context.Background(), fmt.Sprintf("ip4:%d", proto), local.String())
	if err != nil {
		return nil, fmt.Errorf("open a raw socket for IP protocol %d on %s: %w", proto, local, explain(local, err))
	}
	b, err := mmsg.New(p.(*net.IPConn))
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Conn{local: local, proto: proto, whole: whole, batch: b}, nil
}

// LocalAddr is the address the socket is bound to.
func (c *Conn) LocalAddr() netip.Addr { return c.local }

// ReadBatch waits for packets and reads up to len(bufs) of them (at most
// mmsg.MaxBatch): sizes[i] octets of an IPv4 packet, header and all, into
// bufs[i], its sender into from[i] with port 0. What does not fit its buffer or
// has a header that contradicts itself is dropped and does not count, so the
// result may be 0 with no error. The slices of bufs may change places. After Close
// the error wraps net.ErrClosed.
// sizes and from are at least as long as bufs.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	if len(sizes) < len(bufs) || len(from) < len(bufs) {
		return 0, fmt.Errorf("read IP protocol %d on %s: %d buffers, but %d sizes and %d addresses", c.proto, c.local, len(bufs), len(sizes), len(from))
	}
	n := 0
	_, err := c.batch.ReadBatch(bufs, func(i int, p mmsg.Packet) {
		if p.Truncated || !c.sound(bufs[i][:p.Size]) {
			return
		}
		// The slices change places, so that nothing is copied and none is lost.
		bufs[n], bufs[i] = bufs[i], bufs[n]
		sizes[n], from[n] = p.Size, netip.AddrPortFrom(p.From.Addr(), 0)
		n++
	})
	if err != nil {
		return 0, fmt.Errorf("read IP protocol %d on %s: %w", c.proto, c.local, err)
	}
	return n, nil
}

// sound checks the IPv4 header of a packet: something follows it, of this
// socket's protocol, and the lengths agree.
func (c *Conn) sound(p []byte) bool {
	if len(p) < headerLen || p[0]>>4 != 4 || p[9] != c.proto {
		return false
	}
	ihl := int(p[0]&0x0f) * 4
	return ihl >= headerLen && ihl < len(p) && int(binary.BigEndian.Uint16(p[2:])) == len(p)
}

// WriteBatch sends each packet to one address; the port is not looked at.
// Packets are what follows the IPv4 header, or with ListenWhole all of it. A
// packet that the kernel refuses does not hold up the others; the
// *mmsg.SendError counts it.
func (c *Conn) WriteBatch(pkts [][]byte, to netip.AddrPort) error {
	to = netip.AddrPortFrom(to.Addr(), 0)
	err := c.batch.WriteBatch(pkts, to)
	var refused *mmsg.SendError
	if c.whole && errors.As(err, &refused) && len(refused.TooLarge) > 0 {
		return c.cut(pkts, to, refused)
	}
	return err
}

// Close closes the socket and wakes a reader that waits.
func (c *Conn) Close() error { return c.batch.Close() }

// explain puts an error of opening into words an operator can act on.
func explain(local netip.Addr, err error) error {
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("no device of this machine has the address %s; \"ip -4 addr\" lists what there is (%w)", local, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("not permitted: run as root or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN (%w)", err)
	}
	return err
}
