package config

import "testing"

// The grammar is part of the program: it compiles, and every line an operator
// of the five steps types has exactly one reading.
func TestGrammarCompiles(t *testing.T) {
	tree := grammar()
	for _, line := range []string{
		"access-list 101 permit udp host 198.51.100.2 host 198.51.100.1 eq isakmp non500-isakmp log",
		"access-list 101 permit tcp any eq www host 10.1.1.1 range 1 5 established",
		"crypto isakmp key cisco123 address 198.51.100.2",
		"no access-list 101",
		"int gig 0/1",
	} {
		m, err := tree.Match(modeGlobal, line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		t.Log(m.Command.Name, m.Canonical())
	}
}

func BenchmarkGrammar(b *testing.B) {
	for b.Loop() {
		grammar()
	}
}
