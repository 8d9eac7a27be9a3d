package scenario

import (
	"strings"
	"testing"

	"culvert/internal/conf/config"
	"culvert/internal/core/event"
)

// Every scenario has a name of its own, R1's end is a configuration that the
// gateway runs, and what both ends have in common is what must come of it.
func TestEveryScenarioCanBeConfigured(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range All() {
		if names[s.Name] {
			t.Errorf("two scenarios are called %s", s.Name)
		}
		names[s.Name] = true
		_, problems := config.Parse("r1.cfg", []byte(s.IOS()))
		for _, p := range problems {
			t.Errorf("%s: %v\n%s", s.Name, p, s.IOS())
		}
		_, _, common := s.Agreed()
		apart := s.Refused.Initiator == event.NoPolicy || s.Refused.Responder == event.ModeMismatch || s.Refused == Refusal{event.NoTransformSet, event.NoTransformSet}
		if common == apart {
			t.Errorf("%s: common suites: %v, expected: %+v", s.Name, common, s.Refused)
		}
		if text := s.IOS() + s.Swanctl() + s.IPsecConf() + s.IPsecSecrets(); strings.Contains(text, "%!") {
			t.Errorf("%s:\n%s", s.Name, text)
		}
	}
}

// The words of each end, for one scenario of every kind.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		name                   string
		ios, strongSwan, pluto []string
	}{
		{"the second of two policies and sets is the common one",
			[]string{"encryption aes 256\n hash sha512", "policy 20", "set transform-set T1 T2", "transform-set T2 esp-aes esp-sha256-hmac"},
			[]string{"proposals = aes192-sha1-modp3072,aes128-sha256-ecp256", "esp_proposals = aes256-sha512,aes128-sha256"},
			[]string{"ike=aes192-sha1;dh15,aes128-sha2_256;dh19", "phase2alg=aes256-sha2_512,aes128-sha2_256"}},
		{"TCP to port 8080 only",
			[]string{"permit tcp 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255 eq 8080"},
			[]string{"local_ts = 10.20.20.0/24[tcp/8080]", "remote_ts = 10.10.10.0/24[tcp]"},
			[]string{"leftprotoport=tcp/8080", "rightprotoport=tcp\n"}},
		{"PFS group20", []string{"set pfs group20"}, []string{"aes128-sha1-ecp384"}, []string{"pfs=yes", "aes128-sha1;dh20"}},
	} {
		s, ok := Find(c.name)
		if !ok {
			t.Fatalf("no scenario %s", c.name)
		}
		for text, wanted := range map[string][]string{s.IOS(): c.ios, s.Swanctl(): c.strongSwan, s.IPsecConf(): c.pluto} {
			for _, w := range wanted {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %q is missing in\n%s", c.name, w, text)
				}
			}
		}
	}
}
