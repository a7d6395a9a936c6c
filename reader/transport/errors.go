package transport

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"onecard/fault"
	"onecard/reader"
)

// What units report. Every [*Error] is one of them, by errors.Is.
var (
	// ErrRefused: the unit does not carry this command out.
	ErrRefused = fault.New(fault.ReaderFault, "the card unit refuses the command")
	// ErrHardware: sensor, motor, magnet or contacts failed.
	ErrHardware = fault.New(fault.CardUnitFault, "the card unit has a hardware failure")
	// ErrJam: a card is stuck on its way.
	ErrJam = fault.New(fault.CardJam, "card jam")
	// ErrSize: a card too long or too short.
	ErrSize = fault.New(fault.CardJam, "the card is not of standard size")
	// ErrPosition: the card does not reach the contacts.
	ErrPosition = fault.New(fault.CardJam, "the card does not reach its position")
	// ErrMovedByHand: somebody pulled or pushed the card.
	ErrMovedByHand = fault.New(fault.CardRemoved, "the card was moved by hand")
	// ErrHopperEmpty: no card to dispense.
	ErrHopperEmpty = fault.New(fault.HopperEmpty, "the hopper is empty")
	// ErrBinFull: no room in the reject bin, or its counter overflowed.
	ErrBinFull = fault.New(fault.BinFull, "the reject bin is full")
	// ErrNotInitialised: the unit was switched on and not initialised since.
	ErrNotInitialised = fault.New(fault.CardUnitFault, "the card unit is not initialised")
	// ErrChip: the unit cannot talk with the card.
	ErrChip = reader.ErrFault
	// ErrMute: the card does not answer to reset.
	ErrMute = reader.ErrMute
	// ErrOccupied: there is a card in the unit where none may be.
	ErrOccupied = fault.New(fault.CardUnitOccupied, "there is a card in the unit already")
	// ErrPowerLost: the unit was without power while a card was inside.
	ErrPowerLost = fault.New(fault.CardUnitPowerLost, "the card unit lost its power with a card inside")
	// ErrCaptured: a card is in the reject bin.
	ErrCaptured = fault.New(fault.CardCaptured, "a card was captured")
	// ErrUnrecorded: a card is in the reject bin and its record is not on the disk.
	ErrUnrecorded = fault.New(fault.CaptureUnrecorded, "the captured card is not recorded")
)

// kinds are the words of errors.tsv.
func kinds(word string) *fault.Error {
	switch word {
	case "refused":
		return ErrRefused
	case "hardware":
		return ErrHardware
	case "jam":
		return ErrJam
	case "size":
		return ErrSize
	case "position":
		return ErrPosition
	case "moved":
		return ErrMovedByHand
	case "hopper":
		return ErrHopperEmpty
	case "bin", "counter":
		return ErrBinFull
	case "uninitialised":
		return ErrNotInitialised
	case "chip", "silent":
		return ErrChip
	case "mute":
		return ErrMute
	}
	return nil
}

// An ErrorText is what one error code of the CRT-571 family means.
type ErrorText struct {
	Code           string // two characters, as the unit sends them
	ZH, EN         string // what happened
	CureZH, CureEN string // what to do
	kind           *fault.Error
}

// Is tells whether it is an error of this kind: [ErrJam] and the others.
func (t ErrorText) Is(kind error) bool { return t.kind == kind }

//go:embed errors.tsv
var errorsTSV string

// ErrorTexts returns the meaning of every error code, in the order of the codes.
func ErrorTexts() []ErrorText { return errorTable() }

var errorTable = sync.OnceValue(func() []ErrorText {
	var table []ErrorText
	for _, row := range strings.Split(strings.TrimSpace(errorsTSV), "\n")[1:] {
		f := strings.Split(row, "\t")
		table = append(table, ErrorText{Code: f[0], kind: kinds(f[1]), ZH: f[2], EN: f[3], CureZH: f[4], CureEN: f[5]})
	}
	return table
})

// An Error is a failure that the unit reports.
type Error struct {
	// Unit is the unit's code, two characters; one that is not printable is shown
	// in hexadecimal.
	Unit string
}

// Text returns what the code means; ok is false for one that is in no table.
func (e *Error) Text() (t ErrorText, ok bool) {
	for _, t := range errorTable() {
		if t.Code == e.Unit {
			return t, true
		}
	}
	return ErrorText{}, false
}

// Error returns code and meaning: "card unit error 10: card jam".
func (e *Error) Error() string {
	if t, ok := e.Text(); ok {
		return fmt.Sprintf("card unit error %s: %s", e.Unit, t.EN)
	}
	return fmt.Sprintf("card unit error %s", e.Unit)
}

// FaultDetail returns what Error does: the unit's own code is what its maker's
// service asks for.
func (e *Error) FaultDetail() string { return e.Error() }

// Unwrap returns the kind of the failure, [ErrHardware] for an unknown code.
func (e *Error) Unwrap() error {
	if t, ok := e.Text(); ok {
		return t.kind
	}
	return ErrHardware
}

// unitError makes the error of two characters from the line.
func unitError(e1, e0 byte) *Error {
	for _, c := range []byte{e1, e0} {
		if c < 0x20 || c > 0x7E {
			return &Error{Unit: fmt.Sprintf("%02X%02X", e1, e0)}
		}
	}
	return &Error{Unit: strings.ToUpper(string([]byte{e1, e0}))}
}
