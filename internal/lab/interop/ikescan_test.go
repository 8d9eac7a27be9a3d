package interop

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
)

// scan is what ike-scan asks from R2, and what it must report.
type scan struct {
	name string
	args []string
	// says are parts of what it prints; refuses are what it must not print.
	says, refuses []string
}

// aes128 is the policy of the bench as ike-scan writes a transform: encryption,
// key length, hash, authentication, group (RFC 2409 appendix A).
const aes128 = "--trans=(1=7,14=128,2=2,3=1,4=14)"

const (
	oneHandshake = "1 returned handshake; 0 returned notify"
	oneNotify    = "0 returned handshake; 1 returned notify"
)

// scans are for a gateway with one policy and without aggressive mode.
func scans() []scan {
	return []scan{
		// What was not asked for is not told: the answer is no longer than the question.
		{"main mode", []string{aes128}, []string{oneHandshake, "Main Mode Handshake returned", "Enc=AES", "KeyLength=128", "Hash=SHA1", "Auth=PSK", "Group=14:modp2048"}, []string{"VID="}},
		{"main mode with vendor IDs", []string{aes128, "--vendor=4a131c81070358455c5728f20e95452f", "--vendor=afcad71368a1f1c96b8696fc77570100"},
			[]string{oneHandshake, "RFC 3947 NAT-T", "Dead Peer Detection"}, nil},
		{"the right transform is the last of several", []string{"--trans=(1=5,2=1,3=1,4=2)", "--trans=(1=7,14=256,2=2,3=1,4=14)", aes128},
			[]string{oneHandshake, "KeyLength=128"}, []string{"KeyLength=256", "3DES"}},
		{"no transform of ours", []string{"--trans=(1=5,2=1,3=1,4=2)"}, []string{oneNotify, "NO-PROPOSAL-CHOSEN"}, nil},
		{"legacy behind the shield", []string{"--trans=(1=5,2=2,3=1,4=14)"}, []string{oneNotify, "NO-PROPOSAL-CHOSEN"}, nil},
		{"XAUTH", []string{"--trans=(1=7,14=128,2=2,3=65001,4=14)"}, []string{oneNotify, "NO-PROPOSAL-CHOSEN"}, nil},
		{"aggressive mode that nobody configured", []string{"-A", "--id=anybody", "--dhgroup=14", aes128}, nil, []string{"Aggressive Mode Handshake"}},
		{"IKEv2", []string{"--ikev2"}, []string{"0 returned handshake"}, nil},
	}
}

// malformed are first messages that nobody may answer with a handshake.
func malformed() []scan {
	none := []string{"Handshake returned"}
	return []scan{
		{"another version", []string{aes128, "--headerver=48"}, nil, none},
		{"an exchange type of nobody", []string{aes128, "--exchange=243"}, nil, none},
		{"a header that is longer than the message", []string{aes128, "--headerlen=+500"}, nil, none},
		{"a header that is shorter than the message", []string{aes128, "--headerlen=20"}, nil, none},
		{"another DOI", []string{aes128, "--doi=77"}, nil, none},
		{"another situation", []string{aes128, "--situation=2"}, nil, none},
		{"another protocol", []string{aes128, "--protocol=3"}, nil, none},
		{"an attribute without end", []string{"--trans=(1=7,14=0xffffffffffffffffffffffff,2=2,3=1,4=14)"}, nil, none},
	}
}

// Auditors look at a gateway with ike-scan first: the responder answers it by
// the book, tells no more than it has to, and stands.
func TestIKEScan(t *testing.T) {
	b := newBench(t, 3*time.Minute)
	needIKEScan(t)
	r1 := b.culvert(lab.R1, router{})
	for _, s := range append(scans(), malformed()...) {
		b.scan(s)
	}
	// Whatever came, the next one is served, and nothing has been set up.
	b.scan(scans()[0])
	for _, k := range b.isakmp(r1) {
		if k.State == "QM_IDLE" {
			t.Errorf("a scan proves nothing, but: %+v", k)
		}
	}
}

// Aggressive mode is answered for the peer it is configured for.
func TestIKEScanAggressive(t *testing.T) {
	b := newBench(t, time.Minute)
	needIKEScan(t)
	b.culvert(lab.R1, router{Global: "crypto isakmp peer address 198.51.100.2\n set aggressive-mode password labsecret\n"})
	b.scan(scan{"aggressive mode", []string{"-A", "--id=0xc6336402", "--idtype=1", "--dhgroup=14", aes128},
		[]string{oneHandshake, "Aggressive Mode Handshake returned", "Hash=SHA1", "Group=14:modp2048", "ID(Type=ID_IPV4_ADDR, Value=198.51.100.1)"}, nil})
	b.scan(scan{"aggressive mode, no transform of ours", []string{"-A", "--id=0xc6336402", "--idtype=1", "--dhgroup=2", "--trans=(1=5,2=1,3=1,4=2)"},
		nil, []string{"Handshake returned"}})
}

// A flood of first messages: each of its messages asks for a negotiation of its
// own. The gateway goes on answering the peer, and a real tunnel still comes up.
func TestIKEScanFlood(t *testing.T) {
	b := newBench(t, 2*time.Minute)
	needIKEScan(t)
	r1 := b.culvert(lab.R1, router{})
	for range 60 {
		if out, status := b.run(lab.R2, "ike-scan", "--sport=0", "--retry=1", "--timeout=20", aes128, "198.51.100.1"); status != 0 {
			t.Fatalf("ike-scan: exit status %d\n%s", status, out)
		}
	}
	// 16 half-open negotiations of one address are kept, maxHalfOpenSource in
	// internal/core/ike: the oldest make room.
	if n := len(b.isakmp(r1)); n > 16 {
		t.Errorf("%d half-open negotiations of one address", n)
	}
	b.culvert(lab.R2, router{})
	b.ping(lab.HostB, lab.HostA)
}

func needIKEScan(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ike-scan"); err != nil {
		t.Skip("ike-scan is not installed: apt-get install ike-scan")
	}
}

// scan runs ike-scan from R2 against R1.
func (b *bench) scan(s scan) {
	b.t.Helper()
	argv := append([]string{"ike-scan", "--multiline", "--retry=1", "--timeout=1500"}, s.args...)
	out, status := b.run(lab.R2, append(argv, "198.51.100.1")...)
	if status != 0 {
		b.t.Errorf("%s: ike-scan: exit status %d\n%s", s.name, status, out)
	}
	for _, w := range s.says {
		if !strings.Contains(out, w) {
			b.t.Errorf("%s: ike-scan does not say %q:\n%s", s.name, w, out)
		}
	}
	for _, w := range s.refuses {
		if strings.Contains(out, w) {
			b.t.Errorf("%s: ike-scan says %q:\n%s", s.name, w, out)
		}
	}
}
