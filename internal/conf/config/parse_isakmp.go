package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/internal/conf/ios"
	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// defaultRetry is the seconds between two keepalives without an answer.
const defaultRetry = 2

// defaultPolicy is an ISAKMP policy of which only the number was written:
// IOS's "default protection suite".
func defaultPolicy(priority int) policy.ISAKMP {
	return policy.ISAKMP{
		Priority: priority, Cipher: suite.DES, KeyBits: suite.DES.Row().KeyBits[0], Hash: suite.SHA1,
		Auth: suite.RSASig, Group: 1, Lifetime: policy.DefaultISAKMPLifetime,
	}
}

func policyHandlers() map[string]handler {
	return map[string]handler{
		"encryption": (*reader).encryption, "hash": (*reader).hash, "authentication": (*reader).authentication,
		"group": (*reader).group, "lifetime": (*reader).policyLifetime,
	}
}

func (r *reader) policyLine(m *ios.Match, l ios.Line) {
	n := number(m, "priority")
	if undo(m) {
		r.policies.remove(n)
		return
	}
	r.policy = r.policies.get(n)
	if r.policy == nil {
		p := defaultPolicy(n)
		p.Origin = r.origin(l)
		r.policy = r.policies.put(n, &p)
	}
	r.open(m, l)
}

// written is the line's origin, or the zero Line when it restores a default.
func (r *reader) written(m *ios.Match, l ios.Line) origin.Line {
	if undo(m) {
		return origin.Line{}
	}
	return r.origin(l)
}

func (r *reader) encryption(m *ios.Match, l ios.Line) {
	p, d := r.policy, defaultPolicy(0)
	p.Cipher, p.KeyBits, p.CipherOrigin = d.Cipher, d.KeyBits, r.written(m, l)
	if undo(m) {
		return
	}
	for _, c := range suite.Ciphers() {
		if c.Row().IKE != "" && c.Row().IKE == m.Value("cipher") {
			p.Cipher, p.KeyBits = c, c.Row().KeyBits[0]
		}
	}
	if bits, ok := m.Number("bits"); ok {
		p.KeyBits = bits
	}
}

func (r *reader) hash(m *ios.Match, l ios.Line) {
	r.policy.Hash, r.policy.HashOrigin = defaultPolicy(0).Hash, r.written(m, l)
	for _, h := range suite.Hashes() {
		if !undo(m) && h.Row().IKE == m.Value("hash") {
			r.policy.Hash = h
		}
	}
}

func (r *reader) authentication(m *ios.Match, l ios.Line) {
	r.policy.Auth, r.policy.AuthOrigin = defaultPolicy(0).Auth, r.written(m, l)
	for _, a := range []suite.Auth{suite.PSK, suite.RSASig, suite.ECDSA256, suite.RSAEncr} {
		if !undo(m) && a.Row().IKE == m.Value("method") {
			r.policy.Auth = a
		}
	}
}

func (r *reader) group(m *ios.Match, l ios.Line) {
	r.policy.Group, r.policy.GroupOrigin = defaultPolicy(0).Group, r.written(m, l)
	if n, ok := m.Number("group"); ok && !undo(m) {
		r.policy.Group = suite.Group(n)
	}
}

func (r *reader) policyLifetime(m *ios.Match, l ios.Line) {
	r.policy.Lifetime, r.policy.LifetimeOrigin = policy.DefaultISAKMPLifetime, r.written(m, l)
	if n, ok := m.Number("seconds"); ok && !undo(m) {
		r.policy.Lifetime = time.Duration(n) * time.Second
	}
}

// key reads a pre-shared key, outside or inside a keyring. Its origin shows
// asterisks instead of the key.
func (r *reader) key(m *ios.Match, l ios.Line) {
	secret, _ := m.Arg("key")
	k := Key{Host: m.Value("host"), NoXauth: m.Has("no-xauth"), Origin: r.at(l, masked(m))}
	switch {
	case m.Has("address") && m.Has("ipv6"):
		p, _ := netip.ParsePrefix(m.Value("prefix"))
		k.Peers = p.Masked()
	case m.Has("address"):
		k.Peers = keyPeers(m)
	}
	if m.Has("ipv6") && !k.Peers.Addr().Is6() {
		w, _ := m.Arg("prefix")
		r.fault(l, w, "word %s: expected an IPv6 prefix such as 2001:db8::/32", ios.Quote(w.Text))
		return
	}
	keys, line := &r.keys, "crypto isakmp key KEY "+keyWhom(k)
	if r.mode == modeKeyring {
		keys, line = &r.ring.keys, "pre-shared-key "+keyWhom(k)+" key KEY"
	}
	id := keyID{k.Peers, strings.ToLower(k.Host)}
	if undo(m) {
		keys.remove(id)
		return
	}
	if r.encrypted(m, l, line) {
		return
	}
	k.Secret = crypt.NewSecret([]byte(secret.Value))
	if old := keys.get(id); old != nil {
		r.report(Warning, l, l.Column, "", "this key replaces the one of line "+strconv.Itoa(old.Origin.Line)+" for the same peer", "")
	}
	keys.put(id, &k)
}

// encrypted reports a key of type 6, which nobody but its router can read.
func (r *reader) encrypted(m *ios.Match, l ios.Line, line string) bool {
	if m.Value("type") != "6" {
		return false
	}
	secret, _ := m.Arg("key")
	r.report(Error, l, l.Column+secret.Column-1, "",
		"this key is encrypted (type 6) with a master key that only the router has: write the key itself", line)
	return true
}

// keyPeers is the address and mask of a key. "address 0.0.0.0" without a mask is every peer.
func keyPeers(m *ios.Match) netip.Prefix {
	a, bits := address(m, "peer"), 32
	if _, ok := m.Arg("mask"); ok {
		bits = maskBits(address(m, "mask"))
	} else if a.IsUnspecified() {
		bits = 0
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// masked is a key line with asterisks for the key.
func masked(m *ios.Match) string {
	var words []string
	for _, w := range m.Words {
		if w.Secret {
			w.Text = "******"
		}
		words = append(words, w.Text)
	}
	return strings.Join(words, " ")
}

func (r *reader) enable(m *ios.Match, l ios.Line) {
	r.c.ISAKMPEnabled, r.c.ISAKMPEnabledOrigin = !m.No, origin.Line{}
	if m.No {
		r.c.ISAKMPEnabledOrigin = r.origin(l)
	}
}

func (r *reader) keepalive(m *ios.Match, l ios.Line) {
	o := &r.c.ISAKMP
	o.Keepalive, o.Retry, o.Periodic, o.KeepaliveOrigin = 0, defaultRetry, false, r.written(m, l)
	if undo(m) {
		return
	}
	o.Keepalive, o.Periodic = number(m, "interval"), m.Value("how") == "periodic"
	if n, ok := m.Number("retry"); ok {
		o.Retry = n
	}
}

func (r *reader) natKeepalive(m *ios.Match, _ ios.Line) {
	r.c.ISAKMP.NATKeepalive = 0
	if !undo(m) {
		r.c.ISAKMP.NATKeepalive = number(m, "interval")
	}
}

func (r *reader) identity(m *ios.Match, l ios.Line) {
	o := &r.c.ISAKMP
	o.Identity, o.IdentityOrigin = IdentityAddress, r.written(m, l)
	if undo(m) {
		return
	}
	for _, i := range []Identity{IdentityHostname, IdentityDN} {
		if i.String() == m.Value("identity") {
			o.Identity = i
		}
	}
}

// flag sets what a line without a value switches on.
func (r *reader) flag(m *ios.Match, l ios.Line) {
	on := !undo(m)
	switch m.Command.Name {
	case "spi-recovery":
		r.c.ISAKMP.InvalidSPIRecovery = on
	case "aggressive":
		r.c.ISAKMP.AggressiveDisabled, r.c.ISAKMP.AggressiveOrigin = on, r.written(m, l)
	case "fragmentation":
		r.c.ISAKMP.Fragmentation = on
	case "default-policy":
		r.c.ISAKMP.NoDefaultPolicy = m.No
	case "log-sessions":
		r.c.LogSessions = on
	case "shield":
		r.c.Legacy, r.c.LegacyOrigin = on, r.written(m, l)
	}
}

func (r *reader) natTransparency(m *ios.Match, l ios.Line) {
	if m.No {
		r.fault(l, m.Words[0], "valid IOS that Culvert does not support yet: NAT traversal switched off")
	}
}
