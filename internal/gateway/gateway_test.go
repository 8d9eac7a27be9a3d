package gateway

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/conf/config"
	"culvert/internal/core/diagnose"
	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

const siteA = `hostname R1
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 19
crypto isakmp key Never-in-any-log-4711 address 198.51.100.2
crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac
crypto ipsec transform-set SPARE esp-gcm
crypto map CMAP 10 ipsec-isakmp
 set peer 198.51.100.2
 set transform-set STRONG
 match address 102
interface GigabitEthernet0/0
 ip address 10.10.10.1 255.255.255.0
 ip access-group 110 out
interface GigabitEthernet0/1
 ip address 198.51.100.1 255.255.255.0
 ip access-group 101 in
 crypto map CMAP
access-list 101 permit ip host 198.51.100.2 any
access-list 102 permit ip 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255
access-list 110 permit ip any any
`

func gatewayOf(t *testing.T, text string, o Options) *Gateway {
	t.Helper()
	c, problems := config.Parse("r1.cfg", []byte(text))
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Fatal(p)
		}
	}
	o.Config = c
	return New(o)
}

// The hostname is the configuration's, unless the operator gives another.
func TestHostname(t *testing.T) {
	for _, c := range []struct{ text, name, want string }{
		{siteA, "", "R1"},
		{siteA, "OTHER", "OTHER"},
		{strings.TrimPrefix(siteA, "hostname R1\n"), "", "culvert"},
	} {
		g := gatewayOf(t, c.text, Options{Name: c.name})
		if g.Hostname() != c.want || g.settings().Hostname != c.want {
			t.Errorf("%q, and explain says %q; want %q", g.Hostname(), g.settings().Hostname, c.want)
		}
	}
}

// A configuration that protects nothing is not run: traffic would leave in clear.
func TestNothingToProtect(t *testing.T) {
	var log bytes.Buffer
	g := gatewayOf(t, strings.ReplaceAll(siteA, "\n crypto map CMAP\n", "\n"), Options{Log: &log, Socket: "/nonexistent/never/made.sock"})
	if err := g.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no crypto map is applied") {
		t.Errorf("it runs: %v", err)
	}
}

// TUN device names fit Linux's 15 characters and tell gateways apart.
func TestTunName(t *testing.T) {
	seen := map[string]string{}
	for _, host := range []string{"R1", "R2", "R-1", "R.1", "R 1", "twelve-chars", "thirteen-char", "branch-office-1", "branch-office-2", "Zürich", "../../etc", "日本", "a", "", strings.Repeat("x", 1000)} {
		n := tunName(host)
		if len(n) > 15 || !strings.HasPrefix(n, "cv-") || strings.ContainsAny(n, "/ .:\x00") {
			t.Errorf("%q: %q is no device name", host, n)
		}
		if other, taken := seen[n]; taken {
			t.Errorf("%q and %q both have %q", host, other, n)
		}
		seen[n] = host
	}
	if tunName("R1") != "cv-R1" {
		t.Errorf("R1 has %s", tunName("R1"))
	}
}

// What explain judges by: a flow is up when it has SAs, and the failures are those of the engine.
func TestEvidence(t *testing.T) {
	g := gatewayOf(t, siteA, Options{})
	id := policy.FlowID{Map: "CMAP", Seq: 10, Line: 10}
	s := &status.Gateway{Now: time.Now(), Flows: []status.Flow{{ID: id}}}
	if r := diagnose.Explain(g.evidence(s)); len(r) != 1 || r[0].Status != "idle" || r[0].Hostname != "R1" {
		t.Errorf("without SAs: %+v", r)
	}
	s.Flows[0].Children = []status.Child{{In: 1, Out: 2}}
	if r := diagnose.Explain(g.evidence(s)); r[0].Status != "up" {
		t.Errorf("with SAs: %s", r[0].Status)
	}
	s.Flows[0].Children = nil
	s.Failures = []event.Event{{Local: localIKE, Peer: peerIKE, What: event.Failed{Phase: 1, Code: event.NoAnswer, LastSent: "MM1"}}}
	if r := diagnose.Explain(g.evidence(s)); r[0].Status != "down" || r[0].Reason != event.NoAnswer {
		t.Errorf("with a failure: %s, %s", r[0].Status, r[0].Reason)
	}
}

// show crypto exchange tells the events of one peer, or of all.
func TestExchange(t *testing.T) {
	g := gatewayOf(t, siteA, Options{})
	other := netip.MustParseAddrPort("198.51.100.3:500")
	for _, p := range []netip.AddrPort{peerIKE, other} {
		g.journal.event(event.Event{At: time.Now(), Local: localIKE, Peer: p, What: event.Message{Exchange: "main", Name: "MM1", Octets: 100}})
	}
	for _, c := range []struct {
		peer      netip.Addr
		one, more bool
	}{{peerIKE.Addr(), true, false}, {other.Addr(), false, true}, {netip.Addr{}, true, true}} {
		var b bytes.Buffer
		if err := g.ladders(&b, c.peer); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "198.51.100.2") != c.one || strings.Contains(b.String(), "198.51.100.3") != c.more {
			t.Errorf("asked for %s: %s", c.peer, b.String())
		}
	}
}

// Where an access list is used, and every transform set, used or not.
func TestViews(t *testing.T) {
	g := gatewayOf(t, siteA, Options{})
	for list, want := range map[string]string{"101": "GigabitEthernet0/1 in", "102": "crypto map CMAP 10", "110": "GigabitEthernet0/0 out"} {
		if got := strings.Join(g.applied(g.config().AccessList(list)), ","); got != want {
			t.Errorf("access list %s is used at %q, want %q", list, got, want)
		}
	}
	if s := g.sets(); len(s) != 2 || s[1].Name != "SPARE" {
		t.Errorf("sets %v", s)
	}
	if l := g.force.Load().locals(); len(l) != 1 || l[0] != localIKE.Addr() {
		t.Errorf("local addresses %v", l)
	}
}

// Counters after "clear crypto sa counters" begin at zero, every one of them.
func TestCountersCleared(t *testing.T) {
	was := status.Counters{Encaps: 1, Encrypt: 2, Digest: 3, Decaps: 4, Decrypt: 5, Verify: 6, SendErrors: 7, RecvErrors: 8, SendOctets: 9,
		ReceiveOctets: 10, NoSA: 11, InvalidIdentity: 12, ReplayFailed: 13, VerifyFailed: 14}
	if got := minus(was, was); got != (status.Counters{}) {
		t.Errorf("%+v is left", got)
	}
	if got := minus(was, status.Counters{}); got != was {
		t.Errorf("%+v", got)
	}
}

// The inner MTU leaves room for the largest overhead of the sets, in UDP too.
func TestInnerMTU(t *testing.T) {
	g := gatewayOf(t, siteA, Options{})
	full := g.innerMTU()
	if full < 1380 || full > 1440 {
		t.Errorf("inner MTU %d of 1500", full)
	}
	g.force.Load().mtu["GigabitEthernet0/1"] = 1400
	if got := g.innerMTU(); got >= full || got > 1400-50 {
		t.Errorf("inner MTU %d of 1400", got)
	}
	g.force.Load().mtu["GigabitEthernet0/1"] = 9000
	if got := g.innerMTU(); got != full {
		t.Errorf("inner MTU %d with jumbo frames here, which nobody says the path has", got)
	}
}

// The running configuration that show tells, and the log, hold no key.
func TestNoKeyIsTold(t *testing.T) {
	var log bytes.Buffer
	g := gatewayOf(t, siteA, Options{Log: &log})
	if text := g.backend(context.Background()).RunningConfig(); strings.Contains(text, "Never-in-any-log") || !strings.Contains(text, "crypto isakmp key") {
		t.Errorf("show running-config:\n%s", text)
	}
	for _, w := range []event.What{
		event.KeyLookup{Found: true, Origin: g.settings().Keys[0].Origin},
		event.Failed{Phase: 1, Code: event.WrongKey}, event.Failed{Phase: 1, Code: event.WrongKey, Pending: true},
	} {
		g.journal.event(event.Event{At: time.Now(), Local: localIKE, Peer: peerIKE, What: w})
	}
	g.journal.say("%v %+v", g.settings(), g.settings().Keys)
	if strings.Contains(log.String(), "Never-in-any-log") || log.Len() == 0 {
		t.Errorf("the log: %s", log.String())
	}
}

// A gateway that stops answers no more, and holds nobody up.
func TestStopping(t *testing.T) {
	g := gatewayOf(t, siteA, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if g.do(ctx, func() { t.Error("done after the end") }) {
		t.Error("the loop answered, and there is none")
	}
	if err := g.clearCounters(ctx, netip.Addr{}); err != errStopping {
		t.Errorf("%v", err)
	}
	if err := g.backend(ctx).ClearCounters(peerIKE.Addr()); err != errStopping {
		t.Errorf("%v", err)
	}
}
