package settlement

import (
	"context"
	"errors"
	"fmt"

	"onecard/fault"
)

// Upstream is what a [Settler] needs of the line: [Client] is one.
type Upstream interface {
	// Prepare builds and validates a request; an error means nothing was sent.
	Prepare(ctx context.Context, r Request) (*Prepared, error)
	// Do sends it once. On an error that came with an answer, the Answer holds
	// it in Raw.
	Do(ctx context.Context, p *Prepared) (Answer, error)
}

// A Settler books and takes back: 2207, 2304 and 2102, 2208, 2305, 2103 and
// 2601. It is the only way to them in this package, because what is not in the
// journal before it is sent can be lost.
type Settler struct {
	upstream Upstream
	journal  *Journal
}

// NewSettler returns a Settler.
func NewSettler(u Upstream, j *Journal) *Settler { return &Settler{u, j} }

// A booking is one transaction of the engine.
type booking struct {
	infno string // the national number; the journal keeps it
	scope Scope
	input any
	entry Entry // Visit, MdtrtID, PsnNo, Holder, Agreed, Undoes
	// accept says what an answer with infcode 0 booked, or why it cannot be
	// taken for the answer to this request. A setl_id that came with an answer
	// of the latter kind is returned, too: a person needs it.
	accept func(a Answer, msgID string) (accepted, error)
}

type accepted struct {
	setlID  string
	amounts Amounts
}

// A booked transaction is in the journal as done.
type booked struct {
	accepted
	entryID int64
	msgID   string
	warning string
}

// book writes the intention down, sends the request once, checks the answer and
// closes the entry. Once the entry is written nothing cancels it but its own
// deadlines, since a cancelled request is one of unknown outcome.
func (s *Settler) book(ctx context.Context, b booking) (booked, error) {
	p, err := s.upstream.Prepare(ctx, Request{
		Infno: b.infno, InsuplcAdmdvs: b.scope.InsuplcAdmdvs, SignNo: b.scope.SignNo, Input: b.input,
	})
	if err != nil {
		return booked{}, err
	}
	e := b.entry
	e.Infno, e.MsgID, e.Request = b.infno, p.MsgID, p.Body
	id, err := s.journal.Intend(ctx, e)
	if err != nil {
		return booked{}, &unsentError{err}
	}
	ctx = context.WithoutCancel(ctx)
	answer, err := s.upstream.Do(ctx, p)
	var is accepted
	if err == nil {
		is, err = b.accept(answer, p.MsgID)
	}
	if err == nil {
		err = s.journal.claim(ctx, is.setlID, p.MsgID)
	}
	c := Conclusion{Outcome: Done, SetlID: is.setlID, Answer: answer.Raw}
	if err != nil {
		c = doubt(err, c)
	} else {
		c.Booked = &is.amounts
		if is.amounts != e.Agreed {
			c.Note = "booked with another split than agreed"
		}
	}
	if journalErr := s.journal.Conclude(ctx, id, c); journalErr != nil {
		// Whatever upstream said, it is not written down: nobody may be told
		// that it is done.
		return booked{}, errors.Join(&undecidedError{journalErr}, err)
	}
	if err != nil {
		return booked{}, fmt.Errorf("entry %d: %w", id, err)
	}
	return booked{is, id, p.MsgID, answer.WarnMsg}, nil
}

// undecidedError marks an outcome that could not be written down.
type undecidedError struct{ error }

func (e *undecidedError) Unwrap() error  { return e.error }
func (*undecidedError) Outcome() Outcome { return Unknown }

// Code says that the transaction was sent, which the journal's own code does not.
func (*undecidedError) Code() fault.Code { return fault.OutcomeUnwritten }

// doubt fills a conclusion from an error. A setl_id that came with an answer
// that cannot be accepted stays: a person needs it to look the booking up.
func doubt(err error, c Conclusion) Conclusion {
	switch OutcomeOf(err) {
	case NotSent:
		c.Outcome, c.Note = Refused, "not sent"
	case Refused:
		c.Outcome = Refused
	default:
		c.Outcome = Unknown
	}
	if errors.Is(err, ErrMismatch) {
		c.SetlID = "" // of some other settlement
	}
	var coded interface{ Code() fault.Code }
	if errors.As(err, &coded) {
		c.Fault = coded.Code()
	}
	var refused *RefusedError
	var gateway *HTTPError
	switch {
	case errors.As(err, &refused):
		c.Message = refused.Message
	case errors.As(err, &gateway):
		c.Message = gateway.Message
	}
	if c.Note == "" {
		c.Note = err.Error()
	}
	return c
}
