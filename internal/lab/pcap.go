package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// pcapWriter writes the classic capture file that every tool reads:
// draft-ietf-opsawg-pcap, link type 1 (Ethernet), times in microseconds.
type pcapWriter struct {
	file *os.File
	buf  *bufio.Writer
}

func newPcap(path string) (*pcapWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("lab: capture file: %w", err)
	}
	w := &pcapWriter{file: f, buf: bufio.NewWriter(f)}
	h := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	h = binary.LittleEndian.AppendUint16(h, 2) // version 2.4
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)              // time zone, accuracy: always 0
	h = binary.LittleEndian.AppendUint32(h, 1<<18) // longest packet
	h = binary.LittleEndian.AppendUint32(h, 1)     // Ethernet
	if _, err := w.buf.Write(h); err != nil {
		return nil, errors.Join(fmt.Errorf("lab: capture file: %w", err), f.Close())
	}
	return w, nil
}

func (w *pcapWriter) write(at time.Time, frame []byte) error {
	h := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))
	h = binary.LittleEndian.AppendUint32(h, uint32(at.Nanosecond()/1000))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(frame)))
	if _, err := w.buf.Write(h); err != nil {
		return fmt.Errorf("lab: capture file: %w", err)
	}
	if _, err := w.buf.Write(frame); err != nil {
		return fmt.Errorf("lab: capture file: %w", err)
	}
	return nil
}

func (w *pcapWriter) close() error {
	if err := errors.Join(w.buf.Flush(), w.file.Close()); err != nil {
		return fmt.Errorf("lab: capture file: %w", err)
	}
	return nil
}
