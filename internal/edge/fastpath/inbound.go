package fastpath

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/replay"
	"culvert/internal/core/sadb"
)

const (
	socketBatch = 64
	// tunHeadroom is what a TUN device with offloads wants before each packet
	// it is given, for its virtio-net header: 10 octets, rounded up. Packets are
	// opened in place, so ESP header and IV before them are that room.
	tunHeadroom = 16
	// marker is the length of the non-ESP marker: four zero octets where ESP
	// has its SPI (RFC 3948 section 2.2).
	marker    = 4
	ikeHeader = 28 // RFC 2408 section 3.1
	keepalive = 0xff
	// rawSkew puts the payload behind an IPv4 header, an ESP header and the IV of
	// GCM on a boundary of 16 octets.
	rawSkew = 12
	// maxClaimed bounds what is remembered of peers that moved.
	maxClaimed = 1024
	// maxInvalid bounds what is remembered of addresses that sent invalid SPIs.
	maxInvalid = 1024
)

// inbound is the way from one socket to the TUN device. It owns the windows of
// all SAs that have its local address and its encapsulation.
type inbound struct {
	p      *Path
	l      *local
	socket Packets
	proto  uint8 // of the SAs: 50 for ESP, 51 for AH
	encap  bool
	addr   netip.AddrPort // local; without a port when not in UDP
	opened [][]byte       // packets to write, tunHeadroom before each
	// claimed is where an SA's packets came from last, if not from its peer's
	// address, so that each move is told once.
	claimed map[sadb.ChildID]netip.AddrPort
	invalid map[netip.Addr]int64 // when InvalidSPI was last told of an address, Unix nanoseconds
	swept   int64                // when invalid was last cleared of what is long past
}

func newInbound(p *Path, l *local, s Packets, proto uint8, encap bool) *inbound {
	in := &inbound{
		p: p, l: l, socket: s, proto: proto, encap: encap, addr: l.addr,
		claimed: map[sadb.ChildID]netip.AddrPort{}, invalid: map[netip.Addr]int64{},
	}
	if !encap {
		in.addr = noPort(l.addr)
	}
	in.opened = make([][]byte, 0, socketBatch)
	return in
}

// run reads the socket until it is closed.
func (in *inbound) run() {
	what := "raw " + flow.ProtoName(in.proto) + " socket of " + in.addr.String()
	if in.encap {
		what = "UDP socket " + in.addr.String()
	}
	// Room behind a packet lets the TUN device join what follows to it, and
	// transport mode in UDP make a header.
	size := (tunHeadroom + ipv4Header + esp.HeaderLen + in.p.limits.MaxPacket + 63) &^ 63
	skew := rawSkew
	if in.encap {
		skew = 0
	}
	slab := make([]byte, socketBatch*size)
	bufs, sizes, from := make([][]byte, socketBatch), make([]int, socketBatch), make([]netip.AddrPort, socketBatch)
	for i := range bufs {
		bufs[i] = slab[i*size+skew : (i+1)*size : (i+1)*size]
	}
	var patience failures
	for {
		n, err := in.socket.ReadBatch(bufs, sizes, from)
		if n > 0 {
			in.batch(bufs[:n], sizes, from)
			patience.n = 0
		}
		if err != nil && !patience.again(in.p, what, in.l.removed, err) {
			return
		}
	}
}

// batch takes datagrams that came in one read.
func (in *inbound) batch(bufs [][]byte, sizes []int, from []netip.AddrPort) {
	now := in.p.clock().UnixNano()
	in.p.count.received.Add(uint64(len(bufs)))
	s := in.p.db.Snapshot()
	in.opened = in.opened[:0]
	for i, b := range bufs {
		if in.encap {
			in.datagram(s, b, sizes[i], from[i], now)
		} else {
			in.raw(s, b, sizes[i], noPort(from[i]), now)
		}
	}
	if len(in.opened) == 0 {
		return
	}
	n := len(in.opened)
	if _, err := in.p.tun.Write(in.opened, tunHeadroom); err != nil {
		// The device does not say how many it refused; this is for a count.
		in.p.count.drop(WriteFailed, n)
		return
	}
	in.p.count.delivered.Add(uint64(n))
}

// datagram tells ESP, IKE and keepalives on UDP apart: RFC 3948 section 2.
func (in *inbound) datagram(s *sadb.Snapshot, buf []byte, n int, from netip.AddrPort, now int64) {
	switch {
	case n == 1 && buf[0] == keepalive:
		in.p.count.drop(Keepalive, 1)
	case n < marker:
		in.p.count.drop(Short, 1)
	case binary.BigEndian.Uint32(buf) != 0:
		in.packet(s, buf, 0, n, from, now)
	case n < marker+ikeHeader:
		in.p.count.drop(Short, 1)
	case in.p.up.Control != nil:
		in.p.up.Control(in.addr, from, append([]byte(nil), buf[marker:n]...))
	}
}

// raw takes one packet of a raw socket, from its IPv4 header on.
func (in *inbound) raw(s *sadb.Snapshot, buf []byte, n int, from netip.AddrPort, now int64) {
	at := 0
	if n >= ipv4Header {
		at = int(buf[0]&15) * 4
	}
	if at < ipv4Header || at > n {
		in.p.count.drop(Short, 1)
		return
	}
	in.packet(s, buf, at, n, from, now)
}

// header reads SPI and sequence number of the socket's protocol.
func (in *inbound) header(b []byte) (spi, seq uint32, ok bool) {
	if in.proto == ah.ProtoAH {
		return ah.Header(b)
	}
	return esp.Header(b)
}

// packet takes one ESP or AH packet, buf[at:n], and its IPv4 header, buf[:at],
// if there is one: RFC 4301 section 5.2 steps 3a to 5.
func (in *inbound) packet(s *sadb.Snapshot, buf []byte, at, n int, from netip.AddrPort, now int64) {
	spi, seq, ok := in.header(buf[at:n])
	if !ok {
		in.p.count.drop(Short, 1)
		return
	}
	if spi < esp.MinSPI {
		in.p.count.drop(ReservedSPI, 1)
		return
	}
	a := Audit{Local: in.addr, Remote: from, Encap: in.encap, Proto: in.proto, SPI: spi, Seq: seq}
	sa := s.Inbound(in.proto, spi)
	if sa == nil {
		in.refuse(a, BadSPI)
		in.tell(a, now)
		return
	}
	a.Child, a.Flow = sa.Child.ID, sa.Child.Flow
	if !in.ours(sa, from) {
		in.refuse(a, WrongWay)
		return
	}
	p, err := sa.Open(buf[:n], at, now)
	if p.Crossed != sadb.NoLimit && in.p.up.Expire != nil {
		in.p.up.Expire(sa.Child.ID, p.Crossed == sadb.Hard)
	}
	if err != nil {
		in.refuse(a, reason(err))
		return
	}
	if in.encap && p.Newest {
		in.follow(sa, from)
	}
	in.deliver(sa, a, buf, p)
}

// ours reports whether an SA's packet came the SA's way: to its local address,
// in its outermost protocol, in its encapsulation, and, without UDP, from its peer. In UDP a NAT may have
// moved the peer, which an authentic packet proves (see follow). Only because of
// this check does an SA's window have one owner.
func (in *inbound) ours(sa *sadb.In, from netip.AddrPort) bool {
	return sa.Child.Encap == in.encap && sa.Proto() == in.proto && sa.Child.Local.Addr() == in.addr.Addr() &&
		(in.encap || sa.Remote().Addr() == from.Addr())
}

// reason is why Open refused a packet.
func reason(err error) Drop {
	switch {
	case errors.Is(err, esp.ErrICV), errors.Is(err, ah.ErrICV):
		return BadICV
	case errors.Is(err, replay.ErrSeen), errors.Is(err, replay.ErrTooOld), errors.Is(err, replay.ErrZero):
		return Replayed
	case errors.Is(err, esp.ErrPadding):
		return BadPadding
	case errors.Is(err, sadb.ErrVolume):
		return Expired
	case errors.Is(err, sadb.ErrBundle):
		return BadInner
	}
	return BadLength
}

// follow tells, once for each place, that the peer is somewhere else now. The
// packet was authentic and the newest of its SA: one that was captured and held
// back cannot draw the tunnel to its sender.
func (in *inbound) follow(sa *sadb.In, from netip.AddrPort) {
	id := sa.Child.ID
	if from == sa.Remote() {
		if len(in.claimed) > 0 {
			delete(in.claimed, id)
		}
		return
	}
	if in.claimed[id] == from || in.p.up.Moved == nil {
		return
	}
	if len(in.claimed) >= maxClaimed {
		clear(in.claimed) // SAs long gone; at worst a move is told twice
	}
	in.claimed[id] = from
	in.p.up.Moved(id, from)
}

// deliver checks an authentic packet's inner header against the SA's selectors
// and enlists it for the TUN device.
func (in *inbound) deliver(sa *sadb.In, a Audit, buf []byte, p sadb.Opened) {
	if p.Next == esp.NextDummy {
		in.p.count.drop(Dummy, 1)
		return
	}
	t, total, ok := parseIPv4(p.Payload)
	if !ok || p.Next != esp.NextIPv4 {
		sa.Refuse()
		in.refuse(a, BadInner)
		return
	}
	if !sa.Child.Selectors.MatchIn(t) {
		sa.Refuse()
		a.Inner = t
		in.refuse(a, Outside)
		return
	}
	in.opened = append(in.opened, withHeadroom(buf, p.Payload[:total]))
}

// withHeadroom is a slice of buf that holds packet, a part of buf, at offset
// tunHeadroom and has buf's whole capacity behind it. ESP with the NULL cipher
// has less than that before the payload: there the packet moves.
func withHeadroom(buf, packet []byte) []byte {
	start := cap(buf) - cap(packet)
	if start < tunHeadroom {
		start = tunHeadroom
		copy(buf[start:cap(buf)], packet)
	}
	return buf[start-tunHeadroom : start+len(packet) : cap(buf)]
}

// tell reports an SPI that is not ours, at most once a second for one address.
// Where a flood of forged addresses fills the table, the rest of that second
// goes unreported.
func (in *inbound) tell(a Audit, now int64) {
	const second = int64(time.Second)
	if in.p.up.InvalidSPI == nil {
		return
	}
	from := a.Remote.Addr()
	last, known := in.invalid[from]
	if known && now >= last && now-last < second {
		return
	}
	if !known && len(in.invalid) >= maxInvalid {
		if now >= in.swept && now-in.swept < second {
			return
		}
		in.swept = now
		for addr, at := range in.invalid {
			if now < at || now-at >= second {
				delete(in.invalid, addr)
			}
		}
		if len(in.invalid) >= maxInvalid {
			return
		}
	}
	in.invalid[from] = now
	in.p.up.InvalidSPI(a.Local, a.Remote, a.Proto, a.SPI)
}

// refuse counts a packet from outside and reports it.
func (in *inbound) refuse(a Audit, why Drop) {
	in.p.count.drop(why, 1)
	if why == Expired || in.p.up.Audit == nil {
		return
	}
	a.Why = why
	in.p.up.Audit(a)
}
