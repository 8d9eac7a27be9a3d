package trace

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-want +got), go test -update writes it anew:\n%s", path, d)
	}
}

func ladder(t testing.TB, o Options, events []event.Event) string {
	t.Helper()
	var b bytes.Buffer
	if err := Ladder(&b, o, events); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func named() Options {
	return Options{Initiator: Party{"R1", r1.Addr()}, Responder: Party{"R2", r2.Addr()}}
}

func TestLadders(t *testing.T) {
	narrow, colored := named(), named()
	narrow.Width, colored.Color = 72, true
	for _, c := range []struct {
		file   string
		o      Options
		events []event.Event
	}{
		{"ladder-good.txt", named(), good()},
		{"ladder-good-72-columns.txt", narrow, good()},
		{"ladder-good-color.txt", colored, good()},
		{"ladder-refused-policy.txt", named(), refusedPolicy()},
		{"ladder-wrong-key.txt", named(), wrongKey()},
		{"ladder-one-side.txt", named(), onlyOf(good(), r1)},
		{"ladder-other-side.txt", Options{}, onlyOf(wrongKey(), r2)},
		{"ladder-lost.txt", named(), lossy()},
		{"ladder-renewed-and-deleted.txt", Options{}, busy()},
		{"ladder-nothing.txt", Options{}, nil},
	} {
		t.Run(c.file, func(t *testing.T) { golden(t, c.file, ladder(t, c.o, c.events)) })
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]+m")

func TestColourNeverChangesTheText(t *testing.T) {
	for _, events := range [][]event.Event{good(), refusedPolicy(), wrongKey(), lossy(), busy()} {
		o := named()
		black := ladder(t, o, events)
		o.Color = true
		colored := ladder(t, o, events)
		var lines []string
		for l := range strings.SplitSeq(escapes.ReplaceAllString(colored, ""), "\n") {
			lines = append(lines, strings.TrimRight(l, " "))
		}
		if d := cmp.Diff(black, strings.Join(lines, "\n")); d != "" {
			t.Errorf("without colours (-want +got):\n%s", d)
		}
		if strings.Contains(black, "\x1b") || !strings.Contains(colored, "\x1b[") {
			t.Error("colours only with Options.Color")
		}
	}
}

// One gateway's list behind the other's tells the same story as both interleaved.
func TestEventsMayComeSideBySide(t *testing.T) {
	both := append(onlyOf(good(), r2), onlyOf(good(), r1)...)
	if d := cmp.Diff(ladder(t, named(), good()), ladder(t, Options{Initiator: Party{Name: "R1"}, Responder: Party{Name: "R2"}}, both)); d != "" {
		t.Errorf("-interleaved +side by side:\n%s", d)
	}
}

func TestTheInitiatorIsOnTheLeft(t *testing.T) {
	for _, o := range []Options{{}, {Responder: Party{Name: "R2", Addr: r2.Addr()}}, {Initiator: Party{Addr: r1.Addr()}}} {
		for _, events := range [][]event.Event{good(), onlyOf(good(), r1), onlyOf(good(), r2)} {
			s := newStory(o, events)
			if s.parties[left].Addr != r1.Addr() || s.parties[right].Addr != r2.Addr() {
				t.Errorf("left %v, right %v", s.parties[left], s.parties[right])
			}
		}
	}
	o := Options{Initiator: Party{Addr: r2.Addr()}}
	if s := newStory(o, good()); s.parties[left].Addr != r2.Addr() || s.parties[right].Addr != r1.Addr() {
		t.Error("what the options say wins")
	}
}

func TestEventsOfOtherGatewaysAreLeftOut(t *testing.T) {
	stranger := event.Event{At: t0.Add(time.Millisecond), Local: netip.MustParseAddrPort("192.0.2.9:500"), Peer: r1, What: event.Dropped{Reason: "not ours"}}
	if d := cmp.Diff(ladder(t, named(), good()), ladder(t, named(), append(good(), stranger))); d != "" {
		t.Errorf("-without +with:\n%s", d)
	}
}

// A last message is not called lost before it had time to arrive.
func TestTheLastMessageIsUnderWay(t *testing.T) {
	all := good()
	cut := slices.IndexFunc(all, func(e event.Event) bool { m, ok := e.What.(event.Message); return ok && m.Name == "QM3" })
	got := ladder(t, named(), all[:cut+1])
	if !strings.Contains(got, "under way") || strings.Contains(got, "lost") {
		t.Errorf("QM3 has only just left:\n%s", got)
	}
}

// Of two copies one came: the first is the one that was lost. Of two copies
// that both came late, none is.
func TestWhichCopyWasLost(t *testing.T) {
	s := new(script)
	s.send(left, mm1).at(time.Second).send(left, again(mm1, 1)).at(1500 * time.Millisecond)
	in := mm1
	in.Dir = event.Received
	one := newStory(named(), slices.Clone(s.r2(in).events))
	if one.entries[0].fate != lost || one.entries[1].fate != delivered {
		t.Errorf("one came: fates %d and %d", one.entries[0].fate, one.entries[1].fate)
	}
	in.Duplicate = true
	two := newStory(named(), s.at(1600*time.Millisecond).r2(in).events)
	if two.entries[0].fate != delivered || two.entries[1].fate != delivered {
		t.Errorf("both came: fates %d and %d", two.entries[0].fate, two.entries[1].fate)
	}
}

func TestDebug(t *testing.T) {
	for _, c := range []struct {
		file   string
		events []event.Event
	}{
		{"debug-initiator.txt", onlyOf(good(), r1)},
		{"debug-responder.txt", onlyOf(good(), r2)},
		{"debug-refused-policy.txt", refusedPolicy()},
		{"debug-wrong-key.txt", wrongKey()},
		{"debug-lost.txt", lossy()},
		{"debug-renewed-and-deleted.txt", busy()},
	} {
		t.Run(c.file, func(t *testing.T) {
			var b strings.Builder
			for _, e := range c.events {
				for _, l := range Debug(e) {
					b.WriteString(l + "\n")
				}
			}
			golden(t, c.file, b.String())
		})
	}
}

// The sentences an operator searches for, letter by letter.
func TestDebugSaysWhatIOSSays(t *testing.T) {
	var all []string
	for _, events := range [][]event.Event{good(), refusedPolicy(), busy()} {
		for _, e := range events {
			all = append(all, Debug(e)...)
		}
	}
	for _, want := range []string{
		"ISAKMP:(0): beginning Main Mode exchange",
		"ISAKMP:(0): sending packet to 198.51.100.2 my_port 500 peer_port 500 (I) MM_NO_STATE",
		"ISAKMP (0:0): received packet from 198.51.100.2 dport 500 sport 500 Global (I) MM_NO_STATE",
		"ISAKMP:(0): processing SA payload. message ID = 0",
		"ISAKMP:(0):found peer pre-shared key matching 198.51.100.1",
		"ISAKMP:(0):Checking ISAKMP transform 1 against priority 10 policy",
		"ISAKMP:      encryption AES-CBC",
		"ISAKMP:      keylength of 256",
		"ISAKMP:      hash SHA256",
		"ISAKMP:      default group 14",
		"ISAKMP:      auth pre-share",
		"ISAKMP:      life type in seconds",
		"ISAKMP:      life duration (VPI) of  0x0 0x1 0x51 0x80",
		"ISAKMP:      life duration (basic) of 28800",
		"ISAKMP:(0):Hash algorithm offered does not match policy!",
		"ISAKMP:(0):atts are not acceptable. Next payload is 3",
		"ISAKMP:(0):atts are acceptable. Next payload is 0",
		"ISAKMP:(0):no offers accepted!",
		"ISAKMP:(0): phase 1 SA policy not acceptable! (local 198.51.100.2 remote 198.51.100.1)",
		"ISAKMP:(0):Old State = IKE_READY  New State = IKE_I_MM1",
		"ISAKMP:(0):Old State = IKE_I_MM1  New State = IKE_I_MM2",
		"ISAKMP:(1001):beginning Quick Mode exchange, M-ID of 1613169867",
		"ISAKMP:(1001):SA has been authenticated with 198.51.100.2",
		"ISAKMP:(1001):Send initial contact",
		"ISAKMP:(1002): processing NOTIFY INITIAL_CONTACT protocol 1",
		"IPSEC(sa_request): ,",
		"  (key eng. msg.) OUTBOUND local= 198.51.100.1:0, remote= 198.51.100.2:0,",
		"    local_proxy= 10.10.10.0/255.255.255.0/0/0 (type=4),",
		"    protocol= ESP, transform= esp-256-aes esp-sha256-hmac  (Tunnel),",
		"    lifedur= 3600s and 4608000kb,",
		"    spi= 0x0(0), conn_id= 0, keysize= 256, flags= 0x0",
		"IPSEC(validate_proposal_request): proposal part #1",
		"IPSEC(ipsec_process_proposal): proxy identities not supported",
		"IPSEC(create_sa): sa created,",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("nobody said %q", want)
		}
	}
}

func TestEveryMismatchHasItsSentence(t *testing.T) {
	for mismatch, want := range map[string]string{
		"encryption":     "ISAKMP:(0):Encryption algorithm offered does not match policy!",
		"key length":     "ISAKMP:(0):Proposed key length does not match policy",
		"hash":           "ISAKMP:(0):Hash algorithm offered does not match policy!",
		"group":          "ISAKMP:(0):Diffie-Hellman group offered does not match policy!",
		"authentication": "ISAKMP:(0):Preshared authentication offered but does not match policy!",
		"lifetime":       "ISAKMP:(0):lifetime offered does not match policy!",
	} {
		if got := Debug(event.Event{What: event.PolicyCheck{Transform: 1, Offer: strong(), Against: weak(), Mismatch: mismatch}}); !slices.Contains(got, want) {
			t.Errorf("%s: %q", mismatch, got)
		}
	}
	rsa := strong()
	rsa.Auth = suite.RSASig
	got := Debug(event.Event{What: event.PolicyCheck{Offer: rsa, Mismatch: "authentication"}})
	if !slices.Contains(got, "ISAKMP:      auth RSA sig") || !slices.Contains(got, "ISAKMP:(0):Authentication method offered does not match policy!") {
		t.Errorf("%q", got)
	}
}

func TestFacilities(t *testing.T) {
	for _, c := range []struct {
		what event.What
		want string
	}{
		{event.State{New: "IKE_I_MM1"}, ISAKMP}, {triggered(), IPsec}, {event.ProxyCheck{}, IPsec}, {event.Phase2Up{}, IPsec},
		{event.Dropped{}, ISAKMP}, {event.Deleted{Protocol: "ESP"}, IPsec}, {event.Deleted{Protocol: "ISAKMP"}, ISAKMP}, {nil, ISAKMP},
	} {
		if got := Facility(event.Event{What: c.what}); got != c.want {
			t.Errorf("%T is %s, want %s", c.what, got, c.want)
		}
	}
	for _, events := range [][]event.Event{good(), busy(), refusedPolicy()} {
		for _, e := range events {
			for _, l := range DebugOf(e, ISAKMP) {
				if strings.HasPrefix(l, "IPSEC") {
					t.Errorf("debug crypto isakmp prints %q", l)
				}
			}
			for _, l := range DebugOf(e, IPsec) {
				if strings.HasPrefix(l, "ISAKMP") {
					t.Errorf("debug crypto ipsec prints %q", l)
				}
			}
			if len(Debug(e)) != len(DebugOf(e, ISAKMP))+len(DebugOf(e, IPsec)) {
				t.Errorf("%T: lines of no facility", e.What)
			}
		}
	}
}

func TestSyslog(t *testing.T) {
	const bad = "%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from 198.51.100.2 failed its sanity check or is malformed"
	for _, c := range []struct {
		name string
		what event.What
		want string
	}{
		{"no SA", event.Dropped{Cause: event.NoSA}, "%CRYPTO-4-IKMP_NO_SA: IKE message from 198.51.100.2 has no SA and is not an initialization offer"},
		{"malformed", event.Dropped{Cause: event.BadMessage}, bad},
		{"in the clear", event.Dropped{Cause: event.NotEncrypted}, "%CRYPTO-6-IKMP_NOT_ENCRYPTED: IKE packet from 198.51.100.2 was not encrypted and it should've been."},
		{"any drop", event.Dropped{Reason: "\n"}, ""},
		{"wrong key", event.Failed{Pending: true, Phase: 1, Code: event.WrongKey}, bad},
		{"no policy", event.Failed{Phase: 1, Code: event.NoPolicy}, "%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Main mode failed with peer at 198.51.100.2"},
		{"not yet", event.Failed{Pending: true, Phase: 1, Code: event.NoPolicy}, ""},
		{"no transform set", event.Failed{Phase: 2, Code: event.NoTransformSet}, "%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Quick mode failed with peer at 198.51.100.2"},
		{"silence", event.Failed{Phase: 1, Code: event.NoAnswer}, ""},
		{"clear by an operator", event.Failed{Phase: 2, Code: event.Cleared}, ""},
		{"refused in the clear", event.Notify{Dir: event.Received, Number: 14}, "%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Informational mode failed with peer at 198.51.100.2"},
		{"refused under protection", event.Notify{Dir: event.Received, Number: 14, Protected: true}, ""},
		{"status in the clear", event.Notify{Dir: event.Received, Number: 24578}, ""},
		{"told by us", event.Notify{Dir: event.Sent, Number: 14}, ""},
		{"up", event.Phase2Up{}, "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is UP  .  Peer 198.51.100.2:500       Id: 198.51.100.2"},
		{"renewed", event.Phase2Up{Rekey: true}, ""},
		{"down", event.Deleted{Protocol: "ESP", Last: true}, "%CRYPTO-5-SESSION_STATUS: Crypto tunnel is DOWN  .  Peer 198.51.100.2:500       Id: 198.51.100.2"},
		{"an old pair", event.Deleted{Protocol: "ESP"}, ""},
		{"a state", event.State{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := event.Event{Local: r1, Peer: r2, What: c.what}
			got, ok := Syslog(e)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got  %q, %v\nwant %q", got, ok, c.want)
			}
		})
	}
}

// Threat: log injection.
func TestSafe(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"r1.example.org", "r1.example.org"},
		{"a\nISAKMP:(0): b", `a\x0aISAKMP:(0): b`},
		{"\x1b[2J\x07\x00\x7f", `\x1b[2J\x07\x00\x7f`},
		{"\u009b31m\u202e\u2028", `\x9b31m\u202e\u2028`},
		{"\xff\xc3", `\xff\xc3`},
		{"\ufffd", `\ufffd`},
		{"é\U0001f600", `\xe9\U0001f600`},
		{"× ✓ …", "× ✓ …"},
	} {
		if got := safe(c.in); got != c.want {
			t.Errorf("%q is %q, want %q", c.in, got, c.want)
		}
	}
	if got := safe(strings.Repeat("a", 100000)); utf8.RuneCountInString(got) != maxLine+1 {
		t.Errorf("a long line has %d characters", utf8.RuneCountInString(got))
	}
}

// anyEvent is an event whose every text a peer could have chosen.
func anyEvent() *rapid.Generator[event.Event] {
	text := rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.SampledFrom([]byte("ab \n\r\x1b\x00\xff\xc2\x9b\t[0m\\x00\"│")), 0, 90).Draw(t, "text"))
	})
	return rapid.Custom(func(t *rapid.T) event.Event {
		s := func(name string) string { return text.Draw(t, name) }
		e := event.Event{At: t0.Add(time.Duration(rapid.IntRange(0, 50000).Draw(t, "ms")) * time.Millisecond), Local: r1, Peer: r2, State: s("state")}
		if rapid.Bool().Draw(t, "other side") {
			e.Local, e.Peer = r2, r1
		}
		n := rapid.IntRange(0, 70000).Draw(t, "n")
		e.What = rapid.SampledFrom([]event.What{
			event.Message{Dir: event.Direction(n % 2), Exchange: rapid.SampledFrom([]string{"main", "quick", s("exchange")}).Draw(t, "x"), Name: s("name"), ID: uint32(n),
				Encrypted: n%3 == 0, Payloads: pay(s("name"), s("detail"), "VID", s("detail"), "VID", s("detail")), Octets: n, Attempt: n % 4, Duplicate: n%5 == 0},
			event.State{Old: s("old"), New: s("new")},
			event.PolicyCheck{Transform: n, Mismatch: s("mismatch"), Offer: policy.ISAKMP{Priority: -1}},
			event.PolicyRefused{}, event.KeyLookup{}, event.NATCheck{}, event.Phase1Up{Identity: s("identity")},
			event.ProposalCheck{Offer: event.Proposal{Unknown: s("unknown"), Encap: s("encap")}, Mismatch: s("mismatch")},
			event.ProposalCheck{Offer: event.Proposal{Encap: s("encap")}, Mismatch: s("mismatch"), Against: policy.TransformSet{Name: s("name")}},
			event.ProposalRefused{}, event.ProxyCheck{Offered: flow.Selectors{}, Found: n%2 == 0, Flow: policy.FlowID{Map: s("map")}},
			event.Phase2Up{Selectors: flow.Selectors{}, Encap: true, Rekey: n%2 == 0},
			event.Notify{Dir: event.Received, Type: s("type"), Number: uint16(n % 16384), Protected: n%2 == 0, Text: s("text")},
			event.Deleted{Protocol: s("protocol"), Reason: s("reason"), ByPeer: true, Last: true},
			event.Triggered{}, event.Retransmit{Attempt: n, Of: 6, Name: s("name")},
			event.Failed{Phase: 1 + n%2, Pending: n%3 == 0, Reason: s("reason"), Code: event.Code(s("code"))},
			event.Dropped{Reason: s("reason")},
			nil,
		}).Draw(t, "what")
		return e
	})
}

// Whatever a peer writes: no line is wider than asked for, no control
// character leaves, every line of the ladder keeps its lifelines.
//
// Threat: hostile names.
func TestHostileWordsStayInTheirPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(anyEvent(), 0, 12).Draw(t, "events")
		o := named()
		o.Width = rapid.IntRange(0, 120).Draw(t, "width")
		most := min(max(o.Width, leastWidth), defaultWidth)
		if o.Width == 0 {
			most = defaultWidth
		}
		var b bytes.Buffer
		if err := Ladder(&b, o, events); err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\n"), "\n") {
			if n := utf8.RuneCountInString(l); n > most {
				t.Fatalf("%d columns, at most %d: %s", n, most, l)
			}
			printable(t, l)
		}
		for _, e := range events {
			for _, l := range Debug(e) {
				printable(t, l)
			}
			if l, ok := Syslog(e); ok {
				printable(t, l)
			}
		}
	})
}

func printable(t *rapid.T, l string) {
	if !utf8.ValidString(l) {
		t.Fatalf("%q is not UTF-8", l)
	}
	for _, r := range l {
		if r < ' ' && r != '\t' || r >= 0x7f && r <= 0x9f || r == '\u202e' {
			t.Fatalf("%q leaves in %q", r, l)
		}
	}
}

// A name with an escaped NUL is text, no line break.
func TestEscapedTextIsNotReadAgain(t *testing.T) {
	s := new(script).phase1()
	up := event.Phase1Up{Policy: strong(), Identity: `r1\x00\nexample`}
	if got := ladder(t, named(), s.r1(up).events); !strings.Contains(got, `the peer is r1\x00\nexample, lifetime`) {
		t.Errorf("the identity is torn:\n%s", got)
	}
}

func TestWriteErrorsAreReported(t *testing.T) {
	if err := Ladder(broken{}, named(), good()); err == nil {
		t.Error("the error of the writer is lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }
