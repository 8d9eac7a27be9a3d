package sadb

import (
	"fmt"
	"slices"
	"sync/atomic"

	"culvert/internal/core/policy"
)

// newDefined builds the stage of flows that are not of the configuration and
// numbers them behind those in flows. Their hits are nobody's.
func newDefined(dynamic, flows []policy.Flow) (*spd, []policy.Flow) {
	s := &spd{flowIDs: map[policy.FlowID]int{}}
	for _, f := range dynamic {
		s.flowIDs[f.ID] = len(flows)
		s.rules = append(s.rules, rule{line: f.Line, hits: &atomic.Uint64{}, flow: len(flows), next: len(s.rules) + 1})
		flows = append(flows, f)
	}
	s.index()
	return s, flows
}

// Define makes known a flow of a peer of a dynamic crypto map: from now on its
// traffic is interesting. It is asked for after every entry of the
// configuration, and flows that were defined before it. Errors: ErrDefined.
func (d *DB) Define(f policy.Flow) error {
	if _, ok := d.Snapshot().number(f.ID); ok {
		return fmt.Errorf("define flow %s: %w", f.ID, ErrDefined)
	}
	d.dynamic = append(d.dynamic, f)
	d.redefine()
	return nil
}

// Undefine takes a flow of Define back. SA pairs it still has are removed and
// returned, ascending. Error: ErrNoFlow.
func (d *DB) Undefine(id policy.FlowID) (gone []ChildID, err error) {
	n := slices.IndexFunc(d.dynamic, func(f policy.Flow) bool { return f.ID == id })
	if n < 0 {
		return nil, fmt.Errorf("undefine flow %s: %w", id, ErrNoFlow)
	}
	d.dynamic = slices.Delete(d.dynamic, n, n+1)
	return d.redefine(), nil
}

// redefine builds the stage of defined flows anew, and only that.
func (d *DB) redefine() []ChildID {
	old := d.Snapshot()
	next := *old
	static := len(old.stages[written].flowIDs) + len(old.stages[catchAll].flowIDs)
	var flows []policy.Flow
	for n := range static {
		flows = append(flows, old.flows.at(n).Flow)
	}
	next.stages[defined], flows = newDefined(d.dynamic, flows)
	next.flows = nil
	return d.replace(&next, flows)
}
