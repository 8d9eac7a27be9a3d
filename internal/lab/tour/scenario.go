package tour

import (
	"fmt"
	"path/filepath"
	"strings"

	"culvert/examples"
	"culvert/internal/lab"
)

// Scenarios besides the one of the examples, which is named "".
const (
	Certificate = "certificate" // the peers prove themselves by certificates
	Aggressive  = "aggressive"  // phase 1 in three messages, the peer known by name
	AH          = "ah"          // packets are authenticated, not encrypted
	NATT        = "nat-t"       // a NAT stands in front of R1
)

// Scenarios lists the names for --scenario.
func Scenarios() []string { return []string{Certificate, Aggressive, AH, NATT} }

// edit is one difference from an example: old becomes new everywhere.
type edit struct{ old, new string }

// scenario is a variation of the examples' tunnel: what is different, and what
// has to be seen then.
type scenario struct {
	name, title string
	nat         bool
	edits       [2][]edit // of examples/r1.cfg and examples/r2.cfg
	// credentials makes the files that the configurations name.
	credentials func(dir string) error
	exchange    []string // words of show crypto exchange
	isakmp      []string // words of show crypto isakmp sa detail
	ipsec       []string // words of show crypto ipsec sa
	carrier     string   // what carries the data: "ESP packets"
	sealed      func(lab.Summary) int
	peers       []string // who can be at R2
}

func mainMode() []string {
	return []string{"MM1", "MM2", "MM3", "MM4", "MM5", "MM6", "QM1", "QM2", "QM3"}
}

// scenarioOf finds a scenario.
func scenarioOf(name string) (scenario, error) {
	const key1, key2 = "crypto isakmp key Tunnel-of-two-sites address 198.51.100.2", "crypto isakmp key Tunnel-of-two-sites address 198.51.100.1"
	plain := scenario{title: "Two sites, one tunnel", exchange: mainMode(), isakmp: []string{" psk "}, ipsec: []string{"esp-256-aes esp-sha256-hmac", "in use settings ={Tunnel"},
		carrier: "ESP packets", sealed: func(s lab.Summary) int { return s.ESP.Total() + s.ESPinUDP.Total() }, peers: []string{Culvert, StrongSwan}}
	s := plain
	s.name = name
	switch name {
	case "":
	case Certificate:
		s.title += ", and certificates instead of a shared key"
		s.credentials = issue
		signed := edit{"authentication pre-share", "authentication rsa-sig"}
		s.edits = [2][]edit{{signed, {key1, trustpoint("r1")}}, {signed, {key2, trustpoint("r2")}}}
		s.exchange = append(s.exchange, "SIG", "CERT", "proved by trustpoint LAB", "CN=r2.example.net")
		s.isakmp = []string{" rsig "}
	case Aggressive:
		s.title += ", and aggressive mode"
		s.edits = [2][]edit{
			{{key1, key1 + "\ncrypto isakmp peer address 198.51.100.2\n set aggressive-mode client-endpoint fqdn r1.example.net"}},
			{{key2, "crypto isakmp key Tunnel-of-two-sites hostname r1.example.net\ncrypto isakmp peer hostname r1.example.net\n set aggressive-mode client-endpoint ipv4-address 198.51.100.2"}},
		}
		s.exchange = []string{"aggressive mode", "AM1", "AM2", "AM3", "ID (r1.example.net)", "QM1", "QM2", "QM3"}
	case AH:
		s.title += ", and AH: nothing is encrypted, everything is authenticated"
		ah := edit{"crypto ipsec transform-set STRONG esp-aes 256 esp-sha256-hmac", "crypto ipsec transform-set STRONG ah-sha256-hmac"}
		s.edits = [2][]edit{{ah}, {ah}}
		s.ipsec = []string{"ah-sha256-hmac"}
		s.carrier, s.sealed = "AH packets", func(w lab.Summary) int { return w.AH.Total() }
		s.peers = []string{Culvert, Kernel}
	case NATT:
		s.title += ", and a NAT in front of R1"
		s.nat = true
		s.edits[1] = []edit{{"198.51.100.1\n", lab.NATAddr().String() + "\n"}, {"host 198.51.100.1 ", "host " + lab.NATAddr().String() + " "}}
		s.exchange = append(s.exchange, "port 4500 from here on")
		s.ipsec = []string{"Tunnel UDP-Encaps"}
		s.carrier, s.sealed = "ESP packets in UDP 4500", func(w lab.Summary) int { return w.ESPinUDP.Total() }
	default:
		return s, fmt.Errorf("lab: scenario %q: expected %s", name, strings.Join(Scenarios(), ", "))
	}
	return s, nil
}

// trustpoint proves a router by the files beside its configuration.
func trustpoint(router string) string {
	return fmt.Sprintf(`crypto pki trustpoint LAB
 ca-certificate file ca.pem
 certificate file %[1]s.pem
 private-key file %[1]s.key
 crl file ca.crl
 revocation-check crl
crypto isakmp identity dn`, router)
}

// configuration is the example of a router (0 or 1) as the scenario has it. An
// edit that changes nothing is a mistake of the scenario's.
func (s *scenario) configuration(router int) (string, error) {
	text := [2]string{examples.R1, examples.R2}[router]
	for _, e := range s.edits[router] {
		if !strings.Contains(text, e.old) {
			return "", fmt.Errorf("lab: examples/r%d.cfg does not say %q", router+1, e.old)
		}
		text = strings.ReplaceAll(text, e.old, e.new)
	}
	return text, nil
}

// difference tells what is different from an example, line by line.
func (s *scenario) difference(router int) string {
	was := strings.Split([2]string{examples.R1, examples.R2}[router], "\n")
	text, err := s.configuration(router)
	if err != nil {
		return err.Error()
	}
	is := strings.Split(text, "\n")
	// common[i][j] is how many lines was[i:] and is[j:] have in common, in order.
	common := make([][]int, len(was)+1)
	for i := range common {
		common[i] = make([]int, len(is)+1)
	}
	for i := len(was) - 1; i >= 0; i-- {
		for j := len(is) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); was[i] == is[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var b strings.Builder
	for i, j := 0, 0; i < len(was) || j < len(is); {
		switch {
		case i < len(was) && j < len(is) && was[i] == is[j]:
			i, j = i+1, j+1
		case j == len(is) || i < len(was) && common[i+1][j] >= common[i][j+1]:
			fmt.Fprintf(&b, "  - %s\n", was[i])
			i++
		default:
			fmt.Fprintf(&b, "  + %s\n", is[j])
			j++
		}
	}
	return b.String()
}

// file is where a router's configuration lies in the lab.
func file(n *lab.Net, router string) string { return filepath.Join(n.Dir(), router+".cfg") }
