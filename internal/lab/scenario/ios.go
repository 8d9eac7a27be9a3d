package scenario

import (
	"fmt"
	"net/netip"
	"strings"

	"culvert/internal/core/suite"
	"culvert/internal/lab"
)

// IOS is Culvert's configuration at R1.
func (s *Scenario) IOS() string {
	o := s.Ours.filled()
	own, peer := lab.Addr(lab.R1, lab.Outside), lab.Addr(lab.R2, lab.Outside)
	var b strings.Builder
	b.WriteString("hostname R1\n")
	if o.legacy() {
		b.WriteString("crypto engine compliance shield disable\n")
	}
	for i, p := range o.Policies {
		fmt.Fprintf(&b, "crypto isakmp policy %d\n encryption %s\n hash %s\n authentication %s\n group %d\n",
			10*(i+1), cipherWords(p.Cipher, p.KeyBits), p.Hash.Row().IKE, p.Auth, uint16(p.Group))
		if o.IKELife > 0 {
			fmt.Fprintf(&b, " lifetime %d\n", int(o.IKELife.Seconds()))
		}
	}
	s.whoIsWho(&b, o)
	b.WriteString(o.Global)
	names := ""
	for i, t := range o.Sets {
		fmt.Fprintf(&b, "crypto ipsec transform-set T%d %s\n", i+1, t.ConfigWords())
		if t.ESN {
			b.WriteString(" esn\n")
		}
		switch {
		case t.Require:
			b.WriteString(" mode transport require\n")
		case t.Mode == suite.Transport:
			b.WriteString(" mode transport\n")
		}
		names += fmt.Sprintf(" T%d", i+1)
	}
	if o.Dynamic {
		b.WriteString("crypto dynamic-map DYNAMIC 10\n")
	} else {
		fmt.Fprintf(&b, "crypto map CMAP 10 ipsec-isakmp\n set peer %s\n", peer)
	}
	fmt.Fprintf(&b, " set transform-set%s\n%s", names, o.Entry)
	if s.Certificates().Signature() && o.Aggressive {
		b.WriteString(" set isakmp-profile LAB\n")
	}
	if o.PFS != suite.NoGroup {
		fmt.Fprintf(&b, " set pfs %s\n", o.PFS)
	}
	if o.Life > 0 {
		fmt.Fprintf(&b, " set security-association lifetime seconds %d\n", int(o.Life.Seconds()))
	}
	b.WriteString(" match address 102\n")
	if o.Dynamic {
		b.WriteString("crypto map CMAP 10 ipsec-isakmp dynamic DYNAMIC\n")
	}
	fmt.Fprintf(&b, "interface GigabitEthernet0/0\n ip address %s 255.255.255.0\n", lab.Addr(lab.R1, lab.Inside))
	fmt.Fprintf(&b, "interface GigabitEthernet0/1\n ip address %s 255.255.255.0\n ip access-group 101 in\n crypto map CMAP\n", own)
	for _, f := range o.Flows {
		b.WriteString("access-list 102 permit " + f.ios() + "\n")
	}
	for _, l := range []string{"esp %s %s", "ahp %s %s", "udp %s %s eq isakmp", "udp %s %s eq non500-isakmp"} {
		fmt.Fprintf(&b, "access-list 101 permit "+l+"\n", "host "+peer.String(), "host "+own.String())
	}
	return b.String()
}

// whoIsWho writes names and keys.
func (s *Scenario) whoIsWho(b *strings.Builder, o Side) {
	peer := lab.Addr(lab.R2, lab.Outside)
	if o.ID != "" {
		_, domain, _ := strings.Cut(o.ID, ".")
		fmt.Fprintf(b, "ip domain name %s\ncrypto isakmp identity hostname\n", domain)
	}
	auth := s.Certificates()
	switch {
	case auth.Signature():
		fmt.Fprintf(b, "crypto pki trustpoint LAB\n revocation-check none\n ca-certificate file %s\n certificate file %s\n private-key file %s\n",
			CAFile, CertFile(lab.R1, auth), KeyFile(lab.R1, auth))
		if o.Aggressive {
			fmt.Fprintf(b, "crypto isakmp profile LAB\n match identity host %s\n initiate mode aggressive\n", s.Theirs.ID)
		}
	case o.Aggressive:
		fmt.Fprintf(b, "crypto isakmp peer address %s\n set aggressive-mode password %s\n", peer, o.Key)
		if o.ID != "" {
			fmt.Fprintf(b, " set aggressive-mode client-endpoint fqdn %s\n", o.ID)
		}
	case o.Dynamic:
		fmt.Fprintf(b, "crypto isakmp key %s address 0.0.0.0\n", o.Key)
	default:
		fmt.Fprintf(b, "crypto isakmp key %s address %s\n", o.Key, peer)
	}
}

// cipherWords is a cipher as a policy is written: "aes 256", "3des".
func cipherWords(c suite.Cipher, bits int) string {
	if c.Row().Sized {
		return fmt.Sprintf("%s %d", c.Row().IKE, bits)
	}
	return c.Row().IKE
}

// ios is the flow as a line of an access list: "tcp 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255 eq 80".
func (f Flow) ios() string {
	proto := protoWord(f.Proto)
	if proto == "" {
		proto = "ip"
	}
	return proto + " " + iosPrefix(f.Local) + iosPort(f.LocalPort) + " " + iosPrefix(f.Remote) + iosPort(f.RemotePort)
}

func iosPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return "host " + p.Addr().String()
	}
	var wild [4]byte
	for i := p.Bits(); i < 32; i++ {
		wild[i/8] |= 0x80 >> (i % 8)
	}
	return p.Addr().String() + " " + netip.AddrFrom4(wild).String()
}

func iosPort(n uint16) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" eq %d", n)
}
