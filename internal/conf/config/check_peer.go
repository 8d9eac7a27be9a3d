package config

import (
	"fmt"
	"net/netip"

	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// The sentences about aggressive mode with a pre-shared key.
const (
	guessable = "in aggressive mode the hash that proves the pre-shared key travels unencrypted: who hears it, or only asks for it, can guess the key offline"
	unspoken  = "aggressive mode is neither begun nor accepted: phase 1 with the peer is main mode"
)

// aggressive warns of aggressive mode, and of lines that ask for it and forbid it.
func (k *checker) aggressive() {
	disabled := k.c.ISAKMP.AggressiveDisabled
	asked := func(at origin.Line, whom, instead string) {
		switch {
		case disabled:
			k.add(Warning, at, fmt.Sprintf("aggressive mode with %s is configured and switched off (%s)", whom, k.c.ISAKMP.AggressiveOrigin), unspoken,
				"no crypto isakmp aggressive-mode disable")
		case k.preShared():
			k.add(Warning, at, "aggressive mode is spoken with "+whom, guessable, instead)
		}
	}
	for i := range k.c.Peers {
		p := &k.c.Peers[i]
		whom := p.Host
		if whom == "" {
			whom = p.Addr.String()
		}
		if p.Secret.Len() == 0 && !p.HasSelf {
			k.add(Note, p.Origin, fmt.Sprintf("the block of the peer %s sets nothing", whom), "aggressive mode is accepted from it, and begun with it", p.header()+"\n set aggressive-mode password KEY")
		}
		asked(p.Origin, "the peer "+whom, "no "+p.header())
	}
	for i := range k.c.Profiles {
		if p := &k.c.Profiles[i]; p.Aggressive {
			asked(p.AggressiveOrigin, "the peers of profile "+p.Name, "crypto isakmp profile "+p.Name+"\n no initiate mode aggressive")
		}
	}
}

// preShared reports whether a policy authenticates with a pre-shared key.
func (k *checker) preShared() bool {
	for i := range k.c.ISAKMPPolicies {
		if k.c.ISAKMPPolicies[i].Auth == suite.PSK {
			return true
		}
	}
	return false
}

// speaksAggressive reports whether aggressive mode is spoken with anybody.
func (k *checker) speaksAggressive() bool {
	if k.c.ISAKMP.AggressiveDisabled {
		return false
	}
	for i := range k.c.Profiles {
		if k.c.Profiles[i].Aggressive {
			return true
		}
	}
	return len(k.c.Peers) > 0
}

// identity looks at how the router names itself.
func (k *checker) identity() {
	o := &k.c.ISAKMP
	if o.Identity == IdentityHostname && k.c.Hostname == "" {
		k.add(Error, o.IdentityOrigin, "the router names itself by its hostname, and there is none",
			"the identity is the name of the configuration's file: the peer does not recognise it", "hostname NAME")
	}
	if o.Identity == IdentityDN && len(k.proofs()) == 0 {
		k.add(Warning, o.IdentityOrigin, "the router names itself by the subject of its certificate, and there is no certificate with its key",
			"the identity is the address instead", "no crypto isakmp identity")
	}
	if o.Identity == IdentityHostname && k.c.Domain == "" && k.c.Hostname != "" {
		k.add(Note, o.IdentityOrigin, "the router names itself by its hostname, and there is no domain name",
			fmt.Sprintf("the identity is the FQDN %q: the peer has to expect just that", k.c.Hostname), "ip domain name DOMAIN")
	}
	if o.Identity == IdentityHostname && k.preShared() && !k.speaksAggressive() && len(k.settings.Entries) > 0 {
		k.add(Note, o.IdentityOrigin, "the router names itself by its hostname, with pre-shared keys and main mode",
			"the peer has to find the key by our address all the same: in main mode the name comes encrypted with it (RFC 2409 section 5.4)", "")
	}
}

// keyrings looks at every keyring and at who uses it.
func (k *checker) keyrings() {
	used := map[string]bool{}
	defined := map[string]bool{"default": true}
	for i := range k.c.Keyrings {
		defined[k.c.Keyrings[i].Name] = true
	}
	for i := range k.c.Profiles {
		p := &k.c.Profiles[i]
		for _, name := range p.Keyrings {
			used[name] = true
			if !defined[name] {
				k.add(Error, p.KeyringOrigin, fmt.Sprintf("profile %s takes its keys from keyring %s, which is not defined", p.Name, name),
					"it holds no key: phase 1 with pre-share fails for the profile's peers", "crypto keyring "+name+"\n pre-shared-key address PEER key KEY")
			}
		}
	}
	for i := range k.c.Keyrings {
		r := &k.c.Keyrings[i]
		if k.here(r.Local) == nowhere {
			k.add(Error, r.Local.Origin, fmt.Sprintf("keyring %s is for the address of %s, which has none", r.Name, r.Local.Interface),
				"none of its keys is ever found", "interface "+r.Local.Interface+"\n ip address ADDRESS MASK")
		}
		if len(r.Keys) == 0 {
			k.add(Warning, r.Origin, fmt.Sprintf("keyring %s holds no key", r.Name), "phase 1 with pre-share fails for who depends on it",
				"crypto keyring "+r.Name+"\n pre-shared-key address PEER key KEY")
		}
		for j := range r.Keys {
			if key := &r.Keys[j]; key.Host == "" && key.Peers.Bits() == 0 {
				k.add(Warning, key.Origin, "the key is for every address", "whoever knows it can negotiate phase 1 from anywhere, as far as a profile matches it",
					"crypto keyring "+r.Name+"\n pre-shared-key address PEER key KEY")
			} else if key.Host != "" {
				k.namedKey(key)
			}
		}
		if !used[r.Name] {
			k.add(Note, r.Origin, fmt.Sprintf("keyring %s is in no ISAKMP profile", r.Name), "its keys serve the peers of crypto map entries without a profile, like those of \"crypto isakmp key\"",
				"crypto isakmp profile PROFILE\n keyring "+r.Name)
		}
	}
}

// profilesWork looks at every ISAKMP profile by itself.
func (k *checker) profilesWork() {
	used := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) { used[e.Profile] = true })
	for i := range k.c.Profiles {
		p := &k.c.Profiles[i]
		header := "crypto isakmp profile " + p.Name
		if len(p.Match) == 0 {
			k.add(Warning, p.Origin, fmt.Sprintf("profile %s matches no identity", p.Name),
				"no peer is recognised as one of its own: what begins is refused by the entries that name the profile", header+"\n match identity address PEER")
		}
		if k.here(p.Local) == nowhere {
			k.add(Error, p.Local.Origin, fmt.Sprintf("profile %s is for the address of %s, which has none", p.Name, p.Local.Interface),
				"it applies to no negotiation", "interface "+p.Local.Interface+"\n ip address ADDRESS MASK")
		}
		if !used[p.Name] {
			k.add(Note, p.Origin, fmt.Sprintf("profile %s is in no crypto map", p.Name),
				"it is taken in phase 1 for the peers that begin and that it matches, and binds no crypto map entry", "crypto map NAME SEQ ipsec-isakmp\n set isakmp-profile "+p.Name)
		}
		k.shadowed(i)
	}
}

// shadowed finds match lines that a profile before takes away.
func (k *checker) shadowed(i int) {
	const most = 100 // of profiles compared with each other: beyond, nobody reads it
	if i >= most {
		return
	}
	p := &k.c.Profiles[i]
	for _, m := range p.Match {
		for j := range k.c.Profiles[:i] {
			for _, o := range k.c.Profiles[j].Match {
				if o.words() == m.words() {
					k.add(Warning, m.Origin, fmt.Sprintf("\"%s\" stands in profile %s and in profile %s", m.words(), k.c.Profiles[j].Name, p.Name),
						"whichever is found first decides over keys and identity: "+k.c.Profiles[j].Name, "crypto isakmp profile "+p.Name+"\n no "+m.words())
				}
			}
		}
	}
}

// profilesExist finds entries whose profile is not there, or cannot have the entry's peer.
func (k *checker) profilesExist() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		if e.Profile == "" {
			return
		}
		p := k.profile(e.Profile)
		if p == nil {
			k.add(k.severity(m), e.ProfileOrigin, fmt.Sprintf("ISAKMP profile %s is not defined", e.Profile),
				"whom the entry is for is not known: its traffic would leave in the clear", "crypto isakmp profile "+e.Profile+"\n match identity address PEER")
			return
		}
		for _, peer := range e.Peers {
			if addressOnly(p) && !matchesAddress(p, peer.Addr) {
				k.add(Warning, e.ProfileOrigin, fmt.Sprintf("profile %s of %s does not match the address of its peer %s", p.Name, nameOf(m, e), peer.Addr),
					"phase 1 is refused, unless the peer names itself by an address that the profile matches",
					"crypto isakmp profile "+p.Name+"\n match identity address "+peer.Addr.String())
			}
		}
	})
}

// addressOnly reports whether a profile matches by nothing but addresses.
func addressOnly(p *policy.Profile) bool {
	for _, m := range p.Match {
		if m.Kind != policy.IdentityAddress || m.Certificate != nil {
			return false
		}
	}
	return len(p.Match) > 0
}

func matchesAddress(p *policy.Profile, a netip.Addr) bool {
	for _, m := range p.Match {
		if m.Certificate == nil && m.Kind == policy.IdentityAddress && m.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

// keyrack finds pre-shared keys by address in constant time, as
// policy.Settings.KeyAt does one by one.
type keyrack struct {
	rings map[string]prefixes[int]
	all   prefixes[bool]      // of every keyring: without a profile all serve
	peers map[netip.Addr]bool // that have a key of their own in aggressive mode
}

func (k *checker) keyrack() keyrack {
	r := keyrack{rings: map[string]prefixes[int]{policy.DefaultKeyring: keyTable(k.c.Keys)}, all: prefixes[bool]{}, peers: map[netip.Addr]bool{}}
	for i := range k.c.Keyrings {
		r.rings[k.c.Keyrings[i].Name] = keyTable(k.c.Keyrings[i].Keys)
	}
	for _, ring := range r.rings {
		for p := range ring {
			r.all[p] = true
		}
	}
	for i := range k.c.Peers {
		if p := &k.c.Peers[i]; p.Secret.Len() > 0 {
			r.peers[p.Addr] = true
		}
	}
	return r
}

// holds reports whether there is a key for the peer of an entry.
func (r keyrack) holds(profile *policy.Profile, peer netip.Addr) bool {
	if r.peers[peer] {
		return true
	}
	if profile == nil {
		_, ok := r.all.find(peer)
		return ok
	}
	rings := profile.Keyrings
	if len(rings) == 0 {
		rings = []string{policy.DefaultKeyring}
	}
	for _, name := range rings {
		if _, ok := r.rings[name].find(peer); ok {
			return true
		}
	}
	return false
}

// keyLines is what to write for a peer without a key.
func keyLines(profile *policy.Profile, peer netip.Addr) string {
	if profile != nil {
		for _, name := range profile.Keyrings {
			if name != "default" {
				return fmt.Sprintf("crypto keyring %s\n pre-shared-key address %s key KEY", name, peer)
			}
		}
	}
	return fmt.Sprintf("crypto isakmp key KEY address %s", peer)
}

// namedKey is a finding about a key for a name.
func (k *checker) namedKey(key *Key) {
	if k.speaksAggressive() {
		return
	}
	k.add(Warning, key.Origin, fmt.Sprintf("the key is for the name %s, and aggressive mode is spoken with nobody", key.Host),
		"main mode needs the key before the peer can say its name (RFC 2409 section 5.4): the key is never used",
		"crypto isakmp key KEY address ADDRESS")
}
