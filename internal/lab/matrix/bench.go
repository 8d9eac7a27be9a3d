// Package matrix tries the table of scenarios with real peers: Culvert at R1,
// strongSwan or libreswan at R2, in both roles.
//
//	bench.go    a lab whose R2 takes the configurations of scenarios
//	run.go      one scenario in one role, and what came of it
//	check.go    whether both ends and the wire tell the same
//	peer.go     the peers
//	creds.go    a CA and certificates for both ends
//	page.go     docs/interop.md
package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"culvert/internal/lab"
	"culvert/internal/lab/guest"
	"culvert/internal/lab/pluto"
	"culvert/internal/lab/scenario"
	"culvert/internal/lab/swan"
)

// Bench is a lab with a peer at R2 that takes one scenario after the other.
type Bench struct {
	net    *lab.Net
	binary string
	guest  *guest.Guest // nil for a peer in a namespace
	kind   scenario.Peer
	peer   peer
	creds  credentials
}

// third is a network behind R2 besides its site.
var third = netip.MustParsePrefix("10.30.30.1/24")

// Open makes a lab with that peer at R2, and on demand with a NAT in front of
// R1; binary is the path of culvert.
func Open(ctx context.Context, name, binary string, kind scenario.Peer, nat bool) (*Bench, error) {
	if err := Available(kind); err != nil {
		return nil, err
	}
	n, err := lab.Up(lab.Options{Name: name, NAT: nat})
	if err != nil {
		return nil, err
	}
	b := &Bench{net: n, binary: binary}
	if err := b.furnish(ctx, kind); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bench) furnish(ctx context.Context, kind scenario.Peer) (err error) {
	if b.creds, err = issue(); err != nil {
		return err
	}
	if err := b.creds.write(b.net.Dir()); err != nil {
		return err
	}
	route := b.net.Command(ctx, lab.R1, "ip", "route", "add", third.Masked().String(), "via", lab.Addr(lab.R2, lab.Outside).String())
	if out, err := route.CombinedOutput(); err != nil {
		return fmt.Errorf("matrix: a route at R1: %w: %s", err, out)
	}
	if kind == scenario.SwanUser {
		address := b.net.Command(ctx, lab.R2, "ip", "address", "add", third.String(), "dev", lab.Inside)
		if out, err := address.CombinedOutput(); err != nil {
			return fmt.Errorf("matrix: an address at R2: %w: %s", err, out)
		}
		p, err := swan.Start(b.net, lab.R2, swan.Config{})
		if err != nil {
			return err
		}
		b.kind, b.peer = kind, &strongSwan{Peer: p, creds: b.creds}
		return nil
	}
	if b.guest, err = guest.Start(ctx, b.net); err != nil {
		return err
	}
	if _, err := b.guest.Exec(ctx, "ip address add "+third.String()+" dev vec1"); err != nil {
		return err
	}
	return b.Use(ctx, kind)
}

// Use puts another peer into the guest; a bench without a guest has only the
// peer it was opened with.
func (b *Bench) Use(ctx context.Context, kind scenario.Peer) error {
	if kind == b.kind {
		return nil
	}
	if b.guest == nil || kind == scenario.SwanUser {
		return fmt.Errorf("matrix: %s cannot stand where %s does", kind, b.kind)
	}
	if b.peer != nil {
		if err := b.peer.stop(); err != nil {
			return err
		}
		b.peer = nil
	}
	switch kind {
	case scenario.SwanKernel:
		p, err := swan.StartInGuest(ctx, b.net, b.guest)
		if err != nil {
			return err
		}
		b.peer = &strongSwan{Peer: p, guest: b.guest, creds: b.creds}
	default:
		p, err := pluto.Start(ctx, b.guest)
		if err != nil {
			return err
		}
		b.peer = &libreswan{Peer: p, guest: b.guest}
	}
	b.kind = kind
	return nil
}

// Close takes everything away.
func (b *Bench) Close() error {
	var errs []error
	if b.guest != nil {
		errs = append(errs, b.guest.Stop())
	}
	return errors.Join(append(errs, b.net.Down())...)
}

// gateway runs Culvert at R1 with that configuration.
func (b *Bench) gateway(ctx context.Context, text string) (*lab.Gateway, error) {
	path := filepath.Join(b.net.Dir(), "r1.cfg")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	return b.net.StartGateway(ctx, lab.R1, lab.GatewayOptions{Binary: b.binary, Config: path})
}
