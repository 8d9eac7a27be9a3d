package guest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"culvert/internal/lab"

	"github.com/vishvananda/netlink"
)

// port is one interface of the guest: its name inside, the tap and the switch
// in the namespace, and the device of the namespace on the same switch.
type port struct {
	inside, tap, bridge, device string
	mac                         string
}

func ports() []port {
	return []port{
		{"vec0", "tap-out", "br-out", lab.Outside, "02:63:75:6c:00:01"},
		{"vec1", "tap-in", "br-in", lab.Inside, "02:63:75:6c:00:02"},
	}
}

// kernelWord is the interface on the kernel's command line.
func (p port) kernelWord() string {
	return fmt.Sprintf("%s:transport=tap,ifname=%s,depth=128,gro=1,mac=%s", p.inside, p.tap, p.mac)
}

// wire turns the namespace of a router into two switches with a tap each, and
// takes the router's addresses away from it.
func wire(n *lab.Net, host string) error {
	err := n.In(host, func() error {
		for _, p := range ports() {
			if err := p.build(); err != nil {
				return fmt.Errorf("%s: %w", p.device, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("guest: the switches of %s: %w", host, err)
	}
	return nil
}

func (p port) build() error {
	device, err := netlink.LinkByName(p.device)
	if err != nil {
		return err
	}
	addresses, err := netlink.AddrList(device, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := netlink.AddrDel(device, &a); err != nil {
			return err
		}
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = p.bridge, device.Attrs().MTU
	bridge := &netlink.Bridge{LinkAttrs: a}
	t := netlink.NewLinkAttrs()
	t.Name, t.MTU = p.tap, device.Attrs().MTU
	tap := &netlink.Tuntap{LinkAttrs: t, Mode: netlink.TUNTAP_MODE_TAP}
	if err := errors.Join(netlink.LinkAdd(bridge), netlink.LinkAdd(tap)); err != nil {
		return err
	}
	for _, l := range []netlink.Link{device, tap} {
		if err := netlink.LinkSetMaster(l, bridge); err != nil {
			return err
		}
	}
	return errors.Join(netlink.LinkSetUp(tap), netlink.LinkSetUp(bridge))
}

// packetsAsOnAWire switches off what joins and cuts segments on the taps: with
// it, what the guest forwards into ESP stands almost still.
func packetsAsOnAWire(ctx context.Context, n *lab.Net, host, tree string) error {
	for _, p := range ports() {
		argv := append([]string{filepath.Join(tree, "usr/sbin/ethtool"), "-K", p.tap}, offloads()...)
		out, err := n.Command(ctx, host, argv...).CombinedOutput()
		var ended *exec.ExitError
		// A device that has one of them fixed says so and takes the others.
		if err != nil && (!errors.As(err, &ended) || ended.ExitCode() != 1) {
			return fmt.Errorf("guest: ethtool on %s: %w: %s", p.tap, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func offloads() []string { return []string{"tx", "off", "tso", "off", "gso", "off", "sg", "off"} }
