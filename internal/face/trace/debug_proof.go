package trace

import (
	"fmt"
	"strings"

	"culvert/internal/core/event"
)

// debugProof renders who the peer says it is, how it proves that, and whether
// it is still there; false for the other events.
func debugProof(l *lines, e event.Event) bool {
	switch w := e.What.(type) {
	case event.Identified:
		debugIdentified(l, e, w)
	case event.Certificate:
		debugCertificate(l, e, w)
	case event.Revocation:
		l.isakmp("CRYPTO_PKI: certificate %s, %s: %s", w.Serial, strings.TrimSpace(w.Method+" "+w.URL), w.Result)
	case event.Liveness:
		if w.Dead {
			l.isakmp("%s peer %s not responding!", tag(e), host(e.Peer))
			break
		}
		l.isakmp("%s DPD incrementing error counter (%d/%d)", tag(e), w.Attempt, w.Of)
	case event.Fragments:
		l.isakmp("%s IKE fragmentation: %s", tag(e), fragmentWords(w))
	case event.Reconfigured:
		l.isakmp("ISAKMP: new settings: %d SAs stay, %d end", w.Kept, w.Ended)
	default:
		return false
	}
	return true
}

func fragmentWords(f event.Fragments) string {
	if f.Dir == event.Sent {
		return fmt.Sprintf("a message of %d octets goes in %d fragments", f.Octets, f.Number)
	}
	return fmt.Sprintf("%d fragments came and make a message of %d octets", f.Number, f.Octets)
}

// idType is the number of a kind of identity (RFC 2407 4.6.2.1) and IOS's word
// for its value.
func idType(kind string) (number int, word string) {
	switch kind {
	case "ID_IPV4_ADDR":
		return 1, "address"
	case "ID_FQDN":
		return 2, "FQDN name"
	case "ID_USER_FQDN":
		return 3, "USER FQDN"
	case "ID_IPV6_ADDR":
		return 5, "address"
	case "ID_DER_ASN1_DN":
		return 9, "Dist. name"
	case "ID_KEY_ID":
		return 11, "group id"
	}
	return 0, kind
}

func debugIdentified(l *lines, e event.Event, w event.Identified) {
	number, word := idType(w.Kind)
	l.isakmp("%s ID payload", oldTag(e))
	l.isakmp("\ttype         : %d", number)
	l.isakmp("\t%-13s: %s", word, w.Identity)
	if w.Profile == "" {
		l.isakmp("%s: peer matches *none* of the profiles", tag(e))
	} else {
		l.isakmp("%s: peer matches %s profile", tag(e), w.Profile)
	}
	if w.Keyring == "" {
		return
	}
	by := "HOSTNAME"
	if word == "address" {
		by = "ADDRESS"
	}
	l.isakmp("%sFound %s key in keyring %s", tag(e), by, w.Keyring)
}

func debugCertificate(l *lines, e event.Event, w event.Certificate) {
	if w.Dir == event.Sent {
		l.isakmp("%s constructing CERT payload for %s", tag(e), w.Subject)
		l.isakmp("%s using the %s trustpoint's keypair to sign", tag(e), w.Trustpoint)
		return
	}
	l.isakmp("%s processing a CT_X509_SIGNATURE cert", tag(e))
	l.isakmp("%s cert of %s, serial %s, issued by %s, until %s", tag(e), w.Subject, w.Serial, w.Issuer, w.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC"))
	if w.Refused != "" {
		l.isakmp("%s cert refused: %s", tag(e), w.Refused)
		return
	}
	l.isakmp("%s cert proved by trustpoint %s", tag(e), w.Trustpoint)
}

// debugEngine renders the arithmetic that an event tells of, as "debug crypto
// engine" prints it.
func debugEngine(l *lines, e event.Event) {
	switch w := e.What.(type) {
	case event.Message:
		engineMessage(l, w)
	case event.Phase1Up:
		l.engine("crypto_engine: Create IKE SA")
	case event.Phase2Up:
		if w.PFS != 0 {
			l.engine("crypto_engine: Create DH shared secret")
		}
		for _, spi := range []uint32{w.In, w.AHIn} {
			if spi != 0 {
				l.engine("crypto_engine: Create IPSec SA key by QM")
				l.engine("crypto engine: created IPSec SA pair, spi 0x%X", spi)
			}
		}
	case event.Deleted:
		if w.Protocol == "ISAKMP" {
			l.engine("crypto_engine: Delete IKE SA")
		} else {
			l.engine("crypto_engine: Delete IPSec SA")
		}
	}
}

func engineMessage(l *lines, m event.Message) {
	if m.Duplicate || m.Attempt > 0 {
		return // answered from memory, sent from memory
	}
	if m.Encrypted && m.Dir == event.Received {
		l.engine("crypto_engine: Decrypt IKE packet")
	}
	for _, p := range m.Payloads {
		switch {
		case p.Name == "KE" && m.Dir == event.Sent:
			l.engine("crypto_engine: Generate public/private keypair")
		case p.Name == "KE":
			l.engine("crypto_engine: Create DH shared secret")
		case p.Name == "HASH":
			l.engine("crypto_engine: Generate IKE hash")
		case p.Name == "SIG" && m.Dir == event.Sent:
			l.engine("crypto_engine: public key sign")
		case p.Name == "SIG":
			l.engine("crypto_engine: public key verify")
		}
	}
	if m.Encrypted && m.Dir == event.Sent {
		l.engine("crypto_engine: Encrypt IKE packet")
	}
}
