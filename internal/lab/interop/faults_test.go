package interop

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/diagnose"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// fault is one way in which two ends do not fit, seen from R1. An end that is
// not given is not there.
type fault struct {
	name   string
	begins string // who negotiates: lab.R1, lab.R2
	r1     router
	r2     *router      // R2 as Culvert
	swan   *swan.Config // R2 as strongSwan
	block  *lab.Traffic // what R2 does not get of R1
	// What explain at R1 has to name.
	step int
	said []string // parts of its sentence
	line string   // of R1's configuration, the one to change; "" when the fix is the peer's only
	// write is part of a line to write, on either side.
	write string
}

func ike() *lab.Traffic { k := lab.IKE; return &k }

func natt() *lab.Traffic { k := lab.NATT; return &k }

// noAnswer are the faults of step 1.
func noAnswer() []fault {
	deaf := router{Filter: "access-list 101 permit esp host 198.51.100.2 host 198.51.100.1\n"}
	const isakmp, nonISAKMP = "permit udp host 198.51.100.1 host 198.51.100.2 eq isakmp", "permit udp host 198.51.100.1 host 198.51.100.2 eq non500-isakmp"
	return []fault{
		{name: "no peer", begins: lab.R1, step: 1, said: []string{"198.51.100.2 does not answer on UDP 500", "nothing came back for MM1"}, write: isakmp},
		{name: "UDP 500 blocked on the way", begins: lab.R1, r2: &router{}, swan: &swan.Config{}, block: ike(), step: 1,
			said: []string{"198.51.100.2 does not answer on UDP 500", "nothing came back for MM1"}, write: isakmp},
		{name: "UDP 4500 blocked on the way", begins: lab.R1, swan: &swan.Config{}, block: natt(), step: 1,
			said: []string{"198.51.100.2 does not answer on UDP 4500", "MM5"}, write: nonISAKMP},
		{name: "our access list blocks UDP 500", begins: lab.R1, r1: deaf, r2: &router{}, swan: &swan.Config{}, step: 1,
			said: []string{"UDP 500"}, line: "access-list 101", write: "permit udp host 198.51.100.2 host 198.51.100.1 eq isakmp"},
		{name: "our access list blocks UDP 500", begins: lab.R2, r1: deaf, r2: &router{}, swan: &swan.Config{}, step: 1,
			said: []string{"UDP 500"}, line: "access-list 101", write: "permit udp host 198.51.100.2 host 198.51.100.1 eq isakmp"},
	}
}

// phase1Faults are the faults of step 2.
func phase1Faults() []fault {
	strong := router{Policies: policyLines(10, "aes 128", "sha256", 14)}
	swanStrong := swan.Config{IKE: "aes128-sha256-modp2048"}
	wrong := router{Key: "another"}
	return []fault{
		{name: "no common policy", begins: lab.R1, r2: &strong, swan: &swanStrong, step: 2,
			said: []string{"198.51.100.2 refused", "aes 128, sha, pre-share, group 14"}, line: "crypto isakmp policy 10", write: "crypto isakmp policy 10"},
		{name: "no common policy", begins: lab.R2, r2: &strong, swan: &swanStrong, step: 2,
			said: []string{"198.51.100.2 offered", "sha256", "policy 10", "they differ in hash"}, line: "hash sha", write: "hash sha256"},
		{name: "wrong key", begins: lab.R1, r2: &wrong, swan: &swan.Config{PSK: "another"}, step: 2,
			said: []string{"key for 198.51.100.2"}, line: "crypto isakmp key", write: "crypto isakmp key"},
		{name: "wrong key", begins: lab.R2, r2: &wrong, swan: &swan.Config{PSK: "another"}, step: 2,
			said: []string{"key for 198.51.100.2"}, line: "crypto isakmp key", write: "crypto isakmp key"},
	}
}

// phase2Faults are the faults of steps 3 and 4.
func phase2Faults() []fault {
	gcm := router{Sets: set("T1", "esp-gcm 256")}
	swanGCM := swan.Config{ESP: "aes256gcm16"}
	site := lab.Site(lab.R1)
	narrow := router{Interesting: "access-list 102 permit ip 10.20.20.0 0.0.0.255 host 10.10.10.10"}
	wide := router{Interesting: "access-list 102 permit ip 10.20.20.0 0.0.0.255 10.10.0.0 0.0.255.255"}
	elsewhere := swan.Config{RemoteTS: netip.MustParsePrefix("10.10.99.0/24")}
	return []fault{
		{name: "no common transform set", begins: lab.R1, r2: &gcm, swan: &swanGCM, step: 3,
			said: []string{"198.51.100.2 refused", "esp-aes esp-sha-hmac"}, line: "crypto ipsec transform-set T1", write: "crypto ipsec transform-set"},
		{name: "no common transform set", begins: lab.R2, r2: &gcm, swan: &swanGCM, step: 3,
			said: []string{"198.51.100.2 offered esp-gcm 256", "transform set T1"}, line: "crypto ipsec transform-set T1", write: "esp-gcm 256"},
		{name: "no mirror images", begins: lab.R1, r2: &narrow, swan: &elsewhere, step: 4,
			said: []string{"198.51.100.2 refused", site.String()}, line: "access-list 102 permit", write: "permit ip 10.20.20.0 0.0.0.255 10.10.10.0 0.0.0.255"},
		{name: "no mirror images", begins: lab.R2, r2: &wide, step: 4,
			said: []string{"198.51.100.2 wants to protect", "10.10.0.0/16", "access list 102"}, line: "access-list 102 permit", write: "permit ip 10.10.0.0 0.0.255.255 10.20.20.0 0.0.0.255"},
		{name: "no mirror images", begins: lab.R2, swan: &elsewhere, step: 4,
			said: []string{"198.51.100.2 wants to protect", "10.10.99.0/24", "access list 102"}, line: "access-list 102 permit", write: "permit ip 10.10.99.0 0.0.0.255 10.20.20.0 0.0.0.255"},
	}
}

// Explain names, within seconds, the step, what each side said and the line to
// change, whoever began and whoever is the peer.
func TestExplainTheClassicFaults(t *testing.T) {
	for _, f := range append(append(noAnswer(), phase1Faults()...), phase2Faults()...) {
		name := f.name + "/" + f.begins + " begins"
		if f.r2 == nil && f.swan == nil {
			t.Run(name, func(t *testing.T) { f.explain(t, false) })
		}
		if f.r2 != nil {
			t.Run(name+"/culvert", func(t *testing.T) { f.explain(t, false) })
		}
		if f.swan != nil {
			t.Run(name+"/strongSwan", func(t *testing.T) { f.explain(t, true) })
		}
	}
}

func (f fault) explain(t *testing.T, strongSwan bool) {
	b := newBench(t, time.Minute)
	if f.block != nil {
		if err := b.net.Block(lab.R2, *f.block); err != nil {
			t.Fatal(err)
		}
	}
	r1 := b.culvert(lab.R1, f.r1)
	switch {
	case strongSwan:
		r2 := b.strongSwan(*f.swan)
		if f.begins == lab.R2 {
			b.meanwhile(func(ctx context.Context) { _, _ = r2.Initiate(ctx) }) // it must fail
		}
	case f.r2 != nil:
		b.culvert(lab.R2, *f.r2)
	}
	from, to := lab.HostA, lab.HostB
	if f.begins == lab.R2 {
		from, to = to, from
	}
	if f.begins == lab.R1 || !strongSwan {
		b.startFlood(from, to, lab.PingOptions{Interval: 100 * time.Millisecond})
	}
	var r diagnose.Report
	b.untilWithin(10*time.Second, "explain names the fault", func() error {
		reports, status := b.explained(r1)
		if len(reports) != 1 {
			t.Fatalf("one tunnel, one report: %+v", reports)
		}
		r = reports[0]
		return f.check(b, r, status)
	})
	text, err := r1.Ask(b.ctx, "explain")
	if err == nil || !strings.Contains(text, fmt.Sprintf("\n  %d  %s", f.step, diagnose.Titles()[f.step-1])) || !strings.Contains(text, f.write) {
		t.Errorf("explain: %v\n%s", err, text)
	}
	t.Logf("\n%s", text)
}

// check compares a report with what the fault must bring.
func (f fault) check(b *bench, r diagnose.Report, status int) error {
	if r.Culprit != f.step || status != 1 || r.Status == "up" {
		return fmt.Errorf("step %d is to blame, exit status %d, %s, expected step %d and 1: %s", r.Culprit, status, r.Status, f.step, r.Sentence)
	}
	for _, w := range f.said {
		if !strings.Contains(r.Sentence, w) {
			return fmt.Errorf("the sentence does not say %q: %s", w, r.Sentence)
		}
	}
	written, at := false, f.line == ""
	for _, x := range r.Fixes {
		written = written || strings.Contains(strings.Join(x.Write, "\n"), f.write)
		at = at || x.File == b.configFile(lab.R1) && x.Line > 0 && strings.Contains(lineAt(f.r1.text(lab.R1), x.Line), f.line)
	}
	if !written || !at {
		return fmt.Errorf("a fix at the line %q, and one that writes %q: %+v", f.line, f.write, r.Fixes)
	}
	return nil
}

// lineAt is a line of a configuration, counted from 1.
func lineAt(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// meanwhile runs f beside the test and ends it with the test.
func (b *bench) meanwhile(f func(context.Context)) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
	})
}
