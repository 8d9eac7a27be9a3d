package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"culvert/internal/face/vty"
)

// maxClients is how many are served at a time; debugging holds its place.
const maxClients = 64

// acceptPause is the wait after a failed accept: the process may be out of
// file descriptors, which must not become a busy loop.
const acceptPause = 100 * time.Millisecond

// stopGrace is what clients get to take the end of their answer once the
// gateway stops.
const stopGrace = time.Second

// Server is the gateway's end of the socket.
type Server struct {
	listener *net.UnixListener
	lock     *os.File
	slots    chan struct{}
}

// Listen makes the socket at path. The error wraps ErrRunning when another
// gateway has it. The caller has to Serve or to Close.
func Listen(path string) (*Server, error) {
	c, err := Take(path)
	if err != nil {
		return nil, err
	}
	return c.Listen()
}

// Path is the socket's path.
func (s *Server) Path() string { return s.listener.Addr().String() }

// Close removes the socket of a Server that does not Serve.
func (s *Server) Close() error {
	var failed error
	for _, err := range []error{s.listener.Close(), s.lock.Close()} {
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Serve answers clients with h until ctx ends. Then it removes the socket,
// ends every conversation and returns nil; no goroutine of it is left.
func (s *Server) Serve(ctx context.Context, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.listener.Close() })()
	for {
		conn, err := s.listener.AcceptUnix()
		switch {
		case err == nil:
			clients.Go(func() { s.client(ctx, conn, h) })
		case ctx.Err() != nil:
			return s.Close()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("control socket %s: %w", s.Path(), err)
		default:
			pause(ctx, acceptPause)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// client has one conversation. ctx is the gateway's.
func (s *Server) client(ctx context.Context, conn *net.UnixConn, h Handler) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, func() { conn.Close() }) })()
	a := &answer{conn, answerTime}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		// Whether the refusal arrives is the client's concern.
		_ = a.end(1, fmt.Sprintf("%% The gateway has %d control clients, which is the most; end a \"debug\" somewhere", maxClients))
		return
	}
	if conn.SetReadDeadline(time.Now().Add(requestTime)) != nil {
		return
	}
	r, err := readRequest(conn)
	if err != nil {
		_ = a.end(2, "% "+err.Error())
		return
	}
	if conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	if streams(r) {
		a.limit = streamTime
	}
	here, leave := context.WithCancel(ctx)
	defer leave()
	var watch sync.WaitGroup
	defer watch.Wait()
	defer conn.Close() // ends the watch
	watch.Go(func() {
		// Whatever comes now ends the conversation: there is one request.
		_, _ = conn.Read(make([]byte, 1))
		leave()
	})
	_ = a.end(safely(here, h, r, a))
}

// streams reports whether the request is one that goes on until the client leaves.
func streams(r Request) bool {
	c, err := vty.Parse(r.Words)
	return err == nil && c.Streams()
}

// safely calls the handler; a panic becomes a message with its place.
func safely(ctx context.Context, h Handler, r Request, a *answer) (exit int, message string) {
	defer func() {
		if p := recover(); p != nil {
			exit, message = 1, fmt.Sprintf("%% The gateway has a defect in %q: %v\n%s", strings.Join(r.Words, " "), p, debug.Stack())
		}
	}()
	return h(ctx, r, a)
}
