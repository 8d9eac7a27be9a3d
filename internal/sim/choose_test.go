package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func day(p policy.ISAKMP) policy.ISAKMP {
	p.Auth = suite.PSK
	if p.Lifetime == 0 {
		p.Lifetime = 86400 * time.Second
	}
	return p
}

func policies(ps ...policy.ISAKMP) option {
	return func(s *policy.Settings) {
		s.Policies = nil
		for i, p := range ps {
			p.Priority = 10 * (i + 1)
			s.Policies = append(s.Policies, day(p))
		}
	}
}

func sets(ts ...policy.TransformSet) option {
	return func(s *policy.Settings) { s.Entries[0].Sets = ts }
}

func lifetime(l policy.Lifetime) option {
	return func(s *policy.Settings) { s.Entries[0].Lifetime = l }
}

func aes(bits int, h suite.Hash, g suite.Group) policy.ISAKMP {
	return policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: bits, Hash: h, Group: g}
}

func cbc(bits int, h suite.Hash) policy.TransformSet {
	return policy.TransformSet{Name: fmt.Sprint("CBC", bits, h), Cipher: suite.AESCBC, KeyBits: bits, Integ: h}
}

func gcm(bits int) policy.TransformSet {
	return policy.TransformSet{Name: fmt.Sprint("GCM", bits), Cipher: suite.AESGCM, KeyBits: bits}
}

// probes sends a packet each way.
func probes(t *testing.T, x *World, a, b *Host) {
	t.Helper()
	for _, p := range [][2]*Host{{a, b}, {b, a}} {
		for _, f := range p[0].Engine.Settings().Flows() {
			if err := x.Probe(p[0], p[1], f); err != nil {
				t.Errorf("%s: %s to %s: %v", x.Now.Format("15:04:05.000"), p[0].Name, p[1].Name, err)
			}
		}
	}
}

// up brings the tunnel up from R1 and demands traffic both ways.
func up(t *testing.T, a, b *policy.Settings) (*World, *Host, *Host) {
	t.Helper()
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	return x, r1, r2
}

// Every cipher, hash and group of phase 1: each pair of values meets in some suite.
func TestPhase1Suites(t *testing.T) {
	hashes := []suite.Hash{suite.SHA1, suite.SHA256, suite.SHA384, suite.SHA512}
	bits := []int{128, 192, 256}
	for i, g := range []suite.Group{14, 15, 16, 19, 20, 21, 24} {
		for j, h := range hashes {
			if j > 0 && g < 19 && (i+j)%3 != 0 {
				continue // the long MODP groups cost time: every hash meets one of them
			}
			p := aes(bits[(i+j)%3], h, g)
			t.Run(day(p).String(), func(t *testing.T) {
				a, b := sites(policies(p))
				_, r1, r2 := up(t, a, b)
				for _, r := range []*Host{r1, r2} {
					got := happened[event.Phase1Up](r)
					if len(got) != 1 || day(p).Mismatch(got[0].Policy) != "" {
						t.Errorf("%s agreed on %+v", r.Name, got)
					}
				}
			})
		}
	}
	for _, b := range bits {
		for _, h := range hashes {
			t.Run(fmt.Sprint("group19/", b, h), func(t *testing.T) {
				x, y := sites(policies(aes(b, h, 19)))
				up(t, x, y)
			})
		}
	}
}

// Every ESP suite carries packets, with PFS and without.
func TestPhase2Suites(t *testing.T) {
	var all []policy.TransformSet
	for _, b := range []int{128, 192, 256} {
		all = append(all, gcm(b))
		for _, h := range []suite.Hash{suite.SHA1, suite.SHA256, suite.SHA384, suite.SHA512} {
			all = append(all, cbc(b, h))
		}
	}
	groups := []suite.Group{19, 20, 21, 14, 24}
	for i, set := range all {
		for _, g := range []suite.Group{suite.NoGroup, groups[i%len(groups)]} {
			t.Run(fmt.Sprint(set.Words(), "/", g), func(t *testing.T) {
				a, b := sites(sets(set), pfs(g))
				_, r1, r2 := up(t, a, b)
				for _, r := range []*Host{r1, r2} {
					got := happened[event.Phase2Up](r)
					if len(got) != 1 || got[0].Set.Mismatch(set) != "" || got[0].PFS != g {
						t.Errorf("%s agreed on %+v", r.Name, got)
					}
				}
			})
		}
	}
	for _, g := range []suite.Group{15, 16} {
		t.Run(fmt.Sprint("pfs ", g), func(t *testing.T) {
			a, b := sites(pfs(g))
			up(t, a, b)
		})
	}
}

// The initiator sends all its ISAKMP policies in priority order; the responder
// compares each with its own until one is the same on both.
func TestPoliciesInPriorityOrder(t *testing.T) {
	p1, p2, p3 := aes(256, suite.SHA512, 20), aes(256, suite.SHA256, 19), aes(128, suite.SHA1, 19)
	for _, tt := range []struct {
		name           string
		ours, theirs   []policy.ISAKMP
		offer, against int // priorities: of the initiator, of the responder
	}{
		{"the first of both", []policy.ISAKMP{p1, p2}, []policy.ISAKMP{p1, p2}, 10, 10},
		{"the initiator's order decides", []policy.ISAKMP{p2, p3}, []policy.ISAKMP{p3, p2}, 10, 20},
		{"the last of both", []policy.ISAKMP{p1, p3}, []policy.ISAKMP{p2, p3}, 20, 20},
		{"one of three", []policy.ISAKMP{p3}, []policy.ISAKMP{p1, p2, p3}, 10, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := sites(policies(tt.ours...))
			_, b := sites(policies(tt.theirs...))
			_, r1, r2 := up(t, a, b)
			if got := happened[event.Phase1Up](r1)[0].Policy.Priority; got != tt.offer {
				t.Errorf("initiator: priority %d, want %d", got, tt.offer)
			}
			if got := happened[event.Phase1Up](r2)[0].Policy.Priority; got != tt.against {
				t.Errorf("responder: priority %d, want %d", got, tt.against)
			}
			checks := happened[event.PolicyCheck](r2)
			if last := checks[len(checks)-1]; last.Mismatch != "" || slices.ContainsFunc(checks[:len(checks)-1], func(c event.PolicyCheck) bool { return c.Mismatch == "" }) {
				t.Errorf("the comparisons do not end with the first match: %+v", checks)
			}
		})
	}
}

// The responder compares the transform sets with its first, then its second.
func TestTransformSetsInResponderOrder(t *testing.T) {
	s1, s2, s3 := gcm(256), cbc(256, suite.SHA256), cbc(128, suite.SHA1)
	for _, tt := range []struct {
		name         string
		ours, theirs []policy.TransformSet
		want         policy.TransformSet
	}{
		{"the responder's first set first", []policy.TransformSet{s1, s2, s3}, []policy.TransformSet{s3, s1}, s3},
		{"then its second", []policy.TransformSet{s2, s1}, []policy.TransformSet{s3, s1, s2}, s1},
		{"only the last is common", []policy.TransformSet{s3, s1}, []policy.TransformSet{s2, s1}, s1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := sites(sets(tt.ours...))
			_, b := sites(sets(tt.theirs...))
			_, r1, r2 := up(t, a, b)
			for _, r := range []*Host{r1, r2} {
				if got := happened[event.Phase2Up](r)[0].Set; got.Name != tt.want.Name {
					t.Errorf("%s: %s, want %s", r.Name, got.Name, tt.want.Name)
				}
			}
		})
	}
}

// RFC 2409 section 5, RFC 2407 4.6.3.1: the shorter lifetime wins, whoever has
// it; RESPONDER-LIFETIME tells an initiator that offered a longer one. 65536 and
// above needs the long form of the attribute.
func TestShorterLifetimeWins(t *testing.T) {
	life := func(l time.Duration) option {
		return policies(policy.ISAKMP{Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Group: 19, Lifetime: l})
	}
	for _, tt := range []struct {
		name     string
		a, b     time.Duration
		ka, kb   uint64
		ta, tb   time.Duration
		wantP1   time.Duration
		want     policy.Lifetime
		notified int // RESPONDER-LIFETIME told by R2 in the protection of the ISAKMP SA
	}{
		{"the same", time.Hour, time.Hour, 4608000, 4608000, time.Hour, time.Hour, time.Hour, policy.Lifetime{Time: time.Hour, Kilobytes: 4608000}, 0},
		{"the initiator's are shorter", time.Hour, 86400 * time.Second, 10000, 4608000, 20 * time.Minute, time.Hour, time.Hour, policy.Lifetime{Time: 20 * time.Minute, Kilobytes: 10000}, 0},
		{"the responder's are shorter", 86400 * time.Second, time.Hour, 4608000, 10000, time.Hour, 20 * time.Minute, time.Hour, policy.Lifetime{Time: 20 * time.Minute, Kilobytes: 10000}, 1},
		{"one of each", time.Hour, time.Hour, 10000, 4608000, time.Hour, 20 * time.Minute, time.Hour, policy.Lifetime{Time: 20 * time.Minute, Kilobytes: 10000}, 0},
		{"65536 seconds need four octets", 65536 * time.Second, 86400 * time.Second, 70000, 80000, 65536 * time.Second, 86400 * time.Second, 65536 * time.Second, policy.Lifetime{Time: 65536 * time.Second, Kilobytes: 70000}, 0},
		{"no volume on one side", time.Hour, time.Hour, 0, 10000, time.Hour, time.Hour, time.Hour, policy.Lifetime{Time: time.Hour, Kilobytes: 10000}, 0},
		{"no volume on the other", time.Hour, time.Hour, 10000, 0, time.Hour, time.Hour, time.Hour, policy.Lifetime{Time: time.Hour, Kilobytes: 10000}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := sites(life(tt.a), lifetime(policy.Lifetime{Time: tt.ta, Kilobytes: tt.ka}))
			_, b := sites(life(tt.b), lifetime(policy.Lifetime{Time: tt.tb, Kilobytes: tt.kb}))
			x, r1, r2 := up(t, a, b)
			for _, r := range []*Host{r1, r2} {
				if got := happened[event.Phase2Up](r)[0].Lifetime; got != tt.want {
					t.Errorf("%s: phase 2 lives %+v, want %+v", r.Name, got, tt.want)
				}
				sa := r.Engine.ISAKMP(x.Now)[0]
				if end := sa.Established.Add(tt.wantP1).Sub(x.Now); sa.Remaining != end || sa.Policy.Lifetime != tt.wantP1 {
					t.Errorf("%s: phase 1 ends in %s, want %s", r.Name, sa.Remaining, end)
				}
			}
			told := 0
			for _, n := range happened[event.Notify](r1) {
				if n.Type == "RESPONDER-LIFETIME" && n.Protected {
					told++
				}
			}
			if told != tt.notified {
				t.Errorf("RESPONDER-LIFETIME for phase 1 came %d times, want %d", told, tt.notified)
			}
		})
	}
}

// A responder without "set pfs" takes the group that the initiator wants; one
// with it takes no other.
func TestResponderTakesPFS(t *testing.T) {
	a, _ := sites(pfs(20))
	_, b := sites()
	_, r1, r2 := up(t, a, b)
	for _, r := range []*Host{r1, r2} {
		if got := happened[event.Phase2Up](r)[0].PFS; got != 20 {
			t.Errorf("%s: PFS with %s, want group20", r.Name, got)
		}
	}
}
