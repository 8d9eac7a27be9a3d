// Package udpsock is UDP as IKE uses it: port 500 for ISAKMP and port 4500 for
// what goes through a NAT, IKE and ESP together (RFC 3947, 3948; RFC 7296
// section 3.1). A Conn is bound to one local address and moves datagrams in
// batches; what is in them it does not know.
//
// The kernel's own UDP_ENCAP is not used: it would take the ESP packets out of
// the socket for XFRM, and here ESP is opened in user space. DF is off unless
// asked for: a message with certificates is larger than any MTU and must be
// allowed to travel in fragments.
package udpsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"culvert/internal/edge/mmsg"
)

// Options is how the socket is set up; see mmsg.Options.
type Options = mmsg.Options

// Conn is a UDP socket bound to one local address. Its methods may be called
// at the same time; two readers take turns, and so do two writers.
type Conn struct {
	local netip.AddrPort
	udp   *net.UDPConn
	batch *mmsg.Conn
}

// Listen binds a socket to local, an IPv4 address of this machine and a port.
// The error says what to look for when the port is taken, the address is not
// this machine's, or the privilege is missing.
func Listen(local netip.AddrPort, o Options) (*Conn, error) {
	if !local.Addr().Is4() {
		return nil, fmt.Errorf("listen on UDP %s: expected an IPv4 address", local)
	}
	config := net.ListenConfig{Control: o.Control}
	p, err := config.ListenPacket(context.Background(), "udp4", local.String())
	if err != nil {
		return nil, fmt.Errorf("listen on UDP %s: %w", local, explain(local, err))
	}
	c := &Conn{udp: p.(*net.UDPConn)}
	c.local = c.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	if c.batch, err = mmsg.New(c.udp); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return c, nil
}

// LocalAddr is the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// ReadBatch waits for datagrams and reads up to len(bufs) of them (at most
// mmsg.MaxBatch), datagram i of sizes[i] octets into bufs[i], its sender into
// from[i]. A datagram larger than its buffer is not one that IKE or ESP sent
// here: it is dropped and does not count, so the result may be 0 with no error. The slices of bufs may change places.
// After Close the error wraps net.ErrClosed. sizes and from are at least as long as bufs.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	if len(sizes) < len(bufs) || len(from) < len(bufs) {
		return 0, fmt.Errorf("read from UDP %s: %d buffers, but %d sizes and %d addresses", c.local, len(bufs), len(sizes), len(from))
	}
	n := 0
	_, err := c.batch.ReadBatch(bufs, func(i int, p mmsg.Packet) {
		if p.Truncated {
			return
		}
		// The slices change places, so that nothing is copied and none is lost.
		bufs[n], bufs[i] = bufs[i], bufs[n]
		sizes[n], from[n] = p.Size, p.From
		n++
	})
	if err != nil {
		return 0, fmt.Errorf("read from UDP %s: %w", c.local, err)
	}
	return n, nil
}

// WriteBatch sends each packet as one datagram to one address. A packet that
// the kernel refuses does not hold up the others; the *mmsg.SendError counts it.
func (c *Conn) WriteBatch(pkts [][]byte, to netip.AddrPort) error {
	return c.batch.WriteBatch(pkts, to)
}

// WriteTo sends one datagram.
func (c *Conn) WriteTo(p []byte, to netip.AddrPort) error {
	return c.batch.WriteBatch([][]byte{p}, to)
}

// Close closes the socket and wakes a reader that waits.
func (c *Conn) Close() error { return c.batch.Close() }

// explain puts a bind error into words an operator can act on.
func explain(local netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("the port is taken by another process: look for another IKE daemon (charon, pluto, iked, racoon) "+
			"or a culvert that still runs; \"ss -lunp sport = :%d\" names it (%w)", local.Port(), err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("no device of this machine has the address %s; \"ip -4 addr\" lists what there is (%w)", local.Addr(), err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("not permitted: run as root or with the capabilities CAP_NET_BIND_SERVICE and CAP_NET_ADMIN (%w)", err)
	}
	return err
}
