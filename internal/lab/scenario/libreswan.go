package scenario

import (
	"fmt"
	"strings"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
)

// IPsecConf is libreswan's ipsec.conf at R2: one connection for each flow.
func (s *Scenario) IPsecConf() string {
	t := s.peers()
	var b strings.Builder
	fmt.Fprintf(&b, "config setup\n    ikev1-policy=accept\n    uniqueids=yes\n\nconn %%default\n    left=%s\n    right=%s\n    authby=secret\n    ikev2=no\n    auto=add\n"+
		// The script that would add routes and firewall rules is slow in a guest, and the lab has its routes.
		"    leftupdown=%%disabled\n",
		lab.Addr(lab.R2, lab.Outside), s.seenAs())
	fmt.Fprintf(&b, "    ike=%s\n", libreswanPolicies(t.Policies))
	protocol, sets := libreswanSets(t.Sets, t.PFS)
	fmt.Fprintf(&b, "    phase2=%s\n    phase2alg=%s\n    type=%s\n    pfs=%s\n", protocol, sets, t.Sets[0].Mode, yes(t.PFS != suite.NoGroup))
	fmt.Fprintf(&b, "    esn=%s\n", yes(t.Sets[0].ESN))
	fmt.Fprintf(&b, "    aggressive=%s\n    encapsulation=%s\n", yes(t.Aggressive), map[bool]string{true: "yes", false: "auto"}[t.Encap])
	if t.ID != "" {
		fmt.Fprintf(&b, "    leftid=@%s\n", t.ID)
	}
	switch {
	case s.Ours.ID != "":
		fmt.Fprintf(&b, "    rightid=@%s\n", s.Ours.ID)
	case s.NAT:
		fmt.Fprintf(&b, "    rightid=%s\n", lab.Addr(lab.R1, lab.Outside))
	}
	if t.IKELife > 0 {
		fmt.Fprintf(&b, "    ikelifetime=%ds\n", int(t.IKELife.Seconds()))
	}
	if t.Life > 0 {
		fmt.Fprintf(&b, "    salifetime=%ds\n", int(t.Life.Seconds()))
	}
	for i, f := range t.Flows {
		fmt.Fprintf(&b, "\nconn %s\n", s.Children()[i])
		if f != Routers().Of(f.Proto, f.RemotePort) {
			fmt.Fprintf(&b, "    leftsubnet=%s\n    rightsubnet=%s\n", f.Remote, f.Local)
		}
		if proto := protoWord(f.Proto); proto != "" {
			fmt.Fprintf(&b, "    leftprotoport=%s\n    rightprotoport=%s\n", libreswanPort(proto, f.RemotePort), libreswanPort(proto, f.LocalPort))
		}
	}
	return b.String()
}

// IPsecSecrets is libreswan's ipsec.secrets at R2: one key for whoever comes.
func (s *Scenario) IPsecSecrets() string {
	return fmt.Sprintf(": PSK \"%s\"\n", s.peers().Key)
}

func libreswanPort(proto string, n uint16) string {
	if n == 0 {
		return proto
	}
	return fmt.Sprintf("%s/%d", proto, n)
}

func libreswanPolicies(list []policy.ISAKMP) string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s-%s;dh%d", libreswanCipher(p.Cipher, p.KeyBits), libreswanHash(p.Hash), uint16(p.Group)))
	}
	return strings.Join(out, ",")
}

func libreswanSets(list []policy.TransformSet, pfs suite.Group) (protocol, sets string) {
	var out []string
	protocol = "esp"
	for _, t := range list {
		var words string
		switch {
		case t.AH != suite.NoHash:
			protocol, words = "ah", libreswanHash(t.AH)
		case t.Integ == suite.NoHash:
			words = libreswanCipher(t.Cipher, t.KeyBits)
		default:
			words = libreswanCipher(t.Cipher, t.KeyBits) + "-" + libreswanHash(t.Integ)
		}
		if pfs != suite.NoGroup {
			words += fmt.Sprintf(";dh%d", uint16(pfs))
		}
		out = append(out, words)
	}
	return protocol, strings.Join(out, ",")
}

func libreswanCipher(c suite.Cipher, bits int) string {
	switch c {
	case suite.AESCBC:
		return fmt.Sprintf("aes%d", bits)
	case suite.AESGCM:
		return fmt.Sprintf("aes_gcm_c_%d", bits)
	case suite.TripleDES:
		return "3des"
	case suite.NullCipher:
		return "null"
	}
	return c.String()
}

func libreswanHash(h suite.Hash) string {
	switch h {
	case suite.SHA256:
		return "sha2_256"
	case suite.SHA384:
		return "sha2_384"
	case suite.SHA512:
		return "sha2_512"
	case suite.SHA1:
		return "sha1"
	}
	return h.Row().IKE
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
