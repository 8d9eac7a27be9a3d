package isakmp

import (
	"encoding/hex"
	"strings"
)

// Vendor is a well-known vendor ID. What it stands for is proven by a test
// where it is a digest of a public text.
type Vendor uint8

// The vendor IDs this product knows.
const (
	VendorUnknown        Vendor = iota
	VendorNATT                  // RFC 3947, MD5("RFC 3947")
	VendorNATTDraft03           // MD5("draft-ietf-ipsec-nat-t-ike-03")
	VendorNATTDraft02N          // MD5("draft-ietf-ipsec-nat-t-ike-02\n"), the one in use
	VendorNATTDraft02           // MD5("draft-ietf-ipsec-nat-t-ike-02")
	VendorDPD                   // RFC 3706 section 5.1, version 1.0
	VendorUnity                 // MD5("CISCO-UNITY") with version 1.0 in its last two octets
	VendorXAUTH                 // of MD5("draft-ietf-ipsra-isakmp-xauth-06.txt"), eight octets
	VendorFragmentation         // MD5("FRAGMENTATION"), capability octets may follow
	VendorStrongSwan            // MD5("strongSwan")
	VendorLibreswan             // the text "OE-Libreswan-" and a version
	VendorOpenswan              // "OE" and ten letters
	VendorCiscoIOS              // four octets, more follow
	VendorCiscoVPN3000          // of MD5("ALTIGA GATEWAY"), a version follows
	VendorCiscoDelete           // the text "CISCO-DELETE-REASON"
	VendorCiscoRevision         // the text "CISCOVPN-REV-02"
	VendorCiscoRoute            // the text "CISCO-DYNAMIC-ROUTE"
	VendorCiscoFlexVPN          // the text "FLEXVPN-SUPPORTED"
	VendorMicrosoft             // MD5("MS NT5 ISAKMPOAKLEY"), a version follows
	VendorInitialContact        // MD5("Vid-Initial-Contact"), of Microsoft
)

type vendorRow struct {
	vendor Vendor
	name   string
	id     string // hexadecimal
	more   int    // so many octets may follow: capabilities, a version
}

var vendors = [...]vendorRow{
	{VendorNATT, "RFC 3947 NAT-T", "4a131c81070358455c5728f20e95452f", 0},
	{VendorNATTDraft03, "NAT-T draft 03", "7d9419a65310ca6f2c179d9215529d56", 0},
	{VendorNATTDraft02N, "NAT-T draft 02", "90cb80913ebb696e086381b5ec427b1f", 0},
	{VendorNATTDraft02, "NAT-T draft 02", "cd60464335df21f87cfdb2fc68b6a448", 0},
	{VendorDPD, "DPD", "afcad71368a1f1c96b8696fc77570100", 0},
	{VendorUnity, "Cisco Unity", "12f5f28c457168a9702d9fe274cc", 2},
	{VendorXAUTH, "XAUTH", "09002689dfd6b712", 0},
	{VendorFragmentation, "IKE fragmentation", "4048b7d56ebce88525e7de7f00d6c2d3", 4},
	{VendorStrongSwan, "strongSwan", "882fe56d6fd20dbc2251613b2ebe5beb", 0},
	{VendorLibreswan, "libreswan", "4f452d4c696272657377616e2d", 48},
	{VendorOpenswan, "Openswan", "4f45", 10},
	{VendorCiscoIOS, "Cisco IOS", "3e984048", 60},
	{VendorCiscoVPN3000, "Cisco VPN 3000", "1f07f70eaa6514d3b0fa96542a50", 2},
	{VendorCiscoDelete, "Cisco delete reason", "434953434f2d44454c4554452d524541534f4e", 0},
	{VendorCiscoRevision, "Cisco VPN revision 2", "434953434f56504e2d5245562d3032", 0},
	{VendorCiscoRoute, "Cisco dynamic route", "434953434f2d44594e414d49432d524f555445", 0},
	{VendorCiscoFlexVPN, "Cisco FlexVPN", "464c455856504e2d535550504f52544544", 0},
	{VendorMicrosoft, "Microsoft Windows", "1e2b516905991c7d7c96fcbfb587e461", 4},
	{VendorInitialContact, "Microsoft initial contact", "26244d38eddb61b3172a36e3d0cfb819", 0},
}

// maxVendor is the length of the longest vendor ID that is recognised.
const maxVendor = 64

// VendorOf recognises the body of a VID payload; VendorUnknown for all others.
func VendorOf(body []byte) Vendor {
	if len(body) > maxVendor {
		return VendorUnknown
	}
	h := hex.EncodeToString(body)
	for _, r := range vendors {
		if strings.HasPrefix(h, r.id) && len(h) <= len(r.id)+2*r.more {
			return r.vendor
		}
	}
	return VendorUnknown
}

// VendorName names the body of a VID payload for people: "DPD"; "" when it is
// not known. Nothing of the body itself is in it.
func VendorName(body []byte) string { return VendorOf(body).String() }

// ID is the body of the VID payload as we send it; nil for VendorUnknown.
func (v Vendor) ID() []byte {
	for _, r := range vendors {
		if r.vendor != v {
			continue
		}
		id := r.octets()
		switch v {
		case VendorUnity:
			id = append(id, 1, 0)
		case VendorFragmentation:
			// As other implementations do: the top bit stands for main and
			// aggressive mode.
			id = append(id, 0x80, 0, 0, 0)
		}
		return id
	}
	return nil
}

func (v Vendor) String() string {
	for _, r := range vendors {
		if r.vendor == v {
			return r.name
		}
	}
	return ""
}

func (r vendorRow) octets() []byte {
	b, err := hex.DecodeString(r.id)
	if err != nil {
		panic("isakmp: vendor table: " + err.Error())
	}
	return b
}
