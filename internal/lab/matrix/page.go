package matrix

import (
	"fmt"
	"regexp"
	"strings"

	"culvert/internal/lab/scenario"
)

// Page is docs/interop.md: what came of every scenario with every peer.
type Page struct {
	// Versions are the peers' packages.
	Versions map[scenario.Peer]string
	// Cells are the outcomes: "up", or the reason code of explain.
	Cells map[Cell]string
}

// Cell is one place in the matrix.
type Cell struct {
	Scenario string
	Peer     scenario.Peer
	Role     scenario.Role
}

// NewPage is an empty page.
func NewPage() Page {
	return Page{Versions: make(map[scenario.Peer]string), Cells: make(map[Cell]string)}
}

// none stands where a scenario is not tried, unknown where it should have been.
const (
	none    = "–"
	unknown = "?"
)

const preface = `# Interoperability

Culvert with real peers, one row for each scenario. A cell says what came of it, first when Culvert began and then
when the peer did: ` + "`up`" + `, or the reason code of ` + "`culvert explain`" + ` where the two ends do not fit and the tunnel has to
be refused. "–" is not tried, for the reason [below](#what-is-not-tried-and-why).

The page is written by the tests: ` + "`go test ./internal/lab/matrix -update`" + `. An ordinary run compares, and a
difference fails. Up means: both ends list one ISAKMP SA and the same IPsec SAs (SPIs, algorithms, mode, PFS group,
packets), pings were answered in both directions, the first one included, and the wire carried IKE and sealed packets
of the one expected kind, nothing else. Refused means: explain named that reason within seconds and nothing went out,
sealed or in clear. The configurations of both ends are made from ` + "`internal/lab/scenario`" + `.

`

// Text is the page.
func (p Page) Text() string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| Peer | Version |\n|---|---|\n")
	for _, k := range scenario.Peers() {
		fmt.Fprintf(&b, "| %s | %s |\n", k, orUnknown(p.Versions[k]))
	}
	b.WriteString("\nstrongSwan in user space speaks ESP in UDP 4500 and tunnel mode only. On a Linux kernel (a User-Mode Linux guest) the\nESP and AH are the kernel's own, and its counters are compared.\n\n## The matrix\n\n| Scenario | As tried by |")
	for _, k := range scenario.Peers() {
		fmt.Fprintf(&b, " %s |", k)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(scenario.Peers())) + "\n")
	for _, s := range scenario.All() {
		fmt.Fprintf(&b, "| %s | %s |", s.Name, s.Field)
		for _, k := range scenario.Peers() {
			fmt.Fprintf(&b, " %s, %s |", p.cell(&s, k, scenario.CulvertBegins), p.cell(&s, k, scenario.PeerBegins))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## What is not tried, and why\n\n")
	for _, line := range excluded() {
		b.WriteString(line)
	}
	return b.String()
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func (p Page) cell(s *scenario.Scenario, k scenario.Peer, r scenario.Role) string {
	if s.Excluded(k, r) != "" {
		return none
	}
	return orUnknown(p.Cells[Cell{s.Name, k, r}])
}

// excluded are the cells that stay empty, gathered by peer and reason.
func excluded() []string {
	var lines []string
	at := make(map[string]int)
	for _, k := range scenario.Peers() {
		for _, s := range scenario.All() {
			for c, why := range s.Not {
				if c.Peer != k {
					continue
				}
				head := fmt.Sprintf("- %s: %s", k, why)
				name := s.Name
				if c.Role != "" {
					name += " (" + string(c.Role) + ")"
				}
				i, there := at[head]
				if !there {
					i = len(lines)
					at[head] = i
					lines = append(lines, head+". ")
				}
				lines[i] = strings.TrimSuffix(lines[i], "\n")
				if there {
					lines[i] += "; "
				}
				lines[i] += name + "\n"
			}
		}
	}
	return lines
}

var versionRow = regexp.MustCompile(`^\| (.+?) \| (.+?) \|$`)

// ReadPage reads a page back. Rows of scenarios that are not in the table any
// more are left out.
func ReadPage(text string) Page {
	p := NewPage()
	rows := make(map[string][]string)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := versionRow.FindStringSubmatch(line); m != nil && strings.Count(line, "|") == 3 {
			p.Versions[scenario.Peer(m[1])] = m[2]
		}
		if f := strings.Split(line, "|"); len(f) == 4+len(scenario.Peers()) {
			rows[strings.TrimSpace(f[1])] = f[3:]
		}
	}
	for _, s := range scenario.All() {
		row, ok := rows[s.Name]
		if !ok {
			continue
		}
		for i, k := range scenario.Peers() {
			first, second, _ := strings.Cut(strings.TrimSpace(row[i]), ", ")
			for r, word := range map[scenario.Role]string{scenario.CulvertBegins: first, scenario.PeerBegins: second} {
				if word != none && word != unknown {
					p.Cells[Cell{s.Name, k, r}] = word
				}
			}
		}
	}
	return p
}
