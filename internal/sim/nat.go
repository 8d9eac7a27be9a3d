package sim

import "net/netip"

// NAT stands between one gateway and the world: it lends it an outside address,
// and a port for each of its ports (RFC 3022). What nobody inside asked for does
// not come in, unless a port is forwarded.
type NAT struct {
	Inside, Outside netip.Addr

	out  map[uint16]uint16 // inside port to outside port
	in   map[uint16]uint16
	next uint16
}

// firstPort is the first port that a NAT lends.
const firstPort = 40000

// Behind puts a NAT between a gateway and the rest of the world. Several gateways
// may be behind one outside address.
func (w *World) Behind(h *Host, outside netip.Addr) *NAT {
	n := &NAT{Inside: h.Addrs[0], Outside: outside, out: map[uint16]uint16{}, in: map[uint16]uint16{}, next: firstPort + 1000*uint16(len(w.nats))}
	w.nats = append(w.nats, n)
	return n
}

// Forward keeps a port as it is, both ways: the gateway can be reached there.
func (n *NAT) Forward(ports ...uint16) {
	for _, p := range ports {
		n.out[p], n.in[p] = p, p
	}
}

// Rebind forgets every mapping, as a NAT that was restarted does: the same
// traffic leaves by other ports.
func (n *NAT) Rebind() {
	clear(n.out)
	clear(n.in)
}

// leave is where a datagram from a gateway seems to come from.
func (w *World) leave(from netip.AddrPort) netip.AddrPort {
	for _, n := range w.nats {
		if n.Inside != from.Addr() {
			continue
		}
		port, ok := n.out[from.Port()]
		if !ok {
			port = n.next
			n.next++
			n.out[from.Port()], n.in[port] = port, from.Port()
		}
		return netip.AddrPortFrom(n.Outside, port)
	}
	return from
}

// arrive is the gateway, and its own address and port, that a datagram reaches;
// nil when it gets lost.
func (w *World) arrive(to netip.AddrPort) (*Host, netip.AddrPort) {
	lent := false
	for _, n := range w.nats {
		if n.Inside == to.Addr() {
			return nil, to // a private address: nobody outside can send there
		}
		if n.Outside != to.Addr() {
			continue
		}
		lent = true
		if port, ok := n.in[to.Port()]; ok {
			to = netip.AddrPortFrom(n.Inside, port)
			return w.host(to.Addr()), to
		}
	}
	if lent {
		return nil, to
	}
	return w.host(to.Addr()), to
}
