package config

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/origin"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
)

// What one block may hold: more is no configuration.
const (
	maxBlock = 1 << 16 // octets of a certificate or key in the configuration
	maxFiles = 100     // files of one kind in a trustpoint
)

// chainBuilder is a certificate chain while its lines are read.
type chainBuilder struct {
	c     CertificateChain
	certs register[certID, Certificate]
}

type certID struct{ kind, serial string }

// certMapBuilder is a certificate map while its lines are read.
type certMapBuilder struct {
	m       policy.CertificateMap
	entries register[int, policy.CertificateRules]
}

// importID tells two imported keys apart.
type importID struct {
	ec    bool
	label string
}

func trustpointHandlers() map[string]handler {
	return map[string]handler{
		"revocation-check": (*reader).revocationCheck, "ocsp": (*reader).ocsp, "rsakeypair": (*reader).keyPair, "eckeypair": (*reader).keyPair,
		"match": (*reader).matchCertificate, "fingerprint": (*reader).fingerprint,
		"ca-file": (*reader).trustpointFile, "certificate-file": (*reader).trustpointFile, "key-file": (*reader).trustpointFile, "crl-file": (*reader).trustpointFile,
	}
}

func (r *reader) trustpointLine(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.trustpoints.remove(name)
		return
	}
	r.trustpoint = r.trustpoints.get(name)
	if r.trustpoint == nil {
		r.trustpoint = r.trustpoints.put(name, &Trustpoint{Name: name, Origin: r.origin(l)})
	}
	r.open(m, l)
}

func (r *reader) revocationCheck(m *ios.Match, l ios.Line) {
	t := r.trustpoint
	t.Revocation, t.RevocationOrigin = nil, r.written(m, l)
	for _, w := range m.Args("method") {
		switch {
		case undo(m):
		case slices.Contains(t.Revocation, w.Value):
			r.report(Warning, l, l.Column+w.Column-1, w.Text, "method "+w.Value+" is named twice", "")
		case slices.Contains(t.Revocation, "none"):
			r.report(Warning, l, l.Column+w.Column-1, w.Text, "method "+w.Value+" behind none is never tried", "")
		default:
			t.Revocation = append(t.Revocation, w.Value)
		}
	}
}

func (r *reader) ocsp(m *ios.Match, l ios.Line) {
	r.trustpoint.OCSP, r.trustpoint.OCSPOrigin = m.Value("url"), r.written(m, l)
	if undo(m) {
		r.trustpoint.OCSP = ""
		return
	}
	if w, _ := m.Arg("url"); !strings.HasPrefix(strings.ToLower(w.Value), "http://") {
		r.fault(l, w, "word %s: expected a URL such as http://ocsp.example.com/", ios.Quote(w.Text))
	}
}

func (r *reader) keyPair(m *ios.Match, l ios.Line) {
	t, label := r.trustpoint, m.Value("label")
	if undo(m) {
		label = ""
	}
	t.KeyOrigin = r.written(m, l)
	t.RSAKey, t.ECKey = label, ""
	if m.Command.Name == "eckeypair" {
		t.RSAKey, t.ECKey = "", label
	}
}

func (r *reader) matchCertificate(m *ios.Match, l ios.Line) {
	t := r.trustpoint
	w, _ := m.Arg("map")
	i := slices.IndexFunc(t.Match, func(c CertificateMatch) bool { return c.Map == w.Value })
	if i >= 0 {
		t.Match = slices.Delete(t.Match, i, i+1)
	}
	switch {
	case undo(m):
	case len(t.Match) == maxMatches:
		r.fault(l, w, "a trustpoint has at most %d match lines", maxMatches)
	default:
		x, ok := m.Arg("exception")
		if ok {
			r.report(Warning, l, l.Column+x.Column-1, "", "the exception is not granted: Culvert always looks at revocation and dates", "match certificate "+w.Value)
		}
		t.Match = append(t.Match, CertificateMatch{w.Value, x.Value, r.origin(l)})
	}
}

// fingerprint reads the digest of the CA: of MD5, SHA-1 or SHA-256.
func (r *reader) fingerprint(m *ios.Match, l ios.Line) {
	t := r.trustpoint
	t.Fingerprint, t.FingerprintOrigin = "", r.written(m, l)
	if undo(m) {
		return
	}
	for _, w := range m.Args("hex") {
		t.Fingerprint += strings.ToUpper(w.Value)
	}
	b, err := hex.DecodeString(t.Fingerprint)
	if w, _ := m.Arg("hex"); err != nil || len(b) != 16 && len(b) != 20 && len(b) != 32 {
		t.Fingerprint, t.FingerprintOrigin = "", origin.Line{}
		r.fault(l, w, "word %s: expected the 32, 40 or 64 hexadecimal digits of the CA certificate's MD5, SHA-1 or SHA-256", ios.Quote(w.Text))
	}
}

// trustpointFile reads the sub-commands that are Culvert's own.
func (r *reader) trustpointFile(m *ios.Match, l ios.Line) {
	t := r.trustpoint
	f := Named{m.Value("path"), r.written(m, l)}
	if undo(m) {
		f.Name = ""
	}
	switch m.Command.Name {
	case "certificate-file":
		t.CertificateFile = f
		return
	case "key-file":
		t.KeyFile = f
		return
	}
	files := &t.CAFiles
	if m.Command.Name == "crl-file" {
		files = &t.CRLFiles
	}
	w, _ := m.Arg("path")
	i := slices.IndexFunc(*files, func(o Named) bool { return o.Name == w.Value })
	switch {
	case undo(m) && i >= 0:
		*files = slices.Delete(*files, i, i+1)
	case undo(m) || i >= 0:
	case len(*files) == maxFiles:
		r.fault(l, w, "a trustpoint has at most %d files of one kind", maxFiles)
	default:
		*files = append(*files, f)
	}
}

func (r *reader) chainLine(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.chains.remove(name)
		return
	}
	r.chain = r.chains.get(name)
	if r.chain == nil {
		r.chain = r.chains.put(name, &chainBuilder{c: CertificateChain{Name: name, Origin: r.origin(l)}})
	}
	r.open(m, l)
}

// certificate reads a certificate in hexadecimal, up to the line "quit".
func (r *reader) certificate(m *ios.Match, l ios.Line) {
	c := Certificate{Kind: m.Value("kind"), Serial: m.Value("serial"), Origin: r.origin(l)}
	w, _ := m.Arg("serial")
	id := certID{c.Kind, strings.ToUpper(c.Serial)}
	chain := r.chain
	switch n, inNVRAM := m.Arg("nvram"); {
	case undo(m):
		chain.certs.remove(id)
		return
	case inNVRAM && strings.HasPrefix(strings.ToLower(n.Text), "nvram:"):
		c.NVRAM = n.Value
		chain.certs.put(id, &c)
		r.report(Warning, l, l.Column+n.Column-1, n.Text, "the certificate is in the router's own memory, not in the configuration: it is not there",
			"ca-certificate file CA.pem")
		return
	case inNVRAM:
		r.fault(l, n, "word %s: expected the end of the line", ios.Quote(n.Text))
	case strings.Trim(c.Serial, "0123456789abcdefABCDEF") != "":
		r.fault(l, w, "word %s: expected a serial number in hexadecimal", ios.Quote(w.Text))
	}
	var text bytes.Buffer
	r.capture = func(x ios.Line) {
		if !isQuit(x) {
			r.hexLine(&text, x)
			return
		}
		r.capture = nil
		c.DER = text.Bytes()
		if _, err := x509.ParseCertificate(c.DER); err != nil {
			r.fault(l, w, "certificate %s cannot be read: %s", c.Serial, plainX509(err))
			return
		}
		chain.certs.put(id, &c)
	}
}

// hexLine adds the octets of one line.
func (r *reader) hexLine(to *bytes.Buffer, l ios.Line) {
	b, err := hex.DecodeString(strings.Join(strings.Fields(l.Raw), ""))
	switch {
	case err != nil:
		r.report(Error, l, 1+len(l.Raw)-len(strings.TrimLeft(l.Raw, " \t")), "", "expected hexadecimal digits, two for an octet, or the line \"quit\"", "")
	case to.Len()+len(b) <= maxBlock:
		to.Write(b)
	}
}

func isQuit(l ios.Line) bool { return strings.EqualFold(strings.TrimSpace(l.Raw), "quit") }

// plainX509 is an error of package x509 without that package's name.
func plainX509(err error) string { return strings.ReplaceAll(err.Error(), "x509: ", "") }

// keyImport reads a private key in PEM, up to the line "quit". Nothing of its
// text gets into a problem or an origin.
func (r *reader) keyImport(m *ios.Match, l ios.Line) {
	k := KeyImport{EC: m.Value("kind") == "ec", Label: m.Value("label"), Origin: r.origin(l)}
	id := importID{k.EC, k.Label}
	if undo(m) {
		r.imports.remove(id)
		return
	}
	w, _ := m.Arg("label")
	var text []byte
	r.capture = func(x ios.Line) {
		if !isQuit(x) {
			if len(text)+len(x.Raw) < maxBlock {
				text = append(append(text, strings.TrimSpace(x.Raw)...), '\n')
			}
			return
		}
		r.capture = nil
		key, err := pki.ParseKey(text)
		clear(text)
		switch {
		case err != nil:
			r.fault(l, w, "the key %s cannot be read: %s", k.Label, err)
		case key.Auth().Row().IKE != map[bool]string{false: "rsa-sig", true: "ecdsa-sig"}[k.EC]:
			r.fault(l, w, "the key %s is of another kind than the line says: %s", k.Label, key)
		default:
			k.Key = key
			r.imports.put(id, &k)
		}
	}
}

func (r *reader) certMapLine(m *ios.Match, l ios.Line) {
	name, seq := m.Value("name"), number(m, "seq")
	b := r.certMaps.get(name)
	if undo(m) {
		if b != nil && b.entries.remove(seq) && len(b.entries.at) == 0 {
			r.certMaps.remove(name)
		}
		return
	}
	if b == nil {
		b = r.certMaps.put(name, &certMapBuilder{m: policy.CertificateMap{Name: name}})
	}
	r.rules = b.entries.get(seq)
	if r.rules == nil {
		r.rules = b.entries.put(seq, &policy.CertificateRules{Seq: seq, Origin: r.origin(l)})
	}
	r.open(m, l)
}

func (r *reader) certificateRule(m *ios.Match, l ios.Line) {
	rule := policy.CertificateRule{Field: m.Value("field"), Op: m.Value("op"), Value: m.Value("value")}
	if _, err := pki.ParseTime(rule.Value); err != nil && m.Command.Name == "time-rule" {
		w, _ := m.Arg("value")
		r.report(Error, l, l.Column+w.Column-1, w.Text, err.Error(), "")
		return
	}
	i := slices.Index(r.rules.Rules, rule)
	switch {
	case undo(m) && i >= 0:
		r.rules.Rules = slices.Delete(r.rules.Rules, i, i+1)
	case undo(m) || i >= 0:
	case len(r.rules.Rules) == maxMatches:
		r.fault(l, m.Words[0], "an entry of a certificate map has at most %d lines", maxMatches)
	default:
		r.rules.Rules = append(r.rules.Rules, rule)
	}
}

// finishPKI puts the certificates' part of the model together.
func (r *reader) finishPKI() {
	c := r.c
	c.Trustpoints, c.KeyImports = r.trustpoints.all(), r.imports.all()
	for _, b := range r.chains.all() {
		b.c.Certificates = b.certs.all()
		c.Chains = append(c.Chains, b.c)
	}
	for _, b := range r.certMaps.all() {
		b.m.Entries = b.entries.all()
		slices.SortFunc(b.m.Entries, func(x, y policy.CertificateRules) int { return cmp.Compare(x.Seq, y.Seq) })
		c.CertificateMaps = append(c.CertificateMaps, b.m)
	}
}

// pem hands PEM text to the command that announced it, and refuses it
// elsewhere: it may be a private key, which must not be kept as an ignored line.
func (r *reader) pem(l ios.Line) {
	switch {
	case r.capture != nil:
		r.capture(l)
	case strings.HasPrefix(strings.TrimSpace(l.Raw), "-----BEGIN "):
		r.report(Error, l, l.Column, "", "PEM text belongs behind \"crypto key import rsa LABEL pem\", or into a file", "")
	}
}
