package guard

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is a network device of this machine.
type Device struct {
	Name      string
	Index     int
	MTU       int // octets
	Up        bool
	Addresses []netip.Prefix // IPv4, as configured: 198.51.100.1/24
}

// Devices lists the network devices of the network namespace, by index.
func Devices() ([]Device, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	out := make([]Device, 0, len(links))
	for _, l := range links {
		a := l.Attrs()
		d := Device{Name: a.Name, Index: a.Index, MTU: a.MTU, Up: a.RawFlags&unix.IFF_UP != 0}
		addresses, err := netlink.AddrList(l, unix.AF_INET)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", a.Name, err)
		}
		for _, address := range addresses {
			if ip, ok := netip.AddrFromSlice(address.IP); ok {
				bits, _ := address.Mask.Size()
				d.Addresses = append(d.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// FindDevice finds the device that holds an address of the configuration. The
// error lists what addresses there are.
func FindDevice(addr netip.Addr) (name string, index int, err error) {
	devices, err := Devices()
	if err != nil {
		return "", 0, err
	}
	var have []string
	for _, d := range devices {
		for _, p := range d.Addresses {
			if p.Addr() == addr {
				return d.Name, d.Index, nil
			}
			have = append(have, fmt.Sprintf("%s on %s", p.Addr(), d.Name))
		}
	}
	if len(have) == 0 {
		have = []string{"none"}
	}
	return "", 0, fmt.Errorf("no device of this machine has the address %s; there are: %s", addr, strings.Join(have, ", "))
}
