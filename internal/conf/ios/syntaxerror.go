package ios

import (
	"fmt"
	"strings"
)

// ErrorKind says how a line does not fit the grammar.
type ErrorKind uint8

// The kinds of a SyntaxError.
const (
	Unknown    ErrorKind = iota // the word fits nothing
	Ambiguous                   // the word is the beginning of several keywords
	Incomplete                  // the line ends too early
)

// SyntaxError tells where a line leaves the grammar.
type SyntaxError struct {
	Kind   ErrorKind
	Line   string // as given to Match; may hold a key
	Column int    // 1-based, in octets; one behind the line's last word when it is Incomplete
	Word   string // the word at Column, "" at the end and where a key could be
	// Expected is what could stand there, in the order of the grammar; for
	// Ambiguous the keywords it may mean.
	Expected []string
	// Path is the keywords understood before the word, in full.
	Path []string
	// Guess is the keyword that was probably meant, "" when there is none.
	Guess string
}

// Error is what people read: `word "xyz": expected address or hostname`.
func (e *SyntaxError) Error() string {
	switch {
	case e.Kind == Ambiguous && e.Word != "":
		return fmt.Sprintf("word %s: ambiguous, it may be %s", Quote(e.Word), Join(e.Expected))
	case e.Kind == Incomplete:
		return "the line ends here: expected " + Join(e.Expected)
	case e.Word == "":
		return fmt.Sprintf("expected %s here, behind the key (a key has no blanks)", Join(e.Expected))
	case e.Guess != "":
		return fmt.Sprintf("word %s: expected %s (did you mean %q?)", Quote(e.Word), Join(e.Expected), e.Guess)
	}
	return fmt.Sprintf("word %s: expected %s", Quote(e.Word), Join(e.Expected))
}

// Terminal is the error as IOS prints it under a line typed after a prompt of
// that many octets, without a final newline.
func (e *SyntaxError) Terminal(prompt int) string {
	switch e.Kind {
	case Ambiguous:
		return fmt.Sprintf("%% Ambiguous command:  %q", strings.TrimRight(e.Line, blanks))
	case Incomplete:
		return "% Incomplete command."
	}
	return strings.Repeat(" ", max(0, prompt+e.Column-1)) + "^\n% Invalid input detected at '^' marker."
}

// Quote is a word in quotation marks, cut when it is long, with what a
// terminal would act on shown as an escape.
func Quote(word string) string {
	const most = 40
	if len(word) > most {
		return fmt.Sprintf("%q…", word[:most])
	}
	return fmt.Sprintf("%q", word)
}

// Join lists alternatives: "des, 3des or aes". A long list is cut.
func Join(words []string) string {
	const most = 12
	switch n := len(words); {
	case n == 0:
		return "nothing"
	case n == 1:
		return words[0]
	case n > most+1: // never "1 others"
		return fmt.Sprintf("%s or %d others", strings.Join(words[:most], ", "), n-most)
	default:
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
}

// EndOfLine stands in Expected where the line could end.
const EndOfLine = "the end of the line"

// refusal describes the token that ended every reading.
func refusal(line string, before []thread, tk token, ambiguous []string) *SyntaxError {
	e := &SyntaxError{Kind: Unknown, Line: line, Column: tk.start + 1, Word: tk.text}
	e.Expected, e.Path = expectations(before, false), path(before)
	if afterSecret(before) && !isQuad(tk.text) {
		e.Word = ""
	}
	if len(ambiguous) > 0 {
		e.Kind, e.Expected = Ambiguous, ambiguous
		return e
	}
	if e.Word == "" {
		return e
	}
	e.Guess = Nearest(tk.text, keywordsOf(before))
	return e
}

// incomplete describes a line that ended too early.
func (r *run) incomplete() *SyntaxError {
	end := len(strings.TrimRight(r.line, blanks))
	return &SyntaxError{Kind: Incomplete, Line: r.line, Column: end + 1, Expected: expectations(r.threads, true), Path: path(r.threads)}
}

// expectations lists what the readings could go on with.
func expectations(threads []thread, ended bool) []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, th := range threads {
		for _, e := range th.at.edges {
			if e.keyword != "" {
				add(e.keyword)
			}
			for _, k := range e.kinds {
				add(k.expected())
			}
		}
		if th.at.end != nil && !ended {
			add(EndOfLine)
		}
	}
	return out
}

func keywordsOf(threads []thread) []string {
	var out []string
	for _, th := range threads {
		for _, e := range th.at.edges {
			if e.keyword != "" {
				out = append(out, e.keyword)
			}
			for _, k := range e.kinds {
				if k.of == kindKeyword {
					out = append(out, k.word)
				}
			}
		}
	}
	return out
}

// path is the keywords of the preferred reading.
func path(threads []thread) []string {
	var out []string
	if len(threads) > 0 {
		for _, w := range words(threads[0].last) {
			if w.Arg == "" {
				out = append(out, w.Value)
			}
		}
	}
	return out
}

// isQuad reports whether a word can be meant as an address or a mask: no part of a key.
func isQuad(s string) bool { return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.") == "" }

// afterSecret reports whether a reading has a key, so that the word may be a
// part of it: people write keys with blanks.
func afterSecret(threads []thread) bool {
	for _, th := range threads {
		for s := th.last; s != nil; s = s.prev {
			if s.word.Secret {
				return true
			}
		}
	}
	return false
}

// Nearest is the candidate that differs from the word by at most two typing
// errors, or "". Words of fewer than four letters have no neighbours.
func Nearest(word string, candidates []string) string {
	const most = 2
	word = strings.ToLower(word)
	best, at := "", most+1
	if len(word) < 4 || len(word) > 40 {
		return ""
	}
	for _, c := range candidates {
		if d := distance(word, c, at); d < at && len(c) >= 4 {
			best, at = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two words, or limit when it is not less.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}
