package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"fmt"
	"slices"

	"culvert/internal/core/suite"
)

// CBCEncrypt encrypts the body of an ISAKMP message (RFC 2409 appendix B): DES,
// 3DES or AES in CBC mode. The plaintext, already padded, is one or more whole
// blocks. The last block of what is returned is the IV of the next message.
func CBCEncrypt(c suite.Cipher, key Secret, iv, plaintext []byte) ([]byte, error) {
	b, err := cbcBlock(c, key, iv, plaintext)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	out := make([]byte, len(plaintext))
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(out, plaintext)
	return out, nil
}

// CBCDecrypt undoes CBCEncrypt. A wrong key is no error here: the text it yields
// is noise, which the parser of the message meets.
func CBCDecrypt(c suite.Cipher, key Secret, iv, ciphertext []byte) ([]byte, error) {
	b, err := cbcBlock(c, key, iv, ciphertext)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	out := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(out, ciphertext)
	return out, nil
}

// cbcBlock checks all lengths, which crypto/cipher would answer with a panic,
// and schedules the key.
func cbcBlock(c suite.Cipher, key Secret, iv, text []byte) (cipher.Block, error) {
	row := c.Row()
	switch {
	case c != suite.DES && c != suite.TripleDES && c != suite.AESCBC:
		return nil, fmt.Errorf("%s: %w", c, ErrCipher)
	case !slices.Contains(row.KeyBits, key.Len()*8):
		return nil, fmt.Errorf("%s: key of %d bits, want one of %v: %w", c, key.Len()*8, row.KeyBits, ErrKeySize)
	case len(iv) != row.Block:
		return nil, fmt.Errorf("%s: IV of %d octets, want %d: %w", c, len(iv), row.Block, ErrIVSize)
	case len(text) == 0 || len(text)%row.Block != 0:
		return nil, fmt.Errorf("%s: text of %d octets, want a multiple of %d: %w", c, len(text), row.Block, ErrBlocks)
	}
	switch c {
	case suite.DES:
		return des.NewCipher(key.Bytes())
	case suite.TripleDES:
		return des.NewTripleDESCipher(key.Bytes())
	}
	return aes.NewCipher(key.Bytes())
}

// WeakDES reports whether a DES key of 8 octets is one of the weak and
// semi-weak keys of RFC 2409 appendix A, which ISAKMP must not encrypt with
// (section 4). Parity bits do not count, as DES leaves them out. The appendix
// prints two weak keys with e0 and 1f where they have 0e and f1 (FIPS 74): both
// spellings are refused.
func WeakDES(key Secret) bool {
	const parity = 0xfefefefefefefefe
	if key.Len() != des.BlockSize {
		return false
	}
	switch binary.BigEndian.Uint64(key.Bytes()) & parity {
	case 0x0101010101010101 & parity, 0xfefefefefefefefe & parity,
		0x1f1f1f1fe0e0e0e0 & parity, 0xe0e0e0e01f1f1f1f & parity,
		0x1f1f1f1f0e0e0e0e & parity, 0xe0e0e0e0f1f1f1f1 & parity:
		return true // weak
	case 0x01fe01fe01fe01fe & parity, 0xfe01fe01fe01fe01 & parity,
		0x1fe01fe00ef10ef1 & parity, 0xe01fe01ff10ef10e & parity,
		0x01e001e001f101f1 & parity, 0xe001e001f101f101 & parity,
		0x1ffe1ffe0efe0efe & parity, 0xfe1ffe1ffe0efe0e & parity,
		0x011f011f010e010e & parity, 0x1f011f010e010e01 & parity,
		0xe0fee0fef1fef1fe & parity, 0xfee0fee0fef1fef1 & parity:
		return true // semi-weak
	}
	return false
}
