package ikev1

import (
	"bytes"
	"encoding/binary"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// Dead peer detection, RFC 3706: a question and its answer, each in an
// informational exchange of its own.
//
//	HDR*, HASH, N(R-U-THERE, n)  -->
//	                             <--  HDR*, HASH, N(R-U-THERE-ACK, n)
//
// When to ask, and what follows when no answer comes, is the engine's business:
// it knows the traffic. A question that is asked again has a number of its own,
// since the peer would take a copy for a replay; the answer to any question that
// is still open will do.

// maxQuestions bounds the numbers that are awaited; there are fewer in a series.
const maxQuestions = 64

// Heard is when the peer last said something authentic over this SA; zero before
// phase 1 is complete.
func (s *SA) Heard() time.Time {
	if s.heard.Before(s.Established) {
		return s.Established
	}
	return s.heard
}

// Ask asks the peer whether it is there; false when it does not know the question.
func (s *SA) Ask(c *Context) bool {
	if !s.PeerDPD || !s.Up() {
		return false
	}
	if len(s.questions) >= maxQuestions {
		clear(s.questions)
	}
	n := s.question(c)
	s.questions[n] = struct{}{}
	return true
}

// question sends R-U-THERE with the next number.
func (s *SA) question(c *Context) uint32 {
	if s.probe == 0 {
		// RFC 3706 6.2: the first sequence number is random, without the top bit.
		s.probe = binary.BigEndian.Uint32(c.octets(4)) >> 1
	}
	s.probe++
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(),
		Type: isakmp.NotifyRUThere, Data: be32(s.probe)})
	return s.probe
}

// acknowledged takes R-U-THERE-ACK. One with a number that was not asked, or was
// answered before, says nothing about now: somebody may have held it back.
func (s *SA) acknowledged(c *Context, n isakmp.Notification, before time.Time) {
	seq, ok := s.sequence(n)
	if !ok {
		s.heard = before
		s.emit(c, event.Dropped{Reason: "R-U-THERE-ACK that is not about this ISAKMP SA"})
		return
	}
	_, asked := s.questions[seq]
	if id, waits := s.confirms[seq]; waits {
		delete(s.confirms, seq)
		c.done(Ready{SA: s, Child: id})
		return
	}
	if !asked {
		s.heard = before
		s.emit(c, event.Dropped{Reason: "R-U-THERE-ACK with a number that no question is open for"})
		return
	}
	clear(s.questions)
}

// sequence is the number of a question or an answer about this SA.
func (s *SA) sequence(n isakmp.Notification) (uint32, bool) {
	if !bytes.Equal(n.SPI, s.spi()) || len(n.Data) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(n.Data), true
}

// answer answers R-U-THERE with the number of the question (RFC 3706 5.3).
func (s *SA) answer(c *Context, n isakmp.Notification) {
	if _, ok := s.sequence(n); !ok {
		s.emit(c, event.Dropped{Reason: "R-U-THERE that is not about this ISAKMP SA"})
		return
	}
	n.Type = isakmp.NotifyRUThereAck
	s.Inform(c, n)
}

// Keepalive is dead peer detection as it is configured for this SA: by its
// isakmp profile, else for all.
func (s *SA) Keepalive(set *policy.Settings) policy.Keepalive {
	if s.Profile != nil && s.Profile.Keepalive.Every > 0 {
		return s.Profile.Keepalive
	}
	return set.Keepalive
}
