package ikev1

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"culvert/internal/core/event"
	"culvert/internal/core/flow"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// The attributes of foreign offers, by their numbers in RFC 2407 4.5.
func mode(n uint16) isakmp.Attribute  { return isakmp.BasicAttribute(4, n) }
func auth(n uint16) isakmp.Attribute  { return isakmp.BasicAttribute(5, n) }
func bits(n uint16) isakmp.Attribute  { return isakmp.BasicAttribute(6, n) }
func group(n uint16) isakmp.Attribute { return isakmp.BasicAttribute(3, n) }
func esn(n uint16) isakmp.Attribute   { return isakmp.BasicAttribute(11, n) }

func lasts(n uint32) []isakmp.Attribute {
	return []isakmp.Attribute{isakmp.BasicAttribute(1, 1), isakmp.LongAttribute(2, n)}
}

func tr(n, id uint8, attrs ...isakmp.Attribute) isakmp.Transform {
	return isakmp.Transform{Number: n, ID: id, Attributes: attrs}
}

const (
	protoAH, protoESP, protoIPComp = 2, 3, 4
	peerESP, peerAH                = 0xe5000001, 0xa4000001
)

func prop(n, protocol uint8, transforms ...isakmp.Transform) isakmp.Proposal {
	spi := be32(peerESP)
	if protocol == protoAH {
		spi = be32(peerAH)
	}
	return isakmp.Proposal{Number: n, Protocol: protocol, SPI: spi, Transforms: transforms}
}

var (
	setCBC    = policy.TransformSet{Name: "CBC", Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256}
	setGCM    = policy.TransformSet{Name: "GCM", Cipher: suite.AESGCM, KeyBits: 128}
	setESN    = policy.TransformSet{Name: "ESN", Cipher: suite.AESGCM, KeyBits: 256, ESN: true}
	setAH     = policy.TransformSet{Name: "AH", AH: suite.SHA512}
	setBundle = policy.TransformSet{Name: "BUNDLE", AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128}
	setNull   = policy.TransformSet{Name: "NULL", Cipher: suite.NullCipher, Integ: suite.SHA384}
)

// Offers as routers send them, and what a responder with all six kinds of sets
// chooses: its own first set outermost, the first offer that is equal to it.
func TestForeignProposals(t *testing.T) {
	cbc := []isakmp.Attribute{mode(1), auth(5), bits(256)}
	ah, espOfBundle := []isakmp.Attribute{mode(1), auth(5)}, []isakmp.Attribute{mode(1), bits(128)}
	for _, tt := range []struct {
		name string
		sa   []isakmp.Proposal
		want string // the set; "" for NO-PROPOSAL-CHOSEN
		said string // of the proposal that QM2 brings back: number, then protocol/transform number/transform
	}{
		{"one proposal with many transforms, as strongSwan and libreswan send", []isakmp.Proposal{prop(1, protoESP,
			tr(1, 12, mode(1), auth(2), bits(128)), tr(2, 3, mode(1), auth(2)), tr(3, 20, mode(1), bits(128)), tr(4, 12, cbc...))}, "CBC", "1 3/4/12"},
		{"a proposal for each, as IOS and Windows send", []isakmp.Proposal{prop(1, protoESP, tr(1, 3, mode(1), auth(1))), prop(2, protoESP, tr(1, 20, mode(1), bits(128)))}, "GCM", "2 3/1/20"},
		{"numbers that neither begin with 1 nor rise", []isakmp.Proposal{prop(7, protoESP, tr(9, 20, mode(1), bits(192))), prop(0, protoESP, tr(0, 12, cbc...))}, "CBC", "0 3/0/12"},
		{"equal offers: the first", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, cbc...), tr(2, 12, cbc...)), prop(2, protoESP, tr(1, 12, cbc...))}, "CBC", "1 3/1/12"},
		{"unknown transforms between", []isakmp.Proposal{prop(1, protoESP, tr(1, 250, mode(1)), tr(2, 4, mode(1), auth(5)), tr(3, 12, cbc...))}, "CBC", "1 3/3/12"},
		{"IPComp beside ESP, and ESP alone", []isakmp.Proposal{
			{Number: 1, Protocol: protoIPComp, SPI: []byte{0, 3}, Transforms: []isakmp.Transform{tr(1, 2, mode(1))}},
			prop(1, protoESP, tr(1, 12, cbc...)), prop(2, protoESP, tr(1, 12, cbc...))}, "CBC", "2 3/1/12"},
		{"AES-CBC without integrity", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, mode(1), bits(256)))}, "", ""},
		{"AES-CBC without a key length", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, mode(1), auth(5)))}, "", ""},
		{"a key length of 0, of 7 and twice, then right", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, mode(1), auth(5), bits(0)), tr(2, 12, mode(1), auth(5), bits(7)),
			tr(3, 12, mode(1), auth(5), bits(256), bits(256)), tr(4, 12, cbc...))}, "CBC", "1 3/4/12"},
		{"GCM with an HMAC beside it", []isakmp.Proposal{prop(1, protoESP, tr(1, 20, mode(1), auth(5), bits(128)))}, "", ""},
		{"NULL with integrity", []isakmp.Proposal{prop(1, protoESP, tr(1, 11, mode(1), auth(6)))}, "NULL", "1 3/1/11"},
		{"NULL without", []isakmp.Proposal{prop(1, protoESP, tr(1, 11, mode(1)))}, "", ""},
		{"CVE-2024-3652: AES-GMAC", []isakmp.Proposal{prop(1, protoESP, tr(1, 23, mode(1), bits(256)))}, "", ""},

		{"ESN", []isakmp.Proposal{prop(1, protoESP, tr(1, 20, mode(1), bits(256), esn(1)))}, "ESN", "1 3/1/20"},
		{"the same without ESN", []isakmp.Proposal{prop(1, protoESP, tr(1, 20, mode(1), bits(256)))}, "", ""},
		{"ESN that nobody wants, and without", []isakmp.Proposal{prop(1, protoESP, tr(1, 20, mode(1), bits(128), esn(1)), tr(2, 20, mode(1), bits(128)))}, "GCM", "1 3/2/20"},
		{"ESN with another value", []isakmp.Proposal{prop(1, protoESP, tr(1, 20, mode(1), bits(256), esn(2)))}, "", ""},

		{"AH", []isakmp.Proposal{prop(1, protoAH, tr(1, 7, mode(1), auth(7)))}, "AH", "1 2/1/7"},
		{"AH without the attribute", []isakmp.Proposal{prop(1, protoAH, tr(1, 7, mode(1)))}, "", ""},
		{"AH whose attribute names another hash", []isakmp.Proposal{prop(1, protoAH, tr(1, 7, mode(1), auth(5)))}, "", ""},
		{"AH in UDP", []isakmp.Proposal{prop(1, protoAH, tr(1, 7, mode(3), auth(7)))}, "", ""},
		{"AH_MD5 that is none of ours, then AH", []isakmp.Proposal{prop(1, protoAH, tr(1, 2, mode(1), auth(1)), tr(2, 7, mode(1), auth(7)))}, "AH", "1 2/2/7"},

		{"a bundle", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, ah...)), prop(1, protoESP, tr(1, 12, espOfBundle...))}, "BUNDLE", "1 2/1/5 3/1/12"},
		{"a bundle, ESP first", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, espOfBundle...)), prop(1, protoAH, tr(1, 5, ah...))}, "BUNDLE", "1 3/1/12 2/1/5"},
		{"a bundle with another proposal between its parts", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, ah...)), prop(2, protoESP, tr(1, 3, mode(1), auth(1))),
			prop(1, protoESP, tr(1, 12, espOfBundle...))}, "BUNDLE", "1 2/1/5 3/1/12"},
		{"every combination of a bundle", []isakmp.Proposal{prop(3, protoAH, tr(1, 2, mode(1), auth(1)), tr(2, 5, ah...)),
			prop(3, protoESP, tr(1, 3, mode(1)), tr(2, 12, mode(1), bits(192)), tr(3, 12, espOfBundle...))}, "BUNDLE", "3 2/2/5 3/3/12"},
		{"half of the bundle", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, ah...))}, "", ""},
		{"a bundle where we want ESP alone", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, ah...)), prop(1, protoESP, tr(1, 12, cbc...))}, "", ""},
		{"a bundle in two modes", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, mode(2), auth(5))), prop(1, protoESP, tr(1, 12, espOfBundle...))}, "", ""},
		{"a bundle with two groups", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, append(ah, group(19))...)), prop(1, protoESP, tr(1, 12, espOfBundle...))}, "", ""},
		{"a bundle with two lifetimes", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, append(lasts(3600), ah...)...)), prop(1, protoESP, tr(1, 12, append(lasts(28800), espOfBundle...)...))}, "", ""},
		{"a bundle with ESN for one", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, append(slices.Clone(ah), esn(1))...)), prop(1, protoESP, tr(1, 12, espOfBundle...))}, "", ""},
		{"ESP twice under one number", []isakmp.Proposal{prop(1, protoESP, tr(1, 12, cbc...)), prop(1, protoESP, tr(1, 12, cbc...))}, "", ""},
		{"AH, ESP and ESP under one number", []isakmp.Proposal{prop(1, protoAH, tr(1, 5, ah...)), prop(1, protoESP, tr(1, 12, espOfBundle...)), prop(1, protoESP, tr(1, 12, cbc...))}, "", ""},
		{"a bundle with an AH SPI of 255, then ESP", []isakmp.Proposal{{Number: 1, Protocol: protoAH, SPI: be32(255), Transforms: []isakmp.Transform{tr(1, 5, ah...)}},
			prop(1, protoESP, tr(1, 12, espOfBundle...)), prop(2, protoESP, tr(1, 12, cbc...))}, "CBC", "2 3/1/12"},
		{"our first set, though it is offered last", []isakmp.Proposal{prop(1, protoAH, tr(1, 7, mode(1), auth(7))), prop(2, protoESP, tr(1, 20, mode(1), bits(128))), prop(3, protoESP, tr(1, 12, cbc...))}, "CBC", "3 3/1/12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := phase1(t)
			b.settings.Entries[0].Sets = []policy.TransformSet{setCBC, setGCM, setESN, setAH, setBundle, setNull}
			said, keys := a.offer(b, leftN, rightN, tt.sa...)
			if said != tt.said {
				t.Errorf("QM2 brings %q, want %q", said, tt.said)
			}
			if tt.want == "" {
				if n := saw[event.Notify](a); len(n) != 1 || n[0].Type != "NO-PROPOSAL-CHOSEN" {
					t.Errorf("told %+v", n)
				}
				return
			}
			k := became[ChildUp](b)[0].Child
			if k.Set.Name != tt.want || k.ESN != k.Set.ESN {
				t.Errorf("chose %s, ESN %t, want %s", k.Set.Name, k.ESN, tt.want)
			}
			checkSPIs(t, k, keys)
		})
	}
}

// checkSPIs demands an SPI and keys for each protocol of the set, and none for others.
func checkSPIs(t *testing.T, k *sadb.Child, told map[uint8]uint32) {
	t.Helper()
	esp, ah := k.Set.Cipher != suite.NoCipher, k.Set.AH != suite.NoHash
	if k.In.SPI != told[protoESP] || k.In.AHSPI != told[protoAH] || esp && k.Out.SPI != peerESP || ah && k.Out.AHSPI != peerAH {
		t.Errorf("SPIs in %x %x, out %x %x; told %x", k.In.SPI, k.In.AHSPI, k.Out.SPI, k.Out.AHSPI, told)
	}
	for _, d := range []sadb.Keys{k.In, k.Out} {
		if (d.SPI != 0) != esp || (d.AHSPI != 0) != ah || d.AHInteg.Len() != integKeyOctets(k.Set.AH) || esp && d.Encr.Len() != encrKeyOctets(k.Set) || d.Integ.Len() != integKeyOctets(k.Set.Integ) {
			t.Errorf("%s: ESP %t with keys of %d and %d, AH %t with a key of %d octets", k.Set, d.SPI != 0, d.Encr.Len(), d.Integ.Len(), d.AHSPI != 0, d.AHInteg.Len())
		}
	}
	if ah && k.In.AHInteg.Equal(k.Out.AHInteg) {
		t.Error("both directions of AH have one key")
	}
}

// offer sends a QM1 with these proposals and tells the proposals of QM2, with the
// responder's SPIs by protocol; "" when it refuses.
func (e *end) offer(to *end, from, far netip.Prefix, proposals ...isakmp.Proposal) (said string, spis map[uint8]uint32) {
	id := func(p netip.Prefix) isakmp.Payload {
		return isakmp.Payload{Type: isakmp.PayloadID, Body: identity(p, flow.AnyProto, flow.AnyPort).Append(nil)}
	}
	qm1 := e.qm1(0x1234, isakmp.Payload{Type: isakmp.PayloadSA, Body: isakmp.NewSA(proposals...).Append(nil)},
		isakmp.Payload{Type: isakmp.PayloadNonce, Body: make([]byte, 16)}, id(from), id(far))
	to.take(qm1)
	if len(to.sent) != 1 {
		e.t.Fatalf("%d answers", len(to.sent))
	}
	raw := to.drain()[0]
	h, _ := isakmp.ParseHeader(raw)
	if h.Exchange == isakmp.ExchangeInformational {
		e.take(raw)
		return "", nil
	}
	m := &message{raw: raw, header: h}
	if err := e.sa.open(m, qm1[len(qm1)-16:]); err != nil {
		e.t.Fatal(err)
	}
	body, err := m.one(isakmp.PayloadSA)
	if err != nil {
		e.t.Fatal(err)
	}
	sa, err := isakmp.ParseSA(body)
	if err != nil {
		e.t.Fatal(err)
	}
	words := []string{fmt.Sprint(sa.Proposals[0].Number)}
	spis = map[uint8]uint32{}
	for _, p := range sa.Proposals {
		if len(p.Transforms) != 1 || p.Number != sa.Proposals[0].Number {
			e.t.Errorf("QM2 has %d transforms in proposal %d", len(p.Transforms), p.Number)
		}
		words = append(words, fmt.Sprintf("%d/%d/%d", p.Protocol, p.Transforms[0].Number, p.Transforms[0].ID))
		o := offer{parts: []part{{p, p.Transforms[0]}}}
		spis[p.Protocol] = o.spi(p.Protocol)
	}
	return strings.Join(words, " "), spis
}

// A transform set in transport mode takes transport mode between the tunnel's
// own ends, tunnel mode elsewhere, and there too when it is not required; one in
// tunnel mode takes nothing else. What is equal but for that is told as such.
func TestForeignModes(t *testing.T) {
	ends := [2]netip.Prefix{netip.PrefixFrom(left.Addr(), 32), netip.PrefixFrom(right.Addr(), 32)}
	nets := [2]netip.Prefix{leftN, rightN}
	transport, require := setCBC, setCBC
	transport.Mode, require.Mode, require.Require = suite.Transport, suite.Transport, true
	for _, tt := range []struct {
		name    string
		set     policy.TransformSet
		ids     [2]netip.Prefix
		offered uint16
		want    string // the mode; "" for a refusal
	}{
		{"tunnel, as we have it", setCBC, nets, 1, "tunnel"},
		{"tunnel between the ends", setCBC, ends, 1, "tunnel"},
		{"transport where we have tunnel", setCBC, ends, 2, ""},
		{"transport between the ends", transport, ends, 2, "transport"},
		{"tunnel between the ends where transport is wished for", transport, ends, 1, "tunnel"},
		{"tunnel between the ends where transport is required", require, ends, 1, ""},
		{"transport between the ends where it is required", require, ends, 2, "transport"},
		{"transport between networks", transport, nets, 2, ""},
		{"tunnel between networks where transport falls back", transport, nets, 1, "tunnel"},
		{"tunnel between networks where transport is required", require, nets, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := phase1(t)
			list := b.settings.Entries[0].ACL
			list.Lines = append(list.Lines, flow.Line{Seq: 20, Action: flow.Permit, Src: flow.PrefixMatch(ends[1]), Dst: flow.PrefixMatch(ends[0]), ICMPType: -1, ICMPCode: -1})
			b.settings.Entries[0].Sets = []policy.TransformSet{tt.set}
			a.offer(b, tt.ids[0], tt.ids[1], prop(1, protoESP, tr(1, 12, mode(tt.offered), auth(5), bits(256))))
			if tt.want != "" {
				if k := became[ChildUp](b)[0].Child; k.Set.Mode.String() != tt.want || k.Set.Name != tt.set.Name {
					t.Errorf("%s in %s mode", k.Set.Name, k.Set.Mode)
				}
				return
			}
			if f := saw[event.Failed](b); len(f) != 1 || f[0].Code != event.ModeMismatch || !strings.Contains(f[0].Reason, tt.set.Name) {
				t.Errorf("failed with %+v", f)
			}
			if n := saw[event.Notify](a); len(n) != 1 || n[0].Type != "NO-PROPOSAL-CHOSEN" {
				t.Errorf("told %+v", n)
			}
		})
	}
}

// Two proposals of a bundle with hundreds of transforms each cost no more than
// one with as many.
func TestCombinationsAreBounded(t *testing.T) {
	var many []isakmp.Transform
	for i := range 255 {
		many = append(many, tr(uint8(i), 5, mode(1), auth(5)))
	}
	bundle := []isakmp.Proposal{prop(1, protoAH, many...), prop(1, protoESP, many...)}
	if n := len(readSets(isakmp.NewSA(bundle...), false)); n != maxCombinations {
		t.Errorf("%d combinations, want %d", n, maxCombinations)
	}
	a, b := phase1(t)
	if said, _ := a.offer(b, leftN, rightN, bundle...); said != "" {
		t.Errorf("chose %s", said)
	}
}

// A range of addresses that is no prefix is taken when the smallest prefix that
// holds it is permitted.
func TestRangesOfAddresses(t *testing.T) {
	for _, tt := range []struct{ first, last, want string }{
		{"10.10.10.0", "10.10.10.255", "10.10.10.0/24"},
		{"10.10.10.5", "10.10.10.5", "10.10.10.5/32"},
		{"10.10.10.5", "10.10.10.9", "10.10.10.0/28"},
		{"10.10.10.127", "10.10.10.128", "10.10.10.0/24"},
		{"10.10.10.0", "10.10.11.0", "10.10.10.0/23"},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"127.255.255.255", "128.0.0.0", "0.0.0.0/0"},
	} {
		first, last := netip.MustParseAddr(tt.first), netip.MustParseAddr(tt.last)
		p, err := network(isakmp.Identification{Type: isakmp.IDIPv4Range, Data: append(first.AsSlice(), last.AsSlice()...)})
		if err != nil || p.String() != tt.want {
			t.Errorf("%s to %s: %s, %v, want %s", first, last, p, err, tt.want)
		}
	}
	if p, err := network(isakmp.Identification{Type: isakmp.IDIPv4Range, Data: []byte{10, 0, 0, 2, 10, 0, 0, 1}}); err == nil {
		t.Errorf("a range that runs backwards is %s", p)
	}
}
