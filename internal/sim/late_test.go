package sim

import (
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// QM3 comes when the responder has given the exchange up, and the delete that
// told the initiator so was lost: it is told again, and no half of a pair stays.
func TestLateQM3(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 41, a, b)
	const late = 60 * time.Second
	begun, quick := x.Now, map[uint32]int{}
	x.Link = func(n int, d door.Send) []time.Duration {
		h, err := isakmp.ParseHeader(d.Payload)
		switch {
		case err != nil:
			t.Fatal(err)
		case h.Exchange == isakmp.ExchangeQuick && d.Local.Addr() == addrA:
			if quick[h.MessageID]++; quick[h.MessageID] > 1 { // all but QM1
				return []time.Duration{late - x.Now.Sub(begun)}
			}
		case h.Exchange == isakmp.ExchangeInformational && x.Now.Sub(begun) < late-time.Second:
			return nil
		}
		return Perfect(n, d)
	}
	trigger(r1)
	x.Run(late-2*time.Second, nil)
	if len(r1.Children) != 1 || len(r2.Children) != 0 {
		t.Fatalf("before QM3: %d pairs and %d, want 1 and 0", len(r1.Children), len(r2.Children))
	}
	x.Run(10*time.Second, nil)
	if len(r1.Children) != 0 || len(r2.Children) != 0 {
		t.Errorf("after QM3: %d pairs and %d, want none", len(r1.Children), len(r2.Children))
	}
	deleted := happened[event.Deleted](r1)
	if len(deleted) != 1 || !deleted[0].ByPeer {
		t.Errorf("the initiator was told %+v", deleted)
	}
	x.Link = Perfect
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
}
