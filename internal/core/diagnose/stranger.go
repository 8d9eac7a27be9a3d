package diagnose

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/core/event"
	"culvert/internal/core/policy"
)

// stranger explains a peer that tried to reach us and that no entry names.
func (e Evidence) stranger(f event.Event) Report {
	peer, local := f.Peer.Addr(), f.Local.Addr()
	r := e.unnamed(peer, local, "it")
	r.Reason = event.NoEntry
	r.Steps[0].State, r.Steps[0].Detail = OK, "IKE of the peer comes in"
	r.Sentence = fmt.Sprintf("%s wants a tunnel, but %s", peer, r.Sentence)
	return r
}

// Unnamed explains, to one who sees both configurations, that none of our
// crypto map entries names the other gateway, which is at peer.
func Unnamed(s *policy.Settings, peer, local netip.Addr) Report {
	e := Evidence{Settings: s}
	for i := range s.Unapplied {
		if slices.Contains(s.Unapplied[i].Peers, peer) {
			return e.notApplied(&s.Unapplied[i])
		}
	}
	if len(s.Entries) == 0 {
		return e.nothing()
	}
	if peer == local {
		r := e.report(&policy.Entry{Local: local, Peers: []netip.Addr{peer}})
		r.Status = "down"
		c := explainer{Evidence: e, report: &r}
		c.blame(5, true, "the same side twice", fmt.Sprintf("Both configurations end their tunnels at %s: they are the same side, or one has the other's address.", local))
		return r
	}
	r := e.unnamed(peer, local, peer.String())
	r.Sentence = "There is no tunnel, since " + r.Sentence
	return r
}

// unnamed says that no entry at local names the peer. An entry that is the only
// one there, and so meant for it, is to be changed; else one is to be added.
// called is the peer's name in the sentence.
func (e Evidence) unnamed(peer, local netip.Addr, called string) Report {
	r := e.report(&policy.Entry{Local: local, Peers: []netip.Addr{peer}})
	r.Status, r.Both = "down", true
	c := explainer{Evidence: e, report: &r}
	var at []*policy.Entry
	for i := range e.Settings.Entries {
		if x := &e.Settings.Entries[i]; x.Local == local {
			at = append(at, x)
		}
	}
	sentence := fmt.Sprintf("no crypto map entry at %s names %s as a peer", local, called)
	var way choice
	switch {
	case len(at) == 1 && len(at[0].Peers) == 1:
		sentence += fmt.Sprintf(": %s %d has %s.", at[0].Map, at[0].Seq, at[0].Peers[0])
		way = c.here(at[0].PeerOrigin, "set peer "+peer.String())
	case len(at) > 0:
		last := at[len(at)-1]
		sentence += "."
		way = choice{{Side: c.side(), Add: true, Write: []string{
			fmt.Sprintf("crypto map %s %d ipsec-isakmp", last.Map, last.Seq+10), " set peer " + peer.String(), " set transform-set " + last.Sets[0].Name, " match address LIST",
		}}}
	default:
		sentence += "."
		way = c.there("set peer THE-ADDRESS-OF-" + c.side())
	}
	c.blame(5, true, "no entry for this peer", sentence, way)
	return r
}

// unapplied explains the entries of crypto maps that no interface carries: when
// their peer tried to reach us, or when there are no others.
func (e Evidence) unapplied() []Report {
	var out []Report
	for i := range e.Settings.Unapplied {
		if entry := &e.Settings.Unapplied[i]; len(e.Settings.Entries) == 0 || e.tried(entry) {
			out = append(out, e.notApplied(entry))
		}
	}
	return out
}

func (e Evidence) notApplied(entry *policy.Entry) Report {
	r := e.report(entry)
	r.Status, r.Both = "down", true
	c := explainer{Evidence: e, entry: entry, report: &r}
	sentence := fmt.Sprintf("Crypto map %s is applied to no interface, so nothing is protected and nothing is negotiated with %s", entry.Map, r.Peer)
	way := choice{{Side: c.side(), Write: []string{"interface INTERFACE", " crypto map " + entry.Map}, Add: true}}
	if entry.Interface != "" {
		sentence += "; " + entry.Interface + " leads there"
		way = c.add(entry.InterfaceOrigin, "crypto map "+entry.Map)
	}
	c.blame(5, true, "crypto map "+entry.Map+" is applied to no interface", sentence+".", way)
	return r
}

// tried reports whether a peer of the entry wanted a tunnel and found none.
func (e Evidence) tried(entry *policy.Entry) bool {
	return slices.ContainsFunc(e.Failures, func(f event.Event) bool {
		w, ok := f.What.(event.Failed)
		return ok && w.Code == event.NoEntry && slices.Contains(entry.Peers, f.Peer.Addr())
	})
}

// waits reports whether an entry that is not applied names the peer.
func (e Evidence) waits(peer netip.Addr) bool {
	return slices.ContainsFunc(e.Settings.Unapplied, func(x policy.Entry) bool { return slices.Contains(x.Peers, peer) })
}

// nothing explains a configuration without a crypto map.
func (e Evidence) nothing() Report {
	r := e.report(&policy.Entry{})
	r.Status, r.Both = "down", true
	c := explainer{Evidence: e, report: &r}
	c.blame(5, true, "no crypto map", "There is no crypto map with peer, transform set and access list, so nothing is protected.",
		choice{{Side: c.side(), Add: true, Write: []string{
			"crypto map VPN 10 ipsec-isakmp", " set peer PEER", " set transform-set NAME", " match address LIST", "interface OUTSIDE", " crypto map VPN",
		}}})
	return r
}
