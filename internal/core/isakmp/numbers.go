package isakmp

import "fmt"

// The domain of interpretation and the situation (RFC 2407 4.2, 4.6.1).
const (
	DOIISAKMP             uint32 = 0 // generic ISAKMP, in notifications of phase 1 only
	DOIIPsec              uint32 = 1
	SituationIdentityOnly uint32 = 1
)

// Protocol identifiers (RFC 2407 4.4.1).
const (
	ProtocolISAKMP uint8 = 1
	ProtocolAH     uint8 = 2
	ProtocolESP    uint8 = 3
	ProtocolIPComp uint8 = 4
)

// ProtocolName is the RFC's word for a protocol identifier.
func ProtocolName(p uint8) string {
	switch p {
	case ProtocolISAKMP:
		return "ISAKMP"
	case ProtocolAH:
		return "AH"
	case ProtocolESP:
		return "ESP"
	case ProtocolIPComp:
		return "IPCOMP"
	}
	return fmt.Sprintf("protocol(%d)", p)
}

// KeyIKE is the only transform identifier of phase 1 (RFC 2407 4.4.2).
const KeyIKE uint8 = 1

// Attribute types of phase 1 (RFC 2409 appendix A).
const (
	Phase1Encryption    uint16 = 1
	Phase1Hash          uint16 = 2
	Phase1Auth          uint16 = 3
	Phase1Group         uint16 = 4
	Phase1GroupType     uint16 = 5
	Phase1GroupPrime    uint16 = 6
	Phase1GroupGen1     uint16 = 7
	Phase1GroupGen2     uint16 = 8
	Phase1GroupCurveA   uint16 = 9
	Phase1GroupCurveB   uint16 = 10
	Phase1LifeType      uint16 = 11
	Phase1LifeDuration  uint16 = 12
	Phase1PRF           uint16 = 13
	Phase1KeyLength     uint16 = 14 // bits
	Phase1FieldSize     uint16 = 15
	Phase1GroupOrder    uint16 = 16
	phase1AttributeLast        = Phase1GroupOrder
)

// Attribute types of phase 2 (RFC 2407 4.5; ECN RFC 3168, ESN RFC 4304).
const (
	Phase2LifeType        uint16 = 1
	Phase2LifeDuration    uint16 = 2
	Phase2Group           uint16 = 3
	Phase2Encapsulation   uint16 = 4
	Phase2Auth            uint16 = 5
	Phase2KeyLength       uint16 = 6 // bits
	Phase2KeyRounds       uint16 = 7
	Phase2CompressDict    uint16 = 8
	Phase2CompressPrivate uint16 = 9
	Phase2ECN             uint16 = 10
	Phase2ESN             uint16 = 11
	phase2AttributeLast          = Phase2ESN
)

// Life types of both phases (RFC 2409 appendix A, RFC 2407 4.5).
const (
	LifeSeconds   uint16 = 1
	LifeKilobytes uint16 = 2
)

// Values of Phase2Encapsulation (RFC 2407 4.5, RFC 3947 5.1). The drafts
// before RFC 3947 used private numbers.
const (
	EncapTunnel            uint16 = 1
	EncapTransport         uint16 = 2
	EncapUDPTunnel         uint16 = 3
	EncapUDPTransport      uint16 = 4
	EncapUDPTunnelDraft    uint16 = 61443
	EncapUDPTransportDraft uint16 = 61444
)

// Phase1AttributeName is the RFC's name of a phase 1 attribute: "Key Length", "attribute(99)".
func Phase1AttributeName(t uint16) string {
	names := [...]string{"", "Encryption Algorithm", "Hash Algorithm", "Authentication Method", "Group Description", "Group Type",
		"Group Prime/Irreducible Polynomial", "Group Generator One", "Group Generator Two", "Group Curve A", "Group Curve B",
		"Life Type", "Life Duration", "PRF", "Key Length", "Field Size", "Group Order"}
	if t == 0 || t > phase1AttributeLast {
		return fmt.Sprintf("attribute(%d)", t)
	}
	return names[t]
}

// Phase2AttributeName is the RFC's name of a phase 2 attribute: "Encapsulation Mode", "attribute(99)".
func Phase2AttributeName(t uint16) string {
	names := [...]string{"", "SA Life Type", "SA Life Duration", "Group Description", "Encapsulation Mode", "Authentication Algorithm",
		"Key Length", "Key Rounds", "Compress Dictionary Size", "Compress Private Algorithm", "ECN Tunnel", "Extended Sequence Number"}
	if t == 0 || t > phase2AttributeLast {
		return fmt.Sprintf("attribute(%d)", t)
	}
	return names[t]
}
