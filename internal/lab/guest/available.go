package guest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"culvert/internal/lab"
)

// cache is where scripts/guest puts what a guest needs.
func cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("guest: no place for the guest's packages: %w", err)
	}
	return filepath.Join(dir, "culvert", "guest"), nil
}

// The files of a cache that is ready.
const (
	treeName  = "tree"
	shimName  = "shim.so"
	readyName = "ready"
	kernel    = "usr/bin/linux.uml"
)

// Available tells whether a guest can run here; the error says what is missing
// and how to get it.
func Available() error {
	if err := lab.Available(); err != nil {
		return err
	}
	dir, err := cache()
	if err != nil {
		return err
	}
	for _, f := range []string{readyName, shimName, filepath.Join(treeName, kernel)} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return fmt.Errorf("guest: User-Mode Linux is not here (%s is missing): run scripts/guest", filepath.Join(dir, f))
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("guest: its interfaces need /dev/net/tun: %w", err)
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		return fmt.Errorf("guest: the program unshare is missing: apt-get install util-linux")
	}
	return nil
}

// Version is the version of one of the guest's packages, "" when it has no such package.
func Version(pkg string) string {
	dir, err := cache()
	if err != nil {
		return ""
	}
	f, err := os.Open(filepath.Join(dir, readyName))
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, version, ok := strings.Cut(s.Text(), "\t"); ok && name == pkg {
			return version
		}
	}
	return ""
}
