package show

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// The network of all snapshots: site A 10.10.10.0/24 behind R1 198.51.100.1,
// site B 10.20.20.0/24 behind R2 198.51.100.2. Seen from R1.
var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r1      = netip.MustParseAddr("198.51.100.1")
	r2      = netip.MustParseAddr("198.51.100.2")
	sites   = flow.Selectors{Local: netip.MustParsePrefix("10.10.10.0/24"), Remote: netip.MustParsePrefix("10.20.20.0/24")}
	outside = "GigabitEthernet0/1"
)

// psk must never be seen in any output.
const psk = "Pr3sharedSecret"

func cbcSet() policy.TransformSet {
	return policy.TransformSet{Name: "TS-AES256", Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}
}

func gcmSet() policy.TransformSet {
	return policy.TransformSet{Name: "TS-GCM", Cipher: suite.AESGCM, KeyBits: 256}
}

func policy10() policy.ISAKMP {
	return policy.ISAKMP{
		Priority: 10, Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.PSK, Group: 14,
		Lifetime: 86400 * time.Second, Origin: origin.Line{File: "r1.cfg", Line: 12, Column: 1, Text: "crypto isakmp policy 10"},
	}
}

func permit(seq int, proto uint8, src, dst flow.Match) flow.Line {
	l := flow.Line{Seq: seq, Action: flow.Permit, Proto: proto, Src: src, Dst: dst}
	l.Text = l.Condition()
	return l
}

// edgeList is step 1: ACL 101, inbound on the outside interface.
func edgeList() *flow.List {
	esp := permit(10, flow.ESP, flow.HostMatch(r2), flow.HostMatch(r1))
	ike := flow.Line{Seq: 20, Action: flow.Permit, Proto: flow.UDP, Src: flow.HostMatch(r2), Dst: flow.HostMatch(r1), DstPort: flow.PortMatch{Op: flow.Eq, Ports: []uint16{500}}}
	ike.Text = ike.Condition()
	deny := flow.Line{Seq: 40, Action: flow.Deny, Proto: flow.AnyProto, Log: true}
	deny.Text = deny.Condition()
	return &flow.List{Name: "101", Extended: true, Lines: []flow.Line{{Seq: 5, Remark: "let the tunnel in"}, esp, ike, deny}}
}

// cryptoList is step 4.
func cryptoList() *flow.List {
	l := permit(10, flow.AnyProto, flow.PrefixMatch(sites.Local), flow.PrefixMatch(sites.Remote))
	l.Origin = origin.Line{File: "r1.cfg", Line: 30, Column: 2, Text: "permit ip 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255"}
	return &flow.List{Name: "VPN-TRAFFIC", Extended: true, Lines: []flow.Line{l}}
}

func standardList() *flow.List {
	return &flow.List{Name: "99", Lines: []flow.Line{
		{Seq: 10, Action: flow.Permit, Src: flow.HostMatch(netip.MustParseAddr("172.16.191.199"))},
		{Seq: 20, Action: flow.Permit, Src: flow.Match{Addr: netip.MustParseAddr("10.0.10.0"), Wildcard: netip.MustParseAddr("0.255.0.255")}},
		{Seq: 30, Action: flow.Deny, Log: true},
	}}
}

func entry10() policy.Entry {
	return policy.Entry{
		Map: "CMAP", Seq: 10, Interface: outside, Local: r1, Peers: []netip.Addr{r2}, Sets: []policy.TransformSet{cbcSet(), gcmSet()},
		ACL: cryptoList(), Origin: origin.Line{File: "r1.cfg", Line: 40, Column: 1, Text: "crypto map CMAP 10 ipsec-isakmp"},
	}
}

// idle is a gateway that has just started: configured, nothing negotiated.
func idle() *status.Gateway {
	return &status.Gateway{
		Hostname: "R1", Version: "0.1.0", Started: noon.Add(-26*time.Hour - 3*time.Minute), Now: noon,
		Settings: &policy.Settings{
			Hostname: "R1", Policies: []policy.ISAKMP{policy10()}, Entries: []policy.Entry{entry10()}, ReplayWindow: 64,
			Keys: []policy.Key{{
				Peers: netip.PrefixFrom(r2, 32), Secret: crypt.NewSecret([]byte(psk)),
				Origin: origin.Line{File: "r1.cfg", Line: 18, Column: 1, Text: "crypto isakmp key " + psk + " address 198.51.100.2"},
			}},
		},
		Flows: []status.Flow{{
			ID: policy.FlowID{Map: "CMAP", Seq: 10, Line: 10}, Interface: outside, Local: r1, Peer: netip.AddrPortFrom(r2, 500),
			Selectors: sites, Text: "permit ip 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255", PathMTU: 1500,
		}},
		Lists: []status.List{
			{List: edgeList(), Hits: map[int]uint64{10: 120, 20: 1}, Applied: []string{"GigabitEthernet0/1 in"}},
			{List: cryptoList(), Hits: map[int]uint64{10: 199}, Applied: []string{"crypto map CMAP 10"}},
			{List: standardList(), Hits: map[int]uint64{20: 20}},
		},
	}
}

// negotiating: main mode has sent its first message and waits.
func negotiating() *status.Gateway {
	g := idle()
	g.ISAKMP = []status.ISAKMP{{
		Conn: 1001, Local: netip.AddrPortFrom(r1, 500), Remote: netip.AddrPortFrom(r2, 500), Role: event.Initiator, State: "MM_NO_STATE",
	}}
	g.Flows[0].Waiting = 1
	g.Flows[0].Counters = status.Counters{SendErrors: 2, NoSA: 2}
	return g
}

func idleSA(conn int, role event.Role) status.ISAKMP {
	return status.ISAKMP{
		Conn: conn, Local: netip.AddrPortFrom(r1, 500), Remote: netip.AddrPortFrom(r2, 500), Role: role, State: "QM_IDLE",
		Policy: policy10(), Established: noon.Add(-12*time.Minute - 15*time.Second), Remaining: 86400*time.Second - 12*time.Minute - 15*time.Second,
		DPD: true, Identity: "198.51.100.2",
	}
}

func pair(n int, in, out uint32, set policy.TransformSet) status.Child {
	return status.Child{
		In: in, Out: out, Selectors: sites, Set: set, Conn: n, Established: noon.Add(-12 * time.Minute), Remaining: 48*time.Minute + 900*time.Millisecond,
		RemainingKilobytes: 4224103, Lifetime: policy.Lifetime{Time: time.Hour, Kilobytes: 4608000}, ReplayWindow: 64,
	}
}

// up is one tunnel, AES-CBC, as the initiator.
func up() *status.Gateway {
	g := idle()
	g.ISAKMP = []status.ISAKMP{idleSA(1001, event.Initiator)}
	f := &g.Flows[0]
	f.Since = noon.Add(-12 * time.Minute)
	f.Children = []status.Child{pair(1, 0x18906F9D, 0x48BAC7D3, cbcSet())}
	f.Counters = status.Counters{
		Encaps: 199, Encrypt: 199, Digest: 199, Decaps: 198, Decrypt: 198, Verify: 198, SendErrors: 1, RecvErrors: 9,
		SendOctets: 16716, ReceiveOctets: 16632, NoSA: 1, InvalidIdentity: 1, ReplayFailed: 2, VerifyFailed: 3,
	}
	return g
}

// rekeying has two pairs on the flow, the old one still takes packets; and the
// ISAKMP SA it began with is deleted, another one lives.
func rekeying() *status.Gateway {
	g := up()
	old := idleSA(1001, event.Initiator)
	old.Deleted, old.State = true, "MM_NO_STATE"
	g.ISAKMP = []status.ISAKMP{old, idleSA(1002, event.Responder)}
	f := &g.Flows[0]
	f.Since = noon.Add(-50 * time.Hour)
	f.Children[0].Remaining = 29 * time.Second
	young := pair(2, 0xA0000001, 0xB0000002, cbcSet())
	young.PFS, young.Established, young.Remaining = 19, noon, time.Hour
	f.Children = append(f.Children, young)
	return g
}

// natt is a tunnel with GCM through a NAT in front of the peer, no volume limit.
func natt() *status.Gateway {
	g := up()
	g.ISAKMP[0].Local, g.ISAKMP[0].Remote = netip.AddrPortFrom(r1, 4500), netip.AddrPortFrom(r2, 4500)
	g.ISAKMP[0].NAT = event.NATCheck{PeerBehind: true}
	f := &g.Flows[0]
	f.Peer = netip.AddrPortFrom(r2, 4500)
	c := pair(1, 0x0000ABCD, 0x72662541, gcmSet())
	c.Encap, c.Lifetime.Kilobytes, c.RemainingKilobytes = true, 0, 0
	f.Children = []status.Child{c}
	return g
}

// several has two peers, four flows: hosts, ports, a map with two entries one
// of which is incomplete, and a peer whose flow lost its ISAKMP SA.
func several() *status.Gateway {
	g := up()
	r3 := netip.MustParseAddr("203.0.113.3")
	host := flow.Selectors{Local: netip.MustParsePrefix("10.10.10.10/32"), Remote: netip.MustParsePrefix("10.30.30.30/32"), Proto: flow.TCP, RemotePorts: flow.Ports{Lo: 443, Hi: 443}}
	second := pair(3, 0x11, 0x22, policy.TransformSet{Name: "TS-LEGACY", Cipher: suite.TripleDES, KeyBits: 192, Integ: suite.MD5, AH: suite.SHA1, Mode: suite.Transport})
	second.Selectors, second.AHIn, second.AHOut = host, 0x111, 0x222
	ah := pair(4, 0, 0, policy.TransformSet{Name: "TS-AH", AH: suite.SHA256})
	ah.AHIn, ah.AHOut = 0x33, 0x44
	ah.ReplayWindow = 0
	g.Flows = append(g.Flows,
		status.Flow{ID: policy.FlowID{Map: "CMAP", Seq: 20, Line: 10}, Interface: outside, Local: r1, Peer: netip.AddrPortFrom(r3, 500), Selectors: host, Children: []status.Child{second}},
		status.Flow{ID: policy.FlowID{Map: "CMAP", Seq: 20, Line: 20}, Interface: outside, Local: r1, Selectors: sites},
		status.Flow{ID: policy.FlowID{Map: "WAN2", Seq: 1, Line: 10}, Interface: "GigabitEthernet0/2", Local: netip.MustParseAddr("192.0.2.1"),
			Peer: netip.AddrPortFrom(r2, 500), Selectors: sites, PathMTU: 1400, InterfaceMTU: 9000, Children: []status.Child{ah}},
	)
	entry20 := policy.Entry{
		Map: "CMAP", Seq: 20, Interface: outside, Local: r1, Peers: []netip.Addr{r3, r2}, Sets: []policy.TransformSet{gcmSet()}, PFS: 15,
		ACL: cryptoList(), Lifetime: policy.Lifetime{Time: 8 * time.Hour},
	}
	again := entry10()
	again.Interface = "GigabitEthernet0/2"
	g.Entries = []policy.Entry{entry20, entry10(), again, {Map: "WAN2", Seq: 1}}
	g.Sets = []policy.TransformSet{cbcSet(), gcmSet(), {Name: "TS-T", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1, Mode: suite.Transport}}
	g.Lifetime = policy.Lifetime{Time: 2 * time.Hour, Kilobytes: 100000}
	g.Settings.Policies = append(g.Settings.Policies, policy.ISAKMP{Priority: 20, Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.MD5, Auth: suite.RSASig, Group: 2, Lifetime: time.Hour},
		policy.ISAKMP{Priority: 30, Cipher: suite.DES, KeyBits: 64, Hash: suite.SHA1, Auth: suite.PSK, Group: 24, Lifetime: time.Hour})
	g.Settings.Keys = append(g.Settings.Keys, policy.Key{Peers: netip.MustParsePrefix("0.0.0.0/0"), Secret: crypt.NewSecret([]byte(psk))})
	return g
}

// six is an ISAKMP SA over IPv6.
func six() *status.Gateway {
	g := up()
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	g.ISAKMP[0].Local, g.ISAKMP[0].Remote = netip.AddrPortFrom(a, 500), netip.AddrPortFrom(b, 500)
	f := &g.Flows[0]
	f.Local, f.Peer = a, netip.AddrPortFrom(b, 500)
	f.Selectors = flow.Selectors{Local: netip.MustParsePrefix("2001:db8:10::/48"), Remote: netip.MustParsePrefix("2001:db8:20::/48")}
	f.Children[0].Selectors = f.Selectors
	return g
}
