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

// Keys is the keying material of one direction (RFC 2409 5.5): of its ESP SA,
// its AH SA, or both, a bundle in which AH goes around ESP. Salt octets of a
// combined mode are the last octets of Encr.
type Keys struct {
	SPI     uint32 // of the ESP SA; 0 without ESP
	Encr    crypt.Secret
	Integ   crypt.Secret
	AHSPI   uint32 // of the AH SA; 0 without AH
	AHInteg crypt.Secret
}

// Name is the SPI that stands for the pair in logs and events: ESP's, or AH's
// when there is no ESP.
func (k Keys) Name() uint32 {
	if k.SPI == 0 {
		return k.AHSPI
	}
	return k.SPI
}

// Child is an IPsec SA pair as phase 2 agreed it: one inbound and one outbound SA.
type Child struct {
	ID        ChildID
	Flow      policy.FlowID
	Selectors flow.Selectors // what the SAs carry; may be narrower than the flow's line
	// Set is what was agreed; its Mode is the one in use, also where the
	// configuration's set falls back to tunnel mode.
	Set policy.TransformSet
	PFS suite.Group
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
	// ESN: sequence numbers have 64 bits (RFC 4304).
	ESN bool
}
