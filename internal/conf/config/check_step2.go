package config

import (
	"fmt"
	"net/netip"
	"strings"

	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// goodPolicy is what to write where nothing better is known.
func goodPolicy(priority int) string {
	return fmt.Sprintf("crypto isakmp policy %d\n encr aes 256\n hash sha256\n authentication pre-share\n group 14", priority)
}

func (k *checker) isakmpOn() {
	if len(k.settings.Entries) == 0 {
		return
	}
	if !k.c.ISAKMPEnabled {
		k.add(Error, k.c.ISAKMPEnabledOrigin, "ISAKMP is switched off", "no tunnel is negotiated; interesting traffic is dropped", "crypto isakmp enable")
		return
	}
	if len(k.c.ISAKMPPolicies) == 0 {
		k.add(Error, origin.Line{}, "there is no ISAKMP policy", "nothing can be offered to the peer: phase 1 fails (IOS would offer built-in policies with group 5)", goodPolicy(10))
	}
}

// policies looks at every ISAKMP policy: whether it is offered, and whether
// somebody forgot to write a value.
func (k *checker) policies() {
	usable := 0
	for i := range k.c.ISAKMPPolicies {
		if k.offered(&k.c.ISAKMPPolicies[i]) {
			usable++
		}
	}
	severity := Warning
	if usable == 0 {
		severity = Error
	}
	for i := range k.c.ISAKMPPolicies {
		p := &k.c.ISAKMPPolicies[i]
		name := fmt.Sprintf("ISAKMP policy %d", p.Priority)
		k.proof(p, name, severity)
		if p.Group == 23 || p.Group == 24 {
			k.add(Note, wrote(p.GroupOrigin, p.Origin), fmt.Sprintf("%s has group %d", name, uint16(p.Group)), subgroup, fmt.Sprintf("crypto isakmp policy %d\n group 14", p.Priority))
		}
		k.weakPolicy(p, name, severity)
	}
}

func (k *checker) offered(p *policy.ISAKMP) bool {
	return k.canProve(p.Auth) && (k.c.Legacy || len(weakParts(p)) == 0)
}

func weakParts(p *policy.ISAKMP) []string {
	return weak(named{"encryption " + p.Cipher.Row().IKE, p.Cipher.Row().Verdict}, named{"hash " + p.Hash.Row().IKE, p.Hash.Row().Verdict},
		named{fmt.Sprintf("group %d", uint16(p.Group)), p.Group.Row().Verdict})
}

// weakPolicy reports legacy algorithms, and says so when they are the
// defaults that IOS takes for what is not written.
func (k *checker) weakPolicy(p *policy.ISAKMP, name string, severity Severity) {
	parts := weakParts(p)
	if len(parts) == 0 {
		return
	}
	at, fix := p.Origin, []string{fmt.Sprintf("crypto isakmp policy %d", p.Priority)}
	left := p.CipherOrigin.IsZero() && p.Cipher == suite.DES || p.GroupOrigin.IsZero() && p.Group == 1
	for _, o := range []struct {
		legacy bool
		at     origin.Line
		line   string
	}{
		{p.Cipher.Row().Verdict == suite.Legacy, p.CipherOrigin, " encr aes 256"},
		{p.Hash.Row().Verdict == suite.Legacy, p.HashOrigin, " hash sha256"},
		{p.Group.Row().Verdict == suite.Legacy, p.GroupOrigin, " group 14"},
	} {
		if o.legacy {
			fix = append(fix, o.line)
			if at == p.Origin {
				at = wrote(o.at, at)
			}
		}
	}
	message := name + " has " + join(parts)
	if left {
		message += ", as IOS takes it for what is not written"
	}
	if k.c.Legacy {
		k.add(Note, at, message, "it is offered because of \""+shieldLine+"\"; these algorithms can be broken", strings.Join(fix, "\n"))
		return
	}
	k.add(severity, at, message, "the policy is negotiated only with \""+shieldLine+"\": without it, it is neither offered nor accepted", strings.Join(fix, "\n"))
}

// peerKeys looks for the key of every peer.
func (k *checker) peerKeys() {
	rack, signs := k.keyrack(), k.signs()
	asked := map[netip.Addr]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		profile := k.profile(e.Profile)
		for _, p := range e.Peers {
			if asked[p.Addr] || rack.holds(profile, p.Addr) || len(k.c.ISAKMPPolicies) > 0 && !k.preShared() {
				continue
			}
			asked[p.Addr] = true
			severity := Error
			if signs {
				severity = Note // a certificate will do
			}
			k.add(severity, p.Origin, fmt.Sprintf("there is no key for the peer %s", p.Addr),
				"phase 1 with it cannot authenticate: no policy with pre-share is offered", keyLines(profile, p.Addr))
		}
	})
	if len(k.c.Keys) > 0 && !k.preShared() && len(k.c.ISAKMPPolicies) > 0 {
		severity, then := Error, "the key is never used: phase 1 fails"
		if signs {
			severity, then = Note, "the key is never used"
		}
		k.add(severity, k.c.Keys[0].Origin, "there is a key, but no ISAKMP policy with \"authentication pre-share\"",
			then, fmt.Sprintf("crypto isakmp policy %d\n authentication pre-share", k.c.ISAKMPPolicies[0].Priority))
	}
}

// prefixes finds the longest prefix that holds an address, in 33 look-ups.
type prefixes[V any] map[netip.Prefix]V

func (p prefixes[V]) find(a netip.Addr) (v V, ok bool) {
	for bits := a.BitLen(); bits >= 0 && a.IsValid(); bits-- {
		q, err := a.Prefix(bits)
		if err != nil {
			break
		}
		if v, ok = p[q]; ok {
			break
		}
	}
	return v, ok
}

func keyTable(keys []Key) prefixes[int] {
	t := prefixes[int]{}
	for i := range keys {
		if keys[i].Peers.IsValid() {
			t[keys[i].Peers] = i
		}
	}
	return t
}

// keyUse finds keys that no peer of a crypto map takes.
func (k *checker) keyUse() {
	keys := keyTable(k.c.Keys)
	used := make([]bool, len(k.c.Keys))
	k.entries(func(m *CryptoMap, e *MapEntry) {
		for _, p := range e.Peers {
			if i, ok := keys.find(p.Addr); ok {
				used[i] = true
			}
		}
	})
	for i := range k.c.Keys {
		key := &k.c.Keys[i]
		switch {
		case key.Host != "":
			k.namedKey(key)
		case key.Peers.Addr().Is6():
			k.add(Warning, key.Origin, "the key is for IPv6 peers, which Culvert does not have yet", "the key is never used", "")
		case key.Peers.Bits() == 0:
			k.add(Warning, key.Origin, "the key is for every address", "whoever knows it can negotiate phase 1 from anywhere", "crypto isakmp key KEY address PEER")
		case !used[i] && !k.dynamicApplied(): // nobody knows the peers of a dynamic map
			k.add(Note, key.Origin, "no crypto map has a peer for the key of "+key.Peers.String(), "the key is never used", "")
		}
	}
}

// dynamicApplied reports whether an interface takes peers that no line names.
func (k *checker) dynamicApplied() bool {
	for name, applied := range k.stoodFor {
		if name != "" && applied {
			return true
		}
	}
	return false
}

// guessableKey is the number of octets below which a pre-shared key is called short.
const guessableKey = 12

// shortKeys finds pre-shared keys that can be guessed. In main mode, too, whoever
// once answers in the place of the peer gets the hash to try them against
// (CVE-2018-5389); nothing in the protocol helps against that but the key itself.
func (k *checker) shortKeys() {
	look := func(keys []Key, write string) {
		for i := range keys {
			if key := &keys[i]; key.Secret.Len() > 0 && key.Secret.Len() < guessableKey {
				k.add(Warning, key.Origin, fmt.Sprintf("the key has fewer than %d characters", guessableKey),
					"whoever answers once in the place of the peer can guess it offline, and then pass for either side", write)
			}
		}
	}
	look(k.c.Keys, "crypto isakmp key LONG-RANDOM-KEY address PEER")
	for i := range k.c.Keyrings {
		look(k.c.Keyrings[i].Keys, "pre-shared-key address PEER key LONG-RANDOM-KEY")
	}
}
