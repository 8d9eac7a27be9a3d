package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/internal/face/show"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// scenario is one pair of configurations that fit, and what must come of them.
type scenario struct {
	name string
	r1   router
	r2   swan.Config
	// What strongSwan must say was agreed, in its words.
	ike, esp string
}

// policyLines are an ISAKMP policy in IOS words.
func policyLines(priority int, encryption, hash string, group int) string {
	return fmt.Sprintf("crypto isakmp policy %d\n encryption %s\n hash %s\n authentication pre-share\n group %d\n", priority, encryption, hash, group)
}

func set(name, words string) string { return "crypto ipsec transform-set " + name + " " + words + "\n" }

// required are those that everybody runs; the whole table is internal/lab/scenario.
func required() []scenario {
	return []scenario{
		{
			name: "AES-128 SHA-1 group 14",
			r2:   swan.Config{IKE: "aes128-sha1-modp2048", ESP: "aes128-sha1"},
			ike:  "AES_CBC-128 HMAC_SHA1_96 MODP_2048", esp: "AES_CBC-128 HMAC_SHA1_96",
		},
		{
			name: "AES-256 SHA-256 group 19 PFS group 19",
			r1: router{Policies: policyLines(10, "aes 256", "sha256", 19), Sets: set("T1", "esp-aes 256 esp-sha256-hmac"),
				Entry: " set transform-set T1\n set pfs group19"},
			r2:  swan.Config{IKE: "aes256-sha256-ecp256", ESP: "aes256-sha256-ecp256"},
			ike: "AES_CBC-256 HMAC_SHA2_256_128 ECP_256", esp: "AES_CBC-256 HMAC_SHA2_256_128 ECP_256",
		},
		{
			name: "AES-128-GCM after AES-256 SHA-384 group 20",
			r1:   router{Policies: policyLines(10, "aes 256", "sha384", 20), Sets: set("T1", "esp-gcm 128")},
			r2:   swan.Config{IKE: "aes256-sha384-ecp384", ESP: "aes128gcm16"},
			ike:  "AES_CBC-256 HMAC_SHA2_384_192 ECP_384", esp: "AES_GCM_16-128",
		},
		{
			name: "AES-256-GCM with PFS group 20",
			r1: router{Policies: policyLines(10, "aes 256", "sha384", 20), Sets: set("T1", "esp-gcm 256"),
				Entry: " set transform-set T1\n set pfs group20"},
			r2:  swan.Config{IKE: "aes256-sha384-ecp384", ESP: "aes256gcm16-ecp384"},
			ike: "AES_CBC-256 HMAC_SHA2_384_192 ECP_384", esp: "AES_GCM_16-256 ECP_384",
		},
	}
}

// Every scenario, with either side beginning: the packet that brings the tunnel
// up is answered, the wire carries IKE and ESP only, and both sides tell of the
// same SAs.
func TestTunnelWithStrongSwan(t *testing.T) {
	for _, s := range required() {
		t.Run(s.name+"/culvert begins", func(t *testing.T) { s.run(t, lab.R1) })
		t.Run(s.name+"/strongSwan begins", func(t *testing.T) { s.run(t, lab.R2) })
	}
}

func (s scenario) run(t *testing.T, begins string) {
	s.on(newBench(t, time.Minute), begins)
}

// on runs the scenario on a bench.
func (s scenario) on(b *bench, begins string) {
	t := b.t
	s.r1.Filter = letIn(lab.R1)
	r1, r2 := b.culvert(lab.R1, s.r1), b.strongSwan(s.r2)
	stop := b.capture(lab.R1, lab.Outside)
	pings := 5
	if begins == lab.R2 {
		if out, err := r2.Initiate(b.ctx); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b.ping(lab.HostB, lab.HostA)
		pings = 10
	}
	b.ping(lab.HostA, lab.HostB)
	wire := stop()
	if wire.Cleartext.Total() != 0 || wire.ESP.Total() != 0 || wire.AH.Total() != 0 || wire.Other.Total() != 0 || wire.IKE.Total() == 0 {
		t.Errorf("IKE and ESP in UDP, nothing else: %s", wire)
	}
	if wire.ESPinUDP.A != pings || wire.ESPinUDP.B != pings {
		t.Errorf("%d echo requests and as many replies, each in one ESP packet: %s", pings, wire)
	}
	s.phase1(b, r1, begins)
	s.phase2(b, r1, r2, wire, pings)
	b.up(r1)
}

// phase1 checks Culvert's own words on the ISAKMP SA.
func (s scenario) phase1(b *bench, r1 *lab.Gateway, begins string) {
	b.t.Helper()
	sas, role := b.isakmp(r1), "initiator"
	if begins == lab.R2 {
		role = "responder"
	}
	if len(sas) != 1 || sas[0].State != "QM_IDLE" || sas[0].Status != "ACTIVE" || sas[0].Role != role || sas[0].PeerIdentity != "198.51.100.2" ||
		sas[0].Source != lab.Addr(begins, lab.Outside).String() {
		b.t.Errorf("one ISAKMP SA, QM_IDLE, begun by %s: %+v", begins, sas)
	}
	if text := b.ask(r1, "show", "crypto", "isakmp", "sa"); !strings.Contains(text, "QM_IDLE           1001 ACTIVE") {
		b.t.Errorf("show crypto isakmp sa:\n%s", text)
	}
}

// phase2 checks that both sides and the wire tell of the same IPsec SAs.
func (s scenario) phase2(b *bench, r1 *lab.Gateway, r2 *swan.Peer, wire lab.Summary, pings int) {
	b.t.Helper()
	theirs, err := r2.SAs(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	flows := b.flows(r1)
	if len(theirs) != 1 || len(swan.Installed(theirs)) != 1 || len(flows) != 1 || len(flows[0].Pairs) != 1 {
		b.t.Fatalf("one ISAKMP SA and one pair of IPsec SAs on both sides: %+v\n%+v", theirs, flows)
	}
	k, c, f, p := theirs[0], swan.Installed(theirs)[0], flows[0], flows[0].Pairs[0]
	if got := words(k.Encryption, k.Integrity, k.Group); got != s.ike {
		b.t.Errorf("strongSwan says %s was agreed in phase 1, expected %s", got, s.ike)
	}
	if got := words(c.Encryption, c.Integrity, c.Group); got != s.esp {
		b.t.Errorf("strongSwan says %s was agreed in phase 2, expected %s", got, s.esp)
	}
	if p.InboundSPI != spi(c.SPIOut) || p.OutboundSPI != spi(c.SPIIn) {
		b.t.Errorf("SPIs: here %s in, %s out; strongSwan %08x out, %08x in", p.InboundSPI, p.OutboundSPI, c.SPIOut, c.SPIIn)
	}
	if wire.SPIs[c.SPIIn] != pings || wire.SPIs[c.SPIOut] != pings || len(wire.SPIs) != 2 {
		b.t.Errorf("SPIs on the wire: %v, expected %d each of %08x and %08x", wire.SPIs, pings, c.SPIIn, c.SPIOut)
	}
	n := uint64(pings)
	if f.Counters.Encaps != n || f.Counters.Decaps != n || f.Counters.Encrypt != n || f.Counters.Decrypt != n || f.Counters.SendErrors+f.Counters.RecvErrors != 0 ||
		c.PacketsIn != int64(n) || c.PacketsOut != int64(n) {
		b.t.Errorf("%d packets each way: %+v, strongSwan %d in, %d out", n, f.Counters, c.PacketsIn, c.PacketsOut)
	}
	if !f.Up || !p.UDPEncapsulation || f.PeerPort != 4500 || p.Mode != "tunnel" || f.Idents.Local.Prefix != "10.10.10.0/24" || f.Idents.Remote.Prefix != "10.20.20.0/24" {
		b.t.Errorf("flow: %+v", f)
	}
}

func words(w ...string) string { return strings.Join(strings.Fields(strings.Join(w, " ")), " ") }

func spi(n uint32) string { return fmt.Sprintf("0x%08x", n) }

// up wants explain to say that the tunnel is up, in words, in JSON and with its exit status.
func (b *bench) up(g *lab.Gateway) {
	b.t.Helper()
	reports, status := b.explained(g)
	if status != 0 || len(reports) != 1 || reports[0].Status != "up" || reports[0].Culprit != 0 {
		b.t.Errorf("explain: exit status %d, %+v", status, reports)
	}
	if text := b.ask(g, "explain"); !strings.Contains(text, ": UP\n") {
		b.t.Errorf("explain:\n%s", text)
	}
}

// Two lines of interesting traffic are two pairs of IPsec SAs over one ISAKMP SA.
func TestTwoLinesOfInterestingTraffic(t *testing.T) {
	b := newBench(t, time.Minute)
	// strongSwan's user-space ESP wants an address of its own in what it protects.
	b.mustRun(lab.R2, "ip", "addr", "add", "10.30.30.1/24", "dev", lab.Inside)
	b.mustRun(lab.R1, "ip", "route", "add", "10.30.30.0/24", "via", "198.51.100.2")
	r1 := b.culvert(lab.R1, router{Interesting: "access-list 102 permit ip 10.10.10.0 0.0.0.255 10.20.20.0 0.0.0.255\n" +
		"access-list 102 permit ip 10.10.10.0 0.0.0.255 10.30.30.0 0.0.0.255"})
	r2 := b.strongSwan(swan.Config{Whole: twoChildren})
	stop := b.capture(lab.R1, lab.Outside)
	for _, to := range []string{"10.20.20.20", "10.30.30.1"} {
		r, err := b.net.PingWith(b.ctx, lab.HostA, to, lab.PingOptions{Count: 5, Interval: 20 * time.Millisecond})
		if err != nil || r.Received != 5 {
			t.Fatalf("ping %s: %v\n%s", to, err, r.Output)
		}
	}
	if wire := stop(); wire.Cleartext.Total() != 0 || wire.Other.Total() != 0 || len(wire.SPIs) != 4 {
		t.Errorf("two pairs of SAs and nothing in clear: %s\n%v", wire, wire.SPIs)
	}
	if sas := b.isakmp(r1); len(sas) != 1 {
		t.Errorf("one ISAKMP SA: %+v", sas)
	}
	theirs, err := r2.SAs(b.ctx)
	if err != nil || len(theirs) != 1 || len(swan.Installed(theirs)) != 2 {
		t.Errorf("strongSwan has one ISAKMP SA with two children: %+v, %v", theirs, err)
	}
	flows := b.flows(r1)
	if len(flows) != 2 || flows[0].Idents.Remote.Prefix != "10.20.20.0/24" || flows[1].Idents.Remote.Prefix != "10.30.30.0/24" {
		t.Fatalf("two flows: %+v", flows)
	}
	for i, f := range flows {
		if !f.Up || f.Counters.Encaps != 5 || f.Counters.Decaps != 5 {
			t.Errorf("flow %d: %+v", i, f)
		}
	}
	if v := asked[show.Sessions](b, r1, "show", "crypto", "session"); len(v.Sessions) != 1 || len(v.Sessions[0].Flows) != 2 || v.Sessions[0].Status != "UP-ACTIVE" {
		t.Errorf("one session with two flows: %+v", v)
	}
}

const twoChildren = `connections { lab {
  version = 1
  local_addrs = 198.51.100.2
  remote_addrs = 198.51.100.1
  proposals = aes128-sha1-modp2048
  local { auth = psk
    id = 198.51.100.2 }
  remote { auth = psk
    id = 198.51.100.1 }
  children {
    one { local_ts = 10.20.20.0/24
      remote_ts = 10.10.10.0/24
      esp_proposals = aes128-sha1 }
    two { local_ts = 10.30.30.0/24
      remote_ts = 10.10.10.0/24
      esp_proposals = aes128-sha1 }
  }
} }
secrets { ike-lab { secret = "labsecret" } }
`
