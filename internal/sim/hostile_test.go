package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
)

// wire is one datagram as it was sent.
type wire struct {
	at   time.Time
	from *Host
	door.Send
}

func (w wire) clone() wire {
	w.Payload = bytes.Clone(w.Payload)
	return w
}

// tap records everything that is sent.
func tap(x *World) *[]wire {
	var out []wire
	x.Sniff = func(from *Host, d door.Send) { out = append(out, wire{x.Now, from, d}.clone()) }
	return &out
}

// inject delivers a copy of what one gateway sent to the other, or something
// made of it, as whoever is on the path can.
func inject(x *World, w wire, payload []byte) {
	if to, local := x.arrive(w.Remote); to != nil {
		to.Input(door.Datagram{Local: local, Remote: w.Local, Payload: payload})
	}
}

// forgeries are malformed relatives of a message: cut at every length, with
// single bits flipped, with lengths that lie. valid reports whether a forgery
// could pass for a message in its own right where nothing is authenticated.
func forgeries(m []byte, visit func(name string, forged []byte)) {
	for n := range len(m) {
		cut := bytes.Clone(m[:n])
		visit(fmt.Sprint("cut to ", n), cut)
		if n >= isakmp.HeaderSize {
			told := bytes.Clone(cut)
			isakmp.SetLength(told)
			visit(fmt.Sprint("cut to ", n, " and told so"), told)
		}
	}
	for i := range m {
		f := bytes.Clone(m)
		f[i] ^= 1 << (i % 8)
		visit(fmt.Sprint("bit flipped in octet ", i), f)
	}
	longer := append(bytes.Clone(m), 0, 0, 0, 4)
	visit("longer than its Length", longer)
	isakmp.SetLength(longer)
	visit("padded", longer)
}

// An unauthenticated packet never kills a negotiation: forged copies of every
// encrypted message, put before the real one, change nothing. So do copies of
// the clear ones that cannot be read. A clear message which is changed where
// nothing proves anything (a nonce, a public value, a vendor ID) cannot be told
// from a true one: see package ikev1; there the exchange fails and the next one
// comes up.
//
// Threat: garbage after decryption.
func TestForgedCopies(t *testing.T) {
	for _, begins := range []int{0, 1} {
		for n := range 9 {
			t.Run(fmt.Sprintf("message %d, R%d begins", n+1, begins+1), func(t *testing.T) {
				a, b := sites(pfs(19))
				x, r1, r2 := world(t, 3, a, b)
				hosts := []*Host{r1, r2}
				count := 0
				x.Sniff = func(from *Host, d door.Send) {
					if count++; count != n+1 {
						return
					}
					w := wire{x.Now, from, d}
					forgeries(d.Payload, func(name string, forged []byte) {
						if unproven(n, d.Payload, forged) {
							return
						}
						x.push(x.Now.Add(time.Millisecond), hosts[(begins+1+n)%2], door.Datagram{Local: w.Remote, Remote: w.Local, Payload: forged})
					})
				}
				id := trigger(hosts[begins])
				x.Run(5*time.Second, nil)
				bothUp(t, id, r1, r2)
				probes(t, x, r1, r2)
				for _, h := range hosts {
					if l := h.Engine.Load(); l.Jobs != 0 || len(h.Children) != 1 || l.SPIs != 1 {
						t.Errorf("%s holds %+v", h.Name, l)
					}
				}
			})
		}
	}
}

// unproven reports whether a forgery of the n-th message (from 0) is one that
// parses where nothing is authenticated yet: MM1 to MM4.
func unproven(n int, real, forged []byte) bool {
	if n > 3 {
		return false
	}
	h, err := isakmp.ParseHeader(forged)
	if err != nil {
		return false
	}
	was, _ := isakmp.ParseHeader(real)
	if h.InitiatorCookie != was.InitiatorCookie && n > 0 {
		return false // it belongs to no SA
	}
	_, _, err = isakmp.ParsePayloads(h.Next, forged[isakmp.HeaderSize:])
	return err == nil
}

// What can be read but proves nothing may mislead one negotiation. It never
// panics, is over in time, and the next packet of traffic brings the tunnel up.
func TestPlausibleForgeries(t *testing.T) {
	for n := range 4 {
		t.Run(fmt.Sprint("MM", n+1), func(t *testing.T) {
			var all [][]byte
			a, b := sites()
			x, r1, _ := world(t, 3, a, b)
			count := 0
			x.Sniff = func(_ *Host, d door.Send) {
				if count++; count == n+1 {
					forgeries(d.Payload, func(_ string, f []byte) {
						if unproven(n, d.Payload, f) {
							all = append(all, f)
						}
					})
				}
			}
			trigger(r1)
			x.Run(5*time.Second, nil)
			for i := 0; i < len(all); i += 1 + len(all)/60 {
				survives(t, n, all[i])
			}
		})
	}
}

// survives runs the exchange of the same seed, so the forgery fits.
func survives(t *testing.T, n int, forged []byte) {
	t.Helper()
	a, b := sites()
	x, r1, r2 := world(t, 3, a, b)
	hosts := []*Host{r2, r1}
	count := 0
	x.Sniff = func(_ *Host, d door.Send) {
		if count++; count == n+1 {
			x.push(x.Now.Add(time.Millisecond), hosts[n%2], door.Datagram{Local: d.Remote, Remote: d.Local, Payload: forged})
		}
	}
	id := trigger(r1)
	x.Run(2*time.Minute, nil)
	trigger(r1)
	x.Run(10*time.Second, nil)
	bothUp(t, id, r1, r2)
	probes(t, x, r1, r2)
}

// Replays of every message, later and again and again, change nothing, and are
// answered a bounded number of times.
//
// Threat: duplicates and replays of every message.
func TestReplays(t *testing.T) {
	a, b := sites(pfs(19))
	x, r1, r2 := world(t, 5, a, b)
	log := tap(x)
	trigger(r1)
	x.Run(5*time.Second, nil)
	recorded := slices.Clone(*log)
	if len(recorded) != 11 { // the nine of the RFC, and R-U-THERE with its answer
		t.Fatalf("%d messages recorded", len(recorded))
	}
	for _, later := range []time.Duration{0, time.Second, 30 * time.Second, 5 * time.Minute, 50 * time.Minute} {
		x.Run(later, nil)
		before := [2]*Installed{only(t, r1), only(t, r2)}
		*log = nil
		for range 40 {
			for _, m := range recorded {
				inject(x, m, m.Payload)
			}
		}
		x.Run(time.Second, nil)
		if only(t, r1).ID != before[0].ID || only(t, r2).ID != before[1].ID {
			t.Errorf("%s later a replay changed an SA pair", later)
		}
		if n := len(*log); n > 64 {
			t.Errorf("%s later 360 replays brought %d answers", later, n)
		}
		for _, h := range []*Host{r1, r2} {
			if l := h.Engine.Load(); l.HalfOpen != 0 || l.Children != 1 || l.SPIs != 1 || l.Jobs != 0 || l.ISAKMP != 1 {
				t.Errorf("%s later %s holds %+v", later, h.Name, l)
			}
		}
		probes(t, x, r1, r2)
	}
}

// Nothing that a gateway sent makes it do anything when it comes back to it from
// the peer's address.
//
// Threat: own message reflected back.
func TestReflections(t *testing.T) {
	a, b := sites(pfs(19))
	x, r1, r2 := world(t, 5, a, b)
	sent := 0
	x.Sniff = func(from *Host, d door.Send) {
		if sent++; sent > 500 {
			t.Fatal("the reflections feed each other")
		}
		x.push(x.Now.Add(5*time.Millisecond), from, door.Datagram{Local: d.Local, Remote: d.Remote, Payload: bytes.Clone(d.Payload)})
		x.push(x.Now.Add(3*time.Second), from, door.Datagram{Local: d.Local, Remote: d.Remote, Payload: bytes.Clone(d.Payload)})
	}
	id := trigger(r1)
	x.Run(10*time.Second, nil)
	bothUp(t, id, r1, r2)
	r1.Input(door.Clear{IPsec: true})
	x.Run(10*time.Second, nil)
	if sent != 12 {
		t.Errorf("%d messages were sent, want the nine, R-U-THERE with its answer and a delete", sent)
	}
	for _, h := range []*Host{r1, r2} {
		if l := h.Engine.Load(); l.ISAKMP != 1 || l.HalfOpen != 0 || l.Children != 0 {
			t.Errorf("%s holds %+v", h.Name, l)
		}
	}
}

// A gateway whose every message is turned around, MM1 with the cookie and all,
// never authenticates itself as its own peer (Ninet 2019).
func TestReflectedMainMode(t *testing.T) {
	a, b := sites()
	x, r1, _ := world(t, 5, a, b)
	x.Link = func(int, door.Send) []time.Duration { return nil }
	x.Sniff = func(from *Host, d door.Send) {
		x.push(x.Now.Add(time.Millisecond), from, door.Datagram{Local: d.Local, Remote: d.Remote, Payload: bytes.Clone(d.Payload)})
	}
	trigger(r1)
	x.Run(2*time.Minute, nil)
	if len(happened[event.Phase1Up](r1)) != 0 {
		t.Error("R1 took itself for the peer")
	}
	nothingLeft(t, x, r1)
}

func header(ci, cr isakmp.Cookie, exchange isakmp.Exchange, id uint32, payloads ...isakmp.Payload) []byte {
	first, body := isakmp.AppendPayloads(nil, payloads)
	h := isakmp.Header{InitiatorCookie: ci, ResponderCookie: cr, Next: first, Version: isakmp.Version1, Exchange: exchange, MessageID: id}
	b := append(h.Append(nil), body...)
	isakmp.SetLength(b)
	return b
}

// unprotected are the notifications and deletes that once killed SAs.
func unprotected(ci, cr isakmp.Cookie, spi uint32) map[string]isakmp.Payload {
	both := append(bytes.Clone(ci[:]), cr[:]...)
	notify := func(p uint8, spi []byte, n isakmp.NotifyType, data []byte) isakmp.Payload {
		return isakmp.Payload{Type: isakmp.PayloadNotify, Body: isakmp.Notification{DOI: 1, Protocol: p, SPI: spi, Type: n, Data: data}.Append(nil)}
	}
	return map[string]isakmp.Payload{
		"CVE-2004-0164: Delete of the ISAKMP SA": {Type: isakmp.PayloadDelete, Body: isakmp.Delete{DOI: 1, Protocol: 1, SPIs: [][]byte{both}}.Append(nil)},
		"CVE-2004-0164: Delete of the ESP SA":    {Type: isakmp.PayloadDelete, Body: isakmp.Delete{DOI: 1, Protocol: 3, SPIs: [][]byte{binary.BigEndian.AppendUint32(nil, spi)}}.Append(nil)},
		"CVE-2004-0218: Delete without an SPI":   {Type: isakmp.PayloadDelete, Body: []byte{0, 0, 0, 1, 1, 16, 0, 0}},
		"CVE-2004-0164: INITIAL-CONTACT":         notify(1, both, isakmp.NotifyInitialContact, nil),
		"CVE-2009-0790: R_U_THERE":               notify(1, both, isakmp.NotifyRUThere, []byte{0, 0, 0, 1}),
		"CVE-2009-0790: R_U_THERE_ACK":           notify(1, both, isakmp.NotifyRUThereAck, []byte{0, 0, 0, 1}),
		"INVALID-SPI":                            notify(3, binary.BigEndian.AppendUint32(nil, spi), isakmp.NotifyInvalidSPI, nil),
		"INVALID-COOKIE":                         notify(1, both, isakmp.NotifyInvalidCookie, nil),
		"NO-PROPOSAL-CHOSEN":                     notify(1, both, isakmp.NotifyNoProposalChosen, nil),
		"AUTHENTICATION-FAILED":                  notify(1, both, isakmp.NotifyAuthenticationFailed, nil),
		"RESPONDER-LIFETIME of one second":       notify(1, both, isakmp.NotifyResponderLifetime, []byte{0x80, 1, 0, 1, 0x80, 2, 0, 1}),
		"a HASH of zeros":                        {Type: isakmp.PayloadHash, Body: make([]byte, 32)},
	}
}

// Section 1 and 3 of the threats: whatever is not protected, or protected by a
// hash that is wrong, is ignored once the SA is up.
func TestUnprotectedInformationals(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 5, a, b)
	log := tap(x)
	trigger(r1)
	x.Run(5*time.Second, nil)
	h, _ := isakmp.ParseHeader((*log)[2].Payload)
	for name, p := range unprotected(h.InitiatorCookie, h.ResponderCookie, only(t, r1).Child.Out.SPI) {
		t.Run(name, func(t *testing.T) {
			for _, exchange := range []isakmp.Exchange{isakmp.ExchangeInformational, isakmp.ExchangeMain, isakmp.ExchangeQuick, isakmp.ExchangeAggressive, isakmp.ExchangeTransaction} {
				for _, flags := range []byte{0, 1, 2, 4, 0xff} {
					for _, id := range []uint32{0, 1, 0xffffffff} {
						m := header(h.InitiatorCookie, h.ResponderCookie, exchange, id, p)
						m[19] = flags
						*log = nil
						r1.Input(door.Datagram{Local: netip.AddrPortFrom(addrA, 500), Remote: netip.AddrPortFrom(addrB, 500), Payload: m})
						r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
						if len(*log) != 0 {
							t.Fatalf("%s, flags %#x, message ID %x: was answered", exchange, flags, id)
						}
					}
				}
			}
			only(t, r1)
			only(t, r2)
			probes(t, x, r1, r2)
		})
	}
}

// The same while main mode runs: hints, which end nothing.
//
// Threat: spoofed error notification.
func TestHintsEndNothing(t *testing.T) {
	for n := range 6 {
		t.Run(fmt.Sprint("before the answer to MM", n+1), func(t *testing.T) {
			a, b := sites()
			x, r1, r2 := world(t, 5, a, b)
			count := 0
			x.Sniff = func(_ *Host, d door.Send) {
				if count++; count != n+1 {
					return
				}
				h, _ := isakmp.ParseHeader(d.Payload)
				for _, p := range unprotected(h.InitiatorCookie, h.ResponderCookie, 0x1000) {
					for _, flags := range []byte{0, 1} {
						m := header(h.InitiatorCookie, h.ResponderCookie, isakmp.ExchangeInformational, 7, p)
						m[19] = flags
						x.push(x.Now.Add(time.Millisecond), r1, door.Datagram{Local: netip.AddrPortFrom(addrA, 500), Remote: netip.AddrPortFrom(addrB, 500), Payload: m})
						x.push(x.Now.Add(time.Millisecond), r2, door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
					}
				}
			}
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			bothUp(t, id, r1, r2)
			for _, f := range append(happened[event.Failed](r1), happened[event.Failed](r2)...) {
				if !f.Pending {
					t.Errorf("a hint ended something: %+v", f)
				}
			}
		})
	}
}

// firstMessages are MM1s that must not make an SA, by the name under which they
// did harm.
func firstMessages() map[string][]byte {
	ci := isakmp.Cookie{1, 2, 3, 4, 5, 6, 7, 8}
	good := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 1, Attributes: []isakmp.Attribute{
		isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}}}})
	sa := func(change func(*isakmp.SA)) isakmp.Payload {
		s := good
		s.Proposals = slices.Clone(s.Proposals)
		change(&s)
		return isakmp.Payload{Type: isakmp.PayloadSA, Body: s.Append(nil)}
	}
	attributes := func(a ...isakmp.Attribute) isakmp.Payload {
		return sa(func(s *isakmp.SA) {
			s.Proposals[0].Transforms = []isakmp.Transform{{Number: 1, ID: 1, Attributes: a}}
		})
	}
	suite := []isakmp.Attribute{isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19)}
	mm1 := func(p ...isakmp.Payload) []byte { return header(ci, isakmp.Cookie{}, isakmp.ExchangeMain, 0, p...) }
	edit := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	plain := sa(func(*isakmp.SA) {})
	out := map[string][]byte{
		"CVE-2013-4564: shorter than the header":        mm1(plain)[:20],
		"CVE-2013-4564: major version 3":                edit(mm1(plain), 17, 0x30),
		"CVE-2013-4564: IKEv2 without an SA payload":    edit(mm1(plain), 17, 0x20),
		"CVE-2015-3204a: SA with all situation bits":    mm1(sa(func(s *isakmp.SA) { s.Situation = 0xffffffff })),
		"CVE-2015-3204a: SA with all DOI bits":          mm1(sa(func(s *isakmp.SA) { s.DOI = 0xffffffff })),
		"CVE-2015-3204b: first payload of type 15":      edit(mm1(plain), 16, 15),
		"CVE-2015-3991: an IKEv2 payload type":          edit(mm1(plain), 16, 33),
		"CVE-2022-23094: no payload at all":             mm1(),
		"zeek ike-zero-length":                          edit(mm1(plain), 27, 0),
		"zeek ikev1-payload-bad-length":                 edit(mm1(plain), 30, 0xff),
		"payload length 0":                              edit(edit(mm1(plain), 30, 0), 31, 0),
		"payload length 3":                              edit(edit(mm1(plain), 30, 0), 31, 3),
		"two SA payloads":                               mm1(plain, plain),
		"MM1 without SA":                                mm1(isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}),
		"MM1 with a message ID":                         header(ci, isakmp.Cookie{}, isakmp.ExchangeMain, 9, plain),
		"MM1 with the encryption flag":                  edit(mm1(plain), 19, 1),
		"SPI of 255 octets":                             edit(mm1(plain), 28+4+8+4+2, 255),
		"more transforms told than sent":                edit(mm1(plain), 28+4+8+4+3, 200),
		"more marked on the last transform":             edit(mm1(plain), 28+4+8+4+4, 3),
		"AES without a key length":                      mm1(attributes(suite...)),
		"AES with a key length of 0":                    mm1(attributes(append(slices.Clone(suite), isakmp.BasicAttribute(14, 0))...)),
		"AES with a key length of 7":                    mm1(attributes(append(slices.Clone(suite), isakmp.BasicAttribute(14, 7))...)),
		"AES with a key length of 65535":                mm1(attributes(append(slices.Clone(suite), isakmp.BasicAttribute(14, 65535))...)),
		"key length twice":                              mm1(attributes(append(slices.Clone(suite), isakmp.BasicAttribute(14, 256), isakmp.BasicAttribute(14, 256))...)),
		"key length in a TLV of 20 octets":              mm1(attributes(append(slices.Clone(suite), isakmp.Attribute{Type: 14, Value: make([]byte, 20)})...)),
		"CVE-2014-9221: group 1025":                     mm1(attributes(append(slices.Clone(suite[:3]), isakmp.BasicAttribute(4, 1025), isakmp.BasicAttribute(14, 256))...)),
		"CVE-2018-0131: RSA encryption":                 mm1(attributes(isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 4), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256))),
		"CVE-2016-5391: no Diffie-Hellman group":        mm1(attributes(suite[0], suite[1], suite[2], isakmp.BasicAttribute(14, 256))),
		"no attributes":                                 mm1(attributes()),
		"aggressive mode":                               header(ci, isakmp.Cookie{}, isakmp.ExchangeAggressive, 0, plain),
		"CVE-2020-1763: Informational without a state":  header(ci, isakmp.Cookie{}, isakmp.ExchangeInformational, 5, isakmp.Payload{Type: isakmp.PayloadNotify, Body: make([]byte, 8)}),
		"CVE-2009-0790: R_U_THERE for an SA nobody has": header(ci, isakmp.Cookie{9}, isakmp.ExchangeInformational, 5, isakmp.Payload{Type: isakmp.PayloadNotify, Body: isakmp.Notification{DOI: 1, Protocol: 1, Type: isakmp.NotifyRUThere}.Append(nil)}),
		"initiator cookie zero":                         header(isakmp.Cookie{}, isakmp.Cookie{}, isakmp.ExchangeMain, 0, plain),
		"quick mode out of nowhere":                     header(ci, isakmp.Cookie{9}, isakmp.ExchangeQuick, 5, plain),
		"CVE-2016-6415: lengths that claim more":        edit(mm1(plain), 28+4+8+2, 4),
	}
	many := make([]isakmp.Payload, 1000)
	for i := range many {
		many[i] = isakmp.Payload{Type: isakmp.PayloadVendorID, Body: []byte{1}}
	}
	out["a thousand payloads"] = mm1(append([]isakmp.Payload{plain}, many...)...)
	return out
}

// Sections 1 and 5 of the threats: a hostile first message makes no SA, gets at
// most one answer that is not longer than it, and the next good one is served.
func TestHostileFirstMessages(t *testing.T) {
	for name, m := range firstMessages() {
		t.Run(name, func(t *testing.T) {
			a, b := sites()
			x, r1, r2 := world(t, 5, a, b)
			log := tap(x)
			r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
			x.Run(time.Minute, nil)
			nothingLeft(t, x, r2)
			if len(*log) > 1 {
				t.Errorf("%d answers", len(*log))
			}
			for _, w := range *log {
				if len(w.Payload) > max(len(m), 40) {
					t.Errorf("%d octets answered with %d", len(m), len(w.Payload))
				}
			}
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			bothUp(t, id, r1, r2)
		})
	}
}

// An offer that holds nonsense beside something good is served from the good.
func TestOneGoodOfferAmongBad(t *testing.T) {
	good := []isakmp.Attribute{isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}
	var ts []isakmp.Transform
	for i := range 50 {
		ts = append(ts, isakmp.Transform{Number: uint8(i), ID: uint8(2 * i), Attributes: good[:i%5]})
	}
	ts = append(ts, isakmp.Transform{Number: 51, ID: 1, Attributes: good})
	body := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: ts}).Append(nil)
	a, b := sites()
	x, _, r2 := world(t, 5, a, b)
	log := tap(x)
	big := isakmp.Payload{Type: isakmp.PayloadVendorID, Body: make([]byte, 20000)}
	m := header(isakmp.Cookie{7}, isakmp.Cookie{}, isakmp.ExchangeMain, 0, isakmp.Payload{Type: isakmp.PayloadSA, Body: body}, big)
	r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
	if len(*log) != 1 || r2.Engine.Load().HalfOpen != 1 || len((*log)[0].Payload) > 200 {
		t.Errorf("%d answers, %+v", len(*log), r2.Engine.Load())
	}
}

// offerFrom is a good MM1 with a cookie of its own.
func offerFrom(cookie uint64) []byte {
	sa := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 1, Attributes: []isakmp.Attribute{
		isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}}}})
	return header(isakmp.Cookie(binary.BigEndian.AppendUint64(nil, cookie)), isakmp.Cookie{}, isakmp.ExchangeMain, 0, isakmp.Payload{Type: isakmp.PayloadSA, Body: sa.Append(nil)})
}

// CVE-2016-5361, VU#419128 and the Simpson draft: floods of MM1 with different
// cookies, from one source, from many, from strangers. Memory is bounded, each
// request brings at most one answer and never a retransmission, and a peer still
// comes up, even the one whose address the flood pretends to have.
//
// Threat: Cisco sr-20060726.
func TestFloodOfFirstMessages(t *testing.T) {
	addr := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{198, 51, byte(101 + i>>8), byte(i)})
	}
	for _, tt := range []struct {
		name   string
		source func(int) netip.Addr
		half   int
	}{
		{"from another peer", func(int) netip.Addr { return addr(0) }, 16},
		{"from the very address of the peer", func(int) netip.Addr { return addrA }, 16},
		{"from a hundred peers", func(i int) netip.Addr { return addr(i % 100) }, 512},
		{"from strangers", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := sites()
			for i := range 100 {
				b.Entries[0].Peers = append(b.Entries[0].Peers, addr(i))
				b.Keys = append(b.Keys, policy.Key{Peers: netip.PrefixFrom(addr(i), 32), Secret: b.Keys[0].Secret})
			}
			x, r1, r2 := world(t, 5, a, b)
			answers := 0
			x.Sniff = func(from *Host, _ door.Send) {
				if from == r2 {
					answers++
				}
			}
			const n = 20000
			for i := range n {
				r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(tt.source(i), 500), Payload: offerFrom(uint64(i + 1))})
				r2.Events = nil
			}
			l := r2.Engine.Load()
			if l.HalfOpen != tt.half || l.ISAKMP != tt.half || l.Offers != tt.half || answers > n || len(r2.Engine.ISAKMP(x.Now)) > tt.half+64 || len(r2.Engine.Failures()) > 256 {
				t.Errorf("holds %+v, %d answers", l, answers)
			}
			answers = 0
			id := trigger(r1)
			x.Run(5*time.Second, nil)
			bothUp(t, id, r1, r2)
			if answers != 5 { // MM2, MM4, MM6, QM2, R-U-THERE-ACK
				t.Errorf("%d messages from R2 after the flood, want the five of the good exchange", answers)
			}
			r1.Input(door.Clear{IPsec: true, ISAKMP: true})
			x.Run(2*time.Minute, nil)
			nothingLeft(t, x, r2)
		})
	}
}

// The same first message again and again is one negotiation.
func TestSameFirstMessageAgain(t *testing.T) {
	a, b := sites()
	x, _, r2 := world(t, 5, a, b)
	log := tap(x)
	for range 1000 {
		r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: offerFrom(1)})
	}
	if l := r2.Engine.Load(); l.HalfOpen != 1 || len(*log) > 20 {
		t.Errorf("%+v, %d answers", l, len(*log))
	}
	n := len(*log)
	x.Run(44*time.Second, nil)
	if len(*log) != n {
		t.Error("MM2 was sent again though nobody asked")
	}
	x.Run(2*time.Second, nil)
	nothingLeft(t, x, r2)
}

// A message with the cookies of an SA, from another address, is nobody's.
//
// Threat: NAT mapping change.
func TestAnotherAddressWithOurCookies(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 5, a, b)
	mallory := netip.MustParseAddrPort("203.0.113.66:500")
	x.Sniff = func(from *Host, d door.Send) {
		to, local := x.arrive(d.Remote)
		if d.Remote == mallory {
			t.Error("something was sent to a stranger")
		}
		if h, err := isakmp.ParseHeader(d.Payload); err == nil && !h.ResponderCookie.IsZero() {
			x.push(x.Now.Add(time.Millisecond), to, door.Datagram{Local: local, Remote: mallory, Payload: bytes.Clone(d.Payload)})
		}
	}
	id := trigger(r1)
	x.Run(5*time.Second, nil)
	bothUp(t, id, r1, r2)
	if k := only(t, r2); k.Remote.Addr() != addrA {
		t.Errorf("R2 sends to %s", k.Remote)
	}
	probes(t, x, r1, r2)
}
