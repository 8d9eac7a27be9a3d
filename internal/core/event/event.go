// Package event is what happened, as values. The core emits them; show,
// debug, the log, metrics and the exchange diagram render the same value.
package event

import (
	"net/netip"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Role is a gateway's part in one exchange.
type Role uint8

// The roles.
const (
	Initiator Role = iota
	Responder
)

func (r Role) String() string {
	if r == Responder {
		return "responder"
	}
	return "initiator"
}

// Letter is the role as IOS's debug prints it: (I) or (R).
func (r Role) Letter() string {
	if r == Responder {
		return "R"
	}
	return "I"
}

// Event is one thing that happened, in the context of a peer and, when there
// is one, of an ISAKMP SA.
type Event struct {
	At    time.Time
	Local netip.AddrPort
	Peer  netip.AddrPort
	Conn  int    // conn-id of the ISAKMP SA, 0 when there is none
	Role  Role   // our part in the ISAKMP SA
	State string // IOS state of the ISAKMP SA afterwards: MM_NO_STATE … QM_IDLE; "" without one
	What  What
}

// What is one of the types of this package.
type What interface{ what() }

// Direction of a message.
type Direction uint8

// The directions.
const (
	Sent Direction = iota
	Received
)

func (d Direction) String() string {
	if d == Received {
		return "received"
	}
	return "sent"
}

// Payload is one payload of a message, named and told in a few words.
type Payload struct {
	Name   string // "SA", "KE", "NONCE", "ID", "HASH", "VID", "N", "D", "NAT-D", …
	Detail string // "2 transforms", "198.51.100.1", "NO-PROPOSAL-CHOSEN"; may be empty
}

// Message is one IKE message that left or came.
type Message struct {
	Dir       Direction
	Exchange  string // "main", "aggressive", "quick", "informational"
	Name      string // "MM1" … "MM6", "AM1" … "AM3", "QM1" … "QM4", "INFO"
	ID        uint32 // message ID, 0 in phase 1
	Encrypted bool
	Payloads  []Payload // empty when it could not be read
	Octets    int       // of the IKE message
	Attempt   int       // 0 for the first time, n for the n-th retransmission
	Duplicate bool      // received: seen before, answered from memory
}

// State is a step of the state machine, in IOS's words: "IKE_I_MM1".
type State struct{ Old, New string }

// PolicyCheck is one comparison of an offered phase 1 transform with one of
// our policies. Mismatch names the first attribute that differs:
// "encryption", "key length", "hash", "group", "authentication"; empty means accepted.
type PolicyCheck struct {
	Transform int // number of the offered transform, from 1
	Offer     policy.ISAKMP
	Against   policy.ISAKMP
	Mismatch  string
}

// PolicyRefused: none of the peer's offers is one of our policies.
type PolicyRefused struct{ Offers []policy.ISAKMP }

// KeyLookup is the search for the peer's pre-shared key.
type KeyLookup struct {
	Found  bool
	Origin origin.Line
}

// Identified: the peer has named itself and was recognised, before it has
// proved anything.
type Identified struct {
	Kind     string // RFC word: "ID_FQDN"
	Identity string
	Profile  string // the isakmp profile that matches, "" for none
	Keyring  string // where its key is, "default" for the keys outside keyrings; "" without a key
}

// Certificate is one that was sent, or that came and was checked.
type Certificate struct {
	Dir        Direction
	Subject    string
	Issuer     string
	Serial     string // hexadecimal
	NotAfter   time.Time
	Trustpoint string // that proves it, "" when none does
	// Refused says why it was refused, "" when it was not.
	Refused string
}

// Revocation is a look at whether a certificate was revoked.
type Revocation struct {
	Method string // "crl" or "ocsp"
	URL    string // "" for a list that was at hand
	Serial string // of the certificate
	Result string // "good", "revoked", or why it is not known
}

// Liveness is dead peer detection (RFC 3706): a question without an answer, or
// the end of patience.
type Liveness struct {
	Attempt, Of int
	Dead        bool
}

// Fragments: a message was cut, or put together again.
type Fragments struct {
	Dir    Direction
	Number int // of fragments
	Octets int // of the message
}

// Reconfigured: new settings are in force.
type Reconfigured struct{ Kept, Ended int } // SAs of both phases

// NATCheck is what the NAT-D payloads tell (RFC 3947 3.2).
type NATCheck struct{ LocalBehind, PeerBehind bool }

// Phase1Up: the ISAKMP SA is authenticated.
type Phase1Up struct {
	Policy   policy.ISAKMP // as agreed; Lifetime is the shorter one
	Identity string        // of the peer
	Profile  string        // the isakmp profile in force, "" for none
	NAT      NATCheck
	// Aggressive: phase 1 was aggressive mode.
	Aggressive bool
}

// Proposal is one phase 2 offer.
type Proposal struct {
	Number   int
	Set      policy.TransformSet // without a name when it is the peer's
	Group    suite.Group
	Lifetime policy.Lifetime
	Encap    string // "tunnel", "transport", "udp tunnel", …
	// Unknown says what could not be read: "ESP transform 250". The proposal is then refused.
	Unknown string
}

// ProposalCheck is one comparison of an offered proposal with one transform
// set. Mismatch names what differs: "protocol", "encryption", "key length",
// "integrity", "mode", "extended sequence numbers", "pfs group"; empty means accepted.
type ProposalCheck struct {
	Offer    Proposal
	Against  policy.TransformSet
	Mismatch string
}

// ProposalRefused: none of the peer's phase 2 offers is one of our transform sets.
type ProposalRefused struct {
	Flow   policy.FlowID
	Offers []Proposal
	Sets   []policy.TransformSet
	PFS    suite.Group
}

// ProxyCheck is the search for the crypto ACL line that permits the offered identities.
type ProxyCheck struct {
	Offered flow.Selectors // seen from us
	Flow    policy.FlowID  // the line found
	Found   bool
}

// Phase2Up: an IPsec SA pair was agreed.
type Phase2Up struct {
	Flow      policy.FlowID
	Selectors flow.Selectors
	Set       policy.TransformSet
	PFS       suite.Group
	In, Out   uint32 // SPIs of the ESP SAs; 0 without ESP
	// AHIn and AHOut are the SPIs of the AH SAs; 0 without AH.
	AHIn, AHOut uint32
	Encap       bool // in UDP 4500
	ESN         bool
	Lifetime    policy.Lifetime
	Rekey       bool // replaces an older pair
}

// Notify is a notification or an error told to or by the peer.
type Notify struct {
	Dir       Direction
	Type      string // RFC word: "NO-PROPOSAL-CHOSEN"
	Number    uint16
	Protocol  uint8 // of the SA it is about: 1 ISAKMP, 3 ESP; 0 when not told
	Protected bool  // encrypted and its hash verified
	Text      string
}

// Deleted: an SA is gone. Protocol is "ISAKMP", "ESP" or "AH"; a bundle is "ESP".
type Deleted struct {
	Protocol string
	SPI      uint32 // inbound SPI of an IPsec SA pair; 0 for ISAKMP
	Reason   string
	ByPeer   bool
	// Last: no SA pair of the flow is left; false for one that a rekey replaced.
	Last bool
}

// Triggered: interesting traffic without an SA asked for one.
type Triggered struct {
	Flow   policy.FlowID
	Packet flow.Tuple
	// What will be asked for; zero when not told.
	Selectors flow.Selectors
	Set       policy.TransformSet // the first of the entry
	Lifetime  policy.Lifetime
}

// Retransmit: no answer in time, the last message goes out again.
type Retransmit struct {
	Attempt, Of int
	Name        string // of the message
}

// Code says why a negotiation failed; package diagnose turns it into a sentence.
type Code string

// The codes.
const (
	NoAnswer       Code = "no-answer"     // nothing came back
	NoPolicy       Code = "no-policy"     // no common ISAKMP policy
	NoKey          Code = "no-key"        // no pre-shared key for this peer
	WrongKey       Code = "wrong-key"     // message 5 or 6 does not decrypt or its hash is wrong
	NoTransformSet Code = "no-transform"  // no common transform set
	PFSMismatch    Code = "pfs-mismatch"  // PFS wanted, or another group
	NoProxy        Code = "no-proxy"      // crypto ACLs are no mirror images
	PeerRefused    Code = "peer-refused"  // the peer said no with another notification
	Malformed      Code = "malformed"     // the peer's message broke the rules
	Expired        Code = "expired"       // the negotiation took too long
	BadIdentity    Code = "bad-identity"  // the peer's identity is not the one expected
	Cleared        Code = "cleared"       // an operator or the peer ended it
	NoEntry        Code = "no-crypto-map" // no crypto map entry names this peer
	SpeaksIKEv2    Code = "ikev2"         // the peer negotiates in IKEv2
	LegacyOnly     Code = "legacy-only"   // all that is in common is behind the compliance shield

	NoXAUTH         Code = "no-xauth"           // the peer wants extended authentication or mode config
	AggressiveOff   Code = "aggressive-off"     // the peer begins in aggressive mode, which we do not speak with it
	RSAEncrypted    Code = "rsa-encr"           // all that is in common is authentication by RSA encryption
	NoCertificate   Code = "no-certificate"     // we have no certificate to prove ourselves with
	CertUntrusted   Code = "cert-untrusted"     // the peer's certificate leads to no CA of ours
	CertExpired     Code = "cert-expired"       // it is not valid now
	CertRevoked     Code = "cert-revoked"       // its CA has taken it back
	RevocationNone  Code = "revocation-unknown" // whether it was taken back cannot be found out
	CertIdentity    Code = "cert-identity"      // the identity is not in the certificate, or the certificate fits no map
	BadSignature    Code = "bad-signature"      // the signature does not prove the certificate's key
	NoProfile       Code = "no-profile"         // no isakmp profile matches the identity, or another one than the entry's
	ModeMismatch    Code = "mode-mismatch"      // the transform sets agree but for tunnel and transport
	IsResponderOnly Code = "responder-only"     // traffic asks, but the entry never begins
	PeerGone        Code = "peer-gone"          // dead peer detection got no answer
	Fragmented      Code = "fragments"          // the peer's fragments never became a whole message
)

// Failed: a negotiation ended without an SA, or looks as if it will.
type Failed struct {
	// Pending: it still runs; this is what the evidence says so far. Nothing
	// unauthenticated ends a negotiation.
	Pending bool
	Phase   int // 1 or 2
	Flow    policy.FlowID
	Code    Code
	Reason  string // one clause, for logs
	// LastSent is the last message sent ("MM1"), LastReceived the last message taken ("" for none).
	LastSent, LastReceived string
	// Notified is the RFC word of the peer's notification, when that ended it.
	Notified string
	// Offers of the peer, for the two codes that compare offers.
	PolicyOffers   []policy.ISAKMP
	ProposalOffers []Proposal
	// Offered are the identities that were refused, seen from us.
	Offered flow.Selectors
	// Identity is who the peer says it is, Kind the RFC word for that sort of
	// name ("ID_FQDN"), Profile the isakmp profile that recognises it: for the
	// codes about identities, keys and profiles. Empty when it never said.
	Identity, Kind, Profile string
	// Certificate is the peer's, for the codes about certificates; the zero
	// Certificate when none came.
	Certificate Certificate
	// Revocations are the looks that were taken, for the codes about revocation.
	Revocations []Revocation
}

// Cause says what kind of datagram was dropped, as far as IOS logs it.
type Cause string

// The causes. The empty Cause is any other.
const (
	NoSA         Cause = "no-sa"         // of no ISAKMP SA, and not the first message of one
	BadMessage   Cause = "bad-message"   // malformed, or garbage after decryption
	NotEncrypted Cause = "not-encrypted" // in the clear where it had to be encrypted
)

// Dropped: a datagram was ignored; nothing changed.
type Dropped struct {
	Reason string
	Cause  Cause
}

func (Message) what()         {}
func (State) what()           {}
func (PolicyCheck) what()     {}
func (PolicyRefused) what()   {}
func (KeyLookup) what()       {}
func (Identified) what()      {}
func (Certificate) what()     {}
func (Revocation) what()      {}
func (Liveness) what()        {}
func (Fragments) what()       {}
func (Reconfigured) what()    {}
func (NATCheck) what()        {}
func (Phase1Up) what()        {}
func (ProposalCheck) what()   {}
func (ProposalRefused) what() {}
func (ProxyCheck) what()      {}
func (Phase2Up) what()        {}
func (Notify) what()          {}
func (Deleted) what()         {}
func (Triggered) what()       {}
func (Retransmit) what()      {}
func (Failed) what()          {}
func (Dropped) what()         {}
