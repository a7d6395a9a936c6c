package card

import (
	"context"
	"fmt"
	"io"

	"onecard/apdu"
)

// A PIN is the holder's PIN in ASCII digits. However it is printed or encoded,
// only stars come out. Wipe it when it has been used.
//
// fmt does not ask unexported struct fields for their methods: keep a PIN in
// variables and arguments, not in structs.
type PIN []byte

const pinStars = "******"

// String returns stars.
func (PIN) String() string { return pinStars }

// GoString returns stars.
func (PIN) GoString() string { return pinStars }

// Format writes stars for every verb.
func (PIN) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, pinStars) }

// MarshalText returns stars: a PIN is never written to JSON, TOML or a log.
func (PIN) MarshalText() ([]byte, error) { return []byte(pinStars), nil }

// MarshalJSON returns stars.
func (PIN) MarshalJSON() ([]byte, error) { return []byte(`"` + pinStars + `"`), nil }

// Wipe overwrites the digits.
func (p PIN) Wipe() { clear(p) }

// Check returns [ErrPINFormat] unless the PIN has 4 to 16 digits.
func (p PIN) Check() error {
	if len(p) < 4 || len(p) > 16 {
		return ErrPINFormat
	}
	for _, d := range p {
		if d < '0' || d > '9' {
			return ErrPINFormat
		}
	}
	return nil
}

// bcd returns the digits two in a byte, an odd one followed by F (card
// specification, section 4, VERIFY).
func (p PIN) bcd() []byte {
	b := make([]byte, (len(p)+1)/2)
	for i, d := range p {
		if i%2 == 0 {
			b[i/2] = (d-'0')<<4 | 0x0F
		} else {
			b[i/2] = b[i/2]&0xF0 | (d - '0')
		}
	}
	return b
}

// TriesLeft asks how many wrong PINs the card still permits, by VERIFY without
// data, which uses none up. 0 means blocked; -1 that the card says the PIN is
// verified and nothing more.
func (c *Card) TriesLeft(ctx context.Context) (int, error) {
	if err := c.anywhere(ctx); err != nil {
		return 0, fmt.Errorf("PIN tries left: %w", err)
	}
	r, err := c.exchange(ctx, apdu.Command{INS: 0x20})
	if err != nil {
		return 0, fmt.Errorf("PIN tries left: %w", err)
	}
	if n, ok := r.Status.TriesLeft(); ok {
		return n, nil
	}
	switch r.Status {
	case apdu.StatusOK:
		return -1, nil
	case apdu.StatusBlocked:
		return 0, nil
	}
	return 0, refused("VERIFY", r.Status)
}

// VerifyPIN presents the PIN once and wipes it, whatever comes of it. A PIN
// that is none is refused with [ErrPINFormat] before a try is used up. A wrong
// one is a [*WrongPINError], a blocked one [ErrPINBlocked]; neither is ever
// repeated by itself. The verified state lasts until the card is reset.
func (c *Card) VerifyPIN(ctx context.Context, pin PIN) error {
	defer pin.Wipe()
	if err := pin.Check(); err != nil {
		return fmt.Errorf("verify PIN: %w", err)
	}
	if err := c.anywhere(ctx); err != nil {
		return fmt.Errorf("verify PIN: %w", err)
	}
	data := pin.bcd()
	defer clear(data)
	initial := string(pin) == InitialPIN
	c.pin = false // a wrong PIN undoes a right one
	r, err := c.exchange(ctx, apdu.Command{INS: 0x20, Data: data})
	if err != nil {
		return fmt.Errorf("verify PIN: %w", err)
	}
	if n, ok := r.Status.TriesLeft(); ok {
		return fmt.Errorf("verify PIN: %w", &WrongPINError{TriesLeft: n})
	}
	switch r.Status {
	case apdu.StatusOK:
		c.pin, c.initialPIN = true, initial
		return nil
	case apdu.StatusAuthFailed:
		return fmt.Errorf("verify PIN: %w", &WrongPINError{TriesLeft: -1})
	case apdu.StatusBlocked, apdu.StatusNoChallenge:
		// 6984 on VERIFY: the reference data are invalidated (ISO 7816-4).
		return fmt.Errorf("verify PIN: %w", ErrPINBlocked)
	}
	return fmt.Errorf("verify PIN: %w", refused("VERIFY", r.Status))
}

// anywhere makes sure that a directory of the application is selected; the PIN
// is one for all of them (card specification, section 9).
func (c *Card) anywhere(ctx context.Context) error {
	if c.df != "" && c.df != acseDF && !c.lost {
		return nil
	}
	return c.enter(ctx, rootDF)
}
