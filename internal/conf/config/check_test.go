package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/suite"
)

// Each file in testdata/check is a list of configurations, each with the
// findings of Check: the base is the article's R1, and lines that begin with
// "- " take one away from it, so that each case shows one fault.
//
// Threat: CVE-2018-5389.
func TestFindings(t *testing.T) {
	base, err := os.ReadFile("../../../examples/r1.cfg")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files in testdata/check", err)
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
				c, problems := parse("r1.cfg", []byte(changed(t, string(base), input)), tree)
				problems = append(problems, c.Load(readTestFile, today)...)
				out = append(out, input+cut+strings.TrimSuffix(lines(problems)+findings(Check(c)), "\n"))
			}
			compare(t, file, string(b), strings.Join(out, "\n====\n")+"\n")
		})
	}
}

// today is when the certificates of testdata/pki are looked at.
var today = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// readTestFile reads what trustpoints of the tests name.
func readTestFile(path string) (File, error) {
	name, open := path, path == "open.key"
	if open {
		name = "r1.key"
	}
	text, err := os.ReadFile(filepath.Join("testdata/pki", name))
	if err != nil {
		err = errors.New("no such file")
	}
	return File{Text: text, Open: open}, err
}

// changed applies a case to the base: "- LINE" removes a line, anything else
// is added before the end.
func changed(t *testing.T, base, change string) string {
	t.Helper()
	for _, line := range strings.Split(change, "\n") {
		if gone, ok := strings.CutPrefix(line, "- "); ok {
			if strings.Count(base, gone+"\n") != 1 {
				t.Fatalf("the base has the line %q %d times", gone, strings.Count(base, gone+"\n"))
			}
			base = strings.Replace(base, gone+"\n", "!\n", 1)
		} else if !strings.HasPrefix(line, "#") {
			base = strings.TrimSuffix(base, "!\nend\n") + line + "\n!\nend\n"
		}
	}
	return base
}

func findings(list []Finding) string {
	s := ""
	for _, f := range list {
		s += f.String() + "\n"
		if f.Fix != "" {
			s += "    " + strings.ReplaceAll(f.Fix, "\n", "\n    ") + "\n"
		}
	}
	return s
}

// The two configurations that come with Culvert are the article's: no
// problem, no finding, and each is the other's mirror image.
func TestExamplesAreClean(t *testing.T) {
	var flows [2]flow.Selectors
	for i, name := range []string{"r1.cfg", "r2.cfg"} {
		text, err := os.ReadFile("../../../examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		c, problems := Parse(name, text)
		if s := lines(problems) + findings(Check(c)); s != "" {
			t.Errorf("%s is not clean:\n%s", name, s)
		}
		s := c.Settings()
		if len(s.Entries) != 1 || len(s.Entries[0].Flows()) != 1 || len(s.Policies) != 2 || len(s.Keys) != 1 {
			t.Fatalf("%s: %d entries, %d policies, %d keys", name, len(s.Entries), len(s.Policies), len(s.Keys))
		}
		flows[i] = s.Entries[0].Flows()[0].Selectors
		if len(c.Ignored) != 0 {
			t.Errorf("%s: lines are ignored: %v", name, c.Ignored)
		}
	}
	if flows[0].Mirror() != flows[1] {
		t.Errorf("the crypto ACLs are no mirror images: %s and %s", flows[0], flows[1])
	}
}

// The index of an access list answers as the list itself does.
func TestMatcherIsTheList(t *testing.T) {
	c, problems := Parse("x", []byte(`ip access-list extended X
 deny esp host 10.0.0.1 any
 permit ip any host 10.9.9.9
 permit esp host 10.0.0.2 host 10.9.9.8
 deny udp 10.0.0.0 0.0.0.3 any eq 500
 permit udp host 10.0.0.1 any
 permit ip host 10.0.0.3 any
 permit esp any any
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	l := c.AccessList("X")
	m := matcherOf(l)
	for src := range 5 {
		for dst := range 3 {
			for _, proto := range []uint8{flow.ESP, flow.UDP, flow.TCP} {
				p := flow.Tuple{Src: netip.AddrFrom4([4]byte{10, 0, 0, byte(src)}), Dst: netip.AddrFrom4([4]byte{10, 9, 9, byte(7 + dst)}), Proto: proto, DstPort: 500}
				if got, want := m.match(p), l.Match(p); got != want {
					t.Errorf("%s: line %v, the list says %v", p, got, want)
				}
			}
		}
	}
}

// Keys are printed by Running and by nothing else: neither problems nor
// findings, nor any verb of fmt, show one.
func TestKeysStaySecret(t *testing.T) {
	const key = "Xyzzy-Plugh"
	for _, text := range []string{
		"crypto isakmp key " + key + " address 198.51.100.2",
		"crypto isakmp key 6 " + key + " address 198.51.100.2",
		"crypto isakmp key " + key + " adress 198.51.100.2",
		"crypto isakmp key a " + key + " address 198.51.100.2",
		"crypto isakmp key 0 " + key,
		"crypto isakmp key " + key + " address 198.51.100.2 " + key,
		"crypto isakmp key 0 " + key + " " + key + " address 198.51.100.2",
		"crypto isakmp key " + key + " address 198.51.100.2\ncrypto isakmp key " + key + " address 198.51.100.2",
		"crypto isakmp key " + key + " hostname x",
		"crypto keyring K\n pre-shared-key address 198.51.100.2 key " + key,
		"crypto keyring K\n pre-shared-key address 198.51.100.2 key 6 " + key,
		"crypto keyring K\n pre-shared-key hostname x key " + key + " " + key,
		"crypto keyring K\n pre-shared-key address 198.51.100.2 " + key,
		"crypto keyring K\n pre-shared-key address 198.51.100.2 key " + key + "\n pre-shared-key address 198.51.100.2 key " + key,
		"crypto isakmp peer address 198.51.100.2\n set aggressive-mode password " + key,
		"crypto isakmp peer address 198.51.100.2\n set aggressive-mode password 6 " + key,
		"crypto isakmp peer address 198.51.100.2\n set aggressive-mode password a " + key,
		"enable secret 5 " + key, "username x password " + key,
	} {
		c, problems := Parse("r1.cfg", []byte(text))
		s := c.Settings()
		seen := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", problems, problems, problems, lines(problems), findings(Check(c)), *c, s)
		for _, p := range problems {
			seen += p.Word + p.Expected + p.Fix
		}
		for _, l := range c.Ignored {
			seen += fmt.Sprintf("%v %+v", l, l) + l.Origin.Text
		}
		if strings.Contains(seen, key) {
			t.Errorf("%q: the key is shown: %s", text, seen)
		}
	}
	privateKeysStaySecret(t)
	c, _ := Parse("r1.cfg", []byte("crypto isakmp key "+key+" address 198.51.100.2"))
	if !strings.Contains(c.Running(), key) {
		t.Error("the running-config lacks the key")
	}
}

// Private keys are not even printed by Running, wherever their text stands.
func privateKeysStaySecret(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("testdata/pki/r1-pkcs1.key")
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(text), "\n")[1]
	for _, before := range []string{
		"crypto key import rsa L pem\n", "crypto key import ec L pem\n", "crypto key import dsa L pem\n", "crypto key import rsa L\n", "cry key imp rsa L pem\n", "",
		"crypto pki trustpoint T\n", "crypto pki certificate chain T\n certificate 01\n", "router ospf 1\n", "interface Gi0/1\n ",
	} {
		c, problems := Parse("r1.cfg", []byte(before+string(text)+"quit\n"))
		seen := fmt.Sprintf("%v %+v %#v %v %+v %#v", problems, problems, problems, *c, *c, *c) + c.Running() + c.RunningHidden() + findings(Check(c))
		for _, l := range c.Ignored {
			seen += l.Text
		}
		if strings.Contains(seen, secret) || len(c.KeyImports) == 0 && lines(problems) == "" {
			t.Errorf("%q: the private key is shown, or silently dropped: %s", before, seen)
		}
	}
}

// A policy with ecdsa-sig stands for one policy a curve that there is a key on.
func TestECDSAPolicies(t *testing.T) {
	c, problems := Parse("r1.cfg", []byte(`crypto isakmp policy 10
 encr aes
 authentication ecdsa-sig
 group 19
crypto pki trustpoint A
 certificate file r1-ec384.pem
 private-key file r1-ec384.key
crypto pki trustpoint B
 certificate file r1.pem
 private-key file r1.key
crypto pki trustpoint C
 certificate file r1-ec256.pem
 private-key file r1-ec256.key
`))
	if before := c.Settings().Policies; len(before) != 1 || before[0].Auth != suite.ECDSA256 {
		t.Errorf("without the files: %v", before)
	}
	if problems = append(problems, c.Load(readTestFile, today)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	p := c.Settings().Policies
	if len(p) != 2 || p[0].Auth != suite.ECDSA384 || p[1].Auth != suite.ECDSA256 || p[0].Priority != 10 || p[1].Priority != 10 {
		t.Errorf("policies: %v", p)
	}
}

// hub is a configuration with n peers, each with its lines in every step.
func hub(n int) string {
	var b strings.Builder
	b.WriteString("hostname HUB\ncrypto isakmp policy 10\n encr aes 256\n hash sha256\n authentication pre-share\n group 14\n")
	b.WriteString("crypto ipsec transform-set TS esp-aes 256 esp-sha256-hmac\n")
	for i := range n {
		peer := fmt.Sprintf("203.%d.%d.1", i/250, i%250)
		fmt.Fprintf(&b, "crypto isakmp key key-%d address %s\n", i, peer)
		fmt.Fprintf(&b, "crypto map M %d ipsec-isakmp\n set peer %s\n set transform-set TS\n match address V%d\n", i+1, peer, i)
		fmt.Fprintf(&b, "ip access-list extended V%d\n permit ip 10.0.0.0 0.255.255.255 172.%d.%d.0 0.0.0.255\n", i, i/250, i%250)
		fmt.Fprintf(&b, "access-list 101 permit esp host %s host 198.51.100.1\naccess-list 101 permit udp host %s host 198.51.100.1 eq isakmp non500-isakmp\n", peer, peer)
	}
	b.WriteString("interface GigabitEthernet0/1\n ip address 198.51.100.1 255.255.255.0\n ip access-group 101 in\n crypto map M\nip route 0.0.0.0 0.0.0.0 198.51.100.254\n")
	return b.String()
}

// A hub of ten thousand peers: everything is looked up, nothing searched.
func BenchmarkHub(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		text := []byte(hub(n))
		b.Run(fmt.Sprintf("%d peers", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				c, problems := Parse("hub.cfg", text)
				if s := c.Settings(); len(problems) > 0 || len(s.Entries) != n {
					b.Fatal(len(s.Entries), problems[:min(3, len(problems))])
				}
				if f := Check(c); len(f) > 0 {
					b.Fatal(f[0])
				}
				c.Running()
			}
		})
	}
}
