package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"culvert/internal/lab/pcap"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Count is a number of packets, by the side they came from.
type Count struct {
	A, B  int // from site A or r1, from site B or r2
	Other int // from another address
}

// Total is the number of packets from all sides.
func (c Count) Total() int { return c.A + c.B + c.Other }

func (c Count) String() string {
	if c.Other > 0 {
		return fmt.Sprintf("%d (%d from A, %d from B, %d from elsewhere)", c.Total(), c.A, c.B, c.Other)
	}
	return fmt.Sprintf("%d (%d from A, %d from B)", c.Total(), c.A, c.B)
}

func (c *Count) add(src netip.Addr) {
	switch {
	case Site(R1).Contains(src) || src == Addr(R1, Outside) || src == NATAddr():
		c.A++
	case Site(R2).Contains(src) || src == Addr(R2, Outside):
		c.B++
	default:
		c.Other++
	}
}

// Summary is what a capture saw.
type Summary struct {
	Host, Device string
	ESP          Count // IP protocol 50
	AH           Count // IP protocol 51
	IKE          Count // UDP port 500
	IKE4500      Count // UDP port 4500 behind a non-ESP marker (RFC 3948 2.2)
	ESPinUDP     Count // UDP port 4500, ESP inside (RFC 3948 2.1)
	Keepalive    Count // UDP port 4500, the single octet 0xFF (RFC 3948 2.3)
	Cleartext    Count // IPv4 between the two sites, readable
	Fragments    Count // of IPv4 packets, all but the first
	Other        Count // other IPv4
	NotIPv4      int   // ARP and IPv6
	// Lost is how many packets the kernel could not hand to us.
	Lost int
	// Clear describes the first cleartext packets, ten at most.
	Clear []string
	// SPIs counts ESP and AH packets, encapsulated or not, by their SPI.
	SPIs map[uint32]int
}

// Sealed are all packets that carry data of the sites protected.
func (s Summary) Sealed() int { return s.ESP.Total() + s.AH.Total() + s.ESPinUDP.Total() }

// String tells the summary line by line; kinds that were not seen are left out,
// but for ESP and cleartext.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seen on %s %s:\n", strings.ToUpper(s.Host), s.Device)
	for _, r := range []struct {
		name   string
		count  Count
		always bool
	}{
		{"ISAKMP, UDP 500", s.IKE, false},
		{"ISAKMP, UDP 4500", s.IKE4500, false},
		{"NAT keepalive, UDP 4500", s.Keepalive, false},
		{"ESP, protocol 50", s.ESP, s.ESPinUDP.Total() == 0 && s.AH.Total() == 0},
		{"AH, protocol 51", s.AH, false},
		{"ESP in UDP 4500", s.ESPinUDP, false},
		{"cleartext between the sites", s.Cleartext, true},
		{"later fragments", s.Fragments, false},
		{"other IPv4", s.Other, false},
	} {
		if r.always || r.count.Total() > 0 {
			fmt.Fprintf(&b, "  %-28s %s\n", r.name, r.count)
		}
	}
	for _, c := range s.Clear {
		fmt.Fprintf(&b, "    in clear: %s\n", c)
	}
	if s.Lost > 0 {
		fmt.Fprintf(&b, "  not seen, the capture was too slow: %d\n", s.Lost)
	}
	return b.String()
}

// Capture is a running capture on one device.
type Capture struct {
	file *os.File
	pcap *pcap.Writer // nil when nothing is written
	done chan struct{}

	mu      sync.Mutex
	summary Summary
	err     error
}

// Capture watches a device of a host, both directions.
func (n *Net) Capture(host, device string) (*Capture, error) { return n.CaptureTo(host, device, "") }

// CaptureTo watches a device and also writes every packet to a pcap file, for
// tshark and people; no file when the path is empty.
func (n *Net) CaptureTo(host, device, path string) (*Capture, error) {
	h, err := HostOf(host)
	if err != nil {
		return nil, err
	}
	c := &Capture{done: make(chan struct{}), summary: Summary{Host: h, Device: device, SPIs: make(map[uint32]int)}}
	err = n.In(h, func() error {
		c.file, err = packetSocket(device)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lab: capture on %s %s: %w", h, device, err)
	}
	if path != "" {
		if c.pcap, err = pcap.Create(path, pcap.Ethernet); err != nil {
			return nil, errors.Join(err, c.file.Close())
		}
	}
	go c.run()
	return c, nil
}

// packetSocket sees every packet of a device, packet(7).
func packetSocket(device string) (*os.File, error) {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return nil, err
	}
	// Protocol 0 keeps the socket quiet until it is bound to its device.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// In a user namespace FORCE is refused; then the kernel's limit has to do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<20)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: l.Attrs().Index})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "capture "+device), nil
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

func (c *Capture) run() {
	defer close(c.done)
	buf := make([]byte, 1<<17)
	for {
		k, err := c.file.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once when the link goes down
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.take(buf[:k])
	}
}

// take counts one frame.
func (c *Capture) take(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summary.take(frame)
	if c.pcap != nil {
		if err := c.pcap.Write(time.Now(), frame); err != nil && c.err == nil {
			c.err = err
		}
	}
}

func (c *Capture) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// Seen is what was seen up to now.
func (c *Capture) Seen() Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.summary
	s.Clear = append([]string(nil), s.Clear...)
	s.SPIs = make(map[uint32]int, len(c.summary.SPIs))
	for k, v := range c.summary.SPIs {
		s.SPIs[k] = v
	}
	return s
}

// Stop ends the capture. Every packet that crossed the device before is in the summary.
func (c *Capture) Stop() (Summary, error) {
	errs := []error{c.file.SetReadDeadline(time.Unix(1, 0))}
	<-c.done
	errs = append(errs, c.drain())
	if c.pcap != nil {
		errs = append(errs, c.pcap.Close())
	}
	errs = append(errs, c.file.Close())
	s := c.Seen()
	if err := errors.Join(append(errs, c.err)...); err != nil {
		return s, fmt.Errorf("lab: capture on %s %s: %w", s.Host, s.Device, err)
	}
	return s, nil
}

// drain takes what the socket still holds and asks what it lost.
func (c *Capture) drain() error {
	if err := c.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Read(func(fd uintptr) bool {
		buf := make([]byte, 1<<17)
		for {
			k, err := unix.Read(int(fd), buf)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
				continue
			}
			if err != nil {
				if !errors.Is(err, unix.EAGAIN) {
					inner = err
				}
				break
			}
			c.take(buf[:k])
		}
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.mu.Lock()
			c.summary.Lost = int(st.Drops)
			c.mu.Unlock()
		}
		return true
	})
	return errors.Join(err, inner)
}
