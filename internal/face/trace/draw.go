package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"culvert/internal/core/event"
)

const (
	defaultWidth = 100
	leastWidth   = 72
)

// drawing turns a story into lines.
type drawing struct {
	*story
	canvas  canvas
	told    string        // the last time that was written
	section string        // the exchange under way
	spare   [2]int        // comparisons left out since the last message
	shown   [2]int        // comparisons drawn since the last message
	used    map[fate]bool // for the legend
	clear   bool          // a message in the clear was drawn
	sealed  bool          // an encrypted one
}

func (s *story) draw() string {
	w := s.options.Width
	if w == 0 {
		w = defaultWidth
	}
	w = min(max(w, leastWidth), defaultWidth)
	d := &drawing{story: s, used: map[fate]bool{}, canvas: canvas{color: s.options.Color, inner: w - timeColumns - 2}}
	if len(s.entries) == 0 {
		return "nothing was sent and nothing was received\n"
	}
	d.head()
	for _, e := range s.entries {
		d.entry(e)
	}
	d.flush(left)
	d.flush(right)
	d.blank()
	d.legend()
	return d.canvas.text()
}

// head names the gateways over their lifelines.
func (d *drawing) head() {
	var name, addr, role [2]string
	roles := [2]string{"initiator", "responder"}
	for i, p := range d.parties {
		name[i], role[i] = safe(p.Name), roles[i]
		if p.Addr.IsValid() {
			addr[i] = p.Addr.String()
		}
		if name[i] == "" {
			name[i], addr[i] = addr[i], ""
		}
	}
	for i := range role {
		if !d.watched[i] {
			role[i] += ", as " + name[1-i] + " sees it"
		}
	}
	half := d.canvas.inner/2 - 1
	d.canvas.heading(clip(name[0], half), clip(name[1], half), bold)
	if addr[0]+addr[1] != "" {
		d.canvas.heading(addr[0], addr[1], plain)
	}
	d.canvas.heading(clip(role[0], half), clip(role[1], half), faint)
}

// clock is the time of e relative to the first message; "" when it was told
// by the line before.
func (d *drawing) clock(e *entry) string {
	if e.At.Before(d.start) {
		return ""
	}
	t := fmt.Sprintf("%7.3f s", e.At.Sub(d.start).Round(time.Millisecond).Seconds())
	if t == d.told {
		return ""
	}
	d.told = t
	return t
}

func (d *drawing) blank() { d.canvas.line("", "│", nil, left, "│") }

func (d *drawing) entry(e *entry) {
	m, ok := e.message()
	switch {
	case ok && e.sent():
		d.flush(e.side)
		d.arrow(e, m, e.side)
	case ok && m.Duplicate:
		if !e.joined {
			d.arrow(e, m, e.side.other())
		}
		d.note(e, note{style: faint, text: "seen before: answered from memory"})
	case ok && !e.joined:
		d.arrow(e, m, e.side.other())
	case !ok:
		d.notes(e)
	}
}

// title is the exchange a message belongs to, "" for one that needs no title.
func title(m event.Message) string {
	switch m.Exchange {
	case "main":
		return "phase 1: main mode"
	case "aggressive":
		return "phase 1: aggressive mode"
	case "quick":
		return fmt.Sprintf("phase 2: quick mode %08x", m.ID)
	}
	return ""
}

// arrow draws a message from a gateway, and what it carries.
func (d *drawing) arrow(e *entry, m event.Message, from side) {
	d.blank()
	if t := title(m); t != "" && (t != d.section || (m.Name == "MM1" || m.Name == "AM1") && m.Attempt == 0) {
		d.section = t
		pad := strings.Repeat(" ", (d.canvas.inner-utf8.RuneCountInString(t))/2)
		d.canvas.line("", "│", []span{{pad, plain}, {t, bold}}, left, "│")
		d.blank()
	}
	d.used[e.fate] = true
	if m.Encrypted {
		d.sealed = true
	} else {
		d.clear = true
	}
	d.canvas.line(d.clock(e), "│", d.shaft(e, m, from), from, "│")
	if m.Attempt == 0 && len(m.Payloads) > 0 {
		d.carried(m, from)
	}
	if w, ok := whyOf(e); ok {
		d.note(e.why, note{style: red, mark: "✗", text: "not accepted: " + w})
	}
}

// whyOf is why the receiver did not accept e.
func whyOf(e *entry) (string, bool) {
	if e.why == nil {
		return "", false
	}
	w, ok := e.why.What.(event.Dropped)
	return w.Reason, ok
}

// shaft is the arrow itself, from lifeline to lifeline.
func (d *drawing) shaft(e *entry, m event.Message, from side) []span {
	stroke, color := "─", blue
	if m.Encrypted {
		stroke, color = "═", green
	}
	label := span{" " + clip(safe(m.Name), 12) + " ", bold}
	if again := attempt(e, m); again != "" {
		label = span{label.text + again + " ", yellow}
	}
	tail, head, end := stroke+stroke, stroke, map[side]string{left: "►", right: "◄"}[from]
	reach, size := d.canvas.inner, fmt.Sprintf(" %d octets ", m.Octets)
	var after []span
	switch e.fate {
	case lost:
		end, size, color, reach = "╳", "", red, d.canvas.inner*2/3
		after = []span{beside(from, "lost", red)}
	case underway:
		end, size, reach = "╶", "", d.canvas.inner*2/3
		after = []span{beside(from, "under way", faint)}
	case ignored:
		end, color = "✗", red
	}
	if m.Octets == 0 {
		size = ""
	}
	fill := reach - width([]span{label}) - 2 - utf8.RuneCountInString(size) - 2
	spans := []span{{tail, color}, label, {strings.Repeat(stroke, max(1, fill)), color}, {size, faint}, {head + end, color}}
	if from == right {
		spans[4].text = end + head
		slices.Reverse(spans)
		return append(after, spans...)
	}
	return append(spans, after...)
}

// beside is a word behind the tip of an arrow that does not arrive.
func beside(from side, word string, s style) span {
	if from == right {
		return span{word + " ", s}
	}
	return span{" " + word, s}
}

// attempt words a message that was sent before: "again, 1 of 6".
func attempt(e *entry, m event.Message) string {
	switch {
	case m.Attempt == 0:
		return ""
	case e.again > 0 && m.Attempt <= e.again:
		return fmt.Sprintf("again, %d of %d", m.Attempt, e.again)
	}
	return "again"
}

// carried writes the payloads under the arrow, at the sender's side.
func (d *drawing) carried(m event.Message, from side) {
	for _, inner := range d.block(from, payloads(m.Payloads), plain) {
		d.canvas.line("", "│", inner, from, "│")
	}
}

// block breaks texts into lines for one side: a left-aligned block, which on
// the right ends next to the lifeline.
func (d *drawing) block(at side, text string, s style, more ...string) [][]span {
	const indent = 3
	lines, longest := []string{}, 0
	for _, t := range append([]string{text}, more...) {
		lines = append(lines, wrap(t, d.canvas.inner-2*indent)...)
	}
	for _, l := range lines {
		longest = max(longest, utf8.RuneCountInString(l))
	}
	out := make([][]span, len(lines))
	for i, l := range lines {
		out[i] = []span{{strings.Repeat(" ", indent), plain}, {l, s}}
		if at == right {
			fill := longest - utf8.RuneCountInString(l) + indent
			out[i] = []span{{l, s}, {strings.Repeat(" ", fill), plain}}
		}
	}
	return out
}

// maxGlued is the longest payload, in columns, that is kept on one line.
const maxGlued = 50

// payloads words a message's payloads: "SA (2 transforms), VID ×3 (DPD), NAT-D ×2".
func payloads(all []event.Payload) string {
	type group struct {
		name    string
		count   int
		details []string
	}
	var groups []*group
	for _, p := range all {
		if len(groups) == 0 || groups[len(groups)-1].name != p.Name {
			groups = append(groups, &group{name: p.Name})
		}
		g := groups[len(groups)-1]
		g.count++
		if p.Detail != "" {
			g.details = append(g.details, clip(safe(p.Detail), 60))
		}
	}
	words := make([]string, 0, len(groups))
	for _, g := range groups {
		w := safe(g.name)
		if g.count > 1 && g.count != len(g.details) {
			w += fmt.Sprintf(" ×%d", g.count)
		}
		if len(g.details) > 0 {
			w += " (" + strings.Join(g.details, ", ") + ")"
		}
		if utf8.RuneCountInString(w) <= maxGlued {
			w = strings.ReplaceAll(w, " ", glue)
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

// note is something a gateway saw or decided.
type note struct {
	style style
	mark  string   // "✓", "✗", "!" or ""
	text  string   // first line
	more  []string // lines below it
}

// note writes n at the lifeline of e's gateway: a tick on its first line.
func (d *drawing) note(e *entry, n note) {
	text := safe(n.text)
	if n.mark != "" {
		text = n.mark + " " + text
	}
	more := make([]string, len(n.more))
	for i := range more {
		more[i] = safe(n.more[i])
	}
	for i, inner := range d.block(e.side, text, n.style, more...) {
		time, first, last := "", "│", "│"
		if i == 0 {
			time = d.clock(e)
			if e.side == left {
				first = "├─"
			} else {
				last = "─┤"
			}
		}
		d.canvas.line(time, first, inner, e.side, last)
	}
}

// legend explains the signs that were used.
func (d *drawing) legend() {
	var w []string
	if d.clear {
		w = append(w, "── in the clear")
	}
	if d.sealed {
		w = append(w, "══ encrypted")
	}
	if d.used[lost] {
		w = append(w, "╳ lost")
	}
	if d.used[ignored] {
		w = append(w, "✗ not accepted")
	}
	d.canvas.put(span{strings.Repeat(" ", timeColumns) + strings.Join(w, "   "), faint})
	d.canvas.out.WriteString("\n")
}
