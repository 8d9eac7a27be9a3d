package sadb

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/crypt"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// Why an SA cannot be installed, removed or moved.
var (
	ErrNoFlow    = errors.New("the policy has no such flow")
	ErrNoChild   = errors.New("no such SA pair is installed")
	ErrInstalled = errors.New("this direction of the SA pair is installed already")
	ErrSPIUsed   = errors.New("another inbound SA has this SPI")
	ErrNAT       = errors.New("AH covers the addresses, so it cannot pass a NAT in UDP")
	ErrNotHosts  = errors.New("in transport mode the SA's selectors have to be one host at each end")
	ErrEmpty     = errors.New("the transform set names neither ESP nor AH")
	ErrDefined   = errors.New("a flow of that name is there already")
	ErrNothing   = errors.New("neither direction of the SA pair was asked for")
)

// DB is the SPD and the SAD. SetPolicy, Define, Undefine, Install, Remove, Move
// and Used are for one goroutine; Snapshot and Stats for any.
type DB struct {
	random io.Reader
	now    atomic.Pointer[Snapshot]
	// The writer's own books.
	hits     map[hitKey]*hit
	children map[ChildID]int // number of the flow in the policy
	dynamic  []policy.Flow   // of Define, in their order
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
	d.now.Store(&Snapshot{stages: [numStages]*spd{{}, {}, {}}})
	return d
}

// Snapshot is the state after the last change.
func (d *DB) Snapshot() *Snapshot { return d.now.Load() }

// Stats reads all counters.
func (d *DB) Stats() Stats { return d.Snapshot().Stats() }

// SetPolicy replaces the SPD by the crypto map entries, in their order. Counters
// and SAs stay with a flow whose name and selectors are in both policies, and a
// line's hits with a line that reads the same. Flows of Define stay. SAs whose
// flow is gone are removed and returned, ascending: their peer should hear about it.
func (d *DB) SetPolicy(entries []policy.Entry) (gone []ChildID) {
	entries = slices.Clone(entries)
	hits := map[hitKey]*hit{}
	count := func(list *flow.List, l *flow.Line) *atomic.Uint64 { return d.hitsOf(hits, list, l) }
	next := &Snapshot{}
	var flows []policy.Flow
	next.stages[written], flows = newSPD(entries, false, nil, count)
	next.stages[catchAll], flows = newSPD(entries, true, flows, count)
	next.stages[defined], flows = newDefined(d.dynamic, flows)
	d.hits = hits
	return d.replace(next, flows)
}

// replace puts a new SPD in force, whose flows are flows in the order of their
// numbers; see SetPolicy for what stays and what is returned.
func (d *DB) replace(next *Snapshot, flows []policy.Flow) (gone []ChildID) {
	old := d.Snapshot()
	next.esp, next.ah = old.esp, old.ah
	moved := map[ChildID]int{}
	for n, pf := range flows {
		f := &Flow{Flow: pf, counters: &counters{}}
		_, f.Negotiable = pf.Line.Selectors()
		if _, waits := next.stages[catchAll].flowIDs[pf.ID]; waits {
			f.Negotiable = false
		}
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
			next.forget(&c.facts)
		}
	}
	d.children = moved
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
// ErrSPIUsed, ErrNAT, ErrNotHosts, ErrEmpty; those of esp.NewSealer,
// ah.NewSealer and replay.New; a failed read of the random source.
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
			next.remember(&c, now.in)
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
	n, ok := s.number(c.Flow)
	switch {
	case !in && !out:
		return 0, nil, ErrNothing
	case c.Set.AH == suite.NoHash && c.Set.Cipher == suite.NoCipher:
		return 0, nil, ErrEmpty
	case c.Set.AH != suite.NoHash && c.Encap:
		return 0, nil, ErrNAT
	case c.Set.Mode == suite.Transport && !(c.Selectors.Local.IsSingleIP() && c.Selectors.Remote.IsSingleIP()):
		return 0, nil, fmt.Errorf("%s: %w", c.Selectors, ErrNotHosts)
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
	if in && c.Set.Cipher != suite.NoCipher && s.Inbound(esp.Proto, c.In.SPI) != nil {
		return 0, nil, fmt.Errorf("ESP SPI %#08x: %w", c.In.SPI, ErrSPIUsed)
	}
	if in && c.Set.AH != suite.NoHash && s.Inbound(ah.ProtoAH, c.In.AHSPI) != nil {
		return 0, nil, fmt.Errorf("AH SPI %#08x: %w", c.In.AHSPI, ErrSPIUsed)
	}
	return n, have, nil
}

// espSet is what was agreed, for its ESP part: with AH around it ESP may do
// without an ICV of its own.
func espSet(c *Child) policy.TransformSet {
	set := c.Set
	set.ESN = c.ESN
	return set
}

// encrypts reports whether the pair's packets are encrypted, not only protected.
func encrypts(c *Child) bool {
	return c.Set.Cipher != suite.NoCipher && c.Set.Cipher != suite.NullCipher
}

// draw fills b from the random source.
func (d *DB) draw(b []byte) error {
	if _, err := io.ReadFull(d.random, b); err != nil {
		return fmt.Errorf("outbound: random source: %w", err)
	}
	return nil
}

// ivKey is a new key to make CBC IVs with.
func (d *DB) ivKey() (crypt.Secret, error) {
	key := make([]byte, esp.IVKeyLen)
	if err := d.draw(key); err != nil {
		return crypt.Secret{}, err
	}
	return crypt.NewSecret(key), nil
}

func outbound(err error) error { return fmt.Errorf("outbound: %w", err) }

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
		next.forget(&c.facts)
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
	c.In = Keys{SPI: c.In.SPI, AHSPI: c.In.AHSPI}
	c.Out = Keys{SPI: c.Out.SPI, AHSPI: c.Out.AHSPI}
	return c
}

// remember puts an inbound SA where its SPIs find it.
func (s *Snapshot) remember(c *Child, in *In) {
	if c.Set.Cipher != suite.NoCipher {
		s.esp = s.esp.with(c.In.SPI, in)
	}
	if c.Set.AH != suite.NoHash {
		s.ah = s.ah.with(c.In.AHSPI, in)
	}
}

// forget takes it from there.
func (s *Snapshot) forget(c *Child) {
	if c.Set.Cipher != suite.NoCipher {
		s.esp = s.esp.without(c.In.SPI)
	}
	if c.Set.AH != suite.NoHash {
		s.ah = s.ah.without(c.In.AHSPI)
	}
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
