// Package shark has tshark read a capture with keys: the second opinion on
// what went over the wire, from a decoder that is not ours.
package shark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"culvert/internal/core/suite"
)

// Available tells whether tshark is installed.
func Available() error {
	if _, err := exec.LookPath("tshark"); err != nil {
		return errors.New("shark: tshark is not installed: apt-get install tshark")
	}
	return nil
}

// ESP is the key of one direction: one IPsec SA.
type ESP struct {
	Src, Dst netip.Addr // outer addresses; the zero Addr means any
	SPI      uint32
	Cipher   suite.Cipher
	Key      []byte // with the 4 octets of salt behind it for AES-GCM (RFC 4106 8.1)
	Hash     suite.Hash
	IntegKey []byte
}

// IKEv1 is the key that encrypts the messages of one ISAKMP SA (RFC 2409
// appendix B).
type IKEv1 struct {
	InitiatorCookie [8]byte
	Key             []byte
}

// Keys are what tshark may use to read a capture.
type Keys struct {
	ESP   []ESP
	IKEv1 []IKEv1
	// Tables is a directory with more keys in Wireshark's own tables (esp_sa,
	// ikev1_decryption_table, ikev2_decryption_table); may be empty.
	Tables string
}

// The files in which Wireshark keeps keys.
const (
	espTable   = "esp_sa"
	ikev1Table = "ikev1_decryption_table"
	ikev2Table = "ikev2_decryption_table"
)

// Packet is one packet: the values of each field in the order in which they
// occur, so the outer address comes before the inner one. A field that does
// not occur has no values.
type Packet map[string][]string

// Fields reads a capture and returns the wanted fields ("ip.src", "esp.spi",
// "icmp.type", …) of every packet that passes the display filter ("" for all).
func Fields(ctx context.Context, capture string, k Keys, filter string, fields ...string) ([]Packet, error) {
	// Values may hold commas; unit and record separators they do not hold.
	args := []string{"-T", "fields", "-E", "separator=\x1e", "-E", "aggregator=\x1f", "-E", "occurrence=a"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := run(ctx, capture, k, filter, args)
	if err != nil {
		return nil, err
	}
	var packets []Packet
	for line := range strings.Lines(out) {
		values := strings.Split(strings.TrimSuffix(line, "\n"), "\x1e")
		if len(values) != len(fields) {
			return nil, fmt.Errorf("shark: tshark printed %d fields, expected %d: %q", len(values), len(fields), line)
		}
		p := make(Packet, len(fields))
		for i, f := range fields {
			if values[i] != "" {
				p[f] = strings.Split(values[i], "\x1f")
			}
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// Details is everything tshark tells of the packets that pass the filter.
func Details(ctx context.Context, capture string, k Keys, filter string) (string, error) {
	return run(ctx, capture, k, filter, []string{"-V"})
}

func run(ctx context.Context, capture string, k Keys, filter string, args []string) (string, error) {
	if err := Available(); err != nil {
		return "", err
	}
	// A configuration of its own keeps the user's preferences out, and the keys
	// out of the list of processes.
	dir, err := os.MkdirTemp("", "culvert-shark-")
	if err != nil {
		return "", fmt.Errorf("shark: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := k.write(dir); err != nil {
		return "", err
	}
	argv := append([]string{"-n", "-r", capture,
		"-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"}, args...)
	if filter != "" {
		argv = append(argv, "-Y", filter)
	}
	c := exec.CommandContext(ctx, "tshark", argv...)
	c.Env = append(os.Environ(), "WIRESHARK_CONFIG_DIR="+dir, "LC_ALL=C.UTF-8")
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("shark: tshark: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	// A table that it does not understand tshark only mentions.
	if strings.Contains(complaint.String(), "Error loading table") {
		return "", fmt.Errorf("shark: tshark: %s", strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// write makes the tables of a configuration directory.
func (k Keys) write(dir string) error {
	tables := map[string]string{}
	for _, e := range k.ESP {
		row, err := e.row()
		if err != nil {
			return err
		}
		tables[espTable] += row
	}
	for _, i := range k.IKEv1 {
		tables[ikev1Table] += fmt.Sprintf("%x,%x\n", i.InitiatorCookie, i.Key)
	}
	for _, name := range []string{espTable, ikev1Table, ikev2Table} {
		text := tables[name]
		if k.Tables != "" {
			more, err := os.ReadFile(filepath.Join(k.Tables, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("shark: %w", err)
			}
			text += string(more)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("shark: %w", err)
		}
	}
	return nil
}

// row is the SA as a line of the table esp_sa.
func (e ESP) row() (string, error) {
	cipher := e.Cipher.Row().Wireshark
	if cipher == "" || !e.Cipher.Known() {
		return "", fmt.Errorf("shark: tshark does not know the cipher %s", e.Cipher)
	}
	hash := e.Hash.Row().Wireshark
	if hash == "" || !e.Hash.Known() {
		return "", fmt.Errorf("shark: tshark does not know the hash %s", e.Hash)
	}
	family := "IPv4"
	if e.Src.Is6() || e.Dst.Is6() {
		family = "IPv6"
	}
	return fmt.Sprintf("\"%s\",\"%s\",\"%s\",\"0x%08x\",\"%s\",\"%s\",\"%s\",\"%s\"\n",
		family, orAny(e.Src), orAny(e.Dst), e.SPI, cipher, hexWord(e.Key), hash, hexWord(e.IntegKey)), nil
}

func orAny(a netip.Addr) string {
	if !a.IsValid() {
		return "*"
	}
	return a.String()
}

func hexWord(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	return fmt.Sprintf("0x%x", key)
}
