package policy

import (
	"net/netip"
	"slices"
)

// DefaultKeyring is the name of the keys outside keyrings.
const DefaultKeyring = "default"

// FoundKey is a pre-shared key and the keyring it was found in.
type FoundKey struct {
	Key
	Keyring string
}

// keyrings lists the keyrings that apply with a profile at a local address of
// ours: the profile's own, for one that names none the keys outside keyrings.
// Without a profile all apply, those keys first.
func (s *Settings) keyrings(p *Profile, local netip.Addr) []Keyring {
	uses := func(name string) bool {
		switch {
		case p == nil:
			return true
		case len(p.Keyrings) == 0:
			return name == DefaultKeyring
		}
		return slices.Contains(p.Keyrings, name)
	}
	var out []Keyring
	if uses(DefaultKeyring) {
		out = append(out, Keyring{Name: DefaultKeyring, Keys: s.Keys})
	}
	for _, k := range s.Keyrings {
		if uses(k.Name) && at(k.Local, local) {
			out = append(out, k)
		}
	}
	return out
}

// KeyAt finds the pre-shared key of a peer by its address: the longest prefix
// that holds it, over the keyrings that apply with the profile (nil for none),
// so a wildcard key comes last. Of equals the first written serves.
func (s *Settings) KeyAt(p *Profile, local, peer netip.Addr) (FoundKey, bool) {
	var best FoundKey
	found := false
	for _, r := range s.keyrings(p, local) {
		for _, k := range r.Keys {
			if k.Host == "" && k.Peers.Contains(peer) && (!found || k.Peers.Bits() > best.Peers.Bits()) {
				best, found = FoundKey{k, r.Name}, true
			}
		}
	}
	return best, found
}

// KeyNamed finds the pre-shared key of a peer by the name it calls itself, over
// the keyrings that apply with the profile (nil for none).
func (s *Settings) KeyNamed(p *Profile, local netip.Addr, name string) (FoundKey, bool) {
	for _, r := range s.keyrings(p, local) {
		for _, k := range r.Keys {
			if k.Host != "" && sameName(k.Host, name) {
				return FoundKey{k, r.Name}, true
			}
		}
	}
	return FoundKey{}, false
}

// Holds reports whether a keyring of that name applies with the profile.
func (p *Profile) Holds(keyring string) bool {
	if len(p.Keyrings) == 0 {
		return keyring == DefaultKeyring
	}
	return slices.Contains(p.Keyrings, keyring)
}
