package tour

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/internal/lab/guest"
)

// strongSwan in a guest: its own configuration, with the kernel for AH and ESP.
const (
	guestDaemon = `charon {
  load = random nonce openssl aes sha1 sha2 hmac gmp pem pkcs1 x509 pubkey kernel-netlink socket-default vici
  install_routes = no
  filelog { log { path = /share/charon.log
    default = 1
    flush_line = yes } }
  plugins { vici { socket = unix:///run/charon.vici } }
}
swanctl { load = random openssl pem pkcs1 x509 pubkey }
`
	guestConnection = `connections { lab {
  version = 1
  local_addrs = 198.51.100.2
  remote_addrs = 198.51.100.1
  proposals = aes256-sha256-modp2048
  mobike = no
  local { auth = psk
    id = 198.51.100.2 }
  remote { auth = psk
    id = 198.51.100.1 }
  children { net {
    local_ts = 10.20.20.0/24
    remote_ts = 10.10.10.0/24
    ah_proposals = sha256-modp2048
    mode = tunnel
    start_action = none
  } }
} }
secrets { ike-lab { secret = "Tunnel-of-two-sites" } }
`
	// guestScript starts the daemon and loads the connection once it answers.
	guestScript = `set -e
export STRONGSWAN_CONF=/share/strongswan.conf SWANCTL_DIR=/share
setsid /usr/sbin/charon-systemd >/share/charon.out 2>&1 &
for i in {1..200}; do
  swanctl --stats --uri unix:///run/charon.vici >/dev/null 2>&1 && break
  sleep 0.1
done
swanctl --load-all --uri unix:///run/charon.vici 2>&1`
)

// kernelPatience is how long a guest's daemon may take to come up.
const kernelPatience = time.Minute

// kernel runs strongSwan at R2 on a Linux kernel of its own.
func (s *Sites) kernel(ctx context.Context) error {
	g, err := guest.Start(ctx, s.Net)
	if err != nil {
		return err
	}
	s.guest = g
	for name, text := range map[string]string{"strongswan.conf": guestDaemon, "swanctl.conf": guestConnection} {
		if err := g.WriteFile(name, text); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, kernelPatience)
	defer cancel()
	if out, err := g.Exec(ctx, guestScript); err != nil {
		log, _ := g.ReadFile("charon.out") // what there is of it
		return errors.Join(fmt.Errorf("lab: strongSwan in the guest: %w\n%s", err, out), errors.New(log))
	}
	return nil
}
