// Package virtual is readers in memory: slots into which a program puts
// simulated cards, takes them out and orders faults. A test that has to see a
// card torn out at the fifth command says so:
//
//	d := virtual.New("counter")
//	d.Insert("counter", card)
//	d.Order("counter", virtual.Fault{Kind: virtual.Remove, At: 5})
//
// It is a [reader.Driver] like any other, and onecardd runs on it where a machine
// has no reader to show.
package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"onecard/reader"
	"onecard/reader/hold"
)

// A Card is what is put into a slot. Its methods are never called at the same
// time.
type Card interface {
	// PowerOn resets the card and returns its answer to reset, none where it is
	// mute.
	PowerOn() (atr []byte)
	// PowerOff takes the power away: the card forgets its session.
	PowerOff()
	// Transmit carries out a command APDU and returns the answer, status word
	// included. It keeps neither.
	Transmit(command []byte) (response []byte)
}

// ErrSlot is wrapped by the errors of [Driver]'s own methods for a slot that does
// not exist, exists already, or is not in the state the call needs.
var ErrSlot = errors.New("virtual slot")

// A Driver is a set of slots in memory. It is safe for use by several
// goroutines.
type Driver struct {
	mu         hold.Board
	slots      map[string]*slot
	down       error
	insertions uint64
}

type slot struct {
	name      string
	card      Card
	atr       []byte
	insertion uint64
	held      hold.Slot
	faults    []Fault
	person    func() Typed // at the slot's PIN pad; nil: it has none
}

// New returns a driver with these slots, all empty.
func New(slots ...string) *Driver {
	d := &Driver{slots: make(map[string]*slot)}
	for _, name := range slots {
		d.slots[name] = &slot{name: name}
	}
	return d
}

// Kind returns "virtual".
func (d *Driver) Kind() string { return "virtual" }

// wake tells watchers and waiting links to look. The caller holds mu.
func (d *Driver) wake() { d.mu.Wake() }

func (d *Driver) slot(name string) (*slot, error) {
	s := d.slots[name]
	if s == nil {
		return nil, fmt.Errorf("%w %q: no such slot", ErrSlot, name)
	}
	return s, nil
}

// AddSlot plugs a reader in.
func (d *Driver) AddSlot(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots[name] != nil {
		return fmt.Errorf("%w %q: exists already", ErrSlot, name)
	}
	d.slots[name] = &slot{name: name}
	d.wake()
	return nil
}

// RemoveSlot unplugs a reader, with the card that is in it.
func (d *Driver) RemoveSlot(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.held.End(reader.ErrReaderGone)
	s.eject()
	delete(d.slots, name)
	d.wake()
	return nil
}

// Insert puts a card into a slot and powers it. A card that is in it already is
// taken out first, between two looks of a watcher.
func (d *Driver) Insert(name string, c Card) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.held.End(reader.ErrCardRemoved)
	s.eject()
	d.insertions++
	s.card, s.insertion = c, d.insertions
	s.power()
	d.wake()
	return nil
}

// Remove takes the card out of a slot.
func (d *Driver) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	if s.card == nil {
		return fmt.Errorf("%w %q: empty", ErrSlot, name)
	}
	s.held.End(reader.ErrCardRemoved)
	s.eject()
	d.wake()
	return nil
}

// ResetByOther resets the card as another program would: every link meets
// [reader.ErrCardReset] once.
func (d *Driver) ResetByOther(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.reset(nil)
	d.wake()
	return nil
}

// HoldByOther starts or ends a transaction of another program on the card.
func (d *Driver) HoldByOther(name string, hold bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.held.Foreign = hold
	d.wake()
	return nil
}

// Stop makes the service go down with every link, as a smart-card service that
// crashes, until [Driver.Start].
func (d *Driver) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = reader.ErrServiceDown
	for _, s := range d.slots {
		s.held.End(reader.ErrServiceDown)
		if s.card != nil {
			s.card.PowerOff()
		}
	}
	d.wake()
}

// Start brings the service back. Cards that are in a slot count as inserted
// anew.
func (d *Driver) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down == nil {
		return
	}
	d.down = nil
	for _, s := range d.slots {
		if s.card != nil {
			d.insertions++
			s.insertion = d.insertions
			s.power()
		}
	}
	d.wake()
}

func (s *slot) eject() {
	if s.card == nil {
		return // faults ordered for the next card stay
	}
	s.card.PowerOff()
	s.card, s.atr, s.insertion, s.held.Foreign, s.faults = nil, nil, 0, false, nil
}

// power resets the card, unless it was ordered to be mute.
func (s *slot) power() {
	s.atr = nil
	if !slices.ContainsFunc(s.faults, func(f Fault) bool { return f.Kind == Mute }) {
		s.atr = bytes.Clone(s.card.PowerOn())
	}
}

// reset powers the card off and on and lets every link but by know.
func (s *slot) reset(by *hold.Link) {
	if s.card == nil {
		return
	}
	s.card.PowerOff()
	s.power()
	var lost error
	if len(s.atr) == 0 {
		lost = reader.ErrMute
	}
	s.held.WasReset(by, lost)
}

// Watch reports the slots at once and on every change; see [reader.Driver].
func (d *Driver) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	for {
		d.mu.Lock()
		snapshot, changed := d.snapshot(), d.mu.Changed()
		d.mu.Unlock()
		report(snapshot)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (d *Driver) snapshot() reader.Snapshot {
	if d.down != nil {
		return reader.Snapshot{Err: d.down}
	}
	var list []reader.SlotState
	for _, s := range d.slots {
		list = append(list, reader.SlotState{
			Slot: s.name, Kind: "virtual",
			Present: s.card != nil, Mute: s.card != nil && len(s.atr) == 0,
			InUse: s.held.InUse(), Exclusive: s.held.Exclusive(),
			ATR: bytes.Clone(s.atr), Insertion: s.insertion,
		})
	}
	slices.SortFunc(list, func(a, b reader.SlotState) int { return strings.Compare(a.Slot, b.Slot) })
	return reader.Snapshot{Slots: list}
}

// Open connects to the card in a slot; see [reader.Driver].
func (d *Driver) Open(ctx context.Context, name string, sharing reader.Sharing) (reader.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.slots[name]
	switch {
	case d.down != nil:
		return nil, d.down
	case s == nil:
		return nil, reader.ErrReaderGone
	case s.card == nil:
		return nil, reader.ErrNoCard
	case len(s.atr) == 0:
		return nil, reader.ErrMute
	}
	held, err := s.held.Connect(&d.mu, sharing)
	if err != nil {
		return nil, err
	}
	return &link{Link: held, d: d, s: s, atr: bytes.Clone(s.atr), insertion: s.insertion}, nil
}
