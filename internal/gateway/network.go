package gateway

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/guard"
	"culvert/internal/edge/rawsock"
	"culvert/internal/edge/tundev"
	"culvert/internal/edge/udpsock"
)

const (
	portIKE  = 500
	portNATT = 4500

	// Marks of the guard, and the routing table it diverts to; all three are the gateway's own.
	markDivert = 0x1cbe1
	markOwn    = 0x1cbe2
	table      = 1500
)

// open brings up what the gateway needs of the machine, in the order that
// keeps interesting traffic closed: first the guard, which refuses it, then
// the sockets, then the TUN device, then the guard again with the device.
func (g *Gateway) open() (err error) {
	now := g.force.Load()
	rules, err := g.guardConfig(now)
	if err != nil {
		return err
	}
	if _, err = guard.Apply(rules); err != nil {
		return err
	}
	tun, err := tundev.Open(tundev.Options{Name: tunName(g.hostname), MTU: g.innerMTU()})
	if err != nil {
		return err
	}
	g.path, err = fastpath.New(fastpath.Config{DB: g.db, TUN: tun, Upcalls: g.upcalls()})
	if err != nil {
		return fmt.Errorf("%w; closing the TUN device: %v", err, tun.Close())
	}
	for _, local := range now.locals() {
		if err := g.listen(local); err != nil {
			g.path.Close()
			return err
		}
	}
	rules.TUN = tun.Name()
	in, err := guard.Apply(rules)
	if err != nil {
		g.path.Close()
		return err
	}
	g.closed.Store(&closed{in, rules})
	g.forwarding()
	g.journal.say("TUN device %s, MTU %d; interesting traffic is diverted", tun.Name(), tun.MTU())
	return nil
}

// forwarding says when the kernel does not forward: then no packet of a site
// gets as far as the tunnel. Whether this machine is a router is the operator's
// decision, so it is not switched on here.
func (g *Gateway) forwarding() {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err == nil && strings.TrimSpace(string(b)) == "0" {
		g.journal.say("%%CULVERT-4-NO_FORWARDING: the kernel does not forward packets, so only this machine's own use the tunnel; to forward: sysctl -w net.ipv4.ip_forward=1")
	}
}

// listen opens the sockets of one local address.
func (g *Gateway) listen(local netip.Addr) error {
	options := udpsock.Options{Mark: markOwn}
	for _, port := range []uint16{portIKE, portNATT} {
		at := netip.AddrPortFrom(local, port)
		s, err := udpsock.Listen(at, options)
		if err != nil {
			return err
		}
		g.sockets[at] = s
	}
	at := netip.AddrPortFrom(local, portNATT)
	sockets := fastpath.Sockets{UDP: g.sockets[at]}
	raw, err := rawsock.Listen(local, flow.ESP, options)
	if err != nil {
		return err
	}
	sockets.ESP = raw
	whole, err := rawsock.ListenWhole(local, flow.AH, options)
	if err != nil {
		return errors.Join(err, raw.Close())
	}
	sockets.AH = whole
	return g.path.AddLocal(at, sockets)
}

// closeSockets closes what the data path has not closed already.
func (g *Gateway) closeSockets() {
	for _, s := range g.sockets {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			g.journal.say("closing %s: %v", s.LocalAddr(), err)
		}
	}
}

// locals are the addresses that tunnels end at.
func (f *inForce) locals() []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{}
	for i := range f.settings.Entries {
		if a := f.settings.Entries[i].Local; !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

// guardConfig is what a configuration wants of the kernel; on the way the MTUs of
// the devices are learned.
func (g *Gateway) guardConfig(f *inForce) (guard.Config, error) {
	c := guard.Config{Hostname: g.hostname, Mark: markDivert, Table: table, OwnMark: markOwn}
	for i := range f.config.Interfaces {
		itf := &f.config.Interfaces[i]
		inACL, outACL := f.config.AccessList(itf.AccessGroupIn), f.config.AccessList(itf.AccessGroupOut)
		if itf.CryptoMap == "" && itf.AccessGroupIn == "" && itf.AccessGroupOut == "" {
			continue
		}
		device, index, err := g.device(f, itf.Name, itf.Address.Addr())
		if err != nil {
			return c, err
		}
		c.Interfaces = append(c.Interfaces, guard.Interface{
			Name: itf.Name, Device: device, Index: index, Address: itf.Address.Addr(), In: inACL, Out: outACL,
		})
	}
	for i := range f.settings.Entries {
		e := &f.settings.Entries[i]
		if e.Dynamic && !slices.Contains(c.Dynamic, e.Interface) {
			c.Dynamic = append(c.Dynamic, e.Interface)
		}
		if e.ACL == nil {
			continue // a dynamic entry: its flows are defined when a peer comes
		}
		c.Flows = append(c.Flows, guard.Protect{Name: fmt.Sprintf("%s %d", e.Map, e.Seq), Interface: e.Interface, ACL: e.ACL})
	}
	return c, nil
}

// device finds the Linux device of an interface: the one that --bind names, or
// the one that holds its address.
func (g *Gateway) device(f *inForce, name string, addr netip.Addr) (string, int, error) {
	bound := g.options.Bind[name]
	if bound == "" && !addr.IsValid() {
		return "", 0, fmt.Errorf("interface %s has no address, and no --bind %s=DEVICE says which device it is", name, name)
	}
	devices, err := guard.Devices()
	if err != nil {
		return "", 0, err
	}
	for _, d := range devices {
		if d.Name == bound {
			f.mtu[name] = d.MTU
			return d.Name, d.Index, nil
		}
	}
	if bound != "" {
		return "", 0, fmt.Errorf("--bind %s=%s: there is no such device", name, bound)
	}
	device, index, err := guard.FindDevice(addr)
	if err != nil {
		return "", 0, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, d := range devices {
		if d.Index == index {
			f.mtu[name] = d.MTU
		}
	}
	return device, index, nil
}

// innerMTU is the largest inner packet that fits the path in every transform
// set that may be agreed, in UDP too: the kernel then tells the inner host.
func (g *Gateway) innerMTU() int {
	mtu := 1500
	for i := range g.settings().Entries {
		e := &g.settings().Entries[i]
		for _, t := range g.settings().UsableSets(e) {
			t.Mode = suite.Tunnel // which every peer may fall back to, and which needs more room
			mtu = min(mtu, sadb.PlaintextMTU(g.pathMTU(e), t, t.AH == suite.NoHash, false))
		}
	}
	return mtu
}

func (g *Gateway) pathMTU(e *policy.Entry) int {
	if m := g.force.Load().mtu[e.Interface]; m > 0 {
		return min(m, 1500)
	}
	return 1500
}

// tunName is the TUN device's name: Linux takes 15 characters. What does not fit
// is told apart by a hash, so that two gateways of one machine do not collide.
func tunName(hostname string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, hostname)
	if clean == hostname && len(clean) <= 12 {
		return "cv-" + clean
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(hostname)) // a hash takes everything
	return fmt.Sprintf("cv-%s-%04x", clean[:min(7, len(clean))], h.Sum32()&0xffff)
}
