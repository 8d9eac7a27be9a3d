package isakmp

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func whole(n int) []byte {
	h := Header{InitiatorCookie: Cookie{1}, ResponderCookie: Cookie{2}, Next: PayloadID, Version: Version1, Exchange: ExchangeMain,
		Flags: FlagEncryption, Length: uint32(n)}
	return append(h.Append(nil), bytes.Repeat([]byte{7}, n-HeaderSize)...)
}

// What strongSwan and libreswan send: the message cut with its header, the
// encryption flag of the fragments clear, fragment ID 1, numbers from 1, the last
// one marked.
func TestCut(t *testing.T) {
	m := whole(2500)
	cut := Cut(m, 1, 1212)
	if len(cut) != 3 {
		t.Fatalf("%d fragments, want 3", len(cut))
	}
	var again []byte
	for i, d := range cut {
		h, err := ParseHeader(d)
		if err != nil {
			t.Fatal(err)
		}
		payloads, rest, err := ParsePayloads(h.Next, d[HeaderSize:])
		if err != nil || len(rest) != 0 || len(payloads) != 1 || payloads[0].Type != PayloadFragment || h.Encrypted() || h.Exchange != ExchangeMain {
			t.Fatalf("fragment %d: %+v, %d payloads, %v", i+1, h, len(payloads), err)
		}
		f, err := ParseFragment(payloads[0].Body)
		if err != nil || f.ID != 1 || int(f.Number) != i+1 || f.Last != (i == 2) {
			t.Fatalf("fragment %d: %+v, %v", i+1, f, err)
		}
		if len(d) > 1212+FragmentOverhead {
			t.Errorf("fragment %d has %d octets", i+1, len(d))
		}
		again = append(again, f.Data...)
	}
	if !bytes.Equal(again, m) {
		t.Error("the parts are not the message")
	}
	if got, want := hex.EncodeToString(cut[0][16:36]), "84100200000000000000"+"04e0"+"0000"+"04c4"+"0001"+"01"+"00"; got != want {
		t.Errorf("the first fragment is %s, want %s", got, want)
	}
	if Cut(whole(300), 1, 1) != nil || Cut(whole(300), 1, 0) != nil || Cut(m[:20], 1, 100) != nil {
		t.Error("what cannot be cut was cut")
	}
}

// CVE-2013-6076, CVE-2016-1287: fragment ID 0, number 0, lengths that leave
// nothing, or less, for the fragment.
func TestFragmentsThatAreNone(t *testing.T) {
	for _, words := range []string{"", "00", "0001", "000101", "00010101", "0000010141", "0001000141"} {
		b, _ := hex.DecodeString(words)
		if f, err := ParseFragment(b); err == nil {
			t.Errorf("%q is read as %+v", words, f)
		}
	}
}

// The vendor ID with and without capabilities: Windows sends none, Cisco
// c0000000, strongSwan 80000000; 40000000 is not about main mode.
func TestFragmentationVendorID(t *testing.T) {
	for suffix, want := range map[string]bool{"": true, "80000000": true, "c0000000": true, "40000000": false, "00000000": false, "80": false} {
		b, _ := hex.DecodeString("4048b7d56ebce88525e7de7f00d6c2d3" + suffix)
		if Fragments(b) != want {
			t.Errorf("with %q: %t, want %t", suffix, !want, want)
		}
	}
	if !Fragments(VendorFragmentation.ID()) || Fragments(VendorDPD.ID()) || Fragments(nil) {
		t.Error("the wrong vendor ID is about fragments")
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 'x'})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseFragment(b)
		if err != nil {
			return
		}
		if got := p.Append(nil); !bytes.Equal(got[:3], b[:3]) || !bytes.Equal(got[4:], b[4:]) {
			t.Errorf("%x came back as %x", b, got)
		}
	})
}
