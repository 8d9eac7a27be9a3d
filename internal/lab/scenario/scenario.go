// Package scenario is the table of what Culvert and its peers are tried with:
// two configurations, and what must come of them. Each is data, and written out
// in the words of whoever stands at an end.
//
//	scenario.go    what a scenario is
//	table.go       phase 1, phase 2, selectors, and what must be refused
//	ios.go         R1's end as Culvert's configuration
//	strongswan.go  R2's end as strongSwan's swanctl.conf
//	libreswan.go   R2's end as libreswan's ipsec.conf and ipsec.secrets
//
// R1 is Culvert, R2 the peer, both with their addresses of the lab.
package scenario

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
)

// Peer is who stands at R2.
type Peer string

// The peers.
const (
	// SwanUser is strongSwan with ESP in user space, in UDP 4500, tunnel mode.
	SwanUser Peer = "strongSwan, user-space ESP"
	// SwanKernel is strongSwan on a Linux kernel with ESP and AH.
	SwanKernel Peer = "strongSwan, Linux kernel"
	// Libreswan is libreswan on a Linux kernel with ESP and AH.
	Libreswan Peer = "libreswan, Linux kernel"
)

// Peers are all peers, in the order of the matrix.
func Peers() []Peer { return []Peer{SwanUser, SwanKernel, Libreswan} }

// Scenario is one row of the table.
type Scenario struct {
	Name string
	// Field is the scenario of strongSwan's or libreswan's own test suite that
	// tries the same, "" when there is none.
	Field string
	// Ours is R1's end. Theirs is R2's; its empty fields are those of Ours.
	Ours, Theirs Side
	// NAT: a NAT stands in front of R1, see lab.Options.
	NAT bool
	// Refused is what explain at R1 says when Culvert begins, and when the peer
	// does; the zero Refusal means that the tunnel comes up.
	Refused Refusal
	// Not are the peers with which it is not tried, with the reason.
	Not map[Case]string
}

// Role is who begins.
type Role string

// The roles.
const (
	CulvertBegins Role = "Culvert begins"
	PeerBegins    Role = "the peer begins"
)

// Roles are both roles.
func Roles() []Role { return []Role{CulvertBegins, PeerBegins} }

// Case is a peer in one role, or in both when the Role is empty.
type Case struct {
	Peer Peer
	Role Role
}

// Excluded is why a scenario is not tried with a peer in a role, "" when it is.
func (s *Scenario) Excluded(p Peer, r Role) string {
	if why := s.Not[Case{Peer: p}]; why != "" {
		return why
	}
	return s.Not[Case{p, r}]
}

// Refusal is the reason codes of a negotiation that must not succeed.
type Refusal struct {
	Initiator, Responder event.Code
}

// Want is what must come of it in a role: "up", or the reason code of explain.
func (s *Scenario) Want(r Role) string {
	switch {
	case s.Up():
		return "up"
	case r == CulvertBegins:
		return string(s.Refused.Initiator)
	}
	return string(s.Refused.Responder)
}

// Up tells whether the tunnel must come up.
func (s *Scenario) Up() bool { return s.Refused == Refusal{} }

// Side is what one end is configured with.
type Side struct {
	Policies []policy.ISAKMP
	Key      string
	Sets     []policy.TransformSet
	PFS      suite.Group
	NoPFS    bool // of Theirs: no PFS although Ours has it
	// Flows are the lines of interesting traffic, seen from R1.
	Flows []Flow
	// IKELife and Life are the lifetimes of phase 1 and 2; 0 for the defaults.
	IKELife, Life time.Duration
	// Aggressive is aggressive mode in phase 1. It is spoken by both ends or none.
	Aggressive bool
	// ID is the FQDN by which the end names itself, "" for its address. R1's is
	// made from its hostname: RouterName.
	ID string
	// Encap makes the peer claim a NAT that is not there, so that ESP goes in UDP.
	Encap bool
	// Dynamic: Culvert's crypto map entry stands for a dynamic one, with a key for
	// any peer.
	Dynamic bool
	// Entry are more lines of Culvert's crypto map entry, Global of its configuration.
	Entry, Global string
}

// RouterName is R1's hostname with its domain.
const RouterName = "R1.example.net"

// Flow is one line of interesting traffic: what R1 has to send, and to where.
type Flow struct {
	Local, Remote netip.Prefix
	Proto         uint8  // 0 for any
	LocalPort     uint16 // 0 for any
	RemotePort    uint16
}

// Sites is all traffic between the two sites.
func Sites() Flow { return Flow{Local: lab.Site(lab.R1), Remote: lab.Site(lab.R2)} }

// Routers is all traffic between the two routers themselves, for transport mode.
func Routers() Flow {
	one := func(host string) netip.Prefix { return netip.PrefixFrom(lab.Addr(host, lab.Outside), 32) }
	return Flow{Local: one(lab.R1), Remote: one(lab.R2)}
}

// Of is the same flow for one protocol only, and one port of the far end (0 for all).
func (f Flow) Of(proto uint8, remotePort uint16) Flow {
	f.Proto, f.RemotePort = proto, remotePort
	return f
}

// peers is R2's end as a whole.
func (s *Scenario) peers() Side {
	t := s.Theirs
	o := s.Ours.filled()
	if t.Policies == nil {
		t.Policies = o.Policies
	}
	if t.Key == "" {
		t.Key = o.Key
	}
	if t.Sets == nil {
		t.Sets = o.Sets
	}
	if t.PFS == suite.NoGroup && !t.NoPFS {
		t.PFS = o.PFS
	}
	if t.Flows == nil {
		t.Flows = o.Flows
	}
	if t.IKELife == 0 {
		t.IKELife = o.IKELife
	}
	if t.Life == 0 {
		t.Life = o.Life
	}
	t.Aggressive = o.Aggressive
	return t
}

// filled is a side with the usual values in its empty fields.
func (s Side) filled() Side {
	if s.Policies == nil {
		s.Policies = []policy.ISAKMP{Policy(suite.AESCBC, 128, suite.SHA1, 14)}
	}
	if s.Key == "" {
		s.Key = "Tunnel-of-two-sites"
	}
	if s.Sets == nil {
		s.Sets = []policy.TransformSet{ESP(suite.AESCBC, 128, suite.SHA1)}
	}
	if s.Flows == nil {
		s.Flows = []Flow{Sites()}
	}
	return s
}

// Flows are R1's lines of interesting traffic.
func (s *Scenario) Flows() []Flow { return s.Ours.filled().Flows }

// Agreed is what both ends must come to in phase 1 and phase 2: the first of
// Ours that is also one of Theirs. ok is false when there is none.
func (s *Scenario) Agreed() (p policy.ISAKMP, t policy.TransformSet, ok bool) {
	o, them := s.Ours.filled(), s.peers()
	for _, a := range o.Policies {
		for _, b := range them.Policies {
			if a.String() != b.String() {
				continue
			}
			for _, t := range o.Sets {
				for _, u := range them.Sets {
					if t.ConfigWords() == u.ConfigWords() && t.Mode == u.Mode && t.ESN == u.ESN {
						return a, t, true
					}
				}
			}
		}
	}
	return policy.ISAKMP{}, policy.TransformSet{}, false
}

// PFS is the group of quick mode's Diffie-Hellman, NoGroup for none.
func (s *Scenario) PFS() suite.Group { return s.Ours.PFS }

// Certificates is the method by which the ends prove themselves, suite.PSK for a
// pre-shared key: that of the first policy.
func (s *Scenario) Certificates() suite.Auth { return s.Ours.filled().Policies[0].Auth }

// CAFile is the name of the CA's certificate in a lab with certificates, in PEM
// like the other files.
const CAFile = "ca.pem"

// CertFile and KeyFile are the names of an end's certificate and private key for
// a method of authentication.
func CertFile(router string, a suite.Auth) string { return keyStem(router, a) + ".pem" }

// KeyFile is explained at CertFile.
func KeyFile(router string, a suite.Auth) string { return keyStem(router, a) + ".key" }

func keyStem(router string, a suite.Auth) string {
	return fmt.Sprintf("%s-%d", strings.ToLower(router), uint16(a))
}

// Signed is a policy with certificates.
func Signed(a suite.Auth, c suite.Cipher, bits int, h suite.Hash, g suite.Group) policy.ISAKMP {
	p := Policy(c, bits, h, g)
	p.Auth = a
	return p
}

// Policy is a policy with a pre-shared key.
func Policy(c suite.Cipher, bits int, h suite.Hash, g suite.Group) policy.ISAKMP {
	return policy.ISAKMP{Cipher: c, KeyBits: bits, Hash: h, Auth: suite.PSK, Group: g}
}

// ESP is a transform set of ESP in tunnel mode; NoHash with a combined mode.
func ESP(c suite.Cipher, bits int, integ suite.Hash) policy.TransformSet {
	return policy.TransformSet{Cipher: c, KeyBits: bits, Integ: integ}
}

// AH is a transform set of AH in tunnel mode.
func AH(h suite.Hash) policy.TransformSet { return policy.TransformSet{AH: h} }

// legacy tells whether a side needs algorithms that are only negotiated on request.
func (s Side) legacy() bool {
	for _, p := range s.Policies {
		if p.Cipher.Row().Verdict == suite.Legacy || p.Hash.Row().Verdict == suite.Legacy || p.Group.Row().Verdict == suite.Legacy {
			return true
		}
	}
	for _, t := range s.Sets {
		if t.Cipher.Row().Verdict == suite.Legacy || t.Integ.Row().Verdict == suite.Legacy || t.AH.Row().Verdict == suite.Legacy {
			return true
		}
	}
	return s.PFS.Row().Verdict == suite.Legacy
}

// protoWord is a protocol as strongSwan, libreswan and IOS all name it.
func protoWord(p uint8) string {
	switch p {
	case flow.TCP:
		return "tcp"
	case flow.UDP:
		return "udp"
	case flow.ICMP:
		return "icmp"
	}
	return ""
}
