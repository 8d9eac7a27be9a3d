package ios

import (
	"strconv"
	"strings"
)

const blanks = " \t\v\f\r\n"

// token is a word of a line and where it begins.
type token struct {
	text  string
	start int // offset in the line
}

func tokenize(line string) []token {
	var out []token
	for i := 0; i < len(line); {
		if strings.IndexByte(blanks, line[i]) >= 0 {
			i++
			continue
		}
		j := i
		for j < len(line) && strings.IndexByte(blanks, line[j]) < 0 {
			j++
		}
		out = append(out, token{line[i:j], i})
		i = j
	}
	return out
}

// Word is one word of a matched line.
type Word struct {
	Text   string // as typed; two tokens for "gig 0/1"
	Value  string // the keyword in full, the interface name in full, or Text
	Arg    string // name of the argument, "" for a plain keyword
	Column int    // 1-based, in octets of the line given to Match
	Secret bool   // a key: do not print it
}

// Match is a line that fits the grammar.
type Match struct {
	Command *Command
	// No and Default tell that the line began with "no" or "default".
	No, Default bool
	Words       []Word // without "no" and "default"
	Comment     int    // column of a trailing comment, 0 for none
}

// Arg returns the first argument with that name.
func (m *Match) Arg(name string) (Word, bool) {
	for _, w := range m.Words {
		if w.Arg == name {
			return w, true
		}
	}
	return Word{}, false
}

// Value is the value of the first argument with that name, "" when there is none.
func (m *Match) Value(name string) string {
	w, _ := m.Arg(name)
	return w.Value
}

// Args returns every argument with that name, in the order typed.
func (m *Match) Args(name string) []Word {
	var out []Word
	for _, w := range m.Words {
		if w.Arg == name {
			out = append(out, w)
		}
	}
	return out
}

// Number is the value of a number argument; false when it is not there.
func (m *Match) Number(name string) (int, bool) {
	w, ok := m.Arg(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(w.Value)
	return n, err == nil
}

// Has reports whether the plain keyword was typed.
func (m *Match) Has(keyword string) bool {
	for _, w := range m.Words {
		if w.Arg == "" && w.Value == keyword {
			return true
		}
	}
	return false
}

// Canonical is the line with every keyword in full, secrets included.
func (m *Match) Canonical() string {
	words := make([]string, 0, len(m.Words)+1)
	switch {
	case m.No:
		words = append(words, "no")
	case m.Default:
		words = append(words, "default")
	}
	for _, w := range m.Words {
		words = append(words, w.Value)
	}
	return strings.Join(words, " ")
}

// thread is one reading of the line so far.
type thread struct {
	at   *node
	wait int // tokens that the last argument has taken in advance
	last *step
}

// step is a word of a reading; readings share their beginnings.
type step struct {
	word Word
	prev *step
}

// run is the state of one call of Match or Help.
type run struct {
	line    string
	threads []thread
	next    []thread
	err     *SyntaxError // why the last reading ended
}

// Match reads one line in a mode. A line without words is an Incomplete error.
func (t *Tree) Match(modeName, line string) (*Match, error) {
	md, ok := t.modes[modeName]
	if !ok {
		return nil, &SyntaxError{Kind: Unknown, Line: line, Column: 1, Expected: []string{"a mode of this tree, not " + strconv.Quote(modeName)}}
	}
	tokens := tokenize(line)
	m := &Match{}
	first := md.prefix(m, tokens)
	r := run{line: line, threads: []thread{{at: md.root}}}
	negated := m.No || m.Default
	for i := first; i < len(tokens); i++ {
		if tokens[i].text[0] == '!' && !r.takesComment() {
			m.Comment = tokens[i].start + 1
			break
		}
		r.advance(tokens[i:])
		if len(r.threads) == 0 {
			return nil, r.err
		}
	}
	for _, th := range r.threads {
		c := th.at.end
		if c == nil && negated {
			c = th.at.negEnd
		}
		if c != nil && th.wait == 0 {
			m.Command = c
			m.Words = words(th.last)
			return m, nil
		}
	}
	return nil, r.incomplete()
}

// prefix takes "no" or "default" and returns the index of the token after it.
func (m *mode) prefix(to *Match, tokens []token) int {
	if !m.negatable || len(tokens) == 0 {
		return 0
	}
	switch w := tokens[0].text; {
	case strings.EqualFold(w, "no"):
		to.No = true
	case len(w) >= 3 && foldPrefix("default", w):
		to.Default = true
	default:
		return 0
	}
	return 1
}

// takesComment reports whether a reading takes a word that begins with "!" as
// a key or as text, or is inside one.
func (r *run) takesComment() bool {
	for _, th := range r.threads {
		if th.wait > 0 {
			return true
		}
		for _, e := range th.at.edges {
			for _, k := range e.kinds {
				if k.of == kindSecret || k.of == kindLine {
					return true
				}
			}
		}
	}
	return false
}

// advance moves every reading over one token and drops those it does not fit.
func (r *run) advance(tokens []token) {
	before := r.threads
	r.next = make([]thread, 0, len(before)+1)
	ambiguous := []string(nil)
	for _, th := range before {
		if th.wait > 0 {
			th.wait--
			r.push(th)
			continue
		}
		if words := r.keywords(th, tokens[0]); len(words) > 1 {
			ambiguous = words
		}
		r.arguments(th, tokens)
	}
	r.threads = r.next
	if len(r.threads) == 0 {
		r.err = refusal(r.line, before, tokens[0], ambiguous)
	}
}

// keywords follows the keyword that the token stands for. It returns every
// keyword it may stand for: more than one is ambiguous, and none is followed.
func (r *run) keywords(th thread, tk token) []string {
	found := matching(th.at.edges, tk.text)
	if len(found) != 1 {
		return found
	}
	w := Word{Text: tk.text, Value: found[0], Column: tk.start + 1}
	for i := range th.at.edges {
		e := th.at.edges[i]
		if e.keyword == found[0] {
			r.follow(th, e, w, 1)
		}
		for _, k := range e.kinds {
			if k.of == kindKeyword && k.word == found[0] {
				w.Arg = e.arg
				r.follow(th, e, w, 1)
				w.Arg = ""
			}
		}
	}
	return found
}

// matching lists the distinct keywords that the word is, or is a prefix of.
// An exact keyword is alone. Digits are no abbreviation.
func matching(edges []*edge, word string) []string {
	var out []string
	add := func(kw string) (exact bool) {
		if !foldPrefix(kw, word) {
			return false
		}
		if len(kw) == len(word) {
			return true
		}
		if isDigits(word) {
			return false
		}
		for _, o := range out {
			if o == kw {
				return false
			}
		}
		out = append(out, kw)
		return false
	}
	for i := range edges {
		if kw := edges[i].keyword; kw != "" && add(kw) {
			return []string{kw}
		}
		for j := range edges[i].kinds {
			if k := &edges[i].kinds[j]; k.of == kindKeyword && add(k.word) {
				return []string{k.word}
			}
		}
	}
	return out
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// arguments follows every free argument that takes the token.
func (r *run) arguments(th thread, tokens []token) {
	for i := range th.at.edges {
		e := th.at.edges[i]
		for _, k := range e.kinds {
			if !k.free() {
				continue
			}
			n, value := k.accept(r.line, tokens)
			if n == 0 {
				continue
			}
			last := tokens[n-1]
			text := r.line[tokens[0].start : last.start+len(last.text)]
			r.follow(th, e, Word{Text: text, Value: value, Arg: e.arg, Column: tokens[0].start + 1, Secret: k.of == kindSecret}, n)
			break
		}
	}
}

func (r *run) follow(th thread, e *edge, w Word, n int) {
	r.push(thread{at: e.to, wait: n - 1, last: &step{w, th.last}})
}

// push keeps a reading unless an earlier, preferred one stands at the same place.
func (r *run) push(th thread) {
	for _, o := range r.next {
		if o.at == th.at && o.wait == th.wait {
			return
		}
	}
	r.next = append(r.next, th)
}

func words(s *step) []Word {
	n := 0
	for p := s; p != nil; p = p.prev {
		n++
	}
	out := make([]Word, n)
	for p := s; p != nil; p = p.prev {
		n--
		out[n] = p.word
	}
	return out
}
