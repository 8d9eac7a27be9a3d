package show

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"culvert/internal/core/flow"
	"culvert/internal/core/origin"
	"culvert/internal/core/policy"
)

// JSON writes one of the views of this package, indented, ending in a newline.
func JSON(w io.Writer, view any) error {
	b, err := json.MarshalIndent(view, "", "  ")
	if err != nil {
		return fmt.Errorf("show as JSON: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Ident is a proxy identity. Protocol 0 is every protocol; ports are "any",
// one port, or "low-high".
type Ident struct {
	Prefix   string `json:"prefix"`
	Protocol uint8  `json:"protocol"`
	Ports    string `json:"ports"`
}

// Idents are the two identities of a flow.
type Idents struct {
	Local  Ident `json:"local"`
	Remote Ident `json:"remote"`
}

func idents(s flow.Selectors) Idents {
	return Idents{
		Local:  Ident{s.Local.String(), s.Proto, s.LocalPorts.String()},
		Remote: Ident{s.Remote.String(), s.Proto, s.RemotePorts.String()},
	}
}

// Origin is where something was written; null when nowhere.
type Origin struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func originOf(l origin.Line) *Origin {
	if l.IsZero() {
		return nil
	}
	return &Origin{l.File, l.Line}
}

// Life is a pair of limits; null Kilobytes means no volume limit.
type Life struct {
	Seconds   int64   `json:"seconds"`
	Kilobytes *uint64 `json:"kilobytes"`
}

func lifeOf(l policy.Lifetime) Life {
	if l.Kilobytes == 0 {
		return Life{Seconds: seconds(l.Time)}
	}
	return Life{seconds(l.Time), &l.Kilobytes}
}

// instant is a time in UTC, null for the zero Time.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

// word is an address, "" when there is none.
func word(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func spiHex(spi uint32) string { return fmt.Sprintf("0x%08x", spi) }
