package show

import (
	"fmt"
	"io"
	"net/netip"
	"slices"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// CryptoMap writes "show crypto map": step 5, with what it binds.
func CryptoMap(w io.Writer, g *status.Gateway) error {
	var p page
	all := Entries(g)
	if len(all) == 0 {
		p.line("No crypto maps found.")
		return p.flush(w)
	}
	for _, m := range cryptoMaps(all) {
		for _, e := range m.entries {
			writeEntry(&p, g, e)
		}
		writeDynamicFlows(&p, g, m)
		p.line("\tInterfaces using crypto map %s:", m.name)
		for _, i := range m.interfaces {
			p.line("\t\t%s", i)
		}
		p.line("")
	}
	return p.flush(w)
}

// cryptoMap is one map: its entries, and where it is applied.
type cryptoMap struct {
	name       string
	entries    []*policy.Entry // by sequence number, each once
	interfaces []string
}

// cryptoMaps groups entries by name, in the order of first mention. A map that
// is applied to two interfaces has each entry twice in a snapshot.
func cryptoMaps(all []policy.Entry) []*cryptoMap {
	var out []*cryptoMap
	for i := range all {
		e := &all[i]
		k := slices.IndexFunc(out, func(m *cryptoMap) bool { return m.name == e.Map })
		if k < 0 {
			k = len(out)
			out = append(out, &cryptoMap{name: e.Map})
		}
		m := out[k]
		if e.Interface != "" && !slices.Contains(m.interfaces, e.Interface) {
			m.interfaces = append(m.interfaces, e.Interface)
		}
		if !slices.ContainsFunc(m.entries, func(o *policy.Entry) bool { return o.Seq == e.Seq && o.DynamicSeq == e.DynamicSeq }) {
			m.entries = append(m.entries, e)
		}
	}
	for _, m := range out {
		slices.SortStableFunc(m.entries, func(a, b *policy.Entry) int { return a.Seq - b.Seq })
	}
	return out
}

// incomplete reports whether the entry lacks what it cannot work without.
func incomplete(e *policy.Entry) bool {
	return len(e.Peers) == 0 || e.ACL == nil || len(e.ACL.Lines) == 0
}

func writeEntry(p *page, g *status.Gateway, e *policy.Entry) {
	p.line("Crypto Map IPv4 %q %d ipsec-isakmp", e.Map, e.Seq)
	if e.Dynamic {
		p.line("\tDynamic map template tag: %s", e.DynamicMap)
		return
	}
	if incomplete(e) {
		p.line("\tWARNING: This crypto map is in an incomplete state!")
		p.line("\t\t(missing peer or access-list definitions)")
	}
	for i, a := range e.Peers {
		tried := ""
		if e.DefaultPeer && i == 0 {
			tried = " default"
		}
		p.line("\tPeer = %s%s", a, tried)
	}
	if e.Profile != nil {
		p.line("\tISAKMP Profile: %s", e.Profile.Name)
	}
	writeEntryList(p, e)
	if a := entryPeer(g, e); a.IsValid() {
		p.line("\tCurrent peer: %s", a)
	}
	writeTerms(p, g, e)
}

// writeTerms writes what an entry negotiates with.
func writeTerms(p *page, g *status.Gateway, e *policy.Entry) {
	p.line("\tSecurity association lifetime: %s", lifetimeWords(entryLifetime(g, e)))
	if e.PerHost {
		p.line("\tSecurity association level: per-host")
	}
	if e.IdleTime > 0 {
		p.line("\tSecurity association idletime: %d seconds", seconds(e.IdleTime))
	}
	p.line("\tResponder-Only (Y/N): %s", letter(e.ResponderOnly || e.Dynamic))
	p.line("\tPFS (Y/N): %s", letter(e.PFS != suite.NoGroup))
	if e.PFS != suite.NoGroup {
		p.line("\tDH group:  %s", e.PFS)
	}
	p.line("\tMixed-mode : Disabled")
	p.line("\tTransform sets={")
	for _, t := range e.Sets {
		p.line("\t\t%s:  { %s  } ,", t.Name, t.Words())
	}
	p.line("\t}")
}

func letter(b bool) string {
	if b {
		return "Y"
	}
	return "N"
}

// writeDynamicFlows writes what peers asked of the dynamic maps in m, as
// entries of their own from sequence number 65536, as IOS makes them.
func writeDynamicFlows(p *page, g *status.Gateway, m *cryptoMap) {
	for i := range g.Flows {
		f := &g.Flows[i]
		if f.Dynamic == "" || f.ID.Map != m.name {
			continue
		}
		peer, _ := endpoint(currentPeer(g, f))
		p.line("Crypto Map IPv4 %q %d ipsec-isakmp", f.ID.Map, f.ID.Seq)
		p.line("\tPeer = %s", peer)
		template := template(m, f)
		if template.Profile != nil {
			p.line("\tISAKMP Profile: %s", template.Profile.Name)
		}
		p.line("\tExtended IP access list ")
		p.line("\t    access-list  %s", f.Text)
		p.line("\t    dynamic (created from dynamic map %s)", f.Dynamic)
		p.line("\tCurrent peer: %s", peer)
		writeTerms(p, g, template)
	}
}

// template is the dynamic entry a flow was made from.
func template(m *cryptoMap, f *status.Flow) *policy.Entry {
	for _, e := range m.entries {
		if e.Dynamic && f.Dynamic == fmt.Sprintf("%s/%d", e.DynamicMap, e.DynamicSeq) {
			return e
		}
	}
	return &policy.Entry{Dynamic: true}
}

// DynamicMaps writes "show crypto dynamic-map".
func DynamicMaps(w io.Writer, g *status.Gateway) error {
	var p page
	if len(g.Dynamic) == 0 {
		p.line("No crypto map templates found.")
		return p.flush(w)
	}
	for _, m := range g.Dynamic {
		for i := range m.Entries {
			e := &m.Entries[i]
			p.line("Crypto Map Template%q %d", m.Name, e.Seq)
			if e.Profile != nil {
				p.line("\tISAKMP Profile: %s", e.Profile.Name)
			}
			writeEntryList(&p, e)
			dynamic := *e
			dynamic.Dynamic = true
			writeTerms(&p, g, &dynamic)
		}
	}
	return p.flush(w)
}

// writeEntryList writes the crypto ACL: step 4.
func writeEntryList(p *page, e *policy.Entry) {
	if e.ACL == nil {
		p.line("\tNo matching address list set.")
		return
	}
	p.line("\tExtended IP access list %s", e.ACL.Name)
	for i := range e.ACL.Lines {
		if l := &e.ACL.Lines[i]; !l.IsRemark() {
			p.line("\t    access-list %s %s", e.ACL.Name, lineText(l))
		}
	}
}

// entryPeer is the peer in use, or the first one when none was tried yet.
func entryPeer(g *status.Gateway, e *policy.Entry) netip.Addr {
	for i := range g.Flows {
		f := &g.Flows[i]
		if f.ID.Map == e.Map && f.ID.Seq == e.Seq && f.Peer.IsValid() {
			return f.Peer.Addr()
		}
	}
	if len(e.Peers) > 0 {
		return e.Peers[0]
	}
	return netip.Addr{}
}

// entryLifetime is the entry's own, else the global one.
func entryLifetime(g *status.Gateway, e *policy.Entry) policy.Lifetime {
	if e.Lifetime == (policy.Lifetime{}) {
		return globalLifetime(g)
	}
	return e.Lifetime
}
