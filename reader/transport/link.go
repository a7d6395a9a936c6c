package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/reader"
)

// A link is an open connection to a chip. Everything in it is guarded by the
// driver's mu.
type link struct {
	d        *Driver
	s        *slot
	atr      []byte
	dead     error // why the link is useless
	wasReset bool  // another link reset the card and the owner does not know yet
	closed   bool
}

// end makes every link of the slot useless for this reason. The caller holds mu.
func (s *slot) end(why error) {
	for l := range s.links {
		l.dead = why
	}
	clear(s.links)
	s.exclusive, s.holder = nil, nil
}

// state returns why no command can be sent now.
func (l *link) state() error {
	switch {
	case l.closed:
		return reader.ErrClosed
	case l.dead != nil:
		return l.dead
	case l.wasReset:
		l.wasReset = false
		if l.s.holder == l {
			l.s.holder = nil
		}
		return reader.ErrCardReset
	}
	return nil
}

// wait waits until no other link holds the card. It returns with mu held where the
// error is nil.
func (l *link) wait(ctx context.Context) error {
	for {
		l.d.mu.Lock()
		if err := l.state(); err != nil {
			l.d.mu.Unlock()
			return err
		}
		if l.s.holder == nil || l.s.holder == l {
			return nil
		}
		changed := l.d.changed
		l.d.mu.Unlock()
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%w: %w", reader.ErrBusy, ctx.Err())
			}
			return ctx.Err()
		case <-changed:
		}
	}
}

func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 || len(command) > maxData {
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	l.d.mu.Unlock()
	sent := bytes.Clone(command) // the caller's is not read after a deadline
	got := make(chan []byte, 1)
	err := l.d.call(ctx, func(ctx context.Context, o *owner) error {
		l.d.mu.Lock()
		err := l.state()
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
	switch {
	case errors.Is(err, reader.ErrCardReset), errors.Is(err, reader.ErrClosed):
		return err
	case l.dead != nil:
		return l.dead
	case errors.Is(err, ErrNotInitialised), errors.Is(err, reader.ErrReaderGone), errors.Is(err, ErrMovedByHand):
		err = removed(err)
		l.dead = err
	case errors.Is(err, reader.ErrCardRemoved), errors.Is(err, reader.ErrStuck):
		l.dead = err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		l.dead = reader.ErrStuck
	case errors.Is(err, reader.ErrFault), errors.Is(err, reader.ErrMute):
	default:
		err = fmt.Errorf("%w: %w", reader.ErrFault, err)
	}
	if l.dead != nil {
		l.leave()
		l.d.wake()
	}
	return err
}

func (l *link) ATR() []byte {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return bytes.Clone(l.atr)
}

func (l *link) Begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.wait(ctx); err != nil {
		return err
	}
	l.s.holder = l
	l.d.mu.Unlock()
	return nil
}

func (l *link) End() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.s.holder == l {
		l.s.holder = nil
		l.d.wake()
	}
	return l.state()
}

func (l *link) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.wait(ctx); err != nil {
		return err
	}
	l.d.mu.Unlock()
	err := l.d.call(ctx, func(ctx context.Context, o *owner) error {
		l.d.mu.Lock()
		err := l.state()
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
		for other := range l.s.links {
			if other != l {
				other.wasReset = true
			}
		}
		l.d.wake()
		return nil
	})
	if err != nil {
		return l.failed(err)
	}
	return nil
}

func (l *link) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.leave()
	l.d.wake()
	return nil
}

// leave gives back what the link holds. The caller holds mu.
func (l *link) leave() {
	delete(l.s.links, l)
	if l.s.exclusive == l {
		l.s.exclusive = nil
	}
	if l.s.holder == l {
		l.s.holder = nil
	}
}
