package interop

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/lab"
)

// secondSite is another network behind R2, with a host in it.
const (
	secondSite = "10.20.30.0/24"
	secondHost = "10.20.30.20"
)

// twoTunnels adds a second crypto map entry, whose transform sets are given.
func twoTunnels(host, sets string) router {
	from, to := "10.10.10.0 0.0.0.255", "10.20.30.0 0.0.0.255"
	if host == lab.R2 {
		from, to = to, from
	}
	return router{Global: `crypto ipsec transform-set T2 esp-aes 256 esp-sha256-hmac
crypto ipsec transform-set T3 esp-gcm 256
crypto map CMAP 20 ipsec-isakmp
 set peer ` + lab.Addr(lab.Other(host), lab.Outside).String() + `
 set transform-set ` + sets + `
 match address 103
access-list 103 permit ip ` + from + " " + to}
}

// rewrite changes the configuration of a router, without telling its gateway.
func (b *bench) rewrite(host, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.configFile(host), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// second pings the host of the second site and tells the transform set that its
// tunnel has.
func (b *bench) second(g *lab.Gateway, want string) {
	b.t.Helper()
	b.until("the second tunnel has "+want, func() error {
		r, err := b.net.PingWith(b.ctx, lab.HostA, secondHost, lab.PingOptions{Count: 3, Interval: 10 * time.Millisecond})
		if err != nil || r.Received == 0 {
			return errors.New("no reply, or through another SA")
		}
		for _, f := range b.flows(g) {
			if f.Sequence == 20 && len(f.Pairs) > 0 && f.Pairs[0].Transform == want {
				return nil
			}
		}
		return errors.New("no reply, or through another SA")
	})
}

// A reload touches only what changed: a steady stream through one tunnel loses no
// packet, while the other tunnel of the same hub gets other settings, by command
// and by SIGHUP, and while a file with an error is refused. Nothing is on the
// outside wire in clear.
func TestReload(t *testing.T) {
	b := newBench(t, 3*time.Minute)
	b.mustRun(lab.HostB, "ip", "addr", "add", secondHost+"/24", "dev", lab.Eth)
	b.mustRun(lab.R2, "ip", "route", "add", secondSite, "dev", lab.Inside)
	b.mustRun(lab.R1, "ip", "route", "add", secondSite, "via", lab.Addr(lab.R2, lab.Outside).String())
	outside := b.capture(lab.R1, lab.Outside)
	r1 := b.culvert(lab.R1, twoTunnels(lab.R1, "T2"))
	b.culvert(lab.R2, twoTunnels(lab.R2, "T2 T3"))
	b.ping(lab.HostA, lab.HostB)
	b.second(r1, "esp-256-aes esp-sha256-hmac")
	before := b.flows(r1)[0]

	f := b.startFlood(lab.HostA, lab.HostB, steady(2000))
	b.rewrite(lab.R1, twoTunnels(lab.R1, "T3").text(lab.R1))
	b.ask(r1, "reload")
	b.second(r1, "esp-gcm 256")
	b.rewrite(lab.R1, twoTunnels(lab.R1, "T2").text(lab.R1))
	if err := r1.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.second(r1, "esp-256-aes esp-sha256-hmac")
	b.rewrite(lab.R1, twoTunnels(lab.R1, "T4").text(lab.R1)+"crypto isakmp polcy 10\n")
	if out, err := r1.Ask(b.ctx, "reload"); err == nil || !strings.Contains(err.Error(), b.configFile(lab.R1)+":") {
		t.Errorf("a file with an error: %v\n%s", err, out)
	}
	b.second(r1, "esp-256-aes esp-sha256-hmac")
	f.lossless()

	after := b.flows(r1)[0]
	if len(after.Pairs) != 1 || after.Pairs[0].InboundSPI != before.Pairs[0].InboundSPI || after.Counters.Encaps < before.Counters.Encaps+1900 {
		t.Errorf("the first tunnel was %+v, is %+v", before, after)
	}
	if s := outside(); s.Cleartext.Total() != 0 {
		t.Errorf("outside in clear: %s", s)
	}
}
