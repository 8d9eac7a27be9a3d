package doctest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"culvert/examples"
)

const architecture = "docs/ARCHITECTURE.md"

// prose is a document with its fenced blocks blanked out.
func prose(t *testing.T, doc string) string {
	t.Helper()
	text := strings.Split(read(t, doc), "\n")
	for _, b := range blocks(t, doc) {
		for i := range b.Lines {
			text[b.Line-1+i] = ""
		}
	}
	return strings.Join(text, "\n")
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(prose(t, doc), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			at := doc
			if target != "" {
				at = path.Join(path.Dir(doc), target)
			}
			if _, err := os.Stat(filepath.Join(root(t), at)); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(prose(t, at)), anchor) {
				t.Errorf("%s links to %s: there is no such heading", doc, m[1])
			}
		}
	}
}

// anchors are the names of a document's headings, as GitHub makes them.
func anchors(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		out = append(out, regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(name, ""))
	}
	return out
}

// What a document writes as the path of a file or package of this tree exists.
func TestPathsExist(t *testing.T) {
	named := regexp.MustCompile("`((?:cmd|internal|docs|examples|scripts)/[^`\\s]*|Makefile|go\\.mod|LICENSE)`")
	for _, doc := range documents(t) {
		found := named.FindAllStringSubmatch(prose(t, doc), -1)
		if len(found) == 0 {
			t.Errorf("%s names no file at all: is the pattern right?", doc)
		}
		for _, m := range found {
			if there, err := filepath.Glob(filepath.Join(root(t), m[1])); err != nil || len(there) == 0 {
				t.Errorf("%s names %s, which is not there", doc, m[1])
			}
		}
	}
}

// packages are the directories of the tree that hold Go files, tests apart.
func packages(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root(t), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") && p != root(t) {
			return fs.SkipDir
		}
		dir, err := filepath.Rel(root(t), filepath.Dir(p))
		if err == nil && strings.HasSuffix(p, ".go") && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
		return err
	})
	if err != nil || len(out) < 20 {
		t.Fatalf("packages: %v %v", out, err)
	}
	return out
}

// Every package has its row in the architecture, and every row its package.
func TestEveryPackageIsInTheArchitecture(t *testing.T) {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\| \\S").FindAllStringSubmatch(section(t, "Packages"), -1) {
		rows = append(rows, m[1])
	}
	for _, dir := range packages(t) {
		if !slices.Contains(rows, dir) {
			t.Errorf("%s has no row for package %s", architecture, dir)
		}
	}
	for _, dir := range rows {
		if !slices.Contains(packages(t), dir) {
			t.Errorf("%s has a row for %s, which is no package", architecture, dir)
		}
	}
}

// section is the text below a heading of the architecture.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, architecture), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", architecture, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// The table of import rules is the one that archtest holds.
func TestImportRules(t *testing.T) {
	const rules = "internal/archtest/layers.go"
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), rules), nil, parser.ParseComments)
	if err != nil || f.Name.Name != "archtest" {
		t.Fatal(err)
	}
	layer := regexp.MustCompile(`(?m)^\t\t\{"([^"]+)", (?:nil|\[\]string\{([^}]*)\})\},$`)
	found := layer.FindAllStringSubmatch(read(t, rules), -1)
	if len(found) < 8 {
		t.Fatalf("%s is not written as expected: %d layers found", rules, len(found))
	}
	text := section(t, "Who imports whom")
	for _, m := range found {
		uses := "nothing of the module"
		if m[2] != "" {
			uses = strings.ReplaceAll(m[2], `"`, "`")
		}
		if row := "| `" + m[1] + "` | " + uses + " |"; !strings.Contains(text, row) {
			t.Errorf("%s lacks the rule of %s:\n%s", architecture, rules, row)
		}
	}
	if n := strings.Count(text, "\n| `"); n != len(found) {
		t.Errorf("%s has %d import rules, %s has %d", architecture, n, rules, len(found))
	}
}

// Each bound that the architecture states stands in the file it names.
func TestBounds(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| `(\\w+)` in `([^`]+)` \\|$")
	found := row.FindAllStringSubmatch(section(t, "What is bounded"), -1)
	if len(found) < 10 {
		t.Fatalf("%d bounds found", len(found))
	}
	for _, m := range found {
		value, name, file := strings.TrimSpace(m[1]), m[2], m[3]
		is := regexp.MustCompile(`(?m)^.*\b` + name + `\b.*\b` + regexp.QuoteMeta(value) + `.*$`)
		if !is.MatchString(read(t, file)) {
			t.Errorf("%s: %s in %s is not %s", architecture, name, file, value)
		}
	}
}

// What is quoted as configuration stands in one of the examples.
func TestQuotedConfiguration(t *testing.T) {
	n := 0
	for _, doc := range documents(t) {
		for _, b := range blocks(t, doc) {
			if b.Lang != IOS {
				continue
			}
			n++
			for _, part := range segments(b.Lines) {
				quote := "\n" + strings.Join(part, "\n") + "\n"
				if !strings.Contains("\n"+examples.R1, quote) && !strings.Contains("\n"+examples.R2, quote) {
					t.Errorf("%s:%d: not in examples/r1.cfg nor in examples/r2.cfg:%s", doc, b.Line, quote)
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("%d blocks of configuration found: expected one a step at least", n)
	}
}
