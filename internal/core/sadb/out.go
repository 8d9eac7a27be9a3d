package sadb

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/suite"
)

const (
	ipv4Header = 20
	outerTTL   = 64
	// dontFragment is the DF bit in the octet of the flags.
	dontFragment = 0x40

	// Headroom is what must be free before an inner packet that is sealed in
	// place, whatever the SA: ESP, around it AH, around it an IPv4 header.
	// Tailroom is what must be free behind it.
	Headroom = ipv4Header + ah.MaxLen + esp.Headroom
	Tailroom = esp.Tailroom
)

// Why a packet cannot be sealed in transport mode.
var (
	ErrFragment = errors.New("a fragment cannot be sealed in transport mode: that applies to whole packets only (RFC 4303 section 3.3.4)")
	ErrEndpoint = errors.New("in transport mode the two ends of the packet are the two ends of the SA; this packet's are others")
)

// Out is an outbound SA, or a bundle of two. Seal belongs to one goroutine at a
// time, since it counts the sequence numbers; everything else may be called
// from anywhere.
type Out struct {
	Child     Child       // without its keys
	esp       *esp.Sealer // nil without ESP
	ah        *ah.Sealer  // nil without AH
	encrypts  bool
	transport bool
	ident     uint16 // identification of the last IPv4 header made here
	use       *use
	ended     atomic.Bool
	remote    *endpoint
	flow      *counters
}

// Remote is where the packets go; see Child.Remote.
func (o *Out) Remote() netip.AddrPort { return *o.remote.at.Load() }

// Usable is false once the SA reached a hard limit: nothing can be sealed with
// it any more, and Snapshot.Outbound passes over it.
func (o *Out) Usable() bool { return !o.ended.Load() }

// Whole reports whether Seal makes whole IPv4 packets, which are to be sent as
// they are: with AH, whose ICV covers the header, and in transport mode, where
// the header is the packet's own. Otherwise it makes the payload of a packet
// from Local to Remote: of one of protocol 50, or with Encap of UDP.
func (o *Out) Whole() bool { return o.ah != nil || (o.transport && !o.Child.Encap) }

// seq is the sequence number of the last packet; the two of a bundle go together.
func (o *Out) seq() uint64 {
	if o.ah != nil {
		return o.ah.Seq()
	}
	return o.esp.Seq()
}

// part is what is sealed of an inner packet.
type part struct {
	off, n int   // buf[off:off+n] is ESP's or AH's payload
	next   uint8 // its protocol
	header int   // octets of the packet's own IPv4 header before it; 0 in tunnel mode
}

// part decides what of the inner packet at buf[off:off+n] is sealed.
func (o *Out) part(buf []byte, off, n int) (part, error) {
	if !o.transport {
		return part{off, n, esp.NextIPv4, 0}, nil
	}
	if n < ipv4Header || off < 0 || off+n > len(buf) {
		return part{}, esp.ErrNoRoom
	}
	p := buf[off : off+n]
	ihl := int(p[0]&15) * 4
	switch {
	case ihl < ipv4Header || ihl > n:
		return part{}, esp.ErrNoRoom
	case binary.BigEndian.Uint16(p[6:])&0x3fff != 0:
		return part{}, ErrFragment
	case netip.AddrFrom4([4]byte(p[16:20])) != o.Remote().Addr(),
		netip.AddrFrom4([4]byte(p[12:16])) != o.Child.Local.Addr():
		return part{}, ErrEndpoint
	}
	return part{off + ihl, n - ihl, p[9], ihl}, nil
}

// Seal makes buf[off:off+n], an inner packet with Headroom before and Tailroom
// behind it, the SA's next packet, in place, and counts it: in ESP, in AH, or in
// ESP and then in AH; see Whole. now is the time in Unix nanoseconds. crossed is
// Soft or Hard the first time that limit is reached, with err nil or not.
// Errors: esp.ErrNoRoom, ErrFragment, ErrEndpoint and ah.ErrOptions concern this packet;
// ErrVolume and esp.ErrExhausted come from when the SA has ended, with buf unchanged.
func (o *Out) Seal(buf []byte, off, n int, now int64) (packet []byte, crossed Limit, err error) {
	p, err := o.part(buf, off, n)
	if err != nil {
		if !errors.Is(err, ErrFragment) { // which its sender may yet put together
			o.flow.sendErrors.Add(1)
		}
		return nil, NoLimit, err
	}
	body := p.n
	if o.esp != nil {
		body = o.esp.Body(p.n)
	}
	if err = o.over(body); err != nil {
		o.ended.Store(true)
		return nil, o.use.tell(Hard), err
	}
	if packet, err = o.wrap(buf, off, p); err != nil {
		o.flow.sendErrors.Add(1)
		return nil, NoLimit, err
	}
	o.flow.encaps.Add(1)
	if o.encrypts {
		o.flow.encrypts.Add(1)
	}
	o.flow.sendOctets.Add(uint64(n))
	crossed = o.use.add(body, now)
	if o.seq() == softSeq(o.Child.ESN) {
		crossed = max(crossed, o.use.tell(Soft))
	}
	return packet, crossed, nil
}

// over is the end of the SA, if a packet of body octets would go beyond it.
func (o *Out) over(body int) error {
	switch {
	case !o.use.fits(body):
		return ErrVolume
	case o.esp != nil && o.esp.Exhausted(), o.ah != nil && o.ah.Exhausted():
		return esp.ErrExhausted
	}
	return nil
}

// wrap puts what belongs around p. In transport mode the packet's own header
// makes room for that by moving towards the start of buf.
func (o *Out) wrap(buf []byte, off int, p part) ([]byte, error) {
	if o.Whole() {
		return o.wrapWhole(buf, off, p)
	}
	return o.esp.Seal(buf, p.off, p.n, p.next)
}

func (o *Out) wrapWhole(buf []byte, off int, p part) ([]byte, error) {
	room, header := 0, max(p.header, ipv4Header)
	if o.esp != nil {
		room = o.esp.Header()
	}
	if o.ah != nil {
		room += o.ah.Len()
	}
	start := p.off - room - header
	if start < 0 || p.off+p.n > len(buf) {
		return nil, esp.ErrNoRoom
	}
	if p.header > 0 {
		copy(buf[start:], buf[off:off+p.header])
	} else {
		o.putHeader(buf[start : start+ipv4Header])
	}
	end := p.off + p.n
	next := p.next
	if o.esp != nil {
		sealed, err := o.esp.Seal(buf, p.off, p.n, p.next)
		if err != nil {
			return nil, err
		}
		end, next = p.off-o.esp.Header()+len(sealed), esp.Proto
	}
	packet := buf[start:end]
	if packet[4]|packet[5] == 0 && (o.ah != nil || packet[6]&dontFragment == 0) {
		// Whoever sends the packet would fill in a zero (raw(7)): behind the
		// ICV's back, or another one in each fragment.
		o.identify(packet)
	}
	if o.ah != nil {
		return packet, o.ah.Seal(packet, next)
	}
	packet[9] = next
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	ah.PutChecksum(packet[:header])
	return packet, nil
}

// putHeader writes the outer header of tunnel mode but for what AH fills in:
// like the one the kernel makes for ESP, it may be fragmented.
func (o *Out) putHeader(h []byte) {
	clear(h)
	h[0], h[8] = 0x45, outerTTL
	src, dst := o.Child.Local.Addr().As4(), o.Remote().Addr().As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
}

// identify gives a header an identification that is not zero.
func (o *Out) identify(header []byte) {
	if o.ident++; o.ident == 0 {
		o.ident = 1
	}
	binary.BigEndian.PutUint16(header[4:], o.ident)
}

// newOut makes the outbound SA of c.
func (d *DB) newOut(c *Child, at *child, n *counters) (*Out, error) {
	o := &Out{
		Child: at.facts, transport: c.Set.Mode == suite.Transport, encrypts: encrypts(c),
		use: newUse(c, 0), remote: at.remote, flow: n,
	}
	var err error
	if c.Set.AH != suite.NoHash {
		if o.ah, err = ah.NewSealer(c.Set.AH, c.Out.AHSPI, c.Out.AHInteg, c.ESN); err != nil {
			return nil, outbound(err)
		}
	}
	var ident [2]byte
	if err := d.draw(ident[:]); err != nil {
		return nil, err
	}
	o.ident = binary.BigEndian.Uint16(ident[:])
	if c.Set.Cipher == suite.NoCipher {
		return o, nil
	}
	secret, err := d.ivKey()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	if o.esp, err = esp.NewSealer(espSet(c), c.Out.SPI, c.Out.Encr, c.Out.Integ, secret); err != nil {
		return nil, outbound(err)
	}
	return o, nil
}
