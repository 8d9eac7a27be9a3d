package interop

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/lab"
)

// dynamicText is R2 as the hub: it names no peer and has no access list of
// interesting traffic; who proves the key says what it has.
func dynamicText() string {
	return fmt.Sprintf(`hostname R2
%s
crypto isakmp key labsecret address 0.0.0.0
crypto ipsec transform-set T1 esp-aes esp-sha-hmac
crypto dynamic-map DYN 10
 set transform-set T1
crypto map CMAP 100 ipsec-isakmp dynamic DYN
interface GigabitEthernet0/0
 ip address %s 255.255.255.0
interface GigabitEthernet0/1
 ip address %s 255.255.255.0
 crypto map CMAP
`, ikeAES128SHA1Group14, lab.Addr(lab.R2, lab.Inside), lab.Addr(lab.R2, lab.Outside))
}

// The traffic of a peer of a dynamic crypto map is interesting as long as the
// peer has SAs: it is answered through the tunnel, and what comes in clear is
// dropped. Afterwards it is not.
func TestDynamicMap(t *testing.T) {
	b := newBench(t, time.Minute)
	r2 := b.culvertText(lab.R2, dynamicText())
	r1 := b.culvert(lab.R1, router{})
	stop := b.capture(lab.R1, lab.Outside)
	b.ping(lab.HostA, lab.HostB)
	b.ping(lab.HostB, lab.HostA)
	if wire := stop(); wire.Cleartext.Total() != 0 || wire.ESP.A != 10 || wire.ESP.B != 10 {
		t.Errorf("twenty ESP packets and nothing in clear: %s", wire)
	}
	flows := b.flows(r2)
	if len(flows) != 1 || len(flows[0].Pairs) != 1 || flows[0].Counters.Encaps != 10 {
		t.Fatalf("R2 shows %+v", flows)
	}
	b.ask(r1, "clear", "crypto", "sa")
	b.until("R2 forgets the flow", func() error {
		if n := len(b.flows(r2)); n != 0 {
			return fmt.Errorf("%d flows", n)
		}
		return nil
	})
	// To R2 it is traffic like any other now; R1 lets nothing of it in.
	stop = b.capture(lab.R1, lab.Outside)
	if p, err := b.net.PingWith(b.ctx, lab.HostB, addressOf(lab.HostA), lab.PingOptions{Count: 2, Interval: 20 * time.Millisecond, Timeout: 300 * time.Millisecond}); err != nil || p.Received != 0 {
		t.Errorf("in clear from B: %v\n%s", err, p.Output)
	}
	if wire := stop(); wire.Cleartext.B != 2 || wire.ESP.Total() != 0 {
		t.Errorf("R2's guard still has the flow: %s", wire)
	}
	b.ping(lab.HostA, lab.HostB)
}
