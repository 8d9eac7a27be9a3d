package show

import (
	"fmt"
	"io"
	"net/netip"

	"culvert/internal/core/flow"
	"culvert/internal/core/status"
)

// AccessLists writes "show access-lists", or the list of that name when it is
// not empty. As in IOS remarks are left out, a line nothing matched has no
// count, and the implicit deny at the end is neither shown nor counted.
func AccessLists(w io.Writer, g *status.Gateway, name string) error {
	var p page
	for i := range g.Lists {
		l := &g.Lists[i]
		if l.List == nil || (name != "" && l.List.Name != name) {
			continue
		}
		p.line("%s IP access list %s", kind(l.List), l.List.Name)
		for j := range l.List.Lines {
			if line := &l.List.Lines[j]; !line.IsRemark() {
				p.line("    %d %s%s", line.Seq, listLine(l.List, line), matches(l.Hits[line.Seq]))
			}
		}
	}
	return p.flush(w)
}

func kind(l *flow.List) string {
	if l.Extended {
		return "Extended"
	}
	return "Standard"
}

// listLine is a line as IOS prints it in a list of that kind.
func listLine(l *flow.List, line *flow.Line) string {
	if l.Extended {
		return lineText(line)
	}
	w := fmt.Sprintf("%-6s ", line.Action)
	switch {
	case line.Src.IsAny():
		w += "any"
	case line.Src.Wildcard == netip.AddrFrom4([4]byte{}):
		w += line.Src.Addr.String()
	default:
		w += fmt.Sprintf("%s, wildcard bits %s", line.Src.Addr, line.Src.Wildcard)
	}
	if line.Log {
		w += " log"
	}
	return w
}

// lineText is the line's condition as it was printed by who read it.
func lineText(l *flow.Line) string {
	if l.Text != "" {
		return l.Text
	}
	return l.Condition()
}

// matches is the count behind a line.
func matches(n uint64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return " (1 match)"
	}
	return fmt.Sprintf(" (%d matches)", n)
}
