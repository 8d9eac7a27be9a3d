package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/conf/config"
	"culvert/internal/core/door"
	"culvert/internal/core/policy"
	"culvert/internal/edge/guard"
)

// inForce is the configuration that a gateway works by, and what was found on the
// machine for it. It never changes; a reload puts another one in its place.
type inForce struct {
	config   *config.Config
	settings *policy.Settings
	mtu      map[string]int // of the devices, by IOS name of the interface
}

// closed is what keeps interesting traffic closed.
type closed struct {
	guard *guard.Guard
	rules guard.Config
}

func (g *Gateway) config() *config.Config     { return g.force.Load().config }
func (g *Gateway) settings() *policy.Settings { return g.force.Load().settings }

// prepare makes a configuration ready to be put in force. The gateway keeps the
// name it has: its socket and its rules in the kernel bear it.
func (g *Gateway) prepare(c *config.Config) *inForce {
	s := c.Settings()
	s.Hostname = g.hostname
	return &inForce{config: c, settings: &s, mtu: map[string]int{}}
}

// reloads puts the configuration in force again whenever Options.Reloads says so.
func (g *Gateway) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.options.Reloads:
			if err := g.Reload(ctx); err != nil {
				g.journal.say("%%CULVERT-3-RELOAD: nothing changed: %v", err)
			}
		}
	}
}

// Reload reads the configuration again and puts it in force. Tunnels whose
// settings are the same keep their SAs and lose no packet; those that changed are
// deleted, the peers are told, and they come back with the next packet. On an
// error nothing has changed.
//
// Interesting traffic stays closed throughout: the guard's rules are replaced in
// one transaction, and what they divert is dropped by the data path as long as
// that knows no crypto ACL for it.
func (g *Gateway) Reload(ctx context.Context) error {
	if g.options.Load == nil {
		return errors.New("this gateway cannot read its configuration again")
	}
	c, err := g.options.Load()
	if err != nil {
		return err
	}
	var failed error
	if !g.do(ctx, func() { failed = g.adopt(ctx, c) }) {
		return errStopping
	}
	return failed
}

// adopt puts a configuration in force, on the loop's goroutine.
func (g *Gateway) adopt(ctx context.Context, c *config.Config) error {
	next, old := g.prepare(c), g.force.Load()
	if len(next.settings.Entries) == 0 {
		return errors.New("no crypto map is applied to an interface with an address: there would be nothing to protect (step 5)")
	}
	rules, err := g.guardConfig(next)
	if err != nil {
		return err
	}
	added := without(next.locals(), old.locals())
	for i, local := range added {
		if err := g.listenNow(ctx, local); err != nil {
			g.unlisten(added[:i])
			return err
		}
	}
	if err := g.close(rules); err != nil {
		g.unlisten(added)
		return err
	}
	g.force.Store(next)
	g.step(ctx, door.Configure{Settings: next.settings})
	for _, id := range g.db.SetPolicy(next.settings.Entries) {
		g.step(ctx, door.Expire{Child: id, Hard: true}) // the engine knows it no more, or ends it now
	}
	g.path.Reconfigured()
	g.unlisten(without(old.locals(), next.locals()))
	if c.Hostname != old.config.Hostname {
		g.journal.say("the hostname is %s in the configuration; this gateway goes on as %s until it is started again", c.Hostname, g.hostname)
	}
	g.journal.say("%%SYS-5-CONFIG_I: Configured from %s", c.File)
	return nil
}

// close puts other rules in force that keep interesting traffic closed. The flows
// of dynamic crypto maps stay in them until the engine takes them back.
func (g *Gateway) close(rules guard.Config) error {
	g.defined.Lock()
	defer g.defined.Unlock()
	was := g.closed.Load().rules
	rules.TUN, rules.Defined = was.TUN, was.Defined
	in, err := guard.Apply(rules)
	if err == nil {
		g.closed.Store(&closed{in, rules})
	}
	return err
}

// without are the addresses of a that are not in b.
func without(a, b []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(a), func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// listenNow opens the sockets of a local address while the gateway runs.
func (g *Gateway) listenNow(ctx context.Context, local netip.Addr) error {
	if err := g.listen(local); err != nil {
		g.unlisten([]netip.Addr{local})
		return fmt.Errorf("local address %s: %w", local, err)
	}
	s := g.sockets[netip.AddrPortFrom(local, portIKE)]
	go func() {
		if err := g.receive(ctx, s); err != nil {
			g.journal.say("reading from %s: %v", s.LocalAddr(), err)
		}
	}()
	return nil
}

// unlisten closes the sockets of local addresses that no tunnel ends at any more.
func (g *Gateway) unlisten(locals []netip.Addr) {
	for _, local := range locals {
		g.path.RemoveLocal(local)
		for _, port := range []uint16{portIKE, portNATT} {
			at := netip.AddrPortFrom(local, port)
			if s := g.sockets[at]; s != nil {
				delete(g.sockets, at)
				_ = s.Close() // the data path has closed its own already
			}
		}
	}
}
