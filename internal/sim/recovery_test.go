package sim

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

func recovery(on bool) option { return func(s *policy.Settings) { s.InvalidSPIRecovery = on } }

// told counts the notifications and deletes of one kind that a host sent.
func sentNotify(h *Host, kind string) (n int) {
	for _, e := range happened[event.Notify](h) {
		if e.Dir == event.Sent && e.Type == kind {
			n++
		}
	}
	return n
}

// R2 has lost its memory and R1 goes on sending. Without "crypto isakmp
// invalid-spi-recovery" R2 drops that; with it, it begins phase 1, and its
// INITIAL-CONTACT makes R1 drop what R2 does not have and begin anew.
func TestInvalidSPIRecovery(t *testing.T) {
	for _, on := range []bool{false, true} {
		a, b := sites(recovery(on))
		x, r1, r2 := up(t, a, b)
		stale := only(t, r1)
		r2.Restart()
		for range 5 {
			r2.Input(door.InvalidSPI{Local: netip.AddrPortFrom(addrB, 0), Remote: netip.AddrPortFrom(addrA, 0), Protocol: 50, SPI: stale.Child.Out.SPI})
			x.Run(time.Second, nil)
		}
		if left := len(r1.Children) == 1; left == on {
			t.Errorf("recovery %t: R1 has %d pairs", on, len(r1.Children))
		}
		if !on && r2.Engine.Load().ISAKMP != 0 {
			t.Error("R2 began phase 1 for a packet that proves nothing")
		}
		if !on {
			continue
		}
		if n := r2.Engine.Load().ISAKMP; n != 1 {
			t.Errorf("R2 has %d ISAKMP SAs", n)
		}
		id := trigger(r1)
		x.Run(5*time.Second, nil)
		bothUp(t, id, r1, r2)
		probes(t, x, r1, r2)
	}
}

// With an ISAKMP SA R2 says under its protection that the SPI is not its own, at
// most every ten seconds; R1 removes that pair and no other, and begins anew.
func TestInvalidSPIOverISAKMP(t *testing.T) {
	a, b := sites()
	x, r1, r2 := up(t, a, b)
	k := only(t, r1)
	other := door.InvalidSPI{Local: netip.AddrPortFrom(addrB, 0), Remote: netip.AddrPortFrom(addrA, 0), Protocol: 50, SPI: k.Child.Out.SPI + 1}
	for range 5 {
		r2.Input(other)
		x.Run(time.Second, nil)
	}
	if n := sentNotify(r2, "INVALID-SPI"); n != 1 {
		t.Errorf("R2 said %d times that an SPI is not its own in five seconds, want once", n)
	}
	if len(r1.Children) != 1 {
		t.Fatal("R1 removed a pair with another SPI")
	}
	ours := other
	ours.SPI = k.Child.Out.SPI // R2 has it: a stranger may have sent a packet of AH with its number
	x.Run(10*time.Second, nil)
	r2.Input(ours)
	x.Run(time.Second, nil)
	if len(r1.Children) != 1 {
		t.Fatal("R2 disowned an SPI that is its own")
	}
	x.Link = silence // the delete is lost
	r2.Input(door.Expire{Child: only(t, r2).ID, Hard: true})
	x.Link = Perfect
	x.Run(10*time.Second, nil)
	r2.Input(ours)
	x.Run(time.Second, nil)
	if len(r1.Children) != 0 {
		t.Error("R1 still sends with an SA that R2 does not have")
	}
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
}

// A forged invalid SPI: whoever makes up packets of ESP gets nothing out of the gateway: strangers
// nothing at all, in the name of a peer one phase 1 a minute.
func TestForgedInvalidSPIs(t *testing.T) {
	a, b := sites(recovery(true))
	x, r1, r2 := world(t, 1, a, b)
	n := 0
	x.Sniff = func(from *Host, _ door.Send) {
		if from == r2 {
			n++
		}
	}
	x.Link = silence
	for i := range 3000 {
		stranger := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
		r2.Input(door.InvalidSPI{Local: netip.AddrPortFrom(addrB, 0), Remote: netip.AddrPortFrom(stranger, 0), Protocol: 50, SPI: uint32(i) + 256})
	}
	if n != 0 || r2.Engine.Load().ISAKMP != 0 {
		t.Errorf("strangers got %d messages", n)
	}
	for i := range 600 {
		r2.Input(door.InvalidSPI{Local: netip.AddrPortFrom(addrB, 0), Remote: netip.AddrPortFrom(addrA, 0), Protocol: 51, SPI: uint32(i) + 256})
		x.Run(100*time.Millisecond, nil)
	}
	if n > 7 {
		t.Errorf("%d messages in a minute, want one negotiation's", n)
	}
	_ = r1
}
