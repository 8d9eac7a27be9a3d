package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"culvert/internal/core/crypt"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
	"culvert/internal/edge/mmsg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// suites is every transform set a data path can carry.
func suites() []policy.TransformSet {
	var out []policy.TransformSet
	for _, bits := range []int{128, 192, 256} {
		out = append(out, policy.TransformSet{Cipher: suite.AESGCM, KeyBits: bits})
		for _, h := range suite.Hashes() {
			out = append(out, policy.TransformSet{Cipher: suite.AESCBC, KeyBits: bits, Integ: h})
		}
	}
	for _, c := range []suite.Cipher{suite.DES, suite.TripleDES, suite.NullCipher} {
		out = append(out, policy.TransformSet{Cipher: c, Integ: suite.SHA1})
	}
	return out
}

func TestWhatGoesInAtAComesOutAtB(t *testing.T) {
	for _, set := range suites() {
		for _, encap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s encap=%v", set, encap), func(t *testing.T) {
				a, b := twoSites(t)
				ca, cb := pairOf(set, 1, encap)
				up(t, a, b, ca, cb)
				for n := range 200 {
					there := udpPacket("10.10.10.10", "10.20.20.20", n, 4+7*n)
					back := udpPacket("10.20.20.20", "10.10.10.10", n, 4+7*n)
					a.tun.in <- [][]byte{there}
					b.tun.in <- [][]byte{back}
					if got := receive(t, "packet at B", b.tun.out); !bytes.Equal(got, there) {
						t.Fatalf("B got %x\nA sent %x", got, there)
					}
					if got := receive(t, "packet at A", a.tun.out); !bytes.Equal(got, back) {
						t.Fatalf("A got %x\nB sent %x", got, back)
					}
				}
				w, other := a.raw, a.udp
				if encap {
					w, other = a.udp, a.raw
				}
				if len(w.packets()) != 200 || len(other.packets()) != 0 {
					t.Errorf("%d packets went the SA's way, %d the other", len(w.packets()), len(other.packets()))
				}
				for _, p := range w.packets() {
					if set.Cipher != suite.NullCipher && bytes.Contains(p, []byte{10, 10, 10, 10, 10, 20, 20, 20}) {
						t.Fatal("an inner header is readable on the wire")
					}
				}
			})
		}
	}
}

// The packet that triggers the tunnel is sent, and nothing overtakes it.
func TestWhatTriggersIsSentFirst(t *testing.T) {
	a, b := twoSites(t)
	a.tun.in <- [][]byte{fromA(0), fromA(1)}
	a.tun.in <- [][]byte{fromA(2)}
	if p := receive(t, "trigger", a.up.triggers); p.Dst != netip.MustParseAddr("10.20.20.20") || p.DstPort != 2000 {
		t.Errorf("triggered by %s", p)
	}
	until(t, "three packets wait", func() bool { return a.path.Waiting(theID) == 3 })
	if n := len(a.up.triggers); n != 0 {
		t.Errorf("%d more triggers within a second", n)
	}
	ca, cb := pairOf(gcm, 1, false)
	b.install(cb)
	// The SA is there, but nobody has said so yet: the next packet finds it and
	// sends what waited before itself.
	if err := a.db.Install(ca, true, true); err != nil {
		t.Fatal(err)
	}
	a.tun.in <- [][]byte{fromA(3), fromA(4)}
	for want := range 5 {
		if got := numberOf(receive(t, "queued packet", b.tun.out)); got != want {
			t.Fatalf("packet %d came when it was packet %d's turn", got, want)
		}
	}
	if n := a.path.Waiting(theID); n != 0 {
		t.Errorf("%d packets still wait", n)
	}
	if len(a.raw.packets()) != 5 {
		t.Errorf("%d packets left, want 5", len(a.raw.packets()))
	}
}

func TestInstalledSendsWhatWaits(t *testing.T) {
	a, b := twoSites(t)
	var batch [][]byte
	for n := range 50 {
		batch = append(batch, fromA(n))
	}
	a.tun.in <- batch
	until(t, "all wait", func() bool { return a.path.Waiting(theID) == 50 })
	if len(a.raw.packets())+len(a.udp.packets()) != 0 {
		t.Fatal("something left before there was an SA")
	}
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	for want := range 50 {
		if got := numberOf(receive(t, "queued packet", b.tun.out)); got != want {
			t.Fatalf("packet %d came when it was packet %d's turn", got, want)
		}
	}
}

// A tunnel that is cleared right after it came up is asked for again with the
// first packet, which may be the only one.
func TestTheFirstPacketAfterAnSAAsksAtOnce(t *testing.T) {
	a, b := twoSites(t)
	a.tun.in <- [][]byte{fromA(0)}
	receive(t, "trigger", a.up.triggers)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	receive(t, "queued packet", b.tun.out)
	if err := a.db.Remove(ca.ID); err != nil {
		t.Fatal(err)
	}
	a.tun.in <- [][]byte{fromA(1)}
	receive(t, "second trigger", a.up.triggers)
}

// Packets keep coming while SAs are installed and renewed: every packet arrives
// once, in order.
func TestNothingIsLostOrReorderedAcrossRenewals(t *testing.T) {
	const total = 3000
	a, b := twoSitesWith(t, Limits{FlowPackets: total, FlowOctets: 1 << 30, Packets: total, Octets: 1 << 30})
	go func() {
		for n := 0; n < total; n += 10 {
			batch := make([][]byte, 10)
			for i := range batch {
				batch[i] = fromA(n + i)
			}
			a.tun.in <- batch
		}
	}()
	receive(t, "trigger", a.up.triggers)
	for n := uint32(1); n <= 20; n++ {
		ca, cb := pairOf(gcm, n, n%2 == 0)
		up(t, a, b, ca, cb)
		if n > 2 {
			if err := a.db.Remove(sadb.ChildID(n - 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range total {
		// Raw and UDP are two roads: between them the network may reorder, so
		// the order is looked at where the packets leave.
		receive(t, "packet", b.tun.out)
	}
	seen := map[int]bool{}
	for _, w := range []*wire{a.raw, a.udp} {
		last, lastNumber := 0, -1
		for _, p := range w.packets() {
			spi, seq, _ := esp.Header(p)
			if key := int(spi)<<32 | int(seq); seen[key] {
				t.Fatalf("SPI %#x number %d was used twice", spi, seq)
			} else {
				seen[key] = true
			}
			if int(spi) < last {
				t.Fatalf("SPI %#x was used after %#x", spi, last)
			}
			if n := opened(t, p); n <= lastNumber {
				t.Fatalf("packet %d was sent after packet %d", n, lastNumber)
			} else {
				last, lastNumber = int(spi), n
			}
		}
	}
	if len(seen) != total {
		t.Errorf("%d packets left, want %d", len(seen), total)
	}
}

// opened is the number of the packet that A sealed.
func opened(t *testing.T, p []byte) int {
	t.Helper()
	spi, _, _ := esp.Header(p)
	ca, _ := pairOf(gcm, spi-0x10000, false)
	o, err := esp.NewOpener(gcm, spi, ca.Out.Encr, ca.Out.Integ)
	if err != nil {
		t.Fatal(err)
	}
	inner, _, _, err := o.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return numberOf(inner)
}

func TestFailedDropsWhatWaits(t *testing.T) {
	a, _ := twoSites(t)
	a.tun.in <- [][]byte{fromA(0), fromA(1)}
	until(t, "both wait", func() bool { return a.path.Waiting(theID) == 2 })
	a.path.Failed(theID)
	if a.path.Waiting(theID) != 0 || a.dropped(NoSA) != 2 {
		t.Errorf("%d wait, %d dropped", a.path.Waiting(theID), a.dropped(NoSA))
	}
	if c := a.db.Stats().Flows[0].Counters; c.NoSA != 2 || c.SendErrors != 2 {
		t.Errorf("flow's counters %+v", c)
	}
	a.path.Failed(theID)
	a.path.Failed(policy.FlowID{Map: "NONE"})
	a.path.Installed(policy.FlowID{Map: "NONE"})
}

// What waits for a flow that an operator removed is not kept for ever, and never
// goes out by another flow's SA.
func TestReconfiguredDropsWhatHasNoFlow(t *testing.T) {
	a, _ := twoSites(t)
	a.tun.in <- [][]byte{fromA(0), fromA(1)}
	until(t, "both wait", func() bool { return a.path.Waiting(theID) == 2 })
	a.path.Reconfigured()
	if n := a.path.Waiting(theID); n != 2 {
		t.Fatalf("the same policy: %d wait", n)
	}
	a.db.SetPolicy(nil)
	a.path.Reconfigured()
	if n := a.path.Waiting(theID); n != 0 || a.dropped(NoSA) != 2 {
		t.Errorf("%d wait, %d dropped", n, a.dropped(NoSA))
	}
	a.db.SetPolicy(lineTo(siteA, siteB))
	ca, _ := pairOf(gcm, 1, false)
	a.install(ca)
	if n := len(a.raw.packets()); n != 0 {
		t.Errorf("%d packets of the old policy left", n)
	}
}

func TestNothingLeavesInClear(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	v6 := fromA(0)
	v6[0] = 0x60
	long := fromA(0)
	binary.BigEndian.PutUint16(long[2:], uint16(len(long)+1))
	a.tun.in <- [][]byte{
		udpPacket("10.10.10.10", "192.0.2.1", 0, 10), // no crypto ACL permits it
		udpPacket("10.20.20.20", "10.10.10.10", 0, 10),
		v6, long, {}, {0x45},
	}
	a.wantDrop(Bypass, 2)
	a.wantDrop(Malformed, 4)
	if n := len(a.raw.packets()) + len(a.udp.packets()); n != 0 {
		t.Errorf("%d packets left", n)
	}
}

// RFC 4303 3.4.3 and RFC 4301 5.2, packet by packet.
//
// Threat: BindView 2002.
func TestHostilePackets(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	a.raw.far = nil // what A sends is carried by hand
	for n := range 200 {
		a.tun.in <- [][]byte{fromA(n)}
	}
	until(t, "A sealed", func() bool { return len(a.raw.packets()) == 200 })
	sent := a.raw.packets()
	peer := a.raw.local
	give := func(from netip.AddrPort, p []byte) { b.raw.in <- datagram{from, bytes.Clone(p), false} }
	tampered := func(p []byte, octet int) []byte {
		p = bytes.Clone(p)
		p[octet] ^= 0x80
		return p
	}
	steps := []struct {
		story string
		from  netip.AddrPort
		data  []byte
		want  Drop // numDrops: delivered
	}{
		{"the hundredth first", peer, sent[99], numDrops},
		{"the same again", peer, sent[99], Replayed},
		{"late but within the window", peer, sent[36], numDrops},
		{"one left of the window", peer, sent[35], Replayed},
		{"flipped bit in the ciphertext", peer, tampered(sent[150], 40), BadICV},
		{"flipped bit in the sequence number", peer, tampered(sent[150], 4), BadICV},
		{"flipped bit in the ICV", peer, tampered(sent[150], len(sent[150])-1), BadICV},
		{"the window did not move", peer, sent[37], numDrops},
		{"flipped bit in the SPI", peer, tampered(sent[150], 0), BadSPI},
		{"cut", peer, sent[150][:len(sent[150])-4], BadICV},
		{"cut to no whole block", peer, sent[150][:len(sent[150])-1], BadLength},
		{"only a header", peer, sent[150][:8], BadLength},
		{"less than a header", peer, sent[150][:7], Short},
		{"nothing", peer, nil, Short},
		{"SPI 0", peer, make([]byte, 100), ReservedSPI},
		{"SPI 255", peer, append([]byte{0, 0, 0, 255}, make([]byte, 100)...), ReservedSPI},
		{"from somebody else", netip.MustParseAddrPort("203.0.113.1:0"), sent[150], WrongWay},
		{"the real one", peer, sent[150], numDrops},
	}
	delivered := 0
	for _, s := range steps {
		before := uint64(0)
		if s.want < numDrops {
			before = b.dropped(s.want)
		}
		give(s.from, s.data)
		if s.want == numDrops {
			receive(t, s.story, b.tun.out)
			delivered++
			continue
		}
		until(t, s.story, func() bool { return b.dropped(s.want) == before+1 })
		if s.want == Short || s.want == ReservedSPI {
			continue
		}
		if x := receive(t, s.story, b.up.audits); x.Why != s.want || x.Remote != s.from || x.Local != b.raw.local {
			t.Errorf("%s: audited as %+v", s.story, x)
		}
	}
	b.udp.in <- datagram{a.udp.local, bytes.Clone(sent[160]), false}
	b.wantDrop(WrongWay, 2)
	if s := b.path.Stats(); s.Delivered != uint64(delivered) || len(b.tun.out) != 0 {
		t.Errorf("%d packets delivered, want %d", s.Delivered, delivered)
	}
	c := b.db.Stats().Flows[0].Counters
	if c.ReplayFailed != 2 || c.VerifyFailed != 4 || c.Decaps != uint64(delivered) {
		t.Errorf("flow's counters %+v", c)
	}
}

// crafted seals anything for B, as a peer that has the keys and means ill.
func crafted(t *testing.T, c sadb.Child) func(payload []byte, next uint8) []byte {
	t.Helper()
	s, err := esp.NewSealer(c.Set, c.Out.SPI, c.Out.Encr, c.Out.Integ, crypt.NewSecret(make([]byte, esp.IVKeyLen)))
	if err != nil {
		t.Fatal(err)
	}
	return func(payload []byte, next uint8) []byte {
		buf := make([]byte, esp.Headroom+len(payload)+esp.Tailroom)
		copy(buf[esp.Headroom:], payload)
		p, err := s.Seal(buf, esp.Headroom, len(payload), next)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// RFC 4301 5.2 step 5: "If an IPsec system receives an inbound packet on an SA
// and the packet's header fields are not consistent with the selectors for the
// SA, it MUST discard the packet. This is an auditable event."
//
// Threat: inner packet outside the selectors.
func TestInnerPacketIsChecked(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	seal := crafted(t, ca)
	change := func(p []byte, f func([]byte)) []byte { f(p); return p }
	steps := []struct {
		story string
		inner []byte
		next  uint8
		want  Drop
	}{
		{"source spoofed through the tunnel", udpPacket("10.20.20.1", "10.20.20.20", 0, 10), 4, Outside},
		{"source from a third site", udpPacket("192.0.2.1", "10.20.20.20", 0, 10), 4, Outside},
		{"destination beyond the site", udpPacket("10.10.10.10", "10.99.0.1", 0, 10), 4, Outside},
		{"the wrong way round", udpPacket("10.20.20.20", "10.10.10.10", 0, 10), 4, Outside},
		{"inner version 7", change(fromA(0), func(p []byte) { p[0] = 0x75 }), 4, BadInner},
		{"inner length beyond the packet", change(fromA(0), func(p []byte) { p[2] = 0xff }), 4, BadInner},
		{"inner header of 16 octets", change(fromA(0), func(p []byte) { p[0] = 0x44 }), 4, BadInner},
		{"inner header beyond the packet", change(fromA(0), func(p []byte) { p[0], p[2], p[3] = 0x4f, 0, 40 }), 4, BadInner},
		{"empty", nil, 4, BadInner},
		{"IPv6 where IPv4 was agreed", fromA(0), 41, BadInner},
		{"transport mode", fromA(0)[20:], 17, BadInner},
		{"dummy packet", []byte("anything"), 59, Dummy},
	}
	for _, s := range steps {
		before := b.dropped(s.want)
		b.raw.in <- datagram{a.raw.local, seal(s.inner, s.next), false}
		until(t, s.story, func() bool { return b.dropped(s.want) == before+1 })
		if s.want == Dummy {
			continue
		}
		if x := receive(t, s.story, b.up.audits); x.Why != s.want || x.Child != 1 || x.Flow != theID || (s.want == Outside && !x.Inner.Src.IsValid()) {
			t.Errorf("%s: audited as %+v", s.story, x)
		}
	}
	b.wantNothing()
	if c := b.db.Stats().Flows[0].Counters; c.InvalidIdentity != uint64(len(steps)-1) {
		t.Errorf("flow's counters %+v", c)
	}
	// RFC 4303 2.7: what is behind the inner packet is padding against traffic analysis.
	b.raw.in <- datagram{a.raw.local, seal(append(fromA(7), make([]byte, 50)...), 4), false}
	if got := receive(t, "padded packet", b.tun.out); !bytes.Equal(got, fromA(7)) {
		t.Errorf("padding was not taken off: %x", got)
	}
	if len(b.up.audits) != 0 {
		t.Errorf("%d more audits", len(b.up.audits))
	}
}

// RFC 3948: what comes to port 4500.
func TestPort4500(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, true)
	up(t, a, b, ca, cb)
	give := func(d ...byte) { b.udp.in <- datagram{a.udp.local, d, false} }
	give(0xff)
	b.wantDrop(Keepalive, 1)
	give(0xfe)
	give()
	give(1, 2, 3)
	give(0, 0, 0, 0)
	give(make([]byte, 4+27)...)
	give(1, 2, 3, 4, 5)
	b.wantDrop(Short, 6)
	ike := bytes.Repeat([]byte{0x17}, 28)
	give(append(make([]byte, 4), ike...)...)
	if got := receive(t, "IKE message", b.up.control); !bytes.Equal(got, ike) {
		t.Errorf("IKE message %x", got)
	}
	b.raw.in <- datagram{a.raw.local, append(make([]byte, 4), ike...), false}
	b.wantDrop(ReservedSPI, 1)
	seal := crafted(t, ca)
	b.raw.in <- datagram{a.raw.local, seal(fromA(1), 4), false}
	b.wantDrop(WrongWay, 1)
	b.udp.in <- datagram{a.udp.local, seal(fromA(2), 4), false}
	if n := numberOf(receive(t, "ESP in UDP", b.tun.out)); n != 2 {
		t.Errorf("packet %d", n)
	}
}

// Only an authentic packet, and only the newest, says that the peer moved.
//
// Threat: NAT mapping change.
func TestPeerMoves(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, true)
	up(t, a, b, ca, cb)
	seal := crafted(t, ca)
	old, elsewhere := a.udp.local, netip.MustParseAddrPort("203.0.113.7:31000")
	held := seal(fromA(0), 4)
	b.udp.in <- datagram{old, seal(fromA(1), 4), false}
	receive(t, "from the old place", b.tun.out)

	forged := seal(fromA(2), 4)
	forged[30] ^= 1
	b.udp.in <- datagram{elsewhere, forged, false}
	b.wantDrop(BadICV, 1)
	b.udp.in <- datagram{elsewhere, held, false}
	receive(t, "held back, from elsewhere", b.tun.out)
	if n := len(b.up.moved); n != 0 {
		t.Fatalf("a forged or an old packet moved the peer %d times", n)
	}
	for n := range 3 {
		b.udp.in <- datagram{elsewhere, seal(fromA(n), 4), false}
		receive(t, "from the new place", b.tun.out)
	}
	if to := receive(t, "moved", b.up.moved); to != elsewhere || len(b.up.moved) != 0 {
		t.Errorf("moved to %s, and %d times more", to, len(b.up.moved))
	}
	if err := b.db.Move(1, elsewhere); err != nil {
		t.Fatal(err)
	}
	b.udp.in <- datagram{elsewhere, seal(fromA(9), 4), false}
	receive(t, "after the move", b.tun.out)
	b.udp.in <- datagram{old, seal(fromA(9), 4), false}
	receive(t, "moved back", b.tun.out)
	if to := receive(t, "moved back", b.up.moved); to != old {
		t.Errorf("moved back to %s", to)
	}
}

func TestVolumeLimits(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	ca.Lifetime.Kilobytes, cb.Lifetime.Kilobytes = 10, 1000
	up(t, a, b, ca, cb)
	for n := range 20 { // bodies of 1 KiB: ten fit
		a.tun.in <- [][]byte{udpPacket("10.10.10.10", "10.20.20.20", n, 1024-2-28)}
	}
	if receive(t, "soft limit", a.up.expired) || !receive(t, "hard limit", a.up.expired) {
		t.Error("the soft limit comes first, then the hard one")
	}
	until(t, "the rest waits", func() bool { return a.path.Waiting(theID) == 10 })
	receive(t, "the rest asks for an SA", a.up.triggers)
	ca, cb = pairOf(gcm, 2, false)
	up(t, a, b, ca, cb)
	for want := range 20 {
		if got := numberOf(receive(t, "packet", b.tun.out)); got != want {
			t.Fatalf("packet %d came when it was packet %d's turn", got, want)
		}
	}
}

func TestSendErrorsAreCounted(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	a.raw.mu.Lock()
	a.raw.fail = &mmsg.SendError{Lost: 1, Of: 3, Cause: errors.New("message too long")}
	a.raw.mu.Unlock()
	a.tun.in <- [][]byte{fromA(0), fromA(1), fromA(2)}
	a.wantDrop(SendFailed, 1)
	a.raw.mu.Lock()
	a.raw.fail = errors.New("network is down")
	a.raw.mu.Unlock()
	a.tun.in <- [][]byte{fromA(0), fromA(1), fromA(2)}
	a.wantDrop(SendFailed, 4)
	a.path.RemoveLocal(ca.Local.Addr())
	a.path.RemoveLocal(ca.Local.Addr())
	a.tun.in <- [][]byte{fromA(0)}
	a.wantDrop(NoSocket, 1)
	if c := a.db.Stats().Flows[0].Counters; c.SendErrors != 5 {
		t.Errorf("flow's counters %+v", c)
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	up(t, a, b, ca, cb)
	if err := b.path.AddLocal(cb.Local, Sockets{ESP: b.raw, UDP: b.udp}); err == nil {
		t.Error("an address was added twice")
	}
	b.path.RemoveLocal(cb.Local.Addr())
	again := newWire(netip.AddrPortFrom(cb.Local.Addr(), 0))
	again.proto = flow.ESP
	if err := b.path.AddLocal(netip.AddrPortFrom(cb.Local.Addr(), 4500), Sockets{ESP: again}); err != nil {
		t.Fatal(err)
	}
	a.raw.mu.Lock()
	a.raw.far = again
	a.raw.mu.Unlock()
	a.tun.in <- [][]byte{fromA(3)}
	if n := numberOf(receive(t, "over the new socket", b.tun.out)); n != 3 {
		t.Errorf("packet %d", n)
	}
}

func TestADeadDeviceEndsThePath(t *testing.T) {
	tun, raw := newMemTUN(), newWire(netip.MustParseAddrPort("198.51.100.1:0"))
	p, err := New(Config{DB: sadb.New(&counting{}), TUN: tun, Limits: Limits{MaxPacket: 100}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AddLocal(raw.local, Sockets{ESP: raw}); err != nil {
		t.Fatal(err)
	}
	_ = tun.Close()
	if err := p.Run(); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), "TUN") {
		t.Errorf("Run: %v", err)
	}
	select {
	case <-raw.closed:
	default:
		t.Error("the sockets stayed open")
	}
	p.Close()
	if err := p.Run(); err == nil {
		t.Error("it ran again")
	}
	if err := p.AddLocal(raw.local, Sockets{ESP: raw}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("AddLocal after the end: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a path without a device")
	}
}

func TestAFailingTUNWriteIsCounted(t *testing.T) {
	a, b := twoSites(t)
	ca, cb := pairOf(gcm, 1, false)
	b.tun.fail = errors.New("no buffer space")
	up(t, a, b, ca, cb)
	a.tun.in <- [][]byte{fromA(0)}
	b.wantDrop(WriteFailed, 1)
	b.wantNothing()
}

func TestTriggersAreLimited(t *testing.T) {
	now := time.Unix(1000, 0)
	w := waiting{limits: Limits{}.withDefaults(), flows: map[policy.FlowID]*queue{}}
	f := flowOf(t)
	asked := []int{}
	for n := range 35 { // one packet every 100 ms
		if _, trigger := w.add(f, flow.Tuple{}, fromA(n), now.Add(time.Duration(n)*100*time.Millisecond).UnixNano(), 1); trigger {
			asked = append(asked, n)
		}
		if n == 5 {
			w.take(f.ID) // what waited was given up: still no more than one a second
		}
	}
	if fmt.Sprint(asked) != "[0 10 20 30]" {
		t.Errorf("asked with packets %v, want one a second", asked)
	}
}
