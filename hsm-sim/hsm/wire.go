package hsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the protocol version that this package speaks.
const Version = 1

// Sizes of the wire form in bytes.
const (
	// MaxFrame is the largest frame there is, its length field included.
	MaxFrame = 1 << 16

	// MaxRequest is the largest request that a server has to accept.
	MaxRequest = 1 << 14

	lengthSize = 4
	headerSize = 10 // what stands between the length and the fields
	fieldSize  = 4  // tag and length of a field
)

// A Kind says in which direction a frame travels.
type Kind byte

// The kinds.
const (
	Request  Kind = 1
	Response Kind = 2
)

// A Command is two ASCII characters; the first names its group.
type Command [2]byte

// The commands.
var (
	CommandStatus       = Command{'H', 'S'} // who are you
	CommandEcho         = Command{'H', 'E'} // are you there
	CommandInternalAuth = Command{'C', 'I'} // what a genuine card answers to INTERNAL AUTHENTICATE
	CommandExternalAuth = Command{'C', 'E'} // the data of EXTERNAL AUTHENTICATE
	CommandSecure       = Command{'C', 'S'} // a command secured with STK or STKDFxx
	CommandUnblockPIN   = Command{'C', 'U'} // the whole command PIN UNBLOCK
	CommandReloadPIN    = Command{'C', 'R'} // the whole command RELOAD PIN
	CommandPurchase     = Command{'C', 'P'} // MAC1 of a purchase
	CommandPurchaseMAC2 = Command{'C', 'V'} // check MAC2 of a purchase
	CommandPurchaseTAC  = Command{'C', 'T'} // check the TAC of a purchase
	CommandLoad         = Command{'C', 'L'} // check MAC1 of a load, MAC2 of it
	CommandLoadTAC      = Command{'C', 'A'} // check the TAC of a load
)

// String returns the two characters, anything but letters and digits as dots.
func (c Command) String() string {
	s := []byte{'.', '.'}
	for i, b := range c {
		if b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' {
			s[i] = b
		}
	}
	return string(s)
}

// A Frame is one request or response. See docs/hsm-protocol.md.
type Frame struct {
	Version byte
	Kind    Kind
	Command Command
	ID      uint32 // chosen by the client, repeated in the response
	Status  Status // StatusOK in every request
	Fields  []Field
}

// A Field is one tag, length, value of a frame: at most 65,535 bytes.
type Field struct {
	Tag   Tag
	Value []byte
}

// Value returns the value of the first field with that tag.
func (f *Frame) Value(t Tag) ([]byte, bool) {
	for _, field := range f.Fields {
		if field.Tag == t {
			return field.Value, true
		}
	}
	return nil, false
}

// A FormError is a frame or message that breaks the protocol. It unwraps to
// [ErrProtocol].
type FormError struct {
	Status Status // what a server answers to it
	Text   string // for logs: never holds a value from the frame
}

// Error returns the text.
func (e *FormError) Error() string { return e.Text }

// Unwrap returns [ErrProtocol].
func (e *FormError) Unwrap() error { return ErrProtocol }

func malformed(format string, args ...any) error {
	return &FormError{StatusMalformed, fmt.Sprintf(format, args...)}
}

// AppendFrame appends the frame's bytes, its length first, to dst. A frame or a
// field that is too long gives a [FormError], and dst back.
func AppendFrame(dst []byte, f Frame) ([]byte, error) {
	size := headerSize
	for _, field := range f.Fields {
		if len(field.Value) > 0xFFFF {
			return dst, malformed("field %04X of %d bytes", uint16(field.Tag), len(field.Value))
		}
		size += fieldSize + len(field.Value)
	}
	if lengthSize+size > MaxFrame {
		return dst, malformed("frame of %d bytes", lengthSize+size)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = append(dst, f.Version, byte(f.Kind), f.Command[0], f.Command[1])
	dst = binary.BigEndian.AppendUint32(dst, f.ID)
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.Status))
	for _, field := range f.Fields {
		dst = binary.BigEndian.AppendUint16(dst, uint16(field.Tag))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(field.Value)))
		dst = append(dst, field.Value...)
	}
	return dst, nil
}

// ReadFrame reads one frame of at most limit bytes, its length field included.
// It returns io.EOF where the stream ends between two frames,
// io.ErrUnexpectedEOF within one, the stream's own error, or a [FormError]. If
// that is from the header on, the frame is returned as far as it was
// understood, and the stream stands at the next one; a wrong length leaves
// nothing to go on with: see [FormError].Status and Frame.Kind, which is 0 then.
func ReadFrame(r io.Reader, limit int) (Frame, error) {
	var length [lengthSize]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < headerSize || uint64(n) > uint64(min(limit, MaxFrame)-lengthSize) {
		return Frame{}, malformed("frame length %d", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return ParseFrame(body)
}

// ParseFrame reads a frame from what follows its length field. The field values
// share the body's memory. A [FormError] comes with as much of the frame as was
// understood: Kind is 0 where not even the header was.
func ParseFrame(body []byte) (Frame, error) {
	if len(body) < headerSize || len(body) > MaxFrame-lengthSize {
		return Frame{}, malformed("frame length %d", len(body))
	}
	f := Frame{
		Version: body[0],
		Kind:    Kind(body[1]),
		Command: Command{body[2], body[3]},
		ID:      binary.BigEndian.Uint32(body[4:]),
		Status:  Status(binary.BigEndian.Uint16(body[8:])),
	}
	if f.Kind != Request && f.Kind != Response {
		f.Kind = 0
		return f, malformed("frame of kind %d", body[1])
	}
	if f.Version != Version {
		return f, &FormError{StatusVersion, fmt.Sprintf("protocol version %d", f.Version)}
	}
	for rest := body[headerSize:]; len(rest) > 0; {
		if len(rest) < fieldSize {
			return f, malformed("%d bytes after the last field", len(rest))
		}
		tag, n := Tag(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest)-fieldSize {
			return f, malformed("field %04X is longer than its frame", uint16(tag))
		}
		f.Fields = append(f.Fields, Field{tag, rest[fieldSize : fieldSize+n : fieldSize+n]})
		rest = rest[fieldSize+n:]
	}
	return f, nil
}
