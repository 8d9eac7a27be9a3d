// Package pluto runs Debian's libreswan as a peer in a guest of the lab, where
// it has a kernel with ESP and AH. pluto is the name of its daemon.
package pluto

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/internal/lab/guest"
)

// Peer is a libreswan that runs in a guest.
type Peer struct {
	guest *guest.Guest
	names []string // of the connections that are loaded
}

// quick is how long a script in the guest may take that does no more than ask.
const quick = 20 * time.Second

// programs are libreswan's own: the script ipsec in front of them takes a
// second in a guest.
const programs = `whack=/usr/libexec/ipsec/whack addconn=/usr/libexec/ipsec/addconn
`

// Available tells whether libreswan can run here.
func Available() error {
	if err := guest.Available(); err != nil {
		return err
	}
	if guest.Version("libreswan") == "" {
		return errors.New("pluto: libreswan is not among the guest's packages: run scripts/guest")
	}
	return nil
}

// Start runs libreswan in a guest, without any connection.
func Start(ctx context.Context, g *guest.Guest) (*Peer, error) {
	_, err := g.Exec(ctx, `mkdir -p /run/pluto /var/lib/ipsec/nss /etc/ipsec.d/policies
printf 'config setup\n    ikev1-policy=accept\n' >/etc/ipsec.conf
: >/etc/ipsec.secrets
chmod 600 /etc/ipsec.secrets
[ -e /var/lib/ipsec/nss/cert9.db ] || ipsec initnss --nssdir /var/lib/ipsec/nss >/run/nss.log 2>&1
setsid /usr/libexec/ipsec/pluto --config /etc/ipsec.conf --nofork --stderrlog >/run/pluto.log 2>&1 &
echo $! >/run/pluto.script.pid
for i in {1..400}; do
  grep -q 'loading secrets from' /run/pluto.log && ipsec whack --status >/run/whack.out 2>&1 && exit 0
  kill -0 $! || break
  sleep 0.05
done
cat /run/nss.log /run/pluto.log /run/whack.out >&2
exit 1`)
	if err != nil {
		return nil, fmt.Errorf("pluto: libreswan in the guest: %w", err)
	}
	return &Peer{guest: g}, nil
}

// Load replaces what libreswan is configured with: ipsec.conf, ipsec.secrets and
// the connections to add, by name. The connections before are deleted with their SAs.
func (p *Peer) Load(ctx context.Context, conf, secrets string, names []string) error {
	if err := errors.Join(p.guest.WriteFile("pluto/ipsec.conf", conf), p.guest.WriteFile("pluto/ipsec.secrets", secrets)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(programs)
	for _, n := range p.names {
		fmt.Fprintf(&b, "$whack --delete --name %s >/dev/null 2>&1\n", n)
	}
	p.names = names
	b.WriteString(`cp /share/pluto/ipsec.conf /etc/ipsec.conf
cp /share/pluto/ipsec.secrets /etc/ipsec.secrets
$whack --rereadsecrets >/dev/null || exit 1
`)
	for _, n := range names {
		fmt.Fprintf(&b, "$addconn --config /etc/ipsec.conf %s >&2 || { tail -n 3 /run/pluto.log >&2; exit 1; }\n", n)
	}
	if _, err := p.guest.Exec(ctx, b.String()); err != nil {
		return fmt.Errorf("pluto: %w", err)
	}
	return nil
}

// Initiate brings a connection up and waits until it is, 20 seconds at most; a
// refusal is an error that holds libreswan's account.
func (p *Peer) Initiate(ctx context.Context, name string) (string, error) {
	out, err := p.guest.Exec(ctx, programs+"timeout 20 $whack --initiate --name "+name+" 2>&1")
	if err != nil {
		return out, fmt.Errorf("pluto: --initiate %s: %w: %s", name, err, strings.TrimSpace(out))
	}
	if !strings.Contains(out, "IPsec SA established") {
		return out, fmt.Errorf("pluto: --initiate %s: %s", name, strings.TrimSpace(out))
	}
	return out, nil
}

// Terminate deletes a connection's SAs and tells the peer.
func (p *Peer) Terminate(ctx context.Context, name string) error {
	out, err := p.guest.Exec(ctx, programs+"$whack --terminate --name "+name+" 2>&1")
	if err != nil {
		return fmt.Errorf("pluto: --terminate %s: %w: %s", name, err, strings.TrimSpace(out))
	}
	return nil
}

// Status is what libreswan tells of its connections and SAs, for people.
func (p *Peer) Status(ctx context.Context) (string, error) {
	return p.guest.Exec(ctx, programs+"$whack --status")
}

// Log is libreswan's own account.
func (p *Peer) Log() string {
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	out, err := p.guest.Exec(ctx, "cat /run/pluto.log")
	if err != nil {
		return fmt.Sprintf("(no log of pluto: %v)\n%s", err, out)
	}
	return out
}

// Stop ends libreswan in good order: it deletes its SAs and tells the peer.
func (p *Peer) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	_, err := p.guest.Exec(ctx, `pid=$(cat /run/pluto.script.pid)
ipsec whack --shutdown >/dev/null 2>&1
for i in {1..200}; do kill -0 $pid 2>/dev/null || exit 0; sleep 0.05; done
kill -KILL $pid`)
	if err != nil {
		return fmt.Errorf("pluto: libreswan in the guest does not end: %w", err)
	}
	return nil
}
