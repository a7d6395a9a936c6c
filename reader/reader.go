// Package reader owns card readers: which slots there are, which hold a card,
// and the one conversation a program has with a card. It knows bytes and answers
// to reset, not social security.
//
// A [Driver] is a kind of reader: onecard/reader/pcsc for whatever the
// operating system's smart-card service drives, onecard/reader/virtual in
// memory. A [Watcher] merges the drivers into one picture and tells its
// subscribers what changes:
//
//	w := reader.NewWatcher([]reader.Driver{pcsc.New()})
//	go w.Run(ctx) // and wait for it
//	for e := range w.Subscribe(ctx) {
//		if e.Kind == reader.CardInserted {
//			s, err := w.Open(ctx, e.Slot.Slot, reader.Shared)
//			...
//		}
//	}
//
// A [Session] is an open card. One goroutine owns it; every command has a
// deadline; every error is one of this package's, wrapped with what was being
// done. Sharing is the rule: other programs may list readers and read the ATR
// while a session is open, and [Session.Begin] keeps them out for as long as a
// few commands belong together.
//
// State on the card (PIN, keys, selection) is never assumed to survive anything:
// after [ErrCardReset] it is lost, after [ErrCardRemoved] so is the session, and
// no command is ever repeated unless the card cannot have seen it.
package reader

import (
	"bytes"
	"context"

	"onecard/apdu"
	"onecard/fault"
)

// Errors of readers and of card presence. Every error of a [Link], a [Driver]
// and a [Session] wraps one of them, a context's error, or one of package apdu.
var (
	// ErrNoCard: the slot is empty.
	ErrNoCard = fault.New(fault.NoCard, "no card in the reader")
	// ErrMute: there is a card and it does not answer to reset.
	ErrMute = fault.New(fault.CardMute, "the card does not answer to reset")
	// ErrCardRemoved: the card, or its reader, went away during the session.
	// The session is over. The last command may or may not have been carried
	// out.
	ErrCardRemoved = fault.New(fault.CardRemoved, "the card was removed")
	// ErrCardReset: another program reset the card. PIN, keys and selection are
	// lost. The session has reconnected and may go on from a fresh selection;
	// the command that met the reset was not repeated.
	ErrCardReset = fault.New(fault.CardReset, "the card was reset by another program")
	// ErrCardChanged: another card is in the slot than the one meant.
	ErrCardChanged = fault.New(fault.CardChanged, "another card is in the reader")
	// ErrServiceDown: the smart-card service does not run or does not answer.
	ErrServiceDown = fault.New(fault.SmartCardServiceDown, "the smart-card service is down")
	// ErrNoReader: there is no such slot.
	ErrNoReader = fault.New(fault.NoReader, "no such reader")
	// ErrReaderGone: the reader was unplugged.
	ErrReaderGone = fault.New(fault.ReaderGone, "the reader is gone")
	// ErrBusy: another program holds the card.
	ErrBusy = fault.New(fault.ReaderBusy, "another program holds the reader")
	// ErrStuck: the reader did not answer before the deadline. The session is
	// over. The command may still be carried out.
	ErrStuck = fault.New(fault.ReaderStuck, "the reader did not answer in time")
	// ErrFault: the reader reports an error of its own or of the line to the
	// card.
	ErrFault = fault.New(fault.ReaderFault, "communication with the card failed")
	// ErrNoControl: the reader has no functions beside those of the card.
	ErrNoControl = fault.New(fault.NoPINPad, "the reader has no functions of its own")
	// ErrClosed: the session was closed.
	ErrClosed = fault.New(fault.Internal, "the session is closed")

	// ErrGarbage and ErrEndless are package apdu's.
	ErrGarbage = apdu.ErrGarbage
	ErrEndless = apdu.ErrEndless
)

// Sharing says whether other programs may use the card at the same time.
type Sharing int

const (
	// Shared lets other programs connect; [Link.Begin] keeps them from sending
	// commands.
	Shared Sharing = iota
	// Exclusive keeps all others out for as long as the link is open. It fails
	// with [ErrBusy] where another program is connected.
	Exclusive
)

// A Link is one open connection to one card in one slot. One goroutine owns it;
// only Close may be called by another.
type Link interface {
	// Transmit sends one command; see [apdu.Transmitter]. It must return when
	// ctx ends: [ErrStuck] where a deadline passed, after which the link is
	// useless and only Close remains. It must return an error wrapping
	// [ErrCardRemoved], [ErrCardReset], [ErrBusy] or [ErrFault] for what
	// happened; never an answer of less than two bytes.
	apdu.Transmitter

	// ATR returns the answer to reset of the card as it was connected, at most
	// 33 bytes.
	ATR() []byte

	// Begin starts a transaction: until End no other program's command comes
	// in between. Where another program holds the card it waits until ctx ends
	// and then returns [ErrBusy].
	Begin(ctx context.Context) error

	// End ends the transaction of Begin. It leaves the card as it is.
	End() error

	// Reset resets the card, for whomever else is connected too: PIN, keys and
	// selection are lost. An open transaction stays open.
	Reset(ctx context.Context) error

	// Close disconnects and leaves the card powered, with its state: whoever
	// presented a PIN resets first. It never blocks longer than a deadline of
	// its own and may be called again.
	Close() error
}

// T0Link is implemented by a [Link] whose reader hands T=0 TPDUs to the card
// unchanged; see [apdu.WithT0].
type T0Link interface {
	// T0 reports whether a command of case 4 has to leave without its Le.
	T0() bool
}

// An InsertionLink is a [Link] that knows which insertion it is connected to, where
// its driver can find out: between the look at a slot and the connection the card
// may have been swapped.
type InsertionLink interface {
	// Insertion returns the number of the insertion as in [SlotState], 0 where
	// the driver has not seen it yet.
	Insertion() uint64
}

// A ControlLink is a [Link] whose reader has functions beside those of the card,
// such as a PIN pad.
type ControlLink interface {
	// Control sends a control code to the reader; see SCardControl of PC/SC part
	// 5. It returns when ctx ends, as Transmit does. The data is not traced.
	Control(ctx context.Context, code uint32, data []byte) ([]byte, error)
}

// A Doer is a [Link] that can run its owner's code where it talks to the reader,
// so that a row of commands costs one change of goroutines and not one for each.
type Doer interface {
	// Do runs f, whose commands on this link are sent from where f runs, and
	// returns its error. Where a command of f passes its deadline, or its
	// context ends, Do returns at once what the command would, while f is still
	// in it: f then meets the same error when the reader comes back, and must
	// not touch anything that Do's caller goes on to use.
	Do(ctx context.Context, f func() error) error
}

// A Driver is a kind of reader.
type Driver interface {
	// Kind names the driver: "pcsc", "virtual".
	Kind() string

	// Watch calls report with the full picture at once and again on every
	// change, within a second of it, until ctx ends; then it returns nil. A
	// service that stops is reported and looked for again with growing pauses:
	// that is no reason to return. report must not be called after Watch
	// returned, and keeps nothing of the snapshot's slice.
	Watch(ctx context.Context, report func(Snapshot)) error

	// Open connects to the card in a slot. It must return when ctx ends, and an
	// error wrapping [ErrNoCard], [ErrMute], [ErrBusy], [ErrReaderGone],
	// [ErrServiceDown], [ErrStuck] or [ErrFault].
	Open(ctx context.Context, slot string, sharing Sharing) (Link, error)
}

// A SlotState is what is known of one slot at one moment.
type SlotState struct {
	Slot      string // the reader's name, unique in its driver
	Kind      string // the driver's
	Present   bool   // a card is in it
	Mute      bool   // the card does not answer to reset
	InUse     bool   // some program is connected to the card, this one included
	Exclusive bool   // some program holds it exclusively
	Stuck     bool   // a call of this program to the reader has not come back since its deadline
	ATR       []byte // the card's answer to reset; nil where there is none
	// Insertion numbers the insertions of a driver: it differs for every one,
	// also where a card was swapped between two looks. 0 while no card is
	// present.
	Insertion uint64
	// Unit is what the motorised unit around the slot holds, nil for every other
	// reader. It is never changed in place.
	Unit *UnitState
}

// Equal reports whether nothing differs.
func (s SlotState) Equal(o SlotState) bool {
	return s.Slot == o.Slot && s.Kind == o.Kind && s.Insertion == o.Insertion && bytes.Equal(s.ATR, o.ATR) &&
		s.Present == o.Present && s.Mute == o.Mute && s.InUse == o.InUse && s.Exclusive == o.Exclusive && s.Stuck == o.Stuck &&
		s.Unit.Equal(o.Unit)
}

// A Snapshot is all of a driver's slots at one moment, sorted by name.
type Snapshot struct {
	Slots []SlotState
	Err   error // wraps ErrServiceDown where the service is down; Slots is empty then
}
