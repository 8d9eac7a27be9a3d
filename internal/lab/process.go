package lab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// started is when a process began, in clock ticks since the machine's boot;
// ok is false when there is no such process or it has ended. Together with the
// process ID it names a process for good: IDs are used again.
func started(pid int) (ticks uint64, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// proc(5): the second field is the name in parentheses and may hold anything.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, false
	}
	t, err := strconv.ParseUint(f[19], 10, 64)
	return t, err == nil
}

// writePID notes a process so that readPID finds it again from another process.
func writePID(file string, pid int) error {
	t, ok := started(pid)
	if !ok {
		return fmt.Errorf("lab: process %d has already ended", pid)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d %d\n", pid, t), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// readPID is the process noted in a file, if it still runs.
func readPID(file string) (int, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	var pid int
	var ticks uint64
	if _, err := fmt.Sscan(string(b), &pid, &ticks); err != nil || pid < 2 {
		return 0, false
	}
	t, ok := started(pid)
	return pid, ok && t == ticks
}

// endProcess sends a signal and waits until the process noted in file is gone;
// after patience it sends KILL. A process that is gone already is no error.
func endProcess(file string, sig syscall.Signal, patience time.Duration) error {
	pid, ok := readPID(file)
	if !ok {
		return nil
	}
	for _, s := range []syscall.Signal{sig, syscall.SIGKILL} {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("lab: cannot end process %d: %w", pid, err)
		}
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, ok := readPID(file); !ok {
				return nil
			}
		}
	}
	return fmt.Errorf("lab: process %d does not end", pid)
}
