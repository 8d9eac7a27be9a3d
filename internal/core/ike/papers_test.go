package ike

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"net/netip"
	"sync"
	"time"

	"culvert/internal/core/authority"
	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// paper is what the two gateways of a test prove themselves with: the same in
// every run, so that what a fuzzer finds can be found again.
type paper struct {
	ca     []byte
	cert   [2][]byte
	signer [2]crypt.Signer
	list   []byte // on which nobody is
}

var papers = sync.OnceValue(func() *paper {
	key := func(fill byte) *ecdsa.PrivateKey {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{fill}, 32))
		if err != nil {
			panic(err)
		}
		return k
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	root, err := authority.Of(nil, now, "lab CA", key(1), nil)
	if err != nil {
		panic(err)
	}
	p := &paper{ca: root.Cert.Raw}
	for i := range p.cert {
		k := key(byte(2 + i))
		c, err := root.Issue("gateway", k.Public(), []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)})}, func(c *x509.Certificate) {
			c.CRLDistributionPoints = []string{"http://ca.lab/list"}
		})
		if err != nil {
			panic(err)
		}
		if p.signer[i], err = crypt.NewSigner(k); err != nil {
			panic(err)
		}
		p.cert[i] = c.Raw
	}
	if p.list, err = root.CRL(now, now.AddDate(1, 0, 0), nil, nil); err != nil {
		panic(err)
	}
	return p
})

// certified makes a gateway prefer certificates to its key.
func certified(s *policy.Settings, i int) {
	p := papers()
	signed := s.Policies
	if len(signed) > 0 && signed[0].Auth == suite.PSK {
		first := signed[0]
		first.Priority, first.Auth = 5, suite.ECDSA256
		s.Policies = append([]policy.ISAKMP{first}, signed...)
	}
	s.Trustpoints = []policy.Trustpoint{{Name: "LAB", CAs: [][]byte{p.ca}, Chain: [][]byte{p.cert[i]}, Key: p.signer[i], Revocation: []string{"crl", "none"}}}
}
