package virtual

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"onecard/reader"
	"onecard/reader/pinpad"
)

// Typed is what the person at a slot's PIN pad does: digits for the PIN, or the old
// one, the new one, and the new one again; or a key to cancel, or nothing at all.
type Typed struct {
	PIN, New, Again string
	Cancel, Nothing bool
}

// AttachPad gives a slot a PIN pad of its own by PC/SC part 10. person is asked what
// is typed, at every entry; nil takes the pad away. The pad reads the structures as
// the standard says and refuses what it does not understand.
func (d *Driver) AttachPad(name string, person func() Typed) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.person = person
	return nil
}

// Control codes of the pad: any numbers will do, programs ask for them.
const (
	verifyCode = 0x42330006
	modifyCode = 0x42330007
)

// Control carries out what the pad can; see [reader.ControlLink].
func (l *link) Control(ctx context.Context, code uint32, data []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.Wait(ctx); err != nil {
		return nil, err
	}
	defer l.d.mu.Unlock()
	if l.s.person == nil {
		return nil, fmt.Errorf("%w: no control codes", reader.ErrFault)
	}
	switch code {
	case pinpad.FeatureRequest():
		answer := binary.BigEndian.AppendUint32([]byte{pinpad.FeatureVerifyPINDirect, 4}, verifyCode)
		return binary.BigEndian.AppendUint32(append(answer, pinpad.FeatureModifyPINDirect, 4), modifyCode), nil
	case verifyCode:
		return l.direct(data, false)
	case modifyCode:
		return l.direct(data, true)
	}
	return nil, fmt.Errorf("%w: control code %08X", reader.ErrFault, code)
}

// direct reads a structure, lets the person type and sends the command. The
// caller holds mu.
func (l *link) direct(data []byte, modify bool) ([]byte, error) {
	wrong := []byte{0x6B, 0x80} // an invalid parameter in the structure
	size := 19
	limits := 5 // where wPINMaxExtraDigit is
	if modify {
		size, limits = 24, 7
	}
	if len(data) < size+5 || int(binary.LittleEndian.Uint32(data[size-4:])) != len(data)-size {
		return wrong, nil
	}
	format, block := data[2], int(data[3]&0x0F)
	if format&0x80 == 0 || format&0x04 != 0 || format&0x03 != 0x01 || data[3]&0xF0 != 0 || data[4] != 0 {
		return wrong, nil // this pad knows bytes, left justified, BCD, and no length
	}
	most, least := int(data[limits]), int(data[limits+1])
	command := bytes.Clone(data[size:])
	fill := func(pin string, at int) bool {
		if 5+at+block > len(command) {
			return false
		}
		for i := range pin {
			b := &command[5+at+i/2]
			if i%2 == 0 {
				*b = *b&0x0F | (pin[i]-'0')<<4
			} else {
				*b = *b&0xF0 | (pin[i] - '0')
			}
		}
		return true
	}
	typed := l.s.person()
	pins := []string{typed.PIN}
	at := []int{int(format >> 3 & 0x0F)}
	if modify {
		pins, at = append(pins, typed.New), []int{int(data[5]), int(data[6])}
	}
	switch {
	case typed.Nothing:
		return []byte{0x64, 0x00}, nil
	case typed.Cancel:
		return []byte{0x64, 0x01}, nil
	}
	for i, pin := range pins {
		if len(pin) < least || len(pin) > most || len(pin) > 2*block {
			return []byte{0x64, 0x03}, nil
		}
		if !fill(pin, at[i]) {
			return wrong, nil
		}
	}
	if modify && typed.New != typed.Again {
		return []byte{0x64, 0x02}, nil
	}
	return l.carryOut(command)
}
