package sadb

import (
	"sync/atomic"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/policy"
	"culvert/internal/core/status"
)

// counters of one flow, over all its SAs since the flow was configured.
type counters struct {
	encaps, decaps            atomic.Uint64
	encrypts, decrypts        atomic.Uint64 // of these, with a cipher
	sendOctets, receiveOctets atomic.Uint64
	sendErrors, recvErrors    atomic.Uint64
	noSA, invalidIdentity     atomic.Uint64
	replayFailed              atomic.Uint64
	verifyFailed              atomic.Uint64
}

// values are the counters as show prints them. Each packet is sealed or opened
// in one go, and every one has an ICV: of ESP, of AH, or of both.
func (c *counters) values() status.Counters {
	out, in := c.encaps.Load(), c.decaps.Load()
	return status.Counters{
		Encaps: out, Encrypt: c.encrypts.Load(), Digest: out,
		Decaps: in, Decrypt: c.decrypts.Load(), Verify: in,
		SendErrors: c.sendErrors.Load(), RecvErrors: c.recvErrors.Load(),
		SendOctets: c.sendOctets.Load(), ReceiveOctets: c.receiveOctets.Load(),
		NoSA: c.noSA.Load(), InvalidIdentity: c.invalidIdentity.Load(),
		ReplayFailed: c.replayFailed.Load(), VerifyFailed: c.verifyFailed.Load(),
	}
}

// Stats is what went through, as plain values.
type Stats struct {
	Flows []FlowStats // in the order of the policy, those of DB.Define last
	// Hits counts the packets that each line of a crypto ACL matched outbound:
	// by name of the list and sequence number of the line.
	Hits map[string]map[int]uint64
}

// FlowStats is one flow. The counters start when the flow is configured and
// outlive its SAs.
type FlowStats struct {
	ID         policy.FlowID
	Selectors  flow.Selectors
	Negotiable bool // see Flow.Negotiable
	Counters   status.Counters
	Children   []ChildStats // in the order of their installation: newest last
}

// ChildStats is one SA pair. A direction that is not installed has no use.
type ChildStats struct {
	Child         Child // without its keys; Remote is where the peer is now
	HasIn, HasOut bool
	In, Out       Use
	// RemainingKilobytes is what is left of the volume, in the direction that
	// has less; 0 when there is no volume limit.
	RemainingKilobytes uint64
}

// Use is what went through one SA. Octets are those of inner packets
// with padding and trailer: what the volume limit counts.
type Use struct {
	Packets, Octets uint64
	LastUsed        time.Time // zero when never
}

// Stats reads all counters.
func (s *Snapshot) Stats() Stats {
	out := Stats{Hits: map[string]map[int]uint64{}}
	for _, page := range s.flows {
		for _, f := range page {
			if f != nil {
				out.Flows = append(out.Flows, f.Stats())
			}
		}
	}
	for _, stage := range s.stages {
		for i := range stage.rules {
			r := &stage.rules[i]
			if r.list == "" {
				continue // of a flow defined at run time, which no list names
			}
			if out.Hits[r.list] == nil {
				out.Hits[r.list] = map[int]uint64{}
			}
			out.Hits[r.list][r.line.Seq] = r.hits.Load()
		}
	}
	return out
}

// Stats reads the counters of one flow.
func (f *Flow) Stats() FlowStats {
	out := FlowStats{ID: f.ID, Selectors: f.Selectors, Negotiable: f.Negotiable, Counters: f.counters.values()}
	for _, c := range f.children {
		out.Children = append(out.Children, c.stats())
	}
	return out
}

func (c *child) stats() ChildStats {
	s := ChildStats{Child: c.facts, HasIn: c.in != nil, HasOut: c.out != nil}
	s.Child.Remote = *c.remote.at.Load()
	used := uint64(0)
	if c.in != nil {
		s.In = c.in.use.values()
		used = s.In.Octets
	}
	if c.out != nil {
		s.Out = c.out.use.values()
		used = max(used, s.Out.Octets)
	}
	if limit := c.facts.Lifetime.Kilobytes; limit > used/1024 {
		s.RemainingKilobytes = limit - used/1024
	}
	return s
}

func (u *use) values() Use {
	v := Use{Packets: u.packets.Load(), Octets: u.octets.Load()}
	if t := u.last.Load(); t != 0 {
		v.LastUsed = time.Unix(0, t)
	}
	return v
}
