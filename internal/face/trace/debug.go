package trace

import (
	"fmt"
	"strings"
	"time"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// debug renders one event.
func debug(e event.Event) (l lines) {
	switch w := e.What.(type) {
	case event.Message:
		debugMessage(&l, e, w)
	case event.State:
		old := w.Old
		if old == "" {
			old = "IKE_READY"
		}
		l.isakmp("%sOld State = %s  New State = %s", tag(e), old, w.New)
	case event.PolicyCheck:
		debugPolicyCheck(&l, e, w)
	case event.PolicyRefused:
		l.isakmp("%sno offers accepted!", tag(e))
		l.isakmp("%s phase 1 SA policy not acceptable! (local %s remote %s)", tag(e), host(e.Local), host(e.Peer))
	case event.KeyLookup:
		debugKeyLookup(&l, e, w)
	case event.NATCheck:
		debugNAT(&l, e, w)
	case event.Phase1Up:
		l.isakmp("%sSA authentication status:", tag(e))
		l.isakmp("\tauthenticated")
		l.isakmp("%sSA has been authenticated with %s", tag(e), host(e.Peer))
	case event.Retransmit:
		debugRetransmit(&l, e, w)
	case event.Notify:
		debugNotify(&l, e, w)
	case event.Failed:
		debugFailed(&l, e, w)
	case event.Dropped:
		l.isakmp("ISAKMP: packet from %s dropped: %s", host(e.Peer), w.Reason)
	default:
		if !debugProof(&l, e) {
			debugPhase2(&l, e)
		}
	}
	return l
}

// conn is the connection number as IOS prints it: zero until the SA has keys.
func conn(e event.Event) int {
	switch e.State {
	case "", "MM_NO_STATE", "MM_SA_SETUP", "AG_NO_STATE":
		return 0
	}
	return e.Conn
}

// tag begins most lines: "ISAKMP:(1001):".
func tag(e event.Event) string { return fmt.Sprintf("ISAKMP:(%d):", conn(e)) }

// oldTag begins the lines that IOS prints another way: "ISAKMP (0:1001):".
func oldTag(e event.Event) string { return fmt.Sprintf("ISAKMP (0:%d):", conn(e)) }

// phaseOf is the phase a message belongs to, by its name.
func phaseOf(name string) int {
	if strings.HasPrefix(name, "QM") {
		return 2
	}
	return 1
}

func debugMessage(l *lines, e event.Event, m event.Message) {
	if m.Dir == event.Sent {
		debugSent(l, e, m)
		return
	}
	l.isakmp("%s received packet from %s dport %d sport %d Global (%s) %s",
		oldTag(e), host(e.Peer), e.Local.Port(), e.Peer.Port(), e.Role.Letter(), e.State)
	if m.Duplicate {
		l.isakmp("%s phase %d packet is a duplicate of a previous packet.", tag(e), phaseOf(m.Name))
		return
	}
	for _, p := range m.Payloads {
		switch p.Name {
		case "VID":
			l.isakmp("%s processing vendor id payload", tag(e))
			if v := vendorWords(p.Detail); v != "" {
				l.isakmp("%s vendor ID is %s", tag(e), v)
			}
		case "NAT-D":
			l.isakmp("ISAKMP:received payload type 20")
		case "CERTREQ":
			l.isakmp("%s processing CERT_REQ payload. message ID = %d", tag(e), m.ID)
			l.isakmp("%s peer wants a CT_X509_SIGNATURE cert", tag(e))
			if p.Detail != "" {
				l.isakmp("%s peer wants cert issued by %s", tag(e), p.Detail)
			}
		case "N": // event.Notify tells it
		case "D":
			l.isakmp("%s processing DELETE payload. message ID = %d", tag(e), m.ID)
		default:
			l.isakmp("%s processing %s payload. message ID = %d", tag(e), p.Name, m.ID)
		}
	}
}

func debugSent(l *lines, e event.Event, m event.Message) {
	if m.Attempt == 0 {
		switch m.Name {
		case "MM1":
			l.isakmp("%s beginning Main Mode exchange", tag(e))
		case "AM1":
			l.isakmp("%s beginning Aggressive Mode exchange", tag(e))
		case "QM1":
			l.isakmp("%sbeginning Quick Mode exchange, M-ID of %d", tag(e), m.ID)
		}
		for _, p := range m.Payloads {
			if p.Name == "N" && p.Detail == "INITIAL-CONTACT" {
				l.isakmp("%sSend initial contact", tag(e))
			}
		}
	}
	l.isakmp("%s sending packet to %s my_port %d peer_port %d (%s) %s",
		tag(e), host(e.Peer), e.Local.Port(), e.Peer.Port(), e.Role.Letter(), e.State)
}

// vendorWords is a vendor ID as IOS names it.
func vendorWords(detail string) string {
	switch detail {
	case "RFC 3947 NAT-T":
		return "NAT-T RFC 3947"
	case "NAT-T draft 03":
		return "NAT-T v3"
	case "NAT-T draft 02":
		return "NAT-T v2"
	case "Cisco Unity":
		return "Unity"
	}
	return detail
}

func debugPolicyCheck(l *lines, e event.Event, c event.PolicyCheck) {
	l.isakmp("%sChecking ISAKMP transform %d against priority %d policy", tag(e), c.Transform, c.Against.Priority)
	attributes(l, c.Offer)
	if c.Mismatch == "" {
		l.isakmp("%satts are acceptable. Next payload is 0", tag(e))
		return
	}
	l.isakmp("%s%s", tag(e), mismatchWords(c))
	l.isakmp("%satts are not acceptable. Next payload is 3", tag(e))
}

// attributes lists a phase 1 transform.
func attributes(l *lines, p policy.ISAKMP) {
	l.isakmp("ISAKMP:      encryption %s", known(p.Cipher.Row().RFC))
	if p.Cipher.Row().Sized {
		l.isakmp("ISAKMP:      keylength of %d", p.KeyBits)
	}
	l.isakmp("ISAKMP:      hash %s", known(strings.ToUpper(p.Hash.Row().IKE)))
	l.isakmp("ISAKMP:      default group %d", uint16(p.Group))
	switch p.Auth {
	case suite.RSASig:
		l.isakmp("ISAKMP:      auth RSA sig")
	case suite.RSAEncr:
		l.isakmp("ISAKMP:      auth RSA encr")
	case suite.ECDSA256, suite.ECDSA384, suite.ECDSA521:
		l.isakmp("ISAKMP:      auth ECDSA sig")
	default:
		if p.Auth.XAUTH() {
			l.isakmp("ISAKMP:      auth XAUTH (%d)", uint16(p.Auth))
			break
		}
		l.isakmp("ISAKMP:      auth %s", p.Auth)
	}
	if p.Lifetime > 0 {
		l.isakmp("ISAKMP:      life type in seconds")
		l.isakmp("ISAKMP:      life duration %s", duration(uint64(p.Lifetime/time.Second)))
	}
}

func known(name string) string {
	if name == "" || name == suite.NoCipher.String() {
		return "unknown"
	}
	return name
}

// duration is a life duration as IOS prints it: short ones as a number, long
// ones octet by octet.
func duration(n uint64) string {
	if n <= 0xffff {
		return fmt.Sprintf("(basic) of %d", n)
	}
	return fmt.Sprintf("(VPI) of  0x%X 0x%X 0x%X 0x%X", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func mismatchWords(c event.PolicyCheck) string {
	switch c.Mismatch {
	case "encryption":
		return "Encryption algorithm offered does not match policy!"
	case "key length":
		return "Proposed key length does not match policy"
	case "hash":
		return "Hash algorithm offered does not match policy!"
	case "group":
		return "Diffie-Hellman group offered does not match policy!"
	case "authentication":
		if c.Offer.Auth == suite.PSK {
			return "Preshared authentication offered but does not match policy!"
		}
		return "Authentication method offered does not match policy!"
	}
	return c.Mismatch + " offered does not match policy!"
}

func debugKeyLookup(l *lines, e event.Event, k event.KeyLookup) {
	if !k.Found {
		l.isakmp("%sNo pre-shared key with %s!", tag(e), host(e.Peer))
		return
	}
	l.isakmp("%sfound peer pre-shared key matching %s", tag(e), host(e.Peer))
	l.isakmp("%s local preshared key found", tag(e))
}

func debugNAT(l *lines, e event.Event, n event.NATCheck) {
	switch {
	case n.LocalBehind && n.PeerBehind:
		l.isakmp("%s NAT found, both nodes inside NAT", oldTag(e))
	case n.LocalBehind:
		l.isakmp("%s NAT found, the node inside NAT", oldTag(e))
	case n.PeerBehind:
		l.isakmp("%s His hash no match - this node outside NAT", oldTag(e))
	default:
		l.isakmp("%sNo NAT Found for self or peer", tag(e))
	}
}

func debugRetransmit(l *lines, e event.Event, r event.Retransmit) {
	phase := phaseOf(r.Name)
	l.isakmp("%s retransmitting phase %d %s...", tag(e), phase, e.State)
	l.isakmp("%s incrementing error counter on sa, attempt %d of %d: retransmit phase %d", oldTag(e), r.Attempt, r.Of, phase)
	l.isakmp("%s retransmitting phase %d %s", tag(e), phase, e.State)
}

// notifyWords is a notification as IOS spells it.
func notifyWords(rfc string) string {
	switch rfc {
	case "NO-PROPOSAL-CHOSEN":
		return "PROPOSAL_NOT_CHOSEN"
	case "R-U-THERE", "R-U-THERE-ACK":
		return "DPD/" + strings.ReplaceAll(rfc, "-", "_")
	case "INVALID-ID-INFORMATION":
		return "INVALID_ID_INFO"
	}
	return strings.ReplaceAll(rfc, "-", "_")
}

func debugNotify(l *lines, e event.Event, n event.Notify) {
	protocol := ""
	if n.Protocol != 0 {
		protocol = fmt.Sprintf(" protocol %d", n.Protocol)
	}
	if alive := notifyWords(n.Type); n.Dir == event.Received && strings.HasPrefix(alive, "DPD/") {
		l.isakmp("%s%s received from peer %s", tag(e), alive, host(e.Peer))
		return
	}
	if n.Dir == event.Sent {
		l.isakmp("%sSending NOTIFY %s%s", tag(e), notifyWords(n.Type), protocol)
		return
	}
	l.isakmp("%s processing NOTIFY %s%s", tag(e), notifyWords(n.Type), protocol)
}

func debugFailed(l *lines, e event.Event, f event.Failed) {
	if f.Pending {
		l.isakmp("%s%s", tag(e), f.Reason)
		return
	}
	reason := f.Reason
	if f.Code == event.NoAnswer {
		l.isakmp("%speer does not do paranoid keepalives.", tag(e))
		reason = fmt.Sprintf("Death by retransmission P%d", f.Phase)
	}
	if f.Phase == 2 {
		l.isakmp("%sdeleting node error TRUE reason \"%s\"", tag(e), reason)
		return
	}
	l.isakmp("%sdeleting SA reason \"%s\" state (%s) %s (peer %s)", tag(e), reason, e.Role.Letter(), e.State, host(e.Peer))
}
