package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// Probe sends one packet of the flow's traffic through the very code of the
// data path: policy decision, ESP at from, ESP and selector check at to. A nil
// error means that it came out as it went in.
func (w *World) Probe(from, to *Host, f policy.Flow) error {
	t := from.sample(f)
	inner := ipv4(t)
	policed, sa := from.DB.Snapshot().Outbound(t)
	switch {
	case policed == nil:
		return errors.New("the packet would leave in clear: no crypto ACL permits it")
	case policed.ID != f.ID:
		return fmt.Errorf("another line takes the packet first: %s", policed.ID)
	case sa == nil:
		return errors.New("no IPsec SA")
	}
	buf := make([]byte, sadb.Headroom+len(inner)+sadb.Tailroom)
	copy(buf[sadb.Headroom:], inner)
	packet, _, err := sa.Seal(buf, sadb.Headroom, len(inner), w.Now.UnixNano())
	if err != nil {
		return err
	}
	outer := outer(sa)
	if !to.admits(outer) {
		return fmt.Errorf("the interface ACL of %s drops %s", to.Name, outer)
	}
	if err := w.passes(sa, to); err != nil {
		return err
	}
	packet, at := arrived(sa, packet)
	proto, spi := uint8(esp.Proto), uint32(0)
	if outer.Proto == ah.ProtoAH {
		proto = ah.ProtoAH
		spi, _, _ = ah.Header(packet[at:])
	} else {
		spi, _, _ = esp.Header(packet[at:])
	}
	in := to.DB.Snapshot().Inbound(proto, spi)
	if in == nil {
		return fmt.Errorf("%s does not know SPI %#08x of %s", to.Name, spi, flow.ProtoName(proto))
	}
	opened, err := in.Open(packet, at, w.Now.UnixNano())
	if err != nil {
		return err
	}
	if len(opened.Payload) != len(inner) || !bytes.Equal(opened.Payload[20:], inner[20:]) || opened.Payload[9] != inner[9] {
		return errors.New("the packet came out changed")
	}
	if !in.Child.Selectors.MatchIn(t) {
		return fmt.Errorf("%s drops the packet: outside the SA's selectors %s", to.Name, in.Child.Selectors)
	}
	return nil
}

// outer is what the far interface ACL sees of the SA's packets.
func outer(sa *sadb.Out) flow.Tuple {
	t := flow.Tuple{Src: sa.Child.Local.Addr(), Dst: sa.Remote().Addr(), Proto: flow.ESP}
	if sa.Child.Set.AH != suite.NoHash {
		t.Proto = flow.AH
	}
	if sa.Child.Encap {
		t.Proto, t.SrcPort, t.DstPort = flow.UDP, sa.Child.Local.Port(), sa.Remote().Port()
	}
	return t
}

// arrived is a sealed packet as the other end's socket gives it, and how many
// octets of it are an IPv4 header; there is none in UDP.
func arrived(sa *sadb.Out, packet []byte) ([]byte, int) {
	switch {
	case sa.Child.Encap:
		return append(make([]byte, 0, len(packet)+20), packet...), 0
	case sa.Whole():
		return packet, int(packet[0]&15) * 4
	}
	return append(ipv4(outer(sa))[:20], packet...), 20
}

// passes reports whether an SA's packets get from end to end: a NAT lets through
// what travels in UDP, to where the other end can be reached.
func (w *World) passes(sa *sadb.Out, to *Host) error {
	k, target := sa.Child, sa.Remote()
	if !k.Encap {
		for _, n := range w.nats {
			if n.Inside == k.Local.Addr() || n.Outside == k.Remote.Addr() {
				return errors.New("a NAT is in the way of ESP without UDP")
			}
		}
	} else {
		w.leave(k.Local)
	}
	if got, _ := w.arrive(target); got != to {
		return fmt.Errorf("ESP to %s does not reach %s", target, to.Name)
	}
	return nil
}

// sample is a packet of the flow's traffic: the first that no other line takes,
// a deny before it or a smaller network of its own.
func (h *Host) sample(f policy.Flow) flow.Tuple {
	t := flow.Tuple{Proto: f.Selectors.Proto, SrcPort: f.Selectors.LocalPorts.Lo, DstPort: f.Selectors.RemotePorts.Lo}
	if t.Proto == flow.AnyProto {
		t.Proto = flow.ICMP
	}
	for _, t.Src = range spots(f.Selectors.Local) {
		for _, t.Dst = range spots(f.Selectors.Remote) {
			if policed, _ := h.DB.Snapshot().Outbound(t); policed != nil && policed.ID == f.ID {
				return t
			}
		}
	}
	t.Src, t.Dst = inside(f.Selectors.Local), inside(f.Selectors.Remote)
	return t
}

// inside is an address of a prefix that is not its first, when it has others.
func inside(p netip.Prefix) netip.Addr { return spots(p)[0] }

// spots are some addresses of a prefix, from its second to its last but one.
func spots(p netip.Prefix) []netip.Addr {
	if p.IsSingleIP() || !p.Addr().Is4() {
		return []netip.Addr{p.Addr()}
	}
	base := p.Masked().Addr().As4()
	first, size := binary.BigEndian.Uint32(base[:]), uint32(1)<<(32-max(1, p.Bits()))
	var out []netip.Addr
	for _, n := range []uint32{1, 2, size / 4, size / 2, size/4*3 + 1, size - 2} {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], first+n%size)
		out = append(out, netip.AddrFrom4(a))
	}
	return out
}

// ipv4 is the smallest packet of a tuple: a header and eight octets, which
// hold the ports.
func ipv4(t flow.Tuple) []byte {
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, t.Proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], t.Src.AsSlice())
	copy(b[16:], t.Dst.AsSlice())
	binary.BigEndian.PutUint16(b[20:], t.SrcPort)
	binary.BigEndian.PutUint16(b[22:], t.DstPort)
	return b
}
