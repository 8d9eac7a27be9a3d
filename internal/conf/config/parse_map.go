package config

import (
	"cmp"
	"slices"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
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
		"lifetime": (*reader).entryLifetime, "use-profile": (*reader).useProfile, "use-identity": (*reader).useIdentity,
		"idle-time": (*reader).entryIdleTime, "replay": (*reader).entryReplay,
		"per-host": func(r *reader, m *ios.Match, _ ios.Line) { r.entry.PerHost = !undo(m) },
		"responder-only": func(r *reader, m *ios.Match, l ios.Line) {
			r.entry.ResponderOnly, r.entry.ResponderOrigin = !undo(m), r.written(m, l)
		},
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
	if b != nil && r.entry != nil && r.entry.Dynamic != "" {
		w, _ := m.Arg("seq")
		r.fault(l, w, "entry %d stands for dynamic map %s since line %d: its settings belong under crypto dynamic-map %s", seq, r.entry.Dynamic, r.entry.Origin.Line, r.entry.Dynamic)
		r.strange(l)
		return
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
	r.dynamic = false
	r.open(m, l)
}

// mapDynamic is an entry that stands for a dynamic map.
func (r *reader) mapDynamic(m *ios.Match, l ios.Line) {
	name, seq := m.Value("name"), number(m, "seq")
	b := r.maps.get(name)
	if undo(m) {
		r.mapLine(m, l)
		return
	}
	if b != nil {
		if old := b.entries.get(seq); old != nil && old.Dynamic == "" {
			w, _ := m.Arg("dynamic")
			r.fault(l, w, "entry %d is one of its own since line %d: take it away first, or use another number", seq, old.Origin.Line)
			return
		}
	}
	r.mapNamed(name, l).entries.put(seq, &MapEntry{Seq: seq, Dynamic: m.Value("dynamic"), Origin: r.origin(l)})
}

func (r *reader) dynamicLine(m *ios.Match, l ios.Line) {
	name, seq := m.Value("name"), number(m, "seq")
	b := r.dynamics.get(name)
	if undo(m) {
		if b != nil && (seq == 0 || b.entries.remove(seq) && len(b.entries.at) == 0) {
			r.dynamics.remove(name)
		}
		return
	}
	if b == nil {
		b = r.dynamics.put(name, &mapBuilder{m: CryptoMap{Name: name, Dynamic: true, Origin: r.origin(l)}})
	}
	r.entry, r.dynamic = b.entries.get(seq), true
	if r.entry == nil {
		r.entry = b.entries.put(seq, &MapEntry{Seq: seq, Origin: r.origin(l)})
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
	if r.dynamic && !undo(m) {
		r.fault(l, w, "a dynamic map is for peers whose address is not known: write crypto map NAME SEQ ipsec-isakmp for the peer %s", w.Value)
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

func (r *reader) useIdentity(m *ios.Match, l ios.Line) {
	r.entry.Identity, r.entry.IdentityOrigin = m.Value("identity"), r.written(m, l)
	if undo(m) {
		r.entry.Identity = ""
	}
}

func (r *reader) entryIdleTime(m *ios.Match, _ ios.Line) {
	r.entry.IdleTime, r.entry.IdleDefault = number(m, "idle"), m.Has("default")
	if undo(m) {
		r.entry.IdleTime, r.entry.IdleDefault = 0, false
	}
}

func (r *reader) entryReplay(m *ios.Match, l ios.Line) {
	r.entry.ReplayWindow, r.entry.HasReplay, r.entry.ReplayOrigin = number(m, "packets"), !undo(m), r.written(m, l)
	if undo(m) {
		r.entry.ReplayWindow = 0
	}
}

func identityHandlers() map[string]handler {
	return map[string]handler{"dn": (*reader).identityLine, "fqdn": (*reader).identityLine}
}

func (r *reader) identityList(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.idLists.remove(name)
		return
	}
	r.idList = r.idLists.get(name)
	if r.idList == nil {
		r.idList = r.idLists.put(name, &IdentityList{Name: name, Origin: r.origin(l)})
	}
	r.open(m, l)
}

func (r *reader) identityLine(m *ios.Match, l ios.Line) {
	to := policy.IdentityMatch{Kind: policy.IdentityDN, Value: m.Value("dn")}
	if m.Command.Name == "fqdn" {
		to = policy.IdentityMatch{Kind: policy.IdentityFQDN, Value: m.Value("fqdn")}
	}
	same := func(o policy.IdentityMatch) bool { return o.Kind == to.Kind && o.Value == to.Value }
	i := slices.IndexFunc(r.idList.Match, same)
	switch {
	case undo(m) && i >= 0:
		r.idList.Match = slices.Delete(r.idList.Match, i, i+1)
	case undo(m) || i >= 0:
	case len(r.idList.Match) == maxMatches:
		r.fault(l, m.Words[0], "an identity has at most %d lines", maxMatches)
	default:
		to.Origin = r.origin(l)
		r.idList.Match = append(r.idList.Match, to)
	}
}
