package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ebfe/scard"

	"onecard/apdu"
	"onecard/reader"
)

// removalTime is how long a failed command waits for the watch to say whether the
// card is gone: pcscd looks at a reader's contact every 0.4 seconds.
const removalTime = time.Second

// A link is one card session: a context and a connection of its own.
type link struct {
	d         *Driver
	slot      string
	insertion uint64 // by Watch, 0 where it did not run or has not seen the card
	thread    *thread

	// Of the thread alone.
	mode    scard.ShareMode
	context *scard.Context
	card    *scard.Card
	events  uint16 // the service's count of the card it connected

	// Of the owner; but a function of Do that was left behind still runs in the
	// thread while the owner has gone on.
	mu   sync.Mutex
	atr  []byte
	t0   bool
	held bool  // a transaction is open
	dead error // why the link is useless
}

// die makes the link useless and returns why. The first reason stays.
func (l *link) die(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead == nil {
		l.dead = why
	}
	return why
}

// hold sets whether a transaction is open and returns whether one was.
func (l *link) hold(on bool) (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, l.held = l.held, on
	return was
}

// ATR returns the card's answer to reset.
func (l *link) ATR() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.atr)
}

// Insertion returns which card it is; see [reader.InsertionLink].
func (l *link) Insertion() uint64 { return l.insertion }

// T0 reports whether a command of case 4 has to leave without its Le; see
// [reader.T0Link].
func (l *link) T0() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t0
}

// Transmit sends one command; see [reader.Link]. Outside a transaction pcsc-lite
// makes a command wait for the end of another program's transaction: a deadline
// that passes then is ErrStuck, as if the card had the command, because nobody can
// tell. Begin can.
func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 { // the binding panics on none
		return nil, fmt.Errorf("%w: %d bytes", apdu.ErrCommand, len(command))
	}
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, transmitTime)
		defer cancel()
	}
	// The call may outlive this function: it works on copies.
	call := &transmission{card: l.card, command: bytes.Clone(command)}
	err := l.do(ctx, reader.ErrStuck, call.run)
	if err != nil {
		return nil, l.removed(ctx, err)
	}
	return call.answer, nil
}

// Control sends a control code to the reader; see [reader.ControlLink].
func (l *link) Control(ctx context.Context, code uint32, data []byte) ([]byte, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, transmitTime)
		defer cancel()
	}
	card, data := l.card, bytes.Clone(data)
	var answer []byte
	err := l.do(ctx, reader.ErrStuck, func() error {
		out, err := card.Control(code, data)
		answer = bytes.Clone(out) // the binding's keeps a buffer of 64 KB alive
		return err
	})
	if err != nil {
		return nil, l.removed(ctx, err)
	}
	return answer, nil
}

// A transmission is one call of SCardTransmit, in the link's thread.
type transmission struct {
	card    *scard.Card
	command []byte
	answer  []byte
}

func (t *transmission) run() error {
	defer clear(t.command) // it may have been a PIN
	answer, err := t.card.Transmit(t.command)
	if err != nil {
		return err
	}
	if len(answer) < 2 {
		// vpcd calls it a success when the card's link is cut.
		return fmt.Errorf("%w: answer of %d bytes", reader.ErrCardRemoved, len(answer))
	}
	// The binding's answer keeps a buffer of 64 KB alive.
	t.answer = bytes.Clone(answer)
	return nil
}

// Do runs f in the link's own goroutine; see [reader.Doer].
func (l *link) Do(ctx context.Context, f func() error) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	if l.thread.within.Load() {
		return f()
	}
	var thrown any
	// Only a command of f is cut short when ctx ends: between commands f minds
	// its context itself.
	err := l.thread.do(context.WithoutCancel(ctx), reader.ErrStuck, func() error {
		l.thread.within.Store(true)
		defer l.thread.within.Store(false)
		defer l.thread.leave()
		defer func() { thrown = recover() }()
		return f()
	})
	if l.left() {
		return l.die(err)
	}
	if thrown != nil {
		panic(thrown) // f's own: where it would have gone without us
	}
	return err
}

// ready returns why no call can be made.
func (l *link) ready(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return l.dead
	}
	return ctx.Err()
}

// do lets the thread make a call to the card. It translates the error, reconnects
// after another program's reset, and remembers what ends the link.
func (l *link) do(ctx context.Context, late error, f func() error) error {
	err := l.thread.do(ctx, late, func() error {
		err := f()
		if err == nil {
			return nil
		}
		if errors.Is(err, scard.ErrResetCard) || errors.Is(err, scard.ErrUnpoweredCard) {
			return l.reconnect()
		}
		var code scard.Error
		if errors.As(err, &code) {
			return talking(err)
		}
		return err
	})
	switch {
	case err == nil:
	case errors.Is(err, reader.ErrCardReset):
		l.hold(false)
	case errors.Is(err, reader.ErrFault), errors.Is(err, reader.ErrBusy) && !l.left():
	default:
		return l.die(err)
	}
	return err
}

// left reports whether the link's thread was abandoned.
func (l *link) left() bool {
	select {
	case <-l.thread.left:
		return true
	default:
		return false
	}
}

// reconnect takes the connection up again after another program's reset. It
// returns ErrCardReset where that succeeds: what state the card had is lost. It
// runs in the link's thread.
func (l *link) reconnect() error {
	before := l.ATR()
	if err := l.card.Reconnect(l.mode, scard.ProtocolAny, scard.LeaveCard); err != nil {
		return talking(err)
	}
	if err := l.learn(); err != nil {
		return err
	}
	if !bytes.Equal(before, l.ATR()) {
		return reader.ErrCardChanged
	}
	return reader.ErrCardReset
}

// removed finds out whether the card is gone after an error that does not say
// so: pcscd reports a failed exchange before it looks at the contact again.
func (l *link) removed(ctx context.Context, err error) error {
	if !errors.Is(err, reader.ErrFault) || l.insertion == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	if l.d.gone(ctx, l.slot, l.insertion) {
		return l.die(fmt.Errorf("%w: %w", reader.ErrCardRemoved, err))
	}
	return err
}

// Begin starts a transaction; see [reader.Link]. A transaction that is open
// already stays open, and one End ends it.
func (l *link) Begin(ctx context.Context) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	if l.hold(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	card := l.card
	err := l.do(ctx, reader.ErrBusy, func() error { return card.BeginTransaction() })
	if err != nil {
		l.hold(false)
	}
	return err
}

// End ends the transaction; see [reader.Link].
func (l *link) End() error {
	if !l.hold(false) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := l.ready(ctx); err != nil {
		return err
	}
	card := l.card
	return l.do(ctx, reader.ErrStuck, func() error { return card.EndTransaction(scard.LeaveCard) })
}

// Reset resets the card; see [reader.Link].
func (l *link) Reset(ctx context.Context) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return l.do(ctx, reader.ErrStuck, func() error {
		if err := l.card.Reconnect(l.mode, scard.ProtocolAny, scard.ResetCard); err != nil {
			return err
		}
		return l.learn()
	})
}

// Close disconnects; see [reader.Link].
func (l *link) Close() error {
	l.thread.stop()
	return nil
}
