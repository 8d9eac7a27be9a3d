package config

import "culvert/internal/conf/ios"

// The modes of the blocks that say who a peer is.
const (
	modeKeyring = "conf-keyring"
	modeProfile = "conf-isa-prof"
	modePeer    = "config-isakmp-peer"
)

// preShared is the part of a key's line that names its peers.
const preShared = "{ address { <peer:A.B.C.D> [ <mask:NETMASK> ] | ipv6 <prefix:PREFIX> } | hostname <host:WORD> }"

// peerModes are the modes of keyrings, ISAKMP profiles and peers of aggressive mode.
func peerModes() []ios.Mode {
	return []ios.Mode{
		{Name: modeKeyring, Negatable: true, Commands: keyringCommands()},
		{Name: modeProfile, Negatable: true, Commands: profileCommands()},
		{Name: modePeer, Negatable: true, Commands: []ios.Command{
			{Name: "description", Syntax: "description / <text:LINE>"},
			{Name: "password", Syntax: "set aggressive-mode password / [ <type:0|6> ] <key:SECRET>"},
			{Name: "endpoint", Syntax: "set aggressive-mode client-endpoint / " +
				"{ fqdn <fqdn:WORD> | user-fqdn <user:WORD> | ipv4-address <address:A.B.C.D> }"},
		}},
	}
}

// peerCommands are the global commands that say who a peer is.
func peerCommands() []ios.Command {
	return []ios.Command{
		{Name: "domain", Syntax: "ip domain name / <name:WORD>"},
		{Name: "domain", Syntax: "ip domain-name / <name:WORD>"},
		{Name: "fragmentation", Syntax: "crypto isakmp fragmentation"},
		{Name: "keyring", Syntax: "crypto keyring <name:WORD>", Opens: modeKeyring},
		{Name: unsupported, Syntax: "crypto keyring <name:WORD> vrf <rest:LINE>", Help: "keys of a VRF"},
		{Name: "profile", Syntax: "crypto isakmp profile <name:WORD>", Opens: modeProfile},
		{Name: unsupported, Syntax: "crypto isakmp profile <name:WORD> accounting <rest:LINE>", Help: "accounting of remote access"},
		{Name: "peer", Syntax: "crypto isakmp peer { address <peer:A.B.C.D> | hostname <host:WORD> }", Opens: modePeer},
		{Name: unsupported, Syntax: "crypto isakmp peer { address <peer:A.B.C.D> | hostname <host:WORD> } vrf <rest:LINE>", Help: "a peer in a VRF"},
		{Name: unsupported, Syntax: "crypto isakmp peer address ipv6 <rest:LINE>", Help: "IPv6"},
	}
}

func keyringCommands() []ios.Command {
	return []ios.Command{
		{Name: "description", Syntax: "description / <text:LINE>"},
		{Name: "local-address", Syntax: "local-address / { <address:A.B.C.D> | <interface:INTERFACE> }"},
		{Name: "key", Syntax: "pre-shared-key " + preShared + " / key [ <type:0|6> ] <key:SECRET>"},
		{Name: inert, Syntax: "rsa-pubkey [ <rest:LINE> ]", Help: "RSA encryption with the peer's public key"},
		{Name: inert, Syntax: "address <rest:LINE>", Help: "RSA encryption with the peer's public key"},
		{Name: inert, Syntax: "serial-number <rest:LINE>", Help: "RSA encryption with the peer's public key"},
		{Name: inert, Syntax: "key-string [ <rest:LINE> ]", Help: "RSA encryption with the peer's public key"},
	}
}

func profileCommands() []ios.Command {
	identity := "match identity "
	out := []ios.Command{
		{Name: "description", Syntax: "description / <text:LINE>"},
		{Name: "keyring", Syntax: "keyring / <ring:WORD>..."},
		{Name: "self-identity", Syntax: "self-identity / { address | fqdn [ <fqdn:WORD> ] | user-fqdn <user:WORD> }"},
		{Name: unsupported, Syntax: "self-identity address ipv6", Help: "IPv6"},
		{Name: "match-address", Syntax: identity + "address <peer:A.B.C.D> [ <mask:NETMASK> ]"},
		{Name: unsupported, Syntax: identity + "address <peer:A.B.C.D> <mask:NETMASK> <vrf:WORD>", Help: "a peer in a VRF"},
		{Name: unsupported, Syntax: identity + "address ipv6 <rest:LINE>", Help: "IPv6"},
		{Name: "match-name", Syntax: identity + "{ host { <host:WORD> | domain <host-domain:WORD> }" +
			" | user { <user:WORD> | domain <user-domain:WORD> } | group <group:WORD> }"},
		{Name: "match-certificate", Syntax: "match certificate <map:WORD>"},
		{Name: "keepalive", Syntax: "keepalive / <interval:10-3600> retry <retry:2-60>"},
		{Name: "local-address", Syntax: "local-address / { <address:A.B.C.D> | <interface:INTERFACE> }"},
		{Name: "trust-point", Syntax: "ca trust-point <trustpoint:WORD>"},
		{Name: "initiate", Syntax: "initiate mode / <mode:main|aggressive>"},
	}
	for _, c := range []struct{ syntax, why string }{
		{"vrf", "a routing table of its own (VRF)"},
		{"accounting", "accounting of remote access"},
		{"client", "remote access clients"},
		{"isakmp", "authorization of remote access"},
		{"qos-group", "marking of packets"},
		{"virtual-template", "an interface for each peer"},
	} {
		out = append(out, ios.Command{Name: inert, Syntax: c.syntax + " [ <rest:LINE> ]", Help: c.why})
	}
	return out
}
