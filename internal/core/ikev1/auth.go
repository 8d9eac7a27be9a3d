package ikev1

import (
	"crypto/subtle"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// Authentication of phase 1. Both exchanges prove who they are the same way:
//
//	pre-shared key    ID, HASH                the hash proves the key (RFC 2409 5.4)
//	signature         ID, [CERT, …] SIG       the signature of the hash proves the certificate's (5.1)
//
// A signature is slow, and whether a certificate is still good may have to be
// asked over the network: so both ends of the seam, prove and checkProof, go on
// in a continuation, which for a pre-shared key is called at once. While they
// are at work the exchange is busy: it takes no message, and keeps one that
// comes early.

// prove makes the payloads that prove our identity, which it writes into
// phase1.own; then is called with what follows the ID payload. Who cannot
// prove itself ends the negotiation.
func (s *SA) prove(c *Context, then func(*Context, []isakmp.Payload)) {
	x := s.phase1
	x.proved = true
	if x.own == nil {
		x.own = s.ownID(c).Append(nil)
	}
	hash := s.ownHash()
	if !s.Policy.Auth.Signature() {
		then(c, []isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}})
		return
	}
	x.busy = true
	s.sign(c, hash, func(c *Context, signature []byte, r *Refusal) {
		x.busy = false
		if r != nil {
			s.end(c, &event.Failed{Phase: 1, Code: r.Code, Reason: r.Reason, LastSent: x.flight.sent.Name, LastReceived: x.took})
			return
		}
		then(c, append(s.certPayloads(c), isakmp.Payload{Type: isakmp.PayloadSig, Body: signature}))
		s.replay(c)
	})
}

// checkProof verifies that the peer is who the ID payload with that body says,
// by the HASH or SIG payload of m; then is called with nil when it is, else with
// what is wrong. Nothing of the SA has changed before that.
func (s *SA) checkProof(c *Context, m *message, idBody []byte, then func(*Context, error)) {
	x := s.phase1
	id, err := readID(idBody)
	if err != nil {
		then(c, err)
		return
	}
	hash := s.peerHash(idBody)
	if !s.Policy.Auth.Signature() {
		if err = s.checkHash(m, hash); err == nil {
			err = s.identify(c, m, id)
		}
		then(c, err)
		return
	}
	if _, err := m.one(isakmp.PayloadSig); err != nil {
		then(c, err)
		return
	}
	x.busy = true
	s.checkSignature(c, m, id, hash, func(c *Context, r *Refusal) {
		x.busy = false
		var err error
		if r != nil {
			err = r
		} else {
			err = s.identify(c, m, id)
		}
		then(c, err)
		s.replay(c)
	})
}

// readID reads an identity of phase 1.
func readID(body []byte) (isakmp.Identification, error) {
	id, err := isakmp.ParseID(body)
	if err != nil {
		return id, err
	}
	return id, id.CheckPhase1()
}

// checkHash compares the HASH payload in constant time.
func (s *SA) checkHash(m *message, want []byte) error {
	got, err := m.one(isakmp.PayloadHash)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return &Refusal{Code: event.WrongKey, Reason: m.name + ": the hash does not prove the pre-shared key"}
	}
	return nil
}

// ownHash and peerHash are HASH_I and HASH_R, seen from us. The bodies of SA and
// ID go in as they were on the wire.
func (s *SA) ownHash() []byte { return s.hashOf(s.Role, s.phase1.own) }

func (s *SA) peerHash(id []byte) []byte {
	if s.Role == event.Initiator {
		return s.hashOf(event.Responder, id)
	}
	return s.hashOf(event.Initiator, id)
}

func (s *SA) hashOf(r event.Role, id []byte) []byte {
	x := s.phase1
	if r == event.Initiator {
		return authHash(s.Policy, s.keys.skeyid, x.gxi, x.gxr, s.Initiator, s.Responder, x.saBody, id)
	}
	return authHash(s.Policy, s.keys.skeyid, x.gxr, x.gxi, s.Responder, s.Initiator, x.saBody, id)
}
