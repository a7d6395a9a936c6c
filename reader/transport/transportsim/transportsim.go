// Package transportsim is a motorised card unit of the CRT-571 family in memory:
// gate, motor, contacts, field, SAM slots, hopper and reject bin, speaking the
// family's serial protocol on whatever line it is served. It has its own reading of
// that protocol and shares no code with the driver.
//
//	u := transportsim.New(transportsim.WithHopper(card))
//	go u.Serve(ctx, line)
//
// [Unit.Insert] and [Unit.Pull] are the holder's hands, [Unit.PowerFail] is the
// plug, and [Unit.Order] makes the unit fail.
//
// Where the specification leaves a byte to the firmware, this unit does so: ten
// sensors; the bin's counter as three decimal digits; 60 30 answers 'A', ATQA, length
// of the UID, UID, SAK and ATS.
package transportsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A Chip is one interface of a card, or a PSAM. Its methods are never called at the
// same time.
type Chip interface {
	PowerOn() (atr []byte)
	PowerOff()
	Transmit(command []byte) (response []byte)
}

// A Card is what the motor moves. Either interface may be nil; so may both, for a
// card of plain plastic.
type Card struct {
	Contact Chip
	Field   Chip // its PowerOn gives the answer to reset of a PC/SC reader
}

// Positions of the card.
const (
	posNone = '0'
	posGate = '1'
	posIn   = '2'
)

// A Unit is one simulated unit. It is safe for use by several goroutines.
type Unit struct {
	version, serial string
	binSize         int
	addr            byte

	mu       sync.Mutex
	ready    bool // initialised
	entry    bool
	pos      byte
	place    byte // PM of the last move, of a card inside
	card     *Card
	chip     Chip // under power
	field    Chip
	hopper   []*Card
	bin      []*Card
	counter  int
	sams     map[byte]Chip
	samPower map[byte]bool
	sam      byte
	faults   []Fault
	letter   byte // of failures
	jammed   bool
	commands int
	changed  chan struct{}
}

// An Option changes how [New] makes a unit.
type Option func(*Unit)

// WithHopper fills the hopper; the first card is dispensed first. Three cards or
// less are few.
func WithHopper(cards ...*Card) Option { return func(u *Unit) { u.hopper = slices.Clone(cards) } }

// WithSAM puts a PSAM into slot n, from 0. There are four slots.
func WithSAM(n int, chip Chip) Option { return func(u *Unit) { u.sams['0'+byte(n)] = chip } }

// WithBin gives the number of cards that fit the reject bin; the default is 20.
func WithBin(size int) Option { return func(u *Unit) { u.binSize = size } }

// WithAddress gives the unit's address on the line, 0 to 15.
func WithAddress(addr byte) Option { return func(u *Unit) { u.addr = addr & 0x0F } }

// WithLetterE lets the unit spell failures 'E', as some firmware does.
func WithLetterE() Option { return func(u *Unit) { u.letter = 'E' } }

// WithInside begins with a card inside, as after a power failure.
func WithInside(c *Card) Option { return func(u *Unit) { u.card, u.pos, u.place = c, posIn, '0' } }

// New returns a unit that was just switched on.
func New(opts ...Option) *Unit {
	u := &Unit{
		version: "CRT571-SIM V1.0", serial: "SIM0000001", binSize: 20,
		pos: posNone, sams: make(map[byte]Chip), samPower: make(map[byte]bool), letter: 'N', changed: make(chan struct{}),
	}
	for _, o := range opts {
		o(u)
	}
	return u
}

// ErrHand is wrapped by the errors of what a hand cannot do.
var ErrHand = errors.New("card unit simulator")

// wake tells waiting goroutines to look. The caller holds mu.
func (u *Unit) wake() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// Insert pushes a card into the gate. It fails where the gate is shut or a card is
// in the way.
func (u *Unit) Insert(c *Card) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ready || !u.entry || u.pos != posNone {
		return fmt.Errorf("%w: the gate is shut", ErrHand)
	}
	u.card, u.pos, u.place = c, posIn, '0'
	u.wake()
	return nil
}

// InsertWhenOpen waits for the gate to be open and inserts a card.
func (u *Unit) InsertWhenOpen(ctx context.Context, c *Card) error {
	for {
		u.mu.Lock()
		changed := u.changed
		u.mu.Unlock()
		if err := u.Insert(c); err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Pull takes the card out by hand, from the gate or by force from inside.
func (u *Unit) Pull() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pos == posNone {
		return fmt.Errorf("%w: no card", ErrHand)
	}
	u.lose()
	u.wake()
	return nil
}

// lose takes the card away. The caller holds mu.
func (u *Unit) lose() {
	u.release()
	u.card, u.pos = nil, posNone
}

// release takes the power off the card. The caller holds mu.
func (u *Unit) release() {
	if u.chip != nil {
		u.chip.PowerOff()
	}
	if u.field != nil {
		u.field.PowerOff()
	}
	u.chip, u.field = nil, nil
}

// PowerFail takes the power away and gives it back: every chip forgets, the card
// stays where it is, and the unit has to be initialised.
func (u *Unit) PowerFail() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.powerFail()
}

func (u *Unit) powerFail() {
	u.release()
	for n, on := range u.samPower {
		if on {
			u.sams[n].PowerOff()
		}
	}
	clear(u.samPower)
	u.ready, u.entry, u.sam = false, false, 0
	u.wake()
}

// A State is what a person who looks at the unit sees.
type State struct {
	Ready    bool // initialised
	Open     bool // the gate lets a card in
	Position byte // '0' no card, '1' at the gate, '2' inside
	Hopper   int
	Bin      int
	Counter  int
	Commands int // frames that were carried out
}

// State returns what is.
func (u *Unit) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return State{u.ready, u.entry, u.pos, len(u.hopper), len(u.bin), u.counter, u.commands}
}

// Wait returns when the state is as wanted, or ctx ends.
func (u *Unit) Wait(ctx context.Context, wanted func(State) bool) error {
	for {
		u.mu.Lock()
		changed := u.changed
		u.mu.Unlock()
		if wanted(u.State()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Serve speaks on a line until ctx ends or the line does, and closes it. Its error
// is nil where it was ctx.
func (u *Unit) Serve(ctx context.Context, line io.ReadWriteCloser) error {
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- line.Close() })
	s := &server{unit: u, ctx: ctx, line: line}
	err := s.run()
	if stop() {
		return errors.Join(err, line.Close())
	}
	<-closed
	return nil
}

// server is one line being served. What came is read in small pieces by the
// goroutine of Serve.
type server struct {
	unit *Unit
	ctx  context.Context
	line io.ReadWriter
	buf  []byte
	last []byte // the answer that a NAK asks for again
}

func (s *server) next() (byte, error) {
	for idle := 0; len(s.buf) == 0; idle++ {
		if idle > 1000 {
			return 0, io.ErrNoProgress
		}
		b := make([]byte, 512)
		n, err := s.line.Read(b)
		s.buf = b[:n]
		if err != nil && n == 0 {
			return 0, err
		}
	}
	c := s.buf[0]
	s.buf = s.buf[1:]
	return c, nil
}

func (s *server) run() error {
	for {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch c {
		case 0xF2:
			if err := s.frame(); err != nil {
				return err
			}
		case 0x15:
			if s.last != nil {
				if err := s.send(s.last); err != nil {
					return err
				}
			}
		case 0x06, 0x04:
			s.last = nil
		}
	}
}

// frame reads what follows an F2 and carries it out.
func (s *server) frame() error {
	sum := byte(0xF2)
	take := func() (byte, error) {
		c, err := s.next()
		sum ^= c
		return c, err
	}
	var head [3]byte
	for i := range head {
		var err error
		if head[i], err = take(); err != nil {
			return err
		}
	}
	n := int(head[1])*256 + int(head[2])
	if n < 3 || n+6 > 1024 {
		return s.send([]byte{0x15})
	}
	body := make([]byte, n)
	for i := range body {
		var err error
		if body[i], err = take(); err != nil {
			return err
		}
	}
	end, err := take()
	if err != nil {
		return err
	}
	if _, err := take(); err != nil {
		return err
	}
	if end != 0x03 || sum != 0 || body[0] != 'C' {
		return s.send([]byte{0x15})
	}
	if head[0] != s.unit.addr {
		return nil // another unit's
	}
	return s.carryOut(body[1], body[2], body[3:])
}

func (s *server) send(b []byte) error {
	_, err := s.line.Write(b)
	return err
}

// pause waits, unless ctx ends.
func (s *server) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// carryOut acknowledges a command, carries it out and answers, as far as no fault
// is ordered.
func (s *server) carryOut(cm, pm byte, data []byte) error {
	u := s.unit
	f, faulty := u.due(cm)
	if faulty {
		switch f.Kind {
		case Nak:
			return s.send([]byte{0x15})
		case Deaf:
			return nil
		case NoiseBefore:
			if err := s.send([]byte{0xF2, 0x00, 0x00, 0x40, 0x55, 0xAA}); err != nil {
				return err
			}
		}
	}
	if !faulty || f.Kind != LostAck {
		if err := s.send([]byte{0x06}); err != nil {
			return err
		}
	}
	if faulty {
		switch f.Kind {
		case Slow:
			s.pause(f.Delay)
		case PowerLoss:
			u.PowerFail()
			return nil
		case PullOut:
			if err := u.Pull(); err != nil {
				return err
			}
		case Jam:
			u.mu.Lock()
			u.jammed = true
			u.mu.Unlock()
		}
	}
	u.mu.Lock()
	kind := byte('P')
	st, code := []byte(nil), f.Code
	if !faulty || f.Kind != Fail {
		st, code = u.execute(cm, pm, data)
	}
	u.commands++
	if code != "" {
		kind, st = u.letter, []byte(code)
		if faulty && f.Kind == LetterE {
			kind = 'E'
		}
	} else {
		st = append(u.status(), st...)
	}
	u.wake()
	u.mu.Unlock()
	if len(st) > 1015 {
		kind, st = u.letter, []byte("67")
	}
	answer := encode(u.addr, kind, cm, pm, st)
	s.last = answer
	if faulty {
		switch f.Kind {
		case Corrupt:
			spoilt := slices.Clone(answer)
			spoilt[len(spoilt)/2] ^= 0x10
			return s.send(spoilt)
		case Unanswered:
			return nil
		case Foreign: // the answer to something else comes before
			answer = append(encode(u.addr, 'P', cm, pm^0x40, []byte("000FOREIGN")), answer...)
		case Fragment:
			for i := range answer {
				if err := s.send(answer[i : i+1]); err != nil {
					return err
				}
				s.pause(time.Millisecond)
			}
			return nil
		}
	}
	return s.send(answer)
}

// encode makes a frame.
func encode(addr, kind, cm, pm byte, data []byte) []byte {
	n := 3 + len(data)
	b := append([]byte{0xF2, addr, byte(n / 256), byte(n % 256), kind, cm, pm}, data...)
	b = append(b, 0x03)
	sum := byte(0)
	for _, c := range b {
		sum ^= c
	}
	return append(b, sum)
}
