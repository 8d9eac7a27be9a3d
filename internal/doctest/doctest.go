// Package doctest keeps the documents true: it reads the fenced blocks of
// README.md and docs/*.md, so that a test can run what they show, look up what
// they quote and find what they name.
//
//	doctest.go   the blocks of a document, the commands of a console block
//	match.go     whether a command printed what the document says
//	renew.go     a block written anew from what the command prints
//
// A console block holds commands behind "$ " and what they print. Its commands
// run in a shell, all of a document in one directory, from top to bottom. A
// line that is only "…" stands for lines left out. What differs from run to
// run, such as SPIs, times and the octets of a lifetime, is compared by its
// shape (see Normal).
//
// An ios block quotes lines of examples/r1.cfg or examples/r2.cfg. Blocks of
// other languages are nobody's promise.
package doctest

import (
	"fmt"
	"strings"
)

// Languages of blocks that are checked.
const (
	Console = "console"
	IOS     = "ios"
)

// prompt begins a command, more the line that continues it.
const (
	prompt = "$ "
	more   = "> "
)

// Block is one fenced block of a document.
type Block struct {
	Lang   string
	Single bool
	Line   int // of the first line inside the fence, from 1
	Lines  []string
}

// Blocks are the fenced blocks of a document, from top to bottom. A block that
// is never closed is an error.
func Blocks(text string) ([]Block, error) {
	var out []Block
	var open *Block
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			lang, rest, _ := strings.Cut(strings.TrimSpace(fence), " ")
			open = &Block{Lang: lang, Single: rest == "single", Line: i + 2}
		case isFence:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.Lines = append(open.Lines, line)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("the block that begins at line %d is not closed", open.Line)
	}
	return out, nil
}

// Run is a command of a console block and what it is said to print.
type Run struct {
	Line    int    // of the command in the document, from 1
	Command string // without the prompt; continued lines joined by newlines
	From    int    // where the output begins in the document, from 1
	Output  []string
}

// Runs are the commands of a console block. Text before the first command is an
// error.
func (b Block) Runs() ([]Run, error) {
	var out []Run
	for i, line := range b.Lines {
		at := b.Line + i
		command, isCommand := strings.CutPrefix(line, prompt)
		next, continues := strings.CutPrefix(line, more)
		switch {
		case isCommand && (i == 0 || !b.Single):
			out = append(out, Run{Line: at, Command: command, From: at + 1})
		case len(out) == 0:
			return nil, fmt.Errorf("line %d: expected a command behind %q, found %q", at, prompt, line)
		case continues && len(out[len(out)-1].Output) == 0:
			r := &out[len(out)-1]
			r.Command += "\n" + next
			r.From = at + 1
		default:
			r := &out[len(out)-1]
			r.Output = append(r.Output, line)
		}
	}
	return out, nil
}
