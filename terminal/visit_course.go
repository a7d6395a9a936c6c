package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"onecard/settlement"
)

// A course is what a kind of visit sends to the centre. What may follow what,
// and what to do after a crash, the kind's [settlement.Machine] says.
type course interface {
	// check reports what a visit lacks before anything is sent.
	check(r *record) error
	// before changes the record for a step, before it is stored and sent.
	before(r *record, step settlement.Step) error
	// send sends the one request of a step and keeps what it answers.
	send(ctx context.Context, s *Service, one *visit, scope settlement.Scope, step settlement.Step) error
	// upload names the step that brings the visit nearer to a trial of the lines
	// as they stand; "" where it is there.
	upload(r *record) settlement.Step
	// trial asks for the split. It books nothing.
	trial(ctx context.Context, s *Service, one *visit, scope settlement.Scope) (settlement.Settlement, error)
	// settle books, through the journal.
	settle(ctx context.Context, s *Service, by *settlement.Settler, r record, scope settlement.Scope) (settlement.Receipt, error)
}

func (v *Visit) course() course {
	switch v.Kind {
	case KindInpatient:
		return stay{}
	case KindPharmacy:
		return sale{}
	}
	return outpatient{}
}

func (v *Visit) machine() (*settlement.Machine, error) {
	return settlement.MachineOf(settlement.CareKind(v.Kind))
}

// take does one step of the life cycle. Where the centre remembers it, the state
// in which it is on its way is on the disk before the request leaves, so that
// another process knows what may have happened. What came of it is stored with
// what comes next.
func (s *Service) take(ctx context.Context, one *visit, scope settlement.Scope, step settlement.Step) error {
	r := one.record()
	m, err := r.machine()
	if err != nil {
		return err
	}
	rule, err := m.Begin(r.At, step)
	if err != nil {
		return err
	}
	c := r.course()
	s.visits.update(one, func(r *record) {
		if err = c.before(r, step); err == nil {
			r.place(rule.During)
		}
	})
	if err != nil {
		return err
	}
	if rule.During != rule.From {
		if err := s.visits.store(ctx, one); err != nil {
			s.visits.update(one, func(r *record) { r.place(rule.From) }) // nothing was sent
			return err
		}
	}
	err = c.send(ctx, s, one, scope, step)
	s.visits.update(one, func(r *record) { r.place(rule.After(settlement.OutcomeOf(err))) })
	return err
}

// clear leads out of a state in which a request may have been lost: what can be
// sent again is left to the step itself, what cannot is looked up.
func (s *Service) clear(ctx context.Context, one *visit, scope settlement.Scope) error {
	r := one.record()
	m, err := r.machine()
	if err != nil {
		return err
	}
	d, doubtful := m.Doubt(r.At)
	if !doubtful || d.Recovery != settlement.AskFirst {
		return nil
	}
	done, err := s.askAbout(ctx, r, scope, d.Step)
	if err != nil {
		return err
	}
	s.visits.update(one, func(r *record) {
		r.place(m.Resolved(r.At, done))
		switch ended := d.Step == settlement.StepDischarge && done || d.Step == settlement.StepReadmit && !done; {
		case !ended:
			r.Discharged = nil
		case r.Discharged == nil:
			at := r.Stay.EndsAt
			r.Discharged = &at
		}
	})
	return nil
}

// askAbout asks the centre (5201) whether a step was done whose answer was lost.
func (s *Service) askAbout(ctx context.Context, r record, scope settlement.Scope, step settlement.Step) (done bool, err error) {
	begin := r.began()
	list, err := s.parts.Upstream.QueryVisits(ctx, scope, settlement.MdtrtQuery{
		PsnNo: r.PsnNo, MedType: r.MedType.Code, MdtrtID: r.MdtrtID,
		Begntime: settlement.FormatTime(begin.Add(-24 * time.Hour)), Endtime: settlement.FormatTime(s.parts.Now().Add(time.Hour)),
	})
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(list, func(m settlement.MdtrtRecord) bool { return string(m.MdtrtID) == r.MdtrtID })
	if step == settlement.StepCancel {
		return i < 0, nil
	}
	if i < 0 {
		return false, fmt.Errorf("5201: the visit is not listed: %w", settlement.ErrMismatch)
	}
	const ended = "0" // inhosp_stas
	return (list[i].InhospStas == ended) == (step == settlement.StepDischarge), nil
}

// upload brings diagnoses and lines to the centre as they stand, step by step,
// and takes back what is there otherwise.
func (s *Service) upload(ctx context.Context, one *visit, scope settlement.Scope) error {
	if err := s.clear(ctx, one, scope); err != nil {
		return err
	}
	for range 2*maxLines + 10 { // no course takes as many steps
		r := one.record()
		step := r.course().upload(&r)
		if step == "" {
			return nil
		}
		if err := s.take(ctx, one, scope, step); err != nil {
			return err
		}
	}
	return errors.New("upload: the lines do not come to an end")
}

// withdraw takes back what the centre has of a visit that is not settled, in the
// order that undoes it: 2205 and 2202, or 2405, 2302 and 2404. Where it fails
// half-way it goes on from there when it is called again.
func (s *Service) withdraw(ctx context.Context, one *visit, scope settlement.Scope) error {
	if err := s.clear(ctx, one, scope); err != nil {
		return err
	}
	for {
		r := one.record()
		m, err := r.machine()
		if err != nil {
			return err
		}
		if r.At == settlement.StateClosed {
			return nil
		}
		steps, ok := m.Undoing(r.At)
		if !ok {
			return detailed{ErrVisitState, "state " + r.State}
		}
		if len(steps) == 0 || steps[0] == settlement.StepClose {
			s.visits.update(one, func(r *record) { r.place(settlement.StateClosed) })
			return nil
		}
		if err := s.take(ctx, one, scope, steps[0]); err != nil {
			return err
		}
	}
}

// place puts the record at a state of its life cycle and says it in the words of
// the interface.
func (r *record) place(at settlement.State) {
	r.At = at
	switch at {
	case settlement.StateOpening:
		r.State = VisitOpening
	case settlement.StateTried:
		r.State = VisitTried
	case settlement.StateSettling:
		r.State = VisitSettling
	case settlement.StateSettled:
		r.State = VisitSettled
	case settlement.StateRefunding:
		r.State = VisitRefunding
	case settlement.StateUnknown, settlement.StateRefundDoubt:
		r.State = VisitUnknown
	case settlement.StateClosed:
		r.State = VisitClosed
	default:
		switch {
		case len(r.Lines) == 0:
			r.State = VisitRegistered
		case r.Kind == KindInpatient && at == settlement.StateCharged && r.Trial != nil:
			r.State = VisitTried // what it comes to so far
		default:
			r.State = VisitLines
		}
	}
	r.Undoing = at == settlement.StateRefunding || at == settlement.StateRefundDoubt
	if r.GivenUp {
		r.State = VisitClosed
	}
}

// placed gives a record of before there were other kinds its state.
func (r *record) placed() {
	if r.Kind == "" {
		r.Kind = KindOutpatient
	}
	if r.At != "" {
		return
	}
	switch r.State {
	case VisitLines:
		switch {
		case r.Batch != "":
			r.At = settlement.StateCharged
		case r.Uploads > 0:
			r.At = settlement.StateStale
		case r.Told:
			r.At = settlement.StateDescribed
		default:
			r.At = settlement.StateLines
		}
	case VisitRegistered:
		if r.At = settlement.StateRegistered; r.Uploads > 0 {
			r.At = settlement.StateStale
		}
	default:
		r.At = settlement.State(r.State)
	}
}

// occurred is fee_ocur_time of a line: within its day, and not before the visit
// began.
func (r *record) occurred(l Line) string {
	begin := r.began()
	if l.Date == "" {
		return settlement.FormatTime(begin)
	}
	day, err := time.ParseInLocation(settlement.DateLayout, l.Date, ChinaTime)
	if err != nil || day.Before(begin) {
		day = begin
	}
	return settlement.FormatTime(day)
}

// began is when the visit began.
func (r *record) began() time.Time {
	if r.Begin != nil {
		return *r.Begin
	}
	return r.Opened
}

// checkDates refuses a line of a day before the visit began or after today.
func (r *record) checkDates(lines []Line, now time.Time) error {
	first, today := settlement.FormatDate(r.began()), settlement.FormatDate(now)
	for i, l := range lines {
		if l.Date == "" {
			continue
		}
		if _, err := time.Parse(settlement.DateLayout, l.Date); err != nil || l.Date < first || l.Date > today {
			return detailed{ErrFeeLine, fmt.Sprintf("line %d: date is not a day from %s to %s", i+1, first, today)}
		}
	}
	return nil
}

// numbers are the amounts of a line that was checked when it was entered.
func (l Line) numbers() (price settlement.Price, quantity settlement.Quantity, amount settlement.Fen, err error) {
	if price, err = settlement.ParsePrice(l.Price); err != nil {
		return
	}
	if quantity, err = settlement.ParseQuantity(l.Quantity); err != nil {
		return
	}
	amount, err = settlement.LineAmount(price, quantity)
	return
}

// splitLines keeps the centre's split of every line, in the order of the lines.
func (r *record) splitLines(serials []string, results []settlement.FeeResult) error {
	split, err := settlement.SumSplit(results)
	if err != nil {
		return err
	}
	r.Results, r.Split = results, split
	r.Lines = slices.Clone(r.Lines)
	for i := range r.Lines {
		r.Lines[i].SN = serials[i]
		r.Lines[i].Split = &LineSplit{
			FullSelfPay: results[i].FulamtOwnpayAmt.Fen.Yuan(), OverLimit: results[i].OverlmtAmt.Fen.Yuan(),
			PreSelfPay: results[i].PreselfpayAmt.Fen.Yuan(), InScope: results[i].InscpScpAmt.Fen.Yuan(),
		}
	}
	return nil
}
