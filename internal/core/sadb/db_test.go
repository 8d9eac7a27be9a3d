package sadb

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/replay"
	"culvert/internal/core/suite"
)

var interesting = packet(flow.TCP, "10.10.10.1", "10.20.20.1")

func TestResponderReceivesBeforeItSends(t *testing.T) {
	d := newDB(twoSites())
	f, sa := d.Snapshot().Outbound(interesting)
	if f == nil || sa != nil {
		t.Fatalf("no SA yet: flow %v, SA %v", f, sa)
	}
	before := d.Snapshot()

	install(t, d, childOf(1), true, false)
	if in := d.Snapshot().Inbound(esp.Proto, 0x1001); in == nil || in.Child.ID != 1 {
		t.Fatalf("after message 2 of quick mode it receives: %v", in)
	}
	if _, sa := d.Snapshot().Outbound(interesting); sa != nil {
		t.Fatal("it sends before message 3 of quick mode")
	}
	install(t, d, childOf(1), false, true)
	f, sa = d.Snapshot().Outbound(interesting)
	if sa == nil || sa.Child.ID != 1 || sa.Remote() != netip.AddrPortFrom(r2, 500) {
		t.Fatalf("after message 3 it sends: %v", sa)
	}
	if n := len(f.Stats().Children); n != 1 {
		t.Errorf("one SA pair, %d shown", n)
	}
	if _, sa := before.Outbound(interesting); sa != nil || before.Inbound(esp.Proto, 0x1001) != nil {
		t.Error("a snapshot changed after it was taken")
	}
}

// "After rekey use the newest for sending", and both receive until the old pair
// ends: make before break.
func TestRenewal(t *testing.T) {
	d := newDB(twoSites())
	install(t, d, childOf(1), true, true)
	install(t, d, childOf(2), true, false)
	sends := func(story string, want ChildID) {
		t.Helper()
		_, sa := d.Snapshot().Outbound(interesting)
		if got := sa; (got == nil) != (want == 0) || (got != nil && got.Child.ID != want) {
			t.Errorf("%s: sends with %v, want SA pair %d", story, got, want)
		}
	}
	receives := func(story string, want ...uint32) {
		t.Helper()
		for spi := uint32(0x1001); spi < 0x1004; spi++ {
			if got := d.Snapshot().Inbound(esp.Proto, spi) != nil; got != slices.Contains(want, spi) {
				t.Errorf("%s: SPI %#x receives: %v", story, spi, got)
			}
		}
	}
	sends("the new one only receives yet", 1)
	receives("the new one only receives yet", 0x1001, 0x1002)
	install(t, d, childOf(2), false, true)
	sends("the newest sends", 2)
	receives("both receive", 0x1001, 0x1002)
	if err := d.Remove(1); err != nil {
		t.Fatal(err)
	}
	sends("the old one is gone", 2)
	receives("the old one is gone", 0x1002)
	if err := d.Remove(2); err != nil {
		t.Fatal(err)
	}
	sends("all gone", 0)
	receives("all gone")
	if err := d.Remove(2); !errors.Is(err, ErrNoChild) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestNarrowerSelectorsCarryOnlyTheirTraffic(t *testing.T) {
	d := newDB(twoSites())
	wide, narrow := childOf(1), childOf(2)
	narrow.Selectors.Remote = netip.MustParsePrefix("10.20.20.7/32")
	install(t, d, wide, true, true)
	install(t, d, narrow, true, true)
	for dst, want := range map[string]ChildID{"10.20.20.7": 2, "10.20.20.8": 1} {
		if _, sa := d.Snapshot().Outbound(packet(flow.TCP, "10.10.10.1", dst)); sa == nil || sa.Child.ID != want {
			t.Errorf("to %s: %v, want SA pair %d", dst, sa, want)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	cases := []struct {
		story   string
		change  func(*Child)
		in, out bool
		want    error
	}{
		{"neither direction", func(*Child) {}, false, false, ErrNothing},
		{"a flow the policy does not have", func(c *Child) { c.Flow.Line = 99 }, true, true, ErrNoFlow},
		{"transport mode between networks", func(c *Child) { c.Set.Mode = suite.Transport }, true, true, ErrNotHosts},
		{"AH in UDP", func(c *Child) { c.Set.AH, c.Encap = suite.SHA1, true }, true, true, ErrNAT},
		{"neither ESP nor AH", func(c *Child) { c.Set = policy.TransformSet{} }, true, true, ErrEmpty},
		{"AH without a key", func(c *Child) { c.Set.AH, c.In.AHSPI = suite.SHA1, 0x1000 }, true, false, ah.ErrKeyLength},
		{"the same pair again", func(c *Child) { c.ID = 1 }, true, false, ErrInstalled},
		{"an SPI in use", func(c *Child) { c.In.SPI = 0x1001 }, true, true, ErrSPIUsed},
		{"a reserved SPI", func(c *Child) { c.In.SPI = 255 }, true, true, esp.ErrSPI},
		{"a reserved SPI of the peer", func(c *Child) { c.Out.SPI = 0 }, true, true, esp.ErrSPI},
		{"an odd window", func(c *Child) { c.ReplayWindow = 65 }, true, true, replay.ErrSize},
		{"no integrity", func(c *Child) { c.Set = policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128} }, true, true, esp.ErrNoIntegrity},
		{"a short key", func(c *Child) { c.Set.KeyBits = 256 }, false, true, esp.ErrKeyLength},
	}
	for _, c := range cases {
		d := newDB(twoSites())
		install(t, d, childOf(1), true, true)
		before := d.Snapshot()
		child := childOf(2)
		c.change(&child)
		if err := d.Install(child, c.in, c.out); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.story, err, c.want)
		}
		if d.Snapshot() != before {
			t.Errorf("%s: something changed all the same", c.story)
		}
	}
	d := New(iotest.ErrReader(errors.New("no entropy")))
	d.SetPolicy([]policy.Entry{twoSites()})
	if err := d.Install(childOf(1), true, true); err == nil || !strings.Contains(err.Error(), "no entropy") {
		t.Errorf("no randomness: %v", err)
	}
	if d.Snapshot().Inbound(esp.Proto, 0x1001) != nil {
		t.Error("half a pair was installed")
	}
}

func TestANewPolicyKeepsWhatDidNotChange(t *testing.T) {
	other := entry(20, acl("SITE-C", permit(flow.AnyProto, "10.10.10.0/24", "10.30.30.0/24")))
	d := newDB(twoSites(), other)
	install(t, d, childOf(1), true, true)
	c := childOf(2)
	c.Flow, c.Selectors.Remote = id(20, 10), netip.MustParsePrefix("10.30.30.0/24")
	install(t, d, c, true, true)
	_, sa := d.Snapshot().Outbound(interesting)
	sealed(t, sa, 100)

	first := entry(5, acl("NEW", permit(flow.AnyProto, "10.10.99.0/24", "10.40.40.0/24")))
	if gone := d.SetPolicy([]policy.Entry{first, twoSites()}); !slices.Equal(gone, []ChildID{2}) {
		t.Errorf("SA pairs gone with their flow: %v, want 2", gone)
	}
	f, again := d.Snapshot().Outbound(interesting)
	if again != sa || f.Stats().Counters.Encaps != 1 {
		t.Errorf("the flow that stayed lost its SA or its counters: %v, %+v", again, f.Stats().Counters)
	}
	if d.Snapshot().Inbound(esp.Proto, 0x1001) == nil || d.Snapshot().Inbound(esp.Proto, 0x1002) != nil {
		t.Error("inbound SAs do not follow their flows")
	}
	if err := d.Remove(1); err != nil {
		t.Errorf("SA pair in its new place: %v", err)
	}

	install(t, d, childOf(3), true, true)
	changed := entry(10, acl("SITE-B", permit(flow.AnyProto, "10.10.10.0/24", "10.20.0.0/16")))
	if gone := d.SetPolicy([]policy.Entry{changed}); !slices.Equal(gone, []ChildID{3}) {
		t.Errorf("same name, other selectors: gone %v, want 3", gone)
	}
	if f, sa := d.Snapshot().Outbound(interesting); f == nil || sa != nil || f.Stats().Counters.Encaps != 0 {
		t.Error("a flow with other selectors is a new flow")
	}
}

// Threat: flipped bit.
func TestReceive(t *testing.T) {
	d := newDB(twoSites())
	install(t, d, childOf(1), true, true)
	_, out := d.Snapshot().Outbound(interesting)
	in := d.Snapshot().Inbound(esp.Proto, 0x1001)
	first, second := sealed(t, out, 40), sealed(t, out, 40)

	forged := bytes.Clone(second)
	forged[len(forged)-1] ^= 1
	if _, err := in.Open(forged, 0, 5); !errors.Is(err, esp.ErrICV) {
		t.Fatalf("forged: %v", err)
	}
	p, err := in.Open(bytes.Clone(second), 0, 5)
	if err != nil || !p.Newest || p.Seq != 2 || p.Next != esp.NextIPv4 || len(p.Payload) != 40 {
		t.Fatalf("the real one behind the forged one: %+v, %v", p, err)
	}
	if p, err := in.Open(bytes.Clone(first), 0, 5); err != nil || p.Newest {
		t.Fatalf("reordered: %+v, %v; it is not the newest", p, err)
	}
	if _, err := in.Open(bytes.Clone(first), 0, 5); !errors.Is(err, replay.ErrSeen) {
		t.Fatalf("replayed: %v", err)
	}
	if _, err := in.Open(first[:10], 0, 5); !errors.Is(err, esp.ErrShort) {
		t.Fatalf("short: %v", err)
	}
	in.Refuse()

	f, _ := d.Snapshot().Outbound(interesting)
	c := f.Stats().Counters
	if c.Decaps != 2 || c.Verify != 2 || c.Decrypt != 2 || c.ReceiveOctets != 80 || c.ReplayFailed != 1 || c.VerifyFailed != 1 || c.InvalidIdentity != 1 || c.RecvErrors != 4 {
		t.Errorf("inbound counters %+v", c)
	}
	if c.Encaps != 2 || c.Encrypt != 2 || c.Digest != 2 || c.SendOctets != 80 {
		t.Errorf("outbound counters %+v", c)
	}
	s := f.Stats().Children[0]
	if s.In.Packets != 2 || s.In.Octets != 2*44 || s.In.LastUsed.UnixNano() != 5 || s.Out.LastUsed.UnixNano() != 1 || s.Out.Octets != 2*44 {
		t.Errorf("SA pair %+v", s)
	}
	if err := d.Remove(1); err != nil {
		t.Fatal(err)
	}
	f, _ = d.Snapshot().Outbound(interesting)
	if f.Stats().Counters != c {
		t.Error("the flow's counters went with its SA")
	}
}

// RFC 4301 4.4.2.1: soft and hard lifetimes; each is told once.
func TestVolumeLifetime(t *testing.T) {
	d := newDB(twoSites())
	c := childOf(1)
	c.Lifetime.Kilobytes = 100
	install(t, d, c, true, true)
	_, out := d.Snapshot().Outbound(interesting)
	in := d.Snapshot().Inbound(esp.Proto, 0x1001)
	const inner = 1022 // a body of 1024 octets
	said := map[string]int{}
	var packets [][]byte
	for n := 1; ; n++ {
		buf := make([]byte, esp.Headroom+inner+esp.Tailroom)
		p, crossed, err := out.Seal(buf, esp.Headroom, inner, 1)
		if crossed != NoLimit {
			said[crossed.String()] = n
		}
		if err != nil {
			if !errors.Is(err, ErrVolume) || n != 101 || crossed != Hard {
				t.Fatalf("packet %d: %v, crossed %v", n, err, crossed)
			}
			break
		}
		packets = append(packets, p)
	}
	if want := fmt.Sprint(map[string]int{"soft": 90, "hard": 101}); fmt.Sprint(said) != want {
		t.Errorf("limits were told at packets %v, want %v", said, want)
	}
	if f, sa := d.Snapshot().Outbound(interesting); f == nil || sa != nil || out.Usable() {
		t.Error("an SA that ended is still picked")
	}
	if _, crossed, err := out.Seal(make([]byte, 200), esp.Headroom, 50, 1); crossed != NoLimit || !errors.Is(err, ErrVolume) {
		t.Errorf("after the end: crossed %v, %v", crossed, err)
	}
	for n, p := range packets {
		o, err := in.Open(p, 0, 1)
		if err != nil || (o.Crossed == Soft) != (n == 89) {
			t.Fatalf("packet %d received: crossed %v, %v", n+1, o.Crossed, err)
		}
	}
	if s := d.Stats().Flows[0].Children[0]; s.RemainingKilobytes != 0 || s.Out.Octets != 100*1024 {
		t.Errorf("remaining volume %+v", s)
	}
}

// The peer's count may differ from ours: an inbound SA takes an eighth more.
func TestInboundVolumeHasSlack(t *testing.T) {
	d := newDB(twoSites())
	c := childOf(1)
	install(t, d, c, false, true)
	other := newDB(twoSites())
	c.Lifetime.Kilobytes = 80
	c.Initiator = false
	install(t, other, c, true, false)
	_, out := d.Snapshot().Outbound(interesting)
	in := other.Snapshot().Inbound(esp.Proto, 0x1001)
	for n := 1; n <= 92; n++ {
		o, err := in.Open(sealed(t, out, 1022), 0, 1)
		want, wantErr := NoLimit, error(nil)
		switch {
		case n == 76: // 95 % with the responder
			want = Soft
		case n == 91:
			want, wantErr = Hard, ErrVolume
		case n > 91:
			wantErr = ErrVolume
		}
		if o.Crossed != want || !errors.Is(err, wantErr) {
			t.Fatalf("packet %d of 1 KiB, limit 80: crossed %v, %v; want %v, %v", n, o.Crossed, err, want, wantErr)
		}
	}
}

func TestMove(t *testing.T) {
	d := newDB(twoSites())
	c := childOf(1)
	c.Encap = true
	install(t, d, c, true, false)
	to := netip.MustParseAddrPort("203.0.113.9:32000")
	if err := d.Move(1, to); err != nil {
		t.Fatal(err)
	}
	install(t, d, c, false, true)
	_, out := d.Snapshot().Outbound(interesting)
	if out.Remote() != to || d.Snapshot().Inbound(esp.Proto, 0x1001).Remote() != to || d.Stats().Flows[0].Children[0].Child.Remote != to {
		t.Error("one direction did not move")
	}
	if err := d.Move(9, to); !errors.Is(err, ErrNoChild) {
		t.Errorf("unknown SA pair: %v", err)
	}
}

func TestNoKeysInSnapshots(t *testing.T) {
	d := newDB(twoSites())
	install(t, d, childOf(1), true, true)
	_, out := d.Snapshot().Outbound(interesting)
	for _, c := range []Child{out.Child, d.Snapshot().Inbound(esp.Proto, 0x1001).Child, d.Stats().Flows[0].Children[0].Child} {
		if c.In.Encr.Len() != 0 || c.Out.Encr.Len() != 0 || c.In.SPI != 0x1001 {
			t.Errorf("%+v", c)
		}
	}
}

// One writer, many readers, no lock: for the race detector.
func TestReadersAndWriter(t *testing.T) {
	d := newDB(twoSites())
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s := d.Snapshot()
					if f, sa := s.Outbound(interesting); f == nil || (sa != nil && sa.Child.Flow != f.ID) {
						t.Error("inconsistent snapshot")
					}
					s.Stats()
				}
			}
		})
	}
	for n := uint32(1); n < 200; n++ {
		install(t, d, childOf(n), true, true)
		if n > 2 {
			if err := d.Remove(ChildID(n - 2)); err != nil {
				t.Error(err)
			}
		}
		d.SetPolicy([]policy.Entry{twoSites()})
	}
	close(stop)
	readers.Wait()
}
