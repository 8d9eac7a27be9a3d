package swan

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"culvert/internal/lab"
)

// Start actions: what brings the IPsec SA up.
const (
	StartNone = "none"  // nothing: the peer or Initiate does
	StartTrap = "trap"  // interesting traffic
	StartNow  = "start" // the loading of the configuration
)

// Config is one connection of strongSwan, in strongSwan's words. Empty fields
// take the value named behind them.
type Config struct {
	Version    int    // 1 or 2; 1
	Aggressive bool   // IKEv1 aggressive mode
	IKE        string // IKE proposals; aes128-sha1-modp2048
	ESP        string // ESP proposals, with a group for PFS; aes128-sha1
	PSK        string // labsecret
	// Certs makes both ends prove themselves by certificates instead of the PSK.
	Certs    *Certs
	LocalID  string // the router's outside address
	RemoteID string // the other router's outside address
	// LocalTS and RemoteTS are the protected networks; the two sites.
	LocalTS, RemoteTS netip.Prefix
	// IKELife and ChildLife are when strongSwan renews; 4 h and 1 h. What it
	// tells the peer in IKEv1 is a tenth longer.
	IKELife, ChildLife time.Duration
	DPD                time.Duration // 0 for none
	Start              string        // StartNone
	Encap              bool          // force UDP encapsulation
	// Keys makes strongSwan log its keys, see Peer.Keys.
	Keys bool
	// LogLevel is 1; 2 tells what was compared with what, 4 also the keys.
	LogLevel int
	// ConnLines, ChildLines and CharonLines are added to the sections of the
	// connection, of its child and of the daemon.
	ConnLines, ChildLines, CharonLines string
	// Whole replaces the whole swanctl.conf.
	Whole string
}

// Certs are what strongSwan proves itself with, and the CA it proves the other
// router with, in PEM.
type Certs struct{ CA, Cert, Key []byte }

// The files of Certs, below the peer's directory where swanctl looks for them.
const (
	caFile   = "x509ca/lab-ca.pem"
	certFile = "x509/own.pem"
	keyFile  = "private/own.pem"
)

// auth are the lines of a section local or remote.
func (c *Config) auth(own bool) string {
	switch {
	case c.Certs == nil:
		return "auth = psk"
	case own:
		return "auth = pubkey\n    certs = own.pem"
	}
	return "auth = pubkey\n    cacerts = lab-ca.pem"
}

func (c *Config) fill(host string) {
	or := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	if c.Version == 0 {
		c.Version = 1
	}
	or(&c.IKE, "aes128-sha1-modp2048")
	or(&c.ESP, "aes128-sha1")
	or(&c.PSK, "labsecret")
	or(&c.LocalID, lab.Addr(host, lab.Outside).String())
	or(&c.RemoteID, lab.Addr(lab.Other(host), lab.Outside).String())
	or(&c.Start, StartNone)
	if !c.LocalTS.IsValid() {
		c.LocalTS = lab.Site(host)
	}
	if !c.RemoteTS.IsValid() {
		c.RemoteTS = lab.Site(lab.Other(host))
	}
	if c.IKELife == 0 {
		c.IKELife = 4 * time.Hour
	}
	if c.ChildLife == 0 {
		c.ChildLife = time.Hour
	}
	if c.LogLevel == 0 {
		c.LogLevel = 1
	}
}

// swanctl is the connection as swanctl.conf.
func (c *Config) swanctl(host string) string {
	if c.Whole != "" {
		return c.Whole
	}
	return fmt.Sprintf(`connections { lab {
  version = %d
  aggressive = %s
  local_addrs = %s
  remote_addrs = %s
  proposals = %s
  encap = %s
  mobike = no
  dpd_delay = %ds
  rekey_time = %ds
  reauth_time = 0
  rand_time = 0
  unique = replace
  %s
  local { %s
    id = %s }
  remote { %s
    id = %s }
  children { net {
    local_ts = %s
    remote_ts = %s
    esp_proposals = %s
    mode = tunnel
    rekey_time = %ds
    rand_time = 0
    start_action = %s
    dpd_action = clear
    %s
  } }
} }
secrets { ike-lab { secret = "%s" } }
`, c.Version, yes(c.Aggressive), lab.Addr(host, lab.Outside), lab.Addr(lab.Other(host), lab.Outside), c.IKE,
		yes(c.Encap), int(c.DPD.Seconds()), int(c.IKELife.Seconds()), c.ConnLines, c.auth(true), c.LocalID, c.auth(false), c.RemoteID,
		c.LocalTS, c.RemoteTS, c.ESP, int(c.ChildLife.Seconds()), c.Start, c.ChildLines, c.PSK)
}

// daemon is the daemon's strongswan.conf; its paths are those it sees. charon-systemd
// reads a section of its own name when there is one, and "charon" besides.
func (c *Config) daemon(plugins []string) string {
	levels := ""
	if c.Keys {
		levels = "ike = 4\n    chd = 4\n    mgr = 2"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `charon {
  load_modular = yes
  threads = 16
  install_routes = yes
  i_dont_care_about_security_and_use_aggressive_mode_psk = yes
  filelog { main { path = /run/charon.log
    default = %d
    %s
    time_format = %%H:%%M:%%S
    flush_line = yes
    append = no } }
  plugins {
    vici { load = yes
      socket = unix:///run/charon.vici }
`, c.LogLevel, levels)
	for _, p := range plugins {
		fmt.Fprintf(&b, "    %s\n", p)
	}
	fmt.Fprintf(&b, "  }\n  %s\n}\n", c.CharonLines)
	return b.String()
}

// pluginDir is where Debian puts strongSwan's plugins.
const pluginDir = "/usr/lib/ipsec/plugins"

// plugins are the installed plugins that a peer in a lab has use for. OpenSSL
// comes first: it is the one with AES-NI. The kernel is reached by
// kernel-libipsec in front of kernel-netlink, which is left with routes.
func plugins() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(pluginDir, "libstrongswan-*.so"))
	if err != nil {
		return nil, fmt.Errorf("swan: %w", err)
	}
	list := []string{"kernel-libipsec { load = yes }"}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "libstrongswan-"), ".so")
		switch {
		case name == "openssl":
			list = append(list, "openssl { load = 100 }")
		case !unwanted(name):
			list = append(list, name+" { load = yes }")
		}
	}
	return list, nil
}

// unwanted are plugins that are named elsewhere, need hardware or a directory
// service, or reach out of the lab.
func unwanted(plugin string) bool {
	switch plugin {
	case "kernel-libipsec", "vici", "save-keys", "af-alg", "bypass-lan", "certexpire", "connmark", "curl", "dhcp", "error-notify",
		"farp", "forecast", "ha", "ldap", "led", "load-tester", "lookip", "pkcs11", "resolve", "test-vectors", "tpm", "unity":
		return true
	}
	return strings.HasPrefix(plugin, "tnc-") || strings.HasPrefix(plugin, "eap-tnc")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
