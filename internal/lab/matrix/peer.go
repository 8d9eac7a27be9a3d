package matrix

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
	"culvert/internal/lab"
	"culvert/internal/lab/guest"
	"culvert/internal/lab/pluto"
	"culvert/internal/lab/scenario"
	"culvert/internal/lab/swan"
)

// peer is whoever stands at R2.
type peer interface {
	// load replaces its configuration, and ends what was up under the old one.
	load(ctx context.Context, s *scenario.Scenario) error
	// initiate brings all flows of the scenario up.
	initiate(ctx context.Context, s *scenario.Scenario) error
	// sas are the IPsec SAs it uses, one for each direction.
	sas(ctx context.Context) ([]sa, error)
	log() string
	stop() error
}

// sa is one IPsec SA as the peer tells it.
type sa struct {
	spi     uint32
	toPeer  bool // R1 sends with it
	ah      bool
	mode    suite.Mode
	set     policy.TransformSet // cipher, key bits, integrity, AH
	encap   bool                // in UDP 4500
	packets int64
}

// Available tells whether a peer can run here; the error says what is missing.
func Available(kind scenario.Peer) error {
	switch kind {
	case scenario.SwanUser:
		return errors.Join(lab.Available(), swan.Available())
	case scenario.SwanKernel:
		return swan.AvailableInGuest()
	default:
		return pluto.Available()
	}
}

// Version is the package and its version that a peer is made from.
func Version(ctx context.Context, kind scenario.Peer) (string, error) {
	if kind == scenario.Libreswan {
		return "libreswan " + guest.Version("libreswan"), nil
	}
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", "charon-systemd").Output()
	if err != nil {
		return "", fmt.Errorf("matrix: the version of strongSwan: %w", err)
	}
	return "strongSwan " + strings.TrimSpace(string(out)), nil
}

// strongSwan is a peer in a namespace, or in a guest.
type strongSwan struct {
	*swan.Peer
	guest *guest.Guest // nil in a namespace
	creds credentials
}

func (p *strongSwan) load(ctx context.Context, s *scenario.Scenario) error {
	sas, err := p.SAs(ctx)
	if err != nil {
		return err
	}
	for range sas {
		if _, err := p.Swanctl(ctx, "--terminate", "--ike", scenario.Connection, "--force", "--timeout", "1"); err != nil {
			break // it ended meanwhile
		}
	}
	return p.Load(ctx, s.Swanctl(), p.creds.swan(s.Certificates()))
}

func (p *strongSwan) initiate(ctx context.Context, s *scenario.Scenario) error {
	for _, name := range s.Children() {
		if out, err := p.Swanctl(ctx, "--initiate", "--child", name, "--timeout", "20"); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return nil
}

func (p *strongSwan) sas(ctx context.Context) ([]sa, error) {
	if p.guest != nil {
		return kernelSAs(ctx, p.guest)
	}
	theirs, err := p.SAs(ctx)
	if err != nil {
		return nil, err
	}
	var list []sa
	for _, c := range swan.Installed(theirs) {
		set, err := swanSet(c)
		if err != nil {
			return nil, err
		}
		x := sa{spi: c.SPIIn, toPeer: true, ah: c.Protocol == "AH", set: set, encap: c.Encap, packets: c.PacketsIn}
		if c.Mode == "TRANSPORT" {
			x.mode = suite.Transport
		}
		list = append(list, x)
		x.spi, x.toPeer, x.packets = c.SPIOut, false, c.PacketsOut
		list = append(list, x)
	}
	return list, nil
}

// swanSet is what strongSwan calls "AES_CBC-128" and "HMAC_SHA1_96".
func swanSet(c swan.ChildSA) (policy.TransformSet, error) {
	ciphers := map[string]policy.TransformSet{
		"AES_CBC-128": scenario.ESP(suite.AESCBC, 128, 0), "AES_CBC-192": scenario.ESP(suite.AESCBC, 192, 0), "AES_CBC-256": scenario.ESP(suite.AESCBC, 256, 0),
		"AES_GCM_16-128": scenario.ESP(suite.AESGCM, 128, 0), "AES_GCM_16-192": scenario.ESP(suite.AESGCM, 192, 0), "AES_GCM_16-256": scenario.ESP(suite.AESGCM, 256, 0),
		"NULL": scenario.ESP(suite.NullCipher, 0, 0), "3DES_CBC": scenario.ESP(suite.TripleDES, 192, 0),
	}
	hashes := map[string]suite.Hash{"": suite.NoHash, "HMAC_MD5_96": suite.MD5, "HMAC_SHA1_96": suite.SHA1,
		"HMAC_SHA2_256_128": suite.SHA256, "HMAC_SHA2_384_192": suite.SHA384, "HMAC_SHA2_512_256": suite.SHA512}
	t, known := ciphers[c.Encryption]
	h, knownToo := hashes[c.Integrity]
	if !known || !knownToo {
		return t, fmt.Errorf("matrix: strongSwan's algorithms %q and %q", c.Encryption, c.Integrity)
	}
	t.Integ = h
	return t, nil
}

func (p *strongSwan) log() string { return p.Log() }

func (p *strongSwan) stop() error { return p.Stop() }

// libreswan is a peer in a guest.
type libreswan struct {
	*pluto.Peer
	guest *guest.Guest
}

func (p *libreswan) load(ctx context.Context, s *scenario.Scenario) error {
	return p.Load(ctx, s.IPsecConf(), s.IPsecSecrets(), s.Children())
}

func (p *libreswan) initiate(ctx context.Context, s *scenario.Scenario) error {
	for _, name := range s.Children() {
		if _, err := p.Initiate(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (p *libreswan) sas(ctx context.Context) ([]sa, error) { return kernelSAs(ctx, p.guest) }

func (p *libreswan) log() string { return p.Log() }

func (p *libreswan) stop() error { return p.Stop() }

// kernelSAs are the SAs of a guest's kernel.
func kernelSAs(ctx context.Context, g *guest.Guest) ([]sa, error) {
	states, err := g.States(ctx)
	if err != nil {
		return nil, err
	}
	var list []sa
	for _, s := range states {
		x := sa{spi: s.SPI, toPeer: s.Dst == lab.Addr(lab.R2, lab.Outside).String(), ah: s.Proto == "ah", encap: s.Encap, packets: s.Packets}
		// A larval SA holds an SPI while it is negotiated.
		if s.Cipher == "" && s.Integrity == "" {
			continue
		}
		if s.Mode == "transport" {
			x.mode = suite.Transport
		}
		if x.set, err = kernelSet(s); err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// kernelSet is what the kernel calls "cbc(aes)" and "hmac(sha1)".
func kernelSet(s guest.State) (policy.TransformSet, error) {
	ciphers := map[string]suite.Cipher{"": suite.NoCipher, "cbc(aes)": suite.AESCBC, "rfc4106(gcm(aes))": suite.AESGCM, "cbc(des3_ede)": suite.TripleDES,
		"cbc(des)": suite.DES, "ecb(cipher_null)": suite.NullCipher}
	hashes := map[string]suite.Hash{"": suite.NoHash, "hmac(md5)": suite.MD5, "hmac(sha1)": suite.SHA1, "hmac(sha256)": suite.SHA256,
		"hmac(sha384)": suite.SHA384, "hmac(sha512)": suite.SHA512}
	c, known := ciphers[s.Cipher]
	h, knownToo := hashes[s.Integrity]
	if !known || !knownToo {
		return policy.TransformSet{}, fmt.Errorf("matrix: the kernel's algorithms %q and %q", s.Cipher, s.Integrity)
	}
	if want := max(c.Row().ICV, h.Row().ICV) * 8; s.ICVBits != want {
		return policy.TransformSet{}, fmt.Errorf("matrix: an ICV of %d bits with %s %s, expected %d", s.ICVBits, s.Cipher, s.Integrity, want)
	}
	t := scenario.ESP(c, s.KeyBits, h)
	if s.Proto == "ah" {
		t = scenario.AH(h)
	}
	t.ESN = s.ESN
	return t, nil
}
