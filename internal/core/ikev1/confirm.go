package ikev1

import (
	"bytes"
	"encoding/binary"
	"time"

	"culvert/internal/core/isakmp"
	"culvert/internal/core/sadb"
)

// QM3 has no answer, and many a responder puts its SAs in place only when it
// has worked through QM3: what overtakes that is lost there. So the initiator
// asks behind QM3 whether the peer is there (RFC 3706). A peer works through
// its messages one by one, so an answer says that QM3 has been dealt with, and
// traffic may follow. It asks twice: a peer with several threads may take up two
// messages that come together in either order, but not one that it itself has
// made possible. A peer without dead peer detection is given time instead.
const (
	confirmAsks = 2
	confirmWait = time.Second // for the answers; then traffic goes out all the same
	settleLeast = 40 * time.Millisecond
)

// Ready: the peer has dealt with QM3, so we may send with the pair.
type Ready struct {
	SA    *SA
	Child sadb.ChildID
}

func (Ready) outcome() {}

// confirmation is what an answer to R-U-THERE helps to make ready.
type confirmation struct {
	child sadb.ChildID
	asks  int // how many more R-U-THERE are to be answered
}

// patience is when traffic goes out at the latest: after the answer's time, or,
// without dead peer detection, after as long as the peer took for QM2, which
// was the harder work.
func (s *SA) patience(c *Context, q *quickMode) time.Time {
	if s.PeerDPD {
		return c.Now.Add(confirmWait)
	}
	took := c.Now.Sub(q.sent)
	return c.Now.Add(min(max(took, settleLeast), confirmWait))
}

// confirm sends R-U-THERE behind QM3.
func (s *SA) confirm(c *Context, q *quickMode) {
	if s.PeerDPD {
		s.areYouThere(c, confirmation{q.child.ID, confirmAsks})
	}
}

func (s *SA) areYouThere(c *Context, about confirmation) {
	if s.probe == 0 {
		// RFC 3706 6.2: the first sequence number is random, without the top bit.
		s.probe = binary.BigEndian.Uint32(c.octets(4)) >> 1
	}
	if len(s.confirms) >= maxExchanges {
		clear(s.confirms) // a peer that does not answer; time makes these ready
	}
	s.probe++
	s.confirms[s.probe] = about
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(),
		Type: isakmp.NotifyRUThere, Data: be32(s.probe)})
}

// confirmed takes R-U-THERE-ACK.
func (s *SA) confirmed(c *Context, n isakmp.Notification) {
	if !bytes.Equal(n.SPI, s.spi()) || len(n.Data) != 4 {
		return
	}
	seq := binary.BigEndian.Uint32(n.Data)
	about, asked := s.confirms[seq]
	if !asked {
		return
	}
	delete(s.confirms, seq)
	if about.asks--; about.asks > 0 {
		s.areYouThere(c, about)
		return
	}
	c.done(Ready{SA: s, Child: about.child})
}
