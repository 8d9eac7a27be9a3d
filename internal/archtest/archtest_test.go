package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// moduleRoot walks up from the directory of the test to go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// Threat: CVE-2023-28771.
func TestArchitecture(t *testing.T) {
	tree, err := Load(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range []string{"internal/core/suite/suite.go", "internal/archtest/archtest_test.go"} {
		if !slices.ContainsFunc(tree.Files, func(f File) bool { return f.Path == known }) {
			t.Fatalf("%s was not read: the walk misses files", known)
		}
	}
	for _, r := range Rules() {
		t.Run(r.Name, func(t *testing.T) {
			if bad := r.Check(tree); len(bad) > 0 {
				slices.Sort(bad)
				t.Errorf("%d offenders:\n\t%s\nWhat to do: %s.", len(bad), strings.Join(bad, "\n\t"), r.Do)
			}
		})
	}
}

// module makes a small module of the given files.
func module(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module culvert\n\ngo 1.26.0\n")}}
	for p, src := range files {
		fsys[p] = &fstest.MapFile{Data: []byte(src)}
	}
	return fsys
}

// good is a tree that keeps every rule and leans on each of them.
func good() map[string]string {
	doc := func(name, rest string) string {
		return "// Package " + name + " is good.\npackage " + name + "\n" + rest
	}
	return map[string]string{
		"cmd/culvert/main.go": "// Culvert is a gateway.\npackage main\nimport (\n\"culvert/internal/gateway\"\n\"culvert/internal/sim\"\n\"culvert/internal/lab\"\n\"culvert/internal/conf/config\")\n",
		"internal/gateway/gateway.go": doc("gateway", `import (
			"context"; "log/slog"; "net"; "os"; "sync"; "time"
			_ "embed"
			"culvert/internal/edge/udpsock"; "culvert/internal/face/show"; "culvert/internal/conf/config"; "culvert/internal/core/ikev1"
		)
		func run() { go func() { time.Sleep(time.Since(time.Now())) }() }`),
		"internal/sim/sim.go":              doc("sim", `import ("culvert/internal/conf/config"; "culvert/internal/face/trace"; "culvert/internal/core/ikev1")`),
		"internal/lab/lab.go":              doc("lab", `import "os/exec"`),
		"internal/lab/lab_test.go":         `package lab_test; import "culvert/internal/gateway"`,
		"internal/edge/udpsock/udpsock.go": doc("udpsock", `import ("culvert/internal/core/flow"; "culvert/internal/edge/mmsg"; "golang.org/x/sys/unix")`),
		"internal/edge/mmsg/mmsg.go":       doc("mmsg", ""),
		"internal/face/show/show.go":       doc("show", `import ("culvert/internal/core/suite"; "culvert/internal/conf/ios")`),
		"internal/face/trace/trace.go":     doc("trace", ""),
		"internal/conf/config/config.go": doc("config", `import ("net/netip"; "culvert/internal/conf/ios"; "culvert/internal/core/origin"
			"culvert/internal/core/suite"; "culvert/internal/core/flow"; "culvert/internal/core/policy"; "culvert/internal/core/crypt")`),
		"internal/conf/ios/ios.go":       doc("ios", ""),
		"internal/core/suite/suite.go":   doc("suite", ""),
		"internal/core/crypt/secret.go":  doc("crypt", `import ("log/slog"; "filippo.io/bigmod"; "golang.org/x/crypto/chacha20poly1305")`),
		"internal/core/replay/replay.go": doc("replay", `import "sync/atomic"`),
		"internal/core/ikev1/ikev1.go": doc("ikev1", `import ("culvert/internal/core/crypt"; "net/netip"; "time"; "crypto/sha256")
		var table = map[string]int{"a": 1}
		var day = 24 * time.Hour
		type machine struct { table map[string]int }
		func (m *machine) step(now time.Time) time.Time {
			table := map[string]int{} // its own, not the package's
			table["a"] = 2
			m.table["b"] = table["a"]
			day := day
			day++
			return now.Add(day)
		}`),
		"internal/core/ikev1/ikev1_test.go": `package ikev1
		import ("os"; "time"; "culvert/internal/sim")
		func f() { go f(); _ = time.Now() }`,
		"internal/core/ikev1/testdata/bad.go": "this is not Go",
		"other/go.mod":                        "module other",
		"other/util.go":                       "package util",
		"docs/docs_test.go":                   "// Package docs tests the documents.\npackage docs",
	}
}

func TestGoodTreeHasNoOffenders(t *testing.T) {
	tree, err := Load(module(good()))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules() {
		if bad := r.Check(tree); len(bad) > 0 {
			t.Errorf("%s: %q", r.Name, bad)
		}
	}
}
