package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// heldKey is a pre-shared key that may serve the peer, and the keyring it is in.
type heldKey struct {
	policy.Key
	ring string // "default" for the keys outside keyrings
}

// keys lists the pre-shared keys that may serve the peer, the likeliest first:
// those of the keyrings of the entry's profile, or of any keyring when the
// entry has none; by name, then by the longest prefix.
func (c *explainer) keys(identity string) []heldKey {
	var out []heldKey
	take := func(ring string, keys []policy.Key) {
		for _, k := range keys {
			named := k.Host != "" && strings.EqualFold(k.Host, identity)
			if named || k.Host == "" && k.Peers.Contains(c.report.Peer) {
				out = append(out, heldKey{k, ring})
			}
		}
	}
	var rings []string
	if p := c.entry.Profile; p != nil {
		if rings = p.Keyrings; len(rings) == 0 {
			rings = []string{"default"}
		}
	}
	if len(rings) == 0 || slices.Contains(rings, "default") {
		take("default", c.Settings.Keys)
	}
	for _, r := range c.Settings.Keyrings {
		if r.Local.IsValid() && r.Local != c.entry.Local {
			continue
		}
		if len(rings) == 0 || slices.Contains(rings, r.Name) {
			take(r.Name, r.Keys)
		}
	}
	slices.SortStableFunc(out, func(a, b heldKey) int {
		return cmp.Or(cmp.Compare(len(b.Host), len(a.Host)), cmp.Compare(b.Peers.Bits(), a.Peers.Bits()))
	})
	return out
}

// hasKey reports whether any key may serve the peer. A key by name serves one
// whose name is not known yet.
func (c *explainer) hasKey() bool {
	if len(c.keys("")) > 0 {
		return true
	}
	if slices.ContainsFunc(c.Settings.Aggressive, func(a policy.AggressivePeer) bool { return a.Addr == c.report.Peer && a.Secret.Len() > 0 }) {
		return true
	}
	named := func(k policy.Key) bool { return k.Host != "" }
	return slices.ContainsFunc(c.Settings.Keys, named) || slices.ContainsFunc(c.Settings.Keyrings, func(r policy.Keyring) bool { return slices.ContainsFunc(r.Keys, named) })
}

// keyLine is the line that gives a key: in the default keyring or in another,
// by address or by name.
func keyLine(ring, key, who string) string {
	if ring == "default" {
		return "crypto isakmp key " + key + " " + who
	}
	return "pre-shared-key " + who + " key " + key
}

func (k heldKey) who() string {
	switch {
	case k.Host != "":
		return "hostname " + k.Host
	case k.Peers.IsSingleIP():
		return "address " + k.Peers.Addr().String()
	}
	return "address " + addressAndMask(k.Peers)
}

// keyHere is the key of the peer made the one that the peer has.
func (c *explainer) keyHere(identity string) choice {
	keys := c.keys(identity)
	if len(keys) == 0 {
		return choice{{Side: c.side(), Write: []string{keyLine("default", "THE-SAME-KEY", "address "+c.report.Peer.String())}, Add: true}}
	}
	who := "address " + c.report.Peer.String()
	if k := keys[0]; k.Host != "" || k.ring != "default" {
		who = k.who()
	}
	return c.here(keys[0].Origin, keyLine(keys[0].ring, "THE-SAME-KEY", who))
}

// noKeyHere says that the peer has no pre-shared key here: in the keyrings that
// its profile names, when it has one.
func (c *explainer) noKeyHere() {
	who, where := "address "+c.report.Peer.String(), ""
	way := choice{{Side: c.side(), Write: []string{keyLine("default", "KEY", who)}, Add: true}}
	if ring, p := c.keyring(), c.entry.Profile; ring != nil {
		where = fmt.Sprintf(" in keyring %s, which profile %s uses", ring.Name, p.Name)
		way = c.add(ring.Origin, keyLine(ring.Name, "KEY", who))
	}
	c.report.Both = true
	c.blame(2, true, "no key for the peer", fmt.Sprintf("There is no pre-shared key for the peer %s%s.", c.report.Peer, where), way)
}

// keyring is the first keyring of the entry's profile; nil for the default one.
func (c *explainer) keyring() *policy.Keyring {
	p := c.entry.Profile
	if p == nil || len(p.Keyrings) == 0 || slices.Contains(p.Keyrings, "default") {
		return nil
	}
	i := slices.IndexFunc(c.Settings.Keyrings, func(r policy.Keyring) bool { return r.Name == p.Keyrings[0] })
	if i < 0 {
		return nil
	}
	return &c.Settings.Keyrings[i]
}

// noKey explains a peer without a key: one that named itself is named.
func (c *explainer) noKey(e event.Event, w event.Failed) {
	if w.Identity == "" || w.Kind == "ID_IPV4_ADDR" || w.Kind == "ID_IPV6_ADDR" || e.Role == event.Initiator {
		c.noKeyHere()
		return
	}
	way := choice{{Side: c.side(), Write: []string{keyLine("default", "KEY", "hostname "+w.Identity)}, Add: true}}
	where := ""
	if ring := c.keyring(); ring != nil {
		where = " in keyring " + ring.Name
		way = c.add(ring.Origin, keyLine(ring.Name, "KEY", "hostname "+w.Identity))
	}
	c.report.Both = true
	c.blame(2, true, "no key for the peer", fmt.Sprintf("%s calls itself %s, and there is no pre-shared key for that name%s.", c.report.Peer, named(w), where), way,
		c.there("crypto isakmp identity address"))
}

// named is how the peer calls itself, for a sentence: "r2.example.net (ID_FQDN)".
func named(w event.Failed) string {
	switch {
	case w.Identity == "":
		return "something that was not told"
	case w.Kind == "":
		return w.Identity
	}
	return w.Identity + " (" + w.Kind + ")"
}

// badIdentity explains a peer that proved its key under another name than the
// one expected.
func (c *explainer) badIdentity(_ event.Event, w event.Failed) {
	if w.Identity == "" {
		c.blame(2, false, w.Reason, fmt.Sprintf("%s is not who it should be: %s.", c.report.Peer, w.Reason), c.there("crypto isakmp identity address"))
		return
	}
	if m := c.entry.Identity; len(m) > 0 {
		c.report.Both = true
		c.blame(5, true, "another identity than the entry's",
			fmt.Sprintf("%s calls itself %s; crypto map %s %d here takes only %s (set identity).", c.report.Peer, named(w), c.entry.Map, c.entry.Seq, matches(m)),
			c.add(m[0].Origin, identityLine("", w)), c.there("crypto isakmp identity "+m[0].Kind.String()))
		return
	}
	c.report.Both = true
	c.blame(2, true, "another identity than its address",
		fmt.Sprintf("%s proved its key, but calls itself %s; a peer that is known by its address has to name that address, unless a NAT is in front of it.", c.report.Peer, named(w)),
		c.there("crypto isakmp identity address"),
		choice{{Side: c.side(), Add: true, Write: []string{"crypto isakmp profile NAME", " keyring default", " " + identityLine("match ", w)}}})
}

// noProfile explains a peer that no isakmp profile recognises, or another one
// than the entry's.
func (c *explainer) noProfile(_ event.Event, w event.Failed) {
	c.report.Both = w.Identity != ""
	p := c.entry.Profile
	switch {
	case p != nil && w.Profile != "" && w.Profile != p.Name:
		c.blame(5, true, "another isakmp profile than the entry's",
			fmt.Sprintf("%s calls itself %s, which profile %s recognises; crypto map %s %d here wants profile %s.", c.report.Peer, named(w), w.Profile, c.entry.Map, c.entry.Seq, p.Name),
			c.here(c.entry.ProfileOrigin, "set isakmp-profile "+w.Profile), c.add(p.Origin, identityLine("match ", w)))
	case p != nil:
		c.blame(2, true, "the profile does not recognise the peer",
			fmt.Sprintf("%s calls itself %s; profile %s here recognises %s.", c.report.Peer, named(w), p.Name, matches(p.Match)),
			c.add(p.Origin, identityLine("match ", w)), c.there(selfLine(p.Match)))
	case len(c.Settings.Profiles) > 0:
		first := c.Settings.Profiles[0]
		c.blame(2, true, "no profile recognises the peer",
			fmt.Sprintf("%s calls itself %s, which no isakmp profile here recognises.", c.report.Peer, named(w)),
			c.add(first.Origin, identityLine("match ", w)), c.there(selfLine(first.Match)))
	default:
		c.blame(2, true, "no profile recognises the peer", fmt.Sprintf("%s calls itself %s, and there is no isakmp profile for it.", c.report.Peer, named(w)),
			choice{{Side: c.side(), Add: true, Write: []string{"crypto isakmp profile NAME", " keyring default", " " + identityLine("match ", w)}}})
	}
}

// identityLine is the line that recognises the peer by what it calls itself.
func identityLine(verb string, w event.Failed) string {
	value := cmp.Or(w.Identity, "NAME")
	switch w.Kind {
	case "ID_FQDN":
		return verb + "identity host " + value
	case "ID_USER_FQDN":
		return verb + "identity user " + value
	case "ID_KEY_ID":
		return verb + "identity group " + value
	case "ID_DER_ASN1_DN", "ID_DER_ASN1_GN":
		return verb + "certificate MAP ! crypto pki certificate map MAP 10, subject-name co " + strings.ToLower(value)
	}
	return verb + "identity address " + value
}

// selfLine is the line by which the peer calls itself as a match expects it.
func selfLine(m []policy.IdentityMatch) string {
	for _, x := range m {
		switch {
		case x.Certificate != nil || x.Kind == policy.IdentityDN:
			return "crypto isakmp identity dn"
		case x.Kind == policy.IdentityFQDN:
			return "crypto isakmp identity hostname"
		case x.Kind == policy.IdentityUser:
			return "self-identity user-fqdn " + cmp.Or(x.Value, "NAME")
		}
	}
	return "crypto isakmp identity address"
}

// matches lists what a profile or an entry recognises: "host r2.example.net or address 198.51.100.2".
func matches(m []policy.IdentityMatch) string {
	var w []string
	for _, x := range m {
		switch {
		case x.Certificate != nil:
			w = append(w, "certificates of map "+x.Certificate.Name)
		case x.Kind == policy.IdentityAddress && x.Prefix.IsSingleIP():
			w = append(w, "address "+x.Prefix.Addr().String())
		case x.Kind == policy.IdentityAddress:
			w = append(w, "address "+x.Prefix.String())
		case x.Domain:
			w = append(w, x.Kind.String()+" in the domain "+x.Value)
		default:
			w = append(w, x.Kind.String()+" "+x.Value)
		}
	}
	if len(w) == 0 {
		return "nobody"
	}
	return strings.Join(w, " or ")
}

// identityHere is the line that says who we are.
func (c *explainer) identityHere() choice {
	const write = "crypto isakmp identity {address | hostname | dn} ! as the peer expects it"
	if p := c.entry.Profile; p != nil && p.HasSelf && !p.Self.Origin.IsZero() {
		return c.here(p.Self.Origin, "self-identity {address | fqdn NAME | user-fqdn NAME} ! as the peer expects it")
	}
	if o := c.Settings.Identity.Origin; !o.IsZero() {
		return c.here(o, write)
	}
	return c.add(origin.Line{}, write)
}

// addressAndMask is a prefix as a key line writes it.
func addressAndMask(p netip.Prefix) string {
	if !p.Addr().Is4() {
		return p.String()
	}
	return p.Addr().String() + " " + flow.Netmask(p.Bits()).String()
}
