package diagnose

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

var (
	here = netip.MustParseAddr("198.51.100.1")
	peer = netip.MustParseAddr("198.51.100.2")
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func at(line int, text string) origin.Line {
	return origin.Line{File: "r1.cfg", Line: line, Column: 1, Text: text}
}

func permitLine(seq int, src, dst string) flow.Line {
	l := flow.Line{
		Seq: seq, Action: flow.Permit, Src: flow.PrefixMatch(netip.MustParsePrefix(src)), Dst: flow.PrefixMatch(netip.MustParsePrefix(dst)), ICMPType: -1, ICMPCode: -1,
	}
	l.Text = l.Condition()
	l.Origin = at(60+seq, "access-list 102 "+l.Text)
	return l
}

// settings is site A: one entry with two lines of interesting traffic.
func settings() *policy.Settings {
	p := policy.ISAKMP{Priority: 10, Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.PSK, Group: 19, Lifetime: 86400 * time.Second,
		Origin: at(2, "crypto isakmp policy 10"), CipherOrigin: at(3, "encryption aes 256"), HashOrigin: at(4, "hash sha256"), AuthOrigin: at(5, "authentication pre-share"), GroupOrigin: at(6, "group 19")}
	list := &flow.List{Name: "102", Extended: true, Origin: at(70, "access-list 102 …"), Lines: []flow.Line{
		permitLine(10, "10.10.10.0/24", "10.20.20.0/24"), permitLine(20, "10.10.11.0/24", "10.20.21.0/24"),
	}}
	return &policy.Settings{
		Hostname: "R1", Policies: []policy.ISAKMP{p}, ReplayWindow: 64,
		Keys: []policy.Key{{Peers: netip.PrefixFrom(peer, 32), Secret: crypt.NewSecret([]byte("never told")), Origin: at(8, "crypto isakmp key ****** address 198.51.100.2")}},
		Entries: []policy.Entry{{
			Map: "CMAP", Seq: 10, Interface: "GigabitEthernet0/1", ReplayWindow: 64, Local: here, Peers: []netip.Addr{peer}, ACL: list,
			Sets:   []policy.TransformSet{{Name: "STRONG", Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256, Origin: at(10, "crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac")}},
			Origin: at(20, "crypto map CMAP 10 ipsec-isakmp"), PeerOrigin: at(21, "set peer 198.51.100.2"), SetOrigin: at(22, "set transform-set STRONG"), ACLOrigin: at(23, "match address 102"),
		}},
	}
}

func flowID(line int) policy.FlowID { return policy.FlowID{Map: "CMAP", Seq: 10, Line: line} }

func failure(role event.Role, f event.Failed) event.Event {
	return event.Event{At: now, Local: netip.AddrPortFrom(here, 500), Peer: netip.AddrPortFrom(peer, 500), Role: role, What: f}
}

func phase1(state string) []status.ISAKMP {
	return []status.ISAKMP{{Conn: 1001, Local: netip.AddrPortFrom(here, 500), Remote: netip.AddrPortFrom(peer, 500), State: state, Policy: settings().Policies[0]}}
}

// told is what a report must say.
type told struct {
	status   string
	culprit  int
	certain  bool
	both     bool
	sentence string // a part of it
	fix      string // "r1.cfg:4 hash sha512", "peer …": of the first fix; "" for none wanted
}

func want(t *testing.T, r Report, w told) {
	t.Helper()
	if r.Status != w.status || r.Culprit != w.culprit || r.Certain != w.certain || r.Both != w.both || !strings.Contains(r.Sentence, w.sentence) {
		t.Errorf("%s, step %d, certain %t, knows both %t: %q\nwant %+v", r.Status, r.Culprit, r.Certain, r.Both, r.Sentence, w)
	}
	if r.Culprit != 0 {
		s := r.Steps[r.Culprit-1].State
		if w.certain && s != Wrong || !w.certain && s != Suspect {
			t.Errorf("step %d is %q", r.Culprit, s)
		}
	}
	if w.fix == "" {
		return
	}
	if len(r.Fixes) == 0 {
		t.Fatalf("no fix, want %q", w.fix)
	}
	f := r.Fixes[0]
	got := strings.TrimSpace(f.Where() + " " + strings.Join(f.Write, "|"))
	if f.Line == 0 {
		got = f.Side + " " + strings.Join(f.Write, "|")
	}
	if got != w.fix {
		t.Errorf("the first fix is %q, want %q", got, w.fix)
	}
}

// Every code in every role, when it is final and while the negotiation runs.
func TestEveryCode(t *testing.T) {
	other := policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA512, Auth: suite.PSK, Group: 19}
	old := policy.ISAKMP{Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.SHA256, Auth: suite.PSK, Group: 19}
	gcm := event.Proposal{Number: 1, Set: policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 256}, Encap: "tunnel"}
	asked := flow.Selectors{Local: netip.MustParsePrefix("10.10.10.0/24"), Remote: netip.MustParsePrefix("10.0.0.0/8"), LocalPorts: flow.AnyPort, RemotePorts: flow.AnyPort}
	initiator, responder := event.Initiator, event.Responder
	for _, c := range []struct {
		name string
		role event.Role
		f    event.Failed
		w    told
	}{
		{"nothing came back", initiator, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM1"},
			told{"down", 1, false, false, "does not answer on UDP 500: nothing came back for MM1", "peer 198.51.100.2 access-list NUMBER permit udp host 198.51.100.1 host 198.51.100.2 eq isakmp"}},
		{"nothing came back on 4500", initiator, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM5", LastReceived: "MM4"},
			told{"down", 1, false, false, "UDP 4500", "peer 198.51.100.2 access-list NUMBER permit udp host 198.51.100.1 host 198.51.100.2 eq non500-isakmp"}},
		{"no answer to quick mode", initiator, event.Failed{Phase: 2, Flow: flowID(10), Code: event.NoAnswer, LastSent: "QM1"},
			told{"down", 3, false, false, "does not answer quick mode", ""}},
		{"no answer to MM2", responder, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM2", LastReceived: "MM1"},
			told{"down", 1, false, false, "nothing came back for MM2 (after MM1 had come)", ""}},
		{"our policies refused", initiator, event.Failed{Phase: 1, Code: event.NoPolicy, Notified: "NO-PROPOSAL-CHOSEN"},
			told{"down", 2, false, false, "refused all that was offered (aes 256, sha256, pre-share, group 19)", ""}},
		{"its policies refused", responder, event.Failed{Phase: 1, Code: event.NoPolicy, PolicyOffers: []policy.ISAKMP{other}},
			told{"down", 2, true, true, "they differ in hash", "r1.cfg:4 hash sha512"}},
		{"its policies are legacy", responder, event.Failed{Phase: 1, Code: event.NoPolicy, PolicyOffers: []policy.ISAKMP{old}},
			told{"down", 2, true, true, "they differ in encryption", "r1.cfg:3 encryption 3des"}},
		{"unreadable policies", responder, event.Failed{Phase: 1, Code: event.NoPolicy, PolicyOffers: []policy.ISAKMP{{Priority: -1}}},
			told{"down", 2, true, true, "no ISAKMP policy that can be read", ""}},
		{"key, seen by the initiator", initiator, event.Failed{Phase: 1, Code: event.WrongKey, LastSent: "MM5", LastReceived: "MM4"},
			told{"down", 2, false, false, "MM5) was sent but no valid MM6 came back", "r1.cfg:8 crypto isakmp key THE-SAME-KEY address 198.51.100.2"}},
		{"key, seen by the responder", responder, event.Failed{Phase: 1, Code: event.WrongKey, LastSent: "MM4", LastReceived: "MM3"},
			told{"down", 2, false, false, "its MM5 does not decrypt", "r1.cfg:8 crypto isakmp key THE-SAME-KEY address 198.51.100.2"}},
		{"legacy only", responder, event.Failed{Phase: 1, Code: event.LegacyOnly, PolicyOffers: []policy.ISAKMP{old}},
			told{"down", 2, true, true, "offered 3des, sha256, pre-share, group 19", "R1 crypto engine compliance shield disable"}},
		{"legacy sets only", responder, event.Failed{Phase: 2, Code: event.LegacyOnly},
			told{"down", 3, true, false, "uses legacy algorithms", "R1 crypto engine compliance shield disable"}},
		{"our sets refused", initiator, event.Failed{Phase: 2, Flow: flowID(10), Code: event.NoTransformSet, Notified: "NO-PROPOSAL-CHOSEN"},
			told{"down", 3, false, false, "or it demands PFS (step 5)", "peer 198.51.100.2 crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac"}},
		{"its sets refused", responder, event.Failed{Phase: 2, Flow: flowID(10), Code: event.NoTransformSet, ProposalOffers: []event.Proposal{gcm}},
			told{"down", 3, true, true, "transform set STRONG here is esp-256-aes esp-sha256-hmac: they differ in encryption", "r1.cfg:10 crypto ipsec transform-set STRONG esp-gcm 256"}},
		{"nothing usable offered", responder, event.Failed{Phase: 2, Code: event.NoTransformSet, ProposalOffers: []event.Proposal{{Unknown: "ESP transform 250"}}},
			told{"down", 3, true, true, "ESP transform 250", ""}},
		{"PFS", responder, event.Failed{Phase: 2, Flow: flowID(10), Code: event.PFSMismatch, ProposalOffers: []event.Proposal{{Set: gcm.Set, Group: 20}}},
			told{"down", 5, true, true, "asks for PFS with group 20", ""}},
		{"our identities refused", initiator, event.Failed{Phase: 2, Flow: flowID(10), Code: event.NoProxy, Notified: "INVALID-ID-INFORMATION", Offered: asked},
			told{"down", 4, true, false, `no line that is the mirror image of "permit ip 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255"`, "peer 198.51.100.2 access-list NUMBER permit ip 10.20.20.0 0.0.0.255 10.10.10.0 0.0.0.255"}},
		{"its identities refused", responder, event.Failed{Phase: 2, Code: event.NoProxy, Offered: asked},
			told{"down", 4, true, true, "wants to protect 10.0.0.0/8 <-> 10.10.10.0/24", "r1.cfg:70 access-list 102 permit ip 10.10.10.0 0.0.0.255 10.0.0.0 0.255.255.255"}},
		{"its identities are none", responder, event.Failed{Phase: 2, Code: event.NoProxy, Reason: "an IPv6 subnet"},
			told{"down", 4, true, true, "that no crypto ACL can permit: an IPv6 subnet", ""}},
		{"the peer said something else", initiator, event.Failed{Phase: 1, Code: event.PeerRefused, Notified: "notify(40961)"},
			told{"down", 2, false, false, "it answered notify(40961)", ""}},
		{"malformed", responder, event.Failed{Phase: 2, Code: event.Malformed, Reason: "payload 3 is cut off"},
			told{"down", 3, false, false, "payload 3 is cut off", ""}},
		{"identity", initiator, event.Failed{Phase: 1, Code: event.BadIdentity, Reason: "the peer says it is 192.0.2.1"},
			told{"down", 2, false, false, "192.0.2.1", ""}},
		{"expired", initiator, event.Failed{Phase: 1, Code: event.Expired, Reason: "it took too long"},
			told{"down", 2, false, false, "it took too long", ""}},
	} {
		t.Run(c.name+", "+c.role.String(), func(t *testing.T) {
			for _, pending := range []bool{false, true} {
				f := c.f
				f.Pending = pending
				r := Explain(Evidence{Settings: settings(), Now: now, Failures: []event.Event{failure(c.role, f)}})
				if len(r) != 1 {
					t.Fatalf("%d reports", len(r))
				}
				w := c.w
				if pending {
					w.status = "negotiating"
				}
				want(t, r[0], w)
				if r[0].Reason != c.f.Code {
					t.Errorf("reason %q", r[0].Reason)
				}
				noSecret(t, r[0])
			}
		})
	}
}

func noSecret(t *testing.T, r Report) {
	t.Helper()
	var b strings.Builder
	b.WriteString(r.Sentence)
	for _, f := range r.Fixes {
		b.WriteString(f.Old + strings.Join(f.Write, " "))
	}
	for _, s := range r.Steps {
		b.WriteString(s.Detail)
	}
	if strings.Contains(b.String(), "never told") {
		t.Errorf("the key is told: %s", b.String())
	}
}

// A legacy offer of the peer cannot simply be copied: the shield belongs to it.
func TestFixesThatBelongTogether(t *testing.T) {
	old := policy.ISAKMP{Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.MD5, Auth: suite.PSK, Group: 19}
	r := Explain(Evidence{Settings: settings(), Now: now, Failures: []event.Event{failure(event.Responder, event.Failed{Phase: 1, Code: event.NoPolicy, PolicyOffers: []policy.ISAKMP{old}})}})[0]
	var got []string
	for _, f := range r.Fixes {
		got = append(got, strings.Repeat("*", f.Choice)+f.Write[0])
	}
	if s := strings.Join(got, " "); s != "*encryption 3des *hash md5 *crypto engine compliance shield disable **crypto isakmp policy 10" {
		t.Errorf("fixes %q", s)
	}
}

// The life of a tunnel as it is told: idle, negotiating, down, up.
func TestLife(t *testing.T) {
	e := Evidence{Settings: settings(), Now: now}
	want(t, Explain(e)[0], told{"idle", 0, true, false, "Nothing is wrong so far", ""})
	e.ISAKMP = phase1("MM_KEY_EXCH")
	want(t, Explain(e)[0], told{"negotiating", 0, true, false, "phase 1 is in MM_KEY_EXCH", ""})
	e.ISAKMP = phase1("QM_IDLE")
	e.Failures = []event.Event{failure(event.Initiator, event.Failed{Phase: 2, Flow: flowID(20), Code: event.NoProxy, Notified: "INVALID-ID-INFORMATION"})}
	e.Up = map[policy.FlowID]bool{flowID(10): true}
	r := Explain(e)[0]
	want(t, r, told{"down", 4, true, false, `"permit ip 10.10.11.0 0.0.0.255 10.20.21.0 0.0.0.255"`, ""})
	if r.Steps[1].State != OK || !strings.HasPrefix(r.Steps[1].Detail, "policy agreed") {
		t.Errorf("phase 1 is up, and step 2 says %+v", r.Steps[1])
	}
	// Up after the failure: the engine forgets it, and even if it had not, a
	// flow that is up has nothing to complain of.
	e.Up[flowID(20)] = true
	want(t, Explain(e)[0], told{"up", 0, true, false, "is up: 2 flows of access list 102 protected", ""})
	for i, s := range Explain(e)[0].Steps {
		if s.State != OK {
			t.Errorf("up, and step %d is %s", i+1, s.State)
		}
	}
}

// A flow that is not up is not blamed for the failure of another one.
func TestFailureOfAnotherFlow(t *testing.T) {
	e := Evidence{Settings: settings(), Now: now, ISAKMP: phase1("QM_IDLE"), Up: map[policy.FlowID]bool{flowID(10): true}}
	e.Failures = []event.Event{failure(event.Initiator, event.Failed{Phase: 2, Flow: flowID(10), Code: event.NoTransformSet})}
	want(t, Explain(e)[0], told{"idle", 0, true, false, "(permit ip 10.10.11.0 0.0.0.255 10.20.21.0 0.0.0.255), and none has asked yet", ""})
	e.Failures = []event.Event{failure(event.Initiator, event.Failed{Phase: 1, Code: event.Cleared})}
	want(t, Explain(e)[0], told{"idle", 0, true, false, "", ""})
}

// All that is configured here is up, but the peer wants more.
func TestPeerWantsMore(t *testing.T) {
	more := flow.Selectors{Local: netip.MustParsePrefix("10.99.0.0/16"), Remote: netip.MustParsePrefix("10.20.20.0/24"), LocalPorts: flow.AnyPort, RemotePorts: flow.AnyPort}
	e := Evidence{Settings: settings(), Now: now, ISAKMP: phase1("QM_IDLE"), Up: map[policy.FlowID]bool{flowID(10): true, flowID(20): true},
		Failures: []event.Event{failure(event.Responder, event.Failed{Phase: 2, Code: event.NoProxy, Offered: more})}}
	r := Explain(e)[0]
	want(t, r, told{"up", 4, true, true, "has no line for it", "r1.cfg:80 access-list 102 permit ip 10.99.0.0 0.0.255.255 10.20.20.0 0.0.0.255"})
	if !r.Fixes[0].Add {
		t.Error("a line that works is to be changed")
	}
}

// Two entries, two peers: each is told by its own evidence.
func TestEntriesAndPeers(t *testing.T) {
	s := settings()
	second := s.Entries[0]
	third := netip.MustParseAddr("198.51.100.3")
	second.Seq, second.Peers = 20, []netip.Addr{third}
	second.ACL = &flow.List{Name: "103", Extended: true, Lines: []flow.Line{permitLine(10, "10.10.10.0/24", "10.30.30.0/24")}}
	s.Entries = append(s.Entries, second)
	e := Evidence{Settings: s, Now: now, Up: map[policy.FlowID]bool{flowID(10): true, flowID(20): true}}
	r := Explain(e)
	if len(r) != 2 {
		t.Fatalf("%d reports", len(r))
	}
	want(t, r[0], told{"up", 0, true, false, "198.51.100.2 is up", ""})
	want(t, r[1], told{"down", 2, true, true, "no pre-shared key for the peer 198.51.100.3", "R1 crypto isakmp key KEY address 198.51.100.3"})
	// A wildcard key would serve it.
	s.Keys = append(s.Keys, policy.Key{Peers: netip.MustParsePrefix("0.0.0.0/0")})
	want(t, Explain(e)[1], told{"idle", 0, true, false, "198.51.100.3 comes up when", ""})
	// Of two peers of one entry the one that answers, or failed last, is meant.
	s.Entries[1].Peers = []netip.Addr{third, peer}
	e.Failures = []event.Event{failure(event.Initiator, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM1"})}
	if r := Explain(e)[1]; r.Peer != peer || r.Reason != event.NoAnswer {
		t.Errorf("the second peer failed last, and %s is told: %s", r.Peer, r.Sentence)
	}
}

// Peers that no entry names.
func TestStrangers(t *testing.T) {
	stranger := failure(event.Responder, event.Failed{Phase: 1, Code: event.NoEntry, LastReceived: "MM1"})
	stranger.Peer = netip.MustParseAddrPort("198.51.100.77:500")
	e := Evidence{Settings: settings(), Now: now, Failures: []event.Event{stranger}}
	r := Explain(e)
	if len(r) != 2 {
		t.Fatalf("%d reports", len(r))
	}
	want(t, r[0], told{"idle", 0, true, false, "", ""})
	want(t, r[1], told{"down", 5, true, true, "198.51.100.77 wants a tunnel, but no crypto map entry at 198.51.100.1 names it as a peer: CMAP 10 has 198.51.100.2", "r1.cfg:21 set peer 198.51.100.77"})
	// With several entries nobody knows which one is meant: a new one.
	e.Settings.Entries = append(e.Settings.Entries, e.Settings.Entries[0])
	want(t, Explain(e)[2], told{"down", 5, true, true, "", "R1 crypto map CMAP 20 ipsec-isakmp| set peer 198.51.100.77| set transform-set STRONG| match address LIST"})
	// The entry is there, but its map is on no interface.
	e.Settings = settings()
	idle := e.Settings.Entries[0]
	idle.Map, idle.Peers, idle.InterfaceOrigin = "OTHER", []netip.Addr{stranger.Peer.Addr()}, at(30, "interface GigabitEthernet0/1")
	e.Settings.Unapplied = []policy.Entry{idle}
	r = Explain(e)
	if len(r) != 2 {
		t.Fatalf("%d reports", len(r))
	}
	want(t, r[1], told{"down", 5, true, true, "Crypto map OTHER is applied to no interface", "r1.cfg:30 crypto map OTHER"})
	// A map that nobody asks for may wait.
	e.Failures = nil
	if r := Explain(e); len(r) != 1 {
		t.Errorf("%d reports: a map that is not applied and not asked for is told", len(r))
	}
	// Nothing at all.
	want(t, Explain(Evidence{Settings: &policy.Settings{Hostname: "R1"}, Now: now})[0], told{"down", 5, true, true, "There is no crypto map", ""})
}

// What the configuration alone tells, and what it does not hide.
func TestConfigurationAlone(t *testing.T) {
	blocked := func(lines ...flow.Line) *policy.Settings {
		s := settings()
		s.Entries[0].In = &flow.List{Name: "101", Extended: true, Lines: lines, Origin: at(50, "access-list 101 …")}
		return s
	}
	host := netip.PrefixFrom(peer, 32).String()
	esp, any := permitLine(10, host, "0.0.0.0/0"), permitLine(20, "0.0.0.0/0", "0.0.0.0/0")
	esp.Proto, esp.Origin = flow.ESP, at(51, "access-list 101 permit esp host 198.51.100.2 any")
	any.Action, any.Origin = flow.Deny, at(52, "access-list 101 deny ip any any")
	isakmp := "access-list 101 permit udp host 198.51.100.2 host 198.51.100.1 eq isakmp|access-list 101 permit udp host 198.51.100.2 host 198.51.100.1 eq non500-isakmp"
	want(t, Explain(Evidence{Settings: blocked(esp), Now: now})[0], told{"down", 1, true, true, "drops UDP 500 and UDP 4500 from 198.51.100.2", "r1.cfg:51 " + isakmp})
	r := Explain(Evidence{Settings: blocked(esp, any), Now: now})[0]
	want(t, r, told{"down", 1, true, true, "", "r1.cfg:52 " + isakmp})
	if f := r.Fixes[0]; !f.Add || !f.Before {
		t.Errorf("the line has to come before the one that denies: %+v", f)
	}
	// That nothing came back is no news then.
	e := Evidence{Settings: blocked(esp), Now: now, Failures: []event.Event{failure(event.Initiator, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM1"})}}
	want(t, Explain(e)[0], told{"down", 1, true, true, "Access list 101", ""})
	// Up, and ESP does not come in.
	udp := permitLine(10, host, "0.0.0.0/0")
	udp.Proto, udp.Origin = flow.UDP, at(51, "access-list 101 permit udp host 198.51.100.2 any")
	e = Evidence{Settings: blocked(udp), Now: now, ISAKMP: phase1("QM_IDLE"), Up: map[policy.FlowID]bool{flowID(10): true, flowID(20): true}}
	e.Settings.Entries[0].In.Lines[0].Text = udp.Condition()
	want(t, Explain(e)[0], told{"down", 1, true, true, "The IPsec SAs are up, but", "r1.cfg:51 access-list 101 permit esp host 198.51.100.2 host 198.51.100.1"})
	// Behind a NAT it comes in UDP 4500, which is let in.
	e.ISAKMP[0].NAT.PeerBehind = true
	want(t, Explain(e)[0], told{"up", 0, true, false, "", ""})

	s := settings()
	s.Policies[0].Auth, s.Policies[0].AuthOrigin = suite.RSASig, origin.Line{}
	r = Explain(Evidence{Settings: s, Now: now})[0]
	want(t, r, told{"down", 2, true, true, "authenticates with rsa-sig", "r1.cfg:2 authentication pre-share"})
	s = settings()
	s.Policies[0].Group, s.Entries[0].Sets[0].Cipher = 2, suite.TripleDES
	want(t, Explain(Evidence{Settings: s, Now: now})[0], told{"down", 2, true, false, "compliance shield", "R1 crypto engine compliance shield disable"})
}

// Sequence numbers for lines before a denying one.
func TestListLines(t *testing.T) {
	line := func(seq int, text string) flow.Line { return flow.Line{Seq: seq, Origin: at(seq, text)} }
	named := &flow.List{Name: "OUTSIDE", Extended: true, Lines: []flow.Line{line(10, "10 permit esp any any"), line(12, "12 deny ip any any")}}
	if n := freeNumbers(named, named.Lines[1], true, 1); n[0] != 11 {
		t.Errorf("between 10 and 12: %d", n)
	}
	if n := freeNumbers(named, named.Lines[1], true, 2); n[0] != 0 {
		t.Errorf("no room for two between 10 and 12: %d", n)
	}
	if got := listLine(named, named.Lines[1], 11, "permit udp any any"); got != "11 permit udp any any" {
		t.Error(got)
	}
	unnumbered := &flow.List{Name: "OUTSIDE", Extended: true, Lines: []flow.Line{line(10, "deny ip any any")}}
	if n := freeNumbers(unnumbered, unnumbered.Lines[0], true, 1); n[0] != 0 || listLine(unnumbered, unnumbered.Lines[0], 0, "permit udp any any") != "permit udp any any" {
		t.Errorf("a list without numbers gets one: %d", n)
	}
	if got := listLine(&flow.List{Name: "101"}, flow.Line{}, 0, "permit udp any any"); got != "access-list 101 permit udp any any" {
		t.Error(got)
	}
}
