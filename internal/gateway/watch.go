package gateway

import (
	"context"
	"errors"
	"time"

	"culvert/internal/edge/guard"
)

// watch looks at the guard every second: cleartext that came in is logged, and
// rules that somebody flushed are put back.
func (g *Gateway) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := g.closed.Load()
		seen, err := now.guard.NotIPsec()
		for _, c := range seen {
			g.journal.cleartext(c)
		}
		switch {
		case errors.Is(err, guard.ErrGone):
			g.journal.say("%%CULVERT-1-GUARD_GONE: somebody flushed the nftables rules that keep interesting traffic closed; putting them back")
			g.defined.Lock()
			_, err := guard.Apply(g.closed.Load().rules)
			g.defined.Unlock()
			if err != nil {
				g.journal.say("%%CULVERT-1-GUARD_GONE: the rules could not be put back: %v", err)
			}
		case err != nil:
			g.journal.say("reading the guard: %v", err)
		}
	}
}
