package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/core/suite"
	"culvert/internal/face/show"
	"culvert/internal/lab"
	"culvert/internal/lab/scenario"
)

// agree compares both ends, the scenario and the wire. packets went each way
// over all flows; 0 is not known.
func (b *Bench) agree(ctx context.Context, s *scenario.Scenario, role scenario.Role, g *lab.Gateway, wire lab.Summary, packets int) error {
	if err := b.phase1(ctx, s, role, g); err != nil {
		return err
	}
	var ours show.IPsecSAs
	if err := ask(ctx, g, &ours, "show", "crypto", "ipsec", "sa"); err != nil {
		return err
	}
	// The line of a dynamic entry stands there as well, for peers to come.
	ours.Flows = slices.DeleteFunc(ours.Flows, func(f show.FlowItem) bool { return s.Ours.Dynamic && f.Peer == "" })
	if len(ours.Flows) != len(s.Flows()) {
		return fmt.Errorf("%d flows, expected %d: %+v", len(ours.Flows), len(s.Flows()), ours)
	}
	var errs []error
	var sealed, opened uint64
	for _, f := range ours.Flows {
		sealed, opened = sealed+f.Counters.Encaps, opened+f.Counters.Decaps
		if !f.Up || len(f.Pairs) != 1 || f.Counters.SendErrors+f.Counters.RecvErrors != 0 {
			errs = append(errs, fmt.Errorf("one pair and no errors: %+v", f))
		}
	}
	if packets > 0 && (sealed != uint64(packets) || opened != uint64(packets)) {
		errs = append(errs, fmt.Errorf("%d packets each way, but %d sealed and %d opened", packets, sealed, opened))
	}
	errs = append(errs, b.onTheWire(wire, s, int(sealed), int(opened)), b.counted(ctx, s, ours, sealed, opened))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\n%s", err, wire)
	}
	r, err := explained(ctx, g)
	if err == nil && (r.Status != "up" || r.Culprit != 0) {
		err = fmt.Errorf("explain: %s, step %d: %s", r.Status, r.Culprit, r.Sentence)
	}
	return err
}

// phase1 checks the ISAKMP SA.
func (b *Bench) phase1(ctx context.Context, s *scenario.Scenario, role scenario.Role, g *lab.Gateway) error {
	var v show.ISAKMPSAs
	if err := ask(ctx, g, &v, "show", "crypto", "isakmp", "sa"); err != nil {
		return err
	}
	var alive []show.ISAKMPSAItem
	for _, k := range v.SAs {
		if !k.Deleted {
			alive = append(alive, k)
		}
	}
	want, _, _ := s.Agreed()
	ours := "initiator"
	if role == scenario.PeerBegins {
		ours = "responder"
	}
	if len(alive) != 1 || alive[0].State != "QM_IDLE" || alive[0].Role != ours {
		return fmt.Errorf("one ISAKMP SA, QM_IDLE, as %s: %+v", ours, v.SAs)
	}
	p := alive[0].Policy
	if p.Encryption != want.Cipher.Row().IKE || want.Cipher.Row().Sized && p.KeyBits != want.KeyBits || p.Hash != want.Hash.Row().IKE || p.Group != int(want.Group) ||
		p.Authentication != want.Auth.String() {
		return fmt.Errorf("phase 1 agreed on %+v, expected %s", p, want)
	}
	return nil
}

// onTheWire wants IKE, what is sealed, and nothing else.
func (b *Bench) onTheWire(wire lab.Summary, s *scenario.Scenario, sealed, opened int) error {
	_, set, _ := s.Agreed()
	if wire.Cleartext.Total() != 0 || wire.Other.Total() != 0 || wire.IKE.Total() == 0 || wire.Lost != 0 {
		return errors.New("IKE and sealed packets, nothing else")
	}
	count := wire.ESP
	others := wire.AH.Total() + wire.ESPinUDP.Total()
	switch {
	case b.kind == scenario.SwanUser || s.Theirs.Encap || s.NAT:
		count, others = wire.ESPinUDP, wire.ESP.Total()+wire.AH.Total()
	case set.AH != suite.NoHash:
		count, others = wire.AH, wire.ESP.Total()+wire.ESPinUDP.Total()
	}
	if count.A != sealed || count.B != opened || others != 0 {
		return fmt.Errorf("%d sealed and %d opened, each in one packet of the one kind", sealed, opened)
	}
	return nil
}

// counted compares the SAs of both ends. The peer may take a moment until its
// counters are told.
func (b *Bench) counted(ctx context.Context, s *scenario.Scenario, ours show.IPsecSAs, sealed, opened uint64) error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		theirs, err := b.peer.sas(ctx)
		if err != nil {
			return err
		}
		if err = b.same(s, ours, theirs, sealed, opened); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (b *Bench) same(s *scenario.Scenario, ours show.IPsecSAs, theirs []sa, sealed, opened uint64) error {
	_, set, _ := s.Agreed()
	bySPI := make(map[string]sa)
	var in, out int64
	for _, x := range theirs {
		bySPI[fmt.Sprintf("%v 0x%08x", x.toPeer, x.spi)] = x
		if x.toPeer {
			in += x.packets
		} else {
			out += x.packets
		}
	}
	if len(theirs) != 2*len(ours.Flows) {
		return fmt.Errorf("the peer has %d IPsec SAs, expected %d: %+v", len(theirs), 2*len(ours.Flows), theirs)
	}
	if in != int64(sealed) || out != int64(opened) {
		return fmt.Errorf("the peer opened %d packets and sealed %d, expected %d and %d", in, out, sealed, opened)
	}
	for _, f := range ours.Flows {
		p := f.Pairs[0]
		in, out := p.InboundSPI, p.OutboundSPI
		if set.AH != suite.NoHash {
			in, out = p.InboundAHSPI, p.OutboundAHSPI
		}
		for _, key := range []string{"true " + out, "false " + in} {
			x, ok := bySPI[key]
			if !ok {
				return fmt.Errorf("the peer has no SA with SPI %s: %+v", key, theirs)
			}
			if got, want := x.set.ConfigWords(), set.ConfigWords(); got != want || x.mode != set.Mode || x.mode.String() != p.Mode ||
				b.guest != nil && x.set.ESN != set.ESN || x.ah != (set.AH != suite.NoHash) || x.encap != p.UDPEncapsulation || p.ESN != set.ESN || p.PFSGroup != int(s.PFS()) {
				return fmt.Errorf("the peer's SA is %s, %s, in UDP %v; ours %+v; expected %s, %s", got, x.mode, x.encap, p, want, set.Mode)
			}
		}
	}
	return nil
}

// ask puts a show command to a gateway.
func ask(ctx context.Context, g *lab.Gateway, v any, words ...string) error {
	out, err := g.Ask(ctx, append(words, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("culvert %s --json: %w", strings.Join(words, " "), err)
	}
	return nil
}
