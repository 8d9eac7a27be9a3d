package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	ImportPath  string // of a build event
	FailedBuild string
}

// outcome of a test; a later pass can only make it worse, but for a skip.
type outcome int

const (
	skipped outcome = iota + 1
	passed
	failed
)

// name of a test; test is empty for a package as a whole.
type name struct{ pkg, test string }

func (n name) String() string { return strings.TrimSpace(n.pkg + " " + n.test) }

// report gathers what came of the tests and prints it as it comes.
type report struct {
	out      io.Writer
	outcomes map[name]outcome
	reasons  map[name]string // of skipped tests
	texts    map[name]*strings.Builder
	builds   map[string]*strings.Builder // by import path
	parents  map[name]bool               // tests that have subtests
	counts   map[string]map[outcome]int  // of this pass, by package
}

func newReport(out io.Writer) *report {
	return &report{out: out, outcomes: make(map[name]outcome), reasons: make(map[name]string),
		builds: make(map[string]*strings.Builder), parents: make(map[name]bool)}
}

// pass begins another pass over the packages.
func (r *report) pass(title string) {
	fmt.Fprintf(r.out, "== %s\n", title)
	r.texts = make(map[name]*strings.Builder)
	r.counts = make(map[string]map[outcome]int)
}

// read takes the events of one go test.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil {
				r.take(e)
			} else {
				fmt.Fprint(r.out, line) // go's own complaints are not JSON
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.build(e.ImportPath).WriteString(e.Output)
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 && !isSeed(e.Test) {
			r.parents[name{e.Package, e.Test[:i]}] = true
		}
	case "output":
		r.text(n).WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			r.testDone(n, e.Action)
		} else {
			r.packageDone(e)
		}
	}
}

// isSeed tells whether a test is a seed or a stored input of a fuzz target:
// the target counts, not each of them.
func isSeed(test string) bool { return strings.HasPrefix(test, "Fuzz") && strings.Contains(test, "/") }

func (r *report) testDone(n name, action string) {
	switch action {
	case "fail":
		// Of a failed tree every level is shown, but only its leaves count.
		fmt.Fprintf(r.out, "--- FAIL %s\n%s", n, indent(r.text(n).String()))
		if !r.parents[n] || !r.childFailed(n) {
			r.record(n, failed)
		}
	case "skip":
		r.reasons[n] = reasonOf(r.text(n).String())
		r.record(n, skipped)
	case "pass":
		if !r.parents[n] && !isSeed(n.test) {
			r.record(n, passed)
		}
	}
	delete(r.texts, n)
}

// record notes the outcome of a test. What passed in one pass and is left out
// of another has passed; what failed once has failed.
func (r *report) record(n name, o outcome) {
	r.outcomes[n] = max(r.outcomes[n], o)
	if r.counts[n.pkg] == nil {
		r.counts[n.pkg] = make(map[outcome]int)
	}
	r.counts[n.pkg][o]++
}

func (r *report) childFailed(n name) bool {
	for c, o := range r.outcomes {
		if o == failed && c.pkg == n.pkg && strings.HasPrefix(c.test, n.test+"/") {
			return true
		}
	}
	return false
}

func (r *report) packageDone(e event) {
	n := name{pkg: e.Package}
	count := r.counts[e.Package]
	short := strings.TrimPrefix(e.Package, "culvert/")
	switch {
	case e.Action == "fail":
		if count[failed] == 0 {
			// It did not build, panicked, or ended too late or too early.
			fmt.Fprintf(r.out, "--- FAIL %s\n%s%s", n, indent(r.build(e.FailedBuild).String()), indent(r.unfinished(e.Package)))
			r.record(n, failed)
		}
		fmt.Fprintf(r.out, "FAIL  %-36s %s  %.1fs\n", short, tally(r.counts[e.Package]), e.Elapsed)
	case e.Action == "pass" && len(count) > 0:
		fmt.Fprintf(r.out, "ok    %-36s %s  %.1fs\n", short, tally(count), e.Elapsed)
	}
}

// unfinished is what the package and its tests without an outcome printed.
func (r *report) unfinished(pkg string) string {
	var names []name
	for n := range r.texts {
		if n.pkg == pkg {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b name) int { return strings.Compare(a.test, b.test) })
	var b strings.Builder
	for _, n := range names {
		b.WriteString(r.texts[n].String())
	}
	return b.String()
}

func (r *report) text(n name) *strings.Builder {
	if r.texts[n] == nil {
		r.texts[n] = new(strings.Builder)
	}
	return r.texts[n]
}

func (r *report) build(path string) *strings.Builder {
	if r.builds[path] == nil {
		r.builds[path] = new(strings.Builder)
	}
	return r.builds[path]
}

// skip notes something that was left out as a whole.
func (r *report) skip(pkg, test, why string) {
	n := name{pkg, test}
	r.outcomes[n], r.reasons[n] = skipped, why
}

// fuzzed notes a fuzz target that ran for a while.
func (r *report) fuzzed(pkg, target string, ok bool, text string, took time.Duration) {
	n := name{pkg, target + " (fuzzed)"}
	word := "ok  "
	if ok {
		r.outcomes[n] = passed
	} else {
		r.outcomes[n] = failed
		word = "FAIL"
		fmt.Fprintf(r.out, "--- FAIL %s\n%s", n, indent(text))
	}
	fmt.Fprintf(r.out, "%s  %-36s %s, %s  %.1fs\n", word, strings.TrimPrefix(pkg, "culvert/"), target, execs(text), took.Seconds())
}

var execsPattern = regexp.MustCompile(`execs: (\d+)`)

// execs is how many inputs a fuzz target got, as its last line tells.
func execs(text string) string {
	all := execsPattern.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return "no inputs"
	}
	return all[len(all)-1][1] + " inputs"
}

func (r *report) failed() bool { return r.total(failed) > 0 }

func (r *report) total(o outcome) int {
	k := 0
	for _, got := range r.outcomes {
		if got == o {
			k++
		}
	}
	return k
}

// summary lists what failed and what was skipped and ends with the totals.
func (r *report) summary() {
	for _, s := range []struct {
		of    outcome
		title string
	}{{failed, "failed tests"}, {skipped, "skipped tests"}} {
		var lines []string
		for n, o := range r.outcomes {
			if o != s.of {
				continue
			}
			line := "  " + n.String()
			if o == skipped {
				line += ": " + r.reasons[n]
			}
			lines = append(lines, line)
		}
		slices.Sort(lines)
		if len(lines) > 0 || s.of == skipped {
			fmt.Fprintf(r.out, "%s: %d\n", s.title, len(lines))
		}
		for _, l := range lines {
			fmt.Fprintln(r.out, l)
		}
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.total(passed), r.total(failed), r.total(skipped))
}

func tally(count map[outcome]int) string {
	var parts []string
	for _, p := range []struct {
		o    outcome
		word string
	}{{passed, "passed"}, {failed, "failed"}, {skipped, "skipped"}} {
		if k := count[p.o]; k > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

var place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reasonOf is what a skipped test said last.
func reasonOf(text string) string {
	reason := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(strings.TrimSpace(line), "--- SKIP") || strings.TrimSpace(line) == "" {
			continue
		}
		if place.MatchString(line) {
			reason = place.ReplaceAllString(line, "")
		} else if reason != "" {
			reason += " " + strings.TrimSpace(line)
		}
	}
	if reason == "" {
		return "it gives no reason"
	}
	return reason
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteString("\n")
	}
	return b.String()
}
