package guard

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A transaction is one message to the kernel, which answers each part of it:
// thousands of access list lines need more than the default of 212 KB.
const netlinkBuffer = 32 << 20

// open talks nftables with the network namespace of the calling thread. A
// lasting connection has to be closed with CloseLasting.
func open() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(netlinkBuffer), c.SetWriteBuffer(netlinkBuffer))
	}))
	if err != nil {
		return nil, fmt.Errorf("talk to nftables: %w", explain(err))
	}
	return c, nil
}

// explain puts an error of the kernel into words an operator can act on.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("not permitted: run as root or with the capability CAP_NET_ADMIN (%w)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel lacks a part of nftables: nf_tables with fib, counters and dynamic sets is needed "+
			"(modules nf_tables, nft_fib_ipv4) (%w)", err)
	}
	return err
}

func tableOf(hostname string) *nftables.Table {
	return &nftables.Table{Name: tablePrefix + token(hostname), Family: nftables.TableFamilyIPv4}
}

// state is what a later run, or "culvert guard", has to know of one that is
// gone. It is kept where it cannot get lost or out of date: in a comment in the table.
type state struct {
	Hostname, TUN string
	Mark, OwnMark uint32
	Table         int
}

func (c *Config) state() state { return state{c.Hostname, c.TUN, c.Mark, c.OwnMark, c.Table} }

func (s state) comment() string {
	return fmt.Sprintf("state|%s|%s|%#x|%#x|%d", s.Hostname, s.TUN, s.Mark, s.OwnMark, s.Table)
}

func parseState(comment string) (state, error) {
	w := strings.Split(comment, "|")
	if len(w) != 6 || w[0] != "state" {
		return state{}, fmt.Errorf("%q: expected the state of a guard", comment)
	}
	mark, err1 := strconv.ParseUint(w[3], 0, 32)
	own, err2 := strconv.ParseUint(w[4], 0, 32)
	table, err3 := strconv.Atoi(w[5])
	if err := errors.Join(err1, err2, err3); err != nil {
		return state{}, fmt.Errorf("%q: expected the state of a guard: %w", comment, err)
	}
	return state{w[1], w[2], uint32(mark), uint32(own), table}, nil
}

// standing lists the guards whose tables stand in this network namespace.
func standing(conn *nftables.Conn) ([]state, error) {
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", explain(err))
	}
	var out []state
	for _, t := range tables {
		if !strings.HasPrefix(t.Name, tablePrefix) {
			continue
		}
		rules, err := conn.GetRules(t, &nftables.Chain{Name: chainState, Table: t})
		if err != nil || len(rules) == 0 {
			continue // somebody else's table, or one that is going away
		}
		comment, _ := userdata.GetString(rules[0].UserData, userdata.TypeComment)
		if s, err := parseState(comment); err == nil && t.Name == tableOf(s.Hostname).Name {
			out = append(out, s)
		}
	}
	return out, nil
}

// stands reports whether the table is there.
func stands(conn *nftables.Conn, table *nftables.Table) (bool, error) {
	tables, err := conn.ListTablesOfFamily(table.Family)
	if err != nil {
		return false, fmt.Errorf("list the nftables tables: %w", explain(err))
	}
	for _, t := range tables {
		if t.Name == table.Name {
			return true, nil
		}
	}
	return false, nil
}
