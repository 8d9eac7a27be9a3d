// Package sim is an internet in memory: engines, links that lose, double,
// delay and reorder, and a clock that only moves when nothing is left to do.
// The protocol code is the very one of the gateway, so `culvert simulate`
// tells what two configurations would do to each other, and the loss matrix
// runs in microseconds. Everything random comes from one seed.
package sim

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ike"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// epoch is when every simulation begins.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Link decides what happens to the n-th datagram (from 0) on the wire: one
// entry for each copy that arrives, with its delay. None means it is lost.
type Link func(n int, d door.Send) []time.Duration

// Perfect delivers everything after 10 milliseconds.
func Perfect(int, door.Send) []time.Duration { return []time.Duration{10 * time.Millisecond} }

// World is one simulation.
type World struct {
	Now   time.Time
	Hosts []*Host
	Link  Link
	// Web answers what engines fetch over HTTP, after the delay it says; ok false
	// for never. nil answers nothing.
	Web func(door.Fetch) (answer door.Fetched, delay time.Duration, ok bool)
	// Sniff sees every datagram sent, before Link decides.
	Sniff func(from *Host, d door.Send)
	// Keeps chooses the events that hosts remember; nil keeps all. A day of a
	// thousand gateways has millions.
	Keeps func(event.Event) bool

	nats   []*NAT
	byAddr map[netip.Addr]*Host
	timers timers
	rng    *rand.ChaCha8
	queue  arrivals
	sent   int
	order  int
}

// Host is one gateway of a World.
type Host struct {
	Name  string
	Addr  netip.Addr
	Addrs []netip.Addr // all it answers at; Addr is the first
	// LetsIn is the interface ACL: what it refuses never arrives. nil lets all in.
	LetsIn   func(flow.Tuple) bool
	Engine   *ike.Engine
	DB       *sadb.DB
	Events   []event.Event
	Children map[sadb.ChildID]*Installed
	// Unreachable counts flows that were given up.
	Unreachable int

	world    *World
	deadline time.Time
	place    int // among the timers, plus one; 0 without a deadline
}

// Installed is an SA pair in a host's data path.
type Installed struct {
	*sadb.Child
	In, Out bool
}

type arrival struct {
	at    time.Time
	order int
	to    *Host
	in    door.Input
}

type arrivals []arrival

func (q arrivals) Len() int { return len(q) }
func (q arrivals) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}
func (q arrivals) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is container/heap's.
func (q *arrivals) Push(x any) { *q = append(*q, x.(arrival)) }

// Pop is container/heap's.
func (q *arrivals) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

// NewWorld makes an empty world. The same seed gives the same world.
func NewWorld(seed uint64) *World {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &World{Now: epoch, Link: Perfect, byAddr: map[netip.Addr]*Host{}, rng: rand.NewChaCha8(key)}
}

// Rand is the world's source of chance, for links.
func (w *World) Rand() *rand.Rand { return rand.New(w.rng) }

// Add puts a gateway at an address, and at others if it has more.
func (w *World) Add(name string, addr netip.Addr, s *policy.Settings, more ...netip.Addr) *Host {
	var key [32]byte
	w.rng.Read(key[:])
	random := rand.NewChaCha8(key)
	h := &Host{Name: name, Addr: addr, Addrs: append([]netip.Addr{addr}, more...), Engine: ike.New(s, random), DB: sadb.New(random), Children: map[sadb.ChildID]*Installed{}, world: w}
	h.DB.SetPolicy(s.Entries)
	w.Hosts = append(w.Hosts, h)
	for _, a := range h.Addrs {
		w.byAddr[a] = h
	}
	return h
}

// Restart takes a gateway's memory away, as a power failure does.
func (h *Host) Restart() {
	var key [32]byte
	h.world.rng.Read(key[:])
	random := rand.NewChaCha8(key)
	s := h.Engine.Settings()
	h.Engine, h.DB = ike.New(s, random), sadb.New(random)
	h.DB.SetPolicy(s.Entries)
	h.Children = map[sadb.ChildID]*Installed{}
	h.world.timers.set(h)
}

// Reconfigure puts other settings in force, as a gateway does.
func (h *Host) Reconfigure(s *policy.Settings) {
	h.Input(door.Configure{Settings: s})
	h.DB.SetPolicy(s.Entries)
}

// Input steps a gateway now.
func (h *Host) Input(in door.Input) {
	h.world.apply(h, h.Engine.Step(h.world.Now, in, nil))
	h.world.timers.set(h)
}

// apply does what an engine put out. Arithmetic is done on the spot.
func (w *World) apply(h *Host, out []door.Output) {
	for _, o := range out {
		switch o := o.(type) {
		case door.Send:
			w.send(h, o)
		case door.Compute:
			w.push(w.Now, h, door.Computed{ID: o.ID, Result: o.Job.Run()})
		case door.Install:
			h.install(o)
		case door.Remove:
			delete(h.Children, o.Child)
			h.DB.Remove(o.Child)
		case door.Define:
			if err := h.DB.Define(o.Flow); err != nil {
				panic("sim: " + err.Error()) // the engine names no flow twice
			}
		case door.Undefine:
			if _, err := h.DB.Undefine(o.Flow); err != nil {
				panic("sim: " + err.Error())
			}
		case door.Move:
			if err := h.DB.Move(o.Child, o.Remote); err != nil {
				h.Events = append(h.Events, event.Event{At: w.Now, What: event.Dropped{Reason: err.Error()}})
			}
		case door.Unreachable:
			h.Unreachable++
		case door.Fetch:
			w.fetch(h, o)
		case door.Observe:
			in, out := h.DB.Used(o.Child)
			w.push(w.Now, h, door.Observed{Child: o.Child, In: in, Out: out})
		case door.Emit:
			h.remember(o.Event)
		}
	}
}

// fetch asks the world's web. The answer is for that question, whatever it says.
func (w *World) fetch(h *Host, f door.Fetch) {
	if w.Web == nil {
		return
	}
	if answer, delay, ok := w.Web(f); ok {
		answer.ID = f.ID
		w.push(w.Now.Add(delay), h, answer)
	}
}

func (h *Host) remember(e event.Event) {
	if h.world.Keeps == nil || h.world.Keeps(e) {
		h.Events = append(h.Events, e)
	}
}

func (h *Host) install(o door.Install) {
	k := h.Children[o.Child.ID]
	if k == nil {
		k = &Installed{Child: o.Child}
		h.Children[o.Child.ID] = k
	}
	k.In, k.Out = k.In || o.In, k.Out || o.Out
	if err := h.DB.Install(*o.Child, o.In, o.Out); err != nil {
		h.remember(event.Event{At: h.world.Now, What: event.Dropped{Reason: err.Error()}})
	}
}

func (w *World) send(from *Host, d door.Send) {
	if w.Sniff != nil {
		w.Sniff(from, d)
	}
	n := w.sent
	w.sent++
	source := w.leave(d.Local)
	to, local := w.arrive(d.Remote)
	if to == nil || d.Raw || !to.admits(flow.Tuple{
		Src: source.Addr(), Dst: local.Addr(), Proto: flow.UDP, SrcPort: source.Port(), DstPort: local.Port(),
	}) {
		return
	}
	for _, delay := range w.Link(n, d) {
		w.push(w.Now.Add(delay), to, door.Datagram{Local: local, Remote: source, Payload: append([]byte(nil), d.Payload...)})
	}
}

func (w *World) host(a netip.Addr) *Host { return w.byAddr[a] }

func (h *Host) admits(t flow.Tuple) bool { return h.LetsIn == nil || h.LetsIn(t) }

func (w *World) push(at time.Time, to *Host, in door.Input) {
	w.order++
	heap.Push(&w.queue, arrival{at, w.order, to, in})
}

// Run lets the world go on for d, or until done says so.
func (w *World) Run(d time.Duration, done func() bool) {
	end := w.Now.Add(d)
	for done == nil || !done() {
		at, host := w.next()
		if at.IsZero() || at.After(end) {
			w.Now = end
			return
		}
		if at.After(w.Now) {
			w.Now = at
		}
		if host != nil {
			host.Input(nil)
			continue
		}
		a := heap.Pop(&w.queue).(arrival)
		a.to.Input(a.in)
	}
}

// next is when something happens: an arrival, or a host's deadline.
func (w *World) next() (at time.Time, host *Host) {
	if len(w.queue) > 0 {
		at = w.queue[0].at
	}
	if h := w.timers.first(); h != nil && (at.IsZero() || h.deadline.Before(at)) {
		at, host = h.deadline, h
	}
	return at, host
}

// Up reports whether the host can send and receive for the flow.
func (h *Host) Up(id policy.FlowID) bool {
	for _, k := range h.Children {
		if k.Flow == id && k.In && k.Out {
			return true
		}
	}
	return false
}
