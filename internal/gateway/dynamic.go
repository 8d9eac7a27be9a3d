package gateway

import (
	"errors"
	"slices"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/edge/guard"
)

// define makes the traffic of a flow interesting that a peer of a dynamic crypto
// map asked for: first for the data path, so that what the guard diverts then
// is known there.
func (g *Gateway) define(f policy.Flow) {
	if err := g.db.Define(f); err != nil {
		g.journal.say("a flow of a dynamic crypto map: %v", err)
		return
	}
	line := *f.Line
	g.defined.Lock()
	defer g.defined.Unlock()
	g.redefine(append(slices.Clone(g.closed.Load().rules.Defined), guard.Protect{
		Name: f.ID.String(), Interface: f.Entry.Interface, ACL: &flow.List{Name: f.ID.String(), Lines: []flow.Line{line}},
	}))
}

// undefine takes a flow of define back, in the opposite order.
func (g *Gateway) undefine(id policy.FlowID) {
	g.defined.Lock()
	g.redefine(slices.DeleteFunc(slices.Clone(g.closed.Load().rules.Defined), func(p guard.Protect) bool { return p.Name == id.String() }))
	g.defined.Unlock()
	gone, err := g.db.Undefine(id)
	if err != nil {
		g.journal.say("a flow of a dynamic crypto map: %v", err)
		return
	}
	if len(gone) > 0 {
		g.journal.say("flow %s went with %d SA pairs", id, len(gone))
	}
	g.path.Reconfigured()
}

// redefine tells the guard. Rules that are gone come back within a second, with
// these (see watch). The caller holds defined.
func (g *Gateway) redefine(flows []guard.Protect) {
	now := *g.closed.Load()
	now.rules.Defined = flows
	g.closed.Store(&now)
	if err := now.guard.Redefine(flows); err != nil && !errors.Is(err, guard.ErrGone) {
		g.journal.say("%%CULVERT-1-GUARD: %v", err)
	}
}
