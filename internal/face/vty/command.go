package vty

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"culvert/internal/conf/ios"
)

// Command is one understood command. The zero Command is none.
type Command struct {
	name string // row's syntax, or one of the names of commands.go
	line string // canonical, without arguments abbreviated

	Peer netip.Addr // of "peer A", "remote A" and explain; the zero Addr for all
	Conn int        // of "clear crypto isakmp N"; 0 for all
	List string     // name of an access list; "" for all
	Map  string     // name of a crypto map; "" for all
	Dest netip.Addr // of "clear crypto sa entry": where the SA ends
	AH   bool       // … an AH SA
	SPI  uint32     // … its SPI; 0 for none in particular
	JSON bool       // set by the caller: answer as JSON

	choices []ios.Choice // of "?"
	listed  bool         // "?" stood behind a word: only the words, no help
}

// String is the command with every keyword in full.
func (c Command) String() string { return c.line }

// Streams reports whether the command goes on until its context ends.
func (c Command) Streams() bool { return c.topic() != "" }

// topic is what a debug command is about, "" for any other command.
func (c Command) topic() Topic {
	switch c.name {
	case debugISAKMP:
		return ISAKMP
	case debugIPsec:
		return IPsec
	case debugEngine:
		return Engine
	}
	return ""
}

// exec is the compiled grammar; it never changes.
var exec = grammar()

// Parse understands the words of a command, abbreviated or not; a word may
// hold several. A last word that ends in "?" asks for help. The error is an
// *ios.SyntaxError whose Line is the words with one blank between.
func Parse(words []string) (Command, error) {
	line := strings.Join(words, " ")
	if before, asked := strings.CutSuffix(line, "?"); asked {
		choices, err := exec.Help(execMode, before)
		if err != nil {
			return Command{}, err
		}
		listed := before != "" && !strings.HasSuffix(before, " ")
		return Command{name: help, line: line, choices: choices, listed: listed}, nil
	}
	m, err := exec.Match(execMode, line)
	if err != nil {
		return Command{}, err
	}
	c := Command{name: m.Command.Name, line: m.Canonical(), List: m.Value("name"), Map: m.Value("map")}
	if n, ok := m.Number("conn"); ok {
		c.Conn = n
	}
	if a := m.Value("peer"); a != "" {
		if c.Peer, err = netip.ParseAddr(a); err != nil {
			return Command{}, fmt.Errorf("vty: the grammar took %q for an address: %w", a, err)
		}
	}
	return c, c.entry(m)
}

// entry reads the arguments of "clear crypto sa entry".
func (c *Command) entry(m *ios.Match) (err error) {
	if c.name != clearSAEntry {
		return nil
	}
	if c.Dest, err = netip.ParseAddr(m.Value("dest")); err != nil {
		return fmt.Errorf("vty: the grammar took %q for an address: %w", m.Value("dest"), err)
	}
	spi, err := strconv.ParseUint(m.Value("spi"), 0, 32)
	if err != nil || spi == 0 {
		return fmt.Errorf("%q is no SPI: it is a number such as 412118941 or 0x18906F9D", m.Value("spi"))
	}
	c.SPI, c.AH = uint32(spi), m.Has("ah")
	return nil
}

// ErrNo is returned by Execute when the answer was written and is "no": a
// tunnel that explain was asked about is not up.
var ErrNo = errors.New("the answer is no")

// ExitStatus is the exit status of the interface contract for an error of
// Parse or Execute: 0 done, 1 the answer is no or it could not be done,
// 2 not understood.
func ExitStatus(err error) int {
	var syntax *ios.SyntaxError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &syntax):
		return 2
	}
	return 1
}

// Message is an error as a terminal shows it, without a final newline. A
// syntax error repeats the line and marks the word, as IOS does, and then says
// what was expected there. ErrNo has no message.
func Message(err error) string {
	var e *ios.SyntaxError
	switch {
	case err == nil || errors.Is(err, ErrNo):
		return ""
	case !errors.As(err, &e):
		return "% " + err.Error()
	case e.Kind == ios.Unknown:
		return printable(e.Line) + "\n" + e.Terminal(0) + "\n% " + e.Error()
	}
	return e.Terminal(0) + "\n% " + e.Error()
}

// printable is the line with one harmless octet for each of its octets, so
// that a terminal does not act on it and the mark stays under its word.
func printable(line string) string {
	b := []byte(line)
	for i, c := range b {
		switch {
		case c < ' ' || c == 0x7f:
			b[i] = ' '
		case c > 0x7f:
			b[i] = '?'
		}
	}
	return string(b)
}

// helpText is what "?" prints: words in columns behind a beginning, else one a
// line with its meaning.
func helpText(c Command) string {
	var b strings.Builder
	if c.listed {
		for i, ch := range c.choices {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(ch.Word)
		}
		return b.String() + "\n"
	}
	width := 0
	for _, ch := range c.choices {
		width = max(width, len(ch.Word))
	}
	for _, ch := range c.choices {
		b.WriteString(strings.TrimRight(fmt.Sprintf("  %-*s  %s", width, ch.Word, ch.Help), " ") + "\n")
	}
	return b.String()
}
