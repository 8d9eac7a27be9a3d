package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
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
	buf := make([]byte, esp.Headroom+len(inner)+esp.Tailroom)
	copy(buf[esp.Headroom:], inner)
	packet, _, err := sa.Seal(buf, esp.Headroom, len(inner), w.Now.UnixNano())
	if err != nil {
		return err
	}
	if outer := outer(sa); !to.admits(outer) {
		return fmt.Errorf("the interface ACL of %s drops %s", to.Name, outer)
	}
	spi, _, _ := esp.Header(packet)
	if err := w.passes(sa, to); err != nil {
		return err
	}
	in := to.DB.Snapshot().Inbound(spi)
	if in == nil {
		return fmt.Errorf("%s does not know SPI %#08x", to.Name, spi)
	}
	opened, err := in.Open(packet, w.Now.UnixNano())
	if err != nil {
		return err
	}
	if !bytes.Equal(opened.Payload, inner) {
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
	if sa.Child.Encap {
		t.Proto, t.SrcPort, t.DstPort = flow.UDP, sa.Child.Local.Port(), sa.Remote().Port()
	}
	return t
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
