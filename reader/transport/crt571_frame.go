package transport

import (
	"bytes"
	"errors"
	"fmt"
)

// Bytes of the line (transport specification, frames).
const (
	stx = 0xF2
	etx = 0x03
	eot = 0x04
	ack = 0x06
	nak = 0x15

	kindCommand = 'C'
	kindSuccess = 'P'
	kindFailure = 'N'
	kindError   = 'E' // failure, as some firmware spells it

	maxFrame = 1024
	overhead = 6 // STX, ADDR, LEN, ETX, BCC
	minLen   = 3 // kind, CM, PM
	maxData  = maxFrame - overhead - minLen
)

var (
	errIncomplete = errors.New("the frame goes on")
	errFrame      = errors.New("not a frame")
)

// A frame is a command or an answer. Of an answer, data begins with ST0 ST1 ST2
// or with E1 E0.
type frame struct {
	addr   byte // 00 to 0F
	kind   byte
	cm, pm byte
	data   []byte
}

// marshal returns the frame as it goes over the line, at most 1024 bytes.
func (f frame) marshal() ([]byte, error) {
	if len(f.data) > maxData {
		return nil, fmt.Errorf("%d bytes of data, at most %d fit a frame", len(f.data), maxData)
	}
	n := minLen + len(f.data)
	b := make([]byte, 0, n+overhead)
	b = append(b, stx, f.addr, byte(n>>8), byte(n), f.kind, f.cm, f.pm)
	b = append(b, f.data...)
	b = append(b, etx)
	return append(b, bcc(b)), nil
}

// bcc is the exclusive or of all bytes.
func bcc(b []byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

// parseFrame reads the frame that b begins with and returns how many bytes it
// has. Its LEN decides where it ends: data may hold ETX and STX. Errors are
// errIncomplete, where b may be the beginning of a frame, and errFrame. The frame
// shares b's memory.
func parseFrame(b []byte) (frame, int, error) {
	if len(b) == 0 {
		return frame{}, 0, errIncomplete
	}
	if b[0] != stx || len(b) > 1 && b[1] > 0x0F {
		return frame{}, 0, errFrame
	}
	if len(b) < 4 {
		return frame{}, 0, errIncomplete
	}
	n := int(b[2])<<8 | int(b[3])
	if n < minLen || n+overhead > maxFrame {
		return frame{}, 0, errFrame
	}
	if len(b) < n+overhead {
		return frame{}, 0, errIncomplete
	}
	b = b[:n+overhead]
	if b[n+4] != etx || bcc(b) != 0 {
		return frame{}, 0, errFrame
	}
	return frame{addr: b[1], kind: b[4], cm: b[5], pm: b[6], data: b[7 : n+4]}, n + overhead, nil
}

// findFrame returns the first whole frame anywhere in b.
func findFrame(b []byte) (frame, bool) {
	for {
		i := bytes.IndexByte(b, stx)
		if i < 0 {
			return frame{}, false
		}
		b = b[i:]
		if f, _, err := parseFrame(b); err == nil {
			return f, true
		}
		b = b[1:]
	}
}
