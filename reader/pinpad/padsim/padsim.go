// Package padsim simulates a serial PIN pad by onecard's own profile
// (docs/readers.md, "A serial PIN pad"): it greets, asks a person who is a function,
// and seals what is typed. Faults are ordered by name.
package padsim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"onecard/reader/pinpad"
)

// A Fault is something that goes wrong.
type Fault string

// The faults.
const (
	Mute     Fault = "mute"      // answers nothing
	Garble   Fault = "garble"    // one bit of every first answer is wrong
	Noise    Fault = "noise"     // sends bytes of nobody before every answer
	OtherKey Fault = "other-key" // has another transport key
	Replay   Fault = "replay"    // sends the block of the entry before
	Alter    Fault = "alter"     // sends a block with a bit changed
)

// Faults lists them.
func Faults() []Fault { return []Fault{Mute, Garble, Noise, OtherKey, Replay, Alter} }

// ParseFault returns the fault of a name.
func ParseFault(name string) (Fault, error) {
	if f := Fault(name); slices.Contains(Faults(), f) {
		return f, nil
	}
	return "", fmt.Errorf("no fault %q", name)
}

// What a person may do beside typing digits.
var (
	ErrCancel  = errors.New("cancel pressed")
	ErrNothing = errors.New("nothing typed")
)

// Config is what a pad is.
type Config struct {
	Key    pinpad.TransportKey
	Faults []Fault
	// Person types: digits, or one of the errors above. It returns when ctx ends:
	// the desk has cancelled.
	Person func(ctx context.Context, prompt pinpad.Prompt) (digits string, err error)
	Random io.Reader // nil: crypto/rand
}

// A Pad is one simulated pad.
type Pad struct {
	config Config
	cipher pinpad.Cipher
	key    *pinpad.SessionKey
	desk   [pinpad.NonceSize]byte
	last   *[pinpad.BlockSize]byte
	sent   map[byte]int // frames by type
}

// New returns a pad.
func New(config Config) *Pad {
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if slices.Contains(config.Faults, OtherKey) {
		config.Key[0] ^= 0xFF
	}
	return &Pad{config: config, sent: make(map[byte]int)}
}

func (p *Pad) has(f Fault) bool { return slices.Contains(p.config.Faults, f) }

// Serve answers on a line until ctx ends or the line does. The line is closed.
func (p *Pad) Serve(ctx context.Context, line io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(closed); line.Close() })
	defer func() {
		cancel()
		if !stop() {
			<-closed
		}
	}()
	frames := make(chan pinpad.Frame)
	ended := make(chan error, 1)
	work.Go(func() { ended <- receive(ctx, line, frames) })
	var typed chan pinpad.Frame
	stopPerson := context.CancelFunc(func() {})
	defer func() { stopPerson() }()
	for {
		select {
		case err := <-ended:
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case f := <-frames:
			switch f.Type {
			case pinpad.Hello:
				answer, err := p.greet(f.Body)
				if err != nil {
					continue // silence: the desk asks again
				}
				p.send(line, answer)
			case pinpad.Ask:
				if p.key == nil || len(f.Body) != 4 {
					continue
				}
				if typed == nil {
					typed, stopPerson = p.begin(ctx, &work, f.Body)
				}
				p.send(line, pinpad.Frame{Type: pinpad.Asking})
			case pinpad.Cancel:
				stopPerson()
			}
		case f := <-typed:
			stopPerson()
			typed, p.key = nil, nil // one entry for each greeting
			p.send(line, f)
		}
	}
}

// receive hands on what comes.
func receive(ctx context.Context, line io.Reader, frames chan<- pinpad.Frame) error {
	var received []byte
	buffer := make([]byte, 256)
	for {
		n, err := line.Read(buffer)
		received = append(received, buffer[:n]...)
		for {
			f, rest, ok := pinpad.NextFrame(received)
			received = rest
			if !ok {
				break
			}
			select {
			case frames <- pinpad.Frame{Type: f.Type, Body: slices.Clone(f.Body)}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// send sends an answer with the faults that were ordered. A line that is gone ends
// the receiver.
func (p *Pad) send(line io.Writer, f pinpad.Frame) {
	if p.has(Mute) {
		return
	}
	b := f.Bytes()
	p.sent[f.Type]++
	if p.has(Garble) && p.sent[f.Type] == 1 && f.Type != pinpad.Entry {
		b[len(b)-1] ^= 1
	}
	if p.has(Noise) {
		b = append([]byte{0x00, 0x02, 0x03, 0x7F, 0x02, 0xFF}, b...)
	}
	_, _ = line.Write(b)
}

func (p *Pad) greet(body []byte) (pinpad.Frame, error) {
	if len(body) != 1+pinpad.NonceSize {
		return pinpad.Frame{}, pinpad.ErrWire
	}
	p.cipher, p.desk = pinpad.Cipher(body[0]), [pinpad.NonceSize]byte(body[1:])
	var own [pinpad.NonceSize]byte
	if _, err := io.ReadFull(p.config.Random, own[:]); err != nil {
		return pinpad.Frame{}, err
	}
	key, err := pinpad.NewSessionKey(p.cipher, p.config.Key, p.desk, own)
	if err != nil {
		return pinpad.Frame{}, err
	}
	p.key = &key
	check := key.Check()
	return pinpad.Frame{Type: pinpad.Greeting, Body: append(append([]byte{byte(p.cipher)}, own[:]...), check[:]...)}, nil
}

// begin lets the person type until the desk cancels.
func (p *Pad) begin(ctx context.Context, work *sync.WaitGroup, ask []byte) (chan pinpad.Frame, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	typed := make(chan pinpad.Frame, 1)
	key, desk := *p.key, p.desk
	work.Go(func() { typed <- p.entry(ctx, key, desk, ask) })
	return typed, cancel
}

// entry asks the person and seals what is typed.
func (p *Pad) entry(ctx context.Context, key pinpad.SessionKey, desk [pinpad.NonceSize]byte, ask []byte) pinpad.Frame {
	outcome := func(o byte) pinpad.Frame { return pinpad.Frame{Type: pinpad.Entry, Body: []byte{o}} }
	digits, err := p.config.Person(ctx, pinpad.Prompt(ask[0]))
	switch {
	case errors.Is(err, ErrCancel), ctx.Err() != nil:
		return outcome(pinpad.Cancelled)
	case err != nil:
		return outcome(pinpad.TimedOut)
	case len(digits) < int(ask[1]) || len(digits) > int(ask[2]):
		return outcome(pinpad.WrongLength)
	}
	sealed, err := key.Seal([]byte(digits), desk)
	if err != nil {
		return outcome(pinpad.WrongLength)
	}
	now := sealed
	if p.has(Replay) && p.last != nil {
		sealed = *p.last
	}
	if p.has(Alter) {
		sealed[pinpad.BlockSize-1] ^= 0x01
	}
	p.last = &now
	return pinpad.Frame{Type: pinpad.Entry, Body: append([]byte{pinpad.Entered}, sealed[:]...)}
}
