package trace

import (
	"fmt"

	"culvert/internal/core/event"
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
	}
	return session(e)
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
// runs; silence and an operator's clear are no failures of a mode.
func syslogFailed(e event.Event, f event.Failed) string {
	switch {
	case f.Pending && f.Code == event.WrongKey:
		return badMessage(e)
	case f.Pending:
		return ""
	}
	switch f.Code {
	case event.NoAnswer, event.Expired, event.Cleared:
		return ""
	}
	if f.Phase == 2 {
		return modeFailure("Quick", e)
	}
	return modeFailure("Main", e)
}
