package sadb

import (
	"errors"
	"math"
	"net/netip"
	"sync/atomic"

	"culvert/internal/core/esp"
	"culvert/internal/core/replay"
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
const softSeq = math.MaxUint32 - 1<<28

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

// Out is an outbound SA. Seal belongs to one goroutine at a time, since it
// counts the sequence numbers; everything else may be called from anywhere.
type Out struct {
	Child  Child // without its keys
	sealer *esp.Sealer
	use    *use
	ended  atomic.Bool
	remote *endpoint
	flow   *counters
}

// Remote is where the packets go; see Child.Remote.
func (o *Out) Remote() netip.AddrPort { return *o.remote.at.Load() }

// Usable is false once the SA reached a hard limit: nothing can be sealed with
// it any more, and Snapshot.Outbound passes over it.
func (o *Out) Usable() bool { return !o.ended.Load() }

// Seal makes buf[off:off+n], an inner packet with esp.Headroom before and
// esp.Tailroom behind it, the SA's next ESP packet, in place, and counts it. now
// is the time in Unix nanoseconds. crossed is Soft or Hard the first time that
// limit is reached, with err nil or not. Errors: esp.ErrNoRoom; ErrVolume and
// esp.ErrExhausted from when the SA has ended, with buf unchanged.
func (o *Out) Seal(buf []byte, off, n int, now int64) (packet []byte, crossed Limit, err error) {
	body := o.sealer.Body(n)
	if !o.use.fits(body) {
		o.ended.Store(true)
		return nil, o.use.tell(Hard), ErrVolume
	}
	packet, err = o.sealer.Seal(buf, off, n, esp.NextIPv4)
	if err != nil {
		if errors.Is(err, esp.ErrExhausted) {
			o.ended.Store(true)
			return nil, o.use.tell(Hard), err
		}
		o.flow.sendErrors.Add(1)
		return nil, NoLimit, err
	}
	o.flow.encaps.Add(1)
	o.flow.sendOctets.Add(uint64(n))
	crossed = o.use.add(body, now)
	if o.sealer.Seq() == softSeq {
		crossed = max(crossed, o.use.tell(Soft))
	}
	return packet, crossed, nil
}

// inSlack is the part of the volume an inbound SA accepts beyond it. The sender
// enforces the limit; "implementations MUST be able to handle having the
// counters at the ends of an SA get out of synch" (RFC 4301 4.4.2.1), for the
// peer may not count what we count.
const inSlack = 8 // one eighth

// In is an inbound SA. Open belongs to one goroutine, since it owns the
// anti-replay window; everything else may be called from anywhere.
type In struct {
	Child  Child // without its keys
	opener *esp.Opener
	window *replay.Window
	use    *use
	remote *endpoint
	flow   *counters
}

// Remote is where packets of the SA are expected from; see Child.Remote.
func (i *In) Remote() netip.AddrPort { return *i.remote.at.Load() }

// Opened is an authentic packet.
type Opened struct {
	Payload []byte // a part of the packet opened
	Next    uint8  // its protocol; esp.NextDummy means: discard silently
	Seq     uint32
	// Newest: no packet with a higher sequence number came before. Only such a
	// packet says where the peer is now; an older one may have been held back.
	Newest  bool
	Crossed Limit // Soft or Hard the first time that limit is reached, with err nil or not
}

// Open is RFC 4303 section 3.4 for one packet, in place: replay check, ICV,
// window update, decryption, padding; and it counts. The payload is not
// compared with the SA's selectors: that is the caller's next step (RFC 4301 5.2
// step 4), see Refuse. now is the time in Unix nanoseconds. Errors: esp.ErrShort
// and esp.ErrLength; replay.ErrZero, ErrSeen, ErrTooOld; esp.ErrICV;
// esp.ErrPadding and ErrVolume for an authentic packet.
func (i *In) Open(packet []byte, now int64) (p Opened, err error) {
	if err = i.opener.Check(packet); err != nil {
		i.flow.recvErrors.Add(1)
		return p, err
	}
	_, p.Seq, _ = esp.Header(packet)
	seq := uint64(p.Seq)
	if err = i.window.Check(seq); err != nil {
		return p, i.replayed(err)
	}
	plain, err := i.opener.Authenticate(packet)
	if err != nil {
		i.flow.verifyFailed.Add(1)
		i.flow.recvErrors.Add(1)
		return p, err
	}
	p.Newest = seq > i.window.Top()
	if err = i.window.Update(seq); err != nil {
		return p, i.replayed(err)
	}
	if !i.use.fits(len(plain)) {
		p.Crossed = i.use.tell(Hard)
		i.flow.recvErrors.Add(1)
		return p, ErrVolume
	}
	p.Crossed = i.use.add(len(plain), now)
	if p.Payload, p.Next, err = esp.Trim(plain); err != nil {
		i.flow.recvErrors.Add(1)
		return p, err
	}
	i.flow.decaps.Add(1)
	i.flow.receiveOctets.Add(uint64(len(p.Payload)))
	return p, nil
}

func (i *In) replayed(err error) error {
	i.flow.replayFailed.Add(1)
	i.flow.recvErrors.Add(1)
	return err
}

// Refuse counts a packet that Open took but whose inner header is no traffic of
// the SA.
func (i *In) Refuse() {
	i.flow.invalidIdentity.Add(1)
	i.flow.recvErrors.Add(1)
}
