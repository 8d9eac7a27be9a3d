package config

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/core/flow"
)

// listsExist finds entries whose crypto access list is not there.
func (k *checker) listsExist() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		switch {
		case e.ACL == "" && m.Dynamic:
			k.add(Note, e.Origin, nameOf(m, e)+" has no access list", "the peer says what is protected: any networks it asks for, and nothing that it does not", entryLine(m, e)+"\n match address LIST")
		case e.ACL == "":
			k.add(k.severity(m), e.Origin, nameOf(m, e)+" has no access list",
				"the entry is incomplete: nothing is interesting, and the traffic leaves in the clear", entryLine(m, e)+"\n match address LIST")
		case k.lists[e.ACL] == nil:
			k.add(k.severity(m), e.ACLOrigin, fmt.Sprintf("access list %s is not defined", e.ACL),
				"nothing is interesting: no tunnel is negotiated, and the traffic leaves in the clear", k.exampleLine(e.ACL))
		}
	})
}

// exampleLine is a crypto access list between two sites.
func (k *checker) exampleLine(name string) string {
	condition := "permit ip LOCAL WILDCARD REMOTE WILDCARD"
	if isNumber(name) {
		return "access-list " + name + " " + condition
	}
	return "ip access-list extended " + name + "\n " + condition
}

// listsWork looks at every crypto access list once.
func (k *checker) listsWork() {
	seen := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		list := k.lists[e.ACL]
		if list == nil || seen[e.ACL] {
			return
		}
		seen[e.ACL] = true
		if !list.Extended {
			k.add(k.severity(m), e.ACLOrigin, fmt.Sprintf("crypto access list %s is a standard list", list.Name),
				"it names no destination: everything from its sources is caught, and the peer refuses the flow", "ip access-list extended NAME\n permit ip LOCAL WILDCARD REMOTE WILDCARD")
			return
		}
		permits := 0
		for i := range list.Lines {
			if line := &list.Lines[i]; !line.IsRemark() && line.Action == flow.Permit {
				permits++
				k.permit(list, line, k.severity(m))
			}
		}
		if permits == 0 {
			k.add(k.severity(m), wrote(list.Origin, e.ACLOrigin), fmt.Sprintf("crypto access list %s permits nothing", list.Name),
				"nothing is interesting: no tunnel is negotiated, and the traffic leaves in the clear", k.exampleLine(list.Name))
		}
	})
}

// permit looks at one line of interesting traffic.
func (k *checker) permit(list *flow.List, line *flow.Line, severity Severity) {
	where := fmt.Sprintf("crypto access list %s, line %d (%s)", list.Name, line.Seq, line.Text)
	if _, ok := line.Selectors(); !ok || line.Proto == flow.ICMP && line.ICMPType >= 0 {
		k.add(severity, line.Origin, where+" is no pair of proxy identities: those are two prefixes, a protocol and one port on a side",
			"the line cannot be negotiated: its traffic would not be protected", k.exampleLine(list.Name))
		return
	}
	switch {
	case line.Src.IsAny() && line.Dst.IsAny():
		k.add(Warning, line.Origin, where+" makes all traffic interesting",
			"everything that leaves by the interface goes into the tunnel, and whatever arrives unprotected is dropped, routing and management included", k.exampleLine(list.Name))
		return
	case line.Src.IsAny() || line.Dst.IsAny():
		k.add(Warning, line.Origin, where+" has \"any\" on one side",
			"the peer must have \"any\" on the other side; packets from anywhere that match the mirror and come unprotected are dropped", k.exampleLine(list.Name))
	}
	if k.ours(line.Dst) && !k.ours(line.Src) {
		mirror := line.Mirror()
		k.add(Warning, line.Origin, where+" has our own network as the destination: it is the peer's line",
			"nothing we send matches it: no tunnel is negotiated from here, and the traffic leaves in the clear", mirror.Text)
	}
}

// ours reports whether an interface has an address in the match, which is
// neither "any" nor one with holes.
func (k *checker) ours(m flow.Match) bool {
	p, ok := m.Prefix()
	if !ok || m.IsAny() {
		return false
	}
	i, _ := slices.BinarySearchFunc(k.own, p.Addr(), netip.Addr.Compare)
	return i < len(k.own) && p.Contains(k.own[i])
}

// listsUsed finds lists that nothing names. One that other parts of IOS may
// use, such as a line or NAT, is among the ignored lines: it is only a note.
func (k *checker) listsUsed() {
	used := map[string]bool{}
	for i := range k.c.Interfaces {
		used[k.c.Interfaces[i].AccessGroupIn], used[k.c.Interfaces[i].AccessGroupOut] = true, true
	}
	k.entries(func(m *CryptoMap, e *MapEntry) { used[e.ACL] = true })
	for _, l := range k.c.AccessLists {
		if !used[l.Name] {
			k.add(Note, l.Origin, fmt.Sprintf("access list %s is used by no interface and no crypto map", l.Name), "it decides nothing here", "")
		}
	}
}
