package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// noPairs waits until nothing is left with the peer, and tells how long that took.
func (b *bench) noPairs(g *lab.Gateway, limit time.Duration) time.Duration {
	b.t.Helper()
	begin := time.Now()
	b.untilWithin(limit, "all SAs with the peer are gone", func() error {
		if n, pairs := len(b.isakmp(g)), len(b.flows(g)[0].Pairs); n+pairs != 0 {
			return fmt.Errorf("%d ISAKMP SAs and %d pairs", n, pairs)
		}
		return nil
	})
	return time.Since(begin)
}

// peerGone wants explain to say that dead peer detection got no answer.
func (b *bench) peerGone(g *lab.Gateway) {
	b.t.Helper()
	b.until("explain says that the peer is gone", func() error {
		reports, status := b.explained(g)
		if status != 1 || len(reports) != 1 || reports[0].Reason != event.PeerGone {
			return fmt.Errorf("exit status %d, %+v", status, reports)
		}
		b.t.Logf("explain: %s", reports[0].Sentence)
		return nil
	})
}

// A strongSwan that dies without a word is noticed: after the interval and six
// questions, two seconds each. When it is back, traffic brings the tunnel up.
func TestDeadStrongSwanIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: dead peer detection takes its time")
	}
	for _, v := range []struct {
		name, keepalive string
		traffic         bool
	}{
		{"periodic", "crypto isakmp keepalive 10 2 periodic", false},
		{"on demand", "crypto isakmp keepalive 10 2", true},
	} {
		t.Run(v.name, func(t *testing.T) {
			b := newBench(t, 2*time.Minute)
			r1, r2 := b.culvert(lab.R1, router{Global: v.keepalive}), b.strongSwan(swan.Config{})
			b.ping(lab.HostA, lab.HostB)
			if err := r2.Kill(); err != nil {
				t.Fatal(err)
			}
			if v.traffic {
				// Questions are asked because packets are sent; the last of them
				// would bring up a new SA, so they end before the peer is given up.
				f := b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Interval: 100 * time.Millisecond})
				time.Sleep(12 * time.Second)
				f.end()
			}
			took := b.noPairs(r1, 40*time.Second)
			if v.traffic {
				took += 12 * time.Second
			}
			if took < 18*time.Second || took > 27*time.Second {
				t.Errorf("noticed after %s, expected 10 s and six times 2 s", took)
			}
			b.peerGone(r1)
			r2 = b.strongSwan(swan.Config{})
			b.flowing(lab.HostA, lab.HostB)
			b.up(r1)
			b.bothHave(r1, r2, ending{"the tunnel is up anew", nil, 1, 1})
		})
	}
}

// On demand nobody is asked who is not sent to: the SAs with a dead strongSwan
// stay until there is traffic.
func TestOnDemandAsksOnlyForTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: dead peer detection takes its time")
	}
	b := newBench(t, 2*time.Minute)
	r1, r2 := b.culvert(lab.R1, router{Global: "crypto isakmp keepalive 10 2"}), b.strongSwan(swan.Config{})
	b.ping(lab.HostA, lab.HostB)
	if err := r2.Kill(); err != nil {
		t.Fatal(err)
	}
	wire := b.capture(lab.R1, lab.Outside)
	time.Sleep(26 * time.Second)
	if s := wire(); s.IKE.A+s.IKE4500.A != 0 || len(b.isakmp(r1)) != 1 || len(b.flows(r1)[0].Pairs) != 1 {
		t.Errorf("without traffic nobody asks and nothing goes: %s", s)
	}
}

// A wire that carries nothing any more: both sides notice by themselves, and the
// tunnel comes back with the wire and the first packet.
func TestBothSidesNoticeACutWire(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: dead peer detection takes its time")
	}
	b := newBench(t, 2*time.Minute)
	r1 := b.culvert(lab.R1, router{Global: "crypto isakmp keepalive 10 2 periodic"})
	r2 := b.strongSwan(swan.Config{DPD: 5 * time.Second, ConnLines: "dpd_timeout = 15s",
		CharonLines: "retransmit_timeout = 1\n  retransmit_base = 1.2\n  retransmit_tries = 5"})
	b.ping(lab.HostA, lab.HostB)
	for _, h := range []string{lab.R1, lab.R2} {
		if err := b.net.Block(h, lab.All); err != nil {
			t.Fatal(err)
		}
	}
	if took := b.noPairs(r1, 40*time.Second); took < 18*time.Second || took > 27*time.Second {
		t.Errorf("noticed after %s, expected 10 s and six times 2 s", took)
	}
	b.peerGone(r1)
	if _, err := r2.Await(b.ctx, "strongSwan has noticed", func(s []swan.SA) bool { return len(s) == 0 }); err != nil {
		t.Fatal(err)
	}
	if err := b.net.Heal(); err != nil {
		t.Fatal(err)
	}
	b.flowing(lab.HostA, lab.HostB)
	b.bothHave(r1, r2, ending{"the tunnel is up anew", nil, 1, 1})
}

// Questions and answers keep an idle tunnel up on both sides, and traffic makes
// them superfluous.
func TestQuestionsAreAnsweredWithStrongSwan(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: dead peer detection takes its time")
	}
	for _, v := range []struct {
		name, keepalive string
		dpd             time.Duration
		asker           string
	}{
		{"strongSwan asks", "", 3 * time.Second, lab.R2},
		{"Culvert asks", "crypto isakmp keepalive 10 2 periodic", 0, lab.R1},
	} {
		t.Run(v.name, func(t *testing.T) {
			b := newBench(t, 2*time.Minute)
			r1 := b.culvert(lab.R1, router{Global: v.keepalive})
			r2 := b.strongSwan(swan.Config{DPD: v.dpd, ConnLines: "dpd_timeout = 9s"})
			b.ping(lab.HostA, lab.HostB)
			before := b.outbound(r1)
			quiet := b.capture(lab.R1, lab.Outside)
			time.Sleep(25 * time.Second)
			q := quiet()
			if q.IKE4500.A < 2 || q.IKE4500.A != q.IKE4500.B {
				t.Errorf("questions of %s, each with its answer: %s", strings.ToUpper(v.asker), q)
			}
			busy := b.capture(lab.R1, lab.Outside)
			f := b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Interval: 100 * time.Millisecond})
			time.Sleep(12 * time.Second)
			f.end()
			if s := busy(); s.IKE4500.Total() != 0 || s.ESPinUDP.B < 50 {
				t.Errorf("nobody asks while traffic comes: %s", s)
			}
			if b.outbound(r1) != before {
				t.Error("the SAs are others than before")
			}
			b.bothHave(r1, r2, ending{"the tunnel is up", nil, 1, 1})
		})
	}
}
