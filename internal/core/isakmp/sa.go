package isakmp

import (
	"encoding/binary"
	"fmt"
)

// What one SA payload may hold at most. Peers offer some dozens of transforms;
// the bounds keep the work of choosing small.
const (
	MaxProposals  = 64
	MaxTransforms = 512 // in all proposals together
	MaxAttributes = 64  // in one list
	maxSPI        = 16  // octets; two cookies
)

// Transform is one transform payload: one way to protect (RFC 2408 3.6).
type Transform struct {
	Number     uint8
	ID         uint8 // KeyIKE in phase 1; the ESP or AH transform in phase 2
	Attributes []Attribute
}

// Find returns the first attribute of that type.
func (t Transform) Find(typ uint16) (Attribute, bool) {
	for _, a := range t.Attributes {
		if a.Type == typ {
			return a, true
		}
	}
	return Attribute{}, false
}

// Proposal is one proposal payload: a protocol and its transforms, any one of
// which may be chosen (RFC 2408 3.5). Proposals with the same number are
// offered together, as AH and ESP.
type Proposal struct {
	Number     uint8
	Protocol   uint8
	SPI        []byte // of the sender; 4 octets for AH and ESP, mostly none for ISAKMP
	Transforms []Transform
}

// SA is a security association payload (RFC 2408 3.4, RFC 2407 4.6.1).
type SA struct {
	DOI, Situation uint32
	Proposals      []Proposal
}

// NewSA is an SA payload of the IPsec DOI with SIT_IDENTITY_ONLY.
func NewSA(proposals ...Proposal) SA { return SA{DOIIPsec, SituationIdentityOnly, proposals} }

// ParseSA reads the body of an SA payload. Only the IPsec DOI with
// SIT_IDENTITY_ONLY can be read: other situations carry fields of their own.
// The errors are an Error: ErrDOI, ErrSituation, ErrProposalSyntax, ErrSPI,
// ErrPayloadMalformed; offsets count from the start of body.
func ParseSA(body []byte) (SA, error) {
	const where = "SA payload"
	if len(body) < 8 {
		return SA{}, malformed(where, 0, "%d octets, DOI and situation alone have 8", len(body))
	}
	s := SA{DOI: binary.BigEndian.Uint32(body), Situation: binary.BigEndian.Uint32(body[4:])}
	if s.DOI != DOIIPsec {
		return s, fail(NotifyDOINotSupported, where, 0, "DOI %d, expected 1 (IPsec)", s.DOI)
	}
	if s.Situation != SituationIdentityOnly {
		return s, fail(NotifySituationNotSupported, where, 4, "situation 0x%x, expected 1 (SIT_IDENTITY_ONLY)", s.Situation)
	}
	transforms := 0
	for offset, more := 8, true; more; {
		if len(s.Proposals) == MaxProposals {
			return SA{}, fail(NotifyBadProposalSyntax, where, offset, "more than %d proposals", MaxProposals)
		}
		where := fmt.Sprintf("proposal %d of the SA payload", len(s.Proposals)+1)
		inner, after, err := item(body, offset, PayloadProposal, where)
		if err != nil {
			return SA{}, err
		}
		p, err := parseProposal(inner, offset+genericSize, where)
		if err != nil {
			return SA{}, err
		}
		if transforms += len(p.Transforms); transforms > MaxTransforms {
			return SA{}, fail(NotifyBadProposalSyntax, where, offset, "more than %d transforms in all", MaxTransforms)
		}
		s.Proposals = append(s.Proposals, p)
		offset, more = after, after < len(body)
	}
	return s, nil
}

// item cuts the next proposal or transform out of b: the items fill b exactly,
// each says whether another follows, and the last one says 0.
func item(b []byte, offset int, kind PayloadType, where string) (body []byte, after int, err error) {
	next, body, err := generic(b[offset:], where, offset)
	if err != nil {
		return nil, 0, err
	}
	after = offset + genericSize + len(body)
	switch {
	case next != PayloadNone && next != kind:
		return nil, 0, fail(NotifyBadProposalSyntax, where, offset, "next payload %d, expected %d or 0", uint8(next), uint8(kind))
	case next == PayloadNone && after != len(b):
		return nil, 0, fail(NotifyBadProposalSyntax, where, offset, "marked as the last one, %d octets follow", len(b)-after)
	case next != PayloadNone && after == len(b):
		return nil, 0, fail(NotifyBadProposalSyntax, where, offset, "says another one follows, nothing does")
	}
	return body, after, nil
}

func parseProposal(b []byte, at int, where string) (Proposal, error) {
	if len(b) < 4 {
		return Proposal{}, fail(NotifyBadProposalSyntax, where, at, "%d octets, expected at least 4", len(b))
	}
	p := Proposal{Number: b[0], Protocol: b[1]}
	size, count := int(b[2]), int(b[3])
	if size > len(b)-4 {
		return Proposal{}, fail(NotifyBadProposalSyntax, where, at+2, "SPI of %d octets, %d left", size, len(b)-4)
	}
	if !proposalSPI(p.Protocol, size) {
		return Proposal{}, fail(NotifyInvalidSPI, where, at+2, "SPI of %d octets for %s", size, ProtocolName(p.Protocol))
	}
	p.SPI = b[4 : 4+size : 4+size]
	if count == 0 {
		return Proposal{}, fail(NotifyBadProposalSyntax, where, at+3, "no transforms")
	}
	for offset, more := 4+size, true; more; {
		inside := fmt.Sprintf("transform %d of %s", len(p.Transforms)+1, where)
		body, after, err := item(b, offset, PayloadTransform, inside)
		if err != nil {
			return Proposal{}, shift(err, at)
		}
		t, err := parseTransform(body, at+offset+genericSize, inside)
		if err != nil {
			return Proposal{}, err
		}
		p.Transforms = append(p.Transforms, t)
		if len(p.Transforms) > count {
			break
		}
		offset, more = after, after < len(b)
	}
	if len(p.Transforms) != count {
		return Proposal{}, fail(NotifyBadProposalSyntax, where, at+3, "# of Transforms says %d, which is not what follows", count)
	}
	return p, nil
}

// proposalSPI says how long an SPI may be: "the SPI Size is irrelevant and MAY
// be from zero (0) to sixteen (16)" for ISAKMP (RFC 2408 3.5), four octets for
// AH and ESP, a CPI in two or four for IPComp (RFC 3173).
func proposalSPI(protocol uint8, size int) bool {
	switch protocol {
	case ProtocolAH, ProtocolESP:
		return size == 4
	case ProtocolIPComp:
		return size == 2 || size == 4
	}
	return size <= maxSPI
}

// shift moves an error of item from the inner slice's offsets to the outer's.
func shift(err error, by int) error {
	if e, ok := err.(*Error); ok {
		e.Offset += by
	}
	return err
}

func parseTransform(b []byte, at int, where string) (Transform, error) {
	if len(b) < 4 {
		return Transform{}, fail(NotifyBadProposalSyntax, where, at, "%d octets, expected at least 4", len(b))
	}
	if b[2] != 0 || b[3] != 0 {
		return Transform{}, fail(NotifyBadProposalSyntax, where, at+2, "RESERVED2 is not 0")
	}
	attrs, err := parseAttributes(b[4:], at+4, where)
	if err != nil {
		return Transform{}, err
	}
	return Transform{b[0], b[1], attrs}, nil
}

// Append writes the body of the SA payload behind b.
func (s SA) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, s.DOI)
	b = binary.BigEndian.AppendUint32(b, s.Situation)
	for i, p := range s.Proposals {
		next := PayloadNone
		if i+1 < len(s.Proposals) {
			next = PayloadProposal
		}
		b = appendNested(b, next, p.append)
	}
	return b
}

func (p Proposal) append(b []byte) []byte {
	b = append(b, p.Number, p.Protocol, byte(fit(len(p.SPI), 255, "SPI")), byte(fit(len(p.Transforms), 255, "transforms of a proposal")))
	b = append(b, p.SPI...)
	for i, t := range p.Transforms {
		next := PayloadNone
		if i+1 < len(p.Transforms) {
			next = PayloadTransform
		}
		b = appendNested(b, next, t.append)
	}
	return b
}

func (t Transform) append(b []byte) []byte {
	return AppendAttributes(append(b, t.Number, t.ID, 0, 0), t.Attributes)
}

// appendNested writes a generic header, then the body, then the length.
func appendNested(b []byte, next PayloadType, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(append(b, byte(next), 0, 0, 0))
	binary.BigEndian.PutUint16(b[start+2:], uint16(fit(len(b)-start, 0xffff, "proposal or transform")))
	return b
}
