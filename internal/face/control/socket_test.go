package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dead leaves a socket that nobody listens on, as a killed gateway does.
func dead(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestModeOfTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "R1.sock") // the directory is made
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v, want a socket of mode 0660", info.Mode(), err)
	}
	if s.Path() != path {
		t.Errorf("path %s, want %s", s.Path(), path)
	}
}

// TestASecondGateway is refused while the first runs, and not after.
func TestASecondGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "R1.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("the second gateway: %v, want ErrRunning with the path", err)
	}
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first gateway lost its socket to the second: %v", err)
	}
	// The lock tells even when the socket does not.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("the second gateway, after somebody removed the socket: %v, want ErrRunning", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("after the first gateway stopped: %v", err)
	}
	again.Close()
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "R1.sock")
	dead(t, path)
	s, err := Listen(path)
	if err != nil {
		t.Fatalf("after a killed gateway: %v", err)
	}
	defer s.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestWhatIsNotOursStays: a file, a directory, a link, or a socket somebody
// listens on without our lock.
func TestWhatIsNotOursStays(t *testing.T) {
	dir := t.TempDir()
	file, folder, link, foreign := filepath.Join(dir, "f.sock"), filepath.Join(dir, "d.sock"), filepath.Join(dir, "l.sock"), filepath.Join(dir, "s.sock")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{file: "something else", folder: "something else", link: "something else", foreign: "another gateway"} {
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", filepath.Base(path), err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

func TestALongPath(t *testing.T) {
	_, err := Listen("/tmp/" + strings.Repeat("x", 120) + ".sock")
	if err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("%v, want the limit of 107 octets", err)
	}
}

func TestDefaultPath(t *testing.T) {
	for host, want := range map[string]string{
		"R1": "/run/culvert/R1.sock", "../../etc/passwd": "/run/culvert/..-..-etc-passwd.sock", "": "/run/culvert/culvert.sock", "..": "/run/culvert/...sock",
	} {
		if got := DefaultPath(host); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

// TestFind: the only gateway is found; of several all are named; sockets of
// killed gateways do not count when there is another.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "culvert run -c FILE") {
		t.Errorf("no gateway: %v, want what to do", err)
	}
	if _, err := Find(filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "no gateway runs") {
		t.Errorf("no directory: %v", err)
	}
	r1, r2, r3 := filepath.Join(dir, "R1.sock"), filepath.Join(dir, "R2.sock"), filepath.Join(dir, "R3.sock")
	first, err := Listen(r1)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if got, err := Find(dir); got != r1 || err != nil {
		t.Errorf("one gateway: %q, %v", got, err)
	}
	dead(t, r3)
	if got, err := Find(dir); got != r1 || err != nil {
		t.Errorf("one gateway beside a killed one: %q, %v", got, err)
	}
	second, err := Listen(r2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Find(dir)
	if err == nil || !strings.Contains(err.Error(), r1) || !strings.Contains(err.Error(), r2) || strings.Contains(err.Error(), r3) {
		t.Errorf("two gateways: %v, want both named", err)
	}
	second.Close()
	first.Close()
	dead(t, r1)
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "no gateway runs") {
		t.Errorf("only killed gateways: %v", err)
	}
}

// TestAskingNobody: every way in which no gateway answers says what to do.
func TestAskingNobody(t *testing.T) {
	dir := t.TempDir()
	killed := filepath.Join(dir, "killed.sock")
	dead(t, killed)
	mute := filepath.Join(dir, "mute.sock")
	l, err := net.Listen("unix", mute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, `{"out":"half an ans"}`+"\n")
			c.Close()
		}
	}()
	for path, want := range map[string]string{
		filepath.Join(dir, "absent.sock"): "culvert run -c FILE",
		killed:                            "left from one that was killed",
		mute:                              "went away in the middle",
	} {
		exit, _, err := do(t, path, "show", "version")
		if exit != 2 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: exit %d, %v, want %q", filepath.Base(path), exit, err, want)
		}
	}
}

func TestAnAnswerThatIsNotUnderstood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n")
			c.Close()
		}
	}()
	if exit, _, err := do(t, path, "show"); exit != 2 || err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("exit %d, %v", exit, err)
	}
}

// TestInterruptedCommand: only debugging ends well when it is interrupted.
func TestInterruptedCommand(t *testing.T) {
	begun := make(chan struct{}, 1)
	path := serve(t, func(ctx context.Context, _ Request, _ io.Writer) (int, string) {
		begun <- struct{}{}
		<-ctx.Done()
		return 0, ""
	})
	ctx, interrupt := context.WithCancel(context.Background())
	go func() {
		<-begun
		interrupt()
	}()
	exit, err := Do(ctx, path, Request{Words: []string{"explain"}}, &bytes.Buffer{})
	if exit != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("exit %d, %v", exit, err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTheAnswerCannotBeWritten(t *testing.T) {
	path := serve(t, Exec(backend()))
	exit, err := Do(context.Background(), path, Request{Words: []string{"show", "version"}}, fullDisk{})
	if exit != 2 || err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("exit %d, %v", exit, err)
	}
}

func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{`{"words":["show"],"json":true}` + "\n", "{}", "\n", `{"words":null}` + "\n", "[[[["} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readRequest(bytes.NewReader(b))
		if err == nil && len(r.Words) > maxWords {
			t.Fatalf("%d words were taken", len(r.Words))
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Fatalf("the error is not for a terminal: %q", err)
		}
	})
}
