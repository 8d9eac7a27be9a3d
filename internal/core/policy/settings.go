// Package policy holds what the five steps say, as the protocol engine uses
// it, and chooses: ISAKMP policies, transform sets and proxy identities.
// RFC 2409 section 5 (phase 1 offers), RFC 2407 section 4 (phase 2 offers).
package policy

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/suite"
)

// ISAKMP is one ISAKMP policy: step 2. A lower Priority is preferred.
type ISAKMP struct {
	Priority int
	Cipher   suite.Cipher
	KeyBits  int // of the cipher
	Hash     suite.Hash
	Auth     suite.Auth
	Group    suite.Group
	Lifetime time.Duration
	Origin   origin.Line // the "crypto isakmp policy" line
	// Where each value was written; the zero Line for a default.
	CipherOrigin, HashOrigin, AuthOrigin, GroupOrigin, LifetimeOrigin origin.Line
}

// String is the policy in IOS words: "aes 256, sha256, pre-share, group 14".
func (p ISAKMP) String() string {
	return fmt.Sprintf("%s, %s, %s, group %d", CipherWords(p.Cipher, p.KeyBits), p.Hash.Row().IKE, p.Auth, uint16(p.Group))
}

// CipherWords is a cipher as an ISAKMP policy names it: "aes 256", "3des".
func CipherWords(c suite.Cipher, bits int) string {
	w := c.Row().IKE
	if w == "" {
		w = c.Row().RFC
	}
	if c.Row().Sized {
		return fmt.Sprintf("%s %d", w, bits)
	}
	return w
}

// Key is a pre-shared key and the peers it serves: those at an address, or the
// one that calls itself by a name.
type Key struct {
	Peers   netip.Prefix // 0.0.0.0/0 for the wildcard key; the zero Prefix for a key by name
	Host    string       // the name, "" for a key by address
	NoXauth bool         // the keyword no-xauth, which is what Culvert always does
	Secret  crypt.Secret
	Origin  origin.Line
}

// TransformSet is what a phase 2 offer protects with: step 3.
type TransformSet struct {
	Name    string
	AH      suite.Hash   // NoHash for no AH
	Cipher  suite.Cipher // NoCipher for no ESP
	KeyBits int
	Integ   suite.Hash // ESP's integrity; NoHash with a combined mode
	Mode    suite.Mode
	// Require is "mode transport require": never tunnel instead.
	Require bool
	ESN     bool // extended sequence numbers, RFC 4304
	Origin  origin.Line
	// The "mode" and the "esn" line; the zero Line for a default.
	ModeOrigin, ESNOrigin origin.Line
}

// Words is the set as IOS's show commands print it: "esp-256-aes esp-sha256-hmac".
func (t TransformSet) Words() string {
	s := ""
	add := func(w string) {
		if s != "" {
			s += " "
		}
		s += w
	}
	if t.AH != suite.NoHash {
		add(t.AH.Row().AH)
	}
	switch {
	case t.Cipher == suite.AESCBC && t.KeyBits != 128:
		add(fmt.Sprintf("esp-%d-aes", t.KeyBits))
	case t.Cipher == suite.AESGCM && t.KeyBits != 128:
		add(fmt.Sprintf("esp-gcm %d", t.KeyBits))
	case t.Cipher != suite.NoCipher:
		add(t.Cipher.Row().ESP)
	}
	if t.Integ != suite.NoHash {
		add(t.Integ.Row().ESP)
	}
	return s
}

// ConfigWords is the set as it is written in a configuration: "esp-aes 256 esp-sha256-hmac".
func (t TransformSet) ConfigWords() string {
	t2 := t
	t2.Cipher, t2.Integ = suite.NoCipher, suite.NoHash
	s := t2.Words()
	if t.Cipher != suite.NoCipher {
		if s != "" {
			s += " "
		}
		s += t.Cipher.Row().ESP
		if t.Cipher.Row().Sized && t.KeyBits != 128 {
			s += fmt.Sprintf(" %d", t.KeyBits)
		}
	}
	if t.Integ != suite.NoHash {
		if s != "" {
			s += " "
		}
		s += t.Integ.Row().ESP
	}
	return s
}

func (t TransformSet) String() string { return t.Words() }

// Lifetime is how long an IPsec SA lives; the first limit reached ends it.
type Lifetime struct {
	Time      time.Duration
	Kilobytes uint64 // of 1024 octets; 0 for no volume limit
}

// The defaults of IOS.
const (
	DefaultISAKMPLifetime  = 86400 * time.Second
	DefaultIPsecLifetime   = 3600 * time.Second
	DefaultIPsecKilobytes  = 4608000
	DefaultReplayWindow    = 64
	DefaultTransformCipher = suite.AESCBC
)

// FlowID names one permit line of a crypto ACL under one crypto map entry.
type FlowID struct {
	Map  string
	Seq  int
	Line int // sequence number of the ACL line
}

func (f FlowID) String() string { return fmt.Sprintf("%s %d, line %d", f.Map, f.Seq, f.Line) }

// Entry is one entry of a crypto map, applied to an interface: step 5.
type Entry struct {
	Map       string
	Seq       int
	Interface string     // IOS name of the interface it is applied to
	Local     netip.Addr // the interface's address: our end of the tunnel
	Peers     []netip.Addr
	Sets      []TransformSet
	PFS       suite.Group // NoGroup for none
	Lifetime  Lifetime
	ACL       *flow.List
	// Profile is the one of "set isakmp-profile"; nil for none.
	Profile *Profile
	// Identity is "set identity": who the peer may be; empty for anybody who
	// holds the key or a certificate.
	Identity []IdentityMatch
	// Dynamic: the entry stands for a crypto dynamic-map. It has no peers, and
	// ACL may be nil; it never begins, and a peer that asks chooses the proxy
	// identities (within ACL, when there is one).
	Dynamic bool
	// DynamicMap and DynamicSeq name that crypto dynamic-map entry.
	DynamicMap    string
	DynamicSeq    int
	ResponderOnly bool // never begins
	PerHost       bool // "set security-association level per-host"
	// DefaultPeer: Peers[0] is the default one, which is tried first each time.
	DefaultPeer  bool
	IdleTime     time.Duration // an SA pair without traffic for so long is deleted; 0 never
	ReplayWindow int           // packets; 0 disables the anti-replay check
	// In is the interface's inbound access list (ip access-group … in): step 1.
	// nil lets everything in.
	In     *flow.List
	Origin origin.Line // the "crypto map NAME SEQ ipsec-isakmp" line
	// InterfaceOrigin is the "interface" line of Interface.
	InterfaceOrigin origin.Line
	// Where the parts were written.
	PeerOrigin, SetOrigin, PFSOrigin, ACLOrigin, LifetimeOrigin, InOrigin origin.Line
	// The lines "set isakmp-profile", "set identity" and "responder-only".
	ProfileOrigin, IdentityOrigin, ResponderOrigin origin.Line
}

// Flow is one line of interesting traffic: steps 4 and 5 together.
type Flow struct {
	ID        FlowID
	Selectors flow.Selectors
	Line      *flow.Line
	Entry     *Entry
}

// Flows lists the entry's permit lines that can be negotiated, in order.
func (e *Entry) Flows() []Flow {
	var out []Flow
	if e.ACL == nil {
		return nil
	}
	for i := range e.ACL.Lines {
		l := &e.ACL.Lines[i]
		if s, ok := l.Selectors(); ok {
			out = append(out, Flow{FlowID{e.Map, e.Seq, l.Seq}, s, l, e})
		}
	}
	return out
}

// Settings is the configuration of one engine.
type Settings struct {
	Hostname string
	Domain   string   // "ip domain name"; the FQDN identity is Hostname.Domain
	Policies []ISAKMP // ascending priority number
	Keys     []Key    // of the default keyring
	Keyrings []Keyring
	Profiles []Profile // in the order written
	// Trustpoints are what certificates are proved with, in the order written.
	Trustpoints []Trustpoint
	// Aggressive says with whom aggressive mode is spoken, see AggressivePeer.
	Aggressive []AggressivePeer
	// AggressiveDisabled is "crypto isakmp aggressive-mode disable": with nobody.
	AggressiveDisabled bool
	// AggressiveDisabledOrigin is that line.
	AggressiveDisabledOrigin origin.Line
	// Identity is how we name ourselves in phase 1, unless a profile says
	// otherwise: "crypto isakmp identity".
	Identity SelfIdentity
	// Keepalive is dead peer detection, unless a profile says otherwise.
	Keepalive Keepalive
	// Fragmentation is "crypto isakmp fragmentation": large messages are cut
	// for a peer that says it can read that.
	Fragmentation bool
	// InvalidSPIRecovery is "crypto isakmp invalid-spi-recovery".
	InvalidSPIRecovery bool
	Entries            []Entry // in the order they are tried
	// Unapplied are complete entries of crypto maps that no interface carries:
	// never negotiated, told by explain. Interface and Local are those of the
	// interface that leads to the first peer, when there is one.
	Unapplied []Entry
	// Legacy is "crypto engine compliance shield disable": legacy algorithms
	// may be negotiated.
	Legacy       bool
	ReplayWindow int // packets
	// NATKeepalive is how often who is behind a NAT keeps its mapping alive; 0
	// for the 20 seconds of RFC 3948 section 4.
	NATKeepalive time.Duration

	index *index
}

// LetsIn reports whether the interface's inbound access list lets a packet in.
func (e *Entry) LetsIn(t flow.Tuple) bool {
	if e.In == nil {
		return true
	}
	l := e.In.Match(t)
	return l != nil && l.Action == flow.Permit
}

// KeyFor returns the key with the longest prefix that holds peer.
func (s *Settings) KeyFor(peer netip.Addr) (Key, bool) {
	best, found := Key{}, false
	for _, k := range s.Keys {
		if k.Peers.Contains(peer) && (!found || k.Peers.Bits() > best.Peers.Bits()) {
			best, found = k, true
		}
	}
	return best, found
}
