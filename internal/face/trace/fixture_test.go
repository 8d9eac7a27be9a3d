package trace

import (
	"net/netip"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// The two sites of the examples.
var (
	r1 = netip.MustParseAddrPort("198.51.100.1:500")
	r2 = netip.MustParseAddrPort("198.51.100.2:500")
	t0 = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
)

func strong() policy.ISAKMP {
	return policy.ISAKMP{Priority: 10, Cipher: suite.AESCBC, KeyBits: 256, Hash: suite.SHA256, Auth: suite.PSK, Group: 14, Lifetime: 86400 * time.Second}
}

func weak() policy.ISAKMP {
	return policy.ISAKMP{Priority: 20, Cipher: suite.AESCBC, KeyBits: 128, Hash: suite.SHA1, Auth: suite.PSK, Group: 14, Lifetime: 28800 * time.Second}
}

func set() policy.TransformSet {
	return policy.TransformSet{Name: "TS-AES256", Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}
}

func life() policy.Lifetime { return policy.Lifetime{Time: time.Hour, Kilobytes: 4608000} }

func selectors() flow.Selectors {
	return flow.Selectors{Local: netip.MustParsePrefix("10.10.10.0/24"), Remote: netip.MustParsePrefix("10.20.20.0/24")}
}

func flowID() policy.FlowID { return policy.FlowID{Map: "CMAP", Seq: 10, Line: 10} }

// script writes the events of both gateways by hand, R1 being the initiator.
type script struct {
	events []event.Event
	now    time.Duration
	state  [2]string
}

func (s *script) at(d time.Duration) *script { s.now = d; return s }

func (s *script) emit(who side, w event.What) *script {
	e := event.Event{At: t0.Add(s.now), Local: r1, Peer: r2, Conn: 1001, Role: event.Initiator, State: s.state[who], What: w}
	if who == right {
		e.Local, e.Peer, e.Conn, e.Role = r2, r1, 1002, event.Responder
	}
	s.events = append(s.events, e)
	return s
}

func (s *script) r1(w event.What) *script { return s.emit(left, w) }
func (s *script) r2(w event.What) *script { return s.emit(right, w) }

// move takes a gateway to a state.
func (s *script) move(who side, before, after, state string) *script {
	s.state[who] = state
	return s.emit(who, event.State{Old: before, New: after})
}

// message is one message that arrives 12 ms after it left.
func (s *script) message(from side, m event.Message) *script {
	m.Dir = event.Sent
	s.emit(from, m)
	s.now += 12 * time.Millisecond
	m.Dir = event.Received
	return s.emit(from.other(), m)
}

// send is one message that does not arrive.
func (s *script) send(from side, m event.Message) *script {
	m.Dir = event.Sent
	return s.emit(from, m)
}

func pay(words ...string) []event.Payload {
	var out []event.Payload
	for i := 0; i < len(words); i += 2 {
		out = append(out, event.Payload{Name: words[i], Detail: words[i+1]})
	}
	return out
}

func mm(name string, octets int, payloads ...string) event.Message {
	return event.Message{Exchange: "main", Name: name, Octets: octets, Payloads: pay(payloads...), Encrypted: name == "MM5" || name == "MM6"}
}

func qm(name string, octets int, payloads ...string) event.Message {
	return event.Message{Exchange: "quick", Name: name, ID: 1613169867, Octets: octets, Payloads: pay(payloads...), Encrypted: true}
}

var (
	mm1 = mm("MM1", 188, "SA", "2 transforms", "VID", "RFC 3947 NAT-T", "VID", "DPD")
	mm2 = mm("MM2", 148, "SA", "1 transform", "VID", "RFC 3947 NAT-T", "VID", "DPD")
	mm3 = mm("MM3", 396, "KE", "256 octets", "NONCE", "32 octets", "NAT-D", "", "NAT-D", "")
	mm4 = mm("MM4", 396, "KE", "256 octets", "NONCE", "32 octets", "NAT-D", "", "NAT-D", "")
	mm5 = mm("MM5", 124, "ID", "198.51.100.1", "HASH", "", "N", "INITIAL-CONTACT")
	mm6 = mm("MM6", 92, "ID", "198.51.100.2", "HASH", "")
	qm1 = qm("QM1", 172, "HASH", "", "SA", "1 transform", "NONCE", "32 octets", "ID", "10.10.10.0/24", "ID", "10.20.20.0/24")
	qm2 = qm("QM2", 172, "HASH", "", "SA", "1 transform", "NONCE", "32 octets", "ID", "10.10.10.0/24", "ID", "10.20.20.0/24")
	qm3 = qm("QM3", 60, "HASH", "")
)

func again(m event.Message, attempt int) event.Message { m.Attempt = attempt; return m }

func triggered() event.Triggered {
	return event.Triggered{Flow: flowID(), Selectors: selectors(), Set: set(), Lifetime: life(),
		Packet: flow.Tuple{Src: netip.MustParseAddr("10.10.10.10"), Dst: netip.MustParseAddr("10.20.20.20"), Proto: flow.ICMP}}
}

// keyExchange is MM1 to MM4.
func (s *script) keyExchange() *script {
	s.r1(triggered()).r1(event.KeyLookup{Found: true})
	s.move(left, "", "IKE_I_MM1", "MM_NO_STATE")
	s.state[right] = "MM_NO_STATE"
	s.message(left, mm1)
	s.r2(event.KeyLookup{Found: true})
	s.r2(event.PolicyCheck{Transform: 1, Offer: weak(), Against: strong(), Mismatch: "key length"})
	s.r2(event.PolicyCheck{Transform: 2, Offer: strong(), Against: strong()})
	s.move(right, "", "IKE_R_MM1", "MM_SA_SETUP")
	s.message(right, mm2)
	s.r1(event.PolicyCheck{Transform: 1, Offer: strong(), Against: strong()})
	s.move(left, "IKE_I_MM1", "IKE_I_MM2", "MM_SA_SETUP")
	s.at(s.now + 3*time.Millisecond)
	s.message(left, mm3)
	s.r2(event.NATCheck{})
	s.at(s.now + 3*time.Millisecond)
	s.message(right, mm4)
	s.r1(event.NATCheck{})
	s.move(right, "IKE_R_MM3", "IKE_R_MM4", "MM_KEY_EXCH")
	s.move(left, "IKE_I_MM3", "IKE_I_MM4", "MM_KEY_EXCH")
	return s.at(s.now + 3*time.Millisecond)
}

// phase1 is main mode, from the packet that started it.
func (s *script) phase1() *script {
	s.keyExchange()
	s.message(left, mm5)
	s.move(right, "IKE_R_MM5", "IKE_P1_COMPLETE", "QM_IDLE")
	s.r2(event.Phase1Up{Policy: strong(), Identity: "198.51.100.1"})
	s.r2(event.Notify{Dir: event.Received, Type: "INITIAL-CONTACT", Number: 24578, Protocol: 1, Protected: true})
	s.message(right, mm6)
	s.move(left, "IKE_I_MM6", "IKE_P1_COMPLETE", "QM_IDLE")
	return s.r1(event.Phase1Up{Policy: strong(), Identity: "198.51.100.2"})
}

func offer() event.Proposal {
	o := event.Proposal{Number: 1, Set: set(), Lifetime: life(), Encap: "tunnel"}
	o.Set.Name = ""
	return o
}

// phase2 is quick mode.
func (s *script) phase2() *script {
	s.move(left, "IKE_QM_READY", "IKE_QM_I_QM1", "QM_IDLE")
	s.message(left, qm1)
	s.r2(event.ProxyCheck{Offered: selectors().Mirror(), Flow: flowID(), Found: true})
	s.r2(event.ProposalCheck{Offer: offer(), Against: set()})
	s.message(right, qm2)
	s.r1(event.Phase2Up{Flow: flowID(), Selectors: selectors(), Set: set(), In: 0x18906F9D, Out: 0x48BAC7D3, Lifetime: life()})
	s.move(left, "IKE_QM_I_QM1", "IKE_QM_PHASE2_COMPLETE", "QM_IDLE")
	s.message(left, qm3)
	return s.r2(event.Phase2Up{Flow: flowID(), Selectors: selectors().Mirror(), Set: set(), In: 0x48BAC7D3, Out: 0x18906F9D, Lifetime: life()})
}

// onlyOf keeps the events of one gateway.
func onlyOf(events []event.Event, local netip.AddrPort) []event.Event {
	var out []event.Event
	for _, e := range events {
		if e.Local == local {
			out = append(out, e)
		}
	}
	return out
}

func good() []event.Event { return new(script).phase1().phase2().events }

// refusedPolicy: R2 has another policy; its notification is not protected.
func refusedPolicy() []event.Event {
	s := new(script)
	own := strong()
	own.Hash, own.Group = suite.SHA512, 19
	s.r1(triggered())
	s.move(left, "", "IKE_I_MM1", "MM_NO_STATE")
	s.message(left, mm1)
	s.r2(event.KeyLookup{Found: true})
	s.r2(event.PolicyCheck{Transform: 1, Offer: strong(), Against: own, Mismatch: "hash"})
	s.r2(event.PolicyCheck{Transform: 2, Offer: weak(), Against: own, Mismatch: "key length"})
	s.r2(event.PolicyRefused{Offers: []policy.ISAKMP{strong(), weak()}})
	s.r2(event.Failed{Phase: 1, Code: event.NoPolicy, Reason: "no ISAKMP policy in common"})
	s.message(right, event.Message{Exchange: "informational", Name: "INFO", ID: 7, Octets: 40, Payloads: pay("N", "NO-PROPOSAL-CHOSEN")})
	s.r1(event.Notify{Dir: event.Received, Type: "NO-PROPOSAL-CHOSEN", Number: 14, Protocol: 1})
	s.r1(event.Failed{Pending: true, Phase: 1, Code: event.NoPolicy, Reason: "the peer refused all ISAKMP policies"})
	for i := 1; i <= 2; i++ {
		s.at(time.Duration(i*i) * time.Second)
		s.r1(event.Retransmit{Attempt: i, Of: 6, Name: "MM1"})
		s.message(left, again(mm1, i))
		s.r2(event.PolicyRefused{Offers: []policy.ISAKMP{strong(), weak()}})
	}
	s.at(39 * time.Second)
	s.r1(event.Failed{Phase: 1, Code: event.NoPolicy, Reason: "the peer refused all ISAKMP policies", LastSent: "MM1", Notified: "NO-PROPOSAL-CHOSEN"})
	return s.events
}

// wrongKey: message 5 does not decrypt at R2.
func wrongKey() []event.Event {
	s := new(script).keyExchange()
	for i := range 3 {
		if i > 0 {
			s.at(time.Duration(i) * 2 * time.Second).r1(event.Retransmit{Attempt: i, Of: 6, Name: "MM5"})
		}
		s.send(left, again(mm5, i)).at(s.now + 12*time.Millisecond)
		if i == 0 {
			s.r2(event.Failed{Pending: true, Phase: 1, Code: event.WrongKey, Reason: "the peer's message after the key exchange does not decrypt or its hash is wrong"})
			s.send(right, event.Message{Exchange: "informational", Name: "INFO", ID: 99, Encrypted: true, Octets: 92, Payloads: pay("HASH", "", "N", "PAYLOAD-MALFORMED")})
		}
		s.r2(event.Dropped{Reason: "ID payload at octet 1: RESERVED is 183, expected 0 (PAYLOAD-MALFORMED)", Cause: event.BadMessage})
		if i == 0 {
			s.at(s.now + 12*time.Millisecond).r1(event.Dropped{Reason: "HASH payload at octet 2: length 61210, expected 4 to 64 (PAYLOAD-MALFORMED)"})
			s.r1(event.Failed{Pending: true, Phase: 1, Code: event.WrongKey, Reason: "the peer's message after the key exchange does not decrypt or its hash is wrong"})
		}
	}
	s.at(39 * time.Second)
	s.r1(event.Failed{Phase: 1, Code: event.WrongKey, Reason: "the peer answered the key exchange but not the authentication", LastSent: "MM5", LastReceived: "MM4"})
	return s.events
}

// lossy: the first MM1 and MM4 are lost; MM3 comes twice.
func lossy() []event.Event {
	s := new(script)
	s.r1(triggered())
	s.move(left, "", "IKE_I_MM1", "MM_NO_STATE")
	s.send(left, mm1)
	s.at(time.Second).r1(event.Retransmit{Attempt: 1, Of: 6, Name: "MM1"})
	s.message(left, again(mm1, 1))
	s.r2(event.PolicyCheck{Transform: 1, Offer: strong(), Against: strong()})
	s.message(right, mm2)
	s.r1(event.PolicyCheck{Transform: 1, Offer: strong(), Against: strong()})
	s.message(left, mm3)
	s.send(right, mm4)
	s.at(2*time.Second + 24*time.Millisecond).r1(event.Retransmit{Attempt: 1, Of: 6, Name: "MM3"})
	m := again(mm3, 1)
	m.Duplicate = false
	s.send(left, m).at(s.now + 12*time.Millisecond)
	m.Dir, m.Duplicate, m.Payloads = event.Received, true, nil
	s.r2(m)
	s.message(right, again(mm4, 1))
	s.send(left, mm5)
	return s.events
}

// busy: an established tunnel that is renewed, refused another flow, and deleted.
func busy() []event.Event {
	s := new(script)
	s.state = [2]string{"QM_IDLE", "QM_IDLE"}
	renewed := event.Phase2Up{Flow: flowID(), Selectors: selectors(), Set: set(), PFS: 14, In: 0xA1, Out: 0xB2, Lifetime: policy.Lifetime{Time: time.Hour}, Encap: true, Rekey: true}
	s.message(left, qm1).message(right, qm2).r1(renewed).message(left, qm3)
	s.at(20 * time.Second)
	other := qm1
	other.ID = 77
	s.message(right, other)
	bad := selectors()
	bad.Remote = netip.MustParsePrefix("10.99.0.0/16")
	s.r1(event.ProxyCheck{Offered: bad})
	s.message(left, event.Message{Exchange: "informational", Name: "INFO", ID: 5, Encrypted: true, Octets: 76, Payloads: pay("HASH", "", "N", "INVALID-ID-INFORMATION")})
	s.r2(event.Notify{Dir: event.Received, Type: "INVALID-ID-INFORMATION", Number: 18, Protocol: 3, Protected: true})
	s.r2(event.Failed{Phase: 2, Code: event.NoProxy, Reason: "the peer refused the proxy identities"})
	s.at(40 * time.Second)
	other.ID = 78
	s.message(right, other)
	for i := range 9 {
		s.r1(event.ProposalCheck{Offer: offer(), Against: policy.TransformSet{Name: "GCM", Cipher: suite.AESGCM, KeyBits: 128, Mode: suite.Mode(i % 2)}, Mismatch: []string{"encryption", "mode", "pfs group"}[i%3]})
	}
	s.r1(event.ProposalRefused{Offers: []event.Proposal{offer()}})
	s.at(60 * time.Second)
	s.message(left, event.Message{Exchange: "informational", Name: "INFO", ID: 6, Encrypted: true, Octets: 76, Payloads: pay("HASH", "", "D", "ESP 000000a1")})
	s.r2(event.Deleted{Protocol: "ESP", SPI: 0xB2, Reason: "the peer deleted it", ByPeer: true, Last: true})
	s.r1(event.Deleted{Protocol: "ISAKMP", Reason: "cleared by an operator"})
	s.r2(event.NATCheck{LocalBehind: true}).r2(event.NATCheck{PeerBehind: true}).r2(event.NATCheck{LocalBehind: true, PeerBehind: true})
	return s.events
}
