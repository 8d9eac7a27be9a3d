// Package gateway runs Culvert: it owns the clock, the engine's loop, the
// sockets, the TUN device, the guard and the control socket, and wires the
// core to the edges and the faces.
//
//	gateway.go   what a gateway is made of; start and stop
//	network.go   addresses to devices, sockets, TUN device, guard
//	loop.go      the engine's loop: inputs one by one, outputs carried out
//	watch.go     what is looked at every second: the guard, cleartext that came in
//	journal.go   events to the log, to debugging and to memory
//	snapshot.go  what is, for show and explain
//	reload.go    another configuration, put in force while tunnels run
//	backend.go   the commands of the control socket
//	keylog.go    keys for Wireshark, on request
package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/conf/config"
	"culvert/internal/core/door"
	"culvert/internal/core/ike"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/fetch"
	"culvert/internal/edge/udpsock"
	"culvert/internal/face/control"
)

// Options of a gateway.
type Options struct {
	Config *config.Config
	// Load reads the configuration again, for Reload; its error names file, line
	// and column. nil when that is not possible.
	Load func() (*config.Config, error)
	// Reloads asks for a Reload each time something comes; nil for never.
	Reloads <-chan os.Signal
	Name    string // instead of the configuration's hostname
	Socket  string // path of the control socket; "" for the default
	Version string
	// Bind gives the Linux device of an interface: "GigabitEthernet0/1" → "eth1".
	// Without it the device that holds the interface's address is taken.
	Bind map[string]string
	// KeyLog is a directory for Wireshark's key tables; "" for none.
	KeyLog string
	Log    io.Writer
}

// Gateway is a running gateway.
type Gateway struct {
	options  Options
	hostname string
	started  time.Time
	force    atomic.Pointer[inForce]
	closed   atomic.Pointer[closed]

	engine  *ike.Engine
	db      *sadb.DB
	path    *fastpath.Path
	defined sync.Mutex // whoever changes closed
	sockets map[netip.AddrPort]*udpsock.Conn
	fetcher *fetch.Fetcher

	inputs   chan door.Input // from the network
	asks     chan door.Input // from the data path
	computed chan door.Computed
	calls    chan func()
	compute  chan struct{} // as many as may compute at once
	parted   chan struct{} // closed once the engine's loop has ended and the peers were told

	journal *journal
	keylog  *keylog
	base    map[policy.FlowID]baseline // counters that "clear crypto sa counters" takes as zero
}

// Inputs that wait for the engine. A datagram that finds no room is lost, as
// on any network; its sender sends it again.
const inputQueue = 4096

// New prepares a gateway; nothing of the machine is touched before Run.
func New(o Options) *Gateway {
	g := &Gateway{
		options: o, hostname: o.Config.Hostname, started: time.Now(),
		db: sadb.New(rand.Reader), sockets: map[netip.AddrPort]*udpsock.Conn{},
		inputs: make(chan door.Input, inputQueue), asks: make(chan door.Input, inputQueue), computed: make(chan door.Computed, 16), calls: make(chan func()), parted: make(chan struct{}),
		compute: make(chan struct{}, workers()), fetcher: fetch.New(), journal: newJournal(o.Log), base: map[policy.FlowID]baseline{},
	}
	if o.Name != "" {
		g.hostname = o.Name
	}
	if g.hostname == "" {
		g.hostname = "culvert"
	}
	next := g.prepare(o.Config)
	g.force.Store(next)
	g.engine = ike.New(next.settings, rand.Reader)
	g.db.SetPolicy(next.settings.Entries)
	return g
}

// Hostname is the name the gateway runs under.
func (g *Gateway) Hostname() string { return g.hostname }

// Run carries traffic until ctx ends. What keeps interesting traffic closed
// stays in force afterwards (guard.Clear takes it away).
func (g *Gateway) Run(ctx context.Context) error {
	if len(g.settings().Entries) == 0 {
		return errors.New("no crypto map is applied to an interface with an address: there is nothing to protect (step 5)")
	}
	path := g.options.Socket
	if path == "" {
		path = control.DefaultPath(g.hostname)
	}
	claim, err := control.Take(path)
	if err != nil {
		return err
	}
	if g.keylog, err = openKeyLog(g.options.KeyLog); err != nil {
		return errors.Join(err, claim.Release())
	}
	if err := g.open(); err != nil {
		g.closeSockets()
		return errors.Join(err, claim.Release())
	}
	server, err := claim.Listen()
	if err != nil {
		g.closeSockets()
		g.path.Close()
		return err
	}
	g.journal.say("%%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is ON; control socket %s", server.Path())
	return g.serve(ctx, server)
}

// serve runs all loops until one fails or ctx ends, then stops all.
func (g *Gateway) serve(ctx context.Context, server *control.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loops := []func(context.Context) error{
		func(ctx context.Context) error { return server.Serve(ctx, control.Exec(g.backend(ctx))) },
		func(context.Context) error { return g.path.Run() },
		g.loop,
		g.watch,
		g.reloads,
	}
	for at, s := range g.sockets {
		if at.Port() == portIKE {
			loops = append(loops, func(ctx context.Context) error { return g.receive(ctx, s) })
		}
	}
	ended := make(chan error, len(loops))
	for _, run := range loops {
		go func() { ended <- run(ctx) }()
	}
	first := <-ended
	cancel()
	<-g.parted
	g.path.Close()
	g.closeSockets()
	for range len(loops) - 1 {
		<-ended // for no other reason than that it was stopped
	}
	g.keylog.close()
	if first != nil && !errors.Is(first, context.Canceled) {
		return fmt.Errorf("gateway %s: %w", g.hostname, first)
	}
	return nil
}
