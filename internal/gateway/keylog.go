package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"culvert/internal/core/policy"
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
	in := line(c.Remote.Addr().String(), c.Local.Addr().String(), c.In, c.Set)
	out := line(c.Local.Addr().String(), c.Remote.Addr().String(), c.Out, c.Set)
	// A key log that cannot be written must not stop the tunnel.
	_, _ = k.file.WriteString(in + out)
}

func (k *keylog) close() {
	if k != nil {
		_ = errors.Join(k.file.Sync(), k.file.Close())
	}
}

// line is a row of esp_sa as Wireshark 4.0 reads it. This is the one place
// that turns keys into text.
func line(src, dst string, k sadb.Keys, t policy.TransformSet) string {
	integ := "0x"
	if t.Integ != suite.NoHash {
		integ = fmt.Sprintf("0x%x", k.Integ.Bytes())
	}
	return fmt.Sprintf("\"IPv4\",%q,%q,\"0x%08x\",%q,\"0x%x\",%q,%q,\"32-bit\"\n",
		src, dst, k.SPI, t.Cipher.Row().Wireshark, k.Encr.Bytes(), t.Integ.Row().Wireshark, integ)
}
