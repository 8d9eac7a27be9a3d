package tour

import (
	"fmt"
	"strings"
)

const (
	bold  = "1"
	faint = "2"
	green = "32"
	red   = "1;31"
	cyan  = "36"
)

func (t *story) paint(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *story) print(format string, args ...any) {
	// A reader that went away shows in the exit of the writer, not here.
	_, _ = fmt.Fprintf(t.w, format, args...)
}

// title begins a part; command is what shows it.
func (t *story) title(what, command string) {
	t.print("\n%s\n", t.paint(bold, what))
	if command != "" {
		t.print("%s\n", t.paint(faint, "$ "+command))
	}
}

// text prints an answer, with the marks of success and failure in colour.
func (t *story) text(s string) {
	if t.color {
		s = strings.NewReplacer(
			"✓", t.paint(green, "✓"), "✗", t.paint(red, "✗"), "UP", t.paint(green, "UP"), " ok ", t.paint(green, " ok "),
			"QM_IDLE", t.paint(green, "QM_IDLE"), "══", t.paint(cyan, "══"),
		).Replace(s)
	}
	t.print("%s", s)
	if !strings.HasSuffix(s, "\n") {
		t.print("\n")
	}
}

// check notes something that has to be so.
func (t *story) check(ok bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if ok {
		t.print("%s %s\n", t.paint(green, "✓"), text)
		return
	}
	t.wrong = append(t.wrong, text)
	t.print("%s %s\n", t.paint(red, "✗"), text)
}

func (t *story) topology(peer string, s scenario) {
	who := "culvert run -c examples/r2.cfg"
	switch peer {
	case StrongSwan:
		who = "strongSwan"
	case Kernel:
		who = "strongSwan, on a Linux kernel of its own"
	}
	t.print("%s\n\n", t.paint(bold, s.title))
	if s.nat {
		t.print("  site A                                   the outside                                     site B\n")
		t.print("  10.10.10.10 ── 10.10.10.1 R1 198.51.100.1 ══ NAT 198.51.100.9 ══ 198.51.100.2 R2 10.20.20.1 ── 10.20.20.20\n\n")
	} else {
		t.print("  site A                                 the outside                                site B\n")
		t.print("  10.10.10.10 ──── 10.10.10.1 R1 198.51.100.1 ════ 198.51.100.2 R2 10.20.20.1 ──── 10.20.20.20\n\n")
	}
	t.print("  R1: culvert run -c examples/r1.cfg\n  R2: %s\n", who)
	for router := range s.edits {
		if router == 1 && peer != Culvert || len(s.edits[router]) == 0 {
			continue
		}
		t.title(fmt.Sprintf("What is different from examples/r%d.cfg", router+1), "")
		t.print("%s", s.difference(router))
	}
}

func (t *story) verdict() {
	t.print("\n")
	if len(t.wrong) == 0 {
		t.print("%s\n", t.paint(green, "Everything is as it should be."))
		return
	}
	t.print("%s\n", t.paint(red, "Not as it should be:"))
	for _, w := range t.wrong {
		t.print("  %s\n", w)
	}
}
