package tour

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun makes the culvert that the lab runs.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "culvert-tour-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "culvert")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "culvert/cmd/culvert")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func options(t *testing.T, peer string) Options {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	if peer == StrongSwan {
		if err := swan.Available(); err != nil {
			t.Skip(err)
		}
	}
	return Options{Name: fmt.Sprintf("tour-%s-%d", peer[:2], os.Getpid()), Binary: binary, Peer: peer}
}

// What `make lab` prints: the five steps, both phases message by message, the
// pings, the SAs and the wire; and everything is as it should be.
func TestTour(t *testing.T) {
	for _, peer := range []string{Culvert, StrongSwan} {
		t.Run(peer, func(t *testing.T) {
			o := options(t, peer)
			var out strings.Builder
			if err := Run(t.Context(), o, &out, false); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			text := out.String()
			for _, want := range []string{
				"1  interface ACLs         ok", "2  ISAKMP policy and key  ok", "3  transform sets         ok", "4  crypto ACL             ok", "5  crypto map             ok",
				"── MM1 ─", "─ MM2 ──", "── MM3 ─", "─ MM4 ──", "══ MM5 ═", "═ MM6 ══", "══ QM1 ═", "═ QM2 ══", "══ QM3 ═",
				"5 packets transmitted, 5 received, 0% packet loss",
				"dst             src             state          conn-id status", "QM_IDLE           1001 ACTIVE",
				"#pkts encaps: 5, #pkts encrypt: 5, #pkts digest: 5",
				"cleartext between the sites  0 (0 from A, 0 from B)", "✓ 10 ESP packets for 5 pings and their answers",
				"Everything is as it should be.",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing", want)
				}
			}
			if strings.Contains(text, "\x1b") {
				t.Error("coloured in a pipe")
			}
			if _, err := lab.Open(o.Name); err == nil {
				t.Error("the lab still stands")
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// The tour tells the truth: with ESP blocked on the way it says what is not as
// it should be.
func TestTourSeesWhatIsWrong(t *testing.T) {
	o := options(t, Culvert)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Net.Down(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Net.Block(lab.R2, lab.ESP); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	told := &story{w: &out, color: true}
	if err := told.tell(ctx, s); err != nil {
		t.Fatal(err)
	}
	told.verdict()
	for _, want := range []string{"0 of 5 pings were answered", "R1 sealed 5 packets and opened 5", "Not as it should be:", "\x1b["} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing from\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "Everything is as it should be.") {
		t.Error("praised")
	}
}

// culvert lab up leaves the sites standing, exec runs there, down takes them away.
func TestLabForPlay(t *testing.T) {
	o := options(t, Culvert)
	culvert := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, append([]string{"lab", "--lab", o.Name}, args...)...).CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() { _, _ = culvert("down") }) // it is gone already when all went well
	out, err := culvert("up")
	if err != nil || !strings.Contains(out, "The lab stands.") {
		t.Fatalf("up: %v\n%s", err, out)
	}
	out, err = culvert("exec", "R1", "sh", "-c", "ip -4 addr show dev out0")
	if err != nil || !strings.Contains(out, "198.51.100.1/24") {
		t.Errorf("exec: %v\n%s", err, out)
	}
	if _, err = culvert("exec", "b", "sh", "-c", "exit 7"); exitCode(err) != 7 {
		t.Errorf("exec of a command that exits 7: %v", err)
	}
	if out, err = culvert("down"); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	if out, err = culvert("exec", "a", "true"); exitCode(err) != 1 {
		t.Errorf("exec without a lab: %v\n%s", err, out)
	}
}

func exitCode(err error) int {
	var x *exec.ExitError
	if errors.As(err, &x) {
		return x.ExitCode()
	}
	return -1
}

// Whoever is not root gets the tour in a user namespace of their own, or is told
// what it needs.
func TestTourWithoutRoot(t *testing.T) {
	const nobody = 65534
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "culvert")
	if err := os.WriteFile(mine, program, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, mine, "lab", "run")
	c.Dir = "/"
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	b, err := c.CombinedOutput()
	out := string(b)
	switch {
	case err == nil && strings.HasSuffix(out, "Everything is as it should be.\n"):
	case exitCode(err) == 1 && (strings.Contains(out, "/dev/net/tun may not be opened by this user: run as root") || strings.Contains(out, "Please run it as root")):
		t.Logf("told: %s", out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
	default:
		t.Errorf("%v\n%s", err, out)
	}
}

// An unknown peer is refused before anything is made.
func TestUnknownPeer(t *testing.T) {
	if _, err := Up(t.Context(), Options{Name: "none", Peer: "racoon"}); err == nil || !strings.Contains(err.Error(), `"racoon"`) {
		t.Errorf("got %v", err)
	}
}
