package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"culvert/internal/conf/config"
)

// wish is what both sides were meant to have.
type wish struct{ encryption, hash, group, set, mode, pfs, proto string }

func drawnWish(t *rapid.T) wish {
	pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	return wish{
		pick("encryption", "aes", "aes 256", "3des"), pick("hash", "sha256", "sha", "md5"), pick("group", "19", "14", "2"),
		pick("set", "esp-gcm", "esp-aes esp-sha256-hmac", "esp-3des esp-md5-hmac", "ah-sha256-hmac", "ah-sha256-hmac esp-aes", "esp-null esp-sha-hmac"),
		pick("mode", "", "", "\n esn", "\n mode transport"), pick("pfs", "", "group19", "group2"), pick("proto", "ip", "tcp"),
	}
}

// drawn is one side of a random pair: valid, and now and then not as it was meant.
func drawn(t *rapid.T, side int, w wish) string {
	local, peer := "198.51.100.1", "198.51.100.2"
	here, far := "10.10.10.0", "10.20.20.0"
	if side == 1 {
		local, peer, here, far = peer, local, far, here
	}
	slip := func(name string) bool { return rapid.IntRange(0, 24).Draw(t, name) == 24 }
	or := func(meant string, others ...string) string {
		if !slip("slip") {
			return meant
		}
		return rapid.SampledFrom(others).Draw(t, "instead")
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("hostname R%d", side+1)
	if !slip("shield") {
		say("crypto engine compliance shield disable")
	}
	for i := range rapid.IntRange(1, 2).Draw(t, "policies") {
		say("crypto isakmp policy %d\n encryption %s\n hash %s\n group %s", 10*(i+1),
			or(w.encryption, "aes", "aes 256", "3des"), or(w.hash, "sha256", "sha", "md5"), or(w.group, "19", "14", "2"))
		if !slip("authentication") {
			say(" authentication pre-share")
		}
		say(" lifetime %s", or("86400", "3600"))
	}
	if !slip("key") {
		say("crypto isakmp key %s address %s", or("one", "two"), or(peer, "0.0.0.0", "192.0.2.9"))
	}
	sets := rapid.IntRange(1, 2).Draw(t, "sets")
	for i := range sets {
		say("crypto ipsec transform-set T%d %s%s", i, or(w.set, "esp-gcm", "esp-aes esp-sha256-hmac", "esp-aes 256 esp-sha-hmac", "esp-3des esp-md5-hmac", "ah-sha-hmac"),
			or(w.mode, "", "\n esn", "\n mode transport", "\n mode transport require"))
	}
	for _, extra := range []string{
		"crypto isakmp identity hostname", "crypto isakmp aggressive-mode disable", "crypto ipsec security-association replay disable",
		"crypto isakmp peer address " + peer + "\n set aggressive-mode password one",
		"crypto isakmp profile P\n match identity address " + peer + "\ncrypto map M 10 ipsec-isakmp\n set isakmp-profile P",
		"crypto isakmp profile P\n match identity host elsewhere\ncrypto map M 10 ipsec-isakmp\n set isakmp-profile P",
		"crypto map M 10 ipsec-isakmp\n set security-association level per-host", "crypto map M 10 ipsec-isakmp\n responder-only",
	} {
		if slip("extra") {
			say("%s", extra)
		}
	}
	say("crypto map M 10 ipsec-isakmp\n set peer %s\n set transform-set%s", or(peer, "192.0.2.9"), []string{"", " T0", " T0 T1"}[sets])
	if pfs := or(w.pfs, "", "group19", "group14", "group2"); pfs != "" {
		say(" set pfs %s", pfs)
	}
	say(" match address 102\ninterface GigabitEthernet0/1\n ip address %s 255.255.255.0", local)
	acl := or("", "permit ip host "+peer+" any", "permit udp host "+peer+" any eq 500", "deny ip any any")
	if acl != "" {
		say(" ip access-group 101 in")
	}
	if !slip("applied") {
		say(" crypto map M")
	}
	if acl != "" {
		say("access-list 101 %s", acl)
	}
	for range 1 + rapid.IntRange(0, 5).Draw(t, "lines")/5 {
		say("access-list 102 permit %s %s %s %s 0.0.0.255", or(w.proto, "ip", "tcp", "udp"), or(here, "10.30.30.0"), or("0.0.0.255", "0.0.0.127"), or(far, "10.30.30.0"))
	}
	return b.String()
}

// TestCheckAndSimulateAgree: over random pairs of valid configurations check
// and simulate never disagree, nothing panics, a tunnel that is up has no
// culprit, and one that is down has one, told with what there is to do.
func TestCheckAndSimulateAgree(t *testing.T) {
	dir := t.TempDir()
	up, down := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		files := [2]string{filepath.Join(dir, "r1.cfg"), filepath.Join(dir, "r2.cfg")}
		var texts [2]string
		meant := drawnWish(t)
		for i := range files {
			texts[i] = drawn(t, i, meant)
			if err := os.WriteFile(files[i], []byte(texts[i]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, problems := config.Parse(files[i], []byte(texts[i])); hasError(problems) {
				t.Skip("not valid")
			}
		}
		code, stdout, stderr := culvert("simulate", "--json", files[0], files[1])
		var s simulationJSON
		if err := json.Unmarshal([]byte(stdout), &s); err != nil {
			t.Fatalf("simulate: exit %d, %v: %s", code, err, stderr)
		}
		if s.Up != (code == exitDone) {
			t.Errorf("simulate says up %t, exit %d", s.Up, code)
		}
		_, stdout, _ = culvert("check", "--json", files[0], files[1])
		var c checked
		if err := json.Unmarshal([]byte(stdout), &c); err != nil || c.Fits == nil {
			t.Fatalf("check: %v: %s", err, stdout)
		}
		if *c.Fits != s.Up {
			t.Errorf("check says fits %t, simulate says up %t\n%s\n%s", *c.Fits, s.Up, texts[0], texts[1])
		}
		if s.Up {
			up++
		} else {
			down++
		}
		explained(t, s, texts)
	})
	t.Logf("%d pairs up, %d down", up, down)
	if up == 0 || down == 0 {
		t.Errorf("the pairs prove nothing: %d up, %d down", up, down)
	}
}

func hasError(problems []config.Problem) bool {
	for _, p := range problems {
		if p.Severity == config.Error {
			return true
		}
	}
	return false
}

func explained(t *rapid.T, s simulationJSON, texts [2]string) {
	culprits := 0
	for _, round := range s.Rounds {
		for _, x := range round.Explain {
			if x.Culprit == 0 {
				continue
			}
			culprits++
			if round.Up {
				t.Errorf("%s began and all is up, but %s blames step %d: %s\n%s\n%s", round.Initiator, x.Hostname, x.Culprit, x.Sentence, texts[0], texts[1])
			}
			if x.Sentence == "" || len(x.Fixes) == 0 {
				t.Errorf("%s blames step %d without a way out: %q", x.Hostname, x.Culprit, x.Sentence)
			}
		}
		if !round.Up && len(round.Explain) == 0 {
			t.Errorf("%s began, it is down and nobody says a word", round.Initiator)
		}
	}
	if !s.Up && culprits == 0 {
		t.Errorf("it is down and nobody is to blame: %s\n%s\n%s", said(s), texts[0], texts[1])
	}
}

// TestSimulateIsDeterministic: a CI job must not blink.
func TestSimulateIsDeterministic(t *testing.T) {
	files := write(t, t.TempDir(), sites())
	_, first, _ := culvert("simulate", files[0], files[1])
	for range 3 {
		if _, again, _ := culvert("simulate", files[0], files[1]); again != first {
			t.Fatal("another run prints another exchange")
		}
	}
	if first == "" {
		t.Error("nothing was printed")
	}
}
