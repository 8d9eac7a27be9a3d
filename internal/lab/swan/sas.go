package swan

import (
	"fmt"
	"strconv"
	"strings"
)

// SA is an IKE SA as strongSwan tells it.
type SA struct {
	ID           int
	Version      int
	State        string // ESTABLISHED, CONNECTING, REKEYING, DELETING, …
	Initiator    bool   // strongSwan began it
	LocalHost    string
	RemoteHost   string
	RemotePort   int
	InitiatorSPI string // 16 hex digits: the initiator's cookie
	ResponderSPI string
	// Algorithms in strongSwan's words: AES_CBC-128, HMAC_SHA1_96, PRF_HMAC_SHA1, MODP_2048.
	Encryption, Integrity, PRF, Group string
	Children                          []ChildSA
}

// ChildSA is a pair of IPsec SAs, seen from strongSwan.
type ChildSA struct {
	ID         int
	State      string // INSTALLED, REKEYING, REKEYED, DELETING, DELETED, …
	Protocol   string // ESP or AH
	Mode       string // TUNNEL or TRANSPORT
	Encap      bool   // in UDP 4500
	SPIIn      uint32
	SPIOut     uint32
	BytesIn    int64
	BytesOut   int64
	PacketsIn  int64
	PacketsOut int64
	// Algorithms in strongSwan's words: AES_CBC-128, HMAC_SHA1_96, MODP_2048 (PFS).
	Encryption, Integrity, Group string
	LocalTS, RemoteTS            string
}

// Installed are the children of all SAs that carry traffic.
func Installed(sas []SA) []ChildSA {
	var list []ChildSA
	for _, s := range sas {
		for _, c := range s.Children {
			if c.State == "INSTALLED" {
				list = append(list, c)
			}
		}
	}
	return list
}

// node is one section of swanctl's raw output: values, lists and sections by
// key, in order.
type node struct {
	key      string
	value    string
	children []node
}

func (n node) get(key string) string {
	for _, c := range n.children {
		if c.key == key {
			return c.value
		}
	}
	return ""
}

func (n node) section(key string) node {
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	return node{}
}

func (n node) number(key string, base int) int64 {
	v, err := strconv.ParseUint(n.get(key), base, 63)
	if err != nil {
		return 0 // not told, as the byte counts of an SA that is being made
	}
	return int64(v)
}

// parseSAs reads `swanctl --list-sas --raw`: a line "list-sa event {…}" for each SA.
func parseSAs(out string) ([]SA, error) {
	var sas []SA
	for line := range strings.Lines(out) {
		body, ok := strings.CutPrefix(strings.TrimSpace(line), "list-sa event ")
		if !ok {
			continue
		}
		r := &rawReader{in: body}
		root, err := r.section("")
		if err != nil {
			return nil, fmt.Errorf("swan: output of swanctl: %w in %q", err, line)
		}
		for _, n := range root.children {
			sas = append(sas, newSA(n))
		}
	}
	return sas, nil
}

func newSA(n node) SA {
	s := SA{
		ID:           int(n.number("uniqueid", 10)),
		Version:      int(n.number("version", 10)),
		State:        n.get("state"),
		Initiator:    n.get("initiator") == "yes",
		LocalHost:    n.get("local-host"),
		RemoteHost:   n.get("remote-host"),
		RemotePort:   int(n.number("remote-port", 10)),
		InitiatorSPI: n.get("initiator-spi"),
		ResponderSPI: n.get("responder-spi"),
		Encryption:   withSize(n),
		Integrity:    n.get("integ-alg"),
		PRF:          n.get("prf-alg"),
		Group:        n.get("dh-group"),
	}
	for _, c := range n.section("child-sas").children {
		s.Children = append(s.Children, ChildSA{
			ID:         int(c.number("uniqueid", 10)),
			State:      c.get("state"),
			Protocol:   c.get("protocol"),
			Mode:       c.get("mode"),
			Encap:      c.get("encap") == "yes",
			SPIIn:      uint32(c.number("spi-in", 16)),
			SPIOut:     uint32(c.number("spi-out", 16)),
			BytesIn:    c.number("bytes-in", 10),
			BytesOut:   c.number("bytes-out", 10),
			PacketsIn:  c.number("packets-in", 10),
			PacketsOut: c.number("packets-out", 10),
			Encryption: withSize(c),
			Integrity:  c.get("integ-alg"),
			Group:      c.get("dh-group"),
			LocalTS:    c.get("local-ts"),
			RemoteTS:   c.get("remote-ts"),
		})
	}
	return s
}

func withSize(n node) string {
	if size := n.get("encr-keysize"); size != "" {
		return n.get("encr-alg") + "-" + size
	}
	return n.get("encr-alg")
}

// rawReader reads `{key=value list=[a b] section {…}}`.
type rawReader struct {
	in string
}

func (r *rawReader) section(key string) (node, error) {
	n := node{key: key}
	if !r.eat("{") {
		return n, fmt.Errorf("expected { at %q", r.in)
	}
	for {
		r.in = strings.TrimLeft(r.in, " ")
		if r.eat("}") {
			return n, nil
		}
		end := strings.IndexAny(r.in, "={} ")
		if end <= 0 {
			return n, fmt.Errorf("expected a key at %q", r.in)
		}
		name := r.in[:end]
		r.in = strings.TrimLeft(r.in[end:], " ")
		if !strings.HasPrefix(r.in, "=") {
			sub, err := r.section(name)
			if err != nil {
				return n, err
			}
			n.children = append(n.children, sub)
			continue
		}
		r.in = r.in[1:]
		n.children = append(n.children, node{key: name, value: r.word()})
	}
}

// word is a value up to the next space or brace, or a list without its
// brackets; a selector in a list may have brackets of its own: "10.0.0.0/8[tcp]".
func (r *rawReader) word() string {
	if !strings.HasPrefix(r.in, "[") {
		end := strings.IndexAny(r.in, " }")
		if end < 0 {
			end = len(r.in)
		}
		w := r.in[:end]
		r.in = r.in[end:]
		return w
	}
	depth := 0
	for i, c := range r.in {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		}
		if depth == 0 {
			w := r.in[1:i]
			r.in = r.in[i+1:]
			return w
		}
	}
	w := r.in[1:]
	r.in = ""
	return w
}

func (r *rawReader) eat(s string) bool {
	rest, ok := strings.CutPrefix(r.in, s)
	if ok {
		r.in = rest
	}
	return ok
}
