package config

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// mapsExist finds interfaces whose crypto map is not there, and entries without a peer.
func (k *checker) mapsExist() {
	for i := range k.c.Interfaces {
		f := &k.c.Interfaces[i]
		if f.CryptoMap == "" {
			continue
		}
		if m := k.maps[f.CryptoMap]; m == nil || len(m.Entries) == 0 {
			k.add(Error, f.CryptoMapOrigin, fmt.Sprintf("crypto map %s, applied to %s, has no entry", f.CryptoMap, f.Name),
				"nothing is protected: all traffic would leave in the clear", "crypto map "+f.CryptoMap+" 10 ipsec-isakmp\n set peer PEER\n set transform-set NAME\n match address LIST")
		}
	}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		if len(e.Peers) == 0 && !m.Dynamic {
			k.add(k.severity(m), e.Origin, nameOf(m, e)+" has no peer",
				"the entry is incomplete: its traffic would leave in the clear", entryLine(m, e)+"\n set peer PEER")
		}
	})
}

// dynamicMaps finds entries whose dynamic map is not there, those before
// static ones, and dynamic maps that nothing stands for.
func (k *checker) dynamicMaps() {
	used := map[string]bool{}
	for i := range k.c.CryptoMaps {
		m := &k.c.CryptoMaps[i]
		for j := range m.Entries {
			used[m.Entries[j].Dynamic] = true
			k.standsFor(m, j)
		}
	}
	for i := range k.c.DynamicMaps {
		if d := &k.c.DynamicMaps[i]; !used[d.Name] {
			k.add(Warning, d.Origin, fmt.Sprintf("dynamic map %s is in no crypto map", d.Name), "no peer is accepted by it", "crypto map NAME 65535 ipsec-isakmp dynamic "+d.Name)
		}
	}
}

// standsFor looks at entry j of a crypto map, when it stands for a dynamic map.
func (k *checker) standsFor(m *CryptoMap, j int) {
	e := &m.Entries[j]
	if e.Dynamic == "" {
		return
	}
	if k.dynamics[e.Dynamic] == nil {
		k.add(k.severity(m), e.Origin, fmt.Sprintf("dynamic map %s of %s is not defined", e.Dynamic, nameOf(m, e)), "no peer is accepted by the entry",
			"crypto dynamic-map "+e.Dynamic+" 10\n set transform-set NAME")
	}
	i := slices.IndexFunc(m.Entries[j:], func(o MapEntry) bool { return o.Dynamic == "" })
	if i >= 0 {
		k.add(Warning, e.Origin, fmt.Sprintf("%s stands for a dynamic map, before the entry %d of a known peer", nameOf(m, e), m.Entries[j+i].Seq),
			"when that peer begins, it may be taken for one of the dynamic map", fmt.Sprintf("no crypto map %s %d\ncrypto map %s 65535 ipsec-isakmp dynamic %s", m.Name, e.Seq, m.Name, e.Dynamic))
	}
}

// identitiesExist finds entries whose identity is not there, or is empty.
func (k *checker) identitiesExist() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		if e.Identity == "" {
			return
		}
		header := "crypto identity " + e.Identity + "\n dn SUBJECT"
		switch l := k.identities[e.Identity]; {
		case l == nil:
			k.add(k.severity(m), e.IdentityOrigin, fmt.Sprintf("identity %s is not defined", e.Identity), "whom the entry is for is not known: its traffic would leave in the clear", header)
		case len(l.Match) == 0:
			k.add(k.severity(m), l.Origin, fmt.Sprintf("identity %s names nobody", e.Identity), "every peer that holds the key or a certificate is taken, as if it were not set", header)
		}
	})
}

// mapsIdle finds maps that are applied nowhere. A spare map beside one that
// works is untidy; without any that works there is no VPN.
func (k *checker) mapsIdle() {
	severity := Warning
	if len(k.applied) == 0 {
		severity = Error
	}
	for i := range k.c.CryptoMaps {
		m := &k.c.CryptoMaps[i]
		if len(k.applied[m.Name]) == 0 {
			k.add(severity, m.Origin, fmt.Sprintf("crypto map %s is applied to no interface", m.Name),
				"it protects nothing: the traffic leaves in the clear", "interface INTERFACE\n crypto map "+m.Name)
		}
	}
}

// mapsApplied finds maps that are applied where they cannot work.
func (k *checker) mapsApplied() {
	for i := range k.c.CryptoMaps {
		m := &k.c.CryptoMaps[i]
		if m.LocalAddress != "" && (k.ports[m.LocalAddress] == nil || !k.ports[m.LocalAddress].Address.IsValid()) {
			k.add(Error, m.LocalAddressOrigin, fmt.Sprintf("%s has no address to be the local end of crypto map %s", m.LocalAddress, m.Name),
				"no tunnel is negotiated: the traffic leaves in the clear", "interface "+m.LocalAddress+"\n ip address ADDRESS MASK")
		}
		for _, f := range k.applied[m.Name] {
			k.interfaceOf(m, f)
		}
	}
}

func (k *checker) interfaceOf(m *CryptoMap, f *Interface) {
	if !f.Address.IsValid() {
		why := "has no address"
		if f.DHCP {
			why = "has its address from DHCP, which Culvert does not read"
		}
		k.add(Error, wrote(f.AddressOrigin, f.Origin), fmt.Sprintf("%s, with crypto map %s, %s", f.Name, m.Name, why),
			"the map does not work there: no tunnel is negotiated, and the traffic leaves in the clear", "interface "+f.Name+"\n ip address ADDRESS MASK")
	}
	if f.Shutdown {
		k.add(Warning, f.ShutdownOrigin, fmt.Sprintf("%s, with crypto map %s, is shut down", f.Name, m.Name),
			"a router would send nothing there; Culvert does not switch the device off and protects its traffic all the same", "interface "+f.Name+"\n no shutdown")
	}
}

// subgroup is what is known of the groups 22 to 24 (RFC 8247 section 2.4).
const subgroup = "it is offered; RFC 8247 section 2.4 advises against it: nobody has shown how its numbers were found, and peers drop it"

// entriesWork looks at the peer and at perfect forward secrecy of each entry.
func (k *checker) entriesWork() {
	own := map[netip.Addr]string{}
	for i := range k.c.Interfaces {
		if f := &k.c.Interfaces[i]; f.Address.IsValid() {
			own[f.Address.Addr()] = f.Name
		}
	}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		for _, p := range e.Peers {
			if name := own[p.Addr]; name != "" {
				k.add(Error, p.Origin, fmt.Sprintf("the peer %s is our own address, of %s", p.Addr, name), "no tunnel is negotiated", entryLine(m, e)+"\n no set peer "+p.Addr.String()+"\n set peer PEER")
			}
		}
		if e.PFS == 23 || e.PFS == 24 {
			k.add(Note, e.PFSOrigin, fmt.Sprintf("perfect forward secrecy is to use %s", e.PFS), subgroup, entryLine(m, e)+"\n set pfs group14")
		}
		if e.PFS == suite.NoGroup || e.PFS.Row().Verdict != suite.Legacy {
			return
		}
		severity, then := Error, "no phase 2 is negotiated for the entry without \""+shieldLine+"\""
		if k.c.Legacy {
			severity, then = Note, "it is offered because of \""+shieldLine+"\"; the group can be broken"
		}
		k.add(severity, e.PFSOrigin, fmt.Sprintf("perfect forward secrecy is to use %s", e.PFS), then, entryLine(m, e)+"\n set pfs group14")
	})
}

// hop is where a route leads: through a neighbour, out of an interface, or both.
type hop struct {
	next  netip.Addr
	iface string
	at    origin.Line
}

// routeTable is the connected networks and the static routes.
func (x *index) routeTable() prefixes[hop] {
	t := prefixes[hop]{}
	distance := map[netip.Prefix]int{}
	for i := range x.c.Routes {
		r := &x.c.Routes[i]
		if d, ok := distance[r.Dest]; !ok || r.Distance < d {
			t[r.Dest], distance[r.Dest] = hop{r.NextHop, r.Interface, r.Origin}, r.Distance
		}
	}
	for i := range x.c.Interfaces {
		f := &x.c.Interfaces[i]
		for _, p := range append([]netip.Prefix{f.Address}, f.Secondary...) {
			if p.IsValid() {
				t[p.Masked()] = hop{iface: f.Name, at: f.AddressOrigin}
			}
		}
	}
	return t
}

// wayOut is the interface a packet to an address leaves by: "" when no route
// says. Next hops are followed a few times, as routes may lead in a circle.
func wayOut(table prefixes[hop], a netip.Addr) string {
	for range 8 {
		h, ok := table.find(a)
		switch {
		case !ok:
			return ""
		case h.iface != "":
			return h.iface
		}
		a = h.next
	}
	return ""
}

// routes checks that packets to the peer have a way, and that packets to the
// far site leave by the interface whose crypto map is to catch them.
func (k *checker) routes() {
	table := k.routeTable()
	unknown := map[netip.Addr]bool{}
	for i := range k.settings.Entries {
		e := &k.settings.Entries[i]
		for _, peer := range e.Peers {
			if !unknown[peer] && wayOut(table, peer) == "" {
				unknown[peer] = true
				k.add(Warning, e.PeerOrigin, fmt.Sprintf("there is no route to the peer %s", peer),
					"phase 1 messages do not leave, unless the system has a route of its own", fmt.Sprintf("ip route %s 255.255.255.255 NEXTHOP", peer))
			}
		}
		for _, f := range e.Flows() {
			if !e.ACL.Extended {
				break // step 4 tells that
			}
			k.farSite(table, e, f)
		}
	}
}

func (k *checker) farSite(table prefixes[hop], e *policy.Entry, f policy.Flow) {
	remote := f.Selectors.Remote
	out := wayOut(table, remote.Addr())
	if out == e.Interface || e.Dynamic {
		return
	}
	fix := Route{Dest: remote, NextHop: e.Peers[0], Distance: 1}.String()
	if out == "" {
		k.add(Warning, f.Line.Origin, fmt.Sprintf("there is no route to the far site %s", remote),
			fmt.Sprintf("packets to it do not reach %s and its crypto map, unless the system has a route of its own", e.Interface), fix)
		return
	}
	k.add(Error, f.Line.Origin, fmt.Sprintf("the route to the far site %s leaves by %s, but crypto map %s is applied to %s", remote, out, e.Map, e.Interface),
		"the crypto map never sees the packets: they leave in the clear", fix)
}

// lifetimes compares the lifetimes of both phases.
func (k *checker) lifetimes() {
	if len(k.c.ISAKMPPolicies) == 0 {
		return
	}
	shortest := &k.c.ISAKMPPolicies[0]
	for i := range k.c.ISAKMPPolicies {
		if p := &k.c.ISAKMPPolicies[i]; p.Lifetime < shortest.Lifetime {
			shortest = p
		}
	}
	for i := range k.settings.Entries {
		e := &k.settings.Entries[i]
		if e.Lifetime.Time > shortest.Lifetime {
			k.add(Note, wrote(e.LifetimeOrigin, e.Origin), fmt.Sprintf("the IPsec SAs of %s %d live %d seconds, longer than the ISAKMP SA of policy %d (%d seconds)",
				e.Map, e.Seq, seconds(e.Lifetime.Time), shortest.Priority, seconds(shortest.Lifetime)),
				"phase 1 is negotiated anew for the sake of each renewal", "")
		}
	}
}
