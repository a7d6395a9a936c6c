// Package transport drives the motorised card units of kiosks and issuing
// machines: a motor takes the card in, holds it, brings it to the contacts or
// into the field, returns it to the mouth or drops it into the reject bin, and
// fetches new cards from a hopper. Contacts, SAM slots and field of such a unit
// are read over the same serial line as its motor obeys.
//
// A [Unit] is one machine; [CRT571] is the one known kind. The next maker's unit
// is one file that implements [Unit] and one line in [Units].
//
// A [Driver] makes card slots of a unit, so that a card in it is read like one in
// any other reader:
//
//	d := transport.New(transport.Config{
//		Name: "kiosk",
//		Open: func() (transport.Port, error) { return transport.OpenPort("/dev/ttyS1", 9600, "") },
//		Unit: transport.Units["crt571"],
//	})
//	w := reader.NewWatcher([]reader.Driver{d})
//
// One goroutine, that of [Driver.Watch], owns the line: sessions on all slots,
// the motor and the look at the sensors follow each other there. Every wait has a
// deadline.
//
// The unit takes a card in by itself while it is empty. It returns the card when
// [Driver.Return] says so, or when nobody has used it for Config.ReturnAfter. A
// card that is then left at the mouth is captured after Config.CaptureAfter, and
// recorded. After a power failure the card that is inside stays inside: the unit
// is initialised again and the card counts as inserted anew.
package transport

import (
	"context"
	"fmt"
	"io"

	"onecard/reader"
)

// A Port is the serial line to a unit. Read may return 0 bytes and no error where
// a time-out of its own passed; an error of Read or Write ends the line. Close
// makes a Read that waits return.
type Port = io.ReadWriteCloser

// A Status is what the sensors of a unit say.
type Status struct {
	Card    reader.Position
	Hopper  reader.Level
	BinFull bool
}

// A Place is where the motor brings a card.
type Place byte

// The places a card can be brought to.
const (
	Hold    Place = iota // inside, nothing touches it
	Contact              // under the contacts
	Field                // in the contactless field
	Bin                  // into the reject bin
	Mouth                // to the gate, where the holder takes it
)

// String returns the place as words.
func (p Place) String() string {
	names := [...]string{"hold", "contacts", "field", "reject bin", "mouth"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("Place(%d)", byte(p))
}

// A Park says what initialising does with a card that is inside.
type Park byte

// What becomes of a card at initialising.
const (
	ParkHold    Park = iota // it is moved to the holding position
	ParkCapture             // into the reject bin
	ParkStay                // it stays where it is
)

// A Chip names what a command for a card goes to: one of the values below, or
// SAM(n).
type Chip int

// The chips that a unit reaches, besides those of [SAM].
const (
	UserChip  Chip = -1 // the card under the contacts
	FieldChip Chip = -2 // the card in the field
)

// SAM returns the chip in SAM slot n, from 0.
func SAM(n int) Chip { return Chip(n) }

// String returns "user card", "contactless card" or "SAM 1", counted from 1 as
// the slots are labelled.
func (c Chip) String() string {
	switch {
	case c == UserChip:
		return "user card"
	case c == FieldChip:
		return "contactless card"
	}
	return fmt.Sprintf("SAM %d", int(c)+1)
}

// A Unit is one motorised card unit. One goroutine owns it. Every method returns
// when ctx ends and within a deadline of its own.
//
// Errors wrap an [*Error] where the unit itself reports one (and through it
// [ErrJam], [ErrHopperEmpty] and the others), [reader.ErrStuck] where it did not
// answer, [reader.ErrFault] where its answers could not be understood, and
// [reader.ErrReaderGone] where the line ended. A context's error is wrapped too
// where it is the reason.
//
// [reader.ErrStuck]: the driver package onecard/reader
type Unit interface {
	// Initialise makes the unit ready, as it has to be after it was switched on,
	// and returns the text that its firmware names itself with.
	Initialise(ctx context.Context, park Park) (firmware string, err error)
	// Status asks the sensors. It fails with [ErrNotInitialised] where the unit
	// lost its power since it was initialised.
	Status(ctx context.Context) (Status, error)
	// Move brings the card to a place. Without a card inside, one is fetched from
	// the hopper; callers who do not want that ask Status first.
	Move(ctx context.Context, to Place) error
	// Accept lets a card in at the mouth, or refuses one.
	Accept(ctx context.Context, accept bool) error

	// PowerOn resets a chip and returns its answer to reset, for a contactless one
	// that of PC/SC part 3, 3.1.3.2.3. Warm keeps the supply on.
	PowerOn(ctx context.Context, chip Chip, warm bool) (atr []byte, err error)
	// PowerOff takes the supply or the field away.
	PowerOff(ctx context.Context, chip Chip) error
	// Transmit sends a command APDU and returns the answer with its status word;
	// 61xx and 6Cxx are passed on.
	Transmit(ctx context.Context, chip Chip, command []byte) ([]byte, error)

	// SerialNumber and Version are the unit's own words.
	SerialNumber(ctx context.Context) (string, error)
	Version(ctx context.Context) (string, error)
	// BinCount returns how many cards were captured since the counter was reset.
	BinCount(ctx context.Context) (int, error)
	// ResetBinCount sets it to 0, when the bin was emptied.
	ResetBinCount(ctx context.Context) error

	// Close closes the line. The unit keeps its state.
	Close() error
}

// Units are the known kinds, by the name that a configuration gives them. Each
// makes a unit on an open line of a rate in baud, and owns the line from then on.
var Units = map[string]func(port Port, baud int) Unit{
	"crt571": func(port Port, baud int) Unit { return NewCRT571(port, WithBaud(baud)) },
}
