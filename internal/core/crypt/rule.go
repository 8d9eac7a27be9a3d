package crypt

// Rule is an error: the rule that an input broke. The errors of this package
// wrap one each, so that errors.Is finds it, and tell beside it what was met.
type Rule string

func (r Rule) Error() string { return string(r) }

// Rules for the peer's public value. What breaks one came from the network: in
// IKEv1 the answer is INVALID-KEY-INFORMATION (RFC 2408 section 3.14.1).
const (
	// RFC 2409 section 5: the public value "MUST be the length of the
	// negotiated Diffie-Hellman group enforced, if necessary, by pre-pending
	// the value with zeros"; RFC 5903 section 7 gives ECP two coordinates.
	ErrPublicSize Rule = "a public value is exactly as long as its group says (RFC 2409 section 5, RFC 5903 section 7)"
	// RFC 2412 section 2.3.1: implementors "should also refuse to accept the
	// values 1 and p-1 from remote parties".
	ErrPublicRange Rule = "a MODP public value lies between 2 and p-2 (RFC 2412 section 2.3.1, RFC 6989 section 2.1)"
	// RFC 6989 section 2.2; without it each of the small subgroups that p-1
	// has room for would give away a part of the private exponent.
	ErrPublicSubgroup Rule = "a public value of a MODP subgroup has the order of that subgroup (RFC 5114 section 2, RFC 6989 section 2.2)"
	// RFC 7748 section 6.1: a point of small order makes every private key
	// lead to zero, so that both sides would share what everybody knows.
	ErrPublicOrder Rule = "a Curve25519 public value is no point of small order (RFC 7748 section 6.1)"
	// RFC 6989 section 2.3.
	ErrPublicCurve Rule = "an ECP public value is a point of the curve (RFC 5903 section 3, RFC 6989 section 2.3)"
)

// Rules for what the caller brings.
const (
	ErrGroup Rule = "no such Diffie-Hellman group"
	// ErrRandomSize means that random octets came in another number than
	// PrivateSize asks for.
	ErrRandomSize Rule = "a private key is made from PrivateSize octets"
	// ErrBadRandom means that these octets make no private key: draw others.
	// With honest randomness it comes less than once in 2^32 draws.
	ErrBadRandom Rule = "a private key is at least 1 and below the order of its group (RFC 5114 section 2, RFC 5903 section 3)"
	// ErrNoPrivate means a zero Private, or one that was wiped.
	ErrNoPrivate Rule = "no private key, or a wiped one"

	ErrCipher  Rule = "not a cipher of ISAKMP messages: those are DES, 3DES and AES in CBC mode (RFC 2409 appendix A)"
	ErrKeySize Rule = "not a key length of the cipher"
	ErrIVSize  Rule = "an IV is one block (RFC 2409 appendix B)"
	// ErrBlocks means text that is empty or ends within a block: a body that
	// no sender padded as RFC 2409 appendix B says.
	ErrBlocks Rule = "encrypted text is one or more whole blocks (RFC 2409 appendix B)"
)
