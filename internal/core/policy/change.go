package policy

import (
	"bytes"
	"net/netip"
	"slices"

	"culvert/internal/core/origin"
)

// SameEntry reports whether SAs with the peer that were negotiated under a may
// stay under b. Lifetimes, idle time and anti-replay windows count for later SAs
// only; other peers of the entry, access lists of the interface and where
// something was written do not count at all.
func SameEntry(a, b *Entry, peer netip.Addr) bool {
	switch {
	case a.Interface != b.Interface, a.Local != b.Local, a.Dynamic != b.Dynamic, a.PFS != b.PFS, a.PerHost != b.PerHost:
		return false
	case !b.Dynamic && !contains(b.Peers, peer):
		return false
	}
	return slices.EqualFunc(a.Sets, b.Sets, sameSet) && slices.EqualFunc(a.Identity, b.Identity, sameMatch) && SameProfile(a.Profile, b.Profile)
}

func sameSet(a, b TransformSet) bool {
	a.Name, a.Origin, b.Name, b.Origin = "", origin.Line{}, "", origin.Line{}
	return a == b
}

// SameProfile reports whether two profiles, nil for none, recognise, prove and
// name the same. Dead peer detection may differ.
func SameProfile(a, b *Profile) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && a.HasSelf == b.HasSelf && a.Self.Kind == b.Self.Kind && a.Self.Value == b.Self.Value &&
		a.Local == b.Local && a.Aggressive == b.Aggressive &&
		slices.Equal(a.Keyrings, b.Keyrings) && slices.Equal(a.Trustpoints, b.Trustpoints) && slices.EqualFunc(a.Match, b.Match, sameMatch)
}

func sameMatch(a, b IdentityMatch) bool {
	return a.Kind == b.Kind && a.Prefix == b.Prefix && a.Value == b.Value && a.Domain == b.Domain && sameMap(a.Certificate, b.Certificate)
}

func sameMap(a, b *CertificateMap) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && slices.EqualFunc(a.Entries, b.Entries, func(x, y CertificateRules) bool {
		return x.Seq == y.Seq && slices.EqualFunc(x.Rules, y.Rules, sameRule)
	})
}

func sameRule(a, b CertificateRule) bool {
	return a.Field == b.Field && a.Op == b.Op && a.Value == b.Value
}

// SameTrust reports whether two configurations prove, and are proved, with the
// same certificates.
func SameTrust(a, b *Settings) bool {
	return slices.EqualFunc(a.Trustpoints, b.Trustpoints, func(x, y Trustpoint) bool {
		return x.Name == y.Name && slices.EqualFunc(x.CAs, y.CAs, bytes.Equal) && slices.EqualFunc(x.Chain, y.Chain, bytes.Equal) &&
			slices.EqualFunc(x.Match, y.Match, sameMap)
	})
}

// ProfileNamed finds a profile; nil when there is none of that name.
func (s *Settings) ProfileNamed(name string) *Profile {
	for i := range s.Profiles {
		if s.Profiles[i].Name == name {
			return &s.Profiles[i]
		}
	}
	return nil
}

// EntryNamed finds the entry of a crypto map on an interface; nil when there is none.
func (s *Settings) EntryNamed(crypto string, seq int, on string) *Entry {
	for _, i := range s.named(crypto, seq) {
		if s.Entries[i].Interface == on {
			return &s.Entries[i]
		}
	}
	return nil
}
