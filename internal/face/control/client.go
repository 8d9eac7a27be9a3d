package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sendTime is how long the request may take to leave.
const sendTime = 10 * time.Second

// Do asks the gateway at path and copies the answer to stdout as it comes; an
// empty path means the only gateway of DefaultDir. exit is the exit status of
// the interface contract, and err what to print beside it, nil when everything
// was said. Cancelling ctx ends debugging, which is its normal end.
func Do(ctx context.Context, path string, r Request, stdout io.Writer) (exit int, err error) {
	if path == "" {
		if path, err = Find(DefaultDir); err != nil {
			return 2, err
		}
	}
	conn, err := dial(ctx, path)
	if err != nil {
		return 2, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	exit, err = converse(conn, r, stdout)
	if ctx.Err() != nil {
		if streams(r) {
			return 0, nil
		}
		return 2, context.Cause(ctx)
	}
	return exit, err
}

// dial connects. Its errors say what to do.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no gateway runs at %s: start one with \"culvert run -c FILE\", or name its socket with --socket", path)
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("no gateway runs at %s, the socket is left from one that was killed: start it again with \"culvert run -c FILE\"", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission for %s: ask as root, or as a member of the group that the socket belongs to", path)
	case err != nil:
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return conn, nil
}

// converse sends the request and copies the answer.
func converse(conn net.Conn, r Request, stdout io.Writer) (exit int, err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return 2, fmt.Errorf("the request: %w", err)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return 2, fmt.Errorf("control socket: %w", err)
	}
	// A gateway that refuses answers before it has read: what it says matters
	// more than the failed write.
	_, sendErr := conn.Write(append(line, '\n'))
	s := bufio.NewScanner(conn)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		var a reply
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			return 2, fmt.Errorf("the gateway's answer is not understood (is it another version?): %w", err)
		}
		if _, err := io.WriteString(stdout, a.Out); err != nil {
			return 2, fmt.Errorf("writing the answer: %w", err)
		}
		switch {
		case a.Exit != nil && a.Error != "":
			return *a.Exit, errors.New(a.Error)
		case a.Exit != nil:
			return *a.Exit, nil
		}
	}
	if sendErr != nil {
		return 2, fmt.Errorf("asking the gateway: %w", sendErr)
	}
	return 2, errors.New("the gateway went away in the middle of its answer")
}

// Find is the path of the only gateway with a socket in dir. Of several
// sockets only those count that somebody listens on.
func Find(dir string) (string, error) {
	all, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return "", fmt.Errorf("sockets of %s: %w", dir, err)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	var live []string
	for _, p := range all {
		// One we may not ask is there all the same.
		if ok, err := listens(p); ok || err != nil {
			live = append(live, p)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) == 0:
		return "", fmt.Errorf("no gateway runs: nobody listens in %s; start one with \"culvert run -c FILE\", or name its socket with --socket", dir)
	}
	return "", fmt.Errorf("%d gateways run, choose one with --socket: %s", len(live), strings.Join(live, ", "))
}
