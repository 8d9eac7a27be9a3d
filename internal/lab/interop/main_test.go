package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"culvert/internal/lab"
)

// binaryEnv names the environment variable that tells the tests which binary to
// run. Who sets it has that binary tested, a release for example; else the tree
// is built.
const binaryEnv = "CULVERT_INTEROP_BINARY"

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

// buildAndRun builds culvert for the tests that can run here; where no lab can
// be made all of them skip.
func buildAndRun(m *testing.M) int {
	if lab.Available() != nil || os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "culvert-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "culvert")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/culvert")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "interop: building culvert: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(binaryEnv, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
