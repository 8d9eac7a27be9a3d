package ikev1

import (
	"errors"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/pki"
)

// Whether the peer's certificates were taken back is asked over the network,
// and the negotiation waits: for one answer no longer than fetchTime, for all of
// them no longer than inquiryTime, which leaves room for the rest of phase 1.
const (
	fetchTime   = 10 * time.Second
	inquiryTime = 25 * time.Second
)

// errNoAnswer is a URL that did not answer in time.
var errNoAnswer = errors.New("did not answer in time")

// fetching is a document that is on its way.
type fetching struct {
	id    uint64
	until time.Time
}

// inquire finds out whether a certificate of the peer's chain was revoked; then
// is called with nil when it was not, or as much as the trustpoint wants to know.
func (s *SA) inquire(c *Context, peer *pki.Peer, then func(*Context, error)) {
	cache := c.Evidence
	if cache == nil {
		cache = pki.NewCache()
	}
	q := pki.NewInquiry(peer, cache)
	s.look(c, q, c.Now.Add(inquiryTime), 0, then)
}

// look takes the next step of an inquiry. told is how many of its looks have
// been reported.
func (s *SA) look(c *Context, q *pki.Inquiry, until time.Time, told int, then func(*Context, error)) {
	l, err := q.Next(c.Now)
	for _, r := range q.Seen()[told:] {
		s.emit(c, r)
		told++
	}
	if l == nil {
		then(c, err)
		return
	}
	judge := func(c *Context, body []byte) {
		c.compute(s, q.JudgeJob(c.Now, l, body), func(c *Context, r crypt.Result) {
			q.Learn(c.Now, l, r)
			s.look(c, q, until, told, then)
		})
	}
	if l.URL == "" {
		judge(c, nil)
		return
	}
	wait := min(fetchTime, until.Sub(c.Now))
	if wait <= 0 {
		q.Skip(l, "was not asked any more: the peer waits")
		s.look(c, q, until, told, then)
		return
	}
	s.fetch(c, l, wait, func(c *Context, r crypt.Result) {
		body, _ := r.Value.([]byte)
		if r.Err != nil {
			q.Fail(c.Now, l, r.Err.Error())
			s.look(c, q, until, told, then)
			return
		}
		judge(c, body)
	})
}

// fetch asks for a document; then is called with it, or with why there is none.
func (s *SA) fetch(c *Context, l *pki.Look, wait time.Duration, then func(*Context, crypt.Result)) {
	id := c.NewJob(s)
	s.jobs[id] = func(c *Context, r crypt.Result) {
		s.fetching = nil
		then(c, r)
	}
	s.fetching = &fetching{id, c.Now.Add(wait)}
	f := door.Fetch{ID: id, URL: l.URL, Body: l.Body, Type: l.Type, Most: l.Most}
	if c.Fetch == nil {
		c.Out = append(c.Out, f)
		return
	}
	c.Fetch(f)
}

// Fetched goes on with a document that was asked for.
func (s *SA) Fetched(c *Context, f door.Fetched) {
	r := crypt.Result{Value: f.Body}
	if f.Err != "" {
		r = crypt.Result{Err: errors.New(f.Err)}
	}
	s.Computed(c, f.ID, r)
}

// tickFetch gives up waiting for a document.
func (s *SA) tickFetch(c *Context) {
	if f := s.fetching; f != nil && !c.Now.Before(f.until) {
		s.Computed(c, f.id, crypt.Result{Err: errNoAnswer})
	}
}
