package ikev1

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// Informational exchange, RFC 2409 5.7:
//
//	HDR*, HASH(1), N/D  -->        HASH(1) = prf(SKEYID_a, M-ID | N/D)
//
// One without protection is a hint at most.

// Inform sends one notification under the protection of the SA.
func (s *SA) Inform(c *Context, n isakmp.Notification) { s.informIn(c, &flight{}, n) }

// informIn sends a notification as the answer of f, which duplicates bring again.
func (s *SA) informIn(c *Context, f *flight, n isakmp.Notification) {
	s.emit(c, event.Notify{Dir: event.Sent, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol, Protected: true})
	s.inform(c, f, isakmp.Payload{Type: isakmp.PayloadNotify, Body: n.Append(nil)})
}

func (s *SA) inform(c *Context, f *flight, p isakmp.Payload) {
	if s.keys.iv == nil {
		return
	}
	id := s.freshID(c)
	_, body := isakmp.AppendPayloads(nil, []isakmp.Payload{p})
	hash := s.hashOver(be32(id), body)
	h := isakmp.Header{Exchange: isakmp.ExchangeInformational, MessageID: id}
	payloads := []isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}, p}
	if _, err := s.post(c, f, "INFO", h, payloads, s.keys.phase2IV(s.Policy, id)); err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
	}
}

// freshID draws a message ID that this SA has not seen.
func (s *SA) freshID(c *Context) uint32 {
	for {
		id := binary.BigEndian.Uint32(c.octets(4))
		if _, taken := s.used[id]; id != 0 && !taken {
			s.used[id] = struct{}{}
			return id
		}
	}
}

// claim takes a message ID for an authentic message; false when an earlier one used it.
func (s *SA) claim(id uint32) bool {
	if _, taken := s.used[id]; taken || id == 0 {
		return false
	}
	s.used[id] = struct{}{}
	return true
}

// worn reports whether the SA has seen so many messages that it is to be
// replaced: message IDs cannot be forgotten while it lives.
func (s *SA) worn() bool { return len(s.used) >= maxMessageIDs }

// handleInformational takes notifications and deletes.
func (s *SA) handleInformational(c *Context, m *message) error {
	m.name = "INFO"
	if !m.sealed {
		return s.hint(c, m)
	}
	if s.keys.iv == nil {
		return malformed("an encrypted informational before there are keys")
	}
	if _, replayed := s.used[m.header.MessageID]; replayed {
		return malformed("informational %08x was seen before", m.header.MessageID)
	}
	err := s.open(m, s.keys.phase2IV(s.Policy, m.header.MessageID))
	if err == nil {
		err = s.verifyHash(m, be32(m.header.MessageID), m.signed)
	}
	if err != nil {
		if s.Established.IsZero() && s.awaitsProof() {
			// Something came back for MM5 or AM2 that our keys do not open.
			s.refuseMessage(c, m, err)
		}
		return err
	}
	if s.Established.IsZero() {
		return s.refusedByPeer(c, m)
	}
	if !s.claim(m.header.MessageID) {
		return malformed("message ID %08x cannot be used", m.header.MessageID)
	}
	before := s.heard
	s.moveTo(m)
	s.received(c, m)
	for _, p := range m.payloads[1:] {
		if s.dead {
			return nil // a second delete in one message finds nothing
		}
		switch p.Type {
		case isakmp.PayloadNotify:
			s.takeNotify(c, p.Body, before)
		case isakmp.PayloadDelete:
			s.takeDelete(c, p.Body)
		}
	}
	return nil
}

// awaitsProof reports whether there are keys and the peer's proof is what comes next.
func (s *SA) awaitsProof() bool { return s.phase1.awaits == "MM6" || s.phase1.awaits == "AM3" }

// refusedByPeer takes an authentic informational in the place of MM6 or AM3: the
// peer has the key, and did not like what it read in MM5 or AM2.
func (s *SA) refusedByPeer(c *Context, m *message) error {
	if !s.awaitsProof() {
		return malformed("an informational before phase 1 is complete")
	}
	for _, body := range m.all(isakmp.PayloadNotify) {
		n, err := isakmp.ParseNotification(body)
		if err != nil || !n.Type.IsError() {
			continue
		}
		s.received(c, m)
		s.emit(c, event.Notify{Dir: event.Received, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol, Protected: true})
		s.end(c, &event.Failed{Phase: 1, Code: event.PeerRefused, Reason: "the peer answered " + n.Type.String(),
			LastSent: s.phase1.flight.sent.Name, LastReceived: s.phase1.took, Notified: n.Type.String()})
		return nil
	}
	return malformed("an informational before phase 1 is complete")
}

// errNotEncrypted is a message in the clear where there are keys.
var errNotEncrypted = errors.New("was not encrypted and it should've been")

// verifyHash compares the HASH payload, which must be the first, in constant time.
func (s *SA) verifyHash(m *message, parts ...[]byte) error {
	if len(m.payloads) == 0 || m.payloads[0].Type != isakmp.PayloadHash {
		return malformed("%s does not begin with a HASH payload", m.name)
	}
	if subtle.ConstantTimeCompare(m.payloads[0].Body, s.hashOver(parts...)) != 1 {
		return malformed("%s: the hash is wrong", m.name)
	}
	return nil
}

// hint notes a notification that anybody may have sent. It ends nothing.
func (s *SA) hint(c *Context, m *message) error {
	payloads, _, err := isakmp.ParsePayloads(m.header.Next, m.raw[isakmp.HeaderSize:])
	if err != nil {
		return err
	}
	if !s.Established.IsZero() || s.phase1 == nil {
		return fmt.Errorf("IKE packet from %s %w", m.remote, errNotEncrypted)
	}
	for _, p := range payloads {
		n, err := isakmp.ParseNotification(p.Body)
		if p.Type != isakmp.PayloadNotify || err != nil || !n.Type.IsError() {
			continue
		}
		m.payloads = payloads
		s.received(c, m)
		s.emit(c, event.Notify{Dir: event.Received, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol})
		if s.phase1.notified == 0 {
			s.phase1.notified = n.Type
			s.emit(c, s.phase1Failure(true))
		}
		return nil
	}
	return malformed("an informational without protection that tells no error")
}

// takeNotify acts on an authentic notification. before is when the peer had last
// been heard.
func (s *SA) takeNotify(c *Context, body []byte, before time.Time) {
	n, err := isakmp.ParseNotification(body)
	if err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
		return
	}
	s.emit(c, event.Notify{Dir: event.Received, Type: n.Type.String(), Number: uint16(n.Type), Protocol: n.Protocol, Protected: true})
	switch {
	case n.Type == isakmp.NotifyRUThere:
		s.answer(c, n)
	case n.Type == isakmp.NotifyRUThereAck:
		s.acknowledged(c, n, before)
	case n.Type == isakmp.NotifyConnected:
		s.connected(c, n)
	case n.Type == isakmp.NotifyInvalidSPI && len(n.SPI) == 4 && n.Protocol != isakmp.ProtocolISAKMP:
		c.done(PeerDeleted{SA: s, Protocol: n.Protocol, SPIs: []uint32{binary.BigEndian.Uint32(n.SPI)}})
		s.quickRefused(c, n)
	case n.Type == isakmp.NotifyInitialContact:
		c.done(InitialContact{SA: s})
	case n.Type == isakmp.NotifyResponderLifetime:
		s.takeLifetime(c, n)
	case n.Type.IsError():
		s.quickRefused(c, n)
	}
}

// takeLifetime applies RESPONDER-LIFETIME (RFC 2407 4.6.3.1) to the SA it names.
func (s *SA) takeLifetime(c *Context, n isakmp.Notification) {
	if n.Protocol == isakmp.ProtocolISAKMP && s.Role == event.Initiator {
		s.shorten(c, n)
	}
}

// tellLifetime tells the initiator that our lifetime is shorter than what it offered.
func (s *SA) tellLifetime(c *Context) {
	for _, o := range s.phase1.offers {
		if s.Policy.Mismatch(o) == "" {
			if o.Lifetime == 0 || s.Policy.Lifetime < o.Lifetime {
				s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPI: s.spi(),
					Type: isakmp.NotifyResponderLifetime, Data: lifetimeData(policy.Lifetime{Time: s.Policy.Lifetime})})
			}
			return
		}
	}
}

// takeDelete acts on an authentic delete.
func (s *SA) takeDelete(c *Context, body []byte) {
	d, err := isakmp.ParseDelete(body)
	if err != nil {
		s.emit(c, event.Dropped{Reason: err.Error()})
		return
	}
	switch d.Protocol {
	case isakmp.ProtocolISAKMP:
		for _, spi := range d.SPIs {
			if bytes.Equal(spi, s.spi()) {
				s.emit(c, event.Deleted{Protocol: "ISAKMP", Reason: "the peer deleted it", ByPeer: true})
				s.end(c, s.proofRefused(c))
				return
			}
		}
	case isakmp.ProtocolESP, isakmp.ProtocolAH:
		var spis []uint32
		for _, spi := range d.SPIs {
			if len(spi) == 4 {
				spis = append(spis, binary.BigEndian.Uint32(spi))
			}
		}
		c.done(PeerDeleted{SA: s, Protocol: d.Protocol, SPIs: spis})
	}
}

// proofRefused recognises a peer that ends the SA as soon as it has our
// certificate: that is how some say that they do not take it. nil otherwise.
func (s *SA) proofRefused(c *Context) *event.Failed {
	const soon = 3 * time.Second
	if s.Role != event.Responder || !s.Policy.Auth.Signature() || len(s.quick) > 0 || c.Now.Sub(s.Established) > soon {
		return nil
	}
	return &event.Failed{Phase: 1, Code: event.PeerRefused, Reason: "the peer ended the ISAKMP SA as soon as it had our certificate",
		LastSent: s.phase1.flight.sent.Name, LastReceived: s.phase1.took}
}

// Delete ends the SA and tells the peer.
func (s *SA) Delete(c *Context, reason string) {
	if s.dead {
		return
	}
	if s.Up() {
		// The peer may have its half of these already, once it has QM2.
		for _, id := range sortedIDs(s.quick) {
			if q := s.quick[id]; q.role == event.Responder && q.awaits == "QM3" && !q.done {
				s.DeleteChild(c, q.child.In)
			}
		}
		s.informDelete(c)
	}
	s.emit(c, event.Deleted{Protocol: "ISAKMP", Reason: reason})
	s.end(c, nil)
}

// informDelete tells the peer that this ISAKMP SA is over.
func (s *SA) informDelete(c *Context) {
	d := isakmp.Delete{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, SPIs: [][]byte{s.spi()}}
	s.inform(c, &flight{}, isakmp.Payload{Type: isakmp.PayloadDelete, Body: d.Append(nil)})
}

// Displace ends a negotiation nobody has stood up for, to make room.
func (s *SA) Displace(c *Context) {
	s.emit(c, event.Dropped{Reason: "too many negotiations are half open; the oldest is given up"})
	s.end(c, nil)
}

// Abandon ends the SA without a word to the peer, who does not know it any more.
func (s *SA) Abandon(c *Context, reason string) {
	s.emit(c, event.Deleted{Protocol: "ISAKMP", Reason: reason, ByPeer: true})
	s.end(c, nil)
}

// DeleteChild tells the peer that the IPsec SAs with these inbound SPIs are gone,
// with a message for each protocol: some peers read one delete in a message.
func (s *SA) DeleteChild(c *Context, in sadb.Keys) {
	if !s.Up() {
		return
	}
	for _, x := range []struct {
		protocol uint8
		spi      uint32
	}{{isakmp.ProtocolESP, in.SPI}, {isakmp.ProtocolAH, in.AHSPI}} {
		if x.spi != 0 {
			d := isakmp.Delete{DOI: isakmp.DOIIPsec, Protocol: x.protocol, SPIs: [][]byte{be32(x.spi)}}
			s.inform(c, &flight{}, isakmp.Payload{Type: isakmp.PayloadDelete, Body: d.Append(nil)})
		}
	}
}

// Disown tells the peer that an SPI it sends with is not ours: with the
// notification for it, and with a delete for those who know only that.
func (s *SA) Disown(c *Context, protocol uint8, spi uint32) {
	if !s.Up() {
		return
	}
	s.Inform(c, isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: protocol, SPI: be32(spi), Type: isakmp.NotifyInvalidSPI})
	d := isakmp.Delete{DOI: isakmp.DOIIPsec, Protocol: protocol, SPIs: [][]byte{be32(spi)}}
	s.inform(c, &flight{}, isakmp.Payload{Type: isakmp.PayloadDelete, Body: d.Append(nil)})
}

// lifetimeData are the attributes of a RESPONDER-LIFETIME notification.
func lifetimeData(l policy.Lifetime) []byte {
	var attrs []isakmp.Attribute
	if l.Time > 0 {
		attrs = append(attrs, isakmp.BasicAttribute(isakmp.Phase2LifeType, isakmp.LifeSeconds),
			lifeDuration(isakmp.Phase2LifeDuration, uint64(l.Time/time.Second)))
	}
	if l.Kilobytes > 0 {
		attrs = append(attrs, isakmp.BasicAttribute(isakmp.Phase2LifeType, isakmp.LifeKilobytes),
			lifeDuration(isakmp.Phase2LifeDuration, l.Kilobytes))
	}
	return isakmp.AppendAttributes(nil, attrs)
}

// lifetimeOf reads lifetimes from phase 2 attributes.
func lifetimeOf(data []byte) (policy.Lifetime, error) {
	attrs, err := isakmp.ParseAttributes(data)
	if err != nil {
		return policy.Lifetime{}, err
	}
	return readLifetime(attrs)
}

func readLifetime(attrs []isakmp.Attribute) (l policy.Lifetime, err error) {
	var kind uint64
	for _, a := range attrs {
		n, ok := a.Uint()
		switch {
		case a.Type != isakmp.Phase2LifeType && a.Type != isakmp.Phase2LifeDuration:
			continue
		case !ok:
			return l, fmt.Errorf("lifetime attribute of %d octets", len(a.Value))
		case a.Type == isakmp.Phase2LifeType:
			kind = n
		case kind == uint64(isakmp.LifeSeconds):
			l.Time = time.Duration(min(n, 1<<32)) * time.Second
		case kind == uint64(isakmp.LifeKilobytes):
			l.Kilobytes = n
		default:
			return l, fmt.Errorf("life duration without a known life type")
		}
	}
	return l, nil
}

// Refuse answers a datagram that made no SA with one notification without
// protection.
func Refuse(c *Context, h isakmp.Header, d door.Datagram, t isakmp.NotifyType) door.Send {
	n := isakmp.Notification{DOI: isakmp.DOIIPsec, Protocol: isakmp.ProtocolISAKMP, Type: t}
	first, body := isakmp.AppendPayloads(nil, []isakmp.Payload{{Type: isakmp.PayloadNotify, Body: n.Append(nil)}})
	out := isakmp.Header{
		InitiatorCookie: h.InitiatorCookie, ResponderCookie: h.ResponderCookie, Next: first, Version: version1,
		Exchange: isakmp.ExchangeInformational, MessageID: binary.BigEndian.Uint32(c.octets(4)),
		Length: uint32(isakmp.HeaderSize + len(body)),
	}
	return door.Send{Local: d.Local, Remote: d.Remote, Payload: append(out.Append(nil), body...)}
}
