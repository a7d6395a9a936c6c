package pinpad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"onecard/fault"
	"onecard/reader/serial"
)

// A Serial pad is a pad of its own on a serial line, which sends the PIN encrypted
// with a key that is another one for every entry. Make it with [NewSerial].
type Serial struct {
	open   func() (serial.Line, error)
	cipher Cipher
	key    TransportKey
	turn   chan struct{} // one token: whose entry it is
	random io.Reader
}

// NewSerial returns the pad on a port. The port is opened for each entry, so that
// the pad may be unplugged in between.
func NewSerial(open serial.Opener, port string, baud int, c Cipher, key TransportKey) *Serial {
	return &Serial{
		open: func() (serial.Line, error) { return open(port, baud) }, cipher: c, key: key,
		turn: make(chan struct{}, 1), random: rand.Reader,
	}
}

// Kind implements [Pad].
func (p *Serial) Kind() string { return "serial" }

// How long the pad has for an answer that needs nobody, and how often it is asked:
// a frame that was damaged is answered by silence.
const (
	answerTime = time.Second
	askTimes   = 3
)

// Enter implements [Pad].
func (p *Serial) Enter(ctx context.Context, prompt Prompt) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, EntryTime)
	defer cancel()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("serial pad: %w", ErrTimeout)
	}
	line, err := p.open()
	if err != nil {
		return nil, fmt.Errorf("serial pad: %w: %v", ErrNone, err)
	}
	defer line.Close()
	digits, err := p.enter(ctx, &conversation{line: line}, prompt)
	if err != nil {
		return nil, fmt.Errorf("serial pad: %w", err)
	}
	return digits, nil
}

func (p *Serial) enter(ctx context.Context, c *conversation, prompt Prompt) ([]byte, error) {
	var desk [NonceSize]byte
	if _, err := io.ReadFull(p.random, desk[:]); err != nil {
		return nil, err
	}
	greeting, err := c.ask(ctx, Frame{Hello, append([]byte{byte(p.cipher)}, desk[:]...)}, Greeting)
	if err != nil {
		return nil, err
	}
	if len(greeting.Body) != 1+NonceSize+CheckSize || Cipher(greeting.Body[0]) != p.cipher {
		return nil, fmt.Errorf("greeting: %w", ErrWire)
	}
	key, err := NewSessionKey(p.cipher, p.key, desk, [NonceSize]byte(greeting.Body[1:]))
	if err != nil {
		return nil, err
	}
	if key.Check() != [CheckSize]byte(greeting.Body[1+NonceSize:]) {
		return nil, fmt.Errorf("the pad has another key: %w", ErrWire)
	}
	seconds := byte(EntryTime / time.Second)
	// Whoever types fast is done before the desk has heard that it was asked.
	entry, err := c.ask(ctx, Frame{Ask, []byte{byte(prompt), 4, 14, seconds}}, Asking, Entry)
	if err == nil && entry.Type == Asking {
		entry, err = c.await(ctx, Entry)
	}
	if err != nil {
		// The holder is told, as far as the line goes, that nobody waits any more.
		_, _ = c.line.Write(Frame{Type: Cancel}.Bytes())
		return nil, err
	}
	switch {
	case len(entry.Body) == 1 && entry.Body[0] == Cancelled:
		return nil, ErrCancelled
	case len(entry.Body) == 1 && entry.Body[0] == TimedOut:
		return nil, ErrTimeout
	case len(entry.Body) == 1 && entry.Body[0] == WrongLength:
		return nil, ErrLength
	case len(entry.Body) == 1+BlockSize && entry.Body[0] == Entered:
		return key.Open([BlockSize]byte(entry.Body[1:]), desk)
	}
	return nil, fmt.Errorf("entry: %w", ErrWire)
}

// A conversation is what was received of a line and not yet understood.
type conversation struct {
	line     serial.Line
	received []byte
}

// ask sends a frame until its answer comes, at most askTimes.
func (c *conversation) ask(ctx context.Context, f Frame, want ...byte) (Frame, error) {
	var err error
	for range askTimes {
		if _, err = c.line.Write(f.Bytes()); err != nil {
			return Frame{}, fmt.Errorf("%w: %v", ErrNone, err)
		}
		var answer Frame
		once, cancel := context.WithTimeout(ctx, answerTime)
		answer, err = c.await(once, want...)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrTimeout) {
			return answer, err
		}
	}
	return Frame{}, fmt.Errorf("%w: it does not answer", ErrNone)
}

// await reads until a frame of one of these types has come; others, late or repeated, are
// passed over. The error is [ErrTimeout] or [ErrCancelled] where ctx ends, and
// [ErrNone] where the line does.
func (c *conversation) await(ctx context.Context, want ...byte) (Frame, error) {
	var buffer [256]byte
	defer clear(buffer[:])
	for {
		f, rest, ok := NextFrame(c.received)
		c.received = rest
		switch {
		case ok && slices.Contains(want, f.Type):
			return f, nil
		case ok:
			continue
		}
		if err := ctx.Err(); err != nil {
			return Frame{}, ended(err)
		}
		n, err := c.line.Read(buffer[:])
		if err != nil && !errors.Is(err, serial.ErrNothing) {
			return Frame{}, fmt.Errorf("%w: %v", ErrNone, err)
		}
		c.received = append(c.received, buffer[:n]...)
	}
}

// ended translates the end of a context.
func ended(err error) *fault.Error {
	if errors.Is(err, context.Canceled) {
		return ErrCancelled
	}
	return ErrTimeout
}
