package ios

import (
	"iter"
	"strings"
)

// LineKind says what a line of a file is.
type LineKind uint8

// The kinds of a Line.
const (
	Blank    LineKind = iota // nothing, or only a comment
	Text                     // a command
	Exec                     // typed at an exec prompt, "R1#show run": not configuration
	Verbatim                 // inside a banner, a certificate or a key in hexadecimal
	Unclosed                 // the file ends inside one; the Line is its first
	PEM                      // PEM text, announced by a command or not: it may be a private key
)

// Line is one line of a file.
type Line struct {
	Kind   LineKind
	Number int    // 1-based
	Raw    string // as written, without the line's end
	// Body is the command: without prompt and indentation, and Column is where
	// it begins in Raw, 1-based.
	Body   string
	Column int
	// Indent counts the blanks before a command that has no prompt; a tab counts as one.
	Indent int
	// Prompt is the mode in a prompt such as "R1(config-if)#": "config-if".
	Prompt string
}

// Lines cuts a text into lines. It takes off a byte order mark, carriage
// returns, prompts and the marks of a pager, and marks the lines inside
// banners ("banner motd ^C … ^C"), certificates ("certificate … quit"),
// "key-string … quit" as Verbatim, and PEM text as PEM, up to its end or, behind
// "crypto key import … pem", up to "quit".
func Lines(text string) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		b := block{}
		n := 0
		for raw := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			n++
			raw = strings.TrimRight(raw, "\r\n")
			var l Line
			if b.inside() {
				l = Line{Kind: b.kind, Number: n, Raw: raw, Body: raw, Column: 1}
				b.next(raw)
			} else if strings.HasPrefix(strings.TrimLeft(raw, blanks), pemBegin) {
				l = Line{Kind: PEM, Number: n, Raw: raw, Body: raw, Column: 1}
				b = block{first: l, until: pemEnd, kind: PEM}
			} else {
				l = readLine(raw)
				l.Number = n
				if l.Kind == Text {
					b.begin(l)
				}
			}
			if !yield(l) {
				return
			}
		}
		if b.inside() {
			b.first.Kind = Unclosed
			yield(b.first)
		}
	}
}

func readLine(raw string) Line {
	body := raw
	if s := strings.TrimLeft(body, blanks); strings.HasPrefix(s, "--More--") {
		body = strings.TrimLeft(s[len("--More--"):], "\b"+blanks)
	}
	trimmed := strings.TrimLeft(body, blanks)
	l := Line{Kind: Text, Raw: raw, Indent: len(body) - len(trimmed)}
	if mode, rest, ok := cutPrompt(trimmed); ok {
		l.Prompt, l.Indent = mode, 0
		trimmed = strings.TrimLeft(rest, blanks)
		if mode == "" {
			l.Kind = Exec
		}
	}
	l.Column = len(raw) - len(trimmed) + 1
	l.Body = strings.TrimRight(trimmed, blanks)
	if l.Body == "" || l.Body[0] == '!' {
		l.Kind = Blank
	}
	return l
}

// cutPrompt takes "R1(config-if)#", "R1#" or "R1>" off a line. mode is what
// stands in the brackets.
func cutPrompt(s string) (mode, rest string, ok bool) {
	i := 0
	for i < len(s) && (s[i] == '-' || s[i] == '.' || s[i] == '_' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	if i == 0 || i == len(s) {
		return "", s, false
	}
	if s[i] == '(' {
		end := strings.Index(s[i:], ")#")
		if end < 0 || strings.ContainsAny(s[i:i+end], blanks) {
			return "", s, false
		}
		return s[i+1 : i+end], s[i+end+2:], true
	}
	if s[i] == '#' || s[i] == '>' {
		return "", s[i+1:], true
	}
	return "", s, false
}

// What PEM text begins and ends with (RFC 7468 section 3).
const pemBegin, pemEnd = "-----BEGIN ", "-----END "

// block is a run of lines that are not commands.
type block struct {
	first Line
	until string   // the delimiter of a banner, "quit", or the end of PEM text
	kind  LineKind // of the lines inside
}

func (b *block) inside() bool { return b.until != "" }

// begin looks whether a command opens a block.
func (b *block) begin(l Line) {
	words := strings.Fields(l.Body)
	switch first := strings.ToLower(words[0]); {
	case len(first) >= 3 && foldPrefix("banner", first) && len(words) > 1:
		b.banner(l, words)
	case len(first) >= 4 && foldPrefix("certificate", first) && len(words) > 1 && isCertificate(words), first == "key-string" && len(words) == 1:
		b.first, b.until, b.kind = l, "quit", Verbatim
	case isImport(words):
		b.first, b.until, b.kind = l, "quit", PEM
	}
}

// isCertificate reports whether a certificate follows: "certificate file PATH"
// names a file, and "certificate ca 01 nvram:CA.cer" one of the router's own.
func isCertificate(words []string) bool {
	last := strings.ToLower(words[len(words)-1])
	return !strings.EqualFold(words[1], "file") && !strings.HasPrefix(last, "nvram:")
}

// isImport reports whether a private key follows: "crypto key import rsa LABEL pem".
func isImport(words []string) bool {
	return len(words) == 6 && foldPrefix("crypto", words[0]) && foldPrefix("key", words[1]) && foldPrefix("import", words[2]) && foldPrefix("pem", words[5])
}

// banner finds the delimiter: the first character after the banner's type,
// where IOS prints a control-C as "^C". The text may end on the same line.
func (b *block) banner(l Line, words []string) {
	rest := strings.TrimLeft(l.Body[len(words[0]):], blanks)
	switch words[1] {
	case "motd", "login", "exec", "incoming", "slip-ppp", "prompt-timeout", "config-save":
		rest = strings.TrimLeft(rest[len(words[1]):], blanks)
	}
	if rest == "" {
		return
	}
	delimiter := rest[:1]
	if strings.HasPrefix(rest, "^C") {
		delimiter = "^C"
	}
	if !strings.Contains(rest[len(delimiter):], delimiter) {
		b.first, b.until, b.kind = l, delimiter, Verbatim
	}
}

// next looks whether a line closes the block.
func (b *block) next(raw string) {
	if b.until == "quit" {
		if strings.EqualFold(strings.Trim(raw, blanks), "quit") {
			b.until = ""
		}
		return
	}
	if strings.Contains(raw, b.until) {
		b.until = ""
	}
}
