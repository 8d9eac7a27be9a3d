package sadb

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

var (
	r1  = netip.MustParseAddr("198.51.100.1")
	r2  = netip.MustParseAddr("198.51.100.2")
	gcm = policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128}
)

// prefix is a line's side: "any", a prefix, or an address.
func prefix(s string) flow.Match {
	if s == "any" {
		return flow.Match{}
	}
	return flow.PrefixMatch(netip.MustParsePrefix(s))
}

// acl makes an access list of lines, numbered 10, 20, …
func acl(name string, lines ...flow.Line) *flow.List {
	l := &flow.List{Name: name, Extended: true, Lines: lines}
	for i := range l.Lines {
		l.Lines[i].Seq = 10 * (i + 1)
	}
	return l
}

func permit(proto uint8, src, dst string) flow.Line {
	return flow.Line{Action: flow.Permit, Proto: proto, Src: prefix(src), Dst: prefix(dst)}
}

func deny(proto uint8, src, dst string) flow.Line {
	l := permit(proto, src, dst)
	l.Action = flow.Deny
	return l
}

func entry(seq int, list *flow.List) policy.Entry {
	return policy.Entry{Map: "CMAP", Seq: seq, Local: r1, Peers: []netip.Addr{r2}, Sets: []policy.TransformSet{gcm}, ACL: list}
}

func id(seq, line int) policy.FlowID { return policy.FlowID{Map: "CMAP", Seq: seq, Line: line} }

func packet(proto uint8, src, dst string) flow.Tuple {
	return flow.Tuple{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: proto}
}

// zeros is a random source that is none.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// newDB is a gateway with the policy of the two sites.
func newDB(entries ...policy.Entry) *DB {
	d := New(zeros{})
	d.SetPolicy(entries)
	return d
}

func twoSites() policy.Entry {
	return entry(10, acl("SITE-B", permit(flow.AnyProto, "10.10.10.0/24", "10.20.20.0/24")))
}

// childOf is an SA pair of the flow CMAP 10, line 10, whose SPIs follow from n.
// Both directions have the same keys, so that a gateway can open what it sealed.
func childOf(n uint32) Child {
	key := make([]byte, 20)
	for i := range key {
		key[i] = byte(n) + byte(i)
	}
	k := Keys{SPI: 0x1000 + n, Encr: crypt.NewSecret(key)}
	return Child{
		ID: ChildID(n), Flow: id(10, 10), Set: gcm, In: k, Out: k, ReplayWindow: 64, Initiator: true,
		Selectors: flow.Selectors{Local: netip.MustParsePrefix("10.10.10.0/24"), Remote: netip.MustParsePrefix("10.20.20.0/24")},
		Local:     netip.AddrPortFrom(r1, 500), Remote: netip.AddrPortFrom(r2, 500), Established: time.Unix(0, 0),
	}
}

func install(t testing.TB, d *DB, c Child, in, out bool) {
	t.Helper()
	if err := d.Install(c, in, out); err != nil {
		t.Fatalf("Install(%d, in %v, out %v): %v", c.ID, in, out, err)
	}
}

// sealed is an inner packet of n octets, sealed by sa.
func sealed(t testing.TB, sa *Out, n int) []byte {
	t.Helper()
	buf := make([]byte, esp.Headroom+n+esp.Tailroom)
	p, _, err := sa.Seal(buf, esp.Headroom, n, 1)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return p
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }
