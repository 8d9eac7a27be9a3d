package tundev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ReversePath is what the kernel does with a packet whose source it would not
// answer through the device it came by. RFC 3704; net.ipv4.conf.*.rp_filter.
type ReversePath int

// The settings of rp_filter.
const (
	ReversePathOff    ReversePath = 0
	ReversePathStrict ReversePath = 1
	ReversePathLoose  ReversePath = 2
)

func (r ReversePath) String() string {
	switch r {
	case ReversePathOff:
		return "off"
	case ReversePathStrict:
		return "strict"
	case ReversePathLoose:
		return "loose"
	}
	return strconv.Itoa(int(r))
}

// quietIPv6 keeps the kernel from giving the device a link-local address and
// from sending router solicitations and multicast reports into the tunnel: the
// selectors are IPv4, so IPv6 has no business on it. A kernel without IPv6 is quiet.
func quietIPv6(device string) error {
	for _, s := range []struct{ key, value string }{{"autoconf", "0"}, {"accept_ra", "0"}, {"disable_ipv6", "1"}} {
		if err := write("ipv6", device, s.key, s.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("turn IPv6 autoconfiguration off: %w", err)
		}
	}
	return nil
}

// looseReversePath makes the reverse path filter let packets of the far site
// in: they come out of the TUN device, but the route back to them is the outside
// interface, since only marked packets go to the TUN device. The kernel takes the
// greater of the setting for all devices and for this one, so off is possible
// only where "all" is off, and loose is what else lets them pass. Loose wants a
// route to the far site, by whatever device, and an address on this one.
func looseReversePath(device string) (ReversePath, error) {
	all, err := read("ipv4", "all", "rp_filter")
	if err != nil {
		return 0, fmt.Errorf("read the reverse path filter: %w", err)
	}
	want := ReversePathLoose
	if all == "0" {
		want = ReversePathOff
	}
	if err := write("ipv4", device, "rp_filter", strconv.Itoa(int(want))); err != nil {
		return 0, fmt.Errorf("set the reverse path filter to %s: %w", want, err)
	}
	return want, nil
}

func setting(family, device, key string) string {
	return filepath.Join("/proc/sys/net", family, "conf", device, key)
}

func read(family, device, key string) (string, error) {
	b, err := os.ReadFile(setting(family, device, key))
	return strings.TrimSpace(string(b)), err
}

func write(family, device, key, value string) error {
	path := setting(family, device, key)
	if have, err := read(family, device, key); err != nil || have == value {
		return err // nothing to do, also where /proc/sys may only be read
	}
	return os.WriteFile(path, []byte(value), 0o644)
}
