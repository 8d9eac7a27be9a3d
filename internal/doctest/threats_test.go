package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/threats.md names tests that exist, each in a file that
// names the row.
func TestThreatsHaveTheirTests(t *testing.T) {
	const doc = "docs/threats.md"
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| (.+) \|$`)
	cell := regexp.MustCompile("`([^`]+)` ([A-Za-z0-9, ]+)")
	rows, named := 0, map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(read(t, doc), -1) {
		id, tests := m[1], cell.FindAllStringSubmatch(m[3], -1)
		if id == "Threat" || strings.HasPrefix(id, "---") {
			continue
		}
		if rows++; named[id] {
			t.Errorf("%s: %s stands there twice", doc, id)
		}
		named[id] = true
		if len(tests) == 0 {
			t.Errorf("%s: %s names no test", doc, id)
		}
		for _, c := range tests {
			for _, name := range strings.Split(c[2], ", ") {
				if why := testNames(t, c[1], strings.TrimSpace(name), id); why != "" {
					t.Errorf("%s: %s: %s", doc, id, why)
				}
			}
		}
	}
	if rows < 50 {
		t.Errorf("%d rows found", rows)
	}
}

// testNames looks for a test in a package, and for the threat in its file; it
// says what is missing.
func testNames(t *testing.T, dir, name, id string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch text := string(b); {
		case !strings.Contains(text, "\nfunc "+name+"("):
		case !strings.Contains(text, id):
			return f + " has " + name + ", but does not name the threat"
		default:
			return ""
		}
	}
	return "no " + name + " in " + dir
}
