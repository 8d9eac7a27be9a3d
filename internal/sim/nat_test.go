package sim

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

var (
	private = netip.MustParseAddr("192.168.1.2")
	public  = netip.MustParseAddr("203.0.113.1")
)

// behind puts R1 on a private address behind a NAT; R2 knows the NAT's address.
func behind(t *testing.T, options ...option) (*World, *Host, *Host, *NAT) {
	t.Helper()
	a, b := site(private, addrB, netA, netB, options...), site(addrB, public, netB, netA, options...)
	x := NewWorld(11)
	r1, r2 := x.Add("R1", private, a), x.Add("R2", addrB, b)
	return x, r1, r2, x.Behind(r1, public)
}

// RFC 3947: NAT-D tells that the initiator is behind a NAT, both move to port
// 4500 with MM5, and ESP travels in UDP to the port that the NAT lent.
func TestInitiatorBehindNAT(t *testing.T) {
	x, r1, r2, _ := behind(t, pfs(19))
	log := tap(x)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	if n := happened[event.NATCheck](r1); len(n) != 1 || !n[0].LocalBehind || n[0].PeerBehind {
		t.Errorf("R1 sees %+v", n)
	}
	if n := happened[event.NATCheck](r2); len(n) != 1 || n[0].LocalBehind || !n[0].PeerBehind {
		t.Errorf("R2 sees %+v", n)
	}
	for i, m := range *log {
		if want := uint16(500); m.from == r1 {
			if i >= 4 {
				want = 4500 // MM5 and after
			}
			if m.Local.Port() != want || m.Remote.Port() != want {
				t.Errorf("message %d of R1 goes from port %d to %d, want %d", i+1, m.Local.Port(), m.Remote.Port(), want)
			}
		}
	}
	k1, k2 := only(t, r1).Child, only(t, r2).Child
	if !k1.Encap || k1.Local.Port() != 4500 || k1.Remote != netip.AddrPortFrom(addrB, 4500) {
		t.Errorf("R1 sends ESP %s to %s, encapsulated %t", k1.Local, k1.Remote, k1.Encap)
	}
	if !k2.Encap || k2.Local.Port() != 4500 || k2.Remote != netip.AddrPortFrom(public, firstPort+1) {
		t.Errorf("R2 sends ESP %s to %s, encapsulated %t; the NAT lent port %d", k2.Local, k2.Remote, k2.Encap, firstPort+1)
	}
	if sa := r2.Engine.ISAKMP(x.Now); sa[0].Identity != private.String() {
		t.Errorf("R2 knows the peer as %s", sa[0].Identity)
	}
}

// RFC 3948 section 4: who is behind a NAT keeps its mapping alive with a single
// octet 0xFF without a marker, on and on, also when phase 1 has ended and only
// IPsec SAs are left. Nobody else does.
func TestKeepalives(t *testing.T) {
	x, r1, r2, _ := behind(t, short(10*time.Minute, time.Hour))
	var last time.Time
	x.Sniff = func(from *Host, d door.Send) {
		if from == r1 && !d.Raw && d.Local.Port() == 4500 {
			last = x.Now // keeps the mapping as well
		}
		if !d.Raw {
			return
		}
		if from != r1 || !bytes.Equal(d.Payload, []byte{0xff}) || d.Local.Port() != 4500 || d.Remote != netip.AddrPortFrom(addrB, 4500) {
			t.Errorf("%s sends a keepalive %x from %s to %s", from.Name, d.Payload, d.Local, d.Remote)
		}
		if gap := x.Now.Sub(last); !last.IsZero() && gap > 25*time.Second {
			t.Errorf("no keepalive for %s", gap)
		}
		last = x.Now
	}
	id := trigger(r1)
	x.Run(35*time.Minute, nil)
	bothUp(t, id, r1, r2)
	if x.Now.Sub(last) > 25*time.Second {
		t.Errorf("the last keepalive was %s ago", x.Now.Sub(last))
	}
}

// crypto isakmp nat keepalive says how often.
func TestKeepaliveInterval(t *testing.T) {
	x, r1, _, _ := behind(t, func(s *policy.Settings) { s.NATKeepalive = 5 * time.Second })
	n := 0
	x.Sniff = func(_ *Host, d door.Send) {
		if d.Raw {
			n++
		}
	}
	trigger(r1)
	x.Run(time.Minute+time.Second, nil)
	if n != 12 {
		t.Errorf("%d keepalives in a minute, want one every 5 seconds", n)
	}
}

// A responder behind a NAT with its ports forwarded.
func TestResponderBehindNAT(t *testing.T) {
	x, r1, r2, nat := behind(t)
	nat.Forward(500, 4500)
	id := trigger(r2)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
	if k := only(t, r2).Child; !k.Encap || k.Remote != netip.AddrPortFrom(public, 4500) {
		t.Errorf("R2 sends ESP to %s, encapsulated %t", k.Remote, k.Encap)
	}
}

// The NAT was restarted and lends another port: the next authentic message takes
// the SA there. A forged one does not.
func TestRebinding(t *testing.T) {
	x, r1, r2, nat := behind(t, short(time.Hour, 5*time.Minute))
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2) // a pair that is used is renewed
	was := r2.Engine.ISAKMP(x.Now)[0].Remote
	nat.Rebind()
	log := tap(x)
	x.Run(290*time.Second, nil) // the renewal comes from the new port
	now := r2.Engine.ISAKMP(x.Now)[0].Remote
	if now == was || now.Addr() != public {
		t.Errorf("R2 still talks to %s", now)
	}
	probes(t, x, r1, r2)
	for _, m := range *log {
		forged := bytes.Clone(m.Payload)
		forged[len(forged)-1] ^= 1
		r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 4500), Remote: netip.AddrPortFrom(public, 666), Payload: forged})
		// A replay of what was authentic moves nothing either.
		r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 4500), Remote: netip.AddrPortFrom(public, 666), Payload: m.Payload})
	}
	if got := r2.Engine.ISAKMP(x.Now)[0].Remote; got != now {
		t.Errorf("a forged or replayed message moved the SA to %s", got)
	}
	_ = r1
}

// The loss matrix behind a NAT: the float survives every weather.
func TestNATInAllWeathers(t *testing.T) {
	for _, w := range matrix() {
		t.Run(w.name, func(t *testing.T) {
			for seed := range uint64(4) {
				x, r1, r2, _ := behind(t, pfs(19))
				x.rng.Seed([32]byte{byte(seed)})
				x.Link = w.link(x.Rand())
				id := trigger(r1)
				for range 20 {
					x.Run(20*time.Second, func() bool { return r1.Up(id) && r2.Up(id) })
					trigger(r1)
				}
				x.Link = Perfect
				x.Run(2*time.Minute, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
			}
		})
	}
}

// rewrite changes every message from a host before it arrives: the NAT-D
// payloads that one end sends, for one.
func rewrite(x *World, from *Host, change func(i int, p *isakmp.Payload)) Link {
	return func(n int, d door.Send) []time.Duration {
		h, err := isakmp.ParseHeader(d.Payload)
		if d.Local.Addr() != from.Addr || err != nil || h.Encrypted() {
			return Perfect(n, d)
		}
		payloads, _, err := isakmp.ParsePayloads(h.Next, d.Payload[isakmp.HeaderSize:])
		if err != nil {
			return Perfect(n, d)
		}
		i := 0
		for j := range payloads {
			if payloads[j].Type == isakmp.PayloadNATD {
				change(i, &payloads[j])
				i++
			}
		}
		to, local := x.arrive(d.Remote)
		m := header(h.InitiatorCookie, h.ResponderCookie, h.Exchange, h.MessageID, payloads...)
		x.push(x.Now.Add(10*time.Millisecond), to, door.Datagram{Local: local, Remote: x.leave(d.Local), Payload: m})
		return nil
	}
}

// A peer that wants encapsulation without a NAT gives a false hash of its own
// address, as strongSwan's kernel-libipsec does. Either role.
func TestForcedEncapsulation(t *testing.T) {
	for _, begins := range []int{0, 1} {
		a, b := sites()
		x, r1, r2 := world(t, 3, a, b)
		// R2 lies about itself: its second NAT-D payload.
		x.Link = rewrite(x, r2, func(i int, p *isakmp.Payload) {
			if i == 1 {
				p.Body = bytes.Repeat([]byte{0x5a}, len(p.Body))
			}
		})
		id := trigger([]*Host{r1, r2}[begins])
		x.Run(10*time.Second, nil)
		if begins == 1 {
			// R2 itself believes that there is no NAT, so it does not float: a
			// peer that lies also acts on it. R1 must come up with it anyway.
			bothUp(t, id, r1, r2)
			continue
		}
		bothUp(t, id, r1, r2)
		for _, h := range []*Host{r1, r2} {
			if k := only(t, h).Child; !k.Encap || k.Local.Port() != 4500 || k.Remote.Port() != 4500 {
				t.Errorf("%s: encapsulated %t, %s to %s", h.Name, k.Encap, k.Local, k.Remote)
			}
		}
		probes(t, x, r1, r2)
	}
}

// NAT-D payloads in odd numbers: more than two are the addresses of a peer that
// has several (RFC 3947 3.2); one alone, or a hundred, is malformed.
func TestNATDCounts(t *testing.T) {
	for _, tt := range []struct {
		count int
		up    bool
	}{{0, true}, {1, false}, {2, true}, {3, true}, {8, true}, {17, false}, {40, false}} {
		a, b := sites(policies(aes(128, suite.SHA256, 19)))
		x, r1, r2 := world(t, 3, a, b)
		x.Link = func(n int, d door.Send) []time.Duration {
			h, _ := isakmp.ParseHeader(d.Payload)
			if n != 2 {
				return Perfect(n, d)
			}
			payloads, _, _ := isakmp.ParsePayloads(h.Next, d.Payload[isakmp.HeaderSize:])
			var out, natd []isakmp.Payload
			for _, p := range payloads {
				if p.Type == isakmp.PayloadNATD {
					natd = append(natd, p)
				} else {
					out = append(out, p)
				}
			}
			for i := range tt.count {
				out = append(out, natd[min(i, 1)])
			}
			m := header(h.InitiatorCookie, h.ResponderCookie, h.Exchange, h.MessageID, out...)
			x.push(x.Now, r2, door.Datagram{Local: d.Remote, Remote: d.Local, Payload: m})
			return nil
		}
		id := trigger(r1)
		x.Run(500*time.Millisecond, nil)
		if got := r1.Up(id) && r2.Up(id); got != tt.up {
			t.Errorf("%d NAT-D payloads: up %t, want %t", tt.count, got, tt.up)
		}
		x.Run(30*time.Second, nil)
		if tt.up {
			continue
		}
		// The malformed one killed nothing: the retransmission is served.
		bothUp(t, id, r1, r2)
	}
}
