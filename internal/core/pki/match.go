package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// MapFits reports whether a certificate satisfies a certificate map: all rules
// of one of its entries. A map without entries fits nothing.
func MapFits(m *policy.CertificateMap, c *x509.Certificate) bool {
	return m != nil && slices.ContainsFunc(m.Entries, func(e policy.CertificateRules) bool {
		for _, r := range e.Rules {
			if !ruleFits(r, c) {
				return false
			}
		}
		return len(e.Rules) > 0
	})
}

func ruleFits(r policy.CertificateRule, c *x509.Certificate) bool {
	switch r.Field {
	case "valid-start":
		return timeFits(r, c.NotBefore)
	case "expires-on":
		return timeFits(r, c.NotAfter)
	}
	values := fieldValues(r.Field, c)
	want := normal(r.Field, r.Value)
	equal := func(v string) bool { return v == want }
	contains := func(v string) bool { return strings.Contains(v, want) }
	switch r.Op {
	case "eq":
		return slices.ContainsFunc(values, equal)
	case "ne":
		return !slices.ContainsFunc(values, equal)
	case "co":
		return slices.ContainsFunc(values, contains)
	case "nc":
		return !slices.ContainsFunc(values, contains)
	}
	return false
}

// fieldValues are the texts of a field to compare with, in normal form. A DN
// comes in both orders, since routers and RFC 4514 disagree which end is first.
func fieldValues(field string, c *x509.Certificate) []string {
	var out []string
	dn := func(der []byte) {
		text := isakmp.NameText(der)
		out = append(out, text)
		names, _ := isakmp.ParseName(der)
		var forward []string
		for _, set := range names {
			for _, a := range set {
				forward = append(forward, a.Type+"="+a.Value)
			}
		}
		out = append(out, strings.Join(forward, ","))
	}
	names := func(also string) {
		for _, a := range alternatives(c) {
			if also == "" || a.kind == also {
				out = append(out, a.value)
			}
		}
	}
	switch field {
	case "subject-name":
		dn(c.RawSubject)
	case "issuer-name":
		dn(c.RawIssuer)
	case "alt-subject-name":
		names("")
	case "unstructured-subject-name":
		names("dns")
	case "name":
		dn(c.RawSubject)
		names("")
	case "serial-number":
		out = append(out, Serial(c))
	}
	for i := range out {
		out[i] = normal(field, out[i])
	}
	return out
}

// normal is the form in which texts are compared: lower case, no blanks around
// the separators of a DN, none at all in a serial number.
func normal(field, v string) string {
	v = strings.ToLower(strings.TrimSpace(v))
	if field == "serial-number" {
		v = strings.NewReplacer(" ", "", ":", "", "-", "").Replace(strings.TrimPrefix(v, "0x"))
		return strings.TrimLeft(v, "0")
	}
	v = strings.Join(strings.Fields(v), " ")
	for _, sep := range []string{",", "="} {
		v = strings.ReplaceAll(strings.ReplaceAll(v, " "+sep, sep), sep+" ", sep)
	}
	return v
}

// timeFits compares a time: lt before, ge not before, eq and ne to the second.
func timeFits(r policy.CertificateRule, t time.Time) bool {
	want, err := ParseTime(r.Value)
	if err != nil {
		return false
	}
	switch r.Op {
	case "lt":
		return t.Before(want)
	case "ge":
		return !t.Before(want)
	case "eq":
		return t.Equal(want)
	case "ne":
		return !t.Equal(want)
	}
	return false
}

// ParseTime reads a time of a certificate map, in UTC: "Jan 2 2026 15:04:05",
// also without the time of the day, or "2026-01-02".
func ParseTime(v string) (time.Time, error) {
	v = strings.Join(strings.Fields(v), " ")
	for _, layout := range []string{
		"Jan 2 2006 15:04:05", "Jan 2 2006 15:04:05 MST", "15:04:05 MST Jan 2 2006", "15:04:05 Jan 2 2006", "Jan 2 2006", "2006-01-02", "2006-01-02T15:04:05Z",
	} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: expected \"Jan 2 2026 15:04:05\" or \"2026-01-02\"", v)
}
