package trace

import (
	"fmt"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/suite"
)

// Syslog is the event as the line IOS logs without any debug, beginning with
// %CRYPTO-; false when IOS logs none. The lines about packets of the data path
// (RECVD_PKT_NOT_IPSEC and its kind) are not events and not told here.
// SESSION_STATUS is told always, not only after "crypto logging session": that a
// tunnel came up or went down is what a log is read for.
func Syslog(e event.Event) (string, bool) {
	s := syslog(e)
	return safe(s), s != ""
}

func syslog(e event.Event) string {
	switch w := e.What.(type) {
	case event.Dropped:
		return syslogDropped(e, w)
	case event.Failed:
		return syslogFailed(e, w)
	case event.Notify:
		if w.Dir == event.Received && !w.Protected && w.Number >= 1 && w.Number < 16384 {
			return modeFailure("Informational", e)
		}
	case event.Phase1Up:
		return weakness(e, w)
	case event.Liveness:
		if w.Dead {
			return fmt.Sprintf("%%CULVERT-4-PEER_GONE: %s does not answer any more: %d questions without an answer", host(e.Peer), w.Of)
		}
	case event.Reconfigured:
		return fmt.Sprintf("%%CULVERT-5-RECONFIGURED: new settings are in force: %d SAs stay, %d end", w.Kept, w.Ended)
	}
	return session(e)
}

// weakness warns about what was agreed and is weaker than it could be.
func weakness(e event.Event, up event.Phase1Up) string {
	var why []string
	if up.Aggressive && !up.Policy.Auth.Signature() {
		why = append(why, "aggressive mode tells the identities in clear and a hash of the pre-shared key to guess at")
	}
	if up.Policy.Verdict() == suite.Legacy {
		why = append(why, up.Policy.String()+" has legacy algorithms")
	}
	if len(why) == 0 {
		return ""
	}
	return fmt.Sprintf("%%CULVERT-4-WEAK: phase 1 with %s: %s", host(e.Peer), strings.Join(why, "; "))
}

func session(e event.Event) string {
	status := ""
	switch w := e.What.(type) {
	case event.Phase2Up:
		if w.Rekey {
			return ""
		}
		status = "UP"
	case event.Deleted:
		if !w.Last {
			return ""
		}
		status = "DOWN"
	default:
		return ""
	}
	return fmt.Sprintf("%%CRYPTO-5-SESSION_STATUS: Crypto tunnel is %s  .  Peer %s:%d       Id: %s", status, host(e.Peer), e.Peer.Port(), host(e.Peer))
}

func syslogDropped(e event.Event, d event.Dropped) string {
	switch d.Cause {
	case event.NoSA:
		return fmt.Sprintf("%%CRYPTO-4-IKMP_NO_SA: IKE message from %s has no SA and is not an initialization offer", host(e.Peer))
	case event.BadMessage:
		return badMessage(e)
	case event.NotEncrypted:
		return fmt.Sprintf("%%CRYPTO-6-IKMP_NOT_ENCRYPTED: IKE packet from %s was not encrypted and it should've been.", host(e.Peer))
	}
	return ""
}

func badMessage(e event.Event) string {
	return fmt.Sprintf("%%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from %s failed its sanity check or is malformed", host(e.Peer))
}

func modeFailure(mode string, e event.Event) string {
	return fmt.Sprintf("%%CRYPTO-6-IKMP_MODE_FAILURE: Processing of %s mode failed with peer at %s", mode, host(e.Peer))
}

// syslogFailed: a wrong key shows as a bad message while the negotiation still
// runs; silence, an operator's clear and an entry that only waits are no
// failures of a mode.
func syslogFailed(e event.Event, f event.Failed) string {
	switch {
	case f.Pending && f.Code == event.WrongKey:
		return badMessage(e)
	case f.Pending:
		return ""
	}
	switch f.Code {
	case event.NoAnswer, event.Expired, event.Cleared, event.IsResponderOnly, event.PeerGone:
		return ""
	}
	if s := syslogProof(e, f); s != "" {
		return s
	}
	switch {
	case f.Phase == 2:
		return modeFailure("Quick", e)
	case strings.HasPrefix(f.LastSent, "AM") || strings.HasPrefix(f.LastReceived, "AM") || strings.HasPrefix(e.State, "AG_"):
		return modeFailure("Aggressive", e)
	}
	return modeFailure("Main", e)
}

// syslogProof words the failures for which there is a line of their own: IOS's
// where public samples confirm it, else one of the facility CULVERT.
func syslogProof(e event.Event, f event.Failed) string {
	x := f.Certificate
	switch f.Code {
	case event.AggressiveOff:
		return "%CRYPTO-5-IKMP_AG_MODE_DISABLED: Unable to initiate or respond to Aggressive Mode while disabled"
	case event.CertIdentity:
		if number, word := idType(f.Kind); word == "address" {
			return fmt.Sprintf("%%CRYPTO-6-IKMP_NO_ID_CERT_ADDR_MATCH: ID of %s (type %d) and certificate addr with %s", f.Identity, number, x.Subject)
		}
		return fmt.Sprintf("%%CULVERT-4-CERT_IDENTITY: the certificate of %s (%s, SN: %s) is not for %s", host(e.Peer), x.Subject, x.Serial, f.Identity)
	case event.CertExpired:
		if x.NotAfter.IsZero() || x.NotAfter.Before(e.At) {
			return fmt.Sprintf("%%PKI-3-CERTIFICATE_INVALID_EXPIRED: Certificate chain validation has failed.  The certificate (SN: %s) has expired.    Validity period ended on %s", x.Serial, x.NotAfter.UTC().Format("15:04:05 MST Jan 2 2006"))
		}
		return fmt.Sprintf("%%PKI-3-CERTIFICATE_INVALID_NOT_YET_VALID: Certificate chain validation has failed.  The certificate (SN: %s) is not yet valid", x.Serial)
	case event.CertRevoked:
		return fmt.Sprintf("%%CULVERT-3-CERT_REVOKED: the certificate of %s (%s, SN: %s) was revoked", host(e.Peer), x.Subject, x.Serial)
	case event.CertUntrusted:
		return fmt.Sprintf("%%CULVERT-3-CERT_UNTRUSTED: the certificate of %s (%s, SN: %s, issued by %s) leads to no CA of a trustpoint", host(e.Peer), x.Subject, x.Serial, x.Issuer)
	case event.RevocationNone:
		return fmt.Sprintf("%%CULVERT-3-CERT_REVOCATION: nobody says whether the certificate of %s (%s, SN: %s) was revoked", host(e.Peer), x.Subject, x.Serial)
	case event.NoXAUTH:
		return fmt.Sprintf("%%CULVERT-4-NO_XAUTH: %s wants extended authentication or mode config, which a site-to-site tunnel has not", host(e.Peer))
	}
	return ""
}
