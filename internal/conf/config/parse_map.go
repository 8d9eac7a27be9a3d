package config

import (
	"cmp"
	"slices"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/origin"
	"culvert/internal/core/suite"
)

// mapBuilder is a crypto map while its lines are read.
type mapBuilder struct {
	m       CryptoMap
	entries register[int, MapEntry]
}

func (b *mapBuilder) build() CryptoMap {
	b.m.Entries = b.entries.all()
	slices.SortFunc(b.m.Entries, func(x, y MapEntry) int { return cmp.Compare(x.Seq, y.Seq) })
	return b.m
}

// maxPeers bounds the peers of one entry.
const maxPeers = 40

func mapHandlers() map[string]handler {
	return map[string]handler{
		"description": func(r *reader, m *ios.Match, _ ios.Line) {
			r.entry.Description = m.Value("text")
			if undo(m) {
				r.entry.Description = ""
			}
		},
		"match": (*reader).matchAddress, "peer": (*reader).peer, "sets": (*reader).useSets, "pfs": (*reader).pfs,
		"lifetime": (*reader).entryLifetime, "use-profile": (*reader).useProfile,
	}
}

func (r *reader) mapNamed(name string, l ios.Line) *mapBuilder {
	if b := r.maps.get(name); b != nil {
		return b
	}
	return r.maps.put(name, &mapBuilder{m: CryptoMap{Name: name, Origin: r.origin(l)}})
}

func (r *reader) mapLine(m *ios.Match, l ios.Line) {
	name, seq := m.Value("name"), number(m, "seq")
	if undo(m) {
		if b := r.maps.get(name); b != nil && b.entries.remove(seq) && len(b.entries.at) == 0 && b.m.LocalAddress == "" {
			r.maps.remove(name)
		}
		return
	}
	b := r.maps.get(name)
	if b != nil {
		r.entry = b.entries.get(seq)
	}
	if b == nil || r.entry == nil {
		if !m.Has("ipsec-isakmp") {
			w, _ := m.Arg("seq")
			r.report(Error, l, l.Column+w.Column-1, w.Text, "a new entry needs the keyword ipsec-isakmp", "crypto map "+name+" "+ordinal(seq)+" ipsec-isakmp")
			r.strange(l)
			return
		}
		r.entry = r.mapNamed(name, l).entries.put(seq, &MapEntry{Seq: seq, Origin: r.origin(l)})
	}
	r.open(m, l)
}

// mapAll is "crypto map NAME local-address IF" and "no crypto map NAME".
func (r *reader) mapAll(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if !undo(m) {
		b := r.mapNamed(name, l)
		b.m.LocalAddress, b.m.LocalAddressOrigin = m.Value("interface"), r.origin(l)
		return
	}
	b := r.maps.get(name)
	if b == nil {
		return
	}
	b.m.LocalAddress, b.m.LocalAddressOrigin = "", origin.Line{}
	if !m.Has("local-address") || len(b.entries.at) == 0 {
		r.maps.remove(name)
	}
}

func (r *reader) matchAddress(m *ios.Match, l ios.Line) {
	r.entry.ACL, r.entry.ACLOrigin = m.Value("list"), r.written(m, l)
	if undo(m) {
		r.entry.ACL = ""
	}
}

func (r *reader) peer(m *ios.Match, l ios.Line) {
	e := r.entry
	w, given := m.Arg("peer")
	if !given {
		e.Peers = nil
		return
	}
	p := Peer{Addr: address(m, "peer"), Default: m.Has("default"), Origin: r.origin(l)}
	if p.Addr.IsUnspecified() || p.Addr.IsMulticast() {
		r.fault(l, w, "%s is no address of a peer", p.Addr)
		return
	}
	var rest []Peer
	for _, o := range e.Peers {
		if o.Addr != p.Addr {
			rest = append(rest, o)
		} else if !undo(m) {
			o.Default = p.Default
			rest, given = append(rest, o), false
		}
	}
	if given && !undo(m) {
		if len(rest) == maxPeers {
			r.fault(l, w, "an entry has at most %d peers", maxPeers)
			return
		}
		rest = append(rest, p)
	}
	e.Peers = rest
}

func (r *reader) useSets(m *ios.Match, l ios.Line) {
	r.entry.Sets, r.entry.SetOrigin = nil, r.written(m, l)
	if undo(m) {
		return
	}
	seen := map[string]bool{}
	for _, w := range m.Args("set") {
		if seen[w.Value] {
			r.report(Warning, l, l.Column+w.Column-1, w.Text, "transform set "+w.Value+" is named twice", "")
			continue
		}
		seen[w.Value] = true
		r.entry.Sets = append(r.entry.Sets, w.Value)
	}
}

// pfs reads "set pfs". A bare one is group 1, as old IOS has it.
func (r *reader) pfs(m *ios.Match, l ios.Line) {
	r.entry.PFS, r.entry.PFSOrigin = suite.NoGroup, r.written(m, l)
	if undo(m) {
		return
	}
	r.entry.PFS = 1
	for _, g := range suite.Groups() {
		if strings.EqualFold(g.String(), m.Value("group")) {
			r.entry.PFS = g
		}
	}
}

func (r *reader) entryLifetime(m *ios.Match, l ios.Line) {
	e := r.entry
	if m.Has("kilobytes") {
		e.NoVolume, e.Lifetime.Kilobytes, e.VolumeOrigin = m.Has("disable") && !undo(m), 0, r.written(m, l)
		if !undo(m) {
			e.Lifetime.Kilobytes = uint64(number(m, "kilobytes"))
		}
		return
	}
	e.Lifetime.Time, e.TimeOrigin = 0, r.written(m, l)
	if !undo(m) {
		e.Lifetime.Time = lifetime(m)
	}
}

func (r *reader) useProfile(m *ios.Match, l ios.Line) {
	r.entry.Profile, r.entry.ProfileOrigin = m.Value("profile"), r.written(m, l)
	if undo(m) {
		r.entry.Profile = ""
	}
}
