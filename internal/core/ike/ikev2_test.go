package ike

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
)

// A configured peer that begins in IKEv2 is remembered, without an answer and
// without state; a stranger that does is not.
func TestPeerThatSpeaksIKEv2(t *testing.T) {
	local, peer, stranger := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("203.0.113.9")
	e := New(&policy.Settings{Entries: []policy.Entry{{Map: "M", Seq: 10, Local: local, Peers: []netip.Addr{peer}, ACL: &flow.List{Name: "102"}}}}, rand.Reader)
	init := make([]byte, 28)
	init[0], init[16], init[17], init[18], init[19], init[27] = 1, 33, 0x20, 34, 8, 28
	for from, want := range map[netip.Addr]int{stranger: 0, peer: 1} {
		out := e.Step(time.Unix(1, 0), door.Datagram{Local: netip.AddrPortFrom(local, 500), Remote: netip.AddrPortFrom(from, 500), Payload: init}, nil)
		for _, o := range out {
			if _, sent := o.(door.Send); sent {
				t.Errorf("%s was answered", from)
			}
		}
		n := 0
		for _, f := range e.Failures() {
			if w := f.What.(event.Failed); f.Peer.Addr() == from && w.Code == event.SpeaksIKEv2 {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d times remembered, want %d", from, n, want)
		}
	}
	if sas := e.ISAKMP(time.Unix(1, 0)); len(sas) != 0 || !e.Deadline().IsZero() {
		t.Errorf("state was made: %+v", sas)
	}
}
