package isakmp

import (
	"encoding/binary"
	"fmt"
)

// PayloadType is a payload type, or None behind the last payload
// (RFC 2408 3.1, RFC 3947 3.2 and 5.2).
type PayloadType uint8

// The payload types.
const (
	PayloadNone       PayloadType = 0
	PayloadSA         PayloadType = 1
	PayloadProposal   PayloadType = 2 // only inside an SA payload
	PayloadTransform  PayloadType = 3 // only inside a proposal
	PayloadKE         PayloadType = 4
	PayloadID         PayloadType = 5
	PayloadCert       PayloadType = 6
	PayloadCertReq    PayloadType = 7
	PayloadHash       PayloadType = 8
	PayloadSig        PayloadType = 9
	PayloadNonce      PayloadType = 10
	PayloadNotify     PayloadType = 11
	PayloadDelete     PayloadType = 12
	PayloadVendorID   PayloadType = 13
	PayloadAttributes PayloadType = 14 // mode config
	PayloadNATD       PayloadType = 20
	PayloadNATOA      PayloadType = 21
	PayloadNATDDraft  PayloadType = 130 // draft-ietf-ipsec-nat-t-ike-02 and -03
	PayloadNATOADraft PayloadType = 131
	PayloadFragment   PayloadType = 132 // Cisco's IKE fragmentation
)

// String is the payload as the RFCs' diagrams and event.Payload name it.
func (p PayloadType) String() string {
	switch p {
	case PayloadNATD, PayloadNATDDraft:
		return "NAT-D"
	case PayloadNATOA, PayloadNATOADraft:
		return "NAT-OA"
	case PayloadFragment:
		return "FRAG"
	}
	names := [...]string{"none", "SA", "P", "T", "KE", "ID", "CERT", "CERTREQ", "HASH", "SIG", "NONCE", "N", "D", "VID", "ATTR"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("payload(%d)", uint8(p))
}

// inMessage reports whether a payload of this type may stand in a message:
// the types of IKEv1 but for Proposal and Transform, and the private range.
func (p PayloadType) inMessage() bool {
	switch {
	case p == PayloadSA, p >= PayloadKE && p <= PayloadAttributes, p == PayloadNATD, p == PayloadNATOA:
		return true
	}
	return p >= 128
}

// MaxPayloads is the most payloads one message may have; a main or quick mode
// message has under twenty, most of them vendor IDs.
const MaxPayloads = 64

const genericSize = 4 // next payload, RESERVED, payload length

// Payload is one payload without its generic header.
type Payload struct {
	Type PayloadType
	Body []byte // slices into the message it was parsed from
}

// ParsePayloads walks the chain of payloads in b, the octets behind the
// header, whose first payload is of type first. rest is what stands behind the
// last payload: the padding of an encrypted message, and nothing in a message
// sent in the clear. The errors are an Error: ErrPayloadMalformed,
// ErrPayloadType; offsets count from the start of b.
func ParsePayloads(first PayloadType, b []byte) (payloads []Payload, rest []byte, err error) {
	offset := 0
	for next := first; next != PayloadNone; {
		if !next.inMessage() {
			return nil, nil, fail(NotifyInvalidPayloadType, "payload chain", offset, "payload type %d is not one of IKEv1 messages", uint8(next))
		}
		if len(payloads) == MaxPayloads {
			return nil, nil, malformed("payload chain", offset, "more than %d payloads", MaxPayloads)
		}
		after, body, err := generic(b[offset:], next.String()+" payload", offset)
		if err != nil {
			return nil, nil, err
		}
		payloads = append(payloads, Payload{next, body})
		offset += genericSize + len(body)
		next = after
	}
	return payloads, b[offset:], nil
}

// generic reads one generic payload header (RFC 2408 3.2) and cuts out its
// body. offset is where b starts, for the error.
func generic(b []byte, where string, offset int) (next PayloadType, body []byte, err error) {
	if len(b) < genericSize {
		return 0, nil, malformed(where, offset, "%d octets left, a payload header has %d", len(b), genericSize)
	}
	if b[1] != 0 {
		return 0, nil, malformed(where, offset+1, "RESERVED is %d, expected 0", b[1])
	}
	n := int(binary.BigEndian.Uint16(b[2:4]))
	if n < genericSize || n > len(b) {
		return 0, nil, malformed(where, offset+2, "length %d, expected %d to %d", n, genericSize, len(b))
	}
	return PayloadType(b[0]), b[genericSize:n:n], nil
}

// AppendPayloads writes payloads behind b, each with a generic header naming
// the next one. first is the type of the first, for Header.Next; None when
// there is none. A body has at most 65531 octets.
func AppendPayloads(b []byte, payloads []Payload) (first PayloadType, out []byte) {
	for i, p := range payloads {
		next := PayloadNone
		if i+1 < len(payloads) {
			next = payloads[i+1].Type
		}
		b = appendGeneric(b, next, len(p.Body))
		b = append(b, p.Body...)
	}
	if len(payloads) > 0 {
		first = payloads[0].Type
	}
	return first, b
}

func appendGeneric(b []byte, next PayloadType, body int) []byte {
	b = append(b, byte(next), 0)
	return binary.BigEndian.AppendUint16(b, uint16(fit(genericSize+body, 0xffff, "payload")))
}

// Nonce lengths: "the length of nonce payload MUST be between 8 and 256 bytes
// inclusive" (RFC 2409 section 5).
const (
	MinNonce = 8
	MaxNonce = 256
)

// CheckNonce checks the length of the body of a NONCE payload.
func CheckNonce(body []byte) error {
	if len(body) < MinNonce || len(body) > MaxNonce {
		return malformed("NONCE payload", 0, "%d octets, expected %d to %d", len(body), MinNonce, MaxNonce)
	}
	return nil
}
