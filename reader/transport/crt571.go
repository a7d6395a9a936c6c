package transport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onecard/apdu"
	"onecard/reader"
)

// CM bytes (transport specification, table of commands).
const (
	cmInitialise = 0x30
	cmStatus     = 0x31
	cmMove       = 0x32
	cmEntry      = 0x33
	cmCardType   = 0x50
	cmCPU        = 0x51
	cmSAM        = 0x52
	cmRF         = 0x60
	cmSerial     = 0xA2
	cmConfig     = 0xA3
	cmVersion    = 0xA4
	cmBin        = 0xA5
)

// A Protocol says how an APDU reaches a chip with contacts.
type Protocol byte

// The protocols, by their PM.
const (
	T0   Protocol = '3'
	T1   Protocol = '4'
	Auto Protocol = '9' // the unit knows by itself, from the answer to reset
)

// A CRT571 is a unit of the CRT-571 family on a serial line. Firmware differs in
// details; what is known to differ is said where it is handled. One goroutine
// owns it.
type CRT571 struct {
	line   *line
	addr   byte
	baud   int
	timing Timing

	buf     []byte // received and not yet understood
	noisy   bool   // buf begins with what is no frame
	unsure  bool   // an answer to an earlier command may still come
	fresh   bool   // nothing is known of earlier commands
	pending map[verb]bool

	status Status // of the last answer
	sam    Chip   // the selected SAM slot, -1 where none is known to be
	typeB  bool   // the card in the field
	auto   map[Chip]Protocol
}

// A CRT571Option changes how a [CRT571] works.
type CRT571Option func(*CRT571)

// WithBaud gives the rate of the line, by which its deadlines are made. The
// default is 9600.
func WithBaud(baud int) CRT571Option { return func(u *CRT571) { u.baud = baud } }

// WithAddress gives the unit's address, 0 to 15. The default is 0.
func WithAddress(addr byte) CRT571Option { return func(u *CRT571) { u.addr = addr & 0x0F } }

// WithTiming replaces [DefaultTiming].
func WithTiming(t Timing) CRT571Option { return func(u *CRT571) { u.timing = t } }

// NewCRT571 returns the unit on an open line, which it owns from then on. Nothing
// is sent before the first call.
func NewCRT571(port Port, opts ...CRT571Option) *CRT571 {
	u := &CRT571{
		line: newLine(port), baud: 9600, timing: DefaultTiming,
		unsure: true, fresh: true, pending: make(map[verb]bool), sam: -1, auto: make(map[Chip]Protocol),
	}
	for _, o := range opts {
		o(u)
	}
	return u
}

// Close closes the line; see [Unit].
func (u *CRT571) Close() error { return u.line.close() }

// query asks for what moves nothing.
func (u *CRT571) query(ctx context.Context, what string, cm, pm byte) ([]byte, error) {
	data, err := u.exchange(ctx, verb{cm, pm}, nil, u.timing.Query, true)
	if err != nil {
		return nil, fmt.Errorf("card unit: %s: %w", what, err)
	}
	return data, nil
}

// order makes the unit do something that must not be done twice.
func (u *CRT571) order(ctx context.Context, what string, cm, pm byte, data ...byte) ([]byte, error) {
	limit := u.timing.Chip
	switch cm {
	case cmInitialise, cmMove, cmEntry:
		limit = u.timing.Motor
	}
	data, err := u.exchange(ctx, verb{cm, pm}, data, limit, false)
	if err != nil {
		return nil, fmt.Errorf("card unit: %s: %w", what, err)
	}
	return data, nil
}

// Initialise is command 30; see [Unit]. The firmware's text is ASCII.
func (u *CRT571) Initialise(ctx context.Context, park Park) (string, error) {
	return u.initialise(ctx, [...]byte{ParkHold: '0', ParkCapture: '1', ParkStay: '3'}[park%3])
}

// InitialiseCounting is [CRT571.Initialise] which counts the card in the reject
// bin's counter where it is captured.
func (u *CRT571) InitialiseCounting(ctx context.Context, park Park) (string, error) {
	return u.initialise(ctx, [...]byte{ParkHold: '4', ParkCapture: '5', ParkStay: '7'}[park%3])
}

func (u *CRT571) initialise(ctx context.Context, pm byte) (string, error) {
	u.sam = -1
	clear(u.auto)
	data, err := u.order(ctx, "initialise", cmInitialise, pm)
	return text(data), err
}

// text is what a unit says, made printable.
func text(data []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7E {
			return -1
		}
		return r
	}, string(data)))
}

// Status is command 31 30; see [Unit].
func (u *CRT571) Status(ctx context.Context) (Status, error) {
	_, err := u.query(ctx, "status", cmStatus, '0')
	return u.status, err
}

// Sensors is command 31 31: each sensor, true where something covers it.
func (u *CRT571) Sensors(ctx context.Context) ([]bool, error) {
	data, err := u.query(ctx, "sensors", cmStatus, '1')
	if err != nil {
		return nil, err
	}
	sensors := make([]bool, len(data))
	for i, c := range data {
		if c != '0' && c != '1' {
			return nil, fmt.Errorf("card unit: sensors: %w: sensor %d is %02X", reader.ErrFault, i+1, c)
		}
		sensors[i] = c == '1'
	}
	return sensors, nil
}

// Move is command 32; see [Unit].
func (u *CRT571) Move(ctx context.Context, to Place) error {
	if to > Mouth {
		return fmt.Errorf("card unit: move to %s: %w", to, ErrRefused)
	}
	pm := [...]byte{Hold: '0', Contact: '1', Field: '2', Bin: '3', Mouth: '9'}[to]
	_, err := u.order(ctx, "move to "+to.String(), cmMove, pm)
	return err
}

// Accept is command 33; see [Unit].
func (u *CRT571) Accept(ctx context.Context, accept bool) error {
	pm := byte('1')
	if accept {
		pm = '0'
	}
	_, err := u.order(ctx, "entry", cmEntry, pm)
	return err
}

// CardType is command 50 30, or 50 31 for the card in the field: "10" is a T=0
// card, "11" T=1, "20" and higher memory cards, "00" unknown.
func (u *CRT571) CardType(ctx context.Context, chip Chip) (string, error) {
	pm := byte('0')
	if chip == FieldChip {
		pm = '1'
	}
	data, err := u.order(ctx, "card type", cmCardType, pm)
	return text(data), err
}

// ChipStatus is command 51 32, 52 32 or 60 32; the meaning of its bytes is the
// firmware's.
func (u *CRT571) ChipStatus(ctx context.Context, chip Chip) ([]byte, error) {
	cm, err := u.reach(ctx, chip)
	if err != nil {
		return nil, err
	}
	return u.query(ctx, "chip status", cm, '2')
}

// reach returns the CM that reaches a chip; it selects the slot of a SAM.
func (u *CRT571) reach(ctx context.Context, chip Chip) (byte, error) {
	switch {
	case chip == UserChip:
		return cmCPU, nil
	case chip == FieldChip:
		return cmRF, nil
	case chip < 0 || chip > 9:
		return 0, fmt.Errorf("card unit: %s: %w", chip, ErrRefused)
	case chip == u.sam:
		return cmSAM, nil
	}
	u.sam = -1
	if _, err := u.order(ctx, "select "+chip.String(), cmSAM, '@', '0'+byte(chip)); err != nil {
		return 0, err
	}
	u.sam = chip
	return cmSAM, nil
}

// PowerOn is command 51 30 or 51 38, the same of 52, and 60 30; see [Unit]. A chip
// with contacts is given 5 V first.
func (u *CRT571) PowerOn(ctx context.Context, chip Chip, warm bool) ([]byte, error) {
	cm, err := u.reach(ctx, chip)
	if err != nil {
		return nil, err
	}
	delete(u.auto, chip)
	if cm == cmRF {
		// There is no warm reset in a field: a card that is to forget leaves it.
		if warm {
			if err := u.PowerOff(ctx, chip); err != nil {
				return nil, err
			}
		}
		data, err := u.order(ctx, "start contactless card", cmRF, '0', 'A', 'B')
		if err != nil {
			return nil, err
		}
		atr, typeB, err := contactlessATR(data)
		u.typeB = typeB
		return atr, err
	}
	pm, volts := byte('0'), []byte{'0'}
	if warm {
		pm, volts = '8', nil
	}
	atr, err := u.order(ctx, "reset "+chip.String(), cm, pm, volts...)
	if err != nil {
		return nil, err
	}
	if len(atr) > 2 && (atr[0] == '0' || atr[0] == '1') && (atr[1] == 0x3B || atr[1] == 0x3F) {
		atr = atr[1:] // some firmware gives the protocol before the answer to reset
	}
	if len(atr) < 2 || len(atr) > 33 {
		return nil, fmt.Errorf("card unit: reset %s: %w: answer to reset of %d bytes", chip, ErrMute, len(atr))
	}
	u.learn(chip, atr)
	return atr, nil
}

// learn notes the protocol of a chip, for a unit that does not know by itself.
func (u *CRT571) learn(chip Chip, raw []byte) {
	u.auto[chip] = T0
	if parsed, err := reader.ParseATR(raw); err == nil && len(parsed.Protocols()) > 0 && parsed.Protocols()[0] == 1 {
		u.auto[chip] = T1
	}
}

// PowerOff is command 51 31, 52 31 or 60 31; see [Unit].
func (u *CRT571) PowerOff(ctx context.Context, chip Chip) error {
	cm, err := u.reach(ctx, chip)
	if err != nil {
		return err
	}
	_, err = u.order(ctx, "power down "+chip.String(), cm, '1')
	return err
}

// SwitchField is command 60 39: the field on or off, whether a card is in it or
// not.
func (u *CRT571) SwitchField(ctx context.Context, on bool) error {
	state := byte('1')
	if on {
		state = '0'
	}
	_, err := u.order(ctx, "switch field", cmRF, '9', state)
	return err
}

// Transmit is command 51 39, 52 39, 60 34 or 60 35; see [Unit]. Where the firmware
// has no 39 it is told the protocol.
func (u *CRT571) Transmit(ctx context.Context, chip Chip, command []byte) ([]byte, error) {
	answer, err := u.TransmitProtocol(ctx, chip, Auto, command)
	var refused *Error
	if errors.As(err, &refused) && chip != FieldChip && (refused.Unit == "00" || refused.Unit == "03") {
		protocol := u.auto[chip]
		if protocol == 0 {
			return nil, err
		}
		return u.TransmitProtocol(ctx, chip, protocol, command)
	}
	return answer, err
}

// TransmitProtocol is [CRT571.Transmit] with a protocol; one of a contactless card
// is its own.
func (u *CRT571) TransmitProtocol(ctx context.Context, chip Chip, protocol Protocol, command []byte) ([]byte, error) {
	if len(command) < 4 || len(command) > maxData {
		return nil, fmt.Errorf("card unit: %w: %d bytes, %d fit a frame", apdu.ErrCommand, len(command), maxData)
	}
	cm, err := u.reach(ctx, chip)
	if err != nil {
		return nil, err
	}
	pm := byte(protocol)
	if cm == cmRF {
		if pm = '4'; u.typeB {
			pm = '5'
		}
	}
	answer, err := u.order(ctx, "APDU to "+chip.String(), cm, pm, command...)
	if err != nil {
		return nil, err
	}
	if len(answer) < 2 {
		return nil, fmt.Errorf("card unit: APDU to %s: %w: answer of %d bytes", chip, reader.ErrFault, len(answer))
	}
	return answer, nil
}

// SerialNumber is command A2 30; see [Unit].
func (u *CRT571) SerialNumber(ctx context.Context) (string, error) {
	data, err := u.query(ctx, "serial number", cmSerial, '0')
	return text(data), err
}

// Configuration is command A3 30. The meaning of its bytes is the firmware's.
func (u *CRT571) Configuration(ctx context.Context) ([]byte, error) {
	return u.query(ctx, "configuration", cmConfig, '0')
}

// Version is command A4 30; see [Unit].
func (u *CRT571) Version(ctx context.Context) (string, error) {
	data, err := u.query(ctx, "version", cmVersion, '0')
	return text(data), err
}

// BinCount is command A5 30; see [Unit]. The answer is a decimal number in ASCII.
func (u *CRT571) BinCount(ctx context.Context) (int, error) {
	data, err := u.query(ctx, "bin counter", cmBin, '0')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text(data), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("card unit: bin counter: %w: not a number", reader.ErrFault)
	}
	return int(n), nil
}

// ResetBinCount is command A5 31; see [Unit].
func (u *CRT571) ResetBinCount(ctx context.Context) error {
	_, err := u.order(ctx, "reset bin counter", cmBin, '1')
	return err
}
