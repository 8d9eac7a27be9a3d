package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// pure reports whether a directory belongs to the parts that only compute.
func pure(dir string) bool { return insideAny(dir, "internal/core", "internal/conf") }

func pureRules() []Rule {
	return []Rule{
		{
			Name:  "core and conf do no I/O",
			Do:    "take packets, files, randomness and addresses as arguments (bytes, io.Reader, net/netip); I/O lives in edge and gateway",
			Check: noIO,
		},
		{
			Name:  "core and conf own no clock",
			Do:    "take now as an argument and return a deadline; tests advance now by hand",
			Check: noClock,
		},
		{
			Name:  "core and conf start no goroutine",
			Do:    "return slow work as a value (door.Compute, crypt.Job) that the gateway runs",
			Check: noGoroutine,
		},
		{
			Name:  "atomics only on the data path",
			Do:    "let one owner change the state; sync/atomic is for core/sadb, core/esp, core/ah and core/replay",
			Check: noAtomics,
		},
		{
			Name:  "core and conf do not log",
			Do:    "emit an event; log/slog is for core/crypt/secret.go, whose LogValue keeps keys out of logs",
			Check: noLog,
		},
		{
			Name:  "core and conf need no library that does I/O",
			Do:    "use the standard library, filippo.io/bigmod or golang.org/x/crypto; others belong to edge, face, gateway or lab",
			Check: fewLibraries,
		},
	}
}

// pureImports calls see for each import in the pure parts, tests left out.
func (t Tree) pureImports(see func(f File, s *ast.ImportSpec, p string)) {
	for _, f := range t.Files {
		if f.Test || !pure(f.Dir()) {
			continue
		}
		for _, s := range f.AST.Imports {
			see(f, s, imported(s))
		}
	}
}

func noIO(t Tree) (bad []string) {
	t.pureImports(func(f File, s *ast.ImportSpec, p string) {
		if p != "net/netip" && insideAny(p, "net", "os", "syscall", "golang.org/x/sys") ||
			slices.Contains([]string{"context", "sync", "crypto/rand"}, p) {
			bad = append(bad, t.at(s, "imports %s", p))
		}
	})
	return bad
}

func noAtomics(t Tree) (bad []string) {
	t.pureImports(func(f File, s *ast.ImportSpec, p string) {
		if p == "sync/atomic" && !insideAny(f.Dir(), "internal/core/sadb", "internal/core/esp", "internal/core/ah", "internal/core/replay") {
			bad = append(bad, t.at(s, "imports %s", p))
		}
	})
	return bad
}

func noLog(t Tree) (bad []string) {
	t.pureImports(func(f File, s *ast.ImportSpec, p string) {
		if inside(p, "log") && (p != "log/slog" || f.Path != "internal/core/crypt/secret.go") {
			bad = append(bad, t.at(s, "imports %s", p))
		}
	})
	return bad
}

func fewLibraries(t Tree) (bad []string) {
	t.pureImports(func(f File, s *ast.ImportSpec, p string) {
		_, own := t.own(p)
		host, _, _ := strings.Cut(p, "/")
		if !own && strings.Contains(host, ".") && !insideAny(p, "filippo.io/bigmod", "golang.org/x/crypto") {
			bad = append(bad, t.at(s, "imports %s", p))
		}
	})
	return bad
}

// noClock forbids the functions of package time that read a clock or wait. A
// test of a pure package may measure itself, but not sleep.
func noClock(t Tree) (bad []string) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	for _, f := range t.Files {
		if !pure(f.Dir()) || !f.imports("time") {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) && (!f.Test || sel.Sel.Name == "Sleep") {
				bad = append(bad, t.at(sel, "uses time.%s", sel.Sel.Name))
			}
			return true
		})
	}
	return bad
}

// imports reports whether f imports the package p under its own name: another
// name is an alias, which a rule of its own forbids.
func (f File) imports(p string) bool {
	return slices.ContainsFunc(f.AST.Imports, func(s *ast.ImportSpec) bool {
		return imported(s) == p && (s.Name == nil || s.Name.Name == path.Base(p))
	})
}

func noGoroutine(t Tree) (bad []string) {
	for _, f := range t.Files {
		if f.Test || !pure(f.Dir()) {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				bad = append(bad, t.at(g, "starts a goroutine"))
			}
			return true
		})
	}
	return bad
}
