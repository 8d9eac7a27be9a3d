// Package crypt is arithmetic: ciphers, MACs, PRFs, Diffie-Hellman, and the
// type Secret that keeps keys out of logs. It draws no randomness of its own.
package crypt

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Secret is a key. It never prints its octets, is compared in constant time
// and can be wiped. The zero Secret is empty.
//
// The octets hang on two pointers because fmt calls no method on an unexported
// field: it prints what it finds there, and looks behind one pointer when the
// verb does not fit. So it finds an address.
type Secret struct {
	_ [0]func() // == would compare addresses: use Equal
	b **[]byte
}

// NewSecret takes b over: the caller must not use it any more.
func NewSecret(b []byte) Secret {
	p := &b
	return Secret{b: &p}
}

// Bytes returns the octets themselves, not a copy, for arithmetic only.
func (s Secret) Bytes() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// Len is the number of octets.
func (s Secret) Len() int { return len(s.Bytes()) }

// Equal compares in constant time for equal lengths.
func (s Secret) Equal(o Secret) bool { return subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1 }

// Wipe overwrites the octets with zeros.
func (s Secret) Wipe() { clear(s.Bytes()) }

func (s Secret) String() string { return fmt.Sprintf("Secret(%d bytes)", s.Len()) }

// GoString keeps %#v from printing the octets.
func (s Secret) GoString() string { return s.String() }

// Format keeps every verb of fmt from printing the octets.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue keeps log/slog from printing the octets.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON keeps encoding/json from printing the octets.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

func (p Private) String() string { return fmt.Sprintf("Private(%s)", p.group) }

// GoString keeps %#v from printing the key.
func (p Private) GoString() string { return p.String() }

// Format keeps every verb of fmt from printing the key.
func (p Private) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// LogValue keeps log/slog from printing the key.
func (p Private) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON keeps encoding/json from printing the key.
func (p Private) MarshalJSON() ([]byte, error) { return []byte(`"` + p.String() + `"`), nil }

func (s Signer) String() string {
	if s.key == nil {
		return "Signer(none)"
	}
	return "Signer(" + s.Auth().String() + ")"
}

// GoString keeps %#v from printing the key.
func (s Signer) GoString() string { return s.String() }

// Format keeps every verb of fmt from printing the key.
func (s Signer) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue keeps log/slog from printing the key.
func (s Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON keeps encoding/json from printing the key.
func (s Signer) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
