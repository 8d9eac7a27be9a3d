package interop

import (
	"context"
	"errors"
	"time"

	"culvert/internal/lab"
)

// flood is a steady stream of echo requests between the sites, and what both
// hosts saw of it: an echo request that was sent twice is answered twice, so
// only a count at both ends tells.
type flood struct {
	b        *bench
	from, to string
	stops    map[string]func() lab.Summary
	cancel   context.CancelFunc
	result   chan lab.PingResult
}

// forever is more echo requests than any test lasts for.
const forever = 60000

// startFlood begins to send; count 0 means until stopped.
func (b *bench) startFlood(from, to string, o lab.PingOptions) *flood {
	b.t.Helper()
	if o.Count == 0 {
		o.Count = forever
	}
	ctx, cancel := context.WithCancel(b.ctx)
	f := &flood{b: b, from: from, to: to, cancel: cancel, result: make(chan lab.PingResult, 1),
		stops: map[string]func() lab.Summary{lab.HostA: b.capture(lab.HostA, lab.Eth), lab.HostB: b.capture(lab.HostB, lab.Eth)}}
	b.t.Cleanup(cancel)
	go func() {
		r, err := b.net.PingWith(ctx, from, addressOf(to), o)
		if err != nil && !errors.Is(err, context.Canceled) {
			b.t.Errorf("flood: %v", err)
		}
		f.result <- r
	}()
	return f
}

// end stops the flood and returns what its sender counted.
func (f *flood) end() lab.PingResult {
	f.b.t.Helper()
	f.cancel()
	return <-f.result
}

// lossless waits for a flood with a count and wants every packet to have
// arrived exactly once, at both ends. The captures are the judges: the sender's
// socket may overflow on a slow machine.
func (f *flood) lossless() {
	f.b.t.Helper()
	r := <-f.result
	if len(r.Refusals) > 0 {
		f.b.t.Errorf("flood: %d echo requests, %d refusals: %s", r.Sent, len(r.Refusals), r.Refusals[0])
	}
	for host, stop := range f.stops {
		s := stop()
		if s.Cleartext.A != r.Sent || s.Cleartext.B != r.Sent {
			f.b.t.Errorf("at %s: %s, expected %d each way: neither a loss nor a duplicate", host, s.Cleartext, r.Sent)
		}
	}
}

// steady is the flood that a renewal must not disturb: 200 packets a second.
func steady(count int) lab.PingOptions {
	return lab.PingOptions{Count: count, Interval: 5 * time.Millisecond}
}
