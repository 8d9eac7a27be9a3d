package ikev1

import (
	"fmt"
	"net/netip"

	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
)

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
	if s.Remote, err = network(ci); err != nil {
		return s, err
	}
	if s.Local, err = network(cr); err != nil {
		return s, err
	}
	s.Proto = ci.Protocol
	s.RemotePorts, s.LocalPorts = onePort(ci.Port), onePort(cr.Port)
	return s, nil
}

// network is a proxy identity as a prefix. Of a range that is none it is the
// smallest that holds it, since selectors are prefixes: what a crypto ACL permits
// has to hold all of that, and a peer drops what lies outside its range.
func network(d isakmp.Identification) (netip.Prefix, error) {
	p, err := d.Prefix()
	if err == nil || d.Type != isakmp.IDIPv4Range && d.Type != isakmp.IDIPv6Range {
		return p, err
	}
	first, last, err := d.Range()
	if err != nil {
		return p, err
	}
	for n := first.BitLen(); ; n-- {
		if p := netip.PrefixFrom(first, n).Masked(); p.Contains(last) {
			return p, nil
		}
	}
}

func onePort(n uint16) flow.Ports {
	if n == 0 {
		return flow.AnyPort
	}
	return flow.Ports{Lo: n, Hi: n}
}

// wireSelectors is what proxy identities can say of selectors.
func wireSelectors(s flow.Selectors) flow.Selectors {
	s.LocalPorts, s.RemotePorts = onePortOf(s.LocalPorts), onePortOf(s.RemotePorts)
	return s
}

func onePortOf(p flow.Ports) flow.Ports {
	if p.IsAny() {
		return flow.AnyPort
	}
	return flow.Ports{Lo: p.Lo, Hi: p.Lo}
}

// hosts are the selectors of all traffic between the two ends of the tunnel.
func hosts(s *SA) (flow.Selectors, error) {
	local, err := s.Local.Addr().Prefix(s.Local.Addr().BitLen())
	if err != nil {
		return flow.Selectors{}, err
	}
	remote, err := s.Remote.Addr().Prefix(s.Remote.Addr().BitLen())
	return flow.Selectors{Local: local, Remote: remote}, err
}

// between reports whether the selectors are traffic of the tunnel's two ends
// themselves: only that can go in transport mode (RFC 4301 4.1).
func (s *SA) between(o flow.Selectors) bool {
	ends, err := hosts(s)
	return err == nil && o.Local == ends.Local && o.Remote == ends.Remote
}

// outer is what selectors of transport mode become where a NAT is: each side
// knows the other by the address that its packets come from, while proxy
// identities hold the address that the initiator has inside its NAT, or the one
// under which it reaches the responder.
func (s *SA) outer(o flow.Selectors) (flow.Selectors, bool) {
	ends, err := hosts(s)
	if err != nil || !s.floated() || s.between(o) || !o.Local.IsSingleIP() || !o.Remote.IsSingleIP() {
		return o, false
	}
	o.Local, o.Remote = ends.Local, ends.Remote
	return o, true
}

// natOA are the NAT-OA payloads: the initiator's address and the responder's, as
// the sender knows them (RFC 3947 5.2). They let the data path mend checksums.
func (s *SA) natOA(initiator, responder netip.Addr) []isakmp.Payload {
	t := isakmp.PayloadNATOA
	if s.draftNATT() {
		t = isakmp.PayloadNATOADraft
	}
	return []isakmp.Payload{
		{Type: t, Body: isakmp.IDAddress(initiator).Append(nil)}, {Type: t, Body: isakmp.IDAddress(responder).Append(nil)},
	}
}
