package config

import (
	"strings"

	"culvert/internal/core/policy"
)

func (p *printer) description(text string) {
	if text != "" {
		p.line(" description %s", text)
	}
}

func (p *printer) here(h Here) {
	switch {
	case h.Interface != "":
		p.line(" local-address %s", h.Interface)
	case h.Addr.IsValid():
		p.line(" local-address %s", h.Addr)
	}
}

func (p *printer) keyrings(c *Config) {
	for i := range c.Keyrings {
		k := &c.Keyrings[i]
		p.line("crypto keyring %s", k.Name)
		p.description(k.Description)
		p.here(k.Local)
		for j := range k.Keys {
			p.line(" pre-shared-key %s key %s", keyWhom(k.Keys[j]), plainSecret(string(k.Keys[j].Secret.Bytes())))
		}
		p.kept(k.Kept)
	}
}

func (p *printer) profiles(c *Config) {
	for i := range c.Profiles {
		f := &c.Profiles[i]
		p.line("crypto isakmp profile %s", f.Name)
		p.description(f.Description)
		if len(f.Keyrings) > 0 {
			p.line(" keyring %s", strings.Join(f.Keyrings, " "))
		}
		if f.HasSelf {
			p.raw(" self-identity " + selfWords(f.Self))
		}
		for _, t := range f.Trustpoints {
			p.line(" ca trust-point %s", t.Name)
		}
		for _, m := range f.Match {
			p.raw(" " + m.words())
		}
		if f.Keepalive != 0 {
			p.line(" keepalive %d retry %d", f.Keepalive, f.Retry)
		}
		p.here(f.Local)
		p.flag(f.Aggressive, " initiate mode aggressive")
		p.kept(f.Kept)
	}
}

// selfWords is an identity behind "self-identity".
func selfWords(s policy.SelfIdentity) string {
	return strings.TrimSuffix(s.Kind.String()+" "+s.Value, " ")
}

// words is the match as it is written.
func (m Match) words() string {
	if m.Map != "" {
		return "match certificate " + m.Map
	}
	kind := map[policy.IdentityKind]string{policy.IdentityFQDN: "host", policy.IdentityUser: "user", policy.IdentityGroup: "group"}[m.Kind]
	switch {
	case m.Kind == policy.IdentityAddress:
		return "match identity " + keyWhom(Key{Peers: m.Prefix})
	case m.Domain:
		return "match identity " + kind + " domain " + m.Value
	}
	return "match identity " + kind + " " + m.Value
}

func (p *printer) aggressivePeers(c *Config) {
	for i := range c.Peers {
		a := &c.Peers[i]
		p.raw(a.header())
		p.description(a.Description)
		if a.Secret.Len() > 0 {
			p.line(" set aggressive-mode password %s", plainSecret(string(a.Secret.Bytes())))
		}
		if a.HasSelf {
			kind := a.Self.Kind.String()
			if a.Self.Kind == policy.IdentityAddress {
				kind = "ipv4-address"
			}
			p.line(" set aggressive-mode client-endpoint %s %s", kind, a.Self.Value)
		}
		p.kept(a.Kept)
	}
}

// header is the block's first line.
func (a *AggressivePeer) header() string {
	if a.Host != "" {
		return "crypto isakmp peer hostname " + a.Host
	}
	return "crypto isakmp peer address " + a.Addr.String()
}
