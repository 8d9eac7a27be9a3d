package interop

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// Aggressive mode with strongSwan, either side beginning: by address with the
// password of the peer's own lines, and by names that profiles recognise.
func TestAggressiveModeWithStrongSwan(t *testing.T) {
	for _, s := range []scenario{
		{
			name: "by address",
			r1:   router{Global: "crypto isakmp peer address 198.51.100.2\n set aggressive-mode password labsecret\n"},
			r2:   swan.Config{Aggressive: true},
		},
		{
			name: "by name",
			r1: router{
				Key: "notthisone", // of the keys outside keyrings
				Global: "crypto keyring RING\n pre-shared-key address 198.51.100.2 key labsecret\n" +
					"crypto isakmp profile PROF\n keyring RING\n self-identity fqdn r1.example.org\n" +
					" match identity host r2.example.org\n initiate mode aggressive\n",
				Entry: " set transform-set T1\n set isakmp-profile PROF",
			},
			r2: swan.Config{Aggressive: true, LocalID: "r2.example.org", RemoteID: "r1.example.org"},
		},
	} {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(s.name+"/"+begins+" begins", func(t *testing.T) {
				b := newBench(t, time.Minute)
				r1, r2 := b.culvert(lab.R1, s.r1), b.strongSwan(s.r2)
				if begins == lab.R2 {
					if out, err := r2.Initiate(b.ctx); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
				}
				b.ping(lab.HostA, lab.HostB)
				b.ping(lab.HostB, lab.HostA)
				sas := b.isakmp(r1)
				if len(sas) != 1 || sas[0].State != "QM_IDLE" {
					t.Errorf("%+v", sas)
				}
				if text := b.ask(r1, "show", "crypto", "exchange"); !strings.Contains(text, "AM3") || strings.Contains(text, "MM1") {
					t.Errorf("the exchange is not aggressive mode:\n%s", text)
				}
				b.up(r1)
			})
		}
	}
}

// A strongSwan that wants to log in with a user's name is refused, and explain
// says what it wants.
func TestStrongSwanWantsXAUTH(t *testing.T) {
	for name, aggressive := range map[string]bool{"main mode": false, "aggressive mode": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, time.Minute)
			r1 := b.culvert(lab.R1, router{Global: "crypto isakmp peer address 198.51.100.2\n set aggressive-mode password labsecret\n"})
			r2 := b.strongSwan(swan.Config{Aggressive: aggressive, ConnLines: "local-xauth { round = 2\n auth = xauth\n xauth_id = carol }"})
			out, err := r2.Initiate(b.ctx)
			if err == nil || !strings.Contains(out, "NO_PROP") {
				t.Errorf("strongSwan says %v\n%s", err, out)
			}
			reports, _ := b.explained(r1)
			if len(reports) != 1 || reports[0].Reason != event.NoXAUTH {
				t.Errorf("explain: %+v", reports)
			}
		})
	}
}

// Another key than strongSwan's is told as that, whoever begins.
func TestAggressiveModeWrongKey(t *testing.T) {
	for _, begins := range []string{lab.R1, lab.R2} {
		t.Run(begins+" begins", func(t *testing.T) {
			b := newBench(t, time.Minute)
			r1 := b.culvert(lab.R1, router{Global: "crypto isakmp peer address 198.51.100.2\n set aggressive-mode password another\n"})
			r2 := b.strongSwan(swan.Config{Aggressive: true})
			if begins == lab.R2 {
				if out, err := r2.Initiate(b.ctx); err == nil {
					t.Errorf("strongSwan is up:\n%s", out)
				}
			} else {
				b.run(lab.HostA, "ping", "-c", "1", "-W", "3", lab.Addr(lab.HostB, "eth0").String())
			}
			b.until("explain to say that the keys differ", func() error {
				reports, _ := b.explained(r1)
				if len(reports) == 1 && reports[0].Reason == event.WrongKey {
					return nil
				}
				return fmt.Errorf("%+v", reports)
			})
		})
	}
}

// ike-scan, which looks for gateways that give their hash away, gets one only
// where aggressive mode is configured for its address.
func TestIkeScanAggressive(t *testing.T) {
	if _, err := exec.LookPath("ike-scan"); err != nil {
		t.Skip("ike-scan is not installed")
	}
	for name, tt := range map[string]struct{ lines, want string }{
		"not configured": {"", "UNSUPPORTED-EXCHANGE-TYPE"},
		"configured":     {"crypto isakmp peer address 198.51.100.2\n set aggressive-mode password labsecret\n", "Aggressive Mode Handshake returned"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, time.Minute)
			b.culvert(lab.R1, router{Global: tt.lines})
			out, _ := b.run(lab.R2, "ike-scan", "--aggressive", "--id=198.51.100.2", "--idtype=2", "--trans=7/128,2,1,14", "--dhgroup=14", "--retry=1", "198.51.100.1")
			if !strings.Contains(out, tt.want) || strings.Contains(out, "Hash(") != (tt.lines != "") {
				t.Errorf("ike-scan says\n%s", out)
			}
		})
	}
}
