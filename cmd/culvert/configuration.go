package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// reload is load for a running gateway: what is wrong is in the error.
func reload(path string) (*config.Config, error) {
	var problems strings.Builder
	c, err := load(path, &problems)
	if err != nil {
		return nil, fmt.Errorf("%s%w", problems.String(), err)
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
	return c, append(problems, c.Load(readBeside(path), time.Now())...), nil
}

// maxFile is the largest file of a trustpoint that is read: a CRL of a large CA.
const maxFile = 16 << 20

// readBeside reads the files that trustpoints name: relative paths begin at the
// directory of the configuration.
func readBeside(configuration string) func(string) (config.File, error) {
	return func(path string) (config.File, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(configuration), path)
		}
		f, err := os.Open(path)
		if err != nil {
			return config.File{}, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return config.File{}, err
		}
		text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err == nil && len(text) > maxFile {
			err = fmt.Errorf("it is larger than %d octets", maxFile)
		}
		return config.File{Text: text, Open: info.Mode().Perm()&0o077 != 0}, err
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
