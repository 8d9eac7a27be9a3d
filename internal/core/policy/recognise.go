package policy

import (
	"net/netip"
	"strings"
)

// Identity is who a peer says it is in phase 1, as the configuration compares it.
type Identity struct {
	Kind IdentityKind
	// Value is the name as the peer wrote it; of a distinguished name its
	// string form (RFC 4514), of an address nothing.
	Value string
	Addr  netip.Addr // of IdentityAddress
}

// satisfies tells whether the peer's certificate satisfies a map.
type satisfies func(*CertificateMap) bool

// exactly is the weight of a match with a whole name; prefixes and domains weigh
// their lengths.
const exactly = 1 << 16

// weigh tells how closely m recognises an identity: 0 for not at all, more for
// the closer match. certificate is nil when the peer has shown none.
func (m IdentityMatch) weigh(id Identity, certificate satisfies) int {
	if m.Certificate != nil {
		if certificate != nil && certificate(m.Certificate) {
			return exactly
		}
		return 0
	}
	if m.Kind != id.Kind {
		return 0
	}
	switch {
	case m.Kind == IdentityAddress:
		if m.Prefix.IsValid() && m.Prefix.Contains(id.Addr) {
			return 1 + m.Prefix.Bits()
		}
	case m.Kind == IdentityDN:
		return weighDN(m.Value, id.Value)
	case m.Domain && m.Value != "":
		dot := "."
		if m.Kind == IdentityUser {
			dot = "@"
		}
		if n := len(id.Value) - len(m.Value); n > len(dot) && id.Value[n-1:n] == dot && sameName(id.Value[n:], m.Value) {
			return 1 + len(m.Value)
		}
	case m.Value != "" && sameName(m.Value, id.Value):
		return exactly
	}
	return 0
}

// Recognises reports whether m is for a peer that names itself so. certificate
// tells whether the peer's certificate satisfies a map; nil when it has shown none.
func (m IdentityMatch) Recognises(id Identity, certificate func(*CertificateMap) bool) bool {
	return m.weigh(id, certificate) > 0
}

// Recognised reports whether one of several ways to recognise a peer does.
func Recognised(all []IdentityMatch, id Identity, certificate func(*CertificateMap) bool) bool {
	return closest(all, id, certificate) > 0
}

func closest(all []IdentityMatch, id Identity, certificate satisfies) int {
	best := 0
	for _, m := range all {
		best = max(best, m.weigh(id, certificate))
	}
	return best
}

// sameName compares two names without regard to the case of ASCII letters, and
// of no others: two names that look alike are two.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// weighDN demands every part of a wanted distinguished name in the given one:
// "ou=vpn,o=Example" is in "CN=r1,OU=vpn,O=Example".
func weighDN(want, given string) int {
	have := map[string]bool{}
	for _, p := range parts(given) {
		have[p] = true
	}
	n := 0
	for _, p := range parts(want) {
		if !have[p] {
			return 0
		}
		n++
	}
	return n
}

// parts are the attributes of a distinguished name in lower case, cut at commas
// and plus signs that no backslash hides.
func parts(dn string) (out []string) {
	start, hidden := 0, false
	add := func(end int) {
		name, value, _ := strings.Cut(dn[start:end], "=")
		if p := strings.TrimSpace(name) + "=" + strings.TrimSpace(value); p != "=" {
			out = append(out, strings.Map(func(r rune) rune {
				if r < 0x80 {
					return rune(lower(byte(r)))
				}
				return r
			}, p))
		}
		start = end + 1
	}
	for i := range len(dn) {
		switch {
		case hidden:
			hidden = false
		case dn[i] == '\\':
			hidden = true
		case dn[i] == ',' || dn[i] == '+':
			add(i)
		}
	}
	if start <= len(dn) {
		add(len(dn))
	}
	return out
}

// at reports whether something that is limited to a local address of ours, or
// not limited, applies at one.
func at(limit, local netip.Addr) bool { return !limit.IsValid() || limit == local }

// ProfileFor is the isakmp profile for a peer that names itself so to a local
// address of ours: the one with the closest match, the first written of equals;
// nil for none.
func (s *Settings) ProfileFor(local netip.Addr, id Identity, certificate func(*CertificateMap) bool) *Profile {
	var best *Profile
	weight := 0
	for i := range s.Profiles {
		p := &s.Profiles[i]
		if !at(p.Local, local) {
			continue
		}
		if w := closest(p.Match, id, certificate); w > weight {
			best, weight = p, w
		}
	}
	return best
}

// EntriesFor lists the crypto map entries that a peer at an address may
// negotiate for: those that name it, then the dynamic ones.
func (s *Settings) EntriesFor(local, peer netip.Addr) []*Entry {
	var out []*Entry
	for _, i := range s.serving(local, peer) {
		out = append(out, &s.Entries[i])
	}
	for _, i := range s.dynamic(local) {
		if e := &s.Entries[i]; !e.Serves(local, peer) {
			out = append(out, e)
		}
	}
	return out
}

// AggressiveWith reports whether aggressive mode is spoken with a peer that comes
// from an address and names itself so, and by which of the two ways to say so.
func (s *Settings) AggressiveWith(local, peer netip.Addr, id Identity) (*AggressivePeer, *Profile, bool) {
	if s.AggressiveDisabled {
		return nil, nil, false
	}
	for i := range s.Aggressive {
		a := &s.Aggressive[i]
		byName := a.Host != "" && (id.Kind == IdentityFQDN || id.Kind == IdentityUser) && sameName(a.Host, id.Value)
		if byName || a.Addr.IsValid() && a.Addr == peer {
			return a, s.ProfileFor(local, id, nil), true
		}
	}
	if p := s.ProfileFor(local, id, nil); p != nil && p.Aggressive {
		return nil, p, true
	}
	return nil, nil, false
}

// AggressiveByName reports whether aggressive mode is spoken at a local address
// with peers that only their names tell, wherever they are: who names itself
// otherwise must then not learn so from the answer.
func (s *Settings) AggressiveByName(local netip.Addr) bool {
	if s.AggressiveDisabled {
		return false
	}
	for i := range s.Aggressive {
		if s.Aggressive[i].Host != "" {
			return true
		}
	}
	for i := range s.Profiles {
		p := &s.Profiles[i]
		if !p.Aggressive || !at(p.Local, local) {
			continue
		}
		for _, m := range p.Match {
			if m.Certificate == nil && m.Kind != IdentityAddress {
				return true
			}
		}
	}
	return false
}
