package lab

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// frame is an Ethernet frame with one IPv4 packet.
func frame(src, dst string, proto byte, fragment uint16, body []byte) []byte {
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	h := make([]byte, 12, 64)
	h = append(h, 8, 0, 0x45, 0)
	h = binary.BigEndian.AppendUint16(h, uint16(20+len(body)))
	h = append(h, 0, 1)
	h = binary.BigEndian.AppendUint16(h, fragment)
	h = append(h, 64, proto, 0, 0)
	h = append(append(h, s[:]...), d[:]...)
	return append(h, body...)
}

func udpBody(sport, dport uint16, data string) []byte {
	b, err := hex.DecodeString(data)
	if err != nil {
		panic(err)
	}
	h := binary.BigEndian.AppendUint16(nil, sport)
	h = binary.BigEndian.AppendUint16(h, dport)
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(b)))
	return append(append(h, 0, 0), b...)
}

func TestEveryKindOfPacketIsCountedAsWhatItIs(t *testing.T) {
	const r1, r2 = "198.51.100.1", "198.51.100.2"
	esp := []byte{0, 0, 0x12, 0x34, 0, 0, 0, 1}
	for _, c := range []struct {
		what  string
		frame []byte
		count func(*Summary) int
	}{
		{"ESP", frame(r1, r2, 50, 0, esp), func(s *Summary) int { return s.ESP.A * s.SPIs[0x1234] }},
		{"AH", frame(r2, r1, 51, 0, []byte{4, 4, 0, 0, 0, 0, 0x12, 0x34}), func(s *Summary) int { return s.AH.B * s.SPIs[0x1234] }},
		{"IKE", frame(r1, r2, 17, 0, udpBody(500, 500, "00112233")), func(s *Summary) int { return s.IKE.A }},
		{"IKE behind a NAT that changed its port", frame(r1, r2, 17, 0, udpBody(1024, 4500, "0000000011")), func(s *Summary) int { return s.IKE4500.A }},
		{"ESP in UDP", frame(r2, r1, 17, 0, udpBody(4500, 4500, "0000123400000001")), func(s *Summary) int { return s.ESPinUDP.B * s.SPIs[0x1234] }},
		{"keepalive", frame(r2, r1, 17, 0, udpBody(4500, 4500, "ff")), func(s *Summary) int { return s.Keepalive.B }},
		{"a later fragment of the routers", frame(r1, r2, 50, 100, esp), func(s *Summary) int { return s.Fragments.A }},
		{"cleartext", frame("10.20.20.20", "10.10.10.10", 6, 0, []byte{0, 80, 4, 0}), func(s *Summary) int { return s.Cleartext.B }},
		{"a later fragment of cleartext", frame("10.10.10.10", "10.20.20.20", 6, 100, nil), func(s *Summary) int { return s.Cleartext.A }},
		{"between the routers", frame(r1, r2, 1, 0, nil), func(s *Summary) int { return s.Other.A }},
		{"from elsewhere", frame("192.0.2.1", r2, 50, 0, esp), func(s *Summary) int { return s.ESP.Other }},
		{"half a UDP header", frame(r1, r2, 17, 0, []byte{1, 2}), func(s *Summary) int { return s.Other.A }},
		{"ARP", append(make([]byte, 12), 8, 6), func(s *Summary) int { return s.NotIPv4 }},
		{"half an Ethernet header", make([]byte, 5), func(s *Summary) int { return s.NotIPv4 }},
		{"half an IPv4 header", frame(r1, r2, 1, 0, nil)[:20], func(s *Summary) int { return s.Other.Other }},
	} {
		s := Summary{SPIs: make(map[uint32]int)}
		s.take(c.frame)
		if got := c.count(&s); got != 1 {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
}

func TestSummaryTellsWhatMatters(t *testing.T) {
	s := Summary{Host: "r1", Device: "out0", SPIs: make(map[uint32]int)}
	s.take(frame("198.51.100.1", "198.51.100.2", 50, 0, []byte{0, 0, 1, 1}))
	s.take(frame("10.10.10.10", "10.20.20.20", 17, 0, udpBody(1234, 53, "")))
	want := "seen on R1 out0:\n" +
		"  ESP, protocol 50             1 (1 from A, 0 from B)\n" +
		"  cleartext between the sites  1 (1 from A, 0 from B)\n" +
		"    in clear: udp 10.10.10.10:1234 -> 10.20.20.20:53, 8 octets of data\n"
	if s.String() != want {
		t.Errorf("got\n%s\nexpected\n%s", s, want)
	}
}

func TestHostsByAnyName(t *testing.T) {
	for word, want := range map[string]string{"a": HostA, "R1": R1, "198.51.100.2": R2, "10.20.20.1": R2, " B ": HostB, "10.10.10.10": HostA} {
		if got, err := HostOf(word); got != want || err != nil {
			t.Errorf("%q is %q, %v; expected %q", word, got, err, want)
		}
	}
	if _, err := HostOf("r3"); err == nil || !strings.Contains(err.Error(), "a, r1, r2, b") {
		t.Errorf("r3: %v", err)
	}
}

func FuzzSummary(f *testing.F) {
	f.Add(frame("198.51.100.1", "198.51.100.2", 17, 0, udpBody(4500, 4500, "0000123400000001")))
	f.Add(frame("10.10.10.10", "10.20.20.20", 6, 100, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := Summary{SPIs: make(map[uint32]int)}
		s.take(b)
		total := s.NotIPv4
		for _, c := range []Count{s.ESP, s.AH, s.IKE, s.IKE4500, s.ESPinUDP, s.Keepalive, s.Cleartext, s.Fragments, s.Other} {
			total += c.Total()
		}
		if total != 1 {
			t.Errorf("one frame is counted %d times: %s", total, s)
		}
	})
}
