package sadb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"culvert/internal/core/ah"
	"culvert/internal/core/esp"
	"culvert/internal/core/replay"
	"culvert/internal/core/suite"
)

// ErrBundle is an authentic AH packet of a bundle without the bundle's ESP in it.
var ErrBundle = errors.New("the AH packet holds no ESP packet of the SA's bundle")

// inSlack is the part of the volume an inbound SA accepts beyond it. The sender
// enforces the limit; "implementations MUST be able to handle having the
// counters at the ends of an SA get out of synch" (RFC 4301 4.4.2.1), for the
// peer may not count what we count.
const inSlack = 8 // one eighth

// In is an inbound SA, or a bundle of two. Open belongs to one goroutine, since
// it owns the anti-replay windows; everything else may be called from anywhere.
type In struct {
	Child     Child       // without its keys
	esp       *esp.Opener // nil without ESP
	espWindow *replay.Window
	ah        *ah.Opener // nil without AH
	ahWindow  *replay.Window
	decrypts  bool
	transport bool
	use       *use
	remote    *endpoint
	flow      *counters
}

// Remote is where packets of the SA are expected from; see Child.Remote.
func (i *In) Remote() netip.AddrPort { return *i.remote.at.Load() }

// Proto is the protocol in which the SA's packets come: AH where there is AH,
// also around ESP, else ESP.
func (i *In) Proto() uint8 {
	if i.ah != nil {
		return ah.ProtoAH
	}
	return esp.Proto
}

// Opened is an authentic packet.
type Opened struct {
	// Payload is what came out: in tunnel mode the inner packet, in transport
	// mode the packet as it was before it was protected. It lies in the memory
	// of the packet opened, or with UDP up to 20 octets behind it.
	Payload []byte
	Next    uint8 // its protocol, esp.NextIPv4; esp.NextDummy means: discard silently
	Seq     uint64
	// Newest: no packet with a higher sequence number came before. Only such a
	// packet says where the peer is now; an older one may have been held back.
	Newest  bool
	Crossed Limit // Soft or Hard the first time that limit is reached, with err nil or not
}

// Open is RFC 4303 section 3.4 and RFC 4302 section 3.4 for one packet, in
// place: replay check, ICV, window update, decryption, padding; first of AH,
// then of ESP, where there are both; and it counts. The first at octets of
// packet are its IPv4 header, which AH and transport mode need; without one
// (at 0: it came in UDP) transport mode makes a header of the SA's addresses.
// The payload is not compared with the SA's selectors: that is the caller's
// next step (RFC 4301 5.2 step 4), see Refuse. now is the time in Unix
// nanoseconds. Errors: esp.ErrShort, esp.ErrLength and those of ah.Opener.Check; replay.ErrZero,
// ErrSeen, ErrTooOld; esp.ErrICV, ah.ErrICV; for an authentic packet
// esp.ErrPadding, ErrBundle, ErrVolume, and esp.ErrNoRoom where no header fits.
func (i *In) Open(packet []byte, at int, now int64) (p Opened, err error) {
	if at < 0 || at > len(packet) {
		i.flow.recvErrors.Add(1)
		return p, esp.ErrShort
	}
	content := packet[at:]
	if i.ah != nil {
		if content, err = i.openAH(&p, packet); err != nil {
			i.flow.recvErrors.Add(1)
			return p, err
		}
	}
	if i.esp != nil {
		if content, err = i.openESP(&p, content); err != nil {
			i.flow.recvErrors.Add(1)
			return p, err
		}
	}
	if !i.use.fits(len(content)) {
		p.Crossed = i.use.tell(Hard)
		i.flow.recvErrors.Add(1)
		return p, ErrVolume
	}
	p.Crossed = i.use.add(len(content), now)
	if i.esp != nil {
		content, p.Next, err = esp.Trim(content)
	}
	if err == nil && i.transport && p.Next != esp.NextDummy {
		content, err = i.restore(packet, at, content, p.Next)
		p.Next = esp.NextIPv4
	}
	if err != nil {
		i.flow.recvErrors.Add(1)
		return p, err
	}
	p.Payload = content
	i.flow.decaps.Add(1)
	if i.decrypts {
		i.flow.decrypts.Add(1)
	}
	i.flow.receiveOctets.Add(uint64(len(content)))
	return p, nil
}

// openAH checks AH and returns what is behind it.
func (i *In) openAH(p *Opened, packet []byte) ([]byte, error) {
	at, _, err := i.ah.Check(packet)
	if err != nil {
		return nil, err
	}
	_, low, _ := ah.Header(packet[at:])
	seq, err := i.expected(i.ahWindow, low)
	if err != nil {
		return nil, err
	}
	content, next, err := i.ah.Authenticate(packet, seq)
	if err != nil {
		return nil, i.unverified(err)
	}
	p.Seq, p.Next, p.Newest = seq, next, seq > i.ahWindow.Top()
	if err := i.ahWindow.Update(seq); err != nil {
		return nil, i.replayed(err)
	}
	if i.esp == nil {
		return content, nil
	}
	if spi, _, ok := esp.Header(content); next != esp.Proto || !ok || spi != i.esp.SPI() {
		return nil, ErrBundle
	}
	return content, nil
}

// openESP checks and decrypts ESP and returns payload, padding and trailer.
func (i *In) openESP(p *Opened, packet []byte) ([]byte, error) {
	if err := i.esp.Check(packet); err != nil {
		return nil, err
	}
	_, low, _ := esp.Header(packet)
	seq, err := i.expected(i.espWindow, low)
	if err != nil {
		return nil, err
	}
	plain, err := i.esp.Authenticate(packet, seq)
	if err != nil {
		return nil, i.unverified(err)
	}
	p.Seq, p.Newest = seq, seq > i.espWindow.Top()
	if err := i.espWindow.Update(seq); err != nil {
		return nil, i.replayed(err)
	}
	return plain, nil
}

// expected is the whole sequence number of a packet that carries low, if a
// packet with that number may still come.
func (i *In) expected(w *replay.Window, low uint32) (uint64, error) {
	seq, err := w.Number(low)
	if err == nil {
		err = w.Check(seq)
	}
	if err != nil {
		return 0, i.replayed(err)
	}
	return seq, nil
}

// restore gives the payload of transport mode its IPv4 header back: the one the
// packet came with, moved up to it, or for a packet that came in UDP a new one.
func (i *In) restore(packet []byte, at int, payload []byte, next uint8) ([]byte, error) {
	header := at
	if at == 0 {
		header = ipv4Header
	}
	start := cap(packet) - cap(payload) // of the payload in packet
	whole := packet[:cap(packet)]
	if start < header {
		// No more than 20 octets: ESP's header and IV are too short for one of IPv4.
		if header+len(payload) > len(whole) {
			return nil, esp.ErrNoRoom
		}
		copy(whole[header:], payload)
		start = header
	}
	out := whole[start-header : start+len(payload)]
	if at > 0 {
		copy(out, packet[:at])
	} else {
		clear(out[:ipv4Header])
		out[0], out[8] = 0x45, outerTTL
		src, dst := i.Remote().Addr().As4(), i.Child.Local.Addr().As4()
		copy(out[12:], src[:])
		copy(out[16:], dst[:])
	}
	out[9] = next
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	ah.PutChecksum(out[:header])
	if at == 0 {
		fixTransport(out)
	}
	return out, nil
}

// fixTransport computes the TCP or UDP checksum of a packet anew that a NAT gave
// other addresses than its sender meant: RFC 3948 section 3.1.2. The packet is
// authentic, so no damage is papered over. A UDP checksum of zero says that
// there is none and stays.
func fixTransport(packet []byte) {
	body := packet[ipv4Header:]
	field := 0
	switch packet[9] {
	case 6:
		field = 16
	case 17:
		field = 6
	}
	if field == 0 || len(body) < field+2 || (packet[9] == 17 && body[6] == 0 && body[7] == 0) {
		return
	}
	body[field], body[field+1] = 0, 0
	sum := uint32(packet[9]) + uint32(len(body))
	for n := 12; n < ipv4Header; n += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[n:]))
	}
	for n := 0; n+1 < len(body); n += 2 {
		sum += uint32(binary.BigEndian.Uint16(body[n:]))
	}
	if len(body)%2 == 1 {
		sum += uint32(body[len(body)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	check := ^uint16(sum)
	if check == 0 && packet[9] == 17 {
		check = 0xffff // RFC 768: zero would mean none
	}
	binary.BigEndian.PutUint16(body[field:], check)
}

func (i *In) replayed(err error) error {
	i.flow.replayFailed.Add(1)
	return err
}

func (i *In) unverified(err error) error {
	if errors.Is(err, esp.ErrICV) || errors.Is(err, ah.ErrICV) {
		i.flow.verifyFailed.Add(1)
	}
	return err
}

// Refuse counts a packet that Open took but whose inner header is no traffic of
// the SA.
func (i *In) Refuse() {
	i.flow.invalidIdentity.Add(1)
	i.flow.recvErrors.Add(1)
}

// newIn makes the inbound SA of c.
func newIn(c *Child, at *child, n *counters) (*In, error) {
	i := &In{
		Child: at.facts, transport: c.Set.Mode == suite.Transport, decrypts: encrypts(c),
		use: newUse(c, inSlack), remote: at.remote, flow: n,
	}
	var err error
	if i.espWindow, err = replay.New(c.ReplayWindow, c.ESN); err != nil {
		return nil, fmt.Errorf("inbound: %w", err)
	}
	if c.Set.AH != suite.NoHash {
		if i.ahWindow, err = replay.New(c.ReplayWindow, c.ESN); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
		if i.ah, err = ah.NewOpener(c.Set.AH, c.In.AHSPI, c.In.AHInteg, c.ESN); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
	}
	if c.Set.Cipher == suite.NoCipher {
		return i, nil
	}
	if i.esp, err = esp.NewOpener(espSet(c), c.In.SPI, c.In.Encr, c.In.Integ); err != nil {
		return nil, fmt.Errorf("inbound: %w", err)
	}
	return i, nil
}
