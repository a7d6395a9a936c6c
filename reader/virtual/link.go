package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/apdu"
	"onecard/reader"
)

// A link is an open connection. Everything in it is guarded by the driver's mu.
type link struct {
	d         *Driver
	s         *slot
	atr       []byte
	insertion uint64
	dead      error // why the link is useless
	wasReset  bool  // another program reset the card and the owner does not know yet
	closed    bool
}

// state returns why no command can be sent now, nil where one can.
func (l *link) state() error {
	switch {
	case l.closed:
		return reader.ErrClosed
	case l.dead != nil:
		return l.dead
	case l.wasReset:
		l.wasReset = false
		if len(l.s.atr) == 0 {
			l.dead = reader.ErrMute
			return l.dead
		}
		if l.s.holder == l {
			l.s.holder = nil
		}
		return reader.ErrCardReset
	}
	return nil
}

// wait waits until no other link and no other program holds the card. It
// returns with mu held where the error is nil.
func (l *link) wait(ctx context.Context) error {
	for {
		l.d.mu.Lock()
		if err := l.state(); err != nil {
			l.d.mu.Unlock()
			return err
		}
		if !l.s.foreign && (l.s.holder == nil || l.s.holder == l) {
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
	if len(command) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	f, ok := l.s.due()
	if !ok {
		defer l.d.mu.Unlock()
		return l.carryOut(command)
	}
	switch f.Kind {
	case Hang:
		return l.hang(ctx)
	case Slow:
		l.d.mu.Unlock()
		late := time.NewTimer(f.Delay)
		defer late.Stop()
		select {
		case <-late.C:
		case <-ctx.Done():
			l.d.mu.Lock()
			return l.hang(ctx)
		}
		l.d.mu.Lock()
		defer l.d.mu.Unlock()
		if err := l.state(); err != nil {
			return nil, err
		}
		return l.carryOut(command)
	}
	defer l.d.mu.Unlock()
	switch f.Kind {
	case Remove:
		return nil, l.lose()
	case Tear:
		l.s.card.Transmit(bytes.Clone(command))
		return nil, l.lose()
	case Reset:
		l.s.reset(nil)
		l.d.wake()
		return nil, l.state()
	case Fail:
		return nil, fmt.Errorf("%w: ordered", reader.ErrFault)
	case Garbage:
		return bytes.Repeat([]byte{0x2A, 0xF1, 0x07}, 86), nil
	case Short, Empty:
		// This is how a reader answers that has lost its card; no link returns
		// it as an answer.
		return nil, fmt.Errorf("%w: answer of less than two bytes", l.lose())
	case Endless61:
		return []byte{0x61, 0x10}, nil
	case Endless6C:
		return []byte{0x6C, 0x10}, nil
	case Status:
		return []byte{byte(f.Status >> 8), byte(f.Status)}, nil
	}
	return l.carryOut(command)
}

// carryOut lets the card answer. The caller holds mu: no two commands reach a
// card at the same time.
func (l *link) carryOut(command []byte) ([]byte, error) {
	answer := bytes.Clone(l.s.card.Transmit(bytes.Clone(command)))
	if len(answer) < 2 {
		return nil, fmt.Errorf("%w: answer of %d bytes", l.lose(), len(answer))
	}
	return answer, nil
}

// lose takes the card out of the slot.
func (l *link) lose() error {
	l.s.end(reader.ErrCardRemoved)
	l.s.eject()
	l.d.wake()
	return l.dead
}

// hang waits for the context, or for whatever ends the link before. It is called
// with mu held.
func (l *link) hang(ctx context.Context) ([]byte, error) {
	for {
		dead, closed, changed := l.dead, l.closed, l.d.changed
		l.d.mu.Unlock()
		switch {
		case dead != nil:
			return nil, dead
		case closed:
			return nil, reader.ErrClosed
		}
		select {
		case <-changed:
			l.d.mu.Lock()
		case <-ctx.Done():
			l.d.mu.Lock()
			defer l.d.mu.Unlock()
			l.leave()
			l.dead = reader.ErrStuck
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, fmt.Errorf("%w: %w", reader.ErrStuck, ctx.Err())
			}
			return nil, ctx.Err()
		}
	}
}

// Insertion returns which card it is; see [reader.InsertionLink].
func (l *link) Insertion() uint64 { return l.insertion }

func (l *link) ATR() []byte { return bytes.Clone(l.atr) }

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
	defer l.d.mu.Unlock()
	l.s.reset(l)
	l.d.wake()
	if len(l.s.atr) == 0 {
		l.dead = reader.ErrMute
		return l.dead
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
