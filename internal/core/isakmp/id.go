package isakmp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// IDType is the type of an identification payload (RFC 2407 4.6.2.1).
type IDType uint8

// The identification types.
const (
	IDIPv4       IDType = 1
	IDFQDN       IDType = 2
	IDUserFQDN   IDType = 3
	IDIPv4Subnet IDType = 4
	IDIPv6       IDType = 5
	IDIPv6Subnet IDType = 6
	IDIPv4Range  IDType = 7
	IDIPv6Range  IDType = 8
	IDDN         IDType = 9  // DER X.500 distinguished name
	IDGN         IDType = 10 // DER X.509 general name
	IDKeyID      IDType = 11
)

// String is the RFC's name: "ID_IPV4_ADDR_SUBNET"; "ID(12)" when there is none.
func (t IDType) String() string {
	names := [...]string{"", "ID_IPV4_ADDR", "ID_FQDN", "ID_USER_FQDN", "ID_IPV4_ADDR_SUBNET", "ID_IPV6_ADDR",
		"ID_IPV6_ADDR_SUBNET", "ID_IPV4_ADDR_RANGE", "ID_IPV6_ADDR_RANGE", "ID_DER_ASN1_DN", "ID_DER_ASN1_GN", "ID_KEY_ID"}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("ID(%d)", uint8(t))
	}
	return names[t]
}

// size is the length of one address of the type and how many addresses the
// data hold; zero for the types that hold no addresses.
func (t IDType) size() (octets, addresses int) {
	switch t {
	case IDIPv4:
		return 4, 1
	case IDIPv4Subnet, IDIPv4Range:
		return 4, 2
	case IDIPv6:
		return 16, 1
	case IDIPv6Subnet, IDIPv6Range:
		return 16, 2
	}
	return 0, 0
}

// Identification is an identification payload: who the sender is in phase 1,
// a proxy identity in phase 2 (RFC 2407 4.6.2).
type Identification struct {
	Type     IDType
	Protocol uint8  // IP protocol, 0 for any
	Port     uint16 // 0 for any
	Data     []byte
}

// IDAddress is the identity of one address.
func IDAddress(a netip.Addr) Identification {
	a = a.Unmap()
	if a.Is4() {
		return Identification{Type: IDIPv4, Data: a.AsSlice()}
	}
	return Identification{Type: IDIPv6, Data: a.AsSlice()}
}

// IDSubnet is the identity of a subnet: address and mask. A single host is
// written as a subnet with a mask of ones; see IDAddress.
func IDSubnet(p netip.Prefix) Identification {
	p = p.Masked()
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	t := IDIPv6Subnet
	if p.Addr().Is4() {
		t = IDIPv4Subnet
	}
	return Identification{Type: t, Data: append(p.Addr().AsSlice(), mask...)}
}

// ParseID reads the body of an identification payload and checks that the data
// fit the type: the length of addresses, contiguous masks, ranges that do not
// run backwards, names that are not empty, DER that is DER. The errors are
// ErrPayloadMalformed when it is too short to have a type, else ErrID.
func ParseID(body []byte) (Identification, error) {
	const where = "ID payload"
	if len(body) < 4 {
		return Identification{}, malformed(where, 0, "%d octets, expected at least 4", len(body))
	}
	d := Identification{
		Type:     IDType(body[0]),
		Protocol: body[1],
		Port:     binary.BigEndian.Uint16(body[2:]),
		Data:     body[4:],
	}
	switch d.Type {
	case IDFQDN, IDUserFQDN, IDKeyID:
		if len(d.Data) == 0 {
			return Identification{}, fail(NotifyInvalidIDInformation, where, 4, "%s is empty", d.Type)
		}
	case IDDN:
		if !isName(d.Data) {
			return Identification{}, fail(NotifyInvalidIDInformation, where, 4, "%s is not the DER of a distinguished name", d.Type)
		}
	case IDGN:
		if !isElement(d.Data) {
			return Identification{}, fail(NotifyInvalidIDInformation, where, 4, "%s is not DER", d.Type)
		}
	default:
		if _, _, err := d.Range(); err != nil {
			return Identification{}, err
		}
	}
	return d, nil
}

// isName checks Name ::= SEQUENCE OF SET OF SEQUENCE { OID, ANY } in strict
// DER, to its last octet.
func isName(b []byte) bool {
	input := cryptobyte.String(b)
	var rdns, set, pair, value cryptobyte.String
	if !input.ReadASN1(&rdns, asn1.SEQUENCE) || !input.Empty() {
		return false
	}
	for !rdns.Empty() {
		if !rdns.ReadASN1(&set, asn1.SET) || set.Empty() {
			return false
		}
		for !set.Empty() {
			var tag asn1.Tag
			if !set.ReadASN1(&pair, asn1.SEQUENCE) || !pair.SkipASN1(asn1.OBJECT_IDENTIFIER) ||
				!pair.ReadAnyASN1(&value, &tag) || !pair.Empty() {
				return false
			}
		}
	}
	return true
}

func isElement(b []byte) bool {
	input := cryptobyte.String(b)
	var value cryptobyte.String
	var tag asn1.Tag
	return input.ReadAnyASN1(&value, &tag) && input.Empty()
}

// Append writes the body of the identification payload behind b.
func (d Identification) Append(b []byte) []byte {
	b = append(b, byte(d.Type), d.Protocol)
	b = binary.BigEndian.AppendUint16(b, d.Port)
	return append(b, d.Data...)
}

// Address is the address of an ID_IPV4_ADDR or ID_IPV6_ADDR; false for another type.
func (d Identification) Address() (netip.Addr, bool) {
	if d.Type != IDIPv4 && d.Type != IDIPv6 {
		return netip.Addr{}, false
	}
	a, _, err := d.Range()
	return a, err == nil
}

// Range is the first and the last address the identity stands for. It is an
// ErrID for a type without addresses, data of the wrong length, a mask with
// holes and a range that runs backwards.
func (d Identification) Range() (first, last netip.Addr, err error) {
	const where = "ID payload"
	size, count := d.Type.size()
	if size == 0 {
		return first, last, fail(NotifyInvalidIDInformation, where, 0, "%s is no address, subnet or range", d.Type)
	}
	if len(d.Data) != size*count {
		return first, last, fail(NotifyInvalidIDInformation, where, 4, "%s has %d octets, expected %d", d.Type, len(d.Data), size*count)
	}
	first, _ = netip.AddrFromSlice(d.Data[:size])
	last, _ = netip.AddrFromSlice(d.Data[size*(count-1):])
	switch d.Type {
	case IDIPv4Subnet, IDIPv6Subnet:
		n, ok := maskBits(d.Data[size:])
		if !ok {
			return first, last, fail(NotifyInvalidIDInformation, where, 4+size, "mask %s has holes: such a subnet is no prefix", last)
		}
		p := netip.PrefixFrom(first, n).Masked()
		return p.Addr(), lastOf(p), nil
	case IDIPv4Range, IDIPv6Range:
		if last.Less(first) {
			return first, last, fail(NotifyInvalidIDInformation, where, 4, "range from %s to %s runs backwards", first, last)
		}
	}
	return first, last, nil
}

// Prefix is the identity as a prefix; a single address is one of full length.
// Beside the errors of Range, a range that is not exactly one prefix is an ErrID.
func (d Identification) Prefix() (netip.Prefix, error) {
	first, last, err := d.Range()
	if err != nil {
		return netip.Prefix{}, err
	}
	for n := first.BitLen(); n >= 0; n-- {
		p := netip.PrefixFrom(first, n)
		if p.Masked().Addr() == first && lastOf(p) == last {
			return p, nil
		}
	}
	return netip.Prefix{}, fail(NotifyInvalidIDInformation, "ID payload", 4, "range from %s to %s is not one prefix", first, last)
}

func maskBits(mask []byte) (int, bool) {
	n := 0
	for n < 8*len(mask) && mask[n/8]&(0x80>>(n%8)) != 0 {
		n++
	}
	for i := n; i < 8*len(mask); i++ {
		if mask[i/8]&(0x80>>(i%8)) != 0 {
			return 0, false
		}
	}
	return n, true
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// CheckPhase1 checks protocol and port: "During Phase I negotiations, the ID
// port and protocol fields MUST be set to zero or to UDP port 500. If an
// implementation receives any other values, this MUST be treated as an error"
// (RFC 2407 4.6.2). With NAT traversal "the port in the ID payload in Main
// Mode/Aggressive Mode MUST be set to 0" (RFC 3947 section 4), so UDP with port
// 0 is accepted, and 4500 of peers that write the port they moved to.
func (d Identification) CheckPhase1() error {
	const udp = 17
	if d.Protocol == 0 && d.Port == 0 || d.Protocol == udp && (d.Port == 0 || d.Port == 500 || d.Port == 4500) {
		return nil
	}
	return fail(NotifyInvalidIDInformation, "ID payload", 1, "protocol %d, port %d, expected 0 and 0 or UDP port 500", d.Protocol, d.Port)
}

// maxName is how many octets of a name are shown.
const maxName = 128

// String is the identity for people, safe on a terminal and in a log whatever
// the peer wrote: "198.51.100.1", "10.1.0.0/16", "10.0.0.1-10.0.0.9",
// "r1.example.org", "CN=r1,O=lab"; octets that are no text in hexadecimal. Protocol and port
// follow when given: "10.1.0.0/16 protocol 6 port 22".
func (d Identification) String() string {
	s := d.name()
	if d.Protocol != 0 || d.Port != 0 {
		s += fmt.Sprintf(" protocol %d port %d", d.Protocol, d.Port)
	}
	return s
}

func (d Identification) name() string {
	data, more := d.Data, ""
	if len(data) > maxName {
		data, more = data[:maxName], fmt.Sprintf("… (%d octets)", len(d.Data))
	}
	switch d.Type {
	case IDFQDN, IDUserFQDN:
		q := strconv.QuoteToASCII(string(data))
		return q[1:len(q)-1] + more
	}
	if d.Type == IDDN && isName(d.Data) {
		return NameText(d.Data)
	}
	if first, last, err := d.Range(); err == nil {
		switch p, err := d.Prefix(); {
		case first == last && d.Type != IDIPv4Subnet && d.Type != IDIPv6Subnet:
			return first.String()
		case err == nil:
			return p.String()
		}
		return first.String() + "-" + last.String()
	}
	return d.Type.String() + " " + hex.EncodeToString(data) + more
}

// ParseNATOA reads the body of a NAT-OA payload: the address the sender knows
// itself by (RFC 3947 5.2). Errors are ErrPayloadMalformed and ErrID.
func ParseNATOA(body []byte) (netip.Addr, error) {
	const where = "NAT-OA payload"
	if len(body) < 4 {
		return netip.Addr{}, malformed(where, 0, "%d octets, expected at least 4", len(body))
	}
	if body[1] != 0 || body[2] != 0 || body[3] != 0 {
		return netip.Addr{}, malformed(where, 1, "RESERVED is not 0")
	}
	d := Identification{Type: IDType(body[0]), Data: body[4:]}
	a, ok := d.Address()
	if !ok {
		return netip.Addr{}, fail(NotifyInvalidIDInformation, where, 0, "%s with %d octets is no address", d.Type, len(d.Data))
	}
	return a, nil
}
