// Command testreport runs every test of the module and tells plainly what came
// of it: one line a package while they run, each failure in full, and at the
// end every skipped test with its reason and the totals.
//
//	go run ./internal/tools/testreport [-fuzztime 4s] [-timeout 10m] [-p 1] [-race=false] [-fuzzonly] [packages]
//
// Three passes: all tests; those of packages that share memory between
// goroutines once more under the race detector, where a C compiler makes that
// possible; each fuzz target for a short while. Exit status 1 when anything failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type settings struct {
	fuzzTime time.Duration
	timeout  time.Duration
	parallel int
	race     bool
	fuzzOnly bool
	patterns []string
}

func main() {
	var s settings
	flag.DurationVar(&s.fuzzTime, "fuzztime", 4*time.Second, "how long to run each fuzz target; 0 for not at all")
	flag.DurationVar(&s.timeout, "timeout", 10*time.Minute, "longest time for the tests of one package")
	flag.IntVar(&s.parallel, "p", 1, "packages tested at the same time")
	flag.BoolVar(&s.race, "race", true, "run the race detector where it is possible")
	flag.BoolVar(&s.fuzzOnly, "fuzzonly", false, "only run the fuzz targets")
	flag.Parse()
	if s.patterns = flag.Args(); len(s.patterns) == 0 {
		s.patterns = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := newReport(os.Stdout)
	if err := s.run(ctx, r); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	r.summary()
	if r.failed() {
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context, r *report) error {
	packages, err := list(ctx, s.patterns)
	if err != nil {
		return err
	}
	if s.fuzzOnly {
		return s.fuzz(ctx, r, packages)
	}
	r.pass("tests")
	if err := s.test(ctx, r, nil, s.patterns...); err != nil {
		return err
	}
	if s.race {
		if err := s.raceDetector(ctx, r, packages); err != nil {
			return err
		}
	}
	if s.fuzzTime > 0 {
		return s.fuzz(ctx, r, packages)
	}
	return nil
}

// test runs go test and reports its events.
func (s settings) test(ctx context.Context, r *report, env []string, args ...string) error {
	// -count=1: Go would answer from its cache, but what the tests of the lab find
	// depends on programs, peers and a kernel that the cache does not know.
	argv := append([]string{"test", "-json", "-count=1", "-p", strconv.Itoa(s.parallel), "-timeout", s.timeout.String()}, args...)
	return stream(ctx, r, env, argv)
}

// stream runs the go command and reports its events. That tests fail is no
// error: the events tell.
func stream(ctx context.Context, r *report, env, argv []string) error {
	c := exec.CommandContext(ctx, "go", argv...)
	// An interrupt lets go test end its tests, which take their namespaces down.
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	readErr := r.read(out)
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		// go test says 1 for failures that the events have told, and anything
		// else when it could not run at all.
		if r.failed() && exit.ExitCode() == 1 {
			err = nil
		} else {
			err = fmt.Errorf("go %s: %w", strings.Join(argv, " "), err)
		}
	}
	return errors.Join(readErr, err, ctx.Err())
}

func (s settings) raceDetector(ctx context.Context, r *report, packages []pkg) error {
	var paths []string
	for _, p := range packages {
		if p.tested() && p.shares() {
			paths = append(paths, p.ImportPath)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	if why := raceImpossible(ctx); why != "" {
		r.skip("race detector", fmt.Sprintf("(%d packages)", len(paths)), why)
		return nil
	}
	r.pass("race detector")
	// Tests that only repeat a long conversation leave themselves out with -short.
	return s.test(ctx, r, []string{"CGO_ENABLED=1"}, append([]string{"-race", "-short"}, paths...)...)
}

// raceImpossible says why the race detector cannot be used, or nothing.
func raceImpossible(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return "go env CC: " + err.Error()
	}
	cc := strings.Fields(string(out))
	if len(cc) == 0 {
		return "no C compiler is set"
	}
	if _, err := exec.LookPath(cc[0]); err != nil {
		return "it needs a C compiler and " + cc[0] + " is not installed (apt-get install gcc libc6-dev)"
	}
	c := exec.CommandContext(ctx, "go", "build", "-race", "-o", os.DevNull, "runtime/race")
	c.Env = append(os.Environ(), "CGO_ENABLED=1")
	if text, err := c.CombinedOutput(); err != nil {
		return "the C compiler does not work: " + strings.Join(strings.Fields(string(text)), " ")
	}
	return ""
}

func (s settings) fuzz(ctx context.Context, r *report, packages []pkg) error {
	first := true
	for _, p := range packages {
		targets, err := p.fuzzTargets()
		if err != nil {
			return err
		}
		for _, t := range targets {
			if first {
				r.pass(fmt.Sprintf("fuzz targets, %v each", s.fuzzTime))
				first = false
			}
			if err := s.fuzzOne(ctx, r, p, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// fuzzOne runs one target. Its events are too coarse to be of use, so its text
// is taken as a whole.
func (s settings) fuzzOne(ctx context.Context, r *report, p pkg, target string) error {
	argv := []string{"test", "-run", "^$", "-fuzz", "^" + target + "$", "-fuzztime", s.fuzzTime.String(),
		"-timeout", s.timeout.String(), p.ImportPath}
	begin := time.Now()
	out, err := exec.CommandContext(ctx, "go", argv...).CombinedOutput()
	// The end of the fuzzing time itself is now and then taken for a failure of
	// the target (golang/go#75804); a real failure names the input it wrote.
	if err != nil && ctx.Err() == nil && endedByItsOwnTimer(string(out)) {
		out, err = exec.CommandContext(ctx, "go", argv...).CombinedOutput()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	r.fuzzed(p.ImportPath, target, err == nil, string(out), time.Since(begin))
	return nil
}

func endedByItsOwnTimer(out string) bool {
	return strings.Contains(out, "context deadline exceeded") && !strings.Contains(out, "Failing input written to")
}
