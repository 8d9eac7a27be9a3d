package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Daemon is a program that runs in a host's namespace in the background and
// outlives the process that started it. Its log and its process ID are files
// of the lab.
type Daemon struct {
	net   *Net
	host  string
	name  string
	ended chan error // nil when another process started it
}

func (n *Net) daemon(host, name string) *Daemon { return &Daemon{net: n, host: host, name: name} }

// Daemon is a daemon that was started by that name, perhaps by another process;
// it need not run any more.
func (n *Net) Daemon(host, name string) (*Daemon, error) {
	h, err := HostOf(host)
	if err != nil {
		return nil, err
	}
	return n.daemon(h, name), nil
}

// StartDaemon starts a program in a host's namespace. What it prints goes to its
// log, behind what an earlier one of the same name printed.
func (n *Net) StartDaemon(host, name string, env []string, argv ...string) (*Daemon, error) {
	d, err := n.Daemon(host, name)
	if err != nil {
		return nil, err
	}
	if pid, ok := d.PID(); ok {
		return nil, fmt.Errorf("lab: %s already runs in %s, process %d", name, d.host, pid)
	}
	log, err := os.OpenFile(d.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	defer log.Close()
	c := n.Command(context.Background(), d.host, argv...)
	c.Stdout, c.Stderr = log, log
	c.Env = append(os.Environ(), env...)
	// A session of its own: the terminal's interrupt is not for the daemon.
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("lab: cannot run %s in %s: %w", name, d.host, err)
	}
	pidErr := writePID(d.file("pid"), c.Process.Pid)
	d.ended = make(chan error, 1)
	// Whoever starts a process must wait for it, or it stays as a zombie.
	go func() { d.ended <- c.Wait() }()
	return d, pidErr
}

// AwaitReady waits until ready returns no error. A daemon that ends before, or
// takes longer than patience, is an error that holds the end of its log.
func (d *Daemon) AwaitReady(ctx context.Context, patience time.Duration, ready func() error) error {
	timeout := time.After(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case end := <-d.ended:
			return fmt.Errorf("lab: %s in %s ended at once (%v):\n%s", d.name, d.host, end, d.tail())
		case <-timeout:
			return fmt.Errorf("lab: %s in %s is not ready after %v (%w):\n%s", d.name, d.host, patience, err, d.tail())
		case <-ctx.Done():
			return fmt.Errorf("lab: %s in %s: %w", d.name, d.host, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *Daemon) file(kind string) string {
	return filepath.Join(d.net.Dir(), d.host+"."+d.name+"."+kind)
}

// Host is the host the daemon runs in.
func (d *Daemon) Host() string { return d.host }

// LogFile is the path of what the daemon printed.
func (d *Daemon) LogFile() string { return d.file("log") }

// Log is what the daemon printed up to now, earlier runs in this lab included.
func (d *Daemon) Log() string {
	b, err := os.ReadFile(d.LogFile())
	if err != nil {
		return fmt.Sprintf("(no log: %v)\n", err)
	}
	return string(b)
}

// tail is the end of the log, for error messages.
func (d *Daemon) tail() string {
	lines := strings.Split(strings.TrimRight(d.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// PID is the daemon's process; ok is false when it does not run.
func (d *Daemon) PID() (pid int, ok bool) { return readPID(d.file("pid")) }

// Running tells whether the daemon runs.
func (d *Daemon) Running() bool {
	_, ok := d.PID()
	return ok
}

// Signal sends a signal to the daemon.
func (d *Daemon) Signal(s syscall.Signal) error {
	pid, ok := d.PID()
	if !ok {
		return fmt.Errorf("lab: no %s runs in %s", d.name, d.host)
	}
	return syscall.Kill(pid, s)
}

// Stop asks the daemon to end (TERM) and waits for it; KILL follows after 10 s.
func (d *Daemon) Stop() error { return endProcess(d.file("pid"), syscall.SIGTERM, 10*time.Second) }

// Kill ends the daemon without a chance to clean up, as a crash would (KILL).
func (d *Daemon) Kill() error { return endProcess(d.file("pid"), syscall.SIGKILL, 10*time.Second) }
