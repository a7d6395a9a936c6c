package card

import (
	"bytes"
	"context"
	"fmt"

	"onecard/apdu"
	"onecard/fault"
)

// A Presenter has a PIN entered at a reader's pad: the reader puts it where the
// command holds FF and sends the command to the card. It returns the card's
// answer, or an error where the card has seen nothing.
type Presenter func(ctx context.Context, template apdu.Command) (apdu.Response, error)

// PINs that are entered at a reader's own pad have a fixed number of digits, because the
// pad fills a command of fixed size; an odd last digit is followed by F, as the card
// wants it.
const (
	PadLeast = 4
	PadMost  = 12
	// PadDefault is that of the reference profile.
	PadDefault = 6
)

// Offsets of the PINs in the commands for a [Presenter].
const PadOld = 0

// PadNew is the offset of the new PIN in CHANGE PIN: after the old one, of so many
// digits, and the separator.
func PadNew(digits int) int { return padSize(digits) + 1 }

// padSize is how many bytes a PIN takes.
func padSize(digits int) int { return (digits + 1) / 2 }

// VerifyPINAtPad is [Card.VerifyPIN] for a pad that gives no digits away; the PIN has
// so many.
func (c *Card) VerifyPINAtPad(ctx context.Context, digits int, present Presenter) error {
	if err := c.anywhere(ctx); err != nil {
		return fmt.Errorf("verify PIN: %w", err)
	}
	r, err := present(ctx, apdu.Command{INS: 0x20, Data: bytes.Repeat([]byte{0xFF}, padSize(digits))})
	if err != nil {
		c.unpresented(err)
		return fmt.Errorf("verify PIN: %w", err)
	}
	return c.presented("verify PIN", "VERIFY", r.Status)
}

// ChangePINAtPad is [Card.ChangePIN] for a pad that gives no digits away; both PINs
// have so many. No policy
// is asked about the new PIN: nobody but the reader knows it. Where the reader's
// answer was lost the error wraps [ErrPINChangeUnknown].
func (c *Card) ChangePINAtPad(ctx context.Context, digits int, present Presenter) error {
	if err := c.anywhere(ctx); err != nil {
		return fmt.Errorf("change PIN: %w", err)
	}
	data := bytes.Repeat([]byte{0xFF}, 2*padSize(digits)+1)
	r, err := present(ctx, apdu.Command{CLA: 0x80, INS: 0x5E, P1: 0x01, Data: data})
	if err != nil {
		if c.unpresented(err) {
			return fmt.Errorf("change PIN: %w: %w", ErrPINChangeUnknown, err)
		}
		return fmt.Errorf("change PIN: %w", err)
	}
	return c.presented("change PIN", "CHANGE PIN", r.Status)
}

// unpresented reports whether, after this error, the card may have seen the command:
// what a pad says of the holder it says instead.
func (c *Card) unpresented(err error) (lost bool) {
	switch fault.Of(err).Code {
	case fault.PINCancelled, fault.PINTimeout, fault.PINFormat, fault.PINsDiffer, fault.NoPINPad:
		return false
	}
	c.lost, c.df, c.ef, c.pin, c.authenticated = true, "", "", false, false
	clear(c.held)
	return true
}

// presented takes over what the card says of a PIN. Whether it is the initial one
// nobody knows.
func (c *Card) presented(what, command string, status apdu.Status) error {
	c.pin, c.initialPIN = false, false
	if n, ok := status.TriesLeft(); ok {
		return fmt.Errorf("%s: %w", what, &WrongPINError{TriesLeft: n})
	}
	switch status {
	case apdu.StatusOK:
		c.pin = true
		return nil
	case apdu.StatusAuthFailed:
		return fmt.Errorf("%s: %w", what, &WrongPINError{TriesLeft: -1})
	case apdu.StatusBlocked, apdu.StatusNoChallenge:
		return fmt.Errorf("%s: %w", what, ErrPINBlocked)
	}
	return fmt.Errorf("%s: %w", what, refused(command, status))
}
