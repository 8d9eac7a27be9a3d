// Package vty is the exec mode of the gateway: show, clear, debug, undebug and
// explain in IOS's words, with abbreviations, "?" and IOS's errors. It reads
// snapshots and events through a Backend and never touches an engine.
//
//	commands.go   the grammar: every command with what shows it
//	command.go    Parse: words to a Command; errors for people
//	execute.go    Execute: a Command on a Backend
//	debug.go      live debugging, which never holds the gateway up
//
// Decisions:
//   - A line ending in "?" is a command of its own: it prints what may follow.
//     In a shell the question mark has to be quoted.
//   - IOS says nothing when a clear names an SA, a peer or a list that does not
//     exist, and shows nothing for an unknown access list. We say so, and the
//     exit status is 1: a script with a typing error should not go on.
//   - Debugging belongs to the one who asked: it ends when the listener leaves.
//     "undebug all" ends everybody's, as on a router. "debug crypto condition"
//     is everybody's, too, and outlives the one who set it.
package vty

import (
	"io"
	"net/netip"
	"sync"

	"culvert/internal/core/door"
	"culvert/internal/core/event"
	"culvert/internal/core/status"
)

// Backend is the gateway as this package sees it. Its functions are called
// from any goroutine, several at a time. A nil function means the gateway
// cannot do that; the command then says so. A Backend must not be copied
// after its first use.
type Backend struct {
	// Snapshot is what is, now. The result is not changed by anybody.
	Snapshot func() *status.Gateway
	// RunningConfig is the configuration in use, with every secret hidden.
	RunningConfig func() string
	// Clear clears SAs; it returns once they are gone.
	Clear func(door.Clear) error
	// Reload reads the configuration again and puts it in force; on an error
	// nothing has changed.
	Reload func() error
	// ClearCounters sets the counters of the flows with that peer to zero; of
	// all flows when peer is the zero Addr.
	ClearCounters func(peer netip.Addr) error
	// ClearLists sets the hit counters of the access list of that name to zero;
	// of every list when name is empty.
	ClearLists func(name string) error
	// Explain writes why the tunnel with peer (every tunnel for the zero Addr)
	// is or is not up. up is false when one is not.
	Explain func(w io.Writer, peer netip.Addr, json bool) (up bool, err error)
	// Exchange draws the last exchanges with a peer, message by message; with
	// every peer for the zero Addr.
	Exchange func(w io.Writer, peer netip.Addr) error
	// Subscribe calls deliver with every event from now on until cancel is
	// called. deliver never blocks and may be called from any goroutine.
	Subscribe func(deliver func(event.Event)) (cancel func())
	// Trace renders an event for a topic of debugging, a line each; no lines
	// when the event is none of that topic's business.
	Trace func(t Topic, e event.Event) []string

	mu     sync.Mutex
	debugs map[*queue]struct{} // debugging that runs, for undebug
	peers  []netip.Addr        // those that debugging is limited to; none for no limit
}

// Topic is what debugging is about.
type Topic string

// The topics.
const (
	ISAKMP Topic = "isakmp"
	IPsec  Topic = "ipsec"
	Engine Topic = "engine"
)

// title is the topic as IOS writes it when it is switched on.
func (t Topic) title() string {
	switch t {
	case IPsec:
		return "Crypto IPSEC"
	case Engine:
		return "Crypto Engine"
	}
	return "Crypto ISAKMP"
}
