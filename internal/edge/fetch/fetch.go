// Package fetch gets documents over HTTP for the engine: revocation lists, and
// answers of OCSP responders. Who asks never waits: the answer comes by a
// function. Whatever the other end does, an answer comes within the time limit,
// takes no more memory than was allowed, and few are under way at once.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"culvert/internal/core/door"
)

const (
	limit     = 9 * time.Second // for one document, a little less than the engine waits
	atOnce    = 8               // documents under way
	waiting   = 64              // requests that wait for their turn; more are refused
	redirects = 3
	// ceiling is how many octets of a document are read whatever was asked for.
	ceiling = 8 << 20
)

// Fetcher gets documents.
type Fetcher struct {
	client *http.Client
	slots  chan struct{}
	queue  chan struct{}
}

// New makes a Fetcher. It goes straight to the server: no proxy of the
// environment, no cookies, no connection that is kept. Its packets are as any
// other of this machine: interesting ones go through a tunnel or nowhere.
func New() *Fetcher {
	dialer := &net.Dialer{Timeout: limit / 2}
	return &Fetcher{
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
				ResponseHeaderTimeout: limit, MaxResponseHeaderBytes: 1 << 14,
			},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if len(via) > redirects {
					return fmt.Errorf("more than %d redirections", redirects)
				}
				return check(r.URL)
			},
		},
		slots: make(chan struct{}, atOnce), queue: make(chan struct{}, atOnce+waiting),
	}
}

// check allows plain HTTP only: whoever holds a list over https would need a
// certificate to be believed in turn, and other schemes reach into the machine.
func check(u *url.URL) error {
	if u.Scheme != "http" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s is no http URL", u.Redacted())
	}
	return nil
}

// Start gets a document; done is called once, from another goroutine, with what
// came or why nothing did.
func (f *Fetcher) Start(ctx context.Context, o door.Fetch, done func(door.Fetched)) {
	select {
	case f.queue <- struct{}{}:
	default:
		go done(door.Fetched{ID: o.ID, Err: door.NotAsked + ": too many documents are being fetched"})
		return
	}
	go func() {
		defer func() { <-f.queue }()
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-ctx.Done():
			done(door.Fetched{ID: o.ID, Err: door.NotAsked + " in time: too many documents are being fetched"})
			return
		}
		body, err := f.get(ctx, o)
		answer := door.Fetched{ID: o.ID, Body: body}
		if err != nil {
			answer = door.Fetched{ID: o.ID, Err: words(err)}
		}
		done(answer)
	}()
}

// get does one request to its end.
func (f *Fetcher) get(ctx context.Context, o door.Fetch) ([]byte, error) {
	method, content := http.MethodGet, io.Reader(http.NoBody)
	if o.Body != nil {
		method, content = http.MethodPost, bytes.NewReader(o.Body)
	}
	r, err := http.NewRequestWithContext(ctx, method, o.URL, content)
	if err != nil {
		return nil, err
	}
	if err := check(r.URL); err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "culvert")
	if o.Type != "" {
		r.Header.Set("Content-Type", o.Type)
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %q", answer.Status)
	}
	most := int64(min(o.Most, ceiling))
	body, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("answered with more than %d octets", most)
	}
	return body, nil
}

// words tells an error in one clause, without the URL that is told beside it.
func words(err error) string {
	var u *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &u) && u.Timeout():
		return fmt.Sprintf("did not answer within %s", limit)
	case errors.As(err, &u):
		return "did not answer: " + u.Err.Error()
	}
	return err.Error()
}
