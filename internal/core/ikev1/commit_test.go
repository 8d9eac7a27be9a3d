package ikev1

import (
	"bytes"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
)

// committed is a quick mode whose responder has set the commit bit in QM2.
func committed(t *testing.T) (a, b *end, q *quickMode) {
	t.Helper()
	a, b = phase1(t)
	q = a.start()
	b.take(a.drain()[0])
	m := b.drain()[0]
	m[19] |= byte(isakmp.FlagCommit) // the header is not covered by the hash
	a.take(m)
	if up := became[ChildUp](a); len(up) != 1 || !up[0].OutAt.Equal(a.now.Add(commitWait)) {
		t.Fatalf("after QM2 with the commit bit: %+v", up)
	}
	b.take(a.drain()[0])
	a.outcomes = nil
	return a, b, q
}

// qm4 is what racoon and Windows send then.
func (e *end) qm4(q *quickMode, iv []byte, n isakmp.Notification) []byte {
	return e.quickMessage(q.id, iv, [][]byte{be32(q.id)}, notifyPayload(n))
}

// RFC 2408 3.1: who did not set the commit bit waits until the other side says
// CONNECTED. It may come as a fourth message of quick mode or by itself.
func TestCommitBit(t *testing.T) {
	say := isakmp.Notification{DOI: 1, Protocol: isakmp.ProtocolESP, Type: isakmp.NotifyConnected}
	ready := func(a *end, q *quickMode) bool {
		r := became[Ready](a)
		return len(r) == 1 && r[0].Child == q.child.ID
	}
	t.Run("a fourth message", func(t *testing.T) {
		a, b, q := committed(t)
		m := b.qm4(q, q.iv, say)
		for at := isakmp.HeaderSize; at < len(m); at += 7 {
			forged := bytes.Clone(m)
			forged[at] ^= 1
			a.take(forged)
		}
		a.take(b.qm4(q, make([]byte, len(q.iv)), say))
		if len(a.outcomes) != 0 {
			t.Fatalf("a forged message: %+v", a.outcomes)
		}
		a.take(m)
		if !ready(a, q) {
			t.Errorf("%+v", a.outcomes)
		}
		a.take(m) // once more
		if !ready(a, q) || len(a.sent) != 0 {
			t.Errorf("the message again: %+v, %d answers", a.outcomes, len(a.sent))
		}
	})
	t.Run("an informational", func(t *testing.T) {
		a, b, q := committed(t)
		other := say
		other.SPI = be32(0x99999)
		a.take(b.say(nil, notifyPayload(other)))
		if len(a.outcomes) != 0 {
			t.Fatalf("CONNECTED of another SA: %+v", a.outcomes)
		}
		say := say
		say.SPI = be32(q.child.Out.SPI)
		a.take(b.say(nil, notifyPayload(say)))
		if !ready(a, q) {
			t.Errorf("%+v", a.outcomes)
		}
	})
	t.Run("another notification", func(t *testing.T) {
		a, b, q := committed(t)
		other := say
		other.Type = isakmp.NotifyReplayStatus
		a.take(b.qm4(q, q.iv, other))
		if len(a.outcomes) != 0 || !q.commit {
			t.Errorf("%+v", a.outcomes)
		}
	})
	t.Run("without the bit nobody waits for it", func(t *testing.T) {
		a, b := phase1(t)
		q := a.start()
		pump(a, b)
		if at := became[ChildUp](a)[0].OutAt; at.After(a.now.Add(time.Second)) {
			t.Errorf("waits until %s", at)
		}
		a.events = nil
		a.take(b.qm4(q, q.iv, say))
		if len(became[Ready](a)) != 0 || len(saw[event.Dropped](a)) != 1 {
			t.Errorf("a fourth message that nobody asked for: %+v", a.outcomes)
		}
	})
}
