package diagnose

import (
	"fmt"
	"strings"

	"culvert/internal/core/event"
	"culvert/internal/core/origin"
)

// responderOnly explains traffic that asked for a tunnel which only the peer
// may begin.
func (c *explainer) responderOnly(event.Event, event.Failed) {
	e := c.entry
	if e.Dynamic {
		c.blame(5, true, "a dynamic entry never begins",
			fmt.Sprintf("Traffic asks for the tunnel to %s, but crypto map %s %d is made from a dynamic map: the peer has to begin.", c.peerWords(), e.Map, e.Seq),
			c.thereToo("ping "+e.Local.String()+" ! any packet of its crypto ACL brings the tunnel up"),
			c.add(origin.Line{}, fmt.Sprintf("crypto map %s %d ipsec-isakmp", e.Map, max(e.Seq-1, 1)), " set peer "+c.peerWords(), " set transform-set "+c.firstSet(), " match address LIST"))
		return
	}
	way := c.add(e.Origin, "no responder-only")
	if !e.ResponderOrigin.IsZero() {
		way = c.here(e.ResponderOrigin, "no responder-only")
	}
	c.report.Both = true
	c.blame(5, true, "the entry never begins",
		fmt.Sprintf("Traffic asks for the tunnel to %s, but crypto map %s %d is responder-only: the peer has to begin.", c.report.Peer, e.Map, e.Seq),
		way, c.thereToo("ping "+e.Local.String()+" ! any packet of its crypto ACL brings the tunnel up"))
}

func (c *explainer) firstSet() string {
	if len(c.entry.Sets) == 0 {
		return "NAME"
	}
	return c.entry.Sets[0].Name
}

// peerWords is the peer's address, or what stands for one that is not known.
func (c *explainer) peerWords() string {
	if !c.report.Peer.IsValid() {
		return "PEER"
	}
	return c.report.Peer.String()
}

// peerGone explains an end by dead peer detection (RFC 3706).
func (c *explainer) peerGone(_ event.Event, w event.Failed) {
	c.blame(1, false, "the peer stopped answering",
		fmt.Sprintf("%s answered once and then no more (dead peer detection: %s). It is down, the way to it is, or it began anew without saying so. The next packet of access list %s asks for a new tunnel.", c.report.Peer, strings.TrimPrefix(w.Reason, "dead peer detection: "), c.listName()),
		c.there("show crypto isakmp sa"))
}

func (c *explainer) listName() string {
	if c.entry.ACL == nil {
		return "its crypto ACL"
	}
	return c.entry.ACL.Name
}

// fragmented explains a message of which parts are missing.
func (c *explainer) fragmented(_ event.Event, w event.Failed) {
	c.blame(1, false, "fragments of the peer's message are missing",
		fmt.Sprintf("%s sent a message in fragments, and they never became a whole one (%s): some are lost on the way each time, or it counts them in a way of its own.", c.report.Peer, w.Reason),
		c.there("no crypto isakmp fragmentation"), c.there("crypto pki trustpoint NAME", " certificate file PEM ! a shorter chain, or a key on a curve instead of RSA"))
}
