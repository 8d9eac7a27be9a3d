package pki

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// What a certificate may make us fetch.
const (
	maxURLs = 4    // of one certificate for one method
	maxURL  = 1024 // octets
)

// The methods of revocation-check.
const (
	MethodCRL  = "crl"
	MethodOCSP = "ocsp"
	MethodNone = "none"
)

// Inquiry finds out whether the certificates of a peer's chain were taken back,
// by the methods of its trustpoint in their order: the first that knows decides,
// and "none" is content with not knowing. Certificate by certificate:
//
//	for Next gives a Look {
//	    Look.URL set: fetch it; nothing came: Fail
//	    what came, or what the Look has already: JudgeJob, then Learn
//	}
//
// An Inquiry belongs to one negotiation; the Cache is shared.
type Inquiry struct {
	peer    *Peer
	cache   *Cache
	at      int // of the chain
	method  int
	tried   map[string]bool // sources of this certificate and method
	reasons []string        // why this certificate is not known to be good
	seen    []event.Revocation
}

// NewInquiry begins; nothing is asked before Next.
func NewInquiry(p *Peer, cache *Cache) *Inquiry {
	return &Inquiry{peer: p, cache: cache, tried: map[string]bool{}}
}

// Look is one thing to look at.
type Look struct {
	Method string
	// URL is what to fetch; "" when Lists are at hand. Body is to be posted, nil
	// for GET, and Type its media type. At most Most octets are of use.
	URL  string
	Body []byte
	Type string
	Most int

	lists      [][]byte
	cert, from *x509.Certificate
}

// Seen are the looks that were taken, for the evidence.
func (q *Inquiry) Seen() []event.Revocation { return slices.Clone(q.seen) }

// methods are those of the trustpoint; "crl" when it names none.
func (q *Inquiry) methods() []string {
	if len(q.peer.Trustpoint.Revocation) == 0 {
		return []string{MethodCRL}
	}
	return q.peer.Trustpoint.Revocation
}

// Next is what to look at next, nil when the inquiry is over: well with no
// error, else with an *Error with CertRevoked or RevocationNone.
func (q *Inquiry) Next(now time.Time) (*Look, error) {
	for q.at < len(q.peer.Chain)-1 {
		cert, ca := q.peer.Chain[q.at], q.peer.Chain[q.at+1]
		if q.method == len(q.methods()) {
			e := refuse(event.RevocationNone, q.peer.Leaf(), "whether the certificate %s was revoked cannot be found out: %s", label(cert), strings.Join(q.reasons, "; "))
			e.Proven, e.Revocations, e.Certificate.Trustpoint = true, q.Seen(), q.peer.Trustpoint.Name
			return nil, e
		}
		look, known, revoked := q.try(q.methods()[q.method], cert, ca, now)
		switch {
		case revoked:
			e := refuse(event.CertRevoked, q.peer.Leaf(), "the certificate %s was revoked by %q", label(cert), isakmp.NameText(ca.RawSubject))
			e.Proven, e.Revocations, e.Certificate.Trustpoint = true, q.Seen(), q.peer.Trustpoint.Name
			return nil, e
		case known:
			q.at, q.method, q.reasons = q.at+1, 0, nil
			clear(q.tried)
		case look != nil:
			look.cert, look.from = cert, ca
			return look, nil
		default:
			q.method++
			clear(q.tried)
		}
	}
	return nil, nil
}

// try asks one method about a certificate: the answer when it is known, or what
// to look at, or neither.
func (q *Inquiry) try(method string, cert, ca *x509.Certificate, now time.Time) (look *Look, known, revoked bool) {
	switch method {
	case MethodNone:
		return nil, true, false
	case MethodCRL:
		if l := q.cache.list(keyOfIssuer(ca), cert.IsCA, now); l != nil {
			_, revoked = l.revoked[string(cert.SerialNumber.Bytes())]
			q.note(MethodCRL, "", cert, revoked)
			return nil, true, revoked
		}
		if lists := q.peer.Trustpoint.CRLs; len(lists) > 0 && !q.tried[""] {
			q.tried[""] = true
			return &Look{Method: MethodCRL, lists: lists}, false, false
		}
		return q.fetch(method, cert.CRLDistributionPoints, cert, ca, now), false, false
	case MethodOCSP:
		a := q.cache.answers[answerKey{keyOfIssuer(ca), string(cert.SerialNumber.Bytes())}]
		if a != nil && !now.After(a.until) {
			q.note(MethodOCSP, "", cert, a.revoked)
			return nil, true, a.revoked
		}
		urls := cert.OCSPServer
		if u := q.peer.Trustpoint.OCSP; u != "" {
			urls = []string{u}
		}
		return q.fetch(method, urls, cert, ca, now), false, false
	}
	q.reasons = append(q.reasons, "there is no method "+method)
	return nil, false, false
}

// fetch finds the next URL that has not been tried.
func (q *Inquiry) fetch(method string, urls []string, cert, ca *x509.Certificate, now time.Time) *Look {
	usable := 0
	for _, u := range urls[:min(len(urls), maxURLs)] {
		if !fetchable(u) {
			continue
		}
		usable++
		if q.tried[u] {
			continue
		}
		q.tried[u] = true
		if q.cache.quiet(u, now) {
			q.miss(method, u, cert, "did not answer a moment ago")
			continue
		}
		if method == MethodCRL {
			return &Look{Method: method, URL: u, Most: maxCRL}
		}
		body, err := ocspRequest(cert, ca)
		if err != nil {
			q.miss(method, u, cert, err.Error())
			continue
		}
		return &Look{Method: method, URL: u, Body: body, Type: "application/ocsp-request", Most: maxOCSP}
	}
	if usable == 0 && !q.tried[""] {
		q.miss(method, "", cert, "the certificate names no place to ask over http")
	}
	return nil
}

// fetchable reports whether a URL of a certificate may be fetched: over http,
// for whoever asks for a list over https needs another certificate first; and
// nothing but printable ASCII.
func fetchable(u string) bool {
	if len(u) > maxURL || len(u) < len("http://x") || !strings.EqualFold(u[:7], "http://") || u[7] == '/' {
		return false
	}
	return !strings.ContainsFunc(u, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '"' || r == '<' || r == '>' || r == '\\' || r == '@'
	})
}

func (q *Inquiry) note(method, url string, cert *x509.Certificate, revoked bool) {
	r := event.Revocation{Method: method, URL: url, Serial: Serial(cert), Result: "good"}
	if revoked {
		r.Result = "revoked"
	}
	if n := len(q.seen); n == 0 || q.seen[n-1].Method != method || q.seen[n-1].Serial != r.Serial || q.seen[n-1].Result != r.Result {
		q.seen = append(q.seen, r)
	}
}

// miss notes that a source told nothing.
func (q *Inquiry) miss(method, url string, cert *x509.Certificate, why string) {
	q.seen = append(q.seen, event.Revocation{Method: method, URL: url, Serial: Serial(cert), Result: why})
	if url != "" {
		why = url + " " + why
	}
	q.reasons = append(q.reasons, method+": "+why)
}

// Fail says that nothing came from a Look's URL, and why.
func (q *Inquiry) Fail(now time.Time, l *Look, why string) {
	if l.URL != "" && !strings.HasPrefix(why, door.NotAsked) {
		q.cache.hush(l.URL, now)
	}
	q.miss(l.Method, l.URL, l.cert, why)
}

// Skip says that a Look was not taken, and why. Its URL is not to blame.
func (q *Inquiry) Skip(l *Look, why string) { q.miss(l.Method, l.URL, l.cert, why) }

// judged is what a JudgeJob finds: one of the two.
type judged struct {
	list   *list
	answer *answer
}

// JudgeJob verifies what came from a Look's URL, or the lists that are at hand.
func (q *Inquiry) JudgeJob(now time.Time, l *Look, body []byte) crypt.Job {
	return job(func() (any, error) {
		switch {
		case l.Method == MethodOCSP:
			a, err := readAnswer(body, l.cert, l.from, now)
			return judged{answer: a}, err
		case l.URL != "":
			found, err := readList(body, l.from, now)
			return judged{list: found}, err
		}
		return atHand(l, now)
	})
}

// atHand finds the newest of the lists at hand that is of the CA.
func atHand(l *Look, now time.Time) (any, error) {
	var best *list
	var why error
	for _, der := range l.lists {
		found, err := readList(der, l.from, now)
		switch {
		case err != nil && (why == nil || !strings.Contains(err.Error(), errNotOurs.Error())):
			why = err
		case err == nil && (best == nil || found.this.After(best.this)):
			best = found
		}
	}
	if best == nil {
		return nil, why
	}
	return judged{list: best}, nil
}

// Learn takes the result of a JudgeJob: evidence goes into the cache, where
// Next finds it.
func (q *Inquiry) Learn(now time.Time, l *Look, r crypt.Result) {
	j, _ := r.Value.(judged)
	switch {
	case r.Err != nil:
		q.miss(l.Method, l.URL, l.cert, r.Err.Error())
	case j.list != nil:
		q.cache.keepList(keyOfIssuer(l.from), j.list)
		if q.cache.list(keyOfIssuer(l.from), l.cert.IsCA, now) == nil {
			q.miss(l.Method, l.URL, l.cert, "the revocation list does not speak of this kind of certificate")
			return
		}
		_, revoked := j.list.revoked[string(l.cert.SerialNumber.Bytes())]
		q.note(l.Method, l.URL, l.cert, revoked)
	case j.answer != nil:
		q.cache.keepAnswer(answerKey{keyOfIssuer(l.from), string(l.cert.SerialNumber.Bytes())}, j.answer)
		q.note(l.Method, l.URL, l.cert, j.answer.revoked)
	}
}
