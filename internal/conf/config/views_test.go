package config

import (
	"strings"
	"testing"
)

// show running-config ends up in tickets and mails: no secret of any command is in it.
func TestRunningHiddenShowsNoSecret(t *testing.T) {
	const secret = "Hush-hush"
	text := strings.ReplaceAll(`hostname R1
enable secret 5 SECRET
username admin privilege 15 password 7 SECRET
snmp-server community SECRET RO
crypto isakmp key SECRET address 198.51.100.2
crypto keyring K
 pre-shared-key address 198.51.100.3 key SECRET
crypto pki trustpoint T
 password 7 SECRET
crypto isakmp peer hostname r3
 set aggressive-mode password SECRET
ntp authentication-key 1 md5 SECRET 7
tacacs-server key 7 SECRET
line vty 0 4
 password SECRET
key chain K
 key 1
  key-string SECRET
`, "SECRET", secret)
	c, _ := Parse("r1.cfg", []byte(text))
	hidden := c.RunningHidden()
	if strings.Contains(hidden, secret) {
		t.Errorf("a secret is shown:\n%s", hidden)
	}
	for _, kept := range []string{"enable secret <hidden>", "username admin privilege 15 password <hidden>", "snmp-server community <hidden>", "crypto isakmp key <hidden> address 198.51.100.2",
		"pre-shared-key address 198.51.100.3 key <hidden>", "set aggressive-mode password <hidden>"} {
		if !strings.Contains(hidden, kept) {
			t.Errorf("%q is missing from\n%s", kept, hidden)
		}
	}
	if !strings.Contains(c.Running(), secret) {
		t.Error("Running has lost the key: it could not be read back")
	}
}

// show crypto map lists what is incomplete or applied nowhere, too.
func TestEntriesListsIncompleteOnes(t *testing.T) {
	c, _ := Parse("r1.cfg", []byte("crypto map M 10 ipsec-isakmp\n set peer 198.51.100.2\ncrypto map M 20 ipsec-isakmp\n"))
	entries := c.Entries()
	if len(entries) != 2 || entries[0].Seq != 10 || entries[1].Seq != 20 || len(entries[0].Peers) != 1 {
		t.Fatalf("entries: %+v", entries)
	}
	if len(entries[0].Flows()) != 0 {
		t.Error("an entry without an access list has flows")
	}
}
