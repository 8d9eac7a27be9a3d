package policy

import (
	"net/netip"
	"testing"

	"culvert/internal/core/crypt"
)

func address(p string) IdentityMatch {
	return IdentityMatch{Kind: IdentityAddress, Prefix: netip.MustParsePrefix(p)}
}

func addressID(a string) Identity {
	return Identity{Kind: IdentityAddress, Addr: netip.MustParseAddr(a)}
}

func fqdn(name string) Identity { return Identity{Kind: IdentityFQDN, Value: name} }

// Each way to write "match identity …" recognises what it says and nothing else.
func TestRecognises(t *testing.T) {
	user := func(name string) Identity { return Identity{Kind: IdentityUser, Value: name} }
	dn := func(name string) Identity { return Identity{Kind: IdentityDN, Value: name} }
	for _, tt := range []struct {
		match IdentityMatch
		id    Identity
		want  bool
	}{
		{address("198.51.100.0/24"), addressID("198.51.100.9"), true},
		{address("198.51.100.0/24"), addressID("198.51.101.9"), false},
		{address("198.51.100.9/32"), addressID("198.51.100.9"), true},
		{address("0.0.0.0/0"), addressID("198.51.100.9"), true},
		{address("0.0.0.0/0"), addressID("2001:db8::1"), false},
		{address("0.0.0.0/0"), fqdn("198.51.100.9"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "r1.example.org"}, fqdn("R1.Example.ORG"), true},
		{IdentityMatch{Kind: IdentityFQDN, Value: "r1.example.org"}, fqdn("r1.example.org."), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "r1.example.org"}, fqdn("r1.example.org\x00"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "rk.example.org"}, fqdn("r\u212a.example.org"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "r1.example.org"}, user("r1.example.org"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: ""}, fqdn(""), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "example.org", Domain: true}, fqdn("r1.EXAMPLE.org"), true},
		{IdentityMatch{Kind: IdentityFQDN, Value: "example.org", Domain: true}, fqdn("example.org"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "example.org", Domain: true}, fqdn(".example.org"), false},
		{IdentityMatch{Kind: IdentityFQDN, Value: "example.org", Domain: true}, fqdn("badexample.org"), false},
		{IdentityMatch{Kind: IdentityUser, Value: "example.org", Domain: true}, user("ops@example.org"), true},
		{IdentityMatch{Kind: IdentityUser, Value: "example.org", Domain: true}, user("ops@sub.example.org"), false},
		{IdentityMatch{Kind: IdentityUser, Value: "ops@example.org"}, user("ops@example.org"), true},
		{IdentityMatch{Kind: IdentityGroup, Value: "branches"}, Identity{Kind: IdentityGroup, Value: "branches"}, true},
		{IdentityMatch{Kind: IdentityGroup, Value: "branches"}, Identity{Kind: IdentityGroup}, false},
		{IdentityMatch{Kind: IdentityDN, Value: "ou=VPN, o=Example"}, dn("CN=r1,OU=vpn,O=Example"), true},
		{IdentityMatch{Kind: IdentityDN, Value: "ou=VPN,o=Example"}, dn("CN=r1,O=Example"), false},
		{IdentityMatch{Kind: IdentityDN, Value: "o=Example"}, dn(`CN=r1\,O=Example`), false},
		{IdentityMatch{Kind: IdentityDN, Value: ""}, dn("CN=r1"), false},
		{IdentityMatch{Certificate: &CertificateMap{Name: "M"}}, dn("CN=r1"), false},
	} {
		if got := tt.match.Recognises(tt.id, nil); got != tt.want {
			t.Errorf("%+v and %+v: %t, want %t", tt.match, tt.id, got, tt.want)
		}
	}
	m := IdentityMatch{Certificate: &CertificateMap{Name: "M"}}
	for _, fits := range []bool{true, false} {
		if m.Recognises(fqdn("x"), func(c *CertificateMap) bool { return fits && c.Name == "M" }) != fits {
			t.Errorf("a certificate that satisfies the map: %t", fits)
		}
	}
}

// The closest match has the profile, the first written of equals; a profile for
// another address of ours has nothing to say.
func TestProfileFor(t *testing.T) {
	s := &Settings{Profiles: []Profile{
		{Name: "ANY", Match: []IdentityMatch{address("0.0.0.0/0")}},
		{Name: "NET", Match: []IdentityMatch{address("10.0.0.0/8"), address("198.51.100.0/24")}},
		{Name: "HOST", Match: []IdentityMatch{address("198.51.100.2/32")}},
		{Name: "HOST-AGAIN", Match: []IdentityMatch{address("198.51.100.2/32")}},
		{Name: "DOMAIN", Match: []IdentityMatch{{Kind: IdentityFQDN, Value: "example.org", Domain: true}}},
		{Name: "SUB", Match: []IdentityMatch{{Kind: IdentityFQDN, Value: "eu.example.org", Domain: true}}},
		{Name: "NAME", Match: []IdentityMatch{{Kind: IdentityFQDN, Value: "r1.eu.example.org"}}},
		{Name: "ELSEWHERE", Local: there, Match: []IdentityMatch{address("203.0.113.1/32")}},
		{Name: "EMPTY"},
	}}
	for _, tt := range []struct {
		id   Identity
		want string
	}{
		{addressID("203.0.113.1"), "ANY"},
		{addressID("198.51.100.77"), "NET"},
		{addressID("198.51.100.2"), "HOST"},
		{fqdn("r9.example.org"), "DOMAIN"},
		{fqdn("r9.eu.example.org"), "SUB"},
		{fqdn("r1.eu.example.org"), "NAME"},
		{fqdn("r1.example.net"), ""},
		{Identity{Kind: IdentityGroup}, ""},
	} {
		got := ""
		if p := s.ProfileFor(here, tt.id, nil); p != nil {
			got = p.Name
		}
		if got != tt.want {
			t.Errorf("%+v: profile %q, want %q", tt.id, got, tt.want)
		}
	}
	if p := s.ProfileFor(there, addressID("203.0.113.1"), nil); p == nil || p.Name != "ELSEWHERE" {
		t.Errorf("at the other address: %+v", p)
	}
}

func key(prefix, host, secret string) Key {
	k := Key{Host: host, Secret: crypt.NewSecret([]byte(secret))}
	if prefix != "" {
		k.Peers = netip.MustParsePrefix(prefix)
	}
	return k
}

// The key with the longest prefix serves, over the keyrings that apply: those of
// the profile, else all; never one that is limited to another address of ours.
func TestKeyrings(t *testing.T) {
	s := &Settings{
		Keys: []Key{key("0.0.0.0/0", "", "wildcard"), key("198.51.100.0/24", "", "default net"), key("", "r1.example.org", "default r1")},
		Keyrings: []Keyring{
			{Name: "A", Keys: []Key{key("198.51.100.2/32", "", "A host"), key("", "r1.example.org", "A r1")}},
			{Name: "B", Local: there, Keys: []Key{key("198.51.100.2/32", "", "B host"), key("203.0.113.0/24", "", "B net")}},
			{Name: "C", Keys: []Key{key("198.51.100.0/28", "", "C net"), key("", "R2.example.org", "C r2")}},
		},
	}
	with := func(rings ...string) *Profile { return &Profile{Name: "P", Keyrings: rings} }
	for _, tt := range []struct {
		profile *Profile
		local   netip.Addr
		peer    string
		want    string
		ring    string
	}{
		{nil, here, "198.51.100.2", "A host", "A"},
		{nil, here, "198.51.100.3", "C net", "C"},
		{nil, here, "198.51.100.77", "default net", "default"},
		{nil, here, "203.0.113.9", "wildcard", "default"},
		{nil, there, "203.0.113.9", "B net", "B"},
		{nil, here, "2001:db8::1", "", ""},
		{with(), here, "198.51.100.2", "default net", "default"},
		{with("default"), here, "198.51.100.2", "default net", "default"},
		{with("A"), here, "198.51.100.2", "A host", "A"},
		{with("A"), here, "198.51.100.3", "", ""},
		{with("A", "default"), here, "198.51.100.3", "default net", "default"},
		{with("B"), here, "198.51.100.2", "", ""},
		{with("C", "A"), here, "198.51.100.2", "A host", "A"},
		{with("NOSUCH"), here, "198.51.100.2", "", ""},
	} {
		k, ok := s.KeyAt(tt.profile, tt.local, netip.MustParseAddr(tt.peer))
		if ok != (tt.want != "") || string(k.Secret.Bytes()) != tt.want || k.Keyring != tt.ring {
			t.Errorf("%+v at %s, peer %s: %q of %q, want %q of %q", tt.profile, tt.local, tt.peer, k.Secret.Bytes(), k.Keyring, tt.want, tt.ring)
		}
	}
	for _, tt := range []struct {
		profile    *Profile
		name, want string
	}{
		{nil, "r1.example.org", "default r1"},
		{with("C", "A"), "R1.example.org", "A r1"},
		{with("C", "A"), "r2.example.org", "C r2"},
		{with("A"), "r2.example.org", ""},
		{nil, "", ""},
	} {
		k, ok := s.KeyNamed(tt.profile, here, tt.name)
		if ok != (tt.want != "") || string(k.Secret.Bytes()) != tt.want {
			t.Errorf("%q with %+v: %q, want %q", tt.name, tt.profile, k.Secret.Bytes(), tt.want)
		}
	}
}

// Aggressive mode is spoken with the peers that a line names, by address or by
// name, or that an aggressive profile recognises.
func TestAggressiveWith(t *testing.T) {
	s := &Settings{
		Aggressive: []AggressivePeer{{Addr: there}, {Host: "r1.example.org"}},
		Profiles: []Profile{
			{Name: "AGG", Aggressive: true, Match: []IdentityMatch{{Kind: IdentityUser, Value: "example.org", Domain: true}}},
			{Name: "MAIN", Match: []IdentityMatch{address("0.0.0.0/0")}},
		},
	}
	stranger := netip.MustParseAddr("203.0.113.5")
	for _, tt := range []struct {
		peer netip.Addr
		id   Identity
		want bool
	}{
		{there, addressID("198.51.100.2"), true},
		{there, fqdn("whoever"), true},
		{stranger, addressID("203.0.113.5"), false},
		{stranger, fqdn("R1.example.org"), true},
		{stranger, fqdn("r2.example.org"), false},
		{stranger, Identity{Kind: IdentityUser, Value: "ops@example.org"}, true},
	} {
		if _, _, ok := s.AggressiveWith(here, tt.peer, tt.id); ok != tt.want {
			t.Errorf("%s, %+v: %t, want %t", tt.peer, tt.id, ok, tt.want)
		}
	}
	if !s.AggressiveByName(here) {
		t.Error("names are not seen")
	}
	s.AggressiveDisabled = true
	if _, _, ok := s.AggressiveWith(here, there, addressID("198.51.100.2")); ok || s.AggressiveByName(here) {
		t.Error("disabled, and yet it is spoken")
	}
	only := &Settings{Aggressive: []AggressivePeer{{Addr: there}}}
	if only.AggressiveByName(here) {
		t.Error("a peer by its address is seen as one by name")
	}
}

// A peer may negotiate for the entries that name it and the dynamic ones.
func TestEntriesFor(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		s := &Settings{Entries: []Entry{
			{Map: "M", Seq: 10, Local: here, Peers: []netip.Addr{there}},
			{Map: "M", Seq: 20, Local: here, Dynamic: true},
			{Map: "M", Seq: 30, Local: there, Dynamic: true},
			{Map: "M", Seq: 40, Local: here, Peers: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		}}
		if indexed {
			s.Index()
		}
		if got := s.EntriesFor(here, there); len(got) != 2 || got[0].Seq != 10 || got[1].Seq != 20 {
			t.Errorf("indexed %t: %d entries", indexed, len(got))
		}
		if !s.NamesPeer(here, there) || s.NamesPeer(here, netip.MustParseAddr("203.0.113.1")) || !s.HasPeer(here, netip.MustParseAddr("203.0.113.1")) {
			t.Errorf("indexed %t: who is named", indexed)
		}
	}
}
