package ios

import (
	"errors"
	"fmt"
	"strings"
)

// node is a state between two words. While a grammar is built it has empty
// moves too (eps); finish replaces them by the edges they lead to.
type node struct {
	edges []*edge
	eps   []*node
	// end is the command that is complete here, negEnd the one that is
	// complete here after "no" or "default".
	end, negEnd *Command
	tails       map[string]*node // leading plain words, shared between commands
	closed      *closure
	mark        int
}

// closure is a node with the empty moves taken.
type closure struct {
	edges       []*edge
	end, negEnd *Command
}

// edge is one word: a keyword, or an argument with its kinds.
type edge struct {
	keyword string
	arg     string
	kinds   []kind
	to      *node
}

type builder struct {
	root *node
	all  []*node
}

func (b *builder) node() *node {
	n := &node{}
	b.all = append(b.all, n)
	return n
}

// add compiles one command into the graph. Its leading keywords and arguments
// share the nodes of earlier commands, so that a word is ambiguous only when
// the words differ.
func (b *builder) add(c *Command) error {
	words := strings.Fields(c.Syntax)
	if len(words) == 0 {
		return errors.New("the syntax is empty")
	}
	at := b.root
	i := 0
	for ; i < len(words); i++ {
		w := words[i]
		if w == "/" {
			if at.negEnd == nil {
				at.negEnd = c
			}
			continue
		}
		if w == "[" || w == "{" || strings.HasSuffix(w, "...") {
			break
		}
		next := at.tails[w]
		if next == nil {
			e, err := parseWord(w)
			if err != nil {
				return err
			}
			next = b.node()
			e.to = next
			at.edges = append(at.edges, &e)
			if at.tails == nil {
				at.tails = map[string]*node{}
			}
			at.tails[w] = next
		}
		at = next
	}
	p := parser{b: b, c: c, words: words[i:]}
	end, err := p.sequence(at)
	if err != nil {
		return err
	}
	if len(p.words) > 0 {
		return fmt.Errorf("%q closes nothing", p.words[0])
	}
	if end.end != nil {
		return fmt.Errorf("it is the same as %q", end.end.Syntax)
	}
	end.end = c
	return nil
}

// parser compiles the part of a syntax that has groups.
type parser struct {
	b     *builder
	c     *Command
	words []string
}

// sequence compiles words from the state at until a "|", a closing bracket or
// the end, and returns the state behind them.
func (p *parser) sequence(at *node) (*node, error) {
	for len(p.words) > 0 {
		w := p.words[0]
		switch {
		case w == "|" || strings.HasPrefix(w, "]") || strings.HasPrefix(w, "}"):
			return at, nil
		case w == "/":
			at.negEnd = p.c
			p.words = p.words[1:]
		case w == "[" || w == "{":
			next, err := p.group(at, w)
			if err != nil {
				return nil, err
			}
			at = next
		default:
			e, err := parseWord(strings.TrimSuffix(w, "..."))
			if err != nil {
				return nil, err
			}
			// An own state before the word keeps a repetition from running into its neighbours.
			from, next := p.b.node(), p.b.node()
			at.eps = append(at.eps, from)
			e.to = next
			from.edges = append(from.edges, &e)
			if strings.HasSuffix(w, "...") {
				next.eps = append(next.eps, from)
			}
			at = next
			p.words = p.words[1:]
		}
	}
	return at, nil
}

// group compiles "[ a | b ]" and "{ a | b }", repeated or not.
func (p *parser) group(at *node, open string) (*node, error) {
	from, to := p.b.node(), p.b.node()
	at.eps = append(at.eps, from)
	for {
		p.words = p.words[1:] // the bracket or the bar
		end, err := p.sequence(from)
		if err != nil {
			return nil, err
		}
		end.eps = append(end.eps, to)
		if len(p.words) == 0 {
			return nil, fmt.Errorf("%q is not closed", open)
		}
		if p.words[0] != "|" {
			break
		}
	}
	w := p.words[0]
	p.words = p.words[1:]
	if w[0] != map[string]byte{"[": ']', "{": '}'}[open] {
		return nil, fmt.Errorf("%q is closed by %q", open, w)
	}
	switch w[1:] {
	case "":
	case "...":
		to.eps = append(to.eps, from)
	default:
		return nil, fmt.Errorf("%q is not understood", w)
	}
	if open == "[" {
		from.eps = append(from.eps, to)
	}
	// An own state behind the group, so that its repetition stays inside.
	out := p.b.node()
	to.eps = append(to.eps, out)
	return out, nil
}

// finish replaces the empty moves by the edges they lead to, in order. Only
// the states behind a word are ever stood in, so only those get their edges.
func (b *builder) finish() {
	stood := []*node{b.root}
	for _, n := range append([]*node{b.root}, b.all...) {
		for _, e := range n.edges {
			stood = append(stood, e.to)
		}
	}
	for i, n := range stood {
		n.closed = &closure{end: n.end, negEnd: n.negEnd}
		n.close(n.closed, i+1)
	}
	for _, n := range stood {
		n.edges, n.end, n.negEnd = n.closed.edges, n.closed.end, n.closed.negEnd
	}
	for _, n := range b.all {
		n.eps, n.tails, n.closed = nil, nil, nil
	}
}

// close adds what n and the empty moves from it lead to; mark tells the walks apart.
func (n *node) close(to *closure, mark int) {
	if n.mark == mark {
		return
	}
	n.mark = mark
	to.edges = append(to.edges, n.edges...)
	if to.end == nil {
		to.end = n.end
	}
	if to.negEnd == nil {
		to.negEnd = n.negEnd
	}
	for _, m := range n.eps {
		m.close(to, mark)
	}
}

// parseWord reads one keyword or "<name:kinds>".
func parseWord(w string) (edge, error) {
	if w[0] != '<' {
		if strings.ContainsAny(w, "<>|[]{}:") {
			return edge{}, fmt.Errorf("%q is no keyword", w)
		}
		return edge{keyword: strings.ToLower(w)}, nil
	}
	name, kinds, ok := strings.Cut(strings.TrimSuffix(w[1:], ">"), ":")
	if !ok || !strings.HasSuffix(w, ">") || name == "" || kinds == "" {
		return edge{}, fmt.Errorf("%q is not <name:kinds>", w)
	}
	e := edge{arg: name}
	for _, k := range strings.Split(kinds, "|") {
		kd, err := parseKind(k)
		if err != nil {
			return edge{}, err
		}
		e.kinds = append(e.kinds, kd)
	}
	return e, nil
}
