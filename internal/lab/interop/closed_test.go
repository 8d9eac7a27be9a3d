package interop

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// restless is the traffic that tries to get out in clear all the time.
func restless() lab.PingOptions { return lab.PingOptions{Interval: 2 * time.Millisecond} }

// underTraffic lets the flood try for a while: closed is only what many packets
// did not get through.
const underTraffic = 400 * time.Millisecond

// flowing waits until traffic is carried again.
func (b *bench) flowing(from, to string) {
	b.t.Helper()
	b.until("traffic flows from "+from+" to "+to, func() error {
		r, err := b.net.PingWith(b.ctx, from, addressOf(to), lab.PingOptions{Count: 3, Interval: 10 * time.Millisecond, Timeout: 300 * time.Millisecond})
		if err == nil && r.Received != 3 {
			err = fmt.Errorf("%d of 3 replies", r.Received)
		}
		return err
	})
}

// passesInClear wants traffic that is nobody's secret to pass as ever: from the
// host of site A to the outside address of R2.
func (b *bench) passesInClear() {
	b.t.Helper()
	r, err := b.net.PingWith(b.ctx, lab.HostA, lab.Addr(lab.R2, lab.Outside).String(), lab.PingOptions{Count: 3, Interval: 10 * time.Millisecond})
	if err != nil || r.Received != 3 {
		b.t.Errorf("what is not interesting passes in clear: %v\n%s", err, r.Output)
	}
}

// stage is one thing that happens to the tunnel while traffic tries to pass.
type stage struct {
	name string
	run  func()
}

func (b *bench) stages(list []stage) {
	b.t.Helper()
	for _, s := range list {
		if b.t.Failed() {
			return
		}
		b.t.Logf("%s: %s", time.Now().Format("15:04:05.000"), s.name)
		s.run()
	}
}

// closed are two gateways of our own between which traffic never stops.
type closed struct {
	*bench
	c      router
	r1, r2 *lab.Gateway
}

// Whatever happens to the gateways, no interesting packet is on the outside
// wire in clear, and when they are back traffic flows again.
func TestFailsClosed(t *testing.T) {
	b := newBench(t, 3*time.Minute)
	c := &closed{bench: b}
	one, two := b.capture(lab.R1, lab.Outside), b.capture(lab.R2, lab.Outside)
	c.r1 = b.culvert(lab.R1, c.c)
	floods := []*flood{b.startFlood(lab.HostA, lab.HostB, restless())}
	time.Sleep(underTraffic) // R2 does not even run
	c.r2 = b.culvert(lab.R2, c.c)
	floods = append(floods, b.startFlood(lab.HostB, lab.HostA, restless()))
	b.flowing(lab.HostA, lab.HostB)
	b.passesInClear()
	b.stages(append(c.operator(), c.deaths()...))
	b.flowing(lab.HostA, lab.HostB)
	b.flowing(lab.HostB, lab.HostA)
	c.stop(c.r1)
	c.stop(c.r2)
	time.Sleep(underTraffic)
	sent := 0
	for _, f := range floods {
		sent += f.end().Sent
	}
	for _, s := range []lab.Summary{one(), two()} {
		if s.Cleartext.Total() != 0 || s.ESP.Total() == 0 || sent < 1000 {
			t.Errorf("%d echo requests tried, and not one may be in clear: %s\n%s", sent, s, strings.Join(s.Clear, "\n"))
		}
	}
	c.openAgain()
}

// operator are the things that people do.
func (c *closed) operator() []stage {
	b, wrong := c.bench, c.c
	wrong.Key = "another"
	return []stage{
		{"clear crypto session at R1", func() {
			for range 3 {
				b.ask(c.r1, "clear", "crypto", "session")
			}
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"clear crypto sa at R2", func() {
			b.ask(c.r2, "clear", "crypto", "sa")
			b.flowing(lab.HostB, lab.HostA)
		}},
		{"R2 comes back with another key", func() {
			c.stop(c.r2)
			c.r2 = b.culvert(lab.R2, wrong)
			b.ask(c.r1, "clear", "crypto", "session")
			time.Sleep(underTraffic)
			if f := b.flows(c.r2); f[0].Up {
				b.t.Errorf("with another key nothing comes up: %+v", f)
			}
			c.stop(c.r2)
			c.r2 = b.culvert(lab.R2, c.c)
			b.flowing(lab.HostB, lab.HostA)
		}},
		{"R1 ends and starts again", func() {
			c.stop(c.r1)
			time.Sleep(underTraffic)
			if out := b.mustRun(lab.R1, os.Getenv(binaryEnv), "guard", "show"); !strings.Contains(out, "R1: closed: no gateway runs") {
				b.t.Errorf("guard show:\n%s", out)
			}
			b.passesInClear()
			c.r1 = b.culvert(lab.R1, c.c)
			b.flowing(lab.HostA, lab.HostB)
		}},
	}
}

// deaths are the things that just happen.
func (c *closed) deaths() []stage {
	b := c.bench
	return []stage{
		{"R1 is killed and starts again", func() {
			if err := c.r1.Kill(); err != nil {
				b.t.Fatal(err)
			}
			time.Sleep(underTraffic)
			b.passesInClear()
			c.r1 = b.culvert(lab.R1, c.c)
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"both are killed and start again", func() {
			for _, g := range []*lab.Gateway{c.r1, c.r2} {
				if err := g.Kill(); err != nil {
					b.t.Fatal(err)
				}
			}
			time.Sleep(underTraffic)
			c.r1, c.r2 = b.culvert(lab.R1, c.c), b.culvert(lab.R2, c.c)
			b.flowing(lab.HostB, lab.HostA)
		}},
		{"the outside link of R1 goes down and comes up", func() {
			c.link(false)
			time.Sleep(underTraffic)
			c.link(true)
			time.Sleep(underTraffic) // without a route to site B, which went with the link
			b.mustRun(lab.R1, "ip", "route", "replace", "10.20.20.0/24", "via", "198.51.100.2")
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"the TUN device of R1 is deleted", func() {
			b.mustRun(lab.R1, "ip", "link", "del", "cv-R1")
			time.Sleep(underTraffic)
			if c.r1.Running() {
				b.until("the gateway notices that its device is gone", func() error {
					if c.r1.Running() {
						return fmt.Errorf("it runs")
					}
					return nil
				})
			}
			c.r1 = b.culvert(lab.R1, c.c)
			b.flowing(lab.HostA, lab.HostB)
		}},
	}
}

func (c *closed) stop(g *lab.Gateway) {
	c.t.Helper()
	if err := g.Stop(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *closed) link(up bool) {
	c.t.Helper()
	if err := c.net.Link(lab.R1, lab.Outside, up); err != nil {
		c.t.Fatal(err)
	}
}

// openAgain takes the guards away by hand: only then do the sites talk in clear.
func (c *closed) openAgain() {
	c.t.Helper()
	stop := c.capture(lab.R1, lab.Outside)
	for _, h := range []string{lab.R1, lab.R2} {
		if out := c.mustRun(h, os.Getenv(binaryEnv), "guard", "clear"); !strings.Contains(out, strings.ToUpper(h)) {
			c.t.Errorf("guard clear:\n%s", out)
		}
		if out, status := c.run(h, os.Getenv(binaryEnv), "guard", "show"); status != 1 || !strings.Contains(out, "No guard stands") {
			c.t.Errorf("guard show: exit status %d\n%s", status, out)
		}
	}
	c.ping(lab.HostA, lab.HostB)
	if s := stop(); s.Cleartext.A != 5 || s.Cleartext.B != 5 {
		c.t.Errorf("without guards the capture sees the sites' packets: %s", s)
	}
}

// With strongSwan at the other end, what Culvert sends never is in clear.
func TestFailsClosedWithStrongSwan(t *testing.T) {
	b := newBench(t, 2*time.Minute)
	var c router
	wire := b.capture(lab.R1, lab.Outside)
	r1 := b.culvert(lab.R1, c)
	f := b.startFlood(lab.HostA, lab.HostB, restless())
	time.Sleep(underTraffic)
	r2 := b.strongSwan(swan.Config{})
	b.flowing(lab.HostA, lab.HostB)
	b.stages([]stage{
		{"clear crypto session", func() {
			b.ask(r1, "clear", "crypto", "session")
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"strongSwan deletes everything", func() {
			if err := r2.Terminate(b.ctx, swan.IKE); err != nil {
				b.t.Fatal(err)
			}
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"Culvert is killed", func() {
			if err := r1.Kill(); err != nil {
				b.t.Fatal(err)
			}
			time.Sleep(underTraffic)
			r1 = b.culvert(lab.R1, c)
			b.flowing(lab.HostA, lab.HostB)
		}},
		{"strongSwan is killed", func() {
			if err := r2.Kill(); err != nil {
				b.t.Fatal(err)
			}
			time.Sleep(underTraffic)
			r2 = b.strongSwan(swan.Config{})
			// Its first message says that it has started anew.
			if out, err := r2.Initiate(b.ctx); err != nil {
				b.t.Fatalf("%v\n%s", err, out)
			}
			b.flowing(lab.HostA, lab.HostB)
		}},
	})
	sent := f.end().Sent
	if s := wire(); s.Cleartext.A != 0 || s.ESPinUDP.A == 0 || sent < 500 {
		t.Errorf("%d echo requests tried, and not one may be in clear: %s\n%s", sent, s, strings.Join(s.Clear, "\n"))
	}
}
