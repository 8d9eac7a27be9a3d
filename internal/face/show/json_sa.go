package show

import (
	"net/netip"
	"time"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

// ISAKMPSAs is "show crypto isakmp sa", with or without detail.
type ISAKMPSAs struct {
	SAs []ISAKMPSAItem `json:"isakmp_sas"`
}

// ISAKMPSAItem is one ISAKMP SA. What is not agreed yet is empty or zero.
type ISAKMPSAItem struct {
	ConnID           int              `json:"conn_id"`
	Destination      string           `json:"destination"` // the responder
	Source           string           `json:"source"`      // the initiator
	Local            string           `json:"local"`
	LocalPort        uint16           `json:"local_port"`
	Remote           string           `json:"remote"`
	RemotePort       uint16           `json:"remote_port"`
	Role             string           `json:"role"`
	State            string           `json:"state"`
	Status           string           `json:"status"` // as IOS prints it
	Deleted          bool             `json:"deleted"`
	Policy           ISAKMPPolicyItem `json:"policy"`
	Established      *time.Time       `json:"established"`
	RemainingSeconds int64            `json:"remaining_seconds"`
	LocalBehindNAT   bool             `json:"local_behind_nat"`
	PeerBehindNAT    bool             `json:"peer_behind_nat"`
	DPD              bool             `json:"dpd"`
	PeerIdentity     string           `json:"peer_identity"`
	Profile          string           `json:"isakmp_profile"` // "" for none
	Aggressive       bool             `json:"aggressive"`
	Fragmentation    bool             `json:"fragmentation"`
}

// ISAKMPSAView is the view of "show crypto isakmp sa".
func ISAKMPSAView(g *status.Gateway) ISAKMPSAs {
	v := ISAKMPSAs{SAs: []ISAKMPSAItem{}}
	for i := range g.ISAKMP {
		s := &g.ISAKMP[i]
		dst, src := ends(s)
		v.SAs = append(v.SAs, ISAKMPSAItem{
			ConnID: s.Conn, Destination: word(dst), Source: word(src),
			Local: word(s.Local.Addr()), LocalPort: s.Local.Port(), Remote: word(s.Remote.Addr()), RemotePort: s.Remote.Port(),
			Role: s.Role.String(), State: s.State, Status: saStatus(s), Deleted: s.Deleted, Policy: policyItem(s.Policy),
			Established: instant(s.Established), RemainingSeconds: seconds(s.Remaining),
			LocalBehindNAT: s.NAT.LocalBehind, PeerBehindNAT: s.NAT.PeerBehind, DPD: s.DPD, PeerIdentity: identityOf(s),
			Profile: s.Profile, Aggressive: s.Aggressive, Fragmentation: s.Fragmentation,
		})
	}
	return v
}

// ISAKMPCount is "show crypto isakmp sa count".
type ISAKMPCount struct {
	Active      int `json:"active"`
	Negotiating int `json:"negotiating"`
	Dead        int `json:"dead"`
}

// ISAKMPCountView is the view of "show crypto isakmp sa count".
func ISAKMPCountView(g *status.Gateway) ISAKMPCount { return countISAKMP(g) }

// Peers is "show crypto isakmp peers".
type Peers struct {
	Peers []PeerItem `json:"isakmp_peers"`
}

// PeerItem is one peer with a living ISAKMP SA.
type PeerItem struct {
	Peer     string `json:"peer"`
	Port     uint16 `json:"port"`
	Local    string `json:"local"`
	Identity string `json:"phase1_id"`
}

// PeersView is the view of "show crypto isakmp peers".
func PeersView(g *status.Gateway) Peers {
	v := Peers{Peers: []PeerItem{}}
	for _, s := range peers(g) {
		v.Peers = append(v.Peers, PeerItem{word(s.Remote.Addr()), s.Remote.Port(), word(s.Local.Addr()), identityOf(s)})
	}
	return v
}

// IPsecSAs is "show crypto ipsec sa", with or without detail.
type IPsecSAs struct {
	Flows []FlowItem `json:"flows"`
	// Drops of the whole gateway, which belong to no flow.
	Drops GatewayDrops `json:"gateway_drops"`
}

// GatewayDrops are inbound packets dropped before a flow was known.
type GatewayDrops struct {
	NotIPsec uint64 `json:"not_ipsec"`
	BadSPI   uint64 `json:"invalid_spi"`
	BadICV   uint64 `json:"verify_failed"`
	Replayed uint64 `json:"replay_failed"`
}

// FlowItem is one flow and its SA pairs.
type FlowItem struct {
	Interface    string       `json:"interface"`
	CryptoMap    string       `json:"crypto_map"`
	Sequence     int          `json:"sequence"`
	ACLLine      int          `json:"acl_line"`
	ACLText      string       `json:"acl_text"`
	Local        string       `json:"local_endpoint"`
	Peer         string       `json:"remote_endpoint"`
	PeerPort     uint16       `json:"remote_port"`
	Idents       Idents       `json:"idents"`
	Up           bool         `json:"up"`
	UpSince      *time.Time   `json:"up_since"`
	Waiting      int          `json:"packets_waiting"`
	PathMTU      int          `json:"path_mtu"`
	InterfaceMTU int          `json:"ip_mtu"`
	PlaintextMTU int          `json:"plaintext_mtu"`
	Counters     CounterItem  `json:"counters"`
	Pairs        []SAPairItem `json:"sa_pairs"`    // newest first
	DynamicMap   string       `json:"dynamic_map"` // "DYN/10" for a flow that a peer asked of it, else ""
}

// CounterItem is the counters of one flow, in packets unless they say octets.
type CounterItem struct {
	Encaps          uint64 `json:"encaps"`
	Encrypt         uint64 `json:"encrypt"`
	Digest          uint64 `json:"digest"`
	Decaps          uint64 `json:"decaps"`
	Decrypt         uint64 `json:"decrypt"`
	Verify          uint64 `json:"verify"`
	SendErrors      uint64 `json:"send_errors"`
	RecvErrors      uint64 `json:"recv_errors"`
	SendOctets      uint64 `json:"send_octets"`
	RecvOctets      uint64 `json:"recv_octets"`
	NoSA            uint64 `json:"no_sa"`
	InvalidIdentity uint64 `json:"invalid_identity"`
	ReplayFailed    uint64 `json:"replay_failed"`
	VerifyFailed    uint64 `json:"verify_failed"`
}

// SAPairItem is one pair of IPsec SAs. SPIs are hexadecimal text.
type SAPairItem struct {
	InboundSPI         string     `json:"inbound_spi"`
	OutboundSPI        string     `json:"outbound_spi"`
	InboundConnID      int        `json:"inbound_conn_id"`
	OutboundConnID     int        `json:"outbound_conn_id"`
	Protocol           string     `json:"protocol"` // "esp", "ah" or "ah+esp"
	InboundAHSPI       string     `json:"inbound_ah_spi,omitempty"`
	OutboundAHSPI      string     `json:"outbound_ah_spi,omitempty"`
	ESN                bool       `json:"esn"`
	TransformSet       string     `json:"transform_set"`
	Transform          string     `json:"transform"`
	Mode               string     `json:"mode"`
	UDPEncapsulation   bool       `json:"udp_encapsulation"`
	PFSGroup           int        `json:"pfs_group"` // 0 without PFS
	Idents             Idents     `json:"idents"`
	Established        *time.Time `json:"established"`
	RemainingSeconds   int64      `json:"remaining_seconds"`
	RemainingKilobytes *uint64    `json:"remaining_kilobytes"` // null without a volume limit
	ReplayWindow       int        `json:"replay_window"`
	Lifetime           Life       `json:"lifetime"`
}

// IPsecSAView is the view of "show crypto ipsec sa [peer A]".
func IPsecSAView(g *status.Gateway, peer netip.Addr) IPsecSAs {
	v := IPsecSAs{Flows: []FlowItem{}, Drops: GatewayDrops{g.NotIPsec, g.BadSPI, g.BadICV, g.Replayed}}
	for _, f := range flowsOf(g, peer) {
		current := currentPeer(g, f)
		path, ip := mtus(f)
		item := FlowItem{
			Interface: f.Interface, CryptoMap: f.ID.Map, Sequence: f.ID.Seq, ACLLine: f.ID.Line, ACLText: f.Text,
			Local: word(f.Local), Peer: word(current.Addr()), PeerPort: current.Port(), Idents: idents(shownSelectors(f)),
			Up: len(f.Children) > 0, UpSince: instant(f.Since), Waiting: f.Waiting,
			PathMTU: path, InterfaceMTU: ip, PlaintextMTU: plaintext(f),
			Counters: counterItem(&f.Counters), Pairs: []SAPairItem{}, DynamicMap: f.Dynamic,
		}
		for i := len(f.Children) - 1; i >= 0; i-- {
			item.Pairs = append(item.Pairs, pairItem(&f.Children[i]))
		}
		v.Flows = append(v.Flows, item)
	}
	return v
}

func counterItem(c *status.Counters) CounterItem {
	return CounterItem{
		Encaps: c.Encaps, Encrypt: c.Encrypt, Digest: c.Digest, Decaps: c.Decaps, Decrypt: c.Decrypt, Verify: c.Verify,
		SendErrors: c.SendErrors, RecvErrors: c.RecvErrors, SendOctets: c.SendOctets, RecvOctets: c.ReceiveOctets,
		NoSA: c.NoSA, InvalidIdentity: c.InvalidIdentity, ReplayFailed: c.ReplayFailed, VerifyFailed: c.VerifyFailed,
	}
}

func pairItem(c *status.Child) SAPairItem {
	_, in := side(c, inbound, "esp")
	_, out := side(c, outbound, "esp")
	item := SAPairItem{
		InboundSPI: spiHex(name(c.In, c.AHIn)), OutboundSPI: spiHex(name(c.Out, c.AHOut)), ESN: c.ESN, InboundConnID: in, OutboundConnID: out,
		Protocol: protocol(c), TransformSet: c.Set.Name, Transform: c.Set.Words(), Mode: c.Set.Mode.String(),
		UDPEncapsulation: c.Encap, PFSGroup: int(c.PFS), Idents: idents(c.Selectors), Established: instant(c.Established),
		RemainingSeconds: seconds(c.Remaining), ReplayWindow: c.ReplayWindow, Lifetime: lifeOf(c.Lifetime),
	}
	if hasProtocol(c, "ah") {
		item.InboundAHSPI, item.OutboundAHSPI = spiHex(c.AHIn), spiHex(c.AHOut)
	}
	if c.Lifetime.Kilobytes > 0 {
		item.RemainingKilobytes = &c.RemainingKilobytes
	}
	return item
}

// IPsecCount is "show crypto ipsec sa count", in SAs: a pair counts as two.
type IPsecCount struct {
	Total    int `json:"total"`
	Active   int `json:"active"`
	Rekeying int `json:"rekeying"`
	Unused   int `json:"unused"`
	Invalid  int `json:"invalid"`
}

// IPsecCountView is the view of "show crypto ipsec sa count".
func IPsecCountView(g *status.Gateway) IPsecCount { return countIPsec(g) }

// Sessions is "show crypto session", with or without detail.
type Sessions struct {
	Sessions []SessionItem `json:"sessions"`
}

// SessionItem is all there is with one peer over one interface.
type SessionItem struct {
	Interface string         `json:"interface"`
	Status    string         `json:"status"` // UP-ACTIVE, UP-IDLE, UP-NO-IKE, DOWN-NEGOTIATING, DOWN
	UpSince   *time.Time     `json:"up_since"`
	Peer      string         `json:"peer"`
	PeerPort  uint16         `json:"peer_port"`
	Identity  string         `json:"phase1_id"`
	IKE       []SessionIKE   `json:"ike_sas"`
	Flows     []SessionEntry `json:"flows"`
}

// SessionIKE names an ISAKMP SA of "show crypto isakmp sa".
type SessionIKE struct {
	ConnID int    `json:"conn_id"`
	State  string `json:"state"`
	Active bool   `json:"active"`
}

// SessionEntry is a flow of the session.
type SessionEntry struct {
	Idents    Idents `json:"idents"`
	ActiveSAs int    `json:"active_sas"`
}

// SessionView is the view of "show crypto session".
func SessionView(g *status.Gateway) Sessions {
	v := Sessions{Sessions: []SessionItem{}}
	for _, s := range sessions(g) {
		_, port := endpoint(s.peer)
		item := SessionItem{
			Interface: s.iface, Status: s.status(), UpSince: instant(s.since()), Peer: word(s.peer.Addr()), PeerPort: port,
			Identity: s.identity(), IKE: []SessionIKE{}, Flows: []SessionEntry{},
		}
		for _, k := range s.ike {
			item.IKE = append(item.IKE, SessionIKE{k.Conn, k.State, !k.Established.IsZero()})
		}
		for _, f := range s.flows {
			item.Flows = append(item.Flows, SessionEntry{idents(shownSelectors(f)), activeSAs(f)})
		}
		v.Sessions = append(v.Sessions, item)
	}
	return v
}

// ISAKMPPolicyItem is one ISAKMP policy, configured or agreed.
type ISAKMPPolicyItem struct {
	Priority       int     `json:"priority"`
	Encryption     string  `json:"encryption"`
	KeyBits        int     `json:"key_bits"`
	Hash           string  `json:"hash"`
	Authentication string  `json:"authentication"`
	Group          int     `json:"group"`
	Lifetime       int64   `json:"lifetime_seconds"`
	Origin         *Origin `json:"origin"`
}

func policyItem(p policy.ISAKMP) ISAKMPPolicyItem {
	item := ISAKMPPolicyItem{
		Priority: p.Priority, Encryption: p.Cipher.Row().IKE, KeyBits: p.KeyBits, Hash: p.Hash.Row().IKE,
		Group: int(p.Group), Lifetime: seconds(p.Lifetime), Origin: originOf(p.Origin),
	}
	if p.Auth != suite.NoAuth {
		item.Authentication = p.Auth.String()
	}
	return item
}
