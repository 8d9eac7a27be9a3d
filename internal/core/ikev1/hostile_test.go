package ikev1

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/suite"
)

func notifyPayload(n isakmp.Notification) isakmp.Payload {
	return isakmp.Payload{Type: isakmp.PayloadNotify, Body: n.Append(nil)}
}

func deletePayload(protocol uint8, spis ...[]byte) isakmp.Payload {
	return isakmp.Payload{Type: isakmp.PayloadDelete, Body: isakmp.Delete{DOI: 1, Protocol: protocol, SPIs: spis}.Append(nil)}
}

// CVE-2019-10155: an informational whose HASH(1) is wrong or missing does
// nothing, though it is encrypted with the right key.
func TestInformationalHashIsVerified(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"a bit wrong":    func(h []byte) []byte { h[31] ^= 1; return h },
		"cut by one":     func(h []byte) []byte { return h[:31] },
		"empty":          func([]byte) []byte { return []byte{} },
		"longer":         func(h []byte) []byte { return append(h, 0) },
		"missing":        func([]byte) []byte { return nil },
		"zeros":          func(h []byte) []byte { clear(h); return h },
		"of another key": func(h []byte) []byte { return bytes.Repeat([]byte{7}, len(h)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := phase1(t)
			b.take(a.say(spoil, deletePayload(isakmp.ProtocolISAKMP, a.sa.spi())))
			b.take(a.say(spoil, deletePayload(isakmp.ProtocolESP, be32(0x1001))))
			b.take(a.say(spoil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyInitialContact})))
			b.take(a.say(spoil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(1)})))
			if !b.sa.Up() || len(b.outcomes) != 0 || len(b.sent) != 0 {
				t.Errorf("up %t, outcomes %+v, %d answers", b.sa.Up(), b.outcomes, len(b.sent))
			}
		})
	}
	a, b := phase1(t)
	b.take(a.say(nil, deletePayload(isakmp.ProtocolISAKMP, a.sa.spi())))
	if b.sa.Up() {
		t.Error("the delete with a good hash was ignored too")
	}
}

// CVE-2023-38712: after the first delete of the ISAKMP SA the rest of the
// message, and every later one, finds nothing.
func TestTwoDeletesInOneMessage(t *testing.T) {
	a, b := phase1(t)
	spi := a.sa.spi()
	d := deletePayload(isakmp.ProtocolISAKMP, spi)
	again := a.say(nil, d)
	b.take(a.say(nil, d, d, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: spi, Type: isakmp.NotifyInitialContact}), deletePayload(isakmp.ProtocolESP, be32(1))))
	b.take(again)
	if n := len(became[Dead](b)); n != 1 || len(b.outcomes) != 1 {
		t.Errorf("outcomes %+v, want one Dead", b.outcomes)
	}
	if len(b.sent) != 0 {
		t.Error("a delete was answered")
	}
}

// Deletes of SAs that are not this one, or that cannot be read, do nothing.
func TestOtherDeletes(t *testing.T) {
	a, b := phase1(t)
	spi := a.sa.spi()
	for name, p := range map[string]isakmp.Payload{
		"of another ISAKMP SA":     deletePayload(isakmp.ProtocolISAKMP, slices.Concat(spi[8:], spi[:8])),
		"of an IPComp SA":          deletePayload(isakmp.ProtocolIPComp, be32(1)),
		"with an SPI of 3 octets":  {Type: isakmp.PayloadDelete, Body: []byte{0, 0, 0, 1, 3, 3, 0, 1, 1, 2, 3}},
		"that counts too many":     {Type: isakmp.PayloadDelete, Body: []byte{0, 0, 0, 1, 3, 4, 0xff, 0xff, 1, 2, 3, 4}},
		"that is empty":            {Type: isakmp.PayloadDelete},
		"a notification of 3 byte": {Type: isakmp.PayloadNotify, Body: []byte{1, 2, 3}},
		"SPI size past the end":    {Type: isakmp.PayloadNotify, Body: []byte{0, 0, 0, 1, 1, 255, 0, 11}},
	} {
		b.take(a.say(nil, p))
		if !b.sa.Up() || len(b.outcomes) != 0 {
			t.Errorf("%s: up %t, %+v", name, b.sa.Up(), b.outcomes)
		}
	}
}

// An informational is taken once, whatever its replay says.
func TestInformationalReplay(t *testing.T) {
	a, b := phase1(t)
	m := a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(7)}))
	for range 50 {
		b.take(m)
	}
	if len(b.sent) != 1 {
		t.Errorf("R-U-THERE was answered %d times, want once", len(b.sent))
	}
	a.take(b.drain()[0])
	if n := saw[event.Notify](a); len(n) != 1 || n[0].Type != "R-U-THERE-ACK" || !n[0].Protected {
		t.Errorf("the answer is %+v", n)
	}
	// Reflected, it has our own message ID.
	a.events = nil
	a.take(m)
	if len(saw[event.Notify](a)) != 0 || len(a.sent) != 0 {
		t.Error("its own informational was taken back")
	}
}

// A message ID is used once: when so many were used that they cannot be
// remembered, the SA ends and says so.
func TestMessageIDsRunOut(t *testing.T) {
	a, b := phase1(t)
	m := a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 1, SPI: a.sa.spi(), Type: isakmp.NotifyRUThere, Data: be32(7)}))
	for i := uint32(1); len(b.sa.used) < maxMessageIDs-1; i++ {
		b.sa.used[i] = struct{}{}
	}
	b.take(m)
	if !b.sa.Dead() || len(b.sent) != 2 {
		t.Errorf("dead %t, %d messages: want the answer and a delete", b.sa.Dead(), len(b.sent))
	}
}

// values that are no public values of a group (RFC 2412 2.3.1, RFC 6989).
func badPublics(g suite.Group, good []byte) map[string][]byte {
	n := g.Row().Public
	one := make([]byte, n)
	one[n-1] = 1
	out := map[string][]byte{
		"CVE-2015-3240: KE = 0":           make([]byte, n),
		"KE = 1":                          one,
		"KE = all ones":                   bytes.Repeat([]byte{0xff}, n),
		"CVE-2023-41913: KE too long":     append(bytes.Clone(good), 0),
		"KE with a leading zero trimmed":  good[1:],
		"KE of nothing":                   {},
		"KE with the ECP point's 04 mark": append([]byte{4}, good...),
	}
	if g == 14 {
		p, _ := hex.DecodeString("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd" +
			"ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed" +
			"ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f" +
			"83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b" +
			"e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510" +
			"15728e5a8aacaa68ffffffffffffffff") // RFC 3526 section 3
		out["KE = p"] = p
		less := bytes.Clone(p)
		less[n-1]--
		out["KE = p-1"] = less
	}
	return out
}

// swap rewrites the payload of one type in a message that is not encrypted.
func swap(m []byte, t isakmp.PayloadType, body []byte) []byte {
	h, _ := isakmp.ParseHeader(m)
	payloads, _, _ := isakmp.ParsePayloads(h.Next, m[isakmp.HeaderSize:])
	for i := range payloads {
		if payloads[i].Type == t {
			payloads[i].Body = body
		}
	}
	var raw []byte
	h.Next, raw = isakmp.AppendPayloads(nil, payloads)
	raw = append(h.Append(nil), raw...)
	isakmp.SetLength(raw)
	return raw
}

func body(m []byte, t isakmp.PayloadType) []byte {
	h, _ := isakmp.ParseHeader(m)
	payloads, _, _ := isakmp.ParsePayloads(h.Next, m[isakmp.HeaderSize:])
	for _, p := range payloads {
		if p.Type == t {
			return p.Body
		}
	}
	return nil
}

// Section 4 of the threats: a public value that is none, put before the real
// message, is dropped without an answer, and the real one completes phase 1.
func TestBadPublicValues(t *testing.T) {
	for _, g := range []suite.Group{14, 19, 24} {
		for _, which := range []string{"MM3", "MM4"} {
			t.Run(fmt.Sprint(which, "/", g), func(t *testing.T) {
				names := badPublics(g, make([]byte, g.Row().Public))
				for name := range names {
					badPublic(t, g, which, name)
				}
			})
		}
	}
}

func badPublic(t *testing.T, g suite.Group, which, name string) {
	t.Helper()
	a, b := mm1Policy(t, g)
	b2a := b.drain()[0]
	a.take(b2a)
	victim, other, m := b, a, a.drain()[0] // MM3
	if which == "MM4" {
		b.take(m)
		victim, other, m = a, b, b.drain()[0]
	}
	bad := badPublics(g, body(m, isakmp.PayloadKE))[name]
	victim.take(swap(m, isakmp.PayloadKE, bad))
	if len(victim.sent) != 0 || victim.sa.Dead() {
		t.Errorf("%s: %d answers, dead %t", name, len(victim.sent), victim.sa.Dead())
	}
	if d := saw[event.Dropped](victim); len(d) != 1 {
		t.Errorf("%s: dropped %+v", name, d)
	}
	victim.take(m)
	pump(victim, other)
	if !a.sa.Up() || !b.sa.Up() {
		t.Errorf("%s: the real %s did not complete phase 1", name, which)
	}
}

// RFC 2409 section 5: "the length of nonce payload MUST be between 8 and 256
// bytes inclusive".
//
// Threat: nonce of the wrong length.
func TestNonceLengths(t *testing.T) {
	for n, good := range map[int]bool{0: false, 7: false, 8: true, 16: true, 256: true, 257: false} {
		a, b := mm1(t)
		a.take(b.drain()[0])
		b.take(swap(a.drain()[0], isakmp.PayloadNonce, make([]byte, n)))
		if got := len(b.sent) == 1; got != good {
			t.Errorf("a nonce of %d octets: answered %t, want %t", n, got, good)
		}
	}
}

// The responder may choose only what was offered, and only one of it.
func TestMM2MustChooseAnOffer(t *testing.T) {
	attrs := func(group uint16) []isakmp.Attribute {
		return []isakmp.Attribute{isakmp.BasicAttribute(1, 7), isakmp.BasicAttribute(2, 4), isakmp.BasicAttribute(3, 1), isakmp.BasicAttribute(4, group), isakmp.BasicAttribute(14, 128)}
	}
	tr := func(group uint16) isakmp.Transform {
		return isakmp.Transform{Number: 1, ID: 1, Attributes: attrs(group)}
	}
	for name, tt := range map[string]struct {
		sa   isakmp.SA
		good bool
	}{
		"the offer":                {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{tr(19)}}), true},
		"with cookies for an SPI":  {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, SPI: make([]byte, 16), Transforms: []isakmp.Transform{tr(19)}}), true},
		"another group":            {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{tr(1)}}), false},
		"two transforms":           {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{tr(19), tr(19)}}), false},
		"two proposals":            {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{tr(19)}}, isakmp.Proposal{Number: 2, Protocol: 1, Transforms: []isakmp.Transform{tr(19)}}), false},
		"protocol ESP":             {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 3, SPI: []byte{1, 2, 3, 4}, Transforms: []isakmp.Transform{tr(19)}}), false},
		"a transform that is none": {isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 1, Transforms: []isakmp.Transform{{Number: 1, ID: 2, Attributes: attrs(19)}}}), false},
	} {
		a, b := mm1(t)
		m := b.drain()[0]
		a.take(swap(m, isakmp.PayloadSA, tt.sa.Append(nil)))
		if got := len(a.sent) == 1; got != tt.good {
			t.Errorf("%s: MM3 follows %t, want %t", name, got, tt.good)
		}
		if a.sa.Dead() {
			t.Errorf("%s killed the negotiation", name)
		}
		if !tt.good {
			a.take(m)
			pump(a, b)
			if !a.sa.Up() {
				t.Errorf("%s: the real MM2 did not go on", name)
			}
		}
	}
	a, b := mm1(t)
	m := b.drain()[0]
	clear(m[8:16])
	a.take(m)
	if len(a.sent) != 0 {
		t.Error("MM2 without a responder cookie was taken")
	}
}

// resealed opens a quick or main mode message with the sender's keys and seals
// it again with other payloads, under a hash that is right.
func (e *end) quickMessage(id uint32, iv []byte, prefix [][]byte, payloads ...isakmp.Payload) []byte {
	_, b := isakmp.AppendPayloads(nil, payloads)
	hash := e.sa.hashOver(append(prefix, b)...)
	raw, _, err := e.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeQuick, MessageID: id}, append([]isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, payloads...), iv)
	if err != nil {
		e.t.Fatal(err)
	}
	return raw
}

func (e *end) qm1(id uint32, payloads ...isakmp.Payload) []byte {
	return e.quickMessage(id, e.sa.keys.phase2IV(e.sa.Policy, id), [][]byte{be32(id)}, payloads...)
}

func espOffer(spi []byte, transform uint8, attrs ...isakmp.Attribute) isakmp.Payload {
	return isakmp.Payload{Type: isakmp.PayloadSA, Body: isakmp.NewSA(isakmp.Proposal{Number: 1, Protocol: 3, SPI: spi,
		Transforms: []isakmp.Transform{{Number: 1, ID: transform, Attributes: attrs}}}).Append(nil)}
}

// What a peer with the keys may send in QM1, and what becomes of it.
func TestHostileQM1(t *testing.T) {
	good := []isakmp.Attribute{isakmp.BasicAttribute(4, 1), isakmp.BasicAttribute(5, 5), isakmp.BasicAttribute(6, 128)}
	sa := espOffer(be32(0xcafe), 12, good...)
	nonce := isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}
	ci := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(leftN).Append(nil)}
	cr := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(rightN).Append(nil)}
	id := func(i isakmp.Identification) isakmp.Payload {
		return isakmp.Payload{Type: isakmp.PayloadID, Body: i.Append(nil)}
	}
	ke := func(n int) isakmp.Payload { return isakmp.Payload{Type: isakmp.PayloadKE, Body: make([]byte, n)} }
	group := append(slices.Clone(good), isakmp.BasicAttribute(3, 19))
	const invalidID, noProposal, malformed = "INVALID-ID-INFORMATION", "NO-PROPOSAL-CHOSEN", "PAYLOAD-MALFORMED"
	for _, tt := range []struct {
		name     string
		payloads []isakmp.Payload
		want     string // the notification; "" for an agreement
	}{
		{"a good one", []isakmp.Payload{sa, nonce, ci, cr}, ""},
		{"its lifetimes absent", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce, ci, cr}, ""},
		{"encapsulation not told", []isakmp.Payload{espOffer(be32(0xcafe), 12, good[1:]...), nonce, ci, cr}, ""},
		{"CVE-2023-38711: IDcr is a name", []isakmp.Payload{sa, nonce, ci, id(isakmp.Identification{Type: isakmp.IDFQDN, Data: []byte("r2.example")})}, invalidID},
		{"IDci is a name with a NUL and an escape", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDFQDN, Data: []byte("a\x00\n\x1b[2J")}), cr}, invalidID},
		{"IDci of another family", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv6, Data: make([]byte, 16)}), cr}, invalidID},
		{"IDci too short for its type", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: []byte{10, 10}}), cr}, invalidID},
		{"IDci with a mask with holes", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: []byte{10, 10, 10, 0, 255, 0, 255, 0}}), cr}, invalidID},
		{"a superset", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: []byte{10, 0, 0, 0, 255, 0, 0, 0}}), cr}, invalidID},
		{"everything", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: make([]byte, 8)}), id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: make([]byte, 8)})}, invalidID},
		{"a host of it", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4, Data: []byte{10, 10, 10, 9}}), cr}, ""},
		{"a range that is the subnet", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Range, Data: []byte{10, 10, 10, 0, 10, 10, 10, 255}}), cr}, ""},
		{"one identity", []isakmp.Payload{sa, nonce, ci}, invalidID},
		{"three identities", []isakmp.Payload{sa, nonce, ci, cr, cr}, invalidID},
		{"no identities: the gateways themselves", []isakmp.Payload{sa, nonce}, invalidID},
		{"protocols that differ", []isakmp.Payload{sa, nonce, id(isakmp.Identification{Type: isakmp.IDIPv4Subnet, Protocol: 6, Data: isakmp.IDSubnet(leftN).Data}), cr}, invalidID},
		{"no nonce", []isakmp.Payload{sa, ci, cr}, malformed},
		{"a nonce of 7 octets", []isakmp.Payload{sa, {Type: isakmp.PayloadNonce, Body: make([]byte, 7)}, ci, cr}, malformed},
		{"a nonce of 257 octets", []isakmp.Payload{sa, {Type: isakmp.PayloadNonce, Body: make([]byte, 257)}, ci, cr}, malformed},
		{"two nonces", []isakmp.Payload{sa, nonce, nonce, ci, cr}, malformed},
		{"no SA", []isakmp.Payload{nonce, ci, cr}, malformed},
		{"two SAs", []isakmp.Payload{sa, sa, nonce, ci, cr}, malformed},
		{"CVE-2024-3652: AES-GMAC", []isakmp.Payload{espOffer(be32(0xcafe), 23, isakmp.BasicAttribute(4, 1), isakmp.BasicAttribute(6, 128)), nonce, ci, cr}, noProposal},
		{"NULL encryption", []isakmp.Payload{espOffer(be32(0xcafe), 11, good[:2]...), nonce, ci, cr}, noProposal},
		{"encryption without integrity", []isakmp.Payload{espOffer(be32(0xcafe), 12, good[0], good[2]), nonce, ci, cr}, noProposal},
		{"CVE-2016-3071: AES-XCBC", []isakmp.Payload{espOffer(be32(0xcafe), 12, good[0], isakmp.BasicAttribute(5, 9), good[2]), nonce, ci, cr}, noProposal},
		{"transport mode", []isakmp.Payload{espOffer(be32(0xcafe), 12, isakmp.BasicAttribute(4, 2), good[1], good[2]), nonce, ci, cr}, noProposal},
		{"UDP without the float", []isakmp.Payload{espOffer(be32(0xcafe), 12, isakmp.BasicAttribute(4, 3), good[1], good[2]), nonce, ci, cr}, noProposal},
		{"an SPI of 255", []isakmp.Payload{espOffer(be32(255), 12, good...), nonce, ci, cr}, noProposal},
		{"an SPI of 0", []isakmp.Payload{espOffer(be32(0), 12, good...), nonce, ci, cr}, noProposal},
		{"an attribute twice", []isakmp.Payload{espOffer(be32(0xcafe), 12, append(slices.Clone(good), good[1])...), nonce, ci, cr}, noProposal},
		{"a key length of 65535", []isakmp.Payload{espOffer(be32(0xcafe), 12, good[0], good[1], isakmp.BasicAttribute(6, 65535)), nonce, ci, cr}, noProposal},
		{"a KE without a group", []isakmp.Payload{sa, nonce, ke(64), ci, cr}, malformed},
		{"a group without a KE", []isakmp.Payload{espOffer(be32(0xcafe), 12, group...), nonce, ci, cr}, malformed},
		{"KE = 0", []isakmp.Payload{espOffer(be32(0xcafe), 12, group...), nonce, ke(64), ci, cr}, "INVALID-KEY-INFORMATION"},
		{"KE too short", []isakmp.Payload{espOffer(be32(0xcafe), 12, group...), nonce, ke(63), ci, cr}, malformed},
		{"group 1025", []isakmp.Payload{espOffer(be32(0xcafe), 12, append(slices.Clone(good), isakmp.BasicAttribute(3, 1025))...), nonce, ke(64), ci, cr}, noProposal},
		{"a bundle with AH", []isakmp.Payload{{Type: isakmp.PayloadSA, Body: isakmp.NewSA(
			isakmp.Proposal{Number: 1, Protocol: 2, SPI: be32(0xcafe), Transforms: []isakmp.Transform{{Number: 1, ID: 5, Attributes: good[:2]}}},
			isakmp.Proposal{Number: 1, Protocol: 3, SPI: be32(0xcafe), Transforms: []isakmp.Transform{{Number: 1, ID: 12, Attributes: good}}}).Append(nil)}, nonce, ci, cr}, noProposal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := phase1(t)
			m := a.qm1(0x1234, tt.payloads...)
			b.take(m)
			if len(b.sent) != 1 {
				t.Fatalf("%d answers", len(b.sent))
			}
			if tt.want == "" {
				if len(became[ChildUp](b)) != 1 {
					t.Errorf("no agreement: %+v", b.outcomes)
				}
				return
			}
			a.take(b.drain()[0])
			n := saw[event.Notify](a)
			if len(n) != 1 || n[0].Type != tt.want || !n[0].Protected {
				t.Errorf("told %+v, want %s", n, tt.want)
			}
			f := became[ChildFailed](b)
			if len(f) != 1 || len(became[ChildUp](b)) != 0 || !b.sa.Up() {
				t.Errorf("outcomes %+v", b.outcomes)
			}
			if strings.ContainsAny(f[0].Failed.Reason, "\x00\n\x1b") {
				t.Errorf("the peer's octets are in the log: %q", f[0].Failed.Reason)
			}
		})
	}
}

// QM2 returns the identities as they came (RFC 2409 5.5), whatever their type.
//
// Threat: QM2 with other identities.
func TestQM2ReturnsIdentities(t *testing.T) {
	a, b := phase1(t)
	good := []isakmp.Attribute{isakmp.BasicAttribute(4, 1), isakmp.BasicAttribute(5, 5), isakmp.BasicAttribute(6, 128)}
	ci := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.Identification{Type: isakmp.IDIPv4Range, Data: []byte{10, 10, 10, 0, 10, 10, 10, 255}}.Append(nil)}
	cr := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: []byte{10, 20, 20, 7, 255, 255, 255, 0}}.Append(nil)}
	nonce := isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}
	qm1 := a.qm1(0x1234, espOffer(be32(0xcafe), 12, good...), nonce, ci, cr)
	b.take(qm1)
	h, _ := isakmp.ParseHeader(b.sent[0].Payload)
	m := &message{raw: b.drain()[0], header: h}
	if err := a.sa.open(m, qm1[len(qm1)-16:]); err != nil {
		t.Fatal(err)
	}
	if ids := m.all(isakmp.PayloadID); len(ids) != 2 || !bytes.Equal(ids[0], ci.Body) || !bytes.Equal(ids[1], cr.Body) {
		t.Errorf("QM2 returns %x", ids)
	}
}

// A hash that is wrong in any message of quick mode leaves the exchange waiting
// for the right one.
func TestQuickHashesAreVerified(t *testing.T) {
	a, b := phase1(t)
	a.start()
	for i, to := range []*end{b, a, b} {
		from := a
		if to == a {
			from = b
		}
		m := from.drain()[0]
		for at := isakmp.HeaderSize; at < len(m); at += 5 {
			forged := bytes.Clone(m)
			forged[at] ^= 0x40
			to.take(forged)
		}
		if len(to.sent) != 0 || len(to.outcomes) > 1 {
			t.Fatalf("a forged QM%d: %d answers, %+v", i+1, len(to.sent), to.outcomes)
		}
		to.take(m)
	}
	if len(became[ChildUp](a)) != 1 || len(became[ChildUp](b)) != 2 {
		t.Errorf("%+v, %+v", a.outcomes, b.outcomes)
	}
	k, l := became[ChildUp](a)[0].Child, became[ChildUp](b)[0].Child
	if !k.In.Encr.Equal(l.Out.Encr) || !k.Out.Integ.Equal(l.In.Integ) || k.In.Encr.Equal(k.Out.Encr) || k.In.SPI != l.Out.SPI {
		t.Error("the keys of the two ends do not fit")
	}
}

// The right SA with wrong contents in QM2: the exchange is over, the peer hears
// it, and nothing was installed.
func TestHostileQM2(t *testing.T) {
	good := []isakmp.Attribute{isakmp.BasicAttribute(4, 1), isakmp.BasicAttribute(1, 1), isakmp.BasicAttribute(2, 3600), isakmp.BasicAttribute(5, 5), isakmp.BasicAttribute(6, 128)}
	nonce := isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}
	ci := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(leftN).Append(nil)}
	cr := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(rightN).Append(nil)}
	for _, tt := range []struct {
		name     string
		payloads []isakmp.Payload
		up       bool
	}{
		{"a good one", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce, ci, cr}, true},
		{"a transform that was not offered", []isakmp.Payload{espOffer(be32(0xcafe), 3, good[:4]...), nonce, ci, cr}, false},
		{"another key length", []isakmp.Payload{espOffer(be32(0xcafe), 12, append(slices.Clone(good[:4]), isakmp.BasicAttribute(6, 256))...), nonce, ci, cr}, false},
		{"PFS that nobody asked for", []isakmp.Payload{espOffer(be32(0xcafe), 12, append(slices.Clone(good), isakmp.BasicAttribute(3, 19))...), nonce, {Type: isakmp.PayloadKE, Body: make([]byte, 64)}, ci, cr}, false},
		{"wider identities", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce, {Type: isakmp.PayloadID, Body: isakmp.Identification{Type: isakmp.IDIPv4Subnet, Data: make([]byte, 8)}.Append(nil)}, cr}, false},
		{"identities in the wrong order", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce, cr, ci}, false},
		{"no identities", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce}, false},
		{"a reserved SPI", []isakmp.Payload{espOffer(be32(100), 12, good...), nonce, ci, cr}, false},
		{"no nonce", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), ci, cr}, false},
		{"a KE without PFS", []isakmp.Payload{espOffer(be32(0xcafe), 12, good...), nonce, {Type: isakmp.PayloadKE, Body: make([]byte, 64)}, ci, cr}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := phase1(t)
			q := a.start()
			a.drain()
			m := b.quickMessage(q.id, q.iv, [][]byte{be32(q.id), q.ni}, tt.payloads...)
			a.take(m)
			a.take(m) // a duplicate
			if got := len(became[ChildUp](a)) == 1; got != tt.up {
				t.Errorf("up %t, want %t", got, tt.up)
			}
			if f := became[ChildFailed](a); !tt.up && (len(f) != 1 || !slices.Contains(a.freed, q.spis.esp)) {
				t.Errorf("failed %+v", f)
			}
			if len(a.sent) < 2 || len(a.sent) > 4 { // QM3 or the refusal, twice; with QM3 may come R-U-THERE
				t.Errorf("%d answers to QM2 and its duplicate: %+v", len(a.sent), saw[event.Message](a))
			}
		})
	}
}

// After a refusal of QM2 the responder ends its half at once.
func TestResponderHearsRefusal(t *testing.T) {
	a, b := phase1(t)
	q := a.start()
	b.take(a.drain()[0])
	a.take(b.drain()[0]) // a is up; pretend that it refused
	a.drain()
	b.take(a.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 3, SPI: be32(q.spis.esp), Type: isakmp.NotifyPayloadMalformed})))
	if f := became[ChildFailed](b); len(f) != 1 || f[0].Failed.Notified != "PAYLOAD-MALFORMED" || f[0].Failed.LastReceived != "QM1" {
		t.Errorf("the responder says %+v", b.outcomes)
	}
}

// INVALID-SPI of an SA that the peer no longer knows is no answer to the quick
// mode under way; a refusal that names no SPI, or one we cannot know, is.
func TestWhichErrorsRefuse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		of      isakmp.NotifyType
		spi     func(q *quickMode) []byte
		refuses bool
	}{
		{"INVALID-SPI of another SA", isakmp.NotifyInvalidSPI, func(*quickMode) []byte { return be32(0x4711) }, false},
		{"INVALID-SPI without one", isakmp.NotifyInvalidSPI, func(*quickMode) []byte { return nil }, false},
		{"INVALID-SPI of ours", isakmp.NotifyInvalidSPI, func(q *quickMode) []byte { return be32(q.spis.esp) }, true},
		{"NO-PROPOSAL-CHOSEN with an SPI of the peer's", isakmp.NotifyNoProposalChosen, func(*quickMode) []byte { return be32(0x4711) }, true},
		{"NO-PROPOSAL-CHOSEN without one", isakmp.NotifyNoProposalChosen, func(*quickMode) []byte { return nil }, true},
		{"a status", isakmp.NotifyReplayStatus, func(q *quickMode) []byte { return be32(q.spis.esp) }, false},
	} {
		a, b := phase1(t)
		q := a.start()
		a.take(b.say(nil, notifyPayload(isakmp.Notification{DOI: 1, Protocol: 3, SPI: tt.spi(q), Type: tt.of})))
		if got := len(became[ChildFailed](a)) == 1; got != tt.refuses || q.done != tt.refuses {
			t.Errorf("%s ends the exchange: %t, want %t", tt.name, got, tt.refuses)
		}
	}
}

// QM1 again, also when the exchange is long forgotten, makes no second pair.
//
// Threat: duplicates and replays of every message.
func TestQM1Replay(t *testing.T) {
	a, b := phase1(t)
	a.start()
	m := a.drain()[0]
	b.take(m)
	for range 100 {
		b.take(m)
	}
	if n := len(b.sent); n > 1+maxAnswers || len(became[ChildUp](b)) != 1 {
		t.Errorf("%d answers, %+v", n, b.outcomes)
	}
	clear(b.sa.quick) // long forgotten
	b.drain()
	b.take(m)
	if len(b.sent) != 0 || len(became[ChildUp](b)) != 1 {
		t.Error("a forgotten QM1 was taken again")
	}
}

// Simpson's draft: quick modes under way are bounded.
func TestQuickModesAreBounded(t *testing.T) {
	a, b := phase1(t)
	good := []isakmp.Attribute{isakmp.BasicAttribute(4, 1), isakmp.BasicAttribute(5, 5), isakmp.BasicAttribute(6, 128)}
	nonce := isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}
	ci := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(leftN).Append(nil)}
	cr := isakmp.Payload{Type: isakmp.PayloadID, Body: isakmp.IDSubnet(rightN).Append(nil)}
	for i := range uint32(2000) {
		b.take(a.qm1(i+1, espOffer(be32(0xcafe), 12, good...), nonce, ci, cr))
	}
	if n := len(b.sa.quick); n > maxExchanges {
		t.Errorf("%d quick modes under way", n)
	}
}

// Quick mode with message ID zero would be main mode's; before phase 1 is
// complete there is none.
func TestQuickModeOutOfPlace(t *testing.T) {
	a, b := phase1(t)
	b.take(a.qm1(0, espOffer(be32(0xcafe), 12), isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}))
	if len(b.sent)+len(b.outcomes) != 0 {
		t.Error("quick mode with message ID 0 was taken")
	}
	a, b = mm1(t)
	a.take(b.drain()[0])
	b.take(a.drain()[0])
	a.take(b.drain()[0]) // a has keys now, and awaits MM6
	a.drain()
	b.sa.Policy = a.sa.Policy
	m := b.qm1(5, espOffer(be32(0xcafe), 12), isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)})
	a.take(m)
	if len(a.sent)+len(a.outcomes) != 0 {
		t.Error("quick mode before authentication was taken")
	}
}
