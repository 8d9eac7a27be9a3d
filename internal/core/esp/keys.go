package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"fmt"

	"culvert/internal/core/crypt"
	"culvert/internal/core/policy"
	"culvert/internal/core/suite"
)

// ivMode is a block mode whose IV can be set again. The standard library's CBC
// modes have SetIV; a new mode for each packet would allocate.
type ivMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// ciphers is what a transform set and its keys become.
type ciphers struct {
	aead  cipher.AEAD
	salt  [4]byte
	block cipher.Block // of a CBC mode
	mac   *crypt.MAC
}

// newCiphers checks the key lengths and expands the keys.
func newCiphers(set policy.TransformSet, encr, integ crypt.Secret) (ciphers, error) {
	if want := keyLen(set); encr.Len() != want {
		return ciphers{}, fmt.Errorf("%s: encryption key of %d octets, expected %d: %w", set.Words(), encr.Len(), want, ErrKeyLength)
	}
	if want := set.Integ.Row().Size; integ.Len() != want {
		return ciphers{}, fmt.Errorf("%s: integrity key of %d octets, expected %d: %w", set.Words(), integ.Len(), want, ErrKeyLength)
	}
	var k ciphers
	var err error
	switch set.Cipher {
	case suite.AESGCM:
		key := encr.Bytes()
		salt := copy(k.salt[:], key[len(key)-len(k.salt):])
		if k.block, err = aes.NewCipher(key[:len(key)-salt]); err == nil {
			k.aead, err = cipher.NewGCM(k.block)
			k.block = nil
		}
	case suite.AESCBC:
		k.block, err = aes.NewCipher(encr.Bytes())
	case suite.TripleDES:
		k.block, err = des.NewTripleDESCipher(encr.Bytes())
	case suite.DES:
		k.block, err = des.NewCipher(encr.Bytes())
	case suite.NullCipher:
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return ciphers{}, fmt.Errorf("%s: %w", set.Words(), err)
	}
	if set.Integ != suite.NoHash {
		k.mac = crypt.NewMAC(set.Integ, integ)
	}
	return k, nil
}
