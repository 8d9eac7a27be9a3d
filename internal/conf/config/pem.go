package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"culvert/internal/core/crypt"
)

// maxCertificates bounds the certificates or lists of one file.
const maxCertificates = 100

// parseKey finds the private key in PEM text, or takes DER. No error quotes the text.
func parseKey(text []byte) (crypt.Signer, error) {
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		return signer(text)
	}
	for rest := text; ; {
		var b *pem.Block
		b, rest = pem.Decode(rest)
		switch {
		case b == nil:
			return crypt.Signer{}, errors.New("there is no PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")
		case b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED"):
			return crypt.Signer{}, errors.New("it is encrypted with a passphrase: write it without one (openssl pkey -in FILE -out FILE)")
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			return signer(b.Bytes)
		}
	}
}

// signer reads a private key in DER: PKCS #8, PKCS #1 or SEC 1.
func signer(der []byte) (crypt.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return crypt.NewSigner(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return crypt.NewSigner(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return crypt.NewSigner(key)
	}
	return crypt.Signer{}, errors.New("it is no private key in PKCS #8, PKCS #1 or SEC 1")
}

// parseDER reads the PEM blocks of one type, or one object in DER, and has
// each looked at.
func parseDER(text []byte, typ string, look func([]byte) error) ([][]byte, error) {
	var out [][]byte
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		if err := look(text); err != nil {
			return nil, fmt.Errorf("it is neither PEM nor DER: %s", plainX509(err))
		}
		return [][]byte{text}, nil
	}
	for rest := text; ; {
		var b *pem.Block
		b, rest = pem.Decode(rest)
		switch {
		case b == nil && len(out) == 0:
			return nil, fmt.Errorf("there is no PEM block %s", typ)
		case b == nil:
			return out, nil
		case b.Type != typ:
			continue
		case len(out) == maxCertificates:
			return nil, fmt.Errorf("it holds more than %d PEM blocks %s", maxCertificates, typ)
		}
		if err := look(b.Bytes); err != nil {
			return nil, fmt.Errorf("its PEM block %d cannot be read: %s", len(out)+1, plainX509(err))
		}
		out = append(out, b.Bytes)
	}
}

func certificates(text []byte) ([][]byte, error) {
	return parseDER(text, "CERTIFICATE", func(der []byte) error { _, err := x509.ParseCertificate(der); return err })
}

func revocationLists(text []byte) ([][]byte, error) {
	return parseDER(text, "X509 CRL", func(der []byte) error { _, err := x509.ParseRevocationList(der); return err })
}
