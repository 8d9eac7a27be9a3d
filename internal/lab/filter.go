package lab

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// faultTable is the lab's own nftables table, apart from whatever the gateway makes.
const faultTable = "culvert-lab"

// Traffic is a kind of packet on the outside, for faults.
type Traffic uint8

// The kinds.
const (
	IKE       Traffic = iota // UDP 500, and UDP 4500 behind a non-ESP marker (RFC 3948 2.2)
	NATT                     // all of UDP 4500
	ESP                      // protocol 50
	All                      // everything
	Fragments                // of IPv4 packets, the first included
)

// Loss drops that many packets in a thousand, at random, of what arrives at
// both routers from the outside. It replaces every fault set before.
func (n *Net) Loss(permille int) error {
	if permille < 0 || permille > 1000 {
		return fmt.Errorf("lab: loss of %d in 1000: expected 0 to 1000", permille)
	}
	for _, h := range []string{R1, R2} {
		if err := n.fault(h, All, dice(unix.NFT_NG_RANDOM, 1000, uint32(permille))); err != nil {
			return err
		}
	}
	return nil
}

// DropFirst drops the first count packets of that kind which arrive at a router
// from the outside, and then none. It replaces what was set for that router before.
func (n *Net) DropFirst(router string, t Traffic, count int) error {
	if count < 0 {
		return fmt.Errorf("lab: drop the first %d packets: expected 0 or more", count)
	}
	// An incremental number generator counts packets; it would start again
	// after four thousand million.
	return n.fault(router, t, dice(unix.NFT_NG_INCREMENTAL, 1<<32-1, uint32(count)))
}

// Block drops every packet of that kind which arrives at a router from the
// outside. It replaces what was set for that router before.
func (n *Net) Block(router string, t Traffic) error { return n.fault(router, t, nil) }

// Heal takes all faults away.
func (n *Net) Heal() error {
	for _, h := range []string{R1, R2} {
		err := n.nft(h, func(c *nftables.Conn) { clearFaults(c) })
		if err != nil {
			return err
		}
	}
	return nil
}

// dice drops where a number below modulus, random or counted, is below limit.
func dice(kind, modulus, limit uint32) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: modulus, Type: kind},
		// The kernel gives the number in host order; comparing wants network order.
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, limit)},
	}
}

// fault drops packets of a kind that arrive outside and for which the condition holds.
func (n *Net) fault(router string, t Traffic, condition []expr.Any) error {
	host, err := HostOf(router)
	if err != nil {
		return err
	}
	if host != R1 && host != R2 {
		return fmt.Errorf("lab: faults happen at a router, r1 or r2, not at %s", host)
	}
	return n.nft(host, func(c *nftables.Conn) {
		table := clearFaults(c)
		c.AddTable(table)
		policy := nftables.ChainPolicyAccept
		// One chain for the condition, so that one counter serves every way in.
		drop := c.AddChain(&nftables.Chain{Name: "drop", Table: table})
		c.AddRule(&nftables.Rule{Table: table, Chain: drop, Exprs: append(condition, &expr.Verdict{Kind: expr.VerdictDrop})})
		// In front of the gateway's own chains and of connection tracking.
		arrive := c.AddChain(&nftables.Chain{Name: "arrive", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-400), Policy: &policy})
		for _, m := range t.matches() {
			rule := append(fromOutside(), m...)
			rule = append(rule, &expr.Verdict{Kind: expr.VerdictJump, Chain: drop.Name})
			c.AddRule(&nftables.Rule{Table: table, Chain: arrive, Exprs: rule})
		}
	})
}

// clearFaults empties the lab's table; adding it first makes that work when there is none.
func clearFaults(c *nftables.Conn) *nftables.Table {
	t := &nftables.Table{Name: faultTable, Family: nftables.TableFamilyIPv4}
	c.AddTable(t)
	c.DelTable(t)
	return t
}

// matches are the conditions for a kind of packet; any of them suffices.
func (t Traffic) matches() [][]expr.Any {
	switch t {
	case IKE:
		marker := append(udpTo(4500),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 8, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)})
		return [][]expr.Any{udpTo(500), marker}
	case NATT:
		return [][]expr.Any{udpTo(4500)}
	case ESP:
		return [][]expr.Any{protocol(unix.IPPROTO_ESP)}
	case Fragments:
		// RFC 791 3.1: MF is set or the offset is not 0.
		return [][]expr.Any{{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x3f, 0xff}, Xor: make([]byte, 2)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 2)},
		}}
	}
	return [][]expr.Any{nil}
}

func fromOutside() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, Outside)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
	}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

func udpTo(dport uint16) []expr.Any {
	return append(protocol(unix.IPPROTO_UDP),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(dport)})
}

// nft changes the packet filter of a router in one transaction.
func (n *Net) nft(host string, change func(*nftables.Conn)) error {
	ns, err := netns.GetFromPath(n.path(host))
	if err != nil {
		return fmt.Errorf("lab: namespace of %s: %w", host, err)
	}
	defer ns.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return fmt.Errorf("lab: nftables of %s: %w", host, err)
	}
	change(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("lab: nftables of %s: %w", host, err)
	}
	return nil
}
