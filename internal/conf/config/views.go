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
	hidden.Keys = slices.Clone(c.Keys)
	for i := range hidden.Keys {
		hidden.Keys[i].Secret = crypt.NewSecret([]byte("<hidden>"))
	}
	hidden.Ignored = slices.Clone(c.Ignored)
	for i := range hidden.Ignored {
		hidden.Ignored[i].Text = withoutSecret(hidden.Ignored[i].Text)
	}
	return hidden.Running()
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
				e, _ := x.entry(m, &m.Entries[j], &Interface{}, netip.Addr{})
				out = append(out, e)
				continue
			}
			for _, f := range applied {
				e, _ := x.entry(m, &m.Entries[j], f, x.local(m, f))
				out = append(out, e)
			}
		}
	}
	return out
}
