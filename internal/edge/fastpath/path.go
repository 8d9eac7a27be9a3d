// Package fastpath carries packets in user space: from the TUN device through
// the SPD, ESP and AH to the sockets, and back. RFC 4301 section 5, RFC 4302,
// RFC 4303, RFC 3948. It decides nothing about protocols: which packet needs which SA is
// core/sadb, how a packet is sealed core/esp.
//
//	outbound   TUN ─ read a batch ─ parse ─ SPD ─ seal in place ─ one send for each run to one peer
//	                                         └ no SA: wait in a queue, Trigger
//	inbound    socket ─ read a batch ─ SPI ─ endpoints ─ replay, ICV, open in place ─ inner header
//	                                         ─ selectors ─ one write to the TUN device
//
// One goroutine, locked to its thread, does a direction from end to end; nothing
// is handed over, copied, allocated or locked for each packet. Measured against
// stages joined by channels that was a third faster, the data being hot in the
// cache, and AES-GCM at a quarter of a microsecond a packet is not what needs a
// second core.
//
// Who owns what. A sequence number may be given out once only, and a replay
// window has one reader and writer:
//
//   - Outbound SAs are sealed with under one mutex, taken once for a batch. The
//     TUN goroutine holds it while it works through a batch, never while it
//     waits in Read; so does Installed, which sends on the caller's goroutine
//     what waited for an SA. Both take their snapshot under the mutex: what was
//     queued before an SA came goes out before what is read after.
//   - An inbound SA belongs to the goroutine of one socket. Each local address
//     has one socket for ESP, one for AH and one for UDP. An SA has one local
//     address and comes in one of the three (a bundle in AH), and packets that
//     come by another way are dropped before its windows are touched. So no
//     window needs a lock.
//
// Two kinds of packets leave with the IPv4 header they have, by the socket for
// AH: with AH, whose ICV covers that header, identification included, and in
// transport mode, where it is the inner packet's own. Before all others the
// kernel puts one.
//
// Fail closed. Nothing read from the TUN device ever leaves in clear: a packet
// that no crypto ACL permits should not have come and is dropped and counted.
package fastpath

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// TUN is the device interesting traffic comes from in clear, and where opened
// packets go. edge/tundev is one.
type TUN interface {
	// Read waits for packets, bufs[i][offset:] and sizes[i] octets each. After
	// Close the error wraps os.ErrClosed.
	Read(bufs [][]byte, sizes []int, offset int) (int, error)
	// Write takes the packets bufs[i][offset:] and may overwrite what is before
	// and, up to the capacity, behind them. Several goroutines call it.
	Write(bufs [][]byte, offset int) (int, error)
	Close() error
}

// Packets is a socket on one local address; edge/rawsock and edge/udpsock are.
// UDP comes and goes as the datagrams' payload. A raw socket gives each packet
// with its IPv4 header; see Sockets for what it takes.
type Packets interface {
	// ReadBatch waits for packets. The slices of bufs may change places. After
	// Close the error wraps net.ErrClosed.
	ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error)
	WriteBatch(pkts [][]byte, to netip.AddrPort) error
	Close() error
}

// Sockets are those of one local address. Any may be nil when nothing goes that
// way.
type Sockets struct {
	ESP Packets // raw, protocol 50: takes ESP packets, the kernel puts the IPv4 header before them
	UDP Packets
	// AH is raw, protocol 51. It takes whole IPv4 packets and sends them with
	// the very header they have: those of AH, whose ICV covers it, and those of
	// ESP in transport mode.
	AH Packets
}

func (s *Sockets) all() [3]Packets { return [3]Packets{s.ESP, s.UDP, s.AH} }

// Upcalls is what the data path tells the gateway. They run on the data path's
// goroutines, and on the one that calls Installed, so they must not block and
// not call back into the Path. A nil one is not called.
type Upcalls struct {
	// Trigger: packet is waiting for an SA of the flow. At most once every
	// Limits.TriggerEvery for a flow, as long as packets come.
	Trigger func(id policy.FlowID, packet flow.Tuple)
	// Control: an IKE message came to the UDP socket, its non-ESP marker
	// removed (RFC 3948 section 2.2). The datagram is the callee's to keep.
	Control func(local, remote netip.AddrPort, datagram []byte)
	// Expire: an SA pair reached its soft (renew it) or hard (it is dead)
	// volume limit, or ran out of sequence numbers. Once each, for each direction.
	Expire func(id sadb.ChildID, hard bool)
	// Audit: a packet from outside was dropped, and RFC 4301 wants that to be
	// known. One call a packet: whoever listens limits the rate.
	Audit func(Audit)
	// Moved: an authentic packet of an SA in UDP came from another address or
	// port, newer than all before. Whether the SA follows (sadb.DB.Move) is the
	// gateway's decision: it knows who is behind a NAT. Once for each place.
	Moved func(id sadb.ChildID, remote netip.AddrPort)
	// InvalidSPI: an ESP or AH packet (proto 50 or 51) came with an SPI that no
	// SA has. Nobody vouches for it. At most once a second for one address, and
	// never for more than maxInvalid addresses a second; remote's port is 0
	// without UDP.
	InvalidSPI func(local, remote netip.AddrPort, proto uint8, spi uint32)
}

// Limits bounds what the data path keeps. A zero value means its default.
type Limits struct {
	FlowPackets  int // waiting for an SA of one flow: 64
	FlowOctets   int // 256 KiB
	Packets      int // waiting for any SA: 4096
	Octets       int // 8 MiB
	TriggerEvery time.Duration
	// MaxPacket is the largest packet in octets: 65535. Smaller saves memory.
	MaxPacket int
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.FlowPackets, 64)
	set(&l.FlowOctets, 256<<10)
	set(&l.Packets, 4096)
	set(&l.Octets, 8<<20)
	set(&l.MaxPacket, 65535)
	if l.TriggerEvery == 0 {
		l.TriggerEvery = time.Second
	}
	return l
}

// Config is what a Path is made of. DB and TUN are required.
type Config struct {
	DB      *sadb.DB
	TUN     TUN
	Upcalls Upcalls
	Limits  Limits
	Now     func() time.Time // nil for time.Now
}

// Path is a running data path.
type Path struct {
	db     *sadb.DB
	tun    TUN
	up     Upcalls
	limits Limits
	clock  func() time.Time
	out    *outbound
	count  counters

	mu       sync.Mutex // over the fields below, and changes of locals
	locals   atomic.Pointer[map[netip.Addr]*local]
	running  bool
	stopped  bool
	failure  error
	stopping chan struct{}
	workers  sync.WaitGroup
}

// local is one of our addresses and its sockets.
type local struct {
	Sockets
	addr    netip.AddrPort // port of the UDP socket
	removed chan struct{}
	workers sync.WaitGroup
}

// New makes a data path that does nothing before Run. It takes over the TUN
// device, and later the sockets: Close closes them.
func New(c Config) (*Path, error) {
	if c.DB == nil || c.TUN == nil {
		return nil, errors.New("data path: a database of SAs and a TUN device are required")
	}
	p := &Path{db: c.DB, tun: c.TUN, up: c.Upcalls, limits: c.Limits.withDefaults(), clock: c.Now, stopping: make(chan struct{})}
	if p.clock == nil {
		p.clock = time.Now
	}
	p.locals.Store(&map[netip.Addr]*local{})
	p.out = newOutbound(p)
	return p, nil
}

// AddLocal gives the path the sockets of one of our addresses; addr's port is
// the UDP socket's. The path takes them over. Before and after Run.
func (p *Path) AddLocal(addr netip.AddrPort, s Sockets) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.locals.Load()
	switch {
	case p.stopped:
		return fmt.Errorf("data path: add local address %s: %w", addr.Addr(), os.ErrClosed)
	case old[addr.Addr()] != nil:
		return fmt.Errorf("data path: local address %s has its sockets already", addr.Addr())
	}
	l := &local{Sockets: s, addr: addr, removed: make(chan struct{})}
	p.changeLocals(func(m map[netip.Addr]*local) { m[addr.Addr()] = l })
	if p.running {
		p.startLocal(l)
	}
	return nil
}

// RemoveLocal closes the sockets of a local address and waits until its
// goroutines ended. Unknown addresses are ignored.
func (p *Path) RemoveLocal(addr netip.Addr) {
	p.mu.Lock()
	l := (*p.locals.Load())[addr]
	if l == nil {
		p.mu.Unlock()
		return
	}
	p.changeLocals(func(m map[netip.Addr]*local) { delete(m, addr) })
	p.mu.Unlock()
	close(l.removed)
	l.close()
	l.workers.Wait()
}

// changeLocals replaces the table of local addresses, which the data path reads
// without a lock. The caller holds mu.
func (p *Path) changeLocals(change func(map[netip.Addr]*local)) {
	m := map[netip.Addr]*local{}
	for k, v := range *p.locals.Load() {
		m[k] = v
	}
	change(m)
	p.locals.Store(&m)
}

func (l *local) close() {
	for _, s := range l.all() {
		if s != nil {
			_ = s.Close() // it only wakes the reader; there is nothing to lose
		}
	}
}

// Run carries packets until Close, then returns nil; or until the TUN device or
// a socket fails for good, then closes everything and says why.
func (p *Path) Run() error {
	p.mu.Lock()
	if p.running || p.stopped {
		p.mu.Unlock()
		return errors.New("data path: run twice or after close")
	}
	p.running = true
	p.workers.Add(1)
	go func() {
		defer p.workers.Done()
		runtime.LockOSThread()
		p.out.run()
	}()
	for _, l := range *p.locals.Load() {
		p.startLocal(l)
	}
	p.mu.Unlock()
	<-p.stopping
	p.workers.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// startLocal starts the goroutines of a local address. The caller holds mu.
func (p *Path) startLocal(l *local) {
	for _, in := range []*inbound{
		newInbound(p, l, l.ESP, esp.Proto, false), newInbound(p, l, l.UDP, esp.Proto, true), newInbound(p, l, l.AH, ah.ProtoAH, false),
	} {
		if in.socket == nil {
			continue
		}
		p.workers.Add(1)
		l.workers.Add(1)
		go func() {
			defer p.workers.Done()
			defer l.workers.Done()
			runtime.LockOSThread()
			in.run()
		}()
	}
}

// Close stops the path, closes the TUN device and the sockets and waits until
// every goroutine ended. Packets that wait for an SA are dropped.
func (p *Path) Close() {
	p.stop(nil)
	p.workers.Wait()
}

// stop ends everything, for the reason of the first call.
func (p *Path) stop(why error) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.stopped, p.failure = true, why
	close(p.stopping)
	locals := *p.locals.Load()
	p.mu.Unlock()
	_ = p.tun.Close() // the device is going; its last word does not matter
	for _, l := range locals {
		l.close()
	}
}

// maxFailures in a row end the path: about five seconds.
const maxFailures = 100

// failures is a reader's patience with its device.
type failures struct{ n int }

// again decides what to do about a read that failed: true to read again, after
// a moment. A device that we closed ends its reader, one that somebody else
// closed or that keeps failing ends the path.
func (f *failures) again(p *Path, what string, gone <-chan struct{}, err error) bool {
	select {
	case <-p.stopping:
		return false
	case <-gone:
		return false
	default:
	}
	f.n++
	if f.n >= maxFailures || errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		p.stop(fmt.Errorf("data path: read %s: %w", what, err))
		return false
	}
	t := time.NewTimer(time.Duration(f.n) * time.Millisecond)
	defer t.Stop()
	select {
	case <-p.stopping:
		return false
	case <-gone:
		return false
	case <-t.C:
		return true
	}
}
