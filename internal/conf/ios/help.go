package ios

import "strings"

// Choice is one line of "?": a word that may follow and what it means.
type Choice struct {
	Word string // the keyword, "<1-10000>", "WORD", "A.B.C.D" or "<cr>"
	Help string
}

// Return is the Choice that ends the line.
const Return = "<cr>"

// Help lists what may follow a line, as "?" does. When the line ends in a word
// without a blank after it, the choices are the words it may become. The
// error is the one of Match for the words before.
func (t *Tree) Help(modeName, line string) ([]Choice, error) {
	md, ok := t.modes[modeName]
	if !ok {
		_, err := t.Match(modeName, line)
		return nil, err
	}
	tokens := tokenize(line)
	partial := ""
	if n := len(tokens); n > 0 && tokens[n-1].start+len(tokens[n-1].text) == len(line) {
		partial = tokens[n-1].text
		tokens = tokens[:n-1]
	}
	m := &Match{}
	first := md.prefix(m, tokens)
	r := run{line: line, threads: []thread{{at: md.root}}}
	for i := first; i < len(tokens); i++ {
		if r.advance(tokens[i:]); len(r.threads) == 0 {
			return nil, r.err
		}
	}
	out := t.choices(r.threads, partial, m.No || m.Default)
	if first == 0 && len(tokens) == 0 && md.negatable {
		for _, c := range []Choice{{"default", "Set a command to its defaults"}, {"no", "Negate a command or set its defaults"}} {
			if foldPrefix(c.Word, partial) {
				out = append(out, c)
			}
		}
	}
	if len(out) == 0 {
		return nil, refusal(line, r.threads, token{partial, len(line) - len(partial)}, nil)
	}
	return out, nil
}

func (t *Tree) choices(threads []thread, partial string, negated bool) []Choice {
	var out []Choice
	seen := map[string]bool{}
	add := func(word, help string) {
		if !seen[word] {
			seen[word] = true
			out = append(out, Choice{word, help})
		}
	}
	for _, th := range threads {
		if th.wait > 0 {
			continue
		}
		prefix := strings.Join(path([]thread{th}), " ")
		for _, e := range th.at.edges {
			if e.keyword != "" && foldPrefix(e.keyword, partial) {
				add(e.keyword, t.explain(prefix, e.keyword))
			}
			for _, k := range e.kinds {
				switch {
				case k.free() && partial == "":
					add(k.word, t.explain(prefix, "<"+e.arg+">"))
				case !k.free() && foldPrefix(k.word, partial):
					add(k.word, t.explain(prefix, k.word))
				}
			}
		}
		if partial == "" && (th.at.end != nil || negated && th.at.negEnd != nil) {
			add(Return, "")
		}
	}
	return out
}

// explain looks a word up by its whole path, then alone.
func (t *Tree) explain(prefix, word string) string {
	if s := t.glossary[strings.TrimSpace(prefix+" "+word)]; s != "" {
		return s
	}
	return t.glossary[word]
}

// Complete finishes the last word of a line, as the Tab key does: the line
// with the keyword in full and a blank, or unchanged when no single keyword fits.
func (t *Tree) Complete(modeName, line string) string {
	if line == "" || strings.IndexByte(blanks, line[len(line)-1]) >= 0 {
		return line
	}
	choices, err := t.Help(modeName, line)
	if err != nil || len(choices) != 1 || strings.ContainsAny(choices[0].Word, "<") {
		return line
	}
	cut := strings.LastIndexAny(line, blanks) + 1
	return line[:cut] + choices[0].Word + " "
}
