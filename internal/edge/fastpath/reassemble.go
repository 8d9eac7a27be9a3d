package fastpath

import (
	"encoding/binary"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/sadb"
)

// Transport mode "is applied only to whole IP datagrams (not to IP fragments)"
// (RFC 4303 section 3.3.4), but the kernel has fragmented what is larger than
// the TUN device's MTU before we see it. So for transport mode, and for it only,
// fragments are put together first; behind ESP and AH they are cut again.
const (
	maxPartial  = 64               // datagrams of which fragments wait for the rest
	partialLife = 15 * time.Second // RFC 791 section 3.2
	maxHeader   = 60
	maxDatagram = 65535 - maxHeader
)

// datagramID names the datagram that fragments belong to: RFC 791 section 2.3.
type datagramID struct {
	ends  [8]byte // source and destination
	ident uint16
	proto uint8
}

// partial is a datagram of which not everything is here.
type partial struct {
	buf    []byte // sadb.Headroom, room for a header, the data, sadb.Tailroom
	got    [maxDatagram/8/64 + 1]uint64
	header int // octets of the first fragment's header; 0 before it came
	end    int // octets of data in all; -1 before the last fragment came
	octets int // of data that are here
	parts  int
	since  int64
}

// assembly is what waits. It belongs to the outbound side.
type assembly map[datagramID]*partial

// add takes the fragment p and returns the whole datagram once it has all of
// it: a buffer with the packet from sadb.Headroom on, and its length. dropped
// counts fragments that were given up for it: of a datagram that was too long
// under way, that made room, or that contradicts itself.
func (a assembly) add(p []byte, now int64) (buf []byte, n, dropped int) {
	ihl := int(p[0]&15) * 4
	word := binary.BigEndian.Uint16(p[6:])
	at, more, data := int(word&0x1fff)*8, word&0x2000 != 0, p[ihl:]
	id := datagramID{[8]byte(p[12:20]), binary.BigEndian.Uint16(p[4:]), p[9]}
	dropped = a.expire(now)
	x := a[id]
	if x == nil {
		if len(a) >= maxPartial {
			dropped += a.dropOldest()
		}
		x = &partial{end: -1, since: now, buf: make([]byte, sadb.Headroom+maxHeader+maxDatagram+sadb.Tailroom)}
		a[id] = x
	}
	x.parts++
	if !x.take(p[:ihl], data, at, more) {
		delete(a, id)
		return nil, 0, dropped + x.parts
	}
	if x.header == 0 || x.octets != x.end {
		return nil, 0, dropped
	}
	delete(a, id)
	buf = x.buf[maxHeader-x.header:]
	whole := buf[sadb.Headroom : sadb.Headroom+x.header+x.end]
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	whole[6], whole[7] = 0, 0
	ah.PutChecksum(whole[:x.header])
	return buf, len(whole), dropped
}

// take puts a fragment in its place; false when it cannot be one of this datagram.
func (x *partial) take(header, data []byte, at int, more bool) bool {
	if len(data) == 0 || at+len(data) > maxDatagram || (more && len(data)%8 != 0) || (x.end >= 0 && at+len(data) > x.end) {
		return false
	}
	if !more {
		if x.end >= 0 || x.octets > at { // the last one twice, or something behind it
			return false
		}
		x.end = at + len(data)
	}
	for unit := at / 8; unit*8 < at+len(data); unit++ {
		if x.got[unit/64]&(1<<(unit%64)) != 0 {
			return false // it overlaps another
		}
		x.got[unit/64] |= 1 << (unit % 64)
	}
	const start = sadb.Headroom + maxHeader
	copy(x.buf[start+at:], data)
	x.octets += len(data)
	if at == 0 {
		x.header = len(header)
		copy(x.buf[start-len(header):], header)
	}
	return true
}

func (a assembly) expire(now int64) (dropped int) {
	for id, x := range a {
		if now-x.since >= int64(partialLife) || now < x.since {
			dropped += x.parts
			delete(a, id)
		}
	}
	return dropped
}

func (a assembly) dropOldest() int {
	var oldest datagramID
	since := int64(-1)
	for id, x := range a {
		if since < 0 || x.since < since {
			oldest, since = id, x.since
		}
	}
	n := a[oldest].parts
	delete(a, oldest)
	return n
}
