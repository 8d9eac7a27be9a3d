package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"culvert/internal/core/diagnose"
	"culvert/internal/core/event"
)

var update = flag.Bool("update", false, "write the goldens anew")

func steps(states ...diagnose.State) (out [5]diagnose.Step) {
	for i, title := range diagnose.Titles() {
		out[i] = diagnose.Step{Number: i + 1, Title: title, State: states[i], Detail: "what is known of " + title}
	}
	out[4].Detail = ""
	return out
}

// reports are one of every kind.
func reports() []diagnose.Report {
	base := diagnose.Report{
		Hostname: "R1", Map: "SITE-B", Seq: 10, Interface: "GigabitEthernet0/1",
		Local: netip.MustParseAddr("198.51.100.1"), Peer: netip.MustParseAddr("198.51.100.2"), Certain: true,
	}
	up, down, suspect, idle, stranger, none := base, base, base, base, base, base
	up.Status, up.Sentence = "up", "The tunnel to 198.51.100.2 is up: 1 flow of access list 102 protected."
	up.Steps = steps(diagnose.OK, diagnose.OK, diagnose.OK, diagnose.OK, diagnose.OK)
	down.Status, down.Culprit, down.Both, down.Reason = "down", 2, true, event.NoPolicy
	down.Steps = steps(diagnose.OK, diagnose.Wrong, diagnose.NotReached, diagnose.NotReached, diagnose.OK)
	down.Sentence = "198.51.100.2 offered aes 192, sha512; policy 10 (r1.cfg:15) here has aes 256, sha256: they differ in encryption and hash."
	down.Fixes = []diagnose.Fix{
		{Side: "R1", File: "r1.cfg", Line: 16, Old: "encryption aes 256", Write: []string{"encryption aes 192"}, Choice: 1},
		{Side: "R1", File: "r1.cfg", Line: 15, Old: "crypto isakmp policy 10", Write: []string{"hash sha512"}, Add: true, Choice: 1},
		{Side: "peer 198.51.100.2", Write: []string{"crypto isakmp policy 10", " encryption aes 256"}, Choice: 2},
	}
	suspect.Status, suspect.Culprit, suspect.Certain, suspect.Reason = "negotiating", 1, false, event.NoAnswer
	suspect.Steps = steps(diagnose.Suspect, diagnose.NotReached, diagnose.NotReached, diagnose.NotReached, diagnose.OK)
	suspect.Sentence = "198.51.100.2 does not answer on UDP 500."
	suspect.Fixes = []diagnose.Fix{
		{Side: "R1", File: "r1.cfg", Line: 60, Old: "access-list 101 deny ip any any", Write: []string{"access-list 101 permit esp any any"}, Add: true, Before: true, Choice: 1},
	}
	idle.Status, idle.Sentence = "idle", "Nothing is wrong so far."
	idle.Steps = steps(diagnose.OK, diagnose.NotReached, diagnose.NotReached, diagnose.NotReached, diagnose.OK)
	stranger.Map, stranger.Status, stranger.Culprit, stranger.Sentence = "", "down", 5, "198.51.100.2 wants a tunnel."
	stranger.Steps = steps(diagnose.OK, diagnose.NotReached, diagnose.NotReached, diagnose.NotReached, diagnose.Wrong)
	none = diagnose.Report{Status: "down", Culprit: 5, Certain: true, Sentence: "There is no crypto map.", Steps: stranger.Steps}
	return []diagnose.Report{up, down, suspect, idle, stranger, none}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update writes it):\n%s\nwant:\n%s", path, got, want)
	}
}

func TestText(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := Text(&plain, reports(), Options{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "reports.txt", plain.String())
	if strings.ContainsRune(plain.String(), '\x1b') {
		t.Error("colours without being asked for")
	}
	if err := Text(&colored, reports(), Options{Color: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "reports.ansi", strings.ReplaceAll(colored.String(), "\x1b", "<ESC>"))
	if uncolored(colored.String()) != plain.String() {
		t.Error("the colours change more than the colour")
	}
	if err := Text(&plain, nil, Options{}); err != nil {
		t.Error(err)
	}
}

// uncolored takes the colours away again.
func uncolored(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

// TestJSON: the names are a stable interface; the golden may only grow.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, reports()); err != nil {
		t.Fatal(err)
	}
	golden(t, "reports.json", b.String())
	var back struct{ Tunnels []diagnose.Report }
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !reflect.DeepEqual(back.Tunnels, reports()) {
		t.Errorf("it does not come back as it was: %v", err)
	}
	b.Reset()
	if err := JSON(&b, nil); err != nil || strings.Join(strings.Fields(b.String()), "") != `{"tunnels":[]}` {
		t.Errorf("no tunnels are %s, %v", b.String(), err)
	}
}

// TestHostileWords: what a peer says reaches no terminal as a command.
func TestHostileWords(t *testing.T) {
	evil := "a\x1b[2Jb\rc\nd\x00e\x7ff\u009bg\u202eh\u2066i\x07"
	r := reports()[1]
	r.Sentence, r.Steps[1].Detail, r.Hostname, r.Map = evil, evil, evil, evil
	for i := range r.Fixes {
		r.Fixes[i].Old, r.Fixes[i].Side, r.Fixes[i].File, r.Fixes[i].Write = evil, evil, evil, []string{evil}
	}
	var b bytes.Buffer
	if err := Text(&b, []diagnose.Report{r}, Options{}); err != nil {
		t.Fatal(err)
	}
	for i, c := range b.String() {
		if c != '\n' && (c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0) || slices.Contains([]rune{0x202e, 0x2066}, c) {
			t.Errorf("%q at %d: %q", c, i, b.String()[max(0, i-20):i])
		}
	}
	if got, plain := strings.Count(b.String(), "\n"), 1+5+1+2*len(r.Fixes); got != plain {
		t.Errorf("%d lines, want %d: a peer's words begin a line", got, plain)
	}
	b.Reset()
	if err := JSON(&b, []diagnose.Report{r}); err != nil || !json.Valid(b.Bytes()) || strings.ContainsAny(b.String(), "\x1b\r\x00\x07") {
		t.Errorf("as JSON: %v, %q", err, b.String())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken pipe")

func TestBrokenPipe(t *testing.T) {
	if err := Text(broken{}, reports(), Options{}); !errors.Is(err, errBroken) {
		t.Errorf("Text: %v", err)
	}
	if err := JSON(broken{}, reports()); !errors.Is(err, errBroken) {
		t.Errorf("JSON: %v", err)
	}
}
