package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A lab with Options.NAT has one host more, between the routers:
//
//	r1 198.51.100.1 ──── left0 nat right0 198.51.100.9 ──── 198.51.100.2 r2
//
// It masquerades: what r1 sends comes to r2 from 198.51.100.9 and from another
// port, and nobody can begin towards r1. Both routers keep their addresses; nat
// answers ARP for each of them on the other's side.
const (
	NAT      = "nat"
	natLeft  = "left0"
	natRight = "right0"
)

// NATAddr is the address under which r2 sees r1 in a lab with Options.NAT.
func NATAddr() netip.Addr { return netip.MustParseAddr("198.51.100.9") }

// buildNAT makes the host between the routers and its two links.
func (n *Net) buildNAT(mtu int) error {
	if err := makeNamespace(n.path(NAT)); err != nil {
		return err
	}
	if err := n.In(NAT, kernelSettings); err != nil {
		return fmt.Errorf("%s: %w", NAT, err)
	}
	if err := n.wire(mtu, R1, Outside, NAT, natLeft); err != nil {
		return err
	}
	if err := n.wire(mtu, NAT, natRight, R2, Outside); err != nil {
		return err
	}
	if err := n.In(NAT, natAddresses); err != nil {
		return fmt.Errorf("%s: %w", NAT, err)
	}
	return n.nft(NAT, masquerade)
}

// natAddresses gives nat its address and the way to each router.
func natAddresses() error {
	if err := addAddress(natRight, netip.PrefixFrom(NATAddr(), 32)); err != nil {
		return err
	}
	for router, device := range map[string]string{R1: natLeft, R2: natRight} {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("lab: device %s: %w", device, err)
		}
		r := &netlink.Route{Dst: ipNet(netip.PrefixFrom(Addr(router, Outside), 32)), LinkIndex: l.Attrs().Index, Scope: unix.RT_SCOPE_LINK}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("lab: route to %s via %s: %w", router, device, err)
		}
		// Answer for the other router, and at once.
		for setting, value := range map[string]string{"conf/" + device + "/proxy_arp": "1", "neigh/" + device + "/proxy_delay": "0"} {
			if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", setting), []byte(value), 0); err != nil {
				return fmt.Errorf("lab: cannot set %s: %w", setting, err)
			}
		}
	}
	return nil
}

// masquerade gives every flow that leaves towards r2 the address of nat and a
// port drawn at random.
func masquerade(c *nftables.Conn) {
	t := c.AddTable(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, natRight)
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Masq{FullyRandom: true},
	}})
	// Nobody begins towards r1: only answers come in.
	policy := nftables.ChainPolicyAccept
	forward := c.AddChain(&nftables.Chain{Name: "forward", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	in := make([]byte, unix.IFNAMSIZ)
	copy(in, natRight)
	c.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: in},
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
}

// hasNAT reports whether a NAT stands in this lab.
func (n *Net) hasNAT() bool {
	_, err := os.Stat(n.path(NAT))
	return !errors.Is(err, os.ErrNotExist)
}

// hosts are the hosts of this lab.
func (n *Net) hosts() []string {
	if n.hasNAT() {
		return append(Hosts(), NAT)
	}
	return Hosts()
}
