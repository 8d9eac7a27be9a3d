package vty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"culvert/internal/core/door"
	"culvert/internal/core/status"
	"culvert/internal/face/show"
)

// Execute does what the command says and writes the answer to w. Debugging
// goes on until ctx ends, w fails or "undebug all". The error is one for
// people; ExitStatus and Message tell what to make of it.
func Execute(ctx context.Context, c Command, b *Backend, w io.Writer) error {
	switch c.name {
	case help:
		_, err := io.WriteString(w, helpText(c))
		return err
	case replaceConfig:
		if b.Reload == nil {
			return cannot("read its configuration again")
		}
		return b.Reload()
	case showRunning:
		return b.runningConfig(c, w)
	case debugISAKMP, debugIPsec, debugEngine:
		return b.debug(ctx, c.topic(), c.JSON, w)
	case debugCondition, debugReset, showCondition:
		return b.condition(c, w)
	case undebugAll:
		return b.undebug(c, w)
	case explain:
		return b.explain(c, w)
	case showExchange:
		return b.exchange(c, w)
	case clearSA, clearSAPeer, clearSAMap, clearSAEntry, clearISAKMP, clearSession, clearSACounters, clearLists:
		return b.clear(c)
	}
	for _, r := range shows() {
		if r.syntax == c.name {
			return b.show(r, c, w)
		}
	}
	return errors.New("there is no such command")
}

// cannot is the error for a function the gateway did not give.
func cannot(what string) error { return fmt.Errorf("this gateway cannot %s", what) }

func (b *Backend) snapshot() (*status.Gateway, error) {
	if b.Snapshot == nil {
		return nil, cannot("show its state")
	}
	g := b.Snapshot()
	if g == nil {
		return nil, errors.New("the gateway is stopping")
	}
	return g, nil
}

func (b *Backend) show(r row, c Command, w io.Writer) error {
	g, err := b.snapshot()
	if err != nil {
		return err
	}
	if err := knownList(g, c.List); err != nil {
		return err
	}
	if c.JSON {
		return show.JSON(w, r.view(g, c))
	}
	return r.text(w, g, c)
}

// knownList refuses the name of an access list that does not exist.
func knownList(g *status.Gateway, name string) error {
	var names []string
	for i := range g.Lists {
		if l := g.Lists[i].List; l != nil {
			if l.Name == name {
				return nil
			}
			names = append(names, l.Name)
		}
	}
	switch {
	case name == "":
		return nil
	case len(names) == 0:
		return fmt.Errorf("no access list %q: the configuration has none", name)
	}
	return fmt.Errorf("no access list %q: there is %s", name, strings.Join(names, ", "))
}

// runningJSON is "show running-config" as JSON.
type runningJSON struct {
	Config string `json:"running_config"`
}

func (b *Backend) runningConfig(c Command, w io.Writer) error {
	if b.RunningConfig == nil {
		return cannot("show its configuration")
	}
	text := b.RunningConfig()
	if c.JSON {
		return show.JSON(w, runningJSON{text})
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func (b *Backend) explain(c Command, w io.Writer) error {
	if b.Explain == nil {
		return cannot("explain")
	}
	up, err := b.Explain(w, c.Peer, c.JSON)
	if err == nil && !up {
		return ErrNo
	}
	return err
}

// exchangeJSON is "show crypto exchange" as JSON.
type exchangeJSON struct {
	Exchange string `json:"exchange"`
}

func (b *Backend) exchange(c Command, w io.Writer) error {
	if b.Exchange == nil {
		return cannot("show exchanges")
	}
	if !c.JSON {
		return b.Exchange(w, c.Peer)
	}
	var text strings.Builder
	if err := b.Exchange(&text, c.Peer); err != nil {
		return err
	}
	return show.JSON(w, exchangeJSON{text.String()})
}

func (b *Backend) clear(c Command) error {
	g, err := b.snapshot()
	if err != nil {
		return err
	}
	if err := knownPeer(g, c.Peer); err != nil {
		return err
	}
	switch c.name {
	case clearLists:
		if b.ClearLists == nil {
			return cannot("clear access list counters")
		}
		if err := knownList(g, c.List); err != nil {
			return err
		}
		return b.ClearLists(c.List)
	case clearSACounters:
		if b.ClearCounters == nil {
			return cannot("clear counters")
		}
		return b.ClearCounters(c.Peer)
	}
	if b.Clear == nil {
		return cannot("clear SAs")
	}
	for _, err := range []error{knownConn(g, c.Conn), knownMap(g, c.Map), knownSA(g, c)} {
		if err != nil {
			return err
		}
	}
	return b.Clear(door.Clear{
		IPsec:  c.name != clearISAKMP,
		ISAKMP: c.name == clearISAKMP || c.name == clearSession,
		Peer:   c.Peer,
		Conn:   c.Conn,
		Map:    c.Map,
		Dest:   c.Dest,
		AH:     c.AH,
		SPI:    c.SPI,
	})
}

// knownMap refuses the name of a crypto map that does not exist.
func knownMap(g *status.Gateway, name string) error {
	if name == "" {
		return nil
	}
	for _, e := range show.Entries(g) {
		if e.Map == name {
			return nil
		}
	}
	return fmt.Errorf("no crypto map %q: \"show crypto map\" lists them", name)
}

// knownSA refuses an SA that does not exist.
func knownSA(g *status.Gateway, c Command) error {
	if c.SPI == 0 {
		return nil
	}
	for i := range g.Flows {
		f := &g.Flows[i]
		for j := range f.Children {
			k := &f.Children[j]
			in, out := k.In, k.Out
			if c.AH {
				in, out = k.AHIn, k.AHOut
			}
			if c.Dest == f.Local && c.SPI == in || c.Dest == f.Peer.Addr() && c.SPI == out {
				return nil
			}
		}
	}
	return fmt.Errorf("no SA 0x%X that ends at %s: \"show crypto ipsec sa\" lists them", c.SPI, c.Dest)
}

// knownPeer refuses an address that is nobody's: neither configured nor in an SA.
func knownPeer(g *status.Gateway, peer netip.Addr) error {
	if !peer.IsValid() {
		return nil
	}
	for i := range g.ISAKMP {
		if g.ISAKMP[i].Remote.Addr() == peer {
			return nil
		}
	}
	for i := range g.Flows {
		if g.Flows[i].Peer.Addr() == peer {
			return nil
		}
	}
	if g.Settings != nil {
		for _, e := range g.Settings.Entries {
			for _, a := range e.Peers {
				if a == peer {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("no peer %s: no crypto map entry names it and it has no SA", peer)
}

// knownConn refuses the conn-id of an ISAKMP SA that does not exist.
func knownConn(g *status.Gateway, conn int) error {
	if conn == 0 {
		return nil
	}
	for i := range g.ISAKMP {
		if g.ISAKMP[i].Conn == conn && !g.ISAKMP[i].Deleted {
			return nil
		}
	}
	return fmt.Errorf("no ISAKMP SA with conn-id %d: \"show crypto isakmp sa\" lists them", conn)
}
