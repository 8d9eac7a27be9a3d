package config

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Config is one router's configuration: the five steps as they were written.
// Parse makes one; nothing in it is shared with another Config.
type Config struct {
	File     string // as named to Parse
	Hostname string // "" when the configuration has none
	// HostnameOrigin is the hostname line.
	HostnameOrigin origin.Line
	Domain         string // "ip domain name", "" for none
	DomainOrigin   origin.Line

	Interfaces []Interface // in the order they are first named

	// Step 2. ISAKMPEnabled is true unless "no crypto isakmp enable".
	ISAKMPEnabled       bool
	ISAKMPEnabledOrigin origin.Line
	ISAKMP              ISAKMPOptions
	ISAKMPPolicies      []policy.ISAKMP // ascending priority number
	Keys                []Key           // in the order written
	// The lists below are in the order their parts are first named.
	Keyrings []Keyring
	Profiles []Profile
	Peers    []AggressivePeer
	// Who we are and whom we trust, with certificates.
	Trustpoints     []Trustpoint
	Chains          []CertificateChain
	CertificateMaps []policy.CertificateMap
	KeyImports      []KeyImport

	// Steps 1 and 4: numbered lists by number, then named lists by name.
	AccessLists []*flow.List

	// Step 3.
	TransformSets []TransformSet // in the order they are first named
	// DefaultLifetime is what an entry of a crypto map has when it says
	// nothing: 3600 seconds and 4608000 kilobytes, or what
	// "crypto ipsec security-association lifetime" says. Kilobytes 0 is "disable".
	DefaultLifetime       policy.Lifetime
	DefaultLifetimeOrigin origin.Line
	ReplayWindow          int // packets; 64 unless configured, 0 for "replay disable"
	ReplayWindowOrigin    origin.Line

	// IdleTime is "crypto ipsec security-association idle-time", seconds; 0 for none.
	IdleTime       int
	IdleTimeOrigin origin.Line

	CryptoMaps []CryptoMap // step 5, in the order they are first named
	// DynamicMaps are the "crypto dynamic-map" blocks, one for each name.
	DynamicMaps []CryptoMap
	Identities  []IdentityList // "crypto identity"
	Routes      []Route        // in the order written

	// Legacy is "crypto engine compliance shield disable": DES, 3DES, MD5 and
	// the groups 1, 2 and 5 may be negotiated.
	Legacy       bool
	LegacyOrigin origin.Line
	// LogSessions is "crypto logging session".
	LogSessions bool

	// Ignored holds every line outside the commands above: global ones in
	// order, then those of each interface, then those of each access list.
	Ignored []IgnoredLine

	now time.Time // of Load
}

// Interface is one "interface" block.
type Interface struct {
	Name        string // in full: "GigabitEthernet0/1"
	Description string
	Address     netip.Prefix   // the zero Prefix when it has none
	Secondary   []netip.Prefix // in the order written
	DHCP        bool           // "ip address dhcp"
	// AccessGroupIn and AccessGroupOut name access lists, "" for none.
	AccessGroupIn, AccessGroupOut string
	CryptoMap                     string // name of the applied crypto map, "" for none
	Shutdown                      bool
	Origin                        origin.Line
	// Where the parts were written.
	AddressOrigin, AccessGroupInOrigin, AccessGroupOutOrigin, CryptoMapOrigin, ShutdownOrigin origin.Line
}

// ISAKMPOptions are the global "crypto isakmp" settings; the zero value is
// the default of every one.
type ISAKMPOptions struct {
	// Keepalive is the dead peer detection interval in seconds, 0 for none.
	Keepalive int
	// Retry is the interval between retries in seconds; 2 unless written.
	Retry        int
	Periodic     bool // ask every interval; otherwise only on demand
	NATKeepalive int  // seconds, 0 for none
	Identity     Identity
	// InvalidSPIRecovery is "crypto isakmp invalid-spi-recovery".
	InvalidSPIRecovery bool
	// AggressiveDisabled is "crypto isakmp aggressive-mode disable".
	AggressiveDisabled bool
	// Fragmentation is "crypto isakmp fragmentation".
	Fragmentation bool
	// NoDefaultPolicy is "no crypto isakmp default policy". Culvert never
	// offers a policy that nobody wrote, so it changes nothing.
	NoDefaultPolicy bool
	// Where the parts were written.
	KeepaliveOrigin, IdentityOrigin, AggressiveOrigin origin.Line
}

// Identity is how the router names itself in phase 1.
type Identity uint8

// The identities of "crypto isakmp identity".
const (
	IdentityAddress Identity = iota
	IdentityHostname
	IdentityDN
)

func (i Identity) String() string {
	switch i {
	case IdentityHostname:
		return "hostname"
	case IdentityDN:
		return "dn"
	}
	return "address"
}

// Key is one "crypto isakmp key" line, or one "pre-shared-key" line of a keyring.
type Key struct {
	Peers  netip.Prefix // the zero Prefix for a key by hostname
	Host   string       // for "hostname NAME"
	Secret crypt.Secret
	// NoXauth is the keyword no-xauth.
	NoXauth bool
	Origin  origin.Line // its Text shows asterisks for the key
}

// TransformSet is one "crypto ipsec transform-set" block.
type TransformSet struct{ policy.TransformSet }

// IdentityList is one "crypto identity" block: who the peer of an entry may be.
type IdentityList struct {
	Name   string
	Match  []policy.IdentityMatch // of the kinds IdentityDN and IdentityFQDN
	Origin origin.Line
}

// CryptoMap is every entry under one name.
type CryptoMap struct {
	Name string
	// LocalAddress names the interface of "crypto map NAME local-address",
	// "" for the address of the interface the map is applied to.
	LocalAddress       string
	LocalAddressOrigin origin.Line
	Dynamic            bool       // a "crypto dynamic-map"
	Entries            []MapEntry // ascending sequence number; incomplete ones too
	Origin             origin.Line
}

// MapEntry is one "crypto map NAME SEQ ipsec-isakmp" or "crypto dynamic-map
// NAME SEQ" block as written, complete or not.
type MapEntry struct {
	Seq         int
	Description string
	ACL         string   // name in "match address", "" for none
	Peers       []Peer   // in the order they are tried
	Sets        []string // names, in the order they are offered
	PFS         suite.Group
	// Lifetime holds what the entry itself says; a zero Time or Kilobytes
	// means the global value.
	Lifetime policy.Lifetime
	// NoVolume is "set security-association lifetime kilobytes disable".
	NoVolume bool
	Profile  string // "set isakmp-profile", "" for none
	Identity string // "set identity", "" for none
	// Dynamic names the dynamic map that the entry stands for; everything else
	// is in that map then. "" for an entry of its own.
	Dynamic       string
	PerHost       bool // "set security-association level per-host"
	ResponderOnly bool
	IdleTime      int  // seconds; 0 for the global value
	IdleDefault   bool // the keyword default behind it
	// ReplayWindow is the entry's own, in packets, 0 for "replay disable", when
	// HasReplay is set; otherwise the global value.
	ReplayWindow int
	HasReplay    bool
	Kept         []IgnoredLine
	Origin       origin.Line
	// Where the parts were written.
	ACLOrigin, SetOrigin, PFSOrigin, TimeOrigin, VolumeOrigin, ProfileOrigin origin.Line
	IdentityOrigin, ReplayOrigin, ResponderOrigin                            origin.Line
}

// Peer is one "set peer" line.
type Peer struct {
	Addr    netip.Addr
	Default bool // the keyword default
	Origin  origin.Line
}

// Route is one "ip route" line.
type Route struct {
	Dest      netip.Prefix
	NextHop   netip.Addr // the zero Addr when only an interface is named
	Interface string     // in full, "" for none
	Distance  int        // 1 unless written
	Tag       uint32
	Track     int
	Name      string
	Permanent bool
	Origin    origin.Line
}

// IgnoredLine is a line that Culvert keeps and does not act on.
type IgnoredLine struct {
	Text string // as written, with its indentation
	// Interface is the interface block it belongs to, "" for a global line
	// and for the block of one.
	Interface string
	// AccessList is the list it belongs to, "" for none: a line with a
	// condition that Culvert cannot test.
	AccessList string
	Origin     origin.Line // without text, which may hold a password
}

// String names the line without its text, which may hold a password.
func (l IgnoredLine) String() string { return l.Origin.String() + " (ignored)" }

// Interface returns the interface with that full name, or nil. For one look-up;
// a loop builds its own map.
func (c *Config) Interface(name string) *Interface {
	for i := range c.Interfaces {
		if c.Interfaces[i].Name == name {
			return &c.Interfaces[i]
		}
	}
	return nil
}

// AccessList returns the access list with that name, or nil.
func (c *Config) AccessList(name string) *flow.List {
	for _, l := range c.AccessLists {
		if l.Name == name {
			return l
		}
	}
	return nil
}
