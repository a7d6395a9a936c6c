package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/reader"
	"onecard/reader/hold"
)

// A link is an open connection to a chip. Everything in it is guarded by the
// driver's mu.
type link struct {
	*hold.Link
	d   *Driver
	s   *slot
	atr []byte
}

func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 || len(command) > maxData {
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.Wait(ctx); err != nil {
		return nil, err
	}
	l.d.mu.Unlock()
	sent := bytes.Clone(command) // the caller's is not read after a deadline
	got := make(chan []byte, 1)
	err := l.d.call(ctx, func(ctx context.Context, o *owner) error {
		l.d.mu.Lock()
		err := l.State()
		l.d.mu.Unlock()
		if err != nil {
			return err
		}
		answer, err := o.transmit(ctx, l.s.chip, sent)
		got <- answer
		return err
	})
	if err == nil {
		return <-got, nil
	}
	return nil, l.failed(err)
}

// failed gives an error of the unit the meaning that a link's user knows, and ends
// the link where nothing can follow.
func (l *link) failed(err error) error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	var over error // what ends the link
	switch {
	case errors.Is(err, reader.ErrCardReset), errors.Is(err, reader.ErrClosed):
		return err
	case l.Dead() != nil:
		return l.Dead()
	case errors.Is(err, ErrNotInitialised), errors.Is(err, reader.ErrReaderGone), errors.Is(err, ErrMovedByHand):
		err = removed(err)
		over = err
	case errors.Is(err, reader.ErrCardRemoved), errors.Is(err, reader.ErrStuck):
		over = err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		over = reader.ErrStuck
	case errors.Is(err, reader.ErrFault), errors.Is(err, reader.ErrMute):
	default:
		err = fmt.Errorf("%w: %w", reader.ErrFault, err)
	}
	if over != nil {
		l.Die(over)
		l.d.wake()
	}
	return err
}

func (l *link) ATR() []byte {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return bytes.Clone(l.atr)
}

func (l *link) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.Wait(ctx); err != nil {
		return err
	}
	l.d.mu.Unlock()
	err := l.d.call(ctx, func(ctx context.Context, o *owner) error {
		l.d.mu.Lock()
		err := l.State()
		l.d.mu.Unlock()
		if err != nil {
			return err
		}
		atr, err := o.unit.PowerOn(ctx, l.s.chip, true)
		if err != nil {
			return err
		}
		l.d.mu.Lock()
		defer l.d.mu.Unlock()
		l.atr, l.s.atr = bytes.Clone(atr), bytes.Clone(atr)
		l.s.held.WasReset(l.Link, nil)
		l.d.wake()
		return nil
	})
	if err != nil {
		return l.failed(err)
	}
	return nil
}
