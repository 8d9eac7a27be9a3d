package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// nsDir is where iproute2 looks for named namespaces, so that
// `ip netns exec culvert-NAME-r1 …` works on a lab as well.
const nsDir = "/run/netns"

// In runs f in the network namespace of a host. Sockets that f opens stay in
// that namespace; goroutines that f starts are not in it.
func (n *Net) In(host string, f func() error) error {
	host, err := HostOf(host)
	if err != nil {
		return err
	}
	return inNamespace(n.path(host), f)
}

// path is the file that names the namespace of a host.
func (n *Net) path(host string) string { return filepath.Join(nsDir, n.Namespace(host)) }

// Namespace is the name of a host's network namespace, as `ip netns` knows it.
func (n *Net) Namespace(host string) string { return "culvert-" + n.name + "-" + host }

// inNamespace runs f on a thread that is in the namespace named by a file.
func inNamespace(path string, f func() error) (err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("lab: cannot tell the own network namespace: %w", err)
	}
	defer home.Close()
	there, err := netns.GetFromPath(path)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("lab: no network namespace %s: is the lab up? %w", filepath.Base(path), err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("lab: cannot enter network namespace %s: %w", filepath.Base(path), err)
	}
	defer func() {
		// A thread that cannot go home stays locked: it ends with its
		// goroutine instead of serving others in the wrong namespace.
		if back := netns.Set(home); back != nil {
			err = errors.Join(err, fmt.Errorf("lab: cannot leave network namespace %s: %w", filepath.Base(path), back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// makeNamespace makes a named network namespace.
func makeNamespace(path string) error {
	if err := os.MkdirAll(nsDir, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("lab: cannot tell the own network namespace: %w", err)
	}
	defer home.Close()
	fresh, err := netns.NewNamed(filepath.Base(path))
	if err == nil {
		fresh.Close()
	}
	// NewNamed leaves the thread in the new namespace.
	if back := netns.Set(home); back != nil {
		return errors.Join(err, fmt.Errorf("lab: cannot return to the own network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	if err != nil {
		return fmt.Errorf("lab: cannot make network namespace %s: %w", filepath.Base(path), err)
	}
	return nil
}

// dropNamespace takes a namespace's name away; with its last process gone the
// kernel takes its devices, routes and filters with it.
func dropNamespace(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("lab: cannot take away network namespace %s: %w", filepath.Base(path), err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("lab: cannot take away network namespace %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Command is a program to be run in a host's network namespace; its process ID
// will be the program's own. An unknown host shows when the command is started.
func (n *Net) Command(ctx context.Context, host string, argv ...string) *exec.Cmd {
	h, err := HostOf(host)
	if err == nil && len(argv) == 0 {
		err = errors.New("lab: no command to run in " + h)
	}
	if err != nil {
		c := exec.CommandContext(ctx, "")
		c.Err = err
		return c
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.path(h), "--"}, argv...)...)
}

// processes are the IDs of all processes inside a host's namespace, but not of
// this process.
func (n *Net) processes(host string) ([]int, error) {
	want, err := os.Stat(n.path(host))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	var pids []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Kernel threads and processes that just ended have no readable namespace.
		if got, err := os.Stat(filepath.Join(d, "ns/net")); err == nil && os.SameFile(want, got) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// endProcesses ends whatever still runs in the lab's namespaces: TERM, and after
// a while KILL.
func (n *Net) endProcesses() error {
	deadline := time.Now().Add(5 * time.Second)
	sig := syscall.SIGTERM
	for {
		left := 0
		for _, h := range n.hosts() {
			pids, err := n.processes(h)
			if err != nil {
				return err
			}
			for _, pid := range pids {
				left++
				if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
					return fmt.Errorf("lab: cannot end process %d in %s: %w", pid, n.Namespace(h), err)
				}
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			if sig == syscall.SIGKILL {
				return fmt.Errorf("lab: %d processes of lab %q do not end", left, n.name)
			}
			sig, deadline = syscall.SIGKILL, time.Now().Add(5*time.Second)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
