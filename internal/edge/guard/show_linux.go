package guard

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// State is what stands of one gateway's guard.
type State struct {
	Hostname string
	Table    string // of nftables, family ip
	TUN      string // empty when it was applied before there was one
	// Attached: a TUN device takes the interesting traffic, so a gateway runs.
	// Otherwise it is refused.
	Attached bool
	Mark     uint32 // of interesting traffic
	OwnMark  uint32 // of the gateway's own packets
	Routes   int    // number of the routing table
	Protects []string
	Counters Counters
}

// String is the state as "culvert guard show" prints it.
func (s State) String() string {
	var b strings.Builder
	what := "closed: no gateway runs, interesting traffic is refused"
	if s.Attached {
		what = "open through " + s.TUN
	}
	fmt.Fprintf(&b, "%s: %s\n", s.Hostname, what)
	for _, p := range s.Protects {
		fmt.Fprintf(&b, "  protects %s\n", p)
	}
	fmt.Fprintf(&b, "  nftables table ip %s, routing table %d for mark %#x\n", s.Table, s.Routes, s.Mark)
	fmt.Fprintf(&b, "  %s diverted, %d dropped that came in clear, %d dropped that would have left in clear\n",
		plural(s.Counters.Diverted, "packet", "packets"), s.Counters.NotIPsec, s.Counters.Leaks)
	for _, l := range s.Counters.Lines {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	return b.String()
}

// String is "access list 101 in on GigabitEthernet0/1, line 10: 4 matches".
func (h LineHits) String() string {
	line := fmt.Sprintf("line %d", h.Seq)
	if h.Seq == 0 {
		line = "implicit deny"
	}
	return fmt.Sprintf("access list %s %s on %s, %s: %s", h.List, h.Direction, h.Interface, line, plural(h.Packets, "match", "matches"))
}

// Show tells what stands for the gateway hostname. The error is ErrNothing when
// nothing does.
func Show(hostname string) (State, error) {
	s, err := show(hostname)
	if err != nil {
		return State{}, fmt.Errorf("guard of %s: %w", hostname, err)
	}
	return s, nil
}

func show(hostname string) (State, error) {
	conn, err := open()
	if err != nil {
		return State{}, err
	}
	defer conn.CloseLasting()
	all, err := standing(conn)
	if err != nil {
		return State{}, err
	}
	for _, s := range all {
		if s.Hostname == hostname {
			return s.read(conn)
		}
	}
	return State{}, ErrNothing
}

func (s state) read(conn *nftables.Conn) (State, error) {
	table := tableOf(s.Hostname)
	out := State{Hostname: s.Hostname, Table: table.Name, TUN: s.TUN, Mark: s.Mark, OwnMark: s.OwnMark, Routes: s.Table}
	var err error
	if out.Attached, err = s.attached(); err != nil {
		return State{}, err
	}
	if out.Counters, err = readCounters(conn, table); err != nil {
		return State{}, err
	}
	err = eachRule(conn, table, []string{chainProtect}, func(_ *nftables.Rule, comment string) {
		if comment != "" {
			out.Protects = append(out.Protects, comment)
		}
	})
	return out, err
}

// List names the gateways whose guard stands in this network namespace.
func List() ([]string, error) {
	conn, err := open()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	all, err := standing(conn)
	var out []string
	for _, s := range all {
		out = append(out, s.Hostname)
	}
	return out, err
}

// eachRule calls f for the rules of the chains whose names start with one of
// prefixes, in the order they were written.
func eachRule(conn *nftables.Conn, table *nftables.Table, prefixes []string, f func(r *nftables.Rule, comment string)) error {
	chains, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return fmt.Errorf("list the chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != table.Name || !startsWithAny(c.Name, prefixes) {
			continue
		}
		rules, err := conn.GetRules(table, c)
		if err != nil {
			return fmt.Errorf("read the chain %s: %w", c.Name, err)
		}
		for _, r := range rules {
			comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			f(r, comment)
		}
	}
	return nil
}

func startsWithAny(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func readCounters(conn *nftables.Conn, table *nftables.Table) (Counters, error) {
	var out Counters
	objects, err := conn.GetNamedObjects(table)
	if err != nil {
		return out, fmt.Errorf("read the counters: %w", err)
	}
	found := 0
	for _, o := range objects {
		named, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		c, ok := named.Obj.(*expr.Counter)
		if !ok {
			continue
		}
		found++
		switch named.Name {
		case countDiverted:
			out.Diverted = c.Packets
		case countNotIPsec:
			out.NotIPsec = c.Packets
		case countLeaks:
			out.Leaks = c.Packets
		}
	}
	if found == 0 {
		return out, fmt.Errorf("read the counters: the table %s has none", table.Name)
	}
	out.Lines, err = readHits(conn, table)
	return out, err
}

// readHits adds up the rules of each line of the interface access lists.
func readHits(conn *nftables.Conn, table *nftables.Table) ([]LineHits, error) {
	var out []LineHits
	err := eachRule(conn, table, []string{chainIn, chainOut}, func(r *nftables.Rule, comment string) {
		line, err := parseHits(comment)
		if err != nil {
			return
		}
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				line.Packets = c.Packets
			}
		}
		if n := len(out) - 1; n >= 0 && sameLine(out[n], line) {
			out[n].Packets += line.Packets
			return
		}
		out = append(out, line)
	})
	return out, err
}

func sameLine(a, b LineHits) bool {
	a.Packets, b.Packets = 0, 0
	return a == b
}

// parseCleartext reads a key of the set of recorded packets: source,
// destination, protocol, each padded to four octets.
func parseCleartext(key []byte) (Cleartext, bool) {
	if len(key) < 9 {
		return Cleartext{}, false
	}
	return Cleartext{
		Src: netip.AddrFrom4([4]byte(key[0:4])), Dst: netip.AddrFrom4([4]byte(key[4:8])), Proto: key[8],
	}, true
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
