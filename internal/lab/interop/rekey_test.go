package interop

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

const pfs19 = " set transform-set T1\n set pfs group19"

func ecp() (router, swan.Config) {
	return router{Policies: policyLines(10, "aes 256", "sha256", 19), Sets: set("T1", "esp-gcm 128"), Entry: pfs19},
		swan.Config{IKE: "aes256-sha256-ecp256", ESP: "aes128gcm16-ecp256"}
}

// renewed waits until a gateway sends with another SA pair than before.
func (b *bench) renewed(g *lab.Gateway, before string, within time.Duration) (after string) {
	b.t.Helper()
	b.untilWithin(within, "a new pair of IPsec SAs", func() error {
		if after = b.outbound(g); after == before || after == "" {
			return fmt.Errorf("it still sends with %s", after)
		}
		return nil
	})
	return after
}

// outbound is the SPI of the newest pair, "" when there is none.
func (b *bench) outbound(g *lab.Gateway) string {
	b.t.Helper()
	f := b.flows(g)
	if len(f) != 1 {
		b.t.Fatalf("one flow: %+v", f)
	}
	if len(f[0].Pairs) == 0 {
		return ""
	}
	return f[0].Pairs[0].OutboundSPI
}

// strongSwan renews the IPsec SA three times under traffic: nothing is lost and
// nothing comes twice.
func TestStrongSwanRenewsUnderTraffic(t *testing.T) {
	for _, begins := range []string{lab.R1, lab.R2} {
		t.Run(begins+" began", func(t *testing.T) {
			b := newBench(t, 2*time.Minute)
			c, s := ecp()
			r1, r2 := b.culvert(lab.R1, c), b.strongSwan(s)
			if begins == lab.R2 {
				if _, err := r2.Initiate(b.ctx); err != nil {
					t.Fatal(err)
				}
			}
			b.ping(lab.HostA, lab.HostB)
			wire := b.capture(lab.R1, lab.Outside)
			f := b.startFlood(lab.HostA, lab.HostB, steady(1200))
			for spi := b.outbound(r1); len(f.result) == 0; {
				if err := r2.Rekey(b.ctx, swan.Child); err != nil {
					t.Fatal(err)
				}
				spi = b.renewed(r1, spi, patience)
			}
			f.lossless()
			if w := wire(); w.Cleartext.Total() != 0 || len(w.SPIs) < 6 {
				t.Errorf("at least two renewals while packets flowed, none in clear: %s\n%v", w, w.SPIs)
			}
			b.settled(r1, r2)
		})
	}
}

// settled wants both sides to end up with one pair, the same one.
func (b *bench) settled(r1 *lab.Gateway, r2 *swan.Peer) {
	b.t.Helper()
	b.ping(lab.HostA, lab.HostB)
	b.ping(lab.HostB, lab.HostA)
	theirs, err := r2.SAs(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	f, current := b.flows(r1), ""
	for _, c := range swan.Installed(theirs) {
		if len(f[0].Pairs) > 0 && f[0].Pairs[0].OutboundSPI == spi(c.SPIIn) {
			current = spi(c.SPIIn)
		}
	}
	if current == "" {
		b.t.Errorf("the newest pair here is strongSwan's, too: %+v\n%+v", f, theirs)
	}
}

// Culvert renews by volume, again and again, under traffic in both directions.
func TestCulvertRenewsByVolume(t *testing.T) {
	b := newBench(t, 2*time.Minute)
	c, s := ecp()
	c.Global = "crypto ipsec security-association lifetime kilobytes 2560"
	r1, r2 := b.culvert(lab.R1, c), b.strongSwan(s)
	b.ping(lab.HostA, lab.HostB)
	before := b.outbound(r1)
	wire := b.capture(lab.R1, lab.Outside)
	// 3800 packets of 1400 octets are 5.3 MB each way: two renewals. There is half
	// a second between the two limits of an SA.
	f := b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Count: 3800, Interval: 2500 * time.Microsecond, Size: 1372})
	f.lossless()
	b.renewed(r1, before, patience)
	if w := wire(); w.Cleartext.Total() != 0 || len(w.SPIs) < 6 {
		t.Errorf("at least two renewals, none in clear: %s\n%v", w, w.SPIs)
	}
	b.settled(r1, r2)
}

// Culvert renews by time what a peer with a short lifetime began and does not
// renew itself.
func TestCulvertRenewsByTime(t *testing.T) {
	b := newBench(t, 2*time.Minute)
	c, s := ecp()
	s.ChildLines = "rekey_time = 0\n life_time = 20s"
	r1, r2 := b.culvert(lab.R1, c), b.strongSwan(s)
	if _, err := r2.Initiate(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.ping(lab.HostA, lab.HostB)
	before := b.outbound(r1)
	if f := b.flows(r1); f[0].Pairs[0].Lifetime.Seconds != 20 {
		t.Errorf("the peer's shorter lifetime counts: %+v", f[0].Pairs[0])
	}
	wire := b.capture(lab.R1, lab.Outside)
	f := b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Count: 1250, Interval: 20 * time.Millisecond})
	b.renewed(r1, before, 30*time.Second)
	f.lossless()
	if w := wire(); w.Cleartext.Total() != 0 || len(w.SPIs) < 4 {
		t.Errorf("a renewal, none in clear: %s\n%v", w, w.SPIs)
	}
	b.settled(r1, r2)
}

// Two gateways of our own with the shortest lifetime that IOS allows, 120 s.
func TestCulvertsRenewByTime(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the shortest lifetime of an IPsec SA is two minutes")
	}
	b := newBench(t, 4*time.Minute)
	c, _ := ecp()
	c.Global = "crypto ipsec security-association lifetime seconds 120"
	r1, r2 := b.culvert(lab.R1, c), b.culvert(lab.R2, c)
	b.ping(lab.HostA, lab.HostB)
	one, two := b.outbound(r1), b.outbound(r2)
	wire := b.capture(lab.R1, lab.Outside)
	f := b.startFlood(lab.HostA, lab.HostB, lab.PingOptions{Count: 2500, Interval: 50 * time.Millisecond})
	b.renewed(r1, one, 2*time.Minute)
	b.renewed(r2, two, patience)
	f.lossless()
	// The two pairs and the sealed packets of both: no more, no fewer.
	if w := wire(); w.Cleartext.Total() != 0 || len(w.SPIs) != 4 || w.ESP.A != 2500 || w.ESP.B != 2500 {
		t.Errorf("one renewal and every packet once, none in clear: %s\n%v", w, w.SPIs)
	}
}
