package swan

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"culvert/internal/core/suite"
	"culvert/internal/lab/shark"
)

// Keys are the keys of all IKEv1 SAs that the peer has had, for tshark; it needs
// Config.Keys. Debian leaves out the plugin save-keys, so they are read from the log.
func (p *Peer) Keys() (shark.Keys, error) { return keysOf(p.Log()) }

// The lines of charon's log that matter: thread, group and text; and the octets
// of a dump below such a line.
var (
	logLine  = regexp.MustCompile(`^\d\d:\d\d:\d\d (\d+)\[([A-Z]+)\] (.*)$`)
	dumpHead = regexp.MustCompile(`^(.*) => (\d+) bytes @ 0x`)
	dumpLine = regexp.MustCompile(`^ *\d+: ((?:[0-9A-F]{2} )+)`)
	checkout = regexp.MustCompile(`^checkout IKEv1 SA by message with SPIs ([0-9a-f]{16})_i`)
	sa       = regexp.MustCompile(`^  SPI 0x([0-9a-f]{8}), src `)
	using    = regexp.MustCompile(`^  using (\S+) for (encryption|integrity)$`)
)

// keyReader follows one thread of charon through its log: all lines of one
// derivation are written by one thread.
type keyReader struct {
	keys   *shark.Keys
	cookie string
	cipher suite.Cipher
	hash   suite.Hash
	seed   map[string][]byte    // by "initiator" and "responder"
	esp    map[string]shark.ESP // likewise; the SPI is told last
	dump   string               // the name of the dump that is being read
	want   int                  // its octets
	octets []byte
}

func keysOf(log string) (shark.Keys, error) {
	var keys shark.Keys
	threads := make(map[string]*keyReader)
	for line := range strings.Lines(log) {
		m := logLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		r := threads[m[1]]
		if r == nil {
			r = &keyReader{keys: &keys, seed: make(map[string][]byte), esp: make(map[string]shark.ESP)}
			threads[m[1]] = r
		}
		if err := r.line(m[3]); err != nil {
			return keys, err
		}
	}
	if len(keys.IKEv1) == 0 {
		return keys, fmt.Errorf("swan: the log holds no keys: Config.Keys is needed, and an SA")
	}
	return keys, nil
}

func (r *keyReader) line(text string) error {
	if m := dumpLine.FindStringSubmatch(text); m != nil && r.dump != "" {
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			return fmt.Errorf("swan: log: %w in %q", err, text)
		}
		if r.octets = append(r.octets, b...); len(r.octets) >= r.want {
			name := r.dump
			r.dump = ""
			return r.dumped(name, r.octets[:r.want])
		}
		return nil
	}
	r.dump = ""
	if m := dumpHead.FindStringSubmatch(text); m != nil {
		r.dump, r.octets = m[1], nil
		_, err := fmt.Sscan(m[2], &r.want)
		return err
	}
	if m := checkout.FindStringSubmatch(text); m != nil {
		r.cookie = m[1]
	}
	if m := sa.FindStringSubmatch(text); m != nil {
		return r.installed(m[1])
	}
	if m := using.FindStringSubmatch(text); m != nil {
		return r.algorithm(m[2], m[1])
	}
	return nil
}

// algorithm notes what the keys that follow are for.
func (r *keyReader) algorithm(kind, word string) error {
	if kind == "encryption" {
		r.hash = suite.NoHash // a combined mode names no other
		switch word {
		case "AES_CBC":
			r.cipher = suite.AESCBC
		case "AES_GCM_16":
			r.cipher = suite.AESGCM
		case "3DES_CBC":
			r.cipher = suite.TripleDES
		default:
			return fmt.Errorf("swan: log: unknown cipher %s", word)
		}
		return nil
	}
	switch word {
	case "HMAC_MD5_96":
		r.hash = suite.MD5
	case "HMAC_SHA1_96":
		r.hash = suite.SHA1
	case "HMAC_SHA2_256_128":
		r.hash = suite.SHA256
	case "HMAC_SHA2_384_192":
		r.hash = suite.SHA384
	case "HMAC_SHA2_512_256":
		r.hash = suite.SHA512
	default:
		return fmt.Errorf("swan: log: unknown integrity algorithm %s", word)
	}
	return nil
}

// dumped takes the octets of a dump.
func (r *keyReader) dumped(name string, b []byte) error {
	side := "initiator"
	if strings.Contains(name, "responder") {
		side = "responder"
	}
	switch name {
	case "encryption key Ka":
		cookie, err := hex.DecodeString(r.cookie)
		if err != nil || len(cookie) != 8 {
			return fmt.Errorf("swan: log: key of an unknown SA, cookie %q", r.cookie)
		}
		r.keys.IKEv1 = append(r.keys.IKEv1, shark.IKEv1{InitiatorCookie: [8]byte(cookie), Key: b})
	case "initiator SA seed", "responder SA seed":
		r.seed[side] = b
	case "encryption initiator key", "encryption responder key":
		r.esp[side] = shark.ESP{Cipher: r.cipher, Key: b, Hash: r.hash}
	case "integrity initiator key", "integrity responder key":
		e := r.esp[side]
		e.IntegKey = b
		r.esp[side] = e
	}
	return nil
}

// installed takes the SPI of an SA that is being installed. Its keys are those
// whose seed holds it: RFC 2409 5.5, [ g(qm)^xy | ] protocol | SPI | Ni_b | Nr_b.
func (r *keyReader) installed(spi string) error {
	number, err := strconv.ParseUint(spi, 16, 32)
	if err != nil {
		return fmt.Errorf("swan: log: SPI %q: %w", spi, err)
	}
	part := binary.BigEndian.AppendUint32([]byte{protoESP}, uint32(number))
	for side, e := range r.esp {
		if bytes.Contains(r.seed[side], part) {
			e.SPI = uint32(number)
			r.keys.ESP = append(r.keys.ESP, e)
			delete(r.esp, side)
		}
	}
	return nil
}

// protoESP is PROTO_IPSEC_ESP, RFC 2407 4.4.1.
const protoESP = 3
