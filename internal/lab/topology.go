package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// The hosts of a lab.
const (
	HostA = "a"  // the host of site A, 10.10.10.10
	R1    = "r1" // the router of site A
	R2    = "r2" // the router of site B
	HostB = "b"  // the host of site B, 10.20.20.20
)

// The devices of the routers; a host's only one is Eth.
const (
	Inside  = "in0"  // towards the site
	Outside = "out0" // towards the other router
	Eth     = "eth0"
)

// addresses of the lab, one row a device.
type port struct {
	host, device string
	addr         netip.Prefix
}

func ports() []port {
	return []port{
		{HostA, Eth, netip.MustParsePrefix("10.10.10.10/24")},
		{R1, Inside, netip.MustParsePrefix("10.10.10.1/24")},
		{R1, Outside, netip.MustParsePrefix("198.51.100.1/24")},
		{R2, Outside, netip.MustParsePrefix("198.51.100.2/24")},
		{R2, Inside, netip.MustParsePrefix("10.20.20.1/24")},
		{HostB, Eth, netip.MustParsePrefix("10.20.20.20/24")},
	}
}

// route is one static route: to is reached by way of via.
type route struct {
	host string
	to   netip.Prefix
	via  netip.Addr
}

func routes() []route {
	return []route{
		{HostA, netip.MustParsePrefix("0.0.0.0/0"), Addr(R1, Inside)},
		{R1, Site(R2), Addr(R2, Outside)},
		{R2, Site(R1), Addr(R1, Outside)},
		{HostB, netip.MustParsePrefix("0.0.0.0/0"), Addr(R2, Inside)},
	}
}

// Hosts are all hosts of a lab, from site A to site B.
func Hosts() []string { return []string{HostA, R1, R2, HostB} }

// Addr is the address of a host's device; the zero Addr when there is no such device.
func Addr(host, device string) netip.Addr {
	for _, p := range ports() {
		if p.host == host && p.device == device {
			return p.addr.Addr()
		}
	}
	return netip.Addr{}
}

// Site is the network behind a router, or that a host is in: 10.10.10.0/24 for
// a and r1, 10.20.20.0/24 for b and r2.
func Site(host string) netip.Prefix {
	if host == HostA || host == R1 {
		return netip.MustParsePrefix("10.10.10.0/24")
	}
	return netip.MustParsePrefix("10.20.20.0/24")
}

// Other is the router at the other end of the outside: r2 for r1.
func Other(router string) string {
	if router == R1 {
		return R2
	}
	return R1
}

// HostOf is the host a person means: its name in either case ("R1") or one of
// its addresses ("10.10.10.10").
func HostOf(word string) (string, error) {
	w := strings.ToLower(strings.TrimSpace(word))
	for _, h := range append(Hosts(), NAT) {
		if h == w {
			return h, nil
		}
	}
	for _, p := range ports() {
		if p.addr.Addr().String() == w {
			return p.host, nil
		}
	}
	return "", fmt.Errorf("lab: there is no host %q: expected a, r1, r2, b or one of their addresses", word)
}

// addrOf is the address a person means: an address, or a host's name (for a
// router the outside address).
func addrOf(word string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return a, nil
	}
	h, err := HostOf(word)
	if err != nil {
		return netip.Addr{}, err
	}
	if h == R1 || h == R2 {
		return Addr(h, Outside), nil
	}
	return Addr(h, Eth), nil
}
