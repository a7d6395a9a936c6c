package apdu

import (
	"fmt"

	"onecard/fault"
)

// A Status is the status word SW1-SW2 of a response (ISO 7816-4, 5.1.3).
type Status uint16

// The status words that social security cards use (card specification, section
// 4, and ISO 7816-4, 5.1.3). 61xx, 63Cx and 6Cxx carry a number and have no
// constant: see [Status.More], [Status.TriesLeft] and [Status.ExactLe].
const (
	StatusOK                Status = 0x9000
	StatusWarning           Status = 0x6200 // no information given
	StatusCorrupted         Status = 0x6281 // returned data may be corrupted
	StatusEndOfFile         Status = 0x6282 // end of file before Le bytes were read
	StatusInvalidated       Status = 0x6283 // selected file is deactivated
	StatusBadFCI            Status = 0x6284 // FCI not formatted as the standard says
	StatusAuthFailed        Status = 0x6300 // authentication failed, no count given
	StatusMemory            Status = 0x6581 // memory failure: the write was not done
	StatusWrongLength       Status = 0x6700 // Lc or Le wrong
	StatusChannel           Status = 0x6881 // logical channel not supported
	StatusMessaging         Status = 0x6882 // secure messaging not supported
	StatusState             Status = 0x6901 // command out of state (medical transaction)
	StatusStructure         Status = 0x6981 // command does not fit the file's structure
	StatusSecurity          Status = 0x6982 // security status not satisfied
	StatusBlocked           Status = 0x6983 // PIN or key blocked
	StatusNoChallenge       Status = 0x6984 // no challenge, or it is used up
	StatusConditions        Status = 0x6985 // conditions of use not satisfied
	StatusNoCurrentFile     Status = 0x6986 // no current EF
	StatusNoMAC             Status = 0x6987 // secure messaging data object missing
	StatusWrongMAC          Status = 0x6988 // secure messaging data object wrong
	StatusWrongData         Status = 0x6A80 // command data wrong
	StatusCardBlocked       Status = 0x6A81 // card blocked, or function not supported
	StatusNotFound          Status = 0x6A82 // file or application not found
	StatusRecordNotFound    Status = 0x6A83 // record not found
	StatusNoRoom            Status = 0x6A84 // not enough room in the file
	StatusTLV               Status = 0x6A85 // Lc does not fit the TLV structure
	StatusWrongP1P2         Status = 0x6A86 // P1 or P2 wrong
	StatusLcP1P2            Status = 0x6A87 // Lc does not fit P1 and P2
	StatusKeyNotFound       Status = 0x6A88 // key or referenced data not found
	StatusOffset            Status = 0x6B00 // offset beyond the file
	StatusInstruction       Status = 0x6D00 // instruction not known
	StatusClass             Status = 0x6E00 // class not known
	StatusUnspecified       Status = 0x6F00 // no precise diagnosis
	StatusTransactionMAC    Status = 0x9302 // MAC of a medical transaction wrong
	StatusAppBlocked        Status = 0x9303 // application permanently blocked
	StatusAmount            Status = 0x9401 // amount not permitted
	StatusCounter           Status = 0x9402 // transaction counter at its limit
	StatusKeyIndex          Status = 0x9403 // key index not known
	StatusProofNotAvailable Status = 0x9406 // proof not available
)

// The public errors that a [StatusError] unwraps to. One status word has one
// error; several status words may share one. The codes are the general ones:
// whoever knows what the command was for wraps the error into its own.
var (
	ErrNotFound          = fault.New(fault.FileMissing, "file or application not found")
	ErrRecordNotFound    = fault.New(fault.FileMissing, "record not found")
	ErrSecurityStatus    = fault.New(fault.CardAccessDenied, "security status not satisfied")
	ErrWrongPIN          = fault.New(fault.PINWrong, "verification failed")        // 63Cx, 6300: also a key's, after EXTERNAL AUTHENTICATE
	ErrBlocked           = fault.New(fault.CardAccessDenied, "PIN or key blocked") // 6983: which of the two, the command tells
	ErrNoChallenge       = fault.New(fault.CardRefused, "no challenge, or it is used up")
	ErrConditions        = fault.New(fault.CardRefused, "conditions of use not satisfied")
	ErrAppBlocked        = fault.New(fault.CardBlocked, "application permanently blocked")
	ErrCardBlocked       = fault.New(fault.CardBlocked, "card blocked or function not supported")
	ErrWrongLength       = fault.New(fault.CardRefused, "wrong length")
	ErrWrongParameters   = fault.New(fault.CardRefused, "wrong parameters")
	ErrWrongData         = fault.New(fault.CardRefused, "wrong command data")
	ErrInstruction       = fault.New(fault.CardRefused, "instruction not known")
	ErrClass             = fault.New(fault.CardRefused, "class not known")
	ErrKeyNotFound       = fault.New(fault.CardRefused, "key not found")
	ErrMAC               = fault.New(fault.CardRefused, "MAC wrong or missing")
	ErrStructure         = fault.New(fault.CardRefused, "command does not fit the file's structure")
	ErrNoCurrentFile     = fault.New(fault.CardRefused, "no current EF")
	ErrNoRoom            = fault.New(fault.CardRefused, "not enough room in the file")
	ErrMemory            = fault.New(fault.CardRefused, "memory failure, nothing written")
	ErrState             = fault.New(fault.CardRefused, "command out of state")
	ErrAmount            = fault.New(fault.CardRefused, "amount not permitted")
	ErrCounter           = fault.New(fault.CardRefused, "transaction counter at its limit")
	ErrProofNotAvailable = fault.New(fault.CardRefused, "proof not available")
	ErrRefused           = fault.New(fault.CardRefused, "refused by the card") // every other status word
)

type meaning struct {
	text string
	err  error
}

// explain returns what a person should read for s and the public error for
// it, nil for 9000.
func (s Status) explain() meaning {
	switch s {
	case StatusOK:
		return meaning{"normal processing", nil}
	case StatusWarning:
		return meaning{"warning, no information given", ErrRefused}
	case StatusCorrupted:
		return meaning{"returned data may be corrupted", ErrRefused}
	case StatusEndOfFile:
		return meaning{"end of file before Le bytes", ErrRefused}
	case StatusInvalidated:
		return meaning{"selected file is deactivated", ErrAppBlocked}
	case StatusBadFCI:
		return meaning{"FCI not formatted by the standard", ErrRefused}
	case StatusAuthFailed:
		return meaning{"verification failed", ErrWrongPIN}
	case StatusMemory:
		return meaning{"memory failure", ErrMemory}
	case StatusWrongLength:
		return meaning{"wrong length", ErrWrongLength}
	case StatusChannel:
		return meaning{"logical channel not supported", ErrClass}
	case StatusMessaging:
		return meaning{"secure messaging not supported", ErrClass}
	case StatusState:
		return meaning{"command out of state", ErrState}
	case StatusStructure:
		return meaning{"command does not fit the file's structure", ErrStructure}
	case StatusSecurity:
		return meaning{"security status not satisfied", ErrSecurityStatus}
	case StatusBlocked:
		return meaning{"PIN or key blocked", ErrBlocked}
	case StatusNoChallenge:
		return meaning{"no challenge, or it is used up", ErrNoChallenge}
	case StatusConditions:
		return meaning{"conditions of use not satisfied", ErrConditions}
	case StatusNoCurrentFile:
		return meaning{"no current EF", ErrNoCurrentFile}
	case StatusNoMAC:
		return meaning{"secure messaging data missing", ErrMAC}
	case StatusWrongMAC:
		return meaning{"secure messaging data wrong", ErrMAC}
	case StatusWrongData:
		return meaning{"wrong command data", ErrWrongData}
	case StatusCardBlocked:
		return meaning{"card blocked or function not supported", ErrCardBlocked}
	case StatusNotFound:
		return meaning{"file or application not found", ErrNotFound}
	case StatusRecordNotFound:
		return meaning{"record not found", ErrRecordNotFound}
	case StatusNoRoom:
		return meaning{"not enough room in the file", ErrNoRoom}
	case StatusTLV:
		return meaning{"Lc does not fit the TLV structure", ErrWrongLength}
	case StatusWrongP1P2:
		return meaning{"wrong P1 or P2", ErrWrongParameters}
	case StatusLcP1P2:
		return meaning{"Lc does not fit P1 and P2", ErrWrongParameters}
	case StatusKeyNotFound:
		return meaning{"key not found", ErrKeyNotFound}
	case StatusOffset:
		return meaning{"offset beyond the file", ErrWrongParameters}
	case StatusInstruction:
		return meaning{"instruction not known", ErrInstruction}
	case StatusClass:
		return meaning{"class not known", ErrClass}
	case StatusUnspecified:
		return meaning{"no precise diagnosis", ErrRefused}
	case StatusTransactionMAC:
		return meaning{"transaction MAC wrong", ErrMAC}
	case StatusAppBlocked:
		return meaning{"application permanently blocked", ErrAppBlocked}
	case StatusAmount:
		return meaning{"amount not permitted", ErrAmount}
	case StatusCounter:
		return meaning{"transaction counter at its limit", ErrCounter}
	case StatusKeyIndex:
		return meaning{"key index not known", ErrKeyNotFound}
	case StatusProofNotAvailable:
		return meaning{"proof not available", ErrProofNotAvailable}
	}
	if n, ok := s.TriesLeft(); ok {
		return meaning{fmt.Sprintf("verification failed, %d tries left", n), ErrWrongPIN}
	}
	if n, ok := s.More(); ok {
		return meaning{fmt.Sprintf("%d more bytes available", n), ErrRefused}
	}
	if n, ok := s.ExactLe(); ok {
		return meaning{fmt.Sprintf("wrong Le, exactly %d bytes available", n), ErrWrongLength}
	}
	return meaning{"unknown status", ErrRefused}
}

// OK reports whether the status is 9000.
func (s Status) OK() bool { return s == StatusOK }

// Valid reports whether ISO 7816-3 permits the status: SW1 is 61..6F or 90..9F.
func (s Status) Valid() bool {
	sw1 := s >> 8
	return sw1 > 0x60 && sw1 <= 0x6F || sw1 >= 0x90 && sw1 <= 0x9F
}

// TriesLeft returns x of 63Cx, 0 to 15: how many more wrong attempts the card
// permits.
func (s Status) TriesLeft() (int, bool) {
	if s&0xFFF0 != 0x63C0 {
		return 0, false
	}
	return int(s & 0xF), true
}

// More returns the number of bytes, 1 to 256, that 61xx says GET RESPONSE will
// fetch.
func (s Status) More() (int, bool) {
	if s&0xFF00 != 0x6100 {
		return 0, false
	}
	return expected(int(s&0xFF), MaxShortLe), true
}

// ExactLe returns the Le, 1 to 256, that 6Cxx asks for.
func (s Status) ExactLe() (int, bool) {
	if s&0xFF00 != 0x6C00 {
		return 0, false
	}
	return expected(int(s&0xFF), MaxShortLe), true
}

// String returns the four hex digits and what they mean: "6982 security status
// not satisfied".
func (s Status) String() string {
	return fmt.Sprintf("%04X %s", uint16(s), s.explain().text)
}

// Err returns nil for 9000 and a *[StatusError] for every other status, warnings
// included: a caller that can use a warning looks at the status first.
func (s Status) Err() error {
	if s.OK() {
		return nil
	}
	return &StatusError{s}
}

// A StatusError is the error for a status word. It unwraps into one of the
// public errors, so that errors.Is(err, ErrNotFound) works.
type StatusError struct {
	Status Status
}

// Error returns the status word and its meaning.
func (e *StatusError) Error() string { return "card answered " + e.Status.String() }

// Unwrap returns the public error for the status word.
func (e *StatusError) Unwrap() error { return e.Status.explain().err }

// TriesLeft returns x of 63Cx; see [Status.TriesLeft].
func (e *StatusError) TriesLeft() (int, bool) { return e.Status.TriesLeft() }
