package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// labCommand is `lab up|ping|down NAME` as a command would do it.
func labCommand(args []string) int {
	err := func() error {
		if err := EnsureRoot(args[1]); err != nil {
			return err
		}
		if args[0] == "up" {
			n, err := Up(Options{Name: args[1]})
			if err != nil {
				return err
			}
			return n.Hold()
		}
		n, err := Open(args[1])
		if err != nil {
			return err
		}
		if args[0] == "down" {
			return n.Down()
		}
		if err := n.DropFirst(R2, All, 1); err != nil {
			return err
		}
		c, err := n.Capture(R1, Outside)
		if err != nil {
			return err
		}
		r, err := n.PingWith(context.Background(), HostA, HostB, PingOptions{Count: 2, Interval: time.Millisecond, Timeout: time.Second})
		if err != nil {
			return err
		}
		s, err := c.Stop()
		fmt.Printf("received %d, seen %d in clear\n", r.Received, s.Cleartext.Total())
		return err
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// Somebody who is not root gets a lab of their own, which stands from one
// command to the next.
func TestALabWithoutRoot(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "culvert-lab-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	self := filepath.Join(dir, "lab.test")
	copyProgram(t, self)
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	// Whether the kernel allows it at all is not ours to test.
	probe := exec.Command("unshare", "--user", "--map-root-user", "--net", "--mount", "true")
	probe.SysProcAttr = attr
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this kernel gives no user namespaces: %v %s", err, strings.TrimSpace(string(out)))
	}
	run := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), self, args...)
		c.Dir, c.SysProcAttr = dir, attr
		c.Env = []string{roleEnv + "=nobody", "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("up", "nobody")
	defer run("down", "nobody")
	if _, err := Open("nobody"); err == nil {
		t.Error("root sees the lab of somebody else as its own")
	}
	// Of two echoes the first is dropped behind R1: three packets cross it.
	if out := run("ping", "nobody"); out != "received 1, seen 3 in clear\n" {
		t.Errorf("in the lab that stands: %s", out)
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, from); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
}
