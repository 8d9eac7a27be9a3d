package scenario

import (
	"net/netip"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// All is the whole table, in the order of the matrix.
func All() []Scenario {
	var all []Scenario
	for _, part := range [][]Scenario{phase1(), identities(), certificates(), phase2(), headers(), translated(), selectors(), refused()} {
		all = append(all, part...)
	}
	return all
}

// Find is the scenario of that name.
func Find(name string) (Scenario, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

func one(p policy.ISAKMP) []policy.ISAKMP { return []policy.ISAKMP{p} }

func only(t policy.TransformSet) []policy.TransformSet { return []policy.TransformSet{t} }

// phase1 are main mode's ciphers, hashes and groups.
func phase1() []Scenario {
	const noSubgroup = "Debian builds libreswan without groups 22 to 24"
	const noMODP1024 = "Debian builds libreswan without group 2"
	return []Scenario{
		{Name: "main mode, AES-128 SHA-1 group 14", Field: "strongSwan ikev1/net2net-psk"},
		{Name: "main mode, AES-192 SHA-256 group 15", Field: "strongSwan ikev1-algs/alg-sha256",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 192, suite.SHA256, 15))}},
		{Name: "main mode, AES-256 SHA-384 group 16", Field: "strongSwan ikev1-algs/alg-sha384",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 256, suite.SHA384, 16))}},
		{Name: "main mode, AES-256 SHA-256 group 19", Field: "strongSwan ikev1-algs/alg-ecp-low",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 256, suite.SHA256, 19))}},
		{Name: "main mode, AES-256 SHA-384 group 20", Field: "strongSwan ikev1-algs/alg-ecp-high",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 256, suite.SHA384, 20))}},
		{Name: "main mode, AES-256 SHA-512 group 21", Field: "strongSwan ikev1-algs/alg-sha512",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 256, suite.SHA512, 21))}},
		{Name: "main mode, group 24", Field: "strongSwan ikev1-algs/alg-modp-subgroup",
			Ours: Side{Policies: one(Policy(suite.AESCBC, 128, suite.SHA1, 24))}, Not: libreswanNot(noSubgroup)},
		{Name: "main mode, 3DES MD5 group 2 with the shield disabled", Field: "strongSwan ikev1-algs/alg-3des-md5",
			Ours: Side{Policies: one(Policy(suite.TripleDES, 192, suite.MD5, 2)), Sets: only(ESP(suite.TripleDES, 192, suite.MD5))},
			Not:  libreswanNot(noMODP1024)},
		{Name: "main mode, 3DES SHA-1 group 5 with the shield disabled", Field: "libreswan basic-pluto-01",
			Ours: Side{Policies: one(Policy(suite.TripleDES, 192, suite.SHA1, 5)), Sets: only(ESP(suite.TripleDES, 192, suite.SHA1))}},
		{Name: "the second of two policies and sets is the common one",
			Ours: Side{Policies: []policy.ISAKMP{Policy(suite.AESCBC, 256, suite.SHA512, 21), Policy(suite.AESCBC, 128, suite.SHA256, 19)},
				Sets: []policy.TransformSet{ESP(suite.AESGCM, 256, suite.NoHash), ESP(suite.AESCBC, 128, suite.SHA256)}},
			Theirs: Side{Policies: []policy.ISAKMP{Policy(suite.AESCBC, 192, suite.SHA1, 15), Policy(suite.AESCBC, 128, suite.SHA256, 19)},
				Sets: []policy.TransformSet{ESP(suite.AESCBC, 256, suite.SHA512), ESP(suite.AESCBC, 128, suite.SHA256)}}},
	}
}

func libreswanNot(why string) map[Case]string { return map[Case]string{{Peer: Libreswan}: why} }

// identities are aggressive mode and names in the place of addresses.
func identities() []Scenario {
	return []Scenario{
		{Name: "main mode, both ends named by FQDN", Field: "strongSwan ikev1/net2net-psk", Ours: Side{ID: RouterName}, Theirs: Side{ID: "r2.example.net"}},
		{Name: "aggressive mode, addresses", Field: "strongSwan ikev1/rw-psk-aggressive", Ours: Side{Aggressive: true}},
		{Name: "aggressive mode, both ends named by FQDN", Field: "libreswan ikev1-aggr-02-authby-secret",
			Ours: Side{Aggressive: true, ID: RouterName}, Theirs: Side{ID: "r2.example.net"}},
		{Name: "aggressive mode, group 19 and SHA-256", Ours: Side{Aggressive: true, Policies: one(Policy(suite.AESCBC, 256, suite.SHA256, 19))}},
		{Name: "aggressive mode, wrong key", Ours: Side{Aggressive: true}, Theirs: Side{Key: "Tunnel-of-two-fights"}, Refused: Refusal{event.WrongKey, event.WrongKey}},
	}
}

// certificates are the signatures of RFC 2409 5.1 and RFC 4754.
func certificates() []Scenario {
	noNSS := libreswanNot("libreswan's certificates live in an NSS database, which the tests do not fill")
	named := func(aggressive bool, p policy.ISAKMP) (ours, theirs Side) {
		return Side{ID: RouterName, Aggressive: aggressive, Policies: one(p)}, Side{ID: "r2.example.net"}
	}
	var list []Scenario
	for _, c := range []struct {
		name, field string
		aggressive  bool
		policy      policy.ISAKMP
	}{
		{"main mode, RSA certificates", "strongSwan ikev1/net2net-cert", false, Signed(suite.RSASig, suite.AESCBC, 256, suite.SHA256, 14)},
		{"main mode, RSA certificates, group 19", "", false, Signed(suite.RSASig, suite.AESCBC, 128, suite.SHA1, 19)},
		{"main mode, ECDSA P-256 certificates", "strongSwan ikev1/ecdsa-certs", false, Signed(suite.ECDSA256, suite.AESCBC, 256, suite.SHA256, 19)},
		{"main mode, ECDSA P-384 certificates", "strongSwan ikev1/ecdsa-certs", false, Signed(suite.ECDSA384, suite.AESCBC, 256, suite.SHA384, 20)},
		{"aggressive mode, RSA certificates", "strongSwan ikev1/rw-cert-aggressive", true, Signed(suite.RSASig, suite.AESCBC, 256, suite.SHA256, 14)},
	} {
		ours, theirs := named(c.aggressive, c.policy)
		list = append(list, Scenario{Name: c.name, Field: c.field, Ours: ours, Theirs: theirs, Not: noNSS})
	}
	return list
}

// headers are AH, transport mode, extended sequence numbers and encapsulation.
func headers() []Scenario {
	transport := func(t policy.TransformSet) policy.TransformSet {
		t.Mode = suite.Transport
		return t
	}
	esn := func(t policy.TransformSet) policy.TransformSet {
		t.ESN = true
		return t
	}
	noAH := map[Case]string{{Peer: SwanUser}: "its user-space ESP has no AH"}
	noTransport := map[Case]string{{Peer: SwanUser}: "its user-space ESP knows tunnel mode only"}
	noESN := map[Case]string{{Peer: SwanUser}: "its user-space ESP has no ESN",
		{Peer: Libreswan}: "libreswan's IKEv1 neither sends the ESN attribute nor reads it (BAD-PROPOSAL-SYNTAX)"}
	routers := []Flow{Routers()}
	return []Scenario{
		{Name: "AH SHA-1, tunnel mode", Field: "libreswan ah-pluto-01", Ours: Side{Sets: only(AH(suite.SHA1))}, Not: noAH},
		{Name: "AH SHA-256, tunnel mode, PFS", Field: "strongSwan ikev1/net2net-ah", Ours: Side{Sets: only(AH(suite.SHA256)), PFS: 14}, Not: noAH},
		{Name: "AH SHA-512, tunnel mode", Ours: Side{Sets: only(AH(suite.SHA512))}, Not: noAH},
		{Name: "AH SHA-256, transport mode", Field: "strongSwan ikev1/host2host-ah", Ours: Side{Sets: only(transport(AH(suite.SHA256))), Flows: routers}, Not: noAH},
		{Name: "ESP AES-256 SHA-256, transport mode", Field: "strongSwan ikev1/host2host-transport",
			Ours: Side{Sets: only(transport(ESP(suite.AESCBC, 256, suite.SHA256))), Flows: routers}, Not: noTransport},
		{Name: "ESP AES-128-GCM, transport mode", Ours: Side{Sets: only(transport(ESP(suite.AESGCM, 128, suite.NoHash))), Flows: routers}, Not: noTransport},
		{Name: "ESP AES-256 SHA-256 with ESN", Field: "strongSwan ikev1/net2net-esn", Ours: Side{Sets: only(esn(ESP(suite.AESCBC, 256, suite.SHA256)))}, Not: noESN},
		{Name: "ESP AES-256-GCM with ESN", Ours: Side{Sets: only(esn(ESP(suite.AESGCM, 256, suite.NoHash)))}, Not: noESN},
		{Name: "ESP NULL SHA-256", Field: "strongSwan ikev1-algs/esp-alg-null", Ours: Side{Sets: only(ESP(suite.NullCipher, 0, suite.SHA256))}},
		{Name: "forced UDP encapsulation", Field: "strongSwan ikev2/force-udp-encap", Theirs: Side{Encap: true}},
	}
}

// phase2 are the transform sets of ESP, and PFS.
func phase2() []Scenario {
	list := []Scenario{
		{Name: "ESP AES-192 SHA-1", Ours: Side{Sets: only(ESP(suite.AESCBC, 192, suite.SHA1))}},
		{Name: "ESP AES-256 SHA-256", Field: "strongSwan ikev1/net2net-cert", Ours: Side{Sets: only(ESP(suite.AESCBC, 256, suite.SHA256))}},
		{Name: "ESP AES-256 SHA-384", Ours: Side{Sets: only(ESP(suite.AESCBC, 256, suite.SHA384))}},
		{Name: "ESP AES-256 SHA-512", Ours: Side{Sets: only(ESP(suite.AESCBC, 256, suite.SHA512))}},
		{Name: "ESP AES-128-GCM", Field: "strongSwan ikev1-algs/esp-alg-aes-gcm", Ours: Side{Sets: only(ESP(suite.AESGCM, 128, suite.NoHash))}},
		{Name: "ESP AES-192-GCM", Ours: Side{Sets: only(ESP(suite.AESGCM, 192, suite.NoHash))}},
		{Name: "ESP AES-256-GCM", Ours: Side{Sets: only(ESP(suite.AESGCM, 256, suite.NoHash))}},
	}
	for _, g := range []suite.Group{14, 19, 20, 21} {
		s := Scenario{Name: "PFS " + g.String(), Ours: Side{PFS: g}}
		if g.Row().Kind == "ECP" {
			s.Not = libreswanNot("libreswan's IKEv1 has no ECP groups in quick mode")
		}
		list = append(list, s)
	}
	list = append(list,
		Scenario{Name: "PFS asked by Culvert only", Ours: Side{PFS: 14}, Theirs: Side{NoPFS: true},
			Refused: Refusal{event.NoTransformSet, event.PFSMismatch},
			Not:     map[Case]string{{Libreswan, CulvertBegins}: "libreswan with pfs=no answers with PFS when it is asked to"}},
		Scenario{Name: "lifetime of 65536 seconds", Field: "libreswan ikev1-28-huge-lifetime",
			Ours: Side{IKELife: 65536 * time.Second, Life: 65536 * time.Second}},
	)
	return list
}

// translated are tunnels through a NAT in front of R1.
func translated() []Scenario {
	const hidden = "nobody can begin towards R1 behind its NAT"
	not := map[Case]string{{SwanUser, PeerBegins}: hidden, {SwanKernel, PeerBegins}: hidden, {Libreswan, PeerBegins}: hidden}
	return []Scenario{
		{Name: "behind a NAT, main mode", Field: "strongSwan ikev1/nat-rw", NAT: true, Not: not},
		{Name: "behind a NAT, named by FQDN, AES-256-GCM with PFS", Field: "libreswan nat-pluto-01", NAT: true, Not: not,
			Ours: Side{ID: RouterName, Sets: only(ESP(suite.AESGCM, 256, suite.NoHash)), PFS: 14}, Theirs: Side{ID: "r2.example.net"}},
		{Name: "behind a NAT, aggressive mode", NAT: true, Not: not, Ours: Side{Aggressive: true, ID: RouterName}, Theirs: Side{ID: "r2.example.net"}},
	}
}

// selectors are lines of interesting traffic.
func selectors() []Scenario {
	second := Flow{Local: Sites().Local, Remote: netip.MustParsePrefix("10.30.30.0/24")}
	hosts := Flow{Local: netip.MustParsePrefix("10.10.10.10/32"), Remote: netip.MustParsePrefix("10.20.20.20/32")}
	userNetworks := map[Case]string{{Peer: SwanUser}: "its user-space ESP carries only networks in which the router has an address"}
	const waits = "a dynamic crypto map never begins"
	return []Scenario{
		{Name: "two lines of interesting traffic", Ours: Side{Flows: []Flow{Sites(), second}}},
		{Name: "host to host", Ours: Side{Flows: []Flow{hosts}},
			Not: userNetworks},
		{Name: "an SA for each pair of hosts", Ours: Side{Entry: " set security-association level per-host\n"},
			Theirs: Side{Flows: []Flow{hosts}}, Not: userNetworks},
		{Name: "dynamic crypto map", Ours: Side{Dynamic: true},
			Not: map[Case]string{{SwanUser, CulvertBegins}: waits, {SwanKernel, CulvertBegins}: waits, {Libreswan, CulvertBegins}: waits}},
		{Name: "ICMP only", Field: "strongSwan ikev1/protoport-dual", Ours: Side{Flows: []Flow{Sites().Of(flow.ICMP, 0)}}},
		{Name: "TCP to port 8080 only", Field: "strongSwan ikev1/protoport-dual", Ours: Side{Flows: []Flow{Sites().Of(flow.TCP, 8080)}}},
	}
}

// refused are ends that do not fit.
func refused() []Scenario {
	transportOnly := policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1, Mode: suite.Transport, Require: true}
	return []Scenario{
		{Name: "no common policy", Theirs: Side{Policies: one(Policy(suite.AESCBC, 256, suite.SHA256, 14))}, Refused: Refusal{event.NoPolicy, event.NoPolicy}},
		{Name: "wrong key", Field: "strongSwan ikev1/net2net-psk-fail", Theirs: Side{Key: "Tunnel-of-two-fights"}, Refused: Refusal{event.WrongKey, event.WrongKey}},
		{Name: "transport mode required here, tunnel mode there", Field: "libreswan ikev2-21-mode-mismatch-01",
			Ours:   Side{Flows: []Flow{Routers()}, Sets: only(transportOnly)},
			Theirs: Side{Sets: only(ESP(suite.AESCBC, 128, suite.SHA1))},
			Not: map[Case]string{{Peer: SwanUser}: "its user-space ESP carries only networks in which the router has an address",
				{Libreswan, CulvertBegins}: "libreswan takes the mode that is proposed, whatever its own configuration says"},
			// strongSwan finds no child of that mode, and says that it has none with these identities.
			Refused: Refusal{event.NoProxy, event.ModeMismatch}},
		{Name: "no common transform set", Field: "libreswan ikev1-algo-04-mismatch", Theirs: Side{Sets: only(ESP(suite.AESGCM, 256, suite.NoHash))},
			Refused: Refusal{event.NoTransformSet, event.NoTransformSet}},
		{Name: "no mirror images", Field: "libreswan github-1210-ikev1-quick-mismatch",
			Theirs: Side{Flows: []Flow{{Local: netip.MustParsePrefix("10.10.99.0/24"), Remote: Sites().Remote}}}, Refused: Refusal{event.NoProxy, event.NoProxy}},
	}
}
