package ikev1

import (
	"slices"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// question makes a question of a's and returns its number.
func (e *end) question() uint32 {
	e.t.Helper()
	e.step(func(c *Context) {
		if !e.sa.Ask(c) {
			e.t.Fatal("the peer does not know the question")
		}
	})
	return e.sa.probe
}

func ack(spi []byte, seq uint32) isakmp.Payload {
	return notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: spi, Type: isakmp.NotifyRUThereAck, Data: be32(seq)})
}

// RFC 3706: the answer to any question that is open counts as life, once. One
// with another number, about another SA, of another size, without protection or
// with a wrong hash does not.
func TestAcknowledgements(t *testing.T) {
	a, b := phase1(t)
	first, second := a.question(), a.question()
	if second != first+1 || first>>31 != 0 {
		t.Errorf("numbers %08x and %08x, want one after the other without the top bit", first, second)
	}
	a.sent, b.sent = nil, nil
	at, spi := a.sa.Heard(), a.sa.spi()
	a.now = a.now.Add(time.Minute)
	short := isakmp.Notification{DOI: 1, Protocol: 1, SPI: spi, Type: isakmp.NotifyRUThereAck, Data: []byte{1, 2, 3}}
	for name, m := range map[string][]byte{
		"the number before":   b.say(nil, ack(spi, first-1)),
		"the number to come":  b.say(nil, ack(spi, second+1)),
		"of another SA":       b.say(nil, ack(slices.Repeat([]byte{1}, 16), second)),
		"of three octets":     b.say(nil, notifyPayload(short)),
		"with a wrong hash":   b.say(func(h []byte) []byte { h[0] ^= 1; return h }, ack(spi, second)),
		"without protection":  b.clear(ack(spi, second)),
		"cookies turned over": b.say(nil, ack(append(slices.Clone(spi[8:]), spi[:8]...), second)),
	} {
		a.take(m)
		if !a.sa.Heard().Equal(at) || len(a.sa.questions) != 2 {
			t.Errorf("an answer %s counts", name)
		}
	}
	a.take(b.say(nil, ack(spi, first)))
	if !a.sa.Heard().Equal(a.now) || len(a.sa.questions) != 0 {
		t.Error("the answer to the first question does not count")
	}
	at = a.now
	a.now = a.now.Add(time.Minute)
	a.take(b.say(nil, ack(spi, first)))
	if !a.sa.Heard().Equal(at) {
		t.Error("a second answer to the same question counts")
	}
	a.take(b.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: spi, Type: isakmp.NotifyRUThere, Data: be32(9)})))
	if !a.sa.Heard().Equal(a.now) {
		t.Error("a question of the peer's is no sign of life")
	}
}

// clear is an informational without protection.
func (e *end) clear(p isakmp.Payload) []byte {
	first, body := isakmp.AppendPayloads(nil, []isakmp.Payload{p})
	h := isakmp.Header{InitiatorCookie: e.sa.Initiator, ResponderCookie: e.sa.Responder, Next: first, Version: version1,
		Exchange: isakmp.ExchangeInformational, MessageID: 77, Length: uint32(isakmp.HeaderSize + len(body))}
	return append(h.Append(nil), body...)
}

// CVE-2009-0790: R-U-THERE and R-U-THERE-ACK without protection, and for an SA
// that is not there, are ignored and not answered.
func TestQuestionsWithoutProtection(t *testing.T) {
	a, b := phase1(t)
	for _, n := range []isakmp.NotifyType{isakmp.NotifyRUThere, isakmp.NotifyRUThereAck} {
		a.take(b.clear(notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: n, Data: be32(1)})))
	}
	a.take(b.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: slices.Repeat([]byte{2}, 16), Type: isakmp.NotifyRUThere, Data: be32(1)})))
	if len(a.sent) != 0 || !a.sa.Up() {
		t.Errorf("%d answers", len(a.sent))
	}
	b.take(a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(0xfffffff0)})))
	if n := saw[event.Notify](b); len(b.sent) != 1 || n[len(n)-1].Type != "R-U-THERE-ACK" {
		t.Errorf("a question with protection got %d answers: %+v", len(b.sent), n)
	}
	a.sa.PeerDPD = false
	a.step(func(c *Context) {
		if a.sa.Ask(c) {
			t.Error("a peer that does not know the question is asked")
		}
	})
}
