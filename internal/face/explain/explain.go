// Package explain writes the reports of package diagnose for people and for
// machines: the state of a tunnel in the five steps, one sentence, and the
// line to change.
package explain

import (
	"cmp"
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
	e.SetEscapeHTML(false)
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
	fmt.Fprintf(b, "%s: ", printable(cmp.Or(r.Hostname, "here")))
	switch {
	case !r.Peer.IsValid():
		b.WriteString("no tunnel")
	case !r.Local.IsValid():
		fmt.Fprintf(b, "tunnel to %s", r.Peer)
	default:
		fmt.Fprintf(b, "tunnel %s - %s", r.Local, r.Peer)
	}
	if r.Map != "" {
		fmt.Fprintf(b, " (crypto map %s %d on %s)", printable(r.Map), r.Seq, cmp.Or(r.Interface, "no interface"))
	}
	fmt.Fprintf(b, ": %s\n", paint(o, statusColor(r.Status), strings.ToUpper(r.Status)))
	for _, s := range r.Steps {
		pad := strings.Repeat(" ", max(0, len(diagnose.NotReached)-len(s.State)))
		line := fmt.Sprintf("  %d  %-21s  %s%s  %s", s.Number, s.Title, paint(o, stateColor(s.State), string(s.State)), pad, printable(s.Detail))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString(paint(o, "1", printable(r.Sentence)) + "\n")
	var before *diagnose.Fix
	for i := range r.Fixes {
		fix(b, r.Fixes[i], before)
		before = &r.Fixes[i]
	}
	if r.Culprit != 0 && !r.Certain && !r.Both {
		b.WriteString("This is told from one side's evidence; the peer's configuration cannot be seen from here.\n")
	}
}

// fix writes one line to change. before is the fix told last, nil for the first.
func fix(b *strings.Builder, f diagnose.Fix, before *diagnose.Fix) {
	verb := "Change"
	if f.Add {
		verb = "Add"
	}
	switch {
	case before == nil:
	case before.Choice == f.Choice:
		verb = "and " + strings.ToLower(verb)
	default:
		verb = "or " + strings.ToLower(verb)
	}
	fmt.Fprintf(b, "  %s on %s", verb, printable(f.Side))
	if at := printable(f.Where()); at != "" {
		switch {
		case !f.Add:
			fmt.Fprintf(b, ", %s", at)
		case f.Before:
			fmt.Fprintf(b, ", before %s", at)
		default:
			fmt.Fprintf(b, ", after %s", at)
		}
		if f.Old != "" && !f.Add {
			fmt.Fprintf(b, ", now %q", f.Old)
		}
	}
	b.WriteString(":\n")
	for _, l := range f.Write {
		fmt.Fprintf(b, "      %s\n", printable(l))
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
