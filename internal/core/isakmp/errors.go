package isakmp

import "fmt"

// Error is a message, or a part of one, that breaks the rules of the wire.
// It knows the notification it becomes (RFC 2408 section 5); whether that is
// sent, and to whom, is for the session to decide.
type Error struct {
	Notify NotifyType
	Where  string // "ISAKMP header", "KE payload", "transform 2 of proposal 1"
	Offset int    // octets from the start of what the parser was given
	Detail string // what was found and what was expected
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Notify.String()
	}
	return fmt.Sprintf("%s at octet %d: %s (%s)", e.Where, e.Offset, e.Detail, e.Notify)
}

// Is makes errors.Is(err, ErrPayloadMalformed) true for every error that
// becomes the same notification.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Detail == "" && t.Notify == e.Notify
}

// What errors.Is can ask an Error of this package.
var (
	// ErrVersion: the major version is not 1. Header.Major of the header that
	// comes with it tells IKEv2 (2) from nonsense.
	ErrVersion = &Error{Notify: NotifyInvalidMajorVersion}
	// ErrMinorVersion: a minor version this package does not know.
	ErrMinorVersion = &Error{Notify: NotifyInvalidMinorVersion}
	// ErrLength: the header's Length is not the length of the datagram.
	ErrLength = &Error{Notify: NotifyUnequalPayloadLengths}
	// ErrPayloadType: a payload type that may not stand there.
	ErrPayloadType = &Error{Notify: NotifyInvalidPayloadType}
	// ErrPayloadMalformed: lengths, reserved octets or contents are wrong.
	ErrPayloadMalformed = &Error{Notify: NotifyPayloadMalformed}
	// ErrProposalSyntax: an SA payload whose proposals or transforms are wrong.
	ErrProposalSyntax = &Error{Notify: NotifyBadProposalSyntax}
	// ErrSPI: an SPI of a length its protocol does not have.
	ErrSPI = &Error{Notify: NotifyInvalidSPI}
	// ErrDOI: another domain of interpretation than IPsec's.
	ErrDOI = &Error{Notify: NotifyDOINotSupported}
	// ErrSituation: another situation than SIT_IDENTITY_ONLY.
	ErrSituation = &Error{Notify: NotifySituationNotSupported}
	// ErrID: an identification payload whose data do not fit its type.
	ErrID = &Error{Notify: NotifyInvalidIDInformation}
)

func fail(n NotifyType, where string, offset int, format string, args ...any) *Error {
	return &Error{Notify: n, Where: where, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}

func malformed(where string, offset int, format string, args ...any) *Error {
	return fail(NotifyPayloadMalformed, where, offset, format, args...)
}

// fit guards the length fields of what we write ourselves. A value too large
// for its field is a mistake in this program, never the peer's doing: parsed
// values fit by construction.
func fit(n, most int, what string) int {
	if n > most {
		panic(fmt.Sprintf("isakmp: %s is %d octets or items, its field holds %d", what, n, most))
	}
	return n
}
