package config

import "strings"

// isGlobalWord reports whether a line begins like a global command of IOS
// that is not ours. It matters only where a file has no indentation: there
// such a line ends the block before it, and any other unknown line is taken
// for a misspelt part of the block.
func isGlobalWord(body string) bool { return beginsWith(body, globalWords, globalIPWords) }

// endsInterface is the same for a file whose interface blocks have no
// indentation: only what opens a block of its own, since most words are
// commands of an interface too.
func endsInterface(body string) bool { return beginsWith(body, blockWords, " sla ") }

func beginsWith(body, words, ipWords string) bool {
	w := strings.Fields(strings.ToLower(body))
	if len(w) > 1 && (w[0] == "no" || w[0] == "default") {
		w = w[1:]
	}
	if w[0] == "ip" && len(w) > 1 {
		return strings.Contains(ipWords, " "+w[1]+" ")
	}
	return strings.Contains(words, " "+w[0]+" ")
}

// The words are those that running-configs of IOS and IOS XE begin with.
const (
	blockWords = " aaa archive class-map control-plane controller dial-peer key line object-group parameter-map policy-map" +
		" redundancy route-map router template track vlan voice voice-card wlan "
	globalWords = " aaa access-session alias appfw archive arp async-bootp authentication-proxy banner boot boot-end-marker" +
		" boot-start-marker bootp bridge bridge-domain buffers call call-home card cdp cef class-map clock cns config-register control-plane" +
		" controller cts dampening default-value define device-tracking diagnostic dial-peer dialer-list diameter dot11 dot1x dspfarm" +
		" eap enable endpoint-tracker errdisable event exception facility-alarm fallback file flow fhrp format frame-relay gatekeeper" +
		" gateway global-address-family guestshell hw-module ipc ipv6 isdn iox key l2 l2tp-class l2vpn license line lldp logging login mac" +
		" mac-address-table macro management map-class map-list md5 media-proxy memory memory-size menu mls mmi mmi-adaptor modem mpls" +
		" multilink netconf netconf-yang netmap network-clock ntp object-group parameter-map parser partition password platform" +
		" policy-map port-channel ppp pppoe prefix-list priority-list privilege process process-max-time prompt pseudowire" +
		" pseudowire-class qos queue-list radius radius-server redundancy regexp rmon rif route-map route-tag router rtr sampler" +
		" scheduler security service service-chain service-insertion service-list sgbp shell sip-ua slb snmp snmp-server spanning-tree" +
		" spd ssh stack-mac stackwise-virtual state-machine stcapp subscriber-policy switch system table-map tacacs tacacs-server" +
		" telephony-service template terminal tftp-server time-range track transceiver translation-rule ttycap udld upgrade" +
		" username vc-class version virtual-profile vlan vmps voice voice-card vpdn vpdn-group vrf vstack vtp webvpn wsma x25 x29 xconnect" +
		" zone zone-pair transport-map bba-group wlan "
	globalIPWords = " accounting-list accounting-threshold admission alias as-path bgp-community bootp cef classless community-list" +
		" default-gateway default-network dhcp dns domain domain-list domain-lookup domain-name dvmrp explicit-path extcommunity-list" +
		" finger forward-protocol ftp gratuitous-arps host host-routing http icmp identd inspect ips kerberos local local-pool mrm mroute" +
		" msdp multicast-routing name-server nat options port-map prefix-list radius rcmd reflexive-list routing rsvp scp sdr security sla" +
		" source-route spd ssh subnet-zero sdee tacacs tcp telnet tftp udp urlfilter vrf wccp zone "
)
