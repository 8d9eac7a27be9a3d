package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Running is the running-config: what differs from the defaults, in IOS's
// words and order, keys included. Parsing it yields the same model but for
// the origins. Ignored lines stand as they were written.
func (c *Config) Running() string {
	p := printer{}
	p.line("!")
	if c.Hostname != "" {
		p.line("hostname %s", c.Hostname)
		p.line("!")
	}
	if c.Domain != "" {
		p.line("ip domain name %s", c.Domain)
	}
	for _, l := range c.Ignored {
		if l.Interface == "" && l.AccessList == "" {
			p.raw(l.Text)
		}
	}
	p.pki(c)
	p.isakmp(c)
	p.ipsec(c)
	p.maps(c)
	p.interfaces(c)
	for i := range c.Routes {
		p.line("%s", c.Routes[i].String())
	}
	p.lists(c)
	p.line("!")
	p.line("end")
	return p.b.String()
}

type printer struct{ b strings.Builder }

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format, args...)
	p.b.WriteByte('\n')
}

func (p *printer) raw(s string) {
	p.b.WriteString(s)
	p.b.WriteByte('\n')
}

// flag prints a line when it is set.
func (p *printer) flag(on bool, line string) {
	if on {
		p.raw(line)
	}
}

func (p *printer) isakmp(c *Config) {
	p.raw("!")
	p.flag(c.Legacy, "crypto engine compliance shield disable")
	p.flag(c.LogSessions, "crypto logging session")
	for i := range c.ISAKMPPolicies {
		p.raw(strings.Join(policyLines(&c.ISAKMPPolicies[i]), "\n"))
	}
	p.keyrings(c)
	for i := range c.Keys {
		p.raw(c.Keys[i].line(string(c.Keys[i].Secret.Bytes())))
	}
	p.flag(c.ISAKMP.NoDefaultPolicy, "no crypto isakmp default policy")
	p.flag(!c.ISAKMPEnabled, "no crypto isakmp enable")
	p.flag(c.ISAKMP.AggressiveDisabled, "crypto isakmp aggressive-mode disable")
	p.flag(c.ISAKMP.InvalidSPIRecovery, "crypto isakmp invalid-spi-recovery")
	p.flag(c.ISAKMP.Fragmentation, "crypto isakmp fragmentation")
	if c.ISAKMP.Identity != IdentityAddress {
		p.line("crypto isakmp identity %s", c.ISAKMP.Identity)
	}
	if k := c.ISAKMP; k.Keepalive != 0 {
		s := fmt.Sprintf("crypto isakmp keepalive %d", k.Keepalive)
		if k.Retry != defaultRetry {
			s += fmt.Sprintf(" %d", k.Retry)
		}
		if k.Periodic {
			s += " periodic"
		}
		p.raw(s)
	}
	if n := c.ISAKMP.NATKeepalive; n != 0 {
		p.line("crypto isakmp nat keepalive %d", n)
	}
	p.aggressivePeers(c)
	p.profiles(c)
}

// policyLines is an ISAKMP policy as it is written; a value left at its
// default is not.
func policyLines(q *policy.ISAKMP) []string {
	d := defaultPolicy(q.Priority)
	out := []string{fmt.Sprintf("crypto isakmp policy %d", q.Priority)}
	if q.Cipher != d.Cipher {
		s := " encr " + q.Cipher.Row().IKE
		if q.Cipher.Row().Sized && q.KeyBits != q.Cipher.Row().KeyBits[0] {
			s += fmt.Sprintf(" %d", q.KeyBits)
		}
		out = append(out, s)
	}
	if q.Hash != d.Hash {
		out = append(out, " hash "+q.Hash.Row().IKE)
	}
	if q.Auth != d.Auth {
		out = append(out, " authentication "+q.Auth.Row().IKE)
	}
	if q.Group != d.Group {
		out = append(out, fmt.Sprintf(" group %d", uint16(q.Group)))
	}
	if q.Lifetime != d.Lifetime {
		out = append(out, fmt.Sprintf(" lifetime %d", seconds(q.Lifetime)))
	}
	return out
}

// line is the key's line with secret in the place of the key.
func (k *Key) line(secret string) string {
	s := "crypto isakmp key " + plainSecret(secret) + " " + keyWhom(*k)
	if k.NoXauth {
		s += " no-xauth"
	}
	return s
}

// plainSecret is a key as it stands in a line: "0" and "6" alone would be read
// as the key's type.
func plainSecret(s string) string {
	if s == "0" || s == "6" {
		return "0 " + s
	}
	return s
}

// keyWhom is the part of a key's line that names its peers.
func keyWhom(k Key) string {
	switch {
	case !k.Peers.IsValid():
		return "hostname " + k.Host
	case k.Peers.Addr().Is6():
		return "address ipv6 " + k.Peers.String()
	case k.Peers.Bits() == 0 || k.Peers.Bits() == 32 && !k.Peers.Addr().IsUnspecified():
		return "address " + k.Peers.Addr().String()
	}
	return "address " + k.Peers.Addr().String() + " " + flow.Netmask(k.Peers.Bits()).String()
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (p *printer) ipsec(c *Config) {
	p.raw("!")
	if t := c.DefaultLifetime.Time; t != policy.DefaultIPsecLifetime {
		p.line("crypto ipsec security-association lifetime %s", lifeWords(t))
	}
	switch k := c.DefaultLifetime.Kilobytes; k {
	case policy.DefaultIPsecKilobytes:
	case 0:
		p.raw("crypto ipsec security-association lifetime kilobytes disable")
	default:
		p.line("crypto ipsec security-association lifetime kilobytes %d", k)
	}
	switch c.ReplayWindow {
	case policy.DefaultReplayWindow:
	case 0:
		p.raw("crypto ipsec security-association replay disable")
	default:
		p.line("crypto ipsec security-association replay window-size %d", c.ReplayWindow)
	}
	if c.IdleTime != 0 {
		p.line("crypto ipsec security-association idle-time %d", c.IdleTime)
	}
	for i := range c.TransformSets {
		t := &c.TransformSets[i]
		p.raw(t.line())
		p.flag(t.ESN, " esn")
		if t.Mode == suite.Transport {
			s := " mode transport"
			if t.Require {
				s += " require"
			}
			p.raw(s)
		}
	}
}

func lifeWords(t time.Duration) string { return fmt.Sprintf("seconds %d", seconds(t)) }

func (p *printer) maps(c *Config) {
	for i := range c.Identities {
		p.line("crypto identity %s", c.Identities[i].Name)
		for _, m := range c.Identities[i].Match {
			p.line(" %s %s", m.Kind, m.Value)
		}
	}
	for i := range c.DynamicMaps {
		m := &c.DynamicMaps[i]
		p.raw("!")
		for j := range m.Entries {
			p.entry(m, &m.Entries[j])
		}
	}
	for i := range c.CryptoMaps {
		m := &c.CryptoMaps[i]
		p.raw("!")
		if m.LocalAddress != "" {
			p.line("crypto map %s local-address %s", m.Name, m.LocalAddress)
		}
		for j := range m.Entries {
			p.entry(m, &m.Entries[j])
		}
	}
}

func (p *printer) entry(m *CryptoMap, e *MapEntry) {
	p.raw(entryLine(m, e))
	p.description(e.Description)
	for _, peer := range e.Peers {
		s := " set peer " + peer.Addr.String()
		if peer.Default {
			s += " default"
		}
		p.raw(s)
	}
	if e.Lifetime.Time != 0 {
		p.line(" set security-association lifetime %s", lifeWords(e.Lifetime.Time))
	}
	switch {
	case e.NoVolume:
		p.raw(" set security-association lifetime kilobytes disable")
	case e.Lifetime.Kilobytes != 0:
		p.line(" set security-association lifetime kilobytes %d", e.Lifetime.Kilobytes)
	}
	p.associations(e)
	if len(e.Sets) > 0 {
		p.line(" set transform-set %s", strings.Join(e.Sets, " "))
	}
	if e.PFS != suite.NoGroup {
		p.line(" set pfs %s", e.PFS)
	}
	if e.Identity != "" {
		p.line(" set identity %s", e.Identity)
	}
	if e.Profile != "" {
		p.line(" set isakmp-profile %s", e.Profile)
	}
	p.flag(e.ResponderOnly, " responder-only")
	if e.ACL != "" {
		p.line(" match address %s", e.ACL)
	}
	p.kept(e.Kept)
}

// associations prints the rest of "set security-association".
func (p *printer) associations(e *MapEntry) {
	p.flag(e.PerHost, " set security-association level per-host")
	if e.IdleTime != 0 {
		s := fmt.Sprintf(" set security-association idle-time %d", e.IdleTime)
		if e.IdleDefault {
			s += " default"
		}
		p.raw(s)
	}
	switch {
	case e.HasReplay && e.ReplayWindow == 0:
		p.raw(" set security-association replay disable")
	case e.HasReplay:
		p.line(" set security-association replay window-size %d", e.ReplayWindow)
	}
}

func (p *printer) kept(lines []IgnoredLine) {
	for _, l := range lines {
		p.raw(l.Text)
	}
}

func (p *printer) interfaces(c *Config) {
	ignored := map[string][]string{}
	for _, l := range c.Ignored {
		if l.Interface != "" {
			ignored[l.Interface] = append(ignored[l.Interface], l.Text)
		}
	}
	for i := range c.Interfaces {
		f := &c.Interfaces[i]
		p.raw("!")
		p.line("interface %s", f.Name)
		if f.Description != "" {
			p.line(" description %s", f.Description)
		}
		p.addresses(f)
		if f.AccessGroupIn != "" {
			p.line(" ip access-group %s in", f.AccessGroupIn)
		}
		if f.AccessGroupOut != "" {
			p.line(" ip access-group %s out", f.AccessGroupOut)
		}
		for _, s := range ignored[f.Name] {
			p.raw(s)
		}
		p.flag(f.Shutdown, " shutdown")
		if f.CryptoMap != "" {
			p.line(" crypto map %s", f.CryptoMap)
		}
	}
	if len(c.Interfaces) > 0 {
		p.raw("!")
	}
}

func (p *printer) addresses(f *Interface) {
	words := func(a netip.Prefix) string { return a.Addr().String() + " " + flow.Netmask(a.Bits()).String() }
	for _, a := range f.Secondary {
		p.line(" ip address %s secondary", words(a))
	}
	switch {
	case f.DHCP:
		p.raw(" ip address dhcp")
	case f.Address.IsValid():
		p.line(" ip address %s", words(f.Address))
	}
}

// String is the route as a configuration has it.
func (r Route) String() string {
	s := "ip route " + r.Dest.Addr().String() + " " + flow.Netmask(r.Dest.Bits()).String()
	if r.Interface != "" {
		s += " " + r.Interface
	}
	if r.NextHop.IsValid() {
		s += " " + r.NextHop.String()
	}
	if r.Distance != 1 {
		s += fmt.Sprintf(" %d", r.Distance)
	}
	if r.Tag != 0 {
		s += fmt.Sprintf(" tag %d", r.Tag)
	}
	if r.Track != 0 {
		s += fmt.Sprintf(" track %d", r.Track)
	}
	if r.Name != "" {
		s += " name " + r.Name
	}
	if r.Permanent {
		s += " permanent"
	}
	return s
}

func (p *printer) lists(c *Config) {
	kept := map[string][]string{}
	for _, l := range c.Ignored {
		if l.AccessList != "" {
			kept[l.AccessList] = append(kept[l.AccessList], l.Text)
		}
	}
	for _, l := range c.AccessLists {
		p.raw("!")
		p.raw(strings.Join(listLines(l, kept[l.Name]), "\n"))
	}
}

// listLines is an access list as it is written: a numbered one as
// "access-list N …" lines, unless its sequence numbers are not 10, 20, 30 and
// would be lost.
func listLines(l *flow.List, kept []string) []string {
	plain := true
	for i := range l.Lines {
		plain = plain && l.Lines[i].Seq == (i+1)*seqStep
	}
	var out []string
	if plain && isNumber(l.Name) && len(kept) == 0 && len(l.Lines) > 0 {
		for i := range l.Lines {
			out = append(out, "access-list "+l.Name+" "+l.Lines[i].Text)
		}
		return out
	}
	kind := "standard"
	if l.Extended {
		kind = "extended"
	}
	out = append(out, "ip access-list "+kind+" "+l.Name)
	for i := range l.Lines {
		seq := ""
		if !plain {
			seq = ordinal(l.Lines[i].Seq) + " "
		}
		out = append(out, " "+seq+l.Lines[i].Text)
	}
	return append(out, kept...)
}

// isNumber reports whether "access-list" takes the name.
func isNumber(name string) bool {
	return name != "" && name[0] != '0' && strings.Trim(name, "0123456789") == ""
}

// wrote is the origin if it is set, else the one of the block.
func wrote(at, block origin.Line) origin.Line {
	if at.IsZero() {
		return block
	}
	return at
}
