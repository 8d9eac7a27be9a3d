package ike

import (
	"net/netip"
	"time"

	"culvert/internal/core/door"
	"culvert/internal/core/ikev1"
	"culvert/internal/core/isakmp"
)

// Invalid SPI recovery: the peer sends with an SA that we do not have, because we
// were restarted or have lost it. The packet proves nothing (RFC 4301 section 5.2:
// drop and audit), so all it can bring about is that we say, seldom and under
// protection, what is true: that the SPI is not ours.
//
//	an ISAKMP SA is there ──▶ INVALID-SPI and a delete of that SPI, under its protection
//	none is there         ──▶ with "crypto isakmp invalid-spi-recovery": phase 1, whose INITIAL-CONTACT
//	                          tells the peer to drop what it has of us
const (
	recoverEvery  = 10 * time.Second // to one peer, over an ISAKMP SA
	recoverPhase1 = time.Minute      // to one peer, by a phase 1
	maxRecoveries = 1024             // peers for which that is remembered
)

// invalidSPI takes what the data path has seen.
func (e *Engine) invalidSPI(c *ikev1.Context, x door.InvalidSPI) {
	p := pair{x.Local.Addr(), x.Remote.Addr()}
	if _, ours := e.spis[x.SPI]; ours || !e.settings.HasPeer(p.local, p.remote) {
		return // ours, and about to be installed; or nobody we know
	}
	sa := longest(c.Now, e.sasFrom(x.Remote, p))
	every := recoverEvery
	if sa == nil {
		every = recoverPhase1
	}
	if (sa == nil && !e.settings.InvalidSPIRecovery) || !e.mayRecover(c.Now, p, every) {
		return
	}
	if sa != nil {
		sa.Disown(c, isakmpProtocol(x.Protocol), x.SPI)
		e.after(c, sa)
		return
	}
	if entries := e.settings.EntriesFor(p.local, p.remote); e.settings.NamesPeer(p.local, p.remote) && !entries[0].ResponderOnly {
		e.initiate(c, p, entries[0])
	}
}

// isakmpProtocol is the number of an IP protocol in ISAKMP (RFC 2407 4.4.1).
func isakmpProtocol(ip uint8) uint8 {
	if ip == 51 {
		return isakmp.ProtocolAH
	}
	return isakmp.ProtocolESP
}

// sasFrom are the ISAKMP SAs with the peer that sends from a place: behind a NAT
// the port tells who it is.
func (e *Engine) sasFrom(from netip.AddrPort, p pair) []*ikev1.SA {
	all := e.sasAt(p)
	for _, sa := range all {
		if sa.Up() && sa.Remote == from {
			return []*ikev1.SA{sa}
		}
	}
	if len(e.peers.at[p]) > 1 {
		return nil
	}
	return all
}

// mayRecover reports whether it is time to act for a peer again, and notes it.
func (e *Engine) mayRecover(now time.Time, p pair, every time.Duration) bool {
	if last, ok := e.recovered[p]; ok && now.Sub(last) < every {
		return false
	}
	if len(e.recovered) >= maxRecoveries {
		for o, last := range e.recovered {
			if now.Sub(last) >= recoverPhase1 {
				delete(e.recovered, o)
			}
		}
		if len(e.recovered) >= maxRecoveries {
			return false
		}
	}
	e.recovered[p] = now
	return true
}
