package mmsg

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options is how a socket of the gateway is set up. The zero value: no mark,
// buffers of DefaultBuffer, and packets may be fragmented.
type Options struct {
	// Mark is the SO_MARK of everything the socket sends, by which the guard
	// lets it out. 0 for none. Needs CAP_NET_ADMIN.
	Mark uint32
	// Buffer is the size in octets of the receive and of the send buffer;
	// 0 for DefaultBuffer.
	Buffer int
	// DontFragment sets DF and lets the kernel refuse what is larger than the
	// path's MTU. Off for IKE, whose messages with certificates exceed any MTU.
	DontFragment bool
}

// Control applies the options to a socket before it is bound, as
// net.ListenConfig.Control wants it.
func (o Options) Control(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) { set = o.set(int(fd)) })
	return errors.Join(err, set)
}

func (o Options) set(fd int) error {
	if o.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark)); err != nil {
			return fmt.Errorf("set mark %#x on the socket: %w", o.Mark, err)
		}
	}
	discover := unix.IP_PMTUDISC_DONT
	if o.DontFragment {
		discover = unix.IP_PMTUDISC_DO
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover); err != nil {
		return fmt.Errorf("set the DF bit's use on the socket: %w", err)
	}
	size := o.Buffer
	if size == 0 {
		size = DefaultBuffer
	}
	buffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, size)
	buffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, size)
	return nil
}

// buffer asks for a size beyond the system's limit, and without the privilege
// for as much as the limit gives. A smaller buffer is slower, not wrong.
func buffer(fd, force, plain, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
}
