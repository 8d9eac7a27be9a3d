package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// debugPhase2 renders the events of IPsec SAs.
func debugPhase2(l *lines, e event.Event) {
	switch w := e.What.(type) {
	case event.Triggered:
		debugTriggered(l, e, w)
	case event.ProposalCheck:
		debugProposal(l, e, w)
	case event.ProposalRefused:
		l.isakmp("%s phase 2 SA policy not acceptable! (local %s remote %s)", tag(e), host(e.Local), host(e.Peer))
	case event.ProxyCheck:
		debugProxy(l, e, w)
	case event.Phase2Up:
		debugPhase2Up(l, e, w)
	case event.Deleted:
		debugDeleted(l, e, w)
	}
}

// request is IOS's block of a key engine message.
type request struct {
	direction string // "OUTBOUND"
	selectors flow.Selectors
	protocol  string // "ESP", "AH"
	transform string
	mode      suite.Mode
	lifetime  policy.Lifetime
	keyBits   int
}

// halves are what the protocols of a set do, the outer one first: one block
// for each is what IOS prints.
func halves(t policy.TransformSet) []policy.TransformSet {
	if t.AH == suite.NoHash || t.Cipher == suite.NoCipher {
		return []policy.TransformSet{t}
	}
	ah, esp := t, t
	ah.Cipher, ah.KeyBits, ah.Integ = suite.NoCipher, 0, suite.NoHash
	esp.AH = suite.NoHash
	return []policy.TransformSet{ah, esp}
}

// protocolOf is the protocol of one half.
func protocolOf(t policy.TransformSet) string {
	if t.Cipher == suite.NoCipher && t.AH != suite.NoHash {
		return "AH"
	}
	return "ESP"
}

func (l *lines) request(e event.Event, r request) {
	l.ipsec("  (key eng. msg.) %s local= %s:0, remote= %s:0,", r.direction, host(e.Local), host(e.Peer))
	l.ipsec("    local_proxy= %s,", proxy(r.selectors.Local, r.selectors.Proto, r.selectors.LocalPorts))
	l.ipsec("    remote_proxy= %s,", proxy(r.selectors.Remote, r.selectors.Proto, r.selectors.RemotePorts))
	l.ipsec("    protocol= %s, transform= %s  (%s),", r.protocol, r.transform, modeWord(r.mode))
	l.ipsec("    lifedur= %ds and %dkb,", int(r.lifetime.Time/time.Second), r.lifetime.Kilobytes)
	l.ipsec("    spi= 0x0(0), conn_id= 0, keysize= %d, flags= 0x0", r.keyBits)
}

// proxy is a proxy identity: address/mask/protocol/port and its type.
func proxy(p netip.Prefix, proto uint8, ports flow.Ports) string {
	if !p.IsValid() {
		return "0.0.0.0/0.0.0.0/0/0 (type=4)"
	}
	// The types are those of RFC 2407 4.6.2.1.
	mask, kind, single := fmt.Sprint(p.Bits()), 6, 5
	if p.Addr().Is4() {
		mask, kind, single = flow.Netmask(p.Bits()).String(), 4, 1
	}
	if p.IsSingleIP() {
		kind = single
	}
	return fmt.Sprintf("%s/%s/%d/%d (type=%d)", p.Addr(), mask, proto, ports.Lo, kind)
}

func modeWord(m suite.Mode) string {
	if m == suite.Transport {
		return "Transport"
	}
	return "Tunnel"
}

// encapWord is an encapsulation as IOS prints it: "3 (Tunnel-UDP)".
func encapWord(encap string) string {
	switch encap {
	case "tunnel":
		return "1 (Tunnel)"
	case "transport":
		return "2 (Transport)"
	case "udp tunnel":
		return "3 (Tunnel-UDP)"
	case "udp transport":
		return "4 (Transport-UDP)"
	}
	return encap
}

func debugTriggered(l *lines, e event.Event, t event.Triggered) {
	s := t.Selectors
	if !s.Local.IsValid() {
		// Only the packet is known: its two hosts.
		s = flow.Selectors{Local: single(t.Packet.Src), Remote: single(t.Packet.Dst)}
	}
	for _, half := range halves(t.Set) {
		transform := "NONE"
		if w := half.Words(); w != "" {
			transform = w
		}
		l.ipsec("IPSEC(sa_request): ,")
		l.request(e, request{"OUTBOUND", s, protocolOf(half), transform, t.Set.Mode, t.Lifetime, half.KeyBits})
	}
}

func single(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func debugProposal(l *lines, e event.Event, c event.ProposalCheck) {
	l.isakmp("%sChecking IPSec proposal %d", tag(e), c.Offer.Number)
	if c.Offer.Unknown != "" {
		l.isakmp("ISAKMP: unknown: %s", c.Offer.Unknown)
		l.isakmp("%satts not acceptable. Next payload is 0", tag(e))
		return
	}
	for _, half := range halves(c.Offer.Set) {
		o := c.Offer
		o.Set = half
		l.isakmp("ISAKMP: transform 1, %s", transformWord(half))
		l.isakmp("ISAKMP:   attributes in transform:")
		setAttributes(l, o)
	}
	l.isakmp("%satts are acceptable.", tag(e))
	l.ipsec("IPSEC(validate_proposal_request): proposal part #1")
	if c.Mismatch == "" {
		return
	}
	l.ipsec("IPSEC(ipsec_process_proposal): transform proposal not supported for identity:")
	l.ipsec("    {%s }", c.Offer.Set.Words())
	l.isakmp("%s IPSec policy invalidated proposal with error 256", tag(e))
}

// transformWord is a transform as IOS names it: "ESP_AES".
func transformWord(t policy.TransformSet) string {
	if t.Cipher == suite.NoCipher {
		return strings.ToUpper(strings.TrimSuffix(strings.ReplaceAll(t.AH.Row().AH, "-", "_"), "_hmac"))
	}
	return strings.ToUpper(strings.ReplaceAll(t.Cipher.Row().ESP, "-", "_"))
}

func setAttributes(l *lines, p event.Proposal) {
	if p.Encap != "" {
		l.isakmp("ISAKMP:      encaps is %s", encapWord(p.Encap))
	}
	if p.Lifetime.Time > 0 {
		l.isakmp("ISAKMP:      SA life type in seconds")
		l.isakmp("ISAKMP:      SA life duration %s", duration(uint64(p.Lifetime.Time/time.Second)))
	}
	if p.Lifetime.Kilobytes > 0 {
		l.isakmp("ISAKMP:      SA life type in kilobytes")
		l.isakmp("ISAKMP:      SA life duration %s", duration(p.Lifetime.Kilobytes))
	}
	h := p.Set.Integ
	if protocolOf(p.Set) == "AH" {
		h = p.Set.AH
	}
	if h != suite.NoHash {
		l.isakmp("ISAKMP:      authenticator is HMAC-%s", strings.ToUpper(h.Row().IKE))
	}
	if p.Set.Cipher.Row().Sized {
		l.isakmp("ISAKMP:      key length is %d", p.Set.KeyBits)
	}
	if p.Set.ESN {
		l.isakmp("ISAKMP:      extended sequence numbers")
	}
	if p.Group != suite.NoGroup {
		l.isakmp("ISAKMP:      group is %d", uint16(p.Group))
	}
}

func debugProxy(l *lines, e event.Event, c event.ProxyCheck) {
	if c.Found {
		l.ipsec("IPSEC(validate_proposal_request): proposal part #1,")
		l.request(e, request{direction: "INBOUND", selectors: c.Offered, protocol: "ESP", transform: "NONE"})
		return
	}
	l.ipsec("IPSEC(ipsec_process_proposal): proxy identities not supported")
	l.isakmp("%s IPSec policy invalidated proposal with error 32", tag(e))
}

func debugPhase2Up(l *lines, e event.Event, up event.Phase2Up) {
	for _, half := range halves(up.Set) {
		in, out := up.In, up.Out
		if protocolOf(half) == "AH" {
			in, out = up.AHIn, up.AHOut
		}
		one := up
		one.Set = half
		l.ipsec("IPSEC(create_sa): sa created,")
		l.sa(host(e.Local), in, one)
		l.ipsec("IPSEC(create_sa): sa created,")
		l.sa(host(e.Peer), out, one)
	}
	l.isakmp("%s Creating IPSec SAs", tag(e))
	l.isakmp("        inbound SA from %s to %s (f/i)  0/ 0", host(e.Peer), host(e.Local))
	l.isakmp("        (proxy %s to %s)", up.Selectors.Remote.Addr(), up.Selectors.Local.Addr())
	l.isakmp("        has spi 0x%X and conn_id 0", nameOf(up.In, up.AHIn))
	l.lifetime(up.Lifetime)
	l.isakmp("        outbound SA from %s to %s (f/i) 0/0", host(e.Local), host(e.Peer))
	l.isakmp("        (proxy %s to %s)", up.Selectors.Local.Addr(), up.Selectors.Remote.Addr())
	l.isakmp("        has spi  0x%X and conn_id 0", nameOf(up.Out, up.AHOut))
	l.lifetime(up.Lifetime)
}

// nameOf is the SPI that stands for a pair: ESP's, or AH's without ESP.
func nameOf(esp, ah uint32) uint32 {
	if esp == 0 {
		return ah
	}
	return esp
}

// protocolNumber is the IP protocol of "ESP" or "AH".
func protocolNumber(name string) uint8 {
	if name == "AH" {
		return flow.AH
	}
	return flow.ESP
}

func (l *lines) lifetime(t policy.Lifetime) {
	if t.Time > 0 {
		l.isakmp("        lifetime of %d seconds", int(t.Time/time.Second))
	}
	if t.Kilobytes > 0 {
		l.isakmp("        lifetime of %d kilobytes", t.Kilobytes)
	}
}

// sa is IOS's block of one direction of an SA pair.
func (l *lines) sa(to string, spi uint32, up event.Phase2Up) {
	l.ipsec("  (sa) sa_dest= %s, sa_proto= %d,", to, protocolNumber(protocolOf(up.Set)))
	l.ipsec("    sa_spi= 0x%X(%d),", spi, spi)
	l.ipsec("    sa_trans= %s , sa_conn_id= 0,", up.Set.Words())
	l.ipsec("    sa_lifetime(k/sec)= (%d/%d)", up.Lifetime.Kilobytes, int(up.Lifetime.Time/time.Second))
}

func debugDeleted(l *lines, e event.Event, d event.Deleted) {
	if d.Protocol == "ISAKMP" {
		l.isakmp("%sdeleting SA reason \"%s\" state (%s) %s (peer %s)", tag(e), d.Reason, e.Role.Letter(), e.State, host(e.Peer))
		return
	}
	l.ipsec("IPSEC(delete_sa): deleting SA,")
	l.ipsec("  (sa) sa_dest= %s, sa_proto= %d,", host(e.Local), protocolNumber(d.Protocol))
	l.ipsec("    sa_spi= 0x%X(%d), reason \"%s\"", d.SPI, d.SPI, d.Reason)
}
