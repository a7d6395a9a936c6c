package card

import (
	"encoding/json"
	"fmt"

	"onecard/apdu"
	"onecard/fault"
)

// Failures that a caller tells apart with errors.Is. Errors of the reader
// (package reader: the card was removed, reset, ...) pass through wrapped.
var (
	ErrNotSocialSecurityCard = fault.New(fault.NotSocialSecurityCard, "not a social security card")
	ErrBlocked               = fault.New(fault.CardBlocked, "the card or its application is blocked")
	ErrOtherCard             = fault.New(fault.CardChanged, "another card is in the reader")
	ErrMalformed             = fault.New(fault.RecordMalformed, "malformed data on the card")
	ErrVersion               = fault.New(fault.VersionUnknown, "unknown specification version")
	ErrFileMissing           = fault.New(fault.FileMissing, "the card does not have this file")
	ErrFileUnknown           = fault.New(fault.FileUnknown, "no such file in the card profile")

	ErrPINRequired = fault.New(fault.PINRequired, "the PIN is needed first")
	ErrPINBlocked  = fault.New(fault.PINBlocked, "the PIN is blocked")
	ErrPINFormat   = fault.New(fault.PINFormat, "a PIN has 4 to 16 digits")

	ErrNoKeyHolder = fault.New(fault.NoKeyHolder, "no key holder")
	ErrNotGenuine  = fault.New(fault.CardNotGenuine, "internal authentication failed")
	ErrKeyBlocked  = fault.New(fault.KeyBlocked, "the card's key is blocked")
)

// A WrongPINError is the card's answer to a wrong PIN.
type WrongPINError struct {
	// TriesLeft is -1 where the card does not say. 0: the PIN is blocked now,
	// and the error is ErrPINBlocked, too.
	TriesLeft int
}

// Error returns the text for logs.
func (e *WrongPINError) Error() string {
	if e.TriesLeft < 0 {
		return "the PIN is wrong"
	}
	return fmt.Sprintf("the PIN is wrong, %d tries left", e.TriesLeft)
}

// Code returns OC-1301, or OC-1302 when no try is left.
func (e *WrongPINError) Code() fault.Code {
	if e.TriesLeft == 0 {
		return fault.PINBlocked
	}
	return fault.PINWrong
}

// Is makes a wrong PIN without a try left an [ErrPINBlocked].
func (e *WrongPINError) Is(target error) bool {
	return target == error(ErrPINBlocked) && e.TriesLeft == 0
}

// An ExternalAuthError is a card that rejected the key holder's answer to its
// challenge. It used up one of the key's tries, so this Card does not try that
// key again: the same error comes back without a command.
type ExternalAuthError struct {
	Key       string // "RKSSSE", "RK1DF03"
	TriesLeft int    // -1 where the card does not say
}

// Error returns the text for logs.
func (e *ExternalAuthError) Error() string {
	if e.TriesLeft < 0 {
		return fmt.Sprintf("external authentication with %s failed", e.Key)
	}
	return fmt.Sprintf("external authentication with %s failed, %d tries left", e.Key, e.TriesLeft)
}

// Code returns OC-1405, or OC-1406 when no try is left.
func (e *ExternalAuthError) Code() fault.Code {
	if e.TriesLeft == 0 {
		return fault.KeyBlocked
	}
	return fault.ExternalAuthFailed
}

// Is makes a failure without a try left an [ErrKeyBlocked].
func (e *ExternalAuthError) Is(target error) bool {
	return target == error(ErrKeyBlocked) && e.TriesLeft == 0
}

// A RefusedError is a status word that is a failure of the command it answers.
// It unwraps to apdu's error for the status word.
type RefusedError struct {
	Command string // "SELECT SSSE", "READ RECORD DF03EF07"
	Status  apdu.Status
}

// Error returns the text for logs.
func (e *RefusedError) Error() string { return e.Command + ": " + e.Status.String() }

// Unwrap returns apdu's error for the status word.
func (e *RefusedError) Unwrap() error { return e.Status.Err() }

// Code returns the failure that the status word stands for.
func (e *RefusedError) Code() fault.Code {
	switch e.Status {
	case apdu.StatusSecurity:
		return fault.CardAccessDenied
	case apdu.StatusNotFound:
		return fault.FileMissing
	case apdu.StatusAppBlocked, apdu.StatusCardBlocked:
		return fault.CardBlocked
	}
	return fault.CardRefused
}

// A RecordError says what is wrong with one record, never what it holds. It
// wraps [ErrMalformed]. The file's other records are delivered all the same.
type RecordError struct {
	File    FileID
	Tag     string // "05"; "" where the record has none that could be read
	Number  int    // record number on the card, 1 first
	Problem string // "not a date"
}

// Error returns the text for logs.
func (e *RecordError) Error() string {
	place := fmt.Sprintf("%s record %d", e.File, e.Number)
	if e.Tag != "" {
		place = fmt.Sprintf("%s tag %s", e.File, e.Tag)
	}
	return place + ": " + e.Problem
}

// Unwrap returns [ErrMalformed].
func (e *RecordError) Unwrap() error { return ErrMalformed }

// MarshalJSON returns code, file, tag, record number and problem.
func (e *RecordError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code    fault.Code `json:"code"`
		File    FileID     `json:"file"`
		Tag     string     `json:"tag,omitempty"`
		Number  int        `json:"record,omitempty"`
		Problem string     `json:"problem"`
	}{fault.RecordMalformed, e.File, e.Tag, e.Number, e.Problem})
}
