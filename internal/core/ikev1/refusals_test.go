package ikev1

import (
	"testing"

	"culvert/internal/core/event"
	"culvert/internal/core/isakmp"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// What a responder says to offers with methods that are for remote access, or
// unsafe, and to those for which it lacks the key or the certificate.
func TestOfferedMethods(t *testing.T) {
	with := func(auths ...suite.Auth) []policy.ISAKMP {
		var out []policy.ISAKMP
		for _, a := range auths {
			p := settingsOf(right.Addr(), left.Addr(), rightN, leftN).Policies[0]
			p.Auth = a
			out = append(out, p)
		}
		return out
	}
	weaker := with(65001)
	weaker[0].Hash = suite.SHA1
	for _, tt := range []struct {
		name   string
		offers []policy.ISAKMP
		change func(*policy.Settings)
		code   event.Code
	}{
		{"plain", with(suite.PSK), nil, ""},
		{"XAUTH, initiator", with(65001), nil, event.NoXAUTH},
		{"XAUTH, responder", with(65002), nil, event.NoXAUTH},
		{"XAUTH with signatures", with(65005), nil, event.NoXAUTH},
		{"XAUTH and plain", with(65001, suite.PSK), nil, ""},
		{"plain and XAUTH", with(suite.PSK, 65001), nil, ""},
		{"XAUTH of another policy, and nothing plain", weaker, nil, event.NoXAUTH},
		{"XAUTH, and plain of another policy", append(with(65001), func() policy.ISAKMP { p := with(suite.PSK)[0]; p.Hash = suite.SHA1; return p }()), nil, event.NoXAUTH},
		{"RSA encryption", with(suite.RSAEncr), nil, event.RSAEncrypted},
		{"revised RSA encryption", with(suite.RSARev), nil, event.RSAEncrypted},
		{"RSA encryption and plain", with(suite.RSAEncr, suite.PSK), nil, ""},
		{"RSA encryption, and our policy wants it", with(suite.RSAEncr), func(s *policy.Settings) { s.Policies = with(suite.RSAEncr) }, event.RSAEncrypted},
		{"no key", with(suite.PSK), func(s *policy.Settings) { s.Keys = nil }, event.NoKey},
		{"no such method", with(77), nil, event.NoPolicy},
		{"DSS", with(suite.DSS), nil, event.NoPolicy},
	} {
		for _, mode := range []isakmp.Exchange{isakmp.ExchangeMain, isakmp.ExchangeAggressive} {
			a, b := aggressiveEnds(t)
			if mode == isakmp.ExchangeMain {
				a.settings.AggressiveDisabled = true
			}
			if tt.change != nil {
				tt.change(b.settings)
			}
			err := b.respond(swap(a.begin(), isakmp.PayloadSA, offerPolicies(tt.offers).Append(nil)))
			if tt.code == "" {
				if err != nil || b.sa.Policy.Auth != suite.PSK {
					t.Errorf("%s, %s: %v", tt.name, mode, err)
				}
				continue
			}
			if err == nil || refusal(err).Code != tt.code || refusal(err).Notify != isakmp.NotifyNoProposalChosen {
				t.Errorf("%s, %s: %+v, want %s", tt.name, mode, err, tt.code)
			}
		}
	}
}

// transact says a transaction exchange under the protection of the SA.
func (e *end) transact(spoil func([]byte) []byte, attrs ...isakmp.Attribute) []byte {
	body := append([]byte{1, 0, 0, 7}, isakmp.AppendAttributes(nil, attrs)...) // ISAKMP_CFG_REQUEST
	var raw []byte
	e.step(func(c *Context) {
		id := e.sa.freshID(c)
		p := []isakmp.Payload{{Type: isakmp.PayloadAttributes, Body: body}}
		_, rest := isakmp.AppendPayloads(nil, p)
		hash := e.sa.hashOver(be32(id), rest)
		if spoil != nil {
			hash = spoil(hash)
		}
		p = append([]isakmp.Payload{{Type: isakmp.PayloadHash, Body: hash}}, p...)
		var err error
		raw, _, err = e.sa.seal(isakmp.Header{Exchange: isakmp.ExchangeTransaction, MessageID: id}, p, e.sa.keys.phase2IV(e.sa.Policy, id))
		if err != nil {
			e.t.Fatal(err)
		}
	})
	return raw
}

// A peer that asks for a user's name behind phase 1 is refused in words, and
// phase 1 ends on both sides: it would never go on without.
func TestXAUTHRequest(t *testing.T) {
	a, b := phase1(t)
	b.take(a.transact(nil, isakmp.BasicAttribute(16520, 0), isakmp.BasicAttribute(16521, 0)))
	f := became[Dead](b)
	if len(f) != 1 || f[0].Failed == nil || f[0].Failed.Code != event.NoXAUTH || f[0].Failed.Identity == "" {
		t.Fatalf("%+v", b.outcomes)
	}
	for _, m := range b.drain() {
		a.take(m)
	}
	if n := saw[event.Notify](a); len(n) != 1 || n[0].Type != "UNSUPPORTED-EXCHANGE-TYPE" || !n[0].Protected {
		t.Errorf("the peer reads %+v", n)
	}
	if a.sa.Up() {
		t.Error("the peer was not told that the SA is over")
	}
}

// A peer that only asks for mode config is refused, and phase 1 stays.
//
// Threat: CVE-2010-3302.
func TestModeConfigRequest(t *testing.T) {
	a, b := phase1(t)
	m := a.transact(nil, isakmp.BasicAttribute(1, 0))
	b.take(m)
	b.take(m) // once is enough
	if f := saw[event.Failed](b); len(f) != 1 || f[0].Code != event.NoXAUTH || !f[0].Pending || !b.sa.Up() {
		t.Errorf("%+v, up %t", f, b.sa.Up())
	}
	all := b.drain()
	if len(all) != 1 {
		t.Fatalf("%d answers", len(all))
	}
	a.take(all[0])
	if n := saw[event.Notify](a); len(n) != 1 || n[0].Type != "UNSUPPORTED-EXCHANGE-TYPE" {
		t.Errorf("the peer reads %+v", n)
	}
	q := a.start()
	pump(a, b)
	if !q.done {
		t.Error("quick mode does not work behind it")
	}
}

// Nothing is done for a transaction that proves nothing, nor before phase 1 is up.
func TestForgedTransaction(t *testing.T) {
	a, b := phase1(t)
	attr := isakmp.BasicAttribute(16520, 0)
	b.take(a.transact(func(h []byte) []byte { h[0] ^= 1; return h }, attr))
	m := a.transact(nil, attr)
	m[19] &^= byte(isakmp.FlagEncryption)
	b.take(m)
	if !b.sa.Up() || len(b.sent) != 0 || len(b.outcomes) != 0 {
		t.Errorf("up %t, %d answers, %+v", b.sa.Up(), len(b.sent), b.outcomes)
	}
	m = a.transact(nil, attr)
	c, d := mm1(t)
	d.drain()
	copy(m, d.sa.Initiator[:])
	copy(m[8:], d.sa.Responder[:])
	d.take(m)
	if len(d.sent) != 0 || d.sa.Dead() {
		t.Error("answered before phase 1 is up")
	}
	_ = c
}
