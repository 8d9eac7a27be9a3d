package show

import (
	"fmt"
	"io"
	"net/netip"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// siblingFlags is the constant of the package comment.
const siblingFlags = "80000040"

// IPsecSA writes "show crypto ipsec sa", or "… sa peer A" when peer is valid.
// Flows without an SA are listed too, as IOS does.
func IPsecSA(w io.Writer, g *status.Gateway, peer netip.Addr) error {
	return ipsecSA(w, g, peer, false)
}

// IPsecSADetail writes "show crypto ipsec sa detail": the drops by reason, and
// the replay window of every SA.
func IPsecSADetail(w io.Writer, g *status.Gateway, peer netip.Addr) error {
	return ipsecSA(w, g, peer, true)
}

func ipsecSA(w io.Writer, g *status.Gateway, peer netip.Addr, detail bool) error {
	var p page
	type heading struct {
		iface, tag string
		local      netip.Addr
	}
	flows := flowsOf(g, peer)
	if len(flows) == 0 {
		p.line("No SAs found")
		return p.flush(w)
	}
	done := map[heading]bool{}
	for _, f := range flows {
		h := heading{f.Interface, f.ID.Map, f.Local}
		if done[h] {
			continue
		}
		done[h] = true
		p.line("")
		p.line("interface: %s", h.iface)
		p.line("    Crypto map tag: %s, local addr %s", h.tag, address(h.local))
		for _, o := range flows {
			if h == (heading{o.Interface, o.ID.Map, o.Local}) {
				writeFlow(&p, g, o, detail)
			}
		}
	}
	return p.flush(w)
}

// flowsOf are the flows with that current peer; all of them when peer is not valid.
func flowsOf(g *status.Gateway, peer netip.Addr) []*status.Flow {
	var out []*status.Flow
	for i := range g.Flows {
		f := &g.Flows[i]
		if !peer.IsValid() || currentPeer(g, f).Addr() == peer {
			out = append(out, f)
		}
	}
	return out
}

func writeFlow(p *page, g *status.Gateway, f *status.Flow, detail bool) {
	sel := shownSelectors(f)
	peer, port := endpoint(currentPeer(g, f))
	p.line("")
	p.line("   protected vrf: (none)")
	p.line("   local  ident (addr/mask/prot/port): (%s)", ident(sel.Local, sel.Proto, sel.LocalPorts))
	p.line("   remote ident (addr/mask/prot/port): (%s)", ident(sel.Remote, sel.Proto, sel.RemotePorts))
	p.line("   current_peer %s port %d", peer, port)
	flags := "origin_is_acl,"
	if f.Dynamic != "" {
		flags = "" // the peer chose the identities
	}
	p.line("     PERMIT, flags={%s}", flags)
	writeCounters(p, &f.Counters, detail)
	p.line("")
	p.line("     local crypto endpt.: %s, remote crypto endpt.: %s", address(f.Local), peer)
	path, ip := mtus(f)
	p.line("     plaintext mtu %d, path mtu %d, ip mtu %d, ip mtu idb %s", plaintext(f), path, ip, f.Interface)
	spi, pfs, group := uint32(0), "N", suite.NoGroup
	if c := newest(f); c != nil {
		spi, group = name(c.Out, c.AHOut), c.PFS
	}
	if group != suite.NoGroup {
		pfs = "Y"
	}
	p.line("     current outbound spi: %s", spiWords(spi))
	p.line("     PFS (Y/N): %s, DH group: %s", pfs, group)
	for _, dir := range []direction{inbound, outbound} {
		for _, proto := range []string{"esp", "ah", "pcp"} {
			p.line("")
			p.line("     %s %s sas:", dir, proto)
			// Newest first: the first SPI under "outbound" is the current one.
			for i := len(f.Children) - 1; i >= 0; i-- {
				if c := &f.Children[i]; hasProtocol(c, proto) {
					writeSA(p, f.ID.Map, c, dir, proto, detail)
				}
			}
		}
	}
}

func writeCounters(p *page, c *status.Counters, detail bool) {
	p.line("    #pkts encaps: %d, #pkts encrypt: %d, #pkts digest: %d", c.Encaps, c.Encrypt, c.Digest)
	p.line("    #pkts decaps: %d, #pkts decrypt: %d, #pkts verify: %d", c.Decaps, c.Decrypt, c.Verify)
	p.line("    #pkts compressed: 0, #pkts decompressed: 0")
	p.line("    #pkts not compressed: 0, #pkts compr. failed: 0")
	p.line("    #pkts not decompressed: 0, #pkts decompress failed: 0")
	if !detail {
		p.line("    #send errors %d, #recv errors %d", c.SendErrors, c.RecvErrors)
		return
	}
	p.line("    #pkts no sa (send) %d, #pkts invalid sa (rcv) 0", c.NoSA)
	p.line("    #pkts encaps failed (send) %d, #pkts decaps failed (rcv) 0", c.SendErrors-min(c.SendErrors, c.NoSA))
	p.line("    #pkts invalid prot (recv) 0, #pkts verify failed: %d", c.VerifyFailed)
	p.line("    #pkts invalid identity (recv) %d, #pkts invalid len (rcv) 0", c.InvalidIdentity)
	p.line("    #pkts replay rollover (send): 0, #pkts replay rollover (rcv) 0")
	p.line("    ##pkts replay failed (rcv): %d", c.ReplayFailed)
	p.line("    #pkts tagged (send): 0, #pkts untagged (rcv): 0")
	p.line("    #pkts not tagged (send): 0, #pkts not untagged (rcv): 0")
	p.line("    #pkts internal err (send): 0, #pkts internal err (recv) %d", otherRecvErrors(c))
}

// otherRecvErrors are the receive errors that no line of the detail names.
func otherRecvErrors(c *status.Counters) uint64 {
	named := c.VerifyFailed + c.InvalidIdentity + c.ReplayFailed
	return c.RecvErrors - min(c.RecvErrors, named)
}

// direction of one SA of a pair.
type direction string

const (
	inbound  direction = "inbound"
	outbound direction = "outbound"
)

func writeSA(p *page, tag string, c *status.Child, dir direction, proto string, detail bool) {
	spi, conn := side(c, dir, proto)
	p.line("      spi: %s", spiWords(spi))
	p.line("        transform: %s ,", half(c.Set, proto).Words())
	p.line("        in use settings ={%s, %s}", inUse(c), esnWord(c))
	p.line("        conn id: %d, flow_id: SW:%d, sibling_flags %s, crypto map: %s", conn, conn, siblingFlags, tag)
	if c.Lifetime.Kilobytes == 0 {
		p.line("        sa timing: remaining key lifetime (sec): (%d)", seconds(c.Remaining))
		p.line("        Kilobyte Volume Rekey has been disabled")
	} else {
		p.line("        sa timing: remaining key lifetime (k/sec): (%d/%d)", c.RemainingKilobytes, seconds(c.Remaining))
	}
	if proto == "esp" {
		p.line("        IV size: %d bytes", c.Set.Cipher.Row().IV)
	}
	replay := "N"
	if c.ReplayWindow > 0 {
		replay = "Y"
	}
	if detail {
		p.line("        replay detection support: %s  replay window size: %d", replay, c.ReplayWindow)
	} else {
		p.line("        replay detection support: %s", replay)
	}
	p.line("        Status: ACTIVE(ACTIVE)")
}

// side is the SPI and the number of one SA of the pair. In a bundle the AH SA
// has the number of the ESP SA it goes around.
func side(c *status.Child, dir direction, proto string) (spi uint32, conn int) {
	in, out := c.In, c.Out
	if proto == "ah" {
		in, out = c.AHIn, c.AHOut
	}
	if dir == inbound {
		return in, max(2*c.Conn-1, 0)
	}
	return out, 2 * c.Conn
}

// half is what one protocol of a bundle does.
func half(t policy.TransformSet, proto string) policy.TransformSet {
	if proto == "ah" {
		t.Cipher, t.Integ = suite.NoCipher, suite.NoHash
	} else {
		t.AH = suite.NoHash
	}
	return t
}

// name is the SPI that stands for a pair: ESP's, or AH's without ESP.
func name(esp, ah uint32) uint32 {
	if esp == 0 {
		return ah
	}
	return esp
}

func esnWord(c *status.Child) string {
	if c.ESN {
		return "esn"
	}
	return ""
}

func inUse(c *status.Child) string {
	s := "Tunnel"
	if c.Set.Mode == suite.Transport {
		s = "Transport"
	}
	if c.Encap {
		s += " UDP-Encaps"
	}
	return s
}

// hasProtocol reports whether the pair has SAs of that protocol.
func hasProtocol(c *status.Child, proto string) bool {
	switch proto {
	case "esp":
		return c.Set.Cipher != suite.NoCipher
	case "ah":
		return c.Set.AH != suite.NoHash
	}
	return false
}

// protocol is what the pair protects with, a bundle by its outer protocol first.
func protocol(c *status.Child) string {
	switch {
	case hasProtocol(c, "ah") && hasProtocol(c, "esp"):
		return "ah+esp"
	case hasProtocol(c, "ah"):
		return "ah"
	}
	return "esp"
}

// sasOf counts the SAs of a pair.
func sasOf(c *status.Child) int {
	if protocol(c) == "ah+esp" {
		return 4
	}
	return 2
}

// newest is the SA pair that sends, nil without one.
func newest(f *status.Flow) *status.Child {
	if len(f.Children) == 0 {
		return nil
	}
	return &f.Children[len(f.Children)-1]
}

// shownSelectors are those its SA pairs agreed on, which may be narrower than
// the flow's line; those of the line without a pair, or when pairs differ.
func shownSelectors(f *status.Flow) flow.Selectors {
	c := newest(f)
	if c == nil || !c.Selectors.Local.IsValid() {
		return f.Selectors
	}
	for i := range f.Children {
		if f.Children[i].Selectors != c.Selectors {
			return f.Selectors
		}
	}
	return c.Selectors
}

// ident is one proxy identity: address/mask/protocol/port.
func ident(n netip.Prefix, proto uint8, ports flow.Ports) string {
	return fmt.Sprintf("%s/%s/%d/%s", n.Addr(), mask(n), proto, identPort(ports))
}

// identPort is 0 for every port; a range, which IOS cannot have, is written out.
func identPort(p flow.Ports) string {
	if p.IsAny() {
		return "0"
	}
	return p.String()
}

func spiWords(spi uint32) string {
	if spi == 0 {
		return "0x0(0)"
	}
	return fmt.Sprintf("0x%X(%d)", spi, spi)
}

// mtus are the path MTU and the MTU of the interface.
func mtus(f *status.Flow) (path, ip int) {
	path = f.PathMTU
	if path == 0 {
		path = 1500 // of an Ethernet, as long as nobody knows better
	}
	ip = f.InterfaceMTU
	if ip == 0 {
		ip = path
	}
	return path, ip
}

// plaintext is the flow's plaintext MTU: the path's while nothing is protected.
func plaintext(f *status.Flow) int {
	path, _ := mtus(f)
	c := newest(f)
	if c == nil {
		return path
	}
	return sadb.PlaintextMTU(path, c.Set, c.Encap, f.Local.Is6())
}

// IPsecSACount writes "show crypto ipsec sa count". A pair counts as two SAs,
// a bundle as four;
// those of older pairs of a flow are being rekeyed.
func IPsecSACount(w io.Writer, g *status.Gateway) error {
	var p page
	c := countIPsec(g)
	p.line("IPsec SA total: %d, active: %d, rekeying: %d, unused: %d, invalid: %d", c.Total, c.Active, c.Rekeying, c.Unused, c.Invalid)
	return p.flush(w)
}

func countIPsec(g *status.Gateway) IPsecCount {
	var c IPsecCount
	for i := range g.Flows {
		f := &g.Flows[i]
		for j := range f.Children {
			n := sasOf(&f.Children[j])
			c.Total += n
			if j == len(f.Children)-1 {
				c.Active += n
			} else {
				c.Rekeying += n
			}
		}
	}
	return c
}
