package scenario

import (
	"fmt"
	"net/netip"
	"strings"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
)

// The names in strongSwan's configuration: the connection, and a child for each flow.
const (
	Connection  = "lab"
	childPrefix = "net"
)

// Children are the names of the peer's children or connections, one a flow.
func (s *Scenario) Children() []string {
	var names []string
	for i := range s.peers().Flows {
		names = append(names, fmt.Sprintf("%s%d", childPrefix, i+1))
	}
	return names
}

// Swanctl is strongSwan's swanctl.conf at R2.
func (s *Scenario) Swanctl() string {
	t := s.peers()
	var b strings.Builder
	fmt.Fprintf(&b, "connections { %s {\n  version = 1\n  local_addrs = %s\n  remote_addrs = %s\n  proposals = %s\n",
		Connection, lab.Addr(lab.R2, lab.Outside), s.seenAs(), swanPolicies(t.Policies))
	fmt.Fprintf(&b, "  aggressive = %s\n  encap = %s\n", yes(t.Aggressive), yes(t.Encap))
	fmt.Fprintf(&b, "  mobike = no\n  reauth_time = 0\n  rand_time = 0\n  unique = replace\n%s", swanLife(int(t.IKELife.Seconds())))
	local, remote := "auth = psk", "auth = psk"
	if a := s.Certificates(); a.Signature() {
		local, remote = "auth = pubkey\n    certs = "+CertFile(lab.R2, a), "auth = pubkey\n    cacerts = "+CAFile
	}
	fmt.Fprintf(&b, "  local { %s\n    id = %s }\n  remote { %s\n    id = %s }\n  children {\n",
		local, orAddress(t.ID, lab.R2), remote, orAddress(s.Ours.ID, lab.R1))
	for i, f := range t.Flows {
		fmt.Fprintf(&b, "    %s {\n      local_ts = %s\n      remote_ts = %s\n", s.Children()[i], f.swan(true), f.swan(false))
		fmt.Fprintf(&b, "      %s\n      mode = %s\n      rand_time = 0\n      start_action = none\n      dpd_action = clear\n%s    }\n",
			swanSets(t.Sets, t.PFS), t.Sets[0].Mode, swanLife(int(t.Life.Seconds())))
	}
	fmt.Fprintf(&b, "  }\n} }\nsecrets { ike-lab { secret = \"%s\" } }\n", t.Key)
	return b.String()
}

// seenAs is the address under which R2 sees R1.
func (s *Scenario) seenAs() netip.Addr {
	if s.NAT {
		return lab.NATAddr()
	}
	return lab.Addr(lab.R1, lab.Outside)
}

// orAddress is a name, or the address of a router that has none.
func orAddress(name, router string) string {
	if name == "" {
		return lab.Addr(router, lab.Outside).String()
	}
	return name
}

// swanLife is the time of renewal; what strongSwan tells the peer is a tenth longer.
func swanLife(seconds int) string {
	if seconds == 0 {
		return ""
	}
	return fmt.Sprintf("  rekey_time = %ds\n", seconds)
}

// swan is one side of the flow as a traffic selector.
func (f Flow) swan(theirs bool) string {
	p, port := f.Local, f.LocalPort
	if theirs {
		p, port = f.Remote, f.RemotePort
	}
	switch proto := protoWord(f.Proto); {
	case proto == "":
		return p.String()
	case port == 0:
		return fmt.Sprintf("%s[%s]", p, proto)
	default:
		return fmt.Sprintf("%s[%s/%d]", p, proto, port)
	}
}

func swanPolicies(list []policy.ISAKMP) string {
	var out []string
	for _, p := range list {
		out = append(out, swanCipher(p.Cipher, p.KeyBits)+"-"+swanHash(p.Hash)+"-"+swanGroup(p.Group))
	}
	return strings.Join(out, ",")
}

// swanSets are the proposals of a child; all of them ESP or all of them AH.
func swanSets(list []policy.TransformSet, pfs suite.Group) string {
	var out []string
	key := "esp_proposals"
	for _, t := range list {
		var words []string
		if t.AH != suite.NoHash {
			key, words = "ah_proposals", append(words, swanHash(t.AH))
		} else {
			words = append(words, swanCipher(t.Cipher, t.KeyBits))
			if t.Integ != suite.NoHash {
				words = append(words, swanHash(t.Integ))
			}
		}
		if pfs != suite.NoGroup {
			words = append(words, swanGroup(pfs))
		}
		if t.ESN {
			words = append(words, "esn")
		}
		out = append(out, strings.Join(words, "-"))
	}
	return key + " = " + strings.Join(out, ",")
}

func swanCipher(c suite.Cipher, bits int) string {
	switch c {
	case suite.AESCBC:
		return fmt.Sprintf("aes%d", bits)
	case suite.AESGCM:
		return fmt.Sprintf("aes%dgcm16", bits)
	case suite.TripleDES:
		return "3des"
	case suite.DES:
		return "des"
	case suite.NullCipher:
		return "null"
	}
	return c.String()
}

func swanHash(h suite.Hash) string {
	if h == suite.SHA1 {
		return "sha1"
	}
	return h.Row().IKE
}

func swanGroup(g suite.Group) string {
	switch g {
	case 19, 20, 21:
		return fmt.Sprintf("ecp%d", g.Row().Bits)
	case 22:
		return "modp1024s160"
	case 23:
		return "modp2048s224"
	case 24:
		return "modp2048s256"
	case 31:
		return "curve25519"
	}
	return fmt.Sprintf("modp%d", g.Row().Bits)
}
