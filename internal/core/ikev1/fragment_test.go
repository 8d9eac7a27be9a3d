package ikev1

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// long is an authentic message of b's of about n octets: a notification with data.
func (e *end) long(n int) []byte {
	return e.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: e.sa.spi(), Type: 40000, Data: bytes.Repeat([]byte{5}, n)}))
}

// heardOf counts the notifications that the long messages carry.
func (e *end) heardOf() (n int) {
	for _, w := range saw[event.Notify](e) {
		if w.Number == 40000 && w.Dir == event.Received {
			n++
		}
	}
	return n
}

// piece makes one fragment of any shape, with the header of m.
func piece(m []byte, f isakmp.Fragment) []byte {
	h, _ := isakmp.ParseHeader(m)
	_, body := isakmp.AppendPayloads(nil, []isakmp.Payload{{Type: isakmp.PayloadFragment, Body: f.Append(nil)}})
	h.Next, h.Flags, h.Length = isakmp.PayloadFragment, 0, uint32(isakmp.HeaderSize+len(body))
	return append(h.Append(nil), body...)
}

// sound demands that the books of the messages in fragments are right and small.
func (e *end) sound(t *testing.T) {
	t.Helper()
	for _, a := range e.sa.assemblies {
		count, octets := 0, 0
		for n, p := range a.parts {
			if p != nil {
				count, octets = count+1, octets+len(p)
				if a.last != 0 && n+1 > a.last {
					t.Fatalf("fragment %d is kept behind the last one, %d", n+1, a.last)
				}
			}
		}
		if count != a.count || octets != a.octets || octets > maxWhole {
			t.Fatalf("%d fragments of %d octets are kept, the books say %d of %d", count, octets, a.count, a.octets)
		}
	}
	if len(e.sa.assemblies) > maxAssemblies {
		t.Fatalf("%d messages are kept", len(e.sa.assemblies))
	}
}

// Fragments come in any order, twice, with the encryption flag or without; the
// message is taken once, when it is whole.
func TestFragmentsInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 1, 0, 0, 2}, {2, 0, 2, 1, 1}} {
		a, b := phase1(t)
		cut := isakmp.Cut(b.long(2000), 1, 800)
		for i, n := range order {
			d := slices.Clone(cut[n])
			if i == 0 {
				d[19] |= byte(isakmp.FlagEncryption)
			}
			a.take(d)
		}
		told := saw[event.Fragments](a)
		if a.heardOf() != 1 || len(told) != 1 || told[0].Dir != event.Received || told[0].Number != 3 {
			t.Errorf("order %v: taken %d times, told %+v", order, a.heardOf(), told)
		}
	}
}

// CVE-2013-6076, CVE-2016-1287, CVE-2016-10396, cisco-sa-20160928-ios-ikev1:
// fragments with ID 0 or number 0, without a first one, behind the last one, with
// another last one, that overlap or never end, that nest, or make a message with
// another header. Nothing comes of them, nothing stays of them, and the message
// is taken when it comes again.
func TestHostileFragments(t *testing.T) {
	for name, play := range map[string]func(a, b *end, m []byte){
		"ID 0":              func(a, _ *end, m []byte) { a.take(piece(m, isakmp.Fragment{ID: 0, Number: 1, Last: true, Data: m})) },
		"number 0":          func(a, _ *end, m []byte) { a.take(piece(m, isakmp.Fragment{ID: 1, Number: 0, Last: true, Data: m})) },
		"the first missing": func(a, _ *end, m []byte) { a.take(piece(m, isakmp.Fragment{ID: 1, Number: 2, Last: true, Data: m})) },
		"number 65":         func(a, _ *end, m []byte) { a.take(piece(m, isakmp.Fragment{ID: 1, Number: 65, Data: m})) },
		"number 255, last":  func(a, _ *end, m []byte) { a.take(piece(m, isakmp.Fragment{ID: 1, Number: 255, Last: true, Data: m})) },
		"behind the last": func(a, _ *end, m []byte) {
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 2, Last: true, Data: m[:9]}))
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 3, Data: m[:9]}))
		},
		"another last": func(a, _ *end, m []byte) {
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 4, Last: true, Data: m[:9]}))
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 3, Last: true, Data: m[:9]}))
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 3, Data: m[:9]}))
		},
		"overlapping": func(a, _ *end, m []byte) {
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 1, Data: []byte("one thing")}))
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 1, Data: []byte("another")}))
		},
		"too much": func(a, _ *end, m []byte) {
			for n := range uint8(60) {
				a.take(piece(m, isakmp.Fragment{ID: 1, Number: n + 1, Data: bytes.Repeat([]byte{n}, 1200)}))
			}
		},
		"nested": func(a, _ *end, m []byte) {
			inner := piece(m, isakmp.Fragment{ID: 1, Number: 1, Last: true, Data: m})
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 1, Last: true, Data: inner}))
		},
		"another header": func(a, b *end, m []byte) {
			other := b.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: b.sa.spi(), Type: 40000}))
			a.take(piece(m, isakmp.Fragment{ID: 1, Number: 1, Last: true, Data: other}))
		},
		"two payloads": func(a, _ *end, m []byte) {
			d := piece(m, isakmp.Fragment{ID: 1, Number: 1, Last: true, Data: m})
			d[isakmp.HeaderSize] = byte(isakmp.PayloadVendorID)
			d = append(d, 0, 0, 0, 4)
			isakmp.SetLength(d)
			a.take(d)
		},
		"many messages": func(a, _ *end, m []byte) {
			for n := range uint16(200) {
				a.take(piece(m, isakmp.Fragment{ID: n + 2, Number: 1, Data: m[:100]}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := phase1(t)
			m := b.long(2000)
			play(a, b, m)
			a.sound(t)
			if a.heardOf() != 0 || !a.sa.Up() || len(a.sa.assemblies) > maxAssemblies || len(a.sent) != 0 {
				t.Fatalf("taken %d times, up %t, %d messages kept, %d answers", a.heardOf(), a.sa.Up(), len(a.sa.assemblies), len(a.sent))
			}
			for range 2 { // what contradicts what came before begins anew
				for _, d := range isakmp.Cut(m, 1, 800) {
					a.take(d)
				}
			}
			if a.heardOf() != 1 {
				t.Errorf("the real message was taken %d times", a.heardOf())
			}
			a.now = a.now.Add(assemblyTime)
			a.step(func(c *Context) { a.sa.Tick(c) })
			if len(a.sa.assemblies) != 0 {
				t.Errorf("%d messages are kept after their time", len(a.sa.assemblies))
			}
		})
	}
}

// Before phase 1 is complete one message is put together at a time, and one that
// never becomes whole is what the failure tells.
func TestFragmentsNeverWhole(t *testing.T) {
	a, b := mm1(t)
	m := make([]byte, 3000)
	h := isakmp.Header{InitiatorCookie: a.sa.Initiator, ResponderCookie: b.sa.Responder, Next: isakmp.PayloadKE, Version: version1,
		Exchange: isakmp.ExchangeMain, Length: uint32(len(m))}
	copy(m, h.Append(nil))
	for id := range uint16(10) {
		b.take(isakmp.Cut(m, id+1, 1000)[1])
	}
	if len(b.sa.assemblies) != 1 {
		t.Errorf("%d messages are kept of who has proved nothing", len(b.sa.assemblies))
	}
	if f := b.sa.phase1Failure(true); f.Code != event.Fragmented {
		t.Errorf("the failure would be %+v", f)
	}
	at := b.sa.Deadline()
	if want := b.now.Add(assemblyTime); at.After(want) {
		t.Errorf("the deadline is %s, want %s at most", at, want)
	}
	b.now = b.now.Add(assemblyTime + time.Second)
	b.step(func(c *Context) { b.sa.Tick(c) })
	if len(b.sa.assemblies) != 0 || b.sa.phase1Failure(false).Code != event.Fragmented {
		t.Error("after its time the message is kept, or forgotten in the failure")
	}
}

// Large messages are cut for a peer that says it can read that: at once when it
// is configured, else when no answer came; never for another peer.
func TestWhoSendsFragments(t *testing.T) {
	for _, tt := range []struct {
		configured, peer bool
		attempt, want    int
	}{{true, true, 0, 2}, {false, true, 0, 1}, {false, true, 1, 2}, {true, false, 3, 1}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			a, _ := phase1(t)
			a.settings.Fragmentation, a.sa.PeerFragments = tt.configured, tt.peer
			m := a.long(2000)
			a.sent = nil
			a.step(func(c *Context) { a.sa.transmit(c, m, tt.attempt) })
			if len(a.sent) != tt.want {
				t.Fatalf("%d datagrams, want %d", len(a.sent), tt.want)
			}
			for _, d := range a.sent {
				if tt.want > 1 && len(d.Payload)+4+8+20 > 1280 {
					t.Errorf("a datagram of %d octets", len(d.Payload))
				}
			}
		})
	}
	a, _ := phase1(t)
	if !a.sa.PeerFragments {
		t.Error("the two ends have not told each other that they put fragments together")
	}
}

// FuzzFragments plays a peer that has the cookies and nothing else: whatever it
// sends is bounded, and the SA stays up.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{1, 0, 4, 2, 1, 8})
	f.Add([]byte{1, 0, 200, 1, 1, 200, 2, 1, 1})
	a, b := phase1(&testing.T{})
	m := b.long(100)
	f.Fuzz(func(t *testing.T, script []byte) {
		a.t = t
		for len(script) >= 3 {
			d := piece(m, isakmp.Fragment{ID: uint16(script[1] >> 1), Number: script[0], Last: script[1]&1 != 0, Data: m[:min(len(m), int(script[2]))]})
			script = script[3:]
			a.take(d)
			a.sound(t)
			if !a.sa.Up() {
				t.Fatal("the SA is gone")
			}
		}
		a.events, a.sent = nil, nil
	})
}
