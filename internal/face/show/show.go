// Package show renders snapshots of a gateway as IOS prints them, column for
// column, so that operators and the parsers they already run (TextFSM
// templates, Genie) read them without change; and the same as JSON.
//
//	isakmp.go      show crypto isakmp sa [detail|count], peers
//	settings.go    show crypto isakmp policy, key, ipsec transform-set, lifetime
//	ipsec.go       show crypto ipsec sa [detail|count|peer A]
//	mtu.go         the plaintext mtu of that output
//	session.go     show crypto session [detail]
//	cryptomap.go   show crypto map, dynamic-map
//	profile.go     show crypto isakmp profile, default policy
//	pki.go         show crypto pki trustpoints [status], certificates
//	accesslist.go  show access-lists
//	version.go     show version
//	json.go, json_sa.go, json_settings.go   the same as JSON
//
// Decisions:
//   - IOS indents policies and maps with tabs; so do we. Tables have blanks.
//   - IOS prints pre-shared keys in clear. We never do: the column says
//     "<hidden>". No secret can come out of this package, text or JSON.
//   - A pair of SAs has one number in the snapshot; IOS numbers each SA. The
//     inbound one prints as twice the number less one, the outbound one as
//     twice the number, which is what a router shows for pairs made in turn.
//   - IOS's own default transform set and default ISAKMP policies are not
//     listed, because this gateway does not offer them.
//   - IOS numbers the two SAs of an AH and ESP bundle apart; here both have the
//     number of their pair.
//   - sibling_flags has no meaning here; it is the constant of a software
//     engine, because parsers insist on the field.
//   - JSON names are a stable interface: they are added to, never changed.
//     Every answer is one object, so that something can be added beside a list.
package show

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// hidden stands where IOS prints a secret.
const hidden = "<hidden>"

// page collects the lines of one answer, so that it is written in one piece
// and the only error is the writer's.
type page struct{ bytes.Buffer }

// line appends one line.
func (p *page) line(format string, a ...any) {
	fmt.Fprintf(p, format, a...)
	p.WriteByte('\n')
}

// flush writes the page to w.
func (p *page) flush(w io.Writer) error {
	_, err := w.Write(p.Bytes())
	return err
}

// clock is a duration as HH:MM:SS; hours do not roll over into days.
func clock(d time.Duration) string {
	s := seconds(d)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// uptime is a duration as IOS abbreviates it: 00:52:46, 1d02h, 7w0d, 1y3w.
func uptime(d time.Duration) string {
	const day, week, year = 24, 7 * 24, 365 * 24
	h := seconds(d) / 3600
	switch {
	case h < day:
		return clock(d)
	case h < week:
		return fmt.Sprintf("%dd%02dh", h/day, h%day)
	case h < year:
		return fmt.Sprintf("%dw%dd", h/week, h%week/day)
	}
	return fmt.Sprintf("%dy%dw", h/year, h%year/week)
}

// seconds is d in whole seconds, never negative: a lifetime that ran out
// between two steps remains zero.
func seconds(d time.Duration) int64 {
	return int64(max(d, 0) / time.Second)
}

// mask is the mask of a prefix: dotted for IPv4, the length for IPv6.
func mask(p netip.Prefix) string {
	if p.Addr().Is4() {
		return flow.Netmask(p.Bits()).String()
	}
	return strconv.Itoa(p.Bits())
}

// address is an address, or the unspecified one when it is not known yet.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return netip.IPv4Unspecified().String()
	}
	return a.String()
}

// endpoint splits an address and port for printing; the port defaults to 500.
func endpoint(ap netip.AddrPort) (addr string, port uint16) {
	port = ap.Port()
	if port == 0 {
		port = 500
	}
	return address(ap.Addr()), port
}

// Entries are the crypto map entries to show: those of the configuration, or
// of the settings when the snapshot has no others.
func Entries(g *status.Gateway) []policy.Entry {
	if g.Entries == nil && g.Settings != nil {
		return g.Settings.Entries
	}
	return g.Entries
}

// currentPeer is the flow's peer; before any peer was tried it is the first
// one of the flow's entry.
func currentPeer(g *status.Gateway, f *status.Flow) netip.AddrPort {
	if f.Peer.IsValid() {
		return f.Peer
	}
	for _, e := range Entries(g) {
		if e.Map == f.ID.Map && e.Seq == f.ID.Seq && len(e.Peers) > 0 {
			return netip.AddrPortFrom(e.Peers[0], 500)
		}
	}
	return netip.AddrPort{}
}
