package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

func pair(id sadb.ChildID) *sadb.Child {
	keys := func(spi uint32, fill byte) sadb.Keys {
		return sadb.Keys{SPI: spi, Encr: crypt.NewSecret([]byte{fill, 1, 2, 3}), Integ: crypt.NewSecret([]byte{fill, 9})}
	}
	return &sadb.Child{
		ID: id, Local: netip.MustParseAddrPort("198.51.100.1:4500"), Remote: netip.MustParseAddrPort("198.51.100.2:4500"), Encap: true,
		Set: policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 256, Integ: suite.SHA256},
		In:  keys(0xAABBCCDD, 0x11), Out: keys(0x00000001, 0x22),
	}
}

// Both directions of a pair, as Wireshark's preferences write esp_sa
// (uat "esp_sa": protocol, source, destination, SPI, encryption, key,
// authentication, key, ESN), once.
func TestKeyLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := openKeyLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	k.child(pair(1))
	k.child(pair(1)) // installed a second time, for the other direction
	gcm := pair(2)
	gcm.Set = policy.TransformSet{Cipher: suite.AESGCM, KeyBits: 128}
	k.child(gcm)
	k.close()
	got, err := os.ReadFile(filepath.Join(dir, "esp_sa"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `"IPv4","198.51.100.2","198.51.100.1","0xaabbccdd","AES-CBC [RFC3602]","0x11010203","HMAC-SHA-256-128 [RFC4868]","0x1109","32-bit"
"IPv4","198.51.100.1","198.51.100.2","0x00000001","AES-CBC [RFC3602]","0x22010203","HMAC-SHA-256-128 [RFC4868]","0x2209","32-bit"
"IPv4","198.51.100.2","198.51.100.1","0xaabbccdd","AES-GCM with 16 octet ICV [RFC4106]","0x11010203","NULL","0x","32-bit"
"IPv4","198.51.100.1","198.51.100.2","0x00000001","AES-GCM with 16 octet ICV [RFC4106]","0x22010203","NULL","0x","32-bit"
`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "esp_sa"): 0o600} {
		if s, err := os.Stat(path); err != nil || s.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v: whoever reads it reads the traffic", path, s.Mode(), err)
		}
	}
	// A second run adds to it.
	k, err = openKeyLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	k.child(pair(3))
	k.close()
	again, _ := os.ReadFile(filepath.Join(dir, "esp_sa"))
	if n := strings.Count(string(again), "\n"); n != 6 || !strings.HasPrefix(string(again), want) {
		t.Errorf("%d rows after a second run", n)
	}
}

// Extended sequence numbers are marked; AH, which Wireshark has no keys for, is
// told in a comment, and its key is not written.
func TestKeyLogOfOtherSAs(t *testing.T) {
	c := pair(1)
	c.ESN, c.Set.Mode = true, suite.Transport
	c.Set.AH, c.In.AHSPI, c.In.AHInteg = suite.SHA1, 0x51, crypt.NewSecret([]byte{0x5e, 0xc4, 0xe7})
	const ah, esp = "# AH from a to b, SPI 0x00000051, ah-sha-hmac: Wireshark has no table for its key\n",
		`"IPv4","a","b","0xaabbccdd","AES-CBC [RFC3602]","0x11010203","HMAC-SHA-256-128 [RFC4868]","0x1109","64-bit"` + "\n"
	if got := lines("a", "b", c.In, c); got != ah+esp {
		t.Errorf("a bundle: %s", got)
	}
	c.Set.Cipher, c.Set.Integ = suite.NoCipher, suite.NoHash
	if got := lines("a", "b", c.In, c); got != ah {
		t.Errorf("AH alone: %s", got)
	}
}

// Without being asked for there is no key log, and one that cannot be opened is told.
func TestNoKeyLog(t *testing.T) {
	k, err := openKeyLog("")
	if k != nil || err != nil {
		t.Errorf("%v, %v", k, err)
	}
	k.child(pair(1)) // nil writes nothing
	k.close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeyLog(file); err == nil || !strings.HasPrefix(err.Error(), "key log: ") {
		t.Errorf("a file instead of a directory: %v", err)
	}
}
