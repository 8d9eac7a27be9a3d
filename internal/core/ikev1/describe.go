package ikev1

import (
	"fmt"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/pki"
)

// version1 is the version octet of a header: major 1, minor 0.
const version1 = 0x10

func exchangeName(e isakmp.Exchange) string { return e.String() }

// describe tells a message's payloads in a few words, for people.
func describe(payloads []isakmp.Payload) []event.Payload {
	out := make([]event.Payload, 0, len(payloads))
	for _, p := range payloads {
		out = append(out, event.Payload{Name: p.Type.String(), Detail: detail(p)})
	}
	return out
}

func detail(p isakmp.Payload) string {
	switch p.Type {
	case isakmp.PayloadSA:
		return detailSA(p.Body)
	case isakmp.PayloadKE, isakmp.PayloadNonce:
		return fmt.Sprintf("%d octets", len(p.Body))
	case isakmp.PayloadID:
		if id, err := isakmp.ParseID(p.Body); err == nil {
			return id.String()
		}
	case isakmp.PayloadNotify:
		if n, err := isakmp.ParseNotification(p.Body); err == nil {
			return n.Type.String()
		}
	case isakmp.PayloadDelete:
		if d, err := isakmp.ParseDelete(p.Body); err == nil {
			return detailDelete(d)
		}
	case isakmp.PayloadCert:
		return detailCert(p.Body)
	case isakmp.PayloadCertReq:
		if r, err := isakmp.ParseCert(p.Body); err == nil && len(r.Data) > 0 {
			return isakmp.NameText(r.Data)
		}
	case isakmp.PayloadSig:
		return fmt.Sprintf("%d octets", len(p.Body))
	case isakmp.PayloadVendorID:
		return isakmp.VendorName(p.Body)
	}
	return ""
}

// detailCert names a certificate; nobody vouches for it yet.
func detailCert(body []byte) string {
	p, err := isakmp.ParseCert(body)
	if err != nil {
		return ""
	}
	if p.Encoding == isakmp.CertX509 {
		if s, err := pki.Summarize(p.Data); err == nil {
			return s.Subject
		}
	}
	return fmt.Sprintf("%s, %d octets", p.Encoding, len(p.Data))
}

func detailSA(body []byte) string {
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		return ""
	}
	n := 0
	for _, p := range sa.Proposals {
		n += len(p.Transforms)
	}
	if n == 1 {
		return "1 transform"
	}
	return fmt.Sprintf("%d transforms", n)
}

func detailDelete(d isakmp.Delete) string {
	w := []string{isakmp.ProtocolName(d.Protocol)}
	for i, spi := range d.SPIs {
		if i == 4 {
			w = append(w, fmt.Sprintf("and %d more", len(d.SPIs)-i))
			break
		}
		w = append(w, fmt.Sprintf("%x", spi))
	}
	return strings.Join(w, " ")
}
