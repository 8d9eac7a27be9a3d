package main

import (
	"encoding/json"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// events is what go test -json prints for a list of events.
func events(t *testing.T, list ...event) string {
	t.Helper()
	var b strings.Builder
	for _, e := range list {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// told is what a report prints for one pass.
func told(t *testing.T, list ...event) (*report, string) {
	t.Helper()
	var out strings.Builder
	r := newReport(&out)
	r.pass("tests")
	if err := r.read(strings.NewReader(events(t, list...))); err != nil {
		t.Fatal(err)
	}
	r.summary()
	return r, out.String()
}

func has(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(out, w) {
			t.Errorf("expected %q in:\n%s", w, out)
		}
	}
}

func TestASkippedTestIsListedWithItsReason(t *testing.T) {
	r, out := told(t,
		event{Action: "run", Package: "culvert/x", Test: "TestA"},
		event{Action: "output", Package: "culvert/x", Test: "TestA", Output: "=== RUN   TestA\n"},
		event{Action: "output", Package: "culvert/x", Test: "TestA", Output: "    a_test.go:9: lab: network namespaces need root\n"},
		event{Action: "output", Package: "culvert/x", Test: "TestA", Output: "--- SKIP: TestA (0.00s)\n"},
		event{Action: "skip", Package: "culvert/x", Test: "TestA"},
		event{Action: "pass", Package: "culvert/x", Test: "TestB"},
		event{Action: "pass", Package: "culvert/x", Elapsed: 1.5},
	)
	has(t, out, "ok    x", "1 passed, 1 skipped  1.5s\n",
		"skipped tests: 1\n  culvert/x TestA: lab: network namespaces need root\n1 passed, 0 failed, 1 skipped\n")
	if r.failed() {
		t.Error("a skipped test is no failure")
	}
}

func TestAFailureIsShownInFullAndCountsOnce(t *testing.T) {
	r, out := told(t,
		event{Action: "run", Package: "culvert/x", Test: "TestA"},
		event{Action: "run", Package: "culvert/x", Test: "TestA/one"},
		event{Action: "output", Package: "culvert/x", Test: "TestA/one", Output: "        a_test.go:3: got 1, expected 2\n"},
		event{Action: "fail", Package: "culvert/x", Test: "TestA/one"},
		event{Action: "run", Package: "culvert/x", Test: "TestA/two"},
		event{Action: "pass", Package: "culvert/x", Test: "TestA/two"},
		event{Action: "fail", Package: "culvert/x", Test: "TestA"},
		event{Action: "fail", Package: "culvert/x"},
	)
	has(t, out, "--- FAIL culvert/x TestA/one\n            a_test.go:3: got 1, expected 2\n",
		"failed tests: 1\n  culvert/x TestA/one\n", "skipped tests: 0\n1 passed, 1 failed, 0 skipped\n")
	if !r.failed() {
		t.Error("a failed test is a failure")
	}
}

func TestAPackageThatDoesNotBuildOrPanicsIsAFailure(t *testing.T) {
	r, out := told(t,
		event{Action: "build-output", ImportPath: "culvert/x [culvert/x.test]", Output: "x.go:1: undefined: y\n"},
		event{Action: "build-fail", ImportPath: "culvert/x [culvert/x.test]"},
		event{Action: "fail", Package: "culvert/x", FailedBuild: "culvert/x [culvert/x.test]"},
		event{Action: "output", Package: "culvert/z", Test: "TestZ", Output: "panic: oh\n"},
		event{Action: "output", Package: "culvert/z", Output: "FAIL culvert/z 0.1s\n"},
		event{Action: "fail", Package: "culvert/z"},
	)
	has(t, out, "    x.go:1: undefined: y\n", "    panic: oh\n", "0 passed, 2 failed, 0 skipped\n")
	if !r.failed() {
		t.Error("a package that does not build is a failure")
	}
}

func TestSeedsOfAFuzzTargetCountAsOne(t *testing.T) {
	_, out := told(t,
		event{Action: "run", Package: "culvert/x", Test: "FuzzX"},
		event{Action: "run", Package: "culvert/x", Test: "FuzzX/seed#0"},
		event{Action: "pass", Package: "culvert/x", Test: "FuzzX/seed#0"},
		event{Action: "pass", Package: "culvert/x", Test: "FuzzX"},
		event{Action: "pass", Package: "culvert/x"},
	)
	has(t, out, "1 passed, 0 failed, 0 skipped\n")
}

// A test that the race detector's pass leaves out has passed before; one that
// only fails there has failed.
func TestAnotherPassCanOnlyMakeItWorse(t *testing.T) {
	r, _ := told(t,
		event{Action: "pass", Package: "culvert/x", Test: "TestLong"},
		event{Action: "pass", Package: "culvert/x", Test: "TestRaces"},
	)
	var out strings.Builder
	r.out = &out
	r.pass("race detector")
	err := r.read(strings.NewReader(events(t,
		event{Action: "skip", Package: "culvert/x", Test: "TestLong"},
		event{Action: "fail", Package: "culvert/x", Test: "TestRaces"},
		event{Action: "fail", Package: "culvert/x"},
	)))
	if err != nil {
		t.Fatal(err)
	}
	r.summary()
	has(t, out.String(), "failed tests: 1\n  culvert/x TestRaces\nskipped tests: 0\n1 passed, 1 failed, 0 skipped\n")
}

func TestFuzzTargetsAndSharingAreFoundInTheSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("x.go", "package x\nfunc f() { go f() }\n")
	write("y.go", "package x\nfunc g() {}\n")
	write("x_test.go", "package x\nimport \"testing\"\nfunc FuzzOne(f *testing.F) {}\nfunc FuzzHelper(t *testing.T) {}\nfunc TestX(t *testing.T) {}\n")
	p := pkg{Dir: dir, GoFiles: []string{"y.go"}, TestGoFiles: []string{"x_test.go"}}
	got, err := p.fuzzTargets()
	if err != nil || !slices.Equal(got, []string{"FuzzOne"}) {
		t.Errorf("fuzz targets %v, %v", got, err)
	}
	if p.shares() || !p.tested() {
		t.Error("y.go starts no goroutine and has a test")
	}
	if p.GoFiles = append(p.GoFiles, "x.go"); !p.shares() {
		t.Error("x.go starts a goroutine")
	}
	if (pkg{Imports: []string{"fmt"}}).shares() || !(pkg{Imports: []string{"sync/atomic"}}).shares() {
		t.Error("sharing by import")
	}
	if takesF(&ast.FuncDecl{Type: &ast.FuncType{Params: &ast.FieldList{}}}) {
		t.Error("a function without parameters is no fuzz target")
	}
}

func TestTheFuzzersOwnTimerIsNoFailure(t *testing.T) {
	if !endedByItsOwnTimer("fuzz: elapsed: 4s\n--- FAIL: FuzzX (4.00s)\n    context deadline exceeded\n") {
		t.Error("the timer")
	}
	if endedByItsOwnTimer("--- FAIL: FuzzX\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzX/1") {
		t.Error("an input that makes the target fail")
	}
}
