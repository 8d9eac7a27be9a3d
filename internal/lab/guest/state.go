package guest

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// State is one IPsec SA in the guest's kernel, in the kernel's words.
type State struct {
	Src, Dst string // outer addresses
	Proto    string // "esp" or "ah"
	Mode     string // "tunnel" or "transport"
	SPI      uint32
	// Cipher and Integrity are "cbc(aes)", "rfc4106(gcm(aes))", "hmac(sha1)"; ""
	// for none. KeyBits is the cipher's key, without a salt; ICVBits the length
	// of the check value.
	Cipher, Integrity string
	KeyBits, ICVBits  int
	Encap             bool // in UDP
	ESN               bool
	Packets           int64
}

// States are the SAs in the guest's kernel.
func (g *Guest) States(ctx context.Context) ([]State, error) {
	out, err := g.Exec(ctx, "ip -s xfrm state")
	if err != nil {
		return nil, err
	}
	return parseStates(out)
}

var (
	stateHead  = regexp.MustCompile(`(?m)^src (\S+) dst (\S+)$`)
	stateProto = regexp.MustCompile(`(?m)^\s+proto (\S+) spi 0x([0-9a-f]+)\S* .*mode (\S+)`)
	stateAEAD  = regexp.MustCompile(`(?m)^\s+aead (\S+) 0x([0-9a-f]*) \((\d+) bits\) (\d+)`)
	stateAuth  = regexp.MustCompile(`(?m)^\s+auth-trunc (\S+) 0x[0-9a-f]* \(\d+ bits\) (\d+)`)
	stateEnc   = regexp.MustCompile(`(?m)^\s+enc (\S+)(?:.*\((\d+) bits\))?`)
	stateESN   = regexp.MustCompile(`(?m)\sflag .*\besn\b`)
	stateLife  = regexp.MustCompile(`lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)`)
)

// parseStates reads what ip -s xfrm state prints.
func parseStates(out string) ([]State, error) {
	var list []State
	heads := stateHead.FindAllStringSubmatchIndex(out, -1)
	for i, h := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		s := State{Src: out[h[2]:h[3]], Dst: out[h[4]:h[5]]}
		text := out[h[1]:end]
		m := stateProto.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("guest: an SA without protocol: %s", text)
		}
		spi, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			return nil, fmt.Errorf("guest: SPI %q: %w", m[2], err)
		}
		s.Proto, s.SPI, s.Mode = m[1], uint32(spi), m[3]
		s.algorithms(text)
		if m := stateLife.FindStringSubmatch(text); m != nil {
			s.Packets = int64(number(m[1]))
		}
		s.Encap = strings.Contains(text, "encap type espinudp")
		s.ESN = stateESN.MatchString(text)
		list = append(list, s)
	}
	return list, nil
}

func (s *State) algorithms(text string) {
	if m := stateAEAD.FindStringSubmatch(text); m != nil {
		// The key has 4 octets of salt behind it (RFC 4106 8.1).
		s.Cipher, s.KeyBits, s.ICVBits = m[1], number(m[3])-32, number(m[4])
	}
	if m := stateAuth.FindStringSubmatch(text); m != nil {
		s.Integrity, s.ICVBits = m[1], number(m[2])
	}
	if m := stateEnc.FindStringSubmatch(text); m != nil {
		s.Cipher, s.KeyBits = m[1], number(m[2])
	}
}

// number is a run of digits that a pattern found.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0 // longer than any length: no algorithm's
	}
	return n
}
