package isakmp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// signedData wraps elements as PKCS #7 does when it carries nothing but
// certificates (RFC 2315 section 9.1).
func signedData(certs ...string) string {
	der := func(tag byte, parts ...string) string {
		body := strings.Join(parts, "")
		return string([]byte{tag, byte(len(body))}) + body
	}
	data := der(0x06, "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
	inner := der(0x30, "\x02\x01\x01", der(0x31), der(0x30, data), der(0xa0, certs...), der(0x31))
	return der(0x30, der(0x06, "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), der(0xa0, inner))
}

// CVE-2017-9023: PKCS #7 in a CERT payload is read as bounded, strict DER.
func TestWrappedCertificates(t *testing.T) {
	one, two := "\x30\x03\x02\x01\x01", "\x30\x03\x02\x01\x02"
	whole := signedData(one, two)
	got, ok := Cert{CertPKCS7, []byte(whole)}.Wrapped(8)
	if !ok || len(got) != 2 || string(got[0]) != one || string(got[1]) != two {
		t.Fatalf("%x, %t", got, ok)
	}
	if got, ok := (Cert{CertPKCS7, []byte(whole)}).Wrapped(1); !ok || len(got) != 1 {
		t.Errorf("bounded to one: %x, %t", got, ok)
	}
	for n := range len(whole) {
		if got, ok := (Cert{CertPKCS7, []byte(whole[:n])}).Wrapped(8); ok {
			t.Errorf("cut to %d: %x", n, got)
		}
	}
	for story, data := range map[string]string{
		"garbage behind": whole + "\x00", "no certificate": signedData(), "not a sequence": signedData("\x02\x01\x01"),
		"indefinite length": "\x30\x80" + whole[2:] + "\x00\x00", "nothing": "",
	} {
		if got, ok := (Cert{CertPKCS7, []byte(data)}).Wrapped(8); ok {
			t.Errorf("%s: %x", story, got)
		}
	}
}

func TestCertPayload(t *testing.T) {
	c, err := ParseCert([]byte{4, 0x30, 0})
	if err != nil || c.Encoding != CertX509 || !bytes.Equal(c.Data, []byte{0x30, 0}) || !bytes.Equal(c.Append(nil), []byte{4, 0x30, 0}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := ParseCert([]byte{4}); err != nil || len(c.Data) != 0 {
		t.Errorf("a request for any CA: %+v, %v", c, err)
	}
	_, err = ParseCert(nil)
	want(t, err, ErrPayloadMalformed)
	for e, s := range map[CertEncoding]string{CertX509: "X.509 certificate, signature", CertCRL: "CRL", 99: "encoding(99)"} {
		if e.String() != s {
			t.Errorf("%d is told as %q", e, e)
		}
	}
}

func name(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNames(t *testing.T) {
	upper := name(t, "301c 310b300906035504060c025858 310d300b060355040313044c616231") // UTF8String XX, PrintableString Lab1
	lower := name(t, "301e 310b3009060355040613027878 310f300d06035504030c0620206c616231")
	if NameText(upper) != "CN=Lab1,C=XX" {
		t.Errorf("%s", NameText(upper))
	}
	if !SameName(upper, lower) || !SameName(upper, upper) {
		t.Errorf("%s and %s are not the same", NameText(upper), NameText(lower))
	}
	for _, other := range []string{"300d 310b300906035504060c025858", "3000", "", "30", "301c 310b300906035504060c025859 310d300b060355040313044c616231"} {
		if SameName(upper, name(t, other)) {
			t.Errorf("%s is the same", other)
		}
	}
	for der, want := range map[string]string{
		"3010 310e 300c 06 03 550403 0c 05 612c622b63":                      `CN=a\,b\+c`,
		"3011 310f 300d 06 03 550403 0c 06 1b5b326a0a41":                    `CN=\x1b[2j\nA`,
		"3014 3112 3010 06 09 2a864886f70d010902 0c 03 723178":              "unstructuredName=r1x",
		"300f 310d 300b 06 04 2a030405 0c 03 616263":                        "1.2.3.4.5=abc",
		"300e 310c 300a 06 03 550403 02 03 010203":                          "CN=#0203010203",
		"300f 310d 300b 06 03 550403 1e 04 00410042":                        "CN=AB",
		"301a 3118 3009 0603550403 0c02 6131 300b 060355040b 0c04 73616c65": "CN=a1+OU=sale",
		"ffff": "#ffff",
	} {
		if got := NameText(name(t, der)); got != want {
			t.Errorf("%s is told as %s, want %s", der, got, want)
		}
	}
	if long := NameText(name(t, "3082040c 31820408 30820404 0603550403 0c8203fb"+strings.Repeat("61", 1019))); len(long) > 5*maxName {
		t.Errorf("%d octets are shown", len(long))
	}
}

// Whatever stands in the place of a name or a bundle is told without a panic.
func FuzzName(f *testing.F) {
	f.Add([]byte("\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x13\x02r1"))
	f.Add([]byte(signedData("\x30\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		text := NameText(b)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(text) > 5*maxName {
			t.Errorf("%q", text)
		}
		if _, ok := ParseName(b); ok != SameName(b, b) {
			t.Errorf("%x is not the same as itself", b)
		}
		if certs, ok := (Cert{CertPKCS7, b}).Wrapped(8); ok && (len(certs) == 0 || len(certs) > 8) {
			t.Errorf("%d certificates", len(certs))
		}
	})
}
