package pinpad

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"onecard/apdu"
	"onecard/fault"
)

// More ways in which an entry ends without a PIN.
var (
	// ErrLength: fewer or more digits than the pad was told to take.
	ErrLength = fault.New(fault.PINFormat, "the PIN entered has the wrong length")
	// ErrMismatch: the new PIN was not the same the second time.
	ErrMismatch = fault.New(fault.PINsDiffer, "the two entries of the new PIN differ")
)

// A Controller takes control codes of a reader for the card in it: a
// reader.Session is one.
type Controller interface {
	// Control sends a control code with its data and returns the answer; see
	// SCardControl of PC/SC part 5.
	Control(ctx context.Context, code uint32, data []byte) ([]byte, error)
}

// An OnCard is a [Pad] that puts the PIN into a command and sends that to the card
// itself: the digits never reach this machine. Enter fails with [ErrNone].
type OnCard interface {
	Pad

	// Verify has the holder enter the PIN into the template and returns the
	// card's answer. Errors wrap [ErrCancelled], [ErrTimeout], [ErrLength],
	// [ErrNone] where the reader has no pad, or the controller's.
	Verify(ctx context.Context, c Controller, t Template) (apdu.Response, error)

	// Modify has the holder enter the old PIN and twice the new one. Errors are
	// those of Verify and [ErrMismatch].
	Modify(ctx context.Context, c Controller, t Template) (apdu.Response, error)
}

// A Template is a command of case 3 with room for PINs of a fixed number of digits
// in BCD. The structures have a frame of fixed size for the PIN, and cards take a PIN
// without anything after it, so a range of lengths cannot be had. Of an odd number the
// last half byte stays F.
type Template struct {
	Command apdu.Command // its data with FF where PINs go
	Digits  int          // of a PIN, 4 to 12
	Old     int          // offset of the PIN, or the old one, in the data
	New     int          // offset of the new one; Modify alone
}

// ReaderPad is the pad of a reader that follows PC/SC part 10 (v2.02.09).
type ReaderPad struct{}

// Kind implements [Pad].
func (ReaderPad) Kind() string { return "reader" }

// Enter implements [Pad]: the digits stay in the reader.
func (ReaderPad) Enter(context.Context, Prompt) ([]byte, error) {
	return nil, fmt.Errorf("the reader's pad gives no digits away: %w", ErrNone)
}

// OnCardTime is how long a holder has at a reader's pad. The card is held
// meanwhile.
const OnCardTime = 25 * time.Second

// Features of PC/SC part 10, 2.3.
const (
	FeatureVerifyPINDirect = 0x06
	FeatureModifyPINDirect = 0x07
)

// FeatureRequest is CM_IOCTL_GET_FEATURE_REQUEST, SCARD_CTL_CODE(3400), on this
// system (PC/SC part 10, 2.2).
func FeatureRequest() uint32 {
	if runtime.GOOS == "windows" {
		return 0x31<<16 | 3400<<2
	}
	return 0x42000000 + 3400
}

// Features asks a reader for its features and returns their control codes. A
// reader that has none may refuse the question.
func Features(ctx context.Context, c Controller) (map[byte]uint32, error) {
	answer, err := c.Control(ctx, FeatureRequest(), nil)
	switch fault.Of(err).Code {
	case fault.ReaderFault, fault.NoPINPad:
		// This is how a reader says that it does not know the question. It is no
		// failure of the session, so the error is not passed on as one.
		return nil, fmt.Errorf("features of the reader: %w: %v", ErrNone, err)
	}
	if err != nil {
		return nil, fmt.Errorf("features of the reader: %w", err)
	}
	return parseFeatures(answer)
}

// parseFeatures reads tag, length 4 and code, most significant byte first, for each
// feature (PC/SC part 10, 2.2).
func parseFeatures(answer []byte) (map[byte]uint32, error) {
	features := make(map[byte]uint32)
	for len(answer) > 0 {
		if len(answer) < 2 || len(answer) < 2+int(answer[1]) {
			return nil, fmt.Errorf("features of the reader: cut short: %w", ErrNone)
		}
		if value := answer[2 : 2+answer[1]]; len(value) == 4 {
			features[answer[0]] = binary.BigEndian.Uint32(value)
		}
		answer = answer[2+answer[1]:]
	}
	return features, nil
}

// Verify implements [OnCard] by FEATURE_VERIFY_PIN_DIRECT.
func (ReaderPad) Verify(ctx context.Context, c Controller, t Template) (apdu.Response, error) {
	data, err := VerifyStructure(t)
	if err != nil {
		return apdu.Response{}, err
	}
	return direct(ctx, c, FeatureVerifyPINDirect, data)
}

// Modify implements [OnCard] by FEATURE_MODIFY_PIN_DIRECT.
func (ReaderPad) Modify(ctx context.Context, c Controller, t Template) (apdu.Response, error) {
	data, err := ModifyStructure(t)
	if err != nil {
		return apdu.Response{}, err
	}
	return direct(ctx, c, FeatureModifyPINDirect, data)
}

// Fields of both structures (PC/SC part 10, 2.6.2; USB CCID 1.1, 6.1.11).
const (
	// bmFormatString: offsets in bytes, the PIN right after the header, left
	// justified, in BCD.
	formatBCD = 0x80 | 0x01
	// bEntryValidationCondition: the holder presses the key OK, or has entered as
	// many digits as there can be.
	onKeyOrFull = 0x02 | 0x01
	// bConfirmPIN: the new PIN twice, the old one before.
	confirmWithOld = 0x01 | 0x02
	// wLangId: Chinese, PRC (USB language identifiers).
	langChinese = 0x0804
)

// frame is how many bytes a PIN takes.
func (t Template) frame() int { return (t.Digits + 1) / 2 }

func (t Template) check(offsets ...int) error {
	if t.Digits < 4 || t.Digits > 12 || t.Command.Le != 0 || t.Command.Extended || len(t.Command.Data) > 255 {
		return fmt.Errorf("PIN template: %w", ErrLength)
	}
	for _, at := range offsets {
		if at < 0 || at+t.frame() > len(t.Command.Data) {
			return fmt.Errorf("PIN template: a PIN reaches over its end: %w", ErrLength)
		}
	}
	return nil
}

// VerifyStructure returns PIN_VERIFY_STRUCTURE, 19 bytes, with the command after
// it. Numbers of two and four bytes are little endian.
func VerifyStructure(t Template) ([]byte, error) {
	if err := t.check(t.Old); err != nil {
		return nil, err
	}
	b := []byte{
		byte(OnCardTime / time.Second), // bTimeOut
		byte(OnCardTime / time.Second), // bTimeOut2, after the first key
		formatBCD | byte(t.Old)<<3,     // bmFormatString: bits 6 to 3, where the PIN begins
		byte(t.frame()),                // bmPINBlockString: no length in the command, size of the block
		0x00,                           // bmPINLengthFormat
		byte(t.Digits), byte(t.Digits), // wPINMaxExtraDigit: most, least
		onKeyOrFull,
		0x01, // bNumberMessage
	}
	b = binary.LittleEndian.AppendUint16(b, langChinese)
	b = append(b, 0x00)             // bMsgIndex
	b = append(b, 0x00, 0x00, 0x00) // bTeoPrologue
	return t.append(b)
}

// ModifyStructure returns PIN_MODIFY_STRUCTURE, 24 bytes, with the command after
// it.
func ModifyStructure(t Template) ([]byte, error) {
	if err := t.check(t.Old, t.New); err != nil {
		return nil, err
	}
	b := []byte{
		byte(OnCardTime / time.Second),
		byte(OnCardTime / time.Second),
		formatBCD,
		byte(t.frame()),
		0x00,
		byte(t.Old), // bInsertionOffsetOld
		byte(t.New), // bInsertionOffsetNew
		byte(t.Digits), byte(t.Digits),
		confirmWithOld,
		onKeyOrFull,
		0x03, // bNumberMessage: old, new, again
	}
	b = binary.LittleEndian.AppendUint16(b, langChinese)
	b = append(b, 0x00, 0x01, 0x02) // bMsgIndex1 to 3
	b = append(b, 0x00, 0x00, 0x00)
	return t.append(b)
}

// append adds ulDataLength and the command.
func (t Template) append(b []byte) ([]byte, error) {
	command, err := t.Command.Bytes()
	if err != nil {
		return nil, fmt.Errorf("PIN template: %w", err)
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(command))), command...), nil
}

// Answers of the reader itself (PC/SC part 10, 2.5.2). The card has seen nothing.
const (
	padTimeout  apdu.Status = 0x6400
	padCancel   apdu.Status = 0x6401
	padMismatch apdu.Status = 0x6402
	padLength   apdu.Status = 0x6403
)

// direct sends a structure and tells the reader's answers from the card's.
func direct(ctx context.Context, c Controller, feature byte, data []byte) (apdu.Response, error) {
	features, err := Features(ctx, c)
	if err != nil {
		return apdu.Response{}, err
	}
	code, ok := features[feature]
	if !ok {
		return apdu.Response{}, fmt.Errorf("the reader's features are without PIN entry: %w", ErrNone)
	}
	ctx, cancel := context.WithTimeout(ctx, OnCardTime+3*time.Second)
	defer cancel()
	answer, err := c.Control(ctx, code, data)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return apdu.Response{}, fmt.Errorf("reader's pad: %w: %w", ErrTimeout, err)
		}
		return apdu.Response{}, fmt.Errorf("reader's pad: %w", err)
	}
	r, err := apdu.ParseResponse(answer)
	if err != nil {
		return r, fmt.Errorf("reader's pad: %w", err)
	}
	switch r.Status {
	case padTimeout:
		return r, fmt.Errorf("reader's pad: %w", ErrTimeout)
	case padCancel:
		return r, fmt.Errorf("reader's pad: %w", ErrCancelled)
	case padMismatch:
		return r, fmt.Errorf("reader's pad: %w", ErrMismatch)
	case padLength:
		return r, fmt.Errorf("reader's pad: %w", ErrLength)
	}
	return r, nil
}
