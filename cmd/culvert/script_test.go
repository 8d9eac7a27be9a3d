package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"culvert": main}) }

var update = flag.Bool("update", false, "write the goldens of the scripts anew")

// TestScripts runs testdata/script: the program as a user sees it. Every script
// finds the article's two sites as r1.cfg and r2.cfg.
//
//	exits CODE ARGS…       runs culvert and wants that exit status
//	json PATH PATTERN      looks into the last answer: "rounds.0.explain.0.culprit"; "len" is a length
//	edit FILE OLD NEW TO   writes FILE with OLD replaced to the file TO
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"r1.cfg", "r2.cfg"} {
				b, err := os.ReadFile(filepath.Join("..", "..", "examples", name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "json": query, "edit": replace},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS…")
	}
	err := ts.Exec("culvert", args[1:]...)
	code := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		code = ended.ExitCode()
	case err != nil:
		ts.Fatalf("culvert: %v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit %d, want %s", code, args[0])
	}
}

func query(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH PATTERN")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("the answer is no JSON: %v", err)
	}
	for _, word := range strings.Split(args[0], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[word]
		case []any:
			if word == "len" {
				v = len(x)
				continue
			}
			n, err := strconv.Atoi(word)
			if err != nil || n >= len(x) {
				ts.Fatalf("%s: no element %s of %d", args[0], word, len(x))
			}
			v = x[n]
		default:
			ts.Fatalf("%s: nothing at %s", args[0], word)
		}
	}
	if got := fmt.Sprint(v); regexp.MustCompile("^(?:"+args[1]+")$").MatchString(got) == neg {
		ts.Fatalf("%s is %q, want %q (not: %t)", args[0], got, args[1], neg)
	}
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: edit FILE OLD NEW TO")
	}
	text := ts.ReadFile(args[0])
	old, changed := strings.ReplaceAll(args[1], `\n`, "\n"), strings.ReplaceAll(args[2], `\n`, "\n")
	if !strings.Contains(text, old) {
		ts.Fatalf("%s has no %q", args[0], old)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(strings.Replace(text, old, changed, 1)), 0o600))
}
