package sadb

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/replay"
	"culvert/internal/core/suite"
)

// Why an SA cannot be installed, removed or moved.
var (
	ErrNoFlow    = errors.New("the policy has no such flow")
	ErrNoChild   = errors.New("no such SA pair is installed")
	ErrInstalled = errors.New("this direction of the SA pair is installed already")
	ErrSPIUsed   = errors.New("another inbound SA has this SPI")
	ErrMode      = errors.New("only tunnel mode can be carried")
	ErrNothing   = errors.New("neither direction of the SA pair was asked for")
)

// DB is the SPD and the SAD. SetPolicy, Install, Remove and Move are for one
// goroutine; Snapshot and Stats for any.
type DB struct {
	random io.Reader
	now    atomic.Pointer[Snapshot]
	// The writer's own books.
	hits     map[hitKey]*hit
	children map[ChildID]int // number of the flow in the policy
}

// hit is the counter of an ACL line, with the line it counts for.
type hit struct {
	text  string
	count *atomic.Uint64
}

// New makes an empty database: no policy, so everything bypasses. random gives
// the secret that CBC IVs are made with, esp.IVKeyLen octets for each outbound
// SA; it must be a cryptographic source.
func New(random io.Reader) *DB {
	d := &DB{random: random, hits: map[hitKey]*hit{}, children: map[ChildID]int{}}
	d.now.Store(&Snapshot{spd: &spd{}})
	return d
}

// Snapshot is the state after the last change.
func (d *DB) Snapshot() *Snapshot { return d.now.Load() }

// Stats reads all counters.
func (d *DB) Stats() Stats { return d.Snapshot().Stats() }

// SetPolicy replaces the SPD by the crypto map entries, in their order. Counters
// and SAs stay with a flow whose name and selectors are in both policies, and a
// line's hits with a line that reads the same. SAs whose flow is gone are
// removed and returned, ascending: their peer should hear about it.
func (d *DB) SetPolicy(entries []policy.Entry) (gone []ChildID) {
	old := d.Snapshot()
	hits := map[hitKey]*hit{}
	spd, flows := newSPD(slices.Clone(entries), func(list *flow.List, l *flow.Line) *atomic.Uint64 {
		return d.hitsOf(hits, list, l)
	})
	next := &Snapshot{spd: spd, in: old.in}
	moved := map[ChildID]int{}
	for n, pf := range flows {
		f := &Flow{Flow: pf, counters: &counters{}}
		_, f.Negotiable = pf.Line.Selectors()
		if was := old.Flow(pf.ID); was != nil && was.Selectors == pf.Selectors && was.Negotiable == f.Negotiable {
			f.counters, f.children, f.outs = was.counters, was.children, was.outs
			for _, c := range f.children {
				moved[c.facts.ID] = n
			}
		}
		next.flows = next.flows.append(n, f)
	}
	for id, n := range d.children {
		if _, ok := moved[id]; ok {
			continue
		}
		gone = append(gone, id)
		if c := old.flows.at(n).child(id); c.in != nil {
			next.in = next.in.without(c.facts.In.SPI)
		}
	}
	d.hits, d.children = hits, moved
	d.now.Store(next)
	slices.Sort(gone)
	return gone
}

// hitsOf is the counter of a line: a new one unless the line has one already.
func (d *DB) hitsOf(hits map[hitKey]*hit, list *flow.List, l *flow.Line) *atomic.Uint64 {
	k := hitKey{list.Name, l.Seq}
	if h, ok := hits[k]; ok {
		return h.count
	}
	h, ok := d.hits[k]
	if !ok || h.text != l.Condition() {
		h = &hit{l.Condition(), &atomic.Uint64{}}
	}
	hits[k] = h
	return h.count
}

// ClearHits sets the hit counters of a crypto ACL to zero, or of all when list
// is empty: "clear access-list counters".
func (d *DB) ClearHits(list string) {
	for k, h := range d.hits {
		if list == "" || list == k.list {
			h.count.Store(0)
		}
	}
}

// Install puts one or both directions of an SA pair to use. Called again with
// the same ID it adds the direction that is missing: a responder receives from
// quick mode's message 2 on and sends after message 3 (RFC 2409 5.5). The keys
// are copied into key schedules; the caller wipes its own. Packets leave by the
// SA whose outbound direction was installed last.
//
// Errors, with nothing changed: ErrNothing, ErrNoFlow, ErrInstalled,
// ErrSPIUsed, ErrMode; those of esp.NewSealer and replay.New; a failed read of
// the random source.
func (d *DB) Install(c Child, in, out bool) error {
	old := d.Snapshot()
	n, have, err := d.place(old, &c, in, out)
	if err != nil {
		return fmt.Errorf("install SA pair %d of flow %s: %w", c.ID, c.Flow, err)
	}
	f := old.flows.at(n)
	next := *old
	now := &child{facts: withoutKeys(c), remote: &endpoint{}}
	if have != nil {
		*now = *have
	} else {
		now.remote.at.Store(&c.Remote)
	}
	if in {
		if now.in, err = newIn(&c, now, f.counters); err == nil {
			next.in = next.in.with(c.In.SPI, now.in)
		}
	}
	if err == nil && out {
		now.out, err = d.newOut(&c, now, f.counters)
	}
	if err != nil {
		return fmt.Errorf("install SA pair %d of flow %s: %w", c.ID, c.Flow, err)
	}
	outs := f.outs
	if out {
		outs = append([]*Out{now.out}, outs...)
	}
	next.flows = next.flows.with(n, f.with(f.replace(c.ID, now), outs))
	d.children[c.ID] = n
	d.now.Store(&next)
	return nil
}

// place finds where c belongs and whether it may go there: the number of its
// flow, and the pair as far as it is installed.
func (d *DB) place(s *Snapshot, c *Child, in, out bool) (n int, have *child, err error) {
	n, ok := s.spd.flowIDs[c.Flow]
	switch {
	case !in && !out:
		return 0, nil, ErrNothing
	case c.Set.Mode != suite.Tunnel:
		return 0, nil, fmt.Errorf("%s mode: %w", c.Set.Mode, ErrMode)
	case !ok:
		return 0, nil, ErrNoFlow
	}
	if at, ok := d.children[c.ID]; ok {
		if at != n {
			return 0, nil, ErrInstalled
		}
		have = s.flows.at(n).child(c.ID)
		if (in && have.in != nil) || (out && have.out != nil) {
			return 0, nil, ErrInstalled
		}
	}
	if in && s.Inbound(c.In.SPI) != nil {
		return 0, nil, fmt.Errorf("SPI %#08x: %w", c.In.SPI, ErrSPIUsed)
	}
	return n, have, nil
}

// newIn makes the inbound SA of c.
func newIn(c *Child, at *child, n *counters) (*In, error) {
	o, err := esp.NewOpener(c.Set, c.In.SPI, c.In.Encr, c.In.Integ)
	if err != nil {
		return nil, fmt.Errorf("inbound: %w", err)
	}
	w, err := replay.New(c.ReplayWindow)
	if err != nil {
		return nil, fmt.Errorf("inbound: %w", err)
	}
	return &In{Child: at.facts, opener: o, window: w, use: newUse(c, inSlack), remote: at.remote, flow: n}, nil
}

// newOut makes the outbound SA of c.
func (d *DB) newOut(c *Child, at *child, n *counters) (*Out, error) {
	ivKey := make([]byte, esp.IVKeyLen)
	if _, err := io.ReadFull(d.random, ivKey); err != nil {
		return nil, fmt.Errorf("outbound: random source for IVs: %w", err)
	}
	secret := crypt.NewSecret(ivKey)
	defer secret.Wipe()
	s, err := esp.NewSealer(c.Set, c.Out.SPI, c.Out.Encr, c.Out.Integ, secret)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	return &Out{Child: at.facts, sealer: s, use: newUse(c, 0), remote: at.remote, flow: n}, nil
}

// Remove takes both directions of an SA pair out of use. A goroutine that still
// works with an older snapshot may seal or open a last batch with it. Error:
// ErrNoChild.
func (d *DB) Remove(id ChildID) error {
	n, ok := d.children[id]
	if !ok {
		return fmt.Errorf("remove SA pair %d: %w", id, ErrNoChild)
	}
	next := *d.Snapshot()
	f := next.flows.at(n)
	c := f.child(id)
	if c.in != nil {
		next.in = next.in.without(c.facts.In.SPI)
	}
	children := slices.DeleteFunc(slices.Clone(f.children), func(o *child) bool { return o.facts.ID == id })
	outs := slices.DeleteFunc(slices.Clone(f.outs), func(o *Out) bool { return o.Child.ID == id })
	next.flows = next.flows.with(n, f.with(children, outs))
	delete(d.children, id)
	d.now.Store(&next)
	return nil
}

// Move changes the peer's outer address and port of an SA pair in UDP, when an
// authentic packet came from there: a NAT gave the peer another mapping (RFC 3947
// section 6 asks for no more; RFC 7296 section 2.23). Error: ErrNoChild.
func (d *DB) Move(id ChildID, remote netip.AddrPort) error {
	n, ok := d.children[id]
	if !ok {
		return fmt.Errorf("move SA pair %d to %s: %w", id, remote, ErrNoChild)
	}
	d.Snapshot().flows.at(n).child(id).remote.at.Store(&remote)
	return nil
}

// Used is when the last packet was opened and sealed with an SA pair; the zero
// Time for never, or when no such pair is installed. It belongs to the goroutine
// that installs and removes.
func (d *DB) Used(id ChildID) (in, out time.Time) {
	n, ok := d.children[id]
	if !ok {
		return in, out
	}
	c := d.Snapshot().flows.at(n).child(id)
	if c.in != nil {
		in = c.in.use.values().LastUsed
	}
	if c.out != nil {
		out = c.out.use.values().LastUsed
	}
	return in, out
}

func withoutKeys(c Child) Child {
	c.In.Encr, c.In.Integ = crypt.Secret{}, crypt.Secret{}
	c.Out.Encr, c.Out.Integ = crypt.Secret{}, crypt.Secret{}
	return c
}

// child finds one of the flow's SA pairs, or nil.
func (f *Flow) child(id ChildID) *child {
	for _, c := range f.children {
		if c.facts.ID == id {
			return c
		}
	}
	return nil
}

// replace is the flow's SA pairs with now in the place of the one with id, or
// behind them.
func (f *Flow) replace(id ChildID, now *child) []*child {
	out := slices.Clone(f.children)
	for i, c := range out {
		if c.facts.ID == id {
			out[i] = now
			return out
		}
	}
	return append(out, now)
}

// append adds flow number n, the next one, to pages nobody else sees yet.
func (p pages) append(n int, f *Flow) pages {
	if n%pageSize == 0 {
		p = append(p, nil)
	}
	p[n/pageSize] = append(p[n/pageSize], f)
	return p
}

// with is a copy of p with flow n replaced.
func (p pages) with(n int, f *Flow) pages {
	p = slices.Clone(p)
	page := slices.Clone(p[n/pageSize])
	page[n%pageSize] = f
	p[n/pageSize] = page
	return p
}

// with is a copy of s with one SA more.
func (s shards) with(spi uint32, in *In) shards {
	s = s.without(spi)
	s[spi%shardCount][spi] = in
	return s
}

// without is a copy of s with the SA's shard copied, and without the SA.
func (s shards) without(spi uint32) shards {
	shard := make(map[uint32]*In, len(s[spi%shardCount])+1)
	for k, v := range s[spi%shardCount] {
		if k != spi {
			shard[k] = v
		}
	}
	s[spi%shardCount] = shard
	return s
}
