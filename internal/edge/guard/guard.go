package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/core/flow"
)

const maxDeviceName = 15 // IFNAMSIZ without the closing zero

// Interface is an interface of the configuration and the Linux device that
// carries it.
type Interface struct {
	Name    string     // IOS name: "GigabitEthernet0/1"
	Device  string     // Linux name: "eth1"; at most 15 characters
	Index   int        // Linux index, as FindDevice told it; Apply checks it
	Address netip.Addr // the address of the configuration; IKE, ESP and AH to it are never "cleartext"
	// In and Out are the lists of "ip access-group": nil for none and for a
	// list that is not defined, which permits everything as IOS does.
	In, Out *flow.List
}

// Protect is one crypto map entry on the interface it is applied to. Its ACL
// says what is interesting: permit is protected, deny goes on to the next
// entry, and so does what no line matches.
type Protect struct {
	Name      string // for people: "CMAP 10"
	Interface string // IOS name, one of Config.Interfaces
	ACL       *flow.List
}

// Config is all that the guard enforces for one gateway.
type Config struct {
	Hostname string // names the nftables table: culvert_HOSTNAME, sanitized
	// TUN is the Linux name of the gateway's TUN device, which must exist. Empty
	// before there is one: interesting traffic is then refused, and Apply is
	// called again once the device is there.
	TUN string
	// Mark diverts a packet: an ip rule sends what carries it to Table.
	Mark uint32
	// Table is the routing table with the TUN device and, behind it, "unreachable".
	Table int
	// OwnMark is the SO_MARK of the gateway's own sockets: what they send is
	// never diverted and never dropped. It must differ from Mark.
	OwnMark    uint32
	Interfaces []Interface
	// Flows is the SPD in order: the entries of every applied crypto map.
	Flows []Protect
	// Defined comes after all of these: flows that peers of a dynamic crypto map
	// asked for, which come and go (Guard.Redefine). Each has an access list of
	// its own, whose permits count.
	Defined []Protect
	// Dynamic are the interfaces, by IOS name, that flows may be defined on,
	// though no entry of Flows may be there.
	Dynamic []string
}

// String names the entry and its interface: "CMAP 10 on GigabitEthernet0/1".
func (p Protect) String() string { return p.Name + " on " + p.Interface }

// protects reports whether a crypto map is applied to the interface.
func (c *Config) protects(i Interface) bool {
	for _, p := range c.Flows {
		if p.Interface == i.Name {
			return true
		}
	}
	return slices.Contains(c.Dynamic, i.Name)
}

// check refuses what could not keep anything closed.
func (c *Config) check() error {
	switch {
	case c.Hostname == "" || strings.ContainsAny(c.Hostname, "| \t\n"):
		return fmt.Errorf("hostname %q: expected a word", c.Hostname)
	case c.Mark == 0:
		return errors.New("the mark of interesting traffic is 0, which every packet carries")
	case c.Mark == c.OwnMark:
		return fmt.Errorf("interesting traffic and our own sockets have the same mark %#x", c.Mark)
	case c.Table <= 0 || c.Table >= 253 && c.Table <= 255:
		return fmt.Errorf("routing table %d: expected one of our own, not the system's", c.Table)
	case len(c.TUN) > maxDeviceName:
		return fmt.Errorf("TUN device %q: expected at most %d characters", c.TUN, maxDeviceName)
	}
	known := map[string]bool{}
	for _, i := range c.Interfaces {
		if i.Name == "" || i.Device == "" || len(i.Device) > maxDeviceName || strings.Contains(i.Name, "|") {
			return fmt.Errorf("interface %q on device %q: expected a name and a device of 1 to %d characters", i.Name, i.Device, maxDeviceName)
		}
		if known[i.Name] {
			return fmt.Errorf("interface %s is there twice", i.Name)
		}
		known[i.Name] = true
	}
	for _, name := range c.Dynamic {
		if !known[name] {
			return fmt.Errorf("dynamic crypto map on %s: no such interface", name)
		}
	}
	for _, p := range slices.Concat(c.Flows, c.Defined) {
		if p.ACL == nil {
			return fmt.Errorf("crypto map %s: no access list: what it protects is not said", p)
		}
		if !known[p.Interface] {
			return fmt.Errorf("crypto map %s: no such interface", p)
		}
	}
	return nil
}

// Counters is what the guard saw since it was applied, in packets.
type Counters struct {
	Diverted uint64 // interesting packets sent to the TUN device
	NotIPsec uint64 // cleartext that should have arrived protected: dropped
	Leaks    uint64 // interesting packets that were about to leave in clear: dropped
	// Lines holds the hits of the interface access lists, in order of the
	// configuration; a Seq of zero is the implicit deny at the end.
	Lines []LineHits
}

// LineHits is how often one line of an interface access list decided.
type LineHits struct {
	Interface string // IOS name
	Direction string // "in" or "out"
	List      string // name or number of the access list
	Seq       int    // sequence number of the line; 0 for the implicit deny
	Packets   uint64
}

// Cleartext is a packet that arrived in clear and should have been protected.
type Cleartext struct {
	Src, Dst netip.Addr
	Proto    uint8
}

// ErrGone says that the rules no longer stand: somebody flushed them. The
// gateway should Apply again at once.
var ErrGone = errors.New("the nftables table of the guard is gone: interesting traffic is not kept closed")
