// Package archtest holds the rules of the architecture as a test: which package
// may import which, what the pure packages keep out, and the house rules of how
// a file is written. It reads the sources with go/parser and starts no process.
//
//	tree.go    the sources of the module, parsed
//	layers.go  imports point one way: cmd → gateway → {edge, face} → core
//	pure.go    core and conf do no I/O, own no clock, start no goroutine
//	house.go   names, comments, sizes; variables.go: package variables
//
// A rule that is meant to change is changed here and in docs/ARCHITECTURE.md.
// One rule of the house no parser can hold: no interface whose only second
// implementation is a test.
package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Rule is one rule of the architecture.
type Rule struct {
	Name string
	Do   string // what to do about an offender
	// Check returns the offenders, each "file:line: what".
	Check func(Tree) []string
}

// Rules lists every rule.
func Rules() []Rule {
	return slices.Concat(layerRules(), pureRules(), houseRules())
}

// Tree is every Go file of one module.
type Tree struct {
	Module string // path of go.mod's module directive
	Files  []File // by path
	fset   *token.FileSet
}

// File is one Go file, parsed.
type File struct {
	Path  string // slash-separated, from the module's root
	Test  bool   // *_test.go
	Lines int
	AST   *ast.File
}

// Dir is the directory of the file, "." for the module's root.
func (f File) Dir() string { return path.Dir(f.Path) }

// Load parses the module whose go.mod is at the root of fsys. Directories that
// the go command leaves out, and modules inside the module, are left out too.
func Load(fsys fs.FS) (Tree, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return Tree{}, err
	}
	t := Tree{fset: token.NewFileSet()}
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			t.Module = strings.TrimSpace(name)
		}
	}
	if t.Module == "" {
		return Tree{}, fmt.Errorf("go.mod: no module directive")
	}
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && left(fsys, p, d.Name()):
			return fs.SkipDir
		case d.IsDir() || path.Ext(p) != ".go" || strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		return t.add(fsys, p)
	})
	return t, err
}

// left reports whether a directory is no part of the module.
func left(fsys fs.FS, p, name string) bool {
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(p, "go.mod"))
	return err == nil
}

func (t *Tree) add(fsys fs.FS, p string) error {
	src, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	t.Files = append(t.Files, File{
		Path:  p,
		Test:  strings.HasSuffix(p, "_test.go"),
		Lines: len(slices.Collect(bytes.Lines(src))),
		AST:   f,
	})
	return nil
}

// at words an offender.
func (t Tree) at(n ast.Node, format string, a ...any) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, a...))
}

// dirs groups the files by directory, without the tests if asked so.
func (t Tree) dirs(tests bool) map[string][]File {
	m := map[string][]File{}
	for _, f := range t.Files {
		if tests || !f.Test {
			m[f.Dir()] = append(m[f.Dir()], f)
		}
	}
	return m
}

// inside reports whether the package or file p is dir or lies under it.
func inside(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func insideAny(p string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return inside(p, d) })
}

// imported is the path of an import.
func imported(s *ast.ImportSpec) string {
	p, _ := strconv.Unquote(s.Path.Value) // the parser took only valid strings
	return p
}

// own turns the path of an import into a directory of the module.
func (t Tree) own(p string) (dir string, ok bool) {
	if p == t.Module {
		return ".", true
	}
	return strings.CutPrefix(p, t.Module+"/")
}
