package sadb

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// rule is one line of a crypto ACL at its place in the whole policy.
type rule struct {
	list string // name of the ACL
	line *flow.Line
	hits *atomic.Uint64
	flow int // number of the flow of a permit; -1 for a deny
	next int // first rule of the next crypto map entry
}

// spd is a stage of the policy: crypto map entries in their order, the lines of
// each entry's ACL in theirs, numbered through. It never changes once built.
//
//	permit matches      protect with this line's flow
//	deny matches        go on with the next entry ("jump" in IOS)
//	nothing matches     bypass
//
// Finding the first match must not take longer with 10,000 lines than with 10.
// The lines whose addresses are prefixes, practically all, are kept by shape:
// one shape for each pair of prefix lengths in use, with a table from the pair
// of prefixes to the lines that have it, in order. A packet costs one table
// look-up a shape, and configurations have few shapes. Lines with other
// wildcards are scanned.
type spd struct {
	rules   []rule
	shapes  []shape // by their first rule, ascending
	odd     []int   // rules whose addresses are no prefixes, ascending
	flowIDs map[policy.FlowID]int
}

// shape is the lines that have one pair of prefix lengths.
type shape struct {
	first            int // lowest rule
	srcMask, dstMask uint32
	lines            map[uint64][]int // rules by source and destination prefix, ascending
}

// hitKey is where a line's hit counter is kept: two crypto map entries may use
// one list.
type hitKey struct {
	list string
	seq  int
}

// newSPD builds the stage of the entries that are dynamic, or are not, and
// numbers their flows from len(flows) on. hits gives the counter of each line.
func newSPD(entries []policy.Entry, dynamic bool, flows []policy.Flow, hits func(*flow.List, *flow.Line) *atomic.Uint64) (*spd, []policy.Flow) {
	s := &spd{flowIDs: map[policy.FlowID]int{}}
	for i := range entries {
		e := &entries[i]
		if e.ACL == nil || e.Dynamic != dynamic {
			continue
		}
		first := len(s.rules)
		for j := range e.ACL.Lines {
			l := &e.ACL.Lines[j]
			if l.IsRemark() {
				continue
			}
			r := rule{list: e.ACL.Name, line: l, hits: hits(e.ACL, l), flow: -1}
			if l.Action == flow.Permit {
				r.flow, flows = s.flowOf(e, l, flows)
			}
			s.rules = append(s.rules, r)
		}
		for j := first; j < len(s.rules); j++ {
			s.rules[j].next = len(s.rules)
		}
	}
	s.index()
	return s, flows
}

// flowOf numbers the flow of a permit line. A crypto map on two interfaces has
// each flow once.
func (s *spd) flowOf(e *policy.Entry, l *flow.Line, flows []policy.Flow) (int, []policy.Flow) {
	id := policy.FlowID{Map: e.Map, Seq: e.Seq, Line: l.Seq}
	if n, ok := s.flowIDs[id]; ok {
		return n, flows
	}
	s.flowIDs[id] = len(flows)
	sel, _ := l.Selectors()
	return len(flows), append(flows, policy.Flow{ID: id, Selectors: sel, Line: l, Entry: e})
}

// index sorts the rules into shapes.
func (s *spd) index() {
	numbers := map[uint64]int{}
	for i := range s.rules {
		src, ok1 := s.rules[i].line.Src.Prefix()
		dst, ok2 := s.rules[i].line.Dst.Prefix()
		if !ok1 || !ok2 || !src.Addr().Is4() || !dst.Addr().Is4() {
			s.odd = append(s.odd, i)
			continue
		}
		srcMask, dstMask := mask(src.Bits()), mask(dst.Bits())
		n, ok := numbers[pair(srcMask, dstMask)]
		if !ok {
			n = len(s.shapes)
			numbers[pair(srcMask, dstMask)] = n
			s.shapes = append(s.shapes, shape{i, srcMask, dstMask, map[uint64][]int{}})
		}
		k := pair(number(src.Addr().As4()), number(dst.Addr().As4()))
		s.shapes[n].lines[k] = append(s.shapes[n].lines[k], i)
	}
}

// match finds the permit that protects t, or -1: bypass. With count the hit
// counters of the lines that matched go up.
func (s *spd) match(t flow.Tuple, count bool) int {
	for from := 0; ; {
		n := s.first(t, from)
		if n < 0 {
			return -1
		}
		r := &s.rules[n]
		if count {
			r.hits.Add(1)
		}
		if r.flow >= 0 {
			return n
		}
		from = r.next
	}
}

// first is the first rule from number from on that matches t, or -1.
func (s *spd) first(t flow.Tuple, from int) int {
	if !t.Src.Is4() || !t.Dst.Is4() {
		return s.scan(t, from)
	}
	best := math.MaxInt
	src, dst := number(t.Src.As4()), number(t.Dst.As4())
	for i := range s.shapes {
		sh := &s.shapes[i]
		if sh.first >= best {
			break // and so are all later shapes
		}
		best = s.earliest(sh.lines[pair(src&sh.srcMask, dst&sh.dstMask)], t, from, best)
	}
	best = s.earliest(s.odd, t, from, best)
	if best == math.MaxInt {
		return -1
	}
	return best
}

// earliest is the first of the rules in candidates that matches t and lies in
// [from, best), else best.
func (s *spd) earliest(candidates []int, t flow.Tuple, from, best int) int {
	start := 0
	if from > 0 {
		start, _ = slices.BinarySearch(candidates, from)
	}
	for _, n := range candidates[start:] {
		if n >= best {
			break
		}
		if s.rules[n].line.Matches(t) {
			return n
		}
	}
	return best
}

// scan is first for addresses that no prefix of the tables can hold.
func (s *spd) scan(t flow.Tuple, from int) int {
	for n := from; n < len(s.rules); n++ {
		if s.rules[n].line.Matches(t) {
			return n
		}
	}
	return -1
}

func mask(bits int) uint32 { return uint32(uint64(math.MaxUint32) << (32 - bits)) }

func number(a [4]byte) uint32 { return binary.BigEndian.Uint32(a[:]) }

func pair(src, dst uint32) uint64 { return uint64(src)<<32 | uint64(dst) }
