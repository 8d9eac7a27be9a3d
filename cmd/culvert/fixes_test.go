package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"culvert/internal/core/diagnose"
)

// mistake is one mistake in one of two configurations that fit: old becomes new.
type mistake struct {
	name     string
	old, new string
	step     int    // the step to blame
	change   string // the line to change as it stands there, or a part of it; "" for a line that is missing
	// meanwhile is what the other side has to have, for the mistake to be one.
	meanwhile [2]string
	// alone: neither side can learn what the other wants, and still the way out is the same.
	alone bool
}

func mistakes() []mistake {
	none := [2]string{}
	const aggressive = theKey + " address PEER\ncrypto isakmp peer address PEER\n set aggressive-mode client-endpoint ipv4-address LOCAL\n"
	const acl500 = "access-list 101 permit udp host PEER host LOCAL eq isakmp\n"
	const line102 = "access-list 102 permit ip HERENET 0.0.0.255 FARNET 0.0.0.255"
	return []mistake{
		{"interface ACL without ISAKMP", acl500, "", 1, "", none, false},
		{"interface ACL without ESP", "access-list 101 permit esp host PEER host LOCAL\n", "", 1, "", none, false},
		{"interface ACL denies ISAKMP", acl500, "access-list 101 deny udp any any\n" + acl500, 1, "deny udp any any", none, false},
		{"interface ACL with a name and numbers", " ip access-group 101 in", " ip access-group OUTSIDE in\nip access-list extended OUTSIDE\n 10 permit esp any any\n 20 deny ip any any\ninterface GigabitEthernet0/1", 1, "20 deny ip any any", none, false},
		{"interface ACL with a name", " ip access-group 101 in", " ip access-group OUTSIDE in\nip access-list extended OUTSIDE\n remark nothing\n deny ip any any log\ninterface GigabitEthernet0/1", 1, "deny ip any any log", none, false},
		{"standard interface ACL", " ip access-group 101 in", " ip access-group 10 in\naccess-list 10 permit 192.0.2.0 0.0.0.255\ninterface GigabitEthernet0/1", 1, "", none, false},
		{"encryption", "encryption aes 256", "encryption aes 192", 2, "encryption aes", none, false},
		{"hash", "hash sha256", "hash sha512", 2, "hash sha", none, false},
		{"group", "group 19", "group 14", 2, "group 1", none, false},
		{"all three", "encryption aes 256\n hash sha256", "encryption aes 128\n hash sha512", 2, "encryption aes", none, false},
		{"hash left out, SHA-1 by default", " hash sha256\n", "", 2, "", none, false},
		{"authentication left out, signatures by default", " authentication pre-share\n", "", 2, "", none, false},
		{"no policy", "crypto isakmp policy 10\n encryption aes 256\n hash sha256\n authentication pre-share\n group 19\n", "", 2, "", none, false},
		{"no key", "crypto isakmp key " + theKey + " address PEER\n", "", 2, "", none, false},
		{"key for another peer", theKey + " address PEER", theKey + " address 192.0.2.77", 2, "", none, false},
		{"another transform set", "esp-aes 256 esp-sha256-hmac", "esp-aes esp-sha-hmac", 3, "crypto ipsec transform-set STRONG", none, false},
		{"GCM against CBC", "esp-aes 256 esp-sha256-hmac", "esp-gcm 256", 3, "crypto ipsec transform-set STRONG", none, false},
		{"crypto ACL of another site", line102, "access-list 102 permit ip HERENET 0.0.0.255 10.99.0.0 0.0.0.255", 4, "access-list 102 permit ip", none, false},
		{"crypto ACL wider", line102, "access-list 102 permit ip 10.0.0.0 0.0.255.255 FARNET 0.0.0.255", 4, "access-list 102 permit ip", none, false},
		{"crypto ACL narrower", line102, "access-list 102 permit ip HERENET 0.0.0.127 FARNET 0.0.0.255", 4, "access-list 102 permit ip", none, false},
		{"crypto ACL with a protocol", line102, "access-list 102 permit tcp HERENET 0.0.0.255 FARNET 0.0.0.255", 4, "access-list 102 permit", none, false},
		{"crypto ACL with a port", line102, "access-list 102 permit tcp HERENET 0.0.0.255 FARNET 0.0.0.255 eq 443", 4, "access-list 102 permit", none, false},
		{"crypto ACL with a range of ports", line102, "access-list 102 permit udp HERENET 0.0.0.255 range 1000 2000 FARNET 0.0.0.255 gt 1023", 4, "access-list 102 permit", none, false},
		{"crypto ACL with a second line", line102, line102 + "\naccess-list 102 permit ip 172.16.0.0 0.0.255.255 FARNET 0.0.0.255", 4, "", none, false},
		{"crypto ACL with a name", " match address 102", " match address SITES\nip access-list extended SITES\n 10 permit ip host 10.1.1.1 FARNET 0.0.0.255\n", 4, "10 permit ip host 10.1.1.1", none, false},
		{"PFS on one side", " set transform-set STRONG", " set transform-set STRONG\n set pfs group19", 5, "set pfs group19", none, false},
		{"PFS with another group", " set transform-set STRONG", " set transform-set STRONG\n set pfs group20", 5, "set pfs group",
			[2]string{" set transform-set STRONG", " set transform-set STRONG\n set pfs group14"}, false},
		{"another peer", " set peer PEER", " set peer 198.51.100.77", 5, "set peer 198.51.100.77", none, false},
		{"crypto map not applied", " crypto map CMAP\nip route", "ip route", 5, "interface GigabitEthernet0/1", none, false},
		{"AH against ESP", "esp-aes 256 esp-sha256-hmac", "ah-sha256-hmac", 3, "crypto ipsec transform-set STRONG", none, false},
		{"AH around ESP against ESP", "esp-aes 256 esp-sha256-hmac", "ah-sha256-hmac esp-aes 256 esp-sha256-hmac", 3, "crypto ipsec transform-set STRONG", none, false},
		{"extended sequence numbers on one side", " mode tunnel", " mode tunnel\n esn", 3, "", none, false},
		{"transport mode required", " mode tunnel", " mode transport require", 3, "mode transport require", none, false},
		{"PFS with a curve on one side", " set transform-set STRONG", " set transform-set STRONG\n set pfs group31", 5, "set pfs group31", none, false},
		{"legacy PFS offered", " set transform-set STRONG", " set transform-set STRONG\n set pfs group2\n match address 102\ncrypto engine compliance shield disable\ncrypto map CMAP 10 ipsec-isakmp", 5, "set pfs group2", none, false},
		{"responder-only on both sides", " set transform-set STRONG", " set transform-set STRONG\n responder-only", 5, "responder-only", [2]string{" set transform-set STRONG", " set transform-set STRONG\n responder-only"}, false},
		{"aggressive mode without leave", theKey + " address PEER\n", theKey + " address PEER\n!\n", 2, "", [2]string{theKey + " address PEER\n", aggressive}, false},
		{"aggressive mode forbidden", theKey + " address PEER\n", aggressive + "crypto isakmp aggressive-mode disable\n", 2, "crypto isakmp aggressive-mode disable", [2]string{theKey + " address PEER\n", aggressive}, false},
		{"profile for another name", " match address 102", " match address 102\n set isakmp-profile P\ncrypto isakmp profile P\n keyring default\n match identity host other.example.net", 2, "", none, false},
		{"keyring without the key", " match address 102", " match address 102\n set isakmp-profile P\ncrypto keyring RING\n pre-shared-key address 192.0.2.77 key " + theKey + "\ncrypto isakmp profile P\n keyring RING\n match identity address PEER", 2, "", none, false},
		{"legacy policy", "group 19", "group 5", 2, "", [2]string{"group 19", "group 5"}, true},
		{"legacy policy offered", "group 19", "group 5\ncrypto engine compliance shield disable", 2, "", [2]string{"group 19", "group 5"}, false},
		{"legacy transform set", "esp-aes 256 esp-sha256-hmac", "esp-3des esp-md5-hmac", 3, "", [2]string{"esp-aes 256 esp-sha256-hmac", "esp-3des esp-md5-hmac"}, true},
		{"legacy against good", "encryption aes 256", "encryption 3des\ncrypto engine compliance shield disable\ncrypto isakmp policy 10", 2, "", none, false},
		{"legacy transform set against good", "esp-aes 256 esp-sha256-hmac\n mode tunnel", "esp-3des esp-sha-hmac\ncrypto engine compliance shield disable", 3, "", none, false},
	}
}

// TestTheFixMends is what "the line to change" means: for every mistake, on
// either side, the very file, line and words that the explanation prints make
// the tunnel come up, whoever begins.
func TestTheFixMends(t *testing.T) {
	for _, m := range mistakes() {
		for side := range 2 {
			t.Run(fmt.Sprintf("%s/R%d", m.name, side+1), func(t *testing.T) {
				texts := sites()
				texts[side] = edit(t, side, texts[side], m.old, m.new)
				if m.meanwhile[0] != "" {
					texts[1-side] = edit(t, 1-side, texts[1-side], m.meanwhile[0], m.meanwhile[1])
				}
				mends(t, m, texts)
			})
		}
	}
}

func mends(t *testing.T, m mistake, texts [2]string) {
	dir := t.TempDir()
	r := simulate(t, dir, texts)
	if r.Up {
		t.Fatal("it comes up: no mistake")
	}
	tried := 0
	changed := m.change == ""
	for _, x := range culprits(r, m.alone) {
		if x.Culprit != m.step {
			t.Errorf("%s blames step %d, want %d: %s", x.Hostname, x.Culprit, m.step, x.Sentence)
		}
		for _, fixes := range ways(x) {
			tried++
			for _, f := range fixes {
				changed = changed || strings.Contains(f.Old, m.change) && f.Where() != ""
			}
			mended := apply(t, texts, fixes)
			// Legacy algorithms need the same decision on both sides.
			if next := simulate(t, t.TempDir(), mended); !next.Up && strings.HasPrefix(m.name, "legacy") {
				mended = again(t, mended, next, fixes[0])
			}
			if again := simulate(t, t.TempDir(), mended); !again.Up {
				t.Errorf("%s: %s\nafter %+v it still does not come up: %s\n%s\n%s", x.Hostname, x.Sentence, fixes, said(again), mended[0], mended[1])
			}
		}
	}
	if tried == 0 {
		t.Errorf("no fix names a line: %s", said(r))
	}
	if !changed {
		t.Errorf("no fix changes %q: %s", m.change, said(r))
	}
}

// again asks the other side for the same way out.
func again(t *testing.T, texts [2]string, r simulationJSON, as diagnose.Fix) [2]string {
	t.Helper()
	for _, x := range culprits(r, true) {
		for _, fixes := range ways(x) {
			if x.Hostname != as.Side && fixes[0].Choice == as.Choice {
				return apply(t, texts, fixes)
			}
		}
	}
	return texts
}

// culprits are the reports that know what both sides want; with alone also those that do not.
func culprits(r simulationJSON, alone bool) (out []diagnose.Report) {
	for _, round := range r.Rounds {
		for _, x := range round.Explain {
			if x.Culprit != 0 && (x.Both || alone) {
				out = append(out, x)
			}
		}
	}
	return out
}

// ways are the ways out that can be gone here: every choice whose lines are on
// the side that reports, and that need no files beside them, as a trustpoint does.
func ways(x diagnose.Report) (out [][]diagnose.Fix) {
	for n := 1; ; n++ {
		var way []diagnose.Fix
		foreign := false
		for _, f := range x.Fixes {
			if f.Choice == n {
				way, foreign = append(way, f), foreign || f.Side != x.Hostname || strings.Contains(strings.Join(f.Write, "\n"), "file PEM")
			}
		}
		if way == nil {
			return out
		}
		if !foreign {
			out = append(out, way)
		}
	}
}

// keyPlace is where a fix leaves the key to be written.
var keyPlace = regexp.MustCompile(`\bkey KEY\b`)

// apply edits the texts as the fixes say. KEY stands for the key that both share.
func apply(t *testing.T, texts [2]string, fixes []diagnose.Fix) [2]string {
	t.Helper()
	side := strings.TrimPrefix(fixes[0].Side, "R")
	i := int(side[0] - '1')
	lines := strings.Split(texts[i], "\n")
	type piece struct{ before, instead, after []string }
	pieces := make([]piece, len(lines))
	var end []string
	for _, f := range fixes {
		write := strings.Split(keyPlace.ReplaceAllString(strings.Join(f.Write, "\n"), "key "+theKey), "\n")
		if f.Line == 0 {
			end = append(end, write...)
			continue
		}
		if got := strings.TrimSpace(lines[f.Line-1]); got != f.Old || !strings.HasSuffix(f.File, fmt.Sprintf("r%s.cfg", side)) {
			t.Errorf("%s is %q, and the fix says %q", f.Where(), got, f.Old)
		}
		p := &pieces[f.Line-1]
		switch {
		case !f.Add:
			p.instead = write
		case f.Before:
			p.before = append(p.before, write...)
		default:
			p.after = append(p.after, write...)
		}
	}
	var out []string
	for n, l := range lines {
		p := &pieces[n]
		if p.instead == nil {
			p.instead = []string{l}
		}
		if l == "end" {
			out = append(out, end...)
		}
		out = append(append(append(out, p.before...), p.instead...), p.after...)
	}
	texts[i] = strings.Join(out, "\n")
	return texts
}

func said(r simulationJSON) string {
	var b strings.Builder
	for _, round := range r.Rounds {
		fmt.Fprintf(&b, "\n%s begins:", round.Initiator)
		for _, f := range round.Flows {
			fmt.Fprintf(&b, " [%s up=%t %s]", f.Line, f.Up, f.Reason)
		}
		for _, x := range round.Explain {
			fmt.Fprintf(&b, "\n  %s %s step %d, knows both: %t,: %s", x.Hostname, x.Status, x.Culprit, x.Both, x.Sentence)
		}
	}
	return b.String()
}
