package trace

import (
	"strings"
	"unicode/utf8"
)

// style is how a span of the ladder looks; it never changes its width.
type style string

// The styles, as ANSI parameters.
const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "36"
)

// span is a piece of text in one style.
type span struct {
	text  string
	style style
}

func width(spans []span) int {
	n := 0
	for _, s := range spans {
		n += utf8.RuneCountInString(s.text)
	}
	return n
}

// canvas takes the ladder line by line. Every line has a time, a lifeline, the
// space between and the other lifeline.
type canvas struct {
	out   strings.Builder
	color bool
	inner int // columns between the lifelines
}

// timeColumns is the width of the time in front of the first lifeline.
const timeColumns = 11

func (c *canvas) put(s span) {
	if c.color && s.style != plain && strings.TrimSpace(s.text) != "" {
		c.out.WriteString("\x1b[" + string(s.style) + "m" + s.text + "\x1b[0m")
		return
	}
	c.out.WriteString(s.text)
}

// line draws one line; first and last are the lifelines, inner is padded on
// the side opposite to from. A lifeline with a tick takes a blank of inner.
func (c *canvas) line(time, first string, inner []span, from side, last string) {
	ticks := utf8.RuneCountInString(first+last) - 2
	pad := span{text: strings.Repeat(" ", max(0, c.inner-width(inner)))}
	if ticks > 0 && from == left {
		inner[0].text = inner[0].text[ticks:]
	} else if ticks > 0 {
		end := &inner[len(inner)-1]
		end.text = end.text[:len(end.text)-ticks]
	}
	if from == left {
		inner = append(inner[:len(inner):len(inner)], pad)
	} else {
		inner = append([]span{pad}, inner...)
	}
	c.put(span{time + strings.Repeat(" ", max(0, timeColumns-utf8.RuneCountInString(time))), faint})
	c.put(span{first, faint})
	for _, s := range inner {
		c.put(s)
	}
	c.put(span{last, faint})
	c.out.WriteString("\n")
}

// heading draws a line without lifelines: one text flush with each of them.
func (c *canvas) heading(l, r string, s style) {
	gap := max(2, c.inner+2-utf8.RuneCountInString(l)-utf8.RuneCountInString(r))
	c.put(span{text: strings.Repeat(" ", timeColumns)})
	c.put(span{l, s})
	c.put(span{text: strings.Repeat(" ", gap)})
	c.put(span{r, s})
	c.out.WriteString("\n")
}

// text is what was drawn, without blanks at the ends of lines.
func (c *canvas) text() string {
	lines := strings.Split(c.out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// glue is a blank at which wrap does not break. Text from elsewhere has none:
// safe escapes it.
const glue = "\x00"

// wrap breaks text at blanks into lines of at most n columns; a longer word is cut.
func wrap(text string, n int) []string {
	var out []string
	now, have := "", 0
	for _, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		if have > 0 && have+1+size > n {
			out, now, have = append(out, now), "", 0
		}
		for size > n {
			r := []rune(word)
			out, word, size = append(out, string(r[:n])), string(r[n:]), size-n
		}
		if have > 0 {
			now, have = now+" ", have+1
		}
		now, have = now+word, have+size
	}
	out = append(out, now)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], glue, " ")
	}
	return out
}

// clip shortens text to n columns.
func clip(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
