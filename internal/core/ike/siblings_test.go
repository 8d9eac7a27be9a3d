package ike

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"culvert/internal/core/ikev1"
	"culvert/internal/core/sadb"
)

// sibling is a pair that one end began, as both ends hold it.
type sibling struct {
	begins   int // the end
	in0, in1 uint32
}

// at is the pair as an end sees it.
func (s sibling) at(w *two, end int) *sadb.Child {
	e := w.end[end].engine
	f := e.settings.Flows()[0]
	like := e.Children(f.ID)[0]
	e.lastChild++
	k := *like
	k.ID, k.Established, k.Initiator = e.lastChild, w.now, s.begins == end
	k.In, k.Out = sadb.Keys{SPI: s.in0}, sadb.Keys{SPI: s.in1}
	if end == 1 {
		k.In, k.Out = k.Out, k.In
	}
	return &k
}

// up puts both directions of a pair in place at an end.
func (w *two) up(end int, k *sadb.Child) {
	e := w.end[end].engine
	c := e.context(w.now, nil)
	sa := e.sortedSAs()[0]
	e.childUp(c, ikev1.ChildUp{SA: sa, Child: k, In: true})
	w.end[end].pairs++
	e.childUp(c, ikev1.ChildUp{SA: sa, Child: k, Out: true})
}

// carries is the outbound SPI of the pair that an end renews, and how many it does.
func (w *two) carries(end int) (spi uint32, n int) {
	e := w.end[end].engine
	for _, k := range e.flowState(e.settings.Flows()[0].ID).children {
		if !k.superseded {
			spi = max(k.In.SPI, k.Out.SPI) ^ min(k.In.SPI, k.Out.SPI)
			n++
		}
	}
	return spi, n
}

// A peer that does not know the rule about quick modes that cross leaves two
// pairs. Both ends agree on the one that carries on, in whatever order the two
// came up at either, its rival is deleted by the end that began it, and nothing
// is left without an outbound SA in between.
func TestSiblings(t *testing.T) {
	low, high := sibling{0, 0x1000, 0x9000}, sibling{1, 0x2000, 0x3000}
	for _, roles := range [][2]int{{0, 1}, {1, 0}} {
		for orders := range 4 {
			t.Run(fmt.Sprint(roles, orders), func(t *testing.T) {
				w := newTwo()
				w.trigger(0)
				w.settle()
				w.wait(2 * siblingTime)
				low, high := low, high
				low.begins, high.begins = roles[0], roles[1]
				for end := range 2 {
					pairs := []*sadb.Child{low.at(w, end), high.at(w, end)}
					if orders>>end&1 != 0 {
						slices.Reverse(pairs)
					}
					for _, k := range pairs {
						w.up(end, k)
					}
				}
				for end := range 2 {
					if spi, n := w.carries(end); n != 1 || spi != high.in0^high.in1 {
						t.Errorf("end %d goes on with %d pairs, %x", end, n, spi)
					}
				}
				w.wait(overlap + 2*time.Second)
				for end := range 2 {
					left := w.end[end].engine.Children(w.end[end].engine.settings.Flows()[0].ID)
					if i := slices.IndexFunc(left, func(k *sadb.Child) bool { return k.In.SPI == low.in0 || k.Out.SPI == low.in0 }); i >= 0 {
						t.Errorf("end %d still has the pair that gave way", end)
					}
					if i := slices.IndexFunc(left, func(k *sadb.Child) bool { return k.In.SPI == high.in0 || k.Out.SPI == high.in0 }); i < 0 {
						t.Errorf("end %d has lost the pair that carries on: %d left", end, len(left))
					}
				}
			})
		}
	}
}

// When the pair that carries the traffic is deleted before those that it had
// superseded, the newest of them carries it again and is renewed.
func TestRevive(t *testing.T) {
	w := newTwo()
	w.trigger(0)
	w.settle()
	w.wait(2 * time.Second)
	e := w.end[0].engine
	id := e.settings.Flows()[0].ID
	k := sibling{1, 0x2000, 0x3000}.at(w, 0)
	w.now = w.now.Add(2 * siblingTime) // no sibling: it simply is newer
	k.Established = w.now
	w.up(0, k)
	first := e.flowState(id).children[0]
	if !first.superseded || !e.children[k.ID].outbound {
		t.Fatal("the newer pair does not carry the traffic")
	}
	c := e.context(w.now, nil)
	e.remove(c, e.children[k.ID], "a test", false)
	if first.superseded || !first.outbound || first.soft.IsZero() || !first.hard.Equal(first.Established.Add(10*time.Minute)) {
		t.Errorf("the pair that is left: superseded %t, outbound %t, renewed at %s, ends at %s", first.superseded, first.outbound, first.soft, first.hard)
	}
}
