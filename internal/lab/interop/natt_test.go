package interop

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// forgetMappings makes the NAT lose what it knows, as one that starts anew: what
// r1 sends next comes to r2 from another port.
func (b *bench) forgetMappings() {
	b.t.Helper()
	err := b.net.In(lab.NAT, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		b.t.Fatal(err)
	}
}

// hidden is what strongSwan needs to know of a Culvert behind the NAT.
func hidden() string { return "remote_addrs = " + lab.NATAddr().String() }

// portOfCulvert is where strongSwan believes Culvert's NAT to have it.
func portOfCulvert(b *bench, r2 *swan.Peer) int {
	b.t.Helper()
	sas, err := r2.SAs(b.ctx)
	if err != nil || len(sas) != 1 || sas[0].RemoteHost != lab.NATAddr().String() {
		b.t.Fatalf("one IKE SA with %s: %+v, %v", lab.NATAddr(), sas, err)
	}
	return sas[0].RemotePort
}

// Culvert's NAT gives it another port: strongSwan follows Culvert's next
// question over the same ISAKMP SA. Its user-space ESP cannot move an IPsec SA, so
// it begins a new one there and forgets the old one without a word.
func TestStrongSwanFollowsCulvertsNAT(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: dead peer detection takes its time")
	}
	b := newBenchOf(t, 2*time.Minute, lab.Options{NAT: true})
	r1 := b.culvert(lab.R1, router{Global: "crypto isakmp keepalive 10 2 periodic"})
	r2 := b.strongSwan(swan.Config{ConnLines: hidden()})
	b.ping(lab.HostA, lab.HostB)
	if sas := b.isakmp(r1); len(sas) != 1 || !sas[0].LocalBehindNAT {
		t.Fatalf("one ISAKMP SA, we are behind a NAT: %+v", sas)
	}
	for range 2 {
		before, port := b.isakmp(r1)[0].ConnID, portOfCulvert(b, r2)
		b.forgetMappings()
		b.untilWithin(30*time.Second, "traffic flows again", func() error {
			r, err := b.net.PingWith(b.ctx, lab.HostA, addressOf(lab.HostB), lab.PingOptions{Count: 3, Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
			if err == nil && r.Received != 3 {
				err = fmt.Errorf("%d of 3 replies", r.Received)
			}
			return err
		})
		b.ping(lab.HostB, lab.HostA)
		if portOfCulvert(b, r2) == port {
			t.Errorf("the NAT has not changed the port, %d", port)
		}
		if sas := b.isakmp(r1); len(sas) != 1 || sas[0].ConnID != before {
			t.Errorf("the same ISAKMP SA as before, %d: %+v", before, sas)
		}
		if sas, err := r2.SAs(b.ctx); err != nil || len(swan.Installed(sas)) != 1 {
			t.Errorf("strongSwan has one pair of IPsec SAs: %+v, %v", sas, err)
		}
	}
}

// strongSwan's NAT gives it another port: the first authentic packet from there
// moves Culvert's SAs, IKE and IPsec alike.
func TestCulvertFollowsStrongSwansNAT(t *testing.T) {
	b := newBenchOf(t, time.Minute, lab.Options{NAT: true})
	text := strings.ReplaceAll(router{}.text(lab.R2), lab.Addr(lab.R1, lab.Outside).String(), lab.NATAddr().String())
	r2 := b.culvertText(lab.R2, text)
	r1 := b.strongSwanAt(lab.R1, swan.Config{})
	if out, err := r1.Initiate(b.ctx); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.ping(lab.HostA, lab.HostB)
	for range 3 {
		was, before := b.isakmp(r2)[0], b.outbound(r2)
		if !was.PeerBehindNAT || was.Remote != lab.NATAddr().String() {
			t.Fatalf("the peer is behind a NAT: %+v", was)
		}
		b.forgetMappings()
		b.flowing(lab.HostA, lab.HostB)
		b.ping(lab.HostB, lab.HostA)
		now := b.isakmp(r2)
		if len(now) != 1 || now[0].RemotePort == was.RemotePort || b.outbound(r2) != before {
			t.Errorf("the same SAs at another port than %d: %+v", was.RemotePort, now)
		}
		// What Culvert says over the ISAKMP SA arrives, too.
		b.ask(r2, "clear", "crypto", "sa")
		if _, err := r1.Await(b.ctx, "strongSwan hears of the end", func(s []swan.SA) bool { return len(swan.Installed(s)) == 0 && len(s) == 1 }); err != nil {
			t.Fatal(err)
		}
		b.ping(lab.HostB, lab.HostA)
	}
}

// A NAT that forgets after a few seconds of silence: Culvert's keepalives keep
// its mapping, and site B reaches site A after a long silence.
func TestKeepalivesKeepAMapping(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: silence takes its time")
	}
	b := newBenchOf(t, time.Minute, lab.Options{NAT: true})
	err := b.net.In(lab.NAT, func() error {
		for _, name := range []string{"nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"} {
			if err := os.WriteFile("/proc/sys/net/netfilter/"+name, []byte("8"), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r1 := b.culvert(lab.R1, router{Global: "crypto isakmp nat keepalive 5"})
	r2 := b.strongSwan(swan.Config{ConnLines: hidden(), CharonLines: "keep_alive = 0"})
	b.ping(lab.HostA, lab.HostB)
	port := portOfCulvert(b, r2)
	wire := b.capture(lab.R2, lab.Outside)
	time.Sleep(22 * time.Second)
	if s := wire(); s.Keepalive.A < 3 || s.IKE4500.Total()+s.ESPinUDP.Total() != 0 {
		t.Errorf("a keepalive every 5 s and nothing else: %s", s)
	}
	b.ping(lab.HostB, lab.HostA)
	if now := portOfCulvert(b, r2); now != port {
		t.Errorf("the mapping was lost: port %d, then %d", port, now)
	}
	b.bothHave(r1, r2, ending{"the same SAs", nil, 1, 1})
}
