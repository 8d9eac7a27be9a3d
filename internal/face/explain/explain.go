// Package explain writes the reports of package diagnose for people and for
// machines: the state of a tunnel in the five steps, one sentence, and the
// line to change.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"culvert/internal/core/diagnose"
)

// Options of Text.
type Options struct {
	Color bool // ANSI colours
}

// JSON writes the reports as one object; the names are a stable interface.
func JSON(w io.Writer, reports []diagnose.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if reports == nil {
		reports = []diagnose.Report{}
	}
	return e.Encode(struct {
		Tunnels []diagnose.Report `json:"tunnels"`
	}{reports})
}

// Text writes the reports for people, with a blank line between two.
func Text(w io.Writer, reports []diagnose.Report, o Options) error {
	var b strings.Builder
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		text(&b, r, o)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func text(b *strings.Builder, r diagnose.Report, o Options) {
	fmt.Fprintf(b, "%s: tunnel %s - %s", printable(r.Hostname), r.Local, r.Peer)
	if r.Map != "" {
		fmt.Fprintf(b, " (crypto map %s %d on %s)", r.Map, r.Seq, r.Interface)
	}
	fmt.Fprintf(b, ": %s\n", paint(o, statusColor(r.Status), strings.ToUpper(r.Status)))
	for _, s := range r.Steps {
		line := fmt.Sprintf("  %d  %-21s  %s  %s", s.Number, s.Title, paint(o, stateColor(s.State), fmt.Sprintf("%-11s", s.State)), printable(s.Detail))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString(paint(o, "1", printable(r.Sentence)) + "\n")
	for i, f := range r.Fixes {
		fix(b, f, i > 0)
	}
	if r.Culprit != 0 && !r.Certain && !r.Both {
		b.WriteString("This is told from one side's evidence; the peer's configuration cannot be seen from here.\n")
	}
}

// fix writes one line to change. Every further fix is an alternative.
func fix(b *strings.Builder, f diagnose.Fix, other bool) {
	verb := "Change"
	if f.Add {
		verb = "Add"
	}
	if other {
		verb = "or " + strings.ToLower(verb)
	}
	fmt.Fprintf(b, "  %s on %s", verb, f.Side)
	if at := f.Where(); at != "" {
		fmt.Fprintf(b, ", %s", at)
		if f.Old != "" && !f.Add {
			fmt.Fprintf(b, ", now %q", f.Old)
		}
	}
	b.WriteString(":\n")
	for _, l := range f.Write {
		fmt.Fprintf(b, "      %s\n", l)
	}
}

// printable keeps control characters of a peer's making off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func statusColor(s string) string {
	switch s {
	case "up":
		return "1;32"
	case "down":
		return "1;31"
	}
	return "1;33"
}

func stateColor(s diagnose.State) string {
	switch s {
	case diagnose.OK:
		return "32"
	case diagnose.Wrong:
		return "1;31"
	case diagnose.Suspect:
		return "1;33"
	}
	return "2"
}

func paint(o Options, code, text string) string {
	if !o.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
