// Package ios is the command tree: one tree of modes, keywords and arguments
// that gives parsing with abbreviation, ambiguity, "?" help, completion, "no"
// and "default", and the position of every word. It knows no command itself:
// the configuration and the exec commands (show, clear, debug) are grammars
// written for it.
//
// # Defining a tree
//
// A tree has modes, a mode has commands, a command has a syntax:
//
//	tree, err := ios.New(nil, ios.Mode{Name: "exec", Commands: []ios.Command{
//		{Name: "show-sa", Syntax: "show crypto isakmp sa [ detail | count ]", Help: "Show ISAKMP SAs"},
//		{Name: "clear-sa", Syntax: "clear crypto isakmp [ <id:1-4294967295> ]", Help: "Clear ISAKMP SAs"},
//	}})
//
// The syntax, with blanks between all of its parts:
//
//	word            a keyword; any prefix that fits nothing else stands for it
//	<name:kinds>    an argument; kinds are separated by "|", see below
//	[ a | b ]       none or one of these
//	{ a | b }       one of these
//	{ a | b }...    one or more; [ a | b ]... none or more; <name:kinds>... one or more
//	/               with "no" and "default" the command may end here
//
// The kinds of an argument:
//
//	1-10000         a number in that range
//	A.B.C.D         an IPv4 address
//	NETMASK         255.255.255.0
//	WILDCARD        any dotted quad
//	PREFIX          an IPv4 or IPv6 prefix, 2001:db8::/32
//	INTERFACE       Gi0/1, g0/1, gig 0/1; its Value is the full name
//	WORD            any one word
//	SECRET          any one word, even one that begins with "!"; never quoted in an error
//	LINE            the rest of the line, with its blanks
//	des             that keyword, which may be abbreviated
//
// A keyword is preferred to a free argument where a word fits both, but both
// are followed to the end of the line: in "key [ 0 | 6 ] <key:SECRET>" the
// line "key 0" has the key "0".
//
// # Matching
//
// Match returns the command and the words; Arg, Number and Has look into it:
//
//	m, err := tree.Match("exec", "sh cry isa sa det")
//	m.Command.Name == "show-sa"
//	m.Has("detail")
//	m.Canonical() == "show crypto isakmp sa detail"
//
// The error is a *SyntaxError: Error tells people what was expected, and
// Terminal prints it the way IOS does, with the "^" under the word. Help lists
// what may follow, Complete finishes the last word.
//
// # Reading files
//
// Lines cuts a text into lines: it takes off prompts, carriage returns and
// the marks of a pager, and keeps banners and certificates together.
//
// Decisions: a word that begins with "!" begins a comment unless the grammar
// takes a SECRET or a LINE there. Digits are never an abbreviation. Matching
// follows all readings of a line at once (a set of states for each word), so
// its time is linear in the line for any grammar.
package ios

import (
	"fmt"
	"strings"
)

// Command is one row of a grammar.
type Command struct {
	Name   string // what the caller switches on
	Syntax string
	Help   string // shown by "?" for the command's last plain word
	Opens  string // the mode that the lines after it are in, "" for none
}

// Mode is a set of commands that may be typed at one prompt.
type Mode struct {
	Name string
	// Negatable modes take "no" and "default" before every command.
	Negatable bool
	Commands  []Command
}

// Tree is a compiled grammar. It never changes and may be shared.
type Tree struct {
	modes map[string]*mode
	// glossary explains words for "?": by path ("crypto isakmp") or by word.
	glossary map[string]string
}

type mode struct {
	name      string
	negatable bool
	root      *node
}

// New compiles a grammar. The glossary explains keywords and arguments for
// "?": its keys are whole paths ("crypto isakmp key"), single keywords, or
// argument names in angle brackets ("<priority>"). The error names the faulty syntax.
func New(glossary map[string]string, modes ...Mode) (*Tree, error) {
	t := &Tree{modes: map[string]*mode{}, glossary: map[string]string{}}
	for k, v := range glossary {
		t.glossary[k] = v
	}
	for _, m := range modes {
		if t.modes[m.Name] != nil {
			return nil, fmt.Errorf("ios: mode %q is defined twice", m.Name)
		}
		b := builder{root: &node{}}
		for i := range m.Commands {
			c := m.Commands[i]
			if err := b.add(&c); err != nil {
				return nil, fmt.Errorf("ios: mode %q: %.80q: %w", m.Name, c.Syntax, err)
			}
			if p := plainPath(c.Syntax); c.Help != "" && t.glossary[p] == "" {
				t.glossary[p] = c.Help
			}
		}
		b.finish()
		t.modes[m.Name] = &mode{m.Name, m.Negatable, b.root}
	}
	return t, nil
}

// Must is New for a grammar that is part of the program; it panics on a
// faulty one, which the first test of the program shows.
func Must(t *Tree, err error) *Tree {
	if err != nil {
		panic(err)
	}
	return t
}

// plainPath is the leading keywords of a syntax: where "?" shows the help of
// the whole command.
func plainPath(syntax string) string {
	var words []string
	for _, w := range strings.Fields(syntax) {
		if strings.ContainsAny(w[:1], "<[{/") {
			break
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}
