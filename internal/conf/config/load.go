package config

import (
	"slices"
	"time"

	"culvert/internal/core/crypt"
	"culvert/internal/core/pki"
)

// File is what a file of a trustpoint holds.
type File struct {
	Text []byte
	// Open tells that others than the file's owner may read it, which a private
	// key should not allow.
	Open bool
}

// Load reads the files that trustpoints name: with read, which is given the
// paths as they are written, and looks for those relative to the
// configuration. now is what Check compares the dates of certificates with;
// the zero Time for no look at dates. A Problem of severity Error means that
// the configuration must not be run. Load may be called again after a change
// of the files.
func (c *Config) Load(read func(path string) (File, error), now time.Time) []Problem {
	c.now = now
	l := loader{c: c, read: read}
	for i := range c.Trustpoints {
		l.trustpoint(&c.Trustpoints[i])
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	return l.problems
}

type loader struct {
	c        *Config
	read     func(string) (File, error)
	problems []Problem
}

func (l *loader) trustpoint(t *Trustpoint) {
	t.loaded = material{}
	for _, f := range t.CAFiles {
		t.loaded.cas = append(t.loaded.cas, l.objects(f, pki.ParseCertificates)...)
	}
	for _, f := range t.CRLFiles {
		t.loaded.crls = append(t.loaded.crls, l.objects(f, pki.ParseCRLs)...)
	}
	if t.CertificateFile.Name != "" {
		t.loaded.chain = l.objects(t.CertificateFile, pki.ParseCertificates)
	}
	if t.KeyFile.Name != "" {
		t.loaded.key = l.key(t.KeyFile)
	}
}

func (l *loader) objects(f Named, parse func([]byte) ([][]byte, error)) [][]byte {
	file, ok := l.file(f)
	if !ok {
		return nil
	}
	out, err := parse(file.Text)
	if err != nil {
		l.report(Error, f, "file "+f.Name+" cannot be used: "+plainX509(err))
	}
	return out
}

func (l *loader) key(f Named) crypt.Signer {
	file, ok := l.file(f)
	if !ok {
		return crypt.Signer{}
	}
	key, err := pki.ParseKey(file.Text)
	clear(file.Text)
	if err != nil {
		l.report(Error, f, "file "+f.Name+" cannot be used: "+plainX509(err))
	}
	if file.Open {
		l.report(Warning, f, "file "+f.Name+" holds a private key, and others than its owner may read it: chmod 600 "+f.Name)
	}
	return key
}

func (l *loader) file(f Named) (File, bool) {
	file, err := l.read(f.Name)
	if err != nil {
		l.report(Error, f, "file "+f.Name+" cannot be read: "+err.Error())
	}
	return file, err == nil
}

func (l *loader) report(s Severity, f Named, message string) {
	l.problems = append(l.problems, Problem{Severity: s, File: l.c.File, Line: f.Origin.Line, Column: f.Origin.Column, Message: message})
}
