package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"culvert/internal/core/diagnose"
	"culvert/internal/core/flow"
	"culvert/internal/core/ike"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/status"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/guard"
)

// baseline is what a flow's counters stood at when an operator cleared them.
type baseline status.Counters

// snapshot is what is, now. The engine's part is read on the loop's goroutine.
func (g *Gateway) snapshot(ctx context.Context) *status.Gateway {
	now := time.Now()
	s := &status.Gateway{
		Hostname: g.hostname, Version: g.options.Version, Started: g.started, Now: now, Settings: g.settings(),
		Sets: g.sets(), Entries: g.config().Entries(), Lifetime: g.config().DefaultLifetime,
		Dynamic: templates(g.config().Templates()),
	}
	stats, waiting := g.db.Stats(), g.path.Stats()
	s.BadSPI, s.BadICV, s.Replayed = waiting.Drop(fastpath.BadSPI), waiting.Drop(fastpath.BadICV), waiting.Drop(fastpath.Replayed)
	g.do(ctx, func() {
		s.ISAKMP = g.engine.ISAKMP(now)
		s.Failures = g.engine.Failures()
		asked := map[policy.FlowID]ike.Defined{}
		for _, d := range g.engine.Defined() {
			asked[d.ID] = d
		}
		for _, f := range stats.Flows {
			if configured, ok := g.settings().Flow(f.ID); ok {
				s.Flows = append(s.Flows, g.flow(now, configured, f))
			} else if d, ok := asked[f.ID]; ok {
				s.Flows = append(s.Flows, g.dynamicFlow(now, d, f))
			}
		}
	})
	hits, err := g.closed.Load().guard.Counters()
	if err != nil && !errors.Is(err, guard.ErrGone) {
		g.journal.say("reading the guard: %v", err)
	}
	s.NotIPsec = hits.NotIPsec
	s.Lists = g.lists(stats, hits)
	return s
}

// templates groups the entries of dynamic maps by map.
func templates(entries []policy.Entry) []status.DynamicMap {
	var out []status.DynamicMap
	for _, e := range entries {
		if n := len(out); n == 0 || out[n-1].Name != e.DynamicMap {
			out = append(out, status.DynamicMap{Name: e.DynamicMap})
		}
		m := &out[len(out)-1]
		m.Entries = append(m.Entries, e)
	}
	return out
}

// dynamicFlow is a flow that a peer asked of a dynamic entry. On the loop's goroutine.
func (g *Gateway) dynamicFlow(now time.Time, d ike.Defined, x sadb.FlowStats) status.Flow {
	out := g.flow(now, d.Flow, x)
	out.Dynamic = fmt.Sprintf("%s/%d", d.Entry.DynamicMap, d.Entry.DynamicSeq)
	if !out.Peer.IsValid() {
		out.Peer = netip.AddrPortFrom(d.Peer, portIKE)
	}
	return out
}

func (g *Gateway) sets() []policy.TransformSet {
	out := make([]policy.TransformSet, 0, len(g.config().TransformSets))
	for i := range g.config().TransformSets {
		out = append(out, g.config().TransformSets[i].TransformSet)
	}
	return out
}

// flow is one line of interesting traffic as show tells it. On the loop's goroutine.
func (g *Gateway) flow(now time.Time, f policy.Flow, x sadb.FlowStats) status.Flow {
	out := status.Flow{
		ID: f.ID, Interface: f.Entry.Interface, Local: f.Entry.Local, Selectors: f.Selectors, Text: f.Line.Condition(),
		PathMTU: g.pathMTU(f.Entry), InterfaceMTU: g.pathMTU(f.Entry), Counters: minus(x.Counters, status.Counters(g.base[f.ID])),
	}
	if len(f.Entry.Peers) > 0 {
		out.Peer = netip.AddrPortFrom(f.Entry.Peers[0], portIKE)
	}
	for _, c := range x.Children {
		if out.Since.IsZero() {
			out.Since = c.Child.Established
		}
		if c.Child.Encap {
			out.Peer = c.Child.Remote
		} else {
			out.Peer = netip.AddrPortFrom(c.Child.Remote.Addr(), portIKE)
		}
		child := status.Child{
			In: c.Child.In.SPI, Out: c.Child.Out.SPI, Selectors: c.Child.Selectors, Set: c.Child.Set, PFS: c.Child.PFS,
			Encap: c.Child.Encap, Conn: int(c.Child.ID), Established: c.Child.Established, Lifetime: c.Child.Lifetime,
			RemainingKilobytes: c.RemainingKilobytes, ReplayWindow: c.Child.ReplayWindow,
			AHIn: c.Child.In.AHSPI, AHOut: c.Child.Out.AHSPI, ESN: c.Child.ESN,
		}
		if ends := g.engine.Ends(c.Child.ID); !ends.IsZero() {
			child.Remaining = ends.Sub(now)
		}
		out.Children = append(out.Children, child)
	}
	return out
}

func minus(c, b status.Counters) status.Counters {
	c.Encaps, c.Encrypt, c.Digest = c.Encaps-b.Encaps, c.Encrypt-b.Encrypt, c.Digest-b.Digest
	c.Decaps, c.Decrypt, c.Verify = c.Decaps-b.Decaps, c.Decrypt-b.Decrypt, c.Verify-b.Verify
	c.SendErrors, c.RecvErrors = c.SendErrors-b.SendErrors, c.RecvErrors-b.RecvErrors
	c.SendOctets, c.ReceiveOctets = c.SendOctets-b.SendOctets, c.ReceiveOctets-b.ReceiveOctets
	c.NoSA, c.InvalidIdentity = c.NoSA-b.NoSA, c.InvalidIdentity-b.InvalidIdentity
	c.ReplayFailed, c.VerifyFailed = c.ReplayFailed-b.ReplayFailed, c.VerifyFailed-b.VerifyFailed
	return c
}

// lists are the access lists with their hits: those of interfaces counted by
// the kernel, those of crypto maps by the data path.
func (g *Gateway) lists(stats sadb.Stats, hits guard.Counters) []status.List {
	byList := map[string]map[int]uint64{}
	add := func(list string, seq int, n uint64) {
		if byList[list] == nil {
			byList[list] = map[int]uint64{}
		}
		byList[list][seq] += n
	}
	for _, h := range hits.Lines {
		add(h.List, h.Seq, h.Packets)
	}
	for list, lines := range stats.Hits {
		for seq, n := range lines {
			add(list, seq, n)
		}
	}
	var out []status.List
	for _, l := range g.config().AccessLists {
		out = append(out, status.List{List: l, Hits: byList[l.Name], Applied: g.applied(l)})
	}
	return out
}

// applied says where an access list is used.
func (g *Gateway) applied(l *flow.List) []string {
	var out []string
	for i := range g.config().Interfaces {
		itf := &g.config().Interfaces[i]
		if itf.AccessGroupIn == l.Name {
			out = append(out, itf.Name+" in")
		}
		if itf.AccessGroupOut == l.Name {
			out = append(out, itf.Name+" out")
		}
	}
	for i := range g.settings().Entries {
		if e := &g.settings().Entries[i]; e.ACL != nil && e.ACL.Name == l.Name {
			out = append(out, fmt.Sprintf("crypto map %s %d", e.Map, e.Seq))
		}
	}
	return out
}

// evidence is what explain judges by.
func (g *Gateway) evidence(s *status.Gateway) diagnose.Evidence {
	up, dynamic := map[policy.FlowID]bool{}, map[policy.FlowID]diagnose.DynamicFlow{}
	for _, f := range s.Flows {
		up[f.ID] = len(f.Children) > 0
		if f.Dynamic != "" {
			dynamic[f.ID] = diagnose.DynamicFlow{Peer: f.Peer.Addr(), From: f.Dynamic, Selectors: f.Selectors}
		}
	}
	return diagnose.Evidence{Settings: g.settings(), Now: s.Now, ISAKMP: s.ISAKMP, Up: up, Failures: s.Failures, Flows: dynamic}
}
