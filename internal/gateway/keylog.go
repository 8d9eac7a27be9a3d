package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"culvert/internal/core/sadb"
	"culvert/internal/core/suite"
)

// keylog writes Wireshark's table of ESP SAs, esp_sa, so that a capture can be
// decrypted. It exists only on request. A nil keylog writes nothing.
type keylog struct {
	file *os.File
	done map[sadb.ChildID]bool
}

func openKeyLog(dir string) (*keylog, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("key log: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "esp_sa"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("key log: %w", err)
	}
	return &keylog{f, map[sadb.ChildID]bool{}}, nil
}

// child writes both directions of a pair, once.
func (k *keylog) child(c *sadb.Child) {
	if k == nil || k.done[c.ID] {
		return
	}
	k.done[c.ID] = true
	in := lines(c.Remote.Addr().String(), c.Local.Addr().String(), c.In, c)
	out := lines(c.Local.Addr().String(), c.Remote.Addr().String(), c.Out, c)
	// A key log that cannot be written must not stop the tunnel.
	_, _ = k.file.WriteString(in + out)
}

func (k *keylog) close() {
	if k != nil {
		_ = errors.Join(k.file.Sync(), k.file.Close())
	}
}

// lines are the rows of esp_sa for one direction. Transport mode and tunnel mode
// have the same row. Wireshark 4.0 reads eight columns and warns of the ninth,
// the width of sequence numbers, which later ones have: it decrypts packets with
// extended ones and finds their ICVs wrong. For AH there is none:
// Wireshark shows AH and does not verify it, so a comment says which SA it was.
// This is the one place that turns keys into text.
func lines(src, dst string, k sadb.Keys, c *sadb.Child) string {
	out := ""
	if c.Set.AH != suite.NoHash {
		out = fmt.Sprintf("# AH from %s to %s, SPI 0x%08x, %s: Wireshark has no table for its key\n", src, dst, k.AHSPI, c.Set.AH.Row().AH)
	}
	if c.Set.Cipher == suite.NoCipher {
		return out
	}
	integ, bits := "0x", "32-bit"
	if c.Set.Integ != suite.NoHash {
		integ = fmt.Sprintf("0x%x", k.Integ.Bytes())
	}
	if c.ESN {
		bits = "64-bit"
	}
	return out + fmt.Sprintf("\"IPv4\",%q,%q,\"0x%08x\",%q,\"0x%x\",%q,%q,%q\n",
		src, dst, k.SPI, c.Set.Cipher.Row().Wireshark, k.Encr.Bytes(), c.Set.Integ.Row().Wireshark, integ, bits)
}
