package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/apdu"
	"onecard/reader"
	"onecard/reader/hold"
)

// A link is an open connection. Everything in it is guarded by the driver's mu.
type link struct {
	*hold.Link
	d         *Driver
	s         *slot
	atr       []byte
	insertion uint64
}

func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.Wait(ctx); err != nil {
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
		if err := l.State(); err != nil {
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
		return nil, l.State()
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
	l.s.held.End(reader.ErrCardRemoved)
	l.s.eject()
	l.d.wake()
	return l.Dead()
}

// hang waits for the context, or for whatever ends the link before. It is called
// with mu held.
func (l *link) hang(ctx context.Context) ([]byte, error) {
	for {
		ended, changed := l.Ended(), l.d.mu.Changed()
		l.d.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
		select {
		case <-changed:
			l.d.mu.Lock()
		case <-ctx.Done():
			l.d.mu.Lock()
			defer l.d.mu.Unlock()
			l.Die(reader.ErrStuck)
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

func (l *link) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.Wait(ctx); err != nil {
		return err
	}
	defer l.d.mu.Unlock()
	l.s.reset(l.Link)
	l.d.wake()
	if len(l.s.atr) == 0 {
		l.Lost(reader.ErrMute)
		return reader.ErrMute
	}
	return nil
}
