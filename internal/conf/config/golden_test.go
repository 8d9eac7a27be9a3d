package config

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"culvert/internal/conf/ios"
	"culvert/internal/core/crypt"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cut is what separates the parts of a golden file.
const cut = "\n----\n"

// Each file in testdata/config is a configuration, its running-config, and
// what Culvert understood: the model, the engine's settings and the problems.
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files in testdata/config", err)
	}
	tree := grammar()
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			input, _ := parts(t, file)
			c, problems := parse("r1.cfg", []byte(input), tree)
			problems = append(problems, c.Load(readTestFile, today)...)
			golden(t, file, input, c.Running(), model(c)+lines(problems))
			roundTrip(t, tree, c, problems)
		})
	}
}

// Each file in testdata/errors is a list of faulty configurations, with what
// the operator is told.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files in testdata/errors", err)
	}
	tree := grammar()
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, block := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n====\n") {
				input, _, _ := strings.Cut(block, cut)
				c, problems := parse("r1.cfg", []byte(input), tree)
				out = append(out, input+cut+strings.TrimSuffix(lines(problems), "\n"))
				roundTrip(t, tree, c, problems)
			}
			compare(t, file, string(b), strings.Join(out, "\n====\n")+"\n")
		})
	}
}

// parts reads a golden file: its input and the rest.
func parts(t *testing.T, file string) (input, rest string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, rest, _ = strings.Cut(string(b), cut)
	return input, rest
}

func golden(t *testing.T, file, input string, outputs ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := input
	for _, o := range outputs {
		want += cut + strings.TrimSuffix(o, "\n")
	}
	compare(t, file, string(b), want+"\n")
}

func compare(t *testing.T, file, old, now string) {
	t.Helper()
	if old == now {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s (-golden +now; -update writes it):\n%s", file, cmp.Diff(old, now))
}

// roundTrip holds what Running promises: the printed configuration is the
// same one. A configuration with errors only has to print.
func roundTrip(t *testing.T, tree *ios.Tree, c *Config, problems []Problem) {
	t.Helper()
	text := c.Running()
	for _, p := range problems {
		if p.Severity == Error && p.Step == 0 {
			return
		}
	}
	again, more := parse(c.File, []byte(text), tree)
	for _, p := range more {
		if p.Severity == Error && p.Step == 0 {
			t.Errorf("the running-config has an error: %s\n%s", p, text)
			return
		}
	}
	if d := cmp.Diff(c, again, sameButOrigins()...); d != "" {
		t.Errorf("the running-config is another configuration (-first +again):\n%s\n%s", d, text)
	}
}

func sameButOrigins() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b origin.Line) bool { return true }),
		cmp.Comparer(func(a, b crypt.Secret) bool { return a.Equal(b) }),
		// Private keys are not printed, so they are not read back.
		cmpopts.IgnoreFields(Config{}, "KeyImports"), cmpopts.IgnoreUnexported(Config{}, Trustpoint{}), cmpopts.EquateEmpty(),
		cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}),
	}
}

func lines(problems []Problem) string {
	s := ""
	for _, p := range problems {
		s += p.String() + "\n"
	}
	return s
}

// model is what was understood, defaults included, each with its line.
func model(c *Config) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, f := range c.Interfaces {
		p("interface %s (%d): address %s %v, in %q, out %q, crypto map %q, shutdown %v, description %q",
			f.Name, f.Origin.Line, f.Address, f.Secondary, f.AccessGroupIn, f.AccessGroupOut, f.CryptoMap, f.Shutdown, f.Description)
	}
	p("isakmp: enabled %v, keepalive %d/%d, periodic %v, nat keepalive %d, identity %s", c.ISAKMPEnabled,
		c.ISAKMP.Keepalive, c.ISAKMP.Retry, c.ISAKMP.Periodic, c.ISAKMP.NATKeepalive, c.ISAKMP.Identity)
	for _, t := range c.TransformSets {
		p("transform set %s (%d): %s, %s", t.Name, t.Origin.Line, t.Words(), t.Mode)
		if t.Require || t.ESN {
			p("  require %v (%d), esn %v (%d)", t.Require, t.ModeOrigin.Line, t.ESN, t.ESNOrigin.Line)
		}
	}
	for _, l := range c.AccessLists {
		p("access list %s (%d), extended %v:", l.Name, l.Origin.Line, l.Extended)
		for _, line := range l.Lines {
			p("  %d (%d) %s", line.Seq, line.Origin.Line, line.Text)
		}
	}
	for _, r := range c.Routes {
		p("route (%d): %s", r.Origin.Line, r)
	}
	p("ignored: %d", len(c.Ignored))
	s := c.Settings()
	p("settings of %q: legacy %v, replay window %d", s.Hostname, s.Legacy, s.ReplayWindow)
	for _, q := range s.Policies {
		p("  policy %d (%d): %s, %s; lines %d %d %d %d %d", q.Priority, q.Origin.Line, q, q.Lifetime,
			q.CipherOrigin.Line, q.HashOrigin.Line, q.AuthOrigin.Line, q.GroupOrigin.Line, q.LifetimeOrigin.Line)
	}
	for _, k := range s.Keys {
		p("  key for %s%s (%d): %s: %s", k.Peers, k.Host, k.Origin.Line, k.Secret, k.Origin.Text)
	}
	b.WriteString(identities(&s))
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Dynamic {
			p("  dynamic %s %d: %s %d (%d) on %s: %s, %v (%d)", e.DynamicMap, e.DynamicSeq, e.Map, e.Seq, e.Origin.Line, e.Interface, e.Local, e.Sets, e.SetOrigin.Line)
			b.WriteString(associations(e))
			continue
		}
		p("  entry %s %d (%d) on %s: %s -> %v (%d), %v (%d), pfs %s (%d), %s/%d (%d), access list %s (%d)", e.Map, e.Seq, e.Origin.Line, e.Interface, e.Local,
			e.Peers, e.PeerOrigin.Line, e.Sets, e.SetOrigin.Line, e.PFS, e.PFSOrigin.Line, e.Lifetime.Time, e.Lifetime.Kilobytes, e.LifetimeOrigin.Line,
			e.ACL.Name, e.ACLOrigin.Line)
		if e.Profile != nil {
			p("    profile %s (%d)", e.Profile.Name, e.ProfileOrigin.Line)
		}
		b.WriteString(associations(e))
		for _, f := range e.Flows() {
			p("    flow %s: %s", f.ID, f.Selectors)
		}
	}
	return b.String()
}

// identities is who is who in phase 1, as the engine is told.
func identities(s *policy.Settings) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	self := func(s policy.SelfIdentity) string { return fmt.Sprintf("%s %q (%d)", s.Kind, s.Value, s.Origin.Line) }
	alive := func(k policy.Keepalive) string {
		return fmt.Sprintf("keepalive %s/%s periodic %v (%d)", k.Every, k.Retry, k.Periodic, k.Origin.Line)
	}
	if s.Domain != "" || s.Identity.Kind != policy.IdentityAddress || s.Keepalive.Every != 0 || s.Fragmentation || s.InvalidSPIRecovery || s.AggressiveDisabled {
		p("  domain %q, identity %s, %s, fragmentation %v, invalid SPI recovery %v, aggressive mode disabled %v (%d)", s.Domain, self(s.Identity), alive(s.Keepalive),
			s.Fragmentation, s.InvalidSPIRecovery, s.AggressiveDisabled, s.AggressiveDisabledOrigin.Line)
	}
	for _, r := range s.Keyrings {
		p("  keyring %s (%d) at %s", r.Name, r.Origin.Line, r.Local)
		for _, k := range r.Keys {
			p("    key for %s%s (%d): %s: %s", k.Peers, k.Host, k.Origin.Line, k.Secret, k.Origin.Text)
		}
	}
	for _, a := range s.Aggressive {
		p("  aggressive with %s%s (%d): self %v %s, %s", a.Addr, a.Host, a.Origin.Line, a.HasSelf, self(a.Self), a.Secret)
	}
	for _, t := range s.Trustpoints {
		p("  trustpoint %s (%d): %d CAs, %d certificates, %s, %d CRLs, revocation %v (%d), ocsp %q", t.Name, t.Origin.Line, len(t.CAs), len(t.Chain), t.Key, len(t.CRLs),
			t.Revocation, t.RevocationOrigin.Line, t.OCSP)
		for _, m := range t.Match {
			p("    match %s", certificateMap(m))
		}
	}
	for _, f := range s.Profiles {
		p("  profile %s (%d): keyrings %v, self %v %s, trustpoints %v, local %s, aggressive %v, %s", f.Name, f.Origin.Line, f.Keyrings, f.HasSelf, self(f.Self),
			f.Trustpoints, f.Local, f.Aggressive, alive(f.Keepalive))
		for _, m := range f.Match {
			p("    match (%d) %s %s %q domain %v %s", m.Origin.Line, m.Kind, m.Prefix, m.Value, m.Domain, certificateMap(m.Certificate))
		}
	}
	return b.String()
}

func certificateMap(m *policy.CertificateMap) string {
	if m == nil {
		return ""
	}
	s := "certificate map " + m.Name + ":"
	for _, e := range m.Entries {
		s += fmt.Sprintf(" %d (%d) %v", e.Seq, e.Origin.Line, e.Rules)
	}
	return s
}

// associations is what an entry says of its SAs, where it differs from nothing said.
func associations(e *policy.Entry) string {
	if !e.PerHost && !e.ResponderOnly && e.IdleTime == 0 && e.ReplayWindow == policy.DefaultReplayWindow && !e.DefaultPeer && len(e.Identity) == 0 {
		return ""
	}
	s := fmt.Sprintf("    per host %v, responder only %v (%d), idle %s, replay window %d, default peer %v\n",
		e.PerHost, e.ResponderOnly, e.ResponderOrigin.Line, e.IdleTime, e.ReplayWindow, e.DefaultPeer)
	for _, m := range e.Identity {
		s += fmt.Sprintf("    peer is (%d, %d) %s %q\n", e.IdentityOrigin.Line, m.Origin.Line, m.Kind, m.Value)
	}
	return s
}
