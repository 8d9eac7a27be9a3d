package guard_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/core/flow"
	"culvert/internal/edge/guard"
	"culvert/internal/edge/tundev"
)

// childConfig in the environment makes this test program a gateway for
// TestKilledGateway: it opens the TUN device, applies, says so and waits.
const childConfig = "CULVERT_GUARD_TEST_CONFIG"

func TestMain(m *testing.M) {
	if text := os.Getenv(childConfig); text != "" {
		if err := gateway(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func gateway(text string) error {
	var c guard.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	tun, err := tundev.Open(tundev.Options{Name: tunName, MTU: 1400})
	if err != nil {
		return err
	}
	defer tun.Close()
	c.TUN = tun.Name()
	if _, err := guard.Apply(c); err != nil {
		return err
	}
	fmt.Println("applied")
	select {} // until it is killed
}

const unreachableAtA = "icmp 10.10.10.1 -> 10.10.10.10 type 3 code 1"

// refused proves that interesting traffic gets an ICMP unreachable and that
// nothing of it is on the wire. The kernel sends five unreachables in a row to one
// host, then one a second, which is not waited for.
func (s *sites) refused() {
	s.t.Helper()
	atA := watch(s.a, "eth0")
	s.a.send(0, udp(hostA, hostB, 7, 7, ""))
	if s.refusals++; s.refusals < 4 {
		if before := atA.until(unreachableAtA); len(before) > 0 {
			s.t.Errorf("host a received %q", before)
		}
	}
	s.r1.in(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		err = unix.Sendto(fd, udp(r1Inside, hostB, 7, 7, ""), 0, &unix.SockaddrInet4{Addr: hostB.As4()})
		if !errors.Is(err, unix.EHOSTUNREACH) {
			return fmt.Errorf("a local interesting packet: %v, not host unreachable", err)
		}
		return nil
	})
	s.quiet()
}

// "Fails closed: no interesting packet leaves in clear before the tunnel is up,
// … or after kill -9 of the gateway." The gateway here is another process, which
// is killed; then it starts again.
func TestKilledGateway(t *testing.T) {
	s := build(t)
	c := s.config()
	for run := range 2 {
		child := s.start(c)
		s.r1.in(func() error { // it answers: packets are diverted, not refused
			state, err := guard.Show("R1")
			if !state.Attached || !strings.Contains(state.String(), "open through culvert0") {
				t.Errorf("run %d: %s", run, state)
			}
			return err
		})
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		s.r1.in(func() error {
			state, err := guard.Show("R1")
			if state.Attached || !strings.Contains(state.String(), "closed: no gateway runs") {
				t.Errorf("run %d, after kill -9: %s", run, state)
			}
			return err
		})
		s.refused()
	}
	s.b.send(0, udp(hostB, hostA, 5, 5, ""))
	s.r1.in(func() error {
		state, err := guard.Show("R1")
		for end := time.Now().Add(patient); err == nil && state.Counters.NotIPsec < 1 && time.Now().Before(end); {
			state, err = guard.Show("R1")
		}
		if state.Counters.NotIPsec != 1 {
			t.Errorf("cleartext from outside after kill -9: %d dropped, not 1", state.Counters.NotIPsec)
		}
		return err
	})
}

func (s *sites) start(c guard.Config) *exec.Cmd {
	s.t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childConfig+"="+string(text))
	child.Stderr = os.Stderr
	said, err := child.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.r1.in(child.Start)
	s.t.Cleanup(func() { _ = child.Process.Kill() })
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "applied\n" {
		s.t.Fatalf("the gateway said %q, %v", line, err)
	}
	return child
}

// Before the TUN device is there, after it closed and when it came back.
func TestClosedUntilThereIsATUNDevice(t *testing.T) {
	s := build(t)
	s.apply(s.config()) // TUN is empty
	s.refused()
	for range 2 {
		s.connect()
		s.apply(s.config())
		s.a.send(0, udp(hostA, hostB, 7, 7, ""))
		s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 7")
		c := s.config()
		c.TUN = ""
		s.apply(c) // the device is up, but nobody is behind it yet
		s.refused()
		s.apply(s.config())
		if err := s.tun.Close(); err != nil {
			t.Fatal(err)
		}
		s.refused()
	}
}

// Apply is idempotent and leaves no window: while traffic flows and the table
// is replaced over and over, not one packet takes the open way.
func TestApplyLeavesNoWindow(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	s.apply(c)
	go func() {
		for range s.packets { // they are many; only the wire is of interest
		}
	}()
	var stop atomic.Bool
	flood := make(chan int)
	go func() {
		sent := 0
		for !stop.Load() {
			s.a.send(0, udp(hostA, hostB, 7, 7, ""), udp(hostA, hostB, 7, 7, ""))
			sent += 2
		}
		flood <- sent
	}()
	for range 20 {
		s.apply(c)
	}
	stop.Store(true)
	if sent := <-flood; sent < 20 {
		t.Errorf("only %d packets were sent meanwhile", sent)
	}
	s.quiet()
	s.r1.in(func() error {
		rules, err := netlink.RuleList(unix.AF_INET)
		n := 0
		for _, r := range rules {
			if r.Protocol == guard.RouteProtocol {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d rules of the guard stand, not 1: %v", n, rules)
		}
		return err
	})
}

// leftovers counts what of the guard is in R1: rules, routes, tables.
func (s *sites) leftovers() (n [3]int) {
	s.t.Helper()
	s.r1.in(func() error {
		rules, err1 := netlink.RuleList(unix.AF_INET)
		for _, r := range rules {
			if r.Protocol == guard.RouteProtocol {
				n[0]++
			}
		}
		routes, err2 := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		for _, r := range routes {
			if r.Protocol == guard.RouteProtocol {
				n[1]++
			}
		}
		tables, err3 := (&nftables.Conn{}).ListTables()
		n[2] = len(tables)
		return errors.Join(err1, err2, err3)
	})
	return n
}

// "culvert guard clear" takes everything away; then the traffic is in clear.
func TestClearTakesEverythingAway(t *testing.T) {
	s := build(t)
	s.connect()
	s.apply(s.config())
	if got, want := s.leftovers(), [3]int{1, 2, 1}; got != want {
		t.Errorf("rules, routes, tables: %v; expected %v", got, want)
	}
	s.r1.in(func() error { return guard.Clear("R1") })
	if got := s.leftovers(); got != [3]int{} {
		t.Errorf("left after Clear, rules, routes, tables: %v", got)
	}
	s.a.send(0, udp(hostA, hostB, 7, 7, ""))
	s.wire.until("udp 10.10.10.10 -> 10.20.20.20 port 7")
	s.r1.in(func() error {
		if err := guard.Clear("R1"); !errors.Is(err, guard.ErrNothing) {
			t.Errorf("Clear of nothing: %v", err)
		}
		if _, err := guard.Show("R1"); !errors.Is(err, guard.ErrNothing) {
			t.Errorf("Show of nothing: %v", err)
		}
		return nil
	})
}

// A run with another mark and table takes the leftovers of the one before with
// it, but not what belongs to another gateway.
func TestLeftoversAreSwept(t *testing.T) {
	s := build(t)
	s.connect()
	s.apply(s.config())
	other := s.config()
	other.Hostname, other.Mark, other.Table = "R9", 0x99, 99
	s.apply(other)
	c := s.config()
	c.Mark, c.Table = 0xbeef, 5209
	s.apply(c)
	if got, want := s.leftovers(), [3]int{2, 4, 2}; got != want {
		t.Errorf("rules, routes, tables: %v; expected %v", got, want)
	}
	s.r1.in(func() error { return guard.Clear("R1") })
	if got, want := s.leftovers(), [3]int{1, 2, 1}; got != want {
		t.Errorf("after Clear of R1, rules, routes, tables: %v; expected R9's %v", got, want)
	}
}

// Somebody restarts the host's firewall, which flushes every table: the
// counters say so, Apply closes it again, and Clear finds the routes even then.
func TestFlushedRulesAreNoticed(t *testing.T) {
	s := build(t)
	s.connect()
	g := s.apply(s.config())
	flush := func() {
		s.r1.in(func() error {
			conn := &nftables.Conn{}
			conn.FlushRuleset()
			return conn.Flush()
		})
	}
	flush()
	s.r1.in(func() error {
		if _, err := g.Counters(); !errors.Is(err, guard.ErrGone) {
			t.Errorf("Counters: %v; expected ErrGone", err)
		}
		if _, err := g.NotIPsec(); !errors.Is(err, guard.ErrGone) {
			t.Errorf("NotIPsec: %v; expected ErrGone", err)
		}
		return nil
	})
	g = s.apply(s.config())
	s.counters(g)
	flush()
	s.r1.in(func() error { return guard.Clear("R1") })
	if got := s.leftovers(); got != [3]int{} {
		t.Errorf("left after Clear, rules, routes, tables: %v", got)
	}
}

// What "culvert guard show" prints.
func TestShow(t *testing.T) {
	s := build(t)
	s.connect()
	c := s.config()
	esp := line(flow.Permit, flow.ESP, "198.51.100.2/32", "198.51.100.1/32")
	c.Interfaces[1].In = list("101", esp)
	g := s.apply(c)
	s.b.send(0, udp(hostB, hostA, 5, 5, ""))
	s.r2.send(0, udp(elsewhere, hostA, 5, 6, ""), packet(r2Outside, r1Outside, flow.ESP, 0, make([]byte, 16)))
	s.a.send(0, udp(hostA, hostB, 7, 7, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 7")
	s.waitFor(g, func(n guard.Counters) bool { return n.NotIPsec == 1 && hitsOf(n, 10) == 1 && hitsOf(n, 0) == 1 })
	var state guard.State
	s.r1.in(func() (err error) {
		state, err = guard.Show("R1")
		return err
	})
	const want = `R1: open through culvert0
  protects CMAP 10 on GigabitEthernet0/1
  nftables table ip culvert_R1, routing table 5208 for mark 0xc0de
  1 packet diverted, 1 dropped that came in clear, 0 dropped that would have left in clear
  access list 101 in on GigabitEthernet0/1, line 10: 1 match
  access list 101 in on GigabitEthernet0/1, implicit deny: 1 match
`
	if got := state.String(); got != want {
		t.Error(cmp.Diff(want, got))
	}
}

// A crypto ACL of thousands of lines is one transaction all the same.
func TestThousandsOfLines(t *testing.T) {
	s := build(t)
	s.connect()
	var lines []flow.Line
	for i := range 1000 {
		lines = append(lines, permit("10.10.10.0/24", fmt.Sprintf("172.%d.%d.0/24", 16+i/256, i%256)))
	}
	lines = append(lines, permit("10.10.10.0/24", "10.20.20.0/24"))
	s.apply(s.config(lines...))
	s.a.send(0, udp(hostA, hostB, 7, 7, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 7")
}

// Masquerading what leaves by the outside device does not touch what is
// diverted, and what the belt would drop it drops before the address changes.
func TestMasqueradeIsNoWayAround(t *testing.T) {
	s := build(t)
	s.connect()
	g := s.apply(s.config())
	s.r1.in(masquerade)
	s.a.send(0, udp(hostA, hostB, 7, 7, ""))
	s.diverted("udp 10.10.10.10 -> 10.20.20.20 port 7")
	s.r1.in(func() error {
		r := netlink.NewRule()
		r.Mark, r.Table, r.Priority = 0xc0de, 5208, guard.RulePriority
		return netlink.RuleDel(r)
	})
	s.a.send(0, udp(hostA, hostB, 7, 8, ""), udp(hostA, elsewhere, 7, 9, ""))
	if before := s.wire.until("udp 198.51.100.1 -> 203.0.113.7 port 9"); len(before) > 0 {
		t.Errorf("on the wire: %q", before)
	}
	if n := s.counters(g); n.Leaks != 1 {
		t.Errorf("%d leaks counted, not 1", n.Leaks)
	}
}

func masquerade() error {
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4})
	chain := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	device := make([]byte, unix.IFNAMSIZ)
	copy(device, "out0")
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Register: 1, Data: device}, &expr.Masq{},
	}})
	return conn.Flush()
}
