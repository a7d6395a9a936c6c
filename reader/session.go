package reader

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"onecard/apdu"
)

// DefaultDeadline is how long one command may take before the reader counts as
// stuck. Generating a key pair, the slowest thing a card does, is done in half of
// it.
const DefaultDeadline = 20 * time.Second

// A Session is a conversation with one card. One goroutine owns it; only Close,
// Trace and the values fixed at opening may be used by others.
type Session struct {
	link     Link
	slot     SlotState
	x        *apdu.Exchanger
	trace    apdu.Trace
	deadline time.Duration
	watch    deadlines
	exchange atomic.Int64
	over     atomic.Pointer[error] // set when a function of Do was left behind: everything else is its own
}

// A SessionOption changes how a [Session] works.
type SessionOption func(*sessionOptions)

type sessionOptions struct {
	deadline time.Duration
	apdu     []apdu.Option
}

// WithDeadline replaces [DefaultDeadline].
func WithDeadline(d time.Duration) SessionOption {
	return func(o *sessionOptions) { o.deadline = d }
}

// WithExchange passes options to the session's [apdu.Exchanger], such as
// [apdu.WithLimits].
func WithExchange(opts ...apdu.Option) SessionOption {
	return func(o *sessionOptions) { o.apdu = append(o.apdu, opts...) }
}

// NewSession returns a session over an open link, which it owns from then on.
// [Watcher.Open] is the usual way to one.
func NewSession(link Link, slot SlotState, opts ...SessionOption) *Session {
	o := sessionOptions{deadline: DefaultDeadline}
	for _, opt := range opts {
		opt(&o)
	}
	s := &Session{link: link, slot: slot, deadline: o.deadline}
	x := []apdu.Option{apdu.WithTrace(&s.trace)}
	if l, ok := link.(T0Link); ok && l.T0() {
		x = append(x, apdu.WithT0())
	}
	s.x = apdu.NewExchanger(timed{s}, append(x, o.apdu...)...)
	return s
}

// timed gives every command that is really sent the session's deadline.
type timed struct{ s *Session }

func (t timed) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	ctx = t.s.watch.begin(ctx, t.s.deadline)
	defer t.s.watch.end(ctx)
	return t.s.link.Transmit(ctx, command)
}

// Exchange sends a command and returns the card's whole answer; see
// [apdu.Exchanger.Exchange].
func (s *Session) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if err := s.lost(); err != nil {
		return apdu.Response{}, fmt.Errorf("%s: %s: %w", s.slot.Slot, c.Name(), err)
	}
	s.exchange.Add(1)
	r, err := s.x.Exchange(ctx, c)
	if err != nil {
		return r, fmt.Errorf("%s: %s: %w", s.slot.Slot, c.Name(), err)
	}
	return r, nil
}

// Do runs f, in which the session's commands follow each other faster than
// outside: a reader that can hang needs a goroutine of its own, and changing to it
// costs some 30 microseconds a command, half of what the whole smart-card service
// costs. Errors are f's, and those of [Doer.Do]: after [ErrStuck] f is still
// running, so f must hand out what it has found only where Do returns nil.
func (s *Session) Do(ctx context.Context, f func() error) error {
	l, ok := s.link.(Doer)
	if !ok {
		return f()
	}
	if err := s.lost(); err != nil {
		return fmt.Errorf("%s: %w", s.slot.Slot, err)
	}
	var begun, returned atomic.Bool
	err := l.Do(ctx, func() error {
		begun.Store(true)
		defer returned.Store(true)
		return f()
	})
	if err != nil && begun.Load() && !returned.Load() {
		s.over.Store(&err)
	}
	return err
}

// lost returns why the session is over for everybody but a function of Do that was
// left behind.
func (s *Session) lost() error {
	if err := s.over.Load(); err != nil {
		return *err
	}
	return nil
}

// ATR returns the card's answer to reset.
func (s *Session) ATR() []byte { return s.link.ATR() }

// Slot returns the name of the slot.
func (s *Session) Slot() string { return s.slot.Slot }

// State returns the slot as it was when the session was opened, the number of
// the insertion included.
func (s *Session) State() SlotState { return s.slot }

// Begin starts a transaction, for at most the session's deadline of waiting;
// see [Link.Begin].
func (s *Session) Begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	if err := s.link.Begin(ctx); err != nil {
		return fmt.Errorf("%s: begin transaction: %w", s.slot.Slot, err)
	}
	return nil
}

// End ends the transaction.
func (s *Session) End() error {
	if err := s.link.End(); err != nil {
		return fmt.Errorf("%s: end transaction: %w", s.slot.Slot, err)
	}
	return nil
}

// Reset resets the card: PIN, keys and selection are lost.
func (s *Session) Reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	if err := s.link.Reset(ctx); err != nil {
		return fmt.Errorf("%s: reset card: %w", s.slot.Slot, err)
	}
	return nil
}

// Control sends a control code to the reader, for as long as ctx lives; see
// [ControlLink]. The error wraps [ErrNoControl] for a reader that has no functions
// of its own.
func (s *Session) Control(ctx context.Context, code uint32, data []byte) ([]byte, error) {
	l, ok := s.link.(ControlLink)
	if !ok {
		return nil, fmt.Errorf("%s: control: %w", s.slot.Slot, ErrNoControl)
	}
	if err := s.lost(); err != nil {
		return nil, fmt.Errorf("%s: control: %w", s.slot.Slot, err)
	}
	answer, err := l.Control(ctx, code, data)
	if err != nil {
		return nil, fmt.Errorf("%s: control: %w", s.slot.Slot, err)
	}
	return answer, nil
}

// Close disconnects; see [Link.Close].
func (s *Session) Close() error {
	s.watch.stop()
	if err := s.link.Close(); err != nil {
		return fmt.Errorf("%s: close: %w", s.slot.Slot, err)
	}
	return nil
}

// Exchanges returns how many commands were exchanged, each counted once.
func (s *Session) Exchanges() int { return int(s.exchange.Load()) }

// Commands returns how many commands were really sent to the card, GET RESPONSE
// and repeats with another Le included.
func (s *Session) Commands() int { return s.x.Sent() }

// Trace returns the record of what was exchanged; its data is masked.
func (s *Session) Trace() *apdu.Trace { return &s.trace }
