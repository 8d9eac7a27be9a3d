package guard

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
)

// conditions are the alternatives under which a line of an access list matches:
// one for what shows its ports, and for a permit a second one for the non-initial
// fragments of such packets. None for a remark.
func (b *builder) conditions(l *flow.Line) [][]expr.Any {
	if l.IsRemark() {
		return nil
	}
	lower := addresses(l)
	if l.Fragments {
		return [][]expr.Any{join(lower, isLaterFragment())}
	}
	upper := b.transportOf(l)
	if len(upper) == 0 {
		return [][]expr.Any{lower}
	}
	out := [][]expr.Any{join(lower, upper)}
	if l.Action == flow.Permit {
		out = append(out, join(lower, isLaterFragment()))
	}
	return out
}

// addresses are a line's conditions on the IPv4 header.
func addresses(l *flow.Line) []expr.Any {
	var out []expr.Any
	switch {
	case l.Established:
		out = hasProtocol(flow.TCP)
	case l.Proto != flow.AnyProto:
		out = hasProtocol(l.Proto)
	}
	return join(out, hasAddress(offSource, l.Src), hasAddress(offDest, l.Dst))
}

// transportOf are a line's conditions on what follows the IPv4 header.
func (b *builder) transportOf(l *flow.Line) []expr.Any {
	out := join(b.hasPort(offSourcePort, l.SrcPort), b.hasPort(offDestPort, l.DstPort))
	if l.Established {
		out = append(out, transport(offTCPFlags, 1), masked([]byte{tcpACKorRST}), compare(expr.CmpOpNeq, []byte{0}))
	}
	if l.Proto != flow.ICMP {
		return out
	}
	if l.ICMPType >= 0 {
		out = append(out, transport(offICMPType, 1), equal([]byte{uint8(l.ICMPType)}))
	}
	if l.ICMPType >= 0 && l.ICMPCode >= 0 {
		out = append(out, transport(offICMPCode, 1), equal([]byte{uint8(l.ICMPCode)}))
	}
	return out
}

func (b *builder) hasPort(offset uint32, p flow.PortMatch) []expr.Any {
	load := transport(offset, 2)
	switch p.Op {
	case flow.Eq:
		if len(p.Ports) == 1 {
			return []expr.Any{load, equal(port(p.Ports[0]))}
		}
		return []expr.Any{load, b.oneOf(p.Ports)}
	case flow.Neq:
		out := []expr.Any{load}
		for _, n := range p.Ports {
			out = append(out, compare(expr.CmpOpNeq, port(n)))
		}
		return out
	case flow.Gt:
		return []expr.Any{load, compare(expr.CmpOpGt, port(p.Ports[0]))}
	case flow.Lt:
		return []expr.Any{load, compare(expr.CmpOpLt, port(p.Ports[0]))}
	case flow.Range:
		return []expr.Any{load, compare(expr.CmpOpGte, port(p.Ports[0])), compare(expr.CmpOpLte, port(p.Ports[1]))}
	}
	return nil
}

// oneOf looks a port up in an anonymous set of the transaction.
func (b *builder) oneOf(ports []uint16) expr.Any {
	b.sets++
	s := &nftables.Set{
		Table: b.table, ID: b.sets, Name: "__set%d", Anonymous: true, Constant: true,
		KeyType: nftables.TypeInetService,
	}
	seen := map[uint16]bool{}
	var elements []nftables.SetElement
	for _, n := range ports {
		if !seen[n] {
			seen[n] = true
			elements = append(elements, nftables.SetElement{Key: port(n)})
		}
	}
	b.keep(b.conn.AddSet(s, elements))
	return &expr.Lookup{SourceRegister: reg, SetID: s.ID, SetName: s.Name}
}

// cryptoChain marks what a crypto ACL permits; deny, and no match, return.
func (b *builder) cryptoChain(name string, l *flow.List) {
	c := b.chain(name)
	for i := range l.Lines {
		line := &l.Lines[i]
		for _, when := range b.conditions(line) {
			if line.Action == flow.Permit {
				b.rule(c, line.Condition(), join(when, setMark(b.config.Mark), []expr.Any{verdict(expr.VerdictReturn)}))
			} else {
				b.rule(c, line.Condition(), join(when, []expr.Any{verdict(expr.VerdictReturn)}))
			}
		}
	}
}

// clearChain drops what the mirrored crypto ACL permits: it came in clear and
// should have come protected. Deny, and no match, return.
func (b *builder) clearChain(name string, l *flow.List) {
	c := b.chain(name)
	for i := range l.Lines {
		line := l.Lines[i].Mirror()
		then := verdict(expr.VerdictReturn)
		if line.Action == flow.Permit {
			then = goOn(chainCleartext)
		}
		for _, when := range b.conditions(&line) {
			b.rule(c, line.Condition(), join(when, []expr.Any{then}))
		}
	}
}

// accessChain is an interface access list: it accepts or drops, counts each
// line's hits, and drops what no line matches.
func (b *builder) accessChain(name string, of LineHits, l *flow.List) {
	c := b.chain(name)
	of.List = l.Name
	for i := range l.Lines {
		line := &l.Lines[i]
		of.Seq = line.Seq
		then := verdict(expr.VerdictDrop)
		if line.Action == flow.Permit {
			then = verdict(expr.VerdictAccept)
		}
		for _, when := range b.conditions(line) {
			b.rule(c, of.comment(), join(when, []expr.Any{count(), then}))
		}
	}
	of.Seq = 0
	b.rule(c, of.comment(), []expr.Any{count(), verdict(expr.VerdictDrop)})
}

// recordChain notes who sent cleartext, then drops it. They are two rules: a
// full set ends a rule, and the drop must not depend on it.
func (b *builder) recordChain() {
	set := &nftables.Set{
		Table: b.table, ID: b.nextSet(), Name: setCleartext, Dynamic: true, HasTimeout: true, Timeout: recordFor,
		Concatenation: true, Size: recordMost, Counter: false,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr, nftables.TypeInetProto),
	}
	b.keep(b.conn.AddSet(set, nil))
	c := b.chain(chainCleartext)
	load := func(register, offset, length uint32) expr.Any {
		return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
	}
	b.rule(c, "recorded for "+recordFor.String(), []expr.Any{
		load(reg, offSource, 4), load(unix.NFT_REG32_01, offDest, 4), load(unix.NFT_REG32_02, offProtocol, 1),
		&expr.Dynset{SrcRegKey: reg, SetID: set.ID, SetName: set.Name, Operation: unix.NFT_DYNSET_OP_ADD, Timeout: recordFor},
	})
	b.rule(c, "", []expr.Any{countIn(countNotIPsec), verdict(expr.VerdictDrop)})
}
