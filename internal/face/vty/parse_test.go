package vty

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"culvert/internal/conf/ios"
)

// TestAbbreviations: any prefix that fits nothing else stands for its word.
func TestAbbreviations(t *testing.T) {
	for typed, want := range map[string]string{
		"sh cry isa sa":               "show crypto isakmp sa",
		"SH CRY ISA SA":               "show crypto isakmp sa",
		"sh cry isa sa det":           "show crypto isakmp sa detail",
		"sh cry isa sa c":             "show crypto isakmp sa count",
		"show cry isa pol":            "show crypto isakmp policy",
		"sh cry isa k":                "show crypto isakmp key",
		"sh cry isa pe":               "show crypto isakmp peers",
		"sh crypto ips sa":            "show crypto ipsec sa",
		"sh cry ips sa d":             "show crypto ipsec sa detail",
		"sh cry ips sa c":             "show crypto ipsec sa count",
		"sh cry ips sa p 192.0.2.1":   "show crypto ipsec sa peer 192.0.2.1",
		"sh cry ips sa p 192.0.2.1 d": "show crypto ipsec sa peer 192.0.2.1 detail",
		"sh cry ips tr":               "show crypto ipsec transform-set",
		"sh cry ips sec l":            "show crypto ipsec security-association lifetime",
		"sh cry ses":                  "show crypto session",
		"sh cry ses det":              "show crypto session detail",
		"sh cry m":                    "show crypto map",
		"sho acc":                     "show access-lists",
		"sho acc VPN-Traffic":         "show access-lists VPN-Traffic",
		"sh ip acc 101":               "show ip access-lists 101",
		"sh ver":                      "show version",
		"sh run":                      "show running-config",
		"cl cry sa":                   "clear crypto sa",
		"cl cry sa peer 198.51.100.2": "clear crypto sa peer 198.51.100.2",
		"cl cry sa cou":               "clear crypto sa counters",
		"cl cry isa":                  "clear crypto isakmp",
		"cl cry isa 1001":             "clear crypto isakmp 1001",
		"cl cry ses":                  "clear crypto session",
		"cl cry ses rem 198.51.100.2": "clear crypto session remote 198.51.100.2",
		"cle acc cou":                 "clear access-list counters",
		"cle acc cou 101":             "clear access-list counters 101",
		"deb cry isa":                 "debug crypto isakmp",
		"deb cry ips":                 "debug crypto ipsec",
		"u all":                       "undebug all",
		"undeb al":                    "undebug all",
		"e":                           "explain",
		"exp 198.51.100.2":            "explain 198.51.100.2",
		"  show   crypto\tmap  ":      "show crypto map",
		"show access-lists show":      "show access-lists show",
	} {
		c, err := Parse(strings.Split(typed, " "))
		if err != nil {
			t.Errorf("%q: %v", typed, err)
		} else if c.String() != want {
			t.Errorf("%q is %q, want %q", typed, c, want)
		}
	}
}

func TestArguments(t *testing.T) {
	peer := netip.MustParseAddr("198.51.100.2")
	for typed, want := range map[string]Command{
		"show crypto ipsec sa peer 198.51.100.2":   {Peer: peer},
		"clear crypto sa peer 198.51.100.2":        {Peer: peer},
		"clear crypto session remote 198.51.100.2": {Peer: peer},
		"explain 198.51.100.2":                     {Peer: peer},
		"clear crypto isakmp 1001":                 {Conn: 1001},
		"clear crypto isakmp":                      {},
		"show access-lists 101":                    {List: "101"},
		"show ip access-lists Name":                {List: "Name"},
		"clear access-list counters 101":           {List: "101"},
	} {
		c, err := Parse([]string{typed})
		if err != nil {
			t.Errorf("%q: %v", typed, err)
			continue
		}
		if c.Peer != want.Peer || c.Conn != want.Conn || c.List != want.List {
			t.Errorf("%q: peer %v, conn %d, list %q", typed, c.Peer, c.Conn, c.List)
		}
	}
}

// TestMessages: what a terminal shows for a line that is not understood, the
// mark under the very word.
func TestMessages(t *testing.T) {
	for typed, want := range map[string]string{
		"show crypto isakmp foo": `
show crypto isakmp foo
                   ^
% Invalid input detected at '^' marker.`,
		"sh cry isa sa detail now": `
sh cry isa sa detail now
                     ^
% Invalid input detected at '^' marker.`,
		"shwo crypto map": `
shwo crypto map
^
% Invalid input detected at '^' marker.`,
		"show crypto ipsec sa peer R2": `
show crypto ipsec sa peer R2
                          ^
% Invalid input detected at '^' marker.`,
		"clear crypto isakmp 0": `
clear crypto isakmp 0
                    ^
% Invalid input detected at '^' marker.`,
		"sh c":                 "\n% Incomplete command.",
		"s i":                  "\n% Incomplete command.",
		"sh cry is":            "\n% Incomplete command.",
		"sh cry i sa":          "\n% Ambiguous command:  \"sh cry i sa\"",
		"show crypto isakmp p": "\n% Ambiguous command:  \"show crypto isakmp p\"",
		"show":                 "\n% Incomplete command.",
		"clear crypto sa peer": "\n% Incomplete command.",
		"":                     "\n% Incomplete command.",
	} {
		_, err := Parse(strings.Fields(typed))
		if err == nil {
			t.Errorf("%q is understood", typed)
			continue
		}
		if got := "\n" + Message(err); !strings.HasPrefix(got, want+"\n% ") {
			t.Errorf("%q:%s\nwant:%s and what was expected", typed, got, want)
		}
		if ExitStatus(err) != 2 {
			t.Errorf("%q: exit status %d, want 2", typed, ExitStatus(err))
		}
	}
}

func TestTheMessageSaysWhatWasExpected(t *testing.T) {
	for typed, want := range map[string][]string{
		"show crypto isakmp foo": {"sa", "policy", "key", "peers"},
		"show crypto isakmp p":   {"policy", "peers"},
		"show crpyto map":        {`"crypto"`},
		"clear crypto sa peer":   {"an IPv4 address"},
	} {
		_, err := Parse([]string{typed})
		for _, w := range want {
			if !strings.Contains(Message(err), w) {
				t.Errorf("%q: %s\ndoes not say %s", typed, Message(err), w)
			}
		}
	}
}

func TestTheMessageKeepsTheTerminalSafe(t *testing.T) {
	_, err := Parse([]string{"show", "\x1b[2J\x9b31m", "x"})
	if m := Message(err); err == nil || strings.Contains(m, "\x1b") || strings.Contains(m, "\x9b") {
		t.Errorf("an escape sequence came back: %q", m)
	}
}

// TestHelp: "?" lists what may follow, behind a blank with its meaning, behind
// a beginning only the words.
func TestHelp(t *testing.T) {
	for typed, want := range map[string]string{
		"sh?":                   "show\n",
		"show cry?":             "crypto\n",
		"show crypto isakmp p?": "policy  profile  peers\n",
		"show crypto ?": "  exchange         The last exchanges with a peer, message by message\n" +
			"  debug-condition  The peers that debugging is limited to\n" +
			"  isakmp           Show ISAKMP\n" +
			"  ipsec            Show IPSEC\n" +
			"  session          Status of crypto sessions (tunnels)\n" +
			"  map              Crypto maps\n" +
			"  dynamic-map      Crypto map templates\n" +
			"  pki              Public key infrastructure\n",
		"clear crypto isakmp ?": "  <1-4294967295>  conn-id of an ISAKMP SA\n" +
			"  <cr>\n",
		"clear crypto sa peer ?": "  A.B.C.D  Address of the peer\n",
	} {
		c, err := Parse([]string{typed})
		if err != nil {
			t.Errorf("%q: %v", typed, err)
			continue
		}
		if got := helpText(c); got != want {
			t.Errorf("%q:\n%s\nwant:\n%s", typed, got, want)
		}
	}
	if _, err := Parse([]string{"show", "nothing", "?"}); ExitStatus(err) != 2 {
		t.Errorf("help behind a word that fits nothing: %v", err)
	}
	top, err := Parse([]string{"?"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"show", "clear", "debug", "undebug", "explain"} {
		if !strings.Contains(helpText(top), "  "+w+" ") {
			t.Errorf("%q is missing from the first help:\n%s", w, helpText(top))
		}
	}
}

// TestEveryCommandHasHelp walks the grammar as somebody does who knows nothing.
func TestEveryCommandHasHelp(t *testing.T) {
	seen := 0
	var walk func(line string)
	walk = func(line string) {
		choices, err := exec.Help(execMode, line)
		if err != nil {
			t.Fatalf("%q?: %v", line, err)
		}
		for _, ch := range choices {
			next := line + ch.Word
			switch {
			case ch.Word == ios.Return:
				seen++
				continue
			case ch.Help == "":
				t.Errorf("%q has no help", next)
			case ch.Word == "A.B.C.D":
				next = line + "192.0.2.1"
			case ch.Word == "<1-4294967295>":
				next = line + "1"
			}
			walk(next + " ")
		}
	}
	walk("")
	// Commands with an optional argument end in two places.
	if all := len(shows()) + len(others()); seen < all {
		t.Errorf("the help leads to %d ends of %d commands", seen, all)
	}
}

func TestExitStatus(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: ErrNo, 2: &ios.SyntaxError{}} {
		if got := ExitStatus(err); got != want {
			t.Errorf("%v: exit status %d, want %d", err, got, want)
		}
	}
	if got := ExitStatus(errors.New("no peer")); got != 1 {
		t.Errorf("an error of the gateway: exit status %d, want 1", got)
	}
	if Message(ErrNo) != "" {
		t.Error("the answer was given, ErrNo must not add to it")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"sh cry isa sa", "show crypto ipsec sa peer 1.2.3.4 detail", "?", "clear crypto isakmp 99999999999999999999", "show \x00?", "exp ::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse([]string{line})
		if err != nil {
			if ExitStatus(err) != 2 || Message(err) == "" {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		if c.name == help {
			return
		}
		// What was understood is understood the same when written in full.
		again, err := Parse([]string{c.String()})
		if err != nil || again.String() != c.String() || again.Peer != c.Peer || again.Conn != c.Conn || again.List != c.List {
			t.Fatalf("%q is %q, which is %q (%v)", line, c, again, err)
		}
	})
}
