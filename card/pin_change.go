package card

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"onecard/apdu"
	"onecard/card/keys"
)

// A PINPolicy says which new PINs are too easy to guess. It is data: a terminal
// reads its own from the configuration. The zero policy permits everything.
type PINPolicy struct {
	MinLength int      `toml:"min_length" json:"min_length"` // digits; 4 at least in any case
	Forbidden []string `toml:"forbidden" json:"forbidden"`   // PINs that nobody may have
	Repeated  bool     `toml:"repeated" json:"repeated"`     // one group of up to three digits repeated: 111111, 121212
	Sequence  bool     `toml:"sequence" json:"sequence"`     // digits in a row, up or down: 123456, 654321, 890123
	Personal  bool     `toml:"personal" json:"personal"`     // pieces of birth date, ID number or card number
}

// InitialPIN is the PIN of a card that was never changed (reference profile).
const InitialPIN = "123456"

// DefaultPINPolicy forbids the initial PIN and everything above.
func DefaultPINPolicy() PINPolicy {
	return PINPolicy{MinLength: 6, Forbidden: []string{InitialPIN, "654321", "888888", "666666", "112233", "123123"},
		Repeated: true, Sequence: true, Personal: true}
}

// Check returns [ErrPINFormat] for what is no PIN and [ErrPINTrivial] for one
// that the policy forbids. of may be the zero Holder where nobody knows who
// holds the card.
func (p PINPolicy) Check(pin PIN, of Holder) error {
	if err := pin.Check(); err != nil {
		return err
	}
	if len(pin) < p.MinLength || p.Repeated && repeated(pin) || p.Sequence && inRow(pin) || p.Personal && personal(pin, of) {
		return ErrPINTrivial
	}
	for _, f := range p.Forbidden {
		if string(pin) == f {
			return ErrPINTrivial
		}
	}
	return nil
}

// repeated reports whether a group of up to three digits makes up all of pin.
func repeated(pin PIN) bool {
	for n := 1; n <= 3 && 2*n <= len(pin); n++ {
		if bytes.Equal(pin[n:], pin[:len(pin)-n]) {
			return true
		}
	}
	return false
}

// inRow reports whether each digit follows the one before, up or down, 0 after
// 9.
func inRow(pin PIN) bool {
	up, down := true, true
	for i := 1; i < len(pin); i++ {
		step := (int(pin[i]) - int(pin[i-1]) + 10) % 10
		up, down = up && step == 1, down && step == 9
	}
	return up || down
}

// personal reports whether pin is a piece of what stands on the holder's
// papers.
func personal(pin PIN, of Holder) bool {
	words := []string{of.SocialSecurityNumber}
	if d := of.BirthDate; !d.IsZero() {
		s := d.digits()
		y, md := s[:4], s[4:]
		dm := md[2:] + md[:2]
		words = append(words, s+y, md+y, dm+y, md+y[2:], dm+y[2:], s[2:]+y, md+md, dm+dm)
	}
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, string(pin)) })
}

// PINIsInitial reports whether the PIN that was verified last is the initial
// one: ask the holder to change it.
func (c *Card) PINIsInitial() bool { return c.PINVerified() && c.initialPIN }

// ChangePIN replaces the PIN by a new one and wipes both, whatever comes of it.
// Afterwards the new PIN is verified, as a card takes it. A new PIN that the
// policy forbids is refused before anything is sent; a wrong old PIN uses up a
// try ([*WrongPINError]).
//
// The card changes its PIN whole or not at all. Where its answer was lost, the
// error wraps [ErrPINChangeUnknown]: verify the new PIN, then the old one.
func (c *Card) ChangePIN(ctx context.Context, old, next PIN, policy PINPolicy, of Holder) error {
	defer old.Wipe()
	defer next.Wipe()
	if err := old.Check(); err != nil {
		return fmt.Errorf("change PIN: %w", err)
	}
	if bytes.Equal(old, next) {
		return fmt.Errorf("change PIN: %w: it is the old one", ErrPINTrivial)
	}
	if err := policy.Check(next, of); err != nil {
		return fmt.Errorf("change PIN: %w", err)
	}
	if err := c.anywhere(ctx); err != nil {
		return fmt.Errorf("change PIN: %w", err)
	}
	former, later := old.bcd(), next.bcd()
	defer clear(former)
	defer clear(later)
	data := append(append(append(make([]byte, 0, 17), former...), 0xFF), later...)
	defer clear(data)
	c.pin = false
	r, err := c.exchange(ctx, apdu.Command{CLA: 0x80, INS: 0x5E, P1: 0x01, Data: data})
	if err != nil {
		return fmt.Errorf("change PIN: %w: %w", ErrPINChangeUnknown, err)
	}
	if n, ok := r.Status.TriesLeft(); ok {
		return fmt.Errorf("change PIN: %w", &WrongPINError{TriesLeft: n})
	}
	switch r.Status {
	case apdu.StatusOK:
		c.pin, c.initialPIN = true, false
		return nil
	case apdu.StatusAuthFailed:
		return fmt.Errorf("change PIN: %w", &WrongPINError{TriesLeft: -1})
	case apdu.StatusBlocked, apdu.StatusNoChallenge:
		return fmt.Errorf("change PIN: %w", ErrPINBlocked)
	}
	return fmt.Errorf("change PIN: %w", refused("CHANGE PIN", r.Status))
}

// UnblockPIN gives a blocked PIN all its tries back: EXTERNAL AUTHENTICATE with
// PUK, then PIN UNBLOCK secured with STK, both through kh, which must be a
// [SecureHolder]. The PIN stays what it is. A card that lost power in the middle
// is in the old or the new state; repeating is harmless.
func (c *Card) UnblockPIN(ctx context.Context, kh KeyHolder) error {
	holder, err := holderAs[SecureHolder](kh)
	if err == nil {
		err = c.issuerPIN(ctx, kh, "PIN UNBLOCK", func(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
			return holder.UnblockPIN(ctx, s, challenge)
		})
	}
	if err != nil {
		return fmt.Errorf("unblock PIN: %w", err)
	}
	return nil
}

// ReloadPIN sets a new PIN without the old one, wipes it, and gives all tries
// back: EXTERNAL AUTHENTICATE with PUK, then RELOAD PIN secured with STK. The
// caller has made sure who the holder is. A card that lost power in the middle
// has the old or the new PIN; repeating is harmless.
func (c *Card) ReloadPIN(ctx context.Context, kh KeyHolder, next PIN, policy PINPolicy, of Holder) error {
	defer next.Wipe()
	err := policy.Check(next, of)
	if err == nil {
		err = c.reloadPIN(ctx, kh, next)
	}
	if err != nil {
		return fmt.Errorf("reload PIN: %w", err)
	}
	return nil
}

func (c *Card) reloadPIN(ctx context.Context, kh KeyHolder, next PIN) error {
	holder, err := holderAs[SecureHolder](kh)
	if err != nil {
		return err
	}
	later := next.bcd()
	defer clear(later)
	c.pin = false
	return c.issuerPIN(ctx, kh, "RELOAD PIN", func(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
		return holder.ReloadPIN(ctx, s, challenge, later)
	})
}

// issuerPIN sends what only the issuer may: proved by PUK, secured by STK. The
// challenge of the authentication is used up by it, so there is a second one.
func (c *Card) issuerPIN(ctx context.Context, kh KeyHolder, name string, secure func(context.Context, keys.Subject, []byte) ([]byte, error)) error {
	if err := c.enter(ctx, rootDF); err != nil {
		return err
	}
	if err := c.authenticateKey(ctx, kh, "PUK"); err != nil {
		return err
	}
	r, err := c.sendSecured(ctx, secure)
	if err != nil {
		return err
	}
	if !r.Status.OK() {
		return refused(name, r.Status)
	}
	return nil
}
