package show

import (
	"fmt"
	"io"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// ISAKMPPolicy writes "show crypto isakmp policy": step 2 as it is configured.
func ISAKMPPolicy(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("")
	p.line("Global IKE policy")
	for _, q := range settings(g).Policies {
		p.line("Protection suite of priority %d", q.Priority)
		p.line("\tencryption algorithm:\t%s", cipherSentence(q.Cipher, q.KeyBits))
		p.line("\thash algorithm:\t\t%s", q.Hash.Row().Long)
		p.line("\tauthentication method:\t%s", q.Auth.Row().Long)
		p.line("\tDiffie-Hellman group:\t#%d (%s)", uint16(q.Group), q.Group.Row().Long)
		p.line("\tlifetime:\t\t%d seconds, no volume limit", seconds(q.Lifetime))
	}
	return p.flush(w)
}

// cipherSentence is a cipher as show crypto isakmp policy tells it. DES and
// 3DES have always been told without their parity bits or not at all.
func cipherSentence(c suite.Cipher, bits int) string {
	switch c {
	case suite.DES:
		return "DES - Data Encryption Standard (56 bit keys)."
	case suite.TripleDES:
		return "Three key triple DES"
	case suite.AESCBC:
		return fmt.Sprintf("AES - Advanced Encryption Standard (%d bit keys).", bits)
	}
	return fmt.Sprintf("%s (%d bit keys).", c, bits)
}

// ISAKMPKey writes "show crypto isakmp key": which peers have a key. The key
// itself is never printed.
func ISAKMPKey(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Keyring      Hostname/Address                            Preshared Key")
	p.line("")
	for _, k := range heldKeys(g) {
		p.line("%-13s%-44s%s", k.ring, keyPeers(k.Key), hidden)
	}
	return p.flush(w)
}

// heldKey is a key and the keyring it is in.
type heldKey struct {
	ring string
	policy.Key
}

// heldKeys are all keys: those outside keyrings, then keyring by keyring.
func heldKeys(g *status.Gateway) []heldKey {
	var out []heldKey
	for _, k := range settings(g).Keys {
		out = append(out, heldKey{"default", k})
	}
	for _, r := range settings(g).Keyrings {
		for _, k := range r.Keys {
			out = append(out, heldKey{r.Name, k})
		}
	}
	return out
}

// keyPeers is the address and the mask of the peers a key serves, or their name.
func keyPeers(k policy.Key) string {
	if k.Host != "" {
		return k.Host
	}
	return fmt.Sprintf("%-14s [%s]", k.Peers.Addr(), mask(k.Peers))
}

// TransformSets writes "show crypto ipsec transform-set": step 3.
func TransformSets(w io.Writer, g *status.Gateway) error {
	var p page
	for _, t := range transformSets(g) {
		p.line("Transform set %s: { %s  }", t.Name, t.Words())
		p.line("   will negotiate = { %s,  },", modeWord(t.Mode))
		p.line("")
	}
	return p.flush(w)
}

// transformSets are the snapshot's, else those the entries name, each once.
func transformSets(g *status.Gateway) []policy.TransformSet {
	if g.Sets != nil {
		return g.Sets
	}
	var out []policy.TransformSet
	seen := map[string]bool{}
	for _, e := range Entries(g) {
		for _, t := range e.Sets {
			if !seen[t.Name] {
				seen[t.Name] = true
				out = append(out, t)
			}
		}
	}
	return out
}

func modeWord(m suite.Mode) string {
	if m == suite.Transport {
		return "Transport"
	}
	return "Tunnel"
}

// SecurityAssociation writes "show crypto ipsec security-association": what new
// SAs get, where an entry says nothing else.
func SecurityAssociation(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Security association lifetime: %s", lifetimeWords(globalLifetime(g)))
	if n := settings(g).ReplayWindow; n > 0 {
		p.line("Security association replay window-size: %d", n)
	} else {
		p.line("Security association replay: disabled")
	}
	return p.flush(w)
}

// Lifetime writes "show crypto ipsec security-association lifetime".
func Lifetime(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Security association lifetime: %s", lifetimeWords(globalLifetime(g)))
	return p.flush(w)
}

// globalLifetime is the configured one or the defaults.
func globalLifetime(g *status.Gateway) policy.Lifetime {
	if g.Lifetime == (policy.Lifetime{}) {
		return policy.Lifetime{Time: policy.DefaultIPsecLifetime, Kilobytes: policy.DefaultIPsecKilobytes}
	}
	return g.Lifetime
}

func lifetimeWords(l policy.Lifetime) string {
	if l.Kilobytes == 0 {
		return fmt.Sprintf("kilobytes disabled/%d seconds", seconds(l.Time))
	}
	return fmt.Sprintf("%d kilobytes/%d seconds", l.Kilobytes, seconds(l.Time))
}

// settings are the snapshot's settings, empty ones when it has none.
func settings(g *status.Gateway) *policy.Settings {
	if g.Settings == nil {
		return &policy.Settings{}
	}
	return g.Settings
}
