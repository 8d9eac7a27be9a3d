package config

import (
	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
)

// Trustpoint is one "crypto pki trustpoint" block as written. What its files
// hold is known once Load has read them.
type Trustpoint struct {
	Name string
	// Revocation lists the methods of "revocation-check" in their order; empty
	// for the default, crl.
	Revocation []string
	OCSP       string // "ocsp url", "" for the one in the certificate
	// RSAKey and ECKey are labels of keys of "crypto key import", "" for none.
	RSAKey, ECKey string
	Match         []CertificateMatch // "match certificate"
	// Fingerprint of the CA in hexadecimal without blanks, upper case; "" for none.
	Fingerprint string
	// The files of Culvert's own sub-commands. Relative paths begin at the
	// directory of the configuration.
	CAFiles, CRLFiles        []Named
	CertificateFile, KeyFile Named
	Kept                     []IgnoredLine // what only matters to enrolment
	Origin                   origin.Line
	// Where the parts were written.
	RevocationOrigin, OCSPOrigin, KeyOrigin, FingerprintOrigin origin.Line

	loaded material
}

// CertificateMatch is one "match certificate" line of a trustpoint.
type CertificateMatch struct {
	Map string
	// Exception is what the line says behind the map, which Culvert does not
	// grant: "allow expired-certificate"; "" for nothing.
	Exception string
	Origin    origin.Line
}

// CertificateChain is one "crypto pki certificate chain" block: certificates of
// the trustpoint with the same name.
type CertificateChain struct {
	Name         string
	Certificates []Certificate // in the order written
	Origin       origin.Line
}

// Certificate is one "certificate … quit" block.
type Certificate struct {
	Kind   string // "ca", "self-signed", …; "" for our own
	Serial string // as written
	// NVRAM is the router's own file that holds the certificate, "nvram:CA.cer",
	// "" for one that stands here; DER is empty then.
	NVRAM  string
	DER    []byte
	Origin origin.Line
}

// KeyImport is one "crypto key import … quit" block. Its text is not kept, and
// Running does not print it.
type KeyImport struct {
	EC     bool
	Label  string
	Key    crypt.Signer // the zero Signer when the text was no key
	Origin origin.Line
}

// material is what a trustpoint's files hold, DER.
type material struct {
	cas, chain, crls [][]byte
	key              crypt.Signer
}
