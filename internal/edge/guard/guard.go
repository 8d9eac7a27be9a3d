package guard

import (
	"errors"
	"net/netip"

	"culvert/internal/core/flow"
)

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
	// TUN is the Linux name of the gateway's TUN device. Empty, or naming a
	// device that does not exist yet, keeps everything closed: interesting
	// traffic is refused. Apply again once the device is there.
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
