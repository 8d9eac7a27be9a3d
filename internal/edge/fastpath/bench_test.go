package fastpath

import (
	"net/netip"
	"testing"

	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/sadb"
)

// sink is a socket that takes everything.
type sink struct{ last [][]byte }

func (s *sink) ReadBatch([][]byte, []int, []netip.AddrPort) (int, error) { select {} }
func (s *sink) Close() error                                             { return nil }
func (s *sink) WriteBatch(pkts [][]byte, _ netip.AddrPort) error {
	s.last = append(s.last[:0], pkts...)
	return nil
}

// hole is a TUN device that takes everything.
type hole struct{}

func (hole) Read([][]byte, []int, int) (int, error) { select {} }
func (hole) Write(bufs [][]byte, _ int) (int, error) {
	return len(bufs), nil
}
func (hole) Close() error { return nil }

// benchPath is a path with an SA whose inbound packets are its own outbound
// ones, not running: the benchmark calls the stages itself.
func benchPath(b testing.TB) (*Path, *sink, sadb.Child) {
	db := sadb.New(&counting{})
	entries := lineTo(siteA, siteB)
	db.SetPolicy(entries)
	c, _ := pairOf(gcm, 1, false)
	c.ReplayWindow = 0 // the same packets are opened again and again
	c.In = c.Out
	c.Selectors.Local = netip.MustParsePrefix("0.0.0.0/0")
	c.Selectors.Remote = c.Selectors.Local
	if err := db.Install(c, true, true); err != nil {
		b.Fatal(err)
	}
	p, err := New(Config{DB: db, TUN: hole{}})
	if err != nil {
		b.Fatal(err)
	}
	s := &sink{}
	if err := p.AddLocal(c.Local, Sockets{ESP: s, UDP: s, AH: s}); err != nil {
		b.Fatal(err)
	}
	return p, s, c
}

const benchBatch = 44 // full packets of one TCP super-packet

func benchBuffers() (bufs [][]byte, sizes []int) {
	for n := range benchBatch {
		buf := make([]byte, sadb.Headroom+1400+sadb.Tailroom)
		sizes = append(sizes, copy(buf[sadb.Headroom:], udpPacket("10.10.10.10", "10.20.20.20", n, 1400-28)))
		bufs = append(bufs, buf)
	}
	return bufs, sizes
}

func BenchmarkOutbound(b *testing.B) {
	p, _, _ := benchPath(b)
	bufs, sizes := benchBuffers()
	plain := fromTemplate()
	b.SetBytes(benchBatch * 1400)
	b.ReportAllocs()
	for b.Loop() {
		for i := range bufs {
			copy(bufs[i][sadb.Headroom:], plain)
		}
		p.out.batch(bufs, sizes)
	}
	if s := p.Stats(); s.Sealed != s.Read {
		b.Fatalf("%+v", s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/packet")
}

func fromTemplate() []byte { return udpPacket("10.10.10.10", "10.20.20.20", 0, 1400-28) }

// opening is a path and one batch of sealed packets that it can open.
func opening(b testing.TB) (in *inbound, bufs, sealed [][]byte, sizes []int, from []netip.AddrPort) {
	p, s, c := benchPath(b)
	plain, plainSizes := benchBuffers()
	p.out.batch(plain, plainSizes)
	for i := range s.last {
		w := &wire{proto: flow.ESP, local: c.Local}
		sealed = append(sealed, w.packet(datagram{from: c.Remote, data: s.last[i]}))
		bufs = append(bufs, make([]byte, 2000)[rawSkew:])
		sizes = append(sizes, len(sealed[i]))
		from = append(from, c.Remote)
	}
	l := (*p.locals.Load())[c.Local.Addr()]
	return newInbound(p, l, s, esp.Proto, false), bufs, sealed, sizes, from
}

func BenchmarkInbound(b *testing.B) {
	in, bufs, sealed, sizes, from := opening(b)
	b.SetBytes(benchBatch * 1400)
	b.ReportAllocs()
	for b.Loop() {
		for i := range bufs {
			copy(bufs[i], sealed[i])
		}
		in.batch(bufs, sizes, from)
	}
	if s := in.p.Stats(); s.Delivered != s.Received {
		b.Fatalf("%+v", s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/packet")
}

// "Nothing is allocated or locked for each packet."
func TestNothingIsAllocated(t *testing.T) {
	p, _, _ := benchPath(t)
	bufs, sizes := benchBuffers()
	plain := fromTemplate()
	if n := testing.AllocsPerRun(50, func() {
		for i := range bufs {
			copy(bufs[i][sadb.Headroom:], plain)
		}
		p.out.batch(bufs, sizes)
	}); n != 0 {
		t.Errorf("outbound: %v allocations for a batch", n)
	}
	in, opened, sealed, lengths, from := opening(t)
	if n := testing.AllocsPerRun(50, func() {
		for i := range opened {
			copy(opened[i], sealed[i])
		}
		in.batch(opened, lengths, from)
	}); n != 0 {
		t.Errorf("inbound: %v allocations for a batch", n)
	}
	if s := in.p.Stats(); s.Delivered != s.Received || s.Received == 0 {
		t.Errorf("not all was delivered: %+v", s)
	}
}
