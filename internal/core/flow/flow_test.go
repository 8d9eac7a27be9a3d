package flow

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func wild(a, w string) Match { return Match{addr(a), addr(w)} }

// An IOS wildcard compares where it has zero bits, holes and all.
func TestMatchContains(t *testing.T) {
	for _, tt := range []struct {
		m    Match
		a    string
		want bool
	}{
		{Match{}, "203.0.113.9", true},
		{HostMatch(addr("10.1.1.1")), "10.1.1.1", true},
		{HostMatch(addr("10.1.1.1")), "10.1.1.2", false},
		{wild("10.10.10.0", "0.0.0.255"), "10.10.10.77", true},
		{wild("10.10.10.0", "0.0.0.255"), "10.10.11.77", false},
		{wild("10.0.5.0", "0.255.0.255"), "10.99.5.1", true},
		{wild("10.0.5.0", "0.255.0.255"), "10.99.6.1", false},
		{wild("10.0.5.0", "0.255.0.255"), "2001:db8::1", false},
	} {
		if got := tt.m.Contains(addr(tt.a)); got != tt.want {
			t.Errorf("%s contains %s: %t", tt.m, tt.a, got)
		}
	}
}

// A wildcard without holes is a prefix, and back.
func TestMatchPrefix(t *testing.T) {
	for _, s := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.10.10.0/24", "10.1.1.1/32", "128.0.0.0/1"} {
		m := PrefixMatch(prefix(s))
		if got, ok := m.Prefix(); !ok || got != prefix(s) {
			t.Errorf("%s becomes %s and then %s", s, m, got)
		}
	}
	if got, ok := wild("10.10.10.99", "0.0.0.255").Prefix(); !ok || got != prefix("10.10.10.0/24") {
		t.Errorf("host bits stay: %s", got)
	}
	if _, ok := wild("10.0.5.0", "0.255.0.255").Prefix(); ok {
		t.Error("a wildcard with holes is a prefix")
	}
	for bits, want := range map[int]string{0: "0.0.0.0", 1: "128.0.0.0", 24: "255.255.255.0", 32: "255.255.255.255"} {
		if got := Netmask(bits).String(); got != want {
			t.Errorf("/%d is %s, want %s", bits, got, want)
		}
	}
}

// A condition as ranges means what the condition means, for every port.
func TestPortRanges(t *testing.T) {
	for _, p := range []PortMatch{
		{}, {Eq, []uint16{500}}, {Eq, []uint16{80, 443, 8080}}, {Neq, []uint16{0}}, {Neq, []uint16{500}}, {Neq, []uint16{65535, 1}},
		{Gt, []uint16{1023}}, {Gt, []uint16{65535}}, {Lt, []uint16{1024}}, {Lt, []uint16{0}}, {Range, []uint16{100, 200}},
	} {
		ranges := p.Ranges()
		for n := range 65536 {
			in := false
			for _, r := range ranges {
				in = in || (r == AnyPort && p.Op == Any) || r.Lo <= uint16(n) && uint16(n) <= r.Hi
			}
			if in != p.Contains(uint16(n)) {
				t.Fatalf("%s: port %d: ranges %v say %t", p, n, ranges, in)
			}
		}
	}
}

func selectors(local, remote string) Selectors {
	return Selectors{Local: prefix(local), Remote: prefix(remote)}
}

// "A responder accepts a proxy pair equal to or inside one of its permits."
func TestSelectorsCover(t *testing.T) {
	wide := selectors("10.0.0.0/8", "192.168.0.0/16")
	tcp := wide
	tcp.Proto, tcp.RemotePorts = TCP, Ports{Lo: 80, Hi: 90}
	for _, tt := range []struct {
		name string
		s, o Selectors
		want bool
	}{
		{"equal", wide, wide, true},
		{"a subset of both sides", wide, selectors("10.1.0.0/16", "192.168.7.0/24"), true},
		{"wider on one side", wide, selectors("10.1.0.0/16", "192.0.0.0/8"), false},
		{"the mirror image", wide, wide.Mirror(), false},
		{"one protocol inside all", wide, tcp, true},
		{"all protocols inside one", tcp, wide, false},
		{"any port inside a range", tcp, Selectors{wide.Local, wide.Remote, TCP, AnyPort, AnyPort}, false},
		{"one port inside a range", tcp, Selectors{wide.Local, wide.Remote, TCP, AnyPort, Ports{85, 85}}, true},
		{"a port beyond the range", tcp, Selectors{wide.Local, wide.Remote, TCP, AnyPort, Ports{85, 91}}, false},
		{"another protocol", tcp, Selectors{wide.Local, wide.Remote, UDP, AnyPort, Ports{85, 85}}, false},
	} {
		if got := tt.s.Covers(tt.o); got != tt.want {
			t.Errorf("%s: %s covers %s: %t", tt.name, tt.s, tt.o, got)
		}
	}
}

// RFC 4301 5.2: a packet is traffic of the SA or it is not, either way round.
func TestSelectorsMatch(t *testing.T) {
	s := Selectors{Local: prefix("10.10.10.0/24"), Remote: prefix("10.20.20.0/24"), Proto: TCP, RemotePorts: Ports{80, 80}}
	out := Tuple{Src: addr("10.10.10.5"), Dst: addr("10.20.20.6"), Proto: TCP, SrcPort: 40000, DstPort: 80}
	if !s.MatchOut(out) || !s.MatchIn(out.Reverse()) || s.MatchIn(out) || s.MatchOut(out.Reverse()) {
		t.Error("direction is not kept apart")
	}
	for name, change := range map[string]func(*Tuple){
		"another source":                        func(t *Tuple) { t.Src = addr("10.10.11.5") },
		"another destination":                   func(t *Tuple) { t.Dst = addr("10.20.21.6") },
		"another protocol":                      func(t *Tuple) { t.Proto = UDP },
		"another port":                          func(t *Tuple) { t.DstPort = 81 },
		"a fragment, whose port cannot be seen": func(t *Tuple) { t.Fragment = true },
	} {
		x := out
		change(&x)
		if s.MatchOut(x) {
			t.Errorf("%s: %s is traffic of %s", name, x, s)
		}
	}
}

// The mirror image of a mirror image is the line itself, and a packet matches
// one exactly when its answer matches the other.
func TestMirror(t *testing.T) {
	l := Line{Seq: 10, Action: Permit, Proto: TCP, Src: wild("10.10.10.0", "0.0.0.255"), SrcPort: PortMatch{Gt, []uint16{1023}},
		Dst: HostMatch(addr("10.20.20.20")), DstPort: PortMatch{Eq, []uint16{22}}, ICMPType: -1, ICMPCode: -1}
	m := l.Mirror()
	if want := "permit tcp host 10.20.20.20 eq 22 10.10.10.0 0.0.0.255 gt 1023"; m.Condition() != want {
		t.Errorf("mirror: %s, want %s", m.Condition(), want)
	}
	back := m.Mirror()
	if back.Condition() != l.Condition() {
		t.Errorf("twice mirrored: %s, want %s", back.Condition(), l.Condition())
	}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) netip.Addr { return addr(s[r.IntN(len(s))]) }
	for range 2000 {
		x := Tuple{Src: pick("10.10.10.1", "10.10.11.1", "10.20.20.20"), Dst: pick("10.20.20.20", "10.20.20.21", "10.10.10.1"),
			Proto: []uint8{TCP, UDP}[r.IntN(2)], SrcPort: uint16(r.IntN(2048)), DstPort: []uint16{22, 23}[r.IntN(2)]}
		if l.Matches(x) != m.Matches(x.Reverse()) {
			t.Fatalf("%s: %t, its answer: %t", x, l.Matches(x), m.Matches(x.Reverse()))
		}
	}
	a, ok1 := l.Selectors()
	b, ok2 := m.Selectors()
	if !ok1 || !ok2 || a.Mirror() != b {
		t.Errorf("selectors %s and %s are no mirror images", a, b)
	}
}

// The first line that matches decides; remarks never do.
func TestListFirstMatchWins(t *testing.T) {
	list := List{Name: "102", Lines: []Line{
		{Seq: 10, Remark: "servers"},
		{Seq: 20, Action: Deny, Proto: AnyProto, Src: HostMatch(addr("10.10.10.9"))},
		{Seq: 30, Action: Permit, Src: wild("10.10.10.0", "0.0.0.255")},
	}}
	for src, want := range map[string]int{"10.10.10.9": 20, "10.10.10.8": 30, "10.10.11.8": 0} {
		l := list.Match(Tuple{Src: addr(src), Dst: addr("192.0.2.1"), Proto: UDP})
		if (l == nil) != (want == 0) || l != nil && l.Seq != want {
			t.Errorf("%s: line %+v, want %d", src, l, want)
		}
	}
}

// What a pair of proxy identities cannot carry has no selectors.
func TestLinesWithoutSelectors(t *testing.T) {
	ok := Line{Action: Permit, Src: wild("10.0.0.0", "0.0.0.255"), ICMPType: -1, ICMPCode: -1}
	if _, fits := ok.Selectors(); !fits {
		t.Fatal("a plain line has no selectors")
	}
	for name, change := range map[string]func(*Line){
		"a remark":              func(l *Line) { l.Remark = "x" },
		"a deny":                func(l *Line) { l.Action = Deny },
		"a wildcard with holes": func(l *Line) { l.Src = wild("10.0.5.0", "0.255.0.255") },
		"two ports":             func(l *Line) { l.Proto, l.DstPort = TCP, PortMatch{Eq, []uint16{80, 443}} },
		"all ports but one":     func(l *Line) { l.Proto, l.DstPort = TCP, PortMatch{Neq, []uint16{80}} },
		"established":           func(l *Line) { l.Proto, l.Established = TCP, true },
		"fragments":             func(l *Line) { l.Fragments = true },
	} {
		l := ok
		change(&l)
		if s, fits := l.Selectors(); fits {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// Names are looked up both ways.
func TestNames(t *testing.T) {
	for word, n := range map[string]uint8{"ip": AnyProto, "icmp": ICMP, "tcp": TCP, "udp": UDP, "gre": GRE, "esp": ESP, "ahp": AH} {
		if got, ok := ProtoOf(word); !ok || got != n || ProtoName(n) != word {
			t.Errorf("%s is %d, %d is %s", word, got, n, ProtoName(n))
		}
	}
	for proto, ports := range map[uint8]map[string]uint16{UDP: PortNames(UDP), TCP: PortNames(TCP)} {
		seen := map[uint16]string{}
		for word, n := range ports {
			if got, ok := PortOf(proto, word); !ok || got != n {
				t.Errorf("%s: %d, want %d", word, got, n)
			}
			if PortName(proto, n) != word {
				t.Errorf("%d prints as %s and is read from %s", n, PortName(proto, n), word)
			}
			if other, taken := seen[n]; taken {
				t.Errorf("%s and %s are both %d", word, other, n)
			}
			seen[n] = word
		}
	}
	if PortName(UDP, 500) != "isakmp" || PortName(UDP, 4500) != "non500-isakmp" || PortName(TCP, 443) != "443" {
		t.Error("IOS's names are not used")
	}
}
