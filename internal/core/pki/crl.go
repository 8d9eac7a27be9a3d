package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"culvert/internal/core/isakmp"
)

// maxCRL is how many octets of a revocation list are read: some 100,000 entries.
const maxCRL = 4 << 20

// skew is how far another clock may be ahead of ours.
const skew = 5 * time.Minute

// undated is how long a list or an answer is believed that does not say when
// the next one comes.
const undated = time.Hour

// errNotOurs is a list of another CA.
var errNotOurs = errors.New("the revocation list is of another CA")

// readList verifies a revocation list of a CA: its signature, its times, and
// that nothing critical in it is unknown. A list may speak of some certificates
// only; a delta list is not a list.
func readList(der []byte, ca *x509.Certificate, now time.Time) (*list, error) {
	if len(der) > maxCRL {
		return nil, fmt.Errorf("the revocation list has %d octets, expected %d at most", len(der), maxCRL)
	}
	if b, _ := pem.Decode(der); b != nil && b.Type == "X509 CRL" {
		der = b.Bytes
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list: %w", err)
	}
	if !bytes.Equal(crl.RawIssuer, ca.RawSubject) && !isakmp.SameName(crl.RawIssuer, ca.RawSubject) {
		return nil, fmt.Errorf("%w: %q, expected %q", errNotOurs, isakmp.NameText(crl.RawIssuer), isakmp.NameText(ca.RawSubject))
	}
	if err := crl.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("the revocation list was not signed by %s: %w", label(ca), err)
	}
	l := &list{this: crl.ThisUpdate, until: crl.NextUpdate, users: true, cas: true, revoked: make(map[string]struct{}, len(crl.RevokedCertificateEntries))}
	if err := l.scope(crl); err != nil {
		return nil, err
	}
	if crl.ThisUpdate.After(now.Add(skew)) {
		return nil, fmt.Errorf("the revocation list is of %s, which is still to come", clock(crl.ThisUpdate))
	}
	switch {
	case l.until.IsZero():
		l.until = now.Add(undated)
	case now.After(l.until):
		return nil, fmt.Errorf("the revocation list was good until %s, and no newer one is there", clock(l.until))
	}
	for _, e := range crl.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical {
				return nil, fmt.Errorf("the revocation list has an entry with the critical extension %s, which is not known here", x.Id)
			}
		}
		l.revoked[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	return l, nil
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST Jan 2 2006") }

// scope reads the extensions that say what a list speaks of (RFC 5280 5.2).
func (l *list) scope(crl *x509.RevocationList) error {
	for _, x := range crl.Extensions {
		switch x.Id.String() {
		case "2.5.29.27":
			return errors.New("a delta list, which is no revocation list by itself")
		case "2.5.29.28":
			if err := l.point(x.Value); err != nil {
				return err
			}
		case "2.5.29.20", "2.5.29.35", "2.5.29.18", "2.5.29.46": // number, key, other names, where deltas are
		default:
			if x.Critical {
				return fmt.Errorf("the revocation list has the critical extension %s, which is not known here", x.Id)
			}
		}
	}
	return nil
}

// point reads the issuing distribution point (RFC 5280 5.2.5). A list of some
// reasons only, of other CAs or of attribute certificates cannot say that a
// certificate is good.
func (l *list) point(der []byte) error {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() {
		return errors.New("the revocation list has a distribution point that is not DER")
	}
	for !body.Empty() {
		var value cryptobyte.String
		var tag asn1.Tag
		if !body.ReadAnyASN1(&value, &tag) {
			return errors.New("the revocation list has a distribution point that is not DER")
		}
		set := len(value) == 1 && value[0] != 0
		switch uint8(tag) & 0x1f {
		case 0: // where it is published
		case 1:
			l.cas = l.cas && !set
		case 2:
			l.users = l.users && !set
		default: // onlySomeReasons, indirectCRL, onlyContainsAttributeCerts
			if set || uint8(tag)&0x1f == 3 {
				return errors.New("the revocation list is of some reasons only, of other CAs, or of attribute certificates")
			}
		}
	}
	return nil
}
