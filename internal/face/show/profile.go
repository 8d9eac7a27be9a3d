package show

import (
	"io"
	"strings"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// ISAKMPProfiles writes "show crypto isakmp profile".
func ISAKMPProfiles(w io.Writer, g *status.Gateway) error {
	var p page
	for _, x := range settings(g).Profiles {
		p.line("")
		p.line("IKEv1 PROFILE %s", x.Name)
		p.line("Ref Count = %d", users(g, x.Name))
		p.line("   Identities matched are:")
		for _, m := range x.Match {
			if m.Certificate == nil {
				p.line("    %s", matchWords(m))
			}
		}
		p.line("   Certificate maps matched are:")
		for _, m := range x.Match {
			if m.Certificate != nil {
				p.line("    %s", m.Certificate.Name)
			}
		}
		p.line("   Identity presented is: %s", selfWords(g, x))
		p.line("   keyring(s): %s", orDefault(x.Keyrings, "<none>"))
		p.line("   trustpoint(s): %s", orDefault(x.Trustpoints, "<all>"))
		if x.Aggressive {
			p.line("   Initiate mode: aggressive")
		}
		if k := x.Keepalive; k.Every > 0 {
			p.line("   Keepalive: %d seconds, retry %d seconds", seconds(k.Every), seconds(k.Retry))
		}
	}
	if len(settings(g).Profiles) > 0 {
		p.line("")
	}
	return p.flush(w)
}

// users counts what names a profile: entries of crypto maps and living ISAKMP SAs.
func users(g *status.Gateway, name string) int {
	n := 0
	for _, e := range Entries(g) {
		if e.Profile != nil && e.Profile.Name == name {
			n++
		}
	}
	for i := range g.ISAKMP {
		if s := &g.ISAKMP[i]; !s.Deleted && s.Profile == name {
			n++
		}
	}
	return n
}

// matchWords is a "match identity" as IOS lists it.
func matchWords(m policy.IdentityMatch) string {
	switch {
	case m.Kind == policy.IdentityAddress:
		return "ip-address " + m.Prefix.Addr().String() + " " + mask(m.Prefix)
	case m.Kind == policy.IdentityFQDN && m.Domain:
		return "fqdn domain " + m.Value
	case m.Kind == policy.IdentityUser && m.Domain:
		return "user-fqdn domain " + m.Value
	}
	return m.Kind.String() + " " + m.Value
}

// selfWords is how we name ourselves to the profile's peers.
func selfWords(g *status.Gateway, x policy.Profile) string {
	self := settings(g).Identity
	if x.HasSelf {
		self = x.Self
	}
	kind := self.Kind.String()
	if self.Kind == policy.IdentityAddress {
		kind = "ip-address"
	}
	return strings.TrimSpace(kind + " " + self.Value)
}

func orDefault(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, " ")
}

// DefaultPolicy writes "show crypto isakmp default policy": there are none, for
// nothing is offered that nobody wrote.
func DefaultPolicy(w io.Writer, _ *status.Gateway) error {
	var p page
	p.line("There are no default policies: only what the configuration says is negotiated.")
	return p.flush(w)
}

// DefaultPolicyView is the view of "show crypto isakmp default policy".
func DefaultPolicyView(*status.Gateway) Policies { return Policies{Policies: []ISAKMPPolicyItem{}} }

// Profiles is "show crypto isakmp profile".
type Profiles struct {
	Profiles []ProfileItem `json:"isakmp_profiles"`
}

// ProfileItem is one ISAKMP profile.
type ProfileItem struct {
	Name            string   `json:"name"`
	Identities      []string `json:"identities"`
	CertificateMaps []string `json:"certificate_maps"`
	Self            string   `json:"self_identity"`
	Keyrings        []string `json:"keyrings"`
	Trustpoints     []string `json:"trustpoints"`
	Aggressive      bool     `json:"initiate_aggressive"`
	KeepaliveEvery  int64    `json:"keepalive_seconds"` // 0 for none
	Users           int      `json:"users"`
	Origin          *Origin  `json:"origin"`
}

// ProfileView is the view of "show crypto isakmp profile".
func ProfileView(g *status.Gateway) Profiles {
	v := Profiles{Profiles: []ProfileItem{}}
	for _, x := range settings(g).Profiles {
		item := ProfileItem{
			Name: x.Name, Identities: []string{}, CertificateMaps: []string{}, Self: selfWords(g, x), Keyrings: append([]string{}, x.Keyrings...),
			Trustpoints: append([]string{}, x.Trustpoints...), Aggressive: x.Aggressive, KeepaliveEvery: seconds(x.Keepalive.Every), Users: users(g, x.Name), Origin: originOf(x.Origin),
		}
		for _, m := range x.Match {
			if m.Certificate != nil {
				item.CertificateMaps = append(item.CertificateMaps, m.Certificate.Name)
			} else {
				item.Identities = append(item.Identities, matchWords(m))
			}
		}
		v.Profiles = append(v.Profiles, item)
	}
	return v
}
