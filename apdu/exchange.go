package apdu

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A Transmitter carries one command to a card and brings its answer back: a
// link of package reader, or a simulated card.
type Transmitter interface {
	// Transmit sends the bytes of one command APDU (or, over T=0, of one command
	// TPDU) and returns the answer, status word included. It does not follow
	// 61xx and 6Cxx and does not keep command; the answer is the caller's. The
	// error is one of transport: the reader, the connection, the card's absence.
	// After an error the command may or may not have reached the card.
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// Limits bound one exchange against a card or reader that would keep it going
// for ever. A zero field takes its value from [DefaultLimits].
type Limits struct {
	Rounds int           // commands sent for one exchange, GET RESPONSE and repeats included
	Bytes  int           // bytes of data collected over several 61xx
	Time   time.Duration // from the first command to the last answer
}

// DefaultLimits leave room for the longest answer that short commands can
// bring: 64 rounds, 16384 bytes. Generating a key pair is the slowest command a
// card knows; it fits 30 seconds.
func DefaultLimits() Limits {
	return Limits{Rounds: 64, Bytes: 16384, Time: 30 * time.Second}
}

// An Exchanger sends commands over a [Transmitter] and returns whole answers.
// It is not safe for use by several goroutines: a card has one conversation.
type Exchanger struct {
	t      Transmitter
	limits Limits
	t0     bool
	trace  *Trace
	now    func() time.Time
	sent   atomic.Int64
	buf    []byte // the encoded command, reused
}

// An Option changes how an [Exchanger] works.
type Option func(*Exchanger)

// WithLimits replaces [DefaultLimits] where the fields are not zero.
func WithLimits(l Limits) Option {
	return func(x *Exchanger) {
		if l.Rounds > 0 {
			x.limits.Rounds = l.Rounds
		}
		if l.Bytes > 0 {
			x.limits.Bytes = l.Bytes
		}
		if l.Time > 0 {
			x.limits.Time = l.Time
		}
	}
}

// WithTrace records every command that is sent, with its answer.
func WithTrace(t *Trace) Option { return func(x *Exchanger) { x.trace = t } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(x *Exchanger) { x.now = now } }

// WithT0 says that the transmitter hands T=0 TPDUs to the card unchanged
// (ISO 7816-3, 12.2): a command of case 4 then leaves without its Le, and the
// card says by 61xx what there is to fetch. PC/SC leaves that to the program.
func WithT0() Option { return func(x *Exchanger) { x.t0 = true } }

// NewExchanger returns an Exchanger over t.
func NewExchanger(t Transmitter, opts ...Option) *Exchanger {
	x := &Exchanger{t: t, limits: DefaultLimits(), now: time.Now}
	for _, o := range opts {
		o(x)
	}
	return x
}

// Sent returns, at any time, how many commands have really been sent since the Exchanger was
// made, GET RESPONSE and repeats with another Le included.
func (x *Exchanger) Sent() int { return int(x.sent.Load()) }

// Exchange sends c and returns the card's answer:
//
//   - After 61xx it fetches the rest by GET RESPONSE, as often as the card
//     says, and returns all the data with the last status word.
//   - After 6Cxx, with which a card refuses a command for its Le alone, it
//     sends the command once more with the Le the card named. A command that has
//     data and no Le is not repeated; its 6Cxx is the answer.
//
// The data of the answer is the caller's. The error is the transmitter's, or
// wraps [ErrCommand], [ErrGarbage] or, beyond the [Limits], [ErrEndless]; a
// status word is never an error.
func (x *Exchanger) Exchange(ctx context.Context, c Command) (Response, error) {
	t0 := x.t0 && c.Case() == 4 && !c.extended()
	first := c
	if t0 {
		first.Le = 0
	}
	var (
		start = x.now()
		next  = first
		all   []byte // collected over several 61xx
		fixed bool   // next has its Le from a 6Cxx
	)
	for round := 1; ; round++ {
		if round > x.limits.Rounds {
			return Response{}, fmt.Errorf("%w: %d rounds", ErrEndless, x.limits.Rounds)
		}
		if round > 1 && x.now().Sub(start) > x.limits.Time {
			return Response{}, fmt.Errorf("%w: %d rounds in %s", ErrEndless, round-1, x.limits.Time)
		}
		r, err := x.round(ctx, next)
		if err != nil {
			return Response{}, err
		}
		if more, ok := r.Status.More(); ok {
			all = append(all, r.Data...)
			if len(all) > x.limits.Bytes {
				return Response{}, fmt.Errorf("%w: more than %d bytes", ErrEndless, x.limits.Bytes)
			}
			next, fixed = getResponse(c.CLA, more), false
			continue
		}
		if le, ok := r.Status.ExactLe(); ok && (next.Le > 0 || len(next.Data) == 0) {
			if fixed {
				return Response{}, fmt.Errorf("%w: 6Cxx again", ErrEndless)
			}
			next.Le, fixed = le, true
			continue
		}
		if all != nil {
			if len(all)+len(r.Data) > x.limits.Bytes {
				return Response{}, fmt.Errorf("%w: more than %d bytes", ErrEndless, x.limits.Bytes)
			}
			r.Data = append(all, r.Data...)
		}
		return r, nil
	}
}

// getResponse returns the command that fetches n more bytes. Of the class only
// the logical channel is kept: secure messaging and proprietary classes end
// with the command they belong to.
func getResponse(cla byte, n int) Command {
	if cla&0xE0 == 0 {
		cla &= 0x03
	} else {
		cla = 0
	}
	return Command{CLA: cla, INS: insGetResponse, Le: n}
}

// round sends one command and judges whether its answer is one.
func (x *Exchanger) round(ctx context.Context, c Command) (Response, error) {
	b, err := c.Append(x.buf[:0])
	if err != nil {
		return Response{}, err
	}
	x.buf = b
	x.sent.Add(1)
	start := x.now()
	raw, err := x.t.Transmit(ctx, b)
	clear(b) // it may have been a PIN
	if err != nil {
		x.trace.record(c, Response{}, err, start, x.now().Sub(start))
		return Response{}, err
	}
	r, err := ParseResponse(raw)
	if err == nil {
		switch {
		case !r.Status.Valid():
			err = fmt.Errorf("%w: status word %04X", ErrGarbage, uint16(r.Status))
		case len(r.Data) > MaxShortLe && !c.extended():
			err = fmt.Errorf("%w: %d bytes for a short command", ErrGarbage, len(r.Data))
		}
	}
	x.trace.record(c, r, err, start, x.now().Sub(start))
	if err != nil {
		return Response{}, err
	}
	return r, nil
}
