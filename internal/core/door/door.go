// Package door is what passes through the core's door: the inputs of an
// engine's Step and the outputs it appends. All are plain values, so a test,
// the simulator and the gateway drive the same engine the same way.
package door

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// Input is one thing that happened outside the core.
type Input interface{ input() }

// Datagram is an IKE message that came. Behind port 4500 the edge has removed
// the non-ESP marker (RFC 3948 2.2). The engine keeps no reference to Payload
// after Step.
type Datagram struct {
	Local, Remote netip.AddrPort
	Payload       []byte
}

// Trigger is interesting traffic that has no SA yet.
type Trigger struct {
	Flow   policy.FlowID
	Packet flow.Tuple
}

// Computed brings back the result of a Compute.
type Computed struct {
	ID     uint64
	Result crypt.Result
}

// Expire says that an SA pair reached its volume limit. Soft asks for a
// successor, hard ends it.
type Expire struct {
	Child sadb.ChildID
	Hard  bool
}

// Clear is an operator's clear command.
type Clear struct {
	// IPsec clears IPsec SAs, ISAKMP clears ISAKMP SAs.
	IPsec, ISAKMP bool
	Peer          netip.Addr // the zero Addr for every peer
	Conn          int        // one ISAKMP SA; 0 for all
	Map           string     // the IPsec SAs of one crypto map; "" for all
	// Dest, AH and SPI name one SA: the address it ends at, its protocol and
	// its SPI. Its pair is cleared. SPI 0 for all.
	Dest netip.Addr
	AH   bool
	SPI  uint32
}

// Names reports whether the command is about that SA pair.
func (c Clear) Names(k *sadb.Child) bool {
	if c.Peer.IsValid() && k.Remote.Addr() != c.Peer || c.Map != "" && k.Flow.Map != c.Map {
		return false
	}
	if c.SPI == 0 {
		return true
	}
	one := func(end netip.Addr, keys sadb.Keys) bool {
		spi := keys.SPI
		if c.AH {
			spi = keys.AHSPI
		}
		return c.Dest == end && c.SPI == spi
	}
	return one(k.Local.Addr(), k.In) || one(k.Remote.Addr(), k.Out)
}

// Configure replaces the settings. SAs whose settings are the same stay as they
// are; those of an entry that is gone or changed are deleted, and the peer told.
type Configure struct{ Settings *policy.Settings }

// Fetched brings back the answer to a Fetch.
type Fetched struct {
	ID   uint64
	Body []byte
	Err  string // why there is none, "" when there is
}

// NotAsked begins Fetched.Err when the request never left: nobody is to blame
// at its URL.
const NotAsked = "was not asked"

// Observed answers Observe: what the data path has seen of an SA pair.
type Observed struct {
	Child sadb.ChildID
	// In and Out are when the last packet was opened and sealed; the zero Time
	// for never.
	In, Out time.Time
}

// Moved says that an authentic packet of an SA pair in UDP, newer than all
// before, came from another address or port: a NAT gave the peer another mapping.
type Moved struct {
	Child  sadb.ChildID
	Remote netip.AddrPort
}

// InvalidSPI is an ESP or AH packet from a configured peer with an SPI that is
// not ours, at most one a second from one peer. Nobody vouches for it.
type InvalidSPI struct {
	Local, Remote netip.AddrPort // ports as the packet had them, 0 for raw IP
	Protocol      uint8          // 50 or 51
	SPI           uint32
}

func (Datagram) input()   {}
func (Trigger) input()    {}
func (Computed) input()   {}
func (Expire) input()     {}
func (Clear) input()      {}
func (Configure) input()  {}
func (Fetched) input()    {}
func (Observed) input()   {}
func (InvalidSPI) input() {}
func (Moved) input()      {}

// Output is one thing that has to be done outside the core.
type Output interface{ output() }

// Send is an IKE message to send. When Local's port is 4500 the edge puts the
// non-ESP marker in front, unless Raw is set (a NAT keepalive, RFC 3948 2.3).
type Send struct {
	Local, Remote netip.AddrPort
	Payload       []byte
	Raw           bool
}

// Compute is slow arithmetic; its result comes back as Computed with the same ID.
type Compute struct {
	ID  uint64
	Job crypt.Job
}

// Install puts one or both directions of an SA pair into the data path.
type Install struct {
	Child   *sadb.Child
	In, Out bool
}

// Remove takes an SA pair out of the data path.
type Remove struct{ Child sadb.ChildID }

// Move changes the peer's outer address and port of an SA pair in UDP.
type Move struct {
	Child  sadb.ChildID
	Remote netip.AddrPort
}

// Unreachable says that a flow could not get an SA: packets that wait for it
// are to be dropped.
type Unreachable struct{ Flow policy.FlowID }

// Define makes known a flow of a dynamic crypto map entry, before its SAs are
// installed: from then on its traffic is interesting. Flow.Entry and Flow.Line
// are made for it. Undefine takes it back when its last SA pair is gone.
type Define struct{ Flow policy.Flow }

// Undefine takes a flow of a Define back.
type Undefine struct{ Flow policy.FlowID }

// Fetch asks for a document over HTTP: a revocation list, or an answer of an
// OCSP responder. Its URL comes from a certificate whose chain has been proved.
type Fetch struct {
	ID   uint64
	URL  string
	Body []byte // to POST; nil for GET
	Type string // Content-Type of Body
	Most int    // octets of the answer that are read at most
}

// Observe asks the data path for what it has seen of an SA pair; Observed
// brings that back at once.
type Observe struct{ Child sadb.ChildID }

// Emit is an event for whoever listens.
type Emit struct{ Event event.Event }

func (Send) output()        {}
func (Compute) output()     {}
func (Install) output()     {}
func (Remove) output()      {}
func (Move) output()        {}
func (Unreachable) output() {}
func (Define) output()      {}
func (Undefine) output()    {}
func (Fetch) output()       {}
func (Observe) output()     {}
func (Emit) output()        {}
