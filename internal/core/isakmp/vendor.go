package isakmp

import (
	"bytes"
	"encoding/hex"
)

// Vendor is a well-known vendor ID. What it stands for is proven by a test
// where it is a digest of a public text.
type Vendor uint8

// The vendor IDs this product knows.
const (
	VendorUnknown       Vendor = iota
	VendorNATT                 // RFC 3947, MD5("RFC 3947")
	VendorNATTDraft03          // MD5("draft-ietf-ipsec-nat-t-ike-03")
	VendorNATTDraft02N         // MD5("draft-ietf-ipsec-nat-t-ike-02\n"), the one in use
	VendorNATTDraft02          // MD5("draft-ietf-ipsec-nat-t-ike-02")
	VendorDPD                  // RFC 3706 section 5.1, version 1.0
	VendorUnity                // Cisco Unity, version 1.0
	VendorXAUTH                // draft-ietf-ipsra-isakmp-xauth-06
	VendorFragmentation        // MD5("FRAGMENTATION"), capability octets may follow
	VendorStrongSwan           // MD5("strongSwan")
)

type vendorRow struct {
	vendor Vendor
	name   string
	id     string // hexadecimal
	open   bool   // octets may follow: capabilities
}

var vendors = [...]vendorRow{
	{VendorNATT, "RFC 3947 NAT-T", "4a131c81070358455c5728f20e95452f", false},
	{VendorNATTDraft03, "NAT-T draft 03", "7d9419a65310ca6f2c179d9215529d56", false},
	{VendorNATTDraft02N, "NAT-T draft 02", "90cb80913ebb696e086381b5ec427b1f", false},
	{VendorNATTDraft02, "NAT-T draft 02", "cd60464335df21f87cfdb2fc68b6a448", false},
	{VendorDPD, "DPD", "afcad71368a1f1c96b8696fc77570100", false},
	{VendorUnity, "Cisco Unity", "12f5f28c457168a9702d9fe274cc0100", false},
	{VendorXAUTH, "XAUTH", "09002689dfd6b712", false},
	{VendorFragmentation, "IKE fragmentation", "4048b7d56ebce88525e7de7f00d6c2d3", true},
	{VendorStrongSwan, "strongSwan", "882fe56d6fd20dbc2251613b2ebe5beb", false},
}

// VendorOf recognises the body of a VID payload; VendorUnknown for all others.
func VendorOf(body []byte) Vendor {
	for _, r := range vendors {
		id := r.octets()
		if bytes.Equal(id, body) || r.open && len(body) <= len(id)+4 && bytes.HasPrefix(body, id) {
			return r.vendor
		}
	}
	return VendorUnknown
}

// VendorName names the body of a VID payload for people: "DPD"; "" when it is
// not known. Nothing of the body itself is in it.
func VendorName(body []byte) string { return VendorOf(body).String() }

// ID is the body of the VID payload; nil for VendorUnknown.
func (v Vendor) ID() []byte {
	for _, r := range vendors {
		if r.vendor == v {
			return r.octets()
		}
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
