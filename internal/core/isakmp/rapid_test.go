package isakmp

import (
	"bytes"
	"crypto/md5"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func anyBytes(lo, hi int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), lo, hi) }

func anyAttribute() *rapid.Generator[Attribute] {
	return rapid.Custom(func(t *rapid.T) Attribute {
		typ := rapid.Uint16Range(0, 0x7fff).Draw(t, "type")
		if rapid.Bool().Draw(t, "basic") {
			return BasicAttribute(typ, rapid.Uint16().Draw(t, "value"))
		}
		return Attribute{Type: typ, Value: anyBytes(0, 40).Draw(t, "value")}
	})
}

func anySA() *rapid.Generator[SA] {
	transform := rapid.Custom(func(t *rapid.T) Transform {
		return Transform{rapid.Byte().Draw(t, "number"), rapid.Byte().Draw(t, "id"), rapid.SliceOfN(anyAttribute(), 0, 8).Draw(t, "attributes")}
	})
	proposal := rapid.Custom(func(t *rapid.T) Proposal {
		p := Proposal{Number: rapid.Byte().Draw(t, "number"), Protocol: rapid.Byte().Draw(t, "protocol")}
		size := rapid.IntRange(0, maxSPI).Filter(func(n int) bool { return proposalSPI(p.Protocol, n) }).Draw(t, "SPI size")
		p.SPI = anyBytes(size, size).Draw(t, "SPI")
		p.Transforms = rapid.SliceOfN(transform, 1, 6).Draw(t, "transforms")
		return p
	})
	return rapid.Custom(func(t *rapid.T) SA { return NewSA(rapid.SliceOfN(proposal, 1, 5).Draw(t, "proposals")...) })
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sa := anySA().Draw(t, "SA")
		got, err := ParseSA(sa.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(sa, got, sameOctets); d != "" {
			t.Fatalf("SA (-written +read):\n%s", d)
		}
	})
}

func TestWhatIsWrittenIsReadNotifications(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := Notification{rapid.Uint32().Draw(t, "DOI"), rapid.Byte().Draw(t, "protocol"), anyBytes(0, 16).Draw(t, "SPI"),
			NotifyType(rapid.Uint16().Draw(t, "type")), anyBytes(0, 64).Draw(t, "data")}
		got, err := ParseNotification(n.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(n, got, sameOctets); d != "" {
			t.Fatalf("N (-written +read):\n%s", d)
		}
		gone := Delete{n.DOI, ProtocolESP, rapid.SliceOfN(anyBytes(4, 4), 1, 9).Draw(t, "SPIs")}
		back, err := ParseDelete(gone.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(gone, back); d != "" {
			t.Fatalf("D (-written +read):\n%s", d)
		}
	})
}

func TestWhatIsWrittenIsReadMessages(t *testing.T) {
	payload := rapid.Custom(func(t *rapid.T) Payload {
		typ := rapid.Byte().Filter(func(b byte) bool { return PayloadType(b).inMessage() }).Draw(t, "type")
		return Payload{PayloadType(typ), anyBytes(0, 30).Draw(t, "body")}
	})
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.SliceOfN(payload, 0, MaxPayloads).Draw(t, "payloads")
		h := mainMode()
		h.Exchange, h.Flags = Exchange(rapid.Byte().Draw(t, "exchange")), Flags(rapid.Byte().Draw(t, "flags"))
		h.MessageID = rapid.Uint32().Draw(t, "message ID")
		padding := rapid.IntRange(0, 15).Draw(t, "padding")
		b := message(h, padding, payloads...)
		got, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.Next, h.Length = got.Next, uint32(len(b))
		if got != h {
			t.Fatalf("header %+v, written %+v", got, h)
		}
		read, rest, err := ParsePayloads(got.Next, b[HeaderSize:])
		if err != nil || len(rest) != padding {
			t.Fatalf("rest %x, %v", rest, err)
		}
		if d := cmp.Diff(payloads, read, sameOctets); d != "" {
			t.Fatalf("payloads (-written +read):\n%s", d)
		}
	})
}

func TestVendorIDsAreTheDigestsTheyClaimToBe(t *testing.T) {
	for _, c := range []struct {
		vendor Vendor
		text   string
	}{
		{VendorUnity, "CISCO-UNITY"},
		{VendorXAUTH, "draft-ietf-ipsra-isakmp-xauth-06.txt"},
		{VendorCiscoVPN3000, "ALTIGA GATEWAY"},
		{VendorMicrosoft, "MS NT5 ISAKMPOAKLEY"},
		{VendorInitialContact, "Vid-Initial-Contact"},
		{VendorNATT, "RFC 3947"},
		{VendorNATTDraft03, "draft-ietf-ipsec-nat-t-ike-03"},
		{VendorNATTDraft02N, "draft-ietf-ipsec-nat-t-ike-02\n"},
		{VendorNATTDraft02, "draft-ietf-ipsec-nat-t-ike-02"},
		{VendorFragmentation, "FRAGMENTATION"},
		{VendorStrongSwan, "strongSwan"},
	} {
		sum := md5.Sum([]byte(c.text))
		for _, r := range vendors {
			if r.vendor == c.vendor && !bytes.HasPrefix(sum[:], r.octets()) {
				t.Errorf("%s is %s, MD5 of %q is %x", c.vendor, r.id, c.text, sum)
			}
		}
	}
	for _, c := range []struct {
		vendor Vendor
		text   string
	}{
		{VendorLibreswan, "OE-Libreswan-"},
		{VendorOpenswan, "OE"},
		{VendorCiscoDelete, "CISCO-DELETE-REASON"},
		{VendorCiscoRevision, "CISCOVPN-REV-02"},
		{VendorCiscoRoute, "CISCO-DYNAMIC-ROUTE"},
		{VendorCiscoFlexVPN, "FLEXVPN-SUPPORTED"},
	} {
		if string(c.vendor.ID()) != c.text {
			t.Errorf("%s is %q, want %q", c.vendor, c.vendor.ID(), c.text)
		}
	}
}

func TestVendorNames(t *testing.T) {
	for _, c := range []struct{ id, name string }{
		{"4a131c81070358455c5728f20e95452f", "RFC 3947 NAT-T"},
		{"4a131c81070358455c5728f20e95452f00", ""},
		{"afcad71368a1f1c96b8696fc77570100", "DPD"},
		{"12f5f28c457168a9702d9fe274cc0100", "Cisco Unity"},
		{"09002689dfd6b712", "XAUTH"},
		{"4048b7d56ebce88525e7de7f00d6c2d3", "IKE fragmentation"},
		{"4048b7d56ebce88525e7de7f00d6c2d380000000", "IKE fragmentation"},
		{"4048b7d56ebce88525e7de7f00d6c2d38000000000", ""},
		{"4048b7d56ebce88525e7de7f00d6c2", ""},
		{"12f5f28c457168a9702d9fe274cc02d4", "Cisco Unity"},
		{"12f5f28c457168a9702d9fe274cc010000", ""},
		{"4f452d4c696272657377616e2d342e3132", "libreswan"},
		{"4f4568794c4c6f4c6f4c6f4c", "Openswan"},
		{"1e2b516905991c7d7c96fcbfb587e46100000009", "Microsoft Windows"},
		{"3e984048a1b2c3d4", "Cisco IOS"},
		{"3e984048" + strings.Repeat("00", 61), ""},
		{"", ""},
	} {
		if got := VendorName(octets(t, c.id)); got != c.name {
			t.Errorf("%s is %q, want %q", c.id, got, c.name)
		}
	}
	if VendorUnknown.ID() != nil {
		t.Error("nobody's vendor ID has octets")
	}
}
