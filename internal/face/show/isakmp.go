package show

import (
	"io"
	"net/netip"
	"strings"
	"unicode"

	"culvert/internal/core/event"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// ISAKMPSA writes "show crypto isakmp sa". dst is the responder and src the
// initiator, whoever of the two this gateway is.
func ISAKMPSA(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("IPv4 Crypto ISAKMP SA")
	p.line("dst             src             state          conn-id status")
	for i := range g.ISAKMP {
		if s := &g.ISAKMP[i]; !s.Local.Addr().Is6() {
			dst, src := ends(s)
			p.line("%-16s%-16s%-15s%7d %s", dst, src, s.State, s.Conn, saStatus(s))
		}
	}
	p.line("")
	p.line("IPv6 Crypto ISAKMP SA")
	p.line("")
	for i := range g.ISAKMP {
		if s := &g.ISAKMP[i]; s.Local.Addr().Is6() {
			dst, src := ends(s)
			p.line(" dst: %s", dst)
			p.line(" src: %s", src)
			p.line(" state: %-15s conn-id: %6d status: %s", s.State, s.Conn, saStatus(s))
			p.line("")
		}
	}
	return p.flush(w)
}

// ends are the responder and the initiator of an ISAKMP SA.
func ends(s *status.ISAKMP) (dst, src netip.Addr) {
	if s.Role == event.Responder {
		return s.Local.Addr(), s.Remote.Addr()
	}
	return s.Remote.Addr(), s.Local.Addr()
}

func saStatus(s *status.ISAKMP) string {
	if s.Deleted {
		return "ACTIVE (deleted)"
	}
	return "ACTIVE"
}

// ISAKMPSADetail writes "show crypto isakmp sa detail". What is not agreed yet
// is blank, the group and the lifetime are zero.
func ISAKMPSADetail(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Codes: C - IKE configuration mode, D - Dead Peer Detection")
	p.line("       K - Keepalives, N - NAT-traversal")
	p.line("       T - cTCP encapsulation, X - IKE Extended Authentication")
	p.line("       psk - Preshared key, rsig - RSA signature")
	p.line("       renc - RSA encryption")
	p.line("IPv4 Crypto ISAKMP SA")
	saTable(&p, g, false)
	p.line("IPv6 Crypto ISAKMP SA")
	saTable(&p, g, true)
	return p.flush(w)
}

func saTable(p *page, g *status.Gateway, six bool) {
	p.line("")
	if !six {
		p.line("C-id  Local           Remote          I-VRF  Status Encr Hash   Auth DH Lifetime Cap.")
		p.line("")
	}
	for i := range g.ISAKMP {
		s := &g.ISAKMP[i]
		if s.Local.Addr().Is6() != six {
			continue
		}
		state := "ACTIVE"
		if s.Deleted {
			state = ""
		}
		life := "0"
		if !s.Established.IsZero() {
			life = clock(s.Remaining)
		}
		p.line("%-6d%-16s%-16s%-7s%-7s%-5s%-7s%-5s%-3d%-9s%-4s", s.Conn, s.Local.Addr(), s.Remote.Addr(), "", state,
			s.Policy.Cipher.Row().IKE, s.Policy.Hash.Row().IKE, authWord(s.Policy.Auth), uint16(s.Policy.Group), life, capabilities(s))
		p.line("       Engine-id:Conn-id =  SW:%d", engineConn(s.Conn))
		p.line("")
	}
}

// authWord is blank before a method is agreed, where Short of an unknown one
// would be too.
func authWord(a suite.Auth) string { return a.Row().Short }

// capabilities are the letters of the codes above the table.
func capabilities(s *status.ISAKMP) string {
	c := ""
	if s.DPD {
		c += "D"
	}
	if s.NAT.LocalBehind || s.NAT.PeerBehind {
		c += "N"
	}
	return c
}

// engineConn is the number inside the software engine: conn-ids start at 1001.
func engineConn(conn int) int { return max(conn-1000, 0) }

// ISAKMPSACount writes "show crypto isakmp sa count".
func ISAKMPSACount(w io.Writer, g *status.Gateway) error {
	var p page
	c := countISAKMP(g)
	p.line("Active ISAKMP SA's: %d", c.Active)
	p.line("")
	p.line("Standby ISAKMP SA's: 0")
	p.line("Currently being negotiated ISAKMP SA's: %d", c.Negotiating)
	p.line("Dead ISAKMP SA's: %d", c.Dead)
	return p.flush(w)
}

func countISAKMP(g *status.Gateway) ISAKMPCount {
	var c ISAKMPCount
	for i := range g.ISAKMP {
		switch s := &g.ISAKMP[i]; {
		case s.Deleted:
			c.Dead++
		case s.Established.IsZero():
			c.Negotiating++
		default:
			c.Active++
		}
	}
	return c
}

// ISAKMPPeers writes "show crypto isakmp peers": every peer with a living
// ISAKMP SA, once.
func ISAKMPPeers(w io.Writer, g *status.Gateway) error {
	var p page
	for _, s := range peers(g) {
		p.line("Peer: %s Port: %d Local: %s", s.Remote.Addr(), s.Remote.Port(), s.Local.Addr())
		p.line(" Phase1 id: %s", orNone(identityOf(s)))
	}
	return p.flush(w)
}

// peers is the newest living ISAKMP SA of each pair of ends, in the order of
// the snapshot.
func peers(g *status.Gateway) []*status.ISAKMP {
	var out []*status.ISAKMP
next:
	for i := range g.ISAKMP {
		s := &g.ISAKMP[i]
		if s.Deleted {
			continue
		}
		for j, o := range out {
			if o.Remote == s.Remote && o.Local.Addr() == s.Local.Addr() {
				if !s.Established.IsZero() || o.Established.IsZero() {
					out[j] = s
				}
				continue next
			}
		}
		out = append(out, s)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// identityOf is the peer's identity without what a terminal would act on: the
// peer chose every octet of it.
func identityOf(s *status.ISAKMP) string { return harmless(s.Identity) }

// harmless is a text without what a terminal would act on.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, s)
}
