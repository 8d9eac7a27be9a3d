package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/shark"
)

// mode is a transform set, and what tshark must see of its packets.
type mode struct {
	name, set string
	global    string
	transport bool
	ah, esp   bool
	icv       int // octets of AH's
	// blind: tshark 4.0 knows no extended sequence numbers. It decrypts and
	// finds every ICV wrong, those of a Linux kernel too; packets of that
	// kernel prove ours (core/sadb).
	blind bool
}

func modes() []mode {
	return []mode{
		{name: "AH tunnel", set: "ah-sha256-hmac", ah: true, icv: 16},
		{name: "AH transport", set: "ah-sha-hmac\n mode transport", transport: true, ah: true, icv: 12},
		{name: "AH SHA-512 transport", set: "ah-sha512-hmac\n mode transport", transport: true, ah: true, icv: 32},
		{name: "AH and ESP tunnel", set: "ah-sha384-hmac esp-aes 256 esp-sha256-hmac", ah: true, esp: true, icv: 24},
		{name: "AH and ESP transport", set: "ah-sha256-hmac esp-aes esp-sha-hmac\n mode transport", transport: true, ah: true, esp: true, icv: 16},
		{name: "ESP transport", set: "esp-gcm 256\n mode transport", transport: true, esp: true},
		{name: "ESP with ESN", set: "esp-aes esp-sha256-hmac\n esn", esp: true, blind: true},
		{name: "ESP GCM with ESN", set: "esp-gcm\n esn", esp: true, blind: true},
		{name: "AH with ESN", set: "ah-sha256-hmac\n esn", ah: true, icv: 16},
	}
}

// Every mode between two gateways of our own: what brings it up is answered,
// large packets pass, nothing is in clear, and tshark reads on the wire what was
// meant and finds ESP's ICVs right.
func TestModes(t *testing.T) {
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) { m.run(newBench(t, time.Minute)) })
	}
}

func (m mode) run(b *bench) {
	dir := b.t.TempDir()
	keys, file := filepath.Join(dir, "keys"), filepath.Join(dir, "outside.pcap")
	from, to := lab.HostA, addressOf(lab.HostB)
	ends := map[string]string{}
	if m.transport {
		from, to = lab.R1, lab.Addr(lab.R2, lab.Outside).String()
		for _, r := range []string{lab.R1, lab.R2} {
			ends[r] = fmt.Sprintf("access-list 102 permit ip host %s host %s", lab.Addr(r, lab.Outside), lab.Addr(lab.Other(r), lab.Outside))
		}
	}
	stop := b.captureTo(lab.R1, lab.Outside, file)
	r1 := b.culvert(lab.R1, router{Sets: set("T1", m.set), Interesting: ends[lab.R1], Filter: letIn(lab.R1), Global: m.global}, "--key-log", keys)
	r2 := b.culvert(lab.R2, router{Sets: set("T1", m.set), Interesting: ends[lab.R2], Filter: letIn(lab.R2), Global: m.global})
	sent := 0
	for _, size := range []int{56, 1300} {
		p, err := b.net.PingWith(b.ctx, from, to, lab.PingOptions{Count: 5, Size: size, Interval: 20 * time.Millisecond})
		if err != nil || p.Received != 5 {
			b.t.Fatalf("ping with %d octets: %v\n%s", size, err, p.Output)
		}
		sent += 5
	}
	// The kernel fragments this for the TUN device. In transport mode it goes out
	// whole, in fragments of the outer packet; ping(8) sends what the lab's cannot.
	b.mustRun(from, "ping", "-n", "-c", "3", "-i", "0.2", "-s", "3000", to)
	wire := stop()
	if wire.Cleartext.Total() != 0 || wire.ESPinUDP.Total() != 0 || wire.Other.Total() != 0 {
		b.t.Errorf("something else than IKE and the mode's protocol: %s", wire)
	}
	for _, g := range []*lab.Gateway{r1, r2} {
		for _, f := range b.flows(g) {
			if f.Counters.Encaps < uint64(sent) || f.Counters.Decaps < uint64(sent) || f.Counters.RecvErrors != 0 || f.Counters.SendErrors != 0 {
				b.t.Errorf("counters: %+v", f.Counters)
			}
		}
	}
	m.read(b, file, keys)
}

// read has tshark say what was on the wire.
func (m mode) read(b *bench, file, keys string) {
	if err := shark.Available(); err != nil {
		b.t.Skip(err)
	}
	packets, err := shark.Fields(b.ctx, file, shark.Keys{Tables: keys}, "(ah or esp) and not ip.flags.mf == 1",
		"ip.proto", "ah.next_header", "ah.length", "ah.icv", "esp.icv_good", "esp.icv_bad", "icmp.type")
	if err != nil {
		b.t.Fatal(err)
	}
	if len(packets) < 26 {
		b.t.Errorf("tshark sees %d packets", len(packets))
	}
	for i, p := range packets {
		if m.esp && len(p["icmp.type"]) == 0 && !strings.HasSuffix(strings.Join(p["ip.proto"], " "), "1") {
			b.t.Errorf("packet %d: tshark does not decrypt it: %v", i, p)
		}
		if m.ah != (len(p["ah.icv"]) == 1) || m.ah && len(strings.ReplaceAll(p["ah.icv"][0], ":", "")) != 2*m.icv {
			b.t.Errorf("packet %d: AH %v, want one: %v, with %d octets of ICV", i, p["ah.icv"], m.ah, m.icv)
		}
		if m.esp && !m.blind && !good(p["esp.icv_good"]) {
			b.t.Errorf("packet %d: tshark does not find ESP's ICV right: %v", i, p)
		}
	}
}
