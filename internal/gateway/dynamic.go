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
	g.guardOf.Defined = append(slices.Clone(g.guardOf.Defined), guard.Protect{
		Name: f.ID.String(), Interface: f.Entry.Interface, ACL: &flow.List{Name: f.ID.String(), Lines: []flow.Line{line}},
	})
	g.redefine()
}

// undefine takes a flow of define back, in the opposite order.
func (g *Gateway) undefine(id policy.FlowID) {
	g.defined.Lock()
	g.guardOf.Defined = slices.DeleteFunc(slices.Clone(g.guardOf.Defined), func(p guard.Protect) bool { return p.Name == id.String() })
	g.redefine()
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
func (g *Gateway) redefine() {
	if err := g.guard.Redefine(g.guardOf.Defined); err != nil && !errors.Is(err, guard.ErrGone) {
		g.journal.say("%%CULVERT-1-GUARD: %v", err)
	}
}
