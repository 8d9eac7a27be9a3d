package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/sadb"
	"culvert/internal/edge/fastpath"
	"culvert/internal/edge/udpsock"
)

// workers is how much arithmetic runs at once. One processor is left to the
// data path where there are several.
func workers() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// loop steps the engine: it is the engine's only caller. When the gateway stops
// it deletes all SAs, and so tells the peers: they need not send into the void
// until their own SAs end.
func (g *Gateway) loop(ctx context.Context) error {
	defer close(g.parted)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var out []door.Output
	for {
		var in door.Input
		timer.Reset(g.untilDeadline())
		select {
		case <-ctx.Done():
			g.step(ctx, door.Clear{IPsec: true, ISAKMP: true})
			return nil
		case f := <-g.calls:
			f()
			continue
		case in = <-g.asks:
		case in = <-g.inputs:
		case c := <-g.computed:
			in = c
		case <-timer.C:
		}
		out = g.engine.Step(time.Now(), in, out[:0])
		g.carryOut(ctx, out)
	}
}

func (g *Gateway) untilDeadline() time.Duration {
	d := g.engine.Deadline()
	if d.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(d))
}

// step puts an input through the engine on the loop's goroutine.
func (g *Gateway) step(ctx context.Context, in door.Input) {
	g.carryOut(ctx, g.engine.Step(time.Now(), in, nil))
}

// do runs f on the loop's goroutine and waits for it; false when the gateway stops.
func (g *Gateway) do(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case g.calls <- func() { f(); close(done) }:
	case <-ctx.Done():
		return false
	}
	<-done
	return true
}

// carryOut does what the engine put out, in order, and then answers what it asked.
func (g *Gateway) carryOut(ctx context.Context, out []door.Output) {
	var answers []door.Input
	for _, o := range out {
		switch o := o.(type) {
		case door.Send:
			g.send(o)
		case door.Compute:
			g.start(ctx, o)
		case door.Fetch:
			g.fetch(ctx, o)
		case door.Install:
			g.install(o)
		case door.Remove:
			if err := g.db.Remove(o.Child); err != nil {
				g.journal.say("removing an IPsec SA pair: %v", err)
			}
		case door.Define:
			g.define(o.Flow)
		case door.Undefine:
			g.undefine(o.Flow)
		case door.Move:
			if err := g.db.Move(o.Child, o.Remote); err != nil {
				g.journal.say("moving an IPsec SA pair to %s: %v", o.Remote, err)
			}
		case door.Unreachable:
			g.path.Failed(o.Flow)
		case door.Emit:
			g.journal.event(o.Event)
		case door.Observe:
			in, out := g.db.Used(o.Child)
			answers = append(answers, door.Observed{Child: o.Child, In: in, Out: out})
		}
	}
	for _, in := range answers {
		g.step(ctx, in)
	}
}

// send puts an IKE message on the wire, behind the non-ESP marker on port 4500.
func (g *Gateway) send(o door.Send) {
	s := g.sockets[o.Local]
	if s == nil {
		g.journal.say("no socket at %s to send to %s", o.Local, o.Remote)
		return
	}
	p := o.Payload
	if o.Local.Port() == portNATT && !o.Raw {
		p = append(make([]byte, 4, 4+len(p)), p...)
	}
	if err := s.WriteTo(p, o.Remote); err != nil {
		g.journal.say("sending to %s: %v", o.Remote, err)
	}
}

// start runs arithmetic on a goroutine of its own; no more of them work at
// once than there are processors for it. The engine bounds how many there are.
func (g *Gateway) start(ctx context.Context, o door.Compute) {
	go func() {
		select {
		case g.compute <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r := o.Job.Run()
		<-g.compute
		select {
		case g.computed <- door.Computed{ID: o.ID, Result: r}:
		case <-ctx.Done():
		}
	}()
}

// fetch gets a document for the engine; the answer comes back as an input.
func (g *Gateway) fetch(ctx context.Context, o door.Fetch) {
	g.fetcher.Start(ctx, o, func(a door.Fetched) {
		select {
		case g.asks <- a:
		case <-ctx.Done():
		}
	})
}

// install puts SAs into the data path. Once there is an outbound one, what
// waited for it goes out.
func (g *Gateway) install(o door.Install) {
	if err := g.db.Install(*o.Child, o.In, o.Out); err != nil {
		g.journal.say("installing an IPsec SA pair for %s: %v", o.Child.Flow, err)
		return
	}
	g.keylog.child(o.Child)
	if o.Out {
		g.path.Installed(o.Child.Flow)
	}
}

// receive reads IKE from port 500.
func (g *Gateway) receive(ctx context.Context, s *udpsock.Conn) error {
	const batch, size = 32, 65536
	bufs, sizes, from := make([][]byte, batch), make([]int, batch), make([]netip.AddrPort, batch)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	for {
		n, err := s.ReadBatch(bufs, sizes, from)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		for i := range n {
			g.offer(door.Datagram{Local: s.LocalAddr(), Remote: from[i], Payload: append([]byte(nil), bufs[i][:sizes[i]]...)})
		}
	}
}

// offer gives an input to the engine without waiting.
func (g *Gateway) offer(in door.Input) {
	select {
	case g.inputs <- in:
	default:
		g.journal.lost()
	}
}

// ask passes on what the data path wants. A trigger that finds no room comes
// again with the next packet; limits come once an SA and always find room, since
// strangers cannot fill this queue.
func (g *Gateway) ask(in door.Input) {
	select {
	case g.asks <- in:
	default:
		g.journal.lost()
	}
}

// upcalls are what the data path tells. None of them waits.
func (g *Gateway) upcalls() fastpath.Upcalls {
	return fastpath.Upcalls{
		Trigger: func(id policy.FlowID, t flow.Tuple) { g.ask(door.Trigger{Flow: id, Packet: t}) },
		Control: func(local, remote netip.AddrPort, d []byte) {
			g.offer(door.Datagram{Local: local, Remote: remote, Payload: d})
		},
		Expire: func(id sadb.ChildID, hard bool) { g.ask(door.Expire{Child: id, Hard: hard}) },
		Audit:  g.journal.audit,
		Moved:  func(id sadb.ChildID, remote netip.AddrPort) { g.ask(door.Moved{Child: id, Remote: remote}) },
		InvalidSPI: func(local, remote netip.AddrPort, proto uint8, spi uint32) {
			g.offer(door.InvalidSPI{Local: local, Remote: remote, Protocol: proto, SPI: spi})
		},
	}
}
