package guard

import (
	"errors"
	"net/netip"
)

// Guard is what Apply put in force.
type Guard struct{ table string }

// Apply puts the configuration in force, replacing in one transaction whatever
// an earlier run left, also one that was killed.
func Apply(c Config) (*Guard, error) { return nil, errors.New("guard: not built yet") }

// Counters reads the counters. ErrGone when somebody flushed the rules.
func (g *Guard) Counters() (Counters, error) { return Counters{}, nil }

// NotIPsec returns the cleartext packets dropped that have not been returned
// before; one (src, dst, proto) at most once a minute.
func (g *Guard) NotIPsec() ([]Cleartext, error) { return nil, nil }

// State is what stands of one gateway's guard.
type State struct {
	Hostname string
	Table    string // of nftables
	TUN      string
	Attached bool // the TUN device exists and has the route: a gateway runs
	Mark     uint32
	OwnMark  uint32
	Routes   int // number of the routing table
	Protects []string
	Counters Counters
}

// Show tells what stands for the gateway hostname; ErrNothing when nothing does.
func Show(hostname string) (State, error) { return State{}, ErrNothing }

// Clear takes everything of the gateway hostname away: table, rule and routes.
func Clear(hostname string) error { return ErrNothing }

// List names the gateways whose guard stands.
func List() ([]string, error) { return nil, nil }

// ErrNothing says that no guard of that name stands.
var ErrNothing = errors.New("no guard stands")

// Device is a network device of this machine.
type Device struct {
	Name      string
	Index     int
	MTU       int
	Up        bool
	Addresses []netip.Prefix // IPv4
}

// Devices lists the network devices of this machine.
func Devices() ([]Device, error) { return nil, nil }

// FindDevice finds the device that holds an address of the configuration.
func FindDevice(addr netip.Addr) (name string, index int, err error) { return "", 0, nil }
