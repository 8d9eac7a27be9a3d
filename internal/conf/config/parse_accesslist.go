package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/flow"
)

// seqStep is the distance of sequence numbers that nobody wrote.
const seqStep = 10

// listBuilder is an access list while its lines are read.
type listBuilder struct {
	list   flow.List
	lines  map[int]flow.Line
	byText map[string]int // a condition to its sequence number
	last   int            // highest sequence number so far
	// kept are lines with conditions that Culvert cannot test.
	kept     []IgnoredLine
	problems []Problem
}

func listHandlers() map[string]handler {
	return map[string]handler{
		"entry": (*reader).entryLine,
		"list-unsupported": func(r *reader, m *ios.Match, l ios.Line) {
			r.keepEntry(r.list, m, m.Words[0], l)
		},
	}
}

// openList finds or makes a list; nil when one of the other kind has its name.
func (r *reader) openList(name ios.Word, extended bool, l ios.Line) *listBuilder {
	b := r.lists.get(name.Value)
	if b == nil {
		b = &listBuilder{lines: map[int]flow.Line{}, byText: map[string]int{}}
		b.list = flow.List{Name: name.Value, Extended: extended, Origin: r.origin(l)}
		return r.lists.put(name.Value, b)
	}
	if b.list.Extended != extended {
		r.fault(l, name, "access list %s is %s: see line %d", name.Value, kindOfList(b.list.Extended), b.list.Origin.Line)
		return nil
	}
	return b
}

func kindOfList(extended bool) string {
	if extended {
		return "an extended list"
	}
	return "a standard list"
}

// numbered reads "access-list N …". "no access-list N …" removes the whole
// list, whatever follows the number, as IOS does.
func (r *reader) numbered(m *ios.Match, l ios.Line) {
	name, _ := m.Arg("list")
	if undo(m) {
		if _, more := m.Arg("action"); more && r.lists.get(name.Value) != nil {
			r.report(Warning, l, l.Column, "no", "this removes the whole access list "+name.Value+", as in IOS",
				"ip access-list extended "+name.Value+"\n no SEQ")
		}
		r.lists.remove(name.Value)
		return
	}
	if b := r.openList(name, m.Command.Name == "numbered-extended", l); b != nil {
		r.addEntry(b, m, l)
	}
}

func (r *reader) listLine(m *ios.Match, l ios.Line) {
	name, _ := m.Arg("list")
	extended := m.Command.Name == "list-extended"
	if undo(m) {
		r.lists.remove(name.Value)
		return
	}
	if n, err := strconv.Atoi(name.Value); err == nil && extended != isExtendedNumber(n) {
		r.fault(l, name, "word %s: expected %s", ios.Quote(name.Text), numbersOf(extended))
		r.strange(l)
		return
	}
	if r.list = r.openList(name, extended, l); r.list == nil {
		r.strange(l)
		return
	}
	r.open(m, l)
}

// isExtendedNumber tells the numbers of extended lists from those of standard ones.
func isExtendedNumber(n int) bool { return n >= 100 && n <= 199 || n >= 2000 && n <= 2699 }

func numbersOf(extended bool) string {
	if extended {
		return "<100-199>, <2000-2699> or a name for an extended list"
	}
	return "<1-99>, <1300-1999> or a name for a standard list"
}

// entryLine is a line under "ip access-list". "no" takes a sequence number or
// the whole condition.
func (r *reader) entryLine(m *ios.Match, l ios.Line) {
	if !undo(m) {
		r.addEntry(r.list, m, l)
		return
	}
	seq, given := m.Number("seq")
	if !given {
		line, ok := r.entryOf(r.list, m, l)
		if seq = r.list.byText[line.Text]; !ok || seq == 0 {
			return
		}
	}
	if old, ok := r.list.lines[seq]; ok {
		delete(r.list.byText, old.Text)
		delete(r.list.lines, seq)
	}
}

// addEntry appends a line, or puts it at its sequence number.
func (r *reader) addEntry(b *listBuilder, m *ios.Match, l ios.Line) {
	for _, w := range m.Words {
		if w.Arg == "unsupported" || w.Value == "object-group" && w.Arg == "" {
			r.keepEntry(b, m, w, l)
			return
		}
	}
	line, ok := r.entryOf(b, m, l)
	if !ok {
		return
	}
	seq, given := m.Number("seq")
	if !given {
		seq = b.last + seqStep
	}
	if seq > math.MaxInt32 {
		r.fault(l, m.Words[0], "no sequence number is left behind %d", b.last)
		return
	}
	if old, taken := b.byText[line.Text]; taken && !line.IsRemark() && old != seq {
		r.report(Note, l, l.Column, "", fmt.Sprintf("the access list has this condition already, at sequence %d: the line is left out", old), "")
		return
	}
	if old, taken := b.lines[seq]; taken {
		if old.Text != line.Text {
			r.fault(l, m.Words[0], "sequence number %d is taken by line %d: %s", seq, old.Origin.Line, old.Text)
		}
		return
	}
	line.Seq = seq
	b.lines[seq], b.byText[line.Text] = line, seq
	b.last = max(b.last, seq)
}

// keepEntry keeps a line whose condition Culvert cannot test. Whether that is
// an error depends on whether the list is used: finishLists decides.
func (r *reader) keepEntry(b *listBuilder, m *ios.Match, w ios.Word, l ios.Line) {
	if undo(m) {
		return
	}
	from := 0
	for i, w := range m.Words {
		if w.Arg == "seq" || w.Arg == "action" || w.Value == "evaluate" {
			from = m.Words[i].Column - 1
			break
		}
	}
	b.kept = append(b.kept, IgnoredLine{Text: " " + l.Body[from:], AccessList: b.list.Name, Origin: r.at(l, "")})
	b.problems = append(b.problems, Problem{
		File: r.c.File, Line: l.Number, Column: l.Column + w.Column - 1, Word: w.Text,
		Message: fmt.Sprintf("word %s: valid IOS that Culvert does not support yet in an access list", ios.Quote(w.Text)),
	})
}

// entryOf reads the condition of a line, without its sequence number.
func (r *reader) entryOf(b *listBuilder, m *ios.Match, l ios.Line) (flow.Line, bool) {
	line := flow.Line{ICMPType: -1, ICMPCode: -1, Origin: r.origin(l)}
	if line.Remark = m.Value("text"); line.Remark != "" {
		line.Text = line.Condition()
		return line, true
	}
	if m.Value("action") == "permit" {
		line.Action = flow.Permit
	}
	line.Log = m.Has("log") || m.Has("log-input")
	if !b.list.Extended {
		line.Src = r.standardSource(m, l)
		line.Text = standardText(&line)
		return line, true
	}
	line.Proto = protocol(m.Value("proto"))
	line.Src, line.Dst = r.matchEnd(m, "src", l), r.matchEnd(m, "dst", l)
	line.Established, line.Fragments = m.Has("established"), m.Has("fragments")
	r.icmp(&line, m)
	var ok1, ok2 bool
	line.SrcPort, ok1 = r.portMatch(m, "src", line.Proto, l)
	line.DstPort, ok2 = r.portMatch(m, "dst", line.Proto, l)
	if ok1 && ok2 && line.Fragments && (line.SrcPort.Op != flow.Any || line.DstPort.Op != flow.Any) {
		r.report(Error, l, l.Column, "", "a fragment has no ports: a line has either ports or the keyword fragments", "")
		return line, false
	}
	line.Text = line.Condition()
	return line, ok1 && ok2
}

// standardSource is the address of a standard list: a bare one is a host.
func (r *reader) standardSource(m *ios.Match, l ios.Line) flow.Match {
	switch {
	case m.Has("any"):
		return flow.Match{}
	case m.Has("host") || m.Value("src-wildcard") == "":
		return flow.HostMatch(address(m, "src"))
	}
	return r.wildcard(m, "src", l)
}

// standardText is a line of a standard list as IOS prints it.
func standardText(line *flow.Line) string {
	s := line.Action.String() + " " + strings.TrimPrefix(line.Src.String(), "host ")
	if line.Log {
		s += " log"
	}
	return s
}

func protocol(word string) uint8 {
	if n, ok := flow.ProtoOf(word); ok {
		return n
	}
	n, _ := strconv.ParseUint(word, 10, 8)
	return uint8(n)
}

func (r *reader) matchEnd(m *ios.Match, name string, l ios.Line) flow.Match {
	if m.Value(name+"-any") != "" {
		return flow.Match{}
	}
	if w, ok := m.Arg(name + "-host"); ok {
		a, _ := netip.ParseAddr(w.Value)
		return flow.HostMatch(a)
	}
	return r.wildcard(m, name, l)
}

// wildcard reads "A W". Bits of the address that are not compared are cleared,
// as IOS does. A netmask there is legal and nearly always a mistake.
func (r *reader) wildcard(m *ios.Match, name string, l ios.Line) flow.Match {
	a, w := address(m, name).As4(), address(m, name+"-wildcard").As4()
	word, _ := m.Arg(name + "-wildcard")
	if w[0] == 255 && w != [4]byte{255, 255, 255, 255} {
		var inverse [4]byte
		for i := range w {
			inverse[i] = ^w[i]
		}
		r.report(Warning, l, l.Column+word.Column-1, word.Text, fmt.Sprintf("%s looks like a netmask: an access list has wildcards, and %s is the wildcard of that netmask",
			word.Text, netip.AddrFrom4(inverse)), "")
	}
	if w == [4]byte{255, 255, 255, 255} {
		return flow.Match{}
	}
	for i := range a {
		a[i] &^= w[i]
	}
	return flow.Match{Addr: netip.AddrFrom4(a), Wildcard: netip.AddrFrom4(w)}
}

func (r *reader) icmp(line *flow.Line, m *ios.Match) {
	w, ok := m.Arg("icmp-type")
	if !ok {
		return
	}
	if typ, code, named := flow.ICMPOf(w.Value); named {
		line.ICMPType, line.ICMPCode = typ, code
	} else {
		line.ICMPType, _ = m.Number("icmp-type")
	}
	if code, given := m.Number("icmp-code"); given {
		line.ICMPCode = code
	}
}

// portMatch reads the condition on the ports of one end; false for a condition that cannot be.
func (r *reader) portMatch(m *ios.Match, name string, proto uint8, l ios.Line) (flow.PortMatch, bool) {
	const most = 10 // ports on one line
	op, ok := m.Arg(name + "-op")
	if !ok {
		return flow.PortMatch{}, true
	}
	p := flow.PortMatch{Op: map[string]flow.PortOp{"eq": flow.Eq, "neq": flow.Neq, "gt": flow.Gt, "lt": flow.Lt, "range": flow.Range}[op.Value]}
	for _, w := range m.Args(name + "-port") {
		n, named := flow.PortOf(proto, w.Value)
		if !named {
			v, _ := strconv.ParseUint(w.Value, 10, 16)
			n = uint16(v)
		}
		if len(p.Ports) == most {
			r.fault(l, w, "word %s: at most %d ports stand on a line", ios.Quote(w.Text), most)
			return p, false
		}
		p.Ports = append(p.Ports, n)
	}
	if p.Op == flow.Range && p.Ports[0] > p.Ports[1] {
		r.fault(l, op, "the range ends before it begins: write range %d %d", p.Ports[1], p.Ports[0])
		return p, false
	}
	return p, true
}

// resequence is "ip access-list resequence NAME START STEP".
func (r *reader) resequence(m *ios.Match, l ios.Line) {
	name, _ := m.Arg("list")
	b := r.lists.get(name.Value)
	if b == nil {
		r.fault(l, name, "access list %s is not defined above", name.Value)
		return
	}
	start, step := number(m, "start"), number(m, "step")
	if start+step*len(b.lines) > math.MaxInt32 {
		r.fault(l, m.Words[len(m.Words)-1], "the sequence numbers would go beyond %d", math.MaxInt32)
		return
	}
	old := b.sorted()
	b.lines, b.last = make(map[int]flow.Line, len(old)), 0
	for i, line := range old {
		line.Seq = start + i*step
		b.lines[line.Seq], b.byText[line.Text], b.last = line, line.Seq, line.Seq
	}
}

func (b *listBuilder) sorted() []flow.Line {
	out := make([]flow.Line, 0, len(b.lines))
	for _, line := range b.lines {
		out = append(out, line)
	}
	slices.SortFunc(out, func(x, y flow.Line) int { return cmp.Compare(x.Seq, y.Seq) })
	return out
}

// finishLists orders the lists: numbers first, ascending, then names. A line
// that was not understood is an error in a list that decides something here.
func (r *reader) finishLists() {
	used := map[string]bool{}
	for i := range r.c.Interfaces {
		used[r.c.Interfaces[i].AccessGroupIn], used[r.c.Interfaces[i].AccessGroupOut] = true, true
	}
	for _, m := range r.c.CryptoMaps {
		for _, e := range m.Entries {
			used[e.ACL] = true
		}
	}
	builders := r.lists.all()
	slices.SortFunc(builders, func(x, y listBuilder) int { return compareNames(x.list.Name, y.list.Name) })
	for i := range builders {
		b := &builders[i]
		b.list.Lines = b.sorted()
		r.c.AccessLists = append(r.c.AccessLists, &b.list)
		r.c.Ignored = append(r.c.Ignored, b.kept...)
		for _, p := range b.problems {
			p.Severity = Warning
			if used[b.list.Name] {
				p.Severity = Error
			}
			r.problems = append(r.problems, p)
		}
	}
}

// compareNames puts numbers before names.
func compareNames(x, y string) int {
	a, err1 := strconv.Atoi(x)
	b, err2 := strconv.Atoi(y)
	switch {
	case err1 == nil && err2 == nil && a != b:
		return cmp.Compare(a, b)
	case (err1 == nil) != (err2 == nil):
		if err1 == nil {
			return -1
		}
		return 1
	}
	return strings.Compare(x, y)
}
