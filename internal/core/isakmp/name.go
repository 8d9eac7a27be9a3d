package isakmp

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// NameAttribute is one attribute of a distinguished name.
type NameAttribute struct {
	Type  string // "CN", "O"; the object identifier in dots when it has no short name
	Value string // text; "#" and hexadecimal DER when it is none
}

// ParseName reads a distinguished name in strict DER, to its last octet: its
// relative names in the order of the encoding, the country mostly first. False
// when it is none.
func ParseName(der []byte) ([][]NameAttribute, bool) {
	if !isName(der) {
		return nil, false
	}
	input := cryptobyte.String(der)
	var rdns, set, pair, value cryptobyte.String
	var names [][]NameAttribute
	input.ReadASN1(&rdns, asn1.SEQUENCE)
	for rdns.ReadASN1(&set, asn1.SET) {
		var one []NameAttribute
		for set.ReadASN1(&pair, asn1.SEQUENCE) {
			var oid cryptobyte.String
			var tag asn1.Tag
			pair.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER)
			whole := pair
			pair.ReadAnyASN1(&value, &tag)
			one = append(one, NameAttribute{attributeType(oid), attributeValue(tag, value, whole)})
		}
		names = append(names, one)
	}
	return names, true
}

// attributeType is the short name of an attribute (RFC 4514 section 3, PKCS #9).
func attributeType(oid []byte) string {
	switch hex.EncodeToString(oid) {
	case "550403":
		return "CN"
	case "550404":
		return "SN"
	case "550405":
		return "serialNumber"
	case "550406":
		return "C"
	case "550407":
		return "L"
	case "550408":
		return "ST"
	case "550409":
		return "STREET"
	case "55040a":
		return "O"
	case "55040b":
		return "OU"
	case "55040c":
		return "title"
	case "55042a":
		return "GN"
	case "2a864886f70d010901":
		return "E"
	case "2a864886f70d010902":
		return "unstructuredName"
	case "2a864886f70d010908":
		return "unstructuredAddress"
	case "0992268993f22c640119":
		return "DC"
	case "0992268993f22c640101":
		return "UID"
	}
	return dotted(oid)
}

// dotted is an object identifier in numbers; in hexadecimal when its encoding
// is no identifier.
func dotted(oid []byte) string {
	var w []string
	n := uint64(0)
	for i, o := range oid {
		n = n<<7 | uint64(o&0x7f)
		if n >= 1<<56 || i+1 == len(oid) && o&0x80 != 0 {
			return "#" + hex.EncodeToString(oid)
		}
		if o&0x80 != 0 {
			continue
		}
		if len(w) == 0 {
			first := min(n/40, 2)
			w = append(w, strconv.FormatUint(first, 10))
			n -= first * 40
		}
		w = append(w, strconv.FormatUint(n, 10))
		n = 0
	}
	return strings.Join(w, ".")
}

// attributeValue is the text of a string type of ASN.1.
func attributeValue(tag asn1.Tag, value, whole []byte) string {
	const numeric, bmp = asn1.Tag(18), asn1.Tag(30)
	switch tag {
	case asn1.UTF8String, asn1.PrintableString, asn1.IA5String, asn1.T61String, numeric:
		if utf8.Valid(value) {
			return string(value)
		}
	case bmp:
		if len(value)%2 == 0 {
			u := make([]uint16, len(value)/2)
			for i := range u {
				u[i] = uint16(value[2*i])<<8 | uint16(value[2*i+1])
			}
			return string(utf16.Decode(u))
		}
	}
	return "#" + hex.EncodeToString(whole)
}

// NameText is a distinguished name for people, the most specific part first as
// RFC 4514 writes it: "CN=r1.lab,O=lab,C=XX". It is safe on a terminal and in a
// log. Octets that are no name come in hexadecimal.
func NameText(der []byte) string {
	names, ok := ParseName(der)
	if !ok {
		return "#" + hex.EncodeToString(der[:min(len(der), maxName)])
	}
	var w []string
	for _, set := range slices.Backward(names) {
		var one []string
		for _, a := range set {
			one = append(one, a.Type+"="+escapeName(a.Value))
		}
		w = append(w, strings.Join(one, "+"))
	}
	s := strings.Join(w, ",")
	if len(s) > 4*maxName {
		s = s[:4*maxName] + "…"
	}
	return s
}

func escapeName(v string) string {
	q := strconv.QuoteToASCII(v)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return strings.NewReplacer(",", `\,`, "+", `\+`, ";", `\;`).Replace(q)
}

// SameName compares distinguished names: by their octets, else attribute by
// attribute without regard to the string type, to case and to how often a blank
// stands between words (RFC 5280 section 7.1). Neither is a name: false.
func SameName(a, b []byte) bool {
	x, okX := canonical(a)
	y, okY := canonical(b)
	return okX && okY && slices.Equal(x, y)
}

func canonical(der []byte) ([]string, bool) {
	names, ok := ParseName(der)
	if !ok {
		return nil, false
	}
	var out []string
	for _, set := range names {
		var one []string
		for _, a := range set {
			one = append(one, a.Type+"="+strconv.Quote(strings.Join(strings.Fields(strings.ToLower(a.Value)), " ")))
		}
		slices.Sort(one)
		out = append(out, strings.Join(one, "+"))
	}
	return out, true
}
