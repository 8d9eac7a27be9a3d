package show

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/status"
)

// session is all there is with one peer over one interface.
type session struct {
	iface string
	local netip.Addr // our end; not valid when no flow tells
	peer  netip.AddrPort
	ike   []*status.ISAKMP // living ones
	flows []*status.Flow
}

// sessions groups the snapshot, in the order of the flows; ISAKMP SAs that
// belong to no flow come last.
func sessions(g *status.Gateway) []session {
	var out []session
	at := func(iface string, peer netip.AddrPort) *session {
		for i := range out {
			if out[i].iface == iface && out[i].peer.Addr() == peer.Addr() {
				return &out[i]
			}
		}
		out = append(out, session{iface: iface, peer: peer})
		return &out[len(out)-1]
	}
	for i := range g.Flows {
		f := &g.Flows[i]
		s := at(f.Interface, currentPeer(g, f))
		s.local = f.Local
		s.flows = append(s.flows, f)
	}
	for i := range g.ISAKMP {
		k := &g.ISAKMP[i]
		if k.Deleted {
			continue
		}
		found := false
		for j := range out {
			if out[j].peer.Addr() == k.Remote.Addr() && (!out[j].local.IsValid() || out[j].local == k.Local.Addr()) {
				out[j].ike = append(out[j].ike, k)
				out[j].peer = k.Remote
				found = true
			}
		}
		if !found {
			s := at(interfaceOf(g, k), k.Remote)
			s.ike = append(s.ike, k)
		}
	}
	return out
}

// interfaceOf finds the interface an ISAKMP SA without a flow ends at.
func interfaceOf(g *status.Gateway, k *status.ISAKMP) string {
	for _, e := range Entries(g) {
		if e.Local == k.Local.Addr() {
			return e.Interface
		}
	}
	return "(unknown)"
}

// status is IOS's word for a session: which of the two phases is up.
func (s *session) status() string {
	up, negotiating, pairs := false, false, 0
	for _, k := range s.ike {
		if k.Established.IsZero() {
			negotiating = true
		} else {
			up = true
		}
	}
	for _, f := range s.flows {
		pairs += len(f.Children)
	}
	switch {
	case up && pairs > 0:
		return "UP-ACTIVE"
	case up:
		return "UP-IDLE"
	case pairs > 0:
		return "UP-NO-IKE"
	case negotiating:
		return "DOWN-NEGOTIATING"
	}
	return "DOWN"
}

// since is when the session came up; the zero Time while it is down.
func (s *session) since() time.Time {
	var t time.Time
	earlier := func(u time.Time) {
		if !u.IsZero() && (t.IsZero() || u.Before(t)) {
			t = u
		}
	}
	for _, f := range s.flows {
		if len(f.Children) > 0 {
			earlier(f.Since)
			earlier(f.Children[0].Established)
		}
	}
	if t.IsZero() {
		for _, k := range s.ike {
			earlier(k.Established)
		}
	}
	return t
}

// identity is that of the peer, as far as it is known.
func (s *session) identity() string {
	for i := len(s.ike) - 1; i >= 0; i-- {
		if s.ike[i].Identity != "" {
			return identityOf(s.ike[i])
		}
	}
	return ""
}

// Session writes "show crypto session".
func Session(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Crypto session current status")
	for _, s := range sessions(g) {
		p.line("")
		p.line("Interface: %s", s.iface)
		p.line("Session status: %s", s.status())
		peer, port := endpoint(s.peer)
		p.line("Peer: %s port %d", peer, port)
		for _, k := range s.ike {
			sessionIKE(&p, k)
		}
		for _, f := range s.flows {
			sessionFlow(&p, f)
		}
	}
	return p.flush(w)
}

// SessionDetail writes "show crypto session detail".
func SessionDetail(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Crypto session current status")
	p.line("")
	p.line("Code: C - IKE Configuration mode, D - Dead Peer Detection")
	p.line("K - Keepalives, N - NAT-traversal, T - cTCP encapsulation")
	p.line("X - IKE Extended Authentication, F - IKE Fragmentation")
	p.line("R - IKE Auto Reconnect, U - IKE Dynamic Route Update")
	for _, s := range sessions(g) {
		p.line("")
		p.line("Interface: %s", s.iface)
		if t := s.since(); !t.IsZero() {
			p.line("Uptime: %s", uptime(g.Now.Sub(t)))
		}
		p.line("Session status: %s", s.status())
		peer, port := endpoint(s.peer)
		p.line("Peer: %s port %d fvrf: (none) ivrf: (none)", peer, port)
		p.line("      Phase1_id: %s", orNone(s.identity()))
		p.line("      Desc: (none)")
		for _, k := range s.ike {
			sessionIKE(&p, k)
			if k.Established.IsZero() {
				p.line("          Capabilities:(none) connid:%d lifetime:0", k.Conn)
			} else {
				p.line("          Capabilities:%s connid:%d lifetime:%s", orNone(sessionCapabilities(k)), k.Conn, clock(k.Remaining))
			}
		}
		for _, f := range s.flows {
			sessionFlow(&p, f)
			life := remainingLife(f)
			p.line("        Inbound:  #pkts dec'ed %d drop %d life (KB/Sec) %s", f.Counters.Decaps, f.Counters.RecvErrors, life)
			p.line("        Outbound: #pkts enc'ed %d drop %d life (KB/Sec) %s", f.Counters.Encaps, f.Counters.SendErrors, life)
		}
	}
	return p.flush(w)
}

func sessionIKE(p *page, k *status.ISAKMP) {
	state := "Active"
	if k.Established.IsZero() {
		state = "Inactive"
	}
	local, lport := endpoint(k.Local)
	remote, rport := endpoint(k.Remote)
	p.line("  Session ID: 0")
	p.line("  IKEv1 SA: local %s/%d remote %s/%d %s", local, lport, remote, rport, state)
}

func sessionFlow(p *page, f *status.Flow) {
	p.line("  IPSEC FLOW: permit %s", flowWords(shownSelectors(f)))
	origin := "crypto map"
	if f.Dynamic != "" {
		origin = "dynamic crypto map"
	}
	p.line("        Active SAs: %d, origin: %s", activeSAs(f), origin)
}

// activeSAs counts the SAs of a flow: two a pair, four a bundle of AH and ESP.
func activeSAs(f *status.Flow) int {
	n := 0
	for i := range f.Children {
		n += sasOf(&f.Children[i])
	}
	return n
}

// sessionCapabilities are the letters of the codes of show crypto session.
func sessionCapabilities(k *status.ISAKMP) string {
	c := capabilities(k)
	if k.Fragmentation {
		c += "F"
	}
	return c
}

// remainingLife is what the SA that sends has left: kilobytes/seconds.
func remainingLife(f *status.Flow) string {
	c := newest(f)
	switch {
	case c == nil:
		return "0/0"
	case c.Lifetime.Kilobytes == 0:
		return fmt.Sprintf("KB Vol Rekey Disabled/%d", seconds(c.Remaining))
	}
	return fmt.Sprintf("%d/%d", c.RemainingKilobytes, seconds(c.Remaining))
}

// flowWords is a flow as show crypto session writes it: the protocol by
// number except ip, networks with masks, a pair of hosts as "host A host B".
func flowWords(s flow.Selectors) string {
	proto := "ip"
	if s.Proto != flow.AnyProto {
		proto = fmt.Sprint(s.Proto)
	}
	return proto + " " + flowSide(s.Local, s.LocalPorts) + " " + flowSide(s.Remote, s.RemotePorts)
}

func flowSide(n netip.Prefix, ports flow.Ports) string {
	w := n.Addr().String() + "/" + mask(n)
	if n.IsSingleIP() {
		w = "host " + n.Addr().String()
	}
	if !ports.IsAny() {
		w += " port " + ports.String()
	}
	return w
}
