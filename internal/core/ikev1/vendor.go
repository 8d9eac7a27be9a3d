package ikev1

import (
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// vendorIDs says what we can do beyond the RFCs of IKE: NAT traversal (RFC 3947,
// and the drafts before it that old routers speak), dead peer detection (RFC
// 3706), fragments.
func (s *SA) vendorIDs(*Context) []isakmp.Payload {
	if s.Role == event.Responder {
		p := s.answerVendors()
		if s.phase1.mode == isakmp.ExchangeAggressive {
			p = append(p, s.lateVendors()...)
		}
		return p
	}
	return vendorPayloads(isakmp.VendorNATT.ID(), isakmp.VendorNATTDraft03.ID(), isakmp.VendorNATTDraft02N.ID(),
		isakmp.VendorDPD.ID(), isakmp.VendorFragmentation.ID())
}

func vendorPayloads(ids ...[]byte) []isakmp.Payload {
	p := make([]isakmp.Payload, len(ids))
	for i, id := range ids {
		p[i] = isakmp.Payload{Type: isakmp.PayloadVendorID, Body: id}
	}
	return p
}

// answerVendors is what we say of ourselves to a peer that began: of what it can
// do itself, so that the answer to an offer from anybody is no larger than the
// offer. What else there is to say follows behind its address has been proved.
func (s *SA) answerVendors() []isakmp.Payload {
	var ids [][]byte
	if s.phase1.natt {
		ids = append(ids, s.phase1.nattID)
	}
	if s.PeerDPD {
		ids = append(ids, isakmp.VendorDPD.ID())
	}
	if s.PeerFragments {
		ids = append(ids, isakmp.VendorFragmentation.ID())
	}
	s.phase1.saidDPD = s.PeerDPD
	return vendorPayloads(ids...)
}

// lateVendors is what answerVendors left out. IOS tells of dead peer detection
// as late as MM3 and MM4 itself.
func (s *SA) lateVendors() []isakmp.Payload {
	if s.phase1.saidDPD {
		return nil
	}
	return vendorPayloads(isakmp.VendorDPD.ID())
}

// learnVendors notes what the peer can do. NAT traversal has to be agreed in the
// first two messages, RFC 3947 before its drafts.
func (s *SA) learnVendors(m *message) {
	for _, v := range m.all(isakmp.PayloadVendorID) {
		switch isakmp.VendorOf(v) {
		case isakmp.VendorNATT:
			s.phase1.natt, s.nattRFC, s.phase1.nattID = true, true, v
		case isakmp.VendorNATTDraft03, isakmp.VendorNATTDraft02N, isakmp.VendorNATTDraft02:
			if s.phase1.natt = true; s.phase1.nattID == nil {
				s.phase1.nattID = v
			}
		}
	}
	s.learnLate(m)
}

// learnLate notes what may be told later, too.
func (s *SA) learnLate(m *message) {
	for _, v := range m.all(isakmp.PayloadVendorID) {
		switch isakmp.VendorOf(v) {
		case isakmp.VendorDPD:
			s.PeerDPD = true
		case isakmp.VendorFragmentation:
			s.PeerFragments = s.PeerFragments || isakmp.Fragments(v)
		}
	}
}
