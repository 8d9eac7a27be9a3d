package isakmp

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each test is one kind of message that broke an IKE daemon or a dissector.

// CVE-2013-4564, zeek ike-zero-length.
func TestHeaderThatIsNotTheDatagram(t *testing.T) {
	good := message(mainMode(), 0, Payload{PayloadKE, make([]byte, 8)})
	for n := range HeaderSize {
		if _, err := ParseHeader(good[:n]); err == nil {
			t.Fatalf("%d octets are no header", n)
		}
	}
	for _, length := range []uint32{0, 1, 27, 28, uint32(len(good) - 1), uint32(len(good) + 1), 0x7fffffff, 0xffffffff} {
		b := slices.Clone(good)
		binary.BigEndian.PutUint32(b[24:], length)
		_, err := ParseHeader(b)
		want(t, err, ErrLength)
	}
	_, err := ParseHeader(append(slices.Clone(good), 0))
	want(t, err, ErrLength)
}

func TestVersionThatIsNotIKEv1(t *testing.T) {
	good := message(mainMode(), 0, Payload{PayloadKE, make([]byte, 8)})
	for _, c := range []struct {
		version, major uint8
		kind           error
	}{{0x00, 0, ErrVersion}, {0x20, 2, ErrVersion}, {0x30, 3, ErrVersion}, {0xff, 15, ErrVersion}, {0x11, 1, ErrMinorVersion}, {0x1f, 1, ErrMinorVersion}} {
		b := slices.Clone(good)
		b[17] = c.version
		h, err := ParseHeader(b)
		want(t, err, c.kind)
		if h.Major() != c.major {
			t.Errorf("version octet %02x: major %d, want %d", c.version, h.Major(), c.major)
		}
	}
}

// tcpdump CVE-2017-12990 and its kind: "a zero length payload is an error, not a loop".
func TestPayloadOfLengthZeroToThree(t *testing.T) {
	for n := range byte(4) {
		_, _, err := ParsePayloads(PayloadKE, []byte{byte(PayloadKE), 0, 0, n})
		want(t, err, ErrPayloadMalformed)
	}
}

// zeek ikev1-payload-bad-length, tcpdump CVE-2017-13689.
func TestPayloadLongerThanTheMessage(t *testing.T) {
	for _, b := range [][]byte{nil, {0}, {0, 0, 0}, {0, 0, 0, 5}, {0, 0, 0xff, 0xff, 1, 2, 3}} {
		_, _, err := ParsePayloads(PayloadNonce, b)
		want(t, err, ErrPayloadMalformed)
	}
}

// "The receiver SHOULD check the RESERVED fields for a zero (0) value and
// discard the packet if other values are found" (RFC 2408 section 3).
func TestReservedOctetOfAPayload(t *testing.T) {
	_, _, err := ParsePayloads(PayloadHash, octets(t, "00010008 00000000"))
	want(t, err, ErrPayloadMalformed)
}

// CVE-2015-3204b: next payload 15. CVE-2015-3991: payloads of IKEv2 in IKEv1.
func TestPayloadTypesThatAreNotOfIKEv1(t *testing.T) {
	for typ := range 256 {
		p := PayloadType(typ)
		known := p >= 1 && p <= 14 && p != PayloadProposal && p != PayloadTransform || p == PayloadNATD || p == PayloadNATOA || p >= 128
		for _, b := range [][]byte{octets(t, "00000008 01020304"), {0, 0, 0, 8, 1, 2, 3, 4}} {
			_, _, err := ParsePayloads(p, b)
			if p == PayloadNone {
				continue
			}
			if known != (err == nil) {
				t.Errorf("payload type %d: %v", typ, err)
			}
			if err != nil {
				want(t, err, ErrPayloadType)
			}
		}
		second := []byte{byte(typ), 0, 0, 4, 0, 0, 0, 4}
		if _, _, err := ParsePayloads(PayloadKE, second); p != PayloadNone && known != (err == nil) {
			t.Errorf("payload type %d as the second: %v", typ, err)
		}
	}
}

// "20 000-octet vendor IDs, 1000 payloads: cap, ignore, no quadratic work."
//
// Threat: a thousand payloads.
func TestTooManyOrTooLargePayloads(t *testing.T) {
	_, b := AppendPayloads(nil, slices.Repeat([]Payload{{PayloadVendorID, []byte{1, 2, 3}}}, MaxPayloads))
	if p, _, err := ParsePayloads(PayloadVendorID, b); err != nil || len(p) != MaxPayloads {
		t.Fatalf("%d payloads: %v", len(p), err)
	}
	_, b = AppendPayloads(nil, slices.Repeat([]Payload{{PayloadVendorID, []byte{1, 2, 3}}}, 1000))
	_, _, err := ParsePayloads(PayloadVendorID, b)
	want(t, err, ErrPayloadMalformed)
	_, b = AppendPayloads(nil, []Payload{{PayloadVendorID, make([]byte, 20000)}})
	p, _, err := ParsePayloads(PayloadVendorID, b)
	if err != nil || VendorName(p[0].Body) != "" {
		t.Errorf("a long unknown vendor ID is to be ignored: %v", err)
	}
}

// CVE-2015-3204a: all bits of DOI and situation set.
func TestDOIAndSituationOfAllOnes(t *testing.T) {
	good := octets(t, mm1)[HeaderSize+4 : HeaderSize+0x60]
	b := slices.Clone(good)
	binary.BigEndian.PutUint32(b, 0xffffffff)
	_, err := ParseSA(b)
	want(t, err, ErrDOI)
	for _, situation := range []uint32{0, 2, 3, 7, 0xffffffff} {
		b = slices.Clone(good)
		binary.BigEndian.PutUint32(b[4:], situation)
		_, err = ParseSA(b)
		want(t, err, ErrSituation)
	}
}

// "Transform/proposal count huge, nested lengths inconsistent, last-flag wrong,
// SPI size 255: reject message with bounded CPU and memory."
func TestProposalsThatDoNotAddUp(t *testing.T) {
	const head = "00000001 00000001 "
	for _, c := range []struct {
		name, body string
		kind       error
	}{
		{"no proposal", "", ErrPayloadMalformed},
		{"proposal of three octets", "00 00 0007 01 01 00", ErrProposalSyntax},
		{"no transforms", "00 00 0008 01 01 00 00", ErrProposalSyntax},
		{"transforms announced, none there", "00 00 0008 01 01 00 01", ErrPayloadMalformed},
		{"255 transforms announced, one there", "00 00 0010 01 01 00 ff 00 00 0008 01 01 0000", ErrProposalSyntax},
		{"one transform announced, two there", "00 00 0018 01 01 00 01 03 00 0008 01 01 0000 00 00 0008 02 01 0000", ErrProposalSyntax},
		{"SPI size 255", "00 00 0010 01 01 ff 01 00 00 0008 01 01 0000", ErrProposalSyntax},
		{"ISAKMP SPI of 17 octets", "00 00 0021 01 01 11 01 0000000000000000000000000000000000 00 00 0008 01 01 0000", ErrSPI},
		{"ESP without an SPI", "00 00 0010 01 03 00 01 00 00 0008 01 0c 0000", ErrSPI},
		{"ESP with an SPI of 8 octets", "00 00 0018 01 03 08 01 0000000000000000 00 00 0008 01 0c 0000", ErrSPI},
		{"more proposals said, none there", "02 00 0010 01 01 00 01 00 00 0008 01 01 0000", ErrProposalSyntax},
		{"last proposal, another follows", "00 00 0010 01 01 00 01 00 00 0008 01 01 0000 00 00 0010 02 01 00 01 00 00 0008 01 01 0000", ErrProposalSyntax},
		{"a transform where a proposal has to stand", "03 00 0010 01 01 00 01 00 00 0008 01 01 0000 00 00 0010 02 01 00 01 00 00 0008 01 01 0000", ErrProposalSyntax},
		{"more transforms said, none there", "00 00 0010 01 01 00 01 03 00 0008 01 01 0000", ErrProposalSyntax},
		{"last transform, another follows", "00 00 0018 01 01 00 02 00 00 0008 01 01 0000 00 00 0008 02 01 0000", ErrProposalSyntax},
		{"transform longer than its proposal", "00 00 0010 01 01 00 01 00 00 0009 01 01 0000", ErrPayloadMalformed},
		{"proposal longer than the SA", "00 00 0011 01 01 00 01 00 00 0008 01 01 0000", ErrPayloadMalformed},
		{"transform of three octets", "00 00 000f 01 01 00 01 00 00 0007 01 01 00", ErrProposalSyntax},
		{"RESERVED of a proposal", "00 01 0010 01 01 00 01 00 00 0008 01 01 0000", ErrPayloadMalformed},
		{"RESERVED of a transform", "00 00 0010 01 01 00 01 00 01 0008 01 01 0000", ErrPayloadMalformed},
		{"RESERVED2 of a transform", "00 00 0010 01 01 00 01 00 00 0008 01 01 0001", ErrProposalSyntax},
		{"attribute of three octets", "00 00 0013 01 01 00 01 00 00 000b 01 01 0000 800100", ErrPayloadMalformed},
		{"attribute past the end", "00 00 0014 01 01 00 01 00 00 000c 01 01 0000 000c0001", ErrPayloadMalformed},
		{"attribute of 65535 octets past the end", "00 00 0014 01 01 00 01 00 00 000c 01 01 0000 000cffff", ErrPayloadMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSA(octets(t, head+c.body))
			want(t, err, c.kind)
		})
	}
}

// suricata ikev1-duplicate-proposals: "pick one; bounded work".
func TestRepeatedProposalsAreKeptUpToTheBounds(t *testing.T) {
	one := Transform{1, KeyIKE, []Attribute{BasicAttribute(Phase1Encryption, 7)}}
	proposal := func(n int) Proposal {
		return Proposal{Number: 1, Protocol: ProtocolISAKMP, Transforms: slices.Repeat([]Transform{one}, n)}
	}
	for _, c := range []struct {
		proposals, transforms int
		ok                    bool
	}{{1, 255, true}, {MaxProposals, 1, true}, {MaxProposals, MaxTransforms / MaxProposals, true}, {MaxProposals + 1, 1, false}, {3, 200, false}, {MaxProposals, 255, false}} {
		body := NewSA(slices.Repeat([]Proposal{proposal(c.transforms)}, c.proposals)...).Append(nil)
		sa, err := ParseSA(body)
		if !c.ok {
			want(t, err, ErrProposalSyntax)
			continue
		}
		if err != nil || len(sa.Proposals) != c.proposals || len(sa.Proposals[0].Transforms) != c.transforms {
			t.Errorf("%d proposals of %d transforms: %v", c.proposals, c.transforms, err)
		}
	}
}

// "Attribute both TV and TLV, duplicated key length, key length 0 / 7 / 65535,
// missing key length: proposal not chosen; other proposals still considered":
// the codec keeps them all.
//
// Threat: key length twice.
func TestOddKeyLengthsAreKeptForTheChooser(t *testing.T) {
	odd := []Attribute{
		BasicAttribute(Phase1KeyLength, 0), BasicAttribute(Phase1KeyLength, 7), BasicAttribute(Phase1KeyLength, 65535),
		LongAttribute(Phase1KeyLength, 128), {Type: Phase1KeyLength}, {Type: 0x7fff, Value: make([]byte, 65000)},
	}
	got, err := ParseAttributes(AppendAttributes(nil, odd))
	if err != nil || len(got) != len(odd) {
		t.Fatalf("%d attributes, %v", len(got), err)
	}
	a, ok := Transform{Attributes: got}.Find(Phase1KeyLength)
	if n, has := a.Uint(); !ok || !has || n != 0 || !a.Basic {
		t.Errorf("the first key length is %v, want 0 in the short form", a)
	}
	if _, ok := (Transform{}).Find(Phase1KeyLength); ok {
		t.Error("found a key length where there is none")
	}
	_, err = ParseAttributes(AppendAttributes(nil, slices.Repeat(odd[:1], MaxAttributes+1)))
	want(t, err, ErrPayloadMalformed)
}

// "FQDN with NUL, newline, terminal escapes; DER DN not DER; empty ID; ID
// shorter than type, subnet ID too short."
func TestIdentitiesThatDoNotFitTheirType(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       error
	}{
		{"nothing", "", ErrPayloadMalformed},
		{"shorter than its type", "010000", ErrPayloadMalformed},
		{"reserved type", "00000000 01020304", ErrID},
		{"unknown type", "0c000000 01020304", ErrID},
		{"empty address", "01000000", ErrID},
		{"address of three octets", "01000000 010203", ErrID},
		{"address of five octets", "01000000 0102030405", ErrID},
		{"IPv6 address of four octets", "05000000 01020304", ErrID},
		{"subnet without a mask", "04000000 0a000000", ErrID},
		{"subnet of seven octets", "04000000 0a000000 ffffff", ErrID},
		{"mask with holes", "04000000 0a000000 ff00ff00", ErrID},
		{"wildcard for a mask", "04000000 0a000000 000000ff", ErrID},
		{"IPv6 mask with holes", "06000000 20010db8000000000000000000000000 ffffffff000000010000000000000000", ErrID},
		{"range backwards", "07000000 0a000009 0a000001", ErrID},
		{"IPv6 range too short", "08000000 20010db8000000000000000000000000", ErrID},
		{"empty name", "02000000", ErrID},
		{"empty user name", "03000000", ErrID},
		{"empty key ID", "0b000000", ErrID},
		{"empty distinguished name", "09000000", ErrID},
		{"text for a distinguished name", "09000000 434e3d7231", ErrID},
		{"octets behind the distinguished name", "09000000 3000 00", ErrID},
		{"indefinite length", "09000000 3080 0000", ErrID},
		{"distinguished name without a value", "09000000 3009 3107 3005 0603550403", ErrID},
		{"empty general name", "0a000000", ErrID},
		{"general name cut short", "0a000000 8205 7231", ErrID},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseID(octets(t, c.body))
			want(t, err, c.kind)
		})
	}
}

func TestIdentitiesOfEveryType(t *testing.T) {
	for _, c := range []struct{ body, text, first, last string }{
		{"01000000 c6336401", "198.51.100.1", "198.51.100.1", "198.51.100.1"},
		{"04000000 0a0a0a00 ffffff00", "10.10.10.0/24", "10.10.10.0", "10.10.10.255"},
		{"04000000 0a0a0a07 ffffff00", "10.10.10.0/24", "10.10.10.0", "10.10.10.255"},
		{"04000000 0a0a0a07 ffffffff", "10.10.10.7/32", "10.10.10.7", "10.10.10.7"},
		{"04000000 00000000 00000000", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
		{"04060016 0a0a0a00 ffffff00", "10.10.10.0/24 protocol 6 port 22", "10.10.10.0", "10.10.10.255"},
		{"05000000 20010db8000000000000000000000001", "2001:db8::1", "2001:db8::1", "2001:db8::1"},
		{"06000000 20010db8000000000000000000000000 ffffffff000000000000000000000000", "2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"07000000 0a000000 0a0000ff", "10.0.0.0/24", "10.0.0.0", "10.0.0.255"},
		{"07000000 0a000001 0a000009", "10.0.0.1-10.0.0.9", "10.0.0.1", "10.0.0.9"},
		{"08000000 20010db8000000000000000000000000 20010db8000000000000000000000001", "2001:db8::/127", "2001:db8::", "2001:db8::1"},
		{"02000000 72312e6578616d706c65", "r1.example", "", ""},
		{"09000000 300d 310b 3009 0603550403 13027231", "CN=r1", "", ""},
		{"0a000000 8202 7231", "ID_DER_ASN1_GN 82027231", "", ""},
		{"0b000000 00ff", "ID_KEY_ID 00ff", "", ""},
	} {
		d, err := ParseID(octets(t, c.body))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if d.String() != c.text {
			t.Errorf("got %q, want %q", d, c.text)
		}
		first, last, err := d.Range()
		if c.first == "" {
			want(t, err, ErrID)
			continue
		}
		if err != nil || first.String() != c.first || last.String() != c.last {
			t.Errorf("%s: %s to %s, %v", c.text, first, last, err)
		}
	}
	range9, err := ParseID(octets(t, "07000000 0a000001 0a000009"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = range9.Prefix()
	want(t, err, ErrID)
}

func TestIdentitiesWeSend(t *testing.T) {
	for _, text := range []string{"0.0.0.0/0", "10.10.10.0/24", "10.10.10.8/29", "192.0.2.1/32", "2001:db8::/33", "::/0"} {
		p := netip.MustParsePrefix(text)
		d, err := ParseID(IDSubnet(p).Append(nil))
		if got, err2 := d.Prefix(); err != nil || err2 != nil || got != p {
			t.Errorf("%s came back as %s: %v, %v", p, got, err, err2)
		}
	}
	for _, text := range []string{"198.51.100.1", "2001:db8::1", "::ffff:192.0.2.1"} {
		a := netip.MustParseAddr(text)
		d, err := ParseID(IDAddress(a).Append(nil))
		if got, ok := d.Address(); err != nil || !ok || got != a.Unmap() {
			t.Errorf("%s came back as %s: %v", a, got, err)
		}
	}
}

// Threat: hostile names.
// Threat: CVE-2013-2052.
func TestHostileNamesAreEscaped(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"r1\x00.example", `r1\x00.example`},
		{"r1\nisakmp: QM_IDLE", `r1\nisakmp: QM_IDLE`},
		{"\x1b[2J\x1b]0;x\x07", `\x1b[2J\x1b]0;x\a`},
		{"\u202egnp", `\u202egnp`},
		{"\xff\xfe", `\xff\xfe`},
		{"\u009b31m", `\u009b31m`},
	} {
		d, err := ParseID(append([]byte{byte(IDFQDN), 0, 0, 0}, c.name...))
		if err != nil || d.String() != c.want {
			t.Errorf("got %q, %v, want %q", d.String(), err, c.want)
		}
	}
	long := Identification{Type: IDFQDN, Data: []byte(strings.Repeat("a", 60000))}.String()
	if len(long) > 2*maxName || !strings.HasSuffix(long, "… (60000 octets)") {
		t.Errorf("a name of 60000 octets prints as %d: %.40s", len(long), long)
	}
}

// "During Phase I negotiations, the ID port and protocol fields MUST be set to
// zero or to UDP port 500" (RFC 2407 4.6.2).
func TestProtocolAndPortOfPhase1Identity(t *testing.T) {
	for _, c := range []struct {
		protocol uint8
		port     uint16
		ok       bool
	}{{0, 0, true}, {17, 500, true}, {17, 0, true}, {17, 4500, true}, {0, 500, false}, {6, 500, false}, {17, 501, false}} {
		err := Identification{Type: IDIPv4, Protocol: c.protocol, Port: c.port}.CheckPhase1()
		if (err == nil) != c.ok {
			t.Errorf("protocol %d port %d: %v", c.protocol, c.port, err)
		}
	}
}

// tcpdump CVE-2018-14469: "notify SPI past end".
func TestNotificationsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       error
	}{
		{"nothing", "", ErrPayloadMalformed},
		{"seven octets", "00000001 01 00 00", ErrPayloadMalformed},
		{"SPI past the end", "00000001 01 10 6002 0102030405060708", ErrPayloadMalformed},
		{"SPI of 255 octets past the end", "00000001 01 ff 6002", ErrPayloadMalformed},
		{"SPI of 17 octets", "00000001 01 11 6002 0102030405060708090a0b0c0d0e0f1011", ErrSPI},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseNotification(octets(t, c.body))
			want(t, err, c.kind)
		})
	}
	n, err := ParseNotification(octets(t, "00000001 03 04 000e c0ffee01 0a0b"))
	if err != nil || n.Type != NotifyNoProposalChosen || n.Protocol != ProtocolESP || len(n.SPI) != 4 || len(n.Data) != 2 {
		t.Errorf("%+v, %v", n, err)
	}
}

// Threat: CVE-2004-0218.
func TestDeletesThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       error
	}{
		{"nothing", "", ErrPayloadMalformed},
		{"no SPIs", "00000001 03 04 0000", ErrPayloadMalformed},
		{"65535 SPIs said, one there", "00000001 03 04 ffff 01020304", ErrPayloadMalformed},
		{"65535 SPIs of no octets", "00000001 03 00 ffff", ErrSPI},
		{"65535 SPIs of no octets for an unknown protocol", "00000001 09 00 ffff", ErrSPI},
		{"one SPI said, two there", "00000001 03 04 0001 01020304 05060708", ErrPayloadMalformed},
		{"ESP SPI of 16 octets", "00000001 03 10 0001 000102030405060708090a0b0c0d0e0f", ErrSPI},
		{"ISAKMP SPI of four octets", "00000001 01 04 0001 01020304", ErrSPI},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseDelete(octets(t, c.body))
			want(t, err, c.kind)
		})
	}
	d, err := ParseDelete(octets(t, "00000001 03 04 0002 01020304 05060708"))
	if err != nil || len(d.SPIs) != 2 || d.SPIs[1][0] != 5 {
		t.Errorf("%+v, %v", d, err)
	}
}

// "Nonce shorter than 8/16 or longer than 256 octets: reject."
//
// Threat: nonce of the wrong length.
func TestNonceOfTheWrongLength(t *testing.T) {
	for _, n := range []int{0, 7, 257, 60000} {
		want(t, CheckNonce(make([]byte, n)), ErrPayloadMalformed)
	}
	for _, n := range []int{8, 16, 256} {
		if err := CheckNonce(make([]byte, n)); err != nil {
			t.Error(err)
		}
	}
}

func TestOriginalAddressOfNAT(t *testing.T) {
	if a, err := ParseNATOA(octets(t, "01000000 0a0a0a0a")); err != nil || a.String() != "10.10.10.10" {
		t.Errorf("%s, %v", a, err)
	}
	for _, c := range []struct {
		body string
		kind error
	}{{"01", ErrPayloadMalformed}, {"01000001 0a0a0a0a", ErrPayloadMalformed}, {"01000000 0a0a0a", ErrID}, {"02000000 0a0a0a0a", ErrID}, {"04000000 0a0a0a0a ffffffff", ErrID}} {
		_, err := ParseNATOA(octets(t, c.body))
		want(t, err, c.kind)
	}
}

// Work is linear in what was received: 64 KB of the densest nesting takes no
// more than a moment and little more memory than it has.
func TestTheDensestMessageIsCheap(t *testing.T) {
	one := Transform{Number: 1, ID: KeyIKE}
	dense := NewSA(slices.Repeat([]Proposal{{Number: 1, Protocol: ProtocolISAKMP, Transforms: slices.Repeat([]Transform{one}, 255)}}, 31)...).Append(nil)
	tiny := slices.Repeat([]byte{byte(PayloadVendorID), 0, 0, 4}, 16000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range 100 {
		_, err := ParseSA(dense)
		want(t, err, ErrProposalSyntax)
		_, _, err = ParsePayloads(PayloadVendorID, tiny)
		want(t, err, ErrPayloadMalformed)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 1<<20 {
		t.Errorf("%d octets allocated for one message", each)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("100 messages took %s", d)
	}
}
