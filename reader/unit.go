package reader

import (
	"context"
	"fmt"
	"time"

	"onecard/fault"
)

// ErrNoUnit: the reader has no motor.
var ErrNoUnit = fault.New(fault.NoCardUnit, "the reader is no card unit")

// A Position is where a motorised unit says a card is.
type Position byte

// The positions that units tell apart.
const (
	Nowhere Position = iota // no card in the unit
	AtMouth                 // at the gate, within the holder's reach
	Inside                  // in the unit: held, at the contacts or in the field
)

// String returns the position as words: "at the mouth".
func (p Position) String() string {
	switch p {
	case Nowhere:
		return "no card"
	case AtMouth:
		return "at the mouth"
	case Inside:
		return "inside"
	}
	return fmt.Sprintf("Position(%d)", byte(p))
}

// A Level says how many cards the hopper of a motorised unit holds. A unit without
// a hopper says empty.
type Level byte

// The levels of a hopper.
const (
	HopperEmpty Level = iota
	HopperLow         // a few are left
	HopperEnough
)

// String returns the level as a word.
func (l Level) String() string {
	switch l {
	case HopperEmpty:
		return "empty"
	case HopperLow:
		return "low"
	case HopperEnough:
		return "enough"
	}
	return fmt.Sprintf("Level(%d)", byte(l))
}

// A UnitState is what a motorised card unit holds and how it is.
type UnitState struct {
	Name    string // the slots of one unit have the same
	Card    Position
	Hopper  Level
	BinFull bool
	// Dispenses: the unit has a hopper by configuration, so that its level counts.
	Dispenses bool
	// InBin is how many cards the unit has counted into its reject bin since the
	// counter was reset, -1 where it does not say.
	InBin int
	// Problem is what is wrong now, nil where nothing is.
	Problem error
	// Incident is what happened last that a person should know: a card was
	// captured, or moved by hand, or the power failed with a card inside. Its Err
	// is nil where nothing did since the driver was started.
	Incident Incident
}

// An Incident is something that happened to a unit and is over.
type Incident struct {
	Time time.Time
	Err  error
}

// Equal reports whether nothing differs. Errors are equal that read the same.
func (s *UnitState) Equal(o *UnitState) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Name == o.Name && s.Card == o.Card && s.Hopper == o.Hopper && s.BinFull == o.BinFull && s.Dispenses == o.Dispenses && s.InBin == o.InBin &&
		sameText(s.Problem, o.Problem) && sameText(s.Incident.Err, o.Incident.Err) && s.Incident.Time.Equal(o.Incident.Time)
}

func sameText(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// A Mover is a [Driver] whose reader moves cards by motor. Sessions with a card
// that is moved away end with [ErrCardRemoved]. Every method returns when ctx ends.
type Mover interface {
	// Return brings the card to the mouth, where its holder takes it; [ErrNoCard]
	// where there is none inside.
	Return(ctx context.Context) error
	// Capture brings the card into the reject bin and records it; [ErrNoCard]
	// where there is none inside or at the mouth.
	Capture(ctx context.Context) error
	// Dispense fetches a card from the hopper and connects to it.
	Dispense(ctx context.Context) error
	// Emptied tells the unit that its reject bin was emptied: it counts from 0.
	Emptied(ctx context.Context) error
	// UnitState returns what the unit held when it was last looked at, which it
	// is at the end of every move.
	UnitState() *UnitState
}

// Mover returns the driver of a slot, to move cards with. The error wraps
// [ErrNoReader] where there is no such slot and [ErrNoUnit] where it has no motor.
func (w *Watcher) Mover(slot string) (Mover, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, d := range w.picture {
		for _, s := range d.Slots {
			if s.Slot != slot {
				continue
			}
			if m, ok := w.drivers[i].(Mover); ok {
				return m, nil
			}
			return nil, fmt.Errorf("%s: %w", slot, ErrNoUnit)
		}
	}
	return nil, fmt.Errorf("%s: %w", slot, ErrNoReader)
}
