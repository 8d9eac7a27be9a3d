package doctest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
)

var update = flag.Bool("update", false, "write the console blocks of the documents anew")

// root is the directory of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// documents are the files that are held true, as paths in the module.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	if err != nil || len(pages) < 2 {
		t.Fatalf("documents: %v %v", pages, err)
	}
	out := []string{"README.md"}
	for _, p := range pages {
		out = append(out, "docs/"+filepath.Base(p))
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func blocks(t *testing.T, path string) []Block {
	t.Helper()
	b, err := Blocks(read(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// Every console block of the documents is run, and prints what is written there.
func TestConsoleBlocks(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "culvert")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/culvert")
	build.Dir, build.Env = root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for i, path := range documents(t) {
		t.Run(path, func(t *testing.T) {
			s := newShell(t, binary, fmt.Sprintf("doc%d-%d", os.Getpid(), i))
			text := strings.Split(read(t, path), "\n")
			all := blocks(t, path)
			changed := false
			// From the last block to the first the places of the others stay; but
			// commands build on those before them, so what to write is kept for later.
			var edits []edit
			for _, b := range all {
				if b.Lang != Console {
					continue
				}
				runs, err := b.Runs()
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				for _, r := range runs {
					if e, ok := s.check(t, path, r); ok {
						edits = append(edits, e)
						changed = true
					}
				}
			}
			if !changed {
				return
			}
			slices.Reverse(edits)
			for _, e := range edits {
				text = slices.Replace(text, e.from-1, e.from-1+e.n, e.lines...)
			}
			if err := os.WriteFile(filepath.Join(root(t), path), []byte(strings.Join(text, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// edit replaces n lines of a document.
type edit struct {
	from, n int
	lines   []string
}

// shell runs the commands of one document.
type shell struct {
	dir  string
	env  []string
	lab  string // name of the document's lab
	root bool
}

func newShell(t *testing.T, binary, name string) *shell {
	t.Helper()
	dir := t.TempDir()
	for link, to := range map[string]string{"examples": filepath.Join(root(t), "examples"), "bin": filepath.Dir(binary)} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	files := "/run/culvert-lab/" + name
	s := &shell{dir: dir, lab: name, root: lab.Available() == nil}
	s.env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8",
		"R1="+files+"/r1.gateway.sock", "R2="+files+"/r2.gateway.sock")
	t.Cleanup(func() {
		if n, err := lab.Open(name); err == nil && s.root {
			t.Errorf("the document leaves a lab standing")
			if err := n.Down(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// usesLab finds commands that need the two sites, hence root.
func usesLab(command string) bool {
	return regexp.MustCompile(`\bculvert lab\b|\bmake lab\b|\$R[12]\b|/run/culvert-lab/`).MatchString(command)
}

// check runs a command and compares. With -update it returns what to write instead.
func (s *shell) check(t *testing.T, path string, r Run) (edit, bool) {
	t.Helper()
	name := fmt.Sprintf("%s:%d", path, r.Line)
	var e edit
	changed := false
	t.Run(strings.Fields(r.Command)[0]+"-"+strconv.Itoa(r.Line), func(t *testing.T) {
		if usesLab(r.Command) && !s.root {
			t.Skip("the two sites need root: ", lab.Available())
		}
		got := s.run(t, r.Command)
		err := Match(r.Output, got)
		if err == nil {
			return
		}
		if !*update {
			t.Fatalf("%s: $ %s\n%v\nIf this is as it should be: go test ./internal/doctest -update\nThe whole output:\n%s", name, r.Command, err, strings.Join(got, "\n"))
		}
		lines, err := Renew(trimmed(r.Output), got)
		if err != nil {
			t.Fatalf("%s: $ %s: %v", name, r.Command, err)
		}
		if err := Match(lines, got); err != nil {
			t.Fatalf("%s: $ %s: the block cannot be renewed, mend it by hand: %v", name, r.Command, err)
		}
		e, changed = edit{r.From, len(trimmed(r.Output)), lines}, true
	})
	return e, changed
}

// trimmed is an output without the blank lines before the next command.
func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// killed is how long the kernel may take to clear up behind a killed process:
// a reader types no faster.
const killed = 500 * time.Millisecond

// run runs a command as the reader would, and returns what it prints on both
// outputs. The lab gets a name of its own and shows the name of the document's.
func (s *shell) run(t *testing.T, command string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command = strings.ReplaceAll(command, "sudo ", "")
	command = regexp.MustCompile(`^make lab$`).ReplaceAllString(command, "culvert lab run")
	command = regexp.MustCompile(`^make build$`).ReplaceAllString(command, "true")
	if from, n, to, ok := echoes(command); ok {
		return s.ping(ctx, t, from, n, to)
	}
	command = strings.ReplaceAll(command, "culvert lab ", "culvert lab --lab "+s.lab+" ")
	command = strings.ReplaceAll(command, "/run/culvert-lab/lab/", "/run/culvert-lab/"+s.lab+"/")
	c := exec.CommandContext(ctx, "bash", "-c", command)
	c.Dir, c.Env, c.WaitDelay = s.dir, s.env, time.Second
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("$ %s: %v", command, err)
	}
	if strings.HasPrefix(command, "kill ") {
		time.Sleep(killed)
	}
	return s.shown(string(out))
}

func (s *shell) shown(out string) []string {
	out = strings.ReplaceAll(out, "/run/culvert-lab/"+s.lab+"/", "/run/culvert-lab/lab/")
	out = strings.ReplaceAll(out, "culvert-"+s.lab+"-", "culvert-lab-")
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// echoes finds a ping inside the lab on a machine without the program ping.
func echoes(command string) (from string, n int, to string, ok bool) {
	m := regexp.MustCompile(`^culvert lab exec (\w+) ping -c (\d+) ([\d.]+)$`).FindStringSubmatch(command)
	if _, err := exec.LookPath("ping"); m == nil || err == nil {
		return "", 0, "", false
	}
	n, err := strconv.Atoi(m[2])
	return m[1], n, m[3], err == nil
}

// ping sends the lab's own echo requests, which print as ping(8) does.
func (s *shell) ping(ctx context.Context, t *testing.T, from string, n int, to string) []string {
	t.Helper()
	net, err := lab.Open(s.lab)
	if err != nil {
		t.Fatal(err)
	}
	r, err := net.Ping(ctx, from, to, n)
	if err != nil {
		t.Fatal(err)
	}
	return s.shown(r.Output)
}
