package config

import (
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
)

// RunningHidden is Running with every secret hidden: for show running-config,
// which ends up in tickets and mails.
func (c *Config) RunningHidden() string {
	hidden := *c
	hidden.Keys = hiddenKeys(c.Keys)
	hidden.Keyrings = slices.Clone(c.Keyrings)
	for i := range hidden.Keyrings {
		k := &hidden.Keyrings[i]
		k.Keys, k.Kept = hiddenKeys(k.Keys), hiddenLines(k.Kept)
	}
	hidden.Peers = slices.Clone(c.Peers)
	for i := range hidden.Peers {
		if p := &hidden.Peers[i]; p.Secret.Len() > 0 {
			p.Secret = crypt.NewSecret([]byte("<hidden>"))
		}
	}
	hidden.Profiles = slices.Clone(c.Profiles)
	for i := range hidden.Profiles {
		hidden.Profiles[i].Kept = hiddenLines(hidden.Profiles[i].Kept)
	}
	hidden.Trustpoints = slices.Clone(c.Trustpoints)
	for i := range hidden.Trustpoints {
		hidden.Trustpoints[i].Kept = hiddenLines(hidden.Trustpoints[i].Kept)
	}
	hidden.Ignored = hiddenLines(c.Ignored)
	return hidden.Running()
}

func hiddenKeys(keys []Key) []Key {
	out := slices.Clone(keys)
	for i := range out {
		out[i].Secret = crypt.NewSecret([]byte("<hidden>"))
	}
	return out
}

func hiddenLines(lines []IgnoredLine) []IgnoredLine {
	out := slices.Clone(lines)
	for i := range out {
		out[i].Text = withoutSecret(out[i].Text)
	}
	return out
}

// withoutSecret hides what follows the word that announces a secret, in the
// commands that are kept but not understood: "enable secret 5 …", "username u
// password 7 …", "snmp-server community …", "key-string …", "… key 7 …".
func withoutSecret(line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	w := strings.Fields(line)
	for i := range w {
		switch strings.ToLower(w[i]) {
		case "secret", "password", "community", "key-string", "key", "pre-shared-key", "passphrase", "psk", "authentication-key", "md5":
			if i+1 < len(w) {
				return indent + strings.Join(w[:i+1], " ") + " <hidden>"
			}
		}
	}
	return line
}

// Entries is every entry of every crypto map, complete and applied or not, for
// show crypto map. An entry that is not applied has no interface.
func (c *Config) Entries() []policy.Entry {
	x := indexOf(c)
	var out []policy.Entry
	for i := range c.CryptoMaps {
		m := &c.CryptoMaps[i]
		for j := range m.Entries {
			applied := x.applied[m.Name]
			if len(applied) == 0 {
				out = append(out, x.shown(m, &m.Entries[j], &Interface{}, netip.Addr{})...)
			}
			for _, f := range applied {
				out = append(out, x.shown(m, &m.Entries[j], f, x.local(m, f))...)
			}
		}
	}
	return out
}

// Templates is every entry of every crypto dynamic-map, for show crypto
// dynamic-map. Map and Seq are those of the dynamic map.
func (c *Config) Templates() []policy.Entry {
	x := indexOf(c)
	var out []policy.Entry
	for i := range c.DynamicMaps {
		d := &c.DynamicMaps[i]
		for j := range d.Entries {
			e, _ := x.entry(d, &d.Entries[j], &Interface{}, netip.Addr{})
			e.Dynamic, e.DynamicMap, e.DynamicSeq = true, d.Name, d.Entries[j].Seq
			out = append(out, e)
		}
	}
	return out
}

// shown is an entry, complete or not; the complete ones of a dynamic map.
func (x *index) shown(m *CryptoMap, e *MapEntry, f *Interface, local netip.Addr) []policy.Entry {
	if e.Dynamic != "" {
		return x.complete(m, e, f, local)
	}
	out, _ := x.entry(m, e, f, local)
	return []policy.Entry{out}
}
