package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary stands in for culvert, and for a command of somebody who is
// not root.
const roleEnv = "CULVERT_LAB_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "culvert":
		os.Exit(fakeCulvert(os.Args[1:]))
	case "nobody":
		os.Exit(labCommand(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeCulvert understands `run -c FILE --socket PATH` and `show … --socket PATH`.
func fakeCulvert(args []string) int {
	socket := args[len(args)-1]
	if args[0] != "run" {
		fmt.Println(strings.Join(args[:len(args)-2], " "))
		if args[0] == "clear" {
			fmt.Fprintln(os.Stderr, "nothing to clear")
			return 1
		}
		return 0
	}
	config, err := os.ReadFile(args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Printf("configured: %s\n", config)
	if string(config) == "broken" {
		return 2
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if string(config) != "silent" {
		l, err := net.Listen("unix", socket)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer l.Close()
	}
	<-term
	fmt.Println("ended in good order")
	return 0
}

func gatewayOptions(t *testing.T, config string) GatewayOptions {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "r1.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return GatewayOptions{Binary: self, Config: file, Env: []string{roleEnv + "=culvert"}}
}

func TestGatewayStartsAnswersAndEnds(t *testing.T) {
	n := testNet(t, "gw")
	o := gatewayOptions(t, "hostname R1")
	g, err := n.StartGateway(t.Context(), "R1", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.StartGateway(t.Context(), "r1", o); err == nil || !strings.Contains(err.Error(), "already runs in r1") {
		t.Errorf("a second one: %v", err)
	}
	pid, ok := g.PID()
	if pids, err := n.processes(R1); !ok || err != nil || len(pids) != 1 || pids[0] != pid {
		t.Errorf("process %d is not alone in r1: %v, %v", pid, pids, err)
	}
	if !strings.Contains(g.Log(), "configured: hostname R1") {
		t.Errorf("log: %s", g.Log())
	}
	// Another process finds it and stops it.
	again, ok := n.Gateway(R1, o.Binary)
	if !ok {
		t.Fatal("not found again")
	}
	if err := again.Stop(); err != nil || again.Running() || !strings.Contains(g.Log(), "ended in good order") {
		t.Errorf("stop: %v, running %v, log: %s", err, again.Running(), g.Log())
	}
	if err := g.Stop(); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
	// After a crash its socket is still there, and it can be started again.
	if g, err = n.StartGateway(t.Context(), R1, o); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil || g.Running() {
		t.Errorf("kill: %v", err)
	}
	if _, err := os.Stat(g.Socket()); err != nil {
		t.Errorf("the stand-in left no socket behind: %v", err)
	}
	if _, err = n.StartGateway(t.Context(), R1, o); err != nil {
		t.Fatal(err)
	}
}

func TestGatewayThatDoesNotStartTellsWhy(t *testing.T) {
	n := testNet(t, "bad")
	if _, err := n.StartGateway(t.Context(), R2, gatewayOptions(t, "broken")); err == nil ||
		!strings.Contains(err.Error(), "gateway in r2 ended at once (exit status 2)") || !strings.Contains(err.Error(), "configured: broken") {
		t.Errorf("ended: %v", err)
	}
	o := gatewayOptions(t, "silent")
	o.Ready = 100 * time.Millisecond
	if _, err := n.StartGateway(t.Context(), R2, o); err == nil || !strings.Contains(err.Error(), "is not ready after 100ms") {
		t.Errorf("silent: %v", err)
	}
	if pids, err := n.processes(R2); err != nil || len(pids) != 0 {
		t.Errorf("something is left in r2: %v, %v", pids, err)
	}
	if _, err := n.StartGateway(t.Context(), HostA, o); err == nil || !strings.Contains(err.Error(), "r1 or r2") {
		t.Errorf("in a host: %v", err)
	}
}

func TestGatewayIsAsked(t *testing.T) {
	n := testNet(t, "ask")
	t.Setenv(roleEnv, "culvert")
	g, err := n.StartGateway(t.Context(), R1, gatewayOptions(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := g.Ask(t.Context(), "show", "crypto", "isakmp", "sa"); err != nil || out != "show crypto isakmp sa\n" {
		t.Errorf("show: %q, %v", out, err)
	}
	var exit *exec.ExitError
	_, err = g.Ask(t.Context(), "clear")
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(err.Error(), "nothing to clear") {
		t.Errorf("clear: %v", err)
	}
}

func TestAnIDThatIsUsedAgainIsAnotherProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	if err := writePID(file, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if pid, ok := readPID(file); !ok || pid != os.Getpid() {
		t.Errorf("this process: %d, %v", pid, ok)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d 1\n", os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := readPID(file); ok {
		t.Error("a process that began at another time was taken for this one")
	}
}
