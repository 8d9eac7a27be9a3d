package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// ending is one way in which SAs end, and what is left on the other side.
type ending struct {
	name string
	end  func(b *bench, r1 *lab.Gateway, r2 *swan.Peer)
	// What both sides still have once each has heard of it.
	ike, children int
}

func clearing(words ...string) func(*bench, *lab.Gateway, *swan.Peer) {
	return func(b *bench, r1 *lab.Gateway, _ *swan.Peer) {
		b.ask(r1, append([]string{"clear", "crypto"}, words...)...)
	}
}

func terminating(what string) func(*bench, *lab.Gateway, *swan.Peer) {
	return func(b *bench, _ *lab.Gateway, r2 *swan.Peer) {
		if err := r2.Terminate(b.ctx, what); err != nil {
			b.t.Fatal(err)
		}
	}
}

func endings() []ending {
	return []ending{
		{"clear crypto sa", clearing("sa"), 1, 0},
		{"clear crypto sa peer", clearing("sa", "peer", "198.51.100.2"), 1, 0},
		{"clear crypto session", clearing("session"), 0, 0},
		{"strongSwan deletes the IPsec SAs", terminating(swan.Child), 1, 0},
		{"strongSwan deletes the ISAKMP SA and what hangs on it", terminating(swan.IKE), 0, 0},
	}
}

// An end from either side is heard on the other, and the next packet brings the
// tunnel up again and is answered.
func TestDeleteFromEachSide(t *testing.T) {
	b := newBench(t, 2*time.Minute)
	r1, r2 := b.culvert(lab.R1, router{}), b.strongSwan(swan.Config{})
	wire := b.capture(lab.R1, lab.Outside)
	for _, e := range endings() {
		b.ping(lab.HostA, lab.HostB)
		before := b.outbound(r1)
		e.end(b, r1, r2)
		b.bothHave(r1, r2, e)
		b.ping(lab.HostA, lab.HostB)
		if b.outbound(r1) == before {
			t.Errorf("%s: the same SAs as before", e.name)
		}
	}
	if w := wire(); w.Cleartext.Total() != 0 {
		t.Errorf("nothing in clear: %s", w)
	}
}

// bothHave waits until both sides are left with what an ending leaves.
func (b *bench) bothHave(r1 *lab.Gateway, r2 *swan.Peer, e ending) {
	b.t.Helper()
	b.until(e.name, func() error {
		theirs, err := r2.SAs(b.ctx)
		if err != nil {
			return err
		}
		here, pairs := len(b.isakmp(r1)), len(b.flows(r1)[0].Pairs)
		if here != e.ike || pairs != e.children || len(theirs) != e.ike || len(swan.Installed(theirs)) != e.children {
			return fmt.Errorf("here %d ISAKMP SAs and %d pairs, there %d and %d; expected %d and %d",
				here, pairs, len(theirs), len(swan.Installed(theirs)), e.ike, e.children)
		}
		return nil
	})
}

// Clearing the ISAKMP SA leaves the IPsec SAs to carry on, as on IOS; a new
// one is made when it is needed.
func TestClearISAKMP(t *testing.T) {
	b := newBench(t, time.Minute)
	r1, r2 := b.culvert(lab.R1, router{}), b.culvert(lab.R2, router{})
	b.ping(lab.HostA, lab.HostB)
	before := b.outbound(r1)
	b.ask(r1, "clear", "crypto", "isakmp")
	b.until("the ISAKMP SA is gone on both sides", func() error {
		if n, m := len(b.isakmp(r1)), len(b.isakmp(r2)); n != 0 || m != 0 {
			return fmt.Errorf("%d here, %d there", n, m)
		}
		return nil
	})
	b.ping(lab.HostB, lab.HostA)
	if b.outbound(r1) != before || len(b.isakmp(r1)) != 0 {
		t.Errorf("the IPsec SAs live on and need no ISAKMP SA: %+v", b.flows(r1))
	}
	b.ask(r1, "clear", "crypto", "sa")
	b.ping(lab.HostA, lab.HostB)
	if n := len(b.isakmp(r1)); n != 1 {
		t.Errorf("a new ISAKMP SA for new IPsec SAs: %d", n)
	}
}

// A gateway that is killed forgets its SAs without a word. Its INITIAL-CONTACT
// tells the peer so when it is back (RFC 2407 4.6.3.3).
func TestStartsAnewAfterAKill(t *testing.T) {
	t.Run("culvert", func(t *testing.T) {
		b := newBench(t, 2*time.Minute)
		r1, r2 := b.culvert(lab.R1, router{}), b.strongSwan(swan.Config{})
		b.ping(lab.HostA, lab.HostB)
		for range 2 {
			if err := r1.Kill(); err != nil {
				t.Fatal(err)
			}
			r1 = b.culvert(lab.R1, router{})
			b.ping(lab.HostA, lab.HostB)
			b.ping(lab.HostB, lab.HostA)
			b.bothHave(r1, r2, ending{"only the new SAs are left", nil, 1, 1})
		}
	})
	t.Run("strongSwan", func(t *testing.T) {
		b := newBench(t, 2*time.Minute)
		r1, r2 := b.culvert(lab.R1, router{}), b.strongSwan(swan.Config{})
		b.ping(lab.HostA, lab.HostB)
		if err := r2.Kill(); err != nil {
			t.Fatal(err)
		}
		r2 = b.strongSwan(swan.Config{})
		if out, err := r2.Initiate(b.ctx); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b.ping(lab.HostB, lab.HostA)
		b.ping(lab.HostA, lab.HostB)
		b.bothHave(r1, r2, ending{"only the new SAs are left", nil, 1, 1})
	})
}

// A gateway that is asked to end tells its peers, and ends with 0.
func TestEndsWithAWord(t *testing.T) {
	b := newBench(t, time.Minute)
	r1, r2 := b.culvert(lab.R1, router{}), b.strongSwan(swan.Config{})
	b.ping(lab.HostA, lab.HostB)
	begin := time.Now()
	if err := r1.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
	if _, err := r2.Await(b.ctx, "strongSwan has heard of the end", func(s []swan.SA) bool { return len(s) == 0 }); err != nil {
		t.Error(err)
	}
}

// The exit status of a gateway that is asked to end is 0.
func TestExitStatusOfAnEnd(t *testing.T) {
	b := newBench(t, time.Minute)
	if err := os.WriteFile(b.configFile(lab.R1), []byte(router{}.text(lab.R1)), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(b.net.Dir(), "end.sock")
	c := b.net.Command(b.ctx, lab.R1, os.Getenv(binaryEnv), "run", "-c", b.configFile(lab.R1), "--socket", socket)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b.until("the gateway runs", func() error {
		_, err := os.Stat(socket)
		return err
	})
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("a clean end: %v", err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is gone with the gateway")
	}
}
