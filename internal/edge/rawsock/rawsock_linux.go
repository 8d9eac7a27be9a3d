// Package rawsock carries ESP and AH straight over IP: protocols 50 (RFC 4303)
// and 51 (RFC 4302), through a raw socket bound to one local address. Packets go
// in and come out without their IPv4 header, in batches.
//
// A raw IPv4 socket reads the header in front of each packet. It is read apart
// from the packet, so that stripping it copies nothing, and it is not believed: a
// header that contradicts what the kernel delivered drops the packet. Fragments
// have been put together by the kernel before they reach a raw socket.
package rawsock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

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
	batch *mmsg.Conn
}

// Listen opens a raw socket for an IP protocol (50 for ESP, 51 for AH) on
// local, an IPv4 address of this machine. The error says what to do.
func Listen(local netip.Addr, proto uint8, o Options) (*Conn, error) {
	if !local.Is4() {
		return nil, fmt.Errorf("open a raw socket on %s: expected an IPv4 address", local)
	}
	config := net.ListenConfig{Control: o.Control}
	p, err := config.ListenPacket(context.Background(), fmt.Sprintf("ip4:%d", proto), local.String())
	if err != nil {
		return nil, fmt.Errorf("open a raw socket for IP protocol %d on %s: %w", proto, local, explain(local, err))
	}
	b, err := mmsg.New(p.(*net.IPConn), headerLen)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Conn{local: local, proto: proto, batch: b}, nil
}

// LocalAddr is the address the socket is bound to.
func (c *Conn) LocalAddr() netip.Addr { return c.local }

// ReadBatch waits for packets and reads up to len(bufs) of them (at most
// mmsg.MaxBatch): sizes[i] octets of ESP or AH, without the IPv4 header, into
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
		size, ok := c.strip(p, bufs[i])
		if !ok {
			return
		}
		// The slices change places, so that nothing is copied and none is lost.
		bufs[n], bufs[i] = bufs[i], bufs[n]
		sizes[n], from[n] = size, netip.AddrPortFrom(p.From.Addr(), 0)
		n++
	})
	if err != nil {
		return 0, fmt.Errorf("read IP protocol %d on %s: %w", c.proto, c.local, err)
	}
	return n, nil
}

// strip checks the IPv4 header and leaves only what follows it in body. Without
// options that is there already. It returns how long it is.
func (c *Conn) strip(p mmsg.Packet, body []byte) (int, bool) {
	h := p.Head
	if p.Truncated || len(h) < headerLen || h[0]>>4 != 4 || h[9] != c.proto {
		return 0, false
	}
	options := int(h[0]&0x0f)*4 - headerLen
	total := int(binary.BigEndian.Uint16(h[2:]))
	if options < 0 || p.Size < options || total != headerLen+p.Size {
		return 0, false
	}
	if options > 0 {
		copy(body, body[options:p.Size])
	}
	return p.Size - options, p.Size > options
}

// WriteBatch sends each packet, from the ESP or AH header on, in an IPv4 packet
// of its own to one address; the port is not looked at. A packet that the kernel
// refuses does not hold up the others; the *mmsg.SendError counts it.
func (c *Conn) WriteBatch(pkts [][]byte, to netip.AddrPort) error {
	return c.batch.WriteBatch(pkts, netip.AddrPortFrom(to.Addr(), 0))
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
