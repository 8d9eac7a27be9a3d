package archtest

import "go/ast"

// layer is a part of the tree and what it may import of the module.
type layer struct {
	dir  string
	uses []string
}

// layers lists each part of the tree. A part may always import what lies
// within itself. A file belongs to the first part that holds it.
func layers() []layer {
	return []layer{
		{"cmd", []string{"internal/gateway", "internal/edge", "internal/face", "internal/sim", "internal/lab", "internal/conf", "internal/core"}},
		{"internal/gateway", []string{"internal/edge", "internal/face", "internal/conf", "internal/core"}},
		{"internal/sim", []string{"internal/conf", "internal/core", "internal/face/trace"}},
		{"internal/lab", []string{"internal/face", "internal/conf", "internal/core", "examples"}},
		{"internal/edge", []string{"internal/core"}},
		// The prompt and the words of show and debug are read with the tree of
		// conf/ios, which gives help and abbreviation to configuration as well.
		{"internal/face", []string{"internal/core", "internal/conf/ios"}},
		{"internal/conf", []string{"internal/core/origin", "internal/core/suite", "internal/core/flow", "internal/core/policy", "internal/core/crypt", "internal/core/pki"}},
		{"internal/core", nil},
		{"internal/archtest", nil},
		{"internal/doctest", nil},
		{"internal/tools", nil},
		// The two sites' configurations, embedded for the lab, tests and documents.
		{"examples", nil},
	}
}

func layerOf(dir string) (layer, bool) {
	for _, l := range layers() {
		if inside(dir, l.dir) {
			return l, true
		}
	}
	return layer{}, false
}

func layerRules() []Rule {
	return []Rule{
		{
			Name:  "imports point one way",
			Do:    "let the upper part hand down a value of core, or move the code; cmd → gateway → {edge, face} → core, with sim, lab and conf as layers.go says",
			Check: oneWay,
		},
		{
			Name:  "tests of core and conf need no machine",
			Do:    "test with values and package sim; what needs sockets or namespaces is tested in edge, gateway or lab",
			Check: pureTests,
		},
		{
			Name:  "every package has its place",
			Do:    "put the package into a part of docs/ARCHITECTURE.md, or add a part there and in layers.go",
			Check: placed,
		},
		{
			Name:  "ikev1 and ikev2 do not know each other",
			Do:    "put what both need into a package of core beside them",
			Check: strangers,
		},
		{
			Name:  "a gateway starts no process",
			Do:    "use the netlink and socket packages; commands belong to the lab and the tools, so that nothing from the wire ever reaches one (CVE-2023-28771)",
			Check: noProcess,
		},
	}
}

// imports calls see for each import of the module's own packages.
func (t Tree) imports(see func(f File, s *ast.ImportSpec, dir string)) {
	for _, f := range t.Files {
		for _, s := range f.AST.Imports {
			if dir, ok := t.own(imported(s)); ok {
				see(f, s, dir)
			}
		}
	}
}

func oneWay(t Tree) (bad []string) {
	t.imports(func(f File, s *ast.ImportSpec, dir string) {
		if l, ok := layerOf(f.Dir()); ok && !f.Test && !inside(dir, l.dir) && !insideAny(dir, l.uses...) {
			bad = append(bad, t.at(s, "%s imports %s", f.Dir(), dir))
		}
	})
	return bad
}

func pureTests(t Tree) (bad []string) {
	t.imports(func(f File, s *ast.ImportSpec, dir string) {
		if f.Test && pure(f.Dir()) && insideAny(dir, "cmd", "internal/edge", "internal/gateway", "internal/lab") {
			bad = append(bad, t.at(s, "a test of %s imports %s", f.Dir(), dir))
		}
	})
	return bad
}

// placed leaves directories alone that hold nothing but tests: nobody can
// import those.
func placed(t Tree) (bad []string) {
	for dir, files := range t.dirs(false) {
		if _, ok := layerOf(dir); !ok {
			bad = append(bad, t.at(files[0].AST.Name, "no part of the architecture holds %s", dir))
		}
	}
	return bad
}

// noProcess leaves the command of the lab alone, which starts a shell in a namespace.
func noProcess(t Tree) (bad []string) {
	for _, f := range t.Files {
		if f.Test || insideAny(f.Dir(), "internal/lab", "internal/tools") || f.Path == "cmd/culvert/lab.go" {
			continue
		}
		for _, s := range f.AST.Imports {
			if imported(s) == "os/exec" {
				bad = append(bad, t.at(s, "%s imports os/exec", f.Dir()))
			}
		}
	}
	return bad
}

func strangers(t Tree) (bad []string) {
	const one, two = "internal/core/ikev1", "internal/core/ikev2"
	t.imports(func(f File, s *ast.ImportSpec, dir string) {
		if inside(f.Dir(), one) && inside(dir, two) || inside(f.Dir(), two) && inside(dir, one) {
			bad = append(bad, t.at(s, "%s imports %s", f.Dir(), dir))
		}
	})
	return bad
}
