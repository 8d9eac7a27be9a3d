// Package door is what passes through the core's door: the inputs of an
// engine's Step and the outputs it appends. All are plain values, so a test,
// the simulator and the gateway drive the same engine the same way.
package door

import (
	"net/netip"

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
}

// Configure replaces the settings. SAs that live stay as they are.
type Configure struct{ Settings *policy.Settings }

func (Datagram) input()  {}
func (Trigger) input()   {}
func (Computed) input()  {}
func (Expire) input()    {}
func (Clear) input()     {}
func (Configure) input() {}

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

// Unreachable says that a flow could not get an SA: packets that wait for it
// are to be dropped.
type Unreachable struct{ Flow policy.FlowID }

// Emit is an event for whoever listens.
type Emit struct{ Event event.Event }

func (Send) output()        {}
func (Compute) output()     {}
func (Install) output()     {}
func (Remove) output()      {}
func (Unreachable) output() {}
func (Emit) output()        {}
