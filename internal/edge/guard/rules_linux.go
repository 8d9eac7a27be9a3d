package guard

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"culvert/internal/core/flow"
)

const (
	tablePrefix = "culvert_"

	chainState     = "state"
	chainInbound   = "inbound"
	chainCleartext = "cleartext"
	chainDivert    = "divert"
	chainOutput    = "output"
	chainOutbound  = "outbound"
	chainBelt      = "belt"
	chainBeltNAT   = "belt_nat"
	// The name of an interface follows these, the number of a crypto map entry those.
	chainFrom    = "from_"
	chainIn      = "in_"
	chainOut     = "out_"
	chainProtect = "protect_"
	chainCrypto  = "crypto_"
	chainClear   = "clear_"
	// What flows that come and go are marked by, and dropped by in clear.
	chainDefined      = "defined_"
	chainDefinedClear = "undefended_"

	countDiverted = "diverted"
	countNotIPsec = "not_ipsec"
	countLeaks    = "leaks"
	setCleartext  = "recorded"

	recordFor  = time.Minute // IOS logs such a packet about once a minute
	recordMost = 4096        // (src, dst, proto) at a time: a flood of forged sources fills no memory

	afterSourceNAT = 110 // srcnat is 100
	commentMost    = 240 // the kernel keeps 255 octets
)

// builder writes the rules of one gateway into one transaction.
type builder struct {
	conn   *nftables.Conn
	table  *nftables.Table
	config Config
	sets   uint32
	err    error
}

func (b *builder) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) nextSet() uint32 {
	b.sets++
	return b.sets
}

func (b *builder) chain(name string) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table})
}

func (b *builder) base(name string, t nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return b.conn.AddChain(&nftables.Chain{
		Name: name, Table: b.table, Type: t, Hooknum: hook, Priority: &priority, Policy: &accept,
	})
}

func (b *builder) rule(c *nftables.Chain, comment string, exprs []expr.Any) {
	r := &nftables.Rule{Table: b.table, Chain: c, Exprs: exprs}
	if comment != "" {
		r.UserData = userdata.AppendString(nil, userdata.TypeComment, comment[:min(len(comment), commentMost)])
	}
	b.conn.AddRule(r)
}

// build writes the whole table.
func (b *builder) build() error {
	for _, name := range []string{countDiverted, countNotIPsec, countLeaks} {
		b.conn.AddObj(&nftables.CounterObj{Table: b.table, Name: name})
	}
	b.rule(b.chain(chainState), b.config.state().comment(), []expr.Any{verdict(expr.VerdictReturn)})
	b.recordChain()
	for i, p := range b.config.Flows {
		b.cryptoChain(chainCrypto+strconv.Itoa(i), p.ACL)
		b.clearChain(chainClear+strconv.Itoa(i), p.ACL)
	}
	for _, i := range b.config.Interfaces {
		b.definedChains(i)
		b.protectChain(i)
		b.interfaceChains(i)
	}
	b.inbound()
	b.divert()
	b.output()
	b.outbound()
	b.belt(chainBelt, *nftables.ChainPriorityMangle)
	b.belt(chainBeltNAT, afterSourceNAT)
	return b.err
}

// protectChain asks the crypto maps entries of an interface one after the
// other; the packet carries the mark once one of them permits.
func (b *builder) protectChain(i Interface) {
	if !b.config.protects(i) {
		return
	}
	c := b.chain(chainProtect + token(i.Name))
	for n, p := range b.config.Flows {
		if p.Interface != i.Name {
			continue
		}
		b.rule(c, p.String(), []expr.Any{jump(chainCrypto + strconv.Itoa(n))})
		b.rule(c, "", join(hasMark(b.config.Mark), []expr.Any{verdict(expr.VerdictReturn)}))
	}
	b.rule(c, "", []expr.Any{goOn(chainDefined + token(i.Name))})
}

// definedChains hold the flows that come and go: they alone are written anew
// when one does.
func (b *builder) definedChains(i Interface) {
	if !b.config.protects(i) {
		return
	}
	marks, drops := b.chain(chainDefined+token(i.Name)), b.chain(chainDefinedClear+token(i.Name))
	b.conn.FlushChain(marks)
	b.conn.FlushChain(drops)
	for _, p := range b.config.Defined {
		if p.Interface != i.Name {
			continue
		}
		for n := range p.ACL.Lines {
			line := &p.ACL.Lines[n]
			if line.Action != flow.Permit {
				continue
			}
			for _, when := range b.conditions(line) {
				b.rule(marks, p.String(), join(when, setMark(b.config.Mark), []expr.Any{verdict(expr.VerdictReturn)}))
			}
			mirrored := line.Mirror()
			for _, when := range b.conditions(&mirrored) {
				b.rule(drops, p.String()+", mirrored", join(when, []expr.Any{goOn(chainCleartext)}))
			}
		}
	}
}

// interfaceChains are what an interface does to what arrives and to what is
// forwarded out by it.
func (b *builder) interfaceChains(i Interface) {
	if i.In != nil {
		b.accessChain(chainIn+token(i.Name), LineHits{Interface: i.Name, Direction: "in"}, i.In)
	}
	if i.Out != nil {
		b.accessChain(chainOut+token(i.Name), LineHits{Interface: i.Name, Direction: "out"}, i.Out)
	}
	c := b.chain(chainFrom + token(i.Name))
	next := verdict(expr.VerdictAccept)
	if i.In != nil {
		next = goOn(chainIn + token(i.Name))
	}
	if b.config.protects(i) {
		b.protection(c, i, next)
		for n, p := range b.config.Flows {
			if p.Interface == i.Name {
				b.rule(c, p.String()+", mirrored", []expr.Any{jump(chainClear + strconv.Itoa(n))})
			}
		}
		b.rule(c, "defined, mirrored", []expr.Any{jump(chainDefinedClear + token(i.Name))})
	}
	b.rule(c, "", []expr.Any{next})
}

// protection lets IKE, ESP and AH to our own address past the mirrored crypto
// ACLs, which an ACL "ip any any" would drop. A later fragment of UDP to us is let
// past too: it is put together here, and without its first fragment, whose ports
// were seen, it comes to nothing.
func (b *builder) protection(c *nftables.Chain, i Interface, next expr.Any) {
	if !i.Address.Is4() {
		return
	}
	for _, p := range []uint8{flow.ESP, flow.AH} {
		b.rule(c, flow.ProtoName(p)+" to us", join(isTo(i.Address), hasProtocol(p), []expr.Any{next}))
	}
	for _, n := range []uint16{500, 4500} {
		b.rule(c, flow.PortName(flow.UDP, n)+" to us", join(isTo(i.Address), hasProtocol(flow.UDP),
			[]expr.Any{transport(offDestPort, 2), equal(port(n)), next}))
	}
	b.rule(c, "its later fragments", join(isTo(i.Address), hasProtocol(flow.UDP), isLaterFragment(), []expr.Any{next}))
}

func (b *builder) inbound() {
	c := b.base(chainInbound, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw)
	for _, i := range b.config.Interfaces {
		b.rule(c, i.Name, join(cameBy(i.Device), []expr.Any{goOn(chainFrom + token(i.Name))}))
	}
}

func (b *builder) divert() {
	c := b.base(chainDivert, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle)
	if b.config.TUN != "" {
		b.rule(c, "decrypted", join(cameBy(b.config.TUN), []expr.Any{verdict(expr.VerdictAccept)}))
	}
	for _, i := range b.config.Interfaces {
		if !b.config.protects(i) {
			continue
		}
		for _, when := range [][]expr.Any{routedBy(i.Device), routedNowhere()} {
			b.rule(c, i.Name, join(when, []expr.Any{jump(chainProtect + token(i.Name))}))
		}
	}
	b.countDiverted(c)
}

// output is a chain of type route: the kernel routes a packet anew whose mark
// has changed.
func (b *builder) output() {
	c := b.base(chainOutput, nftables.ChainTypeRoute, nftables.ChainHookOutput, *nftables.ChainPriorityMangle)
	b.acceptOwn(c)
	for _, i := range b.config.Interfaces {
		if b.config.protects(i) {
			b.rule(c, i.Name, join(leavesBy(i.Device), []expr.Any{jump(chainProtect + token(i.Name))}))
		}
	}
	b.countDiverted(c)
}

func (b *builder) countDiverted(c *nftables.Chain) {
	b.rule(c, "", join(hasMark(b.config.Mark), []expr.Any{countIn(countDiverted)}))
}

func (b *builder) acceptOwn(c *nftables.Chain) {
	if b.config.OwnMark != 0 {
		b.rule(c, "IKE and ESP of our own", join(hasMark(b.config.OwnMark), []expr.Any{verdict(expr.VerdictAccept)}))
	}
}

func (b *builder) outbound() {
	c := b.base(chainOutbound, nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter)
	for _, i := range b.config.Interfaces {
		if i.Out != nil {
			b.rule(c, i.Name, join(leavesBy(i.Device), []expr.Any{goOn(chainOut + token(i.Name))}))
		}
	}
}

// belt drops what carries the mark, or would get it now, and leaves by the
// outside device all the same.
func (b *builder) belt(name string, priority nftables.ChainPriority) {
	c := b.base(name, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, priority)
	b.acceptOwn(c)
	for _, i := range b.config.Interfaces {
		if !b.config.protects(i) {
			continue
		}
		b.rule(c, i.Name, join(leavesBy(i.Device), []expr.Any{jump(chainProtect + token(i.Name))}))
		b.rule(c, "", join(leavesBy(i.Device), hasMark(b.config.Mark), []expr.Any{countIn(countLeaks), verdict(expr.VerdictDrop)}))
	}
}

// token makes a name of the configuration one of nftables, different names
// different ones: what is not a letter, digit, dot, slash or hyphen is written _XX.
func token(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '/', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// comment names a line of an access list in the comment of its rules, which
// is where the counters find it again.
func (h LineHits) comment() string {
	return strings.Join([]string{h.Direction, h.Interface, h.List, strconv.Itoa(h.Seq)}, "|")
}

var errComment = errors.New("not the comment of a line")

func parseHits(comment string) (LineHits, error) {
	w := strings.Split(comment, "|")
	if len(w) != 4 {
		return LineHits{}, errComment
	}
	seq, err := strconv.Atoi(w[3])
	if err != nil {
		return LineHits{}, errComment
	}
	return LineHits{Direction: w[0], Interface: w[1], List: w[2], Seq: seq}, nil
}
