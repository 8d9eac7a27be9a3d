package ike

import (
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/ikev1"
)

// maxFetches bounds the documents that are known to be on their way; beyond it
// each negotiation asks for itself.
const maxFetches = 256

// lost is when a document without an answer is asked for anew: whoever fetches
// has a shorter patience of its own.
const lost = 20 * time.Second

// onItsWay is a revocation list that was asked for, and who waits for it: a
// thousand peers that start at once are one question.
type onItsWay struct {
	asked time.Time
	ids   []uint64
}

// fetch puts a request out, or lets it wait for the answer to another one's.
// Questions to an OCSP responder are about one certificate each, and not shared.
func (e *Engine) fetch(c *ikev1.Context, f door.Fetch) {
	if f.Body == nil {
		if w := e.fetches[f.URL]; w != nil && c.Now.Before(w.asked.Add(lost)) {
			w.ids = append(w.ids, f.ID)
			return
		}
		if len(e.fetches) < maxFetches || e.fetches[f.URL] != nil {
			e.fetches[f.URL] = &onItsWay{c.Now, []uint64{f.ID}}
		}
	}
	c.Out = append(c.Out, f)
}

// fetched hands an answer to all who wait for it.
func (e *Engine) fetched(c *ikev1.Context, f door.Fetched) {
	ids := []uint64{f.ID}
	for url, w := range e.fetches {
		if w.ids[0] == f.ID {
			ids = w.ids
			delete(e.fetches, url)
			break
		}
	}
	for _, id := range ids {
		if sa := e.jobs[id]; sa != nil {
			delete(e.jobs, id)
			f.ID = id
			sa.Fetched(c, f)
			e.after(c, sa)
		}
	}
}
