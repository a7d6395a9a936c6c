// Package hold keeps who is connected to the slots of a reader that this program drives
// by itself, where no smart-card service does it: who shares a card, who has it alone,
// whose transaction is open, and what each connection has to be told. Drivers build
// their links on it.
package hold

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"onecard/reader"
)

// A Board is the lock of a driver, and how waiting goroutines learn that something has
// changed. The zero value is ready.
type Board struct {
	sync.Mutex
	changed chan struct{} // closed and replaced at every change
}

// Changed returns a channel that is closed at the next change. The caller holds the
// board.
func (b *Board) Changed() <-chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Wake tells everybody to look. The caller holds the board.
func (b *Board) Wake() {
	if b.changed != nil {
		close(b.changed)
	}
	b.changed = make(chan struct{})
}

// A Slot is who is connected to one slot. The zero value has nobody. Its board is held
// for every method.
type Slot struct {
	links     map[*Link]bool
	exclusive *Link
	holder    *Link // of the transaction
	// Foreign: a program that is not here holds the card.
	Foreign bool
}

// Connect adds a link; it fails with [reader.ErrBusy] where another keeps it out.
func (s *Slot) Connect(b *Board, sharing reader.Sharing) (*Link, error) {
	if s.exclusive != nil || sharing == reader.Exclusive && s.InUse() {
		return nil, reader.ErrBusy
	}
	l := &Link{board: b, slot: s}
	if s.links == nil {
		s.links = make(map[*Link]bool)
	}
	s.links[l] = true
	if sharing == reader.Exclusive {
		s.exclusive = l
	}
	b.Wake()
	return l, nil
}

// InUse reports whether anybody is connected.
func (s *Slot) InUse() bool { return len(s.links) > 0 || s.Foreign }

// Connected reports whether a link is.
func (s *Slot) Connected() bool { return len(s.links) > 0 }

// Exclusive reports whether a link has the card alone.
func (s *Slot) Exclusive() bool { return s.exclusive != nil }

// End makes every link useless for this reason.
func (s *Slot) End(why error) {
	for l := range s.links {
		l.dead = why
	}
	clear(s.links)
	s.exclusive, s.holder = nil, nil
}

// WasReset lets every link but by know that the card was reset, or why it is useless
// since where lost is not nil.
func (s *Slot) WasReset(by *Link, lost error) {
	for l := range s.links {
		switch {
		case l == by:
		case lost != nil:
			l.dead = lost
		default:
			l.reset = true
		}
	}
}

// A Link is one connection: what [reader.Link] is built on. Its board is held for the
// methods that do not take it themselves.
type Link struct {
	board  *Board
	slot   *Slot
	dead   error // why it is useless
	reset  bool  // somebody reset the card and the owner does not know yet
	closed bool
}

// State returns why no command can be sent now, nil where one can; a reset is told once.
func (l *Link) State() error {
	switch {
	case l.closed:
		return reader.ErrClosed
	case l.dead != nil:
		return l.dead
	case l.reset:
		l.reset = false
		if l.slot.holder == l {
			l.slot.holder = nil
		}
		return reader.ErrCardReset
	}
	return nil
}

// Dead returns why the link is useless, nil where it is not.
func (l *Link) Dead() error { return l.dead }

// Ended returns why the link is over: it is useless, or was closed.
func (l *Link) Ended() error {
	if l.dead == nil && l.closed {
		return reader.ErrClosed
	}
	return l.dead
}

// Lost makes the link useless.
func (l *Link) Lost(why error) { l.dead = why }

// Die makes the link useless and gives back what it holds.
func (l *Link) Die(why error) {
	l.dead = why
	l.leave()
}

// Wait takes the board and waits until nobody else holds the card. The board is held
// where the error is nil.
func (l *Link) Wait(ctx context.Context) error {
	for {
		l.board.Lock()
		if err := l.State(); err != nil {
			l.board.Unlock()
			return err
		}
		if !l.slot.Foreign && (l.slot.holder == nil || l.slot.holder == l) {
			return nil
		}
		changed := l.board.Changed()
		l.board.Unlock()
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

// Begin starts a transaction; see [reader.Link]. It takes the board.
func (l *Link) Begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.Wait(ctx); err != nil {
		return err
	}
	l.slot.holder = l
	l.board.Unlock()
	return nil
}

// End ends the transaction; see [reader.Link]. It takes the board.
func (l *Link) End() error {
	l.board.Lock()
	defer l.board.Unlock()
	if l.slot.holder == l {
		l.slot.holder = nil
		l.board.Wake()
	}
	return l.State()
}

// Close disconnects; see [reader.Link]. It takes the board.
func (l *Link) Close() error {
	l.board.Lock()
	defer l.board.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.leave()
	l.board.Wake()
	return nil
}

// leave gives back what the link holds.
func (l *Link) leave() {
	delete(l.slot.links, l)
	if l.slot.exclusive == l {
		l.slot.exclusive = nil
	}
	if l.slot.holder == l {
		l.slot.holder = nil
	}
}
