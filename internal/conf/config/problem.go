package config

import (
	"fmt"
	"strings"

	"culvert/internal/core/origin"
)

// Severity says how bad a problem or a finding is.
type Severity uint8

// The severities, worst last.
const (
	Note    Severity = iota // good to know
	Warning                 // works, or may; not as most people would want it
	Error                   // cannot work, or would not be what was written
)

func (s Severity) String() string { return [...]string{"note", "warning", "error"}[min(s, Error)] }

// Problem is something wrong with the text of a configuration. A
// configuration with a Problem of severity Error is not run.
type Problem struct {
	Severity Severity
	File     string
	Line     int    // 1-based
	Column   int    // 1-based, in octets
	Word     string // the word at that place; "" at the end of a line and where a key could be
	// Expected is what could have stood there, "" when Message says it all.
	Expected string
	Message  string
	// Fix is the line to write instead, "" when there is no single one.
	Fix string
	// Step is 1 to 5 for a problem that Check reports as a Finding too, with
	// its consequence; 0 for one only Parse can see.
	Step int
}

// String is "file:line:column: error: message".
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Severity != Error {
		s += p.Severity.String() + ": "
	}
	s += p.Message
	if p.Fix != "" {
		s += "; write: " + strings.ReplaceAll(p.Fix, "\n ", ", then ")
	}
	return s
}

// Error makes a Problem an error, so that it can be returned as one.
func (p Problem) Error() string { return p.String() }

// Finding is one result of Check: something about the five steps that will be
// seen on the wire.
type Finding struct {
	Step        int // 1 to 5
	Severity    Severity
	Origin      origin.Line // the line it is about; the zero Line when one is missing
	Message     string      // what is wrong, in one sentence
	Consequence string      // what will happen on the wire
	Fix         string      // the line or lines to write, separated by "\n"; "" when there is no single answer
}

// String is "file:line: step 2: error: message: consequence".
func (f Finding) String() string {
	at := ""
	if !f.Origin.IsZero() {
		at = f.Origin.String() + ": "
	}
	return fmt.Sprintf("%sstep %d: %s: %s: %s", at, f.Step, f.Severity, f.Message, f.Consequence)
}
