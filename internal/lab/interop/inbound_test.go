package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/internal/face/show"
	"culvert/internal/lab"
)

// What matches the mirrored crypto ACL and comes in clear is dropped, counted
// and logged in IOS's words, whether an access list is applied or not, and
// whether the tunnel is up or not.
//
// Threat: FreeS/WAN 1.98.
func TestClearPacketThatShouldBeProtected(t *testing.T) {
	for _, filter := range []string{"", letIn(lab.R1)} {
		t.Run(map[bool]string{true: "no access list", false: "access list 101"}[filter == ""], func(t *testing.T) {
			b := newBench(t, time.Minute)
			r1 := b.culvert(lab.R1, router{Filter: filter})
			b.inClear(r1, 5)
			// With the tunnel up, an impostor's packet is no better.
			r2 := b.culvert(lab.R2, router{})
			b.ping(lab.HostA, lab.HostB)
			if err := r2.Kill(); err != nil {
				t.Fatal(err)
			}
			b.mustRun(lab.R2, "nft", "flush", "ruleset")
			b.inClear(r1, 10)
			if f := b.flows(r1); !f[0].Up || f[0].Counters.Decaps != 5 {
				t.Errorf("the tunnel stays up, and nothing in clear is counted as decrypted: %+v", f)
			}
		})
	}
}

// inClear sends five packets from site B in clear, where nobody guards R2, and
// wants all to be dropped at R1; total is how many it has dropped by then.
func (b *bench) inClear(r1 *lab.Gateway, total uint64) {
	b.t.Helper()
	outside, inside := b.capture(lab.R1, lab.Outside), b.capture(lab.R1, lab.Inside)
	r, err := b.net.PingWith(b.ctx, lab.HostB, addressOf(lab.HostA), lab.PingOptions{Count: 5, Interval: 10 * time.Millisecond, Timeout: 300 * time.Millisecond})
	if err != nil || r.Received != 0 {
		b.t.Errorf("a packet in clear is not answered: %v\n%s", err, r.Output)
	}
	if out, in := outside(), inside(); out.Cleartext.B != 5 || out.Cleartext.A != 0 || in.Cleartext.Total() != 0 {
		b.t.Errorf("five packets came in clear and none went on:\n%s\n%s", out, in)
	}
	if v := asked[show.IPsecSAs](b, r1, "show", "crypto", "ipsec", "sa"); v.Drops.NotIPsec != total {
		b.t.Errorf("%d counted as not IPsec, expected %d", v.Drops.NotIPsec, total)
	}
	const said = "%CRYPTO-4-RECVD_PKT_NOT_IPSEC: Rec'd packet not an IPSEC packet. (ip) vrf/dest_addr= /10.10.10.10, src_addr= 10.20.20.20, prot= 1"
	b.until("the log tells of it", func() error {
		if !strings.Contains(r1.Log(), said) {
			return fmt.Errorf("the log has no %q", said)
		}
		return nil
	})
}

// The access list of step 1 lets in IPsec and nothing else, and counts both.
func TestInterfaceAccessList(t *testing.T) {
	b := newBench(t, time.Minute)
	r1 := b.culvert(lab.R1, router{Filter: letIn(lab.R1) + "access-list 101 deny icmp any any\n"})
	b.culvert(lab.R2, router{Filter: letIn(lab.R2)})
	r, err := b.net.PingWith(b.ctx, lab.R2, lab.Addr(lab.R1, lab.Outside).String(), lab.PingOptions{Count: 4, Interval: 10 * time.Millisecond, Timeout: 300 * time.Millisecond})
	if err != nil || r.Received != 0 {
		t.Errorf("the access list lets no echo request in: %v\n%s", err, r.Output)
	}
	b.ping(lab.HostA, lab.HostB)
	v := asked[show.Lists](b, r1, "show", "access-lists", "101")
	hits := map[string]uint64{}
	for _, l := range v.Lists[0].Lines {
		hits[l.Text] = l.Matches
	}
	// MM2, MM4, MM6, QM2 come from port 500; five echo replies in ESP; four echo requests.
	for line, want := range map[string]uint64{
		"permit esp host 198.51.100.2 host 198.51.100.1": 5, "permit ahp host 198.51.100.2 host 198.51.100.1": 0, "deny icmp any any": 4,
	} {
		if got, ok := hits[line]; !ok || got != want {
			t.Errorf("%s: %d matches, expected %d; all: %v", line, got, want, hits)
		}
	}
	if hits["permit udp host 198.51.100.2 host 198.51.100.1 eq isakmp"] < 4 {
		t.Errorf("IKE is counted: %v", hits)
	}
	if text := b.ask(r1, "show", "access-lists"); !strings.Contains(text, "permit esp host 198.51.100.2 host 198.51.100.1 (5 matches)") ||
		!strings.Contains(text, "deny icmp any any (4 matches)") {
		t.Errorf("show access-lists:\n%s", text)
	}
}
