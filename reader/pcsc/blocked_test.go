package pcsc

import (
	"context"
	"errors"
	"testing"
	"time"

	"onecard/fault"
	"onecard/reader"
)

// A reader that does not come back within the deadline is reported as stuck until
// it does.
func TestStuck(t *testing.T) {
	k := newDesk(t, reader.WithSessions(reader.WithDeadline(100*time.Millisecond)))
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	card.hang()
	_, err := s.Exchange(k.c, challenge)
	if !errors.Is(err, reader.ErrStuck) || fault.Of(err).Code != fault.ReaderStuck {
		t.Errorf("%v", err)
	}
	if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("afterwards: %v", err)
	}
	if err := s.End(); err != nil {
		t.Errorf("end without begin: %v", err)
	}
	for !k.until(reader.SlotChanged, slot0).Slot.Stuck {
	}
	check(t, s.Close())
	card.remove()
	k.until(reader.CardRemoved, slot0)
	insert(t, "ONECARD_VPCD_ADDR", atrB, nil)
	k.until(reader.CardInserted, slot0)
	if _, err := k.open(reader.Shared).Exchange(k.c, challenge); err != nil {
		t.Errorf("after the reader came back: %v", err)
	}
}

// A row of commands in Do has the same deadlines and the same errors, and its
// panic is its caller's.
func TestDo(t *testing.T) {
	k := newDesk(t, reader.WithSessions(reader.WithDeadline(100*time.Millisecond)))
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	exchange := func() error { _, err := s.Exchange(k.c, challenge); return err }
	check(t, s.Do(k.c, func() error {
		if err := s.Begin(k.c); err != nil {
			return err
		}
		if err := exchange(); err != nil {
			return err
		}
		return s.Do(k.c, s.End)
	}))
	own := errors.New("own")
	if err := s.Do(k.c, func() error { return own }); err != own {
		t.Errorf("%v", err)
	}
	func() {
		defer func() {
			if p := recover(); p != "own" {
				t.Errorf("panic %v", p)
			}
		}()
		_ = s.Do(k.c, func() error { panic("own") })
	}()
	check(t, exchange())

	card.hang()
	inside := make(chan error, 1)
	err := s.Do(k.c, func() error {
		err := exchange()
		inside <- err
		return err
	})
	if !errors.Is(err, reader.ErrStuck) || len(inside) != 0 {
		t.Errorf("%v; %d", err, len(inside))
	}
	if err := exchange(); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("afterwards: %v", err)
	}
	card.remove()
	if err := <-inside; !errors.Is(err, reader.ErrStuck) {
		t.Errorf("inside: %v", err)
	}
}

// The end of the context ends a command in Do at once.
func TestDoCancelled(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	card.hang()
	ctx, cancel := context.WithCancel(k.c)
	done := make(chan error)
	go func() {
		done <- s.Do(ctx, func() error { _, err := s.Exchange(ctx, challenge); return err })
	}()
	<-card.arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Another program's transaction keeps everybody else waiting, connecting
// included, and only so long.
func TestBlockedByTransaction(t *testing.T) {
	k := newDesk(t, reader.WithOpenDeadline(200*time.Millisecond), reader.WithSessions(reader.WithDeadline(200*time.Millisecond)))
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	// The deadlines are for what has to fail; a busy machine may miss them at what has
	// not, and is asked again.
	patient := func() *reader.Session {
		t.Helper()
		for {
			s, err := k.w.Open(k.c, slot0, reader.Shared)
			if err == nil {
				return s
			}
			if !errors.Is(err, reader.ErrStuck) && !errors.Is(err, reader.ErrBusy) {
				t.Fatal(err)
			}
			check(t, k.idle())
		}
	}
	first, second := patient(), patient()
	o := newAnother(t)
	o.do("connect", slot0)
	o.do("begin")
	if err := first.Begin(k.c); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("begin: %v", err)
	}
	if _, err := second.Exchange(k.c, challenge); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("exchange: %v", err)
	}
	for range maxAbandoned + 2 {
		if _, err := k.w.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrBusy) && !errors.Is(err, reader.ErrStuck) {
			t.Errorf("open: %v", err)
		}
	}
	k.d.mu.Lock()
	hanging := k.d.abandoned[slot0].calls
	k.d.mu.Unlock()
	if hanging > maxAbandoned {
		t.Errorf("%d calls hang", hanging)
	}
	check(t, first.Close())
	check(t, second.Close())
	o.do("end")
	check(t, k.idle())
	for done := false; !done; {
		s := patient()
		_, err := s.Exchange(k.c, challenge)
		if done = err == nil; !done && !errors.Is(err, reader.ErrStuck) {
			t.Fatalf("afterwards: %v", err)
		}
		check(t, s.Close())
		check(t, k.idle())
	}
}

// idle waits until no call to the card's slot hangs.
func (k *desk) idle() error {
	for {
		k.d.mu.Lock()
		hanging := k.d.abandoned[slot0].calls
		k.d.mu.Unlock()
		if hanging == 0 {
			return nil
		}
		if _, ok := k.next(); !ok {
			return k.c.Err()
		}
	}
}

// A command that meets another's transaction waits for its end and is carried out
// once.
func TestCommandWaitsForTransaction(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	o := newAnother(t)
	o.do("connect", slot0)
	o.do("begin")
	done := make(chan error)
	go func() {
		_, err := s.Exchange(k.c, challenge)
		done <- err
	}()
	o.do("atr")
	o.do("end")
	check(t, <-done)
	if card.seen() != 1 {
		t.Errorf("%d commands", card.seen())
	}
}
