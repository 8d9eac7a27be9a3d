package isakmp

import (
	"encoding/binary"
	"fmt"
)

// NotifyType is a notify message type (RFC 2408 3.14.1, RFC 2407 4.6.3,
// RFC 3706 5.3).
type NotifyType uint16

// The notify message types.
const (
	NotifyInvalidPayloadType      NotifyType = 1
	NotifyDOINotSupported         NotifyType = 2
	NotifySituationNotSupported   NotifyType = 3
	NotifyInvalidCookie           NotifyType = 4
	NotifyInvalidMajorVersion     NotifyType = 5
	NotifyInvalidMinorVersion     NotifyType = 6
	NotifyInvalidExchangeType     NotifyType = 7
	NotifyInvalidFlags            NotifyType = 8
	NotifyInvalidMessageID        NotifyType = 9
	NotifyInvalidProtocolID       NotifyType = 10
	NotifyInvalidSPI              NotifyType = 11
	NotifyInvalidTransformID      NotifyType = 12
	NotifyAttributesNotSupported  NotifyType = 13
	NotifyNoProposalChosen        NotifyType = 14
	NotifyBadProposalSyntax       NotifyType = 15
	NotifyPayloadMalformed        NotifyType = 16
	NotifyInvalidKeyInformation   NotifyType = 17
	NotifyInvalidIDInformation    NotifyType = 18
	NotifyInvalidCertEncoding     NotifyType = 19
	NotifyInvalidCertificate      NotifyType = 20
	NotifyCertTypeUnsupported     NotifyType = 21
	NotifyInvalidCertAuthority    NotifyType = 22
	NotifyInvalidHashInformation  NotifyType = 23
	NotifyAuthenticationFailed    NotifyType = 24
	NotifyInvalidSignature        NotifyType = 25
	NotifyAddressNotification     NotifyType = 26
	NotifySALifetime              NotifyType = 27
	NotifyCertificateUnavailable  NotifyType = 28
	NotifyUnsupportedExchangeType NotifyType = 29
	NotifyUnequalPayloadLengths   NotifyType = 30
	NotifyConnected               NotifyType = 16384
	NotifyResponderLifetime       NotifyType = 24576
	NotifyReplayStatus            NotifyType = 24577
	NotifyInitialContact          NotifyType = 24578
	NotifyRUThere                 NotifyType = 36136
	NotifyRUThereAck              NotifyType = 36137
)

// String is the RFC's word: "NO-PROPOSAL-CHOSEN"; "notify(40961)" when there is none.
func (n NotifyType) String() string {
	if n >= 1 && int(n) <= len(errorNames) {
		return errorNames[n-1]
	}
	switch n {
	case NotifyConnected:
		return "CONNECTED"
	case NotifyResponderLifetime:
		return "RESPONDER-LIFETIME"
	case NotifyReplayStatus:
		return "REPLAY-STATUS"
	case NotifyInitialContact:
		return "INITIAL-CONTACT"
	case NotifyRUThere:
		return "R-U-THERE"
	case NotifyRUThereAck:
		return "R-U-THERE-ACK"
	}
	return fmt.Sprintf("notify(%d)", uint16(n))
}

// IsError reports whether the notification says that something failed; the
// others, from 16384, report a status.
func (n NotifyType) IsError() bool { return n >= 1 && n < 16384 }

// Names of the error types 1 to 30, in order.
var errorNames = [...]string{
	"INVALID-PAYLOAD-TYPE", "DOI-NOT-SUPPORTED", "SITUATION-NOT-SUPPORTED", "INVALID-COOKIE", "INVALID-MAJOR-VERSION",
	"INVALID-MINOR-VERSION", "INVALID-EXCHANGE-TYPE", "INVALID-FLAGS", "INVALID-MESSAGE-ID", "INVALID-PROTOCOL-ID",
	"INVALID-SPI", "INVALID-TRANSFORM-ID", "ATTRIBUTES-NOT-SUPPORTED", "NO-PROPOSAL-CHOSEN", "BAD-PROPOSAL-SYNTAX",
	"PAYLOAD-MALFORMED", "INVALID-KEY-INFORMATION", "INVALID-ID-INFORMATION", "INVALID-CERT-ENCODING", "INVALID-CERTIFICATE",
	"CERT-TYPE-UNSUPPORTED", "INVALID-CERT-AUTHORITY", "INVALID-HASH-INFORMATION", "AUTHENTICATION-FAILED", "INVALID-SIGNATURE",
	"ADDRESS-NOTIFICATION", "NOTIFY-SA-LIFETIME", "CERTIFICATE-UNAVAILABLE", "UNSUPPORTED-EXCHANGE-TYPE", "UNEQUAL-PAYLOAD-LENGTHS",
}

// Notification is a notification payload (RFC 2408 3.14).
type Notification struct {
	DOI      uint32
	Protocol uint8  // the SA it is about: ProtocolISAKMP, ProtocolESP, …
	SPI      []byte // of that SA, up to 16 octets; may be empty
	Type     NotifyType
	Data     []byte // its meaning depends on Type
}

// ParseNotification reads the body of a notification payload. Errors are
// ErrPayloadMalformed and ErrSPI.
func ParseNotification(body []byte) (Notification, error) {
	const where = "N payload"
	if len(body) < 8 {
		return Notification{}, malformed(where, 0, "%d octets, expected at least 8", len(body))
	}
	size := int(body[5])
	if size > len(body)-8 {
		return Notification{}, malformed(where, 5, "SPI of %d octets, %d left", size, len(body)-8)
	}
	if size > maxSPI {
		return Notification{}, fail(NotifyInvalidSPI, where, 5, "SPI of %d octets, expected at most %d", size, maxSPI)
	}
	return Notification{
		DOI:      binary.BigEndian.Uint32(body),
		Protocol: body[4],
		SPI:      body[8 : 8+size : 8+size],
		Type:     NotifyType(binary.BigEndian.Uint16(body[6:])),
		Data:     body[8+size:],
	}, nil
}

// Append writes the body of the notification payload behind b. The SPI has at
// most 255 octets.
func (n Notification) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, n.DOI)
	b = append(b, n.Protocol, byte(fit(len(n.SPI), 255, "SPI")))
	b = binary.BigEndian.AppendUint16(b, uint16(n.Type))
	b = append(b, n.SPI...)
	return append(b, n.Data...)
}

// Delete is a delete payload: SAs the sender has removed (RFC 2408 3.15).
type Delete struct {
	DOI      uint32
	Protocol uint8
	SPIs     [][]byte // all of one length: 16 octets (both cookies) for ISAKMP, 4 for AH and ESP
}

// ParseDelete reads the body of a delete payload. Errors are
// ErrPayloadMalformed and ErrSPI.
func ParseDelete(body []byte) (Delete, error) {
	const where = "D payload"
	if len(body) < 8 {
		return Delete{}, malformed(where, 0, "%d octets, expected at least 8", len(body))
	}
	d := Delete{DOI: binary.BigEndian.Uint32(body), Protocol: body[4]}
	size, count, left := int(body[5]), int(binary.BigEndian.Uint16(body[6:])), len(body)-8
	if !deleteSPI(d.Protocol, size) {
		return Delete{}, fail(NotifyInvalidSPI, where, 5, "SPIs of %d octets for %s", size, ProtocolName(d.Protocol))
	}
	if count == 0 || size*count != left {
		return Delete{}, malformed(where, 6, "%d SPIs of %d octets do not fill the %d octets left", count, size, left)
	}
	d.SPIs = make([][]byte, count)
	for i := range d.SPIs {
		from := 8 + i*size
		d.SPIs[i] = body[from : from+size : from+size]
	}
	return d, nil
}

func deleteSPI(protocol uint8, size int) bool {
	switch protocol {
	case ProtocolISAKMP:
		return size == 16
	case ProtocolAH, ProtocolESP:
		return size == 4
	}
	return size > 0 && size <= maxSPI
}

// Append writes the body of the delete payload behind b.
func (d Delete) Append(b []byte) []byte {
	size := 0
	if len(d.SPIs) > 0 {
		size = len(d.SPIs[0])
	}
	b = binary.BigEndian.AppendUint32(b, d.DOI)
	b = append(b, d.Protocol, byte(fit(size, 255, "SPI")))
	b = binary.BigEndian.AppendUint16(b, uint16(fit(len(d.SPIs), 0xffff, "SPIs")))
	for _, s := range d.SPIs {
		b = append(b, s...)
	}
	return b
}
