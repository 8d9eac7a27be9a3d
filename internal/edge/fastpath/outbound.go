package fastpath

import (
	"errors"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/tun"

	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/edge/mmsg"
)

// tunBatch is how many packets one read of the TUN device returns at most: the
// segments of one super-packet.
const tunBatch = 128

// outbound is the way from the TUN device to the sockets.
type outbound struct {
	p       *Path
	mu      sync.Mutex // over everything below, and over every outbound SA
	waiting waiting
	partial assembly
	sent    run
	calls   []call
}

// run is sealed packets of one SA, in order, that go out in one send.
type run struct {
	sa      *sadb.Out
	flow    *sadb.Flow
	packets [][]byte
}

// call is an upcall to make once the mutex is free.
type call struct {
	trigger bool
	id      policy.FlowID
	packet  flow.Tuple
	child   sadb.ChildID
	hard    bool
}

func newOutbound(p *Path) *outbound {
	return &outbound{
		p:       p,
		waiting: waiting{limits: p.limits, flows: map[policy.FlowID]*queue{}},
		partial: assembly{},
		sent:    run{packets: make([][]byte, 0, tunBatch)},
	}
}

// run reads the TUN device until it is closed.
func (o *outbound) run() {
	size := sadb.Headroom + o.p.limits.MaxPacket + sadb.Tailroom
	slab := make([]byte, tunBatch*size)
	whole, bufs, sizes := make([][]byte, tunBatch), make([][]byte, tunBatch), make([]int, tunBatch)
	for i := range whole {
		whole[i] = slab[i*size : (i+1)*size : (i+1)*size]
	}
	var patience failures
	for {
		for i := range bufs {
			bufs[i] = whole[i][:size-sadb.Tailroom]
		}
		n, err := o.p.tun.Read(bufs, sizes, sadb.Headroom)
		if n > 0 {
			o.batch(bufs[:n], sizes[:n])
			patience.n = 0
		}
		// Too many segments in one super-packet: what came is good.
		if err != nil && !errors.Is(err, tun.ErrTooManySegments) && !patience.again(o.p, "TUN device", nil, err) {
			return
		}
	}
}

// batch sends the packets bufs[i][sadb.Headroom:] of sizes[i] octets, whose
// capacity has sadb.Tailroom behind the largest of them.
func (o *outbound) batch(bufs [][]byte, sizes []int) {
	now := o.p.clock().UnixNano()
	o.p.count.read.Add(uint64(len(bufs)))
	o.mu.Lock()
	s := o.p.db.Snapshot()
	for i, b := range bufs {
		o.packet(s, b[:cap(b)], sizes[i], now)
	}
	o.finish()
}

// finish sends what is sealed, gives the mutex back, and makes the upcalls that
// came up meanwhile: without the mutex, since whoever is called may be about to
// call Installed.
func (o *outbound) finish() {
	o.send()
	calls := o.calls
	o.calls = nil
	o.mu.Unlock()
	for _, c := range calls {
		switch {
		case c.trigger && o.p.up.Trigger != nil:
			o.p.up.Trigger(c.id, c.packet)
		case !c.trigger && o.p.up.Expire != nil:
			o.p.up.Expire(c.child, c.hard)
		}
	}
}

// packet decides about one packet of n octets at buf[sadb.Headroom:].
func (o *outbound) packet(s *sadb.Snapshot, buf []byte, n int, now int64) {
	if n < 0 || n > len(buf)-sadb.Headroom-sadb.Tailroom {
		o.p.count.drop(Malformed, 1)
		return
	}
	t, total, ok := parseIPv4(buf[sadb.Headroom : sadb.Headroom+n])
	if !ok {
		o.p.count.drop(Malformed, 1)
		return
	}
	f, sa := s.Outbound(t)
	switch {
	case f == nil:
		o.p.count.drop(Bypass, 1)
		return
	case !f.Negotiable:
		f.CountNoSA(1)
		o.p.count.drop(NoSA, 1)
		return
	}
	if o.waiting.packets > 0 && sa != nil {
		// The SA is here but Installed was not called yet: first come, first served.
		o.flush(s, f, now)
	}
	o.protect(s, f, sa, t, buf, total, now)
}

// protect seals one packet of f with sa, or lets it wait when there is none.
func (o *outbound) protect(s *sadb.Snapshot, f *sadb.Flow, sa *sadb.Out, t flow.Tuple, buf []byte, n int, now int64) {
	for ; sa != nil; sa = f.Pick(t) {
		packet, crossed, err := sa.Seal(buf, sadb.Headroom, n, now)
		if crossed != sadb.NoLimit {
			o.calls = append(o.calls, call{child: sa.Child.ID, hard: crossed == sadb.Hard})
		}
		switch {
		case err == nil:
			o.enlist(f, sa, packet)
			return
		case errors.Is(err, sadb.ErrFragment):
			whole, length, dropped := o.partial.add(buf[sadb.Headroom:sadb.Headroom+n], now)
			o.p.count.drop(Unfit, dropped)
			if whole == nil {
				return
			}
			buf, n = whole, length
			continue
		case errors.Is(err, sadb.ErrEndpoint):
			o.p.count.drop(Unfit, 1)
			return
		case !errors.Is(err, sadb.ErrVolume) && !errors.Is(err, esp.ErrExhausted):
			o.p.count.drop(SealFailed, 1)
			return
		}
		// The SA has just ended, the packet is as it was: try the next one.
	}
	dropped, trigger := o.waiting.add(f, t, buf[sadb.Headroom:sadb.Headroom+n], now, s.NumFlows())
	o.p.count.drop(NoSA, dropped)
	if trigger {
		o.calls = append(o.calls, call{trigger: true, id: f.ID, packet: t})
	}
}

// flush sends what waits for f, in the order it came. What still has no SA
// waits on. Should the SA end the next moment, the first packet without one
// asks at once: the one that was asked for did come.
func (o *outbound) flush(s *sadb.Snapshot, f *sadb.Flow, now int64) {
	if q := o.waiting.flows[f.ID]; q != nil {
		q.triggered = 0
	}
	for _, w := range o.waiting.take(f.ID) {
		if sa := f.Pick(w.tuple); sa != nil {
			o.protect(s, f, sa, w.tuple, w.buf, w.size(), now)
			continue
		}
		o.waiting.keep(o.waiting.flows[f.ID], w)
	}
}

// enlist puts a sealed packet behind those that go the same way. Packets of
// another SA are sent first: the order of all packets is kept.
func (o *outbound) enlist(f *sadb.Flow, sa *sadb.Out, packet []byte) {
	if o.sent.sa != sa {
		o.send()
		o.sent.sa, o.sent.flow = sa, f
	}
	o.sent.packets = append(o.sent.packets, packet)
}

// send hands the run to its socket.
func (o *outbound) send() {
	r := &o.sent
	if len(r.packets) == 0 {
		return
	}
	remote := r.sa.Remote()
	switch socket := o.socket(r.sa); {
	case socket == nil:
		r.flow.CountSendErrors(len(r.packets))
		o.p.count.drop(NoSocket, len(r.packets))
	default:
		lost := 0
		if err := socket.WriteBatch(r.packets, remote); err != nil {
			lost = len(r.packets)
			var part *mmsg.SendError
			if errors.As(err, &part) {
				lost = part.Lost
			}
			r.flow.CountSendErrors(lost)
			o.p.count.drop(SendFailed, lost)
		}
		o.p.count.sealed.Add(uint64(len(r.packets) - lost))
	}
	clear(r.packets)
	r.packets, r.sa, r.flow = r.packets[:0], nil, nil
}

// socket is the one an SA's packets leave by, or nil.
func (o *outbound) socket(sa *sadb.Out) Packets {
	l := (*o.p.locals.Load())[sa.Child.Local.Addr()]
	switch {
	case l == nil:
		return nil
	case sa.Whole():
		return l.AH
	case sa.Child.Encap:
		return l.UDP
	}
	return l.ESP
}

// Installed says that the flow has an SA now: what waited for it goes out, in
// order, before this returns.
func (p *Path) Installed(id policy.FlowID) {
	p.out.mu.Lock()
	s := p.db.Snapshot()
	if f := s.Flow(id); f != nil {
		p.out.flush(s, f, p.clock().UnixNano())
	} else {
		p.out.discard(id)
	}
	p.out.finish()
}

// Failed says that the flow gets no SA for now: what waited for it is dropped
// and counted. The next packet asks again.
func (p *Path) Failed(id policy.FlowID) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.discard(id)
}

// Reconfigured says that sadb.DB.SetPolicy was called: what waits for a flow
// that the policy has no more is dropped and counted.
func (p *Path) Reconfigured() {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	s := p.db.Snapshot()
	for id := range p.out.waiting.flows {
		if s.Flow(id) == nil {
			p.out.discard(id)
			delete(p.out.waiting.flows, id)
		}
	}
}

// discard drops what waits for a flow. The caller holds the mutex.
func (o *outbound) discard(id policy.FlowID) {
	q := o.waiting.flows[id]
	if n := len(o.waiting.take(id)); n > 0 {
		q.flow.CountNoSA(n)
		o.p.count.drop(NoSA, n)
	}
}

// Waiting is how many packets wait for an SA of a flow.
func (p *Path) Waiting(id policy.FlowID) int {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	if q := p.out.waiting.flows[id]; q != nil {
		return len(q.packets)
	}
	return 0
}

// noPort is an address without the port: there is none outside UDP, whatever a
// socket may say.
func noPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
