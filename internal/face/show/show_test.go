package show

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/core/policy"
	"culvert/internal/core/status"
	"culvert/internal/core/suite"
)

var update = flag.Bool("update", false, "write the golden files")

type writer func(io.Writer, *status.Gateway) error

// commands is every command in both of its forms; arguments are filled in.
func commands() map[string]writer {
	named := func(f func(io.Writer, *status.Gateway, string) error, name string) writer {
		return func(w io.Writer, g *status.Gateway) error { return f(w, g, name) }
	}
	peer := func(f func(io.Writer, *status.Gateway, netip.Addr) error, a netip.Addr) writer {
		return func(w io.Writer, g *status.Gateway) error { return f(w, g, a) }
	}
	view := func(f func(*status.Gateway) any) writer {
		return func(w io.Writer, g *status.Gateway) error { return JSON(w, f(g)) }
	}
	return map[string]writer{
		"isakmp-sa":             ISAKMPSA,
		"isakmp-sa-detail":      ISAKMPSADetail,
		"isakmp-sa-count":       ISAKMPSACount,
		"isakmp-peers":          ISAKMPPeers,
		"isakmp-policy":         ISAKMPPolicy,
		"isakmp-key":            ISAKMPKey,
		"ipsec-sa":              peer(IPsecSA, netip.Addr{}),
		"ipsec-sa-peer":         peer(IPsecSA, netip.MustParseAddr("203.0.113.3")),
		"ipsec-sa-detail":       peer(IPsecSADetail, netip.Addr{}),
		"ipsec-sa-count":        IPsecSACount,
		"transform-set":         TransformSets,
		"lifetime":              Lifetime,
		"session":               Session,
		"session-detail":        SessionDetail,
		"map":                   CryptoMap,
		"access-lists":          named(AccessLists, ""),
		"access-list-99":        named(AccessLists, "99"),
		"version":               Version,
		"json-isakmp-sa":        view(func(g *status.Gateway) any { return ISAKMPSAView(g) }),
		"json-isakmp-count":     view(func(g *status.Gateway) any { return ISAKMPCountView(g) }),
		"json-isakmp-peers":     view(func(g *status.Gateway) any { return PeersView(g) }),
		"json-isakmp-policy":    view(func(g *status.Gateway) any { return PolicyView(g) }),
		"json-isakmp-key":       view(func(g *status.Gateway) any { return KeyView(g) }),
		"json-ipsec-sa":         view(func(g *status.Gateway) any { return IPsecSAView(g, netip.Addr{}) }),
		"json-ipsec-count":      view(func(g *status.Gateway) any { return IPsecCountView(g) }),
		"json-transform-set":    view(func(g *status.Gateway) any { return TransformSetView(g) }),
		"json-lifetime":         view(func(g *status.Gateway) any { return LifetimeView(g) }),
		"json-session":          view(func(g *status.Gateway) any { return SessionView(g) }),
		"json-map":              view(func(g *status.Gateway) any { return CryptoMapView(g) }),
		"json-access-lists":     view(func(g *status.Gateway) any { return AccessListView(g, "") }),
		"isakmp-profile":        func(w io.Writer, g *status.Gateway) error { return ISAKMPProfiles(w, g) },
		"isakmp-default-policy": func(w io.Writer, g *status.Gateway) error { return DefaultPolicy(w, g) },
		"security-association":  func(w io.Writer, g *status.Gateway) error { return SecurityAssociation(w, g) },
		"dynamic-map":           func(w io.Writer, g *status.Gateway) error { return DynamicMaps(w, g) },
		"pki-trustpoints":       func(w io.Writer, g *status.Gateway) error { return Trustpoints(w, g) },
		"pki-status":            func(w io.Writer, g *status.Gateway) error { return TrustpointsStatus(w, g) },
		"pki-certificates":      func(w io.Writer, g *status.Gateway) error { return Certificates(w, g) },

		"json-isakmp-profile":       view(func(g *status.Gateway) any { return ProfileView(g) }),
		"json-security-association": view(func(g *status.Gateway) any { return SecurityAssociationView(g) }),
		"json-dynamic-map":          view(func(g *status.Gateway) any { return DynamicMapsView(g) }),
		"json-pki":                  view(func(g *status.Gateway) any { return PKIView(g) }),

		"json-version": view(func(g *status.Gateway) any { return VersionView(g) }),
	}
}

func snapshots() map[string]*status.Gateway {
	return map[string]*status.Gateway{
		"idle": idle(), "negotiating": negotiating(), "up": up(), "rekeying": rekeying(), "natt": natt(), "several": several(), "six": six(),
		"empty": {Hostname: "R1", Now: noon},
	}
}

// TestGolden compares what each command says of each situation. One file is
// one situation: every command with its output, as a terminal shows it.
func TestGolden(t *testing.T) {
	// Commands that say the same in every situation are shown in these only.
	settled := map[string]bool{"several": true, "empty": true, "up": true}
	steady := []string{"policy", "key", "transform-set", "lifetime", "map", "access-list", "version"}
	for name, g := range snapshots() {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			for _, c := range order() {
				if !settled[name] && hasSuffixOf(c, steady) {
					continue
				}
				got.WriteString("== " + c + "\n")
				if err := commands()[c](&got, g); err != nil {
					t.Fatal(err)
				}
			}
			compareGolden(t, filepath.Join("testdata", name+".txt"), got.String())
		})
	}
}

func hasSuffixOf(c string, words []string) bool {
	for _, w := range words {
		if strings.Contains(c, w) {
			return true
		}
	}
	return false
}

func order() []string {
	return []string{
		"isakmp-sa", "isakmp-sa-detail", "isakmp-sa-count", "isakmp-peers", "isakmp-policy", "isakmp-key", "ipsec-sa", "ipsec-sa-peer",
		"ipsec-sa-detail", "ipsec-sa-count", "transform-set", "lifetime", "session", "session-detail", "map", "access-lists", "access-list-99",
		"version", "json-isakmp-sa", "json-isakmp-count", "json-isakmp-peers", "json-isakmp-policy", "json-isakmp-key", "json-ipsec-sa",
		"json-ipsec-count", "json-transform-set", "json-lifetime", "json-session", "json-map", "json-access-lists", "json-version",
	}
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update to accept):\n%s", path, d)
	}
}

func TestEveryCommandIsInTheGoldens(t *testing.T) {
	in := map[string]bool{}
	for _, c := range append(order(), completeOrder()...) {
		in[c] = true
	}
	for c := range commands() {
		if !in[c] {
			t.Errorf("%s is in no golden", c)
		}
	}
}

// TestNoSecretIsPrinted holds for text and JSON, and for the origin of the key
// line, whose text holds the key as written.
func TestNoSecretIsPrinted(t *testing.T) {
	for name, g := range snapshots() {
		for c, f := range commands() {
			var b bytes.Buffer
			if err := f(&b, g); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), psk) {
				t.Errorf("%s of %q prints the pre-shared key", c, name)
			}
		}
	}
}

// TestHostileIdentity: the peer chooses its identity, a terminal must not obey it.
func TestHostileIdentity(t *testing.T) {
	g := up()
	g.ISAKMP[0].Identity = "r2\x1b[2J\n\x9b31m\u009b.example"
	for c, f := range commands() {
		var b bytes.Buffer
		if err := f(&b, g); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\u009b") || strings.Contains(b.String(), "\x9b") || strings.Contains(b.String(), "[2J\n") {
			t.Errorf("%s passes the peer's control characters on: %q", c, b.String())
		}
	}
}

// TestCapturedRouter compares with a capture of a real router that its owner
// published: the same SA pair, counters and lifetimes, AES-128 and SHA-1.
func TestCapturedRouter(t *testing.T) {
	const capture = `
interface: GigabitEthernet0/0
    Crypto map tag: CRMAP, local addr 25.0.0.1

   protected vrf: (none)
   local  ident (addr/mask/prot/port): (192.168.2.0/255.255.255.0/0/0)
   remote ident (addr/mask/prot/port): (192.168.1.0/255.255.255.0/0/0)
   current_peer 15.0.0.1 port 500
     PERMIT, flags={origin_is_acl,}
    #pkts encaps: 199, #pkts encrypt: 199, #pkts digest: 199
    #pkts decaps: 199, #pkts decrypt: 199, #pkts verify: 199
    #pkts compressed: 0, #pkts decompressed: 0
    #pkts not compressed: 0, #pkts compr. failed: 0
    #pkts not decompressed: 0, #pkts decompress failed: 0
    #send errors 0, #recv errors 0

     local crypto endpt.: 25.0.0.1, remote crypto endpt.: 15.0.0.1
     plaintext mtu 1438, path mtu 1500, ip mtu 1500, ip mtu idb GigabitEthernet0/0
     current outbound spi: 0x48BAC7D3(1220200403)
     PFS (Y/N): N, DH group: none

     inbound esp sas:
      spi: 0x18906F9D(412118941)
        transform: esp-aes esp-sha-hmac ,
        in use settings ={Tunnel, }
        conn id: 1, flow_id: SW:1, sibling_flags 80000040, crypto map: CRMAP
        sa timing: remaining key lifetime (k/sec): (4224103/1454)
        IV size: 16 bytes
        replay detection support: Y
        Status: ACTIVE(ACTIVE)

     inbound ah sas:

     inbound pcp sas:

     outbound esp sas:
      spi: 0x48BAC7D3(1220200403)
        transform: esp-aes esp-sha-hmac ,
        in use settings ={Tunnel, }
        conn id: 2, flow_id: SW:2, sibling_flags 80000040, crypto map: CRMAP
        sa timing: remaining key lifetime (k/sec): (4224103/1454)
        IV size: 16 bytes
        replay detection support: Y
        Status: ACTIVE(ACTIVE)

     outbound ah sas:

     outbound pcp sas:
`
	g := up()
	f := &g.Flows[0]
	f.ID.Map, f.Interface, f.Local = "CRMAP", "GigabitEthernet0/0", netip.MustParseAddr("25.0.0.1")
	f.Peer = netip.MustParseAddrPort("15.0.0.1:500")
	c := &f.Children[0]
	c.Selectors.Local, c.Selectors.Remote = netip.MustParsePrefix("192.168.2.0/24"), netip.MustParsePrefix("192.168.1.0/24")
	c.Set = policy.TransformSet{Cipher: suite.AESCBC, KeyBits: 128, Integ: suite.SHA1}
	c.Remaining = 1454 * time.Second
	f.Counters = status.Counters{Encaps: 199, Encrypt: 199, Digest: 199, Decaps: 199, Decrypt: 199, Verify: 199}
	var b bytes.Buffer
	if err := IPsecSA(&b, g, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(capture, b.String()); d != "" {
		t.Error(d)
	}
}

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		d         time.Duration
		clock, up string
		longUp    string
	}{
		{-time.Second, "00:00:00", "00:00:00", "less than a minute"},
		{90*time.Second + 999*time.Millisecond, "00:01:30", "00:01:30", "1 minute"},
		{24*time.Hour - time.Second, "23:59:59", "23:59:59", "23 hours, 59 minutes"},
		{26 * time.Hour, "26:00:00", "1d02h", "1 day, 2 hours"},
		{49 * 24 * time.Hour, "1176:00:00", "7w0d", "7 weeks"},
		{(365 + 21) * 24 * time.Hour, "9264:00:00", "1y3w", "1 year, 3 weeks"},
	} {
		if clock(c.d) != c.clock || uptime(c.d) != c.up || longUptime(c.d) != c.longUp {
			t.Errorf("%v: %q %q %q, want %q %q %q", c.d, clock(c.d), uptime(c.d), longUptime(c.d), c.clock, c.up, c.longUp)
		}
	}
}

type broken struct{}

var errBroken = errors.New("broken pipe")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestTheWritersErrorIsReturned(t *testing.T) {
	for c, f := range commands() {
		g := up()
		if c == "ipsec-sa-peer" {
			g = several()
		}
		if err := f(broken{}, g); !errors.Is(err, errBroken) {
			t.Errorf("%s on a broken pipe: %v", c, err)
		}
	}
}
