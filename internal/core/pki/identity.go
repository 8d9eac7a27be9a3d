package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// alternative is one name a certificate gives its subject beside the DN.
type alternative struct {
	kind  string // "ip", "dns", "email", "uri"
	value string
}

// alternatives are the subject alternative names, and the names that IOS puts
// into the subject instead: unstructuredName and unstructuredAddress of PKCS #9.
func alternatives(c *x509.Certificate) []alternative {
	var out []alternative
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, alternative{"ip", a.Unmap().String()})
		}
	}
	for _, n := range c.DNSNames {
		out = append(out, alternative{"dns", n})
	}
	for _, n := range c.EmailAddresses {
		out = append(out, alternative{"email", n})
	}
	for _, u := range c.URIs {
		out = append(out, alternative{"uri", u.String()})
	}
	names, _ := isakmp.ParseName(c.RawSubject)
	for _, set := range names {
		for _, a := range set {
			switch a.Type {
			case "unstructuredName":
				out = append(out, alternative{"dns", a.Value})
			case "unstructuredAddress":
				out = append(out, alternative{"ip", a.Value})
			}
		}
	}
	return out
}

// CheckIdentity says whether the certificate says what the ID payload says
// (RFC 4945 section 3.1): the same address, FQDN or user FQDN as a subject
// alternative name, or the subject itself. What an FQDN is compared with is the
// whole name: no wildcard, no part. The error is an *Error with CertIdentity.
func CheckIdentity(c *x509.Certificate, id isakmp.Identification) error {
	var want alternative
	switch id.Type {
	case isakmp.IDIPv4, isakmp.IDIPv6:
		a, ok := id.Address()
		if !ok {
			return refuse(event.CertIdentity, c, "the peer calls itself %s, which is no address", id)
		}
		want = alternative{"ip", a.Unmap().String()}
	case isakmp.IDFQDN:
		want = alternative{"dns", string(id.Data)}
	case isakmp.IDUserFQDN:
		want = alternative{"email", string(id.Data)}
	case isakmp.IDDN:
		if bytes.Equal(id.Data, c.RawSubject) || isakmp.SameName(id.Data, c.RawSubject) {
			return nil
		}
		return refuse(event.CertIdentity, c, "the peer calls itself %q, its certificate is of %s", id, label(c))
	default:
		return refuse(event.CertIdentity, c, "the peer names itself by %s, which no certificate can prove: expected an address, an FQDN, a user FQDN or a DN", id.Type)
	}
	var has []string
	for _, a := range alternatives(c) {
		if a.kind == want.kind && a.same(want.value) {
			return nil
		}
		if len(has) < 8 {
			has = append(has, fmt.Sprintf("%s:%.100q", a.kind, a.value))
		}
	}
	names := "which has no alternative names"
	if len(has) > 0 {
		names = "which names " + join(has)
	}
	return refuse(event.CertIdentity, c, "the peer calls itself %s, but that is not in its certificate %s, %s", id, label(c), names)
}

// same compares names of one kind: addresses as text of one form, the rest
// without regard to case and to a dot at the end.
func (a alternative) same(v string) bool {
	if a.kind == "dns" {
		return strings.EqualFold(strings.TrimSuffix(a.value, "."), strings.TrimSuffix(v, "."))
	}
	return strings.EqualFold(a.value, v)
}
