// Package pcap writes the classic capture file that every tool reads:
// draft-ietf-opsawg-pcap, version 2.4, times in microseconds.
package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// LinkType says what a captured frame begins with.
type LinkType uint32

// The link types, as the registry of draft-ietf-opsawg-pcaplinktype numbers them.
const (
	Ethernet LinkType = 1
	RawIP    LinkType = 101 // an IPv4 or IPv6 header
)

// snapLen is the longest frame; nothing is ever cut to it.
const snapLen = 1 << 18

// Writer writes one file. It must be closed.
type Writer struct {
	file *os.File
	buf  *bufio.Writer
}

// Create makes the file, or empties it.
func Create(path string, link LinkType) (*Writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	w := &Writer{file: f, buf: bufio.NewWriter(f)}
	h := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	h = binary.LittleEndian.AppendUint16(h, 2)
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...) // reserved
	h = binary.LittleEndian.AppendUint32(h, snapLen)
	h = binary.LittleEndian.AppendUint32(h, uint32(link))
	if _, err := w.buf.Write(h); err != nil {
		return nil, errors.Join(fmt.Errorf("capture file: %w", err), f.Close())
	}
	return w, nil
}

// Write adds one frame of at most 262,144 octets, seen at that time.
func (w *Writer) Write(at time.Time, frame []byte) error {
	if len(frame) > snapLen {
		return fmt.Errorf("capture file: a frame of %d octets: expected %d at most", len(frame), snapLen)
	}
	h := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))
	h = binary.LittleEndian.AppendUint32(h, uint32(at.Nanosecond()/1000))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
	if _, err := w.buf.Write(append(h, frame...)); err != nil {
		return fmt.Errorf("capture file: %w", err)
	}
	return nil
}

// Close writes what is left.
func (w *Writer) Close() error {
	if err := errors.Join(w.buf.Flush(), w.file.Close()); err != nil {
		return fmt.Errorf("capture file: %w", err)
	}
	return nil
}
