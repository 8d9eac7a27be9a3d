package matrix

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/lab/scenario"
)

var update = flag.Bool("update", false, "write docs/interop.md")

// only lets a person try some scenarios: CULVERT_SCENARIO is part of their names.
const only = "CULVERT_SCENARIO"

// culvert builds the program for the tests that can run here.
func culvert(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "culvert")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/culvert")
	build.Dir, build.Env = filepath.Join("..", "..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building culvert: %v\n%s", err, out)
	}
	return binary
}

// measured is what came of the runs.
type measured struct {
	mu   sync.Mutex
	page Page
}

func (m *measured) put(c Cell, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.page.Cells[c] = outcome
}

// Every scenario of the table with every peer, each beginning in turn, gives
// what the table wants and docs/interop.md says.
func TestMatrix(t *testing.T) {
	var binary string
	m := &measured{page: NewPage()}
	t.Run("peers", func(t *testing.T) {
		for _, peers := range [][]scenario.Peer{{scenario.SwanUser}, {scenario.SwanKernel, scenario.Libreswan}} {
			var here []scenario.Peer
			for _, p := range peers {
				if err := Available(p); err != nil {
					t.Run(string(p), func(t *testing.T) { t.Skip(err) })
					continue
				}
				here = append(here, p)
			}
			if len(here) == 0 {
				continue
			}
			if binary == "" {
				binary = culvert(t)
			}
			t.Run(string(peers[0]), func(t *testing.T) {
				t.Parallel()
				for _, nat := range []bool{false, true} {
					if testing.Short() && nat {
						continue // as in table
					}
					m.try(t, binary, fmt.Sprintf("mx%d-%d", len(peers), os.Getpid()), here, nat)
				}
			})
		}
	})
	if !t.Failed() {
		m.compare(t)
	}
}

// table is what is tried: all, or with -short, as for the race detector, just
// enough to see the runner at work, for the program under test is the same.
func table() []scenario.Scenario {
	if testing.Short() {
		return scenario.All()[:2]
	}
	return scenario.All()
}

// try runs all scenarios with a NAT, or all without, on one bench.
func (m *measured) try(t *testing.T, binary, name string, peers []scenario.Peer, nat bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	b, err := Open(ctx, name, binary, peers[0], nat)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, p := range peers {
		if err := b.Use(ctx, p); err != nil {
			t.Fatal(err)
		}
		for _, s := range table() {
			if s.NAT != nat || !strings.Contains(s.Name, os.Getenv(only)) {
				continue
			}
			for _, role := range scenario.Roles() {
				if s.Excluded(p, role) != "" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", p, s.Name, role), func(t *testing.T) {
					ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
					defer cancel()
					outcome, err := b.Run(ctx, &s, role)
					if err != nil {
						// A guest on a busy machine loses a packet now and then.
						t.Logf("once more, because of: %v", err)
						outcome, err = b.Run(ctx, &s, role)
					}
					if err != nil {
						t.Fatal(err)
					}
					m.put(Cell{s.Name, p, role}, outcome)
				})
			}
		}
	}
}

// compare holds the page against what was measured; what could not be tried
// here stays as it is written.
func (m *measured) compare(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "interop.md")
	written, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	page := ReadPage(string(written))
	for c, outcome := range m.page.Cells {
		page.Cells[c] = outcome
	}
	for _, p := range scenario.Peers() {
		if Available(p) != nil {
			continue
		}
		v, err := Version(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			page.Versions[p] = v
		} else if page.Versions[p] != v {
			// Debian mends its packages: no failure.
			t.Logf("%s is %s here, the page was written with %s", p, v, page.Versions[p])
		}
	}
	text := page.Text()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(written) {
		t.Errorf("docs/interop.md is not what was measured. If that is as it should be: go test ./internal/lab/matrix -update\n%s", text)
	}
	if strings.Contains(text, " "+unknown) && os.Getenv(only) == "" {
		t.Errorf("docs/interop.md has cells that nobody has measured")
	}
}

// A page that was read is the page that was written.
func TestPageIsReadBack(t *testing.T) {
	p := NewPage()
	for i, k := range scenario.Peers() {
		p.Versions[k] = fmt.Sprintf("version %d", i)
		for _, s := range scenario.All() {
			for _, r := range scenario.Roles() {
				if s.Excluded(k, r) == "" {
					p.Cells[Cell{s.Name, k, r}] = fmt.Sprintf("outcome-%d-%d", i, len(r))
				}
			}
		}
	}
	text := p.Text()
	if again := ReadPage(text).Text(); again != text || strings.Contains(text, unknown) {
		t.Errorf("written:\n%s\nread back:\n%s", text, again)
	}
	delete(p.Cells, Cell{scenario.All()[0].Name, scenario.SwanUser, scenario.PeerBegins})
	if text := p.Text(); !strings.Contains(text, "outcome-0-14, "+unknown) {
		t.Errorf("a cell that nobody has measured:\n%s", text)
	}
}
