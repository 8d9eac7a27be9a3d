package crypt

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"culvert/internal/core/suite"
)

// curves are the parameters of the ECP groups as the standard library has them,
// a second opinion on the constants of this package.
func curves(g suite.Group) *elliptic.CurveParams {
	switch g {
	case 19:
		return elliptic.P256().Params()
	case 20:
		return elliptic.P384().Params()
	case 21:
		return elliptic.P521().Params()
	}
	return nil
}

func eachGroup(t *testing.T, run func(t *testing.T, g suite.Group)) {
	for _, g := range suite.Groups() {
		t.Run(g.String(), func(t *testing.T) { run(t, g) })
	}
}

func draw(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

func newPrivate(t testing.TB, g suite.Group, r *rand.ChaCha8) Private {
	t.Helper()
	p, err := NewPrivate(g, draw(r, PrivateSize(g)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func big16(t testing.TB, s string) *big.Int { return new(big.Int).SetBytes(unhex(t, s)) }

// Every prime is one, of the size its row says; 2 generates the subgroup of
// prime order (p-1)/2 of the safe ones.
func TestConstantsOfMODPGroups(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		m, ok := modpOf(g)
		if !ok {
			return
		}
		p, generator := big16(t, m.prime), big16(t, m.generator)
		if p.BitLen() != g.Row().Bits || !p.ProbablyPrime(0) {
			t.Errorf("p has %d bits and may be composite", p.BitLen())
		}
		q := new(big.Int).Rsh(p, 1)
		if m.order != "" {
			q = big16(t, m.order)
		}
		if !q.ProbablyPrime(0) {
			t.Error("q is not prime")
		}
		if new(big.Int).Mod(new(big.Int).Sub(p, big.NewInt(1)), q).Sign() != 0 {
			t.Error("q does not divide p-1")
		}
		if new(big.Int).Exp(generator, q, p).Cmp(big.NewInt(1)) != 0 || generator.Cmp(big.NewInt(1)) <= 0 {
			t.Error("the generator is not of order q")
		}
		// RFC 2409 section 6 and RFC 3526: p = 2^n - 2^(n-64) - 1 + 2^64 * (…).
		if m.order == "" && (!strings.HasPrefix(m.prime, strings.Repeat("f", 16)) || !strings.HasSuffix(m.prime, strings.Repeat("f", 16))) {
			t.Error("p does not begin and end with 64 ones")
		}
	})
}

func TestConstantsOfECPGroups(t *testing.T) {
	for g := suite.Group(19); g <= 21; g++ {
		c, _ := ecpOf(g)
		if big16(t, c.order).Cmp(curves(g).N) != 0 || len(unhex(t, c.order)) != c.size {
			t.Errorf("%s: order %s, want %x", g, c.order, curves(g).N)
		}
	}
}

// At least twice the strength of the group: the lower estimates of RFC 3526 section 8 and
// the advice of RFC 7919 appendix A.
func TestExponentsAreLongEnough(t *testing.T) {
	for g, bits := range map[suite.Group]int{1: 160, 2: 160, 5: 180, 14: 225, 15: 275, 16: 325, 22: 160, 23: 224, 24: 256, 19: 256, 20: 384, 21: 521, 31: 256} {
		if got := PrivateSize(g) * 8; got < bits {
			t.Errorf("%s: %d bits, want %d or more", g, got, bits)
		}
	}
}

func TestTwoSidesAgree(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		r := rand.NewChaCha8([32]byte{byte(g)})
		for range 3 {
			a, b := newPrivate(t, g, r), newPrivate(t, g, r)
			ya, err := a.Public()
			if err != nil {
				t.Fatal(err)
			}
			yb, err := b.Public()
			if err != nil {
				t.Fatal(err)
			}
			if len(ya) != g.Row().Public || bytes.Equal(ya, yb) {
				t.Fatalf("public values %x and %x", ya, yb)
			}
			za, err := a.Shared(yb)
			if err != nil {
				t.Fatal(err)
			}
			zb, err := b.Shared(ya)
			if err != nil {
				t.Fatal(err)
			}
			if !za.Equal(zb) || za.Len() != g.Row().Shared {
				t.Fatalf("shared secrets %x and %x", za.Bytes(), zb.Bytes())
			}
			if m, ok := modpOf(g); ok {
				want := new(big.Int).Exp(new(big.Int).SetBytes(yb), new(big.Int).SetBytes(a.x.Bytes()), big16(t, m.prime))
				if want.Cmp(new(big.Int).SetBytes(za.Bytes())) != 0 {
					t.Errorf("math/big computes %x, we %x", want, za.Bytes())
				}
			}
		}
	})
}

func TestSameOctetsSameKey(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		octets := draw(rand.NewChaCha8([32]byte{1}), PrivateSize(g))
		kept := bytes.Clone(octets)
		a, _ := NewPrivate(g, octets)
		b, _ := NewPrivate(g, octets)
		if !bytes.Equal(octets, kept) {
			t.Error("wrote into the octets it was given")
		}
		clear(octets)
		ya, errA := a.Public()
		yb, errB := b.Public()
		if errA != nil || errB != nil || !bytes.Equal(ya, yb) || a.Group() != g {
			t.Errorf("%x (%v) and %x (%v)", ya, errA, yb, errB)
		}
	})
}

func TestNewPrivateRefuses(t *testing.T) {
	for _, g := range []suite.Group{suite.NoGroup, 3, 4, 17, 18, 25, 30, 32, 65535} {
		if _, err := NewPrivate(g, make([]byte, 32)); !errors.Is(err, ErrGroup) || PrivateSize(g) != 0 {
			t.Errorf("%s: %v, want %v", g, err, ErrGroup)
		}
	}
	eachGroup(t, func(t *testing.T, g suite.Group) {
		n := PrivateSize(g)
		for _, l := range []int{0, n - 1, n + 1} {
			if _, err := NewPrivate(g, bytes.Repeat([]byte{1}, l)); !errors.Is(err, ErrRandomSize) {
				t.Errorf("%d octets: %v, want %v", l, err, ErrRandomSize)
			}
		}
		if p, err := NewPrivate(g, make([]byte, n)); !errors.Is(err, ErrBadRandom) || p.x.Len() != 0 {
			t.Errorf("zero: %v, want %v", err, ErrBadRandom)
		}
		var order *big.Int
		if c := curves(g); c != nil {
			order = c.N
		} else if m, _ := modpOf(g); m.order != "" {
			order = big16(t, m.order)
		} else {
			return
		}
		if _, err := NewPrivate(g, order.FillBytes(make([]byte, n))); !errors.Is(err, ErrBadRandom) {
			t.Errorf("the order of the group: %v, want %v", err, ErrBadRandom)
		}
		below := new(big.Int).Sub(order, big.NewInt(1))
		if _, err := NewPrivate(g, below.FillBytes(make([]byte, n))); err != nil {
			t.Errorf("the order less one: %v", err)
		}
	})
}

// The engine draws anew on ErrBadRandom, so it must stay rare: without a mask,
// 127 of 128 draws for group 21 would be out of range, and for group 24 nearly half.
func TestHonestRandomnessMakesAKey(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		r := rand.NewChaCha8([32]byte{7})
		for range 500 {
			newPrivate(t, g, r)
		}
	})
}

// RFC 5114 section 2: an exponent of groups 22 to 24 is below q.
func TestExponentOfASubgroupIsBelowItsOrder(t *testing.T) {
	for g, size := range map[suite.Group]int{22: 20, 23: 28, 24: 32} {
		m, _ := modpOf(g)
		q, r := big16(t, m.order), rand.NewChaCha8([32]byte{3})
		for range 200 {
			octets := draw(r, PrivateSize(g))
			p, err := NewPrivate(g, octets)
			if err != nil {
				t.Fatal(err)
			}
			want := new(big.Int).Mod(new(big.Int).SetBytes(octets), q)
			if got := new(big.Int).SetBytes(p.x.Bytes()); got.Cmp(want) != 0 || p.x.Len() != size {
				t.Fatalf("%s: %x becomes %x, want %x", g, octets, got, want)
			}
		}
	}
}

// hostile is a public value that must be refused, and by which rule.
type hostile struct {
	story string
	value []byte
	rule  error
}

func hostileSizes(t *testing.T, g suite.Group, good []byte) []hostile {
	return []hostile{
		{"nothing", nil, ErrPublicSize},
		{"one octet", []byte{2}, ErrPublicSize},
		{"one octet short", good[1:], ErrPublicSize},
		{"a zero in front", slices.Concat([]byte{0}, good), ErrPublicSize},
		{"a zero behind", slices.Concat(good, []byte{0}), ErrPublicSize},
		{"twice", slices.Concat(good, good), ErrPublicSize},
		{"64 KiB", make([]byte, 1<<16), ErrPublicSize},
	}
}

func hostileMODP(t *testing.T, g suite.Group) []hostile {
	m, _ := modpOf(g)
	p := big16(t, m.prime)
	value := func(v *big.Int) []byte { return v.FillBytes(make([]byte, g.Row().Public)) }
	one := big.NewInt(1)
	list := []hostile{
		{"0", value(big.NewInt(0)), ErrPublicRange},
		{"1", value(one), ErrPublicRange},
		{"p-1, of order 2", value(new(big.Int).Sub(p, one)), ErrPublicRange},
		{"p, which is 0", value(p), ErrPublicRange},
		{"p+1, which is 1", value(new(big.Int).Add(p, one)), ErrPublicRange},
		{"p+2, which is 2", value(new(big.Int).Add(p, big.NewInt(2))), ErrPublicRange},
		{"all ones", bytes.Repeat([]byte{0xff}, g.Row().Public), ErrPublicRange},
	}
	if m.order == "" {
		return list
	}
	// p-1 has small factors: each gives a subgroup in which a part of the
	// exponent could be read off.
	small := map[suite.Group][]int64{22: {7, 223}, 23: {3, 5, 43, 73, 157}, 24: {7, 13, 2549, 142031}}
	for _, order := range small[g] {
		if new(big.Int).Mod(new(big.Int).Sub(p, one), big.NewInt(order)).Sign() != 0 {
			t.Fatalf("%d does not divide p-1", order)
		}
		cofactor := new(big.Int).Div(new(big.Int).Sub(p, one), big.NewInt(order))
		y := one
		for base := int64(2); y.Cmp(one) == 0; base++ {
			y = new(big.Int).Exp(big.NewInt(base), cofactor, p)
		}
		list = append(list, hostile{fmt.Sprintf("a value of order %d", order), value(y), ErrPublicSubgroup})
	}
	y := new(big.Int).Sub(p, big16(t, m.generator))
	return append(list,
		hostile{"p-g, of order 2q", value(y), ErrPublicSubgroup},
		hostile{"2", value(big.NewInt(2)), ErrPublicSubgroup},
		hostile{"p-2", value(new(big.Int).Sub(p, big.NewInt(2))), ErrPublicSubgroup})
}

// lift finds the point of the curve with the smallest x from the given one on.
func lift(c *elliptic.CurveParams, from int64) (x, y *big.Int) {
	for x := big.NewInt(from); ; x.Add(x, big.NewInt(1)) {
		y2 := new(big.Int).Exp(x, big.NewInt(3), c.P)
		y2.Sub(y2, new(big.Int).Mul(x, big.NewInt(3)))
		y2.Add(y2, c.B).Mod(y2, c.P)
		if y := new(big.Int).ModSqrt(y2, c.P); y != nil {
			return x, y
		}
	}
}

func point(g suite.Group, x, y *big.Int) []byte {
	b := make([]byte, g.Row().Public)
	x.FillBytes(b[:len(b)/2])
	y.FillBytes(b[len(b)/2:])
	return b
}

func hostileECP(t *testing.T, g suite.Group, good []byte) []hostile {
	c, half := curves(g), len(good)/2
	x, y := lift(c, 0)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	return []hostile{
		{"zeros, as some encode infinity", make([]byte, len(good)), ErrPublicCurve},
		{"all ones", bytes.Repeat([]byte{0xff}, len(good)), ErrPublicCurve},
		{"off the curve by a bit", flipped, ErrPublicCurve},
		{"y|x", slices.Concat(good[half:], good[:half]), ErrPublicCurve},
		{"x not reduced", point(g, new(big.Int).Add(x, c.P), y), ErrPublicCurve},
		{"x = p", point(g, c.P, y), ErrPublicCurve},
		{"a point of a curve with another b", point(g, x, new(big.Int).Add(y, big.NewInt(1))), ErrPublicCurve},
		{"with the octet 04 before", slices.Concat([]byte{4}, good), ErrPublicSize},
		{"compressed", slices.Concat([]byte{2}, good[:half]), ErrPublicSize},
		{"infinity as one octet", []byte{0}, ErrPublicSize},
		{"x alone", good[:half], ErrPublicSize},
	}
}

// hostile25519 are the points of small order of Curve25519 and of its twist, as
// every encoding that 32 octets have room for: with the top bit, which is
// ignored, and unreduced.
func hostile25519(t *testing.T) (list []hostile) {
	ones := strings.Repeat("ff", 30)
	for story, point := range map[string]string{
		"0":                 strings.Repeat("00", 32),
		"1":                 "01" + strings.Repeat("00", 31),
		"order 8":           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"order 8, of twist": "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"p-1, of order 4":   "ec" + ones + "7f",
		"p, which is 0":     "ed" + ones + "7f",
		"p+1, which is 1":   "ee" + ones + "7f",
	} {
		value := unhex(t, point)
		top := bytes.Clone(value)
		top[31] |= 0x80
		list = append(list, hostile{story, value, ErrPublicOrder}, hostile{story + ", top bit", top, ErrPublicOrder})
	}
	return list
}

// Threat: CVE-2015-3240.
// Threat: RFC 6989.
// Threat: CVE-2023-41913.
func TestHostilePublicValues(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		p := newPrivate(t, g, rand.NewChaCha8([32]byte{5}))
		good, err := p.Public()
		if err != nil {
			t.Fatal(err)
		}
		list := hostileSizes(t, g, good)
		switch g.Row().Kind {
		case "ECP":
			list = append(list, hostileECP(t, g, good)...)
		case "Curve25519":
			list = append(list, hostile25519(t)...)
		default:
			list = append(list, hostileMODP(t, g)...)
		}
		for _, h := range list {
			z, err := p.Shared(h.value)
			if !errors.Is(err, h.rule) || z.Len() != 0 {
				t.Errorf("%s: %v, want %v", h.story, err, h.rule)
			} else if !strings.HasPrefix(err.Error(), g.String()+": peer's public value") {
				t.Errorf("%s: does not say whose value: %v", h.story, err)
			}
		}
		if _, err := p.Shared(good); err != nil {
			t.Errorf("an honest value: %v", err)
		}
	})
}

// 2 and p-2 are the ends of the range that is accepted.
func TestEndsOfTheRange(t *testing.T) {
	for _, g := range []suite.Group{1, 2, 5, 14, 15, 16} {
		m, _ := modpOf(g)
		p := newPrivate(t, g, rand.NewChaCha8([32]byte{6}))
		for _, y := range []*big.Int{big.NewInt(2), new(big.Int).Sub(big16(t, m.prime), big.NewInt(2))} {
			if _, err := p.Shared(y.FillBytes(make([]byte, g.Row().Public))); err != nil {
				t.Errorf("%s: %v", g, err)
			}
		}
	}
}

// A shared secret that begins with zeros keeps them: dropping them is the
// classic reason why one negotiation in 256 fails. The peer's value is made so
// that a small number comes out.
//
// Threat: leading zeros.
func TestSharedSecretKeepsLeadingZeros(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		if g.Row().Kind == "Curve25519" {
			zeros25519(t, g)
			return
		}
		var p Private
		var peer []byte
		var want *big.Int
		if c := curves(g); c != nil {
			var err error // the scalar 1: the secret is the peer's x
			if p, err = NewPrivate(g, big.NewInt(1).FillBytes(make([]byte, PrivateSize(g)))); err != nil {
				t.Fatal(err)
			}
			x, y := lift(c, 0)
			peer, want = point(g, x, y), x
		} else {
			p = newPrivate(t, g, rand.NewChaCha8([32]byte{8}))
			peer, want = peerFor(t, p)
		}
		z, err := p.Shared(peer)
		if err != nil {
			t.Fatal(err)
		}
		if z.Len() != g.Row().Shared || z.Bytes()[0] != 0 || new(big.Int).SetBytes(z.Bytes()).Cmp(want) != 0 {
			t.Errorf("%d octets %x, want %d octets of %x", z.Len(), z.Bytes(), g.Row().Shared, want)
		}
	})
}

// zeros25519 tries peers until the secret begins with a zero, and one ends with one.
func zeros25519(t *testing.T, g suite.Group) {
	r := rand.NewChaCha8([32]byte{8})
	p := newPrivate(t, g, r)
	own := mustPublic(t, p)
	for first, last := false, false; !first || !last; {
		peer := newPrivate(t, g, r)
		z, err := p.Shared(mustPublic(t, peer))
		if err != nil || z.Len() != 32 {
			t.Fatalf("%d octets, %v", z.Len(), err)
		}
		if z.Bytes()[0] != 0 && z.Bytes()[31] != 0 {
			continue
		}
		first, last = first || z.Bytes()[0] == 0, last || z.Bytes()[31] == 0
		if other, err := peer.Shared(own); err != nil || !other.Equal(z) {
			t.Fatalf("the peer has %x, we %x, %v", other.Bytes(), z.Bytes(), err)
		}
	}
}

// peerFor finds the public value y with y^x = z for a z that begins with zeros.
func peerFor(t *testing.T, p Private) (y []byte, z *big.Int) {
	m, _ := modpOf(p.group)
	prime, generator := big16(t, m.prime), big16(t, m.generator)
	q := new(big.Int).Rsh(prime, 1)
	if m.order != "" {
		q = big16(t, m.order)
	}
	z = new(big.Int).Set(generator)
	for z.BitLen() > prime.BitLen()-8 {
		z.Mul(z, generator).Mod(z, prime)
	}
	inverse := new(big.Int).ModInverse(new(big.Int).SetBytes(p.x.Bytes()), q)
	return new(big.Int).Exp(z, inverse, prime).FillBytes(make([]byte, p.group.Row().Public)), z
}

// A MODP public value that is small is padded to the length of the group.
func TestPublicValueKeepsLeadingZeros(t *testing.T) {
	for _, g := range []suite.Group{1, 2, 5, 14, 15, 16} {
		three := big.NewInt(3).FillBytes(make([]byte, PrivateSize(g)))
		p, err := NewPrivate(g, three)
		if err != nil {
			t.Fatal(err)
		}
		y, err := p.Public()
		if err != nil || len(y) != g.Row().Public || new(big.Int).SetBytes(y).Int64() != 8 {
			t.Errorf("%s: 2^3 is %x, %v", g, y, err)
		}
	}
}

func TestNoKeyNoSecret(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		r := rand.NewChaCha8([32]byte{9})
		peer, err := newPrivate(t, g, r).Public()
		if err != nil {
			t.Fatal(err)
		}
		wiped := newPrivate(t, g, r)
		wiped.Wipe()
		for story, p := range map[string]Private{"wiped": wiped, "zero": {}, "group alone": {group: g}} {
			if _, err := p.Public(); !errors.Is(err, ErrNoPrivate) {
				t.Errorf("%s: Public says %v, want %v", story, err, ErrNoPrivate)
			}
			if _, err := p.Shared(peer); !errors.Is(err, ErrNoPrivate) {
				t.Errorf("%s: Shared says %v, want %v", story, err, ErrNoPrivate)
			}
			p.Wipe()
		}
	})
}

func TestJobs(t *testing.T) {
	eachGroup(t, func(t *testing.T, g suite.Group) {
		r := rand.NewChaCha8([32]byte{10})
		a, b := newPrivate(t, g, r), newPrivate(t, g, r)
		pair := KeyPairJob(b).Run()
		if pair.Err != nil || pair.Private.Group() != g {
			t.Fatalf("%+v", pair)
		}
		want, err := pair.Private.Shared(mustPublic(t, a))
		if err != nil {
			t.Fatalf("the key of a result is not whole: %v", err)
		}
		// The engine may wipe its key and reuse the packet while the job runs.
		peer := bytes.Clone(pair.Public)
		job := SharedJob(a, peer)
		a.Wipe()
		clear(peer)
		done := make(chan Result)
		go func() { done <- job.Run() }()
		res := <-done
		if res.Err != nil || !res.Shared.Equal(want) {
			t.Errorf("%v: shared secret differs", res.Err)
		}
		if again := job.Run(); !errors.Is(again.Err, ErrNoPrivate) {
			t.Errorf("the job still holds its key: %v", again.Err)
		}
		if bad := SharedJob(b, nil).Run(); !errors.Is(bad.Err, ErrPublicSize) || bad.Shared.Len() != 0 {
			t.Errorf("a bad value: %v, want %v", bad.Err, ErrPublicSize)
		}
	})
}

func mustPublic(t testing.TB, p Private) []byte {
	t.Helper()
	y, err := p.Public()
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// Whatever a peer sends yields a secret of the right length or names a rule.
func FuzzShared(f *testing.F) {
	for _, v := range exchanges {
		f.Add(uint16(v.group), unhex(f, v.i), unhex(f, v.gr))
		f.Add(uint16(v.group), unhex(f, v.i), make([]byte, len(v.gr)/2))
		f.Add(uint16(v.group), unhex(f, v.i), bytes.Repeat([]byte{0xff}, len(v.gr)/2))
	}
	for _, g := range suite.Groups() {
		random := bytes.Repeat([]byte{0x5a}, PrivateSize(g))
		f.Add(uint16(g), random, bytes.Repeat([]byte{0x17}, g.Row().Public))
		f.Add(uint16(g), random, []byte{})
		if m, ok := modpOf(g); ok {
			f.Add(uint16(g), random, unhex(f, m.prime))
		}
	}
	f.Add(uint16(3), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, number uint16, random, peer []byte) {
		g := suite.Group(number)
		p, err := NewPrivate(g, random)
		if err != nil {
			if !errors.Is(err, ErrGroup) && !errors.Is(err, ErrRandomSize) && !errors.Is(err, ErrBadRandom) {
				t.Fatalf("no rule: %v", err)
			}
			return
		}
		z, err := p.Shared(peer)
		if err == nil && z.Len() != g.Row().Shared {
			t.Fatalf("%s: %d octets", g, z.Len())
		}
		if err != nil && !errors.Is(err, ErrPublicSize) && !errors.Is(err, ErrPublicRange) &&
			!errors.Is(err, ErrPublicSubgroup) && !errors.Is(err, ErrPublicCurve) && !errors.Is(err, ErrPublicOrder) {
			t.Fatalf("no rule: %v", err)
		}
	})
}

func BenchmarkPublic(b *testing.B) {
	for _, g := range suite.Groups() {
		p := newPrivate(b, g, rand.NewChaCha8([32]byte{11}))
		b.Run(g.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustPublic(b, p)
			}
		})
	}
}

func BenchmarkShared(b *testing.B) {
	for _, g := range suite.Groups() {
		r := rand.NewChaCha8([32]byte{12})
		p, peer := newPrivate(b, g, r), mustPublic(b, newPrivate(b, g, r))
		b.Run(g.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Shared(peer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
