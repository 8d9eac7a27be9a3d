package show

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// Certificates made once with OpenSSL: the CA's, and R1's for r1.example.net.
const (
	caDER = "MIIBqjCCAVCgAwIBAgIBATAKBggqhkjOPQQDAjA0MQswCQYDVQQGEwJERTEQMA4GA1UECgwHRXhhbXBsZTETMBEGA1UEAwwKRXhhbXBsZSBDQTAeFw0yNjExMjMxNTE3NDNaFw0zNjExMjAxNTE3NDNaMDQxCzAJBgNVBAYTAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRMwEQYDVQQDDApFeGFtcGxlIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcJJIWM5vp3LdcnyrBPuQWSsM35IJEzRuvwJUtNQ/BEAmdenFB8qdpCybZgzPku7Iq6buMICHwvF3WDrJm4cQhqNTMFEwHQYDVR0OBBYEFLPJCSZbTc7OIsgWu/9HNCCevI09MB8GA1UdIwQYMBaAFLPJCSZbTc7OIsgWu/9HNCCevI09MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAItjeqo0fnrRMuAoHQcNaOIheiSE/PULg6l3jDIwhclwAiBHBKA9UKz1IW/w62VptS84YRxri8Sfs1/477EI7JGWJg=="
	r1DER = "MIIB4zCCAYigAwIBAgIBKjAKBggqhkjOPQQDAjA0MQswCQYDVQQGEwJERTEQMA4GA1UECgwHRXhhbXBsZTETMBEGA1UEAwwKRXhhbXBsZSBDQTAeFw0yNjExMjMxNTE3NDRaFw0zNjExMjAxNTE3NDRaMCsxEDAOBgNVBAoMB0V4YW1wbGUxFzAVBgNVBAMMDnIxLmV4YW1wbGUubmV0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEknwkUeNVr00LSORwrcJna/MZVxHnigXPlpqrASaV8a6mpxsbWJZfvpT2nP36hQZ/uw9kVtlVkScNM1RY1Of6waOBkzCBkDAfBgNVHREEGDAWgg5yMS5leGFtcGxlLm5ldIcExjNkATAtBgNVHR8EJjAkMCKgIKAehhxodHRwOi8vY2EuZXhhbXBsZS5uZXQvY2EuY3JsMB0GA1UdDgQWBBQDGlgy0KFscg50sBHOqimk7IuBiDAfBgNVHSMEGDAWgBSzyQkmW03OziLIFrv/RzQgnryNPTAKBggqhkjOPQQDAgNJADBGAiEA6GHl4Zw/apsW84zpsl3Au5EGl+dW9M53al1RVkieSlMCIQCzpf1TXEk0SudhpcV0/Yz7nsUfLvNqw0U5nBXyBZm4jQ=="
)

func der(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// complete is a gateway that uses what a partner's router may ask for:
// certificates, profiles, keyrings, aggressive mode, AH around ESP, transport
// mode with ESN, a dynamic map with a peer.
func complete(t *testing.T) *status.Gateway {
	g := up()
	partner := netip.MustParseAddr("203.0.113.9")
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 3))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := crypt.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	profile := policy.Profile{
		Name: "PARTNER", Keyrings: []string{"RING"}, Trustpoints: []string{"CORP"}, Self: policy.SelfIdentity{Kind: policy.IdentityFQDN, Value: "r1.example.net"}, HasSelf: true,
		Match: []policy.IdentityMatch{{Kind: policy.IdentityFQDN, Value: "r9.example.org"}, {Kind: policy.IdentityAddress, Prefix: netip.PrefixFrom(partner, 32)},
			{Kind: policy.IdentityUser, Value: "example.org", Domain: true}, {Certificate: &policy.CertificateMap{Name: "ROUTERS"}}},
		Keepalive: policy.Keepalive{Every: 10 * time.Second, Retry: 2 * time.Second}, Aggressive: true,
	}
	s := g.Settings
	s.Profiles = []policy.Profile{profile}
	s.Trustpoints = []policy.Trustpoint{{Name: "CORP", CAs: [][]byte{der(t, caDER)}, Chain: [][]byte{der(t, r1DER)}, Key: signer}, {Name: "EMPTY"}}
	s.Keyrings = []policy.Keyring{{Name: "RING", Keys: []policy.Key{{Host: "r9.example.org", Secret: crypt.NewSecret([]byte(psk))}, {Peers: netip.MustParsePrefix("203.0.113.0/24"), Secret: crypt.NewSecret([]byte(psk))}}}}
	signed := policy10()
	signed.Priority, signed.Auth = 20, suite.ECDSA256
	s.Policies = append(s.Policies, signed)

	bundle := policy.TransformSet{Name: "TS-BUNDLE", AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}
	transport := policy.TransformSet{Name: "TS-ESN", Cipher: suite.AESGCM, KeyBits: 256, Mode: suite.Transport, Require: true, ESN: true}
	second := entry10()
	second.Seq, second.Peers, second.Sets, second.Profile = 20, []netip.Addr{partner, r2}, []policy.TransformSet{bundle, transport}, &profile
	second.ResponderOnly, second.PerHost, second.IdleTime, second.DefaultPeer = true, true, 600*time.Second, true
	dynamic := policy.Entry{Map: "CMAP", Seq: 100, Interface: outside, Local: r1, Sets: []policy.TransformSet{cbcSet()}, PFS: 31, Dynamic: true, DynamicMap: "DYN", DynamicSeq: 10}
	s.Entries = append(s.Entries, second, dynamic)
	template := dynamic
	template.Map, template.Seq = "DYN", 10
	g.Dynamic = []status.DynamicMap{{Name: "DYN", Entries: []policy.Entry{template}}}
	g.Sets = []policy.TransformSet{cbcSet(), bundle, transport}

	starting := idleSA(1004, event.Responder)
	starting.State, starting.Aggressive, starting.Established, starting.Remaining, starting.Identity = "AG_INIT_EXCH", true, time.Time{}, 0, ""
	starting.Remote, starting.DPD = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.77"), 500), false
	partnerSA := idleSA(1005, event.Responder)
	partnerSA.Remote, partnerSA.Policy, partnerSA.Identity, partnerSA.Profile, partnerSA.Fragmentation = netip.AddrPortFrom(partner, 500), signed, "r9.example.org", "PARTNER", true
	g.ISAKMP = append(g.ISAKMP, starting, partnerSA)

	hosts := flow.Selectors{Local: netip.PrefixFrom(r1, 32), Remote: netip.PrefixFrom(partner, 32), Proto: 47}
	one := pair(7, 0x700, 0x701, bundle)
	one.AHIn, one.AHOut, one.Selectors = 0x70A, 0x70B, hosts
	two := pair(8, 0x800, 0x801, transport)
	two.ESN, two.Encap, two.Selectors = true, true, hosts
	asked := flow.Selectors{Local: sites.Local, Remote: netip.MustParsePrefix("10.77.0.0/16")}
	three := pair(9, 0x900, 0x901, cbcSet())
	three.Selectors, three.PFS = asked, 31
	g.Flows = append(g.Flows,
		status.Flow{ID: policy.FlowID{Map: "CMAP", Seq: 20, Line: 10}, Interface: outside, Local: r1, Peer: netip.AddrPortFrom(partner, 500), Selectors: hosts, Children: []status.Child{one, two}},
		status.Flow{ID: policy.FlowID{Map: "CMAP", Seq: 65536, Line: 10}, Interface: outside, Local: r1, Peer: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.77"), 500), Selectors: asked,
			Text: "permit ip 10.10.10.0 0.0.0.255 10.77.0.0 0.0.255.255", Dynamic: "DYN/10", Children: []status.Child{three}},
	)
	return g
}

func completeOrder() []string {
	return []string{
		"isakmp-sa", "isakmp-sa-detail", "isakmp-peers", "isakmp-policy", "isakmp-key", "isakmp-profile", "isakmp-default-policy", "ipsec-sa", "ipsec-sa-detail", "ipsec-sa-count",
		"transform-set", "security-association", "session", "session-detail", "map", "dynamic-map", "pki-trustpoints", "pki-status", "pki-certificates",
		"json-isakmp-sa", "json-isakmp-key", "json-isakmp-profile", "json-ipsec-sa", "json-ipsec-count", "json-security-association", "json-session", "json-map", "json-dynamic-map", "json-pki",
	}
}

// TestComplete is a golden of every command that a complete IKEv1 changes; and
// no secret is in it.
func TestComplete(t *testing.T) {
	g := complete(t)
	var got bytes.Buffer
	all := commands()
	for _, c := range completeOrder() {
		got.WriteString("== " + c + "\n")
		if err := all[c](&got, g); err != nil {
			t.Fatal(err)
		}
	}
	compareGolden(t, filepath.Join("testdata", "complete.txt"), got.String())
	if strings.Contains(got.String(), psk) || strings.Contains(got.String(), "PRIVATE KEY") {
		t.Error("a secret is told")
	}
}

// What a CA wrote into a certificate reaches no terminal as a command.
func TestHostileName(t *testing.T) {
	g := complete(t)
	hostile := bytes.Replace(der(t, r1DER), []byte("Example1"), []byte("Ex\x1b[2Jp1"), 1)
	hostile = bytes.Replace(hostile, []byte("http://ca."), []byte("http:\x1b[2J."), 1)
	hostile = bytes.ReplaceAll(hostile, []byte("r1.example.net"), []byte("r1.\x1bxample.net"))
	g.Settings.Trustpoints[0].Chain = [][]byte{hostile, []byte("no certificate")}
	var got bytes.Buffer
	for _, c := range []string{"pki-trustpoints", "pki-status", "pki-certificates", "json-pki"} {
		if err := commands()[c](&got, g); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsRune(got.String(), '\x1b') {
		t.Errorf("an escape reaches the terminal: %q", got.String())
	}
}

func TestNoDynamicMaps(t *testing.T) {
	var got bytes.Buffer
	if err := DynamicMaps(&got, idle()); err != nil || got.String() != "No crypto map templates found.\n" {
		t.Errorf("%q, %v", got.String(), err)
	}
}
