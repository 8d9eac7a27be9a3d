package flow

import (
	"math/bits"
	"net/netip"
	"strings"

	"culvert/internal/core/origin"
)

// Action is what a line of an access list does.
type Action uint8

// The actions.
const (
	Deny Action = iota
	Permit
)

func (a Action) String() string {
	if a == Permit {
		return "permit"
	}
	return "deny"
}

// Match is an address with an IOS wildcard: a one bit in Wildcard is not
// compared. The zero Match is "any".
type Match struct {
	Addr     netip.Addr
	Wildcard netip.Addr
}

// HostMatch matches one address.
func HostMatch(a netip.Addr) Match { return Match{a, netip.AddrFrom4([4]byte{})} }

// PrefixMatch matches an IPv4 prefix.
func PrefixMatch(p netip.Prefix) Match {
	if p.Bits() == 0 {
		return Match{}
	}
	m := Netmask(p.Bits()).As4()
	for i := range m {
		m[i] = ^m[i]
	}
	return Match{p.Masked().Addr(), netip.AddrFrom4(m)}
}

// IsAny reports whether every address matches.
func (m Match) IsAny() bool { return !m.Addr.IsValid() }

// Contains reports whether a matches.
func (m Match) Contains(a netip.Addr) bool {
	if m.IsAny() {
		return true
	}
	if !a.Is4() {
		return false
	}
	x, y, w := m.Addr.As4(), a.As4(), m.Wildcard.As4()
	for i := range x {
		if (x[i]^y[i])&^w[i] != 0 {
			return false
		}
	}
	return true
}

// Prefix is the match as a prefix; false when the wildcard has holes.
func (m Match) Prefix() (netip.Prefix, bool) {
	if m.IsAny() {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 0), true
	}
	w := m.Wildcard.As4()
	v := uint32(w[0])<<24 | uint32(w[1])<<16 | uint32(w[2])<<8 | uint32(w[3])
	if v&(v+1) != 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(m.Addr, 32-bits.Len32(v)).Masked(), true
}

func (m Match) String() string {
	switch {
	case m.IsAny():
		return "any"
	case m.Wildcard == netip.AddrFrom4([4]byte{}):
		return "host " + m.Addr.String()
	}
	return m.Addr.String() + " " + m.Wildcard.String()
}

// PortOp is the operator of a port condition.
type PortOp uint8

// The operators; Any is no condition.
const (
	Any PortOp = iota
	Eq
	Neq
	Gt
	Lt
	Range
)

// PortMatch is a condition on a port. Eq and Neq take up to ten ports, Gt and
// Lt one, Range two (inclusive). The zero value matches every port.
type PortMatch struct {
	Op    PortOp
	Ports []uint16
}

// Contains reports whether port n fulfils the condition.
func (p PortMatch) Contains(n uint16) bool {
	switch p.Op {
	case Any:
		return true
	case Gt:
		return n > p.Ports[0]
	case Lt:
		return n < p.Ports[0]
	case Range:
		return p.Ports[0] <= n && n <= p.Ports[1]
	}
	for _, q := range p.Ports {
		if q == n {
			return p.Op == Eq
		}
	}
	return p.Op == Neq
}

// Ranges is the condition as inclusive ranges in ascending order.
func (p PortMatch) Ranges() []Ports {
	switch p.Op {
	case Any:
		return []Ports{AnyPort}
	case Gt:
		if p.Ports[0] == 65535 {
			return nil
		}
		return []Ports{{p.Ports[0] + 1, 65535}}
	case Lt:
		if p.Ports[0] == 0 {
			return nil
		}
		return []Ports{{0, p.Ports[0] - 1}}
	case Range:
		return []Ports{{p.Ports[0], p.Ports[1]}}
	case Eq:
		out := make([]Ports, 0, len(p.Ports))
		for _, q := range p.Ports {
			out = append(out, Ports{q, q})
		}
		return out
	}
	return complement(p.Ports)
}

func complement(ports []uint16) []Ports {
	var out []Ports
	next := 0
	for next <= 65535 {
		end := 65536
		for _, q := range ports {
			if int(q) >= next && int(q) < end {
				end = int(q)
			}
		}
		if end > next {
			out = append(out, Ports{uint16(next), uint16(end - 1)})
		}
		next = end + 1
	}
	return out
}

// Line is one line of an access list.
type Line struct {
	Seq     int    // 10, 20, …
	Remark  string // a remark line has only this
	Action  Action
	Proto   uint8 // AnyProto for "ip"
	Src     Match
	SrcPort PortMatch
	Dst     Match
	DstPort PortMatch
	// Established: TCP with ACK or RST set.
	Established bool
	// Fragments: only non-initial fragments.
	Fragments bool
	// ICMPType and ICMPCode are -1 for any; only meaningful with Proto ICMP.
	ICMPType, ICMPCode int
	Log                bool
	// Text is the line's condition as IOS prints it, without the sequence
	// number: "permit esp host 192.0.2.2 host 192.0.2.1".
	Text   string
	Origin origin.Line
}

// IsRemark reports whether the line only remarks.
func (l *Line) IsRemark() bool { return l.Remark != "" }

// Matches reports whether the packet meets the line's conditions on
// addresses, protocol and ports. A condition on ports never holds for a
// fragment that has none.
func (l *Line) Matches(t Tuple) bool {
	if l.IsRemark() || (l.Proto != AnyProto && l.Proto != t.Proto) || !l.Src.Contains(t.Src) || !l.Dst.Contains(t.Dst) {
		return false
	}
	if l.Fragments && !t.Fragment {
		return false
	}
	if l.SrcPort.Op == Any && l.DstPort.Op == Any {
		return true
	}
	return !t.Fragment && l.SrcPort.Contains(t.SrcPort) && l.DstPort.Contains(t.DstPort)
}

// Mirror is the line as the peer has to write it.
func (l Line) Mirror() Line {
	l.Src, l.Dst = l.Dst, l.Src
	l.SrcPort, l.DstPort = l.DstPort, l.SrcPort
	l.Text = l.Condition()
	return l
}

// Condition renders the line as IOS prints it, from its fields.
func (l *Line) Condition() string {
	if l.IsRemark() {
		return "remark " + l.Remark
	}
	w := []string{l.Action.String(), ProtoName(l.Proto), l.Src.String()}
	if s := l.SrcPort.Words(l.Proto); s != "" {
		w = append(w, s)
	}
	w = append(w, l.Dst.String())
	if s := l.DstPort.Words(l.Proto); s != "" {
		w = append(w, s)
	}
	if l.Proto == ICMP && l.ICMPType >= 0 {
		w = append(w, ICMPName(l.ICMPType, l.ICMPCode))
	}
	if l.Established {
		w = append(w, "established")
	}
	if l.Fragments {
		w = append(w, "fragments")
	}
	if l.Log {
		w = append(w, "log")
	}
	return strings.Join(w, " ")
}

// Selectors is the line as a pair of proxy identities, Src being ours. ok is
// false for a remark, a deny, and for what an identity cannot carry: a wildcard
// with holes, more than one port range on a side, or flags.
func (l *Line) Selectors() (s Selectors, ok bool) {
	if l.IsRemark() || l.Action != Permit || l.Established || l.Fragments {
		return s, false
	}
	local, ok1 := l.Src.Prefix()
	remote, ok2 := l.Dst.Prefix()
	lp, rp := l.SrcPort.Ranges(), l.DstPort.Ranges()
	if !ok1 || !ok2 || len(lp) != 1 || len(rp) != 1 {
		return s, false
	}
	return Selectors{local, remote, l.Proto, lp[0], rp[0]}, true
}

// List is an access list: the first line that matches decides.
type List struct {
	Name     string
	Extended bool
	Lines    []Line
	Origin   origin.Line
}

// Match returns the first line that matches t, or nil.
func (l *List) Match(t Tuple) *Line {
	for i := range l.Lines {
		if l.Lines[i].Matches(t) {
			return &l.Lines[i]
		}
	}
	return nil
}
