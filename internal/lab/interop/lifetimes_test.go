package interop

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// lifetimes is one pair of configured lifetimes and what must come of them.
type lifetimes struct {
	name   string
	begins string
	global string // Culvert's configuration
	policy string
	swan   swan.Config
	// What Culvert counts down from, in seconds and kB.
	ike, child int64
	kilobytes  uint64
}

// The shorter lifetime wins. What strongSwan proposes is a tenth longer than
// when it renews; as responder to a longer proposal it just ends earlier and
// renews before that, so then Culvert's own counts.
func TestTheShorterLifetimeWins(t *testing.T) {
	const hours = "crypto ipsec security-association lifetime seconds 28800"
	for _, l := range []lifetimes{
		{name: "the peer's is shorter", begins: lab.R2, global: hours, policy: " lifetime 86400\n",
			swan: swan.Config{IKELife: 1000 * time.Second, ChildLife: 600 * time.Second}, ike: 1100, child: 660, kilobytes: 4608000},
		{name: "ours is shorter", begins: lab.R2, global: "crypto ipsec security-association lifetime seconds 600\ncrypto ipsec security-association lifetime kilobytes 100000", policy: " lifetime 900\n",
			swan: swan.Config{IKELife: 4 * time.Hour, ChildLife: time.Hour}, ike: 900, child: 600, kilobytes: 100000},
		{name: "ours is shorter", begins: lab.R1, global: "crypto ipsec security-association lifetime seconds 600", policy: " lifetime 900\n",
			swan: swan.Config{IKELife: 4 * time.Hour, ChildLife: time.Hour}, ike: 900, child: 600, kilobytes: 4608000},
	} {
		t.Run(l.name+"/"+l.begins+" begins", l.run)
	}
}

func (l lifetimes) run(t *testing.T) {
	b := newBench(t, time.Minute)
	r1 := b.culvert(lab.R1, router{Policies: policyLines(10, "aes 128", "sha", 14) + l.policy, Global: l.global})
	r2 := b.strongSwan(l.swan)
	if l.begins == lab.R2 {
		if out, err := r2.Initiate(b.ctx); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b.ping(lab.HostA, lab.HostB)
	if k := b.isakmp(r1)[0]; k.Policy.Lifetime != l.ike || k.RemainingSeconds > l.ike || k.RemainingSeconds < l.ike-30 {
		t.Errorf("ISAKMP SA: lifetime %d, %d left, expected %d", k.Policy.Lifetime, k.RemainingSeconds, l.ike)
	}
	p := b.flows(r1)[0].Pairs[0]
	if p.Lifetime.Seconds != l.child || p.RemainingSeconds > l.child || p.RemainingSeconds < l.child-30 {
		t.Errorf("IPsec SA: lifetime %d, %d left, expected %d", p.Lifetime.Seconds, p.RemainingSeconds, l.child)
	}
	if p.Lifetime.Kilobytes == nil || *p.Lifetime.Kilobytes != l.kilobytes || p.RemainingKilobytes == nil || *p.RemainingKilobytes > l.kilobytes || *p.RemainingKilobytes < l.kilobytes-2 {
		t.Errorf("IPsec SA: %+v, expected %d kB", p, l.kilobytes)
	}
	if text := b.ask(r1, "show", "crypto", "ipsec", "sa"); !strings.Contains(text, "sa timing: remaining key lifetime (k/sec): (") {
		t.Errorf("show crypto ipsec sa:\n%s", text)
	}
}
