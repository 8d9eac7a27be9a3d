package isakmp

import "encoding/binary"

// Attribute is one data attribute (RFC 2408 3.3). Nothing about its meaning is
// checked: any type, any length and any repetition is kept as it came.
type Attribute struct {
	Type  uint16 // 15 bits
	Value []byte // big endian; slices into the message it was parsed from
	// Basic: in the short form (AF bit set), with two octets of value.
	Basic bool
}

// BasicAttribute is an attribute in the short form.
func BasicAttribute(typ, value uint16) Attribute {
	return Attribute{typ, binary.BigEndian.AppendUint16(nil, value), true}
}

// LongAttribute is an attribute in the long form, with four octets of value.
func LongAttribute(typ uint16, value uint32) Attribute {
	return Attribute{Type: typ, Value: binary.BigEndian.AppendUint32(nil, value)}
}

// DurationAttribute is a Life Duration: short when the value fits two octets,
// else long ("variable length attributes MAY be encoded as basic attributes if
// their value can fit into two octets", RFC 2407 4.5).
func DurationAttribute(typ uint16, value uint32) Attribute {
	if value <= 0xffff {
		return BasicAttribute(typ, uint16(value))
	}
	return LongAttribute(typ, value)
}

// Uint is the value as a number; false when it has no octets or more than eight.
func (a Attribute) Uint() (uint64, bool) {
	if len(a.Value) == 0 || len(a.Value) > 8 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range a.Value {
		n = n<<8 | uint64(c)
	}
	return n, true
}

// ParseAttributes reads a list of attributes that fills b: those of a
// transform, or the data of a RESPONDER-LIFETIME notification (RFC 2407
// 4.6.3.1). Errors are ErrPayloadMalformed.
func ParseAttributes(b []byte) ([]Attribute, error) { return parseAttributes(b, 0, "attribute list") }

func parseAttributes(b []byte, at int, where string) ([]Attribute, error) {
	var out []Attribute
	for offset := 0; offset < len(b); {
		if len(out) == MaxAttributes {
			return nil, malformed(where, at+offset, "more than %d attributes", MaxAttributes)
		}
		left := len(b) - offset
		if left < 4 {
			return nil, malformed(where, at+offset, "attribute of %d octets, expected at least 4", left)
		}
		typ := binary.BigEndian.Uint16(b[offset:])
		if typ&0x8000 != 0 {
			out = append(out, Attribute{typ &^ 0x8000, b[offset+2 : offset+4 : offset+4], true})
			offset += 4
			continue
		}
		n := int(binary.BigEndian.Uint16(b[offset+2:]))
		if n > left-4 {
			return nil, malformed(where, at+offset+2, "attribute %d has %d octets, %d are left", typ, n, left-4)
		}
		end := offset + 4 + n
		out = append(out, Attribute{Type: typ, Value: b[offset+4 : end : end]})
		offset = end
	}
	return out, nil
}

// AppendAttributes writes attrs behind b. A Basic attribute has two octets of
// value, another at most 65535.
func AppendAttributes(b []byte, attrs []Attribute) []byte {
	for _, a := range attrs {
		typ := uint16(fit(int(a.Type), 0x7fff, "attribute type"))
		if a.Basic {
			v := a.Value[:2]
			b = append(binary.BigEndian.AppendUint16(b, typ|0x8000), v...)
			continue
		}
		b = binary.BigEndian.AppendUint16(b, typ)
		b = binary.BigEndian.AppendUint16(b, uint16(fit(len(a.Value), 0xffff, "attribute value")))
		b = append(b, a.Value...)
	}
	return b
}
