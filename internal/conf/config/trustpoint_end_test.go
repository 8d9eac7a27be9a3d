package config

import "testing"

// A global line that begins like a command of a trustpoint ends the trustpoint:
// "ip" is no short form of ip-address there.
func TestGlobalLinesBehindTrustpoint(t *testing.T) {
	const trustpoint = "crypto pki trustpoint LAB\n ip-address none\n revocation-check none\n"
	c, problems := Parse("r1.cfg", []byte("hostname R1\n"+trustpoint+"ip domain name example.org\n"+trustpoint+"ip route 10.0.0.0 255.0.0.0 198.51.100.2\n"+
		trustpoint+"ip access-list extended SITES\n permit ip any any\n"+trustpoint+" ip-address GigabitEthernet0/1\n ip-address 198.51.100.1\nend\n"))
	for _, p := range problems {
		if p.Severity == Error {
			t.Error(p)
		}
	}
	if c.Domain != "example.org" || len(c.Routes) != 1 || len(c.AccessLists) != 1 || len(c.Trustpoints) != 1 {
		t.Errorf("domain %q, %d routes, %d access lists, %d trustpoints", c.Domain, len(c.Routes), len(c.AccessLists), len(c.Trustpoints))
	}
}
