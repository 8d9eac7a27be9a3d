package fastpath

import (
	"net/netip"
	"sync/atomic"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// Drop is a reason to drop a packet.
type Drop uint8

// The reasons: first those of packets on their way out, then those of packets
// that came in.
const (
	Bypass      Drop = iota // no crypto ACL permits it: it should not have come to the TUN device
	Malformed               // no whole IPv4 packet
	NoSA                    // no SA came up in time, or too much was waiting
	SealFailed              // no room for ESP around it
	Unfit                   // of a transport mode SA, but a fragment, or not between its two ends
	NoSocket                // the SA's local address has no socket
	SendFailed              // the network did not take it
	Keepalive               // NAT keepalive, RFC 3948 section 2.3: nothing is lost
	Short                   // UDP datagram that is neither ESP nor IKE nor a keepalive
	ReservedSPI             // SPI 0 to 255
	BadSPI                  // no such SA
	WrongWay                // not the encapsulation or the addresses of its SA
	BadLength               // shorter than ESP or AH, or not as long as the SA's algorithms make it
	Replayed                // seen before, too old, or sequence number 0
	BadICV                  // forged or damaged
	BadPadding              // authentic, but its sender made it wrongly
	Expired                 // the SA's volume is used up
	Dummy                   // RFC 4303 section 2.6: made to be dropped
	BadInner                // authentic, but no whole IPv4 packet within, or no ESP in the AH of a bundle
	Outside                 // authentic, but the inner packet is no traffic of the SA
	WriteFailed             // the TUN device did not take it
	numDrops
)

// String is the reason in words.
func (d Drop) String() string {
	words := [numDrops]string{
		"not interesting traffic", "malformed packet", "no SA", "no room for ESP", "not fit for transport mode", "no socket", "send failed",
		"NAT keepalive", "short datagram", "reserved SPI", "unknown SPI", "not the way of its SA", "bad ESP or AH length", "replayed",
		"integrity check failed", "bad padding", "SA volume used up", "dummy packet", "bad inner packet",
		"inner packet outside the selectors", "TUN write failed",
	}
	if d >= numDrops {
		return "unknown"
	}
	return words[d]
}

// Drops lists every reason.
func Drops() []Drop {
	out := make([]Drop, numDrops)
	for d := range out {
		out[d] = Drop(d)
	}
	return out
}

// Audit is a packet from outside that was dropped, with what RFC 4301 section
// 5.2 and RFC 4303 section 3.4 want logged of it: BadSPI, WrongWay, BadLength,
// Replayed, BadICV, BadPadding, BadInner or Outside.
type Audit struct {
	Why           Drop
	Local, Remote netip.AddrPort // outer addresses; ports 0 without UDP
	Encap         bool           // it came in UDP
	Proto         uint8          // 50 for ESP, 51 for AH
	SPI, Seq      uint32         // as the packet carries them
	Child         sadb.ChildID   // 0 when the SPI is unknown
	Flow          policy.FlowID
	Inner         flow.Tuple // for Outside
}

// counters of the path. What belongs to a flow is counted in core/sadb.
type counters struct {
	read, sealed, received, delivered atomic.Uint64
	drops                             [numDrops]atomic.Uint64
}

func (c *counters) drop(d Drop, n int) { c.drops[d].Add(uint64(n)) }

// Stats is what went through the path since it was made, in packets.
type Stats struct {
	Read      uint64 // from the TUN device
	Sealed    uint64 // into ESP, and handed to a socket
	Received  uint64 // from the sockets, IKE and keepalives included
	Delivered uint64 // to the TUN device
	Waiting   int    // for an SA, now
	Dropped   [numDrops]uint64
}

// Drop is how many packets were dropped for that reason.
func (s *Stats) Drop(d Drop) uint64 {
	if d >= numDrops {
		return 0
	}
	return s.Dropped[d]
}

// Stats reads the counters.
func (p *Path) Stats() Stats {
	s := Stats{
		Read: p.count.read.Load(), Sealed: p.count.sealed.Load(),
		Received: p.count.received.Load(), Delivered: p.count.delivered.Load(),
	}
	for d := range s.Dropped {
		s.Dropped[d] = p.count.drops[d].Load()
	}
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	s.Waiting = p.out.waiting.packets
	return s
}
