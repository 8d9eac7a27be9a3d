package archtest

import (
	"slices"
	"strings"
	"testing"
)

// breach is a file that breaks one rule, put into the good tree.
type breach struct {
	rule, path, src string
	want            string // the offender, or a part of it
}

func lines(n int) string { return strings.Repeat("\n", n) }

var breaches = []breach{
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/conf/ios"`, "a.go:1: internal/core/flow imports internal/conf/ios"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/edge/mmsg"`, "imports internal/edge/mmsg"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/face/show"`, "imports internal/face/show"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/gateway"`, "imports internal/gateway"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/sim"`, "imports internal/sim"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/lab"`, "imports internal/lab"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert/internal/gateway"`, "imports internal/gateway"},
	{"imports point one way", "internal/conf/ios/a.go", `package ios; import "culvert/internal/core/ikev1"`, "imports internal/core/ikev1"},
	{"imports point one way", "internal/conf/ios/a.go", `package ios; import "culvert/internal/gateway"`, "imports internal/gateway"},
	{"imports point one way", "internal/edge/mmsg/a.go", `package mmsg; import "culvert/internal/face/show"`, "imports internal/face/show"},
	{"imports point one way", "internal/edge/mmsg/a.go", `package mmsg; import "culvert/internal/gateway"`, "imports internal/gateway"},
	{"imports point one way", "internal/face/show/a.go", `package show; import "culvert/internal/edge/mmsg"`, "imports internal/edge/mmsg"},
	{"imports point one way", "internal/face/show/a.go", `package show; import "culvert/internal/conf/config"`, "imports internal/conf/config"},
	{"imports point one way", "internal/sim/a.go", `package sim; import "culvert/internal/face/show"`, "imports internal/face/show"},
	{"imports point one way", "internal/sim/a.go", `package sim; import "culvert/internal/gateway"`, "imports internal/gateway"},
	{"imports point one way", "internal/gateway/a.go", `package gateway; import "culvert/internal/sim"`, "imports internal/sim"},
	{"imports point one way", "internal/gateway/a.go", `package gateway; import "culvert/internal/lab"`, "imports internal/lab"},
	{"imports point one way", "internal/gateway/a.go", `package gateway; import "culvert/cmd/culvert"`, "imports cmd/culvert"},
	{"imports point one way", "internal/core/flow/a.go", `package flow; import "culvert"`, "imports ."},

	{"tests of core and conf need no machine", "internal/core/flow/a_test.go", `package flow; import "culvert/internal/lab"`, "imports internal/lab"},
	{"tests of core and conf need no machine", "internal/conf/ios/a_test.go", `package ios; import "culvert/internal/edge/mmsg"`, "imports internal/edge/mmsg"},
	{"every package has its place", "internal/stuff/a.go", "package stuff", "holds internal/stuff"},
	{"every package has its place", "pkg/a.go", "package pkg", "holds pkg"},
	{"ikev1 and ikev2 do not know each other", "internal/core/ikev1/a.go", `package ikev1; import "culvert/internal/core/ikev2"`, "imports internal/core/ikev2"},
	{"ikev1 and ikev2 do not know each other", "internal/core/ikev2/a_test.go", `package ikev2; import "culvert/internal/core/ikev1"`, "imports internal/core/ikev1"},

	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "net"`, "imports net"},
	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "net/http"`, "imports net/http"},
	{"core and conf do no I/O", "internal/conf/ios/a.go", `package ios; import "os"`, "imports os"},
	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "os/exec"`, "imports os/exec"},
	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "syscall"`, "imports syscall"},
	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "context"`, "imports context"},
	{"core and conf do no I/O", "internal/core/sadb/a.go", `package sadb; import "sync"`, "imports sync"},
	{"core and conf do no I/O", "internal/core/crypt/a.go", `package crypt; import "crypto/rand"`, "imports crypto/rand"},
	{"core and conf do no I/O", "internal/core/flow/a.go", `package flow; import "golang.org/x/sys/unix"`, "imports golang.org/x/sys/unix"},
	{"atomics only on the data path", "internal/core/flow/a.go", `package flow; import "sync/atomic"`, "imports sync/atomic"},
	{"atomics only on the data path", "internal/conf/ios/a.go", `package ios; import "sync/atomic"`, "imports sync/atomic"},
	{"core and conf do not log", "internal/core/flow/a.go", `package flow; import "log"`, "imports log"},
	{"core and conf do not log", "internal/core/crypt/dh.go", `package crypt; import "log/slog"`, "imports log/slog"},
	{"core and conf need no library that does I/O", "internal/core/flow/a.go", `package flow; import "github.com/vishvananda/netlink"`, "imports github.com"},
	{"core and conf own no clock", "internal/core/flow/a.go", "package flow; import \"time\"\nfunc f() { _ = time.Now() }", "a.go:2: uses time.Now"},
	{"core and conf own no clock", "internal/core/flow/a.go", "package flow; import \"time\"\nvar now = time.Now", "uses time.Now"},
	{"core and conf own no clock", "internal/core/flow/a.go", "package flow; import \"time\"\nfunc f(t time.Time) { _ = time.Since(t) }", "uses time.Since"},
	{"core and conf own no clock", "internal/conf/ios/a.go", "package ios; import \"time\"\nfunc f() { <-time.After(1) }", "uses time.After"},
	{"core and conf own no clock", "internal/core/flow/a.go", "package flow; import \"time\"\nfunc f() { time.Sleep(1) }", "uses time.Sleep"},
	{"core and conf own no clock", "internal/core/flow/a.go", "package flow; import \"time\"\nfunc f() { time.NewTimer(1) }", "uses time.NewTimer"},
	{"core and conf own no clock", "internal/core/flow/a_test.go", "package flow; import \"time\"\nfunc f() { time.Sleep(1) }", "uses time.Sleep"},
	{"core and conf start no goroutine", "internal/core/flow/a.go", "package flow\nfunc f() {\n\tgo f()\n}", "a.go:3: starts"},

	{"a gateway starts no process", "internal/gateway/a.go", "package gateway\nimport \"os/exec\"", "a.go:2: internal/gateway imports os/exec"},
	{"a gateway starts no process", "cmd/culvert/a.go", "package main\nimport \"os/exec\"", "imports os/exec"},

	{"leaf package names are unique", "internal/edge/show/a.go", "package show", "internal/face/show"},
	{"a package is named as its directory", "internal/core/flow/a.go", "package flows", "package flows in"},
	{"a package is named as its directory", "internal/core/flow/a_test.go", "package flowtest_test", "package flowtest_test in"},
	{"no package is a drawer", "internal/core/util/a.go", "package util", "package util"},
	{"no package is a drawer", "internal/core/utils/a.go", "package utils", "package utils"},
	{"no package is a drawer", "internal/core/common/a.go", "package common", "package common"},
	{"no package is a drawer", "internal/core/helpers/a_test.go", "package helpers_test", "package helpers"},
	{"no package is a drawer", "internal/core/types/a.go", "package types", "package types"},
	{"no import aliases", "internal/gateway/a.go", `package gateway; import f "culvert/internal/core/flow"`, "internal/core/flow as f"},
	{"no import aliases", "internal/gateway/a_test.go", `package gateway; import . "testing"`, "testing as ."},
	{"no func init", "internal/face/show/a.go", "package show\nfunc init() {}", "a.go:2: func init"},
	{"every package has a package comment", "internal/core/flow/a.go", "package flow", "package flow has no"},
	{"every package has a package comment", "internal/core/flow/a.go", "// Flows are fine.\npackage flow", "package flow has no"},
	{"every package has a package comment", "cmd/other/main.go", "package main", "package main has no"},

	{"files are short", "internal/gateway/a.go", "package gateway" + lines(maxFile), "a.go: 800 lines"},
	{"functions are short", "internal/gateway/a.go", "package gateway\nfunc f() {" + lines(maxFunc+1) + "}", "f: 60 lines"},
	{"functions are short", "internal/gateway/a.go", "package gateway\nvar f = func() {" + lines(maxFunc+1) + "}", "a function literal: 60 lines"},

	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar n int\nfunc f() { n = 1 }", "a.go:3: changes the package variable n"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar n int\nfunc f() { n++ }", "variable n"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar n int\nfunc f() { for n = range 3 {} }", "variable n"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar m = map[int]int{}\nfunc f() { m[1] += 2 }", "variable m"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar m = map[int]int{}\nfunc f() { delete(m, 1) }", "variable m"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar s struct{ a []struct{ b int } }\nfunc f() { (s.a)[0].b = 2 }", "variable s"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nvar p *int\nfunc f() { *p = 2 }", "variable p"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nimport \"sync\"\nvar mu sync.Mutex", "mu is a sync.Mutex"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nimport \"sync\"\nvar pool = &sync.Pool{}", "pool is a sync.Pool"},
	{"package variables do not change", "internal/gateway/a.go", "package gateway\nimport \"sync/atomic\"\nvar p atomic.Pointer[int]", "p is a atomic.Pointer"},
}

// Each breach is seen by its rule, and each rule has a breach.
func TestBreachesAreSeen(t *testing.T) {
	covered := map[string]bool{}
	for _, b := range breaches {
		files := good()
		files[b.path] = b.src
		tree, err := Load(module(files))
		if err != nil {
			t.Fatalf("%s: %v", b.src, err)
		}
		i := slices.IndexFunc(Rules(), func(r Rule) bool { return r.Name == b.rule })
		if i < 0 {
			t.Fatalf("no rule %q", b.rule)
		}
		covered[b.rule] = true
		bad := Rules()[i].Check(tree)
		if !slices.ContainsFunc(bad, func(s string) bool { return strings.Contains(s, b.want) }) {
			t.Errorf("%s: %s: %.80q goes unseen; offenders: %q, want %q", b.rule, b.path, b.src, bad, b.want)
		}
	}
	for _, r := range Rules() {
		if !covered[r.Name] {
			t.Errorf("%s: no breach shows that it can fail", r.Name)
		}
		if r.Do == "" {
			t.Errorf("%s: does not say what to do", r.Name)
		}
	}
}

// One line less than the limit is allowed.
func TestLimitsAreExact(t *testing.T) {
	files := good()
	files["internal/gateway/a.go"] = "package gateway" + lines(maxFile-1)
	files["internal/gateway/b.go"] = "package gateway\nfunc f() {" + lines(maxFunc) + "}\n"
	files["internal/gateway/a_test.go"] = "package gateway\nfunc g() {" + lines(2*maxFile) + "}\n"
	tree, err := Load(module(files))
	if err != nil {
		t.Fatal(err)
	}
	if bad := append(shortFiles(tree), shortFunctions(tree)...); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	files := good()
	files["internal/core/flow/a.go"] = "package flow\nfunc {"
	if _, err := Load(module(files)); err == nil || !strings.Contains(err.Error(), "internal/core/flow/a.go:2") {
		t.Errorf("a file that does not parse: %v", err)
	}
	fsys := module(nil)
	fsys["go.mod"].Data = []byte("go 1.26\n")
	if _, err := Load(fsys); err == nil {
		t.Error("a go.mod without module passes")
	}
	delete(fsys, "go.mod")
	if _, err := Load(fsys); err == nil {
		t.Error("a tree without go.mod passes")
	}
}
