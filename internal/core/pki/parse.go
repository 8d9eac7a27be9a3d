package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"culvert/internal/core/crypt"
)

// maxFile bounds how many certificates or lists one file may hold.
const maxFile = 64

// ParseCertificates reads the certificates of a file: one in DER, or any number
// in PEM, in their order. Each is checked to be a certificate; other PEM blocks
// are passed over.
func ParseCertificates(data []byte) ([][]byte, error) {
	blocks, err := blocksOf(data, "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
	if err != nil {
		return nil, err
	}
	for i, der := range blocks {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d of the file: %w", i+1, err)
		}
	}
	if len(blocks) == 0 {
		return nil, errors.New("no certificate: expected PEM with -----BEGIN CERTIFICATE-----, or DER")
	}
	return blocks, nil
}

// ParseCRLs reads the revocation lists of a file, in DER or PEM.
func ParseCRLs(data []byte) ([][]byte, error) {
	blocks, err := blocksOf(data, "X509 CRL")
	if err != nil {
		return nil, err
	}
	for i, der := range blocks {
		if _, err := x509.ParseRevocationList(der); err != nil {
			return nil, fmt.Errorf("revocation list %d of the file: %w", i+1, err)
		}
	}
	if len(blocks) == 0 {
		return nil, errors.New("no revocation list: expected PEM with -----BEGIN X509 CRL-----, or DER")
	}
	return blocks, nil
}

// blocksOf lists the PEM blocks of some types, or the whole file when it is no PEM.
func blocksOf(data []byte, types ...string) ([][]byte, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, errors.New("the file is empty")
		}
		return [][]byte{data}, nil
	}
	var out [][]byte
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out, nil
		}
		for _, t := range types {
			if b.Type == t {
				out = append(out, b.Bytes)
			}
		}
		if len(out) > maxFile {
			return nil, fmt.Errorf("more than %d in one file", maxFile)
		}
	}
}

// ParseKey reads a private key that is not encrypted: PKCS #8, PKCS #1 or SEC 1,
// in PEM or DER. Its errors hold nothing of the key.
func ParseKey(data []byte) (crypt.Signer, error) {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return keyOf(data)
	}
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return crypt.Signer{}, errors.New("no private key: expected PEM with -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY, or DER")
		}
		switch b.Type {
		case "ENCRYPTED PRIVATE KEY":
			return crypt.Signer{}, errEncrypted
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if b.Headers["DEK-Info"] != "" {
				return crypt.Signer{}, errEncrypted
			}
			return keyOf(b.Bytes)
		}
	}
}

var errEncrypted = errors.New("the private key is encrypted, and nobody is there to type its password: store it in clear with mode 0600 (openssl pkey -in FILE -out NEWFILE)")

// keyOf reads a private key in DER. The errors of crypto/x509 are not passed
// on: they may quote what they met.
func keyOf(der []byte) (crypt.Signer, error) {
	var key crypto.PrivateKey
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		key = k
	} else if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		key = k
	} else if k, err := x509.ParseECPrivateKey(der); err == nil {
		key = k
	} else {
		return crypt.Signer{}, errors.New("not a private key in PKCS #8, PKCS #1 or SEC 1, or a damaged one")
	}
	s, err := crypt.NewSigner(key)
	if err != nil {
		return crypt.Signer{}, fmt.Errorf("a private key of another kind: %w", err)
	}
	return s, nil
}

// KeyWords is a public key for people: "RSA 2048", "ECDSA P-256".
func KeyWords(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	}
	return fmt.Sprintf("%T", public)
}

// CheckOwn says what is wrong with our own certificate and key: the key is not
// the certificate's, it is weak, or the chain is not in order. nil when they
// may be used; legacy lets RSA keys of 1024 bits pass.
func CheckOwn(chain [][]byte, key crypt.Signer, legacy bool) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	if !key.Held() {
		return errors.New("no private key for the certificate")
	}
	var last *x509.Certificate
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		switch {
		case i == 0 && !key.Matches(c.PublicKey):
			return fmt.Errorf("the private key (%s) is not that of the certificate %s (%s)", KeyWords(key.Public()), label(c), KeyWords(c.PublicKey))
		case i == 0:
			if err := crypt.CheckPublic(c.PublicKey, legacy); err != nil {
				return fmt.Errorf("certificate %s: %w", label(c), err)
			}
			if err := ikeUsage(c); err != nil {
				return err
			}
		default:
			if err := last.CheckSignatureFrom(c); err != nil {
				return fmt.Errorf("the chain is not in order: certificate %d, %s, did not sign the one before, %s: %w", i+1, label(c), label(last), err)
			}
		}
		last = c
	}
	return nil
}
