// Package mmsg reads and writes batches of IPv4 datagrams with recvmmsg(2) and
// sendmmsg(2) and allocates nothing on the way: golang.org/x/net/ipv4 allocates
// two objects for the address of every packet it reads, which at 200,000
// packets a second is the garbage collector's work and not ours. The sockets
// underneath stay those of package net, so the runtime's poller waits for us and
// Close unblocks.
//
// A socket is set up by Options, which UDP and raw sockets share: the mark that
// lets the guard tell our packets from others', buffers of megabytes (with 212 KB
// a quarter of the throughput was lost in measurement), and the DF bit.
package mmsg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxBatch is how many packets one system call carries at most.
const MaxBatch = 64

// DefaultBuffer is the size of each socket buffer, in octets.
const DefaultBuffer = 8 << 20

// Socket is a datagram socket with its system call descriptor: *net.UDPConn, *net.IPConn.
type Socket interface {
	syscall.Conn
	Close() error
}

// header is struct mmsghdr (recvmmsg(2)); the Go compiler pads it as C does.
type header struct {
	msg unix.Msghdr
	n   uint32
}

// Conn moves batches over one socket. Reads and writes may run at the same
// time; two readers or two writers take turns.
type Conn struct {
	socket Socket
	raw    syscall.RawConn

	reading sync.Mutex
	in      half
	writing sync.Mutex
	out     half
}

// half is the state of one direction, made once so that a batch allocates nothing.
type half struct {
	headers [MaxBatch]header
	iovecs  [MaxBatch]unix.Iovec
	names   [MaxBatch]unix.RawSockaddrInet4
	from    int // headers[from:count] are to be moved
	count   int
	moved   int
	errno   syscall.Errno
	call    func(fd uintptr) bool
}

// New wraps a socket.
func New(s Socket) (*Conn, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{socket: s, raw: raw}
	c.in.call = func(fd uintptr) bool { return c.in.do(unix.SYS_RECVMMSG, fd) }
	c.out.call = func(fd uintptr) bool { return c.out.do(unix.SYS_SENDMMSG, fd) }
	return c, nil
}

// do makes one system call; false asks the poller to wait and call again.
func (h *half) do(trap, fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&h.headers[h.from])),
			uintptr(h.count-h.from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		h.moved, h.errno = int(n), errno
		if errno != 0 {
			h.moved = 0
		}
		return true
	}
}

// Packet is one received packet of a batch.
type Packet struct {
	Size int // octets in the buffer
	From netip.AddrPort
	// Truncated: the buffer was too small and the rest is lost.
	Truncated bool
}

// ReadBatch waits for packets and puts up to len(bufs), at most MaxBatch, of
// them into bufs. each is called for every packet in order. The number of packets is returned, or an error that wraps net.ErrClosed
// once the socket is closed. Errors that the kernel reports for a packet we sent
// earlier (port unreachable and the like) are not this reader's and are skipped.
func (c *Conn) ReadBatch(bufs [][]byte, each func(i int, p Packet)) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	h := &c.in
	h.from, h.count = 0, min(len(bufs), MaxBatch)
	if h.count == 0 {
		return 0, errors.New("read into no buffers")
	}
	for i := range h.count {
		if len(bufs[i]) == 0 {
			return 0, fmt.Errorf("read into buffer %d of %d: it is empty", i, h.count)
		}
		h.prepare(i, bufs[i], unix.SizeofSockaddrInet4)
	}
	for {
		if err := c.raw.Read(h.call); err != nil {
			return 0, err
		}
		if h.errno == 0 {
			break
		}
		if !passing(h.errno) {
			return 0, os.NewSyscallError("recvmmsg", h.errno)
		}
	}
	for i := range h.moved {
		m := &h.headers[i]
		each(i, Packet{Size: int(m.n), From: h.address(i), Truncated: m.msg.Flags&unix.MSG_TRUNC != 0})
	}
	return h.moved, nil
}

// prepare points header i at a buffer.
func (h *half) prepare(i int, buf []byte, nameLen uint32) {
	m := &h.headers[i]
	*m = header{}
	m.msg.Name = (*byte)(unsafe.Pointer(&h.names[i]))
	m.msg.Namelen = nameLen
	h.iovecs[i].Base = unsafe.SliceData(buf)
	h.iovecs[i].SetLen(len(buf))
	m.msg.Iov = &h.iovecs[i]
	m.msg.SetIovlen(1)
}

func (h *half) address(i int) netip.AddrPort {
	n := &h.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&n.Port))[:])
	return netip.AddrPortFrom(netip.AddrFrom4(n.Addr), port)
}

// passing reports an error that belongs to an earlier packet or to the moment,
// not to the socket.
func passing(e syscall.Errno) bool {
	switch e {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN,
		unix.ENOPROTOOPT, unix.EMSGSIZE, unix.EPROTO, unix.ECONNRESET, unix.ENOMEM, unix.ENOBUFS:
		return true
	}
	return false
}

// SendError is a batch that did not go out whole. The other packets did.
type SendError struct {
	To    netip.AddrPort
	Lost  int   // packets the kernel refused
	Of    int   // packets in the batch
	Cause error // of the first one refused
	// TooLarge are the packets of the batch that were refused with EMSGSIZE, by number.
	TooLarge []int
}

func (e *SendError) Error() string {
	return fmt.Sprintf("send to %s: %d of %d packets refused: %s", e.To, e.Lost, e.Of, reason(e.Cause))
}

// Unwrap is the cause, a syscall.Errno.
func (e *SendError) Unwrap() error { return e.Cause }

// WriteBatch sends every packet to one address, as many system calls as it
// takes. A packet that the kernel refuses is left out and counted in the
// *SendError; the ones behind it are still sent. An empty packet is refused.
func (c *Conn) WriteBatch(pkts [][]byte, to netip.AddrPort) error {
	if !to.Addr().Unmap().Is4() {
		return fmt.Errorf("send to %s: not an IPv4 address", to)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	var refused *SendError
	for start := 0; start < len(pkts); start += MaxBatch {
		if err := c.writeSome(pkts, start, to, &refused); err != nil {
			return err
		}
	}
	if refused != nil {
		return refused
	}
	return nil
}

// writeSome sends what one system call can carry of pkts[start:]. It notes in
// refused which packets the kernel did not take; an error ends it all.
func (c *Conn) writeSome(all [][]byte, start int, to netip.AddrPort, refused **SendError) error {
	pkts := all[start:min(start+MaxBatch, len(all))]
	h := &c.out
	for i, p := range pkts {
		if len(p) == 0 {
			return fmt.Errorf("send to %s: packet %d is empty", to, start+i)
		}
		n := &h.names[i]
		n.Family, n.Addr = unix.AF_INET, to.Addr().Unmap().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&n.Port))[:], to.Port())
		h.prepare(i, p, unix.SizeofSockaddrInet4)
	}
	h.from, h.count = 0, len(pkts)
	for h.from < h.count {
		if err := c.raw.Write(h.call); err != nil {
			return fmt.Errorf("send to %s: %w", to, err)
		}
		h.from += h.moved
		if h.errno != 0 {
			if *refused == nil {
				*refused = &SendError{To: to, Of: len(all), Cause: h.errno}
			}
			(*refused).Lost++
			if h.errno == unix.EMSGSIZE {
				(*refused).TooLarge = append((*refused).TooLarge, start+h.from)
			}
			h.from++ // the kernel stopped at this one
		}
	}
	return nil
}

// Close closes the socket; a ReadBatch that waits returns net.ErrClosed.
func (c *Conn) Close() error { return c.socket.Close() }

// reason is a send error in words an operator can act on.
func reason(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "a firewall rule on this machine forbids it (operation not permitted)"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return "this machine has no route to it"
	case errors.Is(err, unix.EMSGSIZE):
		return "larger than the path allows and fragmentation is off"
	case errors.Is(err, unix.ENOBUFS):
		return "the device's queue is full"
	case errors.Is(err, net.ErrClosed):
		return "the socket is closed"
	}
	return err.Error()
}
