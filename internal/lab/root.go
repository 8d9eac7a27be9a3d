package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv marks a process that EnsureRoot started in a user namespace.
const insideEnv = "CULVERT_LAB_USERNS"

// haveCapabilities tells whether this process may make network namespaces.
func haveCapabilities() error {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] != "CapEff:" {
			continue
		}
		caps, err := strconv.ParseUint(f[1], 16, 64)
		if err != nil {
			return fmt.Errorf("lab: capabilities %q: %w", f[1], err)
		}
		for _, c := range []struct {
			bit  uint
			name string
		}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}} {
			if caps&(1<<c.bit) == 0 {
				return fmt.Errorf("lab: network namespaces need root (%s is missing)", c.name)
			}
		}
		return nil
	}
	return errors.New("lab: /proc/thread-self/status tells no capabilities")
}

func haveNsenter() error {
	if _, err := exec.LookPath("nsenter"); err != nil {
		return errors.New("lab: the program nsenter is missing: apt-get install util-linux")
	}
	return nil
}

// EnsureRoot lets the command go on only where it may work on the lab of that
// name. For root it does nothing. For anybody else it runs the same command
// again in a user namespace of its own, or in the one where that lab stands,
// and ends this process with its exit status; it returns only when that is
// impossible, with an error that says what is needed. Call it before anything
// else happens.
func EnsureRoot(name string) error {
	if name == "" {
		name = "lab"
	}
	missing := haveCapabilities()
	if missing == nil {
		if os.Getenv(insideEnv) == "fresh" {
			return furnish()
		}
		return nil
	}
	if os.Getenv(insideEnv) != "" {
		return fmt.Errorf("%w; the user namespace made for it has no rights here. Please run it as root", missing)
	}
	if err := haveNsenter(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if pid, ok := holderOf(name); ok {
		return enterHolder(pid, self)
	}
	code, err := runInside(self)
	if err != nil {
		return fmt.Errorf("%w, and a user namespace cannot be made here (%w). Please run it as root, "+
			"or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000", missing, err)
	}
	os.Exit(code)
	return nil
}

// runInside runs this command again as root of a fresh user namespace and
// returns its exit status.
func runInside(self string) (int, error) {
	c := exec.Command(self, os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), insideEnv+"=fresh", holderEnv+"="+holderDir())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	// The terminal sends its interrupt to both of us; what is sent to this
	// process alone is passed on.
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	defer signal.Stop(sigs)
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	for {
		select {
		case s := <-sigs:
			if s != os.Interrupt {
				// The child may just have ended by itself.
				_ = c.Process.Signal(s)
			}
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			if code := c.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 1, nil
		}
	}
}

// furnish gives a fresh user namespace a /run that its root may write to: the
// machine's belongs to somebody else.
func furnish() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("lab: cannot make the mounts private: %w", err)
	}
	if err := unix.Mount("culvert-lab", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("lab: cannot mount an empty /run: %w", err)
	}
	// Children are in the same namespaces and find them ready.
	return os.Setenv(insideEnv, "ready")
}

// A lab that somebody other than root lets stand lives as long as a process is
// in its user namespace. The holder is that process; the file that tells its
// process ID lies outside, where the next command looks for it.
const holderEnv = "CULVERT_LAB_HOLDER_DIR"

func holderDir() string {
	return filepath.Join(os.TempDir(), "culvert-lab-"+strconv.Itoa(os.Getuid()))
}

// Hold lets the lab outlive the process that made it. It needs to be called
// only by who wants that; for root it has nothing to do.
func (n *Net) Hold() error {
	dir := os.Getenv(holderEnv)
	if os.Getenv(insideEnv) == "" || dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	c := exec.Command("sleep", "infinity")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("lab: cannot start the process that holds the lab: %w", err)
	}
	if err := writePID(filepath.Join(dir, n.name+".pid"), c.Process.Pid); err != nil {
		return errors.Join(err, c.Process.Kill())
	}
	return c.Process.Release()
}

// holderOf is the process that holds the lab of that name for this user.
func holderOf(name string) (int, bool) {
	dir := holderDir()
	// In a directory that everybody may write to, only our own counts.
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil || int(st.Uid) != os.Getuid() || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false
	}
	return readPID(filepath.Join(dir, name+".pid"))
}

// releaseHolder ends the process that holds the lab of that name.
func releaseHolder(name string) error {
	dir := os.Getenv(holderEnv)
	if os.Getenv(insideEnv) == "" || dir == "" {
		return nil
	}
	file := filepath.Join(dir, name+".pid")
	if pid, ok := readPID(file); ok {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("lab: cannot end the process that holds the lab: %w", err)
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// enterHolder turns this process into the same command inside the holder's namespaces.
func enterHolder(pid int, self string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	argv := []string{"nsenter", "--user", "--mount", "--net", "--preserve-credentials",
		"--target", strconv.Itoa(pid), "--wd=" + wd, "--", self}
	env := append(os.Environ(), insideEnv+"=ready", holderEnv+"="+holderDir())
	return fmt.Errorf("lab: cannot run nsenter: %w", syscall.Exec(nsenter, append(argv, os.Args[1:]...), env))
}
