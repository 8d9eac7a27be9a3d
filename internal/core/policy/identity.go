package policy

import (
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
)

// IdentityKind is a kind of phase 1 identity, as the configuration names it.
type IdentityKind uint8

// The kinds, with the ID type of RFC 2407 4.6.2.1 each stands for.
const (
	IdentityAddress IdentityKind = iota // ID_IPV4_ADDR, ID_IPV6_ADDR: "address"
	IdentityFQDN                        // ID_FQDN: "hostname", "host", "fqdn"
	IdentityUser                        // ID_USER_FQDN: "user", "user-fqdn"
	IdentityDN                          // ID_DER_ASN1_DN: "dn"
	IdentityGroup                       // ID_KEY_ID: "group"
)

func (k IdentityKind) String() string {
	return [...]string{"address", "fqdn", "user-fqdn", "dn", "group"}[k]
}

// SelfIdentity is how we name ourselves in phase 1.
type SelfIdentity struct {
	Kind IdentityKind
	// Value is the name; "" for what the Kind stands for: our address, our
	// hostname with the domain, the subject of our certificate.
	Value  string
	Origin origin.Line
}

// IdentityMatch is one way to recognise a peer: a line "match identity …" or
// "match certificate …" of a profile, or one of "set identity".
type IdentityMatch struct {
	Kind   IdentityKind
	Prefix netip.Prefix // for IdentityAddress
	// Value is the name to be equal to, without regard to case; with Domain the
	// name's end behind a dot or an @.
	Value  string
	Domain bool
	// Certificate is a certificate map to be satisfied, nil for none; Kind
	// means nothing then.
	Certificate *CertificateMap
	Origin      origin.Line
}

// CertificateMap is "crypto pki certificate map": a certificate satisfies it
// when it satisfies all rules of one of its entries.
type CertificateMap struct {
	Name    string
	Entries []CertificateRules // ascending sequence number
}

// CertificateRules is one entry of a certificate map.
type CertificateRules struct {
	Seq    int
	Rules  []CertificateRule
	Origin origin.Line
}

// CertificateRule compares one field of a certificate with a text.
type CertificateRule struct {
	Field string // "subject-name", "issuer-name", "alt-subject-name", "name", "serial-number", "valid-start", "expires-on", "unstructured-subject-name"
	Op    string // "co" contains, "nc" does not, "eq" equals, "ne" does not; for times "lt", "ge" as well
	Value string
}

// Keyring is "crypto keyring": pre-shared keys for the profiles that name it.
type Keyring struct {
	Name   string
	Local  netip.Addr // only for negotiations at that address of ours; invalid for any
	Keys   []Key
	Origin origin.Line
}

// Profile is "crypto isakmp profile": which peers it is for, and what is
// different with them.
type Profile struct {
	Name        string
	Keyrings    []string // names, "default" for the keys outside keyrings; empty means the default ones
	Self        SelfIdentity
	HasSelf     bool // Self is written; otherwise Settings.Identity
	Match       []IdentityMatch
	Trustpoints []string // names; empty means all
	Keepalive   Keepalive
	Local       netip.Addr // only for negotiations at that address of ours; invalid for any
	// Aggressive is "initiate mode aggressive": we begin so, and take it from
	// the peers that Match recognises.
	Aggressive bool
	Origin     origin.Line
}

// AggressivePeer is "crypto isakmp peer … / set aggressive-mode …": a peer with
// whom aggressive mode is spoken, in both roles.
type AggressivePeer struct {
	Addr netip.Addr // of the peer; invalid for one named by Host
	Host string     // the FQDN by which the peer names itself, "" for a peer by address
	// Self is "set aggressive-mode client-endpoint": how we name ourselves to it.
	Self    SelfIdentity
	HasSelf bool
	// Secret is "set aggressive-mode password": its pre-shared key; none when empty.
	Secret crypt.Secret
	Origin origin.Line
}

// Keepalive is dead peer detection (RFC 3706).
type Keepalive struct {
	Every    time.Duration // 0 for none
	Retry    time.Duration // between questions that are not answered
	Periodic bool          // ask every interval; otherwise only with traffic to send and nothing heard
	Origin   origin.Line
}

// Trustpoint is "crypto pki trustpoint": whom we trust, and who we are.
type Trustpoint struct {
	Name string
	// CAs are the certificates that anchor a peer's chain, DER.
	CAs [][]byte
	// Chain is our certificate and the ones between it and the CA, DER, ours
	// first; empty when we have none here.
	Chain [][]byte
	Key   crypt.Signer // the private key of Chain[0]; the zero Signer for none
	// Revocation lists the methods of "revocation-check", in the order they
	// are tried: "crl", "ocsp", "none". Empty means crl.
	Revocation []string
	// OCSP overrides the responder's address in certificates; "" for none.
	OCSP string
	// CRLs are revocation lists from files, DER; others are fetched.
	CRLs [][]byte
	// Match are certificate maps a peer's certificate has to satisfy, one of
	// them; empty for none.
	Match  []*CertificateMap
	Origin origin.Line
	// RevocationOrigin is the "revocation-check" line; the zero Line for the default.
	RevocationOrigin origin.Line
}
