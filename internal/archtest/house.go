package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	maxFile = 800 // lines of a file
	maxFunc = 60  // lines between the braces of a function
)

func houseRules() []Rule {
	return []Rule{
		{
			Name:  "leaf package names are unique",
			Do:    "rename one of the two: with no import aliases both could not be used in one file",
			Check: uniqueNames,
		},
		{
			Name:  "a package is named as its directory",
			Do:    "give package and directory one name (a command: main; tests may add _test)",
			Check: namedAsDir,
		},
		{
			Name:  "no package is a drawer",
			Do:    "name the package after what it provides, not util, utils, common, helper, helpers, types, misc or shared",
			Check: noDrawers,
		},
		{
			Name:  "no import aliases",
			Do:    "import under the package's own name; only the blank name _ is allowed",
			Check: noAliases,
		},
		{
			Name:  "no func init",
			Do:    "call a function where the value is needed, or write the table as a literal",
			Check: noInit,
		},
		{
			Name:  "package variables do not change",
			Do:    "put the state into a struct that somebody owns and pass it",
			Check: fixedVariables,
		},
		{
			Name:  "every package has a package comment",
			Do:    `begin one file with "// Package name …": what it is, its RFCs, its map`,
			Check: packageComments,
		},
		{
			Name:  "files are short",
			Do:    fmt.Sprintf("split the file by subject before it has %d lines", maxFile),
			Check: shortFiles,
		},
		{
			Name:  "functions are short",
			Do:    fmt.Sprintf("split the function before its body has %d lines", maxFunc),
			Check: shortFunctions,
		},
	}
}

func uniqueNames(t Tree) (bad []string) {
	first := map[string]string{}
	for _, dir := range slices.Sorted(maps.Keys(t.dirs(false))) {
		leaf := path.Base(dir)
		if other, ok := first[leaf]; ok {
			bad = append(bad, fmt.Sprintf("%s: %s has that name too", dir, other))
			continue
		}
		first[leaf] = dir
	}
	return bad
}

func namedAsDir(t Tree) (bad []string) {
	for _, f := range t.Files {
		name := f.AST.Name.Name
		if f.Test {
			name = strings.TrimSuffix(name, "_test")
		}
		if f.Dir() != "." && name != "main" && name != path.Base(f.Dir()) {
			bad = append(bad, t.at(f.AST.Name, "package %s in %s", f.AST.Name.Name, f.Dir()))
		}
	}
	return bad
}

func noDrawers(t Tree) (bad []string) {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}
	for _, f := range t.Files {
		for _, name := range []string{strings.TrimSuffix(f.AST.Name.Name, "_test"), path.Base(f.Dir())} {
			if slices.Contains(drawers, name) {
				bad = append(bad, t.at(f.AST.Name, "package %s in %s", f.AST.Name.Name, f.Dir()))
				break
			}
		}
	}
	return bad
}

func noAliases(t Tree) (bad []string) {
	for _, f := range t.Files {
		for _, s := range f.AST.Imports {
			if s.Name != nil && s.Name.Name != "_" {
				bad = append(bad, t.at(s, "imports %s as %s", imported(s), s.Name.Name))
			}
		}
	}
	return bad
}

func noInit(t Tree) (bad []string) {
	for _, f := range t.Files {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad = append(bad, t.at(fn, "func init"))
			}
		}
	}
	return bad
}

func packageComments(t Tree) (bad []string) {
	for _, files := range t.dirs(true) {
		words := false
		for _, f := range files {
			name := f.AST.Name.Name
			words = words || name == "main" && f.AST.Doc.Text() != "" || strings.HasPrefix(f.AST.Doc.Text(), "Package "+name+" ")
		}
		if !words {
			bad = append(bad, t.at(files[0].AST.Name, "package %s has no package comment", files[0].AST.Name.Name))
		}
	}
	return bad
}

func shortFiles(t Tree) (bad []string) {
	for _, f := range t.Files {
		if !f.Test && f.Lines >= maxFile {
			bad = append(bad, fmt.Sprintf("%s: %d lines", f.Path, f.Lines))
		}
	}
	return bad
}

// shortFunctions counts a function literal within a function as part of it;
// one in a package variable counts on its own.
func shortFunctions(t Tree) (bad []string) {
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			var name string
			var body *ast.BlockStmt
			switch fn := n.(type) {
			case *ast.FuncDecl:
				name, body = fn.Name.Name, fn.Body
			case *ast.FuncLit:
				name, body = "a function literal", fn.Body
			default:
				return true
			}
			if n := t.between(body); n >= maxFunc {
				bad = append(bad, t.at(body, "%s: %d lines", name, n))
			}
			return false
		})
	}
	return bad
}

// between counts the lines between the braces of a body.
func (t Tree) between(b *ast.BlockStmt) int {
	if b == nil {
		return 0
	}
	line := func(p token.Pos) int { return t.fset.Position(p).Line }
	return max(0, line(b.Rbrace)-line(b.Lbrace)-1)
}
