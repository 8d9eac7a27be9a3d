package swan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/shark"
)

func testNet(t *testing.T, name string) *lab.Net {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	if err := Available(); err != nil {
		t.Skip(err)
	}
	n, err := lab.Up(lab.Options{Name: fmt.Sprintf("%s-%d", name, os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func start(t *testing.T, n *lab.Net, router string, c Config) *Peer {
	t.Helper()
	p, err := Start(n, router, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of strongSwan in %s:\n%s", router, p.Log())
		}
	})
	return p
}

// Two of them, IKEv1 main mode with a pre-shared key: what the lab, the peer and
// the capture can do is shown without Culvert.
func TestStrongSwanAgainstStrongSwan(t *testing.T) {
	n := testNet(t, "swan")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r1, r2 := start(t, n, lab.R1, Config{}), start(t, n, lab.R2, Config{})
	capture, err := n.Capture(lab.R1, lab.Outside)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := r1.Initiate(ctx); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitBoth(ctx, t, r1, r2)
	ping, err := n.Ping(ctx, lab.HostA, lab.HostB, 5)
	if err != nil || ping.Received != 5 {
		t.Errorf("ping: %v\n%s", err, ping.Output)
	}
	s, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	// Main mode begins on port 500 and moves to 4500 with its fifth message
	// (RFC 3947 4); then nothing but ESP in UDP.
	if s.IKE.A != 2 || s.IKE.B != 2 || s.IKE4500.A != 3 || s.IKE4500.B != 2 {
		t.Errorf("main mode and quick mode are four and five messages, but: %s", s)
	}
	if s.ESPinUDP.A != 5 || s.ESPinUDP.B != 5 || s.Cleartext.Total() != 0 || s.ESP.Total() != 0 || s.Other.Total() != 0 {
		t.Errorf("five echoes and five replies sealed and nothing else, but: %s", s)
	}
	checkSAs(ctx, t, r1, r2, s)
}

// awaitBoth waits until both sides have installed their SAs. Quick mode's third
// message leaves the initiator done before the responder: until then traffic
// towards the initiator goes in clear, as nothing here guards it.
func awaitBoth(ctx context.Context, t *testing.T, peers ...*Peer) {
	t.Helper()
	for _, p := range peers {
		if _, err := p.Await(ctx, "up", func(s []SA) bool { return len(Installed(s)) == 1 }); err != nil {
			t.Fatal(err)
		}
	}
}

func checkSAs(ctx context.Context, t *testing.T, r1, r2 *Peer, s lab.Summary) {
	t.Helper()
	one, err := r1.SAs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	two, err := r2.SAs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(one) != 1 || len(two) != 1 || len(Installed(one)) != 1 || len(Installed(two)) != 1 {
		t.Fatalf("one SA of each kind on each side, but:\n%+v\n%+v", one, two)
	}
	a, b := one[0], two[0]
	if a.Version != 1 || a.State != "ESTABLISHED" || !a.Initiator || b.Initiator || a.InitiatorSPI != b.InitiatorSPI || a.RemoteHost != "198.51.100.2" ||
		a.Encryption != "AES_CBC-128" || a.Integrity != "HMAC_SHA1_96" || a.Group != "MODP_2048" {
		t.Errorf("IKE SA: %+v", a)
	}
	c, d := a.Children[0], b.Children[0]
	if c.SPIIn != d.SPIOut || c.SPIOut != d.SPIIn || c.SPIIn == 0 || !c.Encap || c.Protocol != "ESP" || c.Mode != "TUNNEL" ||
		c.LocalTS != "10.10.10.0/24" || c.RemoteTS != "10.20.20.0/24" || c.Encryption != "AES_CBC-128" || c.Integrity != "HMAC_SHA1_96" {
		t.Errorf("child: %+v\n%+v", c, d)
	}
	// An echo is 84 octets with its IP header.
	if c.PacketsOut != 5 || c.PacketsIn != 5 || c.BytesOut < 5*84 || d.PacketsIn != 5 {
		t.Errorf("counters: %+v\n%+v", c, d)
	}
	if s.SPIs[c.SPIIn] != 5 || s.SPIs[c.SPIOut] != 5 {
		t.Errorf("SPIs on the wire: %v, expected five each of %08x and %08x", s.SPIs, c.SPIIn, c.SPIOut)
	}
}

func TestRekeyAndTerminate(t *testing.T) {
	n := testNet(t, "rekey")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := Config{IKE: "aes256-sha256-ecp256", ESP: "aes128gcm16-ecp256", DPD: 30 * time.Second}
	start(t, n, lab.R1, c)
	r2 := start(t, n, lab.R2, c)
	if _, err := r2.Initiate(ctx); err != nil {
		t.Fatal(err)
	}
	up, err := r2.Await(ctx, "up", func(s []SA) bool { return len(Installed(s)) == 1 })
	if err != nil {
		t.Fatal(err)
	}
	before := Installed(up)[0]
	if before.Encryption != "AES_GCM_16-128" || up[0].Group != "ECP_256" {
		t.Errorf("algorithms: %+v", up)
	}
	if err := r2.Rekey(ctx, Child); err != nil {
		t.Fatal(err)
	}
	after, err := r2.Await(ctx, "renewed", func(s []SA) bool {
		return len(Installed(s)) == 1 && Installed(s)[0].SPIIn != before.SPIIn
	})
	if err != nil {
		t.Fatal(err)
	}
	if Installed(after)[0].Group != "ECP_256" {
		t.Errorf("PFS: %+v", after)
	}
	if err := r2.Terminate(ctx, Child); err != nil {
		t.Fatal(err)
	}
	if _, err := r2.Await(ctx, "child deleted", func(s []SA) bool { return len(s) == 1 && len(Installed(s)) == 0 }); err != nil {
		t.Fatal(err)
	}
	if err := r2.Terminate(ctx, IKE); err != nil {
		t.Fatal(err)
	}
	if _, err := r2.Await(ctx, "all deleted", func(s []SA) bool { return len(s) == 0 }); err != nil {
		t.Fatal(err)
	}
	if err := r2.Stop(); err != nil || r2.Running() {
		t.Errorf("stopped, but: running %v, %v", r2.Running(), err)
	}
}

func TestStartsByItselfAndIsFoundAgain(t *testing.T) {
	n := testNet(t, "start")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start(t, n, lab.R2, Config{Version: 2})
	p, ok := Open(n, lab.R2)
	if !ok || !p.Running() {
		t.Fatal("the peer in r2 was not found again")
	}
	r1 := start(t, n, lab.R1, Config{Version: 2, Start: StartNow})
	awaitBoth(ctx, t, p, r1)
	if sas, err := p.SAs(ctx); err != nil || sas[0].Version != 2 {
		t.Errorf("IKEv2: %+v, %v", sas, err)
	}
	r, err := n.Ping(ctx, lab.HostB, lab.HostA, 2)
	if err != nil || r.Received != 2 {
		t.Errorf("ping: %v\n%s", err, r.Output)
	}
}

func TestRefusalHoldsThePeersAccount(t *testing.T) {
	n := testNet(t, "refusal")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start(t, n, lab.R2, Config{IKE: "aes256-sha256-modp2048"})
	r1 := start(t, n, lab.R1, Config{IKE: "aes128-sha1-modp2048"})
	_, err := r1.Initiate(ctx)
	if err == nil || !strings.Contains(err.Error(), "NO_PROPOSAL_CHOSEN") {
		t.Errorf("AES-256 is no AES-128, but: %v", err)
	}
	if r1.Running() && !strings.Contains(r1.Log(), "NO_PROPOSAL_CHOSEN") {
		t.Errorf("log:\n%s", r1.Log())
	}
}

// With strongSwan's keys tshark reads phase 1, phase 2 and the echoes inside,
// whichever side began.
func TestTsharkReadsTheTunnelWithTheKeys(t *testing.T) {
	if err := shark.Available(); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ initiator, ike, esp string }{
		{lab.R1, "aes128-sha1-modp2048", "aes128-sha1"},
		{lab.R2, "aes256-sha256-ecp256", "aes256-sha256-ecp256"},
		{lab.R2, "aes128-sha256-modp2048", "aes256gcm16"},
	} {
		t.Run(c.esp+" from "+c.initiator, func(t *testing.T) { readTunnel(t, c.initiator, Config{IKE: c.ike, ESP: c.esp}) })
	}
}

func readTunnel(t *testing.T, initiator string, c Config) {
	n := testNet(t, "keys")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	peers := map[string]*Peer{lab.R1: start(t, n, lab.R1, c)}
	c.Keys = true
	peers[lab.R2] = start(t, n, lab.R2, c)
	file := filepath.Join(t.TempDir(), "outside.pcap")
	capture, err := n.CaptureTo(lab.R2, lab.Outside, file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := peers[initiator].Initiate(ctx); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitBoth(ctx, t, peers[lab.R1], peers[lab.R2])
	if r, err := n.Ping(ctx, lab.HostA, lab.HostB, 2); err != nil || r.Received != 2 {
		t.Fatalf("ping: %v\n%s", err, r.Output)
	}
	if _, err := capture.Stop(); err != nil {
		t.Fatal(err)
	}
	keys, err := peers[lab.R2].Keys()
	if err != nil {
		t.Fatal(err)
	}
	echoes, err := shark.Fields(ctx, file, keys, "icmp", "ip.src", "esp.icv_good", "icmp.type")
	if err != nil {
		t.Fatal(err)
	}
	if len(echoes) != 4 || strings.Join(echoes[0]["ip.src"], " ") != "198.51.100.1 10.10.10.10" ||
		strings.Join(echoes[1]["ip.src"], " ") != "198.51.100.2 10.20.20.20" || echoes[0]["esp.icv_good"][0] != "1" {
		t.Errorf("two echoes and two replies, but: %v", echoes)
	}
	// Quick mode's first message holds HASH, SA, NONCE and two IDs (RFC 2409 5.5),
	// which only a reader with the key of phase 1 sees.
	quick, err := shark.Details(ctx, file, keys, "isakmp.exchangetype == 32")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(quick, "Payload: Identification (5)") || !strings.Contains(quick, "10.20.20.0") {
		t.Errorf("quick mode:\n%s", quick)
	}
}
