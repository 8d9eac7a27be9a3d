package sadb

import (
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
)

// ErrVolume is the end of an SA: as many octets as its lifetime allows went
// through it.
var ErrVolume = errors.New("the SA's volume lifetime is used up")

// Limit is a lifetime that was reached: RFC 4301 section 4.4.2.1.
type Limit uint8

// The limits. Soft asks for a successor; Hard ended the SA.
const (
	NoLimit Limit = iota
	Soft
	Hard
)

func (l Limit) String() string {
	switch l {
	case Soft:
		return "soft"
	case Hard:
		return "hard"
	}
	return "none"
}

// softSeq is the sequence number at which an SA asks for its successor: 2²⁸
// packets before the last one, minutes at a million packets a second.
func softSeq(esn bool) uint64 {
	if esn {
		return math.MaxUint64 - 1<<28
	}
	return math.MaxUint32 - 1<<28
}

// use is what went through one direction of an SA pair. One goroutine writes,
// anyone reads.
type use struct {
	packets, octets atomic.Uint64
	last            atomic.Int64 // Unix nanoseconds; 0 never
	soft, hard      uint64       // octets; 0 for no limit
	told            Limit        // the highest limit reported; the writer's own
}

// newUse computes the limits of a direction. The soft limit comes after 90 % of
// the volume with the initiator and after 95 % with the responder of the SA, so
// that the two ends do not both renew at the same moment. slack is granted on
// top of the hard limit.
func newUse(c *Child, slack uint64) *use {
	u := &use{}
	if c.Lifetime.Kilobytes == 0 || c.Lifetime.Kilobytes > math.MaxUint64/4096 {
		return u
	}
	volume := c.Lifetime.Kilobytes * 1024
	u.soft, u.hard = volume-volume/20, volume
	if c.Initiator {
		u.soft = volume - volume/10
	}
	if slack > 0 {
		u.hard += volume / slack
	}
	return u
}

// fits reports whether n more octets are within the hard limit.
func (u *use) fits(n int) bool { return u.hard == 0 || u.octets.Load()+uint64(n) <= u.hard }

// add notes a packet of n octets at time now, in Unix nanoseconds, and reports
// whether that crossed the soft limit for the first time.
func (u *use) add(n int, now int64) Limit {
	u.packets.Add(1)
	octets := u.octets.Add(uint64(n))
	if u.last.Load() != now { // one time a batch: mostly a read, which is cheap
		u.last.Store(now)
	}
	if u.soft != 0 && octets >= u.soft {
		return u.tell(Soft)
	}
	return NoLimit
}

// tell returns l the first time it is reached, NoLimit later.
func (u *use) tell(l Limit) Limit {
	if l <= u.told {
		return NoLimit
	}
	u.told = l
	return l
}

// endpoint is the peer's outer address. It moves when a NAT gives the peer
// another mapping.
type endpoint struct {
	at atomic.Pointer[netip.AddrPort]
}
