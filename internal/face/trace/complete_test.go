package trace

import (
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func am(name string, octets int, payloads ...string) event.Message {
	return event.Message{Exchange: "aggressive", Name: name, Octets: octets, Payloads: pay(payloads...), Encrypted: name == "AM3"}
}

func partnerCertificate(dir event.Direction) event.Certificate {
	return event.Certificate{Dir: dir, Subject: "CN=r2.example.net", Issuer: "CN=Example CA", Serial: "2A", NotAfter: t0.Add(24 * time.Hour), Trustpoint: "CORP"}
}

func bundle() policy.TransformSet {
	return policy.TransformSet{Name: "TS-BUNDLE", AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256, ESN: true}
}

// aggressive is an aggressive mode with a profile and a keyring, then a bundle
// of AH and ESP, then a peer that is gone.
func aggressive() []event.Event {
	s := new(script)
	asked := triggered()
	asked.Set = bundle()
	s.r1(asked).r1(event.KeyLookup{Found: true})
	s.move(left, "", "IKE_I_AM1", "AG_INIT_EXCH")
	s.state[right] = "AG_NO_STATE"
	s.message(left, am("AM1", 388, "SA", "1 transform", "KE", "256 octets", "NONCE", "32 octets", "ID", "r1.example.net", "VID", "DPD"))
	s.r2(event.Identified{Kind: "ID_FQDN", Identity: "r1.example.net", Profile: "PARTNER", Keyring: "RING"})
	s.r2(event.PolicyCheck{Transform: 1, Offer: strong(), Against: strong()})
	s.move(right, "IKE_READY", "IKE_R_AM2", "AG_INIT_EXCH")
	s.message(right, am("AM2", 420, "SA", "1 transform", "KE", "256 octets", "NONCE", "32 octets", "ID", "198.51.100.2", "HASH", ""))
	s.r1(event.Identified{Kind: "ID_IPV4_ADDR", Identity: "198.51.100.2", Keyring: "default"})
	s.r1(event.NATCheck{})
	s.message(left, am("AM3", 92, "HASH", "", "NAT-D", "", "NAT-D", ""))
	s.move(right, "IKE_R_AM2", "IKE_P1_COMPLETE", "QM_IDLE")
	s.r2(event.Phase1Up{Policy: strong(), Identity: "r1.example.net", Profile: "PARTNER", Aggressive: true})
	s.move(left, "IKE_I_AM1", "IKE_P1_COMPLETE", "QM_IDLE")
	s.r1(event.Phase1Up{Policy: strong(), Identity: "198.51.100.2", Aggressive: true})
	s.message(left, qm1)
	o := offer()
	o.Set = bundle()
	o.Set.Name = ""
	s.r2(event.ProposalCheck{Offer: o, Against: bundle()})
	s.message(right, qm2)
	s.r1(event.Phase2Up{Flow: flowID(), Selectors: selectors(), Set: bundle(), In: 0xA1, Out: 0xB1, AHIn: 0xA2, AHOut: 0xB2, ESN: true, Lifetime: life()})
	s.message(left, qm3)
	alone := policy.TransformSet{Name: "TS-AH", AH: suite.SHA256, Mode: suite.Transport}
	s.r2(event.Phase2Up{Flow: flowID(), Selectors: selectors().Mirror(), Set: alone, AHIn: 0xB2, AHOut: 0xA2, Lifetime: life()})
	s.at(30 * time.Second)
	s.r1(event.Notify{Dir: event.Sent, Type: "R-U-THERE", Number: 36136, Protocol: 1, Protected: true})
	s.r2(event.Notify{Dir: event.Received, Type: "R-U-THERE", Number: 36136, Protocol: 1, Protected: true})
	for i := 1; i <= 3; i++ {
		s.at(time.Duration(30+2*i) * time.Second).r1(event.Liveness{Attempt: i, Of: 3, Dead: i == 3})
	}
	s.r1(event.Deleted{Protocol: "ESP", SPI: 0xA1, Reason: "the peer is gone", Last: true})
	s.r1(event.Deleted{Protocol: "ISAKMP", Reason: "the peer is gone"})
	s.r1(event.Reconfigured{Kept: 2, Ended: 1})
	return s.events
}

// certificates is the end of a main mode with signatures: a certificate that is
// taken, one that is refused.
func certificates() []event.Event {
	s := new(script)
	s.state = [2]string{"MM_KEY_EXCH", "MM_KEY_EXCH"}
	signed := strong()
	signed.Auth = suite.RSASig
	s.r1(partnerCertificate(event.Sent)).r1(event.Fragments{Dir: event.Sent, Number: 3, Octets: 1460})
	s.message(left, event.Message{Exchange: "main", Name: "MM5", Encrypted: true, Octets: 1460, Payloads: pay("ID", "CN=r1.example.net", "CERT", "CN=r1.example.net", "CERTREQ", "CN=Example CA", "SIG", "256 octets")})
	s.r2(event.Fragments{Dir: event.Received, Number: 3, Octets: 1460})
	s.r2(event.Identified{Kind: "ID_DER_ASN1_DN", Identity: "CN=r1.example.net"})
	s.r2(event.Revocation{Method: "crl", URL: "http://ca.example.net/crl", Serial: "2A", Result: "good"})
	s.r2(partnerCertificate(event.Received))
	s.move(right, "IKE_R_MM5", "IKE_P1_COMPLETE", "QM_IDLE")
	s.r2(event.Phase1Up{Policy: signed, Identity: "CN=r1.example.net"})
	s.message(right, event.Message{Exchange: "main", Name: "MM6", Encrypted: true, Octets: 1360, Payloads: pay("ID", "CN=r2.example.net", "CERT", "CN=r2.example.net", "SIG", "256 octets")})
	s.r1(event.Revocation{Method: "ocsp", URL: "http://ca.example.net/ocsp", Serial: "2A", Result: "revoked"})
	refused := partnerCertificate(event.Received)
	refused.Refused, refused.Trustpoint = "revoked", ""
	s.r1(refused)
	s.r1(event.Failed{Phase: 1, Code: event.CertRevoked, Reason: "the peer's certificate was revoked", LastSent: "MM5", LastReceived: "MM6", Certificate: refused})
	return s.events
}

func TestCompleteGoldens(t *testing.T) {
	golden(t, "ladder-aggressive.txt", ladder(t, named(), aggressive()))
	golden(t, "ladder-certificates.txt", ladder(t, named(), certificates()))
	for file, events := range map[string][]event.Event{"debug-aggressive.txt": aggressive(), "debug-certificates.txt": certificates()} {
		var b strings.Builder
		for _, facility := range []string{ISAKMP, IPsec, Engine} {
			b.WriteString("== debug crypto " + facility + "\n")
			for _, e := range events {
				for _, l := range DebugOf(e, facility) {
					b.WriteString(l + "\n")
				}
			}
		}
		golden(t, file, b.String())
	}
}

// The sentences an operator searches for, letter by letter.
func TestCompleteSaysWhatIOSSays(t *testing.T) {
	var all []string
	for _, e := range append(aggressive(), certificates()...) {
		all = append(all, Debug(e)...)
		all = append(all, DebugOf(e, Engine)...)
	}
	for _, want := range []string{
		"ISAKMP:(1001): beginning Aggressive Mode exchange",
		"ISAKMP:(1001): sending packet to 198.51.100.2 my_port 500 peer_port 500 (I) AG_INIT_EXCH",
		"ISAKMP:(1001):Old State = IKE_READY  New State = IKE_I_AM1",
		"ISAKMP:(0):: peer matches PARTNER profile",
		"ISAKMP:(0):Found HOSTNAME key in keyring RING",
		"ISAKMP:(1001):: peer matches *none* of the profiles",
		"ISAKMP:(1001):Found ADDRESS key in keyring default",
		"ISAKMP:(1001): constructing CERT payload for CN=r2.example.net",
		"ISAKMP:(1002): processing CERT payload. message ID = 0",
		"ISAKMP:(1002): processing CERT_REQ payload. message ID = 0",
		"ISAKMP:(1002): peer wants a CT_X509_SIGNATURE cert",
		"ISAKMP:(1002): processing a CT_X509_SIGNATURE cert",
		"ISAKMP:(1002): processing SIG payload. message ID = 0",
		"ISAKMP:(1002):DPD/R_U_THERE received from peer 198.51.100.1",
		"ISAKMP:(1001): DPD incrementing error counter (1/3)",
		"ISAKMP:(1001): peer 198.51.100.2 not responding!",
		"    protocol= AH, transform= ah-sha256-hmac  (Tunnel),",
		"ISAKMP: transform 1, AH_SHA256",
		"  (sa) sa_dest= 198.51.100.1, sa_proto= 51,",
		"crypto_engine: Create DH shared secret",
		"crypto_engine: Decrypt IKE packet",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("nobody said %q", want)
		}
	}
}

func TestSyslogOfProofs(t *testing.T) {
	failed := func(code event.Code) event.Failed {
		x := partnerCertificate(event.Received)
		x.NotAfter = t0.Add(-time.Hour)
		return event.Failed{Phase: 1, Code: code, Identity: "r2.example.net", Kind: "ID_FQDN", Certificate: x}
	}
	addressed := failed(event.CertIdentity)
	addressed.Identity, addressed.Kind = "198.51.100.2", "ID_IPV4_ADDR"
	young := failed(event.CertExpired)
	young.Certificate.NotAfter = t0.Add(time.Hour)
	old := weak()
	old.Group = 2
	signed := strong()
	signed.Auth = suite.RSASig
	for _, c := range []struct {
		name string
		what event.What
		want string
	}{
		{"aggressive mode refused", event.Failed{Phase: 1, Code: event.AggressiveOff, LastReceived: "AM1"}, "%CRYPTO-5-IKMP_AG_MODE_DISABLED: Unable to initiate or respond to Aggressive Mode while disabled"},
		{"aggressive mode failed", event.Failed{Phase: 1, Code: event.NoKey, LastReceived: "AM1"}, "%CRYPTO-6-IKMP_MODE_FAILURE: Processing of Aggressive mode failed with peer at 198.51.100.2"},
		{"address", addressed, "%CRYPTO-6-IKMP_NO_ID_CERT_ADDR_MATCH: ID of 198.51.100.2 (type 1) and certificate addr with CN=r2.example.net"},
		{"name", failed(event.CertIdentity), "%CULVERT-4-CERT_IDENTITY: the certificate of 198.51.100.2 (CN=r2.example.net, SN: 2A) is not for r2.example.net"},
		{"expired", failed(event.CertExpired), "%PKI-3-CERTIFICATE_INVALID_EXPIRED: Certificate chain validation has failed.  The certificate (SN: 2A) has expired.    Validity period ended on 11:00:00 UTC May 1 2024"},
		{"not yet valid", young, "%PKI-3-CERTIFICATE_INVALID_NOT_YET_VALID: Certificate chain validation has failed.  The certificate (SN: 2A) is not yet valid"},
		{"revoked", failed(event.CertRevoked), "%CULVERT-3-CERT_REVOKED: the certificate of 198.51.100.2 (CN=r2.example.net, SN: 2A) was revoked"},
		{"untrusted", failed(event.CertUntrusted), "%CULVERT-3-CERT_UNTRUSTED: the certificate of 198.51.100.2 (CN=r2.example.net, SN: 2A, issued by CN=Example CA) leads to no CA of a trustpoint"},
		{"unknown", failed(event.RevocationNone), "%CULVERT-3-CERT_REVOCATION: nobody says whether the certificate of 198.51.100.2 (CN=r2.example.net, SN: 2A) was revoked"},
		{"XAUTH", failed(event.NoXAUTH), "%CULVERT-4-NO_XAUTH: 198.51.100.2 wants extended authentication or mode config, which a site-to-site tunnel has not"},
		{"responder only", event.Failed{Phase: 2, Code: event.IsResponderOnly}, ""},
		{"gone", event.Liveness{Attempt: 5, Of: 5, Dead: true}, "%CULVERT-4-PEER_GONE: 198.51.100.2 does not answer any more: 5 questions without an answer"},
		{"asked", event.Liveness{Attempt: 1, Of: 5}, ""},
		{"reloaded", event.Reconfigured{Kept: 3, Ended: 1}, "%CULVERT-5-RECONFIGURED: new settings are in force: 3 SAs stay, 1 end"},
		{"main mode up", event.Phase1Up{Policy: strong()}, ""},
		{"aggressive mode up", event.Phase1Up{Policy: strong(), Aggressive: true}, "%CULVERT-4-WEAK: phase 1 with 198.51.100.2: aggressive mode tells the identities in clear and a hash of the pre-shared key to guess at"},
		{"aggressive mode with signatures", event.Phase1Up{Policy: signed, Aggressive: true}, ""},
		{"legacy up", event.Phase1Up{Policy: old}, "%CULVERT-4-WEAK: phase 1 with 198.51.100.2: aes 128, sha, pre-share, group 2 has legacy algorithms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Syslog(event.Event{At: t0, Local: r1, Peer: r2, What: c.what})
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got  %q, %v\nwant %q", got, ok, c.want)
			}
		})
	}
}
