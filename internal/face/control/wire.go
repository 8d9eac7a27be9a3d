package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unicode/utf8"
)

// The bounds of one conversation.
const (
	maxRequest = 16 << 10 // octets of the request's line
	maxWords   = 64
	maxChunk   = 32 << 10 // octets of output in one line of an answer
	maxLine    = 1 << 20  // octets of a line that a client takes

	requestTime = 10 * time.Second // for the request to arrive
	answerTime  = 30 * time.Second // for one line of an answer to leave
	streamTime  = 10 * time.Minute // the same for debugging: a stopped terminal is no dead one
)

// reply is one line of an answer.
type reply struct {
	Out   string `json:"out,omitempty"`
	Exit  *int   `json:"exit,omitempty"`
	Error string `json:"error,omitempty"`
}

// encode is a reply as a line. HTML escapes would only make it longer.
func (r reply) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return b.Bytes(), err
}

// readRequest takes the one line a client sends. The errors are for people.
func readRequest(r io.Reader) (Request, error) {
	b := bufio.NewReaderSize(r, maxRequest)
	line, err := b.ReadSlice('\n')
	var q Request
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return q, fmt.Errorf("the request is longer than %d octets", maxRequest)
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return q, fmt.Errorf("no request came: %w", err)
	case b.Buffered() > 0:
		return q, errors.New("there is more after the request: it is one line")
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return q, fmt.Errorf(`the request is not {"words":[…],"json":false}: %w`, err)
	}
	if len(q.Words) > maxWords {
		return q, fmt.Errorf("the request has %d words, at most %d are taken", len(q.Words), maxWords)
	}
	return q, nil
}

// answer writes what a handler writes as lines of an answer.
type answer struct {
	conn  net.Conn
	limit time.Duration
}

// Write sends p in lines of at most maxChunk octets, never cutting a character.
func (a *answer) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n := chunk(p[sent:])
		if err := a.send(reply{Out: string(p[sent : sent+n])}); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// chunk is how many octets of p go into one line.
func chunk(p []byte) int {
	if len(p) <= maxChunk {
		return len(p)
	}
	n := maxChunk
	for n > maxChunk-utf8.UTFMax && !utf8.RuneStart(p[n]) {
		n--
	}
	return n
}

func (a *answer) send(r reply) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := a.conn.SetWriteDeadline(time.Now().Add(a.limit)); err != nil {
		return err
	}
	_, err = a.conn.Write(b)
	return err
}

// end is the last line.
func (a *answer) end(exit int, message string) error {
	return a.send(reply{Exit: &exit, Error: message})
}
