package show

import (
	"fmt"
	"io"
	"strings"
	"time"

	"culvert/internal/core/status"
)

// Version writes "show version".
func Version(w io.Writer, g *status.Gateway) error {
	var p page
	p.line("Culvert, Version %s", versionWord(g))
	p.line("")
	if g.Started.IsZero() {
		p.line("%s uptime is unknown", g.Hostname)
	} else {
		p.line("%s uptime is %s", g.Hostname, longUptime(g.Now.Sub(g.Started)))
	}
	return p.flush(w)
}

func versionWord(g *status.Gateway) string {
	if g.Version == "" {
		return "(unknown)"
	}
	return g.Version
}

// longUptime is a duration in words, down to minutes: "2 days, 1 minute".
func longUptime(d time.Duration) string {
	m := seconds(d) / 60
	var w []string
	for _, u := range []struct {
		minutes int64
		name    string
	}{{365 * 24 * 60, "year"}, {7 * 24 * 60, "week"}, {24 * 60, "day"}, {60, "hour"}, {1, "minute"}} {
		n := m / u.minutes
		m %= u.minutes
		switch {
		case n == 1:
			w = append(w, "1 "+u.name)
		case n > 1:
			w = append(w, fmt.Sprintf("%d %ss", n, u.name))
		}
	}
	if len(w) == 0 {
		return "less than a minute"
	}
	return strings.Join(w, ", ")
}
