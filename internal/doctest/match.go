package doctest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ellipsis is the line that stands for lines left out.
const ellipsis = "…"

// shape is something that differs from run to run.
type shape struct {
	is *regexp.Regexp
	as string
}

// shapes are replaced from the first to the last.
func shapes() []shape {
	s := func(is, as string) shape { return shape{regexp.MustCompile(is), as} }
	return []shape{
		s(`0x[0-9A-Fa-f]{6,8}(\(\d+\))?`, "0xSPI"),
		s(`(esp|in|out)( spi:?) 0x\w+`, "$1$2 0xSPI"),
		s(`quick mode [0-9a-f]{8}`, "quick mode ID"),
		s(`M-ID of \d+`, "M-ID of ID"),
		s(`message ID = [1-9]\d*`, "message ID = ID"),
		// The ladder says a time only when it is another than before.
		s(`^( {2}| {1}\d|\d\d)\d\.\d{3} s  `, "           "),
		s(`^ *\d+\.\d{3} s  `, "           "),
		s(`lifetime \(k/sec\): \(\d+/\d+\)`, "lifetime (k/sec): (K/S)"),
		s(`life \(KB/Sec\) \d+/\d+`, "life (KB/Sec) K/S"),
		s(`\d\d:\d\d:\d\d`, "HH:MM:SS"),
		s(`^[A-Z][a-z]{2} [ \d]\d HH:MM:SS\.\d{3}`, "DATE"),
		s(`time=[\d.]+ ms`, "time=T ms"),
		s(`loss, time \d+ms`, "loss, time Tms"),
		s(`^rtt min/avg/max.*`, "rtt"),
		// How many messages IKE takes depends on who is slow.
		s(`(eq isakmp) \(\d+ matches\)`, "$1 (N matches)"),
		s(`(line 30:) \d+ matches`, "$1 N matches"),
		s(`(ISAKMP, UDP (?:500|4500)) +\d.*`, "$1 N"),
		s(`[ \t]+$`, ""),
	}
}

// Normal is a line of output with everything that differs from run to run
// replaced by its shape.
func Normal(line string) string {
	for _, s := range shapes() {
		line = s.is.ReplaceAllString(line, s.as)
	}
	return line
}

func normal(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = Normal(l)
	}
	// Blank lines at the end of an output do not show in a document.
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// segments cuts what a document shows at its ellipses.
func segments(lines []string) [][]string {
	out := [][]string{nil}
	for _, l := range lines {
		if strings.TrimSpace(l) == ellipsis {
			out = append(out, nil)
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], l)
	}
	return out
}

// Match compares what a document shows with what a command printed; the error
// names the first line that is not there.
func Match(want, got []string) error {
	got = normal(got)
	parts := segments(want)
	parts[len(parts)-1] = normal(parts[len(parts)-1])
	at := 0
	for i, part := range parts {
		part = slices.Clone(part)
		for j := range part {
			part[j] = Normal(part[j])
		}
		first, last := i == 0, i == len(parts)-1
		switch {
		case first && last:
			return equal(part, got)
		case first:
			if err := equal(part, got[:min(len(part), len(got))]); err != nil {
				return err
			}
			at = len(part)
		case last:
			if len(got)-at < len(part) {
				return fmt.Errorf("the output ends before %q", part[0])
			}
			return equal(part, got[len(got)-len(part):])
		default:
			n := find(part, got[at:])
			if n < 0 {
				return fmt.Errorf("these lines are not in the output, or not in this order:\n%s", strings.Join(part, "\n"))
			}
			at += n + len(part)
		}
	}
	return nil
}

func equal(want, got []string) error {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("the output ends before %q", want[i])
		case i >= len(want):
			return fmt.Errorf("the output goes on with %q", got[i])
		case want[i] != got[i]:
			return fmt.Errorf("the document has\n\t%s\nthe output\n\t%s", want[i], got[i])
		}
	}
	return nil
}

// find is where part begins in lines, or -1.
func find(part, lines []string) int {
	for n := 0; n+len(part) <= len(lines); n++ {
		if slices.Equal(part, lines[n:n+len(part)]) {
			return n
		}
	}
	return -1
}
