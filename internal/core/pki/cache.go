package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"time"
)

// What is kept of revocation, whatever certificates come (CVE-2021-41991).
const (
	maxLists   = 64      // revocation lists
	maxRevoked = 1 << 19 // serial numbers in all of them together
	maxAnswers = 4096    // answers of OCSP responders
	maxSilent  = 256     // URLs that did not answer
)

// silence is how long a URL that did not answer is left alone: who is behind it
// costs a negotiation its patience once, not every time.
const silence = 30 * time.Second

// issuerKey names a CA: its name and its key.
type issuerKey [sha256.Size]byte

func keyOfIssuer(ca *x509.Certificate) issuerKey {
	h := sha256.New()
	h.Write(ca.RawSubject)
	h.Write(ca.RawSubjectPublicKeyInfo)
	return issuerKey(h.Sum(nil))
}

// list is a revocation list that was verified.
type list struct {
	this, until time.Time // thisUpdate, and when it is no longer believed
	revoked     map[string]struct{}
	users, cas  bool // which certificates it speaks of
	order       int
}

// answerKey names a certificate in an answer.
type answerKey struct {
	issuer issuerKey
	serial string
}

// answer is what an OCSP responder said of a certificate.
type answer struct {
	revoked bool
	this    time.Time
	until   time.Time
	order   int
}

// Cache keeps evidence of revocation until it ends, for all negotiations of an
// engine. Where it is full the oldest goes.
type Cache struct {
	lists   map[issuerKey]*list
	answers map[answerKey]*answer
	silent  map[string]time.Time
	order   int
	serials int
}

// NewCache makes an empty cache.
func NewCache() *Cache {
	return &Cache{lists: map[issuerKey]*list{}, answers: map[answerKey]*answer{}, silent: map[string]time.Time{}}
}

// Flush forgets everything.
func (c *Cache) Flush() { *c = *NewCache() }

// Len is how many lists and answers are kept.
func (c *Cache) Len() (lists, answers int) { return len(c.lists), len(c.answers) }

// list is the list of a CA that speaks of a certificate, nil when none is good now.
func (c *Cache) list(k issuerKey, ca bool, now time.Time) *list {
	l := c.lists[k]
	if l == nil || now.After(l.until) || (ca && !l.cas) || (!ca && !l.users) {
		return nil
	}
	return l
}

// keepList keeps a list, unless the CA has published a newer one.
func (c *Cache) keepList(k issuerKey, l *list) {
	if old := c.lists[k]; old != nil {
		if old.this.After(l.this) && old.users == l.users && old.cas == l.cas {
			return
		}
		c.dropList(k)
	}
	c.order++
	l.order = c.order
	c.lists[k] = l
	c.serials += len(l.revoked)
	for len(c.lists) > 1 && (len(c.lists) > maxLists || c.serials > maxRevoked) {
		oldest := k
		for o, x := range c.lists {
			if x.order < c.lists[oldest].order {
				oldest = o
			}
		}
		c.dropList(oldest)
	}
}

func (c *Cache) dropList(k issuerKey) {
	c.serials -= len(c.lists[k].revoked)
	delete(c.lists, k)
}

func (c *Cache) keepAnswer(k answerKey, a *answer) {
	if old := c.answers[k]; old != nil && old.this.After(a.this) {
		return
	}
	c.order++
	a.order = c.order
	c.answers[k] = a
	if len(c.answers) > maxAnswers {
		oldest := k
		for o, x := range c.answers {
			if x.order < c.answers[oldest].order {
				oldest = o
			}
		}
		delete(c.answers, oldest)
	}
}

// hush remembers that a URL did not answer.
func (c *Cache) hush(url string, now time.Time) {
	if len(c.silent) >= maxSilent {
		clear(c.silent)
	}
	c.silent[url] = now.Add(silence)
}

func (c *Cache) quiet(url string, now time.Time) bool { return now.Before(c.silent[url]) }
