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

// A Settler settles visits: it is the only way to 2207 in this package, because
// a settlement that is not in the journal before it is sent can be lost.
type Settler struct {
	upstream Upstream
	journal  *Journal
}

// NewSettler returns a Settler.
func NewSettler(u Upstream, j *Journal) *Settler { return &Settler{u, j} }

// A Settling is a visit that is to be settled.
type Settling struct {
	Visit  string // the terminal's number of the visit
	Holder string // masked, for the journal's list
	Scope  Scope
	Input  SettleInput
	Trial  Amounts // of the last trial
	Agreed Amounts // what the payer saw and agreed to
}

// A Receipt is a settlement that is booked, checked and in the journal.
type Receipt struct {
	EntryID  int64
	MsgID    string
	SetlID   string
	MdtrtID  string
	SetlTime string // upstream's
	Amounts  Amounts
	// Differs says that upstream booked another split of the same total than
	// the payer agreed to, because something changed after the trial. The
	// amounts booked are the ones to collect; the payer must be told.
	Differs bool
	Warning string // upstream's warn_msg
	Detail  Settlement
}

// String names the receipt without its holder.
func (r Receipt) String() string {
	return fmt.Sprintf("receipt %s of %s, cash %s", r.SetlID, r.Amounts.Total, r.Amounts.Cash)
}

// Settle writes the intention down, sends 2207 once, checks the answer and
// closes the entry. Once the entry is written nothing cancels it but its own
// deadlines, since a cancelled request is one of unknown outcome. [OutcomeOf]
// the error tells what is known: where it is Unknown the entry stays
// unresolved, the visit cannot be settled again, and no receipt exists.
func (s *Settler) Settle(ctx context.Context, in Settling) (Receipt, error) {
	if err := in.check(); err != nil {
		return Receipt{}, &unsentError{fmt.Errorf("settle: %w", err)}
	}
	p, err := s.upstream.Prepare(ctx, Request{
		Infno: "2207", InsuplcAdmdvs: in.Scope.InsuplcAdmdvs, SignNo: in.Scope.SignNo,
		Input: map[string]SettleInput{"data": in.Input},
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("settle: %w", err)
	}
	id, err := s.journal.Intend(ctx, Entry{
		Visit: in.Visit, Infno: p.Infno, MsgID: p.MsgID, Agreed: in.Agreed,
		MdtrtID: in.Input.MdtrtID, PsnNo: in.Input.PsnNo, Holder: in.Holder, Request: p.Body,
	})
	if err != nil {
		return Receipt{}, &unsentError{fmt.Errorf("settle: %w", err)}
	}
	ctx = context.WithoutCancel(ctx)
	answer, err := s.upstream.Do(ctx, p)
	var out Settlement
	var booked Amounts
	if err == nil {
		out, booked, err = accept(answer, p, in)
	}
	info := out.SetlInfo.Value
	c := Conclusion{Outcome: Done, SetlID: string(info.SetlID), Answer: answer.Raw}
	if err != nil {
		c = doubt(err, c)
	} else {
		c.Booked = &booked
		if booked != in.Agreed {
			c.Note = "booked with another split than agreed"
		}
	}
	if journalErr := s.journal.Conclude(ctx, id, c); journalErr != nil {
		// Whatever upstream said, it is not written down: nobody may be told
		// that it is done.
		return Receipt{}, fmt.Errorf("settle: %w", errors.Join(&undecidedError{journalErr}, err))
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("settle: entry %d: %w", id, err)
	}
	return Receipt{
		EntryID: id, MsgID: p.MsgID, SetlID: string(info.SetlID), MdtrtID: in.Input.MdtrtID,
		SetlTime: string(info.SetlTime), Amounts: booked, Differs: booked != in.Agreed,
		Warning: answer.WarnMsg, Detail: out,
	}, nil
}

// undecidedError marks an outcome that could not be written down.
type undecidedError struct{ error }

func (e *undecidedError) Unwrap() error  { return e.error }
func (*undecidedError) Outcome() Outcome { return Unknown }

// Code says that the settlement was sent, which the journal's own code does not.
func (*undecidedError) Code() fault.Code { return fault.OutcomeUnwritten }

func (in Settling) check() error {
	if in.Agreed != in.Trial || in.Agreed.Total != in.Input.MedfeeSumamt {
		return ErrAgreedDiffers
	}
	i := in.Input
	split := []NullFen{SomeFen(i.FulamtOwnpayAmt), SomeFen(i.OverlmtSelfpay), SomeFen(i.PreselfpayAmt), SomeFen(i.InscpScpAmt)}
	total := SomeFen(i.MedfeeSumamt)
	return checkSum(4, -1, "medfee_sumamt", &total, split)
}

// accept checks that an answer is the settlement that was asked for.
func accept(a Answer, p *Prepared, in Settling) (Settlement, Amounts, error) {
	out, err := readSettlement(a)
	if err != nil {
		return Settlement{}, Amounts{}, err
	}
	i := out.SetlInfo.Value
	if string(i.MedinsSetlID) != p.MsgID {
		return out, Amounts{}, fmt.Errorf("%s: medins_setl_id is not the msgid sent: %w", p.Infno, ErrMismatch)
	}
	if i.SetlID == "" {
		return out, Amounts{}, fmt.Errorf("%s: no setl_id: %w", p.Infno, ErrMalformed)
	}
	if err := out.check(p.Infno, in.Input.MdtrtID, in.Input.PsnNo, in.Input.MedfeeSumamt); err != nil {
		return out, Amounts{}, err
	}
	booked, err := i.Amounts()
	return out, booked, err
}

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
