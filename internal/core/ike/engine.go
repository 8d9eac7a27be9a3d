// Package ike is the Engine: it owns every ISAKMP SA and every IPsec SA pair
// of a gateway, finds the SA a datagram belongs to, starts negotiations when
// interesting traffic asks, renews SAs before they end, and bounds what
// strangers can make it remember. It is stepped, never started: no clock, no
// socket, no goroutine.
//
//	Trigger ──▶ flow ──▶ an ISAKMP SA that is up ──▶ quick mode ──▶ Install
//	                └──▶ none: main mode, the flow waits ─┘
//	Datagram ──▶ cookies ──▶ SA ──▶ outcomes ──▶ flows and IPsec SAs
package ike

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/pki"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// firstConn is the conn-id before the first, as IOS counts.
const firstConn = 1000

// Engine is one IKE engine.
type Engine struct {
	settings *policy.Settings
	random   io.Reader

	lastConn  int
	lastChild sadb.ChildID
	lastJob   uint64

	sas        map[cookies]*ikev1.SA       // complete cookie pairs
	initiating map[isakmp.Cookie]*ikev1.SA // SAs that we began, by our cookie
	offers     map[offerKey]*ikev1.SA      // half-open SAs of peers, to know MM1 again
	half       halfOpen                    // of these, the ones not yet authenticated
	all        map[*ikev1.SA]*deadline
	peers      peers
	jobs       map[uint64]*ikev1.SA
	spis       map[uint32]struct{} // inbound SPIs in use or promised

	children map[sadb.ChildID]*child
	flows    map[policy.FlowID]*flowState
	defined  map[policy.FlowID]*defined // flows that peers of dynamic entries asked for
	lines    []flow.Selectors           // of the configuration; nil until somebody asks
	turns    map[turnOf]int             // which of an entry's peers is to be asked; absent for the first
	waiting  map[pair][]request

	recovered map[pair]time.Time // when an invalid SPI was last acted on

	deadlines deadlines
	memory    memory
	evidence  *pki.Cache // of revocation, shared by all negotiations
	fetches   map[string]*onItsWay
}

type cookies struct{ initiator, responder isakmp.Cookie }

type offerKey struct {
	initiator isakmp.Cookie
	source    netip.Addr
}

// New makes an engine. random must never fail, as crypto/rand.Reader never does.
// It indexes s, which must not change from then on.
func New(s *policy.Settings, random io.Reader) *Engine {
	s.Index()
	return &Engine{
		settings: s, random: random, lastConn: firstConn,
		sas: map[cookies]*ikev1.SA{}, initiating: map[isakmp.Cookie]*ikev1.SA{}, offers: map[offerKey]*ikev1.SA{},
		half: newHalfOpen(), peers: newPeers(),
		all: map[*ikev1.SA]*deadline{}, jobs: map[uint64]*ikev1.SA{}, spis: map[uint32]struct{}{},
		children: map[sadb.ChildID]*child{}, flows: map[policy.FlowID]*flowState{}, waiting: map[pair][]request{}, defined: map[policy.FlowID]*defined{}, turns: map[turnOf]int{},
		recovered: map[pair]time.Time{}, memory: newMemory(), evidence: pki.NewCache(), fetches: map[string]*onItsWay{},
	}
}

// Settings is the configuration in force.
func (e *Engine) Settings() *policy.Settings { return e.settings }

// Deadline is when Step wants to be called next; zero means never.
func (e *Engine) Deadline() time.Time { return e.deadlines.first() }

// Step advances the engine to now, applies in (nil for a bare timer tick) and
// appends what must be done to out.
func (e *Engine) Step(now time.Time, in door.Input, out []door.Output) []door.Output {
	c := e.context(now, out)
	switch in := in.(type) {
	case door.Datagram:
		e.datagram(c, in)
	case door.Trigger:
		e.trigger(c, in)
	case door.Computed:
		if sa := e.jobs[in.ID]; sa != nil {
			delete(e.jobs, in.ID)
			sa.Computed(c, in.ID, in.Result)
			e.after(c, sa)
		}
	case door.Fetched:
		e.fetched(c, in)
	case door.Expire:
		e.expire(c, in)
	case door.Clear:
		e.clear(c, in)
	case door.InvalidSPI:
		e.invalidSPI(c, in)
	case door.Moved:
		e.movedChild(c, in)
	case door.Observed:
		e.observed(c, in)
		e.outcomes(c)
	case door.Configure:
		e.configure(c, in.Settings)
	}
	for d := e.deadlines.due(now); d != nil; d = e.deadlines.due(now) {
		e.tick(c, d)
	}
	e.memory.learn(c.Out[len(out):])
	return c.Out
}

func (e *Engine) context(now time.Time, out []door.Output) *ikev1.Context {
	x := &ikev1.Context{
		Now: now, Random: e.random, Settings: e.settings, Out: out,
		NewSPI:  e.newSPI,
		FreeSPI: func(spi uint32) { delete(e.spis, spi) },
		Admit:   e.admit,
		Adopt:   e.define,
		Yield:   e.yield,
		Crossing: func(s *ikev1.SA, selects flow.Selectors, nonce []byte) bool {
			return e.crossing(now, s, selects, nonce)
		},
		NewChild: func() sadb.ChildID { e.lastChild++; return e.lastChild },
		NewJob:   func(s *ikev1.SA) uint64 { e.lastJob++; e.jobs[e.lastJob] = s; return e.lastJob },
		Others:   e.others,
		Evidence: e.evidence,
	}
	x.Fetch = func(f door.Fetch) { e.fetch(x, f) }
	return x
}

// newSPI draws an inbound SPI: not reserved (RFC 4303 2.1: 1 to 255), not in use.
func (e *Engine) newSPI() uint32 {
	var b [4]byte
	for {
		if _, err := io.ReadFull(e.random, b[:]); err != nil {
			panic(errors.Join(errors.New("ike: the source of randomness failed"), err))
		}
		spi := binary.BigEndian.Uint32(b[:])
		if _, taken := e.spis[spi]; spi > 255 && !taken {
			e.spis[spi] = struct{}{}
			return spi
		}
	}
}

// datagram finds the SA of an IKE message.
func (e *Engine) datagram(c *ikev1.Context, d door.Datagram) {
	h, err := isakmp.ParseHeader(d.Payload)
	if err != nil {
		e.unreadable(c, h, d, err)
		return
	}
	if h.InitiatorCookie.IsZero() {
		drop(c, d, "an IKE message without an initiator cookie", event.BadMessage)
		return
	}
	if sa := e.find(h, d); sa != nil {
		sa.Handle(c, h, d)
		e.after(c, sa)
		return
	}
	if (h.Exchange == isakmp.ExchangeMain || h.Exchange == isakmp.ExchangeAggressive) && h.ResponderCookie.IsZero() {
		e.respond(c, h, d)
		return
	}
	drop(c, d, "IKE message from "+d.Remote.Addr().String()+" has no SA and is not an initialization offer", event.NoSA)
}

// unreadable drops a datagram that is no IKEv1 message. A configured peer that
// speaks IKEv2 is worth remembering: explain tells it.
func (e *Engine) unreadable(c *ikev1.Context, h isakmp.Header, d door.Datagram, err error) {
	if errors.Is(err, isakmp.ErrVersion) && h.Major() == 2 && e.settings.HasPeer(d.Local.Addr(), d.Remote.Addr()) {
		refused(c, d, event.Failed{Phase: 1, Pending: true, Code: event.SpeaksIKEv2, Reason: "the peer speaks IKEv2", LastReceived: "IKE_SA_INIT"})
	}
	drop(c, d, err.Error(), event.BadMessage)
}

func (e *Engine) find(h isakmp.Header, d door.Datagram) *ikev1.SA {
	if sa := e.sas[cookies{h.InitiatorCookie, h.ResponderCookie}]; sa != nil {
		return sa
	}
	if sa := e.initiating[h.InitiatorCookie]; sa != nil && !sa.Paired() && sa.Remote.Addr() == d.Remote.Addr() {
		// The answer to MM1, or a notification that refuses it. Our own MM1
		// reflected to us has no responder cookie.
		if h.Exchange == isakmp.ExchangeInformational || !h.ResponderCookie.IsZero() {
			return sa
		}
		return nil
	}
	if h.ResponderCookie.IsZero() {
		return e.offers[offerKey{h.InitiatorCookie, d.Remote.Addr()}]
	}
	return nil
}

// respond takes MM1 or AM1 of a new negotiation.
func (e *Engine) respond(c *ikev1.Context, h isakmp.Header, d door.Datagram) {
	if e.initiating[h.InitiatorCookie] != nil {
		drop(c, d, "an offer with our own cookie", "")
		return
	}
	if !e.settings.HasPeer(d.Local.Addr(), d.Remote.Addr()) {
		refused(c, d, event.Failed{Phase: 1, Code: event.NoEntry, Reason: "no crypto map entry names the peer " + d.Remote.Addr().String(), LastReceived: ikev1.Opening(h.Exchange)})
		c.Out = append(c.Out, ikev1.Refuse(c, h, d, isakmp.NotifyNoProposalChosen))
		return
	}
	if !e.makeRoom(c, d.Remote.Addr(), h.Exchange == isakmp.ExchangeAggressive) {
		drop(c, d, "too many negotiations are half open; this offer is ignored", "")
		return
	}
	sa, err := ikev1.Respond(c, e.lastConn+1, h, d)
	if err != nil {
		e.refuse(c, h, d, err)
		return
	}
	e.lastConn++
	e.adopt(sa)
	sa.Accept(c)
	e.after(c, sa)
}

// refuse answers an offer that made no SA: once, and nothing is kept.
func (e *Engine) refuse(c *ikev1.Context, h isakmp.Header, d door.Datagram, err error) {
	var r *ikev1.Refusal
	var wire *isakmp.Error
	switch {
	case errors.As(err, &r):
		f := event.Failed{Phase: 1, Code: r.Code, Reason: r.Reason, LastReceived: ikev1.Opening(h.Exchange)}
		f.PolicyOffers, f.Identity, f.Kind, f.Profile = r.Offers, r.Identity, r.Kind, r.Profile
		refused(c, d, f)
		if r.Notify != 0 {
			c.Out = append(c.Out, ikev1.Refuse(c, h, d, r.Notify))
		}
	case errors.As(err, &wire):
		drop(c, d, err.Error(), event.BadMessage)
		c.Out = append(c.Out, ikev1.Refuse(c, h, d, wire.Notify))
	default:
		drop(c, d, err.Error(), event.BadMessage)
	}
}

// adopt enters an SA into the books.
func (e *Engine) adopt(sa *ikev1.SA) {
	d := &deadline{sa: sa, peer: e.peers.enter(partyOf(sa))}
	e.all[sa] = d
	d.peer.sas = append(d.peer.sas, sa)
	e.book(d)
}

// initiate starts phase 1 with a peer on behalf of a crypto map entry, unless it
// is under way.
func (e *Engine) initiate(c *ikev1.Context, p pair, on *policy.Entry) {
	for _, sa := range e.sasAt(p) {
		if sa.Role == event.Initiator && !sa.Up() && !sa.Dead() {
			return
		}
	}
	e.lastConn++
	sa := ikev1.Initiate(c, e.lastConn, netip.AddrPortFrom(p.local, portIKE), netip.AddrPortFrom(p.remote, portIKE), on)
	e.initiating[sa.Initiator] = sa // until it is over: our own offer reflected to us makes no SA
	e.adopt(sa)
	e.after(c, sa)
}

// portIKE is where IKE begins (RFC 2408 2.5.1).
const portIKE = 500

// after brings the engine's books up to date once an SA has had its turn.
func (e *Engine) after(c *ikev1.Context, sa *ikev1.SA) {
	e.outcomes(c)
	d := e.all[sa]
	if d == nil {
		return
	}
	if sa.Dead() {
		e.forget(c, sa)
		return
	}
	if sa.Paired() {
		e.sas[cookies{sa.Initiator, sa.Responder}] = sa
	}
	e.half.computed(sa)
	switch {
	case sa.Up():
		e.half.remove(sa)
		e.movedSA(c, d)
	case sa.Reached():
		e.half.reached(sa)
	}
	e.deadlines.set(d, sa.Deadline())
}

// forget removes a dead SA from every table.
func (e *Engine) forget(c *ikev1.Context, sa *ikev1.SA) {
	d := e.all[sa]
	e.deadlines.set(d, time.Time{})
	e.memory.buried(c.Now, sa)
	d.peer.drop(sa)
	d.peer.heard = later(d.peer.heard, sa.Heard())
	e.leave(d.peer)
	delete(e.all, sa)
	e.half.remove(sa)
	delete(e.sas, cookies{sa.Initiator, sa.Responder})
	if e.initiating[sa.Initiator] == sa {
		delete(e.initiating, sa.Initiator)
	}
	if e.offers[d.offer] == sa {
		delete(e.offers, d.offer)
	}
	for _, id := range sa.Jobs() {
		delete(e.jobs, id)
	}
}

func (e *Engine) tick(c *ikev1.Context, d *deadline) {
	if d.sa != nil {
		d.sa.Tick(c)
		e.after(c, d.sa)
		return
	}
	if d.child != nil {
		e.tickChild(c, d.child)
		return
	}
	e.survey(c, d.peer)
}

// outcomes acts on what exchanges have reported.
func (e *Engine) outcomes(c *ikev1.Context) {
	for len(c.Outcomes) > 0 {
		o := c.Outcomes[0]
		c.Outcomes = c.Outcomes[1:]
		switch o := o.(type) {
		case ikev1.Established:
			e.established(c, o.SA)
		case ikev1.ChildUp:
			e.childUp(c, o)
		case ikev1.Ready:
			e.ready(c, o.Child)
		case ikev1.ChildFailed:
			e.childFailed(c, o)
		case ikev1.PeerDeleted:
			e.peerDeleted(c, o)
		case ikev1.InitialContact:
			e.initialContact(c, o.SA)
		case ikev1.Dead:
			e.dead(c, o)
		}
	}
}

func drop(c *ikev1.Context, d door.Datagram, why string, cause event.Cause) {
	c.Out = append(c.Out, door.Emit{Event: event.Event{At: c.Now, Local: d.Local, Peer: d.Remote, What: event.Dropped{Reason: why, Cause: cause}}})
}

func refused(c *ikev1.Context, d door.Datagram, f event.Failed) {
	c.Out = append(c.Out, door.Emit{Event: event.Event{At: c.Now, Local: d.Local, Peer: d.Remote, Role: event.Responder, What: f}})
}
