// Package trace renders what happened: events of the core as the lines of
// "debug crypto isakmp" and "debug crypto ipsec" (Debug) and of "debug crypto
// engine" (DebugOf), as IOS's syslog lines (Syslog), and as the exchange between two gateways drawn as a ladder (Ladder).
//
// The words are IOS's where IOS has them, so that what an operator searches for
// is found; the ladder is this product's own. Identities, reasons and payload
// details hold what a peer wrote: everything printed goes through safe, so that
// no control character and no bidirectional mark reaches a terminal or a log.
package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"culvert/internal/core/event"
)

// The facilities of Facility and DebugOf.
const (
	ISAKMP = "isakmp" // debug crypto isakmp
	IPsec  = "ipsec"  // debug crypto ipsec
	Engine = "engine" // debug crypto engine
)

// line is one line of debug output and who prints it.
type line struct {
	facility string
	text     string
}

// lines collects debug output.
type lines []line

func (l *lines) isakmp(format string, args ...any) { l.add(ISAKMP, format, args...) }
func (l *lines) ipsec(format string, args ...any)  { l.add(IPsec, format, args...) }
func (l *lines) engine(format string, args ...any) { l.add(Engine, format, args...) }

func (l *lines) add(facility, format string, args ...any) {
	*l = append(*l, line{facility, safe(fmt.Sprintf(format, args...))})
}

// Debug is the event as "debug crypto isakmp" and "debug crypto ipsec"
// together print it: no line, or some, without time stamps.
func Debug(e event.Event) []string { return texts(debug(e), "") }

// DebugOf is what the debug command of one facility prints of the event.
func DebugOf(e event.Event, facility string) []string {
	if facility == Engine {
		var l lines
		debugEngine(&l, e)
		return texts(l, Engine)
	}
	return texts(debug(e), facility)
}

// Facility tells which debug command the event belongs to first: ISAKMP or
// IPsec. Some events print lines of both.
func Facility(e event.Event) string {
	if all := debug(e); len(all) > 0 {
		return all[0].facility
	}
	return ISAKMP
}

func texts(all lines, facility string) []string {
	var out []string
	for _, l := range all {
		if facility == "" || l.facility == facility {
			out = append(out, l.text)
		}
	}
	return out
}

// maxLine is the longest line, in characters: a peer's words never flood.
const maxLine = 400

// safe keeps text on its line and a terminal in its state. Printable ASCII and
// the few signs this package writes itself pass, a tab too; all else is
// written as an escape.
func safe(s string) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n == maxLine {
			b.WriteString("…")
			break
		}
		n++
		switch {
		case r >= ' ' && r <= '~', r == '\t', r == '…', r == '×', r == '✓', r == '✗', r == '→':
			b.WriteRune(r)
		case r == '\uFFFD' && s[i] != 0xEF:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// host is an address for people.
func host(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return "0.0.0.0"
	}
	return a.Addr().String()
}
