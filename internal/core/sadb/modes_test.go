package sadb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/core/ah"
	"culvert/internal/core/crypt"
	"culvert/internal/core/esp"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/replay"
	"culvert/internal/core/suite"
)

func secret(n int, seed byte) crypt.Secret {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i)*5
	}
	return crypt.NewSecret(b)
}

// keysOf are keys for both protocols of a set.
func keysOf(set policy.TransformSet, spi uint32) Keys {
	var k Keys
	if row := set.Cipher.Row(); set.Cipher != suite.NoCipher {
		bits := set.KeyBits
		if !row.Sized {
			bits = row.KeyBits[0]
		}
		k.SPI, k.Encr, k.Integ = spi, secret(bits/8+row.Salt, 1), secret(set.Integ.Row().Size, 2)
	}
	if set.AH != suite.NoHash {
		k.AHSPI, k.AHInteg = spi+0x100, secret(set.AH.Row().Size, 3)
	}
	return k
}

// ends are R1 and R2 with one SA pair of set between them, hosts or sites.
func ends(t testing.TB, set policy.TransformSet, esn, encap bool) (a, b *DB, ca Child) {
	t.Helper()
	local, remote := netip.MustParsePrefix("10.10.10.0/24"), netip.MustParsePrefix("10.20.20.0/24")
	if set.Mode == suite.Transport {
		local, remote = netip.PrefixFrom(r1, 32), netip.PrefixFrom(r2, 32)
	}
	ca = Child{
		ID: 1, Flow: id(10, 10), Set: set, ESN: esn, Encap: encap, ReplayWindow: 64, Initiator: true,
		Selectors: flow.Selectors{Local: local, Remote: remote},
		Local:     netip.AddrPortFrom(r1, 4500), Remote: netip.AddrPortFrom(r2, 4500),
		In: keysOf(set, 0x1000), Out: keysOf(set, 0x2000),
	}
	cb := ca
	cb.Selectors, cb.Local, cb.Remote, cb.In, cb.Out = ca.Selectors.Mirror(), ca.Remote, ca.Local, ca.Out, ca.In
	a = newDB(entry(10, acl("A", permit(flow.AnyProto, local.String(), remote.String()))))
	b = newDB(entry(10, acl("B", permit(flow.AnyProto, remote.String(), local.String()))))
	install(t, a, ca, true, true)
	install(t, b, cb, true, true)
	return a, b, ca
}

// inner is a packet between the two ends of a Child's selectors, of UDP with a
// right checksum, and options when the mode keeps the header.
func inner(c Child, n int, options []byte) []byte {
	ihl := 20 + len(options)
	p := make([]byte, ihl+8+n)
	p[0], p[1], p[8], p[9] = 0x40|byte(ihl/4), 0xb8, 61, 17
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	p[6] = 0x40
	src, dst := c.Selectors.Local.Addr(), c.Selectors.Remote.Addr()
	if !c.Selectors.Local.IsSingleIP() {
		src, dst = src.Next(), dst.Next()
	}
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	copy(p[20:], options)
	u := p[ihl:]
	binary.BigEndian.PutUint16(u, 1000)
	binary.BigEndian.PutUint16(u[2:], 2000)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	for i := range n {
		u[8+i] = byte(i * 7)
	}
	u[6] = 1 // so that it is not "none"
	if len(options) == 0 {
		fixTransport(p)
	}
	ah.PutChecksum(p[:ihl])
	return p
}

// wired is what comes out of a network for what Seal made: the kernel puts a
// header before ESP in tunnel mode.
func wired(o *Out, packet []byte) (b []byte, at int) {
	if o.Child.Encap {
		return bytes.Clone(packet), 0
	}
	if !o.Whole() {
		h := make([]byte, 20, 20+len(packet))
		h[0], h[9] = 0x45, esp.Proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(packet)))
		return append(h, packet...), 20
	}
	return bytes.Clone(packet), int(packet[0]&15) * 4
}

func sealPacket(t testing.TB, o *Out, p []byte) []byte {
	t.Helper()
	buf := make([]byte, Headroom+len(p)+Tailroom)
	copy(buf[Headroom:], p)
	sealed, _, err := o.Seal(buf, Headroom, len(p), 1)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// outAndIn are the outbound SA at a and the inbound one at b.
func outAndIn(t testing.TB, a, b *DB, c Child) (*Out, *In) {
	t.Helper()
	f := a.Snapshot().Flow(c.Flow)
	in := b.Snapshot().Inbound(esp.Proto, c.Out.SPI)
	if c.Set.Cipher == suite.NoCipher {
		in = b.Snapshot().Inbound(ah.ProtoAH, c.Out.AHSPI)
	}
	if len(f.outs) == 0 || in == nil {
		t.Fatal("the SA pair is not there")
	}
	return f.outs[0], in
}

// modeSets is every shape of packet: AH, ESP, both, in both modes.
func modeSets() []policy.TransformSet {
	cbc := policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA256}
	null := policy.TransformSet{Cipher: suite.NullCipher, Integ: suite.SHA1}
	var out []policy.TransformSet
	for _, m := range []suite.Mode{suite.Tunnel, suite.Transport} {
		for _, s := range []policy.TransformSet{gcm, cbc, null} {
			s.Mode = m
			out = append(out, s)
			s.AH = suite.SHA384
			out = append(out, s)
		}
		// Encryption alone, with the integrity of AH around it.
		out = append(out, policy.TransformSet{AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 256, Mode: m})
		for _, h := range suite.Hashes() {
			out = append(out, policy.TransformSet{AH: h, Mode: m})
		}
	}
	return out
}

func TestEveryModeCarriesAPacket(t *testing.T) {
	for _, set := range modeSets() {
		for _, esn := range []bool{false, true} {
			for _, encap := range []bool{false, true} {
				if encap && set.AH != suite.NoHash {
					continue
				}
				t.Run(fmt.Sprintf("%s %s esn=%v encap=%v", set, set.Mode, esn, encap), func(t *testing.T) {
					a, b, c := ends(t, set, esn, encap)
					out, in := outAndIn(t, a, b, c)
					var options []byte
					if set.Mode == suite.Transport && !encap {
						options = []byte{7, 7, 4, 0, 0, 0, 0, 0} // Record Route
					}
					for n := range 60 {
						carry(t, out, in, inner(c, n, options[:len(options)*(n%2)]), n)
					}
					stats, far := a.Stats().Flows[0].Counters, b.Stats().Flows[0].Counters
					if stats.Encaps != 60 || stats.Digest != 60 || far.Decaps != 60 || far.Verify != 60 || far.RecvErrors != 0 {
						t.Errorf("counters: %+v, %+v", stats, far)
					}
					if encrypted := set.Cipher != suite.NoCipher && set.Cipher != suite.NullCipher; (stats.Encrypt == 60) != encrypted || (far.Decrypt == 60) != encrypted {
						t.Errorf("encrypted: %d, decrypted: %d, of 60", stats.Encrypt, far.Decrypt)
					}
				})
			}
		}
	}
}

// Threat: Paterson-Yau. ESP without an ICV of its own is decrypted only behind
// an AH that is right: no altered octet gets to the cipher, and no ESP packet
// without AH.
func TestEncryptionAloneNeedsItsAH(t *testing.T) {
	a, b, c := ends(t, policy.TransformSet{AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128}, false, false)
	out, in := outAndIn(t, a, b, c)
	packet, at := wired(out, sealPacket(t, out, inner(c, 40, nil)))
	for i := at; i < len(packet); i++ {
		forged := bytes.Clone(packet)
		forged[i] ^= 1
		if _, err := in.Open(forged, at, 1); err == nil {
			t.Fatalf("octet %d may be altered", i)
		}
	}
	_, n, err := in.ah.Check(packet)
	if err != nil {
		t.Fatal(err)
	}
	bare := append(bytes.Clone(packet[:at]), packet[at+n:]...)
	bare[9] = esp.Proto
	binary.BigEndian.PutUint16(bare[2:], uint16(len(bare)))
	if _, err := in.Open(bare, at, 1); err == nil {
		t.Error("an ESP packet without its AH is opened")
	}
	if got := b.Stats().Flows[0].Counters; got.Decaps != 0 || got.Decrypt != 0 {
		t.Errorf("counters: %+v", got)
	}
}

// carry seals p, looks at what is on the wire, and opens it.
func carry(t *testing.T, out *Out, in *In, p []byte, n int) {
	t.Helper()
	packet, at := wired(out, sealPacket(t, out, p))
	if at > 0 {
		if packet[9] != in.Proto() || int(binary.BigEndian.Uint16(packet[2:])) != len(packet) {
			t.Fatalf("packet %d on the wire: protocol %d, length %x of %d", n, packet[9], packet[2:4], len(packet))
		}
		if got := netip.AddrFrom4([4]byte(packet[16:20])); out.Whole() && got != r2 {
			t.Fatalf("packet %d on the wire goes to %s", n, got)
		}
	}
	if out.Whole() && out.Child.Set.Mode == suite.Transport && (packet[1] != p[1] || packet[8] != p[8] || packet[6] != p[6]) {
		t.Fatalf("packet %d: DSCP, TTL or DF is not the packet's own", n)
	}
	packet = append(packet, make([]byte, 40)...)[:len(packet)]
	got, err := in.Open(packet, at, 1)
	if err != nil || got.Next != esp.NextIPv4 || got.Seq != uint64(n+1) || !got.Newest {
		t.Fatalf("packet %d: %v, next %d, number %d, newest %v", n, err, got.Next, got.Seq, got.Newest)
	}
	want := bytes.Clone(p)
	if out.Child.Encap && in.transport {
		// The header went into UDP's and is made anew.
		copy(want[:12], got.Payload[:12])
	}
	if in.ah != nil && in.transport {
		copy(want[4:6], got.Payload[4:6]) // it had no identification, now it has
		ah.PutChecksum(want[:int(want[0]&15)*4])
	}
	if !bytes.Equal(got.Payload, want) {
		t.Fatalf("packet %d:\n got %x\nwant %x", n, got.Payload, want)
	}
}

// Both ICVs and both windows of a bundle count, and AH is looked at first.
//
// Threat: half a bundle.
func TestBundle(t *testing.T) {
	set := policy.TransformSet{AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}
	a, b, c := ends(t, set, false, false)
	out, in := outAndIn(t, a, b, c)
	if in != b.Snapshot().Inbound(ah.ProtoAH, c.Out.AHSPI) {
		t.Error("the bundle is not found by its AH SPI")
	}
	good := sealPacket(t, out, inner(c, 40, nil))
	open := func(p []byte) error {
		_, err := in.Open(bytes.Clone(p), 20, 1)
		return err
	}
	for at := 20; at < len(good); at++ {
		p := bytes.Clone(good)
		p[at] ^= 0x10
		if err := open(p); err == nil {
			t.Fatalf("octet %d was changed unnoticed", at)
		}
	}
	if in.espWindow.Top() != 0 || in.ahWindow.Top() != 0 {
		t.Error("a forged packet moved a window")
	}
	// An insider without the ESP key: AH is right, ESP is not.
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	s, err := ah.NewSealer(set.AH, c.Out.AHSPI, c.Out.AHInteg, false)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(p []byte, next uint8) []byte {
		if err := s.Seal(p, next); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := open(seal(forged, esp.Proto)); !errors.Is(err, esp.ErrICV) {
		t.Errorf("AH right, ESP wrong: %v", err)
	}
	if err := open(good); !errors.Is(err, replay.ErrSeen) {
		t.Errorf("the AH number of a packet that was right: %v", err)
	}
	if err := open(seal(bytes.Clone(good), esp.NextIPv4)); !errors.Is(err, ErrBundle) {
		t.Errorf("no ESP within: %v", err)
	}
	another := bytes.Clone(good)
	another[20+out.ah.Len()] ^= 1
	if err := open(seal(another, esp.Proto)); !errors.Is(err, ErrBundle) {
		t.Errorf("another ESP SA within: %v", err)
	}
	if err := open(seal(bytes.Clone(good), esp.Proto)); err != nil {
		t.Errorf("the good packet, sealed again: %v", err)
	}
	if err := open(seal(bytes.Clone(good), esp.Proto)); !errors.Is(err, replay.ErrSeen) {
		t.Errorf("its ESP number again under a new AH number: %v", err)
	}
	want := b.Stats().Flows[0].Counters
	if want.Decaps != 1 || want.ReplayFailed != 2 || want.VerifyFailed == 0 {
		t.Errorf("counters: %+v", want)
	}
}

func TestTransportTakesItsOwnPacketsOnly(t *testing.T) {
	set := policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128, Mode: suite.Transport}
	a, b, c := ends(t, set, false, false)
	out, _ := outAndIn(t, a, b, c)
	good := inner(c, 40, nil)
	change := func(f func(p []byte)) []byte {
		p := bytes.Clone(good)
		f(p)
		return p
	}
	cases := []struct {
		story  string
		packet []byte
		want   error
	}{
		{"a first fragment", change(func(p []byte) { p[6] = 0x20 }), ErrFragment},
		{"a later fragment", change(func(p []byte) { p[7] = 1 }), ErrFragment},
		{"from another address", change(func(p []byte) { p[15]++ }), ErrEndpoint},
		{"to another address", change(func(p []byte) { p[19]++ }), ErrEndpoint},
		{"a header that is longer than the packet", change(func(p []byte) { p[0] = 0x4f })[:40], esp.ErrNoRoom},
		{"less than a header", good[:19], esp.ErrNoRoom},
	}
	for _, x := range cases {
		buf := make([]byte, Headroom+len(x.packet)+Tailroom)
		copy(buf[Headroom:], x.packet)
		if _, _, err := out.Seal(buf, Headroom, len(x.packet), 1); !errors.Is(err, x.want) || out.seq() != 0 {
			t.Errorf("%s: %v, want %v", x.story, err, x.want)
		}
	}
	if n := a.Stats().Flows[0].Counters.SendErrors; n != uint64(len(cases)-2) {
		t.Errorf("%d send errors, want %d: fragments may yet be put together", n, len(cases)-2)
	}
}

// Over the border of the lower half, and with packets of before it that come late.
func TestExtendedNumbersGoOn(t *testing.T) {
	for _, set := range modeSets() {
		a, b, c := ends(t, set, true, false)
		out, in := outAndIn(t, a, b, c)
		late, at := wired(out, sealPacket(t, out, inner(c, 8, nil)))
		for range 3 {
			p, at := wired(out, sealPacket(t, out, inner(c, 8, nil)))
			if _, err := in.Open(p, at, 1); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := in.Open(bytes.Clone(late), at, 1); err != nil || got.Newest {
			t.Errorf("%s: late: %v, newest %v", set, err, got.Newest)
		}
		if _, err := in.Open(bytes.Clone(late), at, 1); !errors.Is(err, replay.ErrSeen) {
			t.Errorf("%s: twice: %v", set, err)
		}
	}
	if soft := softSeq(true); soft <= math.MaxUint32 || softSeq(false) >= math.MaxUint32 {
		t.Errorf("the soft limit of extended numbers is %#x", soft)
	}
}

// RFC 791: fragments of one packet have one identification, and of no other; and
// zero the kernel would replace.
func TestPacketsAreTellable(t *testing.T) {
	a, b, c := ends(t, policy.TransformSet{AH: suite.SHA1}, false, false)
	out, _ := outAndIn(t, a, b, c)
	out.ident = 0xfffe
	for _, want := range []uint16{0xffff, 1, 2} {
		p := sealPacket(t, out, inner(c, 8, nil))
		if got := binary.BigEndian.Uint16(p[4:]); got != want {
			t.Errorf("identification %#x, want %#x", got, want)
		}
	}
}

// A NAT on the way changed the addresses; the checksum must fit them again.
func TestTransportBehindNATFixesChecksums(t *testing.T) {
	set := policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128, Mode: suite.Transport}
	for _, proto := range []uint8{6, 17} {
		a, b, c := ends(t, set, false, true)
		out, in := outAndIn(t, a, b, c)
		outside := netip.MustParseAddr("203.0.113.77")
		if err := b.Move(1, netip.AddrPortFrom(outside, 61000)); err != nil {
			t.Fatal(err)
		}
		p := inner(c, 41, nil)
		p[9] = proto
		packet := sealPacket(t, out, p)
		got, err := in.Open(append(packet, make([]byte, 30)...)[:len(packet)], 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if src := netip.AddrFrom4([4]byte(got.Payload[12:16])); src != outside {
			t.Errorf("comes from %s, want the address it can be answered at", src)
		}
		again := bytes.Clone(got.Payload)
		fixTransport(again)
		if !bytes.Equal(again, got.Payload) {
			t.Errorf("protocol %d: the checksum is not that of the new addresses", proto)
		}
		// The sum over all 16-bit words and the pseudo header is then all ones.
		sum := uint32(proto) + uint32(len(got.Payload)-20)
		for n := 12; n < len(got.Payload); n += 2 {
			w := uint32(got.Payload[n]) << 8
			if n+1 < len(got.Payload) {
				w |= uint32(got.Payload[n+1])
			}
			sum += w
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		if sum != 0xffff {
			t.Errorf("protocol %d: the sum is %#x, want 0xffff", proto, sum)
		}
	}
	p := make([]byte, 30)
	p[9] = 17
	fixTransport(p)
	if p[26] != 0 || p[27] != 0 {
		t.Error("a UDP packet without a checksum got one")
	}
}

func TestUsed(t *testing.T) {
	a, b, c := ends(t, gcm, false, false)
	if in, out := a.Used(1); !in.IsZero() || !out.IsZero() {
		t.Errorf("before any packet: %v, %v", in, out)
	}
	out, in := outAndIn(t, a, b, c)
	p := sealPacket(t, out, inner(c, 8, nil))
	if _, err := in.Open(p, 0, 7); err != nil {
		t.Fatal(err)
	}
	if in, out := a.Used(1); !in.IsZero() || !out.Equal(time.Unix(0, 1)) {
		t.Errorf("after sealing at 1 ns: %v, %v", in, out)
	}
	if in, out := b.Used(1); !in.Equal(time.Unix(0, 7)) || !out.IsZero() {
		t.Errorf("after opening at 7 ns: %v, %v", in, out)
	}
	if in, out := b.Used(99); !in.IsZero() || !out.IsZero() {
		t.Errorf("a pair that is not there: %v, %v", in, out)
	}
}

func TestNothingIsAllocatedInAnyMode(t *testing.T) {
	for _, set := range modeSets() {
		a, b, c := ends(t, set, true, false)
		out, in := outAndIn(t, a, b, c)
		p := inner(c, 1000, nil)
		buf, wire := make([]byte, Headroom+len(p)+Tailroom), make([]byte, 2000)
		if n := testing.AllocsPerRun(20, func() {
			copy(buf[Headroom:], p)
			sealed, _, err := out.Seal(buf, Headroom, len(p), 1)
			if err != nil {
				t.Fatal(err)
			}
			at := 20
			if !out.Whole() {
				at = 0
			}
			if _, err := in.Open(wire[:copy(wire, sealed)], at, 1); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s %s: %v allocations for a packet", set, set.Mode, n)
		}
	}
}
