package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ExitError is a script that ended with a status other than 0.
type ExitError struct {
	Script string
	Status int
	Stderr string
}

func (e *ExitError) Error() string {
	script := strings.TrimSpace(e.Script)
	if first, _, more := strings.Cut(script, "\n"); more {
		script = first + " …"
	}
	return fmt.Sprintf("guest: %s: exit status %d: %s", script, e.Status, strings.TrimSpace(e.Stderr))
}

// Exec runs a bash script in the guest and returns what it printed on its
// standard output. A status other than 0 is an [*ExitError]. Several may run at
// once. A script that outlives ctx goes on until the guest stops.
func (g *Guest) Exec(ctx context.Context, script string) (string, error) {
	g.mu.Lock()
	g.next++
	id := strconv.Itoa(g.next)
	done := make(chan struct{})
	g.jobs[id] = done
	g.mu.Unlock()
	file := filepath.Join(g.dir, "share", "jobs", id)
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return "", fmt.Errorf("guest: %w", err)
	}
	if _, err := g.line.WriteString(id + "\n"); err != nil {
		return "", fmt.Errorf("guest: its serial line: %w", err)
	}
	select {
	case <-done:
	case <-g.ended:
		return "", fmt.Errorf("guest: it ended while a script ran: %s\n%s", script, g.Console())
	case <-ctx.Done():
		return "", fmt.Errorf("guest: a script that takes too long (%w): %s", ctx.Err(), script)
	}
	return g.result(script, file)
}

// result collects what a job left behind.
func (g *Guest) result(script, file string) (string, error) {
	text := make(map[string]string)
	for _, kind := range []string{"out", "err", "status"} {
		b, err := os.ReadFile(file + "." + kind)
		if err != nil {
			return "", fmt.Errorf("guest: a job's output: %w", err)
		}
		text[kind] = string(b)
	}
	var errs []error
	for _, f := range []string{file, file + ".out", file + ".err", file + ".status"} {
		errs = append(errs, os.Remove(f))
	}
	status, err := strconv.Atoi(strings.TrimSpace(text["status"]))
	if err != nil {
		return text["out"], fmt.Errorf("guest: a job's status: %w", err)
	}
	if status != 0 {
		errs = append(errs, &ExitError{Script: script, Status: status, Stderr: text["err"]})
	}
	return text["out"], errors.Join(errs...)
}

// Share is a directory of this machine that is /share in the guest. What either
// side writes there the other reads; the guest's side may lag by a fifth of a second.
func (g *Guest) Share() string { return filepath.Join(g.dir, "share") }

// WriteFile puts a file into /share, with directories as needed. The path is
// relative to it.
func (g *Guest) WriteFile(path, text string) error {
	path = filepath.Join(g.Share(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	return nil
}

// ReadFile reads a file of /share.
func (g *Guest) ReadFile(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(g.Share(), path))
	if err != nil {
		return "", fmt.Errorf("guest: %w", err)
	}
	return string(b), nil
}
