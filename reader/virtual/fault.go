package virtual

import (
	"fmt"
	"time"
)

// A FaultKind is a way in which card or reader fail.
type FaultKind int

// The faults that can be ordered.
const (
	// Mute: the card gives no answer to reset, from the next insertion or reset
	// until the fault is cleared. At means nothing.
	Mute FaultKind = iota + 1
	// Remove: the card is taken out instead of carrying out the command.
	Remove
	// Tear: the card is taken out after it has carried out the command; the
	// answer is lost.
	Tear
	// Reset: another program resets the card instead of the command.
	Reset
	// Fail: the reader reports an error of the line; the command is not carried
	// out.
	Fail
	// Hang: no answer comes before the context ends; the command is not carried
	// out.
	Hang
	// Slow: the answer comes after Delay.
	Slow
	// Garbage: the answer is 258 bytes of noise.
	Garbage
	// Short: the answer is a single byte.
	Short
	// Empty: the answer has no bytes, as when the link to a simulated card
	// breaks.
	Empty
	// Endless61: the card answers 61xx to this command and to every one after
	// it.
	Endless61
	// Endless6C: the card answers 6Cxx to this command and to every one after
	// it.
	Endless6C
	// Status: the card answers with Status alone, without carrying out the
	// command.
	Status
)

// A Fault is ordered by [Driver.Order].
type Fault struct {
	Kind   FaultKind
	At     int           // which of the following commands meets it: 1, like 0, is the next
	Times  int           // how many commands meet it; 0 is one, for Endless61 and Endless6C all
	Delay  time.Duration // of Slow
	Status uint16        // of Status
}

// Order makes the card or the reader fail. Several faults may be ordered; of
// those due at one command the first ordered comes. They end when the card
// leaves the slot, except that Mute may be ordered for an empty slot, too, and
// then awaits the next card.
func (d *Driver) Order(name string, f Fault) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	if f.Kind < Mute || f.Kind > Status {
		return fmt.Errorf("%w %q: no such fault: %d", ErrSlot, name, f.Kind)
	}
	f.At = max(f.At, 1)
	f.Times = max(f.Times, 1)
	s.faults = append(s.faults, f)
	return nil
}

// Clear takes all faults back that have not come yet.
func (d *Driver) Clear(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.slot(name)
	if err != nil {
		return err
	}
	s.faults = nil
	return nil
}

// due counts one command and returns the fault that it meets.
func (s *slot) due() (Fault, bool) {
	var (
		found Fault
		ok    bool
		left  = s.faults[:0]
	)
	for _, f := range s.faults {
		if f.Kind == Mute {
			left = append(left, f)
			continue
		}
		f.At--
		if f.At <= 0 && !ok {
			found, ok = f, true
			if f.Kind != Endless61 && f.Kind != Endless6C {
				f.Times--
			}
		}
		if f.Times > 0 {
			left = append(left, f)
		}
	}
	s.faults = left
	return found, ok
}
