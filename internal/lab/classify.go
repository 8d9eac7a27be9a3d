package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"culvert/internal/core/flow"
)

// maxClear is how many cleartext packets a summary describes.
const maxClear = 10

// take counts one Ethernet frame.
func (s *Summary) take(frame []byte) {
	if len(frame) < 14 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		s.NotIPv4++
		return
	}
	p, ok := readIPv4(frame[14:])
	if !ok {
		s.Other.Other++
		return
	}
	s.kind(p).add(p.src)
}

// ipv4Packet is what counts about one IPv4 packet. RFC 791 3.1.
type ipv4Packet struct {
	src, dst netip.Addr
	proto    byte
	later    bool   // a fragment, not the first
	body     []byte // behind the IP header
}

func readIPv4(b []byte) (ipv4Packet, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return ipv4Packet{}, false
	}
	hl, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if hl < 20 || total < hl || len(b) < hl {
		return ipv4Packet{}, false
	}
	return ipv4Packet{
		src:   netip.AddrFrom4([4]byte(b[12:16])),
		dst:   netip.AddrFrom4([4]byte(b[16:20])),
		proto: b[9],
		later: binary.BigEndian.Uint16(b[6:])&0x1fff != 0,
		body:  b[hl:min(total, len(b))], // Ethernet pads short packets
	}, true
}

// kind is the counter for a packet; what it notes besides, it notes here.
func (s *Summary) kind(p ipv4Packet) *Count {
	if (Site(R1).Contains(p.src) && Site(R2).Contains(p.dst)) || (Site(R2).Contains(p.src) && Site(R1).Contains(p.dst)) {
		if len(s.Clear) < maxClear {
			s.Clear = append(s.Clear, p.String())
		}
		return &s.Cleartext
	}
	if p.later {
		return &s.Fragments
	}
	switch p.proto {
	case flow.ESP:
		s.spi(p.body, 0)
		return &s.ESP
	case flow.AH:
		s.spi(p.body, 4)
		return &s.AH
	case flow.UDP:
		return s.udp(p.body)
	}
	return &s.Other
}

func (s *Summary) udp(b []byte) *Count {
	if len(b) < 8 {
		return &s.Other
	}
	sport, dport, data := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[8:]
	switch {
	case sport == 4500 || dport == 4500:
		switch {
		case len(data) == 1 && data[0] == 0xff:
			return &s.Keepalive
		case len(data) >= 4 && binary.BigEndian.Uint32(data) == 0:
			return &s.IKE4500
		}
		s.spi(data, 0)
		return &s.ESPinUDP
	case sport == 500 || dport == 500:
		return &s.IKE
	}
	return &s.Other
}

func (s *Summary) spi(b []byte, offset int) {
	if len(b) >= offset+4 {
		s.SPIs[binary.BigEndian.Uint32(b[offset:])]++
	}
}

// String tells the packet in one line.
func (p ipv4Packet) String() string {
	t := flow.Tuple{Src: p.src, Dst: p.dst, Proto: p.proto}
	if !p.later && (p.proto == flow.TCP || p.proto == flow.UDP) && len(p.body) >= 4 {
		t.SrcPort, t.DstPort = binary.BigEndian.Uint16(p.body), binary.BigEndian.Uint16(p.body[2:])
	}
	return fmt.Sprintf("%s, %d octets of data", t, len(p.body))
}
