package guard

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// RouteProtocol is written on every route and rule of the guard, as the
	// routing daemons write theirs; /etc/iproute2/rt_protos may name it.
	RouteProtocol = 197
	// RulePriority is that of the rule that diverts: before everything but the
	// local table.
	RulePriority = 50
	// unreachableMetric is worse than any other route's.
	unreachableMetric = 4278198272
)

// lay puts the routes and the rule of a guard in place, the route that refuses
// first: from the moment the rule is there, a marked packet is refused or tunnelled.
func (s state) lay() error {
	if err := s.checkTable(); err != nil {
		return err
	}
	if err := netlink.RouteReplace(s.unreachable()); err != nil {
		return fmt.Errorf("set the unreachable route of table %d: %w", s.Table, explain(err))
	}
	if err := s.layTUN(); err != nil {
		return err
	}
	if err := netlink.RuleAdd(s.rule()); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("set the routing rule for mark %#x: %w", s.Mark, explain(err))
	}
	return nil
}

// layTUN makes the TUN device the way out, or with none takes the way out away.
func (s state) layTUN() error {
	if s.TUN == "" {
		return removeRoutes(func(r netlink.Route) bool { return r.Table == s.Table && r.Type != unix.RTN_UNREACHABLE })
	}
	link, err := netlink.LinkByName(s.TUN)
	if err != nil {
		return fmt.Errorf("find the TUN device %s: %w", s.TUN, err)
	}
	route := netlink.Route{
		LinkIndex: link.Attrs().Index, Table: s.Table, Dst: everywhere(), Scope: netlink.SCOPE_LINK, Protocol: RouteProtocol,
	}
	if err := netlink.RouteReplace(&route); err != nil {
		return fmt.Errorf("set the route to the TUN device %s (is it up?): %w", s.TUN, explain(err))
	}
	return nil
}

// checkTable refuses a routing table that somebody else uses.
func (s state) checkTable() error {
	routes, err := routes(func(r netlink.Route) bool { return r.Table == s.Table && r.Protocol != RouteProtocol })
	if err != nil {
		return err
	}
	if len(routes) > 0 {
		return fmt.Errorf("routing table %d is somebody else's: it has the route %s", s.Table, routes[0])
	}
	return nil
}

func everywhere() *net.IPNet { return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)} }

func (s state) unreachable() *netlink.Route {
	return &netlink.Route{
		Table: s.Table, Dst: everywhere(), Type: unix.RTN_UNREACHABLE, Priority: unreachableMetric, Protocol: RouteProtocol,
	}
}

func (s state) rule() *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Mark, r.Table, r.Protocol = unix.AF_INET, RulePriority, s.Mark, s.Table, RouteProtocol
	return r
}

// attached reports whether marked packets reach a TUN device: a gateway runs.
func (s state) attached() (bool, error) {
	found, err := routes(func(r netlink.Route) bool {
		return r.Table == s.Table && r.Protocol == RouteProtocol && r.LinkIndex != 0
	})
	return len(found) > 0, err
}

// sweep removes what guards that stand no more have left of rules and routes.
// It reports whether there was any.
func sweep(keep []state) (bool, error) {
	rules, err := netlink.RuleList(unix.AF_INET)
	if err != nil {
		return false, fmt.Errorf("list the routing rules: %w", err)
	}
	swept := false
	for _, r := range rules {
		kept := slices.ContainsFunc(keep, func(s state) bool {
			return r.Mark == s.Mark && r.Table == s.Table && r.Priority == RulePriority
		})
		if r.Protocol != RouteProtocol || kept {
			continue
		}
		if err := netlink.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return swept, fmt.Errorf("remove the routing rule %q: %w", r, explain(err))
		}
		swept = true
	}
	stale := func(r netlink.Route) bool {
		return r.Protocol == RouteProtocol && !slices.ContainsFunc(keep, func(s state) bool { return s.Table == r.Table })
	}
	if found, err := routes(stale); err != nil || len(found) == 0 {
		return swept, err
	}
	return true, removeRoutes(stale)
}

func removeRoutes(which func(netlink.Route) bool) error {
	found, err := routes(which)
	if err != nil {
		return err
	}
	for _, r := range found {
		if r.Dst == nil {
			r.Dst = everywhere()
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the route %q: %w", r, explain(err))
		}
	}
	return nil
}

// routes lists routes of every table.
func routes(which func(netlink.Route) bool) ([]netlink.Route, error) {
	const tries = 3 // a dump that changed under way is taken again
	var all []netlink.Route
	var err error
	for range tries {
		all, err = netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	return slices.DeleteFunc(all, func(r netlink.Route) bool { return !which(r) }), nil
}

// checkDevice makes sure that an interface's device is still the one that was found.
func checkDevice(i Interface) error {
	link, err := netlink.LinkByName(i.Device)
	if err != nil {
		return fmt.Errorf("interface %s: find its device %s: %w", i.Name, i.Device, err)
	}
	if n := link.Attrs().Index; i.Index != 0 && n != i.Index {
		return fmt.Errorf("interface %s: its device %s has index %d now, not %d: it was made anew", i.Name, i.Device, n, i.Index)
	}
	return nil
}
