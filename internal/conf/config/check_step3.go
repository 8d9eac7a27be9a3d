package config

import (
	"fmt"

	"culvert/internal/core/suite"
)

// setsExist finds entries whose transform sets are not there.
func (k *checker) setsExist() {
	k.entries(func(m *CryptoMap, e *MapEntry) {
		header := entryLine(m, e)
		if len(e.Sets) == 0 {
			k.add(k.severity(m), e.Origin, fmt.Sprintf("crypto map %s %d has no transform set", m.Name, e.Seq),
				"the entry is incomplete: its traffic would leave in the clear", header+"\n set transform-set NAME")
		}
		for _, name := range e.Sets {
			if k.sets[name] == nil {
				k.add(k.severity(m), e.SetOrigin, fmt.Sprintf("transform set %s is not defined", name),
					"it is not offered; without any set the entry's traffic would leave in the clear",
					"crypto ipsec transform-set "+name+" esp-aes 256 esp-sha256-hmac")
			}
		}
	})
}

// setsWork looks at every transform set that an entry offers.
func (k *checker) setsWork() {
	seen := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		usable := 0
		for _, name := range e.Sets {
			if t := k.sets[name]; t != nil && k.negotiable(t) {
				usable++
			}
		}
		severity := Warning
		if usable == 0 {
			severity = Error
		}
		for _, name := range e.Sets {
			if t := k.sets[name]; t != nil && !seen[name] {
				seen[name] = true
				k.set(t, severity)
			}
		}
	})
}

func (k *checker) negotiable(t *TransformSet) bool {
	_, why := t.notYet()
	return why == "" && (k.c.Legacy || len(weakTransforms(t)) == 0)
}

func weakTransforms(t *TransformSet) []string {
	return weak(named{t.AH.Row().AH, t.AH.Row().Verdict}, named{t.Cipher.Row().ESP, t.Cipher.Row().Verdict}, named{t.Integ.Row().ESP, t.Integ.Row().Verdict})
}

func (k *checker) set(t *TransformSet, severity Severity) {
	good := "crypto ipsec transform-set " + t.Name + " esp-aes 256 esp-sha256-hmac"
	if at, why := t.notYet(); why != "" {
		fix := good
		if t.Mode == suite.Transport {
			fix = t.line() + "\n mode tunnel"
		}
		k.add(Error, at, fmt.Sprintf("transform set %s cannot be negotiated: Culvert does not have %s yet", t.Name, why), "it is neither offered nor accepted in phase 2", fix)
	}
	parts := weakTransforms(t)
	switch {
	case len(parts) == 0:
	case k.c.Legacy:
		k.add(Note, t.Origin, fmt.Sprintf("transform set %s has %s", t.Name, join(parts)), "it is offered because of \""+shieldLine+"\"; these algorithms can be broken", good)
	default:
		k.add(severity, t.Origin, fmt.Sprintf("transform set %s has %s, which %s negotiated only with \"%s\"", t.Name, join(parts), are(len(parts)), shieldLine),
			"it is neither offered nor accepted in phase 2", good)
	}
}

func (k *checker) setsUsed() {
	used := map[string]bool{}
	k.entries(func(m *CryptoMap, e *MapEntry) {
		for _, name := range e.Sets {
			used[name] = true
		}
	})
	for i := range k.c.TransformSets {
		if t := &k.c.TransformSets[i]; !used[t.Name] {
			k.add(Note, t.Origin, fmt.Sprintf("transform set %s is in no crypto map", t.Name), "it is never offered", "")
		}
	}
}
