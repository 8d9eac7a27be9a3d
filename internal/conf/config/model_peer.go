package config

import (
	"net/netip"

	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// Keyring is one "crypto keyring" block.
type Keyring struct {
	Name        string
	Description string
	Local       Here  // "local-address"
	Keys        []Key // in the order written
	Kept        []IgnoredLine
	Origin      origin.Line
}

// Here names an address of ours: itself, or by the interface that has it. The
// zero Here is any address.
type Here struct {
	Addr      netip.Addr
	Interface string // in full
	Origin    origin.Line
}

// Profile is one "crypto isakmp profile" block.
type Profile struct {
	Name        string
	Description string
	Keyrings    []string // names, in the order they are searched; empty for the keys outside keyrings
	// Self is "self-identity"; HasSelf tells whether it is written.
	Self        policy.SelfIdentity
	HasSelf     bool
	Match       []Match // in the order written
	Trustpoints []Named // "ca trust-point"
	// Keepalive and Retry are seconds; Keepalive 0 means the global setting.
	Keepalive, Retry int
	Local            Here
	Aggressive       bool // "initiate mode aggressive"
	Kept             []IgnoredLine
	Origin           origin.Line
	// Where the parts were written.
	KeyringOrigin, KeepaliveOrigin, AggressiveOrigin origin.Line
}

// Match is one "match identity" or "match certificate" line of a profile.
type Match struct {
	// IdentityMatch is without its certificate map, which Map names.
	policy.IdentityMatch
	Map string // the certificate map, "" for a match by identity
}

// Named is the name of something else in the configuration, and where it stands.
type Named struct {
	Name   string
	Origin origin.Line
}

// AggressivePeer is one "crypto isakmp peer" block.
type AggressivePeer struct {
	Addr        netip.Addr // of "address A"
	Host        string     // of "hostname H", "" for an address
	Description string
	// Secret is "set aggressive-mode password", empty for none; the text of
	// PasswordOrigin shows asterisks for it.
	Secret         crypt.Secret
	PasswordOrigin origin.Line
	// Self is "set aggressive-mode client-endpoint"; HasSelf tells whether it is written.
	Self    policy.SelfIdentity
	HasSelf bool
	Kept    []IgnoredLine
	Origin  origin.Line
}
