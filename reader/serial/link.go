package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/reader"
)

// A link is an open connection. Everything in it is guarded by the driver's mu.
type link struct {
	p        *port
	card     card
	dead     error // why the link is useless
	wasReset bool  // another link reset the card and the owner does not know yet
	held     bool  // a transaction is open
	closed   bool
}

// state returns why no command can be sent now. The caller holds mu.
func (l *link) state() error {
	switch {
	case l.closed:
		return reader.ErrClosed
	case l.dead != nil:
		return l.dead
	case l.wasReset:
		l.wasReset, l.card = false, l.p.card
		return reader.ErrCardReset
	}
	return nil
}

// enter waits until no other link holds the card, and holds it.
func (l *link) enter(ctx context.Context) error {
	d := l.p.d
	for {
		d.mu.Lock()
		err := l.state()
		if err == nil && (l.p.holder == nil || l.p.holder == l) {
			l.p.holder = l
			d.mu.Unlock()
			return nil
		}
		changed := d.changed
		d.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", reader.ErrBusy, ctx.Err())
		case <-changed:
		}
	}
}

// leave ends what enter began, unless a transaction goes on.
func (l *link) leave() {
	d := l.p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.p.holder == l && !l.held {
		l.p.holder = nil
		d.wake()
	}
}

// do runs f where the port is.
func (l *link) do(ctx context.Context, f func(context.Context, *wire) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	err := l.p.do(ctx, f)
	if err == nil {
		return nil
	}
	d := l.p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.dead != nil && !errors.Is(err, l.dead) {
		return fmt.Errorf("%w: %w", l.dead, err)
	}
	return err
}

// Transmit sends one command; see [reader.Link].
func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 || len(command) > maxCommand {
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	var answer []byte
	call := bytes.Clone(command) // the call may outlive this function
	got := make(chan []byte, 1)
	err := l.do(ctx, func(ctx context.Context, w *wire) error {
		defer clear(call)
		b, err := l.p.transmit(ctx, w, call)
		got <- b
		return err
	})
	if err != nil {
		return nil, err
	}
	if answer = <-got; len(answer) < 2 {
		return nil, fmt.Errorf("%w: answer of %d bytes", reader.ErrFault, len(answer))
	}
	return answer, nil
}

// maxCommand is the longest command without extended lengths: header, Lc, 255
// bytes, Le.
const maxCommand = 4 + 1 + 255 + 1

// T0 reports whether the card speaks T=0; see [reader.T0Link].
func (l *link) T0() bool {
	l.p.d.mu.Lock()
	defer l.p.d.mu.Unlock()
	return l.card.protocol == 0
}

// ATR returns the card's answer to reset.
func (l *link) ATR() []byte {
	l.p.d.mu.Lock()
	defer l.p.d.mu.Unlock()
	return bytes.Clone(l.card.atr)
}

// Begin starts a transaction; see [reader.Link].
func (l *link) Begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.enter(ctx); err != nil {
		return err
	}
	l.p.d.mu.Lock()
	defer l.p.d.mu.Unlock()
	l.held = true
	return nil
}

// End ends the transaction; see [reader.Link].
func (l *link) End() error {
	l.p.d.mu.Lock()
	err := l.state()
	l.held = false
	l.p.d.mu.Unlock()
	l.leave()
	return err
}

// Reset resets the card; see [reader.Link].
func (l *link) Reset(ctx context.Context) error {
	return l.do(ctx, func(ctx context.Context, w *wire) error {
		c, err := l.p.power(ctx, w)
		if err != nil {
			return err
		}
		d := l.p.d
		d.mu.Lock()
		defer d.mu.Unlock()
		if !bytes.Equal(c.atr, l.card.atr) {
			l.p.end(reader.ErrCardChanged)
			return reader.ErrCardChanged
		}
		l.p.card, l.card = c, c
		for other := range l.p.links {
			other.wasReset = other != l
		}
		d.wake()
		return nil
	})
}

// Close disconnects and leaves the card powered; see [reader.Link].
func (l *link) Close() error {
	d := l.p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	delete(l.p.links, l)
	if l.p.exclusive == l {
		l.p.exclusive = nil
	}
	if l.p.holder == l {
		l.p.holder = nil
	}
	d.wake()
	return nil
}
