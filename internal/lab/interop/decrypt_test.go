package interop

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/shark"
	"culvert/internal/lab/swan"
)

// With the key log that the gateway writes, tshark decrypts ESP and finds every
// ICV right: in IP protocol 50 between two gateways of our own, and in UDP 4500
// with strongSwan.
func TestTsharkReadsESP(t *testing.T) {
	if err := shark.Available(); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ transform, esp string }{
		{"esp-aes esp-sha-hmac", "aes128-sha1"},
		{"esp-aes 256 esp-sha256-hmac", "aes256-sha256"},
		{"esp-gcm 256", "aes256gcm16"},
	} {
		t.Run(c.esp+"/protocol 50", func(t *testing.T) { readESP(t, c.transform, "") })
		t.Run(c.esp+"/UDP 4500", func(t *testing.T) { readESP(t, c.transform, c.esp) })
	}
}

// readESP has tshark read the ESP of a transform set, with a strongSwan that
// proposes esp, or, when that is empty, with Culvert.
func readESP(t *testing.T, transform, esp string) {
	b, udp := newBench(t, time.Minute), esp != ""
	c, dir := router{Sets: set("T1", transform)}, t.TempDir()
	keys, file := filepath.Join(dir, "keys"), filepath.Join(dir, "outside.pcap")
	b.culvert(lab.R1, c, "--key-log", keys)
	if udp {
		b.strongSwan(swan.Config{ESP: esp})
	} else {
		b.culvert(lab.R2, c)
	}
	stop := b.captureTo(lab.R1, lab.Outside, file)
	b.ping(lab.HostA, lab.HostB)
	wire := stop()
	if got := map[bool]int{false: wire.ESP.Total(), true: wire.ESPinUDP.Total()}[udp]; got != 10 || wire.Sealed() != 10 {
		t.Errorf("ten ESP packets, in UDP: %v, but %s", udp, wire)
	}
	packets, err := shark.Fields(b.ctx, file, shark.Keys{Tables: keys}, "esp",
		"ip.src", "ip.dst", "icmp.type", "esp.icv_good", "esp.icv_bad", "udp.dstport")
	if err != nil {
		t.Fatal(err)
	}
	echoes, replies := 0, 0
	for i, p := range packets {
		if len(p["ip.src"]) != 2 || len(p["icmp.type"]) != 1 {
			t.Errorf("packet %d: not decrypted: %v", i, p)
			continue
		}
		if !good(p["esp.icv_good"]) || len(p["esp.icv_bad"]) == 1 && good(p["esp.icv_bad"]) {
			t.Errorf("packet %d: tshark finds the ICV wrong: %v", i, p)
		}
		if udp != (len(p["udp.dstport"]) == 1 && p["udp.dstport"][0] == "4500") {
			t.Errorf("packet %d: encapsulation: %v", i, p)
		}
		inner := p["ip.src"][1] + " " + p["ip.dst"][1] + " " + p["icmp.type"][0]
		switch inner {
		case "10.10.10.10 10.20.20.20 8":
			echoes++
		case "10.20.20.20 10.10.10.10 0":
			replies++
		default:
			t.Errorf("packet %d: inside is %s", i, inner)
		}
	}
	if echoes != 5 || replies != 5 {
		t.Errorf("tshark read %d echo requests and %d replies, expected five of each", echoes, replies)
	}
}

// good reads a field that tshark prints as 1 or True.
func good(v []string) bool { return len(v) == 1 && (v[0] == "1" || strings.EqualFold(v[0], "true")) }
