package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// named makes a side call itself so.
func named(kind policy.IdentityKind, value string) option {
	return func(s *policy.Settings) { s.Identity = policy.SelfIdentity{Kind: kind, Value: value} }
}

// profiled gives the entry an isakmp profile that matches so, with a keyring of
// its own that has the key.
func profiled(match ...policy.IdentityMatch) option {
	return func(s *policy.Settings) {
		s.Keyrings = []policy.Keyring{{Name: "RING", Keys: s.Keys}}
		s.Keys = nil
		s.Profiles = []policy.Profile{{Name: "PROF", Keyrings: []string{"RING"}, Match: match}}
		s.Entries[0].Profile = &s.Profiles[0]
	}
}

func matchAddress(p string) policy.IdentityMatch {
	return policy.IdentityMatch{Kind: policy.IdentityAddress, Prefix: netip.MustParsePrefix(p)}
}

func matchName(kind policy.IdentityKind, value string) policy.IdentityMatch {
	return policy.IdentityMatch{Kind: kind, Value: value}
}

func all(options ...option) option {
	return func(s *policy.Settings) {
		for _, o := range options {
			o(s)
		}
	}
}

// Who calls itself what is told to the other side, recognised by its profile
// there or not, in main and in aggressive mode, whoever begins.
func TestIdentities(t *testing.T) {
	host := func(s *policy.Settings) {
		s.Hostname, s.Domain, s.Identity.Kind = "r2", "example.org", policy.IdentityFQDN
	}
	for _, tt := range []struct {
		name   string
		r1, r2 option
		code   event.Code // at R1; "" for up
		says   string     // who R2 is for R1
		words  string     // of the refusal
	}{
		{"addresses", nil, nil, "", "198.51.100.2", ""},
		{"a hostname", nil, host, "", "r2.example.org", ""},
		{"a user", nil, named(policy.IdentityUser, "ops@example.org"), "", "ops@example.org", ""},
		{"a group", nil, named(policy.IdentityGroup, "branches"), "", "ID_KEY_ID 6272616e63686573", ""},
		{"a profile by address", profiled(matchAddress("198.51.100.0/24")), nil, "", "198.51.100.2", ""},
		{"a profile by name", profiled(matchName(policy.IdentityFQDN, "r2.example.org")), host, "", "r2.example.org", ""},
		{"a profile by domain", profiled(policy.IdentityMatch{Kind: policy.IdentityUser, Value: "example.org", Domain: true}), named(policy.IdentityUser, "ops@example.org"), "", "ops@example.org", ""},
		{"another address than the profile's", profiled(matchAddress("203.0.113.0/24")), nil, event.NoProfile, "198.51.100.2", "isakmp profile PROF of crypto map CMAP 10, which expects address 203.0.113.0/24"},
		{"another name than the profile's", profiled(matchName(policy.IdentityFQDN, "r3.example.org")), host, event.NoProfile, "r2.example.org", "fqdn r3.example.org"},
		{"set identity", func(s *policy.Settings) {
			s.Entries[0].Identity = []policy.IdentityMatch{matchName(policy.IdentityFQDN, "r2.example.org")}
		}, host, "", "r2.example.org", ""},
		{"another than set identity", func(s *policy.Settings) {
			s.Entries[0].Identity = []policy.IdentityMatch{matchName(policy.IdentityFQDN, "r3.example.org")}
		}, host, event.BadIdentity, "r2.example.org", "set identity of crypto map CMAP 10 expects: fqdn r3.example.org"},
		{"the profile's own identity", nil, all(profiled(matchAddress("0.0.0.0/0")), func(s *policy.Settings) {
			s.Profiles[0].Self, s.Profiles[0].HasSelf = policy.SelfIdentity{Kind: policy.IdentityFQDN, Value: "from.profile"}, true
		}), "", "from.profile", ""},
	} {
		for _, mode := range []option{func(*policy.Settings) {}, aggressive} {
			for _, side := range []int{0, 1} {
				a, b := sites(mode)
				if tt.r1 != nil {
					tt.r1(a)
				}
				if tt.r2 != nil {
					tt.r2(b)
				}
				x, r1, r2 := world(t, 1, a, b)
				trigger([]*Host{r1, r2}[side])
				x.Run(2*time.Minute, nil)
				name := tt.name + map[bool]string{true: ", aggressive"}[len(a.Aggressive) > 0] + []string{", R1 begins", ", R2 begins"}[side]
				checkIdentity(t, name, r1, tt.code, tt.says, tt.words)
			}
		}
	}
}

func checkIdentity(t *testing.T, name string, r1 *Host, code event.Code, says, words string) {
	t.Helper()
	up := happened[event.Phase1Up](r1)
	if code == "" {
		if len(up) == 0 || up[0].Identity != says {
			t.Errorf("%s: %+v, want up with %s; %+v", name, up, says, happened[event.Failed](r1))
		}
		for _, i := range happened[event.Identified](r1) {
			if i.Identity != says {
				t.Errorf("%s: identified %+v", name, i)
			}
		}
		return
	}
	if len(up) != 0 {
		t.Errorf("%s: it is up", name)
	}
	for _, f := range happened[event.Failed](r1) {
		if f.Code == code && !f.Pending && f.Identity == says && strings.Contains(f.Reason, words) {
			return
		}
	}
	t.Errorf("%s: %+v, want %s", name, happened[event.Failed](r1), code)
}

// The key that proved the peer has to be of a keyring that its profile uses.
func TestKeyringOfAnotherProfile(t *testing.T) {
	a, b := sites()
	b.Keyrings = []policy.Keyring{{Name: "OTHER", Keys: b.Keys}}
	b.Keys = nil
	b.Profiles = []policy.Profile{{Name: "PROF", Keyrings: []string{"RING"}, Match: []policy.IdentityMatch{matchAddress("198.51.100.1/32")}}}
	x, r1, r2 := world(t, 1, a, b)
	trigger(r1)
	x.Run(time.Minute, nil)
	checkIdentity(t, "keyring", r2, event.NoProfile, "198.51.100.1", "does not use keyring OTHER")
	b.Profiles[0].Keyrings = []string{"RING", "OTHER"}
	x, r1, r2 = world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if up := happened[event.Phase1Up](r2); up[0].Profile != "PROF" {
		t.Errorf("%+v", up)
	}
	if i := happened[event.Identified](r2); len(i) != 1 || i[0].Keyring != "OTHER" || i[0].Kind != "ID_IPV4_ADDR" {
		t.Errorf("%+v", i)
	}
}

// A wildcard key serves whom no other key does.
func TestWildcardKey(t *testing.T) {
	for _, tt := range []struct {
		secret string
		up     bool
	}{{"correct horse", true}, {"battery staple", false}} {
		a, b := sites()
		b.Keys = []policy.Key{
			{Peers: netip.MustParsePrefix("0.0.0.0/0"), Secret: crypt.NewSecret([]byte(tt.secret))},
			{Peers: netip.MustParsePrefix("203.0.113.0/24"), Secret: crypt.NewSecret([]byte("another"))},
		}
		x, r1, r2 := world(t, 1, a, b)
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		if r1.Up(id) != tt.up || r2.Up(id) != tt.up {
			t.Errorf("wildcard key %q: up %t", tt.secret, r1.Up(id))
		}
	}
}

// crypto isakmp peer: a password for aggressive mode and a name for ourselves.
func TestAggressivePeerLines(t *testing.T) {
	a, b := sites(aggressive)
	for _, s := range []*policy.Settings{a, b} {
		s.Keys = nil
		s.Aggressive[0].Secret = crypt.NewSecret([]byte("aggressive key"))
	}
	a.Aggressive[0].Self, a.Aggressive[0].HasSelf = policy.SelfIdentity{Kind: policy.IdentityUser, Value: "r1@example.org"}, true
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if up := happened[event.Phase1Up](r2); up[0].Identity != "r1@example.org" {
		t.Errorf("%+v", up)
	}
}

// A negotiation of ours that nobody has answered ends when the peer's has come
// up; it leaves no failure behind.
func TestOwnNegotiationEndsQuietly(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 1, a, b)
	r2.LetsIn = func(flow.Tuple) bool { return false }
	trigger(r1)
	x.Run(500*time.Millisecond, nil)
	r2.LetsIn = nil
	id := trigger(r2)
	x.Run(400*time.Millisecond, nil)
	bothUp(t, id, r1, r2)
	if l := r1.Engine.Load(); l.ISAKMP != 1 {
		t.Errorf("R1 holds %d ISAKMP SAs", l.ISAKMP)
	}
	x.Run(2*time.Minute, nil)
	if f := r1.Engine.Failures(); len(f) != 0 {
		t.Errorf("R1 says %+v", f)
	}
	if l := r2.Engine.Load(); l.ISAKMP != 1 {
		t.Errorf("R2 holds %d ISAKMP SAs", l.ISAKMP)
	}
}

// Two entries for one peer, of which one expects it under another name: that one
// is given up each time it is asked for, the other works, in any order.
func TestTwoEntriesOnePeerTwoProfiles(t *testing.T) {
	for _, order := range [][]int{{0, 1, 1}, {1, 0, 1}} {
		a, b := lines(2)
		second := a.Entries[0]
		list := *second.ACL
		list.Lines = list.Lines[1:]
		first := list
		first.Lines = a.Entries[0].ACL.Lines[:1]
		second.Seq, second.ACL = 20, &list
		a.Entries[0].ACL = &first
		a.Entries = append(a.Entries, second)
		a.Profiles = []policy.Profile{
			{Name: "GOOD", Match: []policy.IdentityMatch{matchName(policy.IdentityFQDN, "r2.example.org")}},
			{Name: "BAD", Match: []policy.IdentityMatch{matchName(policy.IdentityFQDN, "r3.example.org")}},
		}
		a.Entries[0].Profile, a.Entries[1].Profile = &a.Profiles[0], &a.Profiles[1]
		named(policy.IdentityFQDN, "r2.example.org")(b)
		x, r1, _ := world(t, 1, a, b)
		flows := a.Flows()
		for _, i := range order {
			was := r1.Unreachable
			triggerFlow(r1, flows[i])
			x.Run(10*time.Second, nil)
			if r1.Up(flows[i].ID) != (i == 0) || i == 1 && r1.Unreachable != was+1 {
				t.Errorf("%v: flow %s: up %t, given up %d times more", order, flows[i].ID, r1.Up(flows[i].ID), r1.Unreachable-was)
			}
		}
		if l := r1.Engine.Load(); l.Waiting != 0 || l.ISAKMP != 1 {
			t.Errorf("%v: %+v", order, l)
		}
	}
}
