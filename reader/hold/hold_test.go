package hold_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"onecard/reader"
	"onecard/reader/hold"
)

func connect(t *testing.T, b *hold.Board, s *hold.Slot, sharing reader.Sharing) *hold.Link {
	t.Helper()
	b.Lock()
	defer b.Unlock()
	l, err := s.Connect(b, sharing)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func state(b *hold.Board, l *hold.Link) error {
	b.Lock()
	defer b.Unlock()
	return l.State()
}

func TestSharing(t *testing.T) {
	var b hold.Board
	var s hold.Slot
	one := connect(t, &b, &s, reader.Shared)
	two := connect(t, &b, &s, reader.Shared)
	b.Lock()
	_, err := s.Connect(&b, reader.Exclusive)
	b.Unlock()
	if !errors.Is(err, reader.ErrBusy) {
		t.Errorf("alone beside others: %v", err)
	}
	if err := errors.Join(one.Close(), one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	alone := connect(t, &b, &s, reader.Exclusive)
	b.Lock()
	_, err = s.Connect(&b, reader.Shared)
	inUse, exclusive := s.InUse(), s.Exclusive()
	b.Unlock()
	if !errors.Is(err, reader.ErrBusy) || !inUse || !exclusive {
		t.Errorf("beside one that is alone: %v, %t, %t", err, inUse, exclusive)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
	if b.Lock(); s.InUse() || s.Exclusive() {
		t.Error("somebody is left")
	}
	b.Unlock()
	if err := state(&b, alone); !errors.Is(err, reader.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A transaction keeps others waiting until it ends, its link does, or their time is over.
func TestTransaction(t *testing.T) {
	var b hold.Board
	var s hold.Slot
	one, two := connect(t, &b, &s, reader.Shared), connect(t, &b, &s, reader.Shared)
	for name, end := range map[string]func() error{
		"end": one.End,
		"reset": func() error {
			b.Lock()
			defer b.Unlock()
			s.WasReset(two, nil)
			if err := one.State(); !errors.Is(err, reader.ErrCardReset) {
				t.Errorf("reset: %v", err)
			}
			b.Wake()
			return one.State()
		},
	} {
		if err := one.Begin(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		late, stop := context.WithDeadline(t.Context(), time.Now())
		if err := two.Wait(late); !errors.Is(err, reader.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: its time is over: %v", name, err)
		}
		stop()
		began := make(chan error)
		go func() { began <- two.Begin(t.Context()) }()
		if err := end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-began; err != nil {
			t.Errorf("%s: the next one: %v", name, err)
		}
		if err := two.End(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := one.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() { waits <- two.Begin(t.Context()) }()
	b.Lock()
	s.End(reader.ErrCardRemoved)
	b.Wake()
	b.Unlock()
	if err := <-waits; !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("the card has gone: %v", err)
	}
	if err := one.End(); !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("the end of what was lost: %v", err)
	}
}

// Whoever is not here keeps all out; a mute card after a reset ends the others.
func TestForeignAndMute(t *testing.T) {
	var b hold.Board
	var s hold.Slot
	one, two := connect(t, &b, &s, reader.Shared), connect(t, &b, &s, reader.Shared)
	b.Lock()
	s.Foreign = true
	b.Unlock()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := one.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	b.Lock()
	s.Foreign = false
	s.WasReset(one, reader.ErrMute)
	b.Unlock()
	if err := state(&b, one); err != nil {
		t.Errorf("who reset it: %v", err)
	}
	if err := state(&b, two); !errors.Is(err, reader.ErrMute) {
		t.Errorf("the other: %v", err)
	}
	b.Lock()
	one.Die(reader.ErrStuck)
	b.Unlock()
	if err := state(&b, one); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("%v", err)
	}
}
