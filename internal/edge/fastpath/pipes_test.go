package fastpath

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// memTUN is a TUN device without a kernel.
type memTUN struct {
	in     chan [][]byte // batches to read
	out    chan []byte   // packets written
	closed chan struct{}
	once   sync.Once
	fail   error // of Write
}

func newMemTUN() *memTUN {
	return &memTUN{in: make(chan [][]byte, 16), out: make(chan []byte, 4096), closed: make(chan struct{})}
}

func (m *memTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case <-m.closed:
		return 0, os.ErrClosed
	case batch := <-m.in:
		for i, p := range batch {
			sizes[i] = copy(bufs[i][offset:], p)
		}
		return len(batch), nil
	}
}

// Write scribbles over the headroom, as the real device does with its header.
func (m *memTUN) Write(bufs [][]byte, offset int) (int, error) {
	if m.fail != nil {
		return 0, m.fail
	}
	for _, b := range bufs {
		clear(b[:offset])
		m.out <- bytes.Clone(b[offset:])
	}
	return len(bufs), nil
}

func (m *memTUN) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// datagram is what a wire carries.
type datagram struct {
	from  netip.AddrPort
	data  []byte
	whole bool // with its IPv4 header
}

// wire is a socket without a network. What is written goes through change, if
// there is one, to the socket at the other end.
type wire struct {
	proto  uint8 // of a raw socket; 0 for UDP
	local  netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once
	far    *wire
	farESP *wire // where whole packets of ESP arrive
	mu     sync.Mutex
	change func([]byte) [][]byte
	sent   [][]byte // copies of all that was written
	fail   error    // of WriteBatch
}

func newWire(local netip.AddrPort) *wire {
	return &wire{local: local, in: make(chan datagram, 4096), closed: make(chan struct{})}
}

func (w *wire) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	select {
	case <-w.closed:
		return 0, net.ErrClosed
	case d := <-w.in:
		n := 0
		for {
			sizes[n], from[n] = copy(bufs[n], w.packet(d)), d.from
			n++
			if n == len(bufs) {
				return n, nil
			}
			select {
			case d = <-w.in:
			default:
				return n, nil
			}
		}
	}
}

// packet is what a socket gives of d: raw ones with an IPv4 header.
func (w *wire) packet(d datagram) []byte {
	if w.proto == 0 || d.whole {
		return d.data
	}
	h := make([]byte, 20, 20+len(d.data))
	h[0], h[8], h[9] = 0x45, 60, w.proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(d.data)))
	copy(h[12:], d.from.Addr().AsSlice())
	copy(h[16:], w.local.Addr().AsSlice())
	return append(h, d.data...)
}

func (w *wire) WriteBatch(pkts [][]byte, to netip.AddrPort) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	for _, p := range pkts {
		p = bytes.Clone(p)
		w.sent = append(w.sent, p)
		out := [][]byte{p}
		if w.change != nil {
			out = w.change(p)
		}
		for _, q := range out {
			far, whole := w.far, w.proto == flow.AH
			if whole && q[9] == flow.ESP {
				far = w.farESP
			}
			if far != nil && far.local.Addr() == to.Addr() {
				far.in <- datagram{w.local, q, whole}
			}
		}
	}
	return nil
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) packets() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][]byte(nil), w.sent...)
}

// upcalls is what a gateway was told.
type upcalls struct {
	triggers chan flow.Tuple
	audits   chan Audit
	expired  chan bool
	control  chan []byte
	moved    chan netip.AddrPort
	invalid  chan uint32
}

// gateway is one end: a path over pipes.
type gateway struct {
	t    *testing.T
	path *Path
	db   *sadb.DB
	tun  *memTUN
	raw  *wire
	udp  *wire
	ah   *wire
	up   upcalls
	done chan error
}

type counting struct{ n byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}

func newGateway(t *testing.T, addr string, entries []policy.Entry, limits Limits) *gateway {
	g := &gateway{t: t, db: sadb.New(&counting{}), tun: newMemTUN(), done: make(chan error, 1)}
	g.up = upcalls{make(chan flow.Tuple, 1000), make(chan Audit, 1000), make(chan bool, 1000), make(chan []byte, 1000), make(chan netip.AddrPort, 1000), make(chan uint32, 1000)}
	g.db.SetPolicy(entries)
	local := netip.AddrPortFrom(netip.MustParseAddr(addr), 4500)
	g.raw, g.udp, g.ah = newWire(netip.AddrPortFrom(local.Addr(), 0)), newWire(local), newWire(netip.AddrPortFrom(local.Addr(), 0))
	g.raw.proto, g.ah.proto = flow.ESP, flow.AH
	if limits.MaxPacket == 0 {
		limits.MaxPacket = 2000
	}
	var err error
	g.path, err = New(Config{DB: g.db, TUN: g.tun, Limits: limits, Upcalls: Upcalls{
		Trigger: func(_ policy.FlowID, p flow.Tuple) { g.up.triggers <- p },
		Control: func(_, _ netip.AddrPort, d []byte) { g.up.control <- d },
		Expire:  func(_ sadb.ChildID, hard bool) { g.up.expired <- hard },
		Audit:   func(a Audit) { g.up.audits <- a },
		Moved:   func(_ sadb.ChildID, to netip.AddrPort) { g.up.moved <- to },
		InvalidSPI: func(_, _ netip.AddrPort, proto uint8, spi uint32) {
			g.up.invalid <- spi
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.path.AddLocal(local, Sockets{ESP: g.raw, UDP: g.udp, AH: g.ah}); err != nil {
		t.Fatal(err)
	}
	go func() { g.done <- g.path.Run() }()
	until(t, "the path runs", func() bool {
		g.path.mu.Lock()
		defer g.path.mu.Unlock()
		return g.path.running
	})
	t.Cleanup(func() {
		g.path.Close()
		if err := <-g.done; err != nil {
			t.Errorf("%s: Run: %v", addr, err)
		}
	})
	return g
}

var (
	siteA = netip.MustParsePrefix("10.10.10.0/24")
	siteB = netip.MustParsePrefix("10.20.20.0/24")
	theID = policy.FlowID{Map: "CMAP", Seq: 10, Line: 10}
)

// lineTo is the crypto map of a site: its net to the other's.
func lineTo(local, remote netip.Prefix) []policy.Entry {
	l := flow.Line{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(local), Dst: flow.PrefixMatch(remote)}
	return []policy.Entry{{Map: "CMAP", Seq: 10, ACL: &flow.List{Name: "SITE", Lines: []flow.Line{l}}}}
}

// twoSites are R1 with site A and R2 with site B, joined, without any SA.
func twoSites(t *testing.T) (a, b *gateway) { return twoSitesWith(t, Limits{}) }

func twoSitesWith(t *testing.T, atA Limits) (a, b *gateway) {
	a = newGateway(t, "198.51.100.1", lineTo(siteA, siteB), atA)
	b = newGateway(t, "198.51.100.2", lineTo(siteB, siteA), Limits{})
	join(a, b)
	return a, b
}

// join puts two gateways on one network.
func join(a, b *gateway) {
	a.raw.far, b.raw.far = b.raw, a.raw
	a.udp.far, b.udp.far = b.udp, a.udp
	a.ah.far, b.ah.far = b.ah, a.ah
	a.ah.farESP, b.ah.farESP = b.raw, a.raw
}

var gcm = policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128}

// keysOf are the keys of one direction of SA pair n.
func keysOf(set policy.TransformSet, n, spi uint32) sadb.Keys {
	bits := set.KeyBits
	if set.Cipher != suite.NoCipher && !set.Cipher.Row().Sized {
		bits = set.Cipher.Row().KeyBits[0]
	}
	encr, integ := make([]byte, bits/8+set.Cipher.Row().Salt), make([]byte, set.Integ.Row().Size)
	for i := range encr {
		encr[i] = byte(n + spi + uint32(i)*3)
	}
	for i := range integ {
		integ[i] = byte(n + spi*5 + uint32(i))
	}
	return sadb.Keys{SPI: spi, Encr: crypt.NewSecret(encr), Integ: crypt.NewSecret(integ)}
}

// pairOf is SA pair n of both ends, as phase 2 would agree it. change is done
// to the first and mirrored by the caller where it matters.
func pairOf(set policy.TransformSet, n uint32, encap bool) (a, b sadb.Child) {
	port := uint16(500)
	if encap {
		port = 4500
	}
	ab, ba := keysOf(set, n, 0x10000+n), keysOf(set, n, 0x20000+n)
	r1 := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), port)
	r2 := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), port)
	a = sadb.Child{ID: sadb.ChildID(n), Flow: theID, Set: set, Encap: encap, ReplayWindow: 64, Initiator: true,
		Selectors: flow.Selectors{Local: siteA, Remote: siteB}, Local: r1, Remote: r2, In: ba, Out: ab}
	b = a
	b.Selectors, b.Local, b.Remote, b.In, b.Out, b.Initiator = a.Selectors.Mirror(), r2, r1, ab, ba, false
	return a, b
}

// up installs SA pair n at both ends.
func up(t *testing.T, a, b *gateway, ca, cb sadb.Child) {
	t.Helper()
	b.install(cb)
	a.install(ca)
}

func (g *gateway) install(c sadb.Child) {
	g.t.Helper()
	if err := g.db.Install(c, true, true); err != nil {
		g.t.Fatal(err)
	}
	g.path.Installed(c.Flow)
}

// udp is an IPv4 packet with a UDP datagram of n octets that holds number.
func udpPacket(src, dst string, number, n int) []byte {
	b := make([]byte, 28+n)
	b[0], b[8], b[9] = 0x45, 63, flow.UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[20:], 1000)
	binary.BigEndian.PutUint16(b[22:], 2000)
	binary.BigEndian.PutUint16(b[24:], uint16(8+n))
	binary.BigEndian.PutUint32(b[28:], uint32(number))
	return b
}

// fromA is a packet of site A to site B.
func fromA(number int) []byte { return udpPacket("10.10.10.10", "10.20.20.20", number, 100) }

func numberOf(p []byte) int { return int(binary.BigEndian.Uint32(p[28:])) }

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: did not come", what)
		panic("unreachable")
	}
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

func (g *gateway) dropped(d Drop) uint64 {
	s := g.path.Stats()
	return s.Drop(d)
}

// wantDrop waits until n packets were dropped for that reason.
func (g *gateway) wantDrop(d Drop, n uint64) {
	g.t.Helper()
	until(g.t, d.String(), func() bool { return g.dropped(d) == n })
}

// wantNothing checks that no packet reached the TUN device.
func (g *gateway) wantNothing() {
	g.t.Helper()
	if s := g.path.Stats(); s.Delivered != 0 || len(g.tun.out) != 0 {
		g.t.Errorf("%d packets were delivered", s.Delivered)
	}
}
