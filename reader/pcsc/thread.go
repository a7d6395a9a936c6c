package pcsc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"

	"onecard/reader"
)

// A thread makes the calls of one PC/SC context, one after another, in a
// goroutine of its own. Whoever waits for a call stops waiting when its time is
// over; the thread is abandoned then, and ends with release after the call has
// come back.
type thread struct {
	d    *Driver
	slot string

	turn    chan struct{} // holds one value while no call is in progress
	calls   chan func() error
	results chan error
	left    chan struct{} // closed by abandon
	ended   chan struct{} // closed when nothing runs any more

	late    atomic.Pointer[error] // why the thread was abandoned
	within  atomic.Bool           // a function of Link.Do runs in the thread: its calls are made in place
	release func()                // of the thread alone; nil before there is something to release
	place   *place                // of the thread alone: the context of the calls that are made in place
}

// A place watches the context of calls that are made in place. Commands in a row have
// the same, so that it is watched once for all.
type place struct {
	ctx   context.Context
	stop  func() bool
	late  error // what a call that is cut short returns; set before each
	state atomic.Int32
}

// The states of a [place].
const (
	placeIdle    = iota
	placeCalling // a call is in progress
	placeLeft    // and was abandoned
)

// start starts a thread for a slot, unless too many calls to the slot hang.
func (d *Driver) start(slot string) (*thread, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.abandoned[slot]; a.calls >= maxAbandoned {
		return nil, fmt.Errorf("%w: %d earlier calls hang", a.err, a.calls)
	}
	t := &thread{
		d: d, slot: slot,
		turn:    make(chan struct{}, 1),
		calls:   make(chan func() error),
		results: make(chan error),
		left:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	t.turn <- struct{}{}
	if d.threads++; d.threads == 1 {
		d.idle = make(chan struct{})
	}
	go t.run() // Driver.Close waits for it
	return t, nil
}

func (t *thread) run() {
	defer t.end()
	deepen()
	for f := range t.calls {
		err := guarded(f)
		select {
		case t.results <- err:
		case <-t.left:
			return
		}
	}
}

// deepen makes the stack of the calling goroutine as large as reading a card
// needs, once, while no card waits: growing and copying it step by step takes as
// long as a third of a command.
//
//go:noinline
func deepen() {
	var room [24 << 10]byte
	runtime.KeepAlive(&room)
}

func (t *thread) end() {
	if t.release != nil {
		_ = guarded(func() error { t.release(); return nil })
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	select {
	case <-t.left:
		if a := t.d.abandoned[t.slot]; a.calls > 1 {
			a.calls--
			t.d.abandoned[t.slot] = a
		} else {
			delete(t.d.abandoned, t.slot)
		}
	default:
	}
	if t.d.threads--; t.d.threads == 0 {
		close(t.d.idle)
	}
	close(t.ended)
}

// guarded calls f and turns a panic of the binding, which has several for states
// it does not expect, into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the PC/SC binding gave up: %v", reader.ErrFault, p)
		}
	}()
	return f()
}

// do lets the thread call f and waits for it until ctx ends. Then the thread is
// abandoned: this call and all later ones return late where a deadline passed,
// the context's error where it was cancelled. f must not touch what its caller
// uses after an error.
func (t *thread) do(ctx context.Context, late error, f func() error) error {
	if t.within.Load() {
		return t.inPlace(ctx, late, f)
	}
	select {
	case <-t.turn:
	default:
		select {
		case <-t.turn:
		case <-t.ended:
			return t.over()
		case <-t.left:
			return t.over()
		case <-ctx.Done():
			return over(ctx, late) // another call of the same link is in progress
		}
	}
	t.calls <- f // the thread waits for it as long as there are turns
	select {
	case err := <-t.results:
		t.turn <- struct{}{}
		return err
	case <-t.left: // by stop; the turn is never given back
		return t.over()
	case <-ctx.Done():
		return t.abandon(over(ctx, late), late)
	}
}

// inPlace is do for a caller that is in the thread already. Who is abandoned here
// is whoever waits for the caller.
func (t *thread) inPlace(ctx context.Context, late error, f func() error) error {
	select {
	case <-t.left:
		return t.over()
	default:
	}
	p := t.place
	if p == nil || reflect.TypeOf(ctx).Kind() != reflect.Pointer || p.ctx != ctx {
		t.leave()
		p = &place{ctx: ctx}
		p.stop = context.AfterFunc(ctx, func() {
			if p.state.CompareAndSwap(placeCalling, placeLeft) {
				_ = t.abandon(over(p.ctx, p.late), p.late)
			}
		})
		t.place = p
	}
	p.late = late
	p.state.Store(placeCalling)
	if ctx.Err() != nil && p.state.CompareAndSwap(placeCalling, placeLeft) {
		// It ended before anybody could be told of this call.
		return t.abandon(over(ctx, late), late)
	}
	err := guarded(f)
	if !p.state.CompareAndSwap(placeCalling, placeIdle) {
		return over(ctx, late) // too late: nobody waits any more
	}
	return err
}

// leave ends the watch of calls in place.
func (t *thread) leave() {
	if t.place != nil {
		t.place.stop()
		t.place = nil
	}
}

// abandon leaves the call in progress to itself. Later calls return err; late is
// what is said of the slot while too many of its calls hang.
func (t *thread) abandon(err, late error) error {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	select {
	case <-t.left:
	case <-t.ended:
	default:
		t.late.Store(&err)
		t.d.abandoned[t.slot] = abandoned{t.d.abandoned[t.slot].calls + 1, late}
		close(t.left)
	}
	return err
}

// over returns the error for a wait that ctx ended.
func over(ctx context.Context, late error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", late, ctx.Err())
	}
	return ctx.Err()
}

// over returns the error of calls to a thread that is no more.
func (t *thread) over() error {
	if err := t.late.Load(); err != nil {
		return *err
	}
	return reader.ErrClosed
}

// stop ends the thread when the call in progress has come back, and waits for
// that for a moment. It may be called again.
func (t *thread) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	select {
	case <-t.turn:
		close(t.calls) // nobody else has the turn, and it is not given back
	case <-t.left:
		return
	case <-t.ended:
		return
	case <-ctx.Done():
		_ = t.abandon(reader.ErrStuck, reader.ErrStuck)
		return
	}
	select {
	case <-t.ended:
	case <-ctx.Done():
		_ = t.abandon(reader.ErrStuck, reader.ErrStuck)
	}
}
