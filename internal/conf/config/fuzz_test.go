package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever an operator feeds to Parse, it does not panic; and a configuration
// without errors is the same one after it was printed and read again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/config/*.txt", "testdata/errors/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds at", pattern, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, block := range strings.Split(string(b), "\n====\n") {
				input, _, _ := strings.Cut(block, cut)
				f.Add([]byte(input))
			}
		}
	}
	for _, s := range hostile() {
		f.Add([]byte(s))
	}
	tree := grammar()
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := parse("r1.cfg", text, tree)
		roundTrip(t, tree, c, problems)
		c.Settings()
		Check(c)
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 && p.Step == 0 || p.Message == "" {
				t.Errorf("a problem without a place or a message: %+v", p)
			}
		}
	})
}

// hostile are texts that no router prints.
func hostile() []string {
	return []string{
		"", "\n", "\r", "!", " ", "no", "no ", "default", "\x00", "\xff\xfe", "\ufeffhostname R1",
		"R1#", "R1(config)#", "R1(config", ")#", "banner", "banner motd", "banner motd x", "banner motd ^C", "certificate x", "key-string",
		"crypto", "crypto isakmp key 0", "crypto isakmp key 0 0 address 0.0.0.0", "crypto isakmp key 6 address 1.2.3.4",
		"crypto isakmp key ! address 1.2.3.4", "crypto isakmp key address address 1.2.3.4 255.0.0.0",
		"crypto map ipv6 1 ipsec-isakmp\nset peer 1.1.1.1", "crypto map a 1 ipsec-isakmp\n description !\n match address !",
		"ip access-list extended a\n 2147483647 permit ip any any\n permit ip any any",
		"ip access-list extended a\n remark !\n remark  two  blanks ", "ip access-list extended 0101\n permit ip any any",
		"ip access-list resequence a 1 1", "access-list 1 permit 1.2.3.4 255.255.255.255",
		"interface a0\n  foo\n bar\nfoo\n ip address 1.1.1.1 255.255.255.255\n!\nline\n x", "  interface a0\n x\n  y\n   z",
		"interface Gi0/0\n crypto map a\n crypto map a 1 ipsec-isakmp\n crypto map a", strings.Repeat("crypto ", 40),
		"access-list 100 permit tcp any eq" + strings.Repeat(" 1", 12) + " any", "hostname " + strings.Repeat("x", 300),
		"crypto key import rsa x pem", "crypto key import rsa x pem\nquit", "-----BEGIN", "-----BEGIN X-----\nfoo", "crypto pki certificate chain T\ncertificate file x\ncert 1\nquit",
		"crypto keyring a\n rsa-pubkey\n key-string\nquit\n pre-shared-key hostname ! key !", "crypto pki certificate map M 1\n name eq !\n name co  a  b ",
		"crypto isakmp profile p\n match identity host domain\n match identity host domain domain\n self-identity fqdn !\n keyring ! x",
		"crypto pki trustpoint t\n match certificate m !\n match certificate m  a !\n enrollment ! x\n no enrollment\n crl file crl",
		"ip route 0.0.0.0 0.0.0.0 gig 0/1 1.2.3.4 name 5 6", "crypto isakmp policy 1\n lifetime 60\nexit\nexit\nend\nend",
	}
}
