package main

import (
	"fmt"
	"strings"
	"testing"

	"culvert/internal/conf/config"
)

// TestKeyIsNeverTold: whatever is right or wrong with two configurations, no
// command prints the pre-shared key, nor any other that was tried.
func TestKeyIsNeverTold(t *testing.T) {
	const other = "Quite-another-key-0815"
	all := append(mistakes(),
		mistake{name: "nothing"},
		mistake{name: "wrong key", old: theKey, new: other},
		mistake{name: "key with an unknown word behind it", old: theKey + " address PEER", new: other + " address PEER no-xauth please"},
		mistake{name: "key with a misspelt word before it", old: "crypto isakmp key " + theKey, new: "crypto isakmp kye " + other},
		mistake{name: "key without an address", old: theKey + " address PEER", new: other},
		mistake{name: "key with a blank in it", old: theKey, new: other + " " + other},
		mistake{name: "key of type 0", old: theKey, new: "0 " + other},
	)
	for _, m := range all {
		for side := range 2 {
			texts := sites()
			if m.old != "" {
				texts[side] = edit(t, side, texts[side], m.old, m.new)
			}
			files := write(t, t.TempDir(), texts)
			for _, args := range [][]string{
				{"simulate", files[0], files[1]}, {"simulate", "--json", files[1], files[0]}, {"check", files[0], files[1]}, {"check", "--json", files[side]},
			} {
				_, stdout, stderr := culvert(args...)
				if len(stdout+stderr) == 0 {
					t.Errorf("%s/R%d: %s says nothing", m.name, side+1, args[0])
				}
				noKey(t, fmt.Sprintf("%s/R%d: %s", m.name, side+1, args), stdout+stderr, theKey, other)
			}
			c, problems := config.Parse(files[side], []byte(texts[side]))
			noKey(t, m.name+": show running-config", c.RunningHidden(), theKey, other)
			noKey(t, m.name+": %v of all", fmt.Sprintf("%v %+v %#v", problems, *c, c.Settings()), theKey, other)
		}
	}
}

func noKey(t *testing.T, where, text string, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if i := strings.Index(text, k); i >= 0 {
			t.Errorf("%s tells the key: %q", where, text[max(0, i-80):min(len(text), i+40)])
		}
	}
}
