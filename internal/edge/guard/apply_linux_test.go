package guard

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
)

// A record is told once while it lasts, and again once it was made anew: about
// once a minute, as IOS logs it.
func TestEachRecordIsToldOnceWhileItLasts(t *testing.T) {
	key := []byte{10, 20, 20, 20, 10, 10, 10, 10, 132, 0, 0, 0}
	want := Cleartext{netip.MustParseAddr("10.20.20.20"), netip.MustParseAddr("10.10.10.10"), 132}
	start := time.Unix(1_700_000_000, 0)
	g := &Guard{}
	for _, poll := range []struct {
		at      time.Duration
		expires time.Duration
		there   bool
		told    bool
	}{
		{0, 59 * time.Second, true, true},
		{30 * time.Second, 29*time.Second + 20*time.Millisecond, true, false}, // jiffies are coarse
		{58 * time.Second, time.Second, true, false},
		{60 * time.Second, 59900 * time.Millisecond, true, true}, // ended, and made anew before this poll
		{121 * time.Second, 0, false, false},
		{122 * time.Second, 59 * time.Second, true, true},
	} {
		var elements []nftables.SetElement
		if poll.there {
			elements = append(elements, nftables.SetElement{Key: key, Expires: poll.expires}, nftables.SetElement{Key: key[:5]})
		}
		got := g.fresh(elements, start.Add(poll.at))
		if told := len(got) == 1 && got[0] == want; told != poll.told || len(got) > 1 {
			t.Errorf("after %s: told %v", poll.at, got)
		}
	}
}

// What is kept in comments is read back; somebody else's comments are not.
func TestCommentsAreReadBack(t *testing.T) {
	s := state{"R1.example", "culvert0", 0xc0de, 0xc1de, 5208}
	if got, err := parseState(s.comment()); got != s || err != nil {
		t.Errorf("state %+v came back as %+v, %v", s, got, err)
	}
	h := LineHits{Interface: "GigabitEthernet0/1", Direction: "in", List: "101", Seq: 10}
	if got, err := parseHits(h.comment()); got != h || err != nil {
		t.Errorf("line %+v came back as %+v, %v", h, got, err)
	}
	for _, c := range []string{"", "state", "state|R1|culvert0|x|1|2", "state|R1||0x1|0x2|table", "a|b|c|d", "a|b|c|1|e"} {
		if got, err := parseState(c); err == nil {
			t.Errorf("parseState(%q) = %+v", c, got)
		}
		if got, err := parseHits(c); err == nil {
			t.Errorf("parseHits(%q) = %+v", c, got)
		}
	}
}

// Different names of a configuration are different names in nftables.
func TestTokensStayDifferent(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"R1", "R-1", "R_1", "R_5f1", "R 1", "R.1", "R/1", "Gi0/1", "é"} {
		got := token(name)
		if before, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", before, name, got)
		}
		seen[got] = name
		for _, c := range []byte(got) {
			if c <= ' ' || c >= 0x7f || c == '"' || c == '|' {
				t.Errorf("%q has %q in it", got, c)
			}
		}
	}
}
