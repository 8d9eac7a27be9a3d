package config

import (
	"slices"
	"strings"

	"culvert/internal/conf/ios"
	"culvert/internal/core/flow"
	"culvert/internal/core/suite"
)

// The modes, named as IOS shows them in its prompt.
const (
	modeGlobal    = "config"
	modeInterface = "config-if"
	modePolicy    = "config-isakmp"
	modeTransform = "cfg-crypto-trans"
	modeMap       = "config-crypto-map"
	modeIdentity  = "config-crypto-identity"
	modeExtended  = "config-ext-nacl"
	modeStandard  = "config-std-nacl"
)

// Two names of commands that only say what Culvert does not do. Their Help is
// the reason. unsupported stops run, inert does not.
const (
	unsupported = "unsupported"
	inert       = "inert"
)

// grammar is the tree of every configuration command.
func grammar() *ios.Tree {
	return ios.Must(ios.New(glossary(), slices.Concat(stepModes(), peerModes(), pkiModes())...))
}

// stepModes are the modes of the five steps themselves.
func stepModes() []ios.Mode {
	return []ios.Mode{
		{Name: modeGlobal, Negatable: true, Commands: slices.Concat(globalCommands(), cryptoCommands(), peerCommands(), pkiCommands(), accessListCommands(), unsupportedCommands())},
		{Name: modeInterface, Negatable: true, Commands: interfaceCommands()},
		{Name: modePolicy, Negatable: true, Commands: policyCommands()},
		{Name: modeTransform, Negatable: true, Commands: []ios.Command{
			{Name: "mode", Syntax: "mode / { tunnel | transport [ require ] }"},
			{Name: "esn", Syntax: "esn"},
		}},
		{Name: modeMap, Negatable: true, Commands: mapCommands()},
		{Name: modeIdentity, Negatable: true, Commands: []ios.Command{
			{Name: "dn", Syntax: "dn <dn:LINE>"},
			{Name: "fqdn", Syntax: "fqdn <fqdn:WORD>"},
		}},
		{Name: modeExtended, Negatable: true, Commands: listCommands(extendedEntry())},
		{Name: modeStandard, Negatable: true, Commands: listCommands(standardEntry())},
	}
}

// alternatives is "a | b | c" of words.
func alternatives(words string) string { return strings.Join(strings.Fields(words), " | ") }

func globalCommands() []ios.Command {
	return []ios.Command{
		{Name: "hostname", Syntax: "hostname / <name:WORD>"},
		{Name: "interface", Syntax: "interface <interface:INTERFACE> [ point-to-point | multipoint ]", Opens: modeInterface},
		{Name: "route", Syntax: "ip route <net:A.B.C.D> <mask:NETMASK> / { <hop:A.B.C.D> | <interface:INTERFACE> [ <hop:A.B.C.D> ] }" +
			" [ <distance:1-255> | tag <tag:1-4294967295> | track <track:1-1000> | name <name:WORD> | permanent ]..."},
		{Name: inert, Syntax: "ip route { vrf | profile | static } [ <rest:LINE> ]", Help: "a routing table of its own (VRF)"},
		{Name: "exit", Syntax: "exit"},
		{Name: "exit", Syntax: "quit"},
		{Name: "end", Syntax: "end"},
		{Name: "do", Syntax: "do <command:LINE>"},
	}
}

func interfaceCommands() []ios.Command {
	return []ios.Command{
		{Name: "description", Syntax: "description / <text:LINE>"},
		{Name: "address", Syntax: "ip address / { <address:A.B.C.D> <mask:NETMASK> [ secondary ] | dhcp }"},
		{Name: inert, Syntax: "ip address negotiated", Help: "an address learned by PPP"},
		{Name: "access-group", Syntax: "ip access-group <list:WORD> <direction:in|out>"},
		{Name: "crypto-map", Syntax: "crypto map / <name:WORD>"},
		{Name: unsupported, Syntax: "crypto map <name:WORD> redundancy [ <rest:LINE> ]", Help: "stateful failover"},
		{Name: unsupported, Syntax: "crypto { ipsec | ikev2 | engine | isakmp } [ <rest:LINE> ]", Help: "crypto settings of one interface"},
		{Name: unsupported, Syntax: "tunnel protection [ <rest:LINE> ]", Help: "a tunnel interface with IPsec protection"},
		{Name: "shutdown", Syntax: "shutdown"},
		{Name: "exit", Syntax: "exit"},
	}
}

func cryptoCommands() []ios.Command {
	lifetime := "crypto ipsec security-association lifetime { seconds / <seconds:120-86400> | kilobytes / { <kilobytes:2560-4294967295> | disable } | days / <days:1-1> }"
	return []ios.Command{
		{Name: "policy", Syntax: "crypto isakmp policy <priority:1-10000>", Opens: modePolicy},
		{Name: "key", Syntax: "crypto isakmp key [ <type:0|6> ] <key:SECRET> " +
			preShared + " [ no-xauth ]"},
		{Name: "enable", Syntax: "crypto isakmp enable"},
		{Name: "keepalive", Syntax: "crypto isakmp keepalive / <interval:10-3600> [ <retry:2-60> ] [ <how:periodic|on-demand> ]"},
		{Name: "nat-keepalive", Syntax: "crypto isakmp nat keepalive / <interval:5-3600>"},
		{Name: "identity", Syntax: "crypto isakmp identity / <identity:address|hostname|dn>"},
		{Name: "spi-recovery", Syntax: "crypto isakmp invalid-spi-recovery"},
		{Name: "aggressive", Syntax: "crypto isakmp aggressive-mode disable"},
		{Name: "default-policy", Syntax: "crypto isakmp default policy"},
		{Name: inert, Syntax: "crypto isakmp diagnose [ <rest:LINE> ]", Help: "a memory of errors: culvert explain has one"},
		{Name: inert, Syntax: "crypto isakmp nat-traversal [ <rest:LINE> ]", Help: "NAT traversal, which is always on"},
		{Name: inert, Syntax: "crypto isakmp xauth [ <rest:LINE> ]", Help: "remote access clients"},
		{Name: "log-sessions", Syntax: "crypto logging session"},
		{Name: "shield", Syntax: "crypto engine compliance shield disable"},
		{Name: "nat-transparency", Syntax: "crypto ipsec nat-transparency udp-encapsulation"},
		{Name: "lifetime", Syntax: lifetime},
		{Name: "replay-window", Syntax: "crypto ipsec security-association replay window-size / <packets:64|128|256|512|1024>"},
		{Name: "replay-disable", Syntax: "crypto ipsec security-association replay disable"},
		{Name: "idle-time", Syntax: "crypto ipsec security-association idle-time / <idle:60-86400>"},
		{Name: "transform-set", Syntax: "crypto ipsec transform-set <name:WORD> / " + transforms(), Opens: modeTransform},
		{Name: "map", Syntax: "crypto map <name:WORD> <seq:1-65535> [ ipsec-isakmp ]", Opens: modeMap},
		{Name: "map-all", Syntax: "crypto map <name:WORD> / local-address <interface:INTERFACE>"},
		{Name: "map-dynamic", Syntax: "crypto map <name:WORD> <seq:1-65535> ipsec-isakmp dynamic <dynamic:WORD>"},
		{Name: unsupported, Syntax: "crypto map <name:WORD> <seq:1-65535> ipsec-isakmp dynamic <dynamic:WORD> discover", Help: "tunnel endpoint discovery"},
		{Name: "dynamic-map", Syntax: "crypto dynamic-map <name:WORD> / <seq:1-65535>", Opens: modeMap},
		{Name: "identity-list", Syntax: "crypto identity <name:WORD>", Opens: modeIdentity},
	}
}

// transforms is one to four transforms, each with an optional key size. What
// fits together is checked later, so that the error can tell why.
func transforms() string {
	var names []string
	for _, h := range suite.Hashes() {
		names = append(names, h.Row().AH)
	}
	for _, c := range suite.Ciphers() {
		names = append(names, c.Row().ESP)
	}
	for _, h := range suite.Hashes() {
		names = append(names, h.Row().ESP)
	}
	names = append(names, "esp-192-aes", "esp-256-aes", "esp-gmac", "esp-seal", "comp-lzs")
	return "{ <transform:" + strings.Join(names, "|") + "> [ <bits:128|192|256> ] }..."
}

func policyCommands() []ios.Command {
	var hashes []string
	for _, h := range suite.Hashes() {
		hashes = append(hashes, h.Row().IKE)
	}
	var groups []string
	for _, g := range suite.Groups() {
		groups = append(groups, strings.TrimPrefix(g.String(), "group"))
	}
	return []ios.Command{
		{Name: "encryption", Syntax: "encryption / { <cipher:des|3des> | <cipher:aes> [ <bits:128|192|256> ] }"},
		{Name: "hash", Syntax: "hash / <hash:" + strings.Join(hashes, "|") + ">"},
		{Name: "authentication", Syntax: "authentication / <method:pre-share|rsa-sig|ecdsa-sig|rsa-encr>"},
		{Name: "group", Syntax: "group / <group:" + strings.Join(groups, "|") + ">"},
		{Name: "lifetime", Syntax: "lifetime / <seconds:60-86400>"},
	}
}

func mapCommands() []ios.Command {
	var groups []string
	for _, g := range suite.Groups() {
		groups = append(groups, g.String())
	}
	return []ios.Command{
		{Name: "description", Syntax: "description / <text:LINE>"},
		{Name: "match", Syntax: "match address / <list:WORD>"},
		{Name: "peer", Syntax: "set peer / <peer:A.B.C.D> [ default ]"},
		{Name: unsupported, Syntax: "set peer <host:WORD> [ dynamic ] [ default ]", Help: "a peer by name: write its address"},
		{Name: "sets", Syntax: "set transform-set / <set:WORD>..."},
		{Name: "pfs", Syntax: "set pfs / [ <group:" + strings.Join(groups, "|") + "> ]"},
		{Name: "lifetime", Syntax: "set security-association lifetime { seconds / <seconds:120-2592000> |" +
			" kilobytes / { <kilobytes:2560-4294967295> | disable } | days / <days:1-30> }"},
		{Name: "use-profile", Syntax: "set isakmp-profile / <profile:WORD>"},
		{Name: unsupported, Syntax: "set ikev2-profile <rest:LINE>", Help: "IKEv2"},
		{Name: "use-identity", Syntax: "set identity / <identity:WORD>"},
		{Name: unsupported, Syntax: "set ip access-group <rest:LINE>", Help: "an access list on the decrypted packets"},
		{Name: unsupported, Syntax: "set nat demux", Help: "NAT demultiplexing"},
		{Name: "idle-time", Syntax: "set security-association idle-time / <idle:60-86400> [ default ]"},
		{Name: "per-host", Syntax: "set security-association level per-host"},
		{Name: "replay", Syntax: "set security-association replay { window-size / <packets:64|128|256|512|1024> | disable }"},
		{Name: "responder-only", Syntax: "responder-only"},
		{Name: inert, Syntax: "set reverse-route [ <rest:LINE> ]", Help: "reverse route injection: the system's routes decide"},
		{Name: unsupported, Syntax: "set security-association { dfbit | ecn | dummy } [ <rest:LINE> ]", Help: "this setting of an IPsec SA"},
		{Name: inert, Syntax: "reverse-route [ <rest:LINE> ]", Help: "reverse route injection: the system's routes decide"},
		{Name: inert, Syntax: "qos pre-classify", Help: "quality of service before encryption"},
	}
}

// unsupportedCommands are crypto commands of IOS that Culvert knows and does
// not do yet: refused with the reason, not called unknown.
func unsupportedCommands() []ios.Command {
	var out []ios.Command
	for _, c := range []struct{ syntax, why string }{
		{"crypto ikev2", "IKEv2"},
		{"crypto isakmp client", "remote access clients"},
		{"crypto isakmp disconnect-revoked-peers", "ending the SAs of a peer whose certificate is revoked later"},
		{"crypto ipsec profile <name:WORD>", "IPsec profiles for tunnel interfaces"},
		{"crypto ipsec client", "remote access clients"},
		{"crypto ipsec { df-bit | fragmentation | ipv4-deny | optional | ike }", "this IPsec setting"},
		{"crypto ipsec nat-transparency spi-matching", "NAT traversal without UDP encapsulation"},
		{"crypto ipsec security-association { ecn | multi-sn | dummy }", "this setting of an IPsec SA"},
		{"crypto map <name:WORD> <seq:1-65535> ipsec-isakmp profile", "profiles on a crypto map: write set isakmp-profile"},
		{"crypto map <name:WORD> <seq:1-65535> { ipsec-manual | gdoi }", "manual keys and group keys"},
		{"crypto map <name:WORD> { client | isakmp | isakmp-profile | redundancy | gdoi }", "remote access, profiles and failover on a crypto map"},
		{"crypto map ipv6 <name:WORD> <seq:1-65535>", "IPv6"},
		{"crypto { gdoi | gkm | provisioning | tls-tunnel | vpn | ssl | call | xauth | mib | mpls }", "this part of IOS crypto"},
		{"crypto logging { ikev2 | ezvpn }", "this kind of log"},
		{"crypto engine { accelerator | slot | em | aim | onboard | nm | software }", "crypto hardware"},
	} {
		out = append(out, ios.Command{Name: unsupported, Syntax: c.syntax + " [ <rest:LINE> ]", Help: c.why})
	}
	return out
}

func accessListCommands() []ios.Command {
	return []ios.Command{
		{Name: "numbered-standard", Syntax: "access-list <list:1-99|1300-1999> / " + standardEntry()},
		{Name: "numbered-extended", Syntax: "access-list <list:100-199|2000-2699> / " + extendedEntry()},
		{Name: "list-extended", Syntax: "ip access-list extended <list:WORD>", Opens: modeExtended},
		{Name: "list-standard", Syntax: "ip access-list standard <list:WORD>", Opens: modeStandard},
		{Name: "resequence", Syntax: "ip access-list resequence <list:WORD> <start:1-2147483647> <step:1-2147483647>"},
		{Name: inert, Syntax: "ip access-list { logging | log-update | helper | match-local-traffic | persistent | role-based | fqdn } [ <rest:LINE> ]",
			Help: "this setting of access lists"},
	}
}

func listCommands(entry string) []ios.Command {
	return []ios.Command{
		{Name: "entry", Syntax: "<seq:1-2147483647> / " + entry},
		{Name: "entry", Syntax: entry},
		{Name: "list-unsupported", Syntax: "evaluate <rest:LINE>", Help: "reflexive access lists"},
	}
}

// standardEntry is a line of a standard list behind its number.
func standardEntry() string {
	return "{ <action:permit|deny> { any | host <src:A.B.C.D> | object-group <unsupported:LINE> | <src:A.B.C.D> [ <src-wildcard:WILDCARD> ] } [ log ]" +
		" | remark <text:LINE> }"
}

// extendedEntry is a line of an extended list behind its number.
func extendedEntry() string {
	flags := " [ log | log-input | fragments | <unsupported:dscp|precedence|tos|ttl|option|time-range|reflect> <unsupported:LINE> ]..."
	tcpFlags := strings.Replace(flags, "[ log", "[ established | <unsupported:ack|fin|psh|rst|syn|urg|match-all|match-any> [ <unsupported:LINE> ] | log", 1)
	var protocols []string
	for n := range 256 {
		p := uint8(n)
		name := flow.ProtoName(p)
		if p != flow.TCP && p != flow.UDP && p != flow.ICMP && strings.Trim(name, "0123456789") != "" {
			protocols = append(protocols, name)
		}
	}
	return "{ <action:permit|deny> {" +
		" <proto:tcp>" + end("src") + ports("src", flow.TCP) + end("dst") + ports("dst", flow.TCP) + tcpFlags +
		" | <proto:udp>" + end("src") + ports("src", flow.UDP) + end("dst") + ports("dst", flow.UDP) + flags +
		" | <proto:icmp>" + end("src") + end("dst") + " [ <icmp-type:0-255|" + strings.Join(slices.Sorted(slices.Values(flow.ICMPWords())), "|") + "> [ <icmp-code:0-255> ] ]" + flags +
		" | <proto:0-255|" + strings.Join(protocols, "|") + ">" + end("src") + end("dst") + flags +
		" | object-group <unsupported:LINE> } | remark <text:LINE> }"
}

// end is one end of a flow: any, host A or A W.
func end(name string) string {
	return strings.ReplaceAll(" { <@-any:any> | host <@-host:A.B.C.D> | object-group <unsupported:LINE> | <@:A.B.C.D> <@-wildcard:WILDCARD> }", "@", name)
}

// ports is the optional condition on the ports of one end.
func ports(name string, proto uint8) string {
	var words []string
	for w := range flow.PortNames(proto) {
		words = append(words, w)
	}
	slices.Sort(words)
	port := "<@-port:0-65535|" + strings.Join(words, "|") + ">"
	return strings.ReplaceAll(" [ <@-op:eq|neq> "+port+"... | <@-op:gt|lt> "+port+" | <@-op:range> "+port+" "+port+" ]", "@", name)
}
