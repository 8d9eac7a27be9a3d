package config

import "culvert/internal/conf/ios"

// The modes of certificates.
const (
	modeTrustpoint = "ca-trustpoint"
	modeChain      = "config-cert-chain"
	modeCertMap    = "ca-certificate-map"
)

// enrolment is the name of commands that only matter to who gets a certificate
// through the router; their Help is what to do instead.
const enrolment = "enrolment"

// pkiModes are the modes of trustpoints, certificate chains and certificate maps.
func pkiModes() []ios.Mode {
	return []ios.Mode{
		{Name: modeTrustpoint, Negatable: true, Commands: trustpointCommands()},
		{Name: modeChain, Negatable: true, Commands: []ios.Command{
			{Name: "certificate", Syntax: "certificate [ <kind:ca|self-signed|ra-sign|ra-encrypt|ra-general> ] <serial:WORD> [ <nvram:WORD> ]"},
		}},
		{Name: modeCertMap, Negatable: true, Commands: []ios.Command{
			{Name: "rule", Syntax: "<field:subject-name|issuer-name|alt-subject-name|unstructured-subject-name|name|serial-number> <op:co|nc|eq|ne> <value:LINE>"},
			{Name: "time-rule", Syntax: "<field:valid-start|expires-on> <op:lt|ge|eq|ne> <value:LINE>"},
		}},
	}
}

// pkiCommands are the global commands of certificates and keys.
func pkiCommands() []ios.Command {
	var out []ios.Command
	for _, pki := range []string{"crypto pki ", "crypto ca "} {
		out = append(out,
			ios.Command{Name: "trustpoint", Syntax: pki + "trustpoint <name:WORD>", Opens: modeTrustpoint},
			ios.Command{Name: "chain", Syntax: pki + "certificate chain <name:WORD>", Opens: modeChain},
			ios.Command{Name: "certificate-map", Syntax: pki + "certificate map <name:WORD> <seq:1-65535>", Opens: modeCertMap},
			ios.Command{Name: inert, Syntax: pki + "{ authenticate | enroll | import | export | crl | trustpool } [ <rest:LINE> ]",
				Help: "getting certificates: put them in with ca-certificate file and certificate file"},
			ios.Command{Name: unsupported, Syntax: pki + "{ server | token | profile | cabundle | identity } [ <rest:LINE> ]", Help: "this part of the PKI"},
		)
	}
	return append(out,
		ios.Command{Name: "key-import", Syntax: "crypto key import <kind:rsa|ec> <label:WORD> pem"},
		ios.Command{Name: unsupported, Syntax: "crypto key import <kind:rsa|ec> <label:WORD> pem { terminal | url | exportable | usage-keys | on | storage } [ <rest:LINE> ]",
			Help: "a key from a terminal or a server: write crypto key import … pem, the PEM text without passphrase, and quit"},
		ios.Command{Name: inert, Syntax: "crypto key { generate | zeroize | export | move | encrypt | lock | unlock | storage } [ <rest:LINE> ]",
			Help: "making keys: make them with another program and write private-key file"},
		ios.Command{Name: unsupported, Syntax: "crypto key { pubkey-chain | decrypt } [ <rest:LINE> ]", Help: "RSA encryption and stored keys"},
	)
}

func trustpointCommands() []ios.Command {
	out := []ios.Command{
		{Name: "revocation-check", Syntax: "revocation-check / <method:crl|ocsp|none>..."},
		{Name: "ocsp", Syntax: "ocsp url / <url:WORD>"},
		{Name: "rsakeypair", Syntax: "rsakeypair / <label:WORD> [ <bits:360-4096> [ <bits2:360-4096> ] ]"},
		{Name: "eckeypair", Syntax: "eckeypair / <label:WORD>"},
		{Name: "match", Syntax: "match certificate <map:WORD> [ <exception:LINE> ]"},
		{Name: "fingerprint", Syntax: "fingerprint / <hex:WORD>..."},
		{Name: "ca-file", Syntax: "ca-certificate file <path:WORD>"},
		{Name: "certificate-file", Syntax: "certificate file / <path:WORD>"},
		{Name: "key-file", Syntax: "private-key file / <path:WORD>"},
		{Name: "crl-file", Syntax: "crl file <path:WORD>"},
	}
	for _, c := range []struct{ words, why string }{
		{"enrollment auto-enroll regenerate hash password usage", "enrolment, which another program does"},
		{"fqdn serial-number subject-name subject-alt-name eku", "what a certificate is asked for; the one that is there counts"},
		{"primary default on root storage", "enrolment, which another program does"},
		{"chain-validation", "how far a chain is followed: always to a CA of the trustpoint"},
		{"source vrf", "the way to a CRL or OCSP server: the system's routes decide"},
	} {
		out = append(out, ios.Command{Name: enrolment, Syntax: "{ " + alternatives(c.words) + " } [ <rest:LINE> ]", Help: c.why})
	}
	return append(out,
		// Not with a free rest: "ip route …" behind a trustpoint is a line of its own.
		ios.Command{Name: enrolment, Syntax: "ip-address { none | <address:A.B.C.D> | <interface:INTERFACE> }", Help: "what a certificate is asked for; the one that is there counts"},
		ios.Command{Name: inert, Syntax: "ocsp disable-nonce", Help: "how OCSP is asked"},
		ios.Command{Name: inert, Syntax: "crl { query | best-effort | optional | cache } [ <rest:LINE> ]", Help: "write revocation-check crl, or revocation-check crl none"},
		ios.Command{Name: inert, Syntax: "authorization [ <rest:LINE> ]", Help: "authorization of remote access"},
	)
}
