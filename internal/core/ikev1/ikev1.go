// Package ikev1 is the Internet Key Exchange, version 1, of one ISAKMP SA:
// main, aggressive and quick mode and the informational exchange of RFC 2408 and
// RFC 2409 with the IPsec domain of interpretation of RFC 2407 and NAT traversal
// of RFC 3947.
//
//	phase 1, main mode             Initiator               Responder
//	                               HDR, SA, VID      -->                      MM1
//	                                                 <--   HDR, SA, VID       MM2
//	                               HDR, KE, Ni, NAT-D -->                     MM3
//	                                                 <--   HDR, KE, Nr, NAT-D MM4
//	                               HDR*, IDii, HASH_I -->                     MM5
//	                                                 <--   HDR*, IDir, HASH_R MM6
//	phase 1, aggressive mode       HDR, SA, KE, Ni, IDii -->                           AM1
//	                               <-- HDR, SA, KE, Nr, IDir, NAT-D, HASH_R            AM2
//	                               HDR*, NAT-D, HASH_I -->                             AM3
//	phase 2, quick mode            HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr -->          QM1
//	                               <-- HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr          QM2
//	                               HDR*, HASH(3) -->                                     QM3
//
// An SA is a plain struct. Messages, results of arithmetic and time come in as
// arguments; messages to send, arithmetic to do and what was agreed leave as
// values in a Context. A message that is not authentic never changes state:
// its handler returns an error and the SA waits on.
//
// What is promised against those who can read and write on the path, and what
// IKEv1 cannot give:
//
//   - MM5, MM6, quick mode and informationals are proved by their hashes. No
//     copy, replay, reflection or forgery of them changes anything.
//   - MM1 to MM4 prove nothing when they come. One that cannot be read, chooses
//     what was not offered, or brings a public value that is none is dropped,
//     and the real one is taken when it comes. MM4 leaves only when the shared
//     secret is there, so that a bad MM3 is not answered.
//   - A forged MM2, MM3 or MM4 that is well formed and comes first cannot be
//     told from the real one. That negotiation fails, after 45 seconds at most;
//     nobody who lacks the key gets an SA, and the next packet of traffic starts
//     anew.
//   - NAT-D payloads are not proved. Spoiled ones make ESP travel in UDP, or
//     not; the responder takes the encapsulation that the initiator's quick mode
//     names, so that the two ends never disagree about it.
//   - AM2 is proved by its hash, but comes in the clear: what a forged one changes
//     is taken back. AM1 proves nothing and costs the responder a key pair and a
//     shared secret, so it is taken only where that is configured.
//   - Who answers in the place of the peer learns HASH_I, with which a weak
//     pre-shared key can be guessed offline (CVE-2018-5389). In aggressive mode
//     whoever asks, or listens, learns HASH_R.
//   - Notifications and deletes without protection are hints for people.
//
// The peer's identity is bound to its address: main mode chooses the key by
// address, aggressive mode by the name in AM1 too, and an address in the ID
// payload must be the one the peer comes from unless a NAT stands between or the
// configuration names that address (Ninet 2019). Beyond that an identity is
// compared with what the isakmp profile and "set identity" of the crypto map
// entry expect; without those a name is shown only.
package ikev1

import (
	"fmt"
	"io"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// Context is what a step of an SA works with, and where it leaves its results.
type Context struct {
	Now      time.Time
	Random   io.Reader // never fails, as crypto/rand.Reader never does
	Settings *policy.Settings
	NewSPI   func() uint32       // an inbound SPI that is not in use
	FreeSPI  func(uint32)        // one that was drawn and is not needed
	NewChild func() sadb.ChildID // a fresh name
	// Admit finds the flow that the peer of an SA may have for the selectors it
	// asks for. The error tells why it may not; a Refusal says what the peer hears.
	Admit func(*SA, flow.Selectors) (policy.Flow, error)
	// Adopt is asked for the flow of a pair that is agreed, before its SAs are put
	// in place; the pair belongs to the flow it returns.
	Adopt func(*Context, *SA, policy.Flow) (policy.Flow, error)
	// Crossing reports whether a quick mode of the peer, for these selectors and
	// with this nonce, has to wait for one of our own.
	Crossing func(*SA, flow.Selectors, []byte) bool
	// Yield is told that such a quick mode of the peer is answered: one of our own
	// that goes second is to be given up.
	Yield  func(*Context, *SA, flow.Selectors, []byte)
	NewJob func(*SA) uint64 // a fresh name for arithmetic of this SA
	// Others reports whether the engine holds another ISAKMP SA or an IPsec
	// SA with this SA's peer; without one, INITIAL-CONTACT is sent.
	Others func(*SA) bool
	// Fetch asks for a document; nil puts the request out as it is.
	Fetch func(door.Fetch)
	// Evidence is what is known of revocation, for all SAs; nil keeps nothing.
	Evidence *pki.Cache

	Out      []door.Output
	Outcomes []Outcome
}

// Outcome is what an exchange means for the engine, which owns the IPsec SAs.
type Outcome interface{ outcome() }

// Established: phase 1 is complete.
type Established struct{ SA *SA }

// ChildUp: a direction of an IPsec SA pair is agreed. The Install of the inbound
// SA has been put out, before any message that lets the peer use it; that of the
// outbound SA is left to the engine. Rekey names the pair it replaces, zero for none.
type ChildUp struct {
	SA      *SA
	Child   *sadb.Child
	In, Out bool
	// OutAt: the engine is to put the outbound SA in place then, no sooner.
	OutAt time.Time
	Rekey sadb.ChildID
}

// ChildFailed: quick mode ended without an SA.
type ChildFailed struct {
	SA     *SA
	Flow   policy.FlowID
	Child  sadb.ChildID
	Rekey  sadb.ChildID
	Role   event.Role
	Failed event.Failed
	// Silent: the peer has said nothing at all since QM1 left.
	Silent bool
	// Yielded: it did not fail, it gave way to the peer's quick mode for the same
	// traffic. Failed is empty then.
	Yielded bool
}

// PeerDeleted: the peer no longer has the IPsec SAs of a protocol (AH or ESP, RFC
// 2407 4.4.1) with these SPIs, which are the ones we send with.
type PeerDeleted struct {
	SA       *SA
	Protocol uint8
	SPIs     []uint32
}

// InitialContact: the peer has started anew; what we had with it before is void.
type InitialContact struct{ SA *SA }

// Dead: the ISAKMP SA is gone. Failed is set when phase 1 did not come up by
// itself, Expired when the lifetime was over.
type Dead struct {
	SA      *SA
	Failed  *event.Failed
	Expired bool
}

func (Established) outcome()    {}
func (ChildUp) outcome()        {}
func (ChildFailed) outcome()    {}
func (PeerDeleted) outcome()    {}
func (InitialContact) outcome() {}
func (Dead) outcome()           {}

func (c *Context) childUp(u ChildUp) {
	if u.In {
		c.Out = append(c.Out, door.Install{Child: u.Child, In: true})
	}
	c.done(u)
}

func (c *Context) done(o Outcome) { c.Outcomes = append(c.Outcomes, o) }

// octets draws n random octets. A source that fails must not be survived:
// going on would mean predictable keys.
func (c *Context) octets(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.Random, b); err != nil {
		panic(fmt.Errorf("ikev1: the source of randomness failed: %w", err))
	}
	return b
}

// Cookie draws an ISAKMP cookie, which is never zero (RFC 2408 2.5.3).
func (c *Context) Cookie() isakmp.Cookie {
	for {
		if k := isakmp.Cookie(c.octets(8)); k != (isakmp.Cookie{}) {
			return k
		}
	}
}

// compute sends arithmetic away; then goes on with its result.
func (c *Context) compute(s *SA, job crypt.Job, then func(*Context, crypt.Result)) {
	id := c.NewJob(s)
	s.jobs[id] = then
	c.Out = append(c.Out, door.Compute{ID: id, Job: job})
}

// Refusal is why a message was not taken. Unless Authentic, the message may be
// anybody's: the negotiation waits on.
type Refusal struct {
	Code      event.Code
	Notify    isakmp.NotifyType // what to tell the peer; 0 for nothing
	Authentic bool
	Reason    string
	Offers    []policy.ISAKMP // of the peer, when none of them was taken
	// Who the peer says it is, the RFC word for that sort of name, and the isakmp
	// profile that recognises it; empty when that is not the matter.
	Identity, Kind, Profile string
	// Certificate is the peer's and Revocations are the looks that were taken,
	// when a certificate is the matter.
	Certificate event.Certificate
	Revocations []event.Revocation
}

func (r *Refusal) Error() string { return r.Reason }

// malformed is the refusal of a message that breaks the rules.
func malformed(format string, args ...any) *Refusal {
	return &Refusal{Code: event.Malformed, Reason: fmt.Sprintf(format, args...)}
}
