package crypt

import (
	"crypto/hmac"
	"crypto/sha512"
	"hash"

	"culvert/internal/core/suite"
)

// MAC is the truncated HMAC of ESP and AH (RFC 2403, 2404, 4868) under one key,
// used again and again. It belongs to one goroutine and allocates nothing.
type MAC struct {
	h   hash.Hash
	out [sha512.Size]byte
	icv int
}

// NewMAC makes the MAC of h under key, which it expands and does not keep.
func NewMAC(h suite.Hash, key Secret) *MAC {
	m := &MAC{h: hmac.New(NewHash(h), key.Bytes()), icv: h.Row().ICV}
	m.h.Reset() // keeps the keyed states, so that no later Reset allocates
	return m
}

// Sum is the ICV of parts[0] | parts[1] | …, valid until the next call.
func (m *MAC) Sum(parts ...[]byte) []byte {
	m.h.Reset()
	for _, p := range parts {
		m.h.Write(p)
	}
	return m.h.Sum(m.out[:0])[:m.icv]
}
