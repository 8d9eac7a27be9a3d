package isakmp

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// refused checks that an error of a parser is an Error that says where, within
// what the parser was given.
func refused(t *testing.T, err error, size int) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Where == "" || e.Detail == "" || e.Offset < 0 || e.Offset > size || !e.Notify.IsError() {
		t.Fatalf("%#v (%v) for %d octets", err, err, size)
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(octets(f, mm1))
	f.Add(message(mainMode(), 0, Payload{PayloadKE, make([]byte, 64)}, Payload{PayloadNonce, make([]byte, 16)}, Payload{PayloadNATD, make([]byte, 20)}))
	f.Add(message(mainMode(), 7, Payload{PayloadID, make([]byte, 8)}, Payload{PayloadHash, make([]byte, 20)}))
	f.Add(message(mainMode(), 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		payloads, rest, err := ParsePayloads(h.Next, b[HeaderSize:])
		if err != nil {
			refused(t, err, len(b))
			return
		}
		first, body := AppendPayloads(nil, payloads)
		again := append(append(h.Append(nil), body...), rest...)
		if d := cmp.Diff(b, again); first != h.Next || d != "" {
			t.Fatalf("first %s, %s (-read +written):\n%s", first, h.Next, d)
		}
	})
}

func FuzzParseSA(f *testing.F) {
	f.Add(octets(f, mm1)[HeaderSize+4 : HeaderSize+0x60])
	f.Add(NewSA(
		Proposal{1, ProtocolESP, []byte{1, 2, 3, 4}, []Transform{{1, 12, []Attribute{BasicAttribute(Phase2Auth, 5), LongAttribute(Phase2LifeDuration, 86400)}}, {2, 3, nil}}},
		Proposal{2, ProtocolAH, []byte{1, 2, 3, 4}, []Transform{{1, 5, nil}}}).Append(nil))
	f.Add(octets(f, "00000001 00000001 00 00 0010 01 01 00 ff 00 00 0008 01 01 0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		sa, err := ParseSA(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if d := cmp.Diff(b, sa.Append(nil)); d != "" {
			t.Fatalf("-read +written:\n%s", d)
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	f.Add(octets(f, "80010001 00020004 00015180 80010002 00020004 000186a0"))
	f.Add(octets(f, "00020000 000cffff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		attrs, err := ParseAttributes(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if d := cmp.Diff(b, AppendAttributes([]byte{}, attrs), sameOctets); d != "" {
			t.Fatalf("-read +written:\n%s", d)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"01000000 c6336401", "04000000 0a0a0a00 ffffff00", "07000000 0a000001 0a000009", "02000000 72311b5b324a00",
		"09000000 300d 310b 3009 0603550403 13027231", "0b000000 00ff", "06000000 20010db8000000000000000000000000 ffffffff000000000000000000000000"} {
		f.Add(octets(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseID(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if diff := cmp.Diff(b, d.Append(nil)); diff != "" {
			t.Fatalf("-read +written:\n%s", diff)
		}
		for _, r := range d.String() {
			if r < ' ' || r > '~' && r != '…' {
				t.Fatalf("%q prints %q", b, d.String())
			}
		}
		if p, err := d.Prefix(); err == nil && d.Type != IDIPv4Subnet && d.Type != IDIPv6Subnet && p != p.Masked() {
			t.Fatalf("%s has host bits", p)
		}
	})
}

func FuzzParseNotification(f *testing.F) {
	f.Add(octets(f, "00000001 01 10 6002 a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b8"))
	f.Add(octets(f, "00000001 03 04 000e c0ffee01 0a0b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNotification(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if d := cmp.Diff(b, n.Append(nil)); d != "" {
			t.Fatalf("-read +written:\n%s", d)
		}
	})
}

func FuzzParseDelete(f *testing.F) {
	f.Add(octets(f, "00000001 03 04 0002 01020304 05060708"))
	f.Add(octets(f, "00000001 01 10 0001 a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDelete(b)
		if err != nil {
			refused(t, err, len(b))
			return
		}
		if diff := cmp.Diff(b, d.Append(nil)); diff != "" {
			t.Fatalf("-read +written:\n%s", diff)
		}
	})
}

func FuzzParseNATOA(f *testing.F) {
	f.Add(octets(f, "01000000 0a0a0a0a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseNATOA(b); err != nil {
			refused(t, err, len(b))
		} else if !a.IsValid() {
			t.Fatalf("%x is no address", b)
		}
	})
}
