package doctest

import (
	"fmt"
	"slices"
	"strings"
)

// Renew is what a document should show now that a command prints got, with as
// much left out as before: what stands between two ellipses is found again by
// its first line and keeps its length. What matches stays as it is, so that
// times and SPIs do not change for nothing.
func Renew(want, got []string) ([]string, error) {
	if Match(want, got) == nil {
		return want, nil
	}
	for len(got) > 0 && strings.TrimSpace(got[len(got)-1]) == "" {
		got = got[:len(got)-1]
	}
	parts := segments(want)
	if len(parts) == 1 {
		return got, nil
	}
	var out []string
	at := 0
	for i, part := range parts {
		if i > 0 {
			out = append(out, ellipsis)
		}
		if len(part) == 0 {
			continue
		}
		n, err := anchor(part, got[at:], i == 0, i == len(parts)-1)
		if err != nil {
			return nil, err
		}
		at += n
		end := min(at+len(part), len(got))
		out = append(out, got[at:end]...)
		at = end
	}
	return out, nil
}

// anchor is where a part begins in lines: at the start, so as to reach the end,
// or at its first line.
func anchor(part, lines []string, first, last bool) (int, error) {
	if first {
		return 0, nil
	}
	if last {
		return max(0, len(lines)-len(part)), nil
	}
	n := slices.IndexFunc(lines, func(l string) bool { return Normal(l) == Normal(part[0]) })
	if n < 0 {
		return 0, fmt.Errorf("%q is not in the output any more: shorten the block by hand", part[0])
	}
	return n, nil
}
