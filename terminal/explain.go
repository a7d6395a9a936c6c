package terminal

import (
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/card"
	"onecard/fault"
	"onecard/settlement"
)

// Failures of the service itself.
var (
	ErrSlotUnknown  = fault.New(fault.SlotUnknown, "no such reader")
	ErrShuttingDown = fault.New(fault.ShuttingDown, "service is stopping")
	ErrBody         = fault.New(fault.BodyInvalid, "request not valid")
	ErrDay          = fault.New(fault.FieldDate, "not a day")
	ErrHolder       = fault.New(fault.HolderDiffers, "the centre's person is not the card holder")
	ErrUnverified   = fault.New(fault.NotAuthenticated, "card not authenticated")
	ErrVisitCard    = fault.New(fault.VisitCardDiffers, "the visit's card is not in the reader")
	ErrVisitState   = fault.New(fault.VisitState, "the visit is not at this step")
	ErrVisitUnknown = fault.New(fault.VisitUnknown, "no such visit")
	ErrUnresolved   = fault.New(fault.UnknownUnresolved, "the visit has a settlement with unknown outcome")
	ErrFeeLine      = fault.New(fault.FeeLineInvalid, "fee line not valid")
	ErrAmount       = fault.New(fault.AmountInvalid, "amount not valid")
	ErrEntryUnknown = fault.New(fault.EntryUnknown, "no such journal entry")
	ErrNoUpstream   = fault.New(fault.UpstreamUnreachable, "no insurance centre configured")
	ErrNoAnswer     = fault.New(fault.NoAnswer, "no answer to a call that books nothing")
	ErrNoJournal    = fault.New(fault.JournalUnavailable, "no journal")
)

// Explain turns an error into what a person sees. It is nil for nil.
//
// The catalogue's sentence comes from the first coded error in the tree. The
// detail is what the errors that a person can act on say of themselves: a field,
// a status word, the centre's own words. Those last may name the patient: they
// are for the clerk's screen and never logged.
func Explain(err error) *Fault {
	if err == nil {
		return nil
	}
	e := fault.Of(err)
	f := &Fault{
		Code:   e.Code,
		Text:   Text{e.Text[fault.Chinese], e.Text[fault.English]},
		Remedy: Text{e.Remedy[fault.Chinese], e.Remedy[fault.English]},
		Detail: detail(err),
	}
	if n, known := triesLeft(err); known {
		f.TriesLeft = &n
	}
	return f
}

func detail(err error) string {
	var (
		itself   interface{ FaultDetail() string }
		refused  *settlement.RefusedError
		gateway  *settlement.HTTPError
		invalid  *settlement.ValidationError
		sums     *settlement.SumsError
		onCard   *card.RefusedError
		onRecord *card.RecordError
		change   *card.ChangeError
		conflict *card.ConflictError
		status   *apdu.StatusError
	)
	switch {
	case errors.As(err, &itself):
		return itself.FaultDetail()
	case errors.As(err, &refused):
		return refused.Message
	case errors.As(err, &gateway):
		if gateway.Message != "" {
			return gateway.Error() + ": " + gateway.Message
		}
		return gateway.Error()
	case errors.As(err, &invalid):
		return invalid.Error()
	case errors.As(err, &sums):
		return sums.Error()
	case errors.As(err, &onRecord):
		return onRecord.Error()
	case errors.As(err, &change):
		return change.Error()
	case errors.As(err, &conflict):
		return conflict.Error()
	case errors.As(err, &onCard):
		return onCard.Error()
	case errors.As(err, &status):
		return status.Status.String()
	}
	return ""
}

func triesLeft(err error) (int, bool) {
	var (
		itself interface{ Left() (int, bool) }
		pin    *card.WrongPINError
		key    *card.ExternalAuthError
	)
	switch {
	case errors.As(err, &itself):
		return itself.Left()
	case errors.As(err, &pin):
		return pin.TriesLeft, true
	case errors.As(err, &key):
		return key.TriesLeft, key.TriesLeft >= 0
	}
	return 0, false
}

// detailed adds words for a person to a coded error.
type detailed struct {
	error
	words string
}

func (d detailed) Unwrap() error       { return d.error }
func (d detailed) FaultDetail() string { return d.words }
func (d detailed) Error() string       { return d.words + ": " + d.error.Error() }

// harmless gives an answer that was lost on a call that books nothing a code of
// its own: nobody has to look anything up, the step is done again.
func harmless(err error) error {
	if errors.Is(err, settlement.ErrAnswerLost) {
		return fmt.Errorf("%w (%w)", ErrNoAnswer, err)
	}
	return err
}

// inDoubt is a settlement of unknown outcome. Whatever the cause was, a clerk
// must see the same sentence: do not settle again, look at the entry.
type inDoubt struct {
	cause error
	entry int64
}

func (e *inDoubt) Error() string {
	return fmt.Sprintf("journal entry %d: outcome unknown: %v", e.entry, e.cause)
}
func (e *inDoubt) Unwrap() error { return e.cause }

// Code is the cause's own where that says the same, AnswerLost otherwise.
func (e *inDoubt) Code() fault.Code {
	switch c := fault.Of(e.cause).Code; c {
	case fault.SumsDisagree, fault.AnswerMismatch, fault.OutcomeUnwritten:
		return c
	}
	return fault.AnswerLost
}

// FaultDetail names entry and cause.
func (e *inDoubt) FaultDetail() string {
	cause := fault.Of(e.cause)
	words := fmt.Sprintf("journal %d", e.entry)
	if cause.Code != e.Code() && cause.Code != fault.Internal {
		words += fmt.Sprintf("; %s %s", cause.Code, cause.Text[fault.English])
	}
	if d := detail(e.cause); d != "" {
		words += "; " + d
	}
	return words
}
