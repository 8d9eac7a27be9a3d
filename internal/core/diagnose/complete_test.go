package diagnose

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// refusal is hand-made evidence of one refusal, and what must be told of it.
type refusal struct {
	name   string
	role   event.Role
	change func(*policy.Settings)
	sas    []status.ISAKMP
	f      event.Failed
	w      told
}

func theirCertificate() event.Certificate {
	return event.Certificate{Dir: event.Received, Subject: "CN=r2.example.net", Issuer: "CN=Partner CA", Serial: "0A1B", NotAfter: now.Add(-26 * time.Hour), Trustpoint: "CORP"}
}

// signed is site A with rsa-sig and a trustpoint without a certificate of ours.
func signed(s *policy.Settings) {
	s.Policies[0].Auth, s.Policies[0].AuthOrigin = suite.RSASig, at(5, "authentication rsa-sig")
	s.Trustpoints = []policy.Trustpoint{{Name: "CORP", Origin: at(30, "crypto pki trustpoint CORP")}}
}

func profiled(s *policy.Settings) {
	p := policy.Profile{Name: "PARTNER", Keyrings: []string{"RING"}, Origin: at(40, "crypto isakmp profile PARTNER"),
		Match: []policy.IdentityMatch{{Kind: policy.IdentityFQDN, Value: "other.example.net", Origin: at(41, "match identity host other.example.net")}}}
	s.Profiles, s.Entries[0].Profile, s.Entries[0].ProfileOrigin = []policy.Profile{p}, &p, at(24, "set isakmp-profile PARTNER")
	s.Keyrings = []policy.Keyring{{Name: "RING", Origin: at(35, "crypto keyring RING"), Keys: []policy.Key{{Peers: netip.MustParsePrefix("198.51.100.0/24"), Origin: at(36, "pre-shared-key address ******")}}}}
}

func natted() []status.ISAKMP {
	sa := phase1("QM_IDLE")
	sa[0].NAT.PeerBehind = true
	return sa
}

func phase1Refusals() []refusal {
	responder, initiator := event.Responder, event.Initiator
	xauth := policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: 65001, Group: 19}
	encr := xauth
	encr.Auth = suite.RSAEncr
	return []refusal{
		{"XAUTH offered", responder, nil, nil, event.Failed{Phase: 1, Code: event.NoXAUTH, PolicyOffers: []policy.ISAKMP{xauth}},
			told{"down", 2, true, false, "offers authentication with XAUTH only (aes 256, sha256, auth(65001), group 19)", "peer 198.51.100.2 crypto isakmp key THE-SAME-KEY address 198.51.100.1 no-xauth ! on strongSwan no round with auth = xauth, on libreswan no leftxauthclient"}},
		{"XAUTH behind phase 1", initiator, nil, nil, event.Failed{Phase: 1, Code: event.NoXAUTH, LastReceived: "MM6"},
			told{"down", 2, true, false, "198.51.100.2 wants extended authentication (XAUTH) or mode config behind phase 1", ""}},
		{"aggressive mode", responder, nil, nil, event.Failed{Phase: 1, Code: event.AggressiveOff, LastReceived: "AM1"},
			told{"down", 2, true, true, `a profile with "initiate mode aggressive" names. It tells the identities in clear`, `peer 198.51.100.2 main mode for this tunnel: on IOS "no crypto isakmp peer address 198.51.100.1", on strongSwan "aggressive = no", on libreswan "aggressive=no"`}},
		{"aggressive mode, switched off", responder, func(s *policy.Settings) {
			s.AggressiveDisabled, s.AggressiveDisabledOrigin = true, at(9, "crypto isakmp aggressive-mode disable")
		}, nil, event.Failed{Phase: 1, Code: event.AggressiveOff, LastReceived: "AM1"},
			told{"down", 2, true, true, `here "crypto isakmp aggressive-mode disable" forbids it`, ""}},
		{"RSA encryption offered", responder, nil, nil, event.Failed{Phase: 1, Code: event.RSAEncrypted, PolicyOffers: []policy.ISAKMP{encr}},
			told{"down", 2, true, false, "offered aes 256, sha256, rsa-encr, group 19; authentication by RSA encryption is not spoken here", "peer 198.51.100.2 authentication pre-share"}},
		{"RSA encryption here", initiator, func(s *policy.Settings) { s.Policies[0].Auth = suite.RSAEncr }, nil, event.Failed{Phase: 1, Code: event.RSAEncrypted},
			told{"down", 2, true, false, "says authentication rsa-encr", "r1.cfg:5 authentication pre-share"}},
		{"identity", responder, nil, nil, event.Failed{Phase: 1, Code: event.BadIdentity, Identity: "192.0.2.1", Kind: "ID_IPV4_ADDR"},
			told{"down", 2, true, true, "proved its key, but calls itself 192.0.2.1 (ID_IPV4_ADDR)", "peer 198.51.100.2 crypto isakmp identity address"}},
		{"set identity", responder, func(s *policy.Settings) {
			s.Entries[0].Identity = []policy.IdentityMatch{{Kind: policy.IdentityFQDN, Value: "r2.example.net", Origin: at(12, "fqdn r2.example.net")}}
		}, nil, event.Failed{Phase: 1, Code: event.BadIdentity, Identity: "192.0.2.1", Kind: "ID_IPV4_ADDR"},
			told{"down", 5, true, true, "takes only fqdn r2.example.net (set identity)", "r1.cfg:12 identity address 192.0.2.1"}},
		{"profile of another name", responder, profiled, nil, event.Failed{Phase: 1, Code: event.NoProfile, Identity: "r2.example.net", Kind: "ID_FQDN"},
			told{"down", 2, true, true, "profile PARTNER here recognises fqdn other.example.net", "r1.cfg:40 match identity host r2.example.net"}},
		{"profile of another entry", responder, profiled, nil, event.Failed{Phase: 1, Code: event.NoProfile, Identity: "r2.example.net", Kind: "ID_FQDN", Profile: "SECOND"},
			told{"down", 5, true, true, "which profile SECOND recognises; crypto map CMAP 10 here wants profile PARTNER", "r1.cfg:24 set isakmp-profile SECOND"}},
		{"no key by that name", responder, nil, nil, event.Failed{Phase: 1, Code: event.NoKey, Identity: "r2.example.net", Kind: "ID_FQDN", LastReceived: "AM1"},
			told{"down", 2, true, true, "no pre-shared key for that name", "R1 crypto isakmp key KEY hostname r2.example.net"}},
		{"no key in the keyring", responder, func(s *policy.Settings) { profiled(s); s.Keyrings[0].Keys = nil }, nil, event.Failed{Phase: 1, Code: event.NoKey},
			told{"down", 2, true, true, "in keyring RING, which profile PARTNER uses", "r1.cfg:35 pre-shared-key address 198.51.100.2 key KEY"}},
		{"wrong key in a keyring", responder, profiled, nil, event.Failed{Phase: 1, Code: event.WrongKey, LastSent: "MM4", LastReceived: "MM3"},
			told{"down", 2, false, false, "(in keyring RING)", "r1.cfg:36 pre-shared-key address 198.51.100.0 255.255.255.0 key THE-SAME-KEY"}},
		{"wrong key in aggressive mode", initiator, nil, nil, event.Failed{Phase: 1, Code: event.WrongKey, LastSent: "AM1", LastReceived: "AM2"},
			told{"down", 2, false, false, "the hash in its AM2 does not prove it", "r1.cfg:8 crypto isakmp key THE-SAME-KEY address 198.51.100.2"}},
		{"aggressive mode without an answer", initiator, nil, nil, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "AM1"},
			told{"down", 1, false, false, "or it does not speak aggressive mode with us", ""}},
		{"aggressive mode refused", initiator, func(s *policy.Settings) { s.Aggressive = []policy.AggressivePeer{{Addr: peer}} }, nil,
			event.Failed{Phase: 1, Code: event.PeerRefused, LastSent: "AM1", Notified: "UNSUPPORTED-EXCHANGE-TYPE"},
			told{"down", 2, false, false, "it does not speak aggressive mode with us", "R1 no crypto isakmp peer address 198.51.100.2"}},
	}
}

func certificateRefusals() []refusal {
	responder, initiator := event.Responder, event.Initiator
	cert := theirCertificate()
	later := cert
	later.NotAfter = now.Add(time.Hour)
	failed := func(code event.Code, x event.Certificate) event.Failed {
		return event.Failed{Phase: 1, Code: code, Certificate: x, LastReceived: "MM5"}
	}
	looked := failed(event.RevocationNone, cert)
	looked.Revocations = []event.Revocation{{Method: "crl", URL: "http://ca.example.net/crl", Result: "no answer"}, {Method: "ocsp", Result: "no responder is named"}}
	revoked := failed(event.CertRevoked, cert)
	revoked.Revocations = []event.Revocation{{Method: "ocsp", URL: "http://ca.example.net/ocsp", Result: "revoked"}}
	stranger := failed(event.CertIdentity, later)
	stranger.Identity, stranger.Kind = "r9.example.net", "ID_FQDN"
	curved := policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.ECDSA384, Group: 19}
	return []refusal{
		{"no certificate of ours", initiator, signed, nil, event.Failed{Phase: 1, Code: event.NoCertificate},
			told{"down", 2, true, true, "Policy 10 (r1.cfg:2) authenticates with rsa-sig, and the trustpoint here is CORP: none has a certificate and its private key for that", "r1.cfg:5 authentication pre-share"}},
		{"no certificate and no key", initiator, func(s *policy.Settings) { signed(s); s.Keys = nil }, nil, event.Failed{Phase: 1, Code: event.NoCertificate},
			told{"down", 2, true, false, "", "r1.cfg:30 certificate file PEM ! ours, for rsa-sig|private-key file PEM"}},
		{"another CA", responder, signed, nil, failed(event.CertUntrusted, cert),
			told{"down", 2, true, true, "shows a certificate, CN=r2.example.net (serial 0A1B), issued by CN=Partner CA; it leads to no CA that is trusted here (the trustpoint here is CORP)", "R1 crypto pki trustpoint NAME| ca-certificate file PEM ! of the CA CN=Partner CA"}},
		{"expired", responder, signed, nil, failed(event.CertExpired, cert),
			told{"down", 2, true, false, "ended on 1 January 2026 at 01:04 UTC; here it is 2 January 2026, 03:04 UTC", "peer 198.51.100.2 crypto pki enroll NAME ! a new certificate"}},
		{"not yet valid", responder, signed, nil, failed(event.CertExpired, later),
			told{"down", 2, true, false, "is not valid yet, or the clock here is slow", ""}},
		{"revoked", responder, signed, nil, revoked,
			told{"down", 2, true, false, "was taken back by its CA (ocsp http://ca.example.net/ocsp: revoked)", ""}},
		{"nobody knows", responder, signed, nil, looked,
			told{"down", 2, true, true, "was revoked (crl http://ca.example.net/crl: no answer; ocsp: no responder is named), and trustpoint CORP wants to know (revocation-check crl)", "r1.cfg:30 revocation-check crl none"}},
		{"nobody knows, written", responder, func(s *policy.Settings) {
			signed(s)
			s.Trustpoints[0].Revocation, s.Trustpoints[0].RevocationOrigin = []string{"ocsp", "crl"}, at(32, "revocation-check ocsp crl")
		}, nil, looked, told{"down", 2, true, true, "revocation-check ocsp crl", "r1.cfg:32 revocation-check ocsp crl none"}},
		{"another name", responder, signed, nil, stranger,
			told{"down", 2, true, true, "calls itself r9.example.net (ID_FQDN), but its certificate, CN=r2.example.net (serial 0A1B), issued by CN=Partner CA, is not for that name", "peer 198.51.100.2 crypto isakmp identity dn"}},
		{"no certificate map", responder, func(s *policy.Settings) {
			signed(s)
			s.Trustpoints[0].Match = []*policy.CertificateMap{{Name: "ROUTERS", Entries: []policy.CertificateRules{{Seq: 10}}}}
		}, nil, failed(event.CertIdentity, later), told{"down", 2, true, true, "does not fit certificate map ROUTERS", "R1 crypto pki certificate map ROUTERS 20| subject-name co cn=r2.example.net"}},
		{"bad signature", responder, signed, nil, failed(event.BadSignature, later),
			told{"down", 2, false, false, "does not prove the key of its certificate", ""}},
		{"another curve", responder, func(s *policy.Settings) { signed(s); s.Policies[0].Auth = suite.ECDSA256 }, nil, event.Failed{Phase: 1, Code: event.NoPolicy, PolicyOffers: []policy.ISAKMP{curved}},
			told{"down", 2, true, true, "signs with P-384, the certificate here with P-256", "r1.cfg:30 certificate file PEM ! with a key on P-384|private-key file PEM"}},
		{"our CA refused", initiator, signed, phase1("MM_KEY_EXCH"), event.Failed{Phase: 1, Code: event.PeerRefused, LastSent: "MM5", Notified: "INVALID-CERT-AUTHORITY"},
			told{"down", 2, false, false, "it refused our certificate", ""}},
		{"our signature refused", initiator, signed, nil, event.Failed{Phase: 1, Code: event.PeerRefused, LastSent: "MM5", Notified: "AUTHENTICATION-FAILED"},
			told{"down", 2, false, false, "it did not take our signature", ""}},
		{"the key refused", initiator, nil, phase1("MM_KEY_EXCH"), event.Failed{Phase: 1, Code: event.PeerRefused, LastSent: "MM5", Notified: "AUTHENTICATION-FAILED"},
			told{"down", 2, false, false, "The pre-shared keys differ", "r1.cfg:8 crypto isakmp key THE-SAME-KEY address 198.51.100.2"}},
		{"our identity refused", initiator, nil, nil, event.Failed{Phase: 1, Code: event.PeerRefused, LastSent: "MM5", Notified: "INVALID-ID-INFORMATION"},
			told{"down", 2, false, false, "does not know us under the identity", ""}},
		{"certificates in fragments", initiator, signed, nil, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM5", LastReceived: "MM4"},
			told{"down", 1, false, false, "drops the IP fragments of MM5, which is large with a certificate in it", ""}},
		{"the peer's certificate in fragments", responder, signed, nil, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM4", LastReceived: "MM3"},
			told{"down", 1, false, false, "drops the IP fragments of MM5, which is large with the peer's certificate in it", ""}},
	}
}

func phase2Refusals() []refusal {
	responder, initiator := event.Responder, event.Initiator
	set := settings().Entries[0].Sets[0]
	ah := policy.TransformSet{AH: suite.SHA256}
	own := func(change func(*policy.Entry)) func(*policy.Settings) {
		return func(s *policy.Settings) { change(&s.Entries[0]) }
	}
	offer := func(t policy.TransformSet, encap string, g suite.Group) []event.Proposal {
		t.Name, t.Mode = "", suite.Tunnel
		if encap == "transport" {
			t.Mode = suite.Transport
		}
		return []event.Proposal{{Number: 1, Set: t, Encap: encap, Group: g}}
	}
	esn := set
	esn.ESN = true
	failed := func(code event.Code, o []event.Proposal) event.Failed {
		return event.Failed{Phase: 2, Flow: flowID(10), Code: code, ProposalOffers: o, LastReceived: "QM1"}
	}
	return []refusal{
		{"ESN there", responder, nil, nil, failed(event.NoTransformSet, offer(esn, "tunnel", 0)),
			told{"down", 3, true, true, "they differ in extended sequence numbers", "r1.cfg:10 esn"}},
		{"ESN here", responder, own(func(e *policy.Entry) { e.Sets[0].ESN, e.Sets[0].ESNOrigin = true, at(11, "esn") }), nil, failed(event.NoTransformSet, offer(set, "tunnel", 0)),
			told{"down", 3, true, true, "here is esp-256-aes esp-sha256-hmac, esn: they differ in extended sequence numbers", "r1.cfg:11 no esn"}},
		{"the mode", responder, own(func(e *policy.Entry) {
			e.Sets[0].Mode, e.Sets[0].Require, e.Sets[0].ModeOrigin = suite.Transport, true, at(11, "mode transport require")
		}), nil, failed(event.ModeMismatch, offer(set, "tunnel", 0)),
			told{"down", 3, true, true, "transform set STRONG here is in transport mode: they differ in nothing but the mode", "r1.cfg:11 mode tunnel"}},
		{"the mode, refused by the peer", initiator, nil, nil, event.Failed{Phase: 2, Flow: flowID(10), Code: event.ModeMismatch, LastSent: "QM1"},
			told{"down", 3, false, false, "refused the mode of what was offered", ""}},
		{"the mode, not for this traffic", initiator, own(func(e *policy.Entry) {
			e.Sets[0].Mode, e.Sets[0].Require, e.Sets[0].ModeOrigin = suite.Transport, true, at(11, "mode transport require")
		}), nil, event.Failed{Phase: 2, Flow: flowID(10), Code: event.ModeMismatch},
			told{"down", 3, true, true, "Transform set STRONG requires transport mode, which is for traffic between the two gateways themselves; access list 102 protects other traffic", "r1.cfg:11 mode tunnel"}},
		{"PFS without set pfs, legacy", responder, nil, nil, failed(event.PFSMismatch, offer(set, "tunnel", 2)),
			told{"down", 5, true, true, "PFS with group 2, a legacy group, which the compliance shield keeps from being negotiated; crypto map CMAP 10 here has no set pfs", "r1.cfg:20 set pfs group2"}},
		{"PFS with a group nobody speaks", responder, nil, nil, failed(event.PFSMismatch, offer(set, "tunnel", 999)),
			told{"down", 5, true, true, "PFS with group 999, which is not spoken here", "peer 198.51.100.2 no set pfs"}},
		{"PFS with a curve", responder, own(func(e *policy.Entry) { e.PFS, e.PFSOrigin = 14, at(25, "set pfs group14") }), nil, failed(event.PFSMismatch, offer(set, "tunnel", 20)),
			told{"down", 5, true, true, "PFS with group 20; crypto map CMAP 10 here says set pfs group14", "r1.cfg:25 set pfs group20"}},
		{"traffic asks a responder", initiator, own(func(e *policy.Entry) { e.ResponderOnly, e.ResponderOrigin = true, at(26, "responder-only") }), nil, failed(event.IsResponderOnly, nil),
			told{"down", 5, true, true, "is responder-only: the peer has to begin", "r1.cfg:26 no responder-only"}},
		{"AH against ESP", responder, nil, nil, failed(event.NoTransformSet, offer(ah, "tunnel", 0)),
			told{"down", 3, true, true, "they differ in the protocol (AH against ESP)", "r1.cfg:10 crypto ipsec transform-set STRONG ah-sha256-hmac"}},
		{"the peer is gone", initiator, nil, nil, event.Failed{Phase: 1, Code: event.PeerGone, Reason: "dead peer detection: 5 of 5 questions without an answer"},
			told{"down", 1, false, false, "answered once and then no more (dead peer detection: 5 of 5 questions without an answer)", ""}},
		{"fragments", responder, nil, nil, event.Failed{Phase: 1, Code: event.Fragmented, Reason: "2 of 3 came", LastSent: "MM4", LastReceived: "MM3"},
			told{"down", 1, false, false, "in fragments, and they never became a whole one (2 of 3 came)", "peer 198.51.100.2 no crypto isakmp fragmentation"}},
	}
}

// Every refusal of the complete IKEv1, from hand-made evidence of one side.
func TestEveryRefusal(t *testing.T) {
	for _, c := range append(append(phase1Refusals(), certificateRefusals()...), phase2Refusals()...) {
		t.Run(c.name, func(t *testing.T) {
			s := settings()
			if c.change != nil {
				c.change(s)
			}
			if len(s.Usable()) == 0 && c.f.Code != event.RSAEncrypted || len(s.UsableSets(&s.Entries[0])) == 0 {
				t.Fatal("the engine would not negotiate this: the row proves nothing")
			}
			for _, pending := range []bool{false, true} {
				f, w := c.f, c.w
				if f.Pending = pending; pending {
					w.status = "negotiating"
				}
				r := Explain(Evidence{Settings: s, Now: now, ISAKMP: c.sas, Failures: []event.Event{failure(c.role, f)}})
				if len(r) != 1 {
					t.Fatalf("%d reports", len(r))
				}
				want(t, r[0], w)
				if r[0].Reason != f.Code || len(r[0].Fixes) == 0 {
					t.Errorf("reason %q, fixes %+v", r[0].Reason, r[0].Fixes)
				}
				if strings.Contains(r[0].Sentence, "%!") || strings.Contains(r[0].Sentence, "  ") {
					t.Errorf("the sentence is broken: %s", r[0].Sentence)
				}
				noSecret(t, r[0])
			}
		})
	}
}

// Every code of package event is explained by a sentence of its own.
func TestNoCodeIsForgotten(t *testing.T) {
	own := map[event.Code]bool{event.PeerRefused: true, event.Malformed: true, event.Expired: true, event.Cleared: true, event.NoEntry: true}
	c := explainer{}
	for _, code := range []event.Code{
		event.NoAnswer, event.NoPolicy, event.NoKey, event.WrongKey, event.NoTransformSet, event.PFSMismatch, event.NoProxy, event.PeerRefused, event.Malformed,
		event.Expired, event.BadIdentity, event.Cleared, event.NoEntry, event.SpeaksIKEv2, event.LegacyOnly, event.NoXAUTH, event.AggressiveOff, event.RSAEncrypted,
		event.NoCertificate, event.CertUntrusted, event.CertExpired, event.CertRevoked, event.RevocationNone, event.CertIdentity, event.BadSignature,
		event.NoProfile, event.ModeMismatch, event.IsResponderOnly, event.PeerGone, event.Fragmented,
	} {
		if (c.tellers()[code] == nil) != own[code] {
			t.Errorf("%s: a function of its own: %t", code, c.tellers()[code] != nil)
		}
	}
}

// Who has to cut large messages: the side that sends the lost one, unless it is
// told to already; then the other side has to say that it takes fragments.
func TestWhoShouldCut(t *testing.T) {
	for _, c := range []struct {
		sent string
		here bool
		side string
	}{{"MM5", false, "R1"}, {"MM5", true, "peer 198.51.100.2"}, {"MM4", false, "peer 198.51.100.2"}, {"MM4", true, "peer 198.51.100.2"}} {
		s := settings()
		signed(s)
		s.Fragmentation = c.here
		r := Explain(Evidence{Settings: s, Now: now, Failures: []event.Event{failure(event.Initiator, event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: c.sent})}})[0]
		last := r.Fixes[len(r.Fixes)-1]
		if last.Side != c.side || len(last.Write) != 1 || last.Write[0] != "crypto isakmp fragmentation" {
			t.Errorf("behind %s, fragmentation here %t: %+v, expected it at %s", c.sent, c.here, r.Fixes, c.side)
		}
	}
}

// AH does not pass a NAT, whoever notices first.
func TestAHThroughNAT(t *testing.T) {
	for _, f := range []event.Failed{
		{Phase: 2, Flow: flowID(10), Code: event.NoTransformSet, Notified: "NO-PROPOSAL-CHOSEN"},
		{Phase: 2, Flow: flowID(10), Code: event.NoAnswer, LastSent: "QM1"},
	} {
		s := settings()
		s.Entries[0].Sets[0].AH = suite.SHA256
		if len(s.UsableSets(&s.Entries[0])) == 0 {
			t.Fatal("AH may not be negotiated")
		}
		r := Explain(Evidence{Settings: s, Now: now, ISAKMP: natted(), Failures: []event.Event{failure(event.Initiator, f)}})[0]
		want(t, r, told{"down", 3, true, false, "uses AH, which covers the addresses in the packet; there is a NAT in front of 198.51.100.2", "r1.cfg:10 crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac"})
	}
}

// Extended sequence numbers without the anti-replay window are never offered.
func TestSequenceNumbersWithoutWindow(t *testing.T) {
	s := settings()
	s.Entries[0].ReplayWindow, s.Entries[0].Sets[0].ESN, s.Entries[0].Sets[0].ESNOrigin = 0, true, at(11, "esn")
	want(t, Explain(Evidence{Settings: s, Now: now})[0], told{"down", 3, true, false, "the anti-replay window, and that is disabled for the entry", "r1.cfg:11 no esn"})
}

// What carries a tunnel with AH has to be let in by the interface ACL.
func TestInterfaceListForAH(t *testing.T) {
	s := settings()
	s.Entries[0].Sets[0].AH = suite.SHA256
	esp := permitLine(10, "198.51.100.2/32", "0.0.0.0/0")
	esp.Proto = flow.ESP
	udp := permitLine(20, "198.51.100.2/32", "0.0.0.0/0")
	udp.Proto = flow.UDP
	s.Entries[0].In = &flow.List{Name: "101", Extended: true, Lines: []flow.Line{esp, udp}, Origin: at(50, "access-list 101 …")}
	r := Explain(Evidence{Settings: s, Now: now})[0]
	if r.Steps[0].State != Wrong || r.Steps[0].Detail != "access list 101 drops AH" {
		t.Errorf("step 1: %+v", r.Steps[0])
	}
}

// A dynamic entry has a report for each peer that came by it.
func TestDynamicEntry(t *testing.T) {
	s := settings()
	s.Entries[0].Dynamic, s.Entries[0].DynamicMap, s.Entries[0].DynamicSeq, s.Entries[0].Peers, s.Entries[0].ACL = true, "DYN", 10, nil, nil
	want(t, Explain(Evidence{Settings: s, Now: now})[0], told{"idle", 0, true, false, "Nothing is wrong so far: crypto map CMAP 10 waits for the peer to begin", ""})
	id := policy.FlowID{Map: "CMAP", Seq: 65536, Line: 1}
	e := Evidence{Settings: s, Now: now, ISAKMP: phase1("QM_IDLE"), Up: map[policy.FlowID]bool{id: true}, Flows: map[policy.FlowID]DynamicFlow{id: {Peer: peer, From: "DYN/10"}}}
	want(t, Explain(e)[0], told{"up", 0, true, false, "The tunnel to 198.51.100.2 is up: 1 flow that it asked for protected", ""})
	other := failure(event.Responder, event.Failed{Phase: 1, Code: event.WrongKey, LastReceived: "MM3"})
	other.Peer = netip.MustParseAddrPort("198.51.100.3:500")
	s.Keys = append(s.Keys, policy.Key{Peers: netip.MustParsePrefix("0.0.0.0/0"), Origin: at(9, "crypto isakmp key ****** address 0.0.0.0")})
	e.Failures = []event.Event{other}
	r := Explain(e)
	if len(r) != 2 {
		t.Fatalf("%d reports", len(r))
	}
	want(t, r[0], told{"up", 0, true, false, "198.51.100.2 is up", ""})
	want(t, r[1], told{"down", 2, false, false, "The pre-shared key for 198.51.100.3 is almost certainly", "r1.cfg:9 crypto isakmp key THE-SAME-KEY address 198.51.100.3"})
	asks := failure(event.Initiator, event.Failed{Phase: 2, Code: event.IsResponderOnly})
	e = Evidence{Settings: s, Now: now, Failures: []event.Event{asks}}
	want(t, Explain(e)[0], told{"down", 5, true, false, "is made from a dynamic map: the peer has to begin", ""})
}
