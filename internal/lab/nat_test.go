package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// A lab with a NAT: what r1 sends comes to r2 from nat's address and another
// port, its answer finds the way back, and nobody begins towards r1.
func TestNAT(t *testing.T) {
	if err := Available(); err != nil {
		t.Skip(err)
	}
	n, err := Up(Options{Name: fmt.Sprintf("nat-%d", os.Getpid()), NAT: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
		if n.hasNAT() {
			t.Error("the NAT still stands")
		}
	})
	there := natSocket(t, n, R2)
	here := natSocket(t, n, R1)
	to := func(c *net.UDPConn, a netip.AddrPort) {
		t.Helper()
		if _, err := c.WriteToUDPAddrPort([]byte("hello"), a); err != nil {
			t.Fatal(err)
		}
	}
	to(here, netip.AddrPortFrom(Addr(R2, Outside), 4500))
	from := heard(t, there)
	if from.Addr() != NATAddr() || from.Port() == 4500 {
		t.Errorf("r2 hears r1 as %s", from)
	}
	to(there, from)
	if back := heard(t, here); back != netip.AddrPortFrom(Addr(R2, Outside), 4500) {
		t.Errorf("the answer comes from %s", back)
	}
	r, err := n.Ping(t.Context(), R2, R1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Received != 0 {
		t.Error("r2 can begin towards r1")
	}
}

// natSocket is a socket on UDP 4500 of a router's outside.
func natSocket(t *testing.T, n *Net, router string) (c *net.UDPConn) {
	t.Helper()
	err := n.In(router, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(Addr(router, Outside), 4500)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func heard(t *testing.T, c *net.UDPConn) netip.AddrPort {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, from, err := c.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return from
}
