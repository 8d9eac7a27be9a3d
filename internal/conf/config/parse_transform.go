package config

import (
	"time"

	"culvert/internal/conf/ios"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

func transformHandlers() map[string]handler {
	return map[string]handler{
		"mode": (*reader).transformMode,
		"esn":  func(r *reader, m *ios.Match, l ios.Line) { r.set.ESN, r.set.ESNOrigin = !undo(m), r.written(m, l) },
	}
}

func (r *reader) transformSet(m *ios.Match, l ios.Line) {
	name := m.Value("name")
	if undo(m) {
		r.sets.remove(name)
		return
	}
	t := TransformSet{TransformSet: policy.TransformSet{Name: name, Origin: r.origin(l)}}
	ok := true
	for i := range m.Words {
		if m.Words[i].Arg == "transform" {
			ok = r.transform(&t, m, i, l) && ok
		}
	}
	if !ok || !r.legal(&t, m, l) {
		r.strange(l)
		return
	}
	if old := r.sets.get(name); old != nil {
		t.Mode, t.Require, t.ModeOrigin, t.ESN, t.ESNOrigin = old.Mode, old.Require, old.ModeOrigin, old.ESN, old.ESNOrigin
	}
	r.set = r.sets.put(name, &t)
	r.open(m, l)
}

// transform adds the transform that is word i of the line. At most one AH, one
// ESP cipher and one ESP hash go into a set, in any order.
func (r *reader) transform(t *TransformSet, m *ios.Match, i int, l ios.Line) bool {
	w := m.Words[i]
	bits := 0
	if i+1 < len(m.Words) && m.Words[i+1].Arg == "bits" {
		bits, _ = (&ios.Match{Words: m.Words[i+1 : i+2]}).Number("bits")
	}
	for _, h := range suite.Hashes() {
		slot, class := &t.AH, "AH transform"
		if h.Row().ESP == w.Value {
			slot, class = &t.Integ, "ESP hash"
		} else if h.Row().AH != w.Value {
			continue
		}
		if bits != 0 {
			r.fault(l, m.Words[i+1], "word %s: %s takes no key size", ios.Quote(m.Words[i+1].Text), w.Value)
			return false
		}
		if *slot != suite.NoHash {
			r.fault(l, w, "word %s: a transform set has at most one %s", ios.Quote(w.Text), class)
			return false
		}
		*slot = h
		return true
	}
	c, keyBits := espCipher(w.Value)
	switch {
	case c == suite.NoCipher:
		r.fault(l, w, "word %s: valid IOS that Culvert does not support yet", ios.Quote(w.Text))
	case t.Cipher != suite.NoCipher:
		r.fault(l, w, "word %s: a transform set has at most one ESP cipher", ios.Quote(w.Text))
	case bits != 0 && !(c.Row().Sized && keyBits == 0):
		r.fault(l, m.Words[i+1], "word %s: %s takes no key size", ios.Quote(m.Words[i+1].Text), w.Value)
	default:
		t.Cipher, t.KeyBits = c, max(bits, keyBits)
		if t.KeyBits == 0 {
			t.KeyBits = c.Row().KeyBits[0]
		}
		return true
	}
	return false
}

// espCipher is the cipher of a word, and its key size where the word says it
// as show commands do.
func espCipher(word string) (suite.Cipher, int) {
	switch word {
	case "esp-192-aes":
		return suite.AESCBC, 192
	case "esp-256-aes":
		return suite.AESCBC, 256
	}
	for _, c := range suite.Ciphers() {
		if c.Row().ESP == word {
			return c, 0
		}
	}
	return suite.NoCipher, 0
}

// legal checks what the transforms of one set have to do with each other.
func (r *reader) legal(t *TransformSet, m *ios.Match, l ios.Line) bool {
	w, _ := m.Arg("transform")
	switch {
	case t.Cipher.Combined() && t.Integ != suite.NoHash:
		r.fault(l, w, "%s protects integrity itself: it cannot stand with %s", t.Cipher.Row().ESP, t.Integ.Row().ESP)
	case t.Cipher == suite.NullCipher && t.Integ == suite.NoHash:
		r.fault(l, w, "esp-null needs an ESP hash such as esp-sha256-hmac")
	case t.Cipher == suite.NoCipher && t.Integ != suite.NoHash:
		r.fault(l, w, "%s needs an ESP cipher such as esp-aes, or esp-null for none", t.Integ.Row().ESP)
	default:
		return true
	}
	return false
}

// line is the set's first line as a configuration has it.
func (t *TransformSet) line() string {
	return "crypto ipsec transform-set " + t.Name + " " + t.ConfigWords()
}

func (r *reader) transformMode(m *ios.Match, l ios.Line) {
	r.set.Mode, r.set.Require, r.set.ModeOrigin = suite.Tunnel, false, r.written(m, l)
	if m.Has("transport") && !undo(m) {
		r.set.Mode, r.set.Require = suite.Transport, m.Has("require")
	}
}

func (r *reader) globalLifetime(m *ios.Match, l ios.Line) {
	d := &r.c.DefaultLifetime
	r.c.DefaultLifetimeOrigin = r.written(m, l)
	if m.Has("kilobytes") {
		d.Kilobytes = policy.DefaultIPsecKilobytes
		if !undo(m) {
			d.Kilobytes = uint64(number(m, "kilobytes"))
		}
		return
	}
	d.Time = policy.DefaultIPsecLifetime
	if !undo(m) {
		d.Time = lifetime(m)
	}
}

// lifetime is "seconds N" or "days N".
func lifetime(m *ios.Match) time.Duration {
	return time.Duration(number(m, "seconds"))*time.Second + time.Duration(number(m, "days"))*24*time.Hour
}

func (r *reader) replayWindow(m *ios.Match, l ios.Line) {
	r.c.ReplayWindow, r.c.ReplayWindowOrigin = policy.DefaultReplayWindow, r.written(m, l)
	if n, ok := m.Number("packets"); ok && !undo(m) {
		r.c.ReplayWindow = n
	}
}

func (r *reader) replayDisable(m *ios.Match, l ios.Line) {
	r.c.ReplayWindow, r.c.ReplayWindowOrigin = 0, r.written(m, l)
	if undo(m) {
		r.c.ReplayWindow = policy.DefaultReplayWindow
	}
}

func (r *reader) idleTime(m *ios.Match, l ios.Line) {
	r.c.IdleTime, r.c.IdleTimeOrigin = number(m, "idle"), r.written(m, l)
	if undo(m) {
		r.c.IdleTime = 0
	}
}
