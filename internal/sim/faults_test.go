package sim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ike"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// want is what one side must have said about a failure.
type want struct {
	host           int // 0 for R1, which begins, 1 for R2
	code           event.Code
	phase          int
	pending        bool // also, or only, while it still runs
	final          bool
	sent, received string
	notified       string
	offers         int // of the peer or of us, as the code has it
}

// fault is one of the ways in which two configurations do not fit.
type fault struct {
	name string
	a, b option // nil for none
	link func(*World) Link
	want []want
}

func key(words string) option {
	return func(s *policy.Settings) { s.Keys[0].Secret = crypt.NewSecret([]byte(words)) }
}

func noKey(s *policy.Settings)   { s.Keys = nil }
func noEntry(s *policy.Settings) { s.Entries = nil }

func legacy(s *policy.Settings) {
	policies(policy.ISAKMP{Cipher: suite.TripleDES, KeyBits: 192, Hash: suite.SHA1, Group: 2})(s)
}

func legacySet(s *policy.Settings) {
	sets(policy.TransformSet{Name: "OLD", Cipher: suite.TripleDES, KeyBits: 192, Integ: suite.MD5})(s)
}

func wider(s *policy.Settings) {
	s.Entries[0].ACL.Lines[0].Src = flowPrefix("10.0.0.0/8")
}

func elsewhere(s *policy.Settings) {
	s.Entries[0].ACL.Lines[0].Src = flowPrefix("10.99.0.0/24")
}

func esn(s *policy.Settings) {
	for i := range s.Entries[0].Sets {
		s.Entries[0].Sets[i].ESN = true
	}
	s.Entries[0].ReplayWindow = 64
}

func require(s *policy.Settings) {
	for i := range s.Entries[0].Sets {
		s.Entries[0].Sets[i].Mode, s.Entries[0].Sets[i].Require = suite.Transport, true
	}
}

func responderOnly(s *policy.Settings) { s.Entries[0].ResponderOnly = true }

func deaf(*World) Link { return func(int, door.Send) []time.Duration { return nil } }

func flowPrefix(s string) flow.Match { return flow.PrefixMatch(netip.MustParsePrefix(s)) }

// after drops everything from the n-th datagram on.
func after(n int) func(*World) Link {
	return func(*World) Link {
		return func(i int, d door.Send) []time.Duration {
			if i >= n {
				return nil
			}
			return Perfect(i, d)
		}
	}
}

func faults() []fault {
	other := policies(aes(128, suite.SHA512, 21))
	return []fault{
		{"no answer", nil, nil, deaf, []want{
			{host: 0, code: event.NoAnswer, phase: 1, pending: true, final: true, sent: "MM1"},
		}},
		{"no answer any more, after MM2", nil, nil, after(2), []want{
			{host: 0, code: event.NoAnswer, phase: 1, pending: true, final: true, sent: "MM3", received: "MM2"},
			{host: 1, code: event.NoAnswer, phase: 1, final: true, sent: "MM2", received: "MM1"},
		}},
		{"no answer to QM1", nil, nil, after(6), []want{
			{host: 0, code: event.NoAnswer, phase: 2, final: true, sent: "QM1"},
		}},
		{"no common policy", nil, other, nil, []want{
			{host: 0, code: event.NoPolicy, phase: 1, pending: true, final: true, sent: "MM1", notified: "NO-PROPOSAL-CHOSEN", offers: 2},
			{host: 1, code: event.NoPolicy, phase: 1, final: true, received: "MM1", offers: 2},
		}},
		{"wrong key", key("battery staple"), nil, nil, []want{
			{host: 0, code: event.WrongKey, phase: 1, pending: true, final: true, sent: "MM5", received: "MM4", offers: 2},
			{host: 1, code: event.WrongKey, phase: 1, pending: true, final: true, sent: "MM4", received: "MM3", offers: 2},
		}},
		{"no key here", noKey, nil, nil, []want{
			{host: 0, code: event.NoKey, phase: 1, final: true},
		}},
		{"no key there", nil, noKey, nil, []want{
			{host: 0, code: event.NoPolicy, phase: 1, pending: true, final: true, sent: "MM1", notified: "NO-PROPOSAL-CHOSEN", offers: 2},
			{host: 1, code: event.NoKey, phase: 1, final: true, received: "MM1"},
		}},
		{"no crypto map entry there", nil, noEntry, nil, []want{
			{host: 0, code: event.NoPolicy, phase: 1, pending: true, final: true, sent: "MM1", notified: "NO-PROPOSAL-CHOSEN", offers: 2},
			{host: 1, code: event.NoEntry, phase: 1, final: true, received: "MM1"},
		}},
		{"legacy only, here", legacy, legacy, nil, []want{
			{host: 0, code: event.LegacyOnly, phase: 1, final: true},
		}},
		{"legacy only, offered by the peer", func(s *policy.Settings) { legacy(s); s.Legacy = true }, legacy, nil, []want{
			{host: 0, code: event.NoPolicy, phase: 1, pending: true, final: true, sent: "MM1", notified: "NO-PROPOSAL-CHOSEN", offers: 1},
			{host: 1, code: event.LegacyOnly, phase: 1, final: true, received: "MM1", offers: 1},
		}},
		{"legacy transform sets only", legacySet, legacySet, nil, []want{
			{host: 0, code: event.LegacyOnly, phase: 2, final: true},
		}},
		{"no common transform set", nil, sets(gcm(256)), nil, []want{
			{host: 0, code: event.NoTransformSet, phase: 2, final: true, sent: "QM1", notified: "NO-PROPOSAL-CHOSEN"},
			{host: 1, code: event.NoTransformSet, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"AH against ESP", nil, sets(policy.TransformSet{Name: "AH", AH: suite.SHA256}), nil, []want{
			{host: 0, code: event.NoTransformSet, phase: 2, final: true, sent: "QM1", notified: "NO-PROPOSAL-CHOSEN"},
			{host: 1, code: event.NoTransformSet, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"extended sequence numbers wanted there", nil, esn, nil, []want{
			{host: 0, code: event.NoTransformSet, phase: 2, final: true, sent: "QM1", notified: "NO-PROPOSAL-CHOSEN"},
			{host: 1, code: event.NoTransformSet, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"transport mode required, for networks", require, nil, nil, []want{
			{host: 0, code: event.ModeMismatch, phase: 2, final: true},
		}},
		{"responder-only", responderOnly, nil, nil, []want{
			{host: 0, code: event.IsResponderOnly, phase: 2, final: true},
		}},
		{"PFS wanted there", nil, pfs(19), nil, []want{
			{host: 0, code: event.NoTransformSet, phase: 2, final: true, sent: "QM1", notified: "NO-PROPOSAL-CHOSEN"},
			{host: 1, code: event.PFSMismatch, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"another PFS group", pfs(19), pfs(20), nil, []want{
			{host: 0, code: event.NoTransformSet, phase: 2, final: true, sent: "QM1", notified: "NO-PROPOSAL-CHOSEN"},
			{host: 1, code: event.PFSMismatch, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"no mirror image: a superset", wider, nil, nil, []want{
			{host: 0, code: event.NoProxy, phase: 2, final: true, sent: "QM1", notified: "INVALID-ID-INFORMATION"},
			{host: 1, code: event.NoProxy, phase: 2, final: true, received: "QM1", offers: 2},
		}},
		{"no mirror image: another subnet", elsewhere, nil, nil, []want{
			{host: 0, code: event.NoProxy, phase: 2, final: true, sent: "QM1", notified: "INVALID-ID-INFORMATION"},
			{host: 1, code: event.NoProxy, phase: 2, final: true, received: "QM1", offers: 2},
		}},
	}
}

// Each fault ends in the words that explain needs, at the side that can know,
// and leaves nothing behind.
//
// Threat: garbage after decryption.
func TestFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			a, b := sites()
			if f.a != nil {
				f.a(a)
			}
			if f.b != nil {
				f.b(b)
			}
			x, r1, r2 := world(t, 1, a, b)
			if f.link != nil {
				x.Link = f.link(x)
			}
			trigger(r1)
			x.Run(3*time.Minute, nil)
			hosts := []*Host{r1, r2}
			for _, w := range f.want {
				checkFailure(t, hosts[w.host], w)
			}
			if r1.Unreachable != 1 {
				t.Errorf("R1 gave up %d flows, want 1", r1.Unreachable)
			}
			for _, h := range hosts {
				nothingLeft(t, x, h)
			}
		})
	}
}

func checkFailure(t *testing.T, h *Host, w want) {
	t.Helper()
	var pending, final bool
	for _, f := range happened[event.Failed](h) {
		if f.Phase != w.phase {
			t.Errorf("%s: a failure of phase %d: %+v", h.Name, f.Phase, f)
			continue
		}
		if f.Code != w.code && !(f.Pending && f.Code == event.NoAnswer) {
			t.Errorf("%s: %s, want %s: %s", h.Name, f.Code, w.code, f.Reason)
			continue
		}
		pending, final = pending || f.Pending, final || !f.Pending
		if f.Pending {
			continue
		}
		if f.LastSent != w.sent || f.LastReceived != w.received || f.Notified != w.notified {
			t.Errorf("%s: sent %q, received %q, notified %q, want %q, %q, %q", h.Name, f.LastSent, f.LastReceived, f.Notified, w.sent, w.received, w.notified)
		}
		if n := len(f.PolicyOffers) + len(f.ProposalOffers); w.offers > 0 && n != w.offers {
			t.Errorf("%s: %d offers told, want %d", h.Name, n, w.offers)
		}
		if w.code == event.NoProxy && !f.Offered.Local.IsValid() {
			t.Errorf("%s does not tell the identities that were refused", h.Name)
		}
		if f.Reason == "" {
			t.Errorf("%s gives no reason", h.Name)
		}
	}
	if final != w.final || w.pending && !pending {
		t.Errorf("%s: pending %t, final %t, want %t, %t", h.Name, pending, final, w.pending, w.final)
	}
	remembered := h.Engine.Failures()
	if len(remembered) != 1 || remembered[0].What.(event.Failed).Code != w.code {
		t.Errorf("%s remembers %+v", h.Name, remembered)
	}
}

// nothingLeft demands an engine that holds nothing but complete SAs: no half
// open one, no half a pair, no arithmetic, no promised SPI.
func nothingLeft(t *testing.T, x *World, h *Host) {
	t.Helper()
	l := h.Engine.Load()
	if len(h.Children) != 0 {
		t.Errorf("%s has %d SA pairs in its data path", h.Name, len(h.Children))
	}
	l2 := l
	l2.ISAKMP, l2.Offers, l2.Peers = 0, 0, 0
	if l2 != (ike.Load{}) {
		t.Errorf("%s is left with %+v", h.Name, l)
	}
	if l.ISAKMP == 0 && (l != (ike.Load{}) || !h.Engine.Deadline().IsZero()) {
		t.Errorf("%s is left with %+v and wants to be called at %s", h.Name, l, h.Engine.Deadline())
	}
	for _, sa := range h.Engine.ISAKMP(x.Now.Add(2 * time.Hour)) {
		if sa.State != "QM_IDLE" {
			t.Errorf("%s is left with an SA in %s", h.Name, sa.State)
		}
	}
}

// The evidence comes early: what a router would show after a minute is known
// after seconds, and said as pending.
func TestEvidenceComesEarly(t *testing.T) {
	for _, f := range faults() {
		for _, w := range f.want {
			if !w.pending {
				continue
			}
			t.Run(f.name+fmt.Sprint("/R", w.host+1), func(t *testing.T) {
				a, b := sites()
				if f.a != nil {
					f.a(a)
				}
				if f.b != nil {
					f.b(b)
				}
				x, r1, r2 := world(t, 1, a, b)
				if f.link != nil {
					x.Link = f.link(x)
				}
				trigger(r1)
				x.Run(8*time.Second, nil)
				got := happened[event.Failed]([]*Host{r1, r2}[w.host])
				if len(got) == 0 || got[0].Code != w.code || !got[0].Pending || got[0].Phase != 1 {
					t.Errorf("after eight seconds: %+v", got)
				}
			})
		}
	}
}

// Phase 2 faults leave phase 1 alone: the next offer needs no main mode.
func TestPhase2FaultKeepsPhase1(t *testing.T) {
	a, b := sites()
	sets(gcm(256))(b)
	x, r1, r2 := world(t, 1, a, b)
	trigger(r1)
	x.Run(5*time.Second, nil)
	fixed, _ := sites(sets(gcm(256)))
	r1.Input(door.Configure{Settings: fixed})
	r1.DB.SetPolicy(fixed.Entries)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if n := len(happened[event.Phase1Up](r1)); n != 1 {
		t.Errorf("phase 1 came up %d times", n)
	}
	if len(r1.Engine.Failures()) != 0 {
		t.Errorf("the failure is remembered after the success: %+v", r1.Engine.Failures())
	}
}

// A refusal that gets lost is told again when QM1 comes again.
func TestLostRefusalIsRepeated(t *testing.T) {
	a, b := sites()
	sets(gcm(256))(b)
	x, r1, _ := world(t, 1, a, b)
	lost := 0
	x.Link = func(n int, d door.Send) []time.Duration {
		if d.Local.Addr() == addrB && n > 6 && lost < 2 {
			lost++
			return nil
		}
		return Perfect(n, d)
	}
	trigger(r1)
	x.Run(20*time.Second, nil)
	if got := finals(r1); len(got) != 1 || got[0] != event.NoTransformSet || lost != 2 {
		t.Errorf("%d refusals lost, R1 says %v", lost, got)
	}
}

// A responder is asked for a subset of what it permits: it agrees, and the pair
// carries the subset only.
func TestSubsetIsAccepted(t *testing.T) {
	a, b := sites()
	wider(b)                                                   // R2 permits from 10.0.0.0/8
	a.Entries[0].ACL.Lines[0].Dst = flowPrefix("10.20.0.0/16") // R1 asks for a part of it
	x, r1, r2 := world(t, 1, a, b)
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if got := only(t, r2).Selectors.Local; got != netip.MustParsePrefix("10.20.0.0/16") {
		t.Errorf("R2's pair is for %s", got)
	}
	if err := x.Probe(r1, r2, a.Flows()[0]); err != nil {
		t.Error(err)
	}
}
