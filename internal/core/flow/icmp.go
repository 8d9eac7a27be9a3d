package flow

import "strconv"

// icmpWords are IOS's names of ICMP types, and of a type with a code (-1 for
// any code). RFC 792, RFC 1812.
var icmpWords = map[string][2]int{
	"administratively-prohibited": {3, 13}, "echo": {8, -1}, "echo-reply": {0, -1}, "host-unreachable": {3, 1},
	"information-reply": {16, -1}, "information-request": {15, -1}, "mask-reply": {18, -1}, "mask-request": {17, -1},
	"net-unreachable": {3, 0}, "packet-too-big": {3, 4}, "parameter-problem": {12, -1}, "port-unreachable": {3, 3},
	"protocol-unreachable": {3, 2}, "reassembly-timeout": {11, 1}, "redirect": {5, -1}, "router-advertisement": {9, -1},
	"router-solicitation": {10, -1}, "source-quench": {4, -1}, "time-exceeded": {11, -1}, "timestamp-reply": {14, -1},
	"timestamp-request": {13, -1}, "traceroute": {30, -1}, "ttl-exceeded": {11, 0}, "unreachable": {3, -1},
}

// ICMPWords lists IOS's names of ICMP messages.
func ICMPWords() []string {
	out := make([]string, 0, len(icmpWords))
	for w := range icmpWords {
		out = append(out, w)
	}
	return out
}

// ICMPOf is the type and code of an IOS name; code -1 is any.
func ICMPOf(word string) (typ, code int, ok bool) {
	v, ok := icmpWords[word]
	return v[0], v[1], ok
}

// ICMPName is IOS's name of a type and code (-1 for any), or the numbers;
// empty for any type.
func ICMPName(typ, code int) string {
	if typ < 0 {
		return ""
	}
	for w, v := range icmpWords {
		if v == [2]int{typ, code} {
			return w
		}
	}
	if code < 0 {
		return strconv.Itoa(typ)
	}
	return strconv.Itoa(typ) + " " + strconv.Itoa(code)
}
