package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Options say what lab to make. The zero value is the article's network, named "lab".
type Options struct {
	// Name keeps labs apart: lower-case letters, digits and hyphens, at most 20.
	Name string
	// MTU of every link in octets; 0 means 1500.
	MTU int
	// NAT puts a masquerading NAT between the routers, see [NAT].
	NAT bool
}

// Net is a lab that stands. Its methods may be used by several goroutines.
type Net struct{ name string }

// stateDir is where the files of the labs lie.
const stateDir = "/run/culvert-lab"

// Available tells whether this process may make a lab; the error says what is missing.
func Available() error {
	if err := haveCapabilities(); err != nil {
		return err
	}
	return haveNsenter()
}

// Up makes a lab. What is left of an earlier lab of the same name goes first.
func Up(o Options) (*Net, error) {
	n, err := named(o.Name)
	if err != nil {
		return nil, err
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.MTU < 576 || o.MTU > 65535 {
		return nil, fmt.Errorf("lab: MTU %d: expected 576 to 65535", o.MTU)
	}
	if err := Available(); err != nil {
		return nil, err
	}
	if err := n.Down(); err != nil {
		return nil, err
	}
	if err := n.build(o); err != nil {
		return nil, errors.Join(err, n.Down())
	}
	return n, nil
}

// Open finds a lab that another process made.
func Open(name string) (*Net, error) {
	n, err := named(name)
	if err != nil {
		return nil, err
	}
	for _, h := range Hosts() {
		if _, err := os.Stat(n.path(h)); err != nil {
			return nil, fmt.Errorf("lab: no lab %q stands here: network namespace %s: %w", n.name, n.Namespace(h), err)
		}
	}
	return n, nil
}

// Down takes the lab away with everything that runs in it. A lab that does not
// stand is no error.
func (n *Net) Down() error {
	if err := n.endProcesses(); err != nil {
		return err
	}
	var errs []error
	for _, h := range n.hosts() {
		errs = append(errs, dropNamespace(n.path(h)))
	}
	if err := os.RemoveAll(n.Dir()); err != nil {
		errs = append(errs, fmt.Errorf("lab: %w", err))
	}
	errs = append(errs, releaseHolder(n.name))
	return errors.Join(errs...)
}

// Name is the name the lab was made with.
func (n *Net) Name() string { return n.name }

// Dir is the directory of the lab's files: logs, sockets, process IDs.
func (n *Net) Dir() string { return filepath.Join(stateDir, n.name) }

func named(name string) (*Net, error) {
	if name == "" {
		name = "lab"
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`).MatchString(name) {
		return nil, fmt.Errorf("lab: name %q: expected lower-case letters, digits and hyphens, 20 at most", name)
	}
	return &Net{name: name}, nil
}

func (n *Net) build(o Options) error {
	if err := os.MkdirAll(n.Dir(), 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	for _, h := range Hosts() {
		if err := makeNamespace(n.path(h)); err != nil {
			return err
		}
		if err := n.In(h, kernelSettings); err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
	}
	links := [][4]string{{HostA, Eth, R1, Inside}, {R2, Inside, HostB, Eth}}
	if !o.NAT {
		links = append(links, [4]string{R1, Outside, R2, Outside})
	}
	for _, w := range links {
		if err := n.wire(o.MTU, w[0], w[1], w[2], w[3]); err != nil {
			return err
		}
	}
	if o.NAT {
		if err := n.buildNAT(o.MTU); err != nil {
			return err
		}
	}
	for _, p := range ports() {
		if err := n.In(p.host, func() error { return addAddress(p.device, p.addr) }); err != nil {
			return fmt.Errorf("%s: %w", p.host, err)
		}
	}
	for _, r := range routes() {
		if err := n.In(r.host, func() error { return addRoute(r.to, r.via) }); err != nil {
			return fmt.Errorf("%s: %w", r.host, err)
		}
	}
	return nil
}

// kernelSettings are those of a Debian router. Devices that come later take
// theirs from "default".
func kernelSettings() error {
	for _, s := range [][2]string{
		{"net/ipv4/ip_forward", "1"},
		{"net/ipv4/conf/all/rp_filter", "0"},
		{"net/ipv4/conf/default/rp_filter", "0"},
		// A redirect would teach the other router a way around the gateway.
		{"net/ipv4/conf/all/send_redirects", "0"},
		{"net/ipv4/conf/default/send_redirects", "0"},
		// The network is IPv4; neighbour discovery would only blur the captures.
		{"net/ipv6/conf/default/accept_dad", "0"},
		{"net/ipv6/conf/default/router_solicitations", "0"},
	} {
		// A kernel without IPv6 has no such settings.
		err := os.WriteFile(filepath.Join("/proc/sys", s[0]), []byte(s[1]), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("lab: cannot set %s: %w", s[0], err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lab: loopback: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// wire is a veth pair between two hosts.
func (n *Net) wire(mtu int, host1, dev1, host2, dev2 string) error {
	far, err := netns.GetFromPath(n.path(host2))
	if err != nil {
		return fmt.Errorf("lab: namespace of %s: %w", host2, err)
	}
	defer far.Close()
	err = n.In(host1, func() error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = dev1, mtu
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: dev2, PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(far)})
	})
	if err != nil {
		return fmt.Errorf("lab: cannot make the link %s %s - %s %s: %w", host1, dev1, host2, dev2, err)
	}
	for _, e := range [][2]string{{host1, dev1}, {host2, dev2}} {
		if err := n.Link(e[0], e[1], true); err != nil {
			return err
		}
	}
	return nil
}

// Link puts a device of a host up or down.
func (n *Net) Link(host, device string, up bool) error {
	return n.In(host, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("lab: %s has no device %s: %w", host, device, err)
		}
		if up {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

func addAddress(device string, p netip.Prefix) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("lab: device %s: %w", device, err)
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("lab: address %s on %s: %w", p, device, err)
	}
	return nil
}

func addRoute(to netip.Prefix, via netip.Addr) error {
	r := &netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}
	// The link comes up a moment after it is set up.
	var err error
	for range 50 {
		if err = netlink.RouteAdd(r); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("lab: route to %s via %s: %w", to, via, err)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
