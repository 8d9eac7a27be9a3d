package interop

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// weather is what the outside wire does to packets.
type weather struct {
	name string
	set  func(n *lab.Net) error
}

func weathers() []weather {
	first := func(router string, count int) func(*lab.Net) error {
		return func(n *lab.Net) error { return n.DropFirst(router, lab.IKE, count) }
	}
	loss := func(permille int) func(*lab.Net) error {
		return func(n *lab.Net) error { return n.Loss(permille) }
	}
	return []weather{
		{"a tenth is lost", loss(100)},
		{"three tenths are lost", loss(300)},
		{"the first IKE message to R1 is lost", first(lab.R1, 1)},
		{"the first IKE message to R2 is lost", first(lab.R2, 1)},
		{"the first three IKE messages to R1 are lost", first(lab.R1, 3)},
		{"the first three IKE messages to R2 are lost", first(lab.R2, 3)},
	}
}

// The tunnel comes up over a wire that loses packets, whoever begins.
func TestNegotiatesOverALossyWire(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: retransmission takes its time")
	}
	for _, w := range weathers() {
		t.Run(w.name+"/culvert begins", func(t *testing.T) { w.run(t, lab.R1) })
		t.Run(w.name+"/strongSwan begins", func(t *testing.T) { w.run(t, lab.R2) })
	}
}

func (w weather) run(t *testing.T, begins string) {
	b := newBench(t, 3*time.Minute)
	b.culvert(lab.R1, router{})
	r2 := b.strongSwan(swan.Config{CharonLines: "retransmit_timeout = 1\n  retransmit_base = 1.2\n  retransmit_tries = 15"})
	if err := w.set(b.net); err != nil {
		t.Fatal(err)
	}
	wire := b.capture(lab.R1, lab.Outside)
	from, to := lab.HostA, lab.HostB
	if begins == lab.R2 {
		from, to = to, from
		b.untilWithin(90*time.Second, "strongSwan brings the tunnel up", func() error {
			_, err := r2.Initiate(b.ctx)
			return err
		})
	}
	b.untilWithin(90*time.Second, "echo requests are answered", func() error {
		r, err := b.net.PingWith(b.ctx, from, addressOf(to), lab.PingOptions{Count: 10, Interval: 50 * time.Millisecond, Timeout: time.Second})
		if err == nil && r.Received < 2 {
			err = fmt.Errorf("%d of 10 replies", r.Received)
		}
		return err
	})
	if s := wire(); s.Cleartext.A != 0 {
		t.Errorf("nothing of site A in clear: %s", s)
	}
}
