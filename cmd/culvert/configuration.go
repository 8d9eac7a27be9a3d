package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"culvert/internal/conf/config"
)

// maxConfig is the largest configuration that is read: ten thousand peers have 5 MB.
const maxConfig = 64 << 20

// load reads a configuration and prints what is wrong with it to stderr. An
// error in it is an error here.
func load(path string, stderr io.Writer) (*config.Config, error) {
	c, problems, err := read(path)
	if err != nil {
		return nil, err
	}
	errors := 0
	for _, p := range problems {
		if p.Severity == config.Error {
			errors++
			fmt.Fprintln(stderr, p)
		}
	}
	if errors > 0 {
		return nil, bad("%s cannot be used: %s", path, plural(errors, "error"))
	}
	return c, nil
}

// read reads a configuration with all that there is to say about it.
func read(path string) (*config.Config, []config.Problem, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, bad("culvert: cannot read the configuration: %v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, nil, bad("culvert: cannot read the configuration: %v", err)
	}
	if len(text) > maxConfig {
		return nil, nil, bad("culvert: %s is larger than %d octets: this is no configuration", path, maxConfig)
	}
	c, problems := config.Parse(path, text)
	if c.Hostname == "" {
		c.Hostname = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return c, problems, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
