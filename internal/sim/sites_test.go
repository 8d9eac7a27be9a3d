package sim

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

var (
	addrA = netip.MustParseAddr("198.51.100.1")
	addrB = netip.MustParseAddr("198.51.100.2")
	netA  = netip.MustParsePrefix("10.10.10.0/24")
	netB  = netip.MustParsePrefix("10.20.20.0/24")
)

// option changes one side's settings.
type option func(*policy.Settings)

// site is one end of the article's two sites.
func site(local, peer netip.Addr, from, to netip.Prefix, options ...option) *policy.Settings {
	list := &flow.List{Name: "102", Extended: true, Lines: []flow.Line{
		{Seq: 10, Action: flow.Permit, Src: flow.PrefixMatch(from), Dst: flow.PrefixMatch(to), ICMPType: -1, ICMPCode: -1},
	}}
	s := &policy.Settings{
		Policies: []policy.ISAKMP{
			{Priority: 10, Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.PSK, Group: 19, Lifetime: 86400 * time.Second},
			{Priority: 20, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA1, Auth: suite.PSK, Group: 14, Lifetime: 86400 * time.Second},
		},
		Keys: []policy.Key{{Peers: netip.PrefixFrom(peer, 32), Secret: crypt.NewSecret([]byte("correct horse"))}},
		Entries: []policy.Entry{{
			Map: "CMAP", Seq: 10, Interface: "GigabitEthernet0/1", Local: local, Peers: []netip.Addr{peer}, ACL: list, ReplayWindow: 64,
			Lifetime: policy.Lifetime{Time: time.Hour, Kilobytes: 4608000},
			Sets: []policy.TransformSet{
				{Name: "STRONG", Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256},
				{Name: "PLAIN", Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1},
			},
		}},
		ReplayWindow: 64,
	}
	for _, o := range options {
		o(s)
	}
	return s
}

func pfs(g suite.Group) option { return func(s *policy.Settings) { s.Entries[0].PFS = g } }

// sites are both ends; each option applies to both.
func sites(options ...option) (a, b *policy.Settings) {
	return site(addrA, addrB, netA, netB, options...), site(addrB, addrA, netB, netA, options...)
}

// world puts two sites on one link.
func world(t *testing.T, seed uint64, a, b *policy.Settings) (*World, *Host, *Host) {
	t.Helper()
	w := NewWorld(seed)
	return w, w.Add("R1", addrA, a), w.Add("R2", addrB, b)
}

// trigger is the first packet of interesting traffic.
func trigger(h *Host) policy.FlowID {
	return triggerFlow(h, h.Engine.Settings().Flows()[0])
}

func triggerFlow(h *Host, f policy.Flow) policy.FlowID {
	h.Input(door.Trigger{Flow: f.ID, Packet: flow.Tuple{Src: f.Selectors.Local.Addr().Next(), Dst: f.Selectors.Remote.Addr().Next(), Proto: flow.ICMP}})
	return f.ID
}

// happened finds the events of one type.
func happened[T event.What](h *Host) []T {
	var out []T
	for _, e := range h.Events {
		if w, ok := e.What.(T); ok {
			out = append(out, w)
		}
	}
	return out
}

// bothUp demands one and the same SA pair at both ends.
func bothUp(t *testing.T, id policy.FlowID, hosts ...*Host) {
	t.Helper()
	for _, h := range hosts {
		if !h.Up(id) {
			for _, h := range hosts {
				for _, e := range h.Events {
					t.Logf("%s %s %s %+v", h.Name, e.At.Format("05.000"), e.State, e.What)
				}
			}
			t.Fatalf("%s: flow %v is not up", h.Name, id)
		}
	}
}
