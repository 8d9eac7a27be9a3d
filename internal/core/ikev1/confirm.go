package ikev1

import (
	"time"

	"culvert/internal/core/sadb"
)

// QM3 has no answer, and many a responder puts its SAs in place only when it
// has worked through QM3: what overtakes that is lost there. So the initiator
// gives it time, and then asks whether it is there (RFC 3706): a peer works
// through its messages one by one, so its answer says that QM3 has been dealt
// with. It does not ask at once, since a peer with several threads may take up
// two messages that come together in either order, and one that keeps few
// initialization vectors (strongSwan: three exchanges) could then no longer read
// QM3. A peer without dead peer detection is given time only.
const (
	confirmWait = time.Second // for the answer; then traffic goes out all the same
	settleLeast = 40 * time.Millisecond
	commitWait  = 2 * time.Second // for CONNECTED, of a peer that set the commit bit
)

// Ready: the peer has dealt with QM3, so we may send with the pair.
type Ready struct {
	SA    *SA
	Child sadb.ChildID
}

func (Ready) outcome() {}

// settles is when the peer should have dealt with QM3: after as long as it took
// for QM2, which was the harder work.
func (s *SA) settles(c *Context, q *quickMode) time.Time {
	if q.commit {
		return c.Now.Add(commitWait)
	}
	return c.Now.Add(min(max(c.Now.Sub(q.sent), settleLeast), confirmWait))
}

// Confirm asks the peer whether it has dealt with the QM3 of a pair; Ready comes
// when it has. It returns until when to wait for that, now when it cannot be asked.
func (s *SA) Confirm(c *Context, id sadb.ChildID) time.Time {
	if !s.PeerDPD || !s.Up() {
		return c.Now
	}
	if len(s.confirms) >= maxExchanges {
		clear(s.confirms) // a peer that does not answer; time makes these ready
	}
	s.confirms[s.question(c)] = id
	return c.Now.Add(confirmWait)
}
