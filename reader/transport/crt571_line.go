package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/reader"
)

const (
	repeats  = 3       // how often a frame is sent again
	maxNoise = 4 << 10 // bytes that are kept while waiting for silence
)

// A Timing is how long a unit may take. Times for the bytes on the line come on
// top.
type Timing struct {
	Ack   time.Duration // until a command is acknowledged
	Gap   time.Duration // the longest silence within a frame
	Query time.Duration // answers that nothing has to move for
	Motor time.Duration // moving a card, initialising
	Chip  time.Duration // a command to a chip
}

// DefaultTiming suits every known firmware.
var DefaultTiming = Timing{
	Ack: 500 * time.Millisecond, Gap: 200 * time.Millisecond,
	Query: 3 * time.Second, Motor: 25 * time.Second, Chip: 30 * time.Second,
}

// A verb is a command's CM and PM.
type verb struct{ cm, pm byte }

// The verbs that a barrier may use: nothing moves, and nothing changes.
var barriers = []verb{{cmStatus, '0'}, {cmVersion, '0'}, {cmStatus, '1'}, {cmSerial, '0'}, {cmBin, '0'}}

// receive returns the next thing on the line: a control byte, or a frame. Kind 0
// is a spoilt frame. It waits at most so long for a first byte, then [errQuiet].
func (u *CRT571) receive(ctx context.Context, wait time.Duration) (control byte, f frame, err error) {
	start := time.Now()
	for {
		for len(u.buf) > 0 && !u.noisy {
			switch c := u.buf[0]; c {
			case ack, nak, eot:
				u.buf = u.buf[1:]
				return c, frame{}, nil
			}
			f, n, err := parseFrame(u.buf)
			if err == nil {
				f.data = bytes.Clone(f.data)
				u.buf = u.buf[n:]
				return stx, f, nil
			}
			if errors.Is(err, errIncomplete) {
				break
			}
			if u.buf[0] == stx {
				// Noise, or a frame that noise has spoilt: wherever it ends, the
				// silence behind it tells.
				u.noisy = true
				break
			}
			u.buf = u.buf[1:]
		}
		limit := max(wait-time.Since(start), 0)
		if len(u.buf) > 0 {
			limit = u.timing.Gap
		}
		b, err := u.line.read(ctx, limit)
		if errors.Is(err, errQuiet) && len(u.buf) > 0 || len(u.buf)+len(b) > maxNoise {
			f, found := findFrame(append(u.buf, b...))
			u.buf, u.noisy = nil, false
			if found {
				f.data = bytes.Clone(f.data)
				return stx, f, nil
			}
			return 0, frame{}, nil
		}
		if err != nil {
			return 0, frame{}, err
		}
		u.buf = append(u.buf, b...)
	}
}

// exchange carries out one command and returns the data of its answer, ST0 to ST2
// taken off. Harmless says that carrying it out twice does no harm.
//
// No answer of an earlier command is taken for this one's. A unit carries out
// one command after the other; so where an earlier answer is still due, some
// other command is sent first, and when that is answered the earlier answer has
// come or never will.
func (u *CRT571) exchange(ctx context.Context, v verb, data []byte, limit time.Duration, harmless bool) ([]byte, error) {
	raw, err := frame{addr: u.addr, kind: kindCommand, cm: v.cm, pm: v.pm, data: data}.marshal()
	if err != nil {
		return nil, err
	}
	limit += u.transfer(len(raw)) + u.transfer(maxFrame)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if u.unsure {
		if err := u.synchronise(ctx); err != nil {
			return nil, fmt.Errorf("synchronise: %w", late(err))
		}
	}
	u.buf, u.noisy = nil, false
	u.line.drain() // nothing is under way
	data, err = u.roundTrip(ctx, v, raw, harmless)
	return data, late(err)
}

// late gives an ended deadline its meaning.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, reader.ErrReaderGone) {
		return fmt.Errorf("%w: %w", reader.ErrStuck, err)
	}
	return err
}

// transfer is how long n bytes take on the line, ten bits each.
func (u *CRT571) transfer(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(u.baud)
}

// due notes that an answer may still come.
func (u *CRT571) due(v verb) {
	u.unsure = true
	u.pending[v] = true
}

// synchronise makes the line clear: no answer is due after it.
func (u *CRT571) synchronise(ctx context.Context) error {
	if err := u.line.write(ctx, []byte{eot}); err != nil {
		return err
	}
	// At the beginning nothing is known of what a program before this one asked
	// for: then it takes two answers.
	need := 1
	if u.fresh {
		need = 2
	}
	for _, v := range barriers {
		if u.pending[v] {
			continue
		}
		u.buf, u.noisy = nil, false
		u.line.drain()
		raw, err := frame{addr: u.addr, kind: kindCommand, cm: v.cm, pm: v.pm}.marshal()
		if err != nil {
			return err
		}
		limit, cancel := context.WithTimeout(ctx, u.timing.Query+u.transfer(2*maxFrame))
		_, err = u.roundTrip(limit, v, raw, false)
		cancel()
		var refused *Error
		switch {
		case err == nil, errors.As(err, &refused):
			if need--; need == 0 {
				u.unsure, u.fresh = false, false
				clear(u.pending)
				return nil
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, reader.ErrReaderGone):
			return err
		}
	}
	return fmt.Errorf("%w: no answer to any query", reader.ErrStuck)
}

// roundTrip sends a command and waits for its answer.
func (u *CRT571) roundTrip(ctx context.Context, v verb, raw []byte, harmless bool) ([]byte, error) {
	var (
		sent, spoilt int
		acked        bool
		held         *frame // a fitting answer that came before the acknowledgement
		ackBy        time.Time
	)
	send := func() error {
		sent++
		ackBy = time.Now().Add(u.timing.Ack + u.transfer(len(raw)))
		return u.line.write(ctx, raw)
	}
	if err := send(); err != nil {
		u.due(v)
		return nil, err
	}
	for {
		wait := u.timing.Chip + u.timing.Motor // the context ends before
		if !acked {
			wait = max(time.Until(ackBy), 0)
		}
		control, f, err := u.receive(ctx, wait)
		switch {
		case errors.Is(err, errQuiet) && held != nil:
			// The acknowledgement was lost, the answer was not.
			return u.answer(*held)
		case errors.Is(err, errQuiet) && !acked && harmless && sent <= repeats:
			u.due(v) // two answers may come
			if err := send(); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, errQuiet):
			// Sending it again could move a second card: its answer decides.
			acked = true
			continue
		case err != nil:
			u.due(v)
			return nil, err
		}
		switch control {
		case ack:
			acked, held = true, nil // what came before it was not its answer
		case nak:
			if acked {
				continue // noise: the command was understood
			}
			if sent > repeats {
				return nil, fmt.Errorf("%w: the unit understood none of %d frames", reader.ErrFault, sent)
			}
			if err := send(); err != nil {
				u.due(v)
				return nil, err
			}
		case 0: // spoilt
			if spoilt++; spoilt > repeats {
				u.due(v)
				return nil, fmt.Errorf("%w: %d answers came spoilt", reader.ErrFault, spoilt)
			}
			if err := u.line.write(ctx, []byte{nak}); err != nil {
				u.due(v)
				return nil, err
			}
		case stx:
			if f.addr != u.addr || f.kind == kindCommand {
				continue // another unit's, or an echo
			}
			if err := u.line.write(ctx, []byte{ack}); err != nil {
				u.due(v)
				return nil, err
			}
			if f.cm != v.cm || f.pm != v.pm {
				continue // late
			}
			if acked {
				return u.answer(f)
			}
			held = &f
		}
	}
}

// answer takes an answer apart.
func (u *CRT571) answer(f frame) ([]byte, error) {
	switch {
	case f.kind == kindSuccess && len(f.data) >= 3:
		status, err := parseStatus(f.data)
		if err != nil {
			return nil, err
		}
		u.status = status
		return f.data[3:], nil
	case (f.kind == kindFailure || f.kind == kindError) && len(f.data) >= 2:
		return nil, unitError(f.data[0], f.data[1])
	}
	return nil, fmt.Errorf("%w: answer of kind %02X with %d bytes", reader.ErrFault, f.kind, len(f.data))
}

func parseStatus(st []byte) (Status, error) {
	if st[0] < '0' || st[0] > '2' || st[1] < '0' || st[1] > '2' || st[2] < '0' || st[2] > '1' {
		return Status{}, fmt.Errorf("%w: status %X", reader.ErrFault, st[:3])
	}
	return Status{Card: reader.Position(st[0] - '0'), Hopper: reader.Level(st[1] - '0'), BinFull: st[2] == '1'}, nil
}
