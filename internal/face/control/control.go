// Package control is the socket between a gateway and the commands show, clear,
// debug and explain: a Unix socket that takes one request and streams the answer.
//
//	client                                       gateway
//	{"words":["show","crypto","map"],"json":false}\n -->
//	                                             <-- {"out":"Crypto Map IPv4 …\n"}\n
//	                                             <-- {"out":"…"}\n
//	                                             <-- {"exit":0}\n
//
// Every answer ends in one line with "exit", the exit status of the interface
// contract: 0 done, 1 the answer is no, 2 not understood. "error" beside it is
// a message for the terminal. Debugging has no end of its own: it streams until
// the client closes its side.
//
//	wire.go     the lines, and what bounds them
//	server.go   Listen, Serve
//	socket.go   the file: its mode, its lock, a stale one
//	client.go   Do, Find
//
// Decisions:
//   - Who may use the socket is a matter of its file: mode 0660 in a directory
//     that only root may write. The mode holds from the first moment.
//   - A lock file beside the socket says that a gateway runs, so that two that
//     start at once cannot take away each other's socket. It is never removed:
//     a removed lock file is a race.
//   - The gateway never waits for a client: requests and clients are bounded,
//     writes have deadlines, and a slow listener of debugging loses lines.
//   - A panic while answering ends that answer, not the tunnels: the client is
//     told, with the place.
package control

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"culvert/internal/face/vty"
)

// DefaultDir is where gateways put their sockets.
const DefaultDir = "/run/culvert"

// suffix is the end of every socket's name.
const suffix = ".sock"

// DefaultPath is the socket of the gateway with that hostname. A hostname
// cannot leave the directory: its slashes become dashes.
func DefaultPath(hostname string) string {
	name := strings.ReplaceAll(hostname, "/", "-")
	if name == "" {
		name = "culvert"
	}
	return filepath.Join(DefaultDir, name+suffix)
}

// Request is what a client asks.
type Request struct {
	Words []string `json:"words"` // of the command, abbreviated or not
	JSON  bool     `json:"json"`  // answer as JSON
}

// Handler answers a request: what it writes goes to the client at once. ctx
// ends when the client leaves or the gateway stops. exit is the exit status,
// message what a terminal shows when the answer is an error.
type Handler func(ctx context.Context, r Request, out io.Writer) (exit int, message string)

// Exec is the Handler of the exec commands.
func Exec(b *vty.Backend) Handler {
	return func(ctx context.Context, r Request, out io.Writer) (int, string) {
		c, err := vty.Parse(r.Words)
		if err == nil {
			c.JSON = r.JSON
			err = vty.Execute(ctx, c, b, out)
		}
		return vty.ExitStatus(err), vty.Message(err)
	}
}
