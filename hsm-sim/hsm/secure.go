package hsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"onecard/card/keys"
)

// SecureCommand returns the whole command header, Lc, data, MAC, by secure
// messaging with the named key (STK, STKDF03) and the card's last challenge of
// 4, 8 or 16 bytes. PIN UNBLOCK and RELOAD PIN have calls of their own, which
// an HSM can refuse by themselves. Errors are those of [Client.ExternalAuth].
func (c *Client) SecureCommand(ctx context.Context, s keys.Subject, key string, challenge []byte, h keys.Header, data []byte) ([]byte, error) {
	if len(data) > 251 {
		return nil, fmt.Errorf("secure command: %w", keys.ErrTooLong)
	}
	b, err := c.secured(ctx, CommandSecure, s, key, challenge, Field{TagHeader, h[:]}, Field{TagData, data})
	if err != nil {
		return nil, fmt.Errorf("secure command with %q: %w", key, err)
	}
	return b, nil
}

// UnblockPIN returns the whole command PIN UNBLOCK, secured with STK.
func (c *Client) UnblockPIN(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
	b, err := c.secured(ctx, CommandUnblockPIN, s, "STK", challenge)
	if err != nil {
		return nil, fmt.Errorf("unblock PIN: %w", err)
	}
	return b, nil
}

// ReloadPIN returns the whole command RELOAD PIN, secured with STK, for a new
// PIN in BCD of 2 to 8 bytes. The PIN goes to the HSM in clear: use TLS.
func (c *Client) ReloadPIN(ctx context.Context, s keys.Subject, challenge, pin []byte) ([]byte, error) {
	if len(pin) < 2 || len(pin) > 8 {
		return nil, fmt.Errorf("reload PIN: %w: PIN of %d bytes", keys.ErrSubject, len(pin))
	}
	b, err := c.secured(ctx, CommandReloadPIN, s, "STK", challenge, Field{TagPIN, pin})
	if err != nil {
		return nil, fmt.Errorf("reload PIN: %w", err)
	}
	return b, nil
}

func (c *Client) secured(ctx context.Context, cmd Command, s keys.Subject, key string, challenge []byte, fields ...Field) ([]byte, error) {
	switch len(challenge) {
	case 4, 8, 16:
	default:
		return nil, fmt.Errorf("%w: challenge of %d bytes", keys.ErrSubject, len(challenge))
	}
	f, err := c.ask(ctx, cmd, s, key, append(fields, Field{TagChallenge, challenge}))
	if err != nil {
		return nil, err
	}
	b, _ := f.Value(TagSecured)
	return append([]byte(nil), b...), nil
}

// PurchaseMAC1 returns MAC1 of a purchase, by key DPK. The terminal sequence is
// the caller's: it must never repeat on one terminal.
func (c *Client) PurchaseMAC1(ctx context.Context, s keys.Subject, p *keys.Purchase) (mac1 [keys.MACSize]byte, err error) {
	f, err := c.ask(ctx, CommandPurchase, s, "DPK", purchaseFields(p))
	if err != nil {
		return mac1, fmt.Errorf("MAC1 of purchase: %w", err)
	}
	v, _ := f.Value(TagMAC)
	return [keys.MACSize]byte(v), nil
}

// CheckMAC2 wraps [keys.ErrMAC] where mac2 is not the card's for this purchase.
func (c *Client) CheckMAC2(ctx context.Context, s keys.Subject, p keys.Purchase, mac2 [keys.MACSize]byte) error {
	return c.check(ctx, CommandPurchaseMAC2, s, "DPK", "MAC2 of purchase", append(purchaseFields(&p), Field{TagMAC, mac2[:]}))
}

// CheckPurchaseTAC wraps [keys.ErrMAC] where tac is not the card's, by key DTK.
func (c *Client) CheckPurchaseTAC(ctx context.Context, s keys.Subject, p keys.Purchase, tac [keys.MACSize]byte) error {
	return c.check(ctx, CommandPurchaseTAC, s, "DTK", "TAC of purchase", append(purchaseFields(&p), Field{TagMAC, tac[:]}))
}

// LoadMAC2 returns the order to credit a load, by key DLK, once the HSM has
// found the card's mac1 right; it wraps [keys.ErrMAC] where it is not.
func (c *Client) LoadMAC2(ctx context.Context, s keys.Subject, l keys.Load, mac1 [keys.MACSize]byte) (mac2 [keys.MACSize]byte, err error) {
	f, err := c.ask(ctx, CommandLoad, s, "DLK", append(loadFields(&l), Field{TagMAC, mac1[:]}))
	if err != nil {
		return mac2, fmt.Errorf("MAC2 of load: %w", wrongMAC(err))
	}
	v, _ := f.Value(TagMAC)
	return [keys.MACSize]byte(v), nil
}

// CheckLoadTAC wraps [keys.ErrMAC] where tac is not the card's, by key DTK.
func (c *Client) CheckLoadTAC(ctx context.Context, s keys.Subject, l keys.Load, tac [keys.MACSize]byte) error {
	return c.check(ctx, CommandLoadTAC, s, "DTK", "TAC of load", append(loadFields(&l), Field{TagMAC, tac[:]}))
}

func (c *Client) check(ctx context.Context, cmd Command, s keys.Subject, key, what string, fields []Field) error {
	if _, err := c.ask(ctx, cmd, s, key, fields); err != nil {
		return fmt.Errorf("check %s: %w", what, wrongMAC(err))
	}
	return nil
}

// wrongMAC makes the HSM's verdict an error that callers know.
func wrongMAC(err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Status == StatusMAC {
		return fmt.Errorf("%w (%w)", keys.ErrMAC, err)
	}
	return err
}

func purchaseFields(p *keys.Purchase) []Field {
	amounts := binary.BigEndian.AppendUint32(nil, p.Account)
	amounts = binary.BigEndian.AppendUint32(amounts, p.Self)
	amounts = binary.BigEndian.AppendUint32(amounts, p.Pooling)
	return []Field{
		{TagRandom, p.Random[:]},
		{TagSequence, binary.BigEndian.AppendUint16(nil, p.Sequence)},
		{TagTerminal, p.Terminal[:]},
		{TagTermSeq, binary.BigEndian.AppendUint32(nil, p.TerminalSequence)},
		{TagMoment, p.Time[:]},
		{TagAmounts, amounts},
	}
}

// ParsePurchase reads those fields from a request that [CheckRequest] accepted.
// The error is a [FormError].
func ParsePurchase(f *Frame) (keys.Purchase, error) {
	var p keys.Purchase
	for _, field := range f.Fields {
		v := field.Value
		switch field.Tag {
		case TagRandom:
			p.Random = [4]byte(v)
		case TagSequence:
			p.Sequence = binary.BigEndian.Uint16(v)
		case TagTerminal:
			p.Terminal = [6]byte(v)
		case TagTermSeq:
			p.TerminalSequence = binary.BigEndian.Uint32(v)
		case TagMoment:
			p.Time = [7]byte(v)
		case TagAmounts:
			if len(v) != 12 {
				return p, &FormError{StatusFieldValue, "a purchase has three amounts"}
			}
			p.Account, p.Self, p.Pooling = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]), binary.BigEndian.Uint32(v[8:])
		}
	}
	return p, nil
}

func loadFields(l *keys.Load) []Field {
	return []Field{
		{TagRandom, l.Random[:]},
		{TagSequence, binary.BigEndian.AppendUint16(nil, l.Sequence)},
		{TagTerminal, l.Terminal[:]},
		{TagMoment, l.Time[:]},
		{TagAmounts, binary.BigEndian.AppendUint32(nil, l.Amount)},
		{TagBalance, binary.BigEndian.AppendUint32(nil, l.Balance)},
	}
}

// ParseLoad reads those fields from a request that [CheckRequest] accepted. The
// error is a [FormError].
func ParseLoad(f *Frame) (keys.Load, error) {
	var l keys.Load
	for _, field := range f.Fields {
		v := field.Value
		switch field.Tag {
		case TagRandom:
			l.Random = [4]byte(v)
		case TagSequence:
			l.Sequence = binary.BigEndian.Uint16(v)
		case TagTerminal:
			l.Terminal = [6]byte(v)
		case TagMoment:
			l.Time = [7]byte(v)
		case TagBalance:
			l.Balance = binary.BigEndian.Uint32(v)
		case TagAmounts:
			if len(v) != 4 {
				return l, &FormError{StatusFieldValue, "a load has one amount"}
			}
			l.Amount = binary.BigEndian.Uint32(v)
		}
	}
	return l, nil
}
