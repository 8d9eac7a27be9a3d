package crypt

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// wrapped holds a key where fmt cannot call the methods of Secret.
type wrapped struct{ hidden Secret }

// shown holds keys as other packages do.
type shown struct {
	Key  Secret
	Ptr  *Secret
	List []Secret
	Map  map[string]Secret
	Dh   Private
}

const octets = "VerySecretOctets, thirty-two yes"

// leaks lists every way octets could show: as text, hexadecimal, decimal, Go
// syntax, base64.
func leaks() []string {
	b := []byte(octets)[4:12]
	return []string{
		string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
		strings.Trim(fmt.Sprint(b), "[]"), strings.Trim(fmt.Sprintf("%o", b), "[]"), strings.Trim(fmt.Sprintf("%b", b), "[]"),
		strings.Trim(fmt.Sprintf("%q", b), `"`), strings.Trim(fmt.Sprintf("% x", b), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","),
		base64.StdEncoding.EncodeToString([]byte(octets)[3:12]),
	}
}

func holders(t *testing.T) map[string]any {
	s := NewSecret([]byte(octets))
	p, err := NewPrivate(14, []byte(octets))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"Secret":                 s,
		"*Secret":                &s,
		"Private":                p,
		"*Private":               &p,
		"exported fields":        shown{s, &s, []Secret{s}, map[string]Secret{"k": s}, p},
		"*exported fields":       &shown{s, &s, []Secret{s}, map[string]Secret{"k": s}, p},
		"unexported field":       wrapped{s},
		"*unexported field":      &wrapped{s},
		"list of unexported":     []wrapped{{s}},
		"pointer in a map":       map[string]*wrapped{"k": {s}},
		"KeyPairJob":             KeyPairJob(p),
		"SharedJob":              SharedJob(p, []byte{1}),
		"Result":                 Result{Private: p, Shared: s},
		"struct with Private in": struct{ p Private }{p},
	}
}

func TestSecretNeverPrints(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%w"}
	for name, h := range holders(t) {
		var out bytes.Buffer
		for _, v := range verbs {
			fmt.Fprintf(&out, v+"\n", h)
		}
		fmt.Fprintln(&out, h)
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", h))
		if j, err := json.Marshal(h); err != nil {
			t.Errorf("%s: json: %v", name, err)
		} else {
			out.Write(j)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", h, slog.Group("g", "key", h))
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", h, slog.Group("g", "key", h))
		for _, l := range leaks() {
			if strings.Contains(out.String(), l) {
				t.Errorf("%s prints its octets as %s:\n%s", name, l, out.String())
			}
		}
	}
}

// The test above must be able to see a leak.
func TestSecretLeakIsSeen(t *testing.T) {
	for _, v := range []string{"%v", "%s", "%x", "%X", "%#v", "%d", "%o", "%b", "%q", "% x"} {
		out := fmt.Sprintf(v, []byte(octets))
		seen := false
		for _, l := range leaks() {
			seen = seen || strings.Contains(out, l)
		}
		if !seen {
			t.Errorf("%s of plain octets goes unseen: %s", v, out)
		}
	}
}

func TestSecretTellsWhatItIs(t *testing.T) {
	s := NewSecret(make([]byte, 32))
	for _, got := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%x", s), fmt.Sprintf("%#v", s)} {
		if got != "Secret(32 bytes)" {
			t.Errorf("got %q", got)
		}
	}
	p := Private{group: 19}
	for _, got := range []string{p.String(), fmt.Sprint(p), fmt.Sprintf("%x", p), fmt.Sprintf("%#v", p), fmt.Sprintf("%d", p)} {
		if got != "Private(group19)" {
			t.Errorf("got %q", got)
		}
	}
	if j, _ := json.Marshal(s); string(j) != `"Secret(32 bytes)"` {
		t.Errorf("json: %s", j)
	}
	if j, _ := json.Marshal(p); string(j) != `"Private(group19)"` {
		t.Errorf("json: %s", j)
	}
}

func TestSecretEqualAndWipe(t *testing.T) {
	a, b := NewSecret([]byte("0123")), NewSecret([]byte("0123"))
	if !a.Equal(b) || a.Equal(NewSecret([]byte("0124"))) || a.Equal(NewSecret([]byte("012"))) || a.Equal(Secret{}) {
		t.Error("Equal is wrong")
	}
	copied := a
	a.Wipe()
	if !copied.Equal(NewSecret(make([]byte, 4))) {
		t.Error("a copy of a wiped Secret still has the octets")
	}
	var none Secret
	none.Wipe()
	if none.Len() != 0 || none.Bytes() != nil || !none.Equal(NewSecret(nil)) {
		t.Error("the zero Secret is not empty")
	}
}
