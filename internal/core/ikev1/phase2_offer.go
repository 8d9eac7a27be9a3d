package ikev1

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// maxCombinations bounds how many combinations of an SA payload's transforms are
// looked at: two proposals of a bundle with many transforms each have more.
const maxCombinations = 512

// spis are our inbound SPIs of one SA pair, drawn before it is known which of
// the protocols will be used; 0 for one that is not asked for.
type spis struct{ esp, ah uint32 }

// of is the SPI of a protocol.
func (p spis) of(protocol uint8) uint32 {
	if protocol == isakmp.ProtocolAH {
		return p.ah
	}
	return p.esp
}

// all lists those that were drawn.
func (p spis) all() []uint32 {
	var out []uint32
	for _, spi := range []uint32{p.esp, p.ah} {
		if spi != 0 {
			out = append(out, spi)
		}
	}
	return out
}

// has reports whether a notification's SPI is one of them.
func (p spis) has(spi []byte) bool {
	return slices.ContainsFunc(p.all(), func(own uint32) bool { return bytes.Equal(spi, be32(own)) })
}

// name is the protocol and the SPI that a notification about the pair names.
func (p spis) name() (protocol uint8, spi []byte) {
	if p.esp == 0 {
		return isakmp.ProtocolAH, be32(p.ah)
	}
	return isakmp.ProtocolESP, be32(p.esp)
}

// keep gives back what the chosen set does not need.
func (p spis) keep(c *Context, t policy.TransformSet) spis {
	if t.Cipher == suite.NoCipher && p.esp != 0 {
		c.FreeSPI(p.esp)
		p.esp = 0
	}
	if t.AH == suite.NoHash && p.ah != 0 {
		c.FreeSPI(p.ah)
		p.ah = 0
	}
	return p
}

// drawSPIs draws an inbound SPI for each protocol that one of the sets needs.
func drawSPIs(c *Context, sets ...policy.TransformSet) (p spis) {
	for _, t := range sets {
		if t.Cipher != suite.NoCipher && p.esp == 0 {
			p.esp = c.NewSPI()
		}
		if t.AH != suite.NoHash && p.ah == 0 {
			p.ah = c.NewSPI()
		}
	}
	return p
}

// offerSets is the SA payload of QM1: one proposal for each transform set, in
// order, all with our inbound SPIs. AH and ESP of one set are two proposals with
// one number (RFC 2408 4.2).
func offerSets(sets []policy.TransformSet, group suite.Group, life policy.Lifetime, n numbers, spi spis) isakmp.SA {
	ps := make([]isakmp.Proposal, 0, len(sets))
	for i, t := range sets {
		add := func(protocol, id uint8, attrs []isakmp.Attribute) {
			ps = append(ps, isakmp.Proposal{Number: uint8(i + 1), Protocol: protocol, SPI: be32(spi.of(protocol)), Transforms: []isakmp.Transform{
				{Number: 1, ID: id, Attributes: attrs},
			}})
		}
		if t.AH != suite.NoHash {
			ah := policy.TransformSet{Integ: t.AH, Mode: t.Mode, ESN: t.ESN}
			add(isakmp.ProtocolAH, t.AH.Row().AHID, setAttributes(ah, group, life, n))
		}
		if t.Cipher != suite.NoCipher {
			add(isakmp.ProtocolESP, t.Cipher.Row().IPsec, setAttributes(t, group, life, n))
		}
	}
	return isakmp.NewSA(ps...)
}

// setAttributes are the attributes of RFC 2407 4.5, and of RFC 4304 for
// extended sequence numbers.
func setAttributes(t policy.TransformSet, group suite.Group, life policy.Lifetime, n numbers) []isakmp.Attribute {
	a := []isakmp.Attribute{isakmp.BasicAttribute(isakmp.Phase2Encapsulation, n.of(t.Mode))}
	if life.Time > 0 {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2LifeType, isakmp.LifeSeconds),
			lifeDuration(isakmp.Phase2LifeDuration, uint64(life.Time.Seconds())))
	}
	if life.Kilobytes > 0 {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2LifeType, isakmp.LifeKilobytes),
			lifeDuration(isakmp.Phase2LifeDuration, life.Kilobytes))
	}
	if t.Integ != suite.NoHash {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2Auth, t.Integ.Row().Auth))
	}
	if t.Cipher.Row().Sized {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2KeyLength, uint16(t.KeyBits)))
	}
	if group != suite.NoGroup {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2Group, uint16(group)))
	}
	if t.ESN {
		a = append(a, isakmp.BasicAttribute(isakmp.Phase2ESN, extended))
	}
	return a
}

// extended is the only value of Phase2ESN: 64-bit sequence numbers (RFC 4304).
const extended = 1

// numbers says which numbers the encapsulation modes have on the wire: in UDP
// or not, and those of RFC 3947 or of the drafts before it.
type numbers struct{ udp, draft bool }

// of is the number of a mode, RFC 2407 4.5 and RFC 3947 5.1.
func (n numbers) of(m suite.Mode) uint16 {
	switch {
	case !n.udp && m == suite.Transport:
		return isakmp.EncapTransport
	case !n.udp:
		return isakmp.EncapTunnel
	case n.draft && m == suite.Transport:
		return isakmp.EncapUDPTransportDraft
	case n.draft:
		return isakmp.EncapUDPTunnelDraft
	case m == suite.Transport:
		return isakmp.EncapUDPTransport
	}
	return isakmp.EncapUDPTunnel
}

// encapsulation is the number of the mode on the wire as RFC 3947 has it.
func encapsulation(m suite.Mode, encap bool) uint16 { return numbers{udp: encap}.of(m) }

// encapWords reads such a number; the drafts' mean the same as the RFC's.
func encapWords(n uint64) (suite.Mode, string) {
	switch uint16(n) {
	case isakmp.EncapTunnel:
		return suite.Tunnel, "tunnel"
	case isakmp.EncapTransport:
		return suite.Transport, "transport"
	case isakmp.EncapUDPTunnel, isakmp.EncapUDPTunnelDraft:
		return suite.Tunnel, "udp tunnel"
	case isakmp.EncapUDPTransport, isakmp.EncapUDPTransportDraft:
		return suite.Transport, "udp transport"
	}
	return suite.Tunnel, fmt.Sprintf("encapsulation(%d)", n)
}

// part is one protocol of an offer: a proposal and one of its transforms.
type part struct {
	proposal  isakmp.Proposal
	transform isakmp.Transform
}

// offer is one phase 2 offer as it can be chosen: one protocol, or AH and ESP
// together.
type offer struct {
	event.Proposal
	parts []part // in the order they came
}

// spi is the peer's inbound SPI of a protocol; 0 when the offer lacks it.
func (o *offer) spi(protocol uint8) uint32 {
	for _, p := range o.parts {
		if p.proposal.Protocol == protocol && len(p.proposal.SPI) == 4 {
			return binary.BigEndian.Uint32(p.proposal.SPI)
		}
	}
	return 0
}

// readSets flattens the proposals of a phase 2 SA payload into what can be
// chosen, in order: of every proposal each transform, and of several proposals
// with one number, which belong together (RFC 2408 4.2), each combination of
// their transforms.
func readSets(sa isakmp.SA, encap bool) []offer {
	var order []uint8
	bundles := map[uint8][]isakmp.Proposal{}
	for _, p := range sa.Proposals {
		if bundles[p.Number] == nil {
			order = append(order, p.Number)
		}
		bundles[p.Number] = append(bundles[p.Number], p)
	}
	var out []offer
	for _, n := range order {
		for _, parts := range combinations(bundles[n], maxCombinations-len(out)) {
			o := offer{Proposal: readParts(parts), parts: parts}
			if o.Encap == "" {
				// RFC 2407 4.5: host dependent when not told. Here it is tunnel mode.
				o.Encap = wordsOf(encapsulation(suite.Tunnel, encap && o.Set.AH == suite.NoHash))
			}
			out = append(out, o)
		}
	}
	return out
}

// combinations lists every choice of one transform from each of a bundle's
// proposals, at most some.
func combinations(bundle []isakmp.Proposal, most int) [][]part {
	if len(bundle) > 2 {
		most = min(most, 1) // no such bundle is built: it is read once, for its sentence
	}
	out := [][]part{nil}
	for _, p := range bundle {
		var longer [][]part
		for _, head := range out {
			for _, t := range p.Transforms {
				if len(longer) < most {
					longer = append(longer, append(head[:len(head):len(head)], part{p, t}))
				}
			}
		}
		out = longer
	}
	return out
}

// readParts reads one combination. What cannot be used is named in Unknown.
func readParts(parts []part) event.Proposal {
	o := readPart(parts[0])
	if len(parts) == 1 || o.Unknown != "" {
		return o
	}
	p := readPart(parts[1])
	p.Number = o.Number
	switch {
	case p.Unknown != "":
		return p
	case len(parts) > 2 || (o.Set.AH != suite.NoHash) == (p.Set.AH != suite.NoHash):
		o.Unknown = "a bundle of protocols that is not AH and ESP"
		return o
	}
	if o.Set.AH == suite.NoHash {
		o, p = p, o
	}
	o.Set.Cipher, o.Set.KeyBits, o.Set.Integ = p.Set.Cipher, p.Set.KeyBits, p.Set.Integ
	switch {
	case o.Encap == "":
		o.Encap, o.Set.Mode = p.Encap, p.Set.Mode
	case p.Encap != "" && p.Encap != o.Encap:
		o.Unknown = "AH and ESP in different modes: " + o.Encap + " and " + p.Encap
	}
	switch {
	case o.Unknown != "":
	case o.Group != p.Group:
		o.Unknown = fmt.Sprintf("AH and ESP with different PFS groups: %s and %s", o.Group, p.Group)
	case o.Lifetime != p.Lifetime:
		o.Unknown = "AH and ESP with different lifetimes"
	case o.Set.ESN != p.Set.ESN:
		o.Unknown = "extended sequence numbers for one of AH and ESP only"
	}
	return o
}

// readPart turns a proposal's transform into a proposal of that protocol alone.
func readPart(x part) event.Proposal {
	p, t := x.proposal, x.transform
	o := event.Proposal{Number: int(p.Number)}
	if p.Protocol != isakmp.ProtocolESP && p.Protocol != isakmp.ProtocolAH {
		o.Unknown = "protocol " + isakmp.ProtocolName(p.Protocol)
		return o
	}
	if len(p.SPI) != 4 || p.SPI[0]|p.SPI[1]|p.SPI[2] == 0 {
		o.Unknown = fmt.Sprintf("SPI %x, which is reserved or no %s SPI", p.SPI, isakmp.ProtocolName(p.Protocol))
		return o
	}
	var ok bool
	ah := suite.NoHash
	if p.Protocol == isakmp.ProtocolAH {
		ah, ok = suite.HashOfAH(t.ID)
	} else {
		o.Set.Cipher, ok = suite.CipherOfESP(t.ID)
	}
	if !ok {
		o.Unknown = fmt.Sprintf("%s transform %d", isakmp.ProtocolName(p.Protocol), t.ID)
		return o
	}
	if err := readSetAttributes(&o, t.Attributes); err != nil {
		o.Unknown = err.Error()
		return o
	}
	if p.Protocol == isakmp.ProtocolAH {
		// RFC 2407 4.4.3: the transform and the attribute name the hash together.
		if o.Set.Integ != ah {
			o.Unknown = fmt.Sprintf("AH transform %d with authentication algorithm %s", t.ID, o.Set.Integ)
			return o
		}
		o.Set.AH, o.Set.Integ = ah, suite.NoHash
		if strings.HasPrefix(o.Encap, "udp ") {
			o.Unknown = "AH in UDP"
		}
	}
	return o
}

func readSetAttributes(o *event.Proposal, attrs []isakmp.Attribute) (err error) {
	seen := map[uint16]bool{}
	var bits uint64
	for _, a := range attrs {
		n, ok := a.Uint()
		life := a.Type == isakmp.Phase2LifeType || a.Type == isakmp.Phase2LifeDuration
		if !ok || (seen[a.Type] && !life) {
			return fmt.Errorf("%s twice or of %d octets", isakmp.Phase2AttributeName(a.Type), len(a.Value))
		}
		seen[a.Type] = true
		switch a.Type {
		case isakmp.Phase2LifeType, isakmp.Phase2LifeDuration:
		case isakmp.Phase2Encapsulation:
			o.Set.Mode, o.Encap = encapWords(n)
		case isakmp.Phase2Auth:
			if o.Set.Integ, ok = suite.HashOfAuth(uint16(n)); !ok || n >= 1<<16 {
				return fmt.Errorf("authentication algorithm %d", n)
			}
		case isakmp.Phase2KeyLength:
			bits = n
		case isakmp.Phase2Group:
			o.Group = suite.Group(min(n, 1<<16-1))
		case isakmp.Phase2ESN:
			if o.Set.ESN = n == extended; !o.Set.ESN {
				return fmt.Errorf("extended sequence number attribute %d", n)
			}
		default:
			return fmt.Errorf("%s", isakmp.Phase2AttributeName(a.Type))
		}
	}
	if o.Set.KeyBits, err = keyBits(o.Set.Cipher, bits); err != nil {
		return err
	}
	o.Lifetime, err = readLifetime(attrs)
	return err
}

// mismatch compares an offer with one of our transform sets under the PFS
// rule and the modes that fit.
func (o *offer) mismatch(c *Context, set policy.TransformSet, pfs suite.Group, fits func(offered suite.Mode, encap string) bool) string {
	if o.Unknown != "" {
		return "protocol"
	}
	set.Mode = o.Set.Mode
	switch m := set.Mismatch(o.Set); {
	case m != "":
		return m
	case !fits(o.Set.Mode, o.Encap):
		return "mode"
	case !c.Settings.PFSAllows(pfs, o.Group):
		return "pfs group"
	}
	return ""
}

func wordsOf(n uint16) string {
	_, w := encapWords(uint64(n))
	return w
}

// proposals is the offers as events tell them.
func proposals(offers []offer) []event.Proposal {
	out := make([]event.Proposal, len(offers))
	for i := range offers {
		out[i] = offers[i].Proposal
	}
	return out
}

// assumed is the lifetime of an offer, with what RFC 2407 4.5 says of one that
// tells none: "the default value shall be assumed to be 28800 seconds (8 hours)".
func (o *offer) assumed() policy.Lifetime {
	l := o.Lifetime
	if l.Time == 0 {
		l.Time = 28800 * time.Second
	}
	return l
}
