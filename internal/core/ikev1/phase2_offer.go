package ikev1

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// offerSets is the SA payload of QM1: one proposal for each transform set, in
// order, all with our inbound SPI.
func offerSets(sets []policy.TransformSet, group suite.Group, life policy.Lifetime, encap bool, spi uint32) isakmp.SA {
	ps := make([]isakmp.Proposal, 0, len(sets))
	for i, t := range sets {
		ps = append(ps, isakmp.Proposal{Number: uint8(i + 1), Protocol: isakmp.ProtocolESP, SPI: be32(spi), Transforms: []isakmp.Transform{
			{Number: 1, ID: t.Cipher.Row().IPsec, Attributes: setAttributes(t, group, life, encap)},
		}})
	}
	return isakmp.NewSA(ps...)
}

// setAttributes are the attributes of RFC 2407 4.5.
func setAttributes(t policy.TransformSet, group suite.Group, life policy.Lifetime, encap bool) []isakmp.Attribute {
	a := []isakmp.Attribute{isakmp.BasicAttribute(isakmp.Phase2Encapsulation, encapsulation(t.Mode, encap))}
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
	return a
}

// encapsulation is the number of the mode on the wire, RFC 2407 4.5 and RFC 3947 5.1.
func encapsulation(m suite.Mode, encap bool) uint16 {
	switch {
	case m == suite.Tunnel && encap:
		return isakmp.EncapUDPTunnel
	case m == suite.Tunnel:
		return isakmp.EncapTunnel
	case encap:
		return isakmp.EncapUDPTransport
	}
	return isakmp.EncapTransport
}

func encapWords(n uint64) (suite.Mode, string) {
	switch uint16(n) {
	case isakmp.EncapTunnel:
		return suite.Tunnel, "tunnel"
	case isakmp.EncapTransport:
		return suite.Transport, "transport"
	case isakmp.EncapUDPTunnel:
		return suite.Tunnel, "udp tunnel"
	case isakmp.EncapUDPTransport:
		return suite.Transport, "udp transport"
	}
	return suite.Tunnel, fmt.Sprintf("encapsulation(%d)", n)
}

// offer is one phase 2 transform as it can be chosen.
type offer struct {
	event.Proposal
	proposal  isakmp.Proposal
	transform isakmp.Transform
}

// readSets flattens the proposals of a phase 2 SA payload, in order. Several
// proposals with the same number belong together (RFC 2407 4.2): a bundle,
// which is not built, so they become one offer that matches nothing.
func readSets(sa isakmp.SA, encap bool) []offer {
	numbers := map[uint8]int{}
	for _, p := range sa.Proposals {
		numbers[p.Number]++
	}
	var out []offer
	for _, p := range sa.Proposals {
		for _, t := range p.Transforms {
			o := offer{proposal: p, transform: t}
			o.Proposal = readSet(p, t)
			if o.Encap == "" {
				// RFC 2407 4.5: host dependent when not told. There is one mode here.
				o.Encap = wordsOf(encapsulation(suite.Tunnel, encap))
			}
			if numbers[p.Number] > 1 && o.Unknown == "" {
				o.Unknown = "a bundle of protocols"
			}
			out = append(out, o)
		}
	}
	return out
}

// readSet turns a transform into a proposal. What cannot be used is named in Unknown.
func readSet(p isakmp.Proposal, t isakmp.Transform) event.Proposal {
	o := event.Proposal{Number: int(p.Number)}
	if p.Protocol != isakmp.ProtocolESP {
		o.Unknown = "protocol " + isakmp.ProtocolName(p.Protocol)
		return o
	}
	if len(p.SPI) != 4 || p.SPI[0]|p.SPI[1]|p.SPI[2] == 0 {
		o.Unknown = fmt.Sprintf("SPI %x, which is reserved or no ESP SPI", p.SPI)
		return o
	}
	var ok bool
	if o.Set.Cipher, ok = suite.CipherOfESP(t.ID); !ok {
		o.Unknown = fmt.Sprintf("ESP transform %d", t.ID)
		return o
	}
	if err := readSetAttributes(&o, t.Attributes); err != nil {
		o.Unknown = err.Error()
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
// rule and the encapsulations that fit.
func (o *offer) mismatch(c *Context, set policy.TransformSet, pfs suite.Group, fits func(suite.Mode, string) bool) string {
	if o.Unknown != "" {
		return "protocol"
	}
	if m := set.Mismatch(o.Set); m != "" {
		return m
	}
	if !fits(set.Mode, o.Encap) {
		return "mode"
	}
	if !c.Settings.PFSAllows(pfs, o.Group) {
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

// identity is a proxy identity (RFC 2407 4.6.2): of a host its address, else
// the subnet. A range of ports cannot be said there: only one port or all.
func identity(p netip.Prefix, proto uint8, ports flow.Ports) isakmp.Identification {
	id := isakmp.IDSubnet(p)
	if p.IsSingleIP() {
		id = isakmp.IDAddress(p.Addr())
	}
	id.Protocol = proto
	if !ports.IsAny() {
		id.Port = ports.Lo
	}
	return id
}

// proxies are IDci and IDcr for our selectors, as the initiator.
func proxies(s flow.Selectors) []isakmp.Payload {
	local, remote := identity(s.Local, s.Proto, s.LocalPorts), identity(s.Remote, s.Proto, s.RemotePorts)
	return []isakmp.Payload{{Type: isakmp.PayloadID, Body: local.Append(nil)}, {Type: isakmp.PayloadID, Body: remote.Append(nil)}}
}

// readProxies reads IDci and IDcr as the responder sees them.
func readProxies(ids [][]byte) (flow.Selectors, error) {
	var s flow.Selectors
	ci, err := isakmp.ParseID(ids[0])
	if err != nil {
		return s, err
	}
	cr, err := isakmp.ParseID(ids[1])
	if err != nil {
		return s, err
	}
	if ci.Protocol != cr.Protocol {
		return s, fmt.Errorf("proxy identities with protocols %d and %d", ci.Protocol, cr.Protocol)
	}
	if s.Remote, err = ci.Prefix(); err != nil {
		return s, err
	}
	if s.Local, err = cr.Prefix(); err != nil {
		return s, err
	}
	s.Proto = ci.Protocol
	s.RemotePorts, s.LocalPorts = onePort(ci.Port), onePort(cr.Port)
	return s, nil
}

func onePort(n uint16) flow.Ports {
	if n == 0 {
		return flow.AnyPort
	}
	return flow.Ports{Lo: n, Hi: n}
}
