package show

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"strings"
	"time"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// Trustpoints writes "show crypto pki trustpoints".
func Trustpoints(w io.Writer, g *status.Gateway) error {
	var p page
	for _, t := range settings(g).Trustpoints {
		p.line("Trustpoint %s:", t.Name)
		for _, ca := range parsed(t.CAs) {
			p.line("    Subject Name:")
			p.line("    %s", dn(ca.Subject, ","))
			p.line("          Serial Number (hex): %s", serial(ca))
		}
		if len(t.Chain) > 0 {
			p.line("    Certificate configured.")
		}
		p.line("")
	}
	return p.flush(w)
}

// TrustpointsStatus writes "show crypto pki trustpoints status": what each
// trustpoint has of what it needs.
func TrustpointsStatus(w io.Writer, g *status.Gateway) error {
	var p page
	for _, t := range settings(g).Trustpoints {
		p.line("Trustpoint %s:", t.Name)
		for _, ca := range parsed(t.CAs) {
			writeConfigured(&p, "Issuing CA", ca)
		}
		for _, own := range parsed(t.Chain[:min(len(t.Chain), 1)]) {
			writeConfigured(&p, "Router General Purpose", own)
		}
		p.line("  State:")
		keys := "No"
		if t.Key.Held() {
			keys = "Yes (General Purpose, non-exportable)"
		}
		p.line("    Keys generated ............. %s", keys)
		p.line("    Issuing CA authenticated ....... %s", yes(len(t.CAs) > 0))
		p.line("    Certificate request(s) ..... %s", yes(len(t.Chain) > 0))
		p.line("")
	}
	return p.flush(w)
}

func writeConfigured(p *page, what string, c *x509.Certificate) {
	p.line("  %s certificate configured:", what)
	p.line("    Subject Name:")
	p.line("     %s", dn(c.Subject, ","))
	p.line("    Fingerprint MD5: %s ", fourOctets(md5Of(c)))
	p.line("    Fingerprint SHA1: %s ", fourOctets(sha1Of(c)))
}

func md5Of(c *x509.Certificate) []byte {
	d := md5.Sum(c.Raw)
	return d[:]
}

func sha1Of(c *x509.Certificate) []byte {
	d := sha1.Sum(c.Raw)
	return d[:]
}

// fourOctets groups a digest as IOS does: "5ECAF77E 82DECF83".
func fourOctets(d []byte) string {
	var w []string
	for i := 0; i < len(d); i += 4 {
		w = append(w, fmt.Sprintf("%X", d[i:i+4]))
	}
	return strings.Join(w, " ")
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// Certificates writes "show crypto pki certificates": ours, then those of the
// CAs, trustpoint by trustpoint.
func Certificates(w io.Writer, g *status.Gateway) error {
	var p page
	for _, t := range settings(g).Trustpoints {
		for i, c := range parsed(t.Chain) {
			if i == 0 {
				writeCertificate(&p, "Certificate", "General Purpose", t.Name, c)
			} else {
				writeCertificate(&p, "CA Certificate (subordinate)", "Signature", t.Name, c)
			}
		}
		for _, c := range parsed(t.CAs) {
			writeCertificate(&p, "CA Certificate", "Signature", t.Name, c)
		}
	}
	return p.flush(w)
}

func writeCertificate(p *page, head, usage, trustpoint string, c *x509.Certificate) {
	p.line("%s", head)
	p.line("  Status: Available")
	p.line("  Certificate Serial Number (hex): %s", serial(c))
	p.line("  Certificate Usage: %s", usage)
	p.line("  Issuer: ")
	p.line("    %s", dn(c.Issuer, "\n    "))
	p.line("  Subject:")
	for _, name := range c.DNSNames {
		p.line("    Name: %s", harmless(name))
	}
	for _, a := range c.IPAddresses {
		p.line("    IP Address: %s", a)
	}
	p.line("    %s", dn(c.Subject, "\n    "))
	if len(c.CRLDistributionPoints) > 0 {
		p.line("  CRL Distribution Points: ")
		for _, url := range c.CRLDistributionPoints {
			p.line("    %s", harmless(url))
		}
	}
	p.line("  Validity Date: ")
	p.line("    start date: %s", date(c.NotBefore))
	p.line("    end   date: %s", date(c.NotAfter))
	p.line("  Associated Trustpoints: %s ", trustpoint)
	p.line("")
}

func date(t time.Time) string { return t.UTC().Format("15:04:05 MST Jan 2 2006") }

// serial is a serial number as IOS prints it: whole octets in hexadecimal.
func serial(c *x509.Certificate) string {
	s := fmt.Sprintf("%X", c.SerialNumber)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// parsed are the certificates of a list that can be read; the engine has
// refused the others when it took the settings.
func parsed(ders [][]byte) []*x509.Certificate {
	var out []*x509.Certificate
	for _, der := range ders {
		if c, err := x509.ParseCertificate(der); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// dn is a distinguished name as IOS prints it, the last part first:
// "cn=r1.example.net,o=Example".
func dn(n pkix.Name, between string) string {
	var w []string
	for i := len(n.Names) - 1; i >= 0; i-- {
		a := n.Names[i]
		key, ok := attributeNames()[a.Type.String()]
		if !ok {
			key = a.Type.String()
		}
		w = append(w, key+"="+harmless(fmt.Sprint(a.Value)))
	}
	return strings.Join(w, between)
}

// attributeNames are the words of RFC 4519 and PKCS #9 for the attributes of a
// distinguished name, in IOS's spelling.
func attributeNames() map[string]string {
	return map[string]string{
		"2.5.4.3": "cn", "2.5.4.5": "serialNumber", "2.5.4.6": "c", "2.5.4.7": "l", "2.5.4.8": "st", "2.5.4.10": "o", "2.5.4.11": "ou",
		"1.2.840.113549.1.9.1": "e", "1.2.840.113549.1.9.2": "hostname", "1.2.840.113549.1.9.8": "ipaddress", "0.9.2342.19200300.100.1.25": "dc",
	}
}

// PKI is "show crypto pki trustpoints" and "… certificates".
type PKI struct {
	Trustpoints []TrustpointItem `json:"trustpoints"`
}

// TrustpointItem is one trustpoint; the private key is told of, never shown.
type TrustpointItem struct {
	Name         string            `json:"name"`
	CAs          []CertificateItem `json:"ca_certificates"`
	Chain        []CertificateItem `json:"certificates"` // ours first
	PrivateKey   bool              `json:"private_key"`
	Signs        string            `json:"signs_with"` // "rsa-sig", "ecdsa-sig", or ""
	Revocation   []string          `json:"revocation_check"`
	RevokedLists int               `json:"crls"`
	Origin       *Origin           `json:"origin"`
}

// CertificateItem is one certificate.
type CertificateItem struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Names     []string  `json:"names"` // of the subjectAltName
}

// PKIView is the view of "show crypto pki trustpoints" and "… certificates".
func PKIView(g *status.Gateway) PKI {
	v := PKI{Trustpoints: []TrustpointItem{}}
	for _, t := range settings(g).Trustpoints {
		item := TrustpointItem{
			Name: t.Name, CAs: certificateItems(t.CAs), Chain: certificateItems(t.Chain), PrivateKey: t.Key.Held(),
			Revocation: revocation(t), RevokedLists: len(t.CRLs), Origin: originOf(t.Origin),
		}
		if t.Key.Held() {
			item.Signs = t.Key.Auth().String()
		}
		v.Trustpoints = append(v.Trustpoints, item)
	}
	return v
}

func revocation(t policy.Trustpoint) []string {
	if len(t.Revocation) == 0 {
		return []string{"crl"}
	}
	return t.Revocation
}

func certificateItems(ders [][]byte) []CertificateItem {
	out := []CertificateItem{}
	for _, c := range parsed(ders) {
		item := CertificateItem{Subject: dn(c.Subject, ","), Issuer: dn(c.Issuer, ","), Serial: serial(c), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), Names: []string{}}
		item.Names = append(item.Names, c.DNSNames...)
		item.Names = append(item.Names, c.EmailAddresses...)
		for _, a := range c.IPAddresses {
			item.Names = append(item.Names, a.String())
		}
		out = append(out, item)
	}
	return out
}
