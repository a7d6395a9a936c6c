package serial

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The bytes of a frame on the line: SYNC, ACK and a message, and the XOR of all
// before; or SYNC, NAK and their XOR.
const (
	syncByte = 0x03
	ackByte  = 0x06
	nakByte  = 0x15
)

// nakFrame asks the other side to send its last frame again.
var nakFrame = []byte{syncByte, nakByte, syncByte ^ nakByte}

// headerLen is the length of a message's header (CCID 1.1, 6.1 and 6.2): type,
// length of the data in 4 bytes, slot, sequence number, three bytes more.
const headerLen = 10

// maxData bounds the data of one message. A short command and its answer have 261
// and 258 bytes, a block of T=1 259; a length beyond it is a broken header.
const maxData = 512

// overhead is what a frame has beside its message's data.
const overhead = 2 + headerLen + 1

// kind is the type of a message (CCID 1.1, 6.1 and 6.2).
type kind byte

const (
	powerOn       kind = 0x62 // PC_to_RDR_IccPowerOn
	powerOff      kind = 0x63 // PC_to_RDR_IccPowerOff
	slotStatus    kind = 0x65 // PC_to_RDR_GetSlotStatus
	xfrBlock      kind = 0x6F // PC_to_RDR_XfrBlock
	setParameters kind = 0x61 // PC_to_RDR_SetParameters
	escape        kind = 0x6B // PC_to_RDR_Escape

	dataBlock  kind = 0x80 // RDR_to_PC_DataBlock
	status     kind = 0x81 // RDR_to_PC_SlotStatus
	parameters kind = 0x82 // RDR_to_PC_Parameters
	escaped    kind = 0x83 // RDR_to_PC_Escape
)

// answers returns the type of message that answers k.
func (k kind) answers() kind {
	switch k {
	case powerOn, xfrBlock:
		return dataBlock
	case setParameters:
		return parameters
	case escape:
		return escaped
	}
	return status
}

// A message is one CCID message in either direction. Of an answer Extra holds
// bStatus, bError and one byte that depends on the type.
type message struct {
	Kind      kind
	Slot, Seq byte
	Extra     [3]byte
	Data      []byte
}

// appendFrame appends the frame that carries m.
func appendFrame(b []byte, m message) ([]byte, error) {
	if len(m.Data) > maxData {
		return b, fmt.Errorf("%w: %d bytes for one message", errFrame, len(m.Data))
	}
	from := len(b)
	b = append(b, syncByte, ackByte, byte(m.Kind))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Data)))
	b = append(b, m.Slot, m.Seq, m.Extra[0], m.Extra[1], m.Extra[2])
	b = append(b, m.Data...)
	return append(b, xor(b[from:])), nil
}

func xor(b []byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

// errFrame is wrapped by the errors about bytes on the line that are no frame.
var errFrame = errors.New("malformed frame")

// what says what a decoder has found.
type what int

const (
	nothing  what = iota // more bytes are needed
	anAnswer             // a whole message with the right checksum
	aNAK                 // the reader wants the last frame again
	patience             // the reader asks for time (a byte of 80 or more between frames)
	inserted             // the reader tells that a card came
	removed              // the reader tells that the card went
	noise                // bytes that are no frame, or one that is broken
)

// A decoder takes bytes from the line, however they are cut, and finds frames in
// them. It never asks for more than the longest frame.
type decoder struct {
	buf  []byte // not decoded yet
	lost bool   // noise was told and no frame has begun since
}

// feed adds what came from the line.
func (d *decoder) feed(b []byte) { d.buf = append(d.buf, b...) }

// partial reports whether a frame has begun and not ended.
func (d *decoder) partial() bool { return len(d.buf) > 0 }

// reset forgets everything.
func (d *decoder) reset() { d.buf, d.lost = d.buf[:0], false }

// skip drops n bytes.
func (d *decoder) skip(n int) { d.buf = append(d.buf[:0], d.buf[n:]...) }

// next returns what the bytes begin with. Noise is told once for a run of bytes.
// A message's data is a copy.
func (d *decoder) next() (what, message) {
	for len(d.buf) > 0 {
		w, m, n := decode(d.buf)
		if w == nothing {
			return nothing, message{}
		}
		d.skip(n)
		if w == noise || w == patience && d.lost {
			if d.lost {
				continue
			}
			d.lost = true
			return noise, message{}
		}
		d.lost = false
		return w, m
	}
	return nothing, message{}
}

// decode judges the beginning of b and returns how many bytes that was.
func decode(b []byte) (what, message, int) {
	switch {
	case b[0] == notification:
		if len(b) < 2 {
			return nothing, message{}, 0
		}
		switch b[1] {
		case notifyAbsent:
			return removed, message{}, 2
		case notifyPresent:
			return inserted, message{}, 2
		}
		return noise, message{}, 1
	case b[0] >= 0x80:
		return patience, message{}, 1
	case b[0] != syncByte:
		return noise, message{}, 1
	case len(b) < 2:
		return nothing, message{}, 0
	case b[1] == nakByte:
		if len(b) < 3 {
			return nothing, message{}, 0
		}
		if b[2] != syncByte^nakByte {
			return noise, message{}, 1
		}
		return aNAK, message{}, 3
	case b[1] != ackByte:
		return noise, message{}, 1
	case len(b) < 2+headerLen:
		return nothing, message{}, 0
	}
	n := binary.LittleEndian.Uint32(b[3:])
	if n > maxData {
		return noise, message{}, 1
	}
	end := overhead + int(n)
	if len(b) < end {
		return nothing, message{}, 0
	}
	if xor(b[:end]) != 0 {
		return noise, message{}, 1
	}
	m := message{Kind: kind(b[2]), Slot: b[7], Seq: b[8], Extra: [3]byte(b[9:12])}
	m.Data = append([]byte(nil), b[2+headerLen:end-1]...)
	return anAnswer, m, end
}

// A reader that tells of cards by itself sends RDR_to_PC_NotifySlotChange without
// a frame around it, between frames.
const (
	notification  = 0x50
	notifyAbsent  = 0x02
	notifyPresent = 0x03
)
