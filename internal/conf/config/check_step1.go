package config

import (
	"fmt"
	"net/netip"

	"culvert/internal/core/flow"
	"culvert/internal/core/suite"
)

// probe is one kind of packet that a peer must be able to send us.
type probe struct {
	what     string
	proto    uint8
	port     uint16
	words    string // the condition behind the addresses
	severity Severity
	then     string
}

// probes are the packets of step 1. AH only where a transform set has it.
func probes(ah bool) []probe {
	out := []probe{
		{"ESP (protocol 50)", flow.ESP, 0, "", Error, "the negotiation succeeds, and then every packet of the tunnel is dropped on arrival: traffic goes out and nothing comes back"},
		{"ISAKMP (UDP 500)", flow.UDP, 500, " eq isakmp", Error, "the peer's phase 1 messages are dropped: the negotiation stays at MM_NO_STATE"},
		{"NAT traversal (UDP 4500)", flow.UDP, 4500, " eq non500-isakmp", Warning, "the tunnel comes up only when no NAT stands between the routers"},
	}
	if ah {
		out = append(out, probe{"AH (protocol 51)", flow.AH, 0, "", Error, "every packet of the tunnel is dropped on arrival"})
	}
	return out
}

// admitted sends the packets of step 1 from every peer through the inbound
// access list of the interface that the crypto map is applied to.
func (k *checker) admitted() {
	type pair struct {
		list        *flow.List
		peer, local netip.Addr
	}
	done := map[pair]bool{}
	matchers := map[*flow.List]*matcher{}
	for i := range k.settings.Entries {
		e := &k.settings.Entries[i]
		f := k.ports[e.Interface]
		list := k.lists[f.AccessGroupIn]
		if list == nil || len(list.Lines) == 0 {
			continue
		}
		ah := false
		for _, t := range e.Sets {
			ah = ah || t.AH != suite.NoHash
		}
		for _, peer := range e.Peers {
			if p := (pair{list, peer, e.Local}); !done[p] {
				done[p] = true
				if matchers[list] == nil {
					matchers[list] = matcherOf(list)
				}
				k.admit(f, matchers[list], peer, e.Local, ah)
			}
		}
	}
}

// matcher answers flow.List.Match for many packets: a hub has a few lines for
// each of its peers, and must not read them all for every peer.
type matcher struct {
	list   *flow.List
	bySrc  map[netip.Addr][]int // lines with one source host
	byDst  map[netip.Addr][]int // of the others, those with one destination host
	others []int
}

func matcherOf(l *flow.List) *matcher {
	m := &matcher{list: l, bySrc: map[netip.Addr][]int{}, byDst: map[netip.Addr][]int{}}
	for i := range l.Lines {
		src, ok1 := l.Lines[i].Src.Prefix()
		dst, ok2 := l.Lines[i].Dst.Prefix()
		switch {
		case ok1 && src.IsSingleIP():
			m.bySrc[src.Addr()] = append(m.bySrc[src.Addr()], i)
		case ok2 && dst.IsSingleIP():
			m.byDst[dst.Addr()] = append(m.byDst[dst.Addr()], i)
		default:
			m.others = append(m.others, i)
		}
	}
	return m
}

// match returns the first line that matches, or nil.
func (m *matcher) match(t flow.Tuple) *flow.Line {
	best := len(m.list.Lines)
	for _, lines := range [][]int{m.bySrc[t.Src], m.byDst[t.Dst], m.others} {
		for _, i := range lines {
			if i >= best {
				break
			}
			if m.list.Lines[i].Matches(t) {
				best = i
				break
			}
		}
	}
	if best == len(m.list.Lines) {
		return nil
	}
	return &m.list.Lines[best]
}

func (k *checker) admit(f *Interface, m *matcher, peer, local netip.Addr, ah bool) {
	list := m.list
	for _, p := range probes(ah) {
		line := m.match(flow.Tuple{Src: peer, Dst: local, Proto: p.proto, SrcPort: p.port, DstPort: p.port})
		if line != nil && line.Action == flow.Permit {
			continue
		}
		at, by := f.AccessGroupInOrigin, "no line of it permits that, and the rest is denied"
		if line != nil {
			at, by = line.Origin, fmt.Sprintf("its line %d says %s", line.Seq, line.Text)
		}
		k.add(p.severity, at, fmt.Sprintf("access list %s, inbound on %s, blocks %s from the peer %s: %s", list.Name, f.Name, p.what, peer, by),
			p.then, permitLine(list, line, flow.ProtoName(p.proto), peer, local, p.words))
	}
}

// permitLine is the line that lets a packet in: in front of the line that denies it.
func permitLine(list *flow.List, denied *flow.Line, proto string, peer, local netip.Addr, words string) string {
	condition := fmt.Sprintf("permit %s host %s host %s%s", proto, peer, local, words)
	if !list.Extended {
		condition = fmt.Sprintf("permit %s", peer)
	}
	if denied == nil && isNumber(list.Name) {
		return "access-list " + list.Name + " " + condition
	}
	kind, seq := "extended", ""
	if !list.Extended {
		kind = "standard"
	}
	if denied != nil && denied.Seq > 1 {
		seq = ordinal(denied.Seq-1) + " "
	}
	return "ip access-list " + kind + " " + list.Name + "\n " + seq + condition
}

// interfaceLists finds access groups without a list: IOS lets everything pass.
func (k *checker) interfaceLists() {
	for i := range k.c.Interfaces {
		f := &k.c.Interfaces[i]
		if f.AccessGroupIn != "" && k.lists[f.AccessGroupIn] == nil {
			k.add(Warning, f.AccessGroupInOrigin, fmt.Sprintf("access list %s, inbound on %s, is not defined", f.AccessGroupIn, f.Name),
				"nothing is filtered: every packet passes", "ip access-list extended "+f.AccessGroupIn)
		}
		if f.AccessGroupOut != "" && k.lists[f.AccessGroupOut] == nil {
			k.add(Warning, f.AccessGroupOutOrigin, fmt.Sprintf("access list %s, outbound on %s, is not defined", f.AccessGroupOut, f.Name),
				"nothing is filtered: every packet passes", "ip access-list extended "+f.AccessGroupOut)
		}
	}
}
