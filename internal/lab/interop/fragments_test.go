package interop

import (
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/lab"
	"culvert/internal/lab/swan"
)

// datagram is one ISAKMP message as the wire carried it whole.
type datagram struct {
	fromR1 bool
	next   isakmp.PayloadType
	octets int // of the IP packet
}

// datagrams are the ISAKMP messages in a capture file, on UDP 500 and behind the
// non-ESP marker on 4500. What IP cut is not among them.
func (b *bench) datagrams(path string) (list []datagram) {
	b.t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	for file = file[24:]; len(file) > 16; {
		n := int(binary.LittleEndian.Uint32(file[8:]))
		frame := file[16 : 16+n]
		file = file[16+n:]
		// Ethernet, IPv4 without options and not a fragment, UDP.
		if n < 14+28+28 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[14] != 0x45 || frame[23] != 17 || binary.BigEndian.Uint16(frame[20:])&0x3fff != 0 {
			continue
		}
		message := frame[14+28:]
		switch from, to := binary.BigEndian.Uint16(frame[34:]), binary.BigEndian.Uint16(frame[36:]); {
		case from == 500 && to == 500:
		case from == 4500 && to == 4500 && binary.BigEndian.Uint32(message) == 0:
			message = message[4:]
		default:
			continue
		}
		h, err := isakmp.ParseHeader(message)
		if err != nil {
			b.t.Errorf("an ISAKMP message on the wire: %v", err)
			continue
		}
		list = append(list, datagram{frame[29] == 1, h.Next, int(binary.BigEndian.Uint16(frame[16:]))})
	}
	return list
}

// fragmentation is one pair of settings and what must come of it.
type fragmentation struct {
	name   string
	global string // of Culvert
	swan   string // what strongSwan is told about fragmentation
	narrow bool   // the way drops what IP cut
	up     bool
	// Whether IP had to cut anything; only what IKE cut gets through a narrow way.
	cutByIP bool
}

func fragmentations() []fragmentation {
	const on = "crypto isakmp fragmentation"
	return []fragmentation{
		{"both cut at once", on, "yes", true, true, false},
		{"strongSwan cuts whatever it is told", on, "force", true, true, false},
		{"Culvert is not told to cut, and does when nothing else gets through", "", "yes", true, true, true},
		{"strongSwan says that it can and does not cut", on, "accept", false, true, true},
		{"nobody cuts, on a way that takes anything", "", "no", false, true, true},
		{"strongSwan cannot, on a way that drops fragments of IP", on, "no", true, false, true},
	}
}

// big spoils nobody's certificate but makes it fill three datagrams.
func big(_ string, c *x509.Certificate) {
	for i := range 60 {
		c.DNSNames = append(c.DNSNames, fmt.Sprintf("one-of-the-many-names-of-this-router-%d.lab.example.net", i))
	}
}

// Certificates make messages that no datagram takes. IKE cuts them itself, in
// both directions, and so they pass where fragments of IP are dropped.
func TestIKEFragmentationWithStrongSwan(t *testing.T) {
	for _, f := range fragmentations() {
		for _, begins := range []string{lab.R1, lab.R2} {
			t.Run(f.name+"/"+begins+" begins", func(t *testing.T) { f.run(t, begins) })
		}
	}
}

func (f fragmentation) run(t *testing.T, begins string) {
	if !f.up && testing.Short() {
		t.Skip("-short: giving up takes its time")
	}
	b := newBench(t, 90*time.Second)
	i := b.issue(authority.RSA3072, big)
	if f.narrow {
		b.narrow()
	}
	r1 := b.culvert(lab.R1, router{Policies: signedPolicy("rsa-sig", "aes 256", "sha256", 19), Sets: set("T1", "esp-aes 256 esp-sha256-hmac"),
		Global: i.trustpoint(b, lab.R1, "none") + f.global})
	r2 := b.strongSwan(swan.Config{IKE: "aes256-sha256-ecp256", ESP: "aes256-sha256", Certs: i.swan(b, lab.R2), ConnLines: "fragmentation = " + f.swan,
		CharonLines: "retransmit_timeout = 1\n  retransmit_base = 1.2\n  retransmit_tries = 15"})
	path := filepath.Join(b.net.Dir(), "fragments.pcap")
	wire := b.captureTo(lab.R1, lab.Outside, path)
	if !f.up {
		f.fails(b, r1, r2, begins)
		wire()
		return
	}
	if begins == lab.R2 {
		if out, err := r2.Initiate(b.ctx); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b.flowing(lab.HostA, lab.HostB)
	b.up(r1)
	s := wire()
	f.check(b, s, b.datagrams(path))
}

// narrow drops what IP cut, at both ends of the outside wire.
func (b *bench) narrow() {
	b.t.Helper()
	for _, h := range []string{lab.R1, lab.R2} {
		if err := b.net.Block(h, lab.Fragments); err != nil {
			b.t.Fatal(err)
		}
	}
}

// check compares the wire with what must have been cut, and by whom.
func (f fragmentation) check(b *bench, s lab.Summary, seen []datagram) {
	b.t.Helper()
	ours, theirs := 0, 0
	for _, d := range seen {
		switch {
		case d.next != isakmp.PayloadFragment:
			continue
		case d.octets > 1280:
			b.t.Errorf("a fragment in an IP packet of %d octets, expected 1280 at most", d.octets)
		}
		if d.fromR1 {
			ours++
		} else {
			theirs++
		}
	}
	if cuts := f.swan == "yes" || f.swan == "force"; cuts && theirs < 3 || !cuts && theirs > 0 {
		b.t.Errorf("%d fragments of strongSwan with fragmentation = %s", theirs, f.swan)
	}
	if cuts := f.swan != "no" && (f.global != "" || f.narrow); cuts && ours < 3 || !cuts && ours > 0 {
		b.t.Errorf("%d fragments of Culvert with %q", ours, f.global)
	}
	if cut := s.Fragments.Total() > 0; cut != f.cutByIP {
		b.t.Errorf("IP cut something: %v, expected %v: %s", cut, f.cutByIP, s)
	}
}

// fails wants no tunnel, and an account of it.
func (f fragmentation) fails(b *bench, r1 *lab.Gateway, r2 *swan.Peer, begins string) {
	b.t.Helper()
	if begins == lab.R2 {
		if out, err := r2.Initiate(b.ctx); err == nil {
			b.t.Fatalf("strongSwan's tunnel is up:\n%s", out)
		}
	} else if r, err := b.net.PingWith(b.ctx, lab.HostA, addressOf(lab.HostB), lab.PingOptions{Count: 1}); err == nil && r.Received > 0 {
		b.t.Fatal("a ping is answered")
	}
	b.untilWithin(time.Minute, "explain says that the large message was lost", func() error {
		reports, status := b.explained(r1)
		if status != 1 || len(reports) != 1 || reports[0].Reason != event.NoAnswer || !strings.Contains(reports[0].Sentence, "drops the IP fragments of MM5") {
			return fmt.Errorf("exit status %d, %+v", status, reports)
		}
		b.t.Logf("explain: %s", reports[0].Sentence)
		return nil
	})
}
