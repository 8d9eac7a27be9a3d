package config

import (
	"net/netip"
	"time"

	"culvert/internal/core/policy"
)

// nowhere stands for "local-address" of an interface without an address: it is
// nobody's, so what is bound to it serves nobody, rather than everybody.
var nowhere = netip.IPv4Unspecified()

// phase1 fills in everything of the settings that phase 1 needs besides its policies.
func (x *index) phase1(s *policy.Settings) {
	c := x.c
	s.Domain = c.Domain
	s.Keys = policyKeys(c.Keys)
	s.Identity = policy.SelfIdentity{Kind: c.ISAKMP.Identity.kind(), Origin: c.ISAKMP.IdentityOrigin}
	s.Keepalive = keepaliveOf(c.ISAKMP)
	s.Fragmentation, s.InvalidSPIRecovery = c.ISAKMP.Fragmentation, c.ISAKMP.InvalidSPIRecovery
	s.AggressiveDisabled, s.AggressiveDisabledOrigin = c.ISAKMP.AggressiveDisabled, c.ISAKMP.AggressiveOrigin
	for i := range c.Keyrings {
		k := &c.Keyrings[i]
		s.Keyrings = append(s.Keyrings, policy.Keyring{Name: k.Name, Local: x.here(k.Local), Keys: policyKeys(k.Keys), Origin: k.Origin})
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		a := policy.AggressivePeer{Addr: p.Addr, Host: p.Host, Self: p.Self, HasSelf: p.HasSelf, Secret: p.Secret, Origin: p.Origin}
		s.Aggressive = append(s.Aggressive, a)
	}
	s.Profiles, s.Trustpoints = x.profiles, x.trustpoints
}

func (i Identity) kind() policy.IdentityKind {
	switch i {
	case IdentityHostname:
		return policy.IdentityFQDN
	case IdentityDN:
		return policy.IdentityDN
	}
	return policy.IdentityAddress
}

func policyKeys(keys []Key) []policy.Key {
	var out []policy.Key
	for i := range keys {
		k := &keys[i]
		out = append(out, policy.Key{Peers: k.Peers, Host: k.Host, NoXauth: k.NoXauth, Secret: k.Secret, Origin: k.Origin})
	}
	return out
}

func keepaliveOf(o ISAKMPOptions) policy.Keepalive {
	if o.Keepalive == 0 {
		return policy.Keepalive{}
	}
	return policy.Keepalive{
		Every: time.Duration(o.Keepalive) * time.Second, Retry: time.Duration(o.Retry) * time.Second, Periodic: o.Periodic, Origin: o.KeepaliveOrigin,
	}
}

// here is a local address of ours; invalid for any, nowhere for an interface
// that has none.
func (x *index) here(h Here) netip.Addr {
	if h.Interface == "" {
		return h.Addr
	}
	if f := x.ports[h.Interface]; f != nil && f.Address.IsValid() {
		return f.Address.Addr()
	}
	return nowhere
}

// buildProfiles makes the profiles as the engine uses them. Entries point at them.
func (x *index) buildProfiles() {
	for i := range x.c.Profiles {
		p := &x.c.Profiles[i]
		out := policy.Profile{
			Name: p.Name, Keyrings: p.Keyrings, Self: p.Self, HasSelf: p.HasSelf, Local: x.here(p.Local), Aggressive: p.Aggressive,
			Keepalive: keepaliveOf(x.c.ISAKMP), Origin: p.Origin,
		}
		for _, m := range p.Match {
			id := m.IdentityMatch
			if m.Map != "" {
				id.Certificate = x.certificateMap(m.Map)
			}
			out.Match = append(out.Match, id)
		}
		for _, t := range p.Trustpoints {
			out.Trustpoints = append(out.Trustpoints, t.Name)
		}
		if p.Keepalive != 0 {
			out.Keepalive = policy.Keepalive{Every: time.Duration(p.Keepalive) * time.Second, Retry: time.Duration(p.Retry) * time.Second, Origin: p.KeepaliveOrigin}
		}
		x.profiles = append(x.profiles, out)
	}
}

// profile finds a profile by its name; nil when there is none.
func (x *index) profile(name string) *policy.Profile {
	if i, ok := x.profileAt[name]; ok {
		return &x.profiles[i]
	}
	return nil
}
