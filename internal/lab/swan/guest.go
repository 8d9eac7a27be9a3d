package swan

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"culvert/internal/lab"
	"culvert/internal/lab/guest"
)

// inGuest is a strongSwan in a guest, with the guest's kernel for ESP and AH.
type inGuest struct {
	guest *guest.Guest
	net   *lab.Net
	dir   string
}

// vici is where it is asked: from site B, by TCP, so that swanctl can run
// outside, where programs start fast.
func vici() string { return "tcp://" + lab.Addr(lab.R2, lab.Inside).String() + ":4502" }

// guestDir is the peer's directory below the guest's /share.
const guestDir = daemonName

// quick is how long a script in a guest may take that does no more than ask.
const quick = 20 * time.Second

// AvailableInGuest tells whether strongSwan can run in a guest.
func AvailableInGuest() error {
	if err := Available(); err != nil {
		return err
	}
	return guest.Available()
}

// StartInGuest runs strongSwan in a guest, without any connection: see [Peer.Load].
func StartInGuest(ctx context.Context, n *lab.Net, g *guest.Guest) (*Peer, error) {
	c := Config{LogLevel: 1}
	list, err := kernelPlugins()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(g.Share(), guestDir)
	p := &Peer{place: &inGuest{g, n, dir}, dir: dir}
	conf := strings.Replace(c.daemon(list), "unix:///run/charon.vici", vici(), 1)
	if err := p.write(map[string]string{"strongswan.conf": conf, "client.conf": clientConf}); err != nil {
		return nil, err
	}
	_, err = g.Exec(ctx, fmt.Sprintf(`export STRONGSWAN_CONF=/share/%s/strongswan.conf
setsid %s >/run/charon.out 2>&1 &
echo $! >/run/charon.pid`, guestDir, charonPath))
	if err != nil {
		return nil, fmt.Errorf("swan: strongSwan in the guest: %w", err)
	}
	for end := time.Now().Add(quick); ; time.Sleep(50 * time.Millisecond) {
		_, err := p.Swanctl(ctx, "--stats")
		if err == nil {
			return p, nil
		}
		if time.Now().After(end) || !p.Running() {
			return nil, fmt.Errorf("swan: strongSwan in the guest does not answer: %w\n%s", err, p.Log())
		}
	}
}

// kernelPlugins are those of a namespace, but with the kernel in the place of
// user-space ESP.
func kernelPlugins() ([]string, error) {
	list, err := plugins()
	if err != nil {
		return nil, err
	}
	var kept []string
	for _, p := range list {
		if !strings.HasPrefix(p, "kernel-libipsec ") {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

func (p *inGuest) swanctl(ctx context.Context, args ...string) (string, error) {
	return swanctl(p.net.Command(ctx, lab.HostB, clientArgs(vici(), args)...), p.dir, args)
}

// ask runs a short script whose failure is told in its place.
func (p *inGuest) ask(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	return p.guest.Exec(ctx, script)
}

func (p *inGuest) log() string {
	out, err := p.ask("cat /run/charon.out /run/charon.log")
	if err != nil {
		return fmt.Sprintf("(no log of charon: %v)\n%s", err, out)
	}
	return out
}

func (p *inGuest) running() bool {
	_, err := p.ask("kill -0 $(cat /run/charon.pid)")
	return err == nil
}

func (p *inGuest) stop() error { return p.end("TERM") }

func (p *inGuest) kill() error { return p.end("KILL") }

// end sends a signal and waits until the daemon is gone. One that is gone is no error.
func (p *inGuest) end(signal string) error {
	_, err := p.ask(fmt.Sprintf(`pid=$(cat /run/charon.pid)
kill -%s $pid 2>/dev/null || exit 0
for i in {1..200}; do kill -0 $pid 2>/dev/null || exit 0; sleep 0.05; done
exit 1`, signal))
	var exit *guest.ExitError
	if errors.As(err, &exit) {
		return errors.New("swan: strongSwan in the guest does not end")
	}
	return err
}
