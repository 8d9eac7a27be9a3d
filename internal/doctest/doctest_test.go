package doctest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const page = "# Page\n\n```console\n$ culvert version\nculvert 1\n\n$ cat > x <<'EOF'\n> a\n> EOF\n$ true\n```\n\n```ios\nhostname R1\n```\n"

func TestBlocksAndRuns(t *testing.T) {
	blocks, err := Blocks(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 2 || blocks[0].Lang != Console || blocks[0].Line != 4 || blocks[1].Lang != IOS {
		t.Fatalf("blocks: %+v", blocks)
	}
	runs, err := blocks[0].Runs()
	if err != nil {
		t.Fatal(err)
	}
	want := []Run{
		{Line: 4, Command: "culvert version", From: 5, Output: []string{"culvert 1", ""}},
		{Line: 7, Command: "cat > x <<'EOF'\na\nEOF", From: 10},
		{Line: 10, Command: "true", From: 11},
	}
	if d := cmp.Diff(want, runs); d != "" {
		t.Error(d)
	}
}

func TestBrokenDocuments(t *testing.T) {
	if _, err := Blocks("```console\n$ true\n"); err == nil {
		t.Error("a block that is not closed was taken")
	}
	b := Block{Lang: Console, Line: 7, Lines: []string{"culvert version"}}
	if _, err := b.Runs(); err == nil || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("output without a command: %v", err)
	}
}

func TestWhatDiffersFromRunToRun(t *testing.T) {
	for _, c := range []struct{ one, other string }{
		{"      spi: 0xDBAE2264(3685622372)", "      spi: 0x00012264(74340)"},
		{"           │   SPI in 0xDBAE2264, out 0x7BDF0D6C, for 3600 s", "           │   SPI in 0x11111111, out 0x22222222, for 3600 s"},
		{"  0.001 s  │◄─ 128 octets", "           │◄─ 128 octets"},
		{" 39.040 s  ├─  over", "100.040 s  ├─  over"},
		{"        sa timing: remaining key lifetime (k/sec): (4608000/3599)", "        sa timing: remaining key lifetime (k/sec): (4607999/3598)"},
		{"64 bytes from 10.20.20.20: icmp_seq=1 ttl=62 time=48.146 ms", "64 bytes from 10.20.20.20: icmp_seq=1 ttl=62 time=0.9 ms"},
		{"rtt min/avg/max = 0.969/11.027/48.146 ms", "rtt min/avg/max/mdev = 1/1/1/0 ms"},
		{"Nov 23 13:01:46.427: %CRYPTO", "Jan  1 00:00:00.000: %CRYPTO"},
	} {
		if Normal(c.one) != Normal(c.other) {
			t.Errorf("%q and %q are not the same: %q, %q", c.one, c.other, Normal(c.one), Normal(c.other))
		}
	}
	for _, c := range []struct{ one, other string }{
		{"5 packets transmitted, 5 received", "5 packets transmitted, 4 received"},
		{"    #pkts encaps: 5, #pkts encrypt: 5", "    #pkts encaps: 5, #pkts encrypt: 4"},
		{"198.51.100.2    198.51.100.1    QM_IDLE           1001 ACTIVE", "198.51.100.2    198.51.100.1    MM_NO_STATE       1001 ACTIVE"},
	} {
		if Normal(c.one) == Normal(c.other) {
			t.Errorf("%q and %q are taken for the same", c.one, c.other)
		}
	}
}

func lines(s string) []string { return strings.Split(s, " ") }

func TestMatchAndRenew(t *testing.T) {
	for _, c := range []struct{ want, got, renewed string }{
		{"a b c", "a b c", ""},
		{"a … c", "a b c", ""},
		{"… b …", "a b c", ""},
		{"a …", "a b c", ""},
		{"a b", "a b c", "a b c"},
		{"a b c", "a b", "a b"},
		{"a … x", "a b c", "a … c"},
		{"x … c", "a b c", "a … c"},
		{"… b x …", "a b c d", "… b c …"},
	} {
		err := Match(lines(c.want), lines(c.got))
		if (err == nil) != (c.renewed == "") {
			t.Errorf("document %q, output %q: %v", c.want, c.got, err)
		}
		renewed, err := Renew(lines(c.want), lines(c.got))
		if err != nil {
			t.Errorf("document %q, output %q: %v", c.want, c.got, err)
			continue
		}
		expect := c.renewed
		if expect == "" {
			expect = c.want
		}
		if !slices.Equal(renewed, lines(expect)) {
			t.Errorf("document %q, output %q becomes %q, want %q", c.want, c.got, renewed, expect)
		}
		if err := Match(renewed, lines(c.got)); err != nil {
			t.Errorf("%q does not match %q: %v", renewed, c.got, err)
		}
	}
	if _, err := Renew(lines("… x …"), lines("a b c")); err == nil {
		t.Error("a part that is gone was renewed")
	}
}
