// Package sadb is the SAD and the SPD of RFC 4301 section 4.4: which packet
// needs which SA, and the SAs themselves. One writer, lookups from
// copy-on-write snapshots without a lock.
package sadb

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// ChildID names an installed SA pair for its whole life. Never reused.
type ChildID uint64

// Keys is the keying material of one direction (RFC 2409 5.5). Salt octets of
// a combined mode are the last octets of Encr.
type Keys struct {
	SPI   uint32
	Encr  crypt.Secret
	Integ crypt.Secret
}

// Child is an IPsec SA pair as phase 2 agreed it: one inbound and one outbound SA.
type Child struct {
	ID        ChildID
	Flow      policy.FlowID
	Selectors flow.Selectors // what the SAs carry; may be narrower than the flow's line
	Set       policy.TransformSet
	PFS       suite.Group
	// Local and Remote are the outer addresses. With Encap the packets travel
	// in UDP between these ports; without it the ports mean nothing.
	Local, Remote netip.AddrPort
	Encap         bool
	// PeerBehind: the peer is behind a NAT, so its outer address may move.
	PeerBehind   bool
	In, Out      Keys
	Lifetime     policy.Lifetime
	Established  time.Time
	ReplayWindow int // packets
	Initiator    bool
}
