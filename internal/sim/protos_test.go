package sim

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/isakmp"
)

// anomalies makes first packets of phase 1 that are wrong in one element each,
// after what is told of the PROTOS test material c09-isakmp (NISCC 273756,
// CVE-2005-3666 to 3733): overflows, underflows, format strings, elements that
// are missing, repeated, or say something else than they are.
type anomalies struct {
	exchange isakmp.Exchange
	good     []isakmp.Payload
	visit    func([]byte)
}

func (a anomalies) send(p ...isakmp.Payload) {
	a.visit(header(isakmp.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, isakmp.Cookie{}, a.exchange, 0, p...))
}

// with is the good payloads with number i replaced by others.
func (a anomalies) with(i int, other ...isakmp.Payload) {
	a.send(append(append(append([]isakmp.Payload(nil), a.good[:i]...), other...), a.good[i+1:]...)...)
}

// words are the numbers that break arithmetic.
func words() []uint32 {
	return []uint32{0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff}
}

// header changes each field of the ISAKMP header.
func (a anomalies) header() {
	m := header(isakmp.Cookie{1, 2, 3, 4, 5, 6, 7, 8}, isakmp.Cookie{}, a.exchange, 0, a.good...)
	for at := range isakmp.HeaderSize {
		for v := range 256 {
			b := bytes.Clone(m)
			b[at] = byte(v)
			a.visit(b)
		}
	}
	for at := 0; at+4 <= len(m); at += 2 {
		for _, w := range words() {
			b := bytes.Clone(m)
			binary.BigEndian.PutUint32(b[at:], w)
			a.visit(b)
			b = bytes.Clone(m)
			binary.BigEndian.PutUint16(b[at:], uint16(w))
			a.visit(b)
		}
	}
}

// payloads takes payloads away, repeats them, and turns them around.
func (a anomalies) payloads() {
	for i, p := range a.good {
		a.with(i)
		for _, n := range []int{2, 3, 63, 64, 65, 200} {
			var many []isakmp.Payload
			for range n {
				many = append(many, p)
			}
			a.with(i, many...)
		}
		for j := range a.good {
			turned := append([]isakmp.Payload(nil), a.good...)
			turned[i], turned[j] = turned[j], turned[i]
			a.send(turned...)
		}
		for t := range 256 {
			a.with(i, isakmp.Payload{Type: isakmp.PayloadType(t), Body: p.Body})
		}
	}
}

// bodies fills payloads with nothing, too much, and what is no number.
func (a anomalies) bodies() {
	texts := []string{"", "\x00", strings.Repeat("%s%n%x%d", 60), strings.Repeat("A", 257), strings.Repeat("\xff", 4000), strings.Repeat("\x00", 20000), strings.Repeat("%p", 30000)}
	for i, p := range a.good {
		for _, s := range texts {
			a.with(i, isakmp.Payload{Type: p.Type, Body: []byte(s)})
			a.with(i, isakmp.Payload{Type: p.Type, Body: append(bytes.Clone(p.Body), s...)})
			a.with(i, p, isakmp.Payload{Type: isakmp.PayloadVendorID, Body: []byte(s)}, isakmp.Payload{Type: isakmp.PayloadID, Body: []byte("\x02\x00\x00\x00" + s)})
		}
		for n := range min(len(p.Body), 100) {
			a.with(i, isakmp.Payload{Type: p.Type, Body: p.Body[:n]})
		}
	}
}

// attributes breaks the attributes of the only transform.
func (a anomalies) attributes() {
	offer := func(attrs ...isakmp.Attribute) {
		all := []isakmp.Attribute{isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}
		sa := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 1, Attributes: append(all, attrs...)}}})
		a.with(0, isakmp.Payload{Type: isakmp.PayloadSA, Body: sa.Append(nil)})
	}
	for t := range uint16(20) {
		for _, w := range words() {
			offer(isakmp.BasicAttribute(t, uint16(w)))
			offer(isakmp.Attribute{Type: t, Value: binary.BigEndian.AppendUint32(nil, w)})
		}
		for _, n := range []int{0, 1, 3, 5, 8, 9, 255, 256, 4000} {
			offer(isakmp.Attribute{Type: t, Value: make([]byte, n)})
			offer(isakmp.Attribute{Type: t, Value: bytes.Repeat([]byte("%n"), n)})
		}
	}
}

func (a anomalies) all() {
	a.header()
	a.payloads()
	a.bodies()
	a.attributes()
}

// firstPackets are the good MM1 and AM1 that the anomalies are made of.
func firstPackets(visit func([]byte)) []anomalies {
	sa := isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 1, Attributes: []isakmp.Attribute{
		isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, 19), isakmp.BasicAttribute(14, 256)}}}})
	offer := isakmp.Payload{Type: isakmp.PayloadSA, Body: sa.Append(nil)}
	vid := isakmp.Payload{Type: isakmp.PayloadVendorID, Body: isakmp.VendorNATT.ID()}
	return []anomalies{
		{isakmp.ExchangeMain, []isakmp.Payload{offer, vid}, visit},
		{isakmp.ExchangeAggressive, []isakmp.Payload{
			offer, {Type: isakmp.PayloadKE, Body: bytes.Repeat([]byte{4}, 64)}, {Type: isakmp.PayloadNonce, Body: make([]byte, 32)},
			{Type: isakmp.PayloadID, Body: isakmp.IDAddress(addrA).Append(nil)}, vid,
		}, visit},
	}
}

// CVE-2005-3666 to CVE-2005-3733, NISCC 273756: many thousand malformed first
// packets, from the peer's own address. None is answered with more than one
// message, none leaves anything for good, and in the middle of it and afterwards
// the honest peer is served.
//
// Threat: CVE-2013-2052.
func TestMalformedFirstPackets(t *testing.T) {
	a, b := sites()
	x, r1, r2 := world(t, 11, a, b)
	answers := 0
	x.Sniff = func(from *Host, d door.Send) {
		if from == r2 {
			answers++
		}
	}
	n := 0
	id := r1.Engine.Settings().Flows()[0].ID
	for _, kind := range firstPackets(func(m []byte) {
		before := answers
		r2.Input(door.Datagram{Local: netip.AddrPortFrom(addrB, 500), Remote: netip.AddrPortFrom(addrA, 500), Payload: m})
		if n++; answers > before+1 {
			t.Fatalf("%d answers to %x", answers-before, m)
		}
		if n == 3000 {
			trigger(r1)
			x.Run(3*time.Second, nil)
			bothUp(t, id, r1, r2)
		}
	}) {
		kind.all()
	}
	if n < 5000 {
		t.Errorf("only %d anomalies", n)
	}
	x.Run(2*time.Minute, nil)
	if l := r2.Engine.Load(); l.HalfOpen != 0 || l.Jobs != 0 || l.ISAKMP != 1 || l.Children != 1 {
		t.Errorf("after %d anomalies the gateway holds %+v", n, l)
	}
	if err := x.Probe(r1, r2, r1.Engine.Settings().Flows()[0]); err != nil {
		t.Error(err)
	}
	t.Logf("%d malformed packets, %d answers", n, answers)
}
