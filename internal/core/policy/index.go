package policy

import (
	"net/netip"
)

// index finds crypto map entries without going through all of them: a hub has
// ten thousand. It holds numbers of Entries.
type index struct {
	of     []Entry // what was indexed
	byName map[entryName][]int
	byPeer map[ends][]int
	open   map[netip.Addr][]int // dynamic entries, by local address
}

type entryName struct {
	crypto string // name of the map
	seq    int
}

type ends struct{ local, peer netip.Addr }

// Index makes the look-ups by peer and by name quick. It is called once, when
// nothing changes any more and before anybody else has the Settings; without it
// they are right, and slow. An Entries that is replaced later is noticed, a
// change of an entry's name, address or peers is not.
func (s *Settings) Index() {
	x := &index{of: s.Entries, byName: map[entryName][]int{}, byPeer: map[ends][]int{}, open: map[netip.Addr][]int{}}
	for i := range s.Entries {
		e := &s.Entries[i]
		x.byName[entryName{e.Map, e.Seq}] = append(x.byName[entryName{e.Map, e.Seq}], i)
		if e.Dynamic {
			x.open[e.Local] = append(x.open[e.Local], i)
		}
		for j, p := range e.Peers {
			if !contains(e.Peers[:j], p) {
				x.byPeer[ends{e.Local, p}] = append(x.byPeer[ends{e.Local, p}], i)
			}
		}
	}
	s.index = x
}

func contains(peers []netip.Addr, p netip.Addr) bool {
	for _, q := range peers {
		if q == p {
			return true
		}
	}
	return false
}

// current is the index, nil when there is none for these Entries.
func (s *Settings) current() *index {
	x := s.index
	if x == nil || len(x.of) != len(s.Entries) || len(x.of) > 0 && &x.of[0] != &s.Entries[0] {
		return nil
	}
	return x
}

// serving lists the numbers of the entries that name the peer at that local
// address, in their order.
func (s *Settings) serving(local, peer netip.Addr) []int {
	if x := s.current(); x != nil {
		return x.byPeer[ends{local, peer}]
	}
	var out []int
	for i := range s.Entries {
		if s.Entries[i].Serves(local, peer) {
			out = append(out, i)
		}
	}
	return out
}

// dynamic lists the numbers of the dynamic entries at a local address, in their
// order.
func (s *Settings) dynamic(local netip.Addr) []int {
	if x := s.current(); x != nil {
		return x.open[local]
	}
	var out []int
	for i := range s.Entries {
		if s.Entries[i].Dynamic && s.Entries[i].Local == local {
			out = append(out, i)
		}
	}
	return out
}

// HasEntry reports whether a crypto map has an entry with that sequence number.
func (s *Settings) HasEntry(crypto string, seq int) bool { return len(s.named(crypto, seq)) > 0 }

// named lists the numbers of the entries with that name: one for each interface
// that carries the map.
func (s *Settings) named(crypto string, seq int) []int {
	if x := s.current(); x != nil {
		return x.byName[entryName{crypto, seq}]
	}
	var out []int
	for i := range s.Entries {
		if s.Entries[i].Map == crypto && s.Entries[i].Seq == seq {
			out = append(out, i)
		}
	}
	return out
}
