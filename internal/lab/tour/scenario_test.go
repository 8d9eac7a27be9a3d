package tour

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/conf/config"
	"culvert/internal/lab"
	"culvert/internal/lab/guest"
	"culvert/internal/lab/swan"
)

// Every scenario changes what it says it changes, in a configuration that runs,
// and tells the difference.
func TestScenariosAreConfigurations(t *testing.T) {
	for _, name := range append(Scenarios(), "") {
		s, err := scenarioOf(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if s.credentials != nil {
			if err := s.credentials(dir); err != nil {
				t.Fatal(err)
			}
		}
		for router := range 2 {
			text, err := s.configuration(router)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c, problems := config.Parse(fmt.Sprintf("r%d.cfg", router+1), []byte(text))
			problems = append(problems, c.Load(func(name string) (config.File, error) {
				b, err := os.ReadFile(filepath.Join(dir, name))
				return config.File{Text: b}, err
			}, time.Now())...)
			for _, p := range problems {
				if p.Severity == config.Error {
					t.Errorf("%s: %s", name, p)
				}
			}
			if got := c.Settings(); len(got.Entries) != 1 {
				t.Errorf("%s: %d entries", name, len(got.Entries))
			}
			told := s.difference(router)
			for _, e := range s.edits[router] {
				if last := e.new[strings.LastIndex(strings.TrimSpace(e.new), "\n")+1:]; !strings.Contains(told, strings.TrimSpace(last)) {
					t.Errorf("%s: the difference does not tell %q:\n%s", name, last, told)
				}
			}
			if (told == "") != (len(s.edits[router]) == 0) {
				t.Errorf("%s: the difference is %q", name, told)
			}
		}
	}
	if _, err := scenarioOf("gre"); err == nil || !strings.Contains(err.Error(), "expected certificate, aggressive, ah, nat-t") {
		t.Errorf("an unknown scenario: %v", err)
	}
}

// An edit that finds nothing to change is no scenario.
func TestEditOfNothing(t *testing.T) {
	s := scenario{edits: [2][]edit{{{"no such line", "x"}}}}
	if _, err := s.configuration(0); err == nil || !strings.Contains(err.Error(), "no such line") {
		t.Errorf("%v", err)
	}
}

// Who can be at R2 in a scenario is known before anything is made.
func TestPeersOfScenarios(t *testing.T) {
	for _, c := range []struct{ scenario, peer, want string }{
		{"", Culvert, ""}, {"", StrongSwan, ""}, {AH, Kernel, ""}, {NATT, StrongSwan, ""},
		{"", "racoon", `peer "racoon": expected culvert, strongswan or kernel`},
		{AH, StrongSwan, `peer "strongswan": scenario ah can have culvert or kernel`},
		{Aggressive, Kernel, `peer "kernel": scenario aggressive can have culvert or strongswan`},
	} {
		err := Options{Scenario: c.scenario, Peer: c.peer}.Check()
		if got := fmt.Sprint(err); (err == nil) != (c.want == "") || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%s with %s: %v", c.scenario, c.peer, err)
		}
	}
}

// toured runs the tour and wants what it tells.
func toured(t *testing.T, scenario, peer string, wants ...string) {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	if peer != Culvert {
		if err := swan.Available(); err != nil {
			t.Skip(err)
		}
	}
	if peer == Kernel {
		if err := guest.Available(); err != nil {
			t.Skip(err)
		}
	}
	var out strings.Builder
	o := Options{Name: fmt.Sprintf("%s-%s-%d", scenario[:2], peer[:2], os.Getpid()), Binary: binary, Peer: peer, Scenario: scenario}
	if err := Run(t.Context(), o, &out, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, w := range append(wants, "✓ all five steps are ok and the tunnel is up", "5 packets transmitted, 5 received, 0% packet loss", "✓ 0 packets of the sites in clear", "Everything is as it should be.") {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is missing", w)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestAggressive(t *testing.T) {
	for _, peer := range []string{Culvert, StrongSwan} {
		t.Run(peer, func(t *testing.T) {
			toured(t, Aggressive, peer, "phase 1: aggressive mode", "── AM1 ─", "─ AM2 ──", "══ AM3 ═", "aggressive mode: the hash of the key went in clear",
				"  +  set aggressive-mode client-endpoint fqdn r1.example.net")
		})
	}
}

func TestCertificate(t *testing.T) {
	for _, peer := range []string{Culvert, StrongSwan} {
		t.Run(peer, func(t *testing.T) {
			toured(t, Certificate, peer, "shows the certificate of trustpoint LAB: CN=r1.example.net,O=lab,C=XX", "revocation of", "by crl: good",
				"✓ certificate of CN=r2.example.net,O=lab,C=XX, proved by trustpoint LAB", "ACTIVE aes  sha256 rsig 14")
		})
	}
}

func TestNATT(t *testing.T) {
	for _, peer := range []string{Culvert, StrongSwan} {
		t.Run(peer, func(t *testing.T) {
			toured(t, NATT, peer, "port 4500 from here on", "in use settings ={Tunnel UDP-Encaps, }",
				"✓ 10 ESP packets in UDP 4500 for 5 pings and their answers", "Beyond the NAT, captured at R2", "R1 198.51.100.1 ══ NAT 198.51.100.9 ══")
		})
	}
}

func TestAH(t *testing.T) {
	for _, peer := range []string{Culvert, Kernel} {
		t.Run(peer, func(t *testing.T) {
			toured(t, AH, peer, "AH: SPI in 0x", "transform: ah-sha256-hmac ,", "AH, protocol 51              10 (5 from A, 5 from B)", "✓ 10 AH packets for 5 pings and their answers")
		})
	}
}
