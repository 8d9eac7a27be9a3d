package isakmp

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// octets turns hexadecimal with blanks into octets.
func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// message is a whole datagram of these payloads.
func message(h Header, padding int, payloads ...Payload) []byte {
	var body []byte
	h.Next, body = AppendPayloads(nil, payloads)
	b := append(h.Append(nil), body...)
	b = append(b, make([]byte, padding)...)
	SetLength(b)
	return b
}

func mainMode() Header {
	return Header{
		InitiatorCookie: Cookie{1, 2, 3, 4, 5, 6, 7, 8},
		ResponderCookie: Cookie{9, 10, 11, 12, 13, 14, 15, 16},
		Version:         Version1,
		Exchange:        ExchangeMain,
	}
}

// want fails unless err becomes that notification, and says where and what.
func want(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	var e *Error
	if !errors.As(err, &e) || e.Where == "" || e.Detail == "" {
		t.Fatalf("%#v does not say where and what was expected", err)
	}
}

var sameOctets = cmpopts.EquateEmpty()

// The first message of main mode, by hand after RFC 2408 3.1, 3.4 to 3.6 and
// RFC 2409 appendix A: one proposal, two transforms, and the vendor ID of RFC 3947.
const mm1 = `
	a1a2a3a4a5a6a7a8 0000000000000000 01 10 02 00 00000000 00000090
	0d 00 0060 00000001 00000001
	00 00 0054 01 01 00 02
	   03 00 0028 01 01 0000 80010007 800e0100 80020004 8004000e 80030001 800b0001 000c0004 00015180
	   00 00 0024 02 01 0000 80010007 800e0080 80020002 8004000e 80030001 800b0001 800c7080
	00 00 0014 4a131c81070358455c5728f20e95452f`

func TestFirstMessageOfMainMode(t *testing.T) {
	b := octets(t, mm1)
	h, err := ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	wantHeader := Header{InitiatorCookie: Cookie(octets(t, "a1a2a3a4a5a6a7a8")), Next: PayloadSA, Version: Version1, Exchange: ExchangeMain, Length: 144}
	if h != wantHeader {
		t.Errorf("header %+v, want %+v", h, wantHeader)
	}
	if !h.ResponderCookie.IsZero() || h.InitiatorCookie.String() != "a1a2a3a4a5a6a7a8" || h.Encrypted() {
		t.Errorf("cookies %s and %s, encrypted %v", h.InitiatorCookie, h.ResponderCookie, h.Encrypted())
	}
	payloads, rest, err := ParsePayloads(h.Next, b[HeaderSize:])
	if err != nil || len(rest) != 0 || len(payloads) != 2 {
		t.Fatalf("%d payloads, rest %x, %v", len(payloads), rest, err)
	}
	if payloads[1].Type != PayloadVendorID || VendorOf(payloads[1].Body) != VendorNATT {
		t.Errorf("second payload %s %q, want the vendor ID of RFC 3947", payloads[1].Type, VendorName(payloads[1].Body))
	}
	sa, err := ParseSA(payloads[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	built := NewSA(Proposal{Number: 1, Protocol: ProtocolISAKMP, Transforms: []Transform{
		{1, KeyIKE, []Attribute{
			BasicAttribute(Phase1Encryption, 7), BasicAttribute(Phase1KeyLength, 256), BasicAttribute(Phase1Hash, 4),
			BasicAttribute(Phase1Group, 14), BasicAttribute(Phase1Auth, 1),
			BasicAttribute(Phase1LifeType, LifeSeconds), DurationAttribute(Phase1LifeDuration, 86400)}},
		{2, KeyIKE, []Attribute{
			BasicAttribute(Phase1Encryption, 7), BasicAttribute(Phase1KeyLength, 128), BasicAttribute(Phase1Hash, 2),
			BasicAttribute(Phase1Group, 14), BasicAttribute(Phase1Auth, 1),
			BasicAttribute(Phase1LifeType, LifeSeconds), DurationAttribute(Phase1LifeDuration, 28800)}},
	}})
	if d := cmp.Diff(built, sa, sameOctets); d != "" {
		t.Errorf("SA (-want +got):\n%s", d)
	}
	again := message(h, 0, Payload{PayloadSA, built.Append(nil)}, Payload{PayloadVendorID, VendorNATT.ID()})
	if d := cmp.Diff(b, again); d != "" {
		t.Errorf("built again (-want +got):\n%s", d)
	}
}

// "HDR, KE, Ni, NAT-D, NAT-D" (RFC 3947 3.2): messages 3 and 4.
func TestKeyExchangeMessageOfMainMode(t *testing.T) {
	sent := []Payload{
		{PayloadKE, make([]byte, 256)}, {PayloadNonce, make([]byte, 32)},
		{PayloadNATD, make([]byte, 20)}, {PayloadNATD, slices.Repeat([]byte{1}, 20)},
	}
	b := message(mainMode(), 0, sent...)
	h, err := ParseHeader(b)
	if err != nil || h.Length != 28+260+36+24+24 {
		t.Fatalf("length %d, %v", h.Length, err)
	}
	got, rest, err := ParsePayloads(h.Next, b[HeaderSize:])
	if err != nil || len(rest) != 0 {
		t.Fatalf("rest %x, %v", rest, err)
	}
	if d := cmp.Diff(sent, got); d != "" {
		t.Errorf("payloads (-sent +got):\n%s", d)
	}
	if err := CheckNonce(got[1].Body); err != nil {
		t.Error(err)
	}
}

// "HDR*, IDii, HASH_I" after decryption (RFC 2409 5.4): messages 5 and 6. The
// cipher's padding is the rest.
func TestIdentityMessageOfMainModeAfterDecryption(t *testing.T) {
	plain := octets(t, `
		08 00 000c 01 11 01f4 c6336401
		0b 00 0018 000102030405060708090a0b0c0d0e0f10111213
		00 00 001c 00000001 01 10 6002 a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b8
		00000000`)
	got, rest, err := ParsePayloads(PayloadID, plain)
	if err != nil || len(got) != 3 || len(rest) != 4 {
		t.Fatalf("%d payloads, rest %x, %v", len(got), rest, err)
	}
	id, err := ParseID(got[0].Body)
	if err != nil || id.CheckPhase1() != nil {
		t.Fatal(err, id.CheckPhase1())
	}
	if a, ok := id.Address(); !ok || a.String() != "198.51.100.1" || id.String() != "198.51.100.1 protocol 17 port 500" {
		t.Errorf("identity %q", id)
	}
	n, err := ParseNotification(got[2].Body)
	if err != nil || n.Type != NotifyInitialContact || n.DOI != DOIIPsec || n.Protocol != ProtocolISAKMP || len(n.SPI) != 16 || len(n.Data) != 0 {
		t.Errorf("%+v, %v, want INITIAL-CONTACT for both cookies (RFC 2407 4.6.3.3)", n, err)
	}
}

// "HDR*, HASH(1), SA, Ni, [, KE ] [, IDci, IDcr ]" (RFC 2409 5.5) after decryption.
func TestFirstMessageOfQuickMode(t *testing.T) {
	sa := NewSA(Proposal{Number: 1, Protocol: ProtocolESP, SPI: octets(t, "c0ffee01"), Transforms: []Transform{
		{1, 12, []Attribute{
			BasicAttribute(Phase2LifeType, LifeSeconds), DurationAttribute(Phase2LifeDuration, 3600),
			BasicAttribute(Phase2LifeType, LifeKilobytes), DurationAttribute(Phase2LifeDuration, 4608000),
			BasicAttribute(Phase2Encapsulation, EncapTunnel), BasicAttribute(Phase2Auth, 5), BasicAttribute(Phase2KeyLength, 256)}}}})
	wantSA := `00000001 00000001
		00 00 0034 01 03 04 01 c0ffee01
		00 00 0028 01 0c 0000 80010001 80020e10 80010002 00020004 00465000 80040001 80050005 80060100`
	if d := cmp.Diff(octets(t, wantSA), sa.Append(nil)); d != "" {
		t.Fatalf("SA payload (-want +got):\n%s", d)
	}
	first, b := AppendPayloads(nil, []Payload{
		{PayloadHash, make([]byte, 32)}, {PayloadSA, sa.Append(nil)}, {PayloadNonce, make([]byte, 20)},
		{PayloadID, octets(t, "04000000 0a0a0a00 ffffff00")}, {PayloadID, octets(t, "04000000 0a141400 ffffff00")}})
	got, _, err := ParsePayloads(first, b)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseSA(got[1].Body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sa, back); d != "" {
		t.Errorf("SA (-sent +got):\n%s", d)
	}
	for i, wantID := range []string{"10.10.10.0/24", "10.20.20.0/24"} {
		id, err := ParseID(got[3+i].Body)
		if err != nil || id.String() != wantID {
			t.Errorf("proxy identity %q, %v, want %s", id, err, wantID)
		}
	}
}

// The example of RFC 2407 4.5.2: "a four entry attribute list that specifies an
// SA Lifetime of either 100MB or 24 hours".
func TestLifetimeAttributesOfRFC2407(t *testing.T) {
	b := octets(t, "80010001 00020004 00015180 80010002 00020004 000186a0")
	got, err := ParseAttributes(b)
	if err != nil {
		t.Fatal(err)
	}
	built := []Attribute{
		BasicAttribute(Phase2LifeType, LifeSeconds), LongAttribute(Phase2LifeDuration, 86400),
		BasicAttribute(Phase2LifeType, LifeKilobytes), LongAttribute(Phase2LifeDuration, 100000),
	}
	if d := cmp.Diff(built, got); d != "" {
		t.Errorf("attributes (-want +got):\n%s", d)
	}
	if d := cmp.Diff(b, AppendAttributes(nil, built)); d != "" {
		t.Errorf("octets (-want +got):\n%s", d)
	}
}

func TestAttributeAsNumber(t *testing.T) {
	for _, c := range []struct {
		value string
		n     uint64
		ok    bool
	}{{"", 0, false}, {"07", 7, true}, {"000e", 14, true}, {"015180", 86400, true}, {"ffffffffffffffff", 1<<64 - 1, true}, {"000000000000000001", 0, false}} {
		if n, ok := (Attribute{Value: octets(t, c.value)}).Uint(); n != c.n || ok != c.ok {
			t.Errorf("%q is %d, %v; want %d, %v", c.value, n, ok, c.n, c.ok)
		}
	}
}

// "No strict prefix of a message may parse."
func TestNoStrictPrefixParses(t *testing.T) {
	b := octets(t, mm1)
	for n := range b {
		if h, err := ParseHeader(b[:n]); err == nil {
			t.Fatalf("header of the first %d of %d octets parsed: %+v", n, len(b), h)
		}
		if n >= HeaderSize {
			if p, _, err := ParsePayloads(PayloadSA, b[HeaderSize:n]); err == nil {
				t.Fatalf("payloads of the first %d of %d octets parsed: %v", n, len(b), p)
			}
		}
	}
	sa := octets(t, mm1)[HeaderSize+4 : HeaderSize+0x60]
	id := octets(t, "04000000 0a0a0a00 ffffff00")
	del := Delete{DOIIPsec, ProtocolESP, [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}}.Append(nil)
	for _, c := range []struct {
		name  string
		body  []byte
		parse func([]byte) error
	}{
		{"SA", sa, func(b []byte) error { _, err := ParseSA(b); return err }},
		{"ID", id, func(b []byte) error { _, err := ParseID(b); return err }},
		{"D", del, func(b []byte) error { _, err := ParseDelete(b); return err }},
	} {
		if err := c.parse(c.body); err != nil {
			t.Fatalf("whole %s: %v", c.name, err)
		}
		for n := range c.body {
			if c.parse(c.body[:n]) == nil {
				t.Errorf("the first %d of %d octets of %s parsed", n, len(c.body), c.name)
			}
		}
	}
}

func TestEveryNumberHasItsRFCWord(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{NotifyInvalidPayloadType.String(), "INVALID-PAYLOAD-TYPE"},
		{NotifyNoProposalChosen.String(), "NO-PROPOSAL-CHOSEN"},
		{NotifyPayloadMalformed.String(), "PAYLOAD-MALFORMED"},
		{NotifyInvalidIDInformation.String(), "INVALID-ID-INFORMATION"},
		{NotifyAuthenticationFailed.String(), "AUTHENTICATION-FAILED"},
		{NotifyUnequalPayloadLengths.String(), "UNEQUAL-PAYLOAD-LENGTHS"},
		{NotifyType(24576).String(), "RESPONDER-LIFETIME"},
		{NotifyType(24577).String(), "REPLAY-STATUS"},
		{NotifyType(24578).String(), "INITIAL-CONTACT"},
		{NotifyType(36136).String(), "R-U-THERE"},
		{NotifyType(36137).String(), "R-U-THERE-ACK"},
		{NotifyConnected.String(), "CONNECTED"},
		{NotifyType(0).String(), "notify(0)"},
		{NotifyType(31).String(), "notify(31)"},
		{NotifyType(40961).String(), "notify(40961)"},
		{PayloadNATD.String(), "NAT-D"}, {PayloadAttributes.String(), "ATTR"}, {PayloadType(99).String(), "payload(99)"},
		{ExchangeMain.String(), "main"}, {ExchangeQuick.String(), "quick"}, {Exchange(34).String(), "exchange(34)"},
		{(FlagEncryption | FlagCommit).String(), "encryption+commit"}, {Flags(0).String(), "none"}, {Flags(0x81).String(), "encryption+flags(0x80)"},
		{ProtocolName(ProtocolESP), "ESP"}, {ProtocolName(9), "protocol(9)"},
		{Phase1AttributeName(Phase1KeyLength), "Key Length"}, {Phase1AttributeName(Phase1GroupOrder), "Group Order"}, {Phase1AttributeName(99), "attribute(99)"},
		{Phase2AttributeName(Phase2Encapsulation), "Encapsulation Mode"}, {Phase2AttributeName(Phase2ESN), "Extended Sequence Number"}, {Phase2AttributeName(0), "attribute(0)"},
		{IDIPv4Subnet.String(), "ID_IPV4_ADDR_SUBNET"}, {IDType(12).String(), "ID(12)"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if !NotifyNoProposalChosen.IsError() || NotifyInitialContact.IsError() || NotifyRUThere.IsError() {
		t.Error("errors are 1 to 16383 (RFC 2408 3.14.1)")
	}
}

func TestErrorIsForPeople(t *testing.T) {
	_, _, err := ParsePayloads(PayloadKE, octets(t, "0a000003"))
	if got, want := err.Error(), "KE payload at octet 2: length 3, expected 4 to 4 (PAYLOAD-MALFORMED)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
