package ios

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// kindOf is what an argument may look like.
type kindOf uint8

const (
	kindKeyword kindOf = iota
	kindNumber
	kindAddress
	kindNetmask
	kindWildcard
	kindPrefix
	kindInterface
	kindWord
	kindSecret
	kindLine
)

type kind struct {
	of     kindOf
	word   string // the keyword, or what "?" shows
	lo, hi uint64
}

func parseKind(s string) (kind, error) {
	switch s {
	case "A.B.C.D":
		return kind{of: kindAddress, word: s}, nil
	case "NETMASK":
		return kind{of: kindNetmask, word: "A.B.C.D"}, nil
	case "WILDCARD":
		return kind{of: kindWildcard, word: "A.B.C.D"}, nil
	case "PREFIX":
		return kind{of: kindPrefix, word: "X:X:X:X::X/<0-128>"}, nil
	case "INTERFACE":
		return kind{of: kindInterface, word: s}, nil
	case "WORD":
		return kind{of: kindWord, word: s}, nil
	case "SECRET":
		return kind{of: kindSecret, word: "WORD"}, nil
	case "LINE":
		return kind{of: kindLine, word: s}, nil
	}
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		a, err1 := strconv.ParseUint(lo, 10, 64)
		b, err2 := strconv.ParseUint(hi, 10, 64)
		if err1 == nil && err2 == nil && a <= b {
			return kind{kindNumber, fmt.Sprintf("<%d-%d>", a, b), a, b}, nil
		}
	}
	if s == "" || strings.ToLower(s) != s || strings.ContainsAny(s, "<>[]{}:") {
		return kind{}, fmt.Errorf("%q is no kind of argument", s)
	}
	return kind{of: kindKeyword, word: s}, nil
}

// expected is how an error names the kind.
func (k kind) expected() string {
	switch k.of {
	case kindAddress:
		return "an IPv4 address"
	case kindNetmask:
		return "a netmask such as 255.255.255.0"
	case kindWildcard:
		return "a wildcard such as 0.0.0.255"
	case kindPrefix:
		return "a prefix such as 2001:db8::/32"
	case kindInterface:
		return "an interface such as GigabitEthernet0/1"
	case kindWord:
		return "a name"
	case kindSecret:
		return "a key"
	case kindLine:
		return "text"
	}
	return k.word
}

// free reports whether the kind takes words that are no keyword.
func (k kind) free() bool { return k.of != kindKeyword }

// accept tells how many tokens, from the first on, the argument takes: 0 when
// it does not fit. value is the argument in its full form.
func (k kind) accept(line string, tokens []token) (n int, value string) {
	w := tokens[0].text
	switch k.of {
	case kindNumber:
		v, err := strconv.ParseUint(w, 10, 64)
		return oneIf(err == nil && v >= k.lo && v <= k.hi && w[0] != '+'), strconv.FormatUint(v, 10)
	case kindAddress, kindWildcard, kindNetmask:
		a, err := netip.ParseAddr(w)
		return oneIf(err == nil && a.Is4() && (k.of != kindNetmask || isNetmask(a))), w
	case kindPrefix:
		p, err := netip.ParsePrefix(w)
		return oneIf(err == nil), p.String()
	case kindInterface:
		return interfaceTokens(tokens)
	case kindWord, kindSecret:
		return 1, w
	case kindLine:
		return len(tokens), strings.TrimRight(line[tokens[0].start:], blanks)
	}
	return 0, ""
}

func oneIf(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

func isNetmask(a netip.Addr) bool {
	b := a.As4()
	host := ^(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	return host&(host+1) == 0
}

// interfaceTokens takes "Gi0/1", or "gig" and "0/1".
func interfaceTokens(tokens []token) (int, string) {
	w := tokens[0].text
	if strings.ContainsAny(w[len(w)-1:], "0123456789") {
		name, ok := InterfaceName(w)
		return oneIf(ok), name
	}
	if len(tokens) < 2 || !isUnit(tokens[1].text) {
		return 0, ""
	}
	if _, known := interfaceType(w); !known {
		return 0, ""
	}
	name, ok := InterfaceName(w + tokens[1].text)
	return 2 * oneIf(ok), name
}

// InterfaceName is the full form of an interface name: "g0/1" is
// "GigabitEthernet0/1". A type that is not known is kept as it is written;
// false for what is no interface name, or an ambiguous one such as "t0".
func InterfaceName(s string) (string, bool) {
	i := len(s)
	for i > 0 && strings.IndexByte("0123456789/.:", s[i-1]) >= 0 {
		i--
	}
	if i == 0 || !isUnit(s[i:]) {
		return "", false
	}
	for _, c := range s[:i] {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "", false
		}
	}
	if s[0] >= '0' && s[0] <= '9' {
		return "", false
	}
	typ, known := interfaceType(s[:i])
	if typ == "" && known {
		return "", false
	}
	if !known {
		typ = s[:i]
	}
	return typ + s[i:], true
}

// isUnit reports whether s is the number of an interface: "0", "0/1.70".
func isUnit(s string) bool {
	digit := false
	for i := range len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digit = true
		case strings.IndexByte("/.:", s[i]) < 0 || !digit:
			return false
		default:
			digit = false
		}
	}
	return digit
}

// interfaceType spells a type of interface in full. known with an empty name
// means that several types begin like that. A single letter is the type that
// operators mean by it: "f0/0" is a FastEthernet, whatever else a box has.
func interfaceType(s string) (name string, known bool) {
	if len(s) == 1 {
		for _, t := range []string{"GigabitEthernet", "FastEthernet", "Ethernet", "Serial", "Loopback", "Vlan"} {
			if foldPrefix(t, s) {
				return t, true
			}
		}
	}
	for _, t := range interfaceTypes() {
		switch {
		case strings.EqualFold(s, t):
			return t, true
		case !foldPrefix(t, s):
		case known:
			return "", true
		default:
			name, known = t, true
		}
	}
	return name, known
}

// interfaceTypes are the names IOS prints.
func interfaceTypes() []string {
	return []string{
		"GigabitEthernet", "FastEthernet", "Ethernet", "TenGigabitEthernet", "TwoGigabitEthernet", "FiveGigabitEthernet",
		"TwentyFiveGigE", "FortyGigabitEthernet", "HundredGigE", "Loopback", "Tunnel", "Vlan", "Port-channel", "Serial",
		"Dialer", "Virtual-Template", "Virtual-Access", "BVI", "BDI", "Null", "ATM", "Cellular", "Async", "Multilink",
		"Dot11Radio", "NVI",
	}
}

// foldPrefix reports whether word begins with prefix, in any case of ASCII letters.
func foldPrefix(word, prefix string) bool {
	return len(prefix) <= len(word) && strings.EqualFold(word[:len(prefix)], prefix)
}
