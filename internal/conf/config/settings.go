package config

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// Settings is the configuration as the protocol engine uses it. It has an
// entry for every complete entry of a crypto map that is applied to an
// interface with an address: interface by interface, ascending sequence
// numbers. A transform set or access list that is not defined is as good as
// not written. With "no crypto isakmp enable" there is no policy, so nothing
// is negotiated while the traffic stays caught. The lists are shared with c.
func (c *Config) Settings() policy.Settings {
	s := policy.Settings{Hostname: c.Hostname, Legacy: c.Legacy, ReplayWindow: c.ReplayWindow, NATKeepalive: time.Duration(c.ISAKMP.NATKeepalive) * time.Second}
	x := indexOf(c)
	if c.ISAKMPEnabled {
		s.Policies = x.policies()
	}
	x.phase1(&s)
	for i := range c.Interfaces {
		f := &c.Interfaces[i]
		m := x.maps[f.CryptoMap]
		if m == nil {
			continue
		}
		local := x.local(m, f)
		for j := range m.Entries {
			if local.IsValid() {
				s.Entries = append(s.Entries, x.complete(m, &m.Entries[j], f, local)...)
			}
		}
	}
	s.Unapplied = x.unapplied()
	return s
}

// complete is the entries that an entry of a crypto map comes to: itself, when
// it is complete, or those of the dynamic map it stands for. Their sequence
// numbers, of which the engine needs one an entry, lie beyond those of IOS from
// the second on.
func (x *index) complete(m *CryptoMap, e *MapEntry, f *Interface, local netip.Addr) []policy.Entry {
	if e.Dynamic == "" {
		if out, ok := x.entry(m, e, f, local); ok {
			return []policy.Entry{out}
		}
		return nil
	}
	d := x.dynamics[e.Dynamic]
	if d == nil {
		return nil
	}
	var all []policy.Entry
	for i := range d.Entries {
		out, _ := x.entry(m, &d.Entries[i], f, local)
		out.Seq, out.Dynamic = e.Seq+i<<16, true
		out.DynamicMap, out.DynamicSeq = d.Name, d.Entries[i].Seq
		if len(out.Sets) > 0 && x.bound(&d.Entries[i]) && (d.Entries[i].ACL == "" || out.ACL != nil) {
			all = append(all, out)
		}
	}
	return all
}

// bound reports whether what an entry says of its peers is defined.
func (x *index) bound(e *MapEntry) bool {
	return (e.Profile == "" || x.profile(e.Profile) != nil) && (e.Identity == "" || x.identities[e.Identity] != nil)
}

// unapplied is the complete entries of the maps that are on no interface, each
// as it would be on the interface that leads to its peer.
func (x *index) unapplied() []policy.Entry {
	var out []policy.Entry
	var table prefixes[hop]
	for i := range x.c.CryptoMaps {
		m := &x.c.CryptoMaps[i]
		for j := range m.Entries {
			e := &m.Entries[j]
			if len(x.applied[m.Name]) > 0 || len(e.Peers) == 0 {
				continue
			}
			if table == nil {
				table = x.routeTable()
			}
			f := x.ports[wayOut(table, ordered(e.Peers)[0].Addr)]
			if f == nil {
				f = &Interface{}
			}
			if u, ok := x.entry(m, e, f, x.local(m, f)); ok {
				out = append(out, u)
			}
		}
	}
	return out
}

// index finds the parts of a Config by name.
type index struct {
	c          *Config
	ports      map[string]*Interface // by name
	lists      map[string]*flow.List
	sets       map[string]*TransformSet
	maps       map[string]*CryptoMap
	dynamics   map[string]*CryptoMap
	identities map[string]*IdentityList
	// stoodFor tells which dynamic maps an applied crypto map has an entry for.
	stoodFor map[string]bool
	// applied lists the interfaces of each crypto map.
	applied map[string][]*Interface
	// profiles are those of c in their order, and where each is.
	profiles  []policy.Profile
	profileAt map[string]int
	// trustpoints are those of c in their order.
	trustpoints []policy.Trustpoint
	certMaps    map[string]*policy.CertificateMap
	imports     map[importID]crypt.Signer
}

func indexOf(c *Config) *index {
	x := &index{
		c: c, ports: map[string]*Interface{}, lists: map[string]*flow.List{}, sets: map[string]*TransformSet{},
		maps: map[string]*CryptoMap{}, dynamics: map[string]*CryptoMap{}, identities: map[string]*IdentityList{}, stoodFor: map[string]bool{}, applied: map[string][]*Interface{}, profileAt: map[string]int{}, certMaps: map[string]*policy.CertificateMap{}, imports: map[importID]crypt.Signer{},
	}
	for i := range c.Interfaces {
		f := &c.Interfaces[i]
		x.ports[f.Name] = f
		if f.CryptoMap != "" {
			x.applied[f.CryptoMap] = append(x.applied[f.CryptoMap], f)
		}
	}
	for _, l := range c.AccessLists {
		x.lists[l.Name] = l
	}
	for i := range c.TransformSets {
		x.sets[c.TransformSets[i].Name] = &c.TransformSets[i]
	}
	for i := range c.CryptoMaps {
		m := &c.CryptoMaps[i]
		x.maps[m.Name] = m
		for j := range m.Entries {
			x.stoodFor[m.Entries[j].Dynamic] = x.stoodFor[m.Entries[j].Dynamic] || len(x.applied[m.Name]) > 0
		}
	}
	for i := range c.DynamicMaps {
		x.dynamics[c.DynamicMaps[i].Name] = &c.DynamicMaps[i]
	}
	for i := range c.Identities {
		x.identities[c.Identities[i].Name] = &c.Identities[i]
	}
	for i := range c.Profiles {
		x.profileAt[c.Profiles[i].Name] = i
	}
	x.buildTrustpoints()
	x.buildProfiles()
	return x
}

// local is our end of the tunnels of a map on an interface; invalid when the
// interface that gives it has no address.
func (x *index) local(m *CryptoMap, f *Interface) netip.Addr {
	if m.LocalAddress != "" {
		f = x.ports[m.LocalAddress]
	}
	if f == nil {
		return netip.Addr{}
	}
	return f.Address.Addr()
}

// entry is an entry as the engine uses it; false when it is not complete.
func (x *index) entry(m *CryptoMap, e *MapEntry, f *Interface, local netip.Addr) (policy.Entry, bool) {
	out := policy.Entry{
		Map: m.Name, Seq: e.Seq, Interface: f.Name, Local: local, PFS: e.PFS, Lifetime: x.c.DefaultLifetime, ACL: x.lists[e.ACL], ReplayWindow: x.c.ReplayWindow,
		In: x.lists[f.AccessGroupIn], InOrigin: f.AccessGroupInOrigin,
		Profile: x.profile(e.Profile), ProfileOrigin: e.ProfileOrigin,
		InterfaceOrigin: f.Origin, Origin: e.Origin, SetOrigin: e.SetOrigin, PFSOrigin: e.PFSOrigin, ACLOrigin: e.ACLOrigin,
		LifetimeOrigin: wrote(e.TimeOrigin, wrote(e.VolumeOrigin, x.c.DefaultLifetimeOrigin)),
	}
	for i, p := range ordered(e.Peers) {
		if i == 0 {
			out.PeerOrigin = p.Origin
		}
		out.Peers = append(out.Peers, p.Addr)
	}
	for _, name := range e.Sets {
		if t := x.sets[name]; t != nil {
			out.Sets = append(out.Sets, t.TransformSet)
		}
	}
	if e.Lifetime.Time != 0 {
		out.Lifetime.Time = e.Lifetime.Time
	}
	switch {
	case e.NoVolume:
		out.Lifetime.Kilobytes = 0
	case e.Lifetime.Kilobytes != 0:
		out.Lifetime.Kilobytes = e.Lifetime.Kilobytes
	}
	out.DefaultPeer = len(e.Peers) > 0 && ordered(e.Peers)[0].Default
	x.associations(e, &out)
	return out, x.bound(e) && out.ACL != nil && len(out.Peers) > 0 && len(out.Sets) > 0
}

// associations fills in what an entry says of its SAs, or the global values.
func (x *index) associations(e *MapEntry, out *policy.Entry) {
	out.PerHost, out.ResponderOnly, out.ResponderOrigin = e.PerHost, e.ResponderOnly, e.ResponderOrigin
	out.IdleTime, out.ReplayWindow = time.Duration(x.c.IdleTime)*time.Second, x.c.ReplayWindow
	if e.IdleTime != 0 {
		out.IdleTime = time.Duration(e.IdleTime) * time.Second
	}
	if e.HasReplay {
		out.ReplayWindow = e.ReplayWindow
	}
	if l := x.identities[e.Identity]; l != nil {
		out.Identity, out.IdentityOrigin = l.Match, e.IdentityOrigin
	}
}

// ordered is the peers with the default one first.
func ordered(peers []Peer) []Peer {
	var first, rest []Peer
	for _, p := range peers {
		if p.Default {
			first = append(first, p)
		} else {
			rest = append(rest, p)
		}
	}
	return append(first, rest...)
}
