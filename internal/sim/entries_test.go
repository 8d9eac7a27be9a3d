package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

func entry(change func(*policy.Entry)) option {
	return func(s *policy.Settings) { change(&s.Entries[0]) }
}

// packetOf is a packet between the n-th hosts of a flow's two sides.
func packetOf(f policy.Flow, local, remote byte) flow.Tuple {
	at := func(p netip.Prefix, n byte) netip.Addr {
		a := p.Addr().As4()
		a[3] += n
		return netip.AddrFrom4(a)
	}
	return flow.Tuple{Src: at(f.Selectors.Local, local), Dst: at(f.Selectors.Remote, remote), Proto: flow.ICMP}
}

// "set security-association level per-host": each pair of hosts has a pair of
// SAs, whoever begins; they are renewed one by one and their number is bounded.
func TestPerHost(t *testing.T) {
	a, b := sites(entry(func(e *policy.Entry) { e.PerHost = true }), short(24*time.Hour, 10*time.Minute))
	x, r1, r2 := world(t, 1, a, b)
	f := a.Flows()[0]
	const hosts = 20
	for i := range byte(hosts) {
		r1.Input(door.Trigger{Flow: f.ID, Packet: packetOf(f, 10+i, 20)})
		r1.Input(door.Trigger{Flow: f.ID, Packet: packetOf(f, 10+i, 20)}) // asked again
	}
	x.Run(5*time.Second, nil)
	r2.Input(door.Trigger{Flow: b.Flows()[0].ID, Packet: packetOf(b.Flows()[0], 20, 10)}) // is there
	r2.Input(door.Trigger{Flow: b.Flows()[0].ID, Packet: packetOf(b.Flows()[0], 77, 10)}) // is not
	x.Run(5*time.Second, nil)
	for _, h := range []*Host{r1, r2} {
		seen := map[flow.Selectors]bool{}
		for _, k := range h.Children {
			seen[k.Selectors] = true
			if !k.Selectors.Local.IsSingleIP() || !k.Selectors.Remote.IsSingleIP() || !k.In || !k.Out {
				t.Errorf("%s: a pair for %s", h.Name, k.Selectors)
			}
		}
		if len(h.Children) != hosts+1 || len(seen) != hosts+1 {
			t.Errorf("%s: %d pairs for %d pairs of hosts, want %d", h.Name, len(h.Children), len(seen), hosts+1)
		}
	}
	if up := happened[event.Phase1Up](r1); len(up) != 1 {
		t.Errorf("phase 1 came up %d times", len(up))
	}
	for i := range byte(200) {
		r1.Input(door.Trigger{Flow: f.ID, Packet: packetOf(f, 10+i, 200)})
		r1.Input(door.Trigger{Flow: f.ID, Packet: packetOf(f, 10+i, 201)})
		x.Run(time.Second, nil)
	}
	for _, h := range []*Host{r1, r2} {
		if n := len(h.Children); n > 256 {
			t.Errorf("%s holds %d pairs", h.Name, n)
		}
	}
	if r1.Unreachable == 0 {
		t.Error("nothing was given up")
	}
}

// A responder-only entry never begins, neither for traffic nor to renew: the
// sentence says so, and the peer's pairs work both ways.
func TestResponderOnly(t *testing.T) {
	a, _ := sites(short(time.Hour, 5*time.Minute))
	_, b := sites(short(time.Hour, 5*time.Minute), entry(func(e *policy.Entry) { e.ResponderOnly = true }))
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r2)
	x.Run(5*time.Second, nil)
	f := happened[event.Failed](r2)
	if len(f) != 1 || f[0].Code != event.IsResponderOnly || f[0].Flow != id || r2.Unreachable != 1 || len(happened[event.Message](r2)) != 0 {
		t.Fatalf("R2: %+v, %d given up, %d messages", f, r2.Unreachable, len(happened[event.Message](r2)))
	}
	trigger(r1)
	for range 25 {
		x.Run(time.Minute, nil)
		probes(t, x, r1, r2)
	}
	for _, k := range r2.Children {
		if k.Initiator {
			t.Error("R2 began a pair")
		}
	}
	// The peer stops renewing: the pair ends with its time.
	x.Link = func(int, door.Send) []time.Duration { return nil }
	x.Run(6*time.Minute, nil)
	if len(r2.Children) != 0 {
		t.Errorf("R2 still has %d pairs", len(r2.Children))
	}
	for _, m := range happened[event.Message](r2) {
		if m.Dir == event.Sent && (m.Name == "MM1" || m.Name == "QM1") {
			t.Errorf("R2 sent %s", m.Name)
		}
	}
}

var addrB2 = netip.MustParseAddr("198.51.100.3")

// twoPeers are R1 with two peers for the same networks.
func twoPeers(t *testing.T, options ...option) (x *World, r1 *Host, peers [2]*Host) {
	t.Helper()
	a := site(addrA, addrB, netA, netB, options...)
	a.Entries[0].Peers = []netip.Addr{addrB, addrB2}
	a.Keys = append(a.Keys, policy.Key{Peers: netip.PrefixFrom(addrB2, 32), Secret: crypt.NewSecret([]byte("correct horse"))})
	x = NewWorld(3)
	r1 = x.Add("R1", addrA, a)
	peers[0] = x.Add("R2", addrB, site(addrB, addrA, netB, netA, options...))
	peers[1] = x.Add("R3", addrB2, site(addrB2, addrA, netB, netA, options...))
	return x, r1, peers
}

// cut takes hosts off the net.
func cut(dead ...*Host) Link {
	return func(n int, d door.Send) []time.Duration {
		for _, h := range dead {
			if d.Remote.Addr() == h.Addr || d.Local.Addr() == h.Addr {
				return nil
			}
		}
		return Perfect(n, d)
	}
}

// keepAsking lets traffic ask, once a second, for a while.
func keepAsking(x *World, h *Host, d time.Duration) {
	for end := x.Now.Add(d); x.Now.Before(end); {
		trigger(h)
		x.Run(time.Second, nil)
	}
}

func peerOf(t *testing.T, h *Host) netip.Addr {
	t.Helper()
	var last netip.Addr
	if k := newest(h); k != nil {
		last = k.Remote.Addr()
	}
	return last
}

// Peers of an entry are tried in order, and the one that answered is asked until
// it fails. With "default" the first one is asked again for the next new
// negotiation, as soon as nothing is left with the second.
func TestPeersWithDefault(t *testing.T) {
	for _, tt := range []struct {
		byDefault bool
		want      netip.Addr // after the first peer is back and the second one's SAs are gone
	}{{false, addrB2}, {true, addrB}} {
		t.Run(fmt.Sprint("default ", tt.byDefault), func(t *testing.T) {
			x, r1, peers := twoPeers(t, entry(func(e *policy.Entry) { e.DefaultPeer = tt.byDefault }),
				func(s *policy.Settings) {
					s.Keepalive = policy.Keepalive{Every: 10 * time.Second, Retry: 2 * time.Second, Periodic: true}
				})
			keepAsking(x, r1, 5*time.Second)
			if got := peerOf(t, r1); got != addrB {
				t.Fatalf("the first pair is with %s", got)
			}
			x.Link = cut(peers[0])
			keepAsking(x, r1, 2*time.Minute) // dead peer detection, then the next peer
			if got := peerOf(t, r1); got != addrB2 {
				t.Fatalf("after the death of the first peer the pair is with %s", got)
			}
			if err := x.Probe(r1, peers[1], r1.Engine.Settings().Flows()[0]); err != nil {
				t.Error(err)
			}
			x.Link = Perfect
			keepAsking(x, r1, time.Minute)
			if got := peerOf(t, r1); got != addrB2 || len(r1.Children) != 1 {
				t.Fatalf("with the first peer back, the pair that works was left for one with %s", got)
			}
			r1.Input(door.Clear{IPsec: true, ISAKMP: true})
			x.Run(time.Second, nil)
			keepAsking(x, r1, 5*time.Second)
			if got := peerOf(t, r1); got != tt.want {
				t.Errorf("the next new negotiation is with %s, want %s", got, tt.want)
			}
		})
	}
}

// What a peer refuses in phase 2, another one may not.
func TestNextPeerAfterRefusal(t *testing.T) {
	x, r1, peers := twoPeers(t)
	was := *peers[0].Engine.Settings()
	was.Entries = []policy.Entry{was.Entries[0]}
	was.Entries[0].Sets = []policy.TransformSet{gcm(192)}
	peers[0].Input(door.Configure{Settings: &was})
	keepAsking(x, r1, 10*time.Second)
	if got := peerOf(t, r1); got != addrB2 {
		t.Errorf("the pair is with %s", got)
	}
	if f := happened[event.Failed](r1); len(f) == 0 || f[0].Code != event.NoTransformSet {
		t.Errorf("on the way: %+v", f)
	}
}

// Two entries for one peer, each for another identity: a pair is made over the
// ISAKMP SA of the entry's own profile only.
func TestEntriesOfProfiles(t *testing.T) {
	a, b := sites()
	fqdn := func(name string) policy.Profile {
		return policy.Profile{Name: name, Match: []policy.IdentityMatch{{Kind: policy.IdentityAddress, Prefix: netip.PrefixFrom(addrB, 32)}}}
	}
	other := fqdn("OTHER")
	other.Match[0].Prefix = netip.PrefixFrom(addrB2, 32)
	a.Profiles = []policy.Profile{fqdn("MINE"), other}
	a.Entries[0].Profile = &a.Profiles[0]
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	a2, b2 := sites()
	a2.Profiles = a.Profiles
	a2.Entries[0].Profile = &a2.Profiles[1]
	x, r1, r2 = world(t, 1, a2, b2)
	id = trigger(r2)
	x.Run(time.Minute, nil)
	if r1.Up(id) || r2.Up(id) {
		t.Error("a pair came up with a peer that the entry's profile does not recognise")
	}
	found := false
	for _, f := range happened[event.Failed](r1) {
		found = found || f.Code == event.NoProfile && strings.Contains(f.Reason, "OTHER")
	}
	if !found {
		t.Errorf("R1 tells %+v", happened[event.Failed](r1))
	}
}

// A peer that was restarted does not know the ISAKMP SA that we still have, and
// says nothing on it: it is given up with the quick mode that nobody answers,
// also without dead peer detection, and the next packet begins anew.
func TestForgottenByThePeer(t *testing.T) {
	a, b := sites()
	x, r1, r2 := up(t, a, b)
	r2.Restart()
	r1.Input(door.Expire{Child: only(t, r1).ID, Hard: true})
	x.Run(time.Second, nil)
	keepAsking(x, r1, time.Minute)
	bothUp(t, a.Flows()[0].ID, r1, r2)
	probes(t, x, r1, r2)
	if n := r1.Engine.Load().ISAKMP; n != 1 {
		t.Errorf("R1 has %d ISAKMP SAs", n)
	}
}
