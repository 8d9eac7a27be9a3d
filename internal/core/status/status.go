// Package status is what is, as values: one snapshot of a gateway, taken
// between two steps. show, explain, the web and metrics render it. The JSON
// names are a stable interface: they are added to, never changed.
package status

import (
	"net/netip"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Gateway is the whole snapshot.
type Gateway struct {
	Hostname string
	Version  string    // of the program, as show version prints it
	Started  time.Time // of the process; zero when unknown
	Now      time.Time
	Settings *policy.Settings
	// Sets is every transform set of the configuration, in its order. When nil
	// show takes the sets of Settings.Entries.
	Sets []policy.TransformSet
	// Entries is every crypto map entry of the configuration, also those that
	// are incomplete or applied nowhere (Interface ""). When nil show takes
	// Settings.Entries.
	Entries []policy.Entry
	// Dynamic is every crypto dynamic-map of the configuration, in its order.
	Dynamic []DynamicMap
	// Lifetime is the one of "crypto ipsec security-association lifetime"; the
	// zero Lifetime means the defaults.
	Lifetime policy.Lifetime
	ISAKMP   []ISAKMP
	Flows    []Flow // every flow of every entry, with or without SAs, in configuration order
	Lists    []List // every access list of the configuration, in its order
	// Defaults of phase 2 that show crypto map prints.
	NotIPsec uint64 // cleartext packets dropped because they should have been protected
	// BadSPI, BadICV, Replayed count inbound packets dropped by the data path.
	BadSPI, BadICV, Replayed uint64
	// Log holds the last events, oldest first, for explain.
	Failures []event.Event // the last event.Failed of each peer and flow
}

// DynamicMap is one crypto dynamic-map; Map and Seq of its entries are its own
// name and numbers.
type DynamicMap struct {
	Name    string
	Entries []policy.Entry
}

// ISAKMP is one ISAKMP SA.
type ISAKMP struct {
	Conn          int // 1001, 1002, …
	Local, Remote netip.AddrPort
	Role          event.Role
	State         string // MM_NO_STATE … QM_IDLE
	Deleted       bool   // shown as "ACTIVE (deleted)" for a while
	Policy        policy.ISAKMP
	Established   time.Time     // zero while negotiating
	Remaining     time.Duration // of the lifetime
	NAT           event.NATCheck
	DPD           bool
	Identity      string // of the peer, "" until known
	Profile       string // the isakmp profile in force, "" for none
	// Aggressive: phase 1 is aggressive mode; the states are then AG_…
	Aggressive bool
	// Fragmentation: the peer takes fragments.
	Fragmentation bool
}

// Flow is one line of interesting traffic and its SAs.
type Flow struct {
	ID        policy.FlowID
	Interface string // IOS name
	Local     netip.Addr
	Peer      netip.AddrPort // current peer
	Selectors flow.Selectors
	Text      string // the ACL line
	// Dynamic names the crypto dynamic-map entry that the flow was made from,
	// "DYN/10", and is empty for a flow of the configuration.
	Dynamic string
	PathMTU int
	// InterfaceMTU is the IP MTU of Interface in octets; 0 means PathMTU.
	InterfaceMTU int
	// Since is when the flow's first SA of an unbroken series came up: rekeying
	// does not change it. Zero when there is no SA or nobody kept the time.
	Since    time.Time
	Counters Counters // since start, over all SAs of the flow
	Children []Child  // newest last; empty when the flow has no SA
	Waiting  int      // packets queued for the tunnel
}

// Counters of one flow, in packets.
type Counters struct {
	Encaps, Encrypt, Digest   uint64
	Decaps, Decrypt, Verify   uint64
	SendErrors, RecvErrors    uint64
	SendOctets, ReceiveOctets uint64 // of inner packets
	NoSA                      uint64 // dropped because no SA came up in time
	InvalidIdentity           uint64 // inner packet outside the selectors
	ReplayFailed              uint64
	VerifyFailed              uint64
}

// Child is one SA pair.
type Child struct {
	In, Out            uint32 // SPIs of the ESP SAs; 0 without ESP
	AHIn, AHOut        uint32 // of the AH SAs; 0 without AH
	ESN                bool
	Selectors          flow.Selectors
	Set                policy.TransformSet
	PFS                suite.Group
	Encap              bool
	Conn               int // number within the process, as show prints it
	Established        time.Time
	Remaining          time.Duration
	RemainingKilobytes uint64
	Lifetime           policy.Lifetime
	ReplayWindow       int
}

// List is an access list with its hit counters.
type List struct {
	List *flow.List
	Hits map[int]uint64 // by line sequence number
	// Applied says where: "GigabitEthernet0/1 in", "crypto map CMAP 10".
	Applied []string
}
