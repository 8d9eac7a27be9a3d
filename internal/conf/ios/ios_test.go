package ios

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// execTree is a small exec grammar, as a prompt has it.
func execTree(t testing.TB) *Tree {
	t.Helper()
	tree, err := New(map[string]string{"show": "Show running system information", "<id>": "Connection id of SA", "crypto": "Encryption module"},
		Mode{Name: "exec", Commands: []Command{
			{Name: "show-isakmp-sa", Syntax: "show crypto isakmp sa [ detail | count ]", Help: "Show ISAKMP Security Associations"},
			{Name: "show-isakmp-policy", Syntax: "show crypto isakmp policy", Help: "Show ISAKMP protection suite policy"},
			{Name: "show-ipsec-sa", Syntax: "show crypto ipsec sa [ { peer <peer:A.B.C.D> | map <map:WORD> | interface <if:INTERFACE> } ] [ detail ]"},
			{Name: "show-lists", Syntax: "show access-lists [ <list:WORD> ]"},
			{Name: "clear-isakmp", Syntax: "clear crypto isakmp [ <id:1-4294967295> ]"},
			{Name: "debug", Syntax: "debug crypto <what:isakmp|ipsec|engine>"},
			{Name: "undebug", Syntax: "no debug crypto <what:isakmp|ipsec|engine>"},
		}},
		Mode{Name: "config", Negatable: true, Commands: []Command{
			{Name: "key", Syntax: "crypto isakmp key [ 0 | 6 ] <key:SECRET> { address <peer:A.B.C.D> | hostname <host:WORD> }"},
			{Name: "policy", Syntax: "crypto isakmp policy <priority:1-10000>", Opens: "isakmp"},
			{Name: "map", Syntax: "crypto map <name:WORD> { <seq:1-65535> ipsec-isakmp | local-address <if:INTERFACE> }"},
			{Name: "sets", Syntax: "set transform-set / <set:WORD>..."},
			{Name: "transform", Syntax: "transform { <t:esp-aes|esp-sha-hmac|esp-sha256-hmac> [ <bits:128|192|256> ] }..."},
			{Name: "route", Syntax: "route <net:A.B.C.D> <mask:NETMASK> / <hop:A.B.C.D> [ tag <tag:1-9> | permanent ]..."},
			{Name: "description", Syntax: "description / <text:LINE>"},
			{Name: "group", Syntax: "group <group:1|2|14|15>"},
		}})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// An exec prompt reads a line, switches on the command's name and looks at
// its words: this is how show, clear and debug are built on the tree.
func ExampleTree_Match() {
	tree := Must(New(nil, Mode{Name: "exec", Commands: []Command{
		{Name: "show-sa", Syntax: "show crypto isakmp sa [ detail ]"},
		{Name: "clear", Syntax: "clear crypto isakmp [ <id:1-4294967295> ]"},
	}}))
	for _, line := range []string{"sh cry isa sa det", "clear crypto isakmp 1001", "show crypt isakmp", "show crypto map"} {
		m, err := tree.Match("exec", line)
		var e *SyntaxError
		if errors.As(err, &e) {
			fmt.Printf("R1#%s\n%s\n", line, e.Terminal(len("R1#")))
			continue
		}
		switch id, one := m.Number("id"); {
		case m.Command.Name == "show-sa":
			fmt.Println(m.Canonical(), "detail:", m.Has("detail"))
		case one:
			fmt.Println("clear the SA", id)
		}
	}
	choices, _ := tree.Help("exec", "clear crypto isakmp ")
	fmt.Println(choices, tree.Complete("exec", "cl"))
	// Output:
	// show crypto isakmp sa detail detail: true
	// clear the SA 1001
	// R1#show crypt isakmp
	// % Incomplete command.
	// R1#show crypto map
	//                ^
	// % Invalid input detected at '^' marker.
	// [{<1-4294967295> } {<cr> }] clear
}

// matchCases are lines and what they mean: the command, or the command and its
// canonical form, or the column and the error.
func matchCases() []struct{ mode, line, want string } {
	return []struct{ mode, line, want string }{
		{"exec", "show crypto isakmp sa", "show-isakmp-sa"},
		{"exec", "SH\tCry  ISA sa c", "show-isakmp-sa: show crypto isakmp sa count"},
		{"exec", "sh cr ip sa int g0/1 det", "show-ipsec-sa: show crypto ipsec sa interface GigabitEthernet0/1 detail"},
		{"exec", "sh cr ip sa int gig 0/1 d", "show-ipsec-sa: show crypto ipsec sa interface GigabitEthernet0/1 detail"},
		{"exec", "sh cr ip sa map CamelCase", "show-ipsec-sa: show crypto ipsec sa map CamelCase"},
		{"exec", "clear crypto isakmp 1001", "clear-isakmp: clear crypto isakmp 1001"},
		{"exec", "no debug crypto isa", "undebug: no debug crypto isakmp"},
		// Abbreviations that fit several words, and words that fit none.
		{"exec", "sh cr i sa", `7: word "i": ambiguous, it may be isakmp or ipsec`},
		{"exec", "sh cr is", `9: the line ends here: expected sa or policy`},
		{"exec", "sh cr is sa full", `13: word "full": expected detail, count or the end of the line`},
		{"exec", "shw crypto", `1: word "shw": expected show, clear, debug or no`},
		{"exec", "shov crypto", `1: word "shov": expected show, clear, debug or no (did you mean "show"?)`},
		{"exec", "clear crypto isakmp 0", `21: word "0": expected <1-4294967295> or the end of the line`},
		{"exec", "clear crypto isakmp +1", `21: word "+1": expected <1-4294967295> or the end of the line`},
		{"exec", "", `1: the line ends here: expected show, clear, debug or no`},
		{"exec", "debug crypto e !all", "debug: debug crypto engine"},
		// Keys: any characters, in full case, whatever keyword they look like.
		{"config", "crypto isakmp key 0 pa!ss addr 1.2.3.4", "key: crypto isakmp key 0 pa!ss address 1.2.3.4"},
		{"config", "crypto isakmp key !mark address 1.2.3.4 !comment", "key: crypto isakmp key !mark address 1.2.3.4"},
		{"config", "crypto isakmp key address address 1.2.3.4", "key: crypto isakmp key address address 1.2.3.4"},
		{"config", "crypto isakmp key 0 address 1.2.3.4", "key: crypto isakmp key 0 address 1.2.3.4"},
		{"config", "crypto isakmp key 0 hostname hostname", "key: crypto isakmp key 0 hostname hostname"},
		{"config", "crypto isakmp key two words address 1.2.3.4", `23: expected address or hostname here, behind the key (a key has no blanks)`},
		{"config", "crypto isakmp key a address 1.2.3.400", `29: word "1.2.3.400": expected an IPv4 address`},
		// Digits are never an abbreviation.
		{"config", "group 1", "group: group 1"},
		{"config", "group 3", `7: word "3": expected 1, 2, 14 or 15`},
		{"config", "transform esp-aes 2", `19: word "2": expected 128, 192, 256, esp-aes, esp-sha-hmac, esp-sha256-hmac or the end of the line`},
		{"config", "transform esp-a 256 esp-sha256", "transform: transform esp-aes 256 esp-sha256-hmac"},
		{"config", "transform esp-sha", `11: word "esp-sha": ambiguous, it may be esp-sha-hmac or esp-sha256-hmac`},
		// no and default.
		{"config", "no set transform-set", "sets: no set transform-set"},
		{"config", "set transform-set", `18: the line ends here: expected a name`},
		{"config", "def desc", "description: default description"},
		{"config", "no route 10.0.0.0 255.0.0.0", "route: no route 10.0.0.0 255.0.0.0"},
		{"config", "no", `3: the line ends here: expected crypto, set, transform, route, description or group`},
		// Free text keeps its blanks and its marks; repetitions and lists.
		{"config", "desc  two  blanks !and a mark ", "description: description two  blanks !and a mark"},
		{"config", "set tr A B C !not D", "sets: set transform-set A B C"},
		{"config", "route 10.0.0.0 255.0.0.0 1.1.1.1 perm tag 3", "route: route 10.0.0.0 255.0.0.0 1.1.1.1 permanent tag 3"},
		{"config", "route 10.0.0.0 0.0.0.255 1.1.1.1", `16: word "0.0.0.255": expected a netmask such as 255.255.255.0`},
		{"config", "crypto map M local Lo0", "map: crypto map M local-address Loopback0"},
		{"nowhere", "x", `1: word "": expected a mode of this tree, not "nowhere"`},
	}
}

func TestMatch(t *testing.T) {
	tree := execTree(t)
	for _, c := range matchCases() {
		m, err := tree.Match(c.mode, c.line)
		got := ""
		var e *SyntaxError
		switch {
		case errors.As(err, &e):
			got = fmt.Sprintf("%d: %s", e.Column, e)
		case strings.Contains(c.want, ":"):
			got = m.Command.Name + ": " + m.Canonical()
		default:
			got = m.Command.Name
		}
		if got != c.want && !(c.mode == "nowhere" && err != nil) {
			t.Errorf("%s %q:\n got %s\nwant %s", c.mode, c.line, got, c.want)
		}
	}
}

// Every word knows its place, so that an explanation can point at it.
func TestPositions(t *testing.T) {
	m, err := execTree(t).Match("config", "  no crypto  isakmp key 6 s3cret address 1.2.3.4 ! why")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, w := range m.Words {
		got += fmt.Sprintf("%d:%s:%s:%v ", w.Column, w.Value, w.Arg, w.Secret)
	}
	want := "6:crypto::false 14:isakmp::false 21:key::false 25:6::false 27:s3cret:key:true 34:address::false 42:1.2.3.4:peer:false "
	if got != want || !m.No || m.Default || m.Comment != 50 {
		t.Errorf("got  %s no %v comment %d\nwant %s", got, m.No, m.Comment, want)
	}
	if k, _ := m.Arg("key"); k.Text != "s3cret" || m.Value("peer") != "1.2.3.4" || m.Value("host") != "" {
		t.Errorf("arguments: %v", m.Words)
	}
	if _, ok := m.Number("peer"); ok {
		t.Error("an address is read as a number")
	}
}

// IOS's own words, for a terminal: the mark stands under the faulty word.
func TestTerminal(t *testing.T) {
	tree := execTree(t)
	for line, want := range map[string]string{
		"show crypto foo":  "               ^\n% Invalid input detected at '^' marker.",
		"sh crypto i sa":   `% Ambiguous command:  "sh crypto i sa"`,
		"show crypto ":     "% Incomplete command.",
		"show crypto ip x": "                  ^\n% Invalid input detected at '^' marker.",
	} {
		_, err := tree.Match("exec", line)
		var e *SyntaxError
		if !errors.As(err, &e) {
			t.Fatalf("%q: %v", line, err)
		}
		if got := e.Terminal(len("R1#")); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", line, got, want)
		}
	}
}

func TestHelp(t *testing.T) {
	tree := execTree(t)
	for _, c := range []struct{ mode, line, want string }{
		{"exec", "", "show=Show running system information clear= debug= no="},
		{"exec", "sh", "show=Show running system information"},
		{"exec", "show ", "crypto=Encryption module access-lists="},
		{"exec", "show crypto isakmp ", "sa=Show ISAKMP Security Associations policy=Show ISAKMP protection suite policy"},
		{"exec", "show crypto isakmp sa ", "detail= count= <cr>="},
		{"exec", "show crypto isakmp sa d", "detail="},
		{"exec", "clear crypto isakmp ", "<1-4294967295>=Connection id of SA <cr>="},
		{"exec", "show access-lists ", "WORD= <cr>="},
		{"exec", "sh cr i ", `7: word "i": ambiguous, it may be isakmp or ipsec`},
		{"exec", "show x", `6: word "x": expected crypto or access-lists`},
		{"config", "d", "description= default=Set a command to its defaults"},
		{"config", "no set transform-set ", "WORD= <cr>="},
		{"config", "crypto isakmp key ", "0= 6= WORD="},
	} {
		choices, err := tree.Help(c.mode, c.line)
		var words []string
		for _, w := range choices {
			words = append(words, w.Word+"="+w.Help)
		}
		got := strings.Join(words, " ")
		var e *SyntaxError
		if errors.As(err, &e) {
			got = fmt.Sprintf("%d: %s", e.Column, e)
		}
		if got != c.want {
			t.Errorf("%s %q?\n got %s\nwant %s", c.mode, c.line, got, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	tree := execTree(t)
	for line, want := range map[string]string{
		"sh": "show ", "show cry": "show crypto ", "show crypto i": "show crypto i", "show ": "show ", "": "", "x": "x",
		"show crypto ipsec sa pe": "show crypto ipsec sa peer ", "clear crypto isakmp 1": "clear crypto isakmp 1",
	} {
		if got := tree.Complete("exec", line); got != want {
			t.Errorf("Complete(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestInterfaceName(t *testing.T) {
	for in, want := range map[string]string{
		"g0/1": "GigabitEthernet0/1", "Gi0/1": "GigabitEthernet0/1", "GIGABITETHERNET0/0/0": "GigabitEthernet0/0/0", "f0/0": "FastEthernet0/0",
		"e0": "Ethernet0", "te1/1": "TenGigabitEthernet1/1", "tu0": "Tunnel0", "lo10": "Loopback10", "vl1": "Vlan1", "po1": "Port-channel1",
		"port1": "Port-channel1", "g0/1.70": "GigabitEthernet0/1.70", "se0/0/0:15": "Serial0/0/0:15", "t0": "", "": "", "0/1": "", "g": "", "g0/": "",
		"g/1": "", "nve1": "nve1", "Dot11Radio0": "Dot11Radio0", "enp3s0": "enp3s0", "g0//1": "", "a b0": "", "null0": "Null0",
	} {
		got, ok := InterfaceName(in)
		if got != want || ok != (want != "") {
			t.Errorf("InterfaceName(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

// A faulty grammar is found when the tree is made, not when a line is read.
func TestFaultySyntax(t *testing.T) {
	for syntax, want := range map[string]string{
		"":                "the syntax is empty",
		"a [ b":           `"[" is not closed`,
		"a [ b }":         `"[" is closed by "}"`,
		"a b ]":           `"a b ]": "b"`,
		"a { b } }":       `"}" closes nothing`,
		"a <b>":           `is not <name:kinds>`,
		"a <b:FOO>":       `"FOO" is no kind`,
		"a <b:9-1>":       "",
		"a x:y":           `is no keyword`,
		"a { b | c }... ": "",
		"a { b }..":       `"}.." is not understood`,
	} {
		_, err := New(nil, Mode{Name: "m", Commands: []Command{{Name: "c", Syntax: syntax}}})
		if want == "" && err != nil || want != "" && err == nil {
			t.Errorf("%q: %v, want %q", syntax, err, want)
		} else if err != nil && !strings.Contains(err.Error(), want) && syntax != "a b ]" {
			t.Errorf("%q: %v, want %q", syntax, err, want)
		}
	}
	for _, modes := range [][]Mode{
		{{Name: "m"}, {Name: "m"}},
		{{Name: "m", Commands: []Command{{Name: "a", Syntax: "x y"}, {Name: "b", Syntax: "x y"}}}},
	} {
		if _, err := New(nil, modes...); err == nil {
			t.Errorf("%v is taken", modes)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Must takes an error")
		}
	}()
	Must(New(nil, Mode{Name: "m", Commands: []Command{{Syntax: "["}}}))
}

// All readings of a line are followed at once: a grammar that is ambiguous at
// every word costs no more than its states.
func TestMatchIsLinear(t *testing.T) {
	tree := Must(New(nil, Mode{Name: "m", Commands: []Command{{Name: "c", Syntax: "{ <a:WORD> | <b:WORD> | [ <c:WORD> ] <d:WORD> }... end"}}}))
	line := strings.Repeat("x ", 20000)
	start := time.Now()
	if _, err := tree.Match("m", line); err == nil {
		t.Fatal("the line lacks its end")
	}
	if m, err := tree.Match("m", line+"end"); err != nil || len(m.Words) != 20001 {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("two lines of 20,000 words took %s", d)
	}
}

func TestLines(t *testing.T) {
	text := "\ufeff! head\r\nR1#show run\r\n\r\nhostname R1\r\n\tencr aes \r\nR1(config-if)# ip address\nR1(config)#\n --More-- \b\b\b\b   crypto map\n" +
		"banner motd ^C one ^C\nbanner login #\n  crypto x\n end#\n certificate ca 01\n  3082 0394\n  \tquit\nkey-string\n 3081\nquit\n key-string 7 05\nR1>en\nno banner\nbanner exec x\nopen"
	var got []string
	for l := range Lines(text) {
		got = append(got, fmt.Sprintf("%d %d:%d %d %q %q", l.Kind, l.Number, l.Column, l.Indent, l.Prompt, l.Body))
	}
	want := []string{
		`0 1:1 0 "" "! head"`, `2 2:4 0 "" "show run"`, `0 3:1 0 "" ""`, `1 4:1 0 "" "hostname R1"`, `1 5:2 1 "" "encr aes"`,
		`1 6:16 0 "config-if" "ip address"`, `0 7:12 0 "config" ""`, `1 8:18 0 "" "crypto map"`, `1 9:1 0 "" "banner motd ^C one ^C"`,
		`1 10:1 0 "" "banner login #"`, `3 11:1 0 "" "  crypto x"`, `3 12:1 0 "" " end#"`, `1 13:2 1 "" "certificate ca 01"`,
		`3 14:1 0 "" "  3082 0394"`, `3 15:1 0 "" "  \tquit"`, `1 16:1 0 "" "key-string"`, `3 17:1 0 "" " 3081"`, `3 18:1 0 "" "quit"`,
		`1 19:2 1 "" "key-string 7 05"`, `2 20:4 0 "" "en"`, `1 21:1 0 "" "no banner"`, `1 22:1 0 "" "banner exec x"`, `3 23:1 0 "" "open"`,
		`4 22:1 0 "" "banner exec x"`,
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d:\n got %q\nwant %q", i, at(got, i), at(want, i))
		}
	}
	for range Lines(text) {
		break // an iteration may end early
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return ""
}

// Whatever is typed, the tree answers: a match whose canonical form matches
// too, or an error whose place is in the line.
func FuzzMatch(f *testing.F) {
	tree := execTree(f)
	for _, s := range []string{"sh cry isa sa det", "crypto isakmp key 0 !x address 1.2.3.4", "no set tr", "desc !a  b", "\x00", "route 1.1.1.1 255.0.0.0 1.1.1.1 tag 1", "sh cr ip sa int gig 0/1", "transform esp-aes 256 esp-sha256"} {
		f.Add("exec", s)
		f.Add("config", s)
	}
	f.Fuzz(func(t *testing.T, mode, line string) {
		m, err := tree.Match(mode, line)
		if _, herr := tree.Help(mode, line); herr != nil && herr.Error() == "" {
			t.Error("an error without words")
		}
		tree.Complete(mode, line)
		var e *SyntaxError
		switch {
		case errors.As(err, &e):
			if e.Column < 1 || e.Column > len(line)+1 || e.Error() == "" || e.Terminal(3) == "" {
				t.Errorf("%q: %+v", line, e)
			}
		case err != nil:
			t.Errorf("%q: %v is no SyntaxError", line, err)
		default:
			again, err := tree.Match(mode, m.Canonical())
			if err != nil || again.Command != m.Command || again.Canonical() != m.Canonical() {
				t.Errorf("%q: its canonical form %q does not match: %v", line, m.Canonical(), err)
			}
		}
	})
}

// The lines of a text, put together again, are the text.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"hostname R1\r\n", "banner motd ^C\nx\n^C\n", "certificate a\n00\nquit\n", "R1(config)#crypto\n", " --More-- \b\bx", "banner #", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var raw []string
		for l := range Lines(text) {
			if l.Kind == Unclosed {
				continue
			}
			raw = append(raw, l.Raw)
			if l.Kind != Verbatim && (l.Column < 1 || !strings.HasPrefix(l.Raw[min(l.Column-1, len(l.Raw)):], l.Body)) {
				t.Errorf("%q: the body %q is not at column %d", l.Raw, l.Body, l.Column)
			}
		}
		var want []string
		for l := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			want = append(want, strings.TrimRight(l, "\r\n"))
		}
		if !slices.Equal(raw, want) {
			t.Errorf("%q became %q", want, raw)
		}
	})
}
