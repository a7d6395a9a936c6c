package settlement

import (
	"errors"
	"fmt"

	"onecard/fault"
)

// The failures of the line to the insurance centre and of its answers. Every
// error of [Client.Do] wraps one of them or is one of the typed errors below;
// [OutcomeOf] says what it means for a transaction that books.
var (
	ErrUnreachable = fault.New(fault.UpstreamUnreachable, "upstream not reached, nothing was sent")
	ErrAnswerLost  = fault.New(fault.AnswerLost, "request sent, answer lost")
	ErrMalformed   = fault.New(fault.UpstreamMalformed, "answer not understood")
	ErrCredentials = fault.New(fault.UpstreamCredentials, "gateway rejected signature or credentials")
	ErrTooLarge    = fault.New(fault.UpstreamTooLarge, "answer too large")
	ErrMismatch    = fault.New(fault.AnswerMismatch, "answer does not belong to the request")
	ErrNotInsured  = fault.New(fault.NotInsured, "no insurance entry for this person")

	ErrTransactionUnknown = fault.New(fault.TransactionUnknown, "no such transaction")
	ErrAgreedDiffers      = fault.New(fault.AgreedDiffers, "agreed amounts differ from the trial")
)

// An Outcome is what is known of a transaction that books.
type Outcome string

// The outcomes. The journal holds intended, done, refused and unknown;
// NotSent is an answer of [OutcomeOf] alone and is journalled as refused.
const (
	Intended Outcome = "intended" // written down, on its way
	Done     Outcome = "done"     // booked upstream and checked
	Refused  Outcome = "refused"  // certainly not booked
	Unknown  Outcome = "unknown"  // may be booked: never resent blindly
	NotSent  Outcome = "notsent"  // no byte of the request left
)

// OutcomeOf says what an error of [Client.Do], of a typed call or of [Settler]
// means for a transaction that books: nil is Done; a refusal in upstream's own
// words is Refused; what certainly never left is NotSent; everything else,
// errors that this package does not know included, is Unknown.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Done
	}
	var verdict interface{ Outcome() Outcome }
	if errors.As(err, &verdict) {
		return verdict.Outcome()
	}
	var invalid *ValidationError
	switch {
	case errors.Is(err, ErrUnreachable), errors.As(err, &invalid), errors.Is(err, ErrTransactionUnknown),
		errors.Is(err, ErrAmount), errors.Is(err, ErrAgreedDiffers):
		return NotSent
	case errors.Is(err, ErrCredentials):
		return Refused
	}
	return Unknown
}

// A RefusedError is upstream's refusal, infcode -1: the transaction is not
// booked.
type RefusedError struct {
	Infno    string
	RefMsgID string // upstream's own number of the exchange
	// Message is upstream's own words, for the clerk's screen. They may name
	// the patient, so they are not part of Error.
	Message string
}

// Error names the transaction, without upstream's words.
func (e *RefusedError) Error() string { return e.Infno + " refused by upstream (infcode -1)" }

// Code is OC-2202 for fee lines (2204, 2301), OC-2201 otherwise.
func (e *RefusedError) Code() fault.Code {
	if e.Infno == "2204" || e.Infno == "2301" {
		return fault.FeeLineRefused
	}
	return fault.UpstreamRefused
}

// Outcome is Refused.
func (e *RefusedError) Outcome() Outcome { return Refused }

// An HTTPError is an HTTP status other than success (OC-2103), or the
// gateway's own refusal in a body of its own.
type HTTPError struct {
	Infno       string
	Status      int    // HTTP status
	GatewayCode int    // of {"code":..}, 0 where there is none
	Message     string // the gateway's words, not part of Error
}

// Error names the statuses.
func (e *HTTPError) Error() string {
	if e.GatewayCode != 0 {
		return fmt.Sprintf("%s: gateway code %d (HTTP status %d)", e.Infno, e.GatewayCode, e.Status)
	}
	return fmt.Sprintf("%s: HTTP status %d", e.Infno, e.Status)
}

// Code is OC-2105 for 401 and 403, OC-2103 otherwise.
func (e *HTTPError) Code() fault.Code {
	if e.credentials() {
		return fault.UpstreamCredentials
	}
	return fault.UpstreamHTTP
}

// Is reports a refusal of credentials as [ErrCredentials].
func (e *HTTPError) Is(target error) bool { return target == ErrCredentials && e.credentials() }

func (e *HTTPError) credentials() bool {
	c := e.verdict()
	return c == 401 || c == 403
}

func (e *HTTPError) verdict() int {
	if e.GatewayCode != 0 {
		return e.GatewayCode
	}
	return e.Status
}

// Outcome is Refused for the statuses with which a gateway turns a request
// away before anything behind it has seen it, and Unknown for all others: a
// 502 or 504 says nothing about the platform behind the gateway.
func (e *HTTPError) Outcome() Outcome {
	switch e.verdict() {
	case 401, 403, 404, 405, 411, 413, 414, 415, 429, 431:
		return Refused
	}
	return Unknown
}
