package sadb

import (
	"testing"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// TestPlaintextMTU: the values real routers print.
func TestPlaintextMTU(t *testing.T) {
	set := func(c suite.Cipher, bits int, h suite.Hash) policy.TransformSet {
		return policy.TransformSet{Cipher: c, KeyBits: bits, Integ: h}
	}
	transport := set(suite.AESCBC, 256, suite.SHA1)
	transport.Mode = suite.Transport
	for _, c := range []struct {
		what       string
		path       int
		set        policy.TransformSet
		encap, six bool
		want       int
	}{
		{"AES-128 SHA-1", 1500, set(suite.AESCBC, 128, suite.SHA1), false, false, 1438},
		{"AES-256 SHA-256", 1500, set(suite.AESCBC, 256, suite.SHA256), false, false, 1438},
		{"GCM", 1500, set(suite.AESGCM, 256, suite.NoHash), false, false, 1446},
		{"GCM is aligned to 4, RFC 4303 2.4", 1499, set(suite.AESGCM, 256, suite.NoHash), false, false, 1442},
		{"GCM, jumbo frames", 9184, set(suite.AESGCM, 256, suite.NoHash), false, false, 9130},
		{"transport in UDP", 1500, transport, true, false, 1442},
		{"3DES MD5", 1500, set(suite.TripleDES, 192, suite.MD5), false, false, 1446},
		{"SHA-512 in UDP", 1500, set(suite.AESCBC, 256, suite.SHA512), true, false, 1406},
		{"null", 1500, set(suite.NullCipher, 0, suite.SHA1), false, false, 1458},
		{"AH alone", 1500, policy.TransformSet{AH: suite.SHA1}, false, false, 1456},
		{"AH SHA-256 over IPv6 is padded to 32", 1500, policy.TransformSet{AH: suite.SHA256}, false, true, 1428},
		{"GCM over IPv6", 1500, set(suite.AESGCM, 128, suite.NoHash), false, true, 1426},
		{"AH in transport mode", 1500, policy.TransformSet{AH: suite.SHA1, Mode: suite.Transport}, false, false, 1476},
		{"AH around ESP has one outer header", 1500, policy.TransformSet{AH: suite.SHA256, Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}, false, false, 1406},
		{"no protection at all", 1500, policy.TransformSet{}, false, false, 1480},
		{"smaller than the headers", 20, set(suite.AESCBC, 128, suite.SHA1), false, false, 0},
	} {
		if got := PlaintextMTU(c.path, c.set, c.encap, c.six); got != c.want {
			t.Errorf("%s: plaintext mtu %d, want %d", c.what, got, c.want)
		}
	}
}

// The largest inner packet just fits, one octet more does not, in every mode.
func TestPlaintextMTUIsExact(t *testing.T) {
	for _, set := range modeSets() {
		for _, encap := range []bool{false, true} {
			if encap && set.AH != suite.NoHash {
				continue
			}
			a, b, c := ends(t, set, false, encap)
			out, _ := outAndIn(t, a, b, c)
			outer := func(n int) int {
				p, at := wired(out, sealPacket(t, out, inner(c, n-28, nil)))
				if at == 0 {
					return len(p) + 28
				}
				return len(p)
			}
			for path := 1400; path < 1420; path++ {
				n := PlaintextMTU(path, set, encap, false)
				if got := outer(n); got > path {
					t.Fatalf("%s %s, encap %v: a packet of %d octets becomes %d on a path of %d", set, set.Mode, encap, n, got, path)
				}
				if got := outer(n + 1); got <= path {
					t.Fatalf("%s %s, encap %v: a packet of %d octets fits a path of %d too", set, set.Mode, encap, n+1, path)
				}
			}
		}
	}
}
