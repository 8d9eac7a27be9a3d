package guard

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
)

// Guard is what Apply put in force. It holds nothing open: it only knows where
// to look. Its methods work in the network namespace of the calling thread, which
// has to be the one Apply was called in, and may be called at the same time.
type Guard struct {
	config Config
	table  *nftables.Table
	set    *nftables.Set

	mu   sync.Mutex
	seen map[Cleartext]time.Time // recorded packets already returned, and when their record ends
}

// Apply puts the configuration in force, replacing in one transaction whatever
// an earlier run left, also one that was killed, in the network namespace of the
// calling thread. It may be called again at any time, with the same or another
// configuration; counters then start at zero. On an error the rules are as they
// were before. What was put in force stays when the process ends, until Clear.
func Apply(c Config) (*Guard, error) {
	g, err := apply(c)
	if err != nil {
		return nil, fmt.Errorf("guard of %s: %w", c.Hostname, err)
	}
	return g, nil
}

func apply(c Config) (*Guard, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, i := range c.Interfaces {
		if err := checkDevice(i); err != nil {
			return nil, err
		}
	}
	conn, err := open()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	others, err := othersThan(conn, c.Hostname)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		if o.Mark == c.Mark || o.Table == c.Table {
			return nil, fmt.Errorf("the guard of %s stands here already with mark %#x and routing table %d: each gateway needs its own", o.Hostname, o.Mark, o.Table)
		}
	}
	if err := c.state().lay(); err != nil {
		return nil, err
	}
	table, err := replace(conn, c)
	if err != nil {
		return nil, err
	}
	if _, err := sweep(append(others, c.state())); err != nil {
		return nil, err
	}
	return &Guard{
		config: c, table: table, set: &nftables.Set{Table: table, Name: setCleartext}, seen: map[Cleartext]time.Time{},
	}, nil
}

// replace exchanges the whole table in one netfilter transaction: no packet
// meets a part of it.
func replace(conn *nftables.Conn, c Config) (*nftables.Table, error) {
	table := tableOf(c.Hostname)
	conn.AddTable(table) // so that there is one to remove
	conn.DelTable(table)
	conn.AddTable(table)
	b := &builder{conn: conn, table: table, config: c}
	if err := b.build(); err != nil {
		return nil, fmt.Errorf("write the nftables rules: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("set the nftables table %s: %w", table.Name, explain(err))
	}
	return table, nil
}

// Redefine replaces Config.Defined in one transaction; all else stays as it
// is, counters too. The error is ErrGone when somebody flushed the rules.
func (g *Guard) Redefine(defined []Protect) error {
	c := g.config
	c.Defined = defined
	err := c.check()
	if err == nil {
		err = g.redefine(c)
	}
	if err != nil {
		return fmt.Errorf("guard of %s: define flows: %w", c.Hostname, err)
	}
	return nil
}

func (g *Guard) redefine(c Config) error {
	conn, err := open()
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	b := &builder{conn: conn, table: g.table, config: c}
	for _, i := range c.Interfaces {
		b.definedChains(i)
	}
	if b.err != nil {
		return b.err
	}
	if err := conn.Flush(); err != nil {
		return g.orGone(conn, explain(err))
	}
	return nil
}

func othersThan(conn *nftables.Conn, hostname string) ([]state, error) {
	all, err := standing(conn)
	return slices.DeleteFunc(all, func(s state) bool { return s.Hostname == hostname }), err
}

// Counters reads the counters. The error is ErrGone when somebody flushed the
// rules: the gateway should Apply again at once.
func (g *Guard) Counters() (Counters, error) {
	conn, err := open()
	if err != nil {
		return Counters{}, err
	}
	defer conn.CloseLasting()
	c, err := readCounters(conn, g.table)
	return c, g.orGone(conn, err)
}

// orGone explains a failed read by the table's absence, if that is so.
func (g *Guard) orGone(conn *nftables.Conn, err error) error {
	if err == nil {
		return nil
	}
	if there, e := stands(conn, g.table); e == nil && !there {
		return fmt.Errorf("%s: %w", g.table.Name, ErrGone)
	}
	return err
}

// NotIPsec returns the cleartext packets that were dropped because they should
// have arrived protected and that it has not returned before: each source,
// destination and protocol at most once a minute, at most 4096 a minute. The error
// is ErrGone when somebody flushed the rules.
func (g *Guard) NotIPsec() ([]Cleartext, error) {
	conn, err := open()
	if err != nil {
		return nil, err
	}
	defer conn.CloseLasting()
	elements, err := conn.GetSetElements(g.set)
	if err != nil {
		return nil, g.orGone(conn, fmt.Errorf("read the recorded packets: %w", err))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fresh(elements, time.Now()), nil
}

// fresh keeps what has not been returned yet. A record that was made anew after
// it ended counts again; the ends of one record, reckoned at two readings, differ by
// a little.
func (g *Guard) fresh(elements []nftables.SetElement, now time.Time) []Cleartext {
	const slack = time.Second
	var out []Cleartext
	seen := make(map[Cleartext]time.Time, len(elements))
	for _, e := range elements {
		c, ok := parseCleartext(e.Key)
		if !ok {
			continue
		}
		end := now.Add(e.Expires)
		if before, known := g.seen[c]; !known || end.Sub(before) > slack {
			out = append(out, c)
		}
		seen[c] = end
	}
	g.seen = seen
	return out
}

// Clear takes everything of the gateway hostname away: table, rule and routes.
// From then on interesting traffic is routed like any other, in clear. The error
// is ErrNothing when nothing stood.
func Clear(hostname string) error {
	if err := remove(hostname); err != nil {
		return fmt.Errorf("guard of %s: %w", hostname, err)
	}
	return nil
}

func remove(hostname string) error {
	conn, err := open()
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	table := tableOf(hostname)
	there, err := stands(conn, table)
	if err != nil {
		return err
	}
	if there {
		conn.DelTable(table)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("remove the nftables table %s: %w", table.Name, explain(err))
		}
	}
	others, err := othersThan(conn, hostname)
	if err != nil {
		return err
	}
	swept, err := sweep(others)
	if err == nil && !there && !swept {
		return ErrNothing
	}
	return err
}

// ErrNothing says that no guard of that name stands.
var ErrNothing = errors.New("nothing stands")
