package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mode of the socket's file.
const mode = 0o660

// maxPath is what sun_path of unix(7) holds besides its final zero.
const maxPath = 107

// probeTime is how long a listener has to answer before its socket counts as busy.
const probeTime = time.Second

// leaving is how long a gateway that was killed may take to let go of the lock:
// its process counts as gone before all its threads are.
const leaving = 500 * time.Millisecond

// ErrRunning is returned by Listen when another gateway has the socket.
var ErrRunning = errors.New("another gateway is running")

// Claim is the right to a control socket, before there is one: a gateway takes
// it first, touches the machine, and listens once it can answer.
type Claim struct {
	path string
	lock *os.File
}

// Take claims the socket at path. The error wraps ErrRunning when another
// gateway has it. The caller has to Listen or to Release.
func Take(path string) (*Claim, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path has %d octets, the system takes %d; choose a shorter one with --socket", path, len(path), maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket %s: its directory: %w", path, err)
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		lock.Close()
		return nil, err
	}
	return &Claim{path, lock}, nil
}

// Release gives the claim up.
func (c *Claim) Release() error { return c.lock.Close() }

// Listen makes the socket. A file that is there already goes only if it is a
// socket nobody listens on. The claim is the server's from now on.
func (c *Claim) Listen() (*Server, error) {
	l, err := bind(c.path)
	if err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return &Server{l, c.lock, make(chan struct{}, maxClients)}, nil
}

// lockFile takes the lock that says a gateway uses path. It is held until the
// file is closed, so also when the process is killed.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: its lock: %w", path, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(leaving); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(leaving / 20)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, running(path)
		}
		return nil, fmt.Errorf("control socket %s: its lock: %w", path, err)
	}
	return f, nil
}

func running(path string) error {
	return fmt.Errorf("%w: it has the control socket %s; stop it, or give this one another --name or --socket", ErrRunning, path)
}

func bind(path string) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// On Linux the mode of the socket itself is the mode its file is made
	// with, less the umask: nobody else can connect before the Chmod below.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), mode) })
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return l.(*net.UnixListener), nil
}

// removeStale takes away the socket of a gateway that was killed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket %s: there is something else of that name (%s); choose another path with --socket", path, info.Mode())
	}
	switch live, err := listens(path); {
	case live:
		return running(path)
	case err != nil:
		return fmt.Errorf("control socket %s: whether somebody listens: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket %s: the one a killed gateway left: %w", path, err)
	}
	return nil
}

// listens reports whether somebody listens on the socket. Only a refused
// connection proves that nobody does.
func listens(path string) (bool, error) {
	c, err := net.DialTimeout("unix", path, probeTime)
	switch {
	case err == nil:
		c.Close()
		return true, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.EAGAIN):
		return true, nil // its queue is full
	}
	return false, err
}
