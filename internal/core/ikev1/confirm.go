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
// gives it time, and then asks whether it is there (RFC 3706): a peer works
// through its messages one by one, so its answer says that QM3 has been dealt
// with. It does not ask at once, since a peer with several threads may take up
// two messages that come together in either order, and one that keeps few
// initialization vectors (strongSwan: three exchanges) could then no longer read
// QM3. A peer without dead peer detection is given time only.
const (
	confirmWait = time.Second // for the answer; then traffic goes out all the same
	settleLeast = 40 * time.Millisecond
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
	return c.Now.Add(min(max(c.Now.Sub(q.sent), settleLeast), confirmWait))
}

// Confirm asks the peer whether it has dealt with the QM3 of a pair; Ready comes
// when it has. It returns until when to wait for that, now when it cannot be asked.
func (s *SA) Confirm(c *Context, id sadb.ChildID) time.Time {
	if !s.PeerDPD || !s.Up() {
		return c.Now
	}
	if s.probe == 0 {
		// RFC 3706 6.2: the first sequence number is random, without the top bit.
		s.probe = binary.BigEndian.Uint32(c.octets(4)) >> 1
	}
	if len(s.confirms) >= maxExchanges {
		clear(s.confirms) // a peer that does not answer; time makes these ready
	}
	s.probe++
	s.confirms[s.probe] = id
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(),
		Type: isakmp.NotifyRUThere, Data: be32(s.probe)})
	return c.Now.Add(confirmWait)
}

// confirmed takes R-U-THERE-ACK.
func (s *SA) confirmed(c *Context, n isakmp.Notification) {
	if !bytes.Equal(n.SPI, s.spi()) || len(n.Data) != 4 {
		return
	}
	seq := binary.BigEndian.Uint32(n.Data)
	if id, asked := s.confirms[seq]; asked {
		delete(s.confirms, seq)
		c.done(Ready{SA: s, Child: id})
	}
}
