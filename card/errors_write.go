package card

import (
	"fmt"

	"onecard/apdu"
	"onecard/fault"
)

// Failures of writing, of the medical account and of certificates, for
// errors.Is.
var (
	ErrValue         = fault.New(fault.ValueInvalid, "the value does not fit the card profile")
	ErrRecordChanged = fault.New(fault.RecordChanged, "the record changed since it was read")
	ErrNotKept       = fault.New(fault.WriteNotKept, "what was read back differs from what was written")
	ErrUnfinished    = fault.New(fault.WriteUnfinished, "the write plan is not finished")
	ErrNotWritable   = fault.New(fault.NotWritable, "the file cannot be written by a terminal")
	ErrPlanStore     = fault.New(fault.PlanStoreUnavailable, "the journal of card writes cannot be written")

	ErrPINTrivial       = fault.New(fault.PINTrivial, "the new PIN is too easy to guess")
	ErrPINChangeUnknown = fault.New(fault.PINChangeUnknown, "the card left while its PIN was being changed")

	ErrHolderUnable = fault.New(fault.HolderUnable, "the key holder cannot do this")
	ErrNoPSAM       = fault.New(fault.NoPSAM, "no PSAM")
	ErrPSAMLacksKey = fault.New(fault.PSAMLacksKey, "the PSAM lacks the algorithm or key")
	ErrPSAMRefused  = fault.New(fault.PSAMRefused, "the PSAM refused the command")

	ErrDebitUnknown     = fault.New(fault.DebitUnknown, "the outcome of the debit is unknown")
	ErrAmount           = fault.New(fault.AmountRefused, "the card does not accept the amount")
	ErrTransactionMAC   = fault.New(fault.TransactionMACWrong, "wrong MAC of a transaction")
	ErrProofUnavailable = fault.New(fault.ProofUnavailable, "the card has no proof of the transaction")
	ErrCounter          = fault.New(fault.CounterAtLimit, "the card's transaction counter is at its limit")

	ErrNoCertificates = fault.New(fault.NoCertificates, "no certificate environment on the card")
	ErrSignature      = fault.New(fault.SignatureWrong, "the signature is not valid")
)

// A ChangeError says why a value may not be written; it never holds the value.
// It wraps [ErrValue].
type ChangeError struct {
	File    FileID
	Tag     string // "71", "40/57", "@15"; "" where the file as a whole is meant
	Problem string // "not a date"
}

// Error returns the text for logs.
func (e *ChangeError) Error() string {
	if e.Tag == "" {
		return fmt.Sprintf("%s: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("%s tag %s: %s", e.File, e.Tag, e.Problem)
}

// Unwrap returns [ErrValue].
func (e *ChangeError) Unwrap() error { return ErrValue }

// A ConflictError names the record that is neither what the plan read nor what
// it writes. It wraps [ErrRecordChanged]; nothing was written over it.
type ConflictError struct {
	File   FileID
	Tag    string // "" in cyclic and transparent files
	Number int    // record number, or offset in a transparent file
}

// Error returns the text for logs.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %s record %d: %s", e.File, e.Tag, e.Number, ErrRecordChanged.Error())
}

// Unwrap returns [ErrRecordChanged].
func (e *ConflictError) Unwrap() error { return ErrRecordChanged }

// transactionRefused is the error of a status word of load, purchase and proof.
func transactionRefused(command string, s apdu.Status) error {
	err := refused(command, s)
	switch s {
	case apdu.StatusAmount:
		return fmt.Errorf("%w (%w)", ErrAmount, err)
	case apdu.StatusTransactionMAC:
		return fmt.Errorf("%w (%w)", ErrTransactionMAC, err)
	case apdu.StatusCounter:
		return fmt.Errorf("%w (%w)", ErrCounter, err)
	case apdu.StatusProofNotAvailable:
		return fmt.Errorf("%w (%w)", ErrProofUnavailable, err)
	}
	return err
}
