package ikev1

import (
	"bytes"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
)

// The bounds of one ISAKMP SA.
const (
	maxExchanges    = 256              // quick modes under way
	maxRemembered   = 4 * maxExchanges // quick modes under way or just finished
	maxMessageIDs   = 1 << 16          // message IDs remembered against replay
	negotiationTime = 45 * time.Second // a responder waits no longer for the next message
	keepaliveEvery  = 20 * time.Second // RFC 3948 section 4
)

// SA is one ISAKMP SA, from its first message to its end.
type SA struct {
	Conn          int // conn-id that show and debug print
	Role          event.Role
	Local, Remote netip.AddrPort
	Initiator     isakmp.Cookie
	Responder     isakmp.Cookie
	Policy        policy.ISAKMP // as agreed; zero before
	NAT           event.NATCheck
	Identity      string // of the peer
	// Profile is the isakmp profile in force: of the initiator the entry's, else
	// the one that recognises the peer; nil for none.
	Profile *policy.Profile
	PeerDPD bool
	// PeerFragments: the peer puts fragments together.
	PeerFragments bool
	Established   time.Time
	Expires       time.Time // end of the lifetime; zero before phase 1 is complete

	state     string // IOS's name
	step      string // IOS's name of the machine's state: IKE_I_MM1
	started   time.Time
	who       policy.Identity // the peer, once it is proved
	phase1    *phase1State
	keys      keys
	quick     map[uint32]*quickMode
	used      map[uint32]struct{} // message IDs that an authentic message has used
	jobs      map[uint64]func(*Context, crypt.Result)
	keepalive time.Time
	probe     uint32                  // sequence number of the last R-U-THERE, 0 for none
	confirms  map[uint32]sadb.ChildID // by that number
	questions map[uint32]struct{}     // numbers of the questions of dead peer detection that are open
	heard     time.Time               // the last authentic message
	leaf      *x509.Certificate       // by which the peer has proved itself; nil with a pre-shared key
	fetching  *fetching               // nil when nothing is on its way
	nattRFC   bool                    // the peer speaks RFC 3947 and not only a draft of it

	assemblies []*assembly // messages that come in fragments, oldest first
	incomplete bool        // one of them never became whole
	dead       bool
}

func newSA(c *Context, conn int, role event.Role, local, remote netip.AddrPort) *SA {
	return &SA{
		Conn: conn, Role: role, Local: local, Remote: remote, started: c.Now,
		state: "MM_NO_STATE", step: "IKE_READY",
		quick: map[uint32]*quickMode{}, used: map[uint32]struct{}{}, jobs: map[uint64]func(*Context, crypt.Result){}, confirms: map[uint32]sadb.ChildID{},
		questions: map[uint32]struct{}{},
	}
}

// State is the SA's state in IOS's words: MM_NO_STATE, MM_SA_SETUP,
// MM_KEY_EXCH, MM_KEY_AUTH, QM_IDLE.
func (s *SA) State() string { return s.state }

// Up reports whether phase 1 is complete and the SA may carry exchanges.
func (s *SA) Up() bool { return !s.Established.IsZero() && !s.dead }

// Started is when the negotiation began.
func (s *SA) Started() time.Time { return s.started }

// Reached reports whether the peer has shown that our messages reach it: it has
// named our cookie (RFC 2408 2.5.3). Before, MM1 may come from anybody.
func (s *SA) Reached() bool { return s.phase1.took != "MM1" && s.phase1.took != "AM1" }

// Dead reports whether the SA is over.
func (s *SA) Dead() bool { return s.dead }

// Jobs lists the arithmetic under way.
func (s *SA) Jobs() []uint64 {
	ids := make([]uint64, 0, len(s.jobs))
	for id := range s.jobs {
		ids = append(ids, id)
	}
	return ids
}

func (s *SA) emit(c *Context, w event.What) {
	c.Out = append(c.Out, door.Emit{Event: event.Event{
		At: c.Now, Local: s.Local, Peer: s.Remote, Conn: s.Conn, Role: s.Role, State: s.state, What: w,
	}})
}

// move takes the machine to its next state.
func (s *SA) move(c *Context, step, state string) {
	old := s.step
	s.step, s.state = step, state
	s.emit(c, event.State{Old: old, New: step})
}

// message is a datagram on its way through the SA.
type message struct {
	name     string
	raw      []byte // as received
	header   isakmp.Header
	local    netip.AddrPort
	remote   netip.AddrPort
	payloads []isakmp.Payload
	signed   []byte // what follows the HASH payload: its prf's input
	nextIV   []byte // last block of the ciphertext
	sealed   bool
}

func (m *message) first(t isakmp.PayloadType) ([]byte, bool) {
	for _, p := range m.payloads {
		if p.Type == t {
			return p.Body, true
		}
	}
	return nil, false
}

func (m *message) all(t isakmp.PayloadType) [][]byte {
	var out [][]byte
	for _, p := range m.payloads {
		if p.Type == t {
			out = append(out, p.Body)
		}
	}
	return out
}

// one returns the only payload of a type; none or several is a refusal.
func (m *message) one(t isakmp.PayloadType) ([]byte, error) {
	all := m.all(t)
	if len(all) != 1 {
		return nil, malformed("%s has %d %s payloads, expected one", m.name, len(all), t)
	}
	return all[0], nil
}

// Handle takes a datagram that carries this SA's cookies.
func (s *SA) Handle(c *Context, h isakmp.Header, d door.Datagram) {
	if s.dead {
		return
	}
	if d.Local.Addr() != s.Local.Addr() || d.Remote.Addr() != s.Remote.Addr() && !s.mayCome(c, d.Remote.Addr()) {
		s.emit(c, event.Dropped{Reason: "IKE message from " + d.Remote.Addr().String() + " with the cookies of " + s.Remote.Addr().String()})
		return
	}
	m := &message{raw: append([]byte(nil), d.Payload...), header: h, local: d.Local, remote: d.Remote}
	var err error
	if h.Next == isakmp.PayloadFragment {
		if m.raw, m.header, err = s.handleFragment(c, m); err != nil || m.raw == nil {
			s.dropped(c, err)
			return
		}
	}
	s.dropped(c, s.dispatch(c, m))
	if s.worn() {
		s.Delete(c, "too many messages on one SA")
	}
}

// dropped tells why a message was not taken, if it was not.
func (s *SA) dropped(c *Context, err error) {
	if err != nil {
		s.emit(c, event.Dropped{Reason: err.Error(), Cause: causeOf(err)})
	}
}

// dispatch hands a whole message to its exchange.
func (s *SA) dispatch(c *Context, m *message) error {
	m.sealed = m.header.Flags&isakmp.FlagEncryption != 0
	switch m.header.Exchange {
	case isakmp.ExchangeMain, isakmp.ExchangeAggressive:
		return s.handlePhase1(c, m)
	case isakmp.ExchangeQuick:
		return s.handleQuick(c, m)
	case isakmp.ExchangeInformational:
		return s.handleInformational(c, m)
	case isakmp.ExchangeTransaction:
		return s.handleTransaction(c, m)
	}
	return malformed("exchange type %s is not spoken on this SA", m.header.Exchange)
}

// Computed goes on with the result of arithmetic.
func (s *SA) Computed(c *Context, id uint64, r crypt.Result) {
	then, ok := s.jobs[id]
	if !ok || s.dead {
		return
	}
	delete(s.jobs, id)
	then(c, r)
}

// Deadline is when Tick wants to be called next; zero means never.
func (s *SA) Deadline() time.Time {
	var d time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	if s.dead {
		return d
	}
	sooner(s.Expires)
	sooner(s.keepalive)
	if s.fetching != nil {
		sooner(s.fetching.until)
	}
	if len(s.assemblies) > 0 {
		sooner(s.assemblies[0].ends)
	}
	if s.phase1 != nil {
		sooner(s.phase1.flight.next)
		if s.Expires.IsZero() {
			sooner(s.started.Add(negotiationTime))
		}
	}
	for _, q := range s.quick {
		sooner(q.flight.next)
		sooner(q.ends)
	}
	return d
}

// Tick does what is due by c.Now: retransmissions, ends, keepalives.
func (s *SA) Tick(c *Context) {
	if s.dead {
		return
	}
	s.tickFragments(c)
	s.tickFetch(c)
	if s.phase1 != nil && !s.dead {
		s.tickPhase1(c)
	}
	if s.dead {
		return
	}
	for _, id := range sortedIDs(s.quick) {
		s.tickQuick(c, s.quick[id])
	}
	if !s.keepalive.IsZero() && !c.Now.Before(s.keepalive) {
		s.keepalive = c.Now.Add(c.keepalive())
		c.Out = append(c.Out, door.Send{Local: s.Local, Remote: s.Remote, Payload: []byte{0xff}, Raw: true})
	}
	if !s.Expires.IsZero() && !c.Now.Before(s.Expires) {
		s.Delete(c, "lifetime expired")
	}
}

// end makes the SA dead. Arithmetic under way is forgotten, keys are wiped.
func (s *SA) end(c *Context, failed *event.Failed) {
	if s.dead {
		return
	}
	s.dead = true
	if failed != nil {
		s.emit(c, *failed)
	}
	for _, id := range sortedIDs(s.quick) {
		q := s.quick[id]
		if !q.done {
			s.failQuick(c, q, event.Failed{Code: event.Cleared, Reason: "the ISAKMP SA ended"})
		}
	}
	clear(s.quick)
	s.assemblies = nil
	s.keys.wipe()
	if s.phase1 != nil {
		s.phase1.private.Wipe()
	}
	c.done(Dead{SA: s, Failed: failed, Expired: !s.Expires.IsZero() && !c.Now.Before(s.Expires)})
}

// open decrypts a message with iv and splits it into payloads.
func (s *SA) open(m *message, iv []byte) error {
	body := m.raw[isakmp.HeaderSize:]
	block := s.Policy.Cipher.Row().Block
	if len(body) == 0 || len(body)%block != 0 {
		return malformed("%s: %d encrypted octets are not whole blocks of %d", m.name, len(body), block)
	}
	plain, err := crypt.CBCDecrypt(s.Policy.Cipher, s.keys.cipher, iv, body)
	if err != nil {
		return err
	}
	m.nextIV = append([]byte(nil), body[len(body)-block:]...)
	m.payloads, _, err = isakmp.ParsePayloads(m.header.Next, plain)
	if err != nil {
		return err
	}
	// HASH(n) covers all that follows the HASH payload, without the padding.
	if len(m.payloads) > 0 && m.payloads[0].Type == isakmp.PayloadHash {
		start := 4 + len(m.payloads[0].Body)
		end := start
		for _, p := range m.payloads[1:] {
			end += 4 + len(p.Body)
		}
		m.signed = plain[start:end]
	}
	return nil
}

// seal makes a message: encrypted when iv is not nil. It returns the last
// ciphertext block.
func (s *SA) seal(h isakmp.Header, payloads []isakmp.Payload, iv []byte) (raw, last []byte, err error) {
	h.InitiatorCookie, h.ResponderCookie, h.Version = s.Initiator, s.Responder, version1
	first, body := isakmp.AppendPayloads(nil, payloads)
	h.Next = first
	if iv == nil {
		h.Length = uint32(isakmp.HeaderSize + len(body))
		return append(h.Append(nil), body...), nil, nil
	}
	block := s.Policy.Cipher.Row().Block
	if r := len(body) % block; r != 0 {
		body = append(body, make([]byte, block-r)...)
	}
	h.Flags |= isakmp.FlagEncryption
	h.Length = uint32(isakmp.HeaderSize + len(body))
	sealed, err := crypt.CBCEncrypt(s.Policy.Cipher, s.keys.cipher, iv, body)
	if err != nil {
		return nil, nil, err
	}
	return append(h.Append(nil), sealed...), sealed[len(sealed)-block:], nil
}

// hashOver computes the HASH of phase 2: prf(SKEYID_a, parts).
func (s *SA) hashOver(parts ...[]byte) []byte {
	return crypt.PRF(s.Policy.Hash, s.keys.a, parts...)
}

// received reports a message that was taken. Once phase 1 is complete what is
// taken and was encrypted is the peer's own.
func (s *SA) received(c *Context, m *message) {
	if m.sealed && !s.Established.IsZero() {
		s.heard = c.Now
		s.settled(m)
	}
	s.emit(c, event.Message{
		Dir: event.Received, Exchange: exchangeName(m.header.Exchange), Name: m.name, ID: m.header.MessageID,
		Encrypted: m.sealed, Payloads: describe(m.payloads), Octets: len(m.raw),
	})
}

// duplicate answers a message that f has answered before.
func (s *SA) duplicate(c *Context, f *flight, m *message, name string) bool {
	if f.received == nil || !bytes.Equal(f.received, m.raw) {
		return false
	}
	s.emit(c, event.Message{
		Dir: event.Received, Exchange: exchangeName(m.header.Exchange), Name: name, ID: m.header.MessageID,
		Encrypted: m.sealed, Octets: len(m.raw), Duplicate: true,
	})
	f.repeat(c, s)
	return true
}

// post sends a message of an exchange and keeps it in f.
func (s *SA) post(c *Context, f *flight, name string, h isakmp.Header, payloads []isakmp.Payload, iv []byte) (last []byte, err error) {
	raw, last, err := s.seal(h, payloads, iv)
	if err != nil {
		return nil, err
	}
	f.raw, f.attempt, f.answered = raw, 0, 0
	f.sent = event.Message{
		Dir: event.Sent, Exchange: exchangeName(h.Exchange), Name: name, ID: h.MessageID,
		Encrypted: iv != nil, Payloads: describe(payloads), Octets: len(raw),
	}
	f.put(c, s, 0)
	return last, nil
}

// causeOf tells what IOS would log of a message that was dropped.
func causeOf(err error) event.Cause {
	var wire *isakmp.Error
	switch {
	case errors.Is(err, errNotEncrypted):
		return event.NotEncrypted
	case errors.As(err, &wire):
		return event.BadMessage
	}
	return ""
}

// refusal finds the Refusal in err, or makes one.
func refusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Code: event.Malformed, Reason: err.Error()}
}

// HasChildNegotiation reports whether a quick mode for the flow is under way.
func (s *SA) HasChildNegotiation(f policy.FlowID, selects flow.Selectors, rekey sadb.ChildID) bool {
	for _, q := range s.quick {
		if !q.done && q.flow.ID == f && q.role == event.Initiator && q.selects == selects && q.rekey == rekey {
			return true
		}
	}
	return false
}

// full reports whether the SA has no room for another quick mode.
func (s *SA) full() bool {
	n := 0
	for _, q := range s.quick {
		if !q.done {
			n++
		}
	}
	return n >= maxExchanges || len(s.quick) >= maxRemembered
}
