package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/guard"
)

var (
	localIKE = netip.MustParseAddrPort("198.51.100.1:500")
	peerIKE  = netip.MustParseAddrPort("198.51.100.2:500")
)

func badMessage(n int) event.Event {
	return event.Event{At: time.Now(), Local: localIKE, Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), 500), What: event.Dropped{Reason: "garbage", Cause: event.BadMessage}}
}

// What strangers cause is limited, and what was left out is counted and said.
func TestLogLimit(t *testing.T) {
	var b bytes.Buffer
	j := newJournal(&b)
	j.tokens, j.refilled = logBurst, time.Now().Add(time.Hour) // no refill meanwhile
	for n := range 10_000 {
		j.event(badMessage(n))
	}
	if got := strings.Count(b.String(), "\n"); got != logBurst {
		t.Errorf("%d lines in a row, want %d", got, logBurst)
	}
	if !strings.Contains(b.String(), "%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from 192.0.0.1 failed its sanity check or is malformed\n") {
		t.Errorf("not in IOS's words: %.200s", b.String())
	}
	b.Reset()
	j.refilled = time.Now().Add(-logEvery)
	j.say("the next line")
	if want := fmt.Sprintf("(%d lines left out) the next line\n", 10_000-logBurst); !strings.HasSuffix(b.String(), want) {
		t.Errorf("%q, want …%q", b.String(), want)
	}
	// A long silence gives a burst back, not more.
	b.Reset()
	j.refilled = time.Now().Add(-24 * time.Hour)
	for range 2 * logBurst {
		j.say("line")
	}
	if got := strings.Count(b.String(), "\n"); got < logBurst || got > logBurst+10 {
		t.Errorf("%d lines after a silence, want %d", got, logBurst)
	}
}

// The journal remembers the last events, oldest first, and never more than so many.
func TestJournalMemory(t *testing.T) {
	j := newJournal(nil)
	for n := range 3*remembered + 7 {
		j.event(event.Event{Conn: n, What: event.State{}})
		if len(j.events) > remembered {
			t.Fatalf("%d events remembered", len(j.events))
		}
	}
	past := j.past()
	if len(past) < remembered/2 || past[len(past)-1].Conn != 3*remembered+6 {
		t.Errorf("%d events, the last is %d", len(past), past[len(past)-1].Conn)
	}
	for i := range past[1:] {
		if past[i+1].Conn != past[i].Conn+1 {
			t.Fatalf("event %d follows %d", past[i+1].Conn, past[i].Conn)
		}
	}
	past[0].Conn = -1
	if j.past()[0].Conn == -1 {
		t.Error("the copy is no copy")
	}
}

// Whoever debugs hears every event until the end, in order.
func TestSubscribe(t *testing.T) {
	j := newJournal(nil)
	var a, b []int
	endA := j.subscribe(func(e event.Event) { a = append(a, e.Conn) })
	endB := j.subscribe(func(e event.Event) { b = append(b, e.Conn) })
	for n := range 6 {
		if n == 2 {
			endA()
		}
		if n == 4 {
			endB()
			endB()
		}
		j.event(event.Event{Conn: n, What: event.State{}})
	}
	if fmt.Sprint(a, b) != "[0 1] [0 1 2 3]" || len(j.listeners) != 0 {
		t.Errorf("heard %v and %v, %d still listen", a, b, len(j.listeners))
	}
	// A listener may end itself while it hears.
	var end func()
	end = j.subscribe(func(event.Event) { end() })
	j.event(event.Event{What: event.State{}})
}

// Packets that the data path drops are told in IOS's words, once in a while for
// each SA.
func TestAudit(t *testing.T) {
	a := fastpath.Audit{Local: localIKE, Remote: peerIKE, Proto: 50, SPI: 0xAABBCCDD, Seq: 7, Child: 3}
	inner := flow.Tuple{Src: netip.MustParseAddr("10.1.1.1"), Dst: netip.MustParseAddr("10.2.2.2"), Proto: flow.TCP, SrcPort: 1, DstPort: 2}
	for _, c := range []struct {
		why  fastpath.Drop
		want string
	}{
		{fastpath.BadSPI, "%CRYPTO-4-RECVD_PKT_INV_SPI: decaps: rec'd IPSEC packet has invalid spi for destaddr=198.51.100.1, prot=50, spi=0xAABBCCDD(2864434397), srcaddr=198.51.100.2"},
		{fastpath.BadICV, "%CRYPTO-4-RECVD_PKT_MAC_ERR: decrypt: mac verify failed for connection id=3 local=198.51.100.1 remote=198.51.100.2 spi=AABBCCDD seqno=00000007"},
		{fastpath.Replayed, "%CRYPTO-4-PKT_REPLAY_ERR: decrypt: replay check failed connection id=3, sequence number=7, srcaddr=198.51.100.2"},
		{fastpath.Outside, "%CULVERT-4-INVALID_IDENTITY: identity doesn't match negotiated identity: "},
	} {
		var b bytes.Buffer
		j := newJournal(&b)
		a.Why, a.Inner = c.why, inner
		for range 50 {
			j.audit(a)
		}
		if got := strings.Count(b.String(), "\n"); got != 1 || !strings.Contains(b.String(), c.want) {
			t.Errorf("%d lines: %s\nwant %s", got, b.String(), c.want)
		}
		other := a
		other.SPI++
		j.audit(other)
		if got := strings.Count(b.String(), "\n"); got != 2 {
			t.Errorf("another SA is not told: %s", b.String())
		}
		// After a while it is told again.
		for k := range j.audits {
			j.audits[k] = j.audits[k].Add(-2 * auditEvery)
		}
		j.audit(a)
		if got := strings.Count(b.String(), "\n"); got != 3 {
			t.Errorf("not told again: %s", b.String())
		}
	}
}

// Made-up SPIs and senders take neither memory nor the log.
func TestAuditFlood(t *testing.T) {
	var b bytes.Buffer
	j := newJournal(&b)
	for n := range 20_000 {
		j.audit(fastpath.Audit{Why: fastpath.BadSPI, Local: localIKE, Remote: peerIKE, SPI: uint32(n)})
		j.cleartext(guard.Cleartext{Src: netip.AddrFrom4([4]byte{10, 9, byte(n >> 8), byte(n)}), Dst: localIKE.Addr(), Proto: 17})
		if len(j.audits) > maxAudits {
			t.Fatalf("%d kinds remembered", len(j.audits))
		}
	}
	if got := strings.Count(b.String(), "\n"); got > logBurst+100 {
		t.Errorf("%d lines", got)
	}
}

// Cleartext that should have come protected: IOS's line, once for each sender.
func TestCleartext(t *testing.T) {
	var b bytes.Buffer
	j := newJournal(&b)
	c := guard.Cleartext{Src: netip.MustParseAddr("10.20.20.20"), Dst: netip.MustParseAddr("10.10.10.10"), Proto: 1}
	for range 100 {
		j.cleartext(c)
	}
	want := "%CRYPTO-4-RECVD_PKT_NOT_IPSEC: Rec'd packet not an IPSEC packet. (ip) vrf/dest_addr= /10.10.10.10, src_addr= 10.20.20.20, prot= 1\n"
	if !strings.HasSuffix(b.String(), want) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%s\nwant once %s", b.String(), want)
	}
}

// An engine that cannot follow says so, once in a while.
func TestLost(t *testing.T) {
	var b bytes.Buffer
	j := newJournal(&b)
	for range 5000 {
		j.lost()
	}
	if strings.Count(b.String(), "\n") != 1 || !strings.Contains(b.String(), "overloaded") || j.unheard != 5000 {
		t.Errorf("%d unheard: %s", j.unheard, b.String())
	}
}

// A line is a line, whatever an error says; and a log that is full stops nothing.
//
// Threat: log injection.
func TestLogLines(t *testing.T) {
	var b bytes.Buffer
	j := newJournal(&b)
	j.say("sending: %v", errors.New("one\ntwo\x1b[2J\r%CRYPTO-0-FORGED: three"))
	if s := b.String(); strings.Count(s, "\n") != 1 || strings.ContainsAny(s, "\x1b\r") || !strings.Contains(s, "one two") {
		t.Errorf("%q", s)
	}
	j = newJournal(full{})
	j.say("nobody reads this")
	j.event(badMessage(1))
	if len(j.past()) != 1 {
		t.Error("a full log loses events")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
