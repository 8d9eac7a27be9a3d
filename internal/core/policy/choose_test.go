package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/suite"
)

func aes(bits int, h suite.Hash, g suite.Group) ISAKMP {
	return ISAKMP{Cipher: suite.AESCBC, KeyBits: bits, Hash: h, Auth: suite.PSK, Group: g}
}

// The comparison names the first attribute that differs, in a router's order,
// and never the lifetime.
func TestISAKMPMismatch(t *testing.T) {
	own := aes(256, suite.SHA256, 14)
	for _, tt := range []struct {
		offer ISAKMP
		want  string
	}{
		{own, ""},
		{ISAKMP{Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.MD5, Auth: suite.RSASig, Group: 2}, "encryption"},
		{aes(128, suite.SHA1, 2), "key length"},
		{aes(256, suite.SHA1, 2), "hash"},
		{ISAKMP{Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.RSASig, Group: 2}, "authentication"},
		{aes(256, suite.SHA256, 2), "group"},
		{ISAKMP{}, "encryption"},
	} {
		if got := own.Mismatch(tt.offer); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.offer, got, tt.want)
		}
	}
	longer := own
	longer.Lifetime = 24 * time.Hour
	if got := own.Mismatch(longer); got != "" {
		t.Errorf("the lifetime refuses: %q", got)
	}
}

// The responder compares each offer, in the initiator's order, with each of its
// policies until one is the same on both.
func TestChooseISAKMP(t *testing.T) {
	p1, p2, p3 := aes(256, suite.SHA512, 20), aes(256, suite.SHA256, 19), aes(128, suite.SHA1, 14)
	for _, tt := range []struct {
		name        string
		offers, own []ISAKMP
		offer, mine int
		ok          bool
		checks      int
	}{
		{"the first", []ISAKMP{p1, p2}, []ISAKMP{p1, p2}, 0, 0, true, 1},
		{"the initiator's order", []ISAKMP{p2, p1}, []ISAKMP{p1, p2}, 0, 1, true, 2},
		{"the last of all", []ISAKMP{p1, p3}, []ISAKMP{p2, p3}, 1, 1, true, 4},
		{"none", []ISAKMP{p1, p2}, []ISAKMP{p3}, 0, 0, false, 2},
		{"no offer", nil, []ISAKMP{p3}, 0, 0, false, 0},
		{"no policy", []ISAKMP{p1}, nil, 0, 0, false, 0},
	} {
		checks := 0
		i, j, ok := ChooseISAKMP(tt.offers, tt.own, func(int, int, string) { checks++ })
		if i != tt.offer || j != tt.mine || ok != tt.ok || checks != tt.checks {
			t.Errorf("%s: %d, %d, %t after %d comparisons", tt.name, i, j, ok, checks)
		}
	}
}

// Legacy algorithms wait behind the compliance shield; what is not built is
// never offered.
func TestUsable(t *testing.T) {
	s := &Settings{Policies: []ISAKMP{
		{Priority: 1, Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.SHA1, Auth: suite.PSK, Group: 14},
		{Priority: 2, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.MD5, Auth: suite.PSK, Group: 14},
		{Priority: 3, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA1, Auth: suite.PSK, Group: 2},
		{Priority: 4, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA256, Auth: suite.RSAEncr, Group: 14},
		{Priority: 5, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA256, Auth: suite.PSK, Group: 99},
		{Priority: 6, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA256, Auth: suite.PSK, Group: 14},
	}}
	numbers := func() (out []int) {
		for _, p := range s.Usable() {
			out = append(out, p.Priority)
		}
		return out
	}
	if got := fmt.Sprint(numbers()); got != "[6]" {
		t.Errorf("behind the shield: %s", got)
	}
	s.Legacy = true
	if got := fmt.Sprint(numbers()); got != "[1 2 3 6]" {
		t.Errorf("without the shield: %s", got)
	}
}

// What lacks integrity is never offered, nor a combined mode with an HMAC
// beside it; AH around it gives integrity too. Extended sequence numbers need
// the anti-replay window.
func TestUsableSets(t *testing.T) {
	e := &Entry{Sets: []TransformSet{
		{Name: "EMPTY"},
		{Name: "HMACONLY", Integ: suite.SHA256},
		{Name: "NOINTEG", Cipher: suite.AESCBC, KeyBits: 128},
		{Name: "NULLNULL", Cipher: suite.NullCipher},
		{Name: "AHNULLNULL", Cipher: suite.NullCipher, AH: suite.SHA256},
		{Name: "TWICE", Cipher: suite.AESGCM, KeyBits: 128, Integ: suite.SHA256},
		{Name: "OLD", Cipher: suite.TripleDES, KeyBits: 192, Integ: suite.SHA1},
		{Name: "OLDAH", AH: suite.MD5, Cipher: suite.AESCBC, KeyBits: 128},
		{Name: "AH", AH: suite.SHA256},
		{Name: "AHENCR", AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128},
		{Name: "BUNDLE", AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256},
		{Name: "TRANSPORT", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256, Mode: suite.Transport},
		{Name: "NULL", Cipher: suite.NullCipher, Integ: suite.SHA256},
		{Name: "ESN", Cipher: suite.AESGCM, KeyBits: 256, ESN: true},
		{Name: "GCM", Cipher: suite.AESGCM, KeyBits: 256},
		{Name: "CBC", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256},
	}}
	names := func(s *Settings, window int) string {
		e.ReplayWindow = window
		var out []string
		for _, t := range s.UsableSets(e) {
			out = append(out, t.Name)
		}
		return fmt.Sprint(out)
	}
	for _, tt := range []struct {
		legacy bool
		window int
		want   string
	}{
		{false, 64, "[AH AHENCR BUNDLE TRANSPORT NULL ESN GCM CBC]"},
		{false, 0, "[AH AHENCR BUNDLE TRANSPORT NULL GCM CBC]"},
		{true, 64, "[OLD OLDAH AH AHENCR BUNDLE TRANSPORT NULL ESN GCM CBC]"},
	} {
		if got := names(&Settings{Legacy: tt.legacy}, tt.window); got != tt.want {
			t.Errorf("legacy %t, window %d: %s, want %s", tt.legacy, tt.window, got, tt.want)
		}
	}
}

func TestTransformSetMismatch(t *testing.T) {
	own := TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}
	for _, tt := range []struct {
		offer TransformSet
		want  string
	}{
		{own, ""},
		{TransformSet{AH: suite.SHA256}, "protocol"},
		{TransformSet{Cipher: suite.AESGCM, KeyBits: 256}, "encryption"},
		{TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}, "key length"},
		{TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA1}, "integrity"},
		{TransformSet{Cipher: suite.AESCBC, KeyBits: 256}, "integrity"},
		{TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256, Mode: suite.Transport}, "mode"},
		{TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256, ESN: true}, "extended sequence numbers"},
		{TransformSet{AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}, "protocol"},
	} {
		if got := own.Mismatch(tt.offer); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.offer, got, tt.want)
		}
	}
}

func TestPFSAllows(t *testing.T) {
	s := &Settings{}
	for _, tt := range []struct {
		own, offered suite.Group
		want         bool
	}{
		{0, 0, true}, {0, 14, true}, {0, 24, true}, {0, 2, false}, {0, 1025, false},
		{14, 14, true}, {14, 0, false}, {14, 19, false},
	} {
		if got := s.PFSAllows(tt.own, tt.offered); got != tt.want {
			t.Errorf("set pfs %s, offered %s: %t", tt.own, tt.offered, got)
		}
	}
	s.Legacy = true
	if !s.PFSAllows(0, 2) {
		t.Error("group 2 without the shield is refused")
	}
}

// The shorter of two limits wins, and zero is no limit.
func TestShorter(t *testing.T) {
	const h = time.Hour
	for _, tt := range []struct{ a, b, want Lifetime }{
		{Lifetime{h, 100}, Lifetime{2 * h, 50}, Lifetime{h, 50}},
		{Lifetime{2 * h, 50}, Lifetime{h, 100}, Lifetime{h, 50}},
		{Lifetime{h, 0}, Lifetime{0, 50}, Lifetime{h, 50}},
		{Lifetime{0, 50}, Lifetime{h, 0}, Lifetime{h, 50}},
		{Lifetime{}, Lifetime{}, Lifetime{}},
	} {
		if got := tt.a.Shorter(tt.b); got != tt.want {
			t.Errorf("%v and %v: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

var (
	here  = netip.MustParseAddr("198.51.100.1")
	there = netip.MustParseAddr("198.51.100.2")
)

func line(seq int, from, to string) flow.Line {
	return flow.Line{Seq: seq, Action: flow.Permit, Src: flow.PrefixMatch(netip.MustParsePrefix(from)), Dst: flow.PrefixMatch(netip.MustParsePrefix(to)), ICMPType: -1, ICMPCode: -1}
}

func selectors(local, remote string) flow.Selectors {
	return flow.Selectors{Local: netip.MustParsePrefix(local), Remote: netip.MustParsePrefix(remote)}
}

func anybody(*Entry) bool { return true }

// A responder finds the equal line first, else the first that holds what was
// offered; never one that holds less, never one of another peer or address.
func TestFlowFor(t *testing.T) {
	s := &Settings{Entries: []Entry{
		{Map: "M", Seq: 5, Local: here, Peers: []netip.Addr{netip.MustParseAddr("203.0.113.9")}, ACL: &flow.List{Lines: []flow.Line{line(10, "10.1.0.0/24", "10.2.0.0/24")}}},
		{Map: "M", Seq: 10, Local: here, Peers: []netip.Addr{there}, ACL: &flow.List{Lines: []flow.Line{
			line(10, "10.1.0.0/16", "10.2.0.0/16"), line(20, "10.1.0.0/24", "10.2.0.0/24"), {Seq: 30, Action: flow.Deny}, {Seq: 40, Remark: "no"},
		}}},
		{Map: "M", Seq: 20, Local: here, Peers: []netip.Addr{netip.MustParseAddr("203.0.113.8"), there}, ACL: &flow.List{Lines: []flow.Line{line(10, "10.9.0.0/24", "10.2.0.0/24")}}},
	}}
	for _, tt := range []struct {
		name          string
		local, remote string
		want          string
	}{
		{"equal, though a wider line comes first", "10.1.0.0/24", "10.2.0.0/24", "M 10, line 20"},
		{"equal to the wide one", "10.1.0.0/16", "10.2.0.0/16", "M 10, line 10"},
		{"a subset", "10.1.7.0/24", "10.2.0.0/25", "M 10, line 10"},
		{"a host", "10.1.0.1/32", "10.2.0.1/32", "M 10, line 10"},
		{"of the second peer of an entry", "10.9.0.0/24", "10.2.0.0/24", "M 20, line 10"},
		{"a superset", "10.0.0.0/8", "10.2.0.0/16", ""},
		{"a superset on one side", "10.1.0.0/16", "10.0.0.0/8", ""},
		{"the wrong way round", "10.2.0.0/16", "10.1.0.0/16", ""},
		{"something else", "172.16.0.0/24", "10.2.0.0/24", ""},
	} {
		f, ok := s.FlowFor(here, there, selectors(tt.local, tt.remote), anybody)
		if ok != (tt.want != "") || ok && f.ID.String() != tt.want {
			t.Errorf("%s: %v, %t, want %q", tt.name, f.ID, ok, tt.want)
		}
	}
	if _, ok := s.FlowFor(there, here, selectors("10.1.0.0/24", "10.2.0.0/24"), anybody); ok {
		t.Error("found at another local address")
	}
	if !s.HasPeer(here, there) || s.HasPeer(there, here) || s.HasPeer(here, netip.MustParseAddr("192.0.2.1")) {
		t.Error("HasPeer")
	}
	if got := len(s.Flows()); got != 4 {
		t.Errorf("%d flows, want the four permits", got)
	}
	if _, ok := s.Flow(FlowID{"M", 10, 30}); ok {
		t.Error("a deny is a flow")
	}
	if f, ok := s.Flow(FlowID{"M", 20, 10}); !ok || f.Entry.Seq != 20 {
		t.Error("a flow is not found by its name")
	}
}

// The key with the longest prefix serves.
func TestKeyFor(t *testing.T) {
	key := func(p, words string) Key {
		return Key{Peers: netip.MustParsePrefix(p), Secret: crypt.NewSecret([]byte(words))}
	}
	s := &Settings{Keys: []Key{key("0.0.0.0/0", "anybody"), key("198.51.100.2/32", "one"), key("198.51.100.0/24", "net")}}
	for addr, want := range map[string]string{"198.51.100.2": "one", "198.51.100.3": "net", "203.0.113.1": "anybody"} {
		k, ok := s.KeyFor(netip.MustParseAddr(addr))
		if !ok || !k.Secret.Equal(crypt.NewSecret([]byte(want))) {
			t.Errorf("%s has another key than %q", addr, want)
		}
	}
	if _, ok := s.KeyFor(netip.MustParseAddr("2001:db8::1")); ok {
		t.Error("an IPv4 wildcard serves an IPv6 peer")
	}
}

// A dynamic entry takes whatever peer comes to its address; its access list, when
// it has one, says what the peer may ask for. It is never found as a static one.
func TestDynamicFor(t *testing.T) {
	s := &Settings{Entries: []Entry{
		{Map: "M", Seq: 10, Local: here, Peers: []netip.Addr{there}, ACL: &flow.List{Lines: []flow.Line{line(10, "10.1.0.0/16", "10.2.0.0/16")}}},
		{Map: "M", Seq: 20, Local: here, Dynamic: true, ACL: &flow.List{Lines: []flow.Line{line(10, "10.1.0.0/16", "10.3.0.0/16"), line(20, "10.1.0.0/16", "10.4.0.0/16")}}},
		{Map: "M", Seq: 30, Local: here, Dynamic: true, PerHost: true},
	}}
	stranger := netip.MustParseAddr("203.0.113.77")
	for name, look := range map[string]func(){"scanned": func() {}, "indexed": s.Index} {
		look()
		if !s.HasPeer(here, stranger) || s.HasPeer(there, stranger) {
			t.Errorf("%s: HasPeer", name)
		}
		if _, ok := s.FlowFor(here, stranger, selectors("10.1.0.0/24", "10.3.0.0/24"), anybody); ok {
			t.Errorf("%s: a dynamic entry is found as a static one", name)
		}
		for _, tt := range []struct {
			local, remote string
			may           func(*Entry) bool
			want          string
		}{
			{"10.1.0.0/24", "10.4.7.0/24", anybody, "M 20, line 20"},
			{"10.1.0.0/24", "10.5.0.0/16", anybody, "M 30, line 0"},
			{"10.1.0.0/24", "10.4.7.0/24", func(e *Entry) bool { return e.PerHost }, "M 30, line 0"},
			{"10.1.0.0/24", "10.5.0.0/16", func(e *Entry) bool { return !e.PerHost }, ""},
		} {
			f, ok := s.DynamicFor(here, selectors(tt.local, tt.remote), tt.may)
			if ok != (tt.want != "") || ok && (f.ID.String() != tt.want || f.Selectors != selectors(tt.local, tt.remote)) {
				t.Errorf("%s: %s <-> %s: %v %t, want %q", name, tt.local, tt.remote, f.ID, ok, tt.want)
			}
		}
		if _, ok := s.DynamicFor(there, selectors("10.1.0.0/24", "10.5.0.0/16"), anybody); ok {
			t.Errorf("%s: found at another local address", name)
		}
	}
}
