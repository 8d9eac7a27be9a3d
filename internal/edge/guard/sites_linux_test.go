package guard_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
	"culvert/internal/edge/guard"
	"culvert/internal/edge/tundev"
)

// The two sites of the article, in four network namespaces without a name,
// which vanish with the test however it ends:
//
//	a ─────── inside R1 outside ─────── outside R2 inside ─────── b
//	10.10.10.10   .1   198.51.100.1   198.51.100.2   10.20.20.1   10.20.20.20
//
// R1 is the guarded gateway; R2 is a plain router and the wire is watched there.
var (
	hostA     = netip.MustParseAddr("10.10.10.10")
	r1Inside  = netip.MustParseAddr("10.10.10.1")
	r1Outside = netip.MustParseAddr("198.51.100.1")
	r2Outside = netip.MustParseAddr("198.51.100.2")
	r2Inside  = netip.MustParseAddr("10.20.20.1")
	hostB     = netip.MustParseAddr("10.20.20.20")
	elsewhere = netip.MustParseAddr("203.0.113.7") // lives at R2
)

const (
	tunName = "culvert0"
	inside  = "GigabitEthernet0/0"
	outside = "GigabitEthernet0/1"
	patient = 3 * time.Second
)

type place struct {
	t    *testing.T
	name string
	ns   netns.NsHandle
}

type sites struct {
	t            *testing.T
	a, r1, r2, b place
	wire         *wire
	tun          *tundev.TUN
	refusals     int
	packets      chan []byte // what came out of R1's TUN device
}

// in runs f on a thread of its own in the namespace.
func (p place) in(f func() error) {
	p.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(p.ns); err != nil {
			failed <- err
			return
		}
		failed <- f()
	}()
	if err := <-failed; err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

func newPlace(t *testing.T, name string) place {
	t.Helper()
	p := place{t: t, name: name}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		p.ns, err = netns.New()
		if err == nil {
			err = up("lo")
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatalf("make the namespace of %s: %v", name, err)
	}
	t.Cleanup(func() { p.ns.Close() })
	return p
}

func up(device string) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// cable joins two places by a veth pair, each end with its address and up.
func cable(x place, xDevice, xAddress string, y place, yDevice, yAddress string) {
	x.in(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: xDevice}, PeerName: yDevice, PeerNamespace: netlink.NsFd(y.ns)}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		return address(xDevice, xAddress)
	})
	y.in(func() error { return address(yDevice, yAddress) })
}

func address(device, a string) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	parsed, err := netlink.ParseAddr(a)
	if err != nil {
		return err
	}
	return errors.Join(sysctl("ipv6/conf/"+device+"/disable_ipv6", "1"), netlink.AddrAdd(l, parsed), netlink.LinkSetUp(l))
}

func via(network, gateway string) error {
	_, dst, err := net.ParseCIDR(network)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)})
}

func sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644)
}

// build makes the sites. R1 has no TUN device yet; see connect.
func build(t *testing.T) *sites {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces, nftables rules and a TUN device")
	}
	s := &sites{t: t, a: newPlace(t, "a"), r1: newPlace(t, "r1"), r2: newPlace(t, "r2"), b: newPlace(t, "b")}
	cable(s.a, "eth0", "10.10.10.10/24", s.r1, "in0", "10.10.10.1/24")
	cable(s.r1, "out0", "198.51.100.1/24", s.r2, "out0", "198.51.100.2/24")
	cable(s.r2, "in0", "10.20.20.1/24", s.b, "eth0", "10.20.20.20/24")
	s.a.in(func() error { return via("0.0.0.0/0", "10.10.10.1") })
	s.b.in(func() error { return via("0.0.0.0/0", "10.20.20.1") })
	s.r1.in(func() error {
		return errors.Join(sysctl("ipv4/ip_forward", "1"), sysctl("ipv4/icmp_ratelimit", "0"), via("0.0.0.0/0", "198.51.100.2"))
	})
	s.r2.in(func() error {
		return errors.Join(sysctl("ipv4/ip_forward", "1"), via("10.10.10.0/24", "198.51.100.1"), address("lo", "203.0.113.7/32"))
	})
	s.wire = watch(s.r2, "out0")
	return s
}

// connect opens R1's TUN device and gathers what comes out of it.
func (s *sites) connect() {
	s.t.Helper()
	s.r1.in(func() (err error) {
		s.tun, err = tundev.Open(tundev.Options{Name: tunName, MTU: 1400})
		return err
	})
	s.t.Cleanup(func() { s.tun.Close() })
	s.packets = make(chan []byte, 100)
	tun, packets := s.tun, s.packets
	go func() {
		bufs, sizes := make([][]byte, tun.BatchSize()), make([]int, tun.BatchSize())
		for i := range bufs {
			bufs[i] = make([]byte, 2048)
		}
		for {
			n, err := tun.Read(bufs, sizes, 0)
			if err != nil {
				close(packets)
				return
			}
			for i := range n {
				packets <- append([]byte(nil), bufs[i][:sizes[i]]...)
			}
		}
	}()
}

// config is the article's: site A to site B is interesting, no interface lists.
func (s *sites) config(acl ...flow.Line) guard.Config {
	s.t.Helper()
	if len(acl) == 0 {
		acl = []flow.Line{permit("10.10.10.0/24", "10.20.20.0/24")}
	}
	c := guard.Config{
		Hostname: "R1", Mark: 0xc0de, OwnMark: 0xc1de, Table: 5208,
		Interfaces: []guard.Interface{{Name: inside, Address: r1Inside}, {Name: outside, Address: r1Outside}},
		Flows:      []guard.Protect{{Name: "CMAP 10", Interface: outside, ACL: list("102", acl...)}},
	}
	if s.tun != nil {
		c.TUN = s.tun.Name()
	}
	s.r1.in(func() (err error) {
		for n := range c.Interfaces {
			i := &c.Interfaces[n]
			if i.Device, i.Index, err = guard.FindDevice(i.Address); err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (s *sites) apply(c guard.Config) *guard.Guard {
	s.t.Helper()
	var g *guard.Guard
	s.r1.in(func() (err error) {
		g, err = guard.Apply(c)
		return err
	})
	return g
}

func (s *sites) counters(g *guard.Guard) guard.Counters {
	s.t.Helper()
	var c guard.Counters
	s.r1.in(func() (err error) {
		c, err = g.Counters()
		return err
	})
	return c
}

func list(name string, lines ...flow.Line) *flow.List {
	l := &flow.List{Name: name, Extended: true}
	for i, line := range lines {
		line.Seq = 10 * (i + 1)
		l.Lines = append(l.Lines, line)
	}
	return l
}

func permit(src, dst string) flow.Line { return line(flow.Permit, flow.AnyProto, src, dst) }
func deny(src, dst string) flow.Line   { return line(flow.Deny, flow.AnyProto, src, dst) }

func line(a flow.Action, proto uint8, src, dst string) flow.Line {
	return flow.Line{Action: a, Proto: proto, Src: match(src), Dst: match(dst), ICMPType: -1, ICMPCode: -1}
}

func match(s string) flow.Match {
	if s == "any" {
		return flow.Match{}
	}
	return flow.PrefixMatch(netip.MustParsePrefix(s))
}

func eq(ports ...uint16) flow.PortMatch { return flow.PortMatch{Op: flow.Eq, Ports: ports} }

// packet makes an IPv4 packet; the kernel fills in the checksum when it is sent.
func packet(src, dst netip.Addr, proto uint8, fragmentOffset uint16, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], 0x1234)
	binary.BigEndian.PutUint16(b[6:], fragmentOffset/8)
	copy(b[12:16], src.AsSlice())
	copy(b[16:20], dst.AsSlice())
	return append(b, payload...)
}

func udp(src, dst netip.Addr, sport, dport uint16, text string) []byte {
	p := binary.BigEndian.AppendUint16(nil, sport)
	p = binary.BigEndian.AppendUint16(p, dport)
	p = binary.BigEndian.AppendUint16(p, uint16(8+len(text)))
	p = append(p, 0, 0) // RFC 768: no checksum
	return packet(src, dst, flow.UDP, 0, append(p, text...))
}

func tcp(src, dst netip.Addr, sport, dport uint16, flags byte) []byte {
	p := make([]byte, 20)
	binary.BigEndian.PutUint16(p[0:], sport)
	binary.BigEndian.PutUint16(p[2:], dport)
	p[12], p[13] = 5<<4, flags
	return packet(src, dst, flow.TCP, 0, p)
}

func icmp(src, dst netip.Addr, kind, code byte) []byte {
	return packet(src, dst, flow.ICMP, 0, []byte{kind, code, 0, 0, 0, 0, 0, 0})
}

// send sends whole IPv4 packets from a place, marked as a socket may be.
func (p place) send(mark uint32, packets ...[]byte) {
	p.t.Helper()
	p.in(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if mark != 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
				return err
			}
		}
		for _, b := range packets {
			if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: [4]byte(b[16:20])}); err != nil {
				return fmt.Errorf("send %s: %w", describe(b), err)
			}
		}
		return nil
	})
}

// describe names a packet: "udp 10.10.10.10 -> 10.20.20.20".
func describe(b []byte) string {
	if len(b) < 20 {
		return fmt.Sprintf("%d octets", len(b))
	}
	s := fmt.Sprintf("%s %s -> %s", flow.ProtoName(b[9]), netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])))
	if n := binary.BigEndian.Uint16(b[6:]) & 0x1fff * 8; n != 0 {
		s += fmt.Sprintf(" at %d", n)
	} else if (b[9] == flow.UDP || b[9] == flow.TCP) && len(b) >= 24 {
		s += fmt.Sprintf(" port %d", binary.BigEndian.Uint16(b[22:]))
	}
	if b[9] == flow.ICMP && len(b) >= 22 {
		s += fmt.Sprintf(" type %d code %d", b[20], b[21])
	}
	return s
}

// wire watches a device: what IPv4 packets arrived there.
type wire struct {
	t  *testing.T
	fd int
}

func watch(p place, device string) *wire {
	p.t.Helper()
	w := &wire{t: p.t}
	p.in(func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		const ipv4 = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ipv4); err != nil {
			return err
		}
		wait := unix.NsecToTimeval(int64(patient))
		return errors.Join(
			unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
			unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: l.Attrs().Index}))
	})
	p.t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// until reads the wire up to the packet so described, and returns what came
// before it: nothing is missed and nothing is waited for in vain.
func (w *wire) until(last string) []string {
	w.t.Helper()
	var before []string
	for b := make([]byte, 65536); ; {
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			w.t.Fatalf("the wire: %v while waiting for %q; before it: %q", err, last, before)
		}
		if s := describe(b[:n]); s != last {
			before = append(before, s)
			continue
		}
		return before
	}
}

// quiet proves that nothing crossed R1 in clear but what is allowed: an
// uninteresting packet sent behind everything else is the next to be seen on the wire.
func (s *sites) quiet(allowed ...string) {
	s.t.Helper()
	s.a.send(0, udp(hostA, elsewhere, 9, 999, "all quiet"))
	if before := s.wire.until("udp 10.10.10.10 -> 203.0.113.7 port 999"); !slices.Equal(before, allowed) {
		s.t.Errorf("on the wire in clear: %q; expected %q", before, allowed)
	}
}

// diverted waits for packets at R1's TUN device, in this order.
func (s *sites) diverted(want ...string) {
	s.t.Helper()
	for _, w := range want {
		select {
		case b, ok := <-s.packets:
			if !ok {
				s.t.Fatalf("the TUN device closed while waiting for %q", w)
			}
			if got := describe(b); got != w {
				s.t.Errorf("out of the TUN device came %q, not %q", got, w)
			}
		case <-time.After(patient):
			s.t.Fatalf("out of the TUN device came nothing; expected %q", w)
		}
	}
}

// decrypted writes packets into R1's TUN device, as the gateway does with what
// it has opened.
func (s *sites) decrypted(packets ...[]byte) {
	s.t.Helper()
	for _, p := range packets {
		sum := checksum(p[:20])
		binary.BigEndian.PutUint16(p[10:], sum)
		if p[9] == flow.ICMP {
			binary.BigEndian.PutUint16(p[22:], checksum(p[20:]))
		}
		b := append(make([]byte, tundev.Headroom), p...)
		if _, err := s.tun.Write([][]byte{b}, tundev.Headroom); err != nil {
			s.t.Fatal(err)
		}
	}
}

// checksum is RFC 1071's.
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

// recorded expects these packets to be told by NotIPsec, in any order.
func (s *sites) recorded(g *guard.Guard, want ...guard.Cleartext) {
	s.t.Helper()
	var got []guard.Cleartext
	s.r1.in(func() (err error) {
		got, err = g.NotIPsec()
		return err
	})
	byText := func(a, b guard.Cleartext) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, byText)
	slices.SortFunc(want, byText)
	if !slices.Equal(got, want) {
		s.t.Errorf("recorded as not IPsec: %v; expected %v", got, want)
	}
}

// waitFor polls the counters until they are as said, for what leaves no other trace.
func (s *sites) waitFor(g *guard.Guard, done func(guard.Counters) bool) {
	s.t.Helper()
	for end := time.Now().Add(patient); !done(s.counters(g)); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the counters stay at %+v", s.counters(g))
		}
	}
}

func ipNet(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}
