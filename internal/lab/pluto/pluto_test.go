package pluto

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/guest"
	"culvert/internal/lab/scenario"
	"culvert/internal/lab/swan"
)

// libreswan in a guest and strongSwan in r1's namespace: what this package can
// do is shown without Culvert.
func TestLibreswanAgainstStrongSwan(t *testing.T) {
	for _, missing := range []error{Available(), swan.Available()} {
		if missing != nil {
			t.Skip(missing)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n, err := lab.Up(lab.Options{Name: fmt.Sprintf("pluto-%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	g, err := guest.Start(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	p, err := Start(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("libreswan says:\n%s", p.Log())
		}
	})
	s := scenario.All()[0]
	if err := p.Load(ctx, s.IPsecConf(), s.IPsecSecrets(), s.Children()); err != nil {
		t.Fatal(err)
	}
	if _, err := swan.Start(n, lab.R1, swan.Config{PSK: "Tunnel-of-two-sites"}); err != nil {
		t.Fatal(err)
	}
	out, err := p.Initiate(ctx, "net1")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	if r, err := n.Ping(ctx, lab.HostA, lab.HostB, 3); err != nil || r.Received != 3 {
		t.Errorf("ping: %v\n%s", err, r.Output)
	}
	states, err := g.States(ctx)
	if err != nil || len(states) != 2 || states[0].Cipher != "cbc(aes)" || states[0].KeyBits != 128 || states[0].Integrity != "hmac(sha1)" || states[0].ICVBits != 96 ||
		states[0].Mode != "tunnel" || !states[0].Encap || states[0].Packets != 3 || states[1].Packets != 3 {
		t.Errorf("SAs in the kernel: %+v, %v", states, err)
	}
	if err := p.Terminate(ctx, "net1"); err != nil {
		t.Error(err)
	}
	if states, err := g.States(ctx); err != nil || len(states) != 0 {
		t.Errorf("terminated, but: %+v, %v", states, err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}
