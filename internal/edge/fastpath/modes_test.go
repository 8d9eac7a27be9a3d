package fastpath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/crypt"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// protections is every combination of protocols, in one mode.
func protections(m suite.Mode) []policy.TransformSet {
	cbc := policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256, Mode: m}
	bundle := cbc
	bundle.AH = suite.SHA512
	null := policy.TransformSet{AH: suite.SHA1, Cipher: suite.NullCipher, Integ: suite.SHA1, Mode: m}
	g := gcm
	g.Mode = m
	return []policy.TransformSet{g, cbc, bundle, null, {AH: suite.MD5, Mode: m}, {AH: suite.SHA256, Mode: m}}
}

// between are R1 and R2 with one SA pair between them: for their sites, or in
// transport mode for themselves.
func between(t *testing.T, set policy.TransformSet, esn, encap bool) (a, b *gateway, ca sadb.Child) {
	la, lb := siteA, siteB
	if set.Mode == suite.Transport {
		la, lb = netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("198.51.100.2/32")
	}
	a, b = newGateway(t, "198.51.100.1", lineTo(la, lb), Limits{}), newGateway(t, "198.51.100.2", lineTo(lb, la), Limits{})
	join(a, b)
	ca, cb := pairOf(set, 1, encap)
	withAH(&ca, &cb)
	ca.ESN, cb.ESN = esn, esn
	ca.Selectors = flow.Selectors{Local: la, Remote: lb}
	cb.Selectors = ca.Selectors.Mirror()
	up(t, a, b, ca, cb)
	return a, b, ca
}

// withAH gives a pair keys for AH where its set has it.
func withAH(a, b *sadb.Child) {
	if a.Set.AH == suite.NoHash {
		return
	}
	key := func(seed byte) crypt.Secret {
		return crypt.NewSecret(bytes.Repeat([]byte{seed}, a.Set.AH.Row().Size))
	}
	a.Out.AHSPI, a.Out.AHInteg = 0x30001, key(1)
	a.In.AHSPI, a.In.AHInteg = 0x40001, key(2)
	if a.Set.Cipher == suite.NoCipher {
		a.In.SPI, a.Out.SPI = 0, 0
	}
	b.In, b.Out = a.Out, a.In
}

func TestEveryModeGoesEndToEnd(t *testing.T) {
	for _, m := range []suite.Mode{suite.Tunnel, suite.Transport} {
		for _, set := range protections(m) {
			for _, encap := range []bool{false, true} {
				if encap && set.AH != suite.NoHash {
					continue
				}
				t.Run(fmt.Sprintf("%s %s encap=%v", set, m, encap), func(t *testing.T) {
					a, b, c := between(t, set, true, encap)
					src, dst := "10.10.10.10", "10.20.20.20"
					if m == suite.Transport {
						src, dst = "198.51.100.1", "198.51.100.2"
					}
					for n := range 100 {
						there, back := withID(udpPacket(src, dst, n, 4+9*n)), withID(udpPacket(dst, src, n, 4+9*n))
						a.tun.in <- [][]byte{there}
						b.tun.in <- [][]byte{back}
						wantSame(t, "packet at B", receive(t, "packet at B", b.tun.out), there, m, encap)
						wantSame(t, "packet at A", receive(t, "packet at A", a.tun.out), back, m, encap)
					}
					onTheWire(t, a, &c, 100)
				})
			}
		}
	}
}

// withID is a packet with an identification of its own and a right checksum, as
// the kernel gives it.
func withID(p []byte) []byte {
	p[4], p[5] = 0x77, p[31]
	ah.PutChecksum(p[:20])
	return p
}

// wantSame compares packets. In UDP a transport mode packet has a new header and
// a new checksum within.
func wantSame(t *testing.T, what string, got, want []byte, m suite.Mode, encap bool) {
	t.Helper()
	if m == suite.Transport && encap {
		got, want = bytes.Clone(got), bytes.Clone(want)
		for _, p := range [][]byte{got, want} {
			clear(p[4:9])
			clear(p[10:12])
			clear(p[26:28])
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// onTheWire checks which socket n packets of A left by, and in what.
func onTheWire(t *testing.T, a *gateway, c *sadb.Child, n int) {
	t.Helper()
	want, proto := a.raw, uint8(0)
	switch {
	case c.Set.AH != suite.NoHash:
		want, proto = a.ah, flow.AH
	case c.Encap:
		want = a.udp
	case c.Set.Mode == suite.Transport:
		want, proto = a.ah, flow.ESP
	}
	for _, w := range []*wire{a.raw, a.udp, a.ah} {
		if got := len(w.packets()); (w == want && got != n) || (w != want && got != 0) {
			t.Errorf("%d packets left by a socket of protocol %d, want %d by that of %d", got, w.proto, n, want.proto)
		}
	}
	for _, p := range want.packets() {
		if proto != 0 && (p[9] != proto || int(binary.BigEndian.Uint16(p[2:])) != len(p) || (p[4] == 0 && p[5] == 0)) {
			t.Fatalf("a packet of protocol %d, want %d: %x", p[9], proto, p[:20])
		}
	}
}

// An ESP packet of a bundle that comes without its AH is not of the SA, and
// touches no window: only the AH socket's goroutine may.
//
// Threat: half a bundle.
func TestABundleComesInAHOnly(t *testing.T) {
	set := protections(suite.Tunnel)[2]
	a, b, c := between(t, set, false, false)
	a.ah.far = nil
	a.tun.in <- [][]byte{fromA(1)}
	until(t, "A sealed", func() bool { return len(a.ah.packets()) == 1 })
	p := a.ah.packets()[0]
	b.raw.in <- datagram{a.raw.local, bytes.Clone(p[20+ah.Len(set.AH):]), false}
	b.wantDrop(WrongWay, 1)
	if x := receive(t, "audit", b.up.audits); x.Why != WrongWay || x.SPI != c.Out.SPI || x.Proto != flow.ESP {
		t.Errorf("audited as %+v", x)
	}
	b.ah.in <- datagram{a.ah.local, bytes.Clone(p), true}
	if n := numberOf(receive(t, "the bundle", b.tun.out)); n != 1 {
		t.Errorf("packet %d", n)
	}
	b.ah.in <- datagram{a.ah.local, bytes.Clone(p), true}
	b.wantDrop(Replayed, 1)
	p[len(p)-1] ^= 1
	p[31]++ // a number of its own
	b.ah.in <- datagram{a.ah.local, p, true}
	b.wantDrop(BadICV, 1)
	if c := b.db.Stats().Flows[0].Counters; c.Decaps != 1 || c.Verify != 1 || c.VerifyFailed != 1 || c.ReplayFailed != 1 {
		t.Errorf("counters %+v", c)
	}
}

func TestTransportModeRefusesWhatItCannotCarry(t *testing.T) {
	a, b, c := between(t, protections(suite.Transport)[0], false, false)
	// The peer moved; what goes to where it was is not the SA's.
	if err := a.db.Move(c.ID, netip.MustParseAddrPort("198.51.100.9:0")); err != nil {
		t.Fatal(err)
	}
	a.tun.in <- [][]byte{udpPacket("198.51.100.1", "198.51.100.2", 1, 100)}
	a.wantDrop(Unfit, 1)
	b.wantNothing()
}

// Threat: forged SPIs.
func TestInvalidSPIIsToldOnceASecond(t *testing.T) {
	_, b := twoSites(t)
	now := time.Unix(1000, 0)
	in := newInbound(b.path, (*b.path.locals.Load())[b.raw.local.Addr()], b.raw, flow.ESP, false)
	from := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(n >> 8), byte(n)}), 0)
	}
	give := func(n int, after time.Duration) {
		in.tell(Audit{Local: b.raw.local, Remote: from(n), Proto: flow.ESP, SPI: 0x5000}, now.Add(after).UnixNano())
	}
	told := func(story string, want int) {
		t.Helper()
		if got := len(b.up.invalid); got != want {
			t.Errorf("%s: told %d times, want %d", story, got, want)
		}
		for len(b.up.invalid) > 0 {
			<-b.up.invalid
		}
	}
	give(1, 0)
	give(1, 999*time.Millisecond)
	told("twice within a second", 1)
	give(1, time.Second)
	told("a second later", 1)
	for n := range 900 {
		give(100+n, 1500*time.Millisecond)
	}
	told("900 others", 900)
	for n := range 5000 {
		give(2000+n, 1600*time.Millisecond)
	}
	if len(in.invalid) > maxInvalid {
		t.Errorf("%d addresses are remembered, at most %d may be", len(in.invalid), maxInvalid)
	}
	told("a flood from forged addresses", maxInvalid-901)
	give(9000, 2700*time.Millisecond)
	told("after the flood", 1)
	// And through the socket, with the packet's own SPI.
	b.raw.in <- datagram{from(7), []byte{0, 0, 0x77, 0x88, 0, 0, 0, 1, 0, 0, 0, 0}, false}
	if spi := receive(t, "invalid SPI", b.up.invalid); spi != 0x7788 {
		t.Errorf("SPI %#x", spi)
	}
	b.ah.in <- datagram{from(8), []byte{4, 4, 0, 0, 0, 0, 0x77, 0x99, 0, 0, 0, 1}, false}
	if spi := receive(t, "invalid AH SPI", b.up.invalid); spi != 0x7799 {
		t.Errorf("SPI %#x", spi)
	}
}
