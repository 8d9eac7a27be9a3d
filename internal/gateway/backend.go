package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"culvert/internal/core/diagnose"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/status"
	"culvert/internal/face/explain"
	"culvert/internal/face/trace"
	"culvert/internal/face/vty"
)

var errStopping = errors.New("the gateway is stopping")

// backend is what the commands of the control socket work on.
func (g *Gateway) backend(ctx context.Context) *vty.Backend {
	return &vty.Backend{
		Snapshot:      func() *status.Gateway { return g.snapshot(ctx) },
		RunningConfig: func() string { return g.config().RunningHidden() },
		Clear: func(c door.Clear) error {
			if !g.do(ctx, func() { g.step(ctx, c) }) {
				return errStopping
			}
			return nil
		},
		Reload:        func() error { return g.Reload(ctx) },
		ClearCounters: func(peer netip.Addr) error { return g.clearCounters(ctx, peer) },
		ClearLists:    g.clearLists,
		Explain: func(w io.Writer, peer netip.Addr, json bool) (bool, error) {
			return g.explain(ctx, w, peer, json)
		},
		Exchange:  g.ladders,
		Subscribe: g.journal.subscribe,
		Trace:     func(t vty.Topic, e event.Event) []string { return trace.DebugOf(e, string(t)) },
	}
}

// ladders draws the exchanges with a peer, or with every peer one by one.
func (g *Gateway) ladders(w io.Writer, peer netip.Addr) error {
	byPeer := map[netip.Addr][]event.Event{}
	var order []netip.Addr
	for _, e := range g.journal.past() {
		a := e.Peer.Addr()
		if peer.IsValid() && a != peer {
			continue
		}
		if byPeer[a] == nil {
			order = append(order, a)
		}
		byPeer[a] = append(byPeer[a], e)
	}
	for _, a := range order {
		if err := trace.Ladder(w, g.parties(byPeer[a]), byPeer[a]); err != nil {
			return err
		}
	}
	return nil
}

// parties names the two ends; the one that sent the first message is on the left.
func (g *Gateway) parties(events []event.Event) trace.Options {
	for _, e := range events {
		if _, ok := e.What.(event.Message); !ok {
			continue
		}
		us, them := trace.Party{Name: g.hostname, Addr: e.Local.Addr()}, trace.Party{Addr: e.Peer.Addr()}
		if e.Role == event.Responder {
			us, them = them, us
		}
		return trace.Options{Initiator: us, Responder: them}
	}
	return trace.Options{}
}

func (g *Gateway) clearCounters(ctx context.Context, peer netip.Addr) error {
	stats := g.db.Stats()
	if !g.do(ctx, func() {
		for _, f := range stats.Flows {
			configured, ok := g.settings().Flow(f.ID)
			if ok && (!peer.IsValid() || len(configured.Entry.Peers) > 0 && configured.Entry.Peers[0] == peer) {
				g.base[f.ID] = baseline(f.Counters)
			}
		}
	}) {
		return errStopping
	}
	return nil
}

// clearLists sets the hit counters of crypto ACLs to zero. Those of interface
// ACLs are the kernel's: they begin anew when the guard is applied again.
func (g *Gateway) clearLists(name string) error {
	g.db.ClearHits(name)
	return nil
}

// explain writes the reports about the tunnels with a peer.
func (g *Gateway) explain(ctx context.Context, w io.Writer, peer netip.Addr, json bool) (bool, error) {
	var reports []diagnose.Report
	up := true
	for _, r := range diagnose.Explain(g.evidence(g.snapshot(ctx))) {
		if peer.IsValid() && r.Peer != peer {
			continue
		}
		reports = append(reports, r)
		up = up && r.Status == "up"
	}
	if len(reports) == 0 {
		return false, fmt.Errorf("no crypto map entry names the peer %s", peer)
	}
	if json {
		return up, explain.JSON(w, reports)
	}
	return up, explain.Text(w, reports, explain.Options{})
}
