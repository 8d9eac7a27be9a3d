package config

import (
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// What one block may hold: more is no configuration.
const (
	maxMatches  = 1000 // match lines of a profile
	maxKeyrings = 64   // keyrings of a profile
)

// peerID tells two "crypto isakmp peer" blocks apart.
type peerID struct {
	addr netip.Addr
	host string
}

// ringBuilder is a keyring while its lines are read.
type ringBuilder struct {
	k    Keyring
	keys register[keyID, Key]
}

func (b *ringBuilder) build() Keyring {
	b.k.Keys = b.keys.all()
	return b.k
}

func keyringHandlers() map[string]handler {
	return map[string]handler{
		"description":   func(r *reader, m *ios.Match, _ ios.Line) { r.ring.k.Description = described(m) },
		"local-address": func(r *reader, m *ios.Match, l ios.Line) { r.ring.k.Local = r.here(m, l) },
		"key":           (*reader).key,
	}
}

func profileHandlers() map[string]handler {
	return map[string]handler{
		"description":   func(r *reader, m *ios.Match, _ ios.Line) { r.profile.Description = described(m) },
		"local-address": func(r *reader, m *ios.Match, l ios.Line) { r.profile.Local = r.here(m, l) },
		"keyring":       (*reader).useKeyrings, "self-identity": (*reader).selfIdentity,
		"match-address": (*reader).matchIdentity, "match-name": (*reader).matchIdentity, "match-certificate": (*reader).matchIdentity,
		"keepalive": (*reader).profileKeepalive, "trust-point": (*reader).useTrustpoint, "initiate": (*reader).initiate,
	}
}

func peerHandlers() map[string]handler {
	return map[string]handler{
		"description": func(r *reader, m *ios.Match, _ ios.Line) { r.peerBlock.Description = described(m) },
		"password":    (*reader).password, "endpoint": (*reader).endpoint,
	}
}

// described is the text of a description line, "" for one taken back.
func described(m *ios.Match) string {
	if undo(m) {
		return ""
	}
	return m.Value("text")
}

// here is a local address: "local-address A", "local-address IF".
func (r *reader) here(m *ios.Match, l ios.Line) Here {
	if undo(m) {
		return Here{}
	}
	return Here{Addr: address(m, "address"), Interface: m.Value("interface"), Origin: r.origin(l)}
}

func (r *reader) domain(m *ios.Match, l ios.Line) {
	r.c.Domain, r.c.DomainOrigin = m.Value("name"), r.written(m, l)
	if undo(m) {
		r.c.Domain = ""
	}
}

func (r *reader) keyringLine(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.rings.remove(name)
		return
	}
	r.ring = r.rings.get(name)
	if r.ring == nil {
		r.ring = r.rings.put(name, &ringBuilder{k: Keyring{Name: name, Origin: r.origin(l)}})
	}
	r.open(m, l)
}

func (r *reader) profileLine(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.profiles.remove(name)
		return
	}
	r.profile = r.profiles.get(name)
	if r.profile == nil {
		r.profile = r.profiles.put(name, &Profile{Name: name, Origin: r.origin(l)})
	}
	r.open(m, l)
}

func (r *reader) peerLine(m *ios.Match, l ios.Line) {
	p := AggressivePeer{Addr: address(m, "peer"), Host: m.Value("host"), Origin: r.origin(l)}
	id := peerID{p.Addr, strings.ToLower(p.Host)}
	if undo(m) {
		r.peers.remove(id)
		return
	}
	r.peerBlock = r.peers.get(id)
	if r.peerBlock == nil {
		r.peerBlock = r.peers.put(id, &p)
	}
	r.open(m, l)
}

func (r *reader) useKeyrings(m *ios.Match, l ios.Line) {
	p := r.profile
	p.Keyrings, p.KeyringOrigin = nil, r.written(m, l)
	for _, w := range m.Args("ring") {
		switch {
		case undo(m) || slices.Contains(p.Keyrings, w.Value):
		case len(p.Keyrings) == maxKeyrings:
			r.fault(l, w, "a profile has at most %d keyrings", maxKeyrings)
			return
		default:
			p.Keyrings = append(p.Keyrings, w.Value)
		}
	}
}

func (r *reader) selfIdentity(m *ios.Match, l ios.Line) {
	r.profile.Self, r.profile.HasSelf = r.named(m, l), !undo(m)
}

// named is how a line says that we name ourselves; "no" takes that back. An
// identity without a name is our address.
func (r *reader) named(m *ios.Match, l ios.Line) policy.SelfIdentity {
	if undo(m) {
		return policy.SelfIdentity{}
	}
	self := policy.SelfIdentity{Origin: r.origin(l)}
	switch {
	case m.Has("fqdn"):
		self.Kind, self.Value = policy.IdentityFQDN, m.Value("fqdn")
	case m.Has("user-fqdn"):
		self.Kind, self.Value = policy.IdentityUser, m.Value("user")
	}
	return self
}

// matchIdentity reads one line that says for whom a profile is.
func (r *reader) matchIdentity(m *ios.Match, l ios.Line) {
	to := Match{Map: m.Value("map")}
	switch {
	case m.Command.Name == "match-address":
		to.Kind, to.Prefix = policy.IdentityAddress, keyPeers(m)
	case m.Has("host"):
		to.Kind, to.Value, to.Domain = policy.IdentityFQDN, m.Value("host")+m.Value("host-domain"), m.Value("host-domain") != ""
	case m.Has("user"):
		to.Kind, to.Value, to.Domain = policy.IdentityUser, m.Value("user")+m.Value("user-domain"), m.Value("user-domain") != ""
	case m.Has("group"):
		to.Kind, to.Value = policy.IdentityGroup, m.Value("group")
	}
	p := r.profile
	same := func(o Match) bool {
		o.Origin = origin.Line{}
		return o == to
	}
	switch i := slices.IndexFunc(p.Match, same); {
	case undo(m) && i >= 0:
		p.Match = slices.Delete(p.Match, i, i+1)
	case undo(m) || i >= 0:
	case len(p.Match) == maxMatches:
		r.fault(l, m.Words[0], "a profile has at most %d match lines", maxMatches)
	default:
		to.Origin = r.origin(l)
		p.Match = append(p.Match, to)
	}
}

func (r *reader) profileKeepalive(m *ios.Match, l ios.Line) {
	r.profile.Keepalive, r.profile.Retry, r.profile.KeepaliveOrigin = 0, 0, r.written(m, l)
	if !undo(m) {
		r.profile.Keepalive, r.profile.Retry = number(m, "interval"), number(m, "retry")
	}
}

func (r *reader) useTrustpoint(m *ios.Match, l ios.Line) {
	w, _ := m.Arg("trustpoint")
	p := r.profile
	i := slices.IndexFunc(p.Trustpoints, func(n Named) bool { return n.Name == w.Value })
	switch {
	case undo(m) && i >= 0:
		p.Trustpoints = slices.Delete(p.Trustpoints, i, i+1)
	case undo(m) || i >= 0:
	case len(p.Trustpoints) == maxMatches:
		r.fault(l, w, "a profile has at most %d trustpoints", maxMatches)
	default:
		p.Trustpoints = append(p.Trustpoints, Named{w.Value, r.origin(l)})
	}
}

func (r *reader) initiate(m *ios.Match, l ios.Line) {
	r.profile.Aggressive = m.Value("mode") == "aggressive" && !undo(m)
	r.profile.AggressiveOrigin = origin.Line{}
	if r.profile.Aggressive {
		r.profile.AggressiveOrigin = r.origin(l)
	}
}

// password reads the key of aggressive mode. Its origin shows asterisks instead.
func (r *reader) password(m *ios.Match, l ios.Line) {
	p := r.peerBlock
	p.Secret, p.PasswordOrigin = crypt.Secret{}, origin.Line{}
	if undo(m) {
		return
	}
	secret, _ := m.Arg("key")
	if r.encrypted(m, l, "set aggressive-mode password KEY") {
		return
	}
	p.Secret, p.PasswordOrigin = crypt.NewSecret([]byte(secret.Value)), r.at(l, masked(m))
}

func (r *reader) endpoint(m *ios.Match, l ios.Line) {
	p := r.peerBlock
	p.Self, p.HasSelf = r.named(m, l), !undo(m)
	if p.HasSelf && p.Self.Kind == policy.IdentityAddress {
		p.Self.Value = m.Value("address")
	}
}
